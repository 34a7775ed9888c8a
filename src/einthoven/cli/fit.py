"""``einthoven fit``: early sites and conduction velocities from an ECG, and how sure they are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einthoven.cli import console

if TYPE_CHECKING:
    from einthoven.studies.fit_results import FitResult
    from einthoven.studies.settings import FitSettings

#: What the terminal shows of the numbers of sites, and of the sites of the best fit; fits 80 columns.
NUMBERS = {"n_sites": "sites", "n_fits": "fits", "misfit": "misfit", "bic": "BIC", "chosen": "chosen"}
SITES = {
    "site": "site",
    "x_mm": "x mm",
    "y_mm": "y mm",
    "z_mm": "z mm",
    "onset_ms": "onset ms",
    "territory_percent": "share %",
    "place_spread_mm": "± mm",
    "onset_spread_ms": "± ms",
}


def fit(
    case: Annotated[str, typer.Argument(help="A dataset name, `phantom`, a case folder, or a case.zarr store.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")],
    window: Annotated[
        str | None, typer.Option(help="Times to fit, START:STOP in ms; default: the QRS complex that is found.")
    ] = None,
    leads: Annotated[str | None, typer.Option(help="Use only these leads (commas).")] = None,
    exclude: Annotated[str | None, typer.Option(help="Leave these leads out (commas).")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Bring the leads to this reference: average, wilson, or an electrode's name.")
    ] = None,
    step: Annotated[float, typer.Option(help="Time between the frames that are fitted, ms.")] = 2.0,
    spacing: Annotated[float, typer.Option(help="Of the grid on which the waves run, mm.")] = 2.0,
    wall: Annotated[float, typer.Option(help="Thickness of the wall, mm, where only an epicardium is known.")] = 10.0,
    layer: Annotated[float, typer.Option(help="Thickness of the fast endocardial layer, mm; 0: none.")] = 2.0,
    speeds: Annotated[str, typer.Option(help="Expected conduction velocities WALL,LAYER in mm/ms.")] = "0.6,1.5",
    noise: Annotated[float, typer.Option(help="Least noise of the leads, mV; what the fits leave counts too.")] = 0.02,
    model_error: Annotated[float, typer.Option(help="Error of the model, a share of the ECG, 0 to 1.")] = 0.14,
    sites: Annotated[int | None, typer.Option(help="Number of early sites; default: chosen by the data.")] = None,
    most_sites: Annotated[int, typer.Option(help="Early sites at most.")] = 8,
    starts: Annotated[int, typer.Option(help="Guesses to start from.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the guesses.")] = 0,
    pose_mm: Annotated[float, typer.Option(help="Expected error of the heart's place, mm; 0: exact.")] = 5.0,
    pose_deg: Annotated[float, typer.Option(help="Expected error of the heart's rotation, degrees; 0: exact.")] = 5.0,
    electrode_mm: Annotated[float, typer.Option(help="Expected error of each electrode, mm; 0: exact.")] = 5.0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON and nothing else.")] = False,
) -> None:
    """Fit waves to an ECG: early sites, onsets, conduction velocities, and all activations that explain it as well."""
    from einthoven.cli.options import checked, names, numbers, span
    from einthoven.studies.settings import FitSettings

    values = {
        "window_ms": span(window, "--window"),
        "leads": names(leads),
        "exclude": names(exclude) or (),
        "reference": reference,
        "step_ms": step,
        "spacing": spacing,
        "wall": wall,
        "layer": layer,
        "speeds": numbers(speeds, "--speeds", example="0.6,1.5"),
        "noise_mv": noise,
        "model_error": model_error,
        "sites": sites,
        "most_sites": most_sites,
        "starts": starts,
        "seed": seed,
        "pose_mm": pose_mm,
        "pose_deg": pose_deg,
        "electrode_mm": electrode_mm,
    }
    _run(case, checked(FitSettings, values), out, page=page, json=json)


def _run(case: str, settings: "FitSettings", out: Path, *, page: bool, json: bool) -> None:
    from einthoven.report.fit_page import write_fit_page
    from einthoven.studies.fit_output import fit_metrics, write_fit
    from einthoven.studies.fitting import fit_case
    from einthoven.studies.output import make_folder
    from einthoven.studies.ready import open_case

    try:
        with console.progress(quiet=json) as advance:
            opened = open_case(case, progress=advance)
            make_folder(out)
            result = fit_case(opened, settings, case_name=case, progress=advance, folder=out)
            files = write_fit(result, out, page=write_fit_page if page else None, progress=advance)
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: the starts that were done are kept.", code=130)
    if json:
        console.say_json(fit_metrics(result))
        return
    _show(result)
    console.say(f"{'page' if page else 'results'}: {files['report.html'] if page else out}")


def _show(result: "FitResult") -> None:
    """Print what was found, how sure it is, and what was assumed."""
    from itertools import zip_longest

    from einthoven.studies.fit_results import assumptions, number_rows, sentences, site_rows, site_spreads

    console.say(f"{result.case.name}: {result.recording!r}")
    console.table(number_rows(result), NUMBERS)
    best = [row for row in site_rows(result) if row["fit"] == 1]
    spreads = zip_longest(best, site_spreads(result), fillvalue={})
    rows = [_rounded(row | spread) for row, spread in spreads]
    console.table(rows, SITES)
    console.say(speeds_sentence(result))
    for line in (*sentences(result), *assumptions(result)):
        console.say(line)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: f"{value:7.1f}" if isinstance(value, float) else value for key, value in row.items()}


def speeds_sentence(result: "FitResult") -> str:
    """Name the conduction velocities and the gain of the best fit."""
    wave = result.ensemble.best.wave
    speeds = ", ".join(f"{layer} {speed:.2f} mm/ms" for layer, speed in zip(result.layers, wave.speeds, strict=True))
    return f"Conduction velocity: {speeds}. Gain of the leads: {wave.gain:.2f}."
