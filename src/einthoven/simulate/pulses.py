"""Stimuli as the compiled loop reads them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError
from einthoven.core.arrays import frozen
from einthoven.ionic import IonicModel
from einthoven.protocol import Protocol
from einthoven.tissue import Tissue


@dataclass(frozen=True, eq=False)
class Pulses:
    """When which nodes are driven, in steps and in the model's own unit.

    A current pulse adds ``dt * value`` to v of its nodes in every step n with start_step <= n < stop_step: before the
    diffusion under `Godunov`; half of it before and half after the step under `Strang`, which keeps its second order. A
    clamp sets v to ``value`` at the end of these steps.

    Parameters
    ----------
    start_step, stop_step
        Shape (n_pulses,): first step, and first step no more.
    pointers
        Shape (n_pulses + 1,): pulse i drives ``nodes[pointers[i]:pointers[i + 1]]``.
    nodes
        Positions among the conducting nodes; no node twice in one pulse.
    values
        Shape (n_pulses,): rate of v (model unit per ms), or potential (model unit) of a clamp.
    clamp
        Shape (n_pulses,): whether the pulse is a clamp.
    """

    start_step: Int[np.ndarray, " n_pulses"]
    stop_step: Int[np.ndarray, " n_pulses"]
    pointers: Int[np.ndarray, " n_pulses_and_one"]
    nodes: Int[np.ndarray, " n_driven"]
    values: Float[np.ndarray, " n_pulses"]
    clamp: Bool[np.ndarray, " n_pulses"]

    def __post_init__(self):
        for name in ("start_step", "stop_step", "pointers", "nodes"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.int64))
        object.__setattr__(self, "values", frozen(self.values, np.float64))
        object.__setattr__(self, "clamp", frozen(self.clamp, np.bool_))
        if not np.isfinite(self.values).all():
            raise InputError("stimulus values must be finite; found NaN or infinity.")
        steps = np.diff(self.pointers)
        if len(self.pointers) != self.n_pulses + 1 or steps.min(initial=0) < 0 or self.pointers[-1] != len(self.nodes):
            raise InputError("pulse pointers must increase from 0 to the number of driven nodes, one more than pulses.")

    @classmethod
    def none(cls) -> "Pulses":
        """No stimulus."""
        whole = np.zeros(0, np.int64)
        return cls(whole, whole, np.zeros(1, np.int64), whole, np.zeros(0), np.zeros(0, bool))

    @classmethod
    def of(cls, protocol: Protocol, tissue: Tissue, model: IonicModel, dt: float) -> "Pulses":
        """Stimuli of a protocol on a tissue; starts and ends are rounded to steps, every pulse lasts one at least.

        Raises
        ------
        InputError
            If a stimulus reaches no conducting node.
        """
        stimuli = protocol.stimuli
        nodes = [np.asarray(s.select(tissue)) for s in stimuli]
        start = [round(s.start / dt) for s in stimuli]
        stop = [max(round(s.stop / dt), first + 1) for s, first in zip(stimuli, start, strict=True)]
        clamp = np.array([s.kind == "clamp" for s in stimuli], dtype=bool)
        amplitude = np.array([float(s.amplitude) for s in stimuli])
        values = np.where(clamp, model.scale.from_mv(amplitude), amplitude / model.scale.amplitude)
        pointers = np.cumsum([0, *map(len, nodes)])
        first, last, bounds = (np.asarray(a, dtype=np.int64) for a in (start, stop, pointers))
        return cls(first, last, bounds, _joined(nodes), values, clamp)

    @property
    def n_pulses(self) -> int:
        """Number of pulses."""
        return len(self.values)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
