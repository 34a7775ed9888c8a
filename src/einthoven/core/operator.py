"""The `ForwardOperator` noun: a linear map between named sites."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from einthoven.core.arrays import frozen
from einthoven.core.conductor import VolumeConductor
from einthoven.core.errors import InputError
from einthoven.core.recording import QUANTITIES, Quantity, Recording, reference_of_part
from einthoven.core.sites import Electrodes, check_names, match_names
from einthoven.core.surface import Surface


@dataclass(frozen=True, eq=False)
class ForwardOperator:
    """A linear map from potentials at the source sites to potentials at the target sites.

    y = A x, A of shape (n_out, n_in), mV per mV. Operators compose with ``@``; sites are matched by
    name and quantities must agree. The geometry that solvers may need (mesh Laplacians, total
    variation, fundamental solutions) travels with the operator.

    Parameters
    ----------
    matrix
        Shape (n_out, n_in).
    in_sites, out_sites
        Names of columns and rows.
    in_quantity, out_quantity
        What columns and rows are (`einthoven.core.recording.QUANTITIES`).
    reference
        What zero means in the output, as in `Recording.reference`.
    source
        The surface whose nodes are the columns, if they are nodes.
    conductor
        The volume conductor, if there is one.
    electrodes
        Positions of the electrodes the output is taken from, if it is.
    lead_matrix
        Shape (n_out, n_electrodes): the output as combinations of the potentials at `electrodes`. Given
        with `electrodes`, never without.

    Raises
    ------
    InputError
        If shapes do not agree, a name is repeated, a quantity is unknown or the matrix is not finite.
    """

    matrix: Float[np.ndarray, "n_out n_in"]
    in_sites: tuple[str, ...]
    out_sites: tuple[str, ...]
    in_quantity: Quantity
    out_quantity: Quantity
    reference: str = "absolute"
    source: Surface | None = None
    conductor: VolumeConductor | None = None
    electrodes: Electrodes | None = None
    lead_matrix: Float[np.ndarray, "n_out n_electrodes"] | None = None

    __array_ufunc__ = None  # operator @ array is a TypeError, not an elementwise attempt of NumPy's

    def __post_init__(self):
        matrix = np.asarray(self.matrix)
        object.__setattr__(self, "in_sites", check_names(self.in_sites, "the source sites of an operator"))
        object.__setattr__(self, "out_sites", check_names(self.out_sites, "the target sites of an operator"))
        if matrix.shape != (len(self.out_sites), len(self.in_sites)):
            raise InputError(
                f"operator matrix must have shape (targets, sources) = ({len(self.out_sites)}, "
                f"{len(self.in_sites)}); got {matrix.shape}."
            )
        for quantity in (self.in_quantity, self.out_quantity):
            if quantity not in QUANTITIES:
                raise InputError(f"quantity must be one of {', '.join(QUANTITIES)}; got {quantity!r}.")
        if not np.isfinite(matrix).all():
            raise InputError("operator matrix must be finite; it holds NaN or infinity. Check the geometry.")
        if self.source is not None and self.source.n_points != len(self.in_sites):
            raise InputError(
                f"operator columns must be the nodes of its source surface {self.source.name!r} "
                f"({self.source.n_points}); got {len(self.in_sites)}."
            )
        object.__setattr__(self, "matrix", frozen(matrix, np.float64))
        self._check_leads()

    def _check_leads(self) -> None:
        if (self.electrodes is None) != (self.lead_matrix is None):
            raise InputError(
                "an operator's electrodes and its lead matrix belong together; got one without the other. For "
                "potentials at the electrodes themselves the lead matrix is the identity."
            )
        if self.electrodes is None or self.lead_matrix is None:
            return
        leads = np.asarray(self.lead_matrix)
        if leads.shape != (self.n_out, len(self.electrodes)):
            raise InputError(
                f"lead matrix must have shape (targets, electrodes) = ({self.n_out}, {len(self.electrodes)}); "
                f"got {leads.shape}."
            )
        object.__setattr__(self, "lead_matrix", frozen(leads, np.float64))

    def __repr__(self) -> str:
        return (
            f"ForwardOperator({self.in_quantity} x {self.n_in} -> {self.out_quantity} x {self.n_out}, "
            f"reference {self.reference!r})"
        )

    @property
    def n_in(self) -> int:
        """Number of source sites."""
        return len(self.in_sites)

    @property
    def n_out(self) -> int:
        """Number of target sites."""
        return len(self.out_sites)

    def as_matrix(self) -> Float[np.ndarray, "n_out n_in"]:
        """Return the dense matrix (read-only)."""
        return self.matrix

    def apply(self, x: Float[np.ndarray, "n_in *k"]) -> Float[np.ndarray, "n_out *k"]:
        """A x; of a single frame without threads, so that neither its bits nor its time depend on their number."""
        return np.einsum("ij,j->i", self.matrix, x) if np.ndim(x) == 1 else self.matrix @ x

    def adjoint(self, y: Float[np.ndarray, "n_out *k"]) -> Float[np.ndarray, "n_in *k"]:
        """A^T y."""
        return self.matrix.T @ y

    def record(self, source: Recording) -> Recording:
        """Apply to a recording of the source; sites are matched by name, the reference is that of a composition.

        Raises
        ------
        InputError
            If the quantity differs or a source site is missing.
        """
        if source.quantity != self.in_quantity:
            raise InputError(
                f"the operator takes {self.in_quantity} ({QUANTITIES[self.in_quantity]}); got {source.quantity} "
                f"({QUANTITIES[source.quantity]}). Build the operator for that quantity."
            )
        values = self.apply(source.select(self.in_sites).values)
        return Recording(values, source.times, self.out_sites, self.out_quantity, self._reference_on(source))

    def _reference_on(self, inner: "Recording | ForwardOperator") -> str:
        """Reference of what this operator makes of the inner one's sites: its own, or theirs if it has none."""
        if self.reference != "absolute":
            return self.reference
        sites = inner.sites if isinstance(inner, Recording) else inner.out_sites
        part = inner.reference == "average" and set(self.out_sites) != set(sites)
        return f"average of {len(sites)}" if part else inner.reference

    def select(self, names: Sequence[str]) -> "ForwardOperator":
        """Keep the named target sites, in the order given; an average reference stays the one over all of them."""
        index = match_names(names, self.out_sites, "operator")
        reference = reference_of_part(self.reference, len(index), self.n_out)
        leads = None if self.lead_matrix is None else self.lead_matrix[index]
        return replace(self, matrix=self.matrix[index], out_sites=tuple(names), reference=reference, lead_matrix=leads)

    def __matmul__(self, inner: "ForwardOperator") -> "ForwardOperator":
        """Composition: ``(outer @ inner).apply(x) == outer.apply(inner.apply(x))``, matched by name.

        An outer operator with reference ``"absolute"`` keeps the zero of the inner one, named accordingly (an average
        over other sites is ``"average of 192"``). Source and conductor are the inner operator's. The outer operator's
        electrodes stay; where it has none, the inner one's are kept with the lead matrix
        ``outer.matrix @ inner.lead_matrix``.

        Raises
        ------
        InputError
            If the quantities differ or a site that the outer operator takes is missing.
        """
        if not isinstance(inner, ForwardOperator):
            return NotImplemented
        if self.in_quantity != inner.out_quantity:
            raise InputError(
                f"cannot compose: the outer operator takes {self.in_quantity}, the inner one gives "
                f"{inner.out_quantity}."
            )
        matched = inner if inner.out_sites == self.in_sites else inner.select(self.in_sites)
        electrodes, leads = self.electrodes, self.lead_matrix
        if leads is None and matched.lead_matrix is not None:
            electrodes, leads = inner.electrodes, self.matrix @ matched.lead_matrix
        return ForwardOperator(
            matrix=self.matrix @ matched.matrix,
            in_sites=inner.in_sites,
            out_sites=self.out_sites,
            in_quantity=inner.in_quantity,
            out_quantity=self.out_quantity,
            reference=self._reference_on(inner),
            source=inner.source,
            conductor=inner.conductor if inner.conductor is not None else self.conductor,
            electrodes=electrodes,
            lead_matrix=leads,
        )
