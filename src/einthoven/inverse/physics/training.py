"""Minimize the cost over the parameters of two fields, while the physics weight grows.

Adam with a rate that falls along a cosine. The assumed standard deviation tau of the residuals falls geometrically from
its first to its last value over part of the steps, but only while the data are fitted (chi2 <= 1): where the model is
wrong it stays where the data allow it. That is one course; further ones begin again with a full rate at the tau
reached, until a course gains little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from einthoven.core import InputError
from einthoven.core.devices import over_devices
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.checkpoint import Checkpoint, fingerprint

Number = float | int


@runtime_checkable
class Fields(Protocol):
    """Parameters of two fields, a pytree (`equinox.Module`)."""

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v on the grid, each of shape (n_nodes, n_times)."""
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
        Number of steps of a course.
    rate
        Adam's largest rate, reached after 5 % of the steps; it begins and ends at 2 % of this.
    tolerances
        First and last standard deviation of the residuals; equal: a fixed weight; both infinite: no physics, and the
        training ends where the data are fitted (chi2 <= 1), as nothing else keeps it from fitting their noise.
    annealed
        Share of the steps over which it falls.
    courses
        Most courses.
    settled
        The training has converged when a course at the tau of the one before lowers the cost by less than this share.
    """

    steps: int = 800
    rate: float = 0.015
    tolerances: tuple[float, float] = (1.0, 0.3)
    annealed: float = 0.7
    courses: int = 1
    settled: float = 0.01

    def __post_init__(self):
        first, last = self.tolerances
        if self.steps < 1 or not self.rate > 0 or not 0 < last <= first or not 0 < self.annealed <= 1:
            raise InputError(
                "a schedule needs at least one step, a positive rate, tolerances that fall and a share of the steps in "
                f"(0, 1]; got {self}."
            )
        if self.courses < 1 or not 0 < self.settled < 1:
            raise InputError(f"a schedule needs at least one course and settles at a share in (0, 1); got {self}.")

    @property
    def has_physics(self) -> bool:
        """Whether residuals count."""
        return bool(np.isfinite(self.tolerances[1]))

    @property
    def fall(self) -> float:
        """Factor of tau from step to step while it falls."""
        first, last = self.tolerances
        return 1.0 if first == last else float((last / first) ** (1 / max(1.0, self.annealed * self.steps)))


class History(NamedTuple):
    """Course of the training, one value per step: cost, chi2, rms of the residuals, tau."""

    cost: Float[np.ndarray, " steps"]
    chi2: Float[np.ndarray, " steps"]
    physics: Float[np.ndarray, " steps"]
    tolerance: Float[np.ndarray, " steps"]


class Trained(NamedTuple):
    """Fields after training, the course of it, whether Ctrl-C ended it early, and whether it converged.

    `converged` is None where there was only one course, which cannot tell.
    """

    fields: Any
    history: History
    interrupted: bool
    converged: bool | None = None


#: Share of the steps over which the rate rises.
WARM_UP = 0.05

#: Steps between two reports, in one compiled loop.
CHUNK = 25


def train(
    fields: Fields,
    cost: Any,
    schedule: Schedule,
    *,
    seed: int = 0,
    step_name: str = "training",
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Minimize; Ctrl-C ends the training and keeps what there is.

    Parameters
    ----------
    fields
        Where to start.
    cost
        J: `einthoven.inverse.physics.fields.Cost`, or anything with its `of_fields` and a `data` of its precision.
    schedule
        How.
    seed
        Of what the cost draws at random, if it does.
    step_name
        For `progress`; cost and chi2 follow it as a remark.
    checkpoint
        File where the state is kept about every 20 s and on Ctrl-C; the same training goes on from it, and removes it
        when it is finished.
    progress
        Told every `CHUNK` steps.
    """
    free, fixed = eqx.partition(fields, fields.trained())
    run = _Run(free, fixed, cost, schedule, jax.random.key(seed))
    mark = fingerprint(f"{schedule}{seed}", free, fixed, cost) if checkpoint is not None else ""
    interrupted, converged = _run_courses(run, step_name, progress, Checkpoint(checkpoint, mark))
    return Trained(eqx.combine(run.free, fixed), run.history, interrupted, converged)


