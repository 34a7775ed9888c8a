"""``einthoven forward``: build, check and save a forward operator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from einthoven.cli import console

if TYPE_CHECKING:
    from einthoven.forward.inspect import OperatorReport


def forward(
    case: Annotated[str, typer.Argument(help="A dataset name, `phantom`, a case folder, or a case.zarr store.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the operator; made if needed.")],
    source: Annotated[
        Path | None, typer.Option(help="Heart potentials (a recording of the heart's nodes): apply the operator.")
    ] = None,
    quantity: Annotated[
        str | None, typer.Option(help="hsp (extracellular) or vm (transmembrane); default: the case's first heart.")
    ] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Sampling rate of --source where the file lacks it.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of --source where the file lacks it; default mV.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON and nothing else.")] = False,
) -> None:
    """Build the operator from heart to electrodes, check it, save it; apply it to heart data when given."""
    from einthoven.cli.options import settings_from
    from einthoven.studies.forward import forward_case, read_source
    from einthoven.studies.output import plain, write_forward
    from einthoven.studies.ready import open_case

    wanted = settings_from(quantity=quantity).quantity
    with console.progress(quiet=json) as advance:
        result = forward_case(open_case(case, progress=advance), quantity=wanted, progress=advance)
        prediction = None
        if source is not None:
            heart = read_source(source, result.operator, rate_hz=rate_hz, unit=unit)
            prediction = result.operator.record(heart)
        write_forward(result, out, prediction=prediction)
    summary = plain(result.report.as_dict())
    if json:
        console.say_json(summary)
        return
    console.say(f"{result.case.name}: {result.operator!r}")
    for name, value in _lines(result.report):
        console.say(f"  {name:<16}{value}")
    console.say(f"saved in {out}")


def _lines(report: "OperatorReport") -> list[tuple[str, str]]:
    """What a person wants to know of an operator."""
    ranks = ", ".join(f"{count} above {threshold:g}" for threshold, count in report.ranks.items())
    lines = [
        ("row sums", f"{report.row_sum:g} within {report.row_sum_error:.1e} (must be {report.row_sum:g})"),
        (
            "singular values",
            f"{report.singular_values[0]:.3g} to {report.singular_values[-1]:.3g}; of the first: {ranks}",
        ),
        ("condition", f"{report.condition:.3g} at rank {report.rank}"),
        ("memory", f"{report.matrix_bytes / 2**20:.1f} MiB"),
    ]
    if report.seconds is not None:
        lines.append(("built in", f"{report.seconds:.2f} s"))
    return lines
