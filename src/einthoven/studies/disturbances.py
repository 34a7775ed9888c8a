"""Disturbances of imaging: what the operator that images does not know of the body or the leads that made the data.

Truth and data come from the disturbed body, the operator is the undisturbed one. A disturbance has a size (`KINDS`);
size 0 is none. Directions, axes and leads are drawn from the seed, alike for all sizes. Estimates are compared with the
truth node by node, so that a heart that lies elsewhere is judged in its own frame.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    GeometryError,
    InputError,
    Recording,
    Region,
    Surface,
    VolumeConductor,
)
from einthoven.forward.lead_errors import center, moved
from einthoven.geometry.distance import farthest_points

#: Builds an operator from heart, conductor and electrodes.
Build = Callable[[Surface, VolumeConductor, Electrodes], ForwardOperator]

#: Regions that move with the heart, and those that "lungs left out" leaves out.
BLOOD, LUNGS = ("left_blood", "right_blood"), ("left_lung", "right_lung")

#: How many directions are drawn until a moved heart touches nothing.
DRAWS = 50


class Kind(NamedTuple):
    """What the size of a disturbance counts, its limits, and whether it is a whole number."""

    unit: str
    least: float
    most: float
    whole: bool = False


#: Disturbances by name.
KINDS: dict[str, Kind] = {
    "noise": Kind("% of the signal", 0, 200),
    "heart shift": Kind("mm", 0, 50),
    "heart rotation": Kind("degrees", 0, 180),
    "torso scale": Kind("%", -40, 100),
    "lungs left out": Kind("1: left out", 0, 1, whole=True),
    "electrodes": Kind("electrodes", 0, 100_000, whole=True),
    "leads swapped": Kind("pairs", 0, 10_000, whole=True),
    "leads dead": Kind("leads", 0, 10_000, whole=True),
    "leads dead, masked": Kind("leads", 0, 10_000, whole=True),
    "leads flat": Kind("leads", 0, 10_000, whole=True),
}

#: Disturbances of the body; the others are of the leads.
OF_THE_BODY = ("heart shift", "heart rotation", "torso scale")


def check_disturbance(name: str, size: float | int) -> None:
    """Raise `InputError` unless there is such a disturbance of such a size."""
    if name not in KINDS:
        raise InputError(f"disturbance must be one of {', '.join(KINDS)}; got {name!r}.")
    kind = KINDS[name]
    if not kind.least <= size <= kind.most or (kind.whole and size != int(size)):
        number = "a whole number" if kind.whole else "a number"
        raise InputError(
            f"{name}: the size must be {number} from {kind.least:g} to {kind.most:g} ({kind.unit}); got {size:g}."
        )


def _drawn(name: str, seed: int) -> np.random.Generator:
    """Random numbers of a disturbance; dead leads are the same ones whether they are masked, flat or neither."""
    name = "leads dead" if name in ("leads dead, masked", "leads flat") else name
    return np.random.default_rng([2000 + tuple(KINDS).index(name), seed])


# --- of the body ------------------------------------------------------------------------------------------------------


def disturbed_body(build: Build, seen: ForwardOperator, name: str, size: float, seed: int) -> ForwardOperator:
    """Return the operator of a body that differs from the one that an operator is of.

    - ``heart shift``: the heart and its blood lie `size` mm away in a random direction.
    - ``heart rotation``: they are turned by `size` degrees about a random axis through the heart's center.
    - ``torso scale``: all but them, electrodes included, is larger by `size` percent about the heart's center.

    Parameters
    ----------
    build
        Makes an operator.
    seen
        With source, conductor and electrodes.
    name, size, seed
        Of the disturbance.

    Raises
    ------
    InputError
        If the heart fits into the torso in none of `DRAWS` directions, or the scaled torso does not hold it.
    """
    heart, conductor, electrodes = seen.source, seen.conductor, seen.electrodes
    if heart is None or conductor is None or electrodes is None:
        raise InputError(f"{name}: needs an operator that carries heart, torso and electrodes.")
    about, rng = center(heart), _drawn(name, seed)
    if name == "torso scale":
        body, placed = _scaled(conductor, electrodes, about, size)
        return build(heart, body, placed)
    for _ in range(DRAWS):
        direction = rng.standard_normal(3)
        step = size * direction / np.linalg.norm(direction)
        pose = np.concatenate([step, np.zeros(3)] if name == "heart shift" else [np.zeros(3), step])
        inner = tuple(
            replace(r, surface=moved(r.surface, pose, about)) if r.surface.name in BLOOD else r for r in conductor.inner
        )
        try:
            return build(moved(heart, pose, about), replace(conductor, inner=inner), electrodes)
        except GeometryError:
            continue
    raise InputError(
        f"{name}: a heart that is moved by {size:g} {KINDS[name].unit} meets the skin or a lung in all of {DRAWS} "
        "random directions; take a smaller size."
    )


def _scaled(
    conductor: VolumeConductor, electrodes: Electrodes, about: Float[np.ndarray, " 3"], percent: float
) -> tuple[VolumeConductor, Electrodes]:
    """A conductor whose regions but the blood are larger, and the electrodes on it."""
    factor = 1 + percent / 100

    def larger(region: Region) -> Region:
        return replace(region, surface=moved(region.surface, np.zeros(6), about, percent=percent))

    inner = tuple(r if r.surface.name in BLOOD else larger(r) for r in conductor.inner)
    places = about + factor * (electrodes.positions - about)
    return VolumeConductor(larger(conductor.torso), inner), replace(electrodes, positions=places)


def without_lungs(build: Build, operator: ForwardOperator) -> ForwardOperator:
    """Return the operator of the same heart in a torso without lungs.

    Raises
    ------
    InputError
        If it has none.
    """
    heart, conductor, electrodes = operator.source, operator.conductor, operator.electrodes
    if heart is None or conductor is None or electrodes is None:
        raise InputError("lungs left out: needs an operator that carries heart, torso and electrodes.")
    inner = tuple(r for r in conductor.inner if r.surface.name not in LUNGS)
    if len(inner) == len(conductor.inner):
        raise InputError("lungs left out: this geometry has no lungs; take phantom or phantom-surface.")
    return build(heart, replace(conductor, inner=inner), electrodes)


# --- of the leads -----------------------------------------------------------------------------------------------------


def signal_rms(clean: Recording, reference: str) -> float:
    """Root mean square of a noise-free recording over all leads and frames, mV, in the reference of the case."""
    values = clean.values if reference == "absolute" else clean.values - clean.values.mean(axis=0)
    return float(np.sqrt((values**2).mean()))


def disturbed_leads(
    operator: ForwardOperator, recording: Recording, noise: Float[np.ndarray, "n t"], name: str, size: float, seed: int
) -> tuple[ForwardOperator, Recording]:
    """Return operator and recording where leads are missing, swapped or dead.

    - ``electrodes``: `size` of them stay, each next one the farthest from those there are, from a random first one.
    - ``leads swapped``: `size` random pairs have changed places.
    - ``leads dead``: `size` random leads hold nothing but their noise; ``leads flat``: zero; ``leads dead, masked``:
      the same leads are known to be dead and left out.

    Parameters
    ----------
    operator, recording
        In the absolute reference, of the same leads in the same order; the recording with its noise.
    noise
        Of every lead, mV.
    name, size, seed
        Of the disturbance.

    Raises
    ------
    InputError
        If there are not as many leads.
    """
    rng, count, n = _drawn(name, seed), int(size), recording.n_sites
    needed = {"leads swapped": 2 * count, "electrodes": count}.get(name, count + 3)
    if needed > n:
        raise InputError(f"{name}: {count} {KINDS[name].unit} of {n} leads are too many.")
    if name == "electrodes":
        assert operator.electrodes is not None
        places = operator.electrodes.select(operator.out_sites).positions
        kept = [operator.out_sites[i] for i in sorted(farthest_points(places, count, int(rng.integers(n))))]
        return operator.select(kept), recording.select(kept)
    chosen, values = rng.permutation(n), recording.values.copy()
    if name == "leads swapped":
        one, other = chosen[0 : 2 * count : 2], chosen[1 : 2 * count : 2]
        values[one], values[other] = recording.values[other], recording.values[one]
        return operator, recording.with_values(values)
    dead = chosen[:count]
    if name == "leads dead, masked":
        kept = [operator.out_sites[i] for i in sorted(chosen[count:])]
        return operator.select(kept), recording.select(kept)
    values[dead] = noise[dead] if name == "leads dead" else 0.0
    return operator, recording.with_values(values)
