"""One decomposition of operator and regularizer, after which every weight costs next to nothing.

For the penalized least squares problem min |A x - y|^2 + lambda^2 |Q x|^2 the kernel N of Q (the constants) is
split off exactly. With a basis B of the other directions, B^T Q^T Q B = I, and the part of A N that the data see
projected out of A B = U S V^T,

    x(lambda) = modes diag(s / (s^2 + lambda^2)) U^T y + free_modes free_left^T y,

where the columns of ``modes`` are B V (corrected in N) and ``free_modes`` recover what Q does not penalize. Directions
of N that A does not see either (the constant, with referenced leads) are set to zero mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse

from einthoven.core import InputError

#: Directions of Q's kernel that A maps below this fraction of its norm count as invisible. Matrices whose rows should
#: sum to 0 (or 1) do so up to their discretization; with an absolute reference a constant is among the best seen.
VISIBLE = 1e-2


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Generalized singular value decomposition of (A, Q).

    Parameters
    ----------
    values
        Generalized singular values s, decreasing; lambda is compared with these.
    left
        U, orthonormal columns in data space.
    modes
        Source patterns of unit seminorm |Q m| = 1.
    free_left, free_modes
        Data and source patterns that Q does not penalize (none with referenced leads).
    """

    values: Float[np.ndarray, " r"]
    left: Float[np.ndarray, "k r"]
    modes: Float[np.ndarray, "n r"]
    free_left: Float[np.ndarray, "k p"]
    free_modes: Float[np.ndarray, "n p"]

    def spectrum(self, data: Float[np.ndarray, "k t"]) -> "Spectrum":
        """Coefficients of the data; computed once, then every weight is cheap."""
        coefficients, free = self.left.T @ data, self.free_left.T @ data
        outside = (data**2).sum(axis=0) - (coefficients**2).sum(axis=0) - (free**2).sum(axis=0)
        return Spectrum(self, coefficients, free, np.maximum(outside, 0.0))

    def influence(self, lambda_: float) -> Float[np.ndarray, "k k"]:
        """A(lambda) = A (A^T A + lambda^2 Q^T Q)^-1 A^T, the matrix from data to fitted data."""
        passed, _ = tikhonov_filter(self.values, np.array([lambda_]))
        return (self.left * passed) @ self.left.T + self.free_left @ self.free_left.T


#: A filter takes singular values (r,) and weights (w,) and returns f and 1 - f, each (w, r).
Filter = Callable[
    [Float[np.ndarray, " r"], Float[np.ndarray, " w"]], tuple[Float[np.ndarray, "w r"], Float[np.ndarray, "w r"]]
]


def tikhonov_filter(
    values: Float[np.ndarray, " r"], lambdas: Float[np.ndarray, " w"]
) -> tuple[Float[np.ndarray, "w r"], Float[np.ndarray, "w r"]]:
    """Return f = s^2 / (s^2 + lambda^2) and 1 - f, without cancellation."""
    ratio = (lambdas[:, None] / values[None, :]) ** 2
    return 1.0 / (1.0 + ratio), ratio / (1.0 + ratio)


def truncation_filter(
    values: Float[np.ndarray, " r"], lambdas: Float[np.ndarray, " w"]
) -> tuple[Float[np.ndarray, "w r"], Float[np.ndarray, "w r"]]:
    """Return f = 1 where s >= lambda, else 0; and 1 - f."""
    passed = (values[None, :] >= lambdas[:, None]).astype(np.float64)
    return passed, 1.0 - passed


