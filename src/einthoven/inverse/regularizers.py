"""Regularizers: the quadratic penalties |Q x|^2 on a surface, scaled so that the mean of diag(Q^T Q) is 1."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from einthoven.core import ForwardOperator, InputError, Surface


@runtime_checkable
class Regularizer(Protocol):
    """A quadratic penalty on the potentials of a source surface."""

    @property
    def name(self) -> str:
        """Short name, for results and messages."""
        ...

    def penalty(self, operator: ForwardOperator) -> sparse.csr_array | None:
        """Q^T Q, shape (n_in, n_in), mean diagonal 1; None stands for the identity."""
        ...


@dataclass(frozen=True)
class Identity:
    """Order 0: |x|^2. Needs no surface."""

    name: str = field(default="identity", init=False)

    def penalty(self, operator: ForwardOperator) -> sparse.csr_array | None:
        """None: Q is the identity."""
        return None


@dataclass(frozen=True)
class SurfaceGradient:
    """Order 1: integral of |grad x|^2 over the surface, x^T K x with the cotangent stiffness K.

    Its kernel are the constants (one per connected part of the surface).
    """

    name: str = field(default="surface gradient", init=False)

    def penalty(self, operator: ForwardOperator) -> sparse.csr_array | None:
        """K over its mean diagonal."""
        from einthoven.geometry.operators import stiffness

        return _normalized(stiffness(source_surface(operator, self.name)))


@dataclass(frozen=True)
class SurfaceLaplacian:
    """Order 2: integral of (Laplacian x)^2, x^T K M^-1 K x with stiffness K and lumped mass M.

    Its kernel are the constants (one per connected part of the surface).
    """

    name: str = field(default="surface Laplacian", init=False)

    def penalty(self, operator: ForwardOperator) -> sparse.csr_array | None:
        """K M^-1 K over its mean diagonal."""
        from einthoven.geometry.operators import mass, stiffness

        surface = source_surface(operator, self.name)
        area = np.asarray(mass(surface, lumped=True).diagonal())
        bare = np.flatnonzero(area <= 0)
        if bare.size:
            raise InputError(
                f"{surface.name}: node {bare[0]} belongs to no triangle, so it has no Laplacian. Remove the node."
            )
        k = sparse.csr_array(stiffness(surface))
        return _normalized(k @ sparse.diags_array(np.reciprocal(area)) @ k)


def regularizer(order: int) -> Regularizer:
    """Return the regularizer of Tikhonov order 0, 1 or 2."""
    orders = {0: Identity(), 1: SurfaceGradient(), 2: SurfaceLaplacian()}
    if order not in orders:
        raise InputError(f"Tikhonov order must be 0 (identity), 1 (surface gradient) or 2 (Laplacian); got {order!r}.")
    return orders[order]


def source_surface(operator: ForwardOperator, needed_by: str) -> Surface:
    """Return the operator's source surface, or say that it is needed."""
    if operator.source is None:
        raise InputError(
            f"the {needed_by} needs the heart surface, but the operator carries none; give "
            "`ForwardOperator(..., source=surface)`, or use order 0."
        )
    return operator.source


def _normalized(matrix) -> sparse.csr_array:
    matrix = sparse.csr_array(matrix)
    scale = 1.0 / float(np.mean(np.asarray(matrix.diagonal())))
    return sparse.csr_array(matrix.multiply(scale))
