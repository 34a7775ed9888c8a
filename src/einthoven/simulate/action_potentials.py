"""Action potentials of planar waves, by the duration of the uncoupled cell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.arrays import frozen
from einthoven.ionic import IonicModel
from einthoven.protocol import Protocol, Stimulus
from einthoven.protocol.regions import Nodes
from einthoven.simulate.keep import Activation, Probes
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.run import simulate
from einthoven.tissue import Grid, Tissue

#: Cells of a strand, those stimulated at its end, and the one whose action potential is taken.
_CELLS, _STIMULATED, _SEEN = 60, 4, 35

#: Samples of an action potential are this far apart and begin this long before activation, ms.
_EVERY, _BEFORE = 0.25, 10.0


@dataclass(frozen=True, eq=False)
class ActionPotentials:
    """Action potentials of one membrane, one for each of several durations.

    Parameters
    ----------
    times
        Shape (n_times,), from activation on, ms, evenly spaced, the first before the upstroke.
    values
        Shape (n_classes, n_times), mV; all begin at rest.
    durations
        Of the uncoupled cells, ms, shape (n_classes,), increasing, evenly spaced. One class: all cells are alike.
    """

    times: Float[np.ndarray, "..."]
    values: Float[np.ndarray, "..."]
    durations: Float[np.ndarray, "..."]

    def __post_init__(self):
        times, values, durations = (np.asarray(a, dtype=np.float64) for a in (self.times, self.values, self.durations))
        if values.shape != (len(durations), len(times)) or len(times) < 2 or not len(durations):
            raise InputError(
                f"action potentials must have one row per duration and one column per time; got {values.shape} for "
                f"{len(durations)} durations and {len(times)} times."
            )
        if not np.isfinite(values).all() or not np.allclose(np.diff(times), times[1] - times[0]) or times[0] > 0:
            raise InputError("action potentials must be finite, at evenly spaced times that begin before activation.")
        if (np.diff(durations) <= 0).any() or (len(durations) > 2 and np.ptp(np.diff(durations)) > 1e-6):
            raise InputError("durations of action potentials must increase in even steps.")
        for name, array in (("times", times), ("values", values), ("durations", durations)):
            object.__setattr__(self, name, frozen(array, np.float64))

    def __repr__(self) -> str:
        return (
            f"ActionPotentials({len(self.durations)} of {self.durations[0]:.4g} to {self.durations[-1]:.4g} ms, "
            f"{self.times[0]:g} to {self.times[-1]:g} ms)"
        )

    def at(self, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n_classes n"]:
        """Potentials above rest, mV, linear between samples and constant beyond them."""
        return np.stack([np.interp(times, self.times, row) - row[0] for row in self.values])


def planar_action_potentials(
    model_of: Callable[[Any], IonicModel],
    durations: Any,
    *,
    diffusivity: float,
    spacing: float,
    dt: float,
    level: float = -40.0,
    amplitude: float = 50.0,
    length: float = 600.0,
) -> ActionPotentials:
    """Measure the action potentials of steady planar waves, all durations in one simulation of separate strands.

    Parameters
    ----------
    model_of
        From durations of the uncoupled cells at the nodes, ms, to their membrane.
    durations
        ms, in even steps.
    diffusivity, spacing, dt
        Of the strands: mm2/ms, mm, ms. The shape of the upstroke depends on spacing / sqrt(D), all else hardly.
    level
        Where the upstroke passes it is the time of activation, mV.
    amplitude
        Of the stimulus, mV/ms, for 3 ms.
    length
        Of the simulation, ms: action potentials must be over.

    Raises
    ------
    InputError
        If no wave propagates, or if an action potential is not over in time.
    """
    wanted = np.asarray(durations, dtype=np.float64).reshape(-1)
    grid = Grid((2 * len(wanted) - 1, _CELLS), float(spacing))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[::2] = True
    tissue = Tissue.isotropic(grid, float(diffusivity), mask)
    node = np.arange(len(wanted)) * _CELLS
    ends = Nodes(tissue.nodes[(node[:, None] + np.arange(_STIMULATED)).reshape(-1)])
    run = simulate(
        Monodomain(tissue, model_of(np.repeat(wanted, _CELLS))),
        Protocol((Stimulus(ends, 0.0, 3.0, amplitude),)),
        length,
        dt=dt,
        keep=[Probes(tissue.points[node + _SEEN], every=_EVERY), Activation(level=level)],
    )
    begins = run.data["activation"].values[0][node + _SEEN]
    potentials = run.data["probes"].values
    if not np.isfinite(begins).all():
        raise InputError(
            f"action potentials: no wave propagates at D = {diffusivity:g} mm2/ms and {spacing:g} mm. Take a finer "
            "spacing or a larger stimulus."
        )
    span = np.abs(potentials[:, -1] - potentials[:, 0]) > 0.05 * np.ptp(potentials, axis=1)
    if span.any():
        raise InputError(f"action potentials: some are not over after {length:g} ms. Give a greater length.")
    sampled = _EVERY * np.arange(potentials.shape[1])
    times = np.arange(-_BEFORE, length - begins.max(), _EVERY)
    values = [np.interp(times + begin, sampled, row) for begin, row in zip(begins, potentials, strict=True)]
    return ActionPotentials(times, np.stack(values), wanted)
