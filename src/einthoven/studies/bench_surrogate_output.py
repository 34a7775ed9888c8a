"""Running a comparison of surrogates and writing what it gives: rows, table, weights, page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from einthoven.core.progress import Progress, silent
from einthoven.studies.bench_surrogate import SurrogateStudy, run_surrogate_bench, surrogate_table
from einthoven.studies.output import SEAL, make_folder, plain, staged, without_none, write_json, write_rows
from einthoven.studies.provenance import machine, versions
from einthoven.studies.surrogates import Row
from einthoven.studies.sweep import Workers

#: What a comparison writes besides its sets and its store.
OWNED = ("cells.csv", "table.csv", "weights", "run.toml", "report.html", SEAL)


@dataclass(frozen=True)
class SurrogateBenchResult:
    """A finished comparison.

    Parameters
    ----------
    study
        What was compared.
    rows
        One per training (or baseline), part of a set and condition.
    table
        The same, summed up over seeds (`einthoven.studies.bench_surrogate.surrogate_table`).
    provenance
        Versions and machine.
    """

    study: SurrogateStudy
    rows: list[Row]
    table: list[Row]
    provenance: dict[str, Any]


def write_surrogate_bench(
    study: SurrogateStudy,
    folder: Path,
    *,
    workers: Workers = 1,
    page: Callable[[SurrogateBenchResult, Path], object] | None,
    progress: Progress = silent,
) -> SurrogateBenchResult:
    """Compute what the folder lacks, and write rows, table, weights and page.

    Parameters
    ----------
    study
        As read by `load_surrogate_bench`.
    folder
        Made if needed; its ``sets`` and ``store`` keep sheets and cells, which other studies in the folder share.
    workers
        Processes, or the address of a dask scheduler.
    page
        Writes ``report.html``; None for no page. (Handed in, because pages are a layer above.)
    progress
        Told after each sheet and cell.
    """
    make_folder(folder)
    run = run_surrogate_bench(study, folder, workers=workers, progress=progress)
    provenance = {"study": study.model_dump(mode="json", by_alias=True), "versions": versions(), "machine": machine()}
    result = SurrogateBenchResult(study, run.rows, surrogate_table(run.rows), provenance)
    with staged(folder, owned=OWNED) as stage:
        write_rows(stage / "cells.csv", result.rows)
        write_rows(stage / "table.csv", result.table)
        (stage / "weights").mkdir()
        for name, content in run.weights.items():
            (stage / "weights" / f"{name}.npz").write_bytes(content)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(provenance))), encoding="utf-8")
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, result.table)
    return result
