"""Scores of potentials, activation times and sites."""

from einthoven.metrics.activation import (
    ActivationError,
    activation_error,
    earliest_node,
    geodesic_localization_error,
    localization_error,
)
from einthoven.metrics.challenge import (
    AUCKLAND,
    BRATISLAVA,
    HALIFAX,
    UTAH,
    ChallengeBeat,
    ChallengeScore,
    ChallengeWeights,
    challenge_score,
    cosine,
    spatial_cosine,
    temporal_cosine,
)
from einthoven.metrics.errors import MEASURES, Measure, correlation, mag, rdm, relative_error, rmse
from einthoven.metrics.scoring import ABSOLUTE, MEAN_REMOVED, matched, remove_mean, score, scoring_reference

__all__ = [
    "ABSOLUTE",
    "AUCKLAND",
    "BRATISLAVA",
    "HALIFAX",
    "MEAN_REMOVED",
    "MEASURES",
    "UTAH",
    "ActivationError",
    "ChallengeBeat",
    "ChallengeScore",
    "ChallengeWeights",
    "Measure",
    "activation_error",
    "challenge_score",
    "correlation",
    "cosine",
    "earliest_node",
    "geodesic_localization_error",
    "localization_error",
    "mag",
    "matched",
    "rdm",
    "relative_error",
    "remove_mean",
    "rmse",
    "score",
    "scoring_reference",
    "spatial_cosine",
    "temporal_cosine",
]
