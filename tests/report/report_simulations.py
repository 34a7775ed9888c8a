"""Results as a simulation gives them, made from formulas: a front of known speed, quick and without files."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray

from einthoven.core import Recording, Surface
from einthoven.core.leads import TWELVE_LEADS
from einthoven.tissue import Grid, Tissue

VM = {"quantity": "vm", "unit": "mV", "time_unit": "ms"}
REST, PEAK, DURATION, SPEED = -85.0, 35.0, 60.0, 0.5
#: Where the front starts, mm: no sphere or grid of the tests is activated at once.
SOURCE = np.array([0.0, -2.0, -8.0])


class Membrane:
    """Stands for a cell model: the page shows the name of its class."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the page takes of a simulation."""

    tissue: Tissue
    data: dict[str, xarray.DataArray]
    model: Any = field(default_factory=Membrane)
    dt: float = 0.05
    t_end: float = 200.0


def action_potential(since: np.ndarray) -> np.ndarray:
    """Potential (mV) this long (ms) after activation."""
    up, down = 1 / (1 + np.exp(-np.clip(since, -60, 60))), 1 / (1 + np.exp(np.clip((since - DURATION) / 4, -60, 60)))
    return REST + (PEAK - REST) * up * down


def activation(points: np.ndarray, beat: int = 0) -> np.ndarray:
    """Time (ms) at which the front arrives."""
    return 10.0 + np.linalg.norm(points - SOURCE, axis=1) / SPEED + 120.0 * beat


def potentials(points: np.ndarray, times: np.ndarray, beats: int = 1) -> np.ndarray:
    """Potential (mV), shape (n_points, n_times)."""
    waves = [action_potential(times - activation(points, beat)[:, None]) - REST for beat in range(beats)]
    return REST + sum(waves)


def on_grid(
    shape: tuple[int, ...] = (24, 16), *, n_times: int = 40, beats: int = 1, holes: float = 0.1, factor: int = 1
) -> Simulated:
    """Waves over a grid with holes; movie, maps, three probes and four leads."""
    grid = Grid(shape, 1.0, (2.0, -1.0, 0.5))
    conducting = np.random.default_rng(4).random(grid.n_points) >= holes
    conducting[:3] = True
    tissue = Tissue.isotropic(grid, 0.1, conducting)
    times = 5.0 * np.arange(n_times)
    everywhere = np.full((n_times, grid.n_points), np.nan, dtype=np.float32)
    everywhere[:, tissue.nodes] = potentials(tissue.points, times, beats).T
    names = ("x", "y", "z")[: len(shape)]
    coords = {name: grid.origin[k] + factor * np.arange(shape[k]) for k, name in enumerate(names)}
    movie = xarray.DataArray(
        everywhere.reshape(n_times, *shape), dims=("time", *names), coords={"time": times, **coords}, attrs=VM
    )
    return Simulated(tissue, {"movie": movie} | maps(tissue, beats) | signals(tissue, beats))


def maps(tissue: Tissue, beats: int = 1) -> dict[str, xarray.DataArray]:
    """Activation and recovery; the last node is never activated."""
    rise = np.stack([activation(tissue.points, beat) for beat in range(beats)])
    rise[:, -1] = np.nan
    attrs = {"unit": "ms"}
    return {
        "activation": xarray.DataArray(rise, dims=("beat", "node"), attrs={"quantity": "activation"} | attrs),
        "recovery": xarray.DataArray(rise + DURATION, dims=("beat", "node"), attrs={"quantity": "recovery"} | attrs),
    }


def signals(tissue: Tissue, beats: int = 1) -> dict[str, xarray.DataArray]:
    """Three probes at nodes 0, n/2 and n - 1, and the ECG at four electrodes."""
    times = np.arange(0.0, 200.0, 1.0)
    nodes = [0, tissue.n_nodes // 2, tissue.n_nodes - 1]
    points = tissue.points[nodes]
    sites = {"site": ["first", "middle", "last"], "time": times}
    attrs = VM | {"points": points.tolist()}
    vm = xarray.DataArray(potentials(points, times, beats), dims=("site", "time"), coords=sites, attrs=attrs)
    leads = np.sin(times / 20 + np.arange(4)[:, None])
    ecg = Recording(leads, times, ("A", "B", "C", "D"), "bsp")
    return {"probes": vm, "ecg": ecg.to_xarray()}


def singularities(times: np.ndarray) -> dict[str, xarray.DataArray]:
    """A singularity that runs along x, and one that is there for a single frame."""
    rows = [[t, 1, 5.0 + 0.1 * t, 6.0, 0.5] for t in times] + [[times[3], -1, 20.0, 9.0, 0.5]]
    count = np.array([1.0 + (k == 3) for k in range(len(times))])
    columns = {"column": ["time", "charge", "x", "y", "z"]}
    return {
        "phase_singularities": xarray.DataArray(np.array(rows), dims=("row", "column"), coords=columns),
        "phase_singularity_count": xarray.DataArray(count, dims=("time",), coords={"time": times}),
        "phase_singularity_paths": xarray.DataArray(np.array([0] * len(times) + [-1]), dims=("row",)),
    }


def on_surface(surface: Surface, *, n_times: int = 30, hole: bool = True) -> Simulated:
    """A wave over a surface whose last node does not conduct."""
    conducting = np.ones(surface.n_points, dtype=bool)
    conducting[-1] = not hole
    tissue = Tissue.isotropic(surface, 0.1, conducting)
    times = 5.0 * np.arange(n_times)
    values = potentials(tissue.points, times).T
    movie = xarray.DataArray(values, dims=("time", "node"), coords={"time": times}, attrs=VM)
    return Simulated(tissue, {"movie": movie} | maps(tissue))


def twelve_leads(n_times: int = 400, dt: float = 1.0) -> Recording:
    """One beat in twelve leads: lead k is k times 0.1 mV at its peak, those from V1 on point down."""
    times = dt * np.arange(n_times)
    shape = np.exp(-(((times - 100.0) / 10.0) ** 2))
    peaks = np.array([0.1 * (k + 1) * (-1 if k >= 6 else 1) for k in range(12)])
    return Recording(peaks[:, None] * shape, times, TWELVE_LEADS, "ecg", "wilson")
