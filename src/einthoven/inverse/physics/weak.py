"""Weak-constraint 4D-Var: u and v free at every node and frame."""

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import Capabilities, ForwardOperator, Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import CellPhysics, Prepared
from einthoven.inverse.physics.training import History, Schedule, Trained, train
from einthoven.inverse.sweep import Choice

#: What may be relied upon: the cells fix scale and zero of the potential.
CELLS = Capabilities(linear=False, reference_invariant=False, needs_absolute_scale=True)

#: Name of the rule by which all solvers of this package choose their weight.
ANNEALED = "annealed"


class FreeFields(eqx.Module):
    """The fields themselves as parameters."""

    u: Float[Array, "n t"]
    v: Float[Array, "n t"]

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v."""
        return self.u, self.v

    def trained(self) -> Any:
        """Everything."""
        return jax.tree.map(lambda _: True, self)


@dataclass(frozen=True, eq=False)
class Imaged:
    """A reconstruction by cell physics with what only such a solver knows.

    Parameters
    ----------
    reconstruction
        Estimate, residual and diagnostics.
    recovery
        The recovery variable at the nodes and frames, model unit.
    history
        Course of the training.
    start
        The estimate it started from.
    fields
        The trained parameters.
    absolute
        The estimate with the cells' own zero: `reconstruction` has none where the data do not show a constant.
    """

    reconstruction: Reconstruction
    recovery: Float[np.ndarray, "n t"]
    history: History
    start: Recording
    fields: Any
    absolute: Recording


@dataclass(frozen=True, eq=False)
class WeakConstraint:
    """Weak-constraint 4D-Var: the wave and the data both up to their errors.

    min over u, v of 1/2 |(y - A x(u)) / sigma|^2 + 1/2 (|r_u|^2 + |r_v|^2) / tau^2, from the starting estimate, tau
    annealed (`einthoven.inverse.physics.training`).

    Parameters
    ----------
    physics
        What is assumed of cells, noise and data.
    schedule
        Steps, rates and weights.
    progress
        Told about the steps.

    References
    ----------
    Tremolet, Quarterly Journal of the Royal Meteorological Society 132:2483, 2006, doi:10.1256/qj.05.224 (the method,
    in meteorology).
    """

    physics: CellPhysics = field(default_factory=CellPhysics)
    schedule: Schedule = field(default_factory=Schedule)
    progress: Progress = silent
    capabilities: Capabilities = field(default=CELLS, init=False)
    name: str = field(default="weak-4dvar", init=False)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> Imaged:
        """Estimate the source, with the recovery variable and the course of the training."""
        prepared = self.physics.prepare(operator, recording)
        start = FreeFields(prepared.u, prepared.v)
        trained = train(start, prepared.cost, self.schedule, step_name=self.name, progress=self.progress)
        return imaged(prepared, trained, method=self.name)


def imaged(prepared: Prepared, trained: Trained, *, method: str) -> Imaged:
    """Package trained fields; the diagnostics are those of the fields returned."""
    u, v = trained.fields()
    tolerance = trained.history.tolerance[-1]
    total, parts = prepared.cost(u, v, tolerance)
    diagnostics = {
        "chi2": float(parts.chi2),
        "physics_rms": float(parts.physics),
        "diffusivity": prepared.diffusivity,
        "sigma": prepared.sigma,
        "cost": float(total),
        "steps": float(len(trained.history.cost)),
        "interrupted": float(trained.interrupted),
    }
    values = prepared.scale.to_mv(np.asarray(u, dtype=np.float64))
    problem = prepared.problem
    start = Recording(
        prepared.scale.to_mv(np.asarray(prepared.u, dtype=np.float64)),
        problem.recording.times,
        problem.operator.in_sites,
        problem.operator.in_quantity,
    )
    found = problem.reconstruction(
        values, Choice(float(tolerance)), method=method, rule=ANNEALED, diagnostics=diagnostics
    )
    absolute = start.with_values(values)
    return Imaged(found, np.asarray(v, dtype=np.float64), trained.history, start, trained.fields, absolute)
