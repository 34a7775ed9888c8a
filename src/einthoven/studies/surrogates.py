"""Training and scoring of surrogates on stored sets of sheets: what the commands do, and what they write."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from einthoven.core import FileFormatError, InputError
from einthoven.core.progress import Progress, silent
from einthoven.io.archives import read_archive
from einthoven.studies.output import SEAL, make_folder, plain, staged, without_none, write_json, write_rows
from einthoven.studies.provenance import machine, versions
from einthoven.studies.sheet_sets import SheetSet, load_recipe, read_sheet, ready_recipes
from einthoven.studies.store import Config, cell_key
from einthoven.surrogate.baselines import FrameRidge, movie_baselines, tissue_baselines
from einthoven.surrogate.configuration import Configuration, configurations, load_configuration
from einthoven.surrogate.lead_field_net import MovieEcg, PixelTissue, true_tissue
from einthoven.surrogate.limits import Limits, sheet_error
from einthoven.surrogate.models import (
    Origin,
    Surrogate,
    TissueEcg,
    cells_of,
    for_membrane,
    load_surrogate,
    n_parameters,
    save_surrogate,
    statistics,
    train_surrogate,
)
from einthoven.surrogate.scores import ecg_scores, summary
from einthoven.surrogate.sheets import SheetData

Row = dict[str, Any]

#: What an evaluation writes.
EVALUATION = ("scores.csv", "table.csv", "run.toml", "report.html", SEAL)

#: What a training writes.
TRAINING = ("weights.npz", "training.csv", "report.html", SEAL)

#: What a card tells of a score.
CARD_SCORES = (
    "n", "r2_mean", "r2_p05", "r2_min", "r2_first_electrode", "mae", "correlation", "amplitude_ratio",
    "peak_time_error", "activation_error_ms", "flagged", "below",
)  # fmt: skip

#: Pixels of the baselines that look at a movie, mm, as far as a set has them.
PIXELS = (1.0, 2.0)


def origin_of(sheets: SheetSet) -> Origin:
    """What a model must know of a set's sheets."""
    recipe = sheets.recipe
    return Origin(recipe.membrane, recipe.spacing, recipe.size, len(recipe.shape))


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Parameters
    ----------
    surrogate
        Of the best epoch.
    history
        One row per epoch.
    card
        What goes with the weights.
    """

    surrogate: Surrogate
    history: list[Row]
    card: dict[str, Any]


def write_training(
    configuration: Configuration,
    sheets: SheetSet,
    folder: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    scored_on: Sequence[tuple[SheetSet, str]] = (),
    page: "Callable[[TrainingResult, Path], object] | None" = None,
    progress: Progress = silent,
) -> TrainingResult:
    """Train a surrogate on a set and write weights, course and card.

    Parameters
    ----------
    configuration, sheets, seed, limit, scored_on, progress
        As of `trained_on`.
    folder
        For results and checkpoints; an interrupted training goes on there.
    page
        Writes ``report.html``; None for no page.
    """
    make_folder(folder)
    begun, checkpoints = time.perf_counter(), folder / "checkpoints"
    result = trained_on(
        configuration, sheets, checkpoints, seed=seed, limit=limit, scored_on=scored_on, progress=progress
    )
    best = max(result.history, key=lambda row: row["score"])
    summary_row = {"model": configuration.model, "seconds": time.perf_counter() - begun, **best}
    with staged(folder, owned=TRAINING) as stage:
        if page is not None:
            page(result, stage / "report.html")
        save_surrogate(stage / "weights.npz", result.surrogate, plain(result.card))
        write_rows(stage / "training.csv", result.history)
        write_json(stage / SEAL, summary_row)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def trained_on(
    configuration: Configuration,
    sheets: SheetSet,
    checkpoints: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    scored_on: Sequence[tuple[SheetSet, str]] = (),
    progress: Progress = silent,
) -> TrainingResult:
    """Train a surrogate on a set and score it.

    Parameters
    ----------
    configuration
        Of the model.
    sheets
        The set; its training part is trained on, the validation part chooses the epoch, the test part is not looked at.
    checkpoints
        Folder for checkpoints; an interrupted training goes on there.
    seed
        Of weights and order.
    limit
        Train on the first so many sheets, taken evenly from the conditions; None: all.
    scored_on
        Sets and the parts of them that are scored when the training is done; the scores go into the card.
    progress
        Told about steps.
    """
    cells, held = (wanted_cells(configuration, sheets, part) for part in ("training", "validation"))
    cells = limited(cells, limit)
    training, validation = ((read_sheet(sheets.folder, c) for c in part) for part in (cells, held))
    surrogate, trained = train_surrogate(
        configuration, origin_of(sheets), training, validation, seed=seed,
        folder=checkpoints, identity=_identity(configuration, [*cells, *held]), progress=progress,
    )  # fmt: skip
    recipe = sheets.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    best = max(trained.history, key=lambda row: row["score"])
    card: dict[str, Any] = {
        "configuration": configuration.model_dump(mode="json", exclude_none=True),
        "origin": vars(origin_of(sheets)),
        "title": configuration.title,
        "recipe": recipe,
        "training_sheets": len(cells),
        "seed": seed,
        "parameters": n_parameters(surrogate.net),  # type: ignore[attr-defined]
        "best_epoch": best["epoch"],
        "validation": {k: v for k, v in best.items() if k not in ("epoch", "seconds")},
        "training_seconds": sum(row["seconds"] for row in trained.history),
        "course": course_of(trained.history),
        "limits": limits_of(surrogate, sheets, cells, held, progress).as_card(),
        "commands": commands_for(configuration, sheets, seed=seed, limit=limit, scored_on=scored_on),
        "versions": versions(),
        "machine": machine(),
    }
    card["scores"] = scores_for_card(surrogate, card, scored_on, progress)
    return TrainingResult(surrogate, trained.history, card)


def course_of(history: Sequence[Row]) -> dict[str, list[float]]:
    """The course of a training for its card: minutes, loss and validation score after each epoch."""
    minutes = np.cumsum([row["seconds"] for row in history]) / 60
    return {
        "minutes": [round(float(m), 3) for m in minutes],
        "loss": [row["loss"] for row in history],
        "score": [row["score"] for row in history],
    }


def scores_for_card(
    surrogate: Surrogate, card: Mapping[str, Any], scored_on: Sequence[tuple[SheetSet, str]], progress: Progress
) -> list[Row]:
    """Score a surrogate on parts of sets, for its card."""
    groups = []
    for sheets, split in scored_on:
        own = for_membrane(surrogate, sheets.recipe.membrane)
        found = evaluate(sheets, [as_predictor("", own, card)], split=split, progress=progress)
        rows = [{k: row[k] for k in ("condition", *CARD_SCORES) if k in row} for row in found.table]
        groups.append({"set": sheets.recipe.title, "split": split, "rows": rows})
    return groups


def commands_for(
    configuration: Configuration,
    sheets: SheetSet,
    *,
    seed: int = 0,
    limit: int | None = None,
    scored_on: Sequence[tuple[SheetSet, str]] = (),
) -> list[str]:
    """The commands that train a surrogate again; what does not come with the package is named by what it is."""

    def folder(s: SheetSet) -> str:
        return "out/" + (ready_name(s.recipe, ready_recipes(), load_recipe) or "recipe")

    name = ready_name(configuration, configurations(), load_configuration)
    sets = dict.fromkeys(map(folder, [sheets, *(s for s, _ in scored_on)]))
    made = [f"einthoven surrogate generate {_named(Path(s).name, 'recipe')} --out {s}" for s in sets]
    options = [f"--seed {seed}", *([] if limit is None else [f"--sheets {limit}"])]
    options += [f"--score-on {folder(s)}:{split}" for s, split in scored_on]
    train = f"einthoven surrogate train {name or 'configuration.toml'} {folder(sheets)} --out out/{name or 'surrogate'}"
    return [*made, " ".join([train, *options])]


def _named(name: str, unknown: str) -> str:
    return f"{name}.toml" if name == unknown else name


def ready_name(thing: Any, names: Mapping[str, str], load: Callable[[str], Any]) -> str | None:
    """Name under which something comes with the package; None if it does not."""
    return next((name for name in names if load(name) == thing), None)


def wanted_cells(configuration: Configuration, sheets: SheetSet, part: str) -> list[Config]:
    """Return the sheets of a part of a set, without the conditions that a configuration leaves out."""
    left_out = configuration.leave_out
    return [c for c in sheets.cells(part) if c["condition"]["name"] not in left_out]


def _identity(configuration: Configuration, cells: Sequence[Any]) -> str:
    """Of a training: its configuration and its sheets."""
    return cell_key({"configuration": configuration.model_dump(mode="json"), "sheets": list(cells)})


def limits_of(
    surrogate: Surrogate,
    sheets: SheetSet,
    cells: Sequence[Any],
    held_out: Sequence[Any],
    progress: Progress = silent,
) -> Limits:
    """What is familiar to a surrogate, from its training sheets, and its error, from the validation sheets.

    The validation sheets chose the epoch, so that their errors are rather too small.
    """
    known, held, errors = [], [], []
    kinds = [cell["condition"]["name"] for cell in held_out]
    for k, cell in enumerate(cells):
        known.append(statistics(surrogate, read_sheet(sheets.folder, cell)))
        progress("learning its limits", k + 1, len(cells))
    for sheet in (read_sheet(sheets.folder, c) for c in held_out):
        found = surrogate.predict(sheet)
        held.append(statistics(surrogate, sheet))
        errors.append(sheet_error(found, _truth(sheet, sees_movie=surrogate.sees_movie)[0][: len(found)]))
    return Limits.fit(known, held, np.array(errors), kinds)


def _truth(sheet: SheetData, *, sees_movie: bool) -> tuple[np.ndarray, np.ndarray]:
    """ECG and times that a prediction is compared with."""
    return (sheet.ecg_of_frames, sheet.movie_times) if sees_movie else (sheet.ecg, sheet.ecg_times)


def limited(cells: Sequence[Any], limit: int | None) -> list[Any]:
    """Return the first sheets of every condition, in the proportion of the whole.

    Raises
    ------
    InputError
        If the limit is not positive.
    """
    if limit is None:
        return list(cells)
    if limit < 1:
        raise InputError(f"the number of sheets to train on must be at least 1; got {limit}.")
    names = [c["condition"]["name"] for c in cells]
    kept = {name: max(1, round(limit * names.count(name) / len(cells))) for name in names}
    taken: dict[str, int] = dict.fromkeys(kept, 0)
    found = []
    for cell, name in zip(cells, names, strict=True):
        if taken[name] < kept[name]:
            taken[name] += 1
            found.append(cell)
    return found


# --- scoring ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictor:
    """Something to score: a name, what it predicts, whether it looks at movies, and what it says of its limits.

    Parameters
    ----------
    name, predict
        What is scored.
    sees_movie
        Whether it predicts at the movie's frames.
    learned
        Whether it was trained.
    limits
        From a sheet to the distance from the training data (above 1: unfamiliar) and the bound of the error; None:
        it says nothing.
    activation
        From a sheet to the activation times at its nodes, ms; None: it gives none.
    card
        Of trained weights.
    tissue
        From a sheet to the tissue that is read off its movie, and its own; None: it reads none.
    """

    name: str
    predict: Callable[[SheetData], np.ndarray]
    sees_movie: bool
    learned: bool
    limits: Callable[[SheetData], tuple[float, float]] | None = None
    activation: Callable[[SheetData], np.ndarray] | None = None
    card: Mapping[str, Any] | None = None
    tissue: Callable[[SheetData], tuple[PixelTissue, PixelTissue]] | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictors on a part of a set.

    Parameters
    ----------
    sheets
        The set.
    split
        Which part.
    rows
        One per predictor, sheet and electrode.
    table
        One per predictor, over all conditions (``condition`` is "all") and for each.
    examples
        Per learned predictor (or per baseline, where there is none) its best, median and worst prediction of the first
        electrode: name, sheet, times, true and predicted ECG.
    tissues
        Of predictors that read a tissue off the movie, by name: the tissue read and the true one, of the median sheet.
    cards
        Of the trained weights among the predictors, by name.
    provenance
        Versions and machine.
    """

    sheets: SheetSet
    split: str
    rows: list[Row]
    table: list[Row]
    examples: list[dict[str, Any]]
    tissues: dict[str, tuple[PixelTissue, PixelTissue]]
    cards: dict[str, Mapping[str, Any]]
    provenance: dict[str, Any]


