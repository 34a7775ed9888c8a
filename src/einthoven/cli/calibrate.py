"""``einthoven calibrate``: correct an operator by heart potentials measured together with the leads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from einthoven.cli import console

if TYPE_CHECKING:
    from einthoven.studies.settings import CalibrationSettings

#: What the terminal shows of ``metrics.json``; fits 100 columns.
COLUMNS = {
    "model": "model",
    "split": "calibrated on -> judged on",
    "method": "method",
    "rule": "rule",
    "error_before": "before",
    "error_after": "after",
    "change": "change %",
    "misfit_test_before": "misfit",
    "misfit_test_after": "after",
}


def calibrate(
    case: Annotated[str, typer.Argument(help="A dataset name, a case folder, or a case.zarr store, with its truth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="What may be wrong: gain pose leads electrodes skin full (commas).")
    ] = "pose",
    fit: Annotated[
        str | None, typer.Option(help="Times to calibrate on, START:STOP in ms; default: all, judged by halves.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Times to judge on, START:STOP in ms; default: all outside of --fit.")
    ] = None,
    leads: Annotated[str | None, typer.Option(help="Use only these leads (commas).")] = None,
    exclude: Annotated[str | None, typer.Option(help="Leave these leads out (commas).")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Bring the leads to this reference: average, wilson, or an electrode's name.")
    ] = None,
    shift_mm: Annotated[float, typer.Option(help="Expected error of the heart's place, mm.")] = 5.0,
    turn_deg: Annotated[float, typer.Option(help="Expected error of the heart's rotation, degrees.")] = 5.0,
    scale_percent: Annotated[float, typer.Option(help="Expected error of the heart's size, %.")] = 5.0,
    gain_percent: Annotated[float, typer.Option(help="Expected error of the common gain, %.")] = 10.0,
    lead_percent: Annotated[float, typer.Option(help="Expected error of each lead's gain, %.")] = 5.0,
    electrode_mm: Annotated[float, typer.Option(help="Expected error of each electrode, mm.")] = 5.0,
    skin_mm: Annotated[float, typer.Option(help="Expected displacement of the skin, mm, in every mode.")] = 3.0,
    folds: Annotated[int, typer.Option(help="Runs of frames for the choice of sigma.")] = 5,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON and nothing else.")] = False,
) -> None:
    """Correct the operator by measured heart potentials: an operator for `image --operator` and a page out."""
    from einthoven.cli.options import checked, names, span
    from einthoven.studies.settings import CalibrationSettings

    values = {
        "models": names(model) or (),
        "fit_ms": span(fit, "--fit"),
        "test_ms": span(test, "--test"),
        "leads": names(leads),
        "exclude": names(exclude) or (),
        "reference": reference,
        "shift_mm": shift_mm,
        "turn_deg": turn_deg,
        "scale_percent": scale_percent,
        "gain_percent": gain_percent,
        "lead_percent": lead_percent,
        "electrode_mm": electrode_mm,
        "skin_mm": skin_mm,
        "folds": folds,
    }
    _run(case, checked(CalibrationSettings, values), out, page=page, json=json)


def _run(case: str, settings: "CalibrationSettings", out: Path, *, page: bool, json: bool) -> None:
    from einthoven.report.calibration_page import write_calibration_page
    from einthoven.studies.calibration import calibrate_case, checked_models
    from einthoven.studies.calibration_output import metric_rows, notes, write_calibration
    from einthoven.studies.output import make_folder
    from einthoven.studies.ready import open_case

    checked_models(settings)
    with console.progress(quiet=json) as advance:
        opened = open_case(case, progress=advance)
        make_folder(out)
        result = calibrate_case(opened, settings, case_name=case, progress=advance)
        files = write_calibration(result, out, page=write_calibration_page if page else None, progress=advance)
    rows = metric_rows(result)
    if json:
        console.say_json(rows)
        return
    console.say(f"{result.case.name}: {result.recording!r}")
    console.table([row | {"change": f"{row['change_percent']:+.1f}"} for row in rows], COLUMNS)
    for line in notes(result):
        console.say(line)
    console.say(f"operator: {files['operator.npz']}")
    console.say(f"{'page' if page else 'results'}: {files['report.html'] if page else out}")
