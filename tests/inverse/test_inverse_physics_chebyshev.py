"""Stabilized steps: order and stability, measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from einthoven.inverse.physics.chebyshev import MOST_STAGES, SAFE, Stages, reach, stages_for


@jax.jit
def advanced(step, y, n_steps, h):
    """y' = -y^2 + cos t."""
    return jax.lax.fori_loop(0, n_steps, lambda k, y: step(lambda y, t: -y * y + jnp.cos(t), y, k * h, h), y)


@jax.jit
def grown(step, z):
    """One step of y' = -z y from 1."""
    return step(lambda y, t: -z * y, jnp.ones_like(z), jnp.asarray(0.0), 1.0)


@pytest.mark.parametrize("stages", [2, 3, 6])
def test_second_order(stages):
    with jax.enable_x64(True):
        step = Stages.of(stages, "float64")
        ends = [float(advanced(step, jnp.asarray(1.0), n, 2.0 / n)) for n in (40, 80, 160)]
        assert np.log2((ends[0] - ends[1]) / (ends[1] - ends[2])) == pytest.approx(2.0, abs=0.2)
        exact = solve_ivp(lambda t, y: -y * y + np.cos(t), (0.0, 2.0), [1.0], rtol=1e-10, atol=1e-12).y[0, -1]
        assert ends[2] == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("stages", [2, 5, MOST_STAGES])
def test_stable_up_to_the_limit_and_not_beyond(stages):
    """A step multiplies by at most 1 up to the limit."""
    with jax.enable_x64(True):
        step, limit = Stages.of(stages, "float64"), reach(stages) / SAFE
        assert np.abs(grown(step, jnp.linspace(0.0, limit, 400))).max() <= 1.0 + 1e-12
        assert np.abs(grown(step, jnp.full(400, 1.1 * limit))).max() > 1.0


def test_fewest_stages():
    assert stages_for(0.0) == 2
    for stages in (3, 7, MOST_STAGES):
        assert stages_for(reach(stages)) == stages
        assert stages_for(1.001 * reach(stages - 1)) == stages
