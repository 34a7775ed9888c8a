"""``einthoven challenge``: the 2026 ECGI Data Challenge, from its beats to a submission and to its score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from einthoven.cli import console

if TYPE_CHECKING:
    from einthoven.studies.challenge import ScoredSubmission

challenge_app = typer.Typer(help="The 2026 ECGI Data Challenge: image its beats, score.", no_args_is_help=True)

#: What the terminal shows of the beats; fits 100 columns.
COLUMNS = {
    "beat": "beat",
    "method": "method",
    "lambda": "lambda",
    "site": "site from",
    "x_mm": "x mm",
    "y_mm": "y mm",
    "z_mm": "z mm",
    "residual": "residual",
    "n_nodes": "nodes",
    "n_times": "frames",
}


@challenge_app.command("image")
def challenge_image(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...", help="Case folders, one per geometry, whose recording.file is a pattern of beats."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the submission; made if needed.")],
    method: Annotated[
        str, typer.Option("--method", "-m", help="What images the potentials, as for `image`.")
    ] = "tikhonov2",
    rule: Annotated[str, typer.Option("--rule", "-r", help="What chooses the weight, as for `image`.")] = "lcurve",
    site: Annotated[
        str, typer.Option(help="Pacing site: earliest `activation` of the image, or one `wave` fitted to the leads.")
    ] = "activation",
    reference: Annotated[
        str | None, typer.Option(help="Bring the leads to this reference: average, wilson, or an electrode's name.")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Leave these leads out (commas).")] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise level in mV, for the discrepancy principle.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Image every beat and write a submission: one NAME-cs.mat per beat, and a .zip of them."""
    from einthoven.cli.options import names, settings_from
    from einthoven.studies.challenge import ARCHIVE, image_beats, write_images
    from einthoven.studies.output import check_folder

    settings = settings_from(
        methods=names(method) or (),
        rule=rule,
        quantity="hsp",
        reference=reference,
        exclude=names(exclude) or (),
        sigma_mv=sigma,
    )
    check_folder(out)
    with console.progress(quiet=json) as advance:
        images = image_beats(folders, settings, site=site, progress=advance)
    files = write_images(images, out)
    if json:
        console.say_json(list(images.rows))
        return
    console.table(images.rows, COLUMNS)
    console.say(f"{len(images.rows)} beats: {files[ARCHIVE]}")


@challenge_app.command("score")
def challenge_score(
    submission: Annotated[Path, typer.Argument(help="A folder or .zip with *-cs.mat files, or --out of `image`.")],
    truth: Annotated[Path, typer.Argument(help="A folder or .zip with the true *-cs.mat files.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="utah auckland halifax bratislava")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for beats.csv and metrics.json; nothing without it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Score a submission as the challenge's public scorer does: every part, and their sum."""
    from einthoven.studies.challenge import score_submission, write_score

    scored = score_submission(submission, truth, dataset=dataset)
    if out is not None:
        write_score(scored, out)
    if json:
        console.say_json(scored.summary())
        return
    console.table(scored.parts(), {"part": "part", "value": "value", "weight": "weight", "adds": "adds"})
    console.say(summary(scored))


def summary(scored: "ScoredSubmission") -> str:
    """The sum, and which way is better."""
    weights = scored.weights
    text = f"{weights.name}: {scored.score.total(weights):.4f} over {scored.score.n_beats} beats."
    if not weights.localization:
        return f"{text} Larger is better."
    if weights.sc:
        return (
            f"{text} The distance is added: a larger error gives a larger sum, which has no better direction. Look at "
            "the parts."
        )
    return f"{text} A mean distance in mm: smaller is better."
