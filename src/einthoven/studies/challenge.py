"""The 2026 ECGI Data Challenge: from folders of beats to a submission, and from a submission to its score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tomli_w
from jaxtyping import Float

from einthoven.core import Case, ForwardOperator, InputError
from einthoven.core.progress import Progress, silent
from einthoven.io.cases import read_case_beats
from einthoven.io.challenge import pack_beats, read_beats, write_beats
from einthoven.metrics import (
    CHALLENGE_DATASETS,
    ChallengeBeat,
    ChallengeScore,
    ChallengeWeights,
    beat_scores,
    earliest_node,
    mean_score,
)
from einthoven.studies.forward import build_operator
from einthoven.studies.imaging import checked_methods, image_case, qrs_window, select_data
from einthoven.studies.output import SEAL, check_folder, plain, staged, without_none, write_json, write_rows
from einthoven.studies.provenance import machine, versions
from einthoven.studies.results import ImagingResult
from einthoven.studies.settings import FitSettings, ImagingSettings

#: Where the pacing site comes from: the earliest activation of the image, or one wave fitted to the leads.
Site = Literal["activation", "wave"]

#: The folder and the archive with the beats.
FOLDER, ARCHIVE = "submission", "submission.zip"

#: Guesses from which a wave is fitted.
WAVE_STARTS = 4


@dataclass(frozen=True, eq=False)
class ChallengeImages:
    """Imaged beats.

    Parameters
    ----------
    beats
        Heart potentials (mV) and pacing site (mm) by the beat's name.
    rows
        One flat row per beat: how it was imaged.
    provenance
        Settings, versions, machine, checksums of every beat's data.
    """

    beats: dict[str, ChallengeBeat]
    rows: tuple[dict[str, Any], ...]
    provenance: dict[str, Any]


def image_beats(
    folders: Sequence[Path], settings: ImagingSettings, *, site: str = "activation", progress: Progress = silent
) -> ChallengeImages:
    """Image every beat of case folders whose recording is a pattern (`einthoven.io.cases.read_case_beats`).

    All files are read and checked before the first beat is imaged. An operator is built once per folder.

    Parameters
    ----------
    folders
        One per geometry.
    settings
        One method, its rule, the reference. All frames are imaged, for a submission has those of the recording.
    site
        ``"activation"``: the node of the smallest spatiotemporal activation time of the image. ``"wave"``: the early
        site of one wave through a wall inside the heart's surface, fitted to the QRS complex of the leads
        (`einthoven.studies.fitting`); the potentials are those of the method.
    progress
        Told about beats.

    Raises
    ------
    InputError
        If files, settings or names of beats are wrong, or a beat has no site; the message names the beat.
    """
    if site not in get_args(Site):
        raise InputError(f"the site must come from one of {', '.join(get_args(Site))}; got {site!r}.")
    if len(checked_methods(settings)) != 1:
        raise InputError("a submission has one method; run the command again, with another --out, for the next one.")
    if settings.rule == "oracle":
        raise InputError("the oracle rule needs the truth, which a submission has not seen; choose another --rule.")
    cases = _cases(folders)
    operators: dict[Path, ForwardOperator] = {}
    beats, rows, checksums = {}, [], {}
    for done, (name, (folder, case)) in enumerate(cases.items()):
        progress("beats", done, len(cases))
        try:
            if folder not in operators and settings.operator is None:
                operators[folder] = build_operator(case, quantity="hsp")
            result = image_case(case, settings, built=operators.get(folder))
            place = _earliest(result) if site == "activation" else _wave_site(case, settings)
        except InputError as problem:
            raise InputError(f"beat {name}: {problem}") from problem
        picture = result.images[0]
        beats[name] = ChallengeBeat(np.asarray(picture.reconstruction.estimate.values, np.float64), place)
        rows.append({"beat": name, "folder": str(folder), "site": site, **_place(place), **picture.metrics})
        checksums[name] = result.provenance["checksums"]
    progress("beats", len(cases), len(cases))
    run = {"settings": settings.model_dump(exclude_none=True, mode="json"), "site": site}
    run |= {"folders": [str(f) for f in folders], "versions": versions(), "machine": machine(), "checksums": checksums}
    return ChallengeImages(beats, tuple(rows), run)


def _cases(folders: Sequence[Path]) -> dict[str, tuple[Path, Case]]:
    """Every beat with its folder; refuses two of the same name."""
    found: dict[str, tuple[Path, Case]] = {}
    for folder in folders:
        for name, case in read_case_beats(folder).items():
            if name in found:
                raise InputError(
                    f"beat {name} is in {found[name][0]} and in {folder}, and beats go by their names; rename one, or "
                    "image the folders apart."
                )
            found[name] = (folder, case)
    if not found:
        raise InputError("name at least one case folder with beats.")
    return found


def _earliest(result: ImagingResult) -> Float[np.ndarray, " 3"]:
    times = result.images[0].activation
    if times is None or not np.isfinite(times).any():
        raise InputError("the image shows no activation, and so no pacing site; is the recording at rest?")
    return np.array(result.source.surface.points[earliest_node(times)])


def _wave_site(case: Case, settings: ImagingSettings) -> Float[np.ndarray, " 3"]:
    """Early site of one wave, fitted to the QRS complex, or to the whole recording where none is found."""
    from einthoven.studies.fitting import fit_case

    recording = select_data(case, settings)
    fit = FitSettings(
        window_ms=qrs_window(recording) or (float(recording.times[0]), float(recording.times[-1])),
        reference=settings.reference,
        leads=settings.leads,
        exclude=settings.exclude,
        sites=1,
        starts=WAVE_STARTS,
        pose_mm=0.0,
        pose_deg=0.0,
        electrode_mm=0.0,
    )
    return np.array(fit_case(case, fit).ensemble.best.wave.sites[0], dtype=np.float64)


def _place(place: Float[np.ndarray, " 3"]) -> dict[str, float]:
    return dict(zip(("x_mm", "y_mm", "z_mm"), map(float, place), strict=True))


def write_images(images: ChallengeImages, folder: Path) -> dict[str, Path]:
    """Write ``submission/NAME-cs.mat`` per beat, the same as ``submission.zip``, one row per beat, and ``run.toml``.

    Beats of an earlier run are removed with its folder. A folder that holds beats but no ``metrics.json`` is not one
    of ours, and is left alone.

    Raises
    ------
    InputError
        If the folder cannot be written, or ``submission`` there is not of an earlier run.
    """
    check_folder(folder)
    if (folder / FOLDER).exists() and not (folder / SEAL).exists():
        raise InputError(f"{folder / FOLDER} is there, and not of a finished run; choose another --out, or remove it.")
    with staged(folder) as stage:
        (stage / FOLDER).mkdir()
        pack_beats(write_beats(images.beats, stage / FOLDER), stage / ARCHIVE)
        write_rows(stage / "metrics.csv", images.rows)
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(images.provenance))), encoding="utf-8")
        write_json(stage / SEAL, list(images.rows))
        names = [entry.name for entry in stage.iterdir()]
    return {name: folder / name for name in names}


@dataclass(frozen=True)
class ScoredSubmission:
    """A submission's score: the means over its beats, every beat, and how the data set weighs the parts."""

    score: ChallengeScore
    beats: dict[str, ChallengeScore]
    weights: ChallengeWeights

    def parts(self) -> list[dict[str, Any]]:
        """One row per part: its value, its weight in this data set, and what it adds to the sum."""
        weights, score = self.weights, self.score
        rows = [
            ("SC", score.sc, weights.sc),
            ("TC", score.tc, weights.tc),
            ("1 - RMSE", score.rmse_part, weights.rmse),
            ("LocErr mm", score.localization_error, weights.localization),
        ]
        return [
            {"part": part, "value": _known(value), "weight": weight, "adds": weight * value if weight else 0.0}
            for part, value, weight in rows
        ]

    def summary(self) -> dict[str, Any]:
        """Flat numbers, as in ``metrics.json``."""
        score = self.score
        return {
            "dataset": self.weights.name.lower(),
            "n_beats": score.n_beats,
            **_flat(score),
            "total": score.total(self.weights),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One flat row per beat."""
        return [{"beat": name, **_flat(score)} for name, score in self.beats.items()]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _flat(score: ChallengeScore) -> dict[str, Any]:
    potentials = {"sc": _known(score.sc), "tc": _known(score.tc), "rmse": _known(score.rmse)}
    return potentials | {"localization_error_mm": score.localization_error}


def score_submission(submission: Path, truth: Path, *, dataset: str) -> ScoredSubmission:
    """Score the beats of a folder or ``.zip`` against those of another, as the challenge does for that data set.

    Raises
    ------
    InputError
        If there is no such data set, beats are missing or differ in shape, or a location is missing.
    """
    weights = CHALLENGE_DATASETS.get(dataset.strip().lower())
    if weights is None:
        raise InputError(f"--dataset must be one of {', '.join(CHALLENGE_DATASETS)}; got {dataset!r}.")
    scores = beat_scores(read_beats(submission), read_beats(truth))
    found = ScoredSubmission(mean_score(scores), scores, weights)
    found.score.total(weights)
    return found


def write_score(scored: ScoredSubmission, folder: Path) -> None:
    """Write ``beats.csv``, ``metrics.csv`` and ``metrics.json``."""
    with staged(folder) as stage:
        write_rows(stage / "beats.csv", scored.rows())
        write_rows(stage / "metrics.csv", [scored.summary()])
        write_json(stage / SEAL, scored.summary())
