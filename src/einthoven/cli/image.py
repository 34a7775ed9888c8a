"""``einthoven image``: heart maps from a body-surface recording."""

from pathlib import Path
from typing import Annotated

import typer

from einthoven.cli import console

#: What the terminal shows of ``metrics.json``; fits 80 columns.
COLUMNS = {
    "method": "method",
    "lambda": "lambda",
    "relative_error": "error",
    "correlation": "corr.",
    "rmse": "RMSE mV",
    "sc": "SC",
    "tc": "TC",
    "activation_error_ms": "LAT ms",
    "residual": "residual",
    "seconds": "seconds",
}


def image(
    case: Annotated[str, typer.Argument(help="A dataset name, `phantom`, a case folder, or a case.zarr store.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")],
    method: Annotated[
        str, typer.Option("--method", "-m", help="One method, or several separated by commas.")
    ] = "tikhonov2",
    rule: Annotated[
        str, typer.Option("--rule", "-r", help="lcurve gcv rgcv creso ucurve discrepancy oracle fixed:VALUE")
    ] = "lcurve",
    gamma: Annotated[float | None, typer.Option(help="Robust GCV's parameter, 0..1.")] = None,
    quantity: Annotated[
        str | None, typer.Option(help="hsp (extracellular) or vm (transmembrane); default: the case's first heart.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Bring the leads to this reference: average, wilson, or an electrode's name.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="Times to image, START:STOP in ms.")] = None,
    leads: Annotated[str | None, typer.Option(help="Use only these leads (commas).")] = None,
    exclude: Annotated[str | None, typer.Option(help="Leave these leads out (commas).")] = None,
    noise_window: Annotated[
        str | None, typer.Option(help="Quiet window START:STOP in ms: its covariance whitens the data.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise level in mV, for the discrepancy principle.")] = None,
    operator: Annotated[
        Path | None, typer.Option(help="operator.npz or .zarr of `forward` or `calibrate`, in place of a built one.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON and nothing else.")] = False,
) -> None:
    """Image the heart: body-surface recording in, heart-surface potentials and a page out."""
    from einthoven.cli.options import names, settings_from, span
    from einthoven.report.page import write_page
    from einthoven.studies.imaging import checked_methods, image_case
    from einthoven.studies.output import write_imaging
    from einthoven.studies.ready import open_case

    settings = settings_from(
        methods=names(method) or (),
        rule=rule,
        gamma=gamma,
        quantity=quantity,
        reference=reference,
        window_ms=span(window, "--window"),
        leads=names(leads),
        exclude=names(exclude) or (),
        noise_window_ms=span(noise_window, "--noise-window"),
        sigma_mv=sigma,
        operator=None if operator is None else str(operator),
    )
    checked_methods(settings)
    with console.progress(quiet=json) as advance:
        result = image_case(open_case(case, progress=advance), settings, case_name=case, progress=advance)
        files = write_imaging(result, out, page=write_page if page else None, progress=advance)
    rows = [picture.metrics for picture in result.images]
    if json:
        console.say_json(rows if len(rows) > 1 else rows[0])
        return
    console.say(f"{result.case.name}: {result.recording!r}")
    console.table(rows, COLUMNS, title=None)
    console.say(summary(rows))
    console.say(f"{'page' if page else 'results'}: {files['report.html'] if page else out}")


def summary(rows: list[dict]) -> str:
    """Say what the errors refer to and what the weights have seen."""
    seen = "with the truth (oracle): a bound, not a result" if rows[0]["sees_truth"] else "from the recording alone"
    scored = f"Errors are {rows[0]['reference']}; w" if "relative_error" in rows[0] else "No truth to compare with; w"
    return f"{scored}eights chosen by {rows[0]['rule']} {seen}."
