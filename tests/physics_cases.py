"""A simulated wave on a sphere, seen from a sphere around it; no inverse crime."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.geometry.remesh import refined
from einthoven.inverse.physics.waves import imaging_cells
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.tissue import Tissue

#: Noise, mV, and diffusivity, mm2/ms.
SIGMA, DIFFUSIVITY = 2.0, 4.0


@dataclass(frozen=True, eq=False)
class Wave:
    """Coarse operator, absolute data of the fine model, truth at the coarse nodes."""

    operator: ForwardOperator
    recording: Recording
    truth: Recording


@lru_cache(maxsize=1)
def wave() -> Wave:
    """162 nodes, 64 leads, 40 frames of 4 ms; truth on 642 nodes with the operator of refined surfaces."""
    heart, skin = sphere(30.0, subdivisions=2, name="heart"), sphere(60.0, subdivisions=2, name="skin")
    electrodes = Electrodes(tuple(f"E{i}" for i in range(64)), skin.points[:64])
    operator = bem.transfer(heart, VolumeConductor(Region(skin, 0.2)), electrodes)
    fine = refined(heart, curved=True).surface
    seen = bem.transfer(fine, VolumeConductor(Region(refined(skin).surface, 0.2)), electrodes)
    near = np.flatnonzero(np.linalg.norm(fine.points - fine.points[-1], axis=1) <= 9.0)
    start = Protocol((Stimulus(Nodes(near), 0.0, 3.0, 30.0),))
    muscle = Monodomain(Tissue.isotropic(fine, DIFFUSIVITY), imaging_cells())
    movie = simulate(muscle, start, 160.0, dt=0.1, keep=[Movie(4.0, dtype="float64")]).data["movie"]
    values, times = movie.values.T[:, 1:] + 80.0, movie["time"].values[1:]
    clean = seen.record(Recording(values, times, fine.node_names, "hsp"))
    noise = np.random.default_rng(3).standard_normal(clean.values.shape)
    truth = Recording(values[: heart.n_points], times, heart.node_names, "hsp")
    return Wave(operator, clean.with_values(clean.values + SIGMA * noise), truth)


def relative_error(estimate: Recording, truth: Recording) -> float:
    """|est - truth| / |truth|."""
    return float(np.linalg.norm(estimate.values - truth.values) / np.linalg.norm(truth.values))
