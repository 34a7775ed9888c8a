"""The fast forms of the biophysical models (shared exponentials, Bernoulli functions) against the plain equations."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ionic_cases import derivatives, is_fraction
from plain_equations import courtemanche, ten_tusscher_panfilov

from einthoven.ionic.functions import bernoulli, falling, rising, switch
from einthoven.ionic.model import IonicModel
from einthoven.ionic.registry import model


def random_states(membrane: IonicModel, rng: np.random.Generator) -> dict[str, float]:
    """Gates anywhere, concentrations within 40 % of their initial values."""
    return {
        name: rng.uniform(0.02, 0.98) if is_fraction(membrane, name) else value * rng.uniform(0.6, 1.4)
        for name, value in zip(membrane.states, membrane.rest()[1], strict=True)
    }


def compare(membrane: IonicModel, plain: Callable[[float, dict], dict], first: str) -> None:
    rng = np.random.default_rng(3)
    evaluate = jax.jit(lambda v, s: derivatives(membrane, v, s))
    for v in [-119.0, -85.0, -40.0 - 1e-9, -40.0, *rng.uniform(-120.0, 60.0, 60)]:
        states = random_states(membrane, rng)
        with jax.enable_x64(True):
            ours = np.asarray(evaluate(np.float64(v), tuple(np.float64(x) for x in states.values())))
        expected = plain(v, states)
        for name, value in zip([first, *membrane.states], ours, strict=True):
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), (name, v)


def test_ten_tusscher_panfilov_epicardial():
    compare(model("ten-tusscher-panfilov-2006-epi"), ten_tusscher_panfilov, "v")


def test_ten_tusscher_panfilov_midmyocardial():
    compare(model("ten-tusscher-panfilov-2006-mid"), lambda v, x: ten_tusscher_panfilov(v, x, g_ks=0.098), "v")


def test_ten_tusscher_panfilov_endocardial():
    compare(model("ten-tusscher-panfilov-2006-endo"), lambda v, x: ten_tusscher_panfilov(v, x, endocardial=True), "v")


def test_courtemanche():
    compare(model("courtemanche-ramirez-nattel-1998"), courtemanche, "membrane")


def test_courtemanche_release_where_it_switches():
    """The gate u opens within 3e-15 of the paper's unit of calcium flux: d swept finely around there, u = 0."""
    membrane = model("courtemanche-ramirez-nattel-1998")
    evaluate = jax.jit(lambda v, s: derivatives(membrane, v, s))
    states = dict(zip(membrane.states, membrane.rest()[1], strict=True)) | {"f": 1.0, "f_ca": 1.0, "u": 0.0, "v": 0.4}
    opening = []
    for d in np.linspace(0.14, 0.18, 81):
        states["d"] = float(d)
        with jax.enable_x64(True):
            ours = np.asarray(evaluate(np.float64(0.0), tuple(np.float64(x) for x in states.values())))
        expected = courtemanche(0.0, states)
        for state in ("u", "v"):
            assert ours[1 + membrane.states.index(state)] == pytest.approx(expected[state], rel=1e-8, abs=1e-12)
        opening.append(8.0 * expected["u"])
    assert min(opening) < 0.01
    assert max(opening) > 0.99
    assert sum(0.05 < x < 0.95 for x in opening) >= 3


@settings(max_examples=50)
@given(st.floats(-60.0, 60.0))
def test_bernoulli_function(x: float):
    exact = 1.0 if x == 0 else x / np.expm1(x)
    with jax.enable_x64(True):
        assert float(bernoulli(np.float64(x))) == pytest.approx(exact, rel=1e-11)


def test_bernoulli_function_has_value_1_and_slope_minus_half_at_0():
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(bernoulli)(np.float64(0.0))
    assert float(value) == 1.0
    assert float(slope) == -0.5


@settings(max_examples=50)
@given(st.floats(-150.0, 100.0), st.floats(-90.0, 90.0), st.floats(5.0, 200.0))
def test_sigmoids_from_shared_exponentials(v: float, shift: float, slope: float):
    up = float(rising(np.exp(v / slope), shift / slope))
    assert up == pytest.approx(1 / (1 + np.exp(-(v + shift) / slope)), rel=1e-12)
    assert up + float(falling(np.exp(v / slope), shift / slope)) == pytest.approx(1.0, rel=1e-12)


@settings(max_examples=50)
@given(st.floats(-5.0, 5.0), st.floats(1e-3, 1.0))
def test_a_smooth_switch_is_half_way_at_the_threshold_and_symmetric(x: float, width: float):
    with jax.enable_x64(True):
        here, there = (float(switch(np.float64(y), above=3.0, below=1.0, width=width)) for y in (x, -x))
        middle = float(switch(np.float64(0.0), above=3.0, below=1.0, width=width))
    assert middle == 2.0
    assert here + there == pytest.approx(4.0, rel=1e-12)


def test_a_sharp_switch_takes_the_upper_side_at_the_threshold():
    with jax.enable_x64(True):
        found = [float(switch(np.float64(x), above=3.0, below=1.0, width=0.0)) for x in (-1e-12, 0.0, 1e-12)]
    assert found == [1.0, 3.0, 3.0]


def test_a_smooth_switch_does_not_cancel_where_one_side_is_huge():
    with jax.enable_x64(True):
        found = float(switch(np.float64(140.0), above=0.5, below=4e20, width=0.5))
    assert found == 0.5
