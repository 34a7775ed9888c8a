"""Minimize the cost over the parameters of two fields, while the physics weight grows.

Adam with a rate that falls along a cosine. The assumed standard deviation tau of the residuals falls geometrically from
its first to its last value over part of the steps, but only while the data are fitted (chi2 <= 1): where the model is
wrong it stays where the data allow it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import Cost

Number = float | int


@runtime_checkable
class Fields(Protocol):
    """Parameters of two fields on the grid, a pytree (`equinox.Module`)."""

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v, each of shape (n_nodes, n_times)."""
        ...

    def trained(self) -> Any:
        """The same tree with True where a leaf is trained."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Steps, rates and weights of the training.

    Parameters
    ----------
    steps
        Number of steps.
    rate
        Adam's largest rate, reached after 5 % of the steps; it begins and ends at 2 % of this.
    tolerances
        First and last standard deviation of the residuals.
    annealed
        Share of the steps over which it falls.
    """

    steps: int = 800
    rate: float = 0.015
    tolerances: tuple[float, float] = (1.0, 0.3)
    annealed: float = 0.7

    def __post_init__(self):
        first, last = self.tolerances
        if self.steps < 1 or not self.rate > 0 or not 0 < last <= first or not 0 < self.annealed <= 1:
            raise InputError(
                "a schedule needs at least one step, a positive rate, tolerances that fall and a share of the steps in "
                f"(0, 1]; got {self}."
            )


class History(NamedTuple):
    """Course of the training, one value per step: cost, chi2, rms of the residuals, tau."""

    cost: Float[np.ndarray, " steps"]
    chi2: Float[np.ndarray, " steps"]
    physics: Float[np.ndarray, " steps"]
    tolerance: Float[np.ndarray, " steps"]


class Trained(NamedTuple):
    """Fields after training, the course of it, and whether Ctrl-C ended it early."""

    fields: Any
    history: History
    interrupted: bool


#: Share of the steps over which the rate rises.
WARM_UP = 0.05

#: Steps between two reports, in one compiled loop.
CHUNK = 25


def train(
    fields: Fields, cost: Cost, schedule: Schedule, *, step_name: str = "training", progress: Progress = silent
) -> Trained:
    """Minimize; Ctrl-C ends the training and keeps what there is.

    Parameters
    ----------
    fields
        Where to start.
    cost
        J.
    schedule
        How.
    step_name
        For `progress`.
    progress
        Told every `CHUNK` steps.
    """
    optimizer = _optimizer(schedule)
    free, fixed = eqx.partition(fields, fields.trained())
    state = (free, optimizer.init(free), jnp.asarray(schedule.tolerances[0], cost.data.dtype))
    rows, done, interrupted = [], 0, False
    try:
        while done < schedule.steps:
            n = min(CHUNK, schedule.steps - done)
            state, row = _advance(state, fixed, cost, schedule, n)
            rows.append(jax.device_get(row))
            done += n
            progress(step_name, done, schedule.steps)
    except KeyboardInterrupt:
        if not rows:
            raise
        interrupted = True
    history = History(*(np.concatenate(column).astype(np.float64) for column in zip(*rows, strict=True)))
    return Trained(eqx.combine(state[0], fixed), history, interrupted)


def _optimizer(schedule: Schedule) -> optax.GradientTransformation:
    rising = max(1, int(WARM_UP * schedule.steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.02 * schedule.rate, schedule.rate, rising, schedule.steps + 1, 0.02 * schedule.rate
    )
    return optax.adam(rate, b2=0.99)


@eqx.filter_jit
def _advance(state: Any, fixed: Any, cost: Cost, schedule: Schedule, n: int) -> Any:
    """Do n steps in one loop; returns the state and the course."""
    optimizer = _optimizer(schedule)
    first, last = schedule.tolerances
    fall = (last / first) ** (1 / max(1.0, schedule.annealed * schedule.steps))

    def objective(free: Any, tolerance: Any) -> Any:
        u, v = eqx.combine(free, fixed)()
        return cost(u, v, tolerance)

    def one(state: Any, _: None) -> Any:
        free, moments, tolerance = state
        (total, parts), slope = jax.value_and_grad(objective, has_aux=True)(free, tolerance)
        change, moments = optimizer.update(slope, moments, free)
        lower = jnp.maximum(last, tolerance * fall)
        after = jnp.where(parts.chi2 <= 1.0, lower, tolerance)
        return (optax.apply_updates(free, change), moments, after), (total, parts.chi2, parts.physics, tolerance)

    return jax.lax.scan(one, state, None, length=n)
