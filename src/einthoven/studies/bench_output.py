"""Running a comparison of any kind and writing what it gives: tables, files, page."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from pydantic import BaseModel

from einthoven.core.progress import Progress, silent
from einthoven.studies.output import (
    SEAL,
    make_folder,
    need_pyarrow,
    plain,
    staged,
    without_none,
    write_json,
    write_parquet,
    write_rows,
)
from einthoven.studies.provenance import machine, versions
from einthoven.studies.sweep import Workers

Row = dict[str, Any]

#: Tables of comparisons.
TABLES = ("cells", "table", "gate", "curves")

#: What comparisons write besides their stores and sets.
OWNED = (
    *(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")),
    *("curves", "figures", "weights", "run.toml", "report.html", SEAL),
)


class Found(NamedTuple):
    """What the cells of a study give.

    Parameters
    ----------
    tables
        Rows by name; ``cells`` has one per cell, ``table`` what is told of them.
    files
        Contents of other files by their path in the folder.
    """

    tables: Mapping[str, list[Row]]
    files: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class Bench:
    """A kind of comparison.

    Parameters
    ----------
    name
        As in ``einthoven bench NAME``.
    ready
        Names and titles of the studies that come with the package.
    text, load
        From a study file or a name to its text and to the study, checked.
    compute
        ``compute(study, folder, workers=..., progress=...)`` computes what the folder's store lacks.
    """

    name: str
    ready: Callable[[], dict[str, str]]
    text: Callable[[str | Path], str]
    load: Callable[[str | Path], BaseModel]
    compute: Callable[..., Found]


@dataclass(frozen=True)
class BenchResult:
    """A finished comparison.

    Parameters
    ----------
    study
        What was compared; it has a ``title``.
    tables
        As of `Found`.
    provenance
        Versions and machine.
    """

    study: Any
    tables: Mapping[str, list[Row]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """One per cell."""
        return self.tables["cells"]

    @property
    def table(self) -> list[Row]:
        """What is told of the cells."""
        return self.tables["table"]


def grouped(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple, list[Row]]:
    """Rows by the values of some keys (None where one is missing), in the order in which they come."""
    found: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row.get(k) for k in keys)].append(row)
    return dict(found)


def write_bench(
    bench: Bench,
    study: BaseModel,
    folder: Path,
    *,
    workers: Workers = 1,
    page: Callable[[BenchResult, Path], object] | None,
    parquet: bool = False,
    progress: Progress = silent,
) -> BenchResult:
    """Compute what the folder's store lacks, and write tables, files and page.

    Parameters
    ----------
    bench, study
        A kind of comparison, and a study as its `Bench.load` reads it.
    folder
        Made if needed; its ``store`` keeps the cells, which other studies in the same folder share.
    workers
        Processes, or the address of a dask scheduler.
    page
        Writes ``report.html`` and figures beside it; None for no page. (Handed in, because pages are a layer above.)
    parquet
        Also write every table as Parquet.
    progress
        Told after each cell.

    Raises
    ------
    InputError
        For Parquet without PyArrow, before anything is computed.
    """
    if parquet:
        need_pyarrow()
    make_folder(folder)
    found = bench.compute(study, folder, workers=workers, progress=progress)
    provenance = {"study": study.model_dump(mode="json", by_alias=True), "versions": versions(), "machine": machine()}
    result = BenchResult(study, found.tables, provenance)
    with staged(folder, owned=OWNED) as stage:
        for name, rows in found.tables.items():
            if rows:
                write_rows(stage / f"{name}.csv", rows)
            if rows and parquet:
                write_parquet(stage / f"{name}.parquet", rows)
        for name, content in found.files.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(content)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(provenance))), encoding="utf-8")
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, result.table)
    return result
