"""One step of the membrane alone, second order in dt: the midpoint rule, with exponential steps for gates."""

from typing import Any

import jax.numpy as jnp

from einthoven.ionic import Gate, IonicModel
from einthoven.ionic.stepping import reaction_step


def midpoint_step(model: IonicModel, v: Any, states: tuple[Any, ...], dt: Any) -> tuple[Any, tuple[Any, ...]]:
    """Advance v and states by dt (ms) with the rates found at dt/2 by `reaction_step`.

    x + dt rate(mid); gates relax with the steady value and the time constant at mid (second-order Rush-Larsen, Perego &
    Veneziani 2009, doi:10.1016/j.apnum.2009.06.010; midpoint form). Second order where the rates are smooth.
    """
    middle, between = reaction_step(model, v, states, 0.5 * dt)
    rate, changes = model.rates(middle, between)
    new = tuple(
        change.steady + (x - change.steady) * jnp.exp(-dt / change.tau) if isinstance(change, Gate) else x + dt * change
        for x, change in zip(states, changes, strict=True)
    )
    return v + dt * rate, new
