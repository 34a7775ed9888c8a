"""Stepping and classification that the tests of the membrane models share."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from einthoven.ionic.cell import start
from einthoven.ionic.model import Gate, IonicModel
from einthoven.ionic.registry import MODELS, model, smoothed
from einthoven.ionic.stepping import reaction_step

#: One name per class: what does not depend on the values of parameters is tested once.
CLASSES = {type(model(name)).__name__: name for name in reversed(MODELS)}
CONCENTRATIONS = {"ca_i", "ca_sr", "ca_ss", "ca_up", "ca_rel", "na_i", "k_i"}
#: Voltages, mV, at which a rate function of a biophysical model is 0 / 0 or jumps.
SINGULAR = [15.0, -47.13, -14.1, 3.3328, 19.9, -10.0, 7.9, -40.0, -37.78]


def is_fraction(membrane: IonicModel, state: str) -> bool:
    """Whether a state is an open fraction."""
    return state not in CONCENTRATIONS and membrane.states != ("recovery",)


def lowest(membrane: IonicModel) -> float:
    """Lowest potential at which the rates mean something, mV."""
    return -109.0 if membrane.states == ("recovery",) else -150.0  # Aliev-Panfilov has a pole at -110 mV


@eqx.filter_jit
def advance(membrane: IonicModel, v: Any, states: Any, *, amplitude: Any, n_on: Any, dt: Any, n: Any) -> Any:
    """State after n steps with a stimulus in the first n_on, and the lowest and highest values on the way."""

    def step(k: Any, carry: Any) -> Any:
        (v, states), low, high = carry
        new = reaction_step(membrane, v + dt * jnp.where(k < n_on, amplitude, 0.0), states, dt)
        return new, jax.tree.map(jnp.minimum, low, new), jax.tree.map(jnp.maximum, high, new)

    return jax.lax.fori_loop(0, n, step, ((v, states),) * 3)


def run(membrane: IonicModel, duration: float, dt: float, *, v: float | None = None, stimulus: float = 0.0) -> Any:
    """`advance` in float64 from rest, or from v (mV) with the states at rest; stimulus in mV/ms for 1 ms."""
    with jax.enable_x64(True):
        v0, states = start(membrane)
        if v is not None:
            v0 = jnp.full_like(v0, membrane.scale.from_mv(v))
        found = advance(
            membrane,
            v0,
            states,
            amplitude=np.float64(stimulus / membrane.scale.amplitude),
            n_on=np.int64(round(1.0 / dt)),
            dt=np.float64(dt),
            n=np.int64(round(duration / dt)),
        )
        return jax.tree.map(np.asarray, found)


def derivatives(membrane: IonicModel, v: Any, states: tuple[Any, ...]) -> Any:
    """Rates of v and of all states, stacked; a gate as (steady - x) / tau."""
    dv, changes = membrane.rates(v, states)
    rates = [(c.steady - x) / c.tau if isinstance(c, Gate) else c for x, c in zip(states, changes, strict=True)]
    return jnp.stack([jnp.broadcast_to(r, jnp.shape(v)) for r in (dv, *rates)])


def variants() -> list[tuple[str, IonicModel]]:
    """Every class with exact thresholds, and with smooth ones where it has any."""
    found = [(name, model(name)) for name in CLASSES.values()]
    return found + [(f"{name} smooth", smoothed(m)) for name, m in found if not m.is_smooth]


def planar_speed(membrane: IonicModel, diffusivity: float, *, dx: float, dt: float, duration: float = 60.0) -> float:
    """Speed, mm/ms, of the first wave along a cable of 20 mm between 8 and 16 mm, at -40 mV."""
    n = round(20.0 / dx)
    with jax.enable_x64(True):
        v, states = jax.tree.map(lambda x: jnp.full(n, x), start(membrane))
        drive = jnp.where(jnp.arange(n) * dx < 2.0, 60.0 / membrane.scale.amplitude, 0.0)
        level = membrane.scale.from_mv(-40.0)

        def step(carry: Any, k: Any) -> Any:
            v, states, arrival = carry
            ends = jnp.pad(v, 1, mode="edge")
            spread = diffusivity / dx**2 * (ends[2:] - 2.0 * v + ends[:-2]) + jnp.where(k * dt < 2.0, drive, 0.0)
            new, states = reaction_step(membrane, v + dt * spread, states, dt)
            first = jnp.isinf(arrival) & (v < level) & (new >= level)
            time = (k + (level - v) / jnp.where(first, new - v, 1.0)) * dt
            return (new, states, jnp.where(first, time, arrival)), None

        run = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(round(duration / dt)))[0][2])
        arrival = np.asarray(run((v, states, jnp.full(n, jnp.inf))))
    a, b = round(8.0 / dx), round(16.0 / dx)
    return float((b - a) * dx / (arrival[b] - arrival[a]))