@dataclass(frozen=True, eq=False)
class Statistics:
    """What rules see of a family of estimates, at given weights.

    Parameters
    ----------
    lambdas
        The weights, increasing.
    residual_sq, seminorm_sq
        |y - A x|^2 (mV^2) and |Q x|^2, summed over the frames.
    trace, trace_sq
        tr A(lambda) and tr A(lambda)^2 of the influence matrix, summed over the frames.
    n_data
        Number of independent data: rank of the lead space times frames.
    """

    lambdas: Float[np.ndarray, " w"]
    residual_sq: Float[np.ndarray, " w"]
    seminorm_sq: Float[np.ndarray, " w"]
    trace: Float[np.ndarray, " w"]
    trace_sq: Float[np.ndarray, " w"]
    n_data: int


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Data in the coordinates of a decomposition.

    Parameters
    ----------
    decomposition
        As computed by `decompose`.
    coefficients
        U^T y per frame.
    free
        Coefficients of the unpenalized patterns.
    outside
        Squared norm of the data that no source explains, per frame.
    """

    decomposition: Decomposition
    coefficients: Float[np.ndarray, "r t"]
    free: Float[np.ndarray, "p t"]
    outside: Float[np.ndarray, " t"]

    def statistics(self, lambdas: Float[np.ndarray, " w"], *, filtered: Filter = tikhonov_filter) -> Statistics:
        """Residuals, seminorms and traces for all weights, summed over the frames."""
        power = (self.coefficients**2).sum(axis=1)
        k, n_times = len(self.decomposition.left), self.coefficients.shape[1]
        return self._statistics(lambdas, filtered, power, self.outside.sum(), (k, n_times))

    def frame_statistics(
        self, lambdas: Float[np.ndarray, " w"], *, filtered: Filter = tikhonov_filter
    ) -> tuple[Float[np.ndarray, "w t"], Float[np.ndarray, "w t"]]:
        """Squared residuals and squared seminorms for every weight and frame."""
        values = self.decomposition.values
        passed, stopped = filtered(values, lambdas)
        power = self.coefficients**2
        return stopped**2 @ power + self.outside, (passed / values) ** 2 @ power

    def _statistics(self, lambdas, filtered, power, outside, shape) -> Statistics:
        values = self.decomposition.values
        k, n_times = shape
        passed, stopped = filtered(values, lambdas)
        n_free = self.decomposition.free_left.shape[1]
        return Statistics(
            lambdas=lambdas,
            residual_sq=stopped**2 @ power + outside,
            seminorm_sq=(passed / values) ** 2 @ power,
            trace=n_times * (n_free + passed.sum(axis=1)),
            trace_sq=n_times * (n_free + (passed**2).sum(axis=1)),
            n_data=k * n_times,
        )

    def estimate(self, lambda_: float, *, filtered: Filter = tikhonov_filter) -> Float[np.ndarray, "n t"]:
        """The estimate for one weight."""
        values = self.decomposition.values
        passed, _ = filtered(values, np.array([lambda_]))
        weighted = (passed[0] / values)[:, None] * self.coefficients
        return self.decomposition.modes @ weighted + self.decomposition.free_modes @ self.free


def decompose(matrix: Float[np.ndarray, "k n"], penalty: sparse.csr_array | None) -> Decomposition:
    """Decompose the pair (A, Q).

    Parameters
    ----------
    matrix
        A, whitened and in lead space, shape (k, n).
    penalty
        Q^T Q, shape (n, n), positive semidefinite with the constants on each connected part as its kernel; None for
        the identity.

    Returns
    -------
    Decomposition

    Raises
    ------
    InputError
        If the operator is zero, the penalty not positive semidefinite, or the data see nothing that it penalizes.
    """
    if not np.any(matrix):
        raise InputError("the operator is zero in lead space; nothing on the heart is visible. Check the geometry.")
    if penalty is None:
        left, values, right = _svd(matrix)
        none = np.zeros((matrix.shape[1], 0))
        return Decomposition(values, left, np.ascontiguousarray(right.T), np.zeros((len(matrix), 0)), none)
    kernel = _kernel(penalty)
    free_left, free_modes, hidden = _split_kernel(matrix, kernel)
    basis = Grounded(penalty)
    seen = basis.seen(matrix - (matrix @ hidden) @ hidden.T)
    correction = free_left.T @ seen
    left, values, right = _svd(seen - free_left @ correction)
    if not values.size or values[0] <= max(seen.shape) * np.finfo(float).eps * np.linalg.norm(seen):
        raise InputError(
            "the operator sees nothing on the heart but constants, which the regularizer does not penalize; there is "
            "no weight to choose. Use order 0, or check the operator (are all of its columns alike?)."
        )
    modes = basis.lifted(right.T) - free_modes @ (correction @ right.T)
    modes -= hidden @ (hidden.T @ modes)
    return Decomposition(values, left, modes, free_left, free_modes)


def hidden_kernel(matrix: Float[np.ndarray, "k n"], penalty: sparse.csr_array) -> Float[np.ndarray, "n h"]:
    """Orthonormal patterns that neither A nor Q sees."""
    return _split_kernel(matrix, _kernel(penalty))[2]


class Grounded:
    """A penalty P with one node per connected part held at zero: P = L L^T on the others, by Cholesky.

    Parameters
    ----------
    penalty
        Positive semidefinite with the constants on each connected part as its kernel, shape (n, n).

    Raises
    ------
    InputError
        If it is not.
    """

    def __init__(self, penalty: sparse.csr_array):
        from scipy.linalg import LinAlgError, cholesky

        kernel = _kernel(penalty)
        self.n = len(kernel)
        self.kept = np.setdiff1d(np.arange(self.n), np.argmax(kernel != 0, axis=0))
        try:
            self.factor = cholesky(penalty[self.kept][:, self.kept].toarray(), lower=True, overwrite_a=True)
        except LinAlgError as error:
            raise InputError(
                "the regularizer is not positive definite apart from constants; the surface has degenerate triangles. "
                "Remesh it, or use order 0."
            ) from error

    def seen(self, matrix: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k c"]:
        """A B for the basis B with B^T P B = I."""
        from scipy.linalg import solve_triangular

        return solve_triangular(self.factor, matrix[:, self.kept].T, lower=True).T

    def lifted(self, coordinates: Float[np.ndarray, "c r"]) -> Float[np.ndarray, "n r"]:
        """B z."""
        from scipy.linalg import solve_triangular

        full = np.zeros((self.n, coordinates.shape[1]))
        full[self.kept] = solve_triangular(self.factor.T, coordinates, lower=False)
        return full

    def solve(self, right: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
        """Solve P x = b, where b sums to zero over each part."""
        from scipy.linalg import solve_triangular

        return self.lifted(solve_triangular(self.factor, right[self.kept], lower=True))


def _svd(matrix):
    """Singular value decomposition without the numerically zero part."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    keep = values > values[0] * max(matrix.shape) * np.finfo(float).eps
    return left[:, keep], values[keep], right[keep]


def _kernel(penalty) -> Float[np.ndarray, "n c"]:
    """Orthonormal constants on the connected parts."""
    from scipy.sparse.csgraph import connected_components

    n_parts, part = connected_components(penalty, directed=False)
    kernel = np.zeros((penalty.shape[0], n_parts))
    kernel[np.arange(len(part)), part] = 1.0
    return kernel / np.linalg.norm(kernel, axis=0)


def sees_constant(matrix: Float[np.ndarray, "k n"]) -> bool:
    """Whether the data see a constant on the source."""
    constant = matrix.sum(axis=1) / np.sqrt(matrix.shape[1])
    return bool(np.linalg.norm(constant) > VISIBLE * np.linalg.norm(matrix, 2))


def _split_kernel(matrix, kernel):
    """What the data see of the kernel: data patterns, source patterns, and the hidden rest."""
    left, values, right = np.linalg.svd(matrix @ kernel, full_matrices=True)
    seen = int((values > VISIBLE * np.linalg.norm(matrix, 2)).sum())
    free_modes = kernel @ (right[:seen].T / values[:seen])
    return left[:, :seen], free_modes, kernel @ right[seen:].T
