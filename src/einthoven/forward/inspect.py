"""What a forward operator is worth: row sums, singular values, rank, memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator


@dataclass(frozen=True, eq=False)
class OperatorReport:
    """Properties of a forward operator.

    Parameters
    ----------
    n_in, n_out
        Sources and targets.
    in_quantity, out_quantity, reference
        As of the operator.
    row_sum
        What every row must sum to: 1 from heart-surface potentials in the absolute reference, 0 in a referenced lead or
        from transmembrane potentials (a uniform one is invisible).
    row_sum_error
        Largest deviation from it, as a share of the largest sum of absolute values of a row.
    singular_values
        Shape (min(n_in, n_out),), falling, mV per mV.
    rank
        How many are above rounding.
    condition
        First over last singular value among those `rank`.
    ranks
        How many singular values exceed a share of the first: threshold -> count. With noise of that share no more than
        these can be seen.
    matrix_bytes
        Memory of the matrix.
    seconds
        Wall time of building it, where it was measured.
    """

    n_in: int
    n_out: int
    in_quantity: str
    out_quantity: str
    reference: str
    row_sum: float
    row_sum_error: float
    singular_values: Float[np.ndarray, " n"]
    rank: int
    condition: float
    ranks: dict[float, int]
    matrix_bytes: int
    seconds: float | None = None

    def __repr__(self) -> str:
        return (
            f"OperatorReport({self.in_quantity} x {self.n_in} -> {self.out_quantity} x {self.n_out}, rank {self.rank}, "
            f"condition {self.condition:.3g}, rows sum to {self.row_sum:g} within {self.row_sum_error:.1e})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything with flat keys and plain types, for JSON; ``rank_at_0.01`` and so on."""
        flat = {key: value for key, value in vars(self).items() if key not in ("singular_values", "ranks")}
        flat |= {f"rank_at_{threshold:g}": count for threshold, count in self.ranks.items()}
        return flat | {"singular_values": self.singular_values.tolist()}


def inspect(
    operator: ForwardOperator, *, seconds: float | None = None, thresholds: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4)
) -> OperatorReport:
    """Check an operator and measure how ill-posed its inversion is.

    Parameters
    ----------
    operator
        Any.
    seconds
        Wall time of building it, carried into the report.
    thresholds
        Shares of the first singular value at which the rank is counted.

    Returns
    -------
    OperatorReport
        Row sums, singular values, condition, ranks, memory.
    """
    matrix = operator.as_matrix()
    expected = float(operator.in_quantity == "hsp" and operator.reference in ("absolute", "skin"))
    scale = np.abs(matrix).sum(axis=1).max()
    values = np.linalg.svd(matrix, compute_uv=False)
    rank = int((values > max(matrix.shape) * np.finfo(float).eps * values[0]).sum())
    return OperatorReport(
        n_in=operator.n_in,
        n_out=operator.n_out,
        in_quantity=operator.in_quantity,
        out_quantity=operator.out_quantity,
        reference=operator.reference,
        row_sum=expected,
        row_sum_error=float(np.abs(matrix.sum(axis=1) - expected).max() / scale) if scale > 0 else 0.0,
        singular_values=values,
        rank=rank,
        condition=float(values[0] / values[rank - 1]) if rank else float("inf"),
        ranks={float(t): int((values > t * values[0]).sum()) for t in thresholds},
        matrix_bytes=matrix.nbytes,
        seconds=seconds,
    )
