"""Data sets of simulated sheets: made from a recipe, stored sheet by sheet, read again as NumPy arrays.

A set is a folder with ``recipe.toml`` and a store (`einthoven.studies.store`) with one cell per sheet: what an
interrupted run has made stays, more sheets of a condition are added by a larger count, several processes may work on
one set. The movie is kept in whole steps of 1/256 mV, or of twice that and so on where it is large (16 bits),
compressed.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w

import einthoven
from einthoven.core import InputError
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.io.atomic import replacing
from einthoven.io.ready_files import checked_model, ready_text, ready_titles
from einthoven.studies.output import make_folder
from einthoven.studies.store import Cell, CellResult, Config, ResultsStore
from einthoven.studies.sweep import Sweep, Workers, run_cells
from einthoven.surrogate.recipe import SPLITS, Condition, SheetRecipe, split_of
from einthoven.surrogate.sheets import SheetData, simulate_sheet

#: Version of what a sheet's cell holds; changed where numbers change.
VERSION = "2"

#: Smallest step of a stored movie, mV.
MOVIE_STEP = 1.0 / 256

#: What a set writes besides its store.
RECIPE = "recipe.toml"

_ARRAYS = ("conducting", "diffusivity", "sites", "onsets", "electrodes", "activation", "recovery", "ecg")
_SHARED = (
    "size", "thickness", "spacing", "dt", "membrane", "t_end", "ecg_every", "movie_every", "movie_spacing", "seed"
)  # fmt: skip


# --- recipes ----------------------------------------------------------------------------------------------------------


def ready_recipes() -> dict[str, str]:
    """Names and titles of the recipes that come with the package."""
    return ready_titles(_folder())


def _folder() -> Any:
    return resources.files("einthoven.studies") / "ready_sheets"


def recipe_text(text: str | Path) -> str:
    """Return the text of a recipe: a TOML file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    return ready_text(text, _folder(), "recipe")


def load_recipe(text: str | Path) -> SheetRecipe:
    """Read a recipe: a TOML file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or for what is wrong in it.
    """
    return checked_model(SheetRecipe, recipe_text(text), text)


