"""``einthoven surrogate``: data sets of simulated sheets, learned ECG, its scores."""

from pathlib import Path
from typing import Annotated, Any

import typer

from einthoven.cli import console
from einthoven.cli.options import SchedulerOption, WorkersOption, workers_or

surrogate_app = typer.Typer(
    help="Learned ECG: simulate sheets, train surrogates, score them, predict.", no_args_is_help=True
)

#: What the terminal shows of an evaluation; fits 120 columns.
COLUMNS = {
    "predictor": "predictor",
    "r2_mean": "R2 mean",
    "r2_p05": "5 %",
    "r2_min": "least",
    "r2_first_electrode": "electrode 1",
    "mae": "MAE mV",
    "correlation": "corr",
    "amplitude_ratio": "amplitude",
    "peak_time_error": "peak ms",
    "activation_error_ms": "LAT ms",
    "milliseconds": "ms",
    "flagged": "flagged",
    "below": "in bound",
}

OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; made if needed.")]


@surrogate_app.command("generate")
def generate(
    recipe: Annotated[str | None, typer.Argument(help="A recipe (.toml), or the name of a ready-made one.")] = None,
    out: OutOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    cost: Annotated[bool, typer.Option("--cost", help="Say what it takes (one sheet is simulated), and stop.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the ready-made recipes.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe, to start your own from.")] = False,
) -> None:
    """Simulate a set of random sheets: movies, activation, ECG; stored as they finish, an interrupted run goes on."""
    from einthoven.core import InputError
    from einthoven.studies.sheet_sets import load_recipe, measured_cost, prepare_folder, ready_recipes, recipe_text

    if list_:
        for name, title in ready_recipes().items():
            console.say(f"{name:<18}{title}")
        return
    if recipe is None:
        raise InputError("name a recipe; `einthoven surrogate generate --list` shows those that come along.")
    if show:
        console.say(recipe_text(recipe).rstrip())
        return
    loaded = load_recipe(recipe)
    folder, who = _needed(out, "sheets"), workers_or(workers, scheduler)
    prepare_folder(loaded, folder)
    console.say(measured_cost(loaded, folder).said(who))
    if not cost:
        _generate(recipe, folder, who)


def _generate(recipe: str, folder: Path, workers: int | str) -> None:
    from einthoven.studies.sheet_sets import SheetSet, load_recipe, make_sheets

    try:
        with console.progress(quiet=False) as advance:
            sweep = make_sheets(load_recipe(recipe), folder, workers=workers, progress=advance)
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: the sheets that were done are kept.", code=130)
    console.say(f"{sweep.computed} sheets simulated, {sweep.reused} were there: {folder}")
    for condition in SheetSet.open(folder).recipe.conditions:
        console.say(f"  {condition.name}: {condition.sheets}")


