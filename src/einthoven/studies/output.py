"""Writing results so that a folder that looks whole is whole."""

import csv
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from einthoven.core import InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.studies.forward import ForwardResult
from einthoven.studies.provenance import case_checksums, machine, versions
from einthoven.studies.results import ImagingResult

#: Written last and removed first: a folder that has it is complete.
SEAL = "metrics.json"

#: What `write_imaging` writes only sometimes: removed where it would be an earlier run's.
SOMETIMES = ("training.csv", "foci.csv", "report.html")


@contextmanager
def staged(folder: Path, *, seal: str = SEAL, owned: Sequence[str] = ()) -> Iterator[Path]:
    """Give a temporary folder; on success its entries replace those of `folder`, `seal` last.

    Entries named in `owned` that the temporary folder lacks are removed: they would be those of an earlier run.

    Raises
    ------
    InputError
        If `folder` is a file or cannot be written.
    """
    make_folder(folder)
    try:
        _sweep(folder)
        stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as problem:
        raise InputError(f"{folder}: cannot be written ({problem.strerror}); choose another --out.") from None
    try:
        yield stage
        (folder / seal).unlink(missing_ok=True)
        for name in owned:
            _remove(folder / name)
        for entry in sorted(stage.iterdir(), key=lambda e: e.name == seal):
            target = folder / entry.name
            if target.is_dir():
                _remove(target)
            os.replace(entry, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for results if it is not there; raises `InputError` if it cannot be one."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder}: cannot be written ({problem.strerror}); choose another --out.") from None


def check_folder(folder: Path) -> None:
    """Raise `InputError` if a folder for results cannot be one, without making it."""
    if not str(folder).strip() or folder == Path():
        raise InputError("--out must name a folder; got nothing, or the current folder. Example: --out out/mine.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: --out must be a folder; this is a file.")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed runs have left behind: temporary folders untouched for an hour."""
    for left in folder.glob(".partial-*"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)


def plain(value: Any) -> Any:
    """Return a value that JSON and TOML can hold; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def without_none(value: Any) -> Any:
    """Return the value without the entries of its tables that are None, which TOML cannot hold."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_none(v) for v in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON."""
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write flat rows as CSV; a key missing from a row leaves its cell empty."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: plain(v) for k, v in row.items()} for row in rows)


def need_pyarrow() -> None:
    """Raise `InputError` unless PyArrow, which writes Parquet, is there."""
    if find_spec("pyarrow") is None:
        raise InputError("Parquet needs PyArrow, which is not installed: run `pip install 'einthoven[parquet]'`.")


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write flat rows as Parquet, one type per column; a key missing from a row, or a number not finite, is null.

    Whole numbers among others become floating ones; a column of texts and numbers is one of texts.
    """
    import pyarrow
    from pyarrow.parquet import write_table

    columns = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [plain(row.get(key)) for row in rows]
        kinds = {type(v) for v in values if v is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            values = [None if v is None else str(v) for v in values]
        columns[key] = pyarrow.array(values, type=pyarrow.float64() if kinds == {int, float} else None)
    write_table(pyarrow.table(columns), path)


def write_imaging(
    result: ImagingResult,
    folder: Path,
    *,
    page: Callable[[ImagingResult, Path], object] | None,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write metrics, reconstructions, activation maps, trainings, foci, the run file and the page.

    Parameters
    ----------
    result
        As returned by `image_case`.
    folder
        Made if needed; entries of an earlier run are replaced when the new ones are complete.
    page
        Writes ``report.html``; None for no page. (Handed in, because pages are a layer above.)
    progress
        Told after each file.

    Returns
    -------
    dict
        File name to path.
    """
    rows = [picture.metrics for picture in result.images]
    with staged(folder, owned=SOMETIMES) as stage:
        write_reconstructions(result, stage / "reconstruction.zarr")
        progress("writing", 1, 3)
        write_activation(result, stage / "activation.csv")
        for name, found in (("training.csv", training_rows(result)), ("foci.csv", foci_rows(result))):
            if found:
                write_rows(stage / name, found)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(result.provenance))), encoding="utf-8")
        write_rows(stage / "metrics.csv", rows)
        progress("writing", 2, 3)
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, rows if len(rows) > 1 else rows[0])
        names = [entry.name for entry in stage.iterdir()]
    progress("writing", 3, 3)
    return {name: folder / name for name in names}