def baselines(sheets: SheetSet, *, ridge_of: SheetSet | None = None) -> list[Predictor]:
    """All baselines for a set.

    Parameters
    ----------
    sheets
        Where they are scored; for slabs there are only those that look at the tissue.
    ridge_of
        The set to whose training part ridge regression is fitted; the same by default. It is left out where there is no
        validation part to choose by, or the electrodes are others.
    """
    recipe, known = sheets.recipe, sheets if ridge_of is None else ridge_of
    pixels = [p for p in PIXELS if _fits(p, recipe.movie_spacing) and _fits(recipe.size, p)] or [recipe.movie_spacing]
    found = []
    for pixel in pixels if recipe.thickness is None else ():
        found += [Predictor(n, f, True, False) for n, f in movie_baselines(recipe.membrane, pixel).items()]
    found += [Predictor(n, f, False, False) for n, f in tissue_baselines(recipe.membrane).items()]
    if recipe.thickness is not None:
        return found
    n, alike = len(recipe.electrodes.fixed), ("size", "electrodes", "movie_spacing")
    if n and all(getattr(recipe, k) == getattr(known.recipe, k) for k in alike) and known.cells("validation"):
        pixel = pixels[-1]
        ridge = FrameRidge.fit(known.sheets("training"), known.sheets("validation"), pixel=pixel, n_electrodes=n)
        found.append(Predictor(f"ridge regression of frames, {pixel:g} mm", ridge.predict, True, True))
    return found