# --- making a set -----------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What a set takes.

    Parameters
    ----------
    sheets
        How many are to be simulated; those that are there do not count.
    seconds
        Of one process for one sheet.
    bytes
        Of one sheet, as stored.
    """

    sheets: int
    seconds: float
    bytes: float

    def said(self, workers: Workers) -> str:
        """In a sentence."""
        if not self.sheets:
            return "all sheets are there."
        processes, whose = (1, "one worker") if isinstance(workers, str) else (workers, f"{workers} process(es)")
        minutes = self.sheets * self.seconds / processes / 60
        time = f"{minutes:.0f} minutes" if minutes >= 2 else f"{60 * minutes:.0f} s"
        size = self.sheets * self.bytes / 1e6
        disk = f"{size / 1e3:.1f} GB" if size >= 1e3 else f"{size:.0f} MB"
        one = f"{self.seconds:.2g} s and {self.bytes / 1e6:.2g} MB each"
        return f"{self.sheets} sheets to simulate: about {time} with {whose}, {disk} of disk ({one})."


def sheet_cells(recipe: SheetRecipe) -> list[Config]:
    """Return the cells of a set: per sheet what decides it, and nothing else."""
    shared = recipe.model_dump(mode="json", include={*_SHARED, "electrodes"})
    cells = []
    for condition in recipe.conditions:
        own = condition.model_dump(mode="json", exclude={"sheets"})
        cells += [{"recipe": shared, "condition": own, "number": k} for k in range(condition.sheets)]
    return cells


def compute_sheet(config: Config) -> CellResult:
    """Simulate the sheet of a cell."""
    import time

    import numba

    numba.set_num_threads(1)  # sheets run side by side
    condition = Condition.model_validate({**config["condition"], "sheets": 1})
    recipe = SheetRecipe.model_validate({**config["recipe"], "title": "", "condition": [condition.model_dump()]})
    begun = time.perf_counter()
    data, drawn = simulate_sheet(recipe, condition, config["number"])
    record = {"condition": data.condition, "split": data.split, "number": data.number, "spacing": data.spacing}
    arrays = {name: getattr(data, name) for name in _ARRAYS}
    movie, step = packed(data.movie)
    arrays |= {"movie": movie, "movie_times": data.movie_times, "ecg_times": data.ecg_times}
    return CellResult({**record, **drawn, "movie_step": step, "seconds": time.perf_counter() - begun}, arrays)


def packed(movie: np.ndarray) -> tuple[np.ndarray, float]:
    """Whole steps of 16 bits, and the step, mV: the smallest of `MOVIE_STEP`, twice that, and so on, that has room."""
    step = MOVIE_STEP
    while np.abs(movie).max(initial=0) >= (2**15 - 1) * step:
        step *= 2
    return np.rint(movie / step).astype(np.int16), step


def measured_cost(recipe: SheetRecipe, folder: Path) -> Cost:
    """State what a set takes, from sheets that are there, or else from the first two, which are made for it.

    Raises
    ------
    InputError
        If a sheet cannot be simulated.
    """
    store, cells = _store(folder), sheet_cells(recipe)
    missing = store.missing(cells)
    there = [c for c in cells if c in store][:4]
    if len(there) < 2:  # the first one of a process compiles
        run_cells(cells[:2], compute_sheet, store)
        there, missing = cells[:2], store.missing(cells)
    found = [store.get(c) for c in there if c not in missing]
    size = np.mean([_disk_usage(cell.folder) for cell in found])
    return Cost(len(missing), min(float(cell.record["seconds"]) for cell in found), float(size))


def _disk_usage(folder: Path) -> int:
    """Bytes that a folder takes, in whole blocks of 4096."""
    return sum(-(-f.stat().st_size // 4096) * 4096 for f in folder.rglob("*") if f.is_file())


def make_sheets(recipe: SheetRecipe, folder: Path, *, workers: Workers = 1, progress: Progress = silent) -> Sweep:
    """Simulate the sheets that a folder lacks, and write the recipe.

    Parameters
    ----------
    recipe
        As read by `load_recipe`.
    folder
        Of the set; made if needed.
    workers
        Processes, or the address of a dask scheduler.
    progress
        Told after each sheet.

    Raises
    ------
    InputError
        If the folder holds a set that was made otherwise, the disk has no room, or a sheet cannot be simulated.
    """
    prepare_folder(recipe, folder)
    cost = measured_cost(recipe, folder)
    free = shutil.disk_usage(folder).free
    if cost.sheets * cost.bytes > 0.95 * free:
        raise InputError(
            f"{folder}: the disk has {free / 1e9:.1f} GB left and the set needs {cost.sheets * cost.bytes / 1e9:.1f}. "
            "Ask for fewer sheets, a longer movie_every or a larger movie_spacing."
        )
    return run_cells(sheet_cells(recipe), compute_sheet, _store(folder), progress, workers=workers, name=_name)


def prepare_folder(recipe: SheetRecipe, folder: Path) -> None:
    """Make the folder and write the recipe; refuse a folder whose sheets were made by another one."""
    make_folder(folder)
    path = folder / RECIPE
    if path.exists():
        there = checked_model(SheetRecipe, path.read_text(encoding="utf-8"), path)
        changed = [n for n in (*_SHARED, "electrodes") if getattr(there, n) != getattr(recipe, n)]
        if changed:
            raise InputError(
                f"{folder}: holds sheets of a recipe with another {', '.join(changed)}; choose another --out."
            )
    with replacing(path) as partial_path:
        values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
        partial_path.write_text(tomli_w.dumps(values), encoding="utf-8")


def _name(config: Config) -> str:
    return f"sheet {config['number']} of {config['condition']['name']!r}"


def _store(folder: Path) -> ResultsStore:
    return ResultsStore(folder / "store", version=f"sheets {einthoven.__version__} {VERSION}")


# --- reading a set ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SheetSet:
    """A stored set of sheets.

    Parameters
    ----------
    folder
        Where it is.
    recipe
        How it was made.

    Examples
    --------
    Batches for any framework, a tenth of the sheets held back for choosing and another for testing::

        sheets = SheetSet.open("out/sheets")
        for batch in sheets.batches("training", size=8, seed=epoch, fields=("movie", "ecg")):
            step(batch["movie"], batch["ecg"])  # (8, frames, x, y) and (8, electrodes, samples), NumPy
    """

    folder: Path
    recipe: SheetRecipe

    @classmethod
    def open(cls, folder: str | Path) -> "SheetSet":
        """Open a set.

        Raises
        ------
        InputError
            If the folder holds none.
        """
        path = Path(folder) / RECIPE
        if not path.is_file():
            raise InputError(f"{folder}: holds no set of sheets (no {RECIPE}); make one: einthoven surrogate generate.")
        return cls(Path(folder), load_recipe(path))

    def __repr__(self) -> str:
        return f"SheetSet({str(self.folder)!r}, {self.recipe.n_sheets} sheets of {self.recipe.size:g} mm)"

    def cells(self, split: str | None = None, condition: str | None = None) -> list[Config]:
        """Return the cells of a part of the set, in the recipe's order.

        Raises
        ------
        InputError
            If there is no such part, or some of its sheets were not made yet.
        """
        if split not in (None, *SPLITS):
            raise InputError(f"a set has the parts {', '.join(SPLITS)}; got {split!r}.")
        names = [c.name for c in self.recipe.conditions]
        if condition not in (None, *names):
            raise InputError(f"{self.folder}: there are the conditions {', '.join(names)}; got {condition!r}.")
        found = [
            c
            for c in sheet_cells(self.recipe)
            if split in (None, split_of(c["number"])) and condition in (None, c["condition"]["name"])
        ]
        store = _store(self.folder)
        lacking = [_name(c) for c in found if c not in store]
        if lacking:
            raise InputError(
                f"{self.folder}: {len(lacking)} of {len(found)} sheets are not there ({some(lacking, limit=2)}); run "
                "einthoven surrogate generate again to make them."
            )
        return found

    def sheets(self, split: str | None = None, condition: str | None = None) -> Iterator[SheetData]:
        """Read sheets one by one, in the recipe's order."""
        read = partial(read_sheet, self.folder)
        return map(read, self.cells(split, condition))

    def batches(
        self,
        split: str,
        *,
        size: int,
        seed: int | None = None,
        fields: Sequence[str] = ("movie", "ecg"),
        pixel: float | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Read stacked arrays of several sheets at a time, every sheet once.

        Parameters
        ----------
        split
            ``"training"``, ``"validation"`` or ``"test"``.
        size
            Sheets in a batch; the last one may have fewer.
        seed
            Of the order; None: the recipe's.
        fields
            Names of arrays of `SheetData` that are of one shape in all sheets.
        pixel
            Of the movie, mm; None: as stored.

        Raises
        ------
        InputError
            If there is no such field, its shape differs from sheet to sheet, or the size is not positive.
        """
        unknown = [f for f in fields if f not in SheetData.__dataclass_fields__]
        if unknown or size < 1:
            have = ", ".join(SheetData.__dataclass_fields__)
            raise InputError(f"batches need a positive size and fields of: {have}; got {size} and {', '.join(fields)}.")
        cells = self.cells(split)
        order = np.arange(len(cells)) if seed is None else np.random.default_rng(seed).permutation(len(cells))
        for start in range(0, len(cells), size):
            read = [read_sheet(self.folder, cells[k]) for k in order[start : start + size]]
            yield {name: _stacked(read, name, pixel) for name in fields}


def read_sheet(folder: Path, config: Config) -> SheetData:
    """Read the sheet of a cell, checked against its checksums."""
    cell: Cell = _store(folder).get(config)
    arrays: dict[str, Any] = {name: np.asarray(cell.load(name)) for name in (*_ARRAYS, "movie_times", "ecg_times")}
    movie = np.asarray(cell.load("movie")).astype(np.float32) * np.float32(cell.record.get("movie_step", MOVIE_STEP))
    names = ("condition", "split", "number", "spacing")
    return SheetData(**{n: cell.record[n] for n in names}, **arrays, movie=movie)


def _stacked(sheets: Sequence[SheetData], name: str, pixel: float | None) -> np.ndarray:
    parts = [s.coarser(pixel) if name == "movie" and pixel is not None else getattr(s, name) for s in sheets]
    shapes = {np.shape(p) for p in parts}
    if len(shapes) > 1:
        raise InputError(f"batches: {name} differs in shape from sheet to sheet ({some(shapes)}); read single sheets.")
    return np.stack(parts)