class Members(NamedTuple):
    """Fields of all members after training, the mean of their courses, and whether Ctrl-C ended it early."""

    fields: list[Any]
    history: History
    interrupted: bool


def train_members(
    fields: Sequence[Fields],
    cost: Any,
    varied: Any,
    schedule: Schedule,
    *,
    step_name: str = "ensemble",
    progress: Progress = silent,
) -> Members:
    """Minimize for all members of an ensemble at once; as `train`, one course.

    Parameters
    ----------
    fields
        Where the members start; what is not trained is that of the first.
    cost
        J; its method ``perturbed`` takes what differs.
    varied
        What differs, a pytree whose leaves have the members along their first axis.
    schedule
        How.
    step_name, progress
        As in `train`.
    """
    parts = [eqx.partition(f, f.trained()) for f in fields]
    free = jax.tree.map(lambda *x: jnp.stack(x), *(part[0] for part in parts))
    run = _Run(free, parts[0][1], cost, replace(schedule, courses=1), jax.random.key(0), varied)
    interrupted, _ = _run_courses(run, step_name, progress, Checkpoint(None, ""))
    each = [jax.tree.map(lambda x, k=k: x[k], run.free) for k in range(len(fields))]
    return Members([eqx.combine(one, parts[0][1]) for one in each], run.history, interrupted)


def _run_courses(run: "_Run", step_name: str, progress: Progress, checkpoint: Checkpoint) -> tuple[bool, bool | None]:
    """Train; returns whether Ctrl-C ended it (after the first steps) and whether it converged."""
    schedule, converged = run.schedule, None
    run.begin()
    if checkpoint.path is not None:
        run.restore(checkpoint.load(run.state()))
    try:
        while True:
            while run.done < schedule.steps:
                run.advance()
                cost, chi2 = run.told()
                done = run.course * schedule.steps + run.done
                progress(f"{step_name}: J {cost:.3g}, chi2 {chi2:.3f}", done, schedule.courses * schedule.steps)
                checkpoint.save(run.state())
                if not schedule.has_physics and chi2 <= 1.0:
                    break
            converged = run.has_settled() if run.course else None
            if converged or run.course + 1 == schedule.courses:
                break
            run.course += 1
            run.begin()
    except KeyboardInterrupt:
        if not run.rows:
            raise
        checkpoint.save(run.state(), now=True)
        return True, converged
    checkpoint.remove()
    return False, converged