def _fits(whole: float, part: float) -> bool:
    """Whether a length is a whole number of parts, one or more."""
    return round(whole / part) >= 1 and abs(whole / part - round(whole / part)) < 1e-6


def shown_name(weights: str) -> str:
    """Name under which weights are scored: of a file that of its folder, where that holds the training's results."""
    path = Path(weights)
    return path.parent.name if path.name == "weights.npz" and path.parent.name else path.stem


def loaded(weights: str, sheets: SheetSet) -> tuple[Predictor, str | None]:
    """Trained weights, to be scored on a set; and a remark, where its cells are not those they were trained on."""
    surrogate, card = load_surrogate(weights)
    name, known, own = shown_name(weights), card["origin"]["membrane"], sheets.recipe.membrane
    predictor = as_predictor(name, for_membrane(surrogate, own), card)
    if own == known:
        return predictor, None
    return predictor, f"{name}: was trained on cells {known}; the sheets are of {own}: it takes their speeds and shapes"


def as_predictor(name: str, surrogate: Surrogate, card: Mapping[str, Any] | None = None) -> Predictor:
    """A surrogate, to be scored; with its card also what it says of its limits."""
    known = None if card is None or "limits" not in card else Limits.of_card(card["limits"])
    cells = cells_of(surrogate)
    strange = card is not None and cells is not None and cells != card["origin"]["membrane"]

    def limits(sheet: SheetData) -> tuple[float, float]:
        assert known is not None
        if strange:  # cells are none of the numbers that describe a sheet
            return np.inf, np.nan
        numbers = statistics(surrogate, sheet)
        return known.judge(numbers).distance, known.bound(numbers)

    activation = surrogate.activation if isinstance(surrogate, TissueEcg) else None
    said = None if known is None else limits
    tissue = _tissues(surrogate) if isinstance(surrogate, MovieEcg) else None
    return Predictor(name, surrogate.predict, surrogate.sees_movie, True, said, activation, card, tissue)


