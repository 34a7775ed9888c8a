"""The comparison of imaging methods (``einthoven bench inverse STUDY.toml``): cells, scores, the table.

A study is a list of blocks; a block is a grid of geometries, cases, references, noise levels, positions, seeds, sizes
of a disturbance (`einthoven.studies.disturbances`) and methods. A cell is one method on one set of data; it is stored
as it finishes (`einthoven.studies.store`). No setting sees the truth, except where the rule of a classical method is
``oracle``.
"""

import time
from dataclasses import asdict, fields, replace
from functools import lru_cache
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

import einthoven
from einthoven.core import Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.held_out import held_out_leads
from einthoven.inverse.physics.fields import CellPhysics, first_crossing
from einthoven.inverse.physics.registry import make_physics_solver
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.spread import coverage, laplace
from einthoven.inverse.physics.strong import FocalImage
from einthoven.inverse.registry import METHODS, make_rule, make_solver
from einthoven.io.ready_files import checked_model, ready_text, ready_titles
from einthoven.studies.bench_cases import CASES, GEOMETRIES, REFERENCES, BenchCase, BenchData, bench_data
from einthoven.studies.bench_output import Bench, Found
from einthoven.studies.bench_tables import curves, gate_counts, summary
from einthoven.studies.disturbances import KINDS, check_disturbance
from einthoven.studies.memory import PeakMemory
from einthoven.studies.store import CellResult, Config, ResultsStore
from einthoven.studies.sweep import Sweep, Workers, run_cells

#: Version of what a cell computes; changed where numbers change.
VERSION = "3"

#: Level of the excitation (mV above rest) that counts as active: half the peak.
ACTIVE = 50.0

#: Methods that ran in this process: a first call compiles.
_SEEN: set[str] = set()

#: Shares of the intervals whose coverage is measured.
INTERVALS = (0.5, 0.9)


class Block(BaseModel):
    """A grid of cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    geometries: tuple[Literal[GEOMETRIES], ...] = ("dalhousie-2007",)  # type: ignore[valid-type]
    cases: tuple[Literal[CASES], ...] = ("one focus",)  # type: ignore[valid-type]
    references: tuple[Literal[REFERENCES], ...] = ("absolute",)  # type: ignore[valid-type]
    sigmas: tuple[float, ...] = (1.0, 5.0, 10.0)
    """Noise of the leads, mV."""
    positions: tuple[int, ...] = (11, 12, 13)
    """Numbers of the random choices of foci."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the noise."""
    methods: tuple[str, ...]
    """``METHOD:RULE`` for a classical method, or a configuration of a solver with cell physics."""
    noise: Literal["held-out", "told"] = "held-out"
    """Whether solvers estimate the noise from held-out leads, or are told it."""
    spread: bool = False
    """Whether error bars are computed (Laplace), and their coverage."""
    disturbance: Literal[tuple(KINDS)] | None = None  # type: ignore[valid-type]
    """What the operator does not know of."""
    sizes: tuple[float, ...] = ()
    """Of the disturbance, in its unit; 0: undisturbed, the same cell as without a disturbance."""

    @field_validator("sigmas", "positions", "seeds", "methods")
    @classmethod
    def _some(cls, values: tuple) -> tuple:
        if not values:
            raise ValueError("must not be empty")
        return values

    @field_validator("sigmas")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < s < np.inf for s in values):
            raise ValueError("noise must be positive, mV")
        return values

    @model_validator(mode="after")
    def _disturbance_with_sizes(self) -> "Block":
        if (self.disturbance is None) != (not self.sizes):
            raise ValueError("disturbance and sizes belong together; one of them is missing")
        for size in self.sizes:
            check_disturbance(str(self.disturbance), size)
        return self


class BenchStudy(BaseModel):
    """A study of imaging methods."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    blocks: tuple[Block, ...] = Field(min_length=1, alias="block")


def ready_benches() -> dict[str, str]:
    """Names and titles of the studies that come with the package."""
    return ready_titles(_folder())


def _folder() -> Any:
    return resources.files("einthoven.studies") / "ready_benches"


def bench_text(text: str | Path) -> str:
    """Return the text of a study file, or of a study that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    return ready_text(text, _folder(), "study")


