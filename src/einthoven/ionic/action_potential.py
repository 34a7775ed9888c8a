"""Measures of action potentials: durations, upstroke, rest, and their restitution."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.ionic.cell import Paced, Pulse, pace, recorded, start
from einthoven.ionic.model import IonicModel

#: Potential, mV, that an action potential must exceed: less is a passive response to the stimulus.
CAPTURE = -30.0


@dataclass(frozen=True, eq=False)
class ActionPotential:
    """One beat of one cell.

    Parameters
    ----------
    time
        ms, shape (n_times,).
    vm
        mV, shape (n_times,).
    resting
        Potential from which the amplitude counts, mV.
    """

    time: Float[np.ndarray, " n_times"]
    vm: Float[np.ndarray, " n_times"]
    resting: float

    @property
    def peak(self) -> float:
        """Largest potential, mV."""
        return float(self.vm.max())

    @property
    def amplitude(self) -> float:
        """Peak minus resting, mV."""
        return self.peak - self.resting

    @property
    def upstroke_velocity(self) -> float:
        """Largest dV/dt, mV/ms (= V/s), from sample to sample; a stimulus that is still on contributes."""
        return float(np.max(np.diff(self.vm) / np.diff(self.time)))

    @property
    def activation(self) -> float:
        """Time of the largest dV/dt, ms."""
        k = int(np.argmax(np.diff(self.vm) / np.diff(self.time)))
        return float(0.5 * (self.time[k] + self.time[k + 1]))

    @property
    def captured(self) -> bool:
        """Whether the peak is above `CAPTURE`: an action potential, not a passive response."""
        return self.peak > CAPTURE

    def apd(self, level: float = 90.0) -> float:
        """Duration at a level of repolarization, ms.

        From the largest dV/dt to the last time at which v falls through peak - level / 100 (peak - resting),
        interpolated between samples.

        Parameters
        ----------
        level
            Percent of the amplitude, 0 to 100.

        Returns
        -------
        float
            NaN without an action potential, or if v does not come back that far within the record.
        """
        if not 0 < level < 100:
            raise InputError(
                f"the level of an action potential duration is a percentage between 0 and 100; got {level:g}."
            )
        threshold = self.peak - 0.01 * level * self.amplitude
        falls = np.flatnonzero((self.vm[:-1] > threshold) & (self.vm[1:] <= threshold))
        if not self.captured or len(falls) == 0 or self.vm[-1] > threshold:
            return float("nan")
        k = int(falls[-1])
        share = (self.vm[k] - threshold) / (self.vm[k] - self.vm[k + 1])
        return float(self.time[k] + share * (self.time[k + 1] - self.time[k]) - self.activation)


def measure(time: Float[np.ndarray, " n_times"], vm: Float[np.ndarray, " n_times"]) -> ActionPotential:
    """Action potential of one beat of one cell; its first sample is the resting potential.

    Examples
    --------
    >>> t = np.linspace(0.0, 400.0, 401)
    >>> ap = measure(t, np.where((t > 5.0) & (t < 300.0), 20.0, -80.0))
    >>> ap.resting, ap.amplitude, round(ap.apd(50.0))
    (-80.0, 100.0, 294)
    """
    if vm.shape != time.shape or len(time) < 3:
        raise InputError(
            f"an action potential is one beat of one cell: as many potentials as times, at least 3; got shapes "
            f"{vm.shape} and {time.shape}."
        )
    return ActionPotential(time, vm, float(vm[0]))


def action_potentials(paced: Paced, number: int = -1) -> list[ActionPotential]:
    """Action potential of every cell in one kept beat; the last by default."""
    time, vm = paced.beat(number)
    return [measure(time, v) for v in vm.reshape(-1, len(time))]


@dataclass(frozen=True, eq=False)
class Restitution:
    """How the duration depends on the rest before it.

    Parameters
    ----------
    interval
        Coupling intervals S1-S2, ms, shape (n,).
    diastolic
        Diastolic intervals before S2, ms, shape (n,): coupling interval minus the duration of the last S1 beat.
    apd
        Durations after S2, ms, shape (n,); NaN where S2 met the action potential before it or was not captured.
    s1_apd
        Duration of the last S1 beat, ms.
    """

    interval: Float[np.ndarray, " n"]
    diastolic: Float[np.ndarray, " n"]
    apd: Float[np.ndarray, " n"]
    s1_apd: float

    def at(self, diastolic: float) -> float:
        """Duration after a diastolic interval, ms, interpolated; NaN outside the intervals at which S2 was captured."""
        x, y = self._curve()
        inside = len(x) > 0 and x[0] <= diastolic <= x[-1]
        return float(np.interp(diastolic, x, y)) if inside else float("nan")

    def largest_slope(self, above: float = 0.0) -> float:
        """Largest slope of apd over diastolic from point to point, above an interval; NaN without two points."""
        x, y = self._curve()
        x, y = x[x >= above], y[x >= above]
        return float(np.max(np.diff(y) / np.diff(x))) if len(x) > 1 else float("nan")

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        known = np.flatnonzero(np.isfinite(self.apd))
        order = known[np.argsort(self.diastolic[known])]
        return self.diastolic[order], self.apd[order]


def restitution(
    model: IonicModel,
    intervals: Float[np.ndarray, " n"],
    *,
    s1: float = 1000.0,
    n_s1: int = 10,
    dt: float = 0.02,
    stimulus: Pulse | None = None,
    level: float = 90.0,
) -> Restitution:
    """S1-S2 restitution of one cell: n_s1 beats at s1, then one premature stimulus at every interval.

    Parameters
    ----------
    model
        The membrane of one cell: scalar parameters.
    intervals
        Coupling intervals, ms.
    s1, n_s1
        Cycle length, ms, and number of the beats before; S2 follows the last of them.
    dt
        Time step, ms.
    stimulus
        Default `Pulse()`.
    level
        Of the duration, percent.
    """
    import jax
    import jax.numpy as jnp

    stimulus = stimulus or Pulse()
    steps = np.rint(np.asarray(intervals, dtype=float) / dt).astype(int)
    n_pulse, n_after = max(round(stimulus.duration / dt), 1), round(max(s1, 1000.0) / dt)
    if len(steps) == 0 or steps.min() <= n_pulse:
        raise InputError(f"coupling intervals must be longer than the stimulus ({stimulus.duration:g} ms).")
    state = pace(model, cycle_length=s1, n_beats=n_s1 - 1, dt=dt, stimulus=stimulus).state if n_s1 > 1 else None
    step = np.arange(steps.max() + n_after)[:, None]
    on = (step < n_pulse) | ((step >= steps) & (step < steps + n_pulse))
    with jax.enable_x64(True):
        v, states = start(model, state)
        if v.shape != ():
            raise InputError(f"restitution is that of one cell; this model has parameters of shape {v.shape}.")
        v, states = jax.tree.map(lambda x: jnp.broadcast_to(x, steps.shape), (v, states))
        current = jnp.asarray(np.where(on, stimulus.amplitude / model.scale.amplitude, 0.0))
        _, trace = recorded(model, v, states, current, np.float64(dt))
        vm = np.asarray(model.scale.to_mv(trace))
    return _durations(np.arange(len(vm)) * dt, vm, steps, level=level)


def _durations(time: np.ndarray, vm: np.ndarray, steps: np.ndarray, *, level: float) -> Restitution:
    """Durations before and after S2, from the potentials (n_times, n) of one run per interval."""
    late = int(np.argmax(steps))
    first = measure(time[: steps[late]], vm[: steps[late], late])
    s1_apd = first.apd(level)
    apd = np.full(len(steps), np.nan)
    for i, k in enumerate(steps):
        if time[k] > first.activation + s1_apd:
            apd[i] = ActionPotential(time[k:], vm[k:, i], first.resting).apd(level)
    return Restitution(time[steps], time[steps] - first.activation - s1_apd, apd, s1_apd)
