"""The comparison of forward operators (``einthoven bench forward STUDY.toml``): cells, scores, the table.

A study is a list of blocks; a block is a grid of cases, operators, levels, layers, regions left out, sources and
references (`einthoven.studies.forward_cases`). A cell is one prediction of the leads against the exact, finer or
measured ones; it is stored as it finishes (`einthoven.studies.store`).
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

import einthoven
from einthoven.core import ForwardOperator
from einthoven.core.progress import Progress, silent
from einthoven.io.ready_files import checked_model, ready_text, ready_titles
from einthoven.metrics import correlation, mag, rdm, relative_error
from einthoven.studies.bench_output import Bench, Found, Row, grouped
from einthoven.studies.forward_cases import (
    CASES,
    LEFT_OUT,
    MEASURED,
    OPERATORS,
    Body,
    body,
    front_source,
    layers_of,
    measured_pair,
    sphere_answer,
    sphere_source,
)
from einthoven.studies.memory import PeakMemory
from einthoven.studies.store import CellResult, Config, ResultsStore
from einthoven.studies.sweep import Sweep, Workers, run_cells

#: Version of what a cell computes; changed where numbers change.
VERSION = "1"

#: What a line of the table is: all but the sources, over which it takes the median and the largest.
LINE = ("case", "layers", "operator", "left_out", "reference", "level")
SCORES = ("relative_error", "rdm", "mag", "correlation")


class ForwardBlock(BaseModel):
    """A grid of cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cases: tuple[Literal[CASES], ...]  # type: ignore[valid-type]
    operators: tuple[Literal[tuple(OPERATORS)], ...] = ("transfer",)  # type: ignore[valid-type]
    levels: tuple[float, ...] = (0,)
    """Of resolution, as the case counts them."""
    finer: float = 1
    """How many levels above the finest one the mesh lies that takes the place of the truth (bodies)."""
    layers: tuple[str, ...] = ("0.2",)
    """Conductivities of spheres, inside to outside: ``"0.2/0.05/0.2"``."""
    degrees: tuple[int, ...] = (1, 2, 3)
    """Of potentials on spheres."""
    left_out: tuple[Literal[tuple(LEFT_OUT)], ...] = ("none",)  # type: ignore[valid-type]
    """Regions that the operator leaves out, and the truth does not."""
    references: tuple[Literal["absolute", "average"], ...] = ("absolute",)
    """Zero of predicted and true leads: the operator's, or the mean over the leads, the only one of measured leads."""

    @field_validator("cases", "operators", "levels", "layers", "degrees", "left_out", "references")
    @classmethod
    def _some(cls, values: tuple) -> tuple:
        if not values:
            raise ValueError("must not be empty")
        return values

    @field_validator("degrees")
    @classmethod
    def _degrees(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= d <= 20 for d in values):
            raise ValueError("must be from 1 to 20")
        return values

    @model_validator(mode="after")
    def _possible(self) -> "ForwardBlock":
        for text in self.layers:
            layers_of(text)
        if self.finer <= 0:
            raise ValueError("finer must be positive: the mesh of the truth has to be finer than those it judges")
        if MEASURED in self.cases and (set(self.operators) != {"transfer"} or set(self.references) != {"average"}):
            raise ValueError(
                f"{MEASURED} has heart-surface potentials and leads without a zero: take the operator 'transfer' and "
                "the reference 'average'"
            )
        if "envelope" in self.operators and not set(self.cases) <= {"spheres", "phantom-surface"}:
            raise ValueError("'envelope' needs an envelope: take spheres or phantom-surface")
        return self


