"""Scores of predicted ECGs."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.surrogate.scores import ecg_scores, summary

TIMES = np.arange(0.0, 100.0, 2.0)


def signals() -> np.ndarray:
    return np.stack([np.sin(TIMES / 9), 0.01 * np.exp(-(((TIMES - 40) / 10) ** 2))])


def test_a_perfect_prediction():
    scores = ecg_scores(signals(), signals(), TIMES)
    assert scores["r2"] == pytest.approx([1, 1])
    assert scores["amplitude_ratio"] == pytest.approx([1, 1])
    assert scores["peak_time_error"] == pytest.approx([0, 0])


def test_the_mean_scores_zero_and_a_shift_counts():
    y = signals()
    scores = ecg_scores(np.broadcast_to(y.mean(axis=1, keepdims=True), y.shape), y, TIMES)
    assert scores["r2"] == pytest.approx([0, 0], abs=1e-12)
    assert scores["correlation"] == pytest.approx([0, 0])
    moved = ecg_scores(np.roll(y, 3, axis=1), y, TIMES)
    assert moved["peak_time_error"][1] == 6.0
    assert moved["r2"][1] < 0.8
    doubled = ecg_scores(2 * y, y, TIMES)
    assert doubled["amplitude_ratio"] == pytest.approx([2, 2])
    assert doubled["correlation"] == pytest.approx([1, 1])
    assert doubled["mae"] == pytest.approx(np.abs(y).mean(axis=1))


def test_the_floor_forgives_where_there_is_hardly_a_signal():
    y = signals()
    scores = ecg_scores(y + 0.005 * np.cos(TIMES), y, TIMES)
    assert scores["r2"][1] < 0.5
    assert scores["r2_floored"][1] > 0.99
    assert scores["r2_floored"][0] == scores["r2"][0]


def test_what_cannot_be_scored():
    y = signals()
    with pytest.raises(InputError, match=r"shapes of prediction and truth differ: \(1, 50\) and \(2, 50\)"):
        ecg_scores(y[:1], y, TIMES)
    with pytest.raises(InputError, match="NaN"):
        ecg_scores(np.full(y.shape, np.nan), y, TIMES)
    with pytest.raises(InputError, match="electrode 1 is constant"):
        ecg_scores(y, y * [[1], [0]], TIMES)


def test_a_summary():
    y = signals()
    scores = ecg_scores(np.roll(y, 1, axis=1), y, TIMES)
    rows = [{k: v[e] for k, v in scores.items()} for e in range(2)]
    found = summary(rows)
    assert found["n"] == 2
    assert found["r2_mean"] == pytest.approx(scores["r2"].mean())
    assert found["r2_min"] == scores["r2"].min()
    assert scores["r2"].min() <= found["r2_p05"] <= scores["r2"].max()