def _tissues(model: MovieEcg) -> Callable[[SheetData], tuple[PixelTissue, PixelTissue]]:
    return lambda sheet: (model.inferred(sheet), true_tissue(sheet, model.pixel))


def external(path: Path) -> Predictor:
    """Predictions that were made elsewhere, from a NumPy archive.

    Parameters
    ----------
    path
        ``.npz`` with ``condition`` (texts), ``number`` (whole numbers), both one per sheet, ``ecg`` (sheets,
        electrodes, samples; mV; the first electrodes of each sheet), and ``times`` (ms): the movie's frames or the
        ECG's samples.

    Raises
    ------
    FileFormatError
        If an array is missing or of a wrong shape.
    """
    try:
        found = read_archive(path)
        names, numbers, ecg, times = (found[k] for k in ("condition", "number", "ecg", "times"))
    except KeyError as problem:
        raise FileFormatError(
            path, f"must be a NumPy archive with condition, number, ecg and times ({problem})."
        ) from None
    if names.ndim != 1 or numbers.shape != names.shape or times.ndim != 1 or numbers.dtype.kind not in "iu":
        raise FileFormatError(path, "condition must hold one text, number one whole number per sheet, times numbers.")
    if ecg.ndim != 3 or not len(names) == len(numbers) == len(ecg) or ecg.shape[2] != len(times):
        raise FileFormatError(
            path, f"ecg must have shape (sheets, electrodes, times); got {ecg.shape} for {len(names)} sheets and "
            f"{len(times)} times."
        )  # fmt: skip
    known = {(str(c), int(n)): e for c, n, e in zip(names, numbers, ecg, strict=True)}

    def predict(sheet: SheetData) -> np.ndarray:
        if (sheet.condition, sheet.number) not in known:
            raise InputError(f"{path}: holds no prediction for sheet {sheet.number} of {sheet.condition!r}.")
        return known[sheet.condition, sheet.number]

    return Predictor(path.stem, predict, False, True)


