"""Electrode positions on the torso: 12-lead, Frank, and vests of 64, 120 and 192."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, InputError
from einthoven.datasets.phantom.thorax import Thorax

#: Height of the fourth intercostal space at the sternum and of the fifth at the midclavicular line, mm.
FOURTH_SPACE, FIFTH_SPACE = 74.0, 46.0


@dataclass(frozen=True)
class Vest:
    """Vertical strips of electrodes around the trunk, evenly spaced from the waist to the shoulder.

    Parameters
    ----------
    front, back
        Azimuth of the strips, degrees from the sternum to the patient's left; the back is 90..270.
    rows
        Electrodes on every strip.
    """

    front: tuple[float, ...]
    back: tuple[float, ...]
    rows: int


_VESTS = {
    64: Vest((-78.0, -42.0, 0.0, 31.0, 50.0, 76.0), (115.0, 180.0, 245.0), 6),
    120: Vest((-80.0, -52.0, -27.0, 0.0, 18.5, 49.5, 76.0), (108.0, 156.0, 204.0, 252.0), 10),
    192: Vest((-84.0, -64.0, -44.0, -26.0, 0.0, 18.5, 31.0, 49.5, 76.0), (106.0, 143.0, 180.0, 217.0, 254.0), 13),
}


def twelve_lead_electrodes(thorax: Thorax) -> Electrodes:
    """RA, LA, LL, RL and V1 to V6 (Kligfield et al. 2007, doi:10.1016/j.jacc.2007.01.024).

    V1 and V2 in the fourth intercostal space at the right and left border of the sternum, V4 in the fifth on the
    midclavicular line, V3 between V2 and V4, V5 and V6 at the height of V4 on the anterior and middle axillary lines.
    Arms and legs are cut: RA and LA sit on the front of the arms, RL and LL on the front of the hips.
    """
    v2, v4 = thorax.front(24.0, FOURTH_SPACE), thorax.front(84.0, FIFTH_SPACE)
    level = np.array([0.0, 0.0, FIFTH_SPACE])
    middle = 0.5 * (v2 + v4)
    places = {
        "RA": thorax.front(-188.0, 160.0),
        "LA": thorax.front(188.0, 160.0),
        "LL": thorax.front(100.0, -240.0),
        "RL": thorax.front(-100.0, -240.0),
        "V1": thorax.front(-24.0, FOURTH_SPACE),
        "V2": v2,
        "V3": thorax.front(middle[0], middle[2]),
        "V4": v4,
        "V5": thorax.skin_along(level, _around(62.0)),
        "V6": thorax.skin_along(level, _around(90.0)),
    }
    return Electrodes(tuple(places), np.array(list(places.values())))


def frank_electrodes(thorax: Thorax) -> Electrodes:
    """Frank's I, E, C, A, M at the height of the fifth space, H at the back of the neck, F at the left leg.

    I and A on the right and left midaxillary lines, E and M on the midline in front and behind, C at 45 degrees between
    A and E (Frank 1956, doi:10.1161/01.CIR.13.5.737).
    """
    level = np.array([0.0, 0.0, FIFTH_SPACE])
    angles = {"I": -90.0, "E": 0.0, "C": 45.0, "A": 90.0, "M": 180.0}
    places = {name: thorax.skin_along(level, _around(angle)) for name, angle in angles.items()}
    places["F"] = thorax.front(100.0, -240.0)
    places["H"] = thorax.back(0.0, 262.0)
    return Electrodes(tuple(places), np.array(list(places.values())))


def vest_electrodes(thorax: Thorax, n: int) -> Electrodes:
    """Return the ten 12-lead electrodes and a vest, 64, 120 or 192 in all.

    Strip ``A`` is the rightmost in front, letters go on around the patient's left side; number 1 is the highest row:
    ``A1``, ``A2``, ...
    """
    standard = twelve_lead_electrodes(thorax)
    vest = _VESTS[n]
    names, positions = list(standard.names), list(standard.positions)
    for strip, azimuth in enumerate(vest.front + vest.back):
        top = 66.0 + 104.0 * np.cos(np.radians(azimuth)) ** 2
        for row, z in enumerate(np.linspace(top, -125.0, vest.rows)):
            names.append(f"{chr(ord('A') + strip)}{row + 1}")
            positions.append(thorax.skin_along(np.array([0.0, 0.0, z]), _around(azimuth)))
    return Electrodes(tuple(names), np.array(positions))


#: Layouts by name.
LAYOUTS: dict[str, Callable[[Thorax], Electrodes]] = {
    "12-lead": twelve_lead_electrodes,
    "frank": frank_electrodes,
    "64": lambda thorax: vest_electrodes(thorax, 64),
    "120": lambda thorax: vest_electrodes(thorax, 120),
    "192": lambda thorax: vest_electrodes(thorax, 192),
}


def layout(thorax: Thorax, name: str | int) -> Electrodes:
    """Return a layout on the smooth skin.

    Raises
    ------
    InputError
        If there is no layout of that name.
    """
    key = "12-lead" if str(name) == "12" else str(name)
    if key not in LAYOUTS:
        raise InputError(f"phantom: no electrode layout {name!r}; there are {', '.join(LAYOUTS)}.")
    return LAYOUTS[key](thorax)


def _around(azimuth: float) -> Float[np.ndarray, " 3"]:
    """Horizontal direction, degrees from the front to the patient's left."""
    angle = np.radians(azimuth)
    return np.array([np.sin(angle), -np.cos(angle), 0.0])