@surrogate_app.command("train")
def train(
    model: Annotated[
        str | None, typer.Argument(help="A configuration (.toml), or the name of one that comes along.")
    ] = None,
    sheets: Annotated[Path | None, typer.Argument(help="Folder of a set made by `surrogate generate`.")] = None,
    out: OutOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and order.")] = 0,
    limit: Annotated[int | None, typer.Option("--sheets", help="Train on so many sheets only.")] = None,
    score_on: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER or FOLDER:PART (test, all, ...) of a set: scored at the end, for the card; repeat."),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    list_: Annotated[bool, typer.Option("--list", help="List the configurations that come along.")] = False,
) -> None:
    """Train a surrogate on a set's training part; a checkpoint after every epoch, an interrupted run goes on."""
    from einthoven.core import InputError
    from einthoven.report.training_page import write_training_page
    from einthoven.studies.sheet_sets import SheetSet
    from einthoven.studies.surrogates import write_training
    from einthoven.surrogate.configuration import configurations, load_configuration

    if list_:
        for name, title in configurations().items():
            console.say(f"{name:<24}{title}")
        return
    if model is None or sheets is None:
        raise InputError("name a surrogate and a set: einthoven surrogate train neural-eikonal out/sheets --out out/s.")
    configuration, folder = load_configuration(model), _needed(out, "surrogate")
    parts = [_part(text) for text in score_on or ()]
    try:
        with console.progress(quiet=False) as advance:
            result = write_training(
                configuration, SheetSet.open(sheets), folder, seed=seed, limit=limit, scored_on=parts,
                page=write_training_page if page else None, progress=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        console.fail("interrupted; run the same command again: the epochs that were done are kept.", code=130)
    card = result.card
    scores = ", ".join(f"{k} {v:.4g}" for k, v in card["validation"].items() if k not in ("loss", "score"))
    console.say(
        f"{configuration.model}: {card['parameters']} parameters, {card['training_sheets']} sheets, "
        f"{card['training_seconds']:.0f} s; best epoch {card['best_epoch']} on validation sheets: {scores}"
    )
    console.say(f"weights: {folder / 'weights.npz'}" + (f", page: {folder / 'report.html'}" if page else ""))


def _part(text: str) -> tuple[Any, str]:
    """A set and its part, from FOLDER:PART."""
    from einthoven.core import InputError
    from einthoven.studies.sheet_sets import SheetSet
    from einthoven.surrogate.recipe import SPLITS

    folder, _, split = text.rpartition(":")
    if split not in (*SPLITS, "all"):
        folder, split = text, "test"
    opened = SheetSet.open(folder)
    if not opened.cells(None if split == "all" else split):
        raise InputError(f"--score-on {text}: has no sheets in its {split} part; ten of a condition give one.")
    return opened, split


@surrogate_app.command("card")
def card(
    weights: Annotated[
        list[str] | None, typer.Argument(help="Trained weights: files, or names that come along; none: all of those.")
    ] = None,
) -> None:
    """Print the card of trained weights: data, training, scores, limits, and the commands that make them again."""
    from einthoven.studies.surrogates import shown_name
    from einthoven.surrogate.cards import card_text
    from einthoven.surrogate.models import load_surrogate, packaged

    texts = [card_text(shown_name(name), load_surrogate(name)[1]) for name in weights or packaged()]
    console.say("\n".join(texts).rstrip())


@surrogate_app.command("evaluate")
def evaluate(
    sheets: Annotated[Path, typer.Argument(help="Folder of a set made by `surrogate generate`.")],
    out: OutOption = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", "-w", help="Trained weights: files, or names that come along.")
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="Predictions made elsewhere: .npz with condition, number, ecg, times.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="training, validation, test, or all (of a set that nothing was trained on).")
    ] = "test",
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Leave the baselines out.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON and nothing else.")] = False,
) -> None:
    """Score surrogates on sheets that they were not trained on, beside every baseline."""
    from einthoven.report.surrogate_page import write_surrogate_page
    from einthoven.studies import surrogates as study
    from einthoven.studies.sheet_sets import SheetSet

    folder, opened = _needed(out, "scores"), SheetSet.open(sheets)
    found = [study.loaded(w, opened) for w in weights or ()]
    predictors = [predictor for predictor, _ in found]
    for _, remark in found:
        if remark is not None and not json:
            console.say(f"warning: {remark}")
    predictors += [study.external(p) for p in predictions or ()]
    if not no_baselines:
        predictors = study.baselines(opened) + predictors
    with console.progress(quiet=json) as advance:
        result = study.evaluate(opened, predictors, split=split, progress=advance)
        study.write_evaluation(result, folder, write_surrogate_page if page else None)
    if json:
        console.say_json(result.table)
        return
    shown = [row for row in result.table if row["condition"] == "all"]
    console.table(shown, COLUMNS, title=f"{opened.recipe.title}: {split} sheets")
    console.say("R2 over sheets and electrodes; movies predict at their frames, tissue at the ECG's samples.")
    console.say(f"per condition: {folder / ('report.html' if page else 'table.csv')}")


def _needed(out: Path | None, example: str) -> Path:
    from einthoven.core import InputError

    if out is None:
        raise InputError(f"give a folder for the results, for example --out out/{example}.")
    return out


