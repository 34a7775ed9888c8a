"""``einthoven simulate``: tissue, activation, ECG from a study file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from einthoven.cli import console
from einthoven.cli.options import SchedulerOption, workers_or

if TYPE_CHECKING:
    from einthoven.studies.simulation import Cost
    from einthoven.studies.simulation_tables import SimulationStudy

#: What the terminal shows of ``metrics.json``; those that a study does not give are left out.
COLUMNS = {
    "run": "run",
    "cells": "cells",
    "activated": "activated",
    "activation_time_ms": "TAT ms",
    "cv_mm_per_ms": "CV mm/ms",
    "duration_ms": "APD ms",
    "ecg_amplitude_mv": "ECG mV",
    "qrs_ms": "QRS ms",
    "qt_ms": "QT ms",
    "singularities_most": "rotors",
    "seconds": "seconds",
}


def simulate(
    study: Annotated[
        str | None, typer.Argument(help="A study file (.toml), or the name of a ready-made study.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; made if needed.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, whatever is in --out.")] = False,
    workers: Annotated[int, typer.Option(help="Processes of a study with a sweep.")] = 1,
    scheduler: SchedulerOption = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    list_: Annotated[bool, typer.Option("--list", help="List the ready-made studies and the membrane models.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the study file, to start your own from.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the study, say what it costs, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON and nothing else.")] = False,
) -> None:
    """Simulate cardiac tissue and its ECG: activation, action potentials, leads, a page; resumes a run cut off."""
    from einthoven.core import InputError
    from einthoven.studies.simulation_config import load_study, study_text

    if list_:
        _list(json)
        return
    if study is None:
        raise InputError("name a study file or a ready-made study; `einthoven simulate --list` shows the latter.")
    if show:
        console.say(study_text(study).rstrip())
        return
    loaded = load_study(study)
    try:
        if check:
            _check(loaded, json)
        elif out is None:
            raise InputError(f"give a folder for the results: --out out/{loaded.name}.")
        else:
            _run(loaded, out, {"resume": not fresh, "workers": workers_or(workers, scheduler)}, page=page, json=json)
    except InputError as problem:
        text = str(problem).replace("start afresh", "start over with --fresh")
        raise InputError(text if study in text else f"{text.rstrip('.')} ({study}).") from None


def _run(study: "SimulationStudy", out: Path, how: dict[str, Any], *, page: bool, json: bool) -> None:
    from einthoven.report.simulation_page import write_simulation_page
    from einthoven.studies.simulation import run_study

    reached: dict[str, tuple[int, int]] = {}

    def announce(cost: "Cost") -> None:
        if not json:
            console.say(f"{study.name}: {cost.sentence()}")

    try:
        with console.progress(quiet=json) as advance:

            def note(step: str, done: int, total: int) -> None:
                reached[step] = (done, total)
                advance(step, done, total)

            result = run_study(study, out, note, page=write_simulation_page if page else None, announce=announce, **how)
    except KeyboardInterrupt:
        _interrupted(study, reached)
    rows = list(result.rows)
    if json:
        console.say_json(rows if len(rows) > 1 else rows[0])
        return
    if result.reused:
        console.say(f"{out} holds this study already, complete; --fresh computes it again.")
    console.table(rows, _swept(study) | COLUMNS)
    for note_ in result.notes:
        console.say(note_)
    console.say(f"{'page' if page else 'results'}: {out / 'report.html' if page else out}")


def _swept(study: "SimulationStudy") -> dict[str, str]:
    return {"run": "run"} | {name: name for name in study.sweep} if study.sweep else {}


def _interrupted(study: "SimulationStudy", reached: dict[str, tuple[int, int]]) -> NoReturn:
    """Say where it stopped and how to go on."""
    where = []
    if "cells" in reached and study.sweep:
        where.append("{} of {} runs done".format(*reached["cells"]))
    if "simulating" in reached:
        done, total = reached["simulating"]
        where.append(f"at {study.time.t_end * done / total:.4g} of {study.time.t_end:g} ms")
    place = f" {', '.join(where)}" if where else ""
    console.fail(
        f"interrupted{place}; run the same command again to go on from there, or with --fresh to start over.", code=130
    )


def _check(study: "SimulationStudy", json: bool) -> None:
    from einthoven.studies.simulation import cost_of
    from einthoven.studies.simulation_build import prepare
    from einthoven.studies.simulation_config import runs_of

    runs = runs_of(study)
    prepared = prepare(runs[0][1])
    cost = cost_of(prepared, runs=len(runs))
    if json:
        facts = {"runs": cost.runs, "cells": cost.nodes, "steps": cost.steps, "memory_bytes": cost.memory}
        facts |= {"cell_steps_per_second": cost.rate, "seconds": cost.seconds, "seconds_longest": cost.longest_seconds}
        console.say_json(facts)
        return
    console.say(f"{study.name}: {prepared.monodomain.tissue!r}, {study.model.name}")
    console.say(f"{study.name}: {cost.sentence()}")


def _list(json: bool) -> None:
    from einthoven.ionic.registry import MODELS
    from einthoven.studies.simulation_config import ready_studies

    studies = ready_studies()
    if json:
        console.say_json({"studies": studies, "models": list(MODELS)})
        return
    console.say("ready-made studies (einthoven simulate NAME --out DIR):")
    for name, title in studies.items():
        console.say(f"  {name:<18}{title}")
    console.say("membrane models (model.name in a study file):")
    for name in MODELS:
        console.say(f"  {name}")