class ForwardStudy(BaseModel):
    """A study of forward operators."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    blocks: tuple[ForwardBlock, ...] = Field(min_length=1, alias="block")


def ready_forward_benches() -> dict[str, str]:
    """Names and titles of the studies that come with the package."""
    return ready_titles(_folder())


def _folder() -> Any:
    return resources.files("einthoven.studies") / "ready_forward_benches"


def forward_bench_text(text: str | Path) -> str:
    """Return the text of a study file, or of a study that comes with the package by its name."""
    return ready_text(text, _folder(), "study")


def load_forward_bench(text: str | Path) -> ForwardStudy:
    """Read a study file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or for what is wrong in it.
    """
    return checked_model(ForwardStudy, forward_bench_text(text), text)


# --- cells ------------------------------------------------------------------------------------------------------------


def forward_cells(study: ForwardStudy) -> list[Config]:
    """Return the cells of a study, all sources and references of one operator together."""
    found: dict[str, Config] = {}
    for block in study.blocks:
        for case in block.cases:
            spheres, bodies = case == "spheres", case not in ("spheres", MEASURED)
            layers = block.layers if spheres else ("",)
            sources = ["measured" if case == MEASURED else "fronts"]
            if spheres:
                sources = [f"degree {d}" for d in block.degrees]
            truth = {"truth_level": max(block.levels) + block.finer} if bodies else {}
            grid = product(layers, block.operators, block.left_out, block.levels, sources, block.references)
            for layer, operator, left_out, level, source, reference in grid:
                cell = {"case": case, "operator": operator, "left_out": left_out, "level": level, "source": source}
                cell |= {"reference": reference, **truth, **({"layers": layer} if spheres else {})}
                found[str(sorted(cell.items()))] = cell
    return list(found.values())


def cell_name(config: Config) -> str:
    """How a cell is called in messages."""
    names = ("case", "layers", "operator", "left_out", "level", "source", "reference")
    return ", ".join(f"{config[k]}" for k in names if k in config)


class Built(NamedTuple):
    """An operator, and what building it took."""

    operator: ForwardOperator
    body: Body
    seconds: float
    processor_seconds: float
    peak_mb: float | None


@lru_cache(maxsize=4)
def built(case: str, operator: str, level: float | int, layers: str, left_out: str) -> Built:
    """Build an operator; kernels are compiled before the clock starts."""
    made = body(case, level, layers=layers or "0.2", left_out=left_out)
    _compiled()
    with PeakMemory() as memory:
        begun, busy = time.perf_counter(), time.process_time()
        found = OPERATORS[operator](made)
        seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    return Built(found, made, seconds, busy, memory.mb)


@lru_cache(maxsize=1)
def _compiled() -> None:
    for make in OPERATORS.values():
        make(body("spheres", 0))


def compute_cell(config: Config) -> CellResult:
    """Predict the leads by one operator, and score them."""
    case, layers = str(config["case"]), str(config.get("layers", ""))
    one = built(case, config["operator"], float(config["level"]), layers, config["left_out"])
    estimate, truth = _leads(one, config)
    if config["reference"] == "average":
        estimate, truth = (x - x.mean(axis=0) for x in (estimate, truth))
    record = {m.name: float(m(estimate, truth)) for m in (relative_error, rdm, mag, correlation)}
    record |= {
        "heart_nodes": one.body.heart.n_points,
        "other_nodes": sum(r.surface.n_points for r in one.body.conductor.regions),
        "leads": one.operator.n_out,
        "seconds": one.seconds,
        "processor_seconds": one.processor_seconds,
        "peak_mb": one.peak_mb,
    }
    return CellResult({k: v for k, v in record.items() if v is not None and np.isfinite(v)})


def _leads(one: Built, config: Config) -> tuple[Float[np.ndarray, "m t"], Float[np.ndarray, "m t"]]:
    """Predicted and true leads, mV."""
    case, operator = str(config["case"]), str(config["operator"])
    if case == "spheres":
        degree = int(str(config["source"]).split()[1])
        exact = sphere_answer(one.body, degree, config["layers"], operator)
        return one.operator.apply(sphere_source(one.body, degree)), exact
    if case == MEASURED:
        source, measured = measured_pair(one.body)
        return one.operator.apply(source), measured
    truth = _truth(case, operator, float(config["truth_level"]))
    return one.operator.apply(front_source(case, one.body)), truth


@lru_cache(maxsize=4)
def _truth(case: str, operator: str, level: float | int) -> Float[np.ndarray, "m t"]:
    """Leads of fronts on a fine mesh, nothing left out."""
    fine = body(case, level)
    return OPERATORS[operator](fine).apply(front_source(case, fine))


def run_forward_bench(
    study: ForwardStudy, store: ResultsStore, *, workers: Workers = 1, progress: Progress = silent
) -> tuple[list[Row], Sweep]:
    """Compute the cells that a store lacks; returns one flat row per cell, and what was done."""
    cells = forward_cells(study)
    sweep = run_cells(cells, compute_cell, store, progress, workers=workers, name=cell_name)
    return [{**cell, **store.get(cell).record} for cell in cells], sweep


def forward_table(rows: Sequence[Row]) -> list[Row]:
    """One line per case, layers, operator, regions left out, reference and level: medians over sources, and the worst.

    On spheres the error of every degree is there, too, as ``error_degree_1``, ...
    """
    lines = []
    for key, here in grouped(rows, LINE).items():
        line: Row = {k: v for k, v in zip(LINE, key, strict=True) if v is not None}
        line |= {k: here[0][k] for k in ("heart_nodes", "other_nodes", "leads")} | {"sources": len(here)}
        for score in SCORES:
            values = [r[score] for r in here if score in r]
            if values:
                line[score] = float(np.median(values))
        line["worst_relative_error"] = max(r["relative_error"] for r in here)
        for row in here:
            if str(row["source"]).startswith("degree"):
                line[f"error_{str(row['source']).replace(' ', '_')}"] = row["relative_error"]
        timed = ("seconds", "processor_seconds", "peak_mb")
        lines.append(line | {k: here[0][k] for k in timed if k in here[0]})
    return lines


def _found(study: ForwardStudy, folder: Path, *, workers: Workers, progress: Progress) -> Found:
    """Cells, and medians over sources."""
    store = ResultsStore(folder / "store", version=f"bench forward {einthoven.__version__} {VERSION}")
    rows, _ = run_forward_bench(study, store, workers=workers, progress=progress)
    return Found({"cells": rows, "table": forward_table(rows)})


#: ``einthoven bench forward``.
FORWARD = Bench("forward", ready_forward_benches, forward_bench_text, load_forward_bench, _found)
