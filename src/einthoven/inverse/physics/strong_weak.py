"""Weak constraint from a strong start: a wave of foci first, then fields that may depart from it."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp

from einthoven.core import Capabilities, ForwardOperator, Recording
from einthoven.inverse.physics.fields import Cost, Prepared
from einthoven.inverse.physics.solver import CellSolver
from einthoven.inverse.physics.strong import FOCAL, FocalImage, StrongConstraint
from einthoven.inverse.physics.training import Schedule
from einthoven.inverse.physics.waves import clocked
from einthoven.inverse.physics.weak import FreeFields

#: Few small steps at one tolerance, as the start is already good.
DEPARTURE = Schedule(steps=500, rate=0.003, tolerances=(0.15, 0.15))


@dataclass(frozen=True, eq=False)
class StrongWeak(CellSolver):
    """Weak-constraint 4D-Var that starts from `StrongConstraint`, with its D and its clock.

    What foci cannot say (uneven tissue, other cells) the free fields can, and the strong start gives them what they
    need: a wave with the right zero, whatever the reference of the data. Nothing is random.

    Parameters
    ----------
    strong
        Finds the wave; physics and progress are those of this solver. None: with its defaults.
    """

    schedule: Schedule = DEPARTURE
    name: str = "strong+weak"
    strong: StrongConstraint = field(default_factory=StrongConstraint)
    capabilities: ClassVar[Capabilities] = FOCAL

    def prepare(self, operator: ForwardOperator, recording: Recording) -> Prepared:
        """Find the wave of foci, and start from it; Ctrl-C during the search is raised again."""
        image = self.strong.within(self).image(operator, recording)
        if image.interrupted:
            raise KeyboardInterrupt
        return self.prepare_from(image)

    def prepare_from(self, image: FocalImage) -> Prepared:
        """Start and cost for a wave that was found."""
        physics, posed = self.physics, image.posed
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

    def fields(self, prepared: Prepared, seed: int) -> FreeFields:
        """Start at the wave."""
        return FreeFields(prepared.u, prepared.v)
