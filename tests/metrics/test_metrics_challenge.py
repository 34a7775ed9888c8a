import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.metrics import (
    AUCKLAND,
    BRATISLAVA,
    CHALLENGE_DATASETS,
    HALIFAX,
    UTAH,
    ChallengeBeat,
    beat_scores,
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


# --- the rules once more, in plain NumPy ---------------------------------------------------------


def plain_cosine(a, b):
    n = max(len(a), len(b))
    a, b = np.concatenate([a, np.zeros(n - len(a))]), np.concatenate([b, np.zeros(n - len(b))])
    length = np.sqrt((a * a).sum()), np.sqrt((b * b).sum())
    if length[0] == 0 or length[1] == 0:
        return 1.0 if length[0] == length[1] else 0.0
    return (a * b).sum() / (length[0] * length[1])


def plain_parts(estimates, truths):
    """Rows of SC, TC, RMSE, distance by beat, in the order of the names."""
    rows = []
    for name in sorted(truths):
        (x, p), (y, q) = estimates[name], truths[name]
        sc = sum(plain_cosine(x[:, t], y[:, t]) for t in range(x.shape[1])) / x.shape[1]
        tc = sum(plain_cosine(x[i], y[i]) for i in range(x.shape[0])) / x.shape[0]
        rows.append((sc, tc, ((x - y) ** 2).mean() ** 0.5, ((p - q) ** 2).sum() ** 0.5))
    return np.array(rows)


def plain_total(rows, dataset):
    sc, tc, rmse, distance = (sum(column) / len(column) for column in rows.T)
    potentials = sc + tc + (1 - rmse / 1.0)
    return {"utah": potentials / 3, "auckland": potentials / 6 + distance / 2}.get(dataset, distance)


@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_the_rules_in_plain_numpy(seed):
    random = np.random.default_rng(seed)
    shapes = {"Run10-b1": (4, 6), "Run2-b3": (7, 3), "a": (1, 5)}
    truths = {name: (random.normal(size=shape), random.normal(size=3)) for name, shape in shapes.items()}
    estimates = {name: (v + random.normal(size=v.shape), p + random.normal(size=3)) for name, (v, p) in truths.items()}
    truths["Run10-b1"][0][:, 2] = 0.0
    estimates["Run2-b3"][0][1] = 0.0
    truths["Run2-b3"][0][1] = 0.0
    ours = [{k: ChallengeBeat(*pair) for k, pair in side.items()} for side in (estimates, truths)]
    rows = plain_parts(estimates, truths)
    beats = beat_scores(*ours)
    assert list(beats) == ["Run10-b1", "Run2-b3", "a"]
    for row, beat in zip(rows, beats.values(), strict=True):
        np.testing.assert_allclose((beat.sc, beat.tc, beat.rmse, beat.localization_error), row, rtol=1e-13)
    score = challenge_score(*ours)
    for name, weights in CHALLENGE_DATASETS.items():
        assert score.total(weights) == pytest.approx(plain_total(rows, name), rel=1e-13)


def test_values_computed_by_hand():
    truth = {"x": ChallengeBeat(np.array([[3.0, 0.0], [4.0, 1.0]]), np.array([10.0, 0.0, 0.0]))}
    estimate = {"x": ChallengeBeat(np.array([[4.0, 0.0], [3.0, 0.0]]), np.array([10.0, 2.0, 1.5]))}
    score = challenge_score(estimate, truth)
    assert score.sc == pytest.approx((24 / 25 + 0) / 2, rel=1e-15)  # frames: (3,4).(4,3)/25; (0,1) against zero
    assert score.tc == pytest.approx((1 + 12 / (17**0.5 * 3)) / 2, rel=1e-15)  # nodes: (3,0), (4,0); (4,1), (3,0)
    assert score.rmse == pytest.approx((3 / 4) ** 0.5, rel=1e-15)
    assert score.localization_error == 2.5
    assert score.total(HALIFAX) == 2.5
    assert score.total(AUCKLAND) == pytest.approx((score.sc + score.tc + 1 - score.rmse) / 6 + 1.25, rel=1e-15)


def test_beats_without_potentials_have_a_location_only():
    there = {n: ChallengeBeat(np.zeros((0, 0)), np.array([float(i), 0, 0])) for i, n in enumerate("ab")}
    here = {n: ChallengeBeat(np.zeros((0, 0)), np.zeros(3)) for n in "ab"}
    score = challenge_score(here, there)
    assert score.total(BRATISLAVA) == 0.5
    assert np.isnan(score.sc)
    with pytest.raises(InputError, match=r"Utah counts potentials, and the beats hold none; score them as halifax"):
        score.total(UTAH)
    there["a"] = here["a"] = ChallengeBeat(np.ones((2, 2)), np.zeros(3))
    with pytest.raises(InputError, match="beats b hold no potentials, the others do"):
        challenge_score(here, there)


def test_the_side_that_lacks_a_beat_is_named():
    estimate, truth = beats()
    del truth["a-cs"]
    with pytest.raises(InputError, match="a-cs are missing on one side: the truth"):
        challenge_score(estimate, truth)
    estimate["b-cs"] = ChallengeBeat(np.array([[np.nan, 0.0], [0.0, 2.0]]), np.zeros(3))
    with pytest.raises(InputError, match="beat b-cs: potentials must be finite in estimate and truth; some are NaN"):
        challenge_score({"b-cs": estimate["b-cs"]}, truth)
