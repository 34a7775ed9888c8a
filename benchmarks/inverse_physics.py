"""Imaging with cell physics on simulated waves, beside the classical yardsticks.

The heart and torso of `dalhousie-2007` (1100 nodes, 352 leads). Truth: Aliev-Panfilov cells of the imaging papers on
the heart refined once along its curvature (4394 nodes), seen through the operator of refined heart and torso; inverted
on the coarse meshes. One focus at a node that only the fine mesh has, 120 frames of 4.3 ms, absolute reference, white
noise with a standard deviation of 1 and 5 mV (0.01 and 0.05 of the excitation), which the solvers are told. Only the
rows marked oracle see the truth; D is read off the start. Seconds: a second call with the same shapes, so without
compilation.

    python benchmarks/inverse_physics.py --out out/bench [--smoke]
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from _tables import lines

from einthoven.core import Electrodes, ForwardOperator, Recording, Region, Solver, Surface, VolumeConductor
from einthoven.datasets import load_case
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.geometry.remesh import refined
from einthoven.inverse import Discrepancy, Oracle, Stre, Tikhonov
from einthoven.inverse.physics.eand_arn import SeparableArn
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.training import Schedule
from einthoven.inverse.physics.waves import imaging_cells
from einthoven.inverse.physics.weak import WeakConstraint
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.studies.provenance import machine, versions
from einthoven.tissue import Tissue

#: 0.25 cm2 per time unit of 12.9 ms.
DIFFUSIVITY = 0.25 * 100 / 12.9
FRAME, RADIUS = 4.3, 12.0
#: Noise, mV, for an excitation of 100 mV.
SIGMAS = (1.0, 5.0)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Coarse operator, fine surface and operator; the nodes of the coarse heart come first in the fine one."""

    coarse: ForwardOperator
    fine: ForwardOperator
    surface: Surface

    @property
    def n_coarse(self) -> int:
        """Nodes of the coarse heart."""
        return self.coarse.n_in


@lru_cache(maxsize=2)
def geometry(smoke: bool) -> Geometry:
    """The hearts and operators: of the measured torso, or spheres."""
    if smoke:
        heart, skin, level = sphere(45.0, subdivisions=2, name="heart"), sphere(100.0, subdivisions=2, name="skin"), 0.2
        electrodes = Electrodes(tuple(f"E{i}" for i in range(80)), skin.points[:80])
        conductor = VolumeConductor(Region(skin, level))
    else:
        case = load_case("dalhousie-2007")
        heart, conductor, electrodes = case.source().surface, case.conductor, case.electrodes
    fine = refined(heart, curved=True).surface
    skin = refined(conductor.skin).surface
    torso = VolumeConductor(Region(skin, conductor.regions[0].conductivity))
    return Geometry(bem.transfer(heart, conductor, electrodes), bem.transfer(fine, torso, electrodes), fine)


@lru_cache(maxsize=8)
def wave(smoke: bool, seed: int, n_times: int = 120) -> Recording:
    """A wave from one focus on the fine heart, as heart-surface potential, mV."""
    surface, n = geometry(smoke).surface, geometry(smoke).n_coarse
    focus = surface.points[np.random.default_rng(seed).integers(n, surface.n_points)]
    near = np.flatnonzero(np.linalg.norm(surface.points - focus, axis=1) <= RADIUS)
    start = Protocol((Stimulus(Nodes(near), 0.0, 4.0, 20.0),))
    muscle = Monodomain(Tissue.isotropic(surface, DIFFUSIVITY), imaging_cells())
    run = simulate(muscle, start, n_times * FRAME, dt=0.05, keep=[Movie(FRAME, dtype="float64")])
    values = run.data["movie"].values.T[:, 1:] + 80.0
    return Recording(values, run.data["movie"]["time"].values[1:], surface.node_names, "hsp")


def noisy(place: Geometry, truth: Recording, sigma: float, seed: int) -> Recording:
    """What the leads show."""
    clean = place.fine.record(truth)
    noise = np.random.default_rng(1000 + seed).standard_normal(clean.values.shape)
    return clean.with_values(clean.values + sigma * noise)


def solvers(sigma: float, truth: Recording, smoke: bool, seed: int) -> dict[str, Solver]:
    """The rows of the table."""
    cells = CellPhysics(sigma=sigma, extracellular=True)
    short = {"steps": 60} if smoke else {}
    return {
        "Laplacian, oracle": Tikhonov(2, Oracle(truth)),
        "STRE, oracle": Stre(Oracle(truth)),
        "STRE, discrepancy": Stre(Discrepancy(sigma)),
        "weak-4dvar": WeakConstraint(cells, Schedule(**short)),
        "eand-arn-separable": SeparableArn(cells, seed=seed, **({"schedule": Schedule(**short)} if smoke else {})),
    }


def row(name: str, solver: Solver, place: Geometry, data: tuple[Recording, Recording, float]) -> dict:
    """Errors, misfit and time of one solver."""
    truth, recording, sigma = data
    begun = time.perf_counter()
    found = solver.reconstruct(place.coarse, recording)
    seconds = time.perf_counter() - begun
    if not name.endswith("oracle"):
        begun = time.perf_counter()
        solver.reconstruct(place.coarse, recording)
        seconds = time.perf_counter() - begun
    x, u = found.estimate.values, truth.values
    return {
        "solver": name,
        "noise (mV)": sigma,
        "relative error": float(np.linalg.norm(x - u) / np.linalg.norm(u)),
        "correlation": float(np.corrcoef(x.ravel(), u.ravel())[0, 1]),
        "chi2 of the leads": float((found.residual.values**2).mean() / sigma**2),
        "D (mm2/ms)": found.diagnostics.get("diffusivity"),
        "seconds": seconds,
    }


def cells(smoke: bool, seeds: tuple[int, ...], chosen: Callable[[str], bool] = lambda _: True) -> list[dict]:
    """All rows, for all foci and noise levels."""
    place, rows = geometry(smoke), []
    for seed in seeds:
        fine = wave(smoke, seed)
        nodes = fine.values[: place.n_coarse]
        truth = Recording(nodes, fine.times, place.coarse.in_sites, "hsp")
        for sigma in SIGMAS:
            data = truth, noisy(place, fine, sigma, seed), sigma
            for name, solver in solvers(sigma, truth, smoke, seed).items():
                if chosen(name):
                    rows.append({"seed": seed, **row(name, solver, place, data)})
                    print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()))
    return rows


def main(out: Path, smoke: bool) -> dict:
    """Compute, print and write the table."""
    seeds = (1,) if smoke else (1, 2, 3)
    rows = cells(smoke, seeds)
    medians = []
    for name in dict.fromkeys(r["solver"] for r in rows):
        for sigma in SIGMAS:
            group = [r for r in rows if r["solver"] == name and r["noise (mV)"] == sigma]
            keys = [k for k, v in group[0].items() if isinstance(v, float)]
            medians.append({"solver": name} | {k: float(np.median([r[k] for r in group])) for k in keys})
    tables = {"rows": rows, "medians": medians, "machine": machine(), "versions": versions()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "inverse_physics.json").write_text(json.dumps(tables, indent=1))
    text = ["# Imaging with cell physics", "", f"Medians over {len(seeds)} foci.", "", *lines(medians, 3), ""]
    (out / "inverse_physics.md").write_text("\n".join(text))
    print("\n".join(text))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
