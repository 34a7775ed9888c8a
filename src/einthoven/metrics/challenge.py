"""The parts of the 2026 ECGI Data Challenge score, each on its own, and its aggregate per data set.

Facts from the challenge's public scorer (https://github.com/CECGImaging/2026_ECGI_Data_Challenge): SC and TC are
*uncentred* cosines over space and time, the mean error is turned into 1 - mean(RMSE)/1.0, and the localization error
enters as a distance. ``docs/how-to/challenge.md`` compares rule by rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.errors import some
from einthoven.metrics.errors import checked_pair, rmse


def cosine(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> float:
    """Uncentred cosine of two vectors, by the challenge's rules.

    a.b / (|a| |b|); two zero vectors count 1, one zero vector 0; the shorter is padded with zeros.

    Parameters
    ----------
    a, b
        Shapes (n,) and (m,).

    Returns
    -------
    float
        -1..1.
    """
    size = max(len(a), len(b))
    rows = np.zeros((2, size))
    rows[0, : len(a)], rows[1, : len(b)] = a, b
    return float(_cosines(rows[:1].T, rows[1:].T)[0])


def _cosines(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cosine of each pair of columns."""
    top_e, top_t = np.abs(estimate).max(axis=0), np.abs(truth).max(axis=0)
    scaled_e = estimate / np.where(top_e > 0, top_e, 1.0)
    scaled_t = truth / np.where(top_t > 0, top_t, 1.0)
    norms = np.sqrt((scaled_e**2).sum(axis=0) * (scaled_t**2).sum(axis=0))
    zero_e, zero_t = top_e == 0, top_t == 0
    value = (scaled_e * scaled_t).sum(axis=0) / np.where(norms > 0, norms, 1.0)
    return np.where(zero_e & zero_t, 1.0, np.where(zero_e | zero_t, 0.0, np.clip(value, -1.0, 1.0)))


def spatial_cosine(
    estimate: Float[np.ndarray, "n_sites n_times"], truth: Float[np.ndarray, "n_sites n_times"]
) -> float:
    """SC: mean over the frames of the uncentred cosine between the two spatial vectors.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    return float(_cosines(*checked_pair(estimate, truth, "sc")).mean())


def temporal_cosine(
    estimate: Float[np.ndarray, "n_sites n_times"], truth: Float[np.ndarray, "n_sites n_times"]
) -> float:
    """TC: mean over the sites of the uncentred cosine between the two time courses.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    estimate, truth = checked_pair(estimate, truth, "tc")
    return float(_cosines(estimate.T, truth.T).mean())


@dataclass(frozen=True, eq=False)
class ChallengeBeat:
    """One beat as the challenge stores it (``ts.potvals``, ``ts.pacingLoc``).

    Parameters
    ----------
    potentials
        Shape (n_nodes, n_times), mV; of shape (0, 0) where only the location counts.
    pacing_location
        Shape (3,), mm.
    """

    potentials: Float[np.ndarray, "n_nodes n_times"]
    pacing_location: Float[np.ndarray, " 3"]


@dataclass(frozen=True)
class ChallengeWeights:
    """How one data set of the challenge adds up the parts.

    Parameters
    ----------
    name
        Name of the data set.
    sc, tc, rmse
        Weights of SC, TC and 1 - mean(RMSE); larger is better.
    localization
        Weight of the localization error *as a distance* (mm): larger is worse, so a sum that mixes it
        with the others has no better direction. Look at the parts.
    """

    name: str
    sc: float = 0.0
    tc: float = 0.0
    rmse: float = 0.0
    localization: float = 0.0


UTAH = ChallengeWeights("Utah", sc=1 / 3, tc=1 / 3, rmse=1 / 3)
AUCKLAND = ChallengeWeights("Auckland", sc=1 / 6, tc=1 / 6, rmse=1 / 6, localization=1 / 2)
HALIFAX = ChallengeWeights("Halifax", localization=1.0)
BRATISLAVA = ChallengeWeights("Bratislava", localization=1.0)

#: Weights of the challenge's data sets by name.
CHALLENGE_DATASETS = {weights.name.lower(): weights for weights in (UTAH, AUCKLAND, HALIFAX, BRATISLAVA)}