def load_bench(text: str | Path) -> BenchStudy:
    """Read a study file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or for what is wrong in it.
    """
    study = checked_model(BenchStudy, bench_text(text), text)
    for block in study.blocks:
        for method in block.methods:
            check_method(method)
    return study


def check_method(text: str) -> None:
    """Raise `InputError` unless the text names a classical method and its rule, or a solver with cell physics."""
    method, _, rule = text.partition(":")
    if method in METHODS:
        if rule != "oracle":
            make_rule(rule or "lcurve")
        return
    make_physics_solver(text, CellPhysics(extracellular=True))


def bench_cells(study: BenchStudy) -> list[Config]:
    """Return the cells of a study, all methods of one set of data together."""
    found: dict[str, Config] = {}
    for block in study.blocks:
        name, sizes = block.disturbance or "", block.sizes or (0.0,)
        draws = (block.positions, block.sigmas, block.seeds)
        grid = product(block.geometries, block.cases, block.references, sizes, product(*draws))
        for geometry, case, reference, size, (position, sigma, seed) in grid:
            data = asdict(BenchCase(geometry, case, reference, int(position), sigma, int(seed), name, size))
            if not size:
                del data["disturbance"], data["size"]  # keys of cells that know no disturbances stay what they are
            for method in block.methods:
                cell = {**data, "method": method, "noise": block.noise, "spread": block.spread}
                found[str(sorted(cell.items()))] = cell
    return list(found.values())


def run_bench(
    study: BenchStudy, store: ResultsStore, *, workers: Workers = 1, progress: Progress = silent
) -> tuple[list[dict[str, Any]], Sweep]:
    """Compute the cells that a store lacks; returns one flat row per cell, and what was done."""
    cells = bench_cells(study)
    sweep = run_cells(cells, compute_cell, store, progress, workers=workers, name=cell_name)
    return [{**cell, **store.get(cell).record} for cell in cells], sweep


def cell_name(config: Config) -> str:
    """How a cell is called in messages."""
    names = ("method", "geometry", "case", "reference", "position", "sigma", "seed", "disturbance", "size")
    return ", ".join(f"{config[k]}" for k in names if k in config)


def compute_cell(config: Config) -> CellResult:
    """Image one set of data by one method, and score it."""
    case = BenchCase(**{f.name: config[f.name] for f in fields(BenchCase) if f.name in config})
    data, sigma = bench_data(case), _sigma(case, config["noise"])
    method = str(config["method"])
    first = method not in _SEEN
    _SEEN.add(method)
    with PeakMemory() as memory:
        begun, busy = time.perf_counter(), time.process_time()
        found, image = _imaged(method, data, sigma)
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    record = {
        "sigma_used": sigma,
        **scores(found, image, data, data.sigma),
        **{f"told_{k}": v for k, v in found.diagnostics.items() if np.isfinite(v)},
        "weight": found.weight if np.isfinite(found.weight) else None,
        "seconds": seconds,
        "processor_seconds": busy,
        "compiled": first,
        "peak_mb": memory.mb,
    }
    if config["spread"] and image is not None:
        record |= spread_scores(image, data)
    return CellResult({k: v for k, v in record.items() if v is not None})


@lru_cache(maxsize=8)
def _sigma(case: BenchCase, noise: str) -> float:
    """Noise that the solvers take for true, mV."""
    data = bench_data(case)
    if noise == "told":
        return data.sigma
    return held_out_leads(data.operator, data.recording, groups=4).sigma


def _imaged(method: str, data: BenchData, sigma: float) -> tuple[Reconstruction, Imaged | FocalImage | None]:
    """The reconstruction, and what only a solver with cell physics knows."""
    name, _, rule = method.partition(":")
    if name in METHODS:
        truth = data.truth if data.recording.reference == "absolute" else _centered(data.truth)
        solver = make_solver(name, make_rule(rule or "lcurve", truth=truth, sigma=sigma))
        return solver.reconstruct(data.operator, data.recording), None
    physics = CellPhysics(data.membrane, sigma=sigma, extracellular=True, wall=data.wall)
    image = make_physics_solver(method, physics).image(data.operator, data.recording)
    return image.reconstruction, image


