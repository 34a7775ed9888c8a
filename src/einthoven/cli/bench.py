"""``einthoven bench``: comparisons of methods from a study file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from einthoven.cli import console
from einthoven.cli.options import SchedulerOption, WorkersOption, workers_or

if TYPE_CHECKING:
    from einthoven.studies.bench_inverse import BenchStudy

bench_app = typer.Typer(help="Compare methods on simulated data, from a study file.", no_args_is_help=True)

#: What the terminal shows of the table; fits 110 columns.
COLUMNS = {
    "case": "case",
    "reference": "reference",
    "sigma": "noise mV",
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


@bench_app.command("inverse")
def bench_inverse(
    study: Annotated[
        str | None, typer.Argument(help="A study file (.toml), or the name of a ready-made study.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; made if needed.")] = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    list_: Annotated[bool, typer.Option("--list", help="List the ready-made studies and the solvers.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the study file, to start your own from.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON and nothing else.")] = False,
) -> None:
    """Compare imaging methods on simulated waves: cells are stored as they finish; an interrupted run goes on."""
    from einthoven.core import InputError
    from einthoven.studies.bench_inverse import bench_text, load_bench

    if list_:
        _list()
        return
    if study is None:
        raise InputError("name a study file or a ready-made study; `einthoven bench inverse --list` shows the latter.")
    if show:
        console.say(bench_text(study).rstrip())
        return
    loaded = load_bench(study)
    if out is None:
        raise InputError("give a folder for the results, for example --out out/bench.")
    _run(study, loaded, out, workers=workers_or(workers, scheduler), page=page, json=json)


def _run(name: str, study: "BenchStudy", out: Path, *, workers: int | str, page: bool, json: bool) -> None:
    from einthoven.report.bench_page import write_bench_page
    from einthoven.studies.bench_output import write_bench
    from einthoven.studies.bench_tables import error_key

    try:
        with console.progress(quiet=json) as advance:
            result = write_bench(study, out, workers=workers, page=write_bench_page if page else None, progress=advance)
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: the cells that were done are kept.", code=130)
    if json:
        console.say_json(result.table)
        return
    rows = [row | {"error": row.get(error_key(row["reference"]))} for row in result.table]
    console.table(rows, COLUMNS, title=f"{name}: {study.title}")
    console.say("Medians over data sets; error is relative, without the mean where the reference is average;")
    console.say("/ STRE is the ratio to spatiotemporal regularization with the weight that only an oracle knows.")
    console.say(f"{'page' if page else 'results'}: {out / 'report.html' if page else out}")


@bench_app.command("surrogate")
def bench_surrogate(
    study: Annotated[
        str | None, typer.Argument(help="A study file (.toml), or the name of a ready-made study.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; made if needed.")] = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    list_: Annotated[bool, typer.Option("--list", help="List the ready-made studies.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the study file, to start your own from.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON and nothing else.")] = False,
) -> None:
    """Train and compare surrogates: sets are simulated, trainings stored as they finish; an interrupted run goes on."""
    from einthoven.core import InputError
    from einthoven.report.bench_surrogate_page import write_surrogate_bench_page
    from einthoven.studies.bench_surrogate import load_surrogate_bench, ready_surrogate_benches, surrogate_bench_text
    from einthoven.studies.bench_surrogate_output import write_surrogate_bench

    if list_:
        for name, title in ready_surrogate_benches().items():
            console.say(f"{name:<20}{title}")
        return
    if study is None:
        raise InputError("name a study file or a ready-made study; `einthoven bench surrogate --list` shows these.")
    if show:
        console.say(surrogate_bench_text(study).rstrip())
        return
    loaded, who = load_surrogate_bench(study), workers_or(workers, scheduler)
    if out is None:
        raise InputError("give a folder for the results, for example --out out/bench.")
    try:
        with console.progress(quiet=json) as advance:
            result = write_surrogate_bench(
                loaded, out, workers=who, page=write_surrogate_bench_page if page else None, progress=advance
            )
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: what was done is kept.", code=130)
    if json:
        console.say_json(result.table)
        return
    shown = sorted((r for r in result.table if r["condition"] == "all"), key=lambda r: (r["scored_on"], -r["r2_mean"]))
    console.table(shown, OF_SURROGATES, title=f"{study}: {loaded.title}")
    console.say("Means over seeds; R2 over sheets and electrodes, raw amplitudes. Per condition: table.csv, the page.")
    console.say(f"{'page' if page else 'results'}: {out / 'report.html' if page else out}")


def _list() -> None:
    from einthoven.inverse.physics.registry import configurations
    from einthoven.inverse.registry import METHODS
    from einthoven.studies.bench_inverse import ready_benches

    console.say("ready-made studies (einthoven bench inverse NAME --out DIR):")
    for name, title in ready_benches().items():
        console.say(f"  {name:<18}{title}")
    console.say(f"classical methods, as METHOD:RULE: {', '.join(METHODS)}")
    console.say(f"solvers with cell physics, or a TOML file of your own: {', '.join(configurations())}")
