"""Solvers with cell physics by name.

They are not among `einthoven.inverse.METHODS`: those take a rule for their weight and any reference, and these choose
their weights themselves (`annealed`) and need potentials of known scale and zero. Each entry takes a `CellPhysics`.
"""

from collections.abc import Callable

from einthoven.core import Solver
from einthoven.inverse.physics.eand_arn import PointwiseArn, SeparableArn
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.strong import StrongConstraint
from einthoven.inverse.physics.strong_weak import StrongWeak
from einthoven.inverse.physics.weak import WeakConstraint

#: Solvers by name.
PHYSICS_METHODS: dict[str, Callable[[CellPhysics], Solver]] = {
    "weak-4dvar": WeakConstraint,
    "eand-arn-separable": SeparableArn,
    "eand-arn": PointwiseArn,
    "strong": StrongConstraint,
    "strong+weak": lambda physics: StrongWeak(StrongConstraint(physics)),
}
