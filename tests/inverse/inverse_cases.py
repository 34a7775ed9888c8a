"""A simulated case on concentric spheres, and small algebraic problems."""

from dataclasses import dataclass

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import sphere


@dataclass(frozen=True, eq=False)
class Simulated:
    """Referenced and absolute operator and data, and the truth."""

    operator: ForwardOperator
    recording: Recording
    absolute_operator: ForwardOperator
    absolute_recording: Recording
    truth: Recording


def front(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A front that sweeps over the surface from one pole while its direction turns, mV."""
    phase = times / times[-1]
    direction = np.stack([np.cos(2 * phase), np.sin(2 * phase), 0.5 * np.ones_like(phase)])
    along = (points / np.linalg.norm(points, axis=1, keepdims=True)) @ (direction / np.linalg.norm(direction, axis=0))
    return 10 * np.tanh((along - 1.6 * phase + 0.8) / 0.35)


def build(subdivisions: int, n_leads: int, *, n_times: int = 24, noise: float = 0.0) -> Simulated:
    """Heart of radius 50 mm in a torso of radius 100 mm; white noise relative to the root mean square of the data."""
    heart = sphere(50.0, subdivisions=subdivisions, name="heart")
    skin = sphere(100.0, subdivisions=2, name="skin")
    rng = np.random.default_rng(7)
    names = tuple(f"E{i}" for i in range(n_leads))
    electrodes = Electrodes(names, skin.points[rng.permutation(skin.n_points)[:n_leads]])
    absolute = bem.transfer(heart, VolumeConductor(Region(skin, 0.2)), electrodes)
    times = np.arange(float(n_times))
    truth = Recording(front(heart.points, times), times, heart.node_names, "hsp")
    clean = absolute.record(truth)
    level = noise * np.sqrt((clean.values**2).mean())
    recording = clean.with_values(clean.values + level * rng.standard_normal(clean.values.shape))
    operator = LeadSystem.average(names).operator() @ absolute
    return Simulated(operator, recording.average_referenced(), absolute, recording, truth)


def centered_error(estimate: Recording, truth: Recording) -> float:
    """Relative error after the mean over the nodes is removed per frame."""
    x, u = (v - v.mean(axis=0) for v in (estimate.values, truth.values))
    return float(np.linalg.norm(x - u) / np.linalg.norm(u))
