"""Weak-constraint 4D-Var: u and v free at every node and frame."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from einthoven.inverse.physics.fields import Prepared
from einthoven.inverse.physics.solver import CellSolver


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
class WeakConstraint(CellSolver):
    """Weak-constraint 4D-Var: the wave and the data both up to their errors.

    min over u, v of 1/2 |(y - A x(u)) / sigma|^2 + 1/2 (|r_u|^2 + |r_v|^2) / tau^2, from the starting estimate, tau
    annealed (`einthoven.inverse.physics.training`). Nothing is random.

    References
    ----------
    Tremolet, Quarterly Journal of the Royal Meteorological Society 132:2483, 2006, doi:10.1256/qj.05.224 (the method,
    in meteorology).
    """

    name: str = "weak-4dvar"

    def fields(self, prepared: Prepared, seed: int) -> FreeFields:
        """Start at the estimate."""
        return FreeFields(prepared.u, prepared.v)