class _Run:
    """The state of a training, of one or of all members of an ensemble (then `varied` is not None)."""

    def __init__(self, free: Any, fixed: Any, cost: Any, schedule: Schedule, keys: Any, varied: Any = None):
        self.fixed, self.cost, self.schedule, self.keys = fixed, cost, schedule, keys
        members = () if varied is None else (len(jax.tree.leaves(free)[0]),)
        tolerance = jnp.full(members, schedule.tolerances[0], cost.data.dtype)
        of_members = (free, varied, tolerance)
        self.free, self.varied, self.tolerance = of_members if varied is None else over_devices(of_members)
        self.rows, self.course, self.done, self.moments = [], 0, 0, None

    def state(self) -> dict[str, Any]:
        """Everything that changes, as arrays."""
        rows = [np.concatenate(column) for column in zip(*self.rows, strict=True)] if self.rows else [np.zeros(0)] * 4
        return {
            "free": self.free,
            "moments": self.moments,
            "tolerance": self.tolerance,
            "keys": jax.random.key_data(self.keys),
            "place": np.array([self.course, self.done]),
            "rows": rows,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a state; None: from the beginning."""
        if state is None:
            return
        self.free, self.moments = (jax.tree.map(jnp.asarray, state[k]) for k in ("free", "moments"))
        self.tolerance = jnp.asarray(state["tolerance"])
        self.keys = jax.random.wrap_key_data(jnp.asarray(state["keys"]))
        self.course, self.done = (int(k) for k in state["place"])
        self.rows = [tuple(state["rows"])]

    def told(self) -> tuple[float, float]:
        """Cost and chi2 of the last step, means over the members."""
        return float(np.mean(self.rows[-1][0][-1])), float(np.mean(self.rows[-1][1][-1]))

    def begin(self) -> None:
        """Start a course: a new optimizer at the tau reached."""
        init = _ADAM.init
        self.moments, self.done = (init if self.varied is None else jax.vmap(init))(self.free), 0

    def advance(self) -> None:
        """Do up to `CHUNK` steps."""
        n = min(CHUNK, self.schedule.steps - self.done)
        self.keys, key = jax.random.split(self.keys)
        real = partial(jnp.asarray, dtype=self.tolerance.dtype)
        pace = _Pace(real(self.schedule.fall), real(self.schedule.tolerances[1]))
        steps = jax.random.split(key, n), _rates(self.schedule, self.done, n, real(0).dtype)
        state = self.free, self.moments, self.tolerance
        if self.varied is None:
            state, row = _advance(state, self.fixed, self.cost, pace, steps)
        else:
            state, row = _advance_members(state, self.fixed, self.cost, self.varied, pace, steps)
        self.free, self.moments, self.tolerance = state
        self.rows.append(jax.device_get(row))
        self.done += n

    @property
    def history(self) -> History:
        columns = (np.concatenate(column).astype(np.float64) for column in zip(*self.rows, strict=True))
        return History(*(c if c.ndim == 1 else c.mean(axis=1) for c in columns))

    def has_settled(self) -> bool:
        """Whether the last course stayed at one tau and gained little over the one before."""
        steps, past = self.schedule.steps, self.history
        if past.tolerance[-1] != past.tolerance[-steps - 1]:
            return False
        tail = max(1, steps // 10)
        before, after = past.cost[-steps - tail : -steps].mean(), past.cost[-tail:].mean()
        return bool(after > (1 - self.schedule.settled) * before)


#: Adam, the rate apart: other schedules are no other program.
_ADAM = optax.scale_by_adam(b2=0.99)


class _Pace(NamedTuple):
    """What a schedule says to the compiled steps: factor of tau and its last value."""

    fall: Any
    last: Any


def _rates(schedule: Schedule, first: int, n: int, dtype: Any) -> Float[Array, " n"]:
    """Adam's rate at n steps from a first one on."""
    rising = max(1, int(WARM_UP * schedule.steps))
    rate = optax.warmup_cosine_decay_schedule(
        0.02 * schedule.rate, schedule.rate, rising, schedule.steps + 1, 0.02 * schedule.rate
    )
    return jnp.asarray(rate(first + jnp.arange(n)), dtype)


@eqx.filter_jit
def _advance_members(state: Any, fixed: Any, cost: Any, varied: Any, pace: _Pace, steps: Any) -> Any:
    """Do steps for all members; rows of the course have the members along their second axis."""

    def one(member: Any, state: Any, step: Any) -> Any:
        return _step(fixed, cost.perturbed(member), pace, state, step)

    def all_members(state: Any, step: Any) -> Any:
        return jax.vmap(one, in_axes=(0, 0, None))(varied, state, step)

    return jax.lax.scan(all_members, state, steps)


@eqx.filter_jit
def _advance(state: Any, fixed: Any, cost: Any, pace: _Pace, steps: Any) -> Any:
    """Do steps, each with its key and rate, in one loop; returns the state and the course."""
    return jax.lax.scan(partial(_step, fixed, cost, pace), state, steps)


def _step(fixed: Any, cost: Any, pace: _Pace, state: Any, step: Any) -> Any:
    """One step of Adam; tau falls if the data are fitted."""
    free, moments, tolerance = state
    key, rate = step

    def objective(free: Any) -> Any:
        return cost.of_fields(eqx.combine(free, fixed), tolerance, key)

    (total, parts), slope = jax.value_and_grad(objective, has_aux=True)(free)
    change, moments = _ADAM.update(slope, moments, free)
    change = jax.tree.map(lambda c: -rate * c, change)
    after = jnp.where(parts.chi2 <= 1.0, jnp.maximum(pace.last, tolerance * pace.fall), tolerance)
    return (optax.apply_updates(free, change), moments, after), (total, parts.chi2, parts.physics, tolerance)
