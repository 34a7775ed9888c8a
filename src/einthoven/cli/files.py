"""``einthoven score``, ``convert`` and ``info``."""

from pathlib import Path
from typing import Annotated

import typer

from einthoven.cli import console


def score(
    estimate: Annotated[
        Path, typer.Argument(help="Reconstructed potentials: any recording file, or reconstruction.zarr.")
    ],
    truth: Annotated[Path, typer.Argument(help="Measured potentials at the same sites.")],
    rate_hz: Annotated[float | None, typer.Option(help="Sampling rate, for files that do not hold it.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of files that do not state it; default mV.")] = None,
    mean_removed: Annotated[
        bool, typer.Option(help="Remove the mean over the sites from every frame of both first.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Score an estimate against the truth: errors, correlation, the parts of the 2026 challenge score."""
    from einthoven.studies.scoring import score_files

    scores = score_files(estimate, truth, rate_hz=rate_hz, unit=unit, mean_removed=mean_removed)
    if json:
        console.say_json(scores if len(scores) > 1 else scores[0])
        return
    if len(scores) == 1:
        console.table([{"score": k, "value": v} for k, v in scores[0].items()], {"score": "score", "value": "value"})
        return
    console.table(scores, {key: key for key in scores[0]})


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A case, a dataset's name, or any file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The ending decides the format; a folder for a case.")],
    unit: Annotated[
        str | None, typer.Option(help="Unit (mV, uV, V) of a recording whose file does not state it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Convert between a case folder and one Zarr store, or between file formats."""
    from einthoven.studies.ready import convert as convert_any

    convert_any(source, target, unit=unit)
    if json:
        console.say_json({"source": source, "target": str(target)})
        return
    console.say(f"{source} -> {target}")


def info(
    path: Annotated[
        str | None, typer.Argument(help="A case, a dataset name, or any file; nothing for the set-up.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Describe a file or a case and check its geometry; without a path, describe the installation."""
    from einthoven.studies.describe import describe, describe_installation

    facts = describe_installation() if path is None else describe(path)
    if json:
        console.say_json(facts)
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        lines = str(value).splitlines() or [""]
        console.say(f"{key:<{width}}  {lines[0]}")
        for line in lines[1:]:
            console.say(" " * (width + 2) + line)
