"""Spatiotemporal regularization (STRE), solved exactly."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording
from einthoven.inverse.decomposition import Spectrum, Statistics, decompose, hidden_kernel
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import Problem, prepare
from einthoven.inverse.regularizers import regularizer
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import Sweep


@dataclass(frozen=True)
class Stre:
    """Spatiotemporal regularization: smooth over the surface and from frame to frame.

    min sum_t |y_t - A x_t|^2 + lambda^2 |Q x_t|^2 + (ratio lambda)^2 sum_{t < tau <= t + w} |x_t - x_tau|^2

    Parameters
    ----------
    rule
        Chooses lambda.
    ratio
        Weight of time against space, lt / ls, per frame step.
    window
        w, in frames; 1 couples neighbors only.
    order
        Tikhonov order of the regularizer in space.
    noise
        Covariance of the leads' noise; A and y are whitened with it.

    Notes
    -----
    The temporal term is diagonal in the eigenvectors of the path graph (w = 1: the discrete cosine transform). For
    each temporal frequency mu what remains is Tikhonov's problem with the penalty Q^T Q + ratio^2 mu I. With Q^T Q =
    E diag(q) E^T its dual form A E diag(1 / (q + ratio^2 mu)) E^T A^T is decomposed once; all weights follow from
    that. Memory: 8 n_times n_leads^2 bytes.

    References
    ----------
    Yao and Yang, Scientific Reports 6:39012, 2016, doi:10.1038/srep39012 (their double sum counts every pair twice).
    """

    rule: Rule = DEFAULT_RULE
    ratio: float = 0.185
    window: int = 1
    order: int = 2
    noise: NoiseCovariance | None = None
    capabilities: Capabilities = field(default=Capabilities(), init=False)
    name: str = field(default="stre", init=False)

    def __post_init__(self):
        regularizer(self.order)
        if not 0 < self.ratio < np.inf:
            raise InputError(f"stre: ratio must be positive; got {self.ratio!r}. Without a temporal term use Tikhonov.")
        if self.window < 1:
            raise InputError(f"stre: window must be at least 1 frame; got {self.window!r}.")

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        if recording.n_times < 2:
            raise InputError("stre: needs at least 2 frames; use Tikhonov for a single frame.")
        problem = prepare(operator, recording, noise=self.noise)
        modes = temporal_modes(recording.n_times, self.window)
        family = _family(problem, regularizer(self.order), modes, self.ratio)
        choice = self.rule.choose(family.sweep(problem))
        return problem.reconstruction(
            family.estimate(choice.weight),
            choice,
            method=self.name,
            rule=self.rule.name,
            diagnostics={"ratio": self.ratio},
        )


@dataclass(frozen=True, eq=False)
class TemporalModes:
    """Eigenvectors (columns, the constant first) and eigenvalues of the temporal penalty."""

    eigenvalues: Float[np.ndarray, " t"]
    vectors: Float[np.ndarray, "t t"]


def temporal_modes(n_times: int, window: int) -> TemporalModes:
    """Diagonalize sum_{t < tau <= t + window} (x_t - x_tau)^2.

    For neighbors only: cosines with eigenvalues 4 sin^2(pi j / 2 n); otherwise numerically.
    """
    if window == 1:
        index = np.arange(n_times)
        vectors = np.cos(np.pi * np.outer(index + 0.5, index) / n_times)
        return TemporalModes(4 * np.sin(np.pi * index / (2 * n_times)) ** 2, vectors / np.linalg.norm(vectors, axis=0))
    penalty = np.zeros((n_times, n_times))
    for step in range(1, min(window, n_times - 1) + 1):
        difference = np.eye(n_times - step, n_times, k=step) - np.eye(n_times - step, n_times)
        penalty += difference.T @ difference
    eigenvalues, vectors = np.linalg.eigh(penalty)
    eigenvalues[0], vectors[:, 0] = 0.0, 1 / np.sqrt(n_times)
    return TemporalModes(eigenvalues, vectors)


@dataclass(frozen=True, eq=False)
class _Family:
    """Decompositions for all temporal frequencies above zero, and the spectrum at zero."""

    still: Spectrum
    modes: TemporalModes
    space: Float[np.ndarray, "n n"]
    seen: Float[np.ndarray, "k n"]
    penalties: Float[np.ndarray, "s n"]
    left: Float[np.ndarray, "s k k"]
    values_sq: Float[np.ndarray, "s k"]
    coefficients: Float[np.ndarray, "s k"]

    @cached_property
    def _power(self) -> Float[np.ndarray, "s k"]:
        return self.coefficients**2

    def statistics(self, lambdas: Float[np.ndarray, " w"]) -> Statistics:
        """Sums over all temporal frequencies."""
        still = self.still.statistics(lambdas)
        sums = np.array([self._sums(float(w)) for w in lambdas])
        return Statistics(
            lambdas=lambdas,
            residual_sq=still.residual_sq + sums[:, 0],
            seminorm_sq=still.seminorm_sq + sums[:, 1],
            trace=still.trace + sums[:, 2],
            trace_sq=still.trace_sq + sums[:, 3],
            n_data=still.n_data + self.values_sq.size,
        )

    def _sums(self, lambda_: float) -> tuple[float, float, float, float]:
        weight = 1 / (self.values_sq + lambda_**2)
        passed = self.values_sq * weight
        weighted = self._power * weight**2
        residual = lambda_**4 * weighted.sum()
        return residual, (self.values_sq * weighted).sum(), passed.sum(), (passed**2).sum()

    def estimate(self, lambda_: float) -> Float[np.ndarray, "n t"]:
        """The estimate for one weight, over time."""
        dual = np.einsum("skc,sc->sk", self.left, self.coefficients / (self.values_sq + lambda_**2))
        moving = self.space @ ((self.seen.T @ dual.T) / self.penalties.T)
        return np.hstack([self.still.estimate(lambda_), moving]) @ self.modes.vectors.T

    def sweep(self, problem: Problem) -> Sweep:
        """What the rule chooses from."""
        high = float(np.sqrt(max(self.values_sq.max(), self.still.decomposition.values[0] ** 2)))
        return Sweep(
            statistics=self.statistics,
            estimate=self.estimate,
            low=1e-7 * high,
            high=high,
            sigma=problem.sigma,
            sites=problem.operator.in_sites,
            mean_removed=not problem.constant_visible,
        )


def _family(problem: Problem, regularizer, modes: TemporalModes, ratio: float) -> _Family:
    penalty = regularizer.penalty(problem.operator)
    data = problem.data @ modes.vectors
    still = decompose(problem.matrix, penalty).spectrum(data[:, :1])
    n = problem.operator.n_in
    if penalty is None:
        q, space, matrix = np.ones(n), np.eye(n), problem.matrix
    else:
        q, space = np.linalg.eigh(penalty.toarray())
        q = np.maximum(q, 0.0)
        hidden = hidden_kernel(problem.matrix, penalty)
        matrix = problem.matrix - (problem.matrix @ hidden) @ hidden.T
    seen = matrix @ space
    penalties = q + ratio**2 * modes.eigenvalues[1:, None]
    k = len(seen)
    left, values_sq = np.empty((len(penalties), k, k)), np.empty((len(penalties), k))
    for j, p in enumerate(penalties):
        half = seen / np.sqrt(p)
        values_sq[j], left[j] = np.linalg.eigh(half @ half.T)
    return _Family(
        still=still,
        modes=modes,
        space=space,
        seen=seen,
        penalties=penalties,
        left=left,
        values_sq=np.maximum(values_sq, 0.0),
        coefficients=np.einsum("skc,ks->sc", left, data[:, 1:]),
    )