def evaluate(
    sheets: SheetSet, predictors: Sequence[Predictor], *, split: str = "test", progress: Progress = silent
) -> Evaluation:
    """Score predictors on a part of a set.

    Parameters
    ----------
    sheets
        The set.
    predictors
        What is scored.
    split
        ``"test"``, ``"validation"``, ``"training"``, or ``"all"`` of a set that nothing was trained on.
    progress
        Told after each sheet.

    Raises
    ------
    InputError
        If a prediction does not fit a sheet.
    """
    cells = sheets.cells(None if split == "all" else split)
    if not cells:
        raise InputError(f"{sheets.folder}: has no sheets in its {split} part; ten of a condition give one.")
    rows: list[Row] = []
    kept: dict[str, list[dict[str, Any]]] = {}
    for k, cell in enumerate(cells):
        sheet = read_sheet(sheets.folder, cell)
        for p in predictors:
            rows += _scored(p, sheet, kept)
        progress("scoring", k + 1, len(cells))
    provenance = {"set": str(sheets.folder), "split": split, "versions": versions(), "machine": machine()}
    shown = [p.name for p in predictors if p.learned] or [p.name for p in predictors]
    examples = [e for name in shown for e in _examples(kept[name])]
    cards = {p.name: p.card for p in predictors if p.card is not None}
    tissues = _read_tissues(sheets.folder, cells, predictors, kept)
    return Evaluation(sheets, split, rows, tabulated(rows), examples, tissues, cards, provenance)