@surrogate_app.command("predict")
def predict(
    weights: Annotated[str, typer.Argument(help="Trained weights: a file, or a name that comes along.")],
    source: Annotated[Path, typer.Argument(help="A set of sheets, or a picture of tissue (dark does not conduct).")],
    out: OutOption = None,
    split: Annotated[str, typer.Option(help="Of a set: training, validation or test.")] = "test",
    spacing: Annotated[float, typer.Option(help="Of a picture: edge of a pixel, mm.")] = 0.5,
    diffusivity: Annotated[float, typer.Option(help="Of a picture's tissue, mm2/ms.")] = 0.1,
    site: Annotated[
        list[str] | None, typer.Option(help="Of a picture: stimulus 'x,y', mm from the lower left corner.")
    ] = None,
    electrode: Annotated[list[str] | None, typer.Option(help="Of a picture: electrode 'x,y,z', mm; repeat.")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html.")] = True,
) -> None:
    """Predict the ECGs of a set's sheets, or activation and ECG of your own picture of tissue."""
    from einthoven.studies.sheet_sets import RECIPE, SheetSet
    from einthoven.studies.surrogate_prediction import write_predictions
    from einthoven.surrogate.limits import Limits
    from einthoven.surrogate.models import for_membrane, load_surrogate

    folder, (surrogate, card) = _needed(out, "prediction"), load_surrogate(weights)
    limits = Limits.of_card(card["limits"])
    if (source / RECIPE).is_file() or source.is_dir():
        with console.progress(quiet=False) as advance:
            opened = SheetSet.open(source)
            surrogate = for_membrane(surrogate, opened.recipe.membrane)
            unlike = write_predictions(surrogate, limits, opened, folder, split=split, progress=advance)
        if unlike:
            console.say(f"warning: {unlike} sheets are unlike the training data (`warning` in the file says why)")
        console.say(f"predictions: {folder / 'predictions.npz'}")
        return
    settings = _picture_settings(spacing, diffusivity, site, electrode)
    _predict_picture((surrogate, limits), source, folder, settings, page=page)


def _predict_picture(model: tuple[Any, Any], source: Path, folder: Path, settings: Any, *, page: bool) -> None:
    from einthoven.report.picture_page import write_picture_page
    from einthoven.studies.surrogate_prediction import predict_picture, write_picture_prediction

    found = predict_picture(*model, source, settings)
    numbers = write_picture_prediction(found, folder, write_picture_page if page else None)
    console.say(
        f"{numbers['cells']} cells conduct ({100 * numbers['conducting_share']:.1f} %), the last is active after "
        f"{numbers['last_activation_ms']:.1f} ms, {numbers['not_reached']} are not reached; largest potential "
        f"{numbers['largest_potential_mv']:.3g} mV"
    )
    if found.judgement.warning:
        console.say(f"warning: {found.judgement.warning}")
    console.say(f"relative error, for nine of ten familiar sheets: below {100 * found.bound:.1f} %")
    console.say(f"{'page' if page else 'results'}: {folder / 'report.html' if page else folder}")


def _picture_settings(spacing: float, diffusivity: float, site: list[str] | None, electrode: list[str] | None) -> Any:
    from einthoven.core import InputError
    from einthoven.studies.surrogate_prediction import PictureSettings

    if not site or not electrode:
        raise InputError("a picture needs a stimulus and an electrode: for example --site 10,20 --electrode 32,32,20.")
    return PictureSettings(spacing, diffusivity, _places(site, 2, "--site"), _places(electrode, 3, "--electrode"))


def _places(texts: list[str], n: int, option: str) -> Any:
    import numpy as np

    from einthoven.core import InputError

    try:
        places = np.array([[float(x) for x in text.split(",")] for text in texts])
    except ValueError:
        places = np.zeros(0)
    if places.shape != (len(texts), n) or not np.isfinite(places).all():
        example, got = "10,20,30"[: 3 * n - 1], "; ".join(texts)
        raise InputError(f"{option} must be {n} numbers in mm with commas, for example {example}; got {got}.")
    return places
