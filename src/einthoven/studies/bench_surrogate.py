"""The comparison of surrogates (``einthoven bench surrogate STUDY.toml``): trainings, scores, the table.

A study is a list of blocks; a block is a grid of models, numbers of training sheets and seeds on one set, scored on
parts of sets. A cell is one training with its scores, or all baselines on one part; it is stored as it finishes, and a
training that was cut off goes on from its last epoch. Sets that are not there are simulated first.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

import einthoven
from einthoven.core.progress import Progress, silent
from einthoven.io.ready_files import checked_model, ready_text, ready_titles
from einthoven.studies.bench_output import Bench, Found
from einthoven.studies.output import plain
from einthoven.studies.sheet_sets import VERSION as SHEETS_VERSION
from einthoven.studies.sheet_sets import SheetSet, load_recipe, make_sheets
from einthoven.studies.store import Cell, CellResult, Config, ResultsStore
from einthoven.studies.surrogates import CARD_SCORES, Row, baselines, evaluate, trained_on
from einthoven.studies.sweep import Sweep, Workers, run_cells
from einthoven.surrogate.configuration import Configuration, load_configuration
from einthoven.surrogate.recipe import SPLITS, SheetRecipe
from einthoven.surrogate.weights import weights_content

#: Version of what a cell computes; changed where numbers change.
VERSION = "2"

#: The name under which baselines stand among the models of cells.
BASELINES = "baselines"


class SurrogateBlock(BaseModel):
    """A grid of trainings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...]
    """Configurations: names of those that come along, or TOML files."""
    trained_on: str
    """A recipe: the name of one that comes along, or a TOML file."""
    sheets: tuple[int, ...] = ()
    """Numbers of training sheets; none: all there are."""
    seeds: tuple[int, ...] = (0,)
    """Of weights and order."""
    scored_on: tuple[str, ...] = ()
    """Recipes, with ``:PART`` (test, all, ...) where it is not the test part; none: the set's own test part."""

    @field_validator("models", "seeds")
    @classmethod
    def _some(cls, values: tuple) -> tuple:
        if not values:
            raise ValueError("must not be empty")
        return values

    @field_validator("sheets")
    @classmethod
    def _positive(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(n < 1 for n in values):
            raise ValueError("must be positive")
        return values


class SurrogateStudy(BaseModel):
    """A study of surrogates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    blocks: tuple[SurrogateBlock, ...] = Field(min_length=1, alias="block")


def ready_surrogate_benches() -> dict[str, str]:
    """Names and titles of the studies that come with the package."""
    return ready_titles(_folder())


def _folder() -> Any:
    return resources.files("einthoven.studies") / "ready_surrogate_benches"


def surrogate_bench_text(text: str | Path) -> str:
    """Return the text of a study file, or of a study that comes with the package by its name."""
    return ready_text(text, _folder(), "study")


def load_surrogate_bench(text: str | Path) -> SurrogateStudy:
    """Read a study file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or for what is wrong in it.
    """
    study = checked_model(SurrogateStudy, surrogate_bench_text(text), text)
    for block in study.blocks:
        for model in block.models:
            load_configuration(model)
        for part in parts_of(block):
            load_recipe(part.name)
    return study


class Part(NamedTuple):
    """A part of a set, by the name of its recipe."""

    name: str
    split: str

    @property
    def folder(self) -> str:
        """Name of the set's folder."""
        return Path(self.name).stem


def parts_of(block: SurrogateBlock) -> list[Part]:
    """Return the parts of sets that a block is scored on."""
    found = []
    for text in block.scored_on or (block.trained_on,):
        name, _, split = text.rpartition(":")
        found.append(Part(name, split) if split in (*SPLITS, "all") and name else Part(text, "test"))
    return found


# --- cells ------------------------------------------------------------------------------------------------------------


def surrogate_cells(study: SurrogateStudy) -> list[Config]:
    """Return the cells of a study: trainings, and the baselines of every part that is scored."""
    found: dict[str, Config] = {}
    for block in study.blocks:
        parts = [_part_config(p) for p in parts_of(block)]
        recipe = _recipe_config(block.trained_on)
        for part in parts:
            cell = {"model": BASELINES, "recipe": recipe, "parts": [part]}
            found[_spelled(cell)] = cell
        for model, sheets, seed in product(block.models, block.sheets or (None,), block.seeds):
            settings = load_configuration(model).model_dump(mode="json", exclude={"title"})
            cell = {"model": Path(model).stem, "configuration": settings, "recipe": recipe, "parts": parts}
            cell |= {"sheets": sheets, "seed": seed}
            found[_spelled(cell)] = cell
    return list(found.values())


def _spelled(cell: Config) -> str:
    return json.dumps(cell, sort_keys=True)


def _recipe_config(name: str) -> dict[str, Any]:
    values = load_recipe(name).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"folder": Path(name).stem, **values}


def _part_config(part: Part) -> dict[str, Any]:
    return {"split": part.split, **_recipe_config(part.name)}


def _opened(folder: Path, config: Config) -> SheetSet:
    """The set of a cell."""
    values = {k: v for k, v in config.items() if k not in ("folder", "split")}
    return SheetSet(folder / "sets" / config["folder"], SheetRecipe.model_validate(values))


def cell_name(config: Config) -> str:
    """How a cell is called in messages."""
    if config["model"] == BASELINES:
        return f"baselines on {config['parts'][0]['folder']}:{config['parts'][0]['split']}"
    many = "all" if config["sheets"] is None else config["sheets"]
    return f"{config['model']}, {many} sheets of {config['recipe']['folder']}, seed {config['seed']}"


