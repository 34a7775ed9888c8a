import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from einthoven.core import InputError
from einthoven.metrics import MEASURES, Measure, correlation, mag, rdm, relative_error, rmse


def bare(function):
    """The function as users run it: without the shape annotations that only the tests execute."""
    return inspect.unwrap(function)


VALUES = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 6))


@st.composite
def pairs(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7))
    truth = draw(arrays(np.float64, shape, elements=VALUES))
    estimate = draw(arrays(np.float64, shape, elements=VALUES))
    # neither constant nor zero: those cases have tests of their own
    truth[0, 0] += 500.0
    estimate[-1, -1] -= 500.0
    return estimate, truth


def test_values_of_a_worked_example():
    truth = np.array([[3.0, 0.0], [0.0, 4.0]])
    estimate = np.array([[3.0, 0.0], [0.0, 0.0]])
    assert relative_error(estimate, truth) == pytest.approx(4 / 5, rel=1e-15)
    assert rmse(estimate, truth) == pytest.approx(2.0, rel=1e-15)
    assert mag(estimate, truth) == pytest.approx(3 / 5, rel=1e-15)
    assert rdm(estimate, truth) == pytest.approx(np.hypot(1 - 3 / 5, 4 / 5), rel=1e-15)
    assert correlation(estimate, truth) == pytest.approx(np.corrcoef(estimate.ravel(), truth.ravel())[0, 1], rel=1e-14)


def test_measures_per_frame_and_per_node_are_the_measures_of_columns_and_rows():
    rng = np.random.default_rng(3)
    estimate, truth = rng.normal(size=(2, 6, 9))
    for measure in MEASURES.values():
        frames = [measure(estimate[:, [k]], truth[:, [k]]) for k in range(9)]
        nodes = [measure(estimate[[k]], truth[[k]]) for k in range(6)]
        np.testing.assert_allclose(measure.per_frame(estimate, truth), frames, rtol=1e-14)
        np.testing.assert_allclose(measure.per_node(estimate, truth), nodes, rtol=1e-14)


def test_a_perfect_estimate_is_best():
    truth = np.random.default_rng(0).normal(size=(5, 8))
    for measure in MEASURES.values():
        assert measure(truth, truth) == pytest.approx(measure.best, abs=1e-15)


@given(pairs(), st.floats(0.01, 100), st.floats(-100, 100))
def test_correlation_is_blind_to_gain_and_offset(pair, gain, offset):
    estimate, truth = pair
    assert correlation(gain * estimate + offset, truth) == pytest.approx(correlation(estimate, truth), abs=1e-7)
    assert correlation(-estimate, truth) == pytest.approx(-correlation(estimate, truth), abs=1e-12)


@given(pairs(), st.floats(0.01, 100))
def test_rdm_is_blind_to_gain_and_mag_follows_it(pair, gain):
    estimate, truth = pair
    assert rdm(gain * estimate, truth) == pytest.approx(rdm(estimate, truth), abs=1e-12)
    assert mag(gain * estimate, truth) == pytest.approx(gain * mag(estimate, truth), rel=1e-12)


@given(pairs())
def test_bounds_and_the_relation_of_the_three_amplitude_measures(pair):
    estimate, truth = pair
    assert -1 <= correlation(estimate, truth) <= 1
    assert 0 <= rdm(estimate, truth) <= 2
    # law of cosines: re^2 = (1 - mag)^2 + mag rdm^2
    r, d, m = (f(estimate, truth) for f in (relative_error, rdm, mag))
    assert r**2 == pytest.approx((1 - m) ** 2 + m * d**2, rel=1e-9, abs=1e-12)


@given(pairs(), st.randoms(use_true_random=False))
def test_order_of_sites_and_frames_does_not_matter(pair, random):
    estimate, truth = pair
    rows, columns = list(range(truth.shape[0])), list(range(truth.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    for measure in MEASURES.values():
        shuffled = measure(estimate[rows][:, columns], truth[rows][:, columns])
        assert shuffled == pytest.approx(measure(estimate, truth), rel=1e-9, abs=1e-12)


@given(pairs())
def test_rmse_is_symmetric_and_relative_error_is_its_scaled_form(pair):
    estimate, truth = pair
    assert rmse(estimate, truth) == rmse(truth, estimate)
    size = np.sqrt((truth**2).mean())
    assert relative_error(estimate, truth) == pytest.approx(rmse(estimate, truth) / size, rel=1e-12)


def test_zero_truth_gives_nan_where_stated_and_only_there():
    zero, other = np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)
    assert np.isnan(relative_error(other, zero))
    assert np.isnan(mag(other, zero))
    assert np.isnan(rdm(other, zero))
    assert np.isnan(correlation(other, zero))
    assert rmse(other, zero) == pytest.approx(np.sqrt((other**2).mean()))
    assert relative_error(zero, other) == 1.0
    assert mag(zero, other) == 0.0
    assert np.isnan(rdm(zero, other))


def test_constant_frames_have_no_correlation_and_leave_the_others_alone():
    truth = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])
    estimate = truth + np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    frames = correlation.per_frame(estimate, truth)
    assert np.isnan(frames[0])
    assert np.isfinite(frames[1])


def test_huge_and_tiny_values_neither_overflow_nor_vanish():
    truth, estimate = np.array([[3.0, 4.0]]), np.array([[3.0, 0.0]])
    for scale in (1e200, 1e-200):
        assert relative_error(scale * estimate, scale * truth) == pytest.approx(0.8, rel=1e-12)
        assert mag(scale * estimate, scale * truth) == pytest.approx(0.6, rel=1e-12)


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"rdm: estimate and truth must have the same shape .*\(2, 3\) and \(3, 2\)"):
        bare(Measure.__call__)(rdm, np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="nothing to compare"):
        rmse(np.zeros((0, 3)), np.zeros((0, 3)))