@dataclass(frozen=True)
class ChallengeScore:
    """The parts of the score, means over the beats.

    Parameters
    ----------
    sc, tc
        Uncentred cosines; NaN where the beats hold no potentials.
    rmse
        Mean over the beats of the root mean square error, mV; NaN as before.
    localization_error
        Mean distance of the pacing sites, mm.
    n_beats
        Number of beats.
    """

    sc: float
    tc: float
    rmse: float
    localization_error: float
    n_beats: int

    @property
    def rmse_part(self) -> float:
        """1 - mean(RMSE) / (1 mV), as it enters the sum."""
        return 1.0 - self.rmse / 1.0

    def total(self, weights: ChallengeWeights) -> float:
        """Return the sum of the parts as that data set weighs them; parts of weight 0 are not looked at.

        Raises
        ------
        InputError
            If a part that counts is missing because the beats hold no potentials.
        """
        parts = (
            (weights.sc, self.sc),
            (weights.tc, self.tc),
            (weights.rmse, self.rmse_part),
            (weights.localization, self.localization_error),
        )
        total = sum(weight * part for weight, part in parts if weight)
        if np.isnan(total):
            raise InputError(
                f"{weights.name} counts potentials, and the beats hold none; score them as halifax or bratislava."
            )
        return total


def challenge_score(estimates: Mapping[str, ChallengeBeat], truths: Mapping[str, ChallengeBeat]) -> ChallengeScore:
    """Score beats, matched by name.

    Parameters
    ----------
    estimates, truths
        Beats by base name of their file.

    Returns
    -------
    ChallengeScore
        Each part on its own; `ChallengeScore.total` adds them as `UTAH`, `AUCKLAND`, `HALIFAX` or
        `BRATISLAVA` do.

    Raises
    ------
    InputError
        As `beat_scores`.
    """
    return mean_score(beat_scores(estimates, truths))


def mean_score(scores: Mapping[str, ChallengeScore]) -> ChallengeScore:
    """Return the mean of every part over beats, each counted once."""
    rows = [(s.sc, s.tc, s.rmse, s.localization_error) for s in scores.values()]
    sc, tc, error, distance = np.mean(rows, axis=0)
    return ChallengeScore(float(sc), float(tc), float(error), float(distance), len(rows))


def beat_scores(
    estimates: Mapping[str, ChallengeBeat], truths: Mapping[str, ChallengeBeat]
) -> dict[str, ChallengeScore]:
    """Score every beat on its own.

    Parameters
    ----------
    estimates, truths
        Beats by base name of their file.

    Raises
    ------
    InputError
        If beats are missing on one side, shapes differ, potentials are not finite, a pacing location is not three
        finite numbers, or some beats hold potentials and others none.
    """
    for names, where in ((set(truths) - set(estimates), "the estimate"), (set(estimates) - set(truths), "the truth")):
        if names:
            raise InputError(
                f"challenge beats must be the same in estimate and truth; {some(sorted(names))} are missing on one "
                f"side: {where}. Name the files alike."
            )
    if not truths:
        raise InputError("challenge beats must be the same in estimate and truth; all are missing. Name the folders.")
    found = {name: _beat_score(name, estimates[name], truths[name]) for name in sorted(truths)}
    empty = [name for name, score in found.items() if np.isnan(score.sc)]
    if empty and len(empty) < len(found):
        raise InputError(f"beats {some(empty)} hold no potentials, the others do; give all of them, or none.")
    return found


def _beat_score(name: str, estimate: ChallengeBeat, truth: ChallengeBeat) -> ChallengeScore:
    if np.shape(estimate.potentials) != np.shape(truth.potentials):
        raise InputError(
            f"beat {name}: estimate and truth must have the same shape (nodes, times); got "
            f"{np.shape(estimate.potentials)} and {np.shape(truth.potentials)}."
        )
    if not (np.isfinite(estimate.potentials).all() and np.isfinite(truth.potentials).all()):
        raise InputError(f"beat {name}: potentials must be finite in estimate and truth; some are NaN or infinite.")
    places = np.array([estimate.pacing_location, truth.pacing_location], dtype=np.float64)
    if places.shape != (2, 3) or not np.isfinite(places).all():
        raise InputError(f"beat {name}: a pacing location must be three finite numbers (mm) in estimate and truth.")
    distance = float(np.linalg.norm(places[0] - places[1]))
    if np.size(truth.potentials) == 0:
        return ChallengeScore(float("nan"), float("nan"), float("nan"), distance, 1)
    return ChallengeScore(
        spatial_cosine(estimate.potentials, truth.potentials),
        temporal_cosine(estimate.potentials, truth.potentials),
        rmse(estimate.potentials, truth.potentials),
        distance,
        1,
    )