def compute_cell(config: Config, *, folder: Path, store: ResultsStore, progress: Progress = silent) -> CellResult:
    """Train and score, or score the baselines; the result holds the table as JSON text, and weights.

    Parameters
    ----------
    config
        Of the cell.
    folder
        Its ``sets`` holds the sets.
    store
        Keeps the checkpoints of the training.
    progress
        Told about steps.
    """
    sheets = _opened(folder, config["recipe"])
    parts = [(_opened(folder, part), part["split"]) for part in config["parts"]]
    if config["model"] == BASELINES:
        opened, split = parts[0]
        predictors = baselines(opened, ridge_of=sheets)
        table = evaluate(opened, predictors, split=split, progress=progress).table
        rows = [{**_told(row), "model": row["predictor"], **_part_told(config["parts"][0])} for row in table]
        return CellResult({"rows": len(rows)}, {"table": _bytes(json.dumps(plain(rows)).encode())})
    configuration = Configuration.model_validate({"title": config["model"], **config["configuration"]})
    result = trained_on(
        configuration.checked(config["model"]), sheets, store.workspace(config), seed=config["seed"],
        limit=config["sheets"], scored_on=parts, progress=progress,
    )  # fmt: skip
    card = result.card
    rows = [
        {"model": config["model"], **_part_told(part), **_told(row)}
        for part, group in zip(config["parts"], card["scores"], strict=True)
        for row in group["rows"]
    ]
    record = {k: card[k] for k in ("parameters", "training_sheets", "training_seconds", "best_epoch")}
    record |= {"rows": len(rows), "validation_score": card["validation"]["score"]}
    weights = weights_content(result.surrogate.net, plain(card))  # type: ignore[attr-defined]
    return CellResult(record, {"table": _bytes(json.dumps(plain(rows)).encode()), "weights": _bytes(weights)})


def _told(row: Row) -> Row:
    return {k: row[k] for k in ("condition", *CARD_SCORES) if k in row}


def _part_told(part: Config) -> Row:
    return {"scored_on": f"{part['folder']}:{part['split']}"}


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)


# --- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SurrogateBenchRun:
    """What a study gave.

    Parameters
    ----------
    rows
        One per training (or baseline), part and condition.
    weights
        Weights of every training as a file's content, by a name of model, set, sheets and seed.
    sweep
        What was computed.
    """

    rows: list[Row]
    weights: dict[str, bytes]
    sweep: Sweep


def run_surrogate_bench(
    study: SurrogateStudy, folder: Path, *, workers: Workers = 1, progress: Progress = silent
) -> SurrogateBenchRun:
    """Simulate the sets that are not there, compute the cells that the folder's store lacks.

    Parameters
    ----------
    study
        As read by `load_surrogate_bench`.
    folder
        Its ``sets`` holds one folder per set, its ``store`` the cells.
    workers
        Processes, or the address of a dask scheduler.
    progress
        Told after each sheet and cell.
    """
    names = {Path(n).stem: n for b in study.blocks for n in (b.trained_on, *(p.name for p in parts_of(b)))}
    for stem, name in names.items():
        make_sheets(load_recipe(name), folder / "sets" / stem, workers=workers, progress=progress)
    version = f"bench surrogate {einthoven.__version__} {VERSION} {SHEETS_VERSION}"
    store = ResultsStore((folder / "store").resolve(), version=version)
    cells = surrogate_cells(study)
    here = progress if workers == 1 else silent
    compute = partial(compute_cell, folder=folder.resolve(), store=store, progress=here)
    sweep = run_cells(cells, compute, store, progress, workers=workers, name=cell_name)
    rows, weights = [], {}
    for cell in cells:
        stored = store.get(cell)
        about = {"trained_on": cell["recipe"]["folder"], "seed": cell.get("seed")}
        about |= {k: v for k, v in stored.record.items() if k != "rows"}
        table = json.loads(_content(stored, "table"))
        rows += [{**row, **about, "learned": cell["model"] != BASELINES} for row in table]
        if "weights" in stored.names:
            trained = f"{cell['recipe']['folder']}-{stored.record['training_sheets']}"
            weights[f"{cell['model']}-{trained}-{cell['seed']}"] = _content(stored, "weights")
    return SurrogateBenchRun(rows, weights, sweep)


def _content(cell: Cell, name: str) -> bytes:
    return np.asarray(cell.load(name), dtype=np.uint8).tobytes()


def surrogate_table(rows: Sequence[Row]) -> list[Row]:
    """One line per part, condition, model and number of sheets: means over seeds, and the least and largest R2."""
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        keys = ("scored_on", "condition", "trained_on", "model", "training_sheets")
        groups[tuple(row.get(k) for k in keys)].append(row)
    lines = []
    for (part, condition, trained, model, sheets), here in groups.items():
        line: Row = {"scored_on": part, "condition": condition, "model": model, "learned": here[0]["learned"]}
        line |= {"trained_on": trained if here[0]["learned"] else None, "training_sheets": sheets, "seeds": len(here)}
        for score in (*CARD_SCORES, "training_seconds", "parameters"):
            values = [r[score] for r in here if r.get(score) is not None]
            if values:
                line[score] = float(np.mean(values))
        r2 = [r["r2_mean"] for r in here]
        lines.append(line | {"r2_mean_low": min(r2), "r2_mean_high": max(r2)})
    return lines


def _found(study: SurrogateStudy, folder: Path, *, workers: Workers, progress: Progress) -> Found:
    """Rows per training, part and condition, the same summed up over seeds, and weights."""
    run = run_surrogate_bench(study, folder, workers=workers, progress=progress)
    files = {f"weights/{name}.npz": content for name, content in run.weights.items()}
    return Found({"cells": run.rows, "table": surrogate_table(run.rows)}, files)


#: ``einthoven bench surrogate``.
SURROGATE = Bench("surrogate", ready_surrogate_benches, surrogate_bench_text, load_surrogate_bench, _found)