def write_reconstructions(result: ImagingResult, path: Path) -> None:
    """Write every estimate by method, its standard deviation, the recording and the truth as one Zarr store."""
    from einthoven.io.zarr_store import save_zarr

    objects: dict[str, Any] = {picture.metrics["method"]: picture.reconstruction for picture in result.images}
    for picture in result.images:
        if picture.physics is not None and picture.physics.spread is not None:
            objects[f"{picture.metrics['method']} spread"] = picture.physics.spread.potential
    objects["recording"] = result.recording
    if result.truth is not None:
        objects["truth"] = result.truth
    save_zarr(objects, path)


def write_activation(result: ImagingResult, path: Path) -> None:
    """Write one row per node: name, coordinates (mm), activation time (ms) by method and truth, its spread."""
    surface = result.source.surface
    columns = {p.metrics["method"]: p.activation for p in result.images if p.activation is not None}
    for picture in result.images:
        if picture.physics is not None and picture.physics.activation_spread is not None:
            columns[f"{picture.metrics['method']}_spread"] = picture.physics.activation_spread
    if result.truth_activation is not None and result.truth is not None:
        position = {name: i for i, name in enumerate(surface.node_names)}
        truth = np.full(surface.n_points, np.nan)
        truth[[position[s] for s in result.truth.sites]] = result.truth_activation
        columns["truth"] = truth
    rows = []
    for i, (name, (x, y, z)) in enumerate(zip(surface.node_names, surface.points, strict=True)):
        row: dict[str, Any] = {"node": name, "x_mm": x, "y_mm": y, "z_mm": z}
        row |= {f"{key}_ms": round(float(v[i]), 3) if np.isfinite(v[i]) else None for key, v in columns.items()}
        rows.append(row)
    write_rows(path, rows)


def training_rows(result: ImagingResult) -> list[dict[str, Any]]:
    """Course of every training, one row per step: cost, chi2, root mean square of the residuals and their tau."""
    rows = []
    for picture in result.images:
        history = None if picture.physics is None else picture.physics.history
        if history is None:
            continue
        names = ("cost", "chi2", "physics_rms", "tolerance")
        for step, values in enumerate(zip(*history, strict=True), start=1):
            told = {name: float(f"{value:.6g}") for name, value in zip(names, values, strict=True)}
            rows.append({"method": picture.metrics["method"], "step": step, **told})
    return rows


def foci_rows(result: ImagingResult) -> list[dict[str, Any]]:
    """Foci of every wave that was fitted: place (mm) and onset (ms)."""
    rows = []
    for picture in result.images:
        for k, focus in enumerate(() if picture.physics is None else picture.physics.foci, start=1):
            place = dict(zip(("x_mm", "y_mm", "z_mm"), map(float, focus.position), strict=True))
            rows.append({"method": picture.metrics["method"], "focus": k, **place, "onset_ms": focus.onset})
    return rows


def write_forward(result: ForwardResult, folder: Path, *, prediction: Recording | None) -> None:
    """Write the operator (Zarr and npz), its checks and, if there is one, the predicted recording."""
    from einthoven.io import write
    from einthoven.io.zarr_store import save_operator

    with staged(folder) as stage:
        save_operator(result.operator, stage / "operator.zarr")
        save_operator(result.operator, stage / "operator.npz")
        if prediction is not None:
            write(prediction, stage / "prediction.zarr")
            write(prediction, stage / "prediction.csv")
        run = {"case": result.case.name, "versions": versions(), "machine": machine(), "data": dict(result.case.info)}
        run["checksums"] = case_checksums(result.case)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(run))), encoding="utf-8")
        summary = result.report.as_dict()
        write_json(stage / SEAL, summary)
        write_rows(stage / "metrics.csv", [{k: v for k, v in summary.items() if np.ndim(v) == 0}])