def scores(found: Reconstruction, image: Imaged | FocalImage | None, data: BenchData, sigma: float) -> dict[str, Any]:
    """Errors of potentials, activation and foci, absolute (where the estimate is) and with the mean removed."""
    truth = data.truth
    estimate = found.estimate if image is None else image.absolute
    absolute = image is not None or data.recording.reference == "absolute"
    record: dict[str, Any] = {
        "chi2_leads": float((found.residual.values**2).mean() / sigma**2),
        **_errors(_centered(estimate).values, _centered(truth).values, "_mean_removed"),
    }
    if absolute:
        record |= _errors(estimate.values, truth.values, "")
        record |= _activation(estimate, data)
    return record


def _errors(x: np.ndarray, u: np.ndarray, suffix: str) -> dict[str, float]:
    """Relative error, correlation, mean square error: over all, and the medians over nodes and over frames."""
    square = (x - u) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        frames = np.sqrt(square.sum(axis=0) / (u**2).sum(axis=0))
        nodes = np.sqrt(square.sum(axis=1) / (u**2).sum(axis=1))
    return {
        f"relative_error{suffix}": float(np.sqrt(square.sum() / (u**2).sum())),
        f"correlation{suffix}": float(np.corrcoef(x.ravel(), u.ravel())[0, 1]),
        f"mse_mv2{suffix}": float(square.mean()),
        f"node_error{suffix}": float(np.nanmedian(nodes)),
        f"frame_error{suffix}": float(np.nanmedian(frames)),
    }


def _activation(estimate: Recording, data: BenchData) -> dict[str, float]:
    """Errors of the first crossing of half the peak, ms, and of the earliest places, mm."""
    rest = 0.0 if estimate.quantity == "hsp" else data.membrane.scale.rest
    found, true = (first_crossing(r.values - rest, r.times, ACTIVE) for r in (estimate, data.truth))
    both = np.isfinite(found) & np.isfinite(true)
    record = {"activated": float(both.sum() / max(1, np.isfinite(true).sum()))}
    if both.any():
        record["activation_error_ms"] = float(np.abs(found - true)[both].mean())
    surface = data.operator.source
    if surface is None or not len(data.foci) or not np.isfinite(found).any():
        return record
    earliest = int(np.nanargmin(np.where(np.isfinite(found), found, np.inf)))
    begun = np.flatnonzero(estimate.values[:, 0] - rest > ACTIVE)
    place = surface.points[begun].mean(axis=0) if len(begun) else surface.points[earliest]
    record["localization_error_mm"] = float(np.linalg.norm(place - surface.points[data.foci[0]]))
    return record


def spread_scores(image: Imaged | FocalImage, data: BenchData) -> dict[str, float]:
    """Coverage of intervals of the Laplace approximation."""
    begun = time.perf_counter()
    spread = laplace(image)
    record = {"spread_seconds": time.perf_counter() - begun}
    for share in INTERVALS:
        width = spread.interval(share)
        record[f"coverage_{round(100 * share)}"] = coverage(image.absolute.values, data.truth.values, width)
    error = np.abs(image.absolute.values - data.truth.values)
    ratio = error / np.maximum(spread.potential.values, 1e-9)
    record["inflation_90"] = float(np.quantile(ratio, 0.9) / 1.6449)
    return record


def _centered(recording: Recording) -> Recording:
    return replace(recording, values=recording.values - recording.values.mean(axis=0), reference="average")


def _found(study: BenchStudy, folder: Path, *, workers: Workers, progress: Progress) -> Found:
    """Cells, their summary, how often the gate is wrong, curves of disturbances."""
    store = ResultsStore(folder / "store", version=f"bench {einthoven.__version__} {VERSION}")
    rows, _ = run_bench(study, store, workers=workers, progress=progress)
    return Found({"cells": rows, "table": summary(rows), "gate": gate_counts(rows), "curves": curves(rows)})


#: ``einthoven bench inverse``.
INVERSE = Bench("inverse", ready_benches, bench_text, load_bench, _found)
