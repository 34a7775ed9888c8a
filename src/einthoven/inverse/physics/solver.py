"""What all solvers share that train fields against the cost: from fields to a reconstruction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from einthoven.core import Capabilities, ForwardOperator, Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import CellPhysics, Prepared
from einthoven.inverse.physics.training import Fields, History, Schedule, Trained, train
from einthoven.inverse.sweep import Choice

#: What may be relied upon: the cells fix scale and zero of the potential.
CELLS = Capabilities(linear=False, reference_invariant=False, needs_absolute_scale=True)

#: Name of the rule by which all solvers of this package choose their weight.
ANNEALED = "annealed"


@dataclass(frozen=True, eq=False)
class Imaged:
    """A reconstruction by cell physics with what only such a solver knows.

    Parameters
    ----------
    reconstruction
        Estimate, residual and diagnostics.
    prepared
        Data, cost and start.
    u, v
        Fields at nodes and frames, model unit, with their zero also where the data do not show it.
    history
        Course of the training.
    fields
        The trained parameters.
    """

    reconstruction: Reconstruction
    prepared: Prepared
    u: Float[np.ndarray, "n t"]
    v: Float[np.ndarray, "n t"]
    history: History
    fields: Any

    @property
    def start(self) -> Recording:
        """The estimate it started from."""
        return self.prepared.potential(np.asarray(self.prepared.u, dtype=np.float64))

    @property
    def absolute(self) -> Recording:
        """The estimate with its zero, mV, whatever the reference of the leads."""
        return self.prepared.potential(self.u)


@dataclass(frozen=True, eq=False)
class CellSolver(ABC):
    """A solver that trains two fields from a start; subclasses say which parameters the fields have.

    Parameters
    ----------
    physics
        What is assumed of cells, noise and data.
    schedule
        Steps, rates and weights.
    seed
        Of everything that is drawn at random.
    checkpoint
        File where the state of the training is kept, so that one that was cut off goes on from there.
    progress
        Told about the steps.
    name
        Under which it appears in tables; that of a configuration, for one.
    """

    physics: CellPhysics = field(default_factory=CellPhysics)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    checkpoint: Path | None = None
    progress: Progress = silent
    capabilities: ClassVar[Capabilities] = CELLS
    name: str = ""

    @abstractmethod
    def fields(self, prepared: Prepared, seed: int) -> Fields:
        """Fields to train, their random parameters drawn from a seed."""

    def cost(self, prepared: Prepared) -> Any:
        """What is minimized; by default the cost on the grid."""
        return prepared.cost

    def keeping(self, checkpoint: Path) -> "CellSolver":
        """The same solver, which keeps the state of its training in a file."""
        return replace(self, checkpoint=checkpoint)

    def prepare(self, operator: ForwardOperator, recording: Recording) -> Prepared:
        """Check everything, and make start and cost.

        Where the data do not show a constant on the heart and no start is given, the wave of `StrongConstraint` is the
        start: it has the cells' zero. A diffusivity that was read off the start is read again off a better map. A
        schedule without physics needs neither, and asks nothing of the potentials.
        """
        from einthoven.inverse.physics.refinement import with_refined_diffusivity
        from einthoven.inverse.physics.strong import with_zero

        if not self.schedule.has_physics:
            return self.physics.prepare_free(operator, recording)
        known = replace(self.physics, sigma=self.physics.pose(operator, recording).sigma)  # once: leads are held out
        physics = with_zero(known, operator, recording, progress=self.progress)
        prepared = physics.prepare(operator, recording)
        if physics.diffusivity is not None:
            return prepared
        return with_refined_diffusivity(prepared, physics.membrane, progress=self.progress)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> Imaged:
        """Estimate the source, with the recovery variable and the course of the training."""
        prepared = self.prepare(operator, recording)
        trained = train(
            self.fields(prepared, self.seed),
            self.cost(prepared),
            self.schedule,
            seed=self.seed,
            step_name=self.name,
            checkpoint=self.checkpoint,
            progress=self.progress,
        )
        return imaged(prepared, trained, method=self.name)


def imaged(prepared: Prepared, trained: Trained, *, method: str) -> Imaged:
    """Package trained fields; the diagnostics are those of the fields returned."""
    u, v = trained.fields()
    tolerance = trained.history.tolerance[-1]
    total, parts = prepared.cost(u, v, tolerance)
    physics = {"physics_rms": float(parts.physics), "diffusivity": prepared.diffusivity}
    diagnostics = {
        "chi2": float(parts.chi2),
        **(physics if np.isfinite(tolerance) else {}),
        "sigma": prepared.sigma,
        "cost": float(total),
        "steps": float(len(trained.history.cost)),
        "interrupted": float(trained.interrupted),
    }
    if trained.converged is not None:
        diagnostics["converged"] = float(trained.converged)
    u, v = (np.asarray(x, dtype=np.float64) for x in (u, v))
    found = prepared.problem.reconstruction(
        prepared.scale.to_mv(u), Choice(float(tolerance)), method=method, rule=ANNEALED, diagnostics=diagnostics
    )
    return Imaged(found, prepared, u, v, trained.history, trained.fields)
