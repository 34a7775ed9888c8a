"""One cell, or many uncoupled ones, paced by current pulses: action potentials and initial states for tissue."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.ionic.model import IonicModel
from einthoven.ionic.stepping import reaction_step

#: Potential in the model's unit, and the states.
CellState = tuple[Any, tuple[Any, ...]]


@dataclass(frozen=True)
class Pulse:
    """A rectangular stimulus at the beginning of every beat.

    Parameters
    ----------
    amplitude
        mV/ms, which is uA/uF and pA/pF. The default moves v by 52 mV (ten Tusscher & Panfilov's single cell).
    duration
        ms.
    """

    amplitude: float = 52.0
    duration: float = 1.0

    def __post_init__(self):
        if not (np.isfinite(self.amplitude) and np.isfinite(self.duration) and self.duration > 0):
            raise InputError(
                f"a pulse has a finite amplitude and a positive duration; got {self.amplitude:g} mV/ms for "
                f"{self.duration:g} ms."
            )


@dataclass(frozen=True, eq=False)
class Paced:
    """What `pace` recorded.

    Parameters
    ----------
    time
        ms since the first kept stimulus, shape (n_times,). Sample k is the state before step k.
    vm
        Transmembrane potential, mV, shape (..., n_times): the leading axes are those of the cells, if there are many.
    state
        Potential (model unit) and states after the last beat, to continue from or to start a tissue with.
    cycle_length
        ms.
    """

    time: Float[np.ndarray, " n_times"]
    vm: Float[np.ndarray, "... n_times"]
    state: CellState
    cycle_length: float

    def beat(self, number: int = -1) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "... n"]]:
        """Time since its stimulus, ms, and potential, mV, of one kept beat; the last by default."""
        n = round(self.cycle_length / (self.time[1] - self.time[0]))
        beats = self.vm.reshape(*self.vm.shape[:-1], -1, n)
        return self.time[:n], beats[..., number, :]


def pace(
    model: IonicModel,
    *,
    cycle_length: float = 1000.0,
    n_beats: int = 1,
    dt: float = 0.02,
    stimulus: Pulse | None = None,
    keep: int = 1,
    state: CellState | None = None,
) -> Paced:
    """Pace a cell from rest and record the last beats; float64 whatever the setting of JAX.

    Each step adds the stimulus to v and then advances v and the states by `reaction_step`.

    Parameters
    ----------
    model
        The membrane; parameters that are arrays make as many uncoupled cells.
    cycle_length
        Time between stimuli, ms, a whole number of steps.
    n_beats
        Number of beats.
    dt
        Time step, ms.
    stimulus
        Default `Pulse()`; its duration is rounded to steps.
    keep
        How many of the last beats to record.
    state
        What to start from; default ``model.rest()``.

    Returns
    -------
    Paced

    Examples
    --------
    >>> from einthoven.ionic.action_potential import measure
    >>> from einthoven.ionic.registry import model
    >>> paced = pace(model("mitchell-schaeffer-2003"), cycle_length=500.0, n_beats=3, dt=0.05)
    >>> round(measure(*paced.beat()).apd(90.0))
    265
    """
    n_steps = _steps(cycle_length, dt)
    if n_beats < 1 or not 1 <= keep <= n_beats:
        raise InputError(f"n_beats must be at least 1 and keep 1 to n_beats; got n_beats {n_beats} and keep {keep}.")
    current = _current(stimulus or Pulse(), n_steps, dt)
    with jax.enable_x64(True):
        v, states = start(model, state)
        current = jnp.asarray(current / model.scale.amplitude)
        if n_beats > keep:
            v, states = _silent(model, v, states, current, np.float64(dt), np.int64(n_beats - keep))
        (v, states), trace = recorded(model, v, states, jnp.tile(current, keep), np.float64(dt))
        vm = np.moveaxis(np.asarray(model.scale.to_mv(trace)), 0, -1)
        state = (np.asarray(v), tuple(np.asarray(s) for s in states))
    return Paced(np.arange(keep * n_steps) * dt, vm, state, float(cycle_length))


def start(model: IonicModel, state: CellState | None = None) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """State as arrays of one shape, that of the model's cells; from rest unless given."""
    v, states = model.rest() if state is None else state
    if len(states) != len(model.states):
        raise InputError(f"{type(model).__name__} has {len(model.states)} states besides v; got {len(states)}.")
    parameters = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    shape = np.broadcast_shapes(*(np.shape(x) for x in (v, *states, *parameters)))
    whole = [jnp.broadcast_to(jnp.asarray(x, dtype=float), shape) for x in (v, *states)]
    return whole[0], tuple(whole[1:])


def _steps(duration: float, dt: float) -> int:
    if not (np.isfinite(dt) and np.isfinite(duration) and dt > 0 and duration > 0):
        raise InputError(f"dt and the cycle length must be positive; got {dt:g} and {duration:g} ms.")
    n = round(duration / dt)
    if n < 1 or abs(n * dt - duration) > 1e-6 * duration:
        raise InputError(f"the cycle length must be a whole number of steps; got {duration:g} ms and dt {dt:g} ms.")
    return n


def _current(stimulus: Pulse, n_steps: int, dt: float) -> np.ndarray:
    n = max(round(stimulus.duration / dt), 1)
    if n >= n_steps:
        raise InputError(f"the stimulus ({stimulus.duration:g} ms) must be shorter than a beat ({n_steps * dt:g} ms).")
    return np.where(np.arange(n_steps) < n, stimulus.amplitude, 0.0)


def _advance(model: IonicModel, state: CellState, current: Any, dt: Any) -> CellState:
    v, states = state
    return reaction_step(model, v + dt * current, states, dt)


@eqx.filter_jit
def _silent(model: IonicModel, v: Any, states: Any, current: Any, dt: Any, n_beats: Any) -> CellState:
    """Pace for n_beats without a record."""

    def beat(_: Any, state: CellState) -> CellState:
        return jax.lax.scan(lambda s, i: (_advance(model, s, i, dt), None), state, current)[0]

    return jax.lax.fori_loop(0, n_beats, beat, (v, states))


@eqx.filter_jit
def recorded(model: IonicModel, v: Any, states: Any, current: Any, dt: Any) -> tuple[CellState, Any]:
    """Pace through `current` (n_times, ...) and record v before every step."""
    return jax.lax.scan(lambda s, i: (_advance(model, s, i, dt), s[0]), (v, states), current)
