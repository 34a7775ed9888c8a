import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.metrics import (
    AUCKLAND,
    BRATISLAVA,
    HALIFAX,
    UTAH,
    ChallengeBeat,
    challenge_score,
    cosine,
    spatial_cosine,
    temporal_cosine,
)

VECTOR = st.lists(st.integers(-50, 50), min_size=1, max_size=8).map(lambda v: np.array(v, dtype=float))


def test_cosine_follows_the_rules_for_zeros_and_lengths():
    assert cosine(np.zeros(3), np.zeros(3)) == 1.0
    assert cosine(np.zeros(3), np.array([1.0, 0.0, 0.0])) == 0.0
    assert cosine(np.array([3.0, 4.0]), np.array([3.0, 4.0, 12.0])) == pytest.approx(25 / (5 * 13), rel=1e-15)
    assert cosine(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == pytest.approx(1.0, rel=1e-15)
    # uncentred: a common offset changes it, unlike Pearson's coefficient
    assert cosine(np.array([1.0, -1.0]), np.array([11.0, 9.0])) == pytest.approx(2 / np.sqrt(2 * 202), rel=1e-14)


@given(VECTOR, VECTOR, st.floats(0.01, 100))
def test_cosine_is_symmetric_bounded_and_blind_to_gain(a, b, gain):
    assert cosine(a, b) == pytest.approx(cosine(b, a), abs=1e-15)
    assert abs(cosine(a, b)) <= 1
    assert cosine(gain * a, b) == pytest.approx(cosine(a, b), abs=1e-12)


@given(VECTOR, VECTOR, st.integers(1, 4))
def test_padding_with_zeros_changes_nothing(a, b, extra):
    assert cosine(np.r_[a, np.zeros(extra)], b) == pytest.approx(cosine(a, b), abs=1e-15)


def test_spatial_cosine_averages_frames_and_temporal_cosine_nodes():
    rng = np.random.default_rng(1)
    estimate, truth = rng.normal(size=(2, 5, 7))
    truth[:, 2] = 0.0
    estimate[3] = 0.0
    sc = [cosine(estimate[:, k], truth[:, k]) for k in range(7)]
    tc = [cosine(estimate[k], truth[k]) for k in range(5)]
    assert sc[2] == 0.0
    assert tc[3] == 0.0
    assert spatial_cosine(estimate, truth) == pytest.approx(np.mean(sc), rel=1e-14)
    assert temporal_cosine(estimate, truth) == pytest.approx(np.mean(tc), rel=1e-14)
    assert temporal_cosine(estimate, truth) == pytest.approx(spatial_cosine(estimate.T, truth.T), rel=1e-14)


def beats():
    truth = {
        "a-cs": ChallengeBeat(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, 0.0, 0.0])),
        "b-cs": ChallengeBeat(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([1.0, 0.0, 0.0])),
    }
    estimate = {
        "b-cs": ChallengeBeat(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([1.0, 3.0, 4.0])),
        "a-cs": ChallengeBeat(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([0.0, 0.0, 1.0])),
    }
    return estimate, truth


def test_parts_and_totals_of_a_worked_example():
    score = challenge_score(*beats())
    assert (score.sc, score.tc, score.n_beats) == (0.75, 0.75, 2)
    assert score.rmse == pytest.approx(0.25, rel=1e-15)  # beat a: sqrt(1/4), beat b: 0
    assert score.rmse_part == pytest.approx(0.75, rel=1e-15)
    assert score.localization_error == pytest.approx(3.0, rel=1e-15)
    assert score.total(UTAH) == pytest.approx(0.75, rel=1e-15)
    assert score.total(AUCKLAND) == pytest.approx(0.75 / 2 + 3.0 / 2, rel=1e-15)
    assert score.total(HALIFAX) == score.total(BRATISLAVA) == pytest.approx(3.0, rel=1e-15)


def test_beats_must_match():
    estimate, truth = beats()
    with pytest.raises(InputError, match="b-cs are missing on one side"):
        challenge_score({"a-cs": estimate["a-cs"]}, truth)
    with pytest.raises(InputError, match="all are missing"):
        challenge_score({}, {})
    short = {**estimate, "a-cs": ChallengeBeat(np.zeros((2, 1)), np.zeros(3))}
    with pytest.raises(InputError, match=r"beat a-cs: estimate and truth must have the same shape .*\(2, 1\)"):
        challenge_score(short, truth)
    lost = {**estimate, "a-cs": ChallengeBeat(np.zeros((2, 2)), np.full(3, np.nan))}
    with pytest.raises(InputError, match="beat a-cs: a pacing location must be three finite numbers"):
        challenge_score(lost, truth)
