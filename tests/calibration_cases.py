"""Concentric spheres with a heart that lies elsewhere than the model says: what a calibration has to find."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from einthoven.core import Case, Electrodes, ForwardOperator, Recording, Region, Source, VolumeConductor
from einthoven.forward.corrections import OperatorModel, Spread, recorded_system
from einthoven.geometry.generators import sphere

#: True errors: shifts (mm), turns (degrees), size (%), gain (%).
TRUE = np.array([3.0, -2.0, 4.0, 0.0, 0.0, 0.0, -4.0, 6.0])
WHOLE = ("pose", "scale", "gain")


class Pair(NamedTuple):
    """What is believed, and what was measured."""

    model: OperatorModel
    truth: ForwardOperator
    heart: Recording
    leads: Recording


def pair(
    kinds: tuple[str, ...] = WHOLE, true: np.ndarray = TRUE, *, noise: float = 0.0, n_times: int = 60, seed: int = 3
) -> Pair:
    """A heart of 162 nodes in a torso of 162, 40 average-referenced leads; a front passes, then another pattern."""
    rng = np.random.default_rng(seed)
    heart = sphere(40.0, subdivisions=2, center=(5.0, 0.0, -5.0), name="heart")
    heart = heart.with_points(heart.points * [1.2, 1.0, 0.9])
    skin = sphere(100.0, subdivisions=2, name="skin")
    chosen = rng.permutation(skin.n_points)[:40]
    electrodes = Electrodes(tuple(f"E{i}" for i in range(40)), skin.points[chosen])
    system = recorded_system("average", electrodes.names)
    conductor = VolumeConductor(Region(skin, 0.2))
    model = OperatorModel(heart, conductor, electrodes, system, kinds)
    operator = model.at(true)
    times = np.arange(float(n_times))
    ways = rng.standard_normal((2, 3))
    half = n_times // 2
    along = np.concatenate([np.tile(way / np.linalg.norm(way), (half, 1)) for way in ways])
    place = np.tile(np.linspace(-0.8, 0.8, half), 2)
    values = 10 * np.tanh((heart.points / 40.0 @ along.T - place) / 0.4)
    potentials = Recording(values, times, heart.node_names, "hsp")
    clean = operator.record(potentials)
    leads = clean.with_values(clean.values + noise * rng.standard_normal(clean.values.shape)).average_referenced()
    return Pair(model, operator, potentials, leads)


def case_of(made: Pair, *, heart: Recording | None = None) -> Case:
    """The pair as a case, with the geometry that is believed."""
    model = made.model
    source = Source(model.surface, "hsp", made.heart if heart is None else heart)
    return Case("spheres", model.conductor, (source,), model.electrodes, made.leads)


def wide(model: OperatorModel) -> OperatorModel:
    """The same with errors expected that are not small."""
    return replace(model, spread=Spread(shift_mm=20.0, turn_deg=20.0, scale_percent=20.0, gain_percent=30.0))