def _read_tissues(
    folder: Path,
    cells: Sequence[Config],
    predictors: Sequence[Predictor],
    kept: Mapping[str, list[dict[str, Any]]],
) -> dict[str, tuple[PixelTissue, PixelTissue]]:
    """Tissue of the median sheet, read off its movie and true."""
    found = {}
    for p in predictors:
        if p.tissue is not None:
            median = _examples(kept[p.name])[1]
            where = (median["condition"], median["number"])
            cell = next(c for c in cells if (c["condition"]["name"], c["number"]) == where)
            found[p.name] = p.tissue(read_sheet(folder, cell))
    return found


def _scored(predictor: Predictor, sheet: SheetData, kept: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Rows of one sheet."""
    begun = time.perf_counter()
    found = np.asarray(predictor.predict(sheet))
    milliseconds = 1e3 * (time.perf_counter() - begun)
    true, times = _truth(sheet, sees_movie=predictor.sees_movie)
    if found.ndim == 2 and found.shape[1] == len(sheet.movie_times) != len(times):
        true, times = sheet.ecg_of_frames, sheet.movie_times
    if found.ndim != 2 or found.shape[1] != len(times) or not 1 <= len(found) <= len(true):
        raise InputError(
            f"{predictor.name}: predicts an ECG of shape {found.shape} for sheet {sheet.number} of "
            f"{sheet.condition!r}; expected up to {len(true)} electrodes and {len(times)} samples."
        )
    scores = ecg_scores(found, true[: len(found)], times)
    shared = {"predictor": predictor.name, "learned": predictor.learned, "condition": sheet.condition}
    shared |= {"number": sheet.number, "milliseconds": milliseconds, "error": sheet_error(found, true[: len(found)])}
    if predictor.limits is not None:
        distance, bound = predictor.limits(sheet)
        shared |= {"distance": distance, "flagged": distance > 1, "bound": bound, "below": shared["error"] <= bound}
    if predictor.activation is not None:
        late = np.abs(predictor.activation(sheet) - sheet.tissue().take(sheet.activation))
        shared["activation_error_ms"] = float(np.nanmean(late))
    example = {"predictor": predictor.name, "condition": sheet.condition, "number": sheet.number, "times": times}
    example |= {"true": true[0], "predicted": found[0], "r2": float(scores["r2"][0])}
    kept.setdefault(predictor.name, []).append(example)
    return [{**shared, "electrode": e, **{k: float(v[e]) for k, v in scores.items()}} for e in range(len(found))]


def _examples(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best, median and worst."""
    order = sorted(found, key=lambda e: -e["r2"])
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return [{**order[k], "rank": name} for name, k in places.items()]


def tabulated(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Sum up rows per predictor, for all conditions together and each."""
    table = []
    for name in dict.fromkeys(row["predictor"] for row in rows):
        own = [row for row in rows if row["predictor"] == name]
        for condition in ("all", *dict.fromkeys(row["condition"] for row in own)):
            part = [row for row in own if condition in ("all", row["condition"])]
            first = [row["r2"] for row in part if row["electrode"] == 0]
            once = [row for row in part if row["electrode"] == 0]
            shares = ("flagged", "below", "activation_error_ms")
            said = {k: float(np.mean([row[k] for row in once])) for k in shares if k in once[0]}
            table.append(
                {
                    "predictor": name,
                    "learned": own[0]["learned"],
                    "condition": condition,
                    **summary(part),
                    "r2_first_electrode": float(np.mean(first)),
                    "milliseconds": float(np.median([row["milliseconds"] for row in part])),
                    "error": float(np.median([row["error"] for row in once])),
                    **said,
                }
            )
    return table


def write_evaluation(result: Evaluation, folder: Path, page: Callable[[Evaluation, Path], object] | None) -> None:
    """Write scores, table, provenance and page.

    Parameters
    ----------
    result
        As returned by `evaluate`.
    folder
        Made if needed.
    page
        Writes ``report.html``; None for no page.
    """
    with staged(folder, owned=EVALUATION) as stage:
        write_rows(stage / "scores.csv", result.rows)
        write_rows(stage / "table.csv", result.table)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(result.provenance))), encoding="utf-8")
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, result.table)
