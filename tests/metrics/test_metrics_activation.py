import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.geometry.generators import sphere
from einthoven.metrics import activation_error, earliest_node, geodesic_localization_error, localization_error

NAN = float("nan")


def test_activation_error_of_a_worked_example():
    error = activation_error(np.array([1.0, 4.0, NAN, 10.0]), np.array([0.0, 2.0, 5.0, NAN]))
    assert (error.mean_abs, error.shift, error.n_nodes) == (1.5, 1.5, 2)
    assert error.rms == pytest.approx(np.sqrt(2.5), rel=1e-15)
    assert error.correlation == pytest.approx(1.0, rel=1e-15)


@given(st.floats(-500, 500))
def test_a_shift_is_reported_and_removed_on_request(shift):
    truth = np.random.default_rng(0).uniform(0, 100, 30)
    kept = activation_error(truth + shift, truth)
    removed = activation_error(truth + shift, truth, remove_shift=True)
    assert kept.shift == pytest.approx(shift, abs=1e-9)
    assert kept.mean_abs == pytest.approx(abs(shift), abs=1e-9)
    assert removed.rms == pytest.approx(0.0, abs=1e-9)
    assert removed.shift == kept.shift


def test_a_constant_map_has_no_correlation():
    assert np.isnan(activation_error(np.zeros(4), np.arange(4.0)).correlation)


def test_the_earliest_node_ignores_nodes_without_activation():
    assert earliest_node(np.array([NAN, 5.0, 3.0, 3.0])) == 2


def test_localization_error_straight_and_along_the_surface():
    ball = sphere(10.0, subdivisions=4)
    north, south = int(ball.points[:, 2].argmax()), int(ball.points[:, 2].argmin())
    truth, estimate = np.full(ball.n_points, 50.0), np.full(ball.n_points, 50.0)
    truth[north] = estimate[south] = 0.0
    straight = np.linalg.norm(ball.points[north] - ball.points[south])
    assert localization_error(estimate, truth, ball.points) == pytest.approx(straight, rel=1e-15)
    assert geodesic_localization_error(estimate, truth, ball) == pytest.approx(
        10 * np.arccos(ball.points[north] @ ball.points[south] / 100), rel=0.005
    )
    assert geodesic_localization_error(truth, truth, ball) == 0.0


def test_messages():
    with pytest.raises(InputError, match="no node has a finite time in both"):
        activation_error(np.array([NAN, 1.0]), np.array([1.0, NAN]))
    with pytest.raises(InputError, match=r"must have the same shape \(nodes,\); got \(2,\) and \(3,\)"):
        inspect.unwrap(activation_error)(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="no activation time is finite"):
        earliest_node(np.array([NAN, NAN]))
    with pytest.raises(InputError, match=r"points must have shape \(2, 3\), one per activation time; got \(3, 3\)"):
        inspect.unwrap(localization_error)(np.zeros(2), np.zeros(2), np.zeros((3, 3)))
    with pytest.raises(InputError, match="needs 12 activation times, one per node; got 2"):
        geodesic_localization_error(np.zeros(2), np.zeros(2), sphere(10.0, subdivisions=0))
