"""Pacing of single cells and the measures of action potentials."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.ionic.action_potential import CAPTURE, ActionPotential, Restitution, measure, restitution
from einthoven.ionic.cell import Pulse, pace
from einthoven.ionic.registry import model

CELL = "mitchell-schaeffer-2003"


def triangle(duration: float = 200.0, dt: float = 0.5) -> ActionPotential:
    """At -80 mV, up to 20 at 10 ms within 1 ms, down to -80 again along a line."""
    time = np.arange(0.0, 400.0, dt)
    return measure(time, np.interp(time, [0, 9.5, 10.5, 10.5 + duration], [-80.0, -80.0, 20.0, -80.0]))


def test_measures_of_a_triangle():
    ap = triangle()
    assert (ap.resting, ap.peak, ap.amplitude) == (-80.0, 20.0, 100.0)
    assert ap.upstroke_velocity == pytest.approx(100.0)
    assert ap.activation == pytest.approx(10.0, abs=0.5)
    assert ap.captured


@given(st.floats(5.0, 95.0), st.floats(50.0, 380.0))
@settings(max_examples=60)
def test_durations_of_a_triangle_at_every_level(level: float, duration: float):
    ap = triangle(duration)
    expected = 10.5 + 0.01 * level * duration - ap.activation
    assert ap.apd(level) == pytest.approx(expected, abs=1e-6)


@given(st.floats(1.0, 98.0))
@settings(max_examples=30)
def test_durations_grow_with_the_level(level: float):
    ap = measure(*pace(model(CELL), cycle_length=500.0, dt=0.1).beat())
    assert ap.apd(level) < ap.apd(level + 1.0)


def test_a_notch_does_not_end_the_action_potential():
    time = np.arange(0.0, 400.0)
    ap = measure(time, np.interp(time, [0, 1, 10, 30, 200, 300], [-80.0, 40.0, -25.0, 10.0, 10.0, -80.0]))
    assert ap.apd(50.0) == pytest.approx(200 + 100 * (10 + 20) / 90 - 0.5)


def test_no_duration_without_an_action_potential_or_its_end():
    time = np.arange(0.0, 100.0)
    passive = measure(time, np.interp(time, [0, 1, 40], [-80.0, CAPTURE - 1, -80.0]))
    unfinished = measure(time, np.interp(time, [0, 1, 200], [-80.0, 20.0, -80.0]))
    assert not passive.captured
    assert np.isnan(passive.apd(90.0))
    assert unfinished.captured
    assert np.isnan(unfinished.apd(90.0))
    assert np.isfinite(unfinished.apd(20.0))


def test_beats_are_kept_and_states_continue():
    cell = model(CELL)
    whole = pace(cell, cycle_length=400.0, n_beats=3, dt=0.1, keep=2)
    first = pace(cell, cycle_length=400.0, n_beats=1, dt=0.1)
    rest = pace(cell, cycle_length=400.0, n_beats=2, dt=0.1, keep=2, state=first.state)
    assert whole.time.shape == whole.vm.shape == (8000,)
    np.testing.assert_array_equal(whole.vm, rest.vm)
    np.testing.assert_array_equal(whole.state[0], rest.state[0])
    np.testing.assert_array_equal(whole.beat(1)[1], whole.vm[4000:])
    np.testing.assert_array_equal(whole.beat(-2)[1], whole.vm[:4000])
    assert whole.beat(0)[0][-1] == pytest.approx(399.9)


def test_one_parameter_per_cell_paces_as_many_cells():
    values = np.array([120.0, 150.0])
    both = pace(model(CELL, tau_close=values), cycle_length=500.0, dt=0.1)
    apart = [pace(model(CELL, tau_close=x), cycle_length=500.0, dt=0.1) for x in values]
    assert both.vm.shape == (2, 5000)
    np.testing.assert_allclose(both.vm, [p.vm for p in apart], rtol=1e-12)


def test_the_record_starts_at_rest_and_the_stimulus_moves_it():
    paced = pace(model(CELL), cycle_length=300.0, dt=0.1, stimulus=Pulse(30.0, 1.0))
    assert paced.vm[0] == -80.0
    assert paced.vm[1] == pytest.approx(-77.0, abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt": 0.0}, "must be positive"),
        ({"dt": float("nan")}, "must be positive"),
        ({"cycle_length": 100.03, "dt": 0.05}, "whole number of steps"),
        ({"n_beats": 0}, "n_beats must be at least 1"),
        ({"n_beats": 2, "keep": 3}, "keep 1 to n_beats"),
        ({"cycle_length": 1.0}, "shorter than a beat"),
        ({"state": (0.0, ())}, "has 1 states besides v; got 0"),
    ],
)
def test_what_cannot_be_paced_is_said(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        pace(model(CELL), **({"dt": 0.05} | change))


def test_pulses_are_checked():
    for pulse in ((52.0, 0.0), (float("nan"), 1.0), (52.0, float("inf"))):
        with pytest.raises(InputError, match="a finite amplitude and a positive duration"):
            Pulse(*pulse)


def test_levels_and_shapes_are_checked():
    with pytest.raises(InputError, match="between 0 and 100; got 100"):
        triangle().apd(100.0)
    with pytest.raises(InputError, match="as many potentials as times"):
        measure(np.arange(2.0), np.zeros(2))


def test_restitution_is_that_of_s1_s2_pacing():
    cell, stimulus = model(CELL), Pulse()
    intervals = np.array([600.0, 340.0, 300.0, 200.0])
    curve = restitution(cell, intervals, s1=800.0, n_s1=3, dt=0.1, stimulus=stimulus)
    before = pace(cell, cycle_length=800.0, n_beats=2, dt=0.1, stimulus=stimulus)
    s1 = pace(cell, cycle_length=600.0, dt=0.1, stimulus=stimulus, state=before.state)
    s2 = pace(cell, cycle_length=1000.0, dt=0.1, stimulus=stimulus, state=s1.state)
    first, second = measure(*s1.beat()), measure(*s2.beat())
    assert curve.s1_apd == pytest.approx(first.apd(90.0), abs=1e-9)
    assert curve.apd[0] == pytest.approx(second.apd(90.0), abs=0.05)
    np.testing.assert_allclose(curve.diastolic, intervals - first.activation - first.apd(90.0))
    assert np.isfinite(curve.apd[:2]).all()
    assert np.isnan(curve.apd[3])  # within the first action potential
    assert curve.apd[1] < curve.apd[0]


def test_restitution_of_mitchell_schaeffer_follows_the_gate():
    """d APD / d DI = tau_close / tau_open (1 - h) / h to leading order: durations differ by tau_close log(h / h')."""
    curve = restitution(model(CELL), np.array([450.0, 550.0]), s1=1500.0, n_s1=2, dt=0.05)
    h = 1 - (1 - 0.2) * np.exp(-curve.diastolic / 120.0)
    assert np.diff(curve.apd)[0] == pytest.approx(150.0 * np.log(h[1] / h[0]), rel=0.15)


def test_largest_slope():
    curve = Restitution(
        np.array([3.0, 2.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0, 0.0]), np.array([5, 4.5, 3, np.nan]), 5.0
    )
    assert curve.largest_slope() == 1.5
    assert curve.largest_slope(above=2.0) == 0.5
    assert curve.at(2.5) == 4.75
    assert np.isnan(curve.at(0.5))
    assert np.isnan(Restitution(np.zeros(1), np.zeros(1), np.zeros(1), 5.0).largest_slope())


def test_restitution_refuses_many_cells_and_intervals_within_the_stimulus():
    with pytest.raises(InputError, match="that of one cell"):
        restitution(model(CELL, tau_close=np.array([1.0, 2.0])), np.array([300.0]), n_s1=1, dt=0.1)
    for intervals in (np.array([0.5]), np.array([])):
        with pytest.raises(InputError, match="longer than the stimulus"):
            restitution(model(CELL), intervals, n_s1=1, dt=0.1)
