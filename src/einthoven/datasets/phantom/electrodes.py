"""Electrode positions on the torso: 12-lead, Frank, and vests of 64, 120 and 192."""

from collections.abc import Callable, Sequence
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
    front = {
        "RA": (-188.0, 160.0),
        "LA": (188.0, 160.0),
        "LL": (100.0, -240.0),
        "RL": (-100.0, -240.0),
        "V1": (-24.0, FOURTH_SPACE),
        "V2": (24.0, FOURTH_SPACE),
        "V3": (54.0, 0.5 * (FOURTH_SPACE + FIFTH_SPACE)),
        "V4": (84.0, FIFTH_SPACE),
    }
    starts = np.array([[x, 0.0, z] for x, z in front.values()] + [[0.0, 0.0, FIFTH_SPACE]] * 2)
    directions = np.concatenate([np.tile([[0.0, -1.0, 0.0]], (len(front), 1)), _around([62.0, 90.0])])
    return Electrodes((*front, "V5", "V6"), thorax.skin_along(starts, directions))


def frank_electrodes(thorax: Thorax) -> Electrodes:
    """Frank's I, E, C, A, M at the height of the fifth space, H at the back of the neck, F at the left leg.

    I and A on the right and left midaxillary lines, E and M on the midline in front and behind, C at 45 degrees between
    A and E (Frank 1956, doi:10.1161/01.CIR.13.5.737).
    """
    starts = np.array([[0.0, 0.0, FIFTH_SPACE]] * 5 + [[100.0, 0.0, -240.0], [0.0, 0.0, 262.0]])
    directions = _around([-90.0, 0.0, 45.0, 90.0, 180.0, 0.0, 180.0])
    return Electrodes(("I", "E", "C", "A", "M", "F", "H"), thorax.skin_along(starts, directions))


def vest_electrodes(thorax: Thorax, n: int) -> Electrodes:
    """Return the ten 12-lead electrodes and a vest, 64, 120 or 192 in all.

    Strip ``A`` is the rightmost in front, letters go on around the patient's left side; number 1 is the highest row:
    ``A1``, ``A2``, ...
    """
    standard = twelve_lead_electrodes(thorax)
    vest = _VESTS[n]
    strips = np.array(vest.front + vest.back)
    top = 66.0 + 104.0 * np.cos(np.radians(strips)) ** 2
    heights = np.linspace(top, -125.0, vest.rows, axis=1).reshape(-1)
    starts = np.column_stack([np.zeros((len(heights), 2)), heights])
    positions = thorax.skin_along(starts, _around(np.repeat(strips, vest.rows)))
    names = [f"{chr(ord('A') + strip)}{row + 1}" for strip in range(len(strips)) for row in range(vest.rows)]
    return Electrodes((*standard.names, *names), np.concatenate([standard.positions, positions]))


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


def _around(azimuth: Sequence[float] | np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Horizontal directions, degrees from the front to the patient's left."""
    angle = np.radians(np.asarray(azimuth, dtype=np.float64))
    return np.column_stack([np.sin(angle), -np.cos(angle), np.zeros(len(angle))])
