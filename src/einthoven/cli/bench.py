"""``einthoven bench``: comparisons of methods from a study file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from einthoven.cli import console
from einthoven.cli.options import (
    JsonOption,
    ListOption,
    OutOption,
    PageOption,
    ParquetOption,
    SchedulerOption,
    ShowOption,
    StudyArgument,
    WorkersOption,
    workers_or,
)

if TYPE_CHECKING:
    from einthoven.studies.bench_output import Bench, BenchResult, Row

bench_app = typer.Typer(help="Compare methods on simulated and measured data, from a study file.", no_args_is_help=True)

#: What the terminal shows of the table of imaging methods; fits 110 columns.
OF_IMAGING = {
    "case": "case",
    "reference": "reference",
    "sigma": "noise mV",
    "disturbance": "disturbance",
    "size": "size",
    "method": "method",
    "data_sets": "sets",
    "error": "error",
    "over_stre": "/ STRE",
    "activation_error_ms": "LAT ms",
    "localization_error_mm": "site mm",
    "told_chi2": "chi2",
    "seconds": "s",
}

#: The same for surrogates.
OF_SURROGATES = {
    "scored_on": "scored on",
    "model": "model",
    "training_sheets": "sheets",
    "seeds": "seeds",
    "r2_mean": "R2 mean",
    "r2_mean_low": "worst seed",
    "r2_p05": "5 %",
    "r2_min": "least",
    "activation_error_ms": "LAT ms",
    "training_seconds": "s",
}

#: The same for forward operators.
OF_OPERATORS = {
    "case": "case",
    "layers": "layers",
    "operator": "operator",
    "left_out": "left out",
    "reference": "reference",
    "level": "level",
    "heart_nodes": "heart",
    "other_nodes": "others",
    "relative_error": "error",
    "worst_relative_error": "worst",
    "rdm": "RDM",
    "mag": "MAG",
    "seconds": "s",
    "peak_mb": "MB",
}


@dataclass(frozen=True)
class _Shown:
    """How a kind of comparison is told: columns, rows, what the figures are, and the page."""

    columns: Mapping[str, str]
    rows: "Callable[[list[Row]], list[Row]]"
    notes: tuple[str, ...]
    page: "Callable[[BenchResult, Path], object]"


@bench_app.command("inverse")
def bench_inverse(
    study: StudyArgument = None,
    out: OutOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    list_: ListOption = False,
    show: ShowOption = False,
    page: PageOption = True,
    parquet: ParquetOption = False,
    json: JsonOption = False,
) -> None:
    """Compare imaging methods on simulated waves: cells are stored as they finish; an interrupted run goes on."""
    from einthoven.report.bench_page import write_bench_page
    from einthoven.studies.bench_inverse import INVERSE
    from einthoven.studies.bench_tables import error_key

    def rows(table: "list[Row]") -> "list[Row]":
        return [row | {"error": row.get(error_key(row["reference"]))} for row in table]

    notes = (
        "Medians over data sets; error is relative, without the mean where the reference is average;",
        "/ STRE is the ratio to spatiotemporal regularization with the weight that only an oracle knows.",
    )
    told = _Shown(OF_IMAGING, rows, notes, write_bench_page)
    options = _Options(workers_or(workers, scheduler), list_, show, page, parquet, json)
    _bench(INVERSE, told, study, out, options)


@bench_app.command("surrogate")
def bench_surrogate(
    study: StudyArgument = None,
    out: OutOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    list_: ListOption = False,
    show: ShowOption = False,
    page: PageOption = True,
    parquet: ParquetOption = False,
    json: JsonOption = False,
) -> None:
    """Train and compare surrogates: sets are simulated, trainings stored as they finish; an interrupted run goes on."""
    from einthoven.report.bench_surrogate_page import write_surrogate_bench_page
    from einthoven.studies.bench_surrogate import SURROGATE

    def rows(table: "list[Row]") -> "list[Row]":
        return sorted((r for r in table if r["condition"] == "all"), key=lambda r: (r["scored_on"], -r["r2_mean"]))

    notes = ("Means over seeds; R2 over sheets and electrodes, raw amplitudes. Per condition: table.csv, the page.",)
    told = _Shown(OF_SURROGATES, rows, notes, write_surrogate_bench_page)
    options = _Options(workers_or(workers, scheduler), list_, show, page, parquet, json)
    _bench(SURROGATE, told, study, out, options)


@bench_app.command("forward")
def bench_forward(
    study: StudyArgument = None,
    out: OutOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    list_: ListOption = False,
    show: ShowOption = False,
    page: PageOption = True,
    parquet: ParquetOption = False,
    json: JsonOption = False,
) -> None:
    """Compare forward operators with exact, finer or measured leads; an interrupted run goes on."""
    from einthoven.report.bench_forward_page import write_forward_bench_page
    from einthoven.studies.bench_forward import FORWARD

    notes = (
        "Medians over sources (degrees, fronts or measured frames together); worst: the largest error of a source.",
    )
    told = _Shown(OF_OPERATORS, list, notes, write_forward_bench_page)
    options = _Options(workers_or(workers, scheduler), list_, show, page, parquet, json)
    _bench(FORWARD, told, study, out, options)


@dataclass(frozen=True)
class _Options:
    """What is asked of a comparison."""

    workers: int | str
    list_: bool
    show: bool
    page: bool
    parquet: bool
    json: bool


def _bench(bench: "Bench", told: _Shown, study: str | None, out: Path | None, options: _Options) -> None:
    """List, show or run the studies of one kind."""
    from einthoven.core import InputError
    from einthoven.studies.bench_output import write_bench

    if options.list_:
        _list(bench)
        return
    if study is None:
        raise InputError(
            f"name a study file or a ready-made study; `einthoven bench {bench.name} --list` shows the latter."
        )
    if options.show:
        console.say(bench.text(study).rstrip())
        return
    loaded: Any = bench.load(study)
    if out is None:
        raise InputError("give a folder for the results, for example --out out/bench.")
    try:
        with console.progress(quiet=options.json) as advance:
            result = write_bench(
                bench, loaded, out, workers=options.workers, page=told.page if options.page else None,
                parquet=options.parquet, progress=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: the cells that were done are kept.", code=130)
    if options.json:
        console.say_json(result.table)
        return
    console.table(told.rows(result.table), told.columns, title=f"{study}: {loaded.title}")
    for note in told.notes:
        console.say(note)
    console.say(f"{'page' if options.page else 'results'}: {out / 'report.html' if options.page else out}")


def _list(bench: "Bench") -> None:
    """Ready-made studies, and the names that a study can hold."""
    console.say(f"ready-made studies (einthoven bench {bench.name} NAME --out DIR):")
    for name, title in bench.ready().items():
        console.say(f"  {name:<20}{title}")
    if bench.name == "inverse":
        from einthoven.inverse.physics.registry import configurations
        from einthoven.inverse.registry import METHODS
        from einthoven.studies.disturbances import KINDS

        console.say(f"classical methods, as METHOD:RULE: {', '.join(METHODS)}")
        console.say(f"solvers with cell physics, or a TOML file of your own: {', '.join(configurations())}")
        console.say(f"disturbances: {'; '.join(f'{name} ({kind.unit})' for name, kind in KINDS.items())}")
    if bench.name == "forward":
        from einthoven.studies.forward_cases import CASES, LEFT_OUT, OPERATORS

        console.say(f"cases: {', '.join(CASES)}")
        console.say(f"operators: {', '.join(OPERATORS)}; left out: {', '.join(LEFT_OUT)}")
