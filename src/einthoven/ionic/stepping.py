"""One step of the membrane alone: Rush-Larsen for gates, forward Euler for the rest."""

from typing import Any

import jax.numpy as jnp

from einthoven.ionic.model import Gate, IonicModel


def reaction_step(model: IonicModel, v: Any, states: tuple[Any, ...], dt: Any) -> tuple[Any, tuple[Any, ...]]:
    """Advance v and states by dt (ms): x + dt rate, and for gates steady + (x - steady) exp(-dt / tau).

    First order in dt (Rush & Larsen 1978, doi:10.1109/TBME.1978.326270).
    """
    rate, changes = model.rates(v, states)
    new = tuple(
        change.steady + (x - change.steady) * jnp.exp(-dt / change.tau) if isinstance(change, Gate) else x + dt * change
        for x, change in zip(states, changes, strict=True)
    )
    return v + dt * rate, new
