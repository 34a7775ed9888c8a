"""Running a comparison and writing what it gives: cells, tables, page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

import einthoven
from einthoven.core.progress import Progress, silent
from einthoven.studies.bench_inverse import VERSION, BenchStudy, run_bench
from einthoven.studies.bench_tables import Row, curves, gate_counts, summary
from einthoven.studies.output import SEAL, make_folder, plain, staged, without_none, write_json, write_rows
from einthoven.studies.provenance import machine, versions
from einthoven.studies.store import ResultsStore
from einthoven.studies.sweep import Workers

#: What a comparison writes besides its store.
OWNED = ("cells.csv", "table.csv", "gate.csv", "curves.csv", "curves", "run.toml", "report.html", SEAL)


@dataclass(frozen=True)
class BenchResult:
    """A finished comparison.

    Parameters
    ----------
    study
        What was compared.
    rows
        One per cell.
    table
        One per geometry, case, reference, noise and method (`einthoven.studies.bench_tables.summary`).
    gate
        How often the gate opens, and how often it is wrong.
    curves
        One per disturbance, size and method (`einthoven.studies.bench_tables.curves`).
    provenance
        Versions and machine.
    """

    study: BenchStudy
    rows: list[Row]
    table: list[Row]
    gate: list[Row]
    curves: list[Row]
    provenance: dict[str, Any]


def write_bench(
    study: BenchStudy,
    folder: Path,
    *,
    workers: Workers = 1,
    page: Callable[[BenchResult, Path], object] | None,
    progress: Progress = silent,
) -> BenchResult:
    """Compute what the folder's store lacks, and write cells, tables and page.

    Parameters
    ----------
    study
        As read by `load_bench`.
    folder
        Made if needed; its ``store`` keeps the cells, which other studies in the same folder share.
    workers
        Processes, or the address of a dask scheduler.
    page
        Writes ``report.html`` and figures beside it; None for no page. (Handed in, because pages are a layer above.)
    progress
        Told after each cell.
    """
    make_folder(folder)
    store = ResultsStore(folder / "store", version=f"bench {einthoven.__version__} {VERSION}")
    rows, _ = run_bench(study, store, workers=workers, progress=progress)
    provenance = {"study": study.model_dump(mode="json", by_alias=True), "versions": versions(), "machine": machine()}
    result = BenchResult(study, rows, summary(rows), gate_counts(rows), curves(rows), provenance)
    with staged(folder, owned=OWNED) as stage:
        write_rows(stage / "cells.csv", result.rows)
        write_rows(stage / "table.csv", result.table)
        write_rows(stage / "gate.csv", result.gate)
        if result.curves:
            write_rows(stage / "curves.csv", result.curves)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(provenance))), encoding="utf-8")
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, result.table)
    return result
