"""`Eikonal.times` in JAX: values and derivatives are those of `solve`, whatever is done to the function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eikonal_cases import block, fields

from einthoven.eikonal import Eikonal
from einthoven.tissue import Grid

MASK = np.ones((9, 8), dtype=bool)
MASK[5, :6] = False
SITES = np.array([[1.2, 1.1], [1.9, 0.8]])
ONSETS = np.array([0.1, 0.4])


def sheet():
    wave = Eikonal(Grid((9, 8), 0.5), MASK, order=2)
    return wave, fields(wave.n_nodes, 2, 3)


def test_values_and_derivatives_are_those_of_solve():
    with jax.enable_x64(True):
        for wave, sites in ((sheet()[0], SITES), (Eikonal(block(4)), np.array([[4.0, 5.0, 6.0], [6.0, 5.0, 4.0]]))):
            v = fields(wave.n_nodes, wave.dimension, 3)
            arrival = wave.solve(v, sites, ONSETS)
            w = np.random.default_rng(1).standard_normal(wave.n_nodes)
            given = (jnp.asarray(v), jnp.asarray(sites), jnp.asarray(ONSETS))
            assert np.allclose(wave.times(*given), arrival.times, rtol=1e-12)

            def value(*given, w=w, wave=wave):
                return w @ wave.times(*given)

            for found, wanted in zip(
                jax.jit(jax.grad(value, argnums=(0, 1, 2)))(*given), arrival.pull_back(w), strict=True
            ):
                assert found.dtype == np.float64
                assert np.allclose(found, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())


def test_it_is_traced_once():
    wave, _ = sheet()
    traces = []

    @jax.jit
    def last(v, sites, onsets):
        traces.append(v.shape)
        return jnp.max(wave.times(v, sites, onsets))

    values = [float(last(v, jnp.asarray(SITES) + 0.1 * v, jnp.asarray(ONSETS))) for v in (0.3, 0.4, 0.5)]
    assert len(traces) == 1
    assert len(set(values)) == 3


def test_maps_over_speeds_sites_and_onsets_are_single_solutions():
    wave, _ = sheet()
    with jax.enable_x64(True):
        speeds, shifts = jnp.array([0.2, 0.3, 0.4]), jnp.array([0.0, 0.1, 0.2])
        many = jax.jit(jax.vmap(lambda v, s: wave.times(v, SITES + s, ONSETS + s)))(speeds, shifts)
        for v, s, times in zip(speeds, shifts, many, strict=True):
            assert np.array_equal(times, wave.solve(v, SITES + s, ONSETS + s).times)
        gradients = jax.vmap(jax.grad(lambda v: wave.times(v, SITES, ONSETS).sum()))(speeds)
        for v, gradient in zip(speeds, gradients, strict=True):
            arrival = wave.solve(v, SITES, ONSETS)
            assert gradient == arrival.pull_back(np.ones(wave.n_nodes)).squared_speed
        batch = wave.times(0.3, np.stack([SITES, SITES + 0.2]), np.stack([ONSETS, ONSETS]))
        assert batch.shape == (2, wave.n_nodes)


@pytest.mark.parametrize("form", ["nodes", "points", "grid"])
def test_rows_of_the_jacobian_have_the_shape_of_v(form):
    """Also where V is given at all points: cells that do not conduct have derivative 0."""
    wave, of_nodes = sheet()
    v = np.tile(np.eye(2), (*MASK.shape, 1, 1))
    v[MASK] = of_nodes
    v = {"nodes": of_nodes, "points": v.reshape(-1, 2, 2), "grid": v}[form]
    some = [3, 17, 40]
    with jax.enable_x64(True):
        rows = jax.jacrev(lambda v: wave.times(v, SITES, ONSETS)[jnp.array(some)])(jnp.asarray(v))
    assert rows.shape == (3, *v.shape)
    arrival = wave.solve(of_nodes, SITES, ONSETS)
    for node, row in zip(some, np.asarray(rows), strict=True):
        wanted = arrival.pull_back(np.eye(wave.n_nodes)[node]).squared_speed
        found = row if form == "nodes" else row.reshape(-1, 2, 2)[MASK.reshape(-1)]
        assert np.allclose(found, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
        assert np.count_nonzero(row) == np.count_nonzero(found) > 0


def test_single_precision_goes_in_and_comes_out_and_double_is_within():
    """Tensors that are products in float32 are symmetric up to rounding only, which is enough."""
    wave, _ = sheet()

    def last(angle, sites):
        c, s = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.array([[c, -s], [s, c]])
        return jnp.max(wave.times(turn @ jnp.diag(jnp.array([0.36, 0.04])) @ turn.T, sites, ONSETS))

    for angle in (0.3, 0.7, 1.1):
        angle, sites = np.float32(angle), SITES.astype(np.float32)
        found, (by_angle, by_sites) = jax.value_and_grad(last, argnums=(0, 1))(angle, sites)
        assert found.dtype == by_angle.dtype == by_sites.dtype == np.float32
        with jax.enable_x64(True):
            exact, by = jax.value_and_grad(last)(jnp.asarray(angle, float), jnp.asarray(sites, float))
            assert exact.dtype == np.float64
            exact, by = float(exact), float(by)
        assert abs(found - exact) < 1e-6 * exact
        assert abs(by_angle - by) < 1e-4 * abs(by)


def test_whole_numbers_are_numbers():
    wave = Eikonal(Grid((9, 8), 0.5))
    times = wave.times(1, [[2, 1]], 0)
    assert np.allclose(times, wave.solve(1.0, [[2.0, 1.0]]).times, rtol=1e-6)
    assert jax.grad(lambda v: wave.times(v, [[2, 1]], 0).sum())(1.0) < 0


def test_unreached_nodes_are_nan_and_pass_nothing_on():
    mask = MASK.copy()
    mask[5] = False
    wave = Eikonal(Grid((9, 8), 0.5), mask)
    with jax.enable_x64(True):
        gradient = jax.grad(lambda v: jnp.nansum(wave.times(v, SITES, ONSETS)))(jnp.full(wave.n_nodes, 0.3))
        gradient = np.asarray(gradient)
    reached = wave.solve(0.3, SITES, ONSETS).reached
    assert 0 < reached.sum() < wave.n_nodes
    assert (gradient[reached] != 0).any()
    assert (gradient[~reached] == 0).all()
    assert gradient.sum() < 0


def test_a_site_outside_raises_when_the_function_runs():
    wave, _ = sheet()
    with pytest.raises(jax.errors.JaxRuntimeError, match="lies in no conducting cell"):
        jax.block_until_ready(wave.times(0.3, [[1.0, 300.0]], 0.0))
