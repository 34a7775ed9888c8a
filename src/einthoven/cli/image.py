"""``einthoven image``: heart maps from a body-surface recording."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einthoven.cli import console

if TYPE_CHECKING:
    from einthoven.studies.results import ImagingResult
    from einthoven.studies.settings import ImagingSettings

#: What the terminal shows of ``metrics.json``; fits 80 columns, with cell physics 110.
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
    "chi2": "chi2",
    "seconds": "seconds",
}


#: So many leads that look bad are described.
SHOWN = 5


def image(
    case: Annotated[
        str, typer.Argument(help="A dataset name, `phantom`, `phantom-surface`, a case folder, or a case.zarr store.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")],
    method: Annotated[
        str,
        typer.Option("--method", "-m", help="One method, or several separated by commas; or a solver's .toml file."),
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
    sigma: Annotated[
        float | None, typer.Option(help="Noise level in mV, for the discrepancy principle and cell physics.")
    ] = None,
    operator: Annotated[
        Path | None, typer.Option(help="operator.npz or .zarr of `forward` or `calibrate`, in place of a built one.")
    ] = None,
    extracellular: Annotated[
        bool, typer.Option("--extracellular", help="Force cell physics upon heart-surface (extracellular) potentials.")
    ] = False,
    membrane: Annotated[
        str, typer.Option(help="Cells that cell physics assumes: aliev-panfilov or mitchell-schaeffer.")
    ] = "aliev-panfilov",
    diffusivity: Annotated[
        float | None, typer.Option(help="Of cell physics, mm2/ms; without it, read off the data.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Fall back on stre where cell physics does not fit the data.")
    ] = True,
    error_bars: Annotated[str, typer.Option(help="Of cell physics: none or laplace.")] = "none",
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON and nothing else.")] = False,
) -> None:
    """Image the heart: body-surface recording in, heart-surface potentials and a page out."""
    from einthoven.cli.options import names, settings_from, span

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
        extracellular=extracellular,
        membrane=membrane,
        diffusivity=diffusivity,
        gate=gate,
        error_bars=error_bars,
    )
    _run(case, settings, out, page=page, json=json)


def _run(case: str, settings: "ImagingSettings", out: Path, *, page: bool, json: bool) -> None:
    from einthoven.report.page import write_page
    from einthoven.studies.imaging import checked_methods, image_case
    from einthoven.studies.output import check_folder, write_imaging
    from einthoven.studies.ready import open_case

    checked_methods(settings)
    check_folder(out)
    with console.progress(quiet=json) as advance:
        opened = open_case(case, progress=advance)
        result = image_case(opened, settings, case_name=case, folder=out, progress=advance)
        files = write_imaging(result, out, page=write_page if page else None, progress=advance)
    rows = [picture.metrics for picture in result.images]
    if json:
        console.say_json(rows if len(rows) > 1 else rows[0])
    else:
        show(result)
        console.say(f"{'page' if page else 'results'}: {files['report.html'] if page else out}")
    if result.interrupted:
        console.fail(interruption(result), code=130)


def show(result: "ImagingResult", *, title: str | None = None) -> None:
    """Print the comparison, what the errors refer to, and what the gate says."""
    rows = [picture.metrics for picture in result.images]
    console.say(title or f"{result.case.name}: {result.recording!r}")
    console.table(rows, COLUMNS, title=None)
    console.say(summary(rows))
    for row in rows:
        if "verdict" in row:
            console.say(gate_line(row))
    for line in suspect_lines(result.suspects):
        console.say(line)


def suspect_lines(suspects: "tuple[str, ...]") -> list[str]:
    """A few lines about leads that look bad; none where none does."""
    if not suspects:
        return []
    n, left = len(suspects), [line.split(": ")[0] for line in suspects]
    head = f"{n} of the leads {'looks' if n == 1 else 'look'} bad; without {'it' if n == 1 else 'them'}: --exclude "
    more = [f"  and {n - SHOWN} more"] if n > SHOWN else []
    return [head + ",".join(left), *(f"  {line}" for line in suspects[:SHOWN]), *more]


def summary(rows: list[dict[str, Any]]) -> str:
    """Say what the errors refer to and what the weights have seen."""
    scored = f"Errors are {rows[0]['reference']}." if "relative_error" in rows[0] else "No truth to compare with."
    classical = [row for row in rows if "verdict" not in row]
    parts = [scored]
    if classical:
        blind = "from the recording alone"
        seen = "with the truth (oracle): a bound, not a result" if classical[0]["sees_truth"] else blind
        parts.append(f"Weights chosen by {classical[0]['rule']} {seen}.")
    if len(classical) < len(rows):
        parts.append("Of cell physics lambda is tau, found by annealing.")
    return " ".join(parts)


def gate_line(row: dict[str, Any]) -> str:
    """One line about a method with cell physics: whether its image was accepted, and what is shown if not."""
    if row["verdict"].startswith("gate "):
        return f"{row['method']}: {row['verdict']}."
    if row["accepted"]:
        return f"{row['method']}: accepted, {row['verdict']}."
    return f"{row['method']}: not accepted, {row['verdict']}; it {row['rule']}."


def interruption(result: "ImagingResult") -> str:
    """One sentence about what Ctrl-C has left."""
    cut = [row["method"] for row in (picture.metrics for picture in result.images) if row.get("interrupted")]
    kept = f"the best so far of {cut[0]} was written" if cut else "what was done was written"
    left = f", not run: {', '.join(result.not_run)}" if result.not_run else ""
    return f"interrupted; {kept}{left}; run the same command again to go on."
