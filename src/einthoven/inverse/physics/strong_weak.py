"""Weak constraint from a strong start: a wave of foci first, then fields that may depart from it."""

from dataclasses import dataclass, field

import jax.numpy as jnp

from einthoven.core import Capabilities, ForwardOperator, Reconstruction, Recording
from einthoven.inverse.physics.fields import Cost, Prepared
from einthoven.inverse.physics.strong import FOCAL, FocalImage, StrongConstraint
from einthoven.inverse.physics.training import Schedule, train
from einthoven.inverse.physics.waves import clocked
from einthoven.inverse.physics.weak import FreeFields, Imaged, imaged

#: Few small steps at one tolerance, as the start is already good.
DEPARTURE = Schedule(steps=500, rate=0.003, tolerances=(0.15, 0.15))


@dataclass(frozen=True, eq=False)
class StrongWeak:
    """Weak-constraint 4D-Var that starts from `StrongConstraint`, with its D and its clock.

    What foci cannot say (uneven tissue, other cells) the free fields can, and the strong start gives them what they
    need: a wave with the right zero, whatever the reference of the data.

    Parameters
    ----------
    strong
        Finds the wave; its `physics` holds for both.
    schedule
        Of the weak constraint.
    """

    strong: StrongConstraint = field(default_factory=StrongConstraint)
    schedule: Schedule = DEPARTURE
    capabilities: Capabilities = field(default=FOCAL, init=False)
    name: str = field(default="strong+weak", init=False)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> Imaged:
        """Estimate the source; `Imaged.start` is the strong constraint's wave."""
        prepared = self.prepare(self.strong.image(operator, recording))
        fields = FreeFields(prepared.u, prepared.v)
        trained = train(
            fields, prepared.cost, self.schedule, step_name=self.name, progress=self.strong.progress
        )  # fmt: skip
        return imaged(prepared, trained, method=self.name)

    def prepare(self, image: FocalImage) -> Prepared:
        """Start and cost of the weak constraint for a wave that was found."""
        physics, posed = self.strong.physics, image.posed
        cost = Cost.of(
            posed.problem,
            posed.wave(physics, clocked(physics.membrane, image.clock)),
            posed.scale,
            sigma=posed.sigma,
            diffusivity=image.diffusivity,
            rank=physics.rank,
        )
        u = jnp.asarray(posed.scale.from_mv(image.absolute.values), physics.dtype)
        v = jnp.asarray(image.recovery, physics.dtype)
        return Prepared(posed.problem, posed.surface, posed.scale, posed.sigma, image.diffusivity, cost, u, v)
