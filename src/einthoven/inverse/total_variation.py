"""Total variation: sharp fronts instead of smooth ones."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording
from einthoven.inverse.decomposition import Grounded, Spectrum, Statistics, decompose, hidden_kernel
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import Problem, prepare
from einthoven.inverse.regularizers import SurfaceGradient, source_surface
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import Sweep


@dataclass(frozen=True)
class TotalVariation:
    """Isotropic total variation of every frame: the integral of |grad x| over the surface.

    min |A x - y|^2 + lambda^2 s TV(x), TV(x) = sum over triangles of w_f |g_f(x)|, where |g(x)|^2 = sum |g_f|^2 is the
    squared seminorm of order 1 (mean diagonal 1), w_f^2 is the triangle's area over the mean area, and s the root mean
    square of the data: so the estimate scales with the data, for a given lambda.

    Solved for all frames at once by the alternating direction method of multipliers, started from order 1. The duality
    gap bounds how far the objective is from its minimum; both it and the number of iterations are reported.

    Parameters
    ----------
    rule
        Chooses lambda on `n_probes` frames, equally spaced in cumulated power. Traces are those of the linear problem
        that has the same solution (weights w_f / |g_f| frozen at the solution, Vogel and Oman 1996).
    noise
        Covariance of the leads' noise; A and y are whitened with it.
    tolerance
        Relative duality gap at which to stop.
    max_iterations
        Limit of iterations; where it is reached, ``converged`` is 0.

    References
    ----------
    Ghosh and Rudy, Ann Biomed Eng 37:902, 2009, doi:10.1007/s10439-009-9665-6; Boyd et al., 2011,
    doi:10.1561/2200000016.
    """

    rule: Rule = DEFAULT_RULE
    noise: NoiseCovariance | None = None
    tolerance: float = 1e-3
    max_iterations: int = 1000
    n_probes: int = 8
    n_weights: int = 20
    capabilities: Capabilities = field(default=Capabilities(linear=False), init=False)
    name: str = field(default="tv", init=False)

    def __post_init__(self):
        if not 0 < self.tolerance < 1:
            raise InputError(f"tv: tolerance must be in (0, 1); got {self.tolerance!r}.")
        for name in ("max_iterations", "n_probes", "n_weights"):
            if getattr(self, name) < 1:
                raise InputError(f"tv: {name} must be at least 1; got {getattr(self, name)!r}.")

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        model = _model(problem)
        frames = probe_frames(problem.data, self.n_probes)
        choice = self.rule.choose(self._sweep(problem, model, frames))
        path = _Path(model, problem.data, self.tolerance, self.max_iterations)
        solution = path.solve(choice.weight)
        return problem.reconstruction(
            solution.x,
            choice,
            method=self.name,
            rule=self.rule.name,
            diagnostics={
                "duality_gap": solution.gap,
                "iterations": float(solution.iterations),
                "converged": float(solution.gap <= self.tolerance),
                "total_variation": float(model.variation(solution.x).sum()),
            },
        )

    def _sweep(self, problem: Problem, model: "_Model", frames: Int[np.ndarray, " p"]) -> Sweep:
        """Solutions of the probe frames along the weights, from the largest down, each started from the last."""
        path = _Path(model, problem.data[:, frames], 10 * self.tolerance, self.max_iterations)
        low, high = model.weight_range()
        return Sweep(
            statistics=path.statistics,
            estimate=lambda lambda_: path.solve(lambda_).x,
            low=low,
            high=high,
            sigma=problem.sigma,
            sites=problem.operator.in_sites,
            mean_removed=not problem.constant_visible,
            temporal=np.eye(problem.data.shape[1])[:, frames],
            bounded=True,
            n_weights=self.n_weights,
        )


def probe_frames(data: Float[np.ndarray, "k t"], n_probes: int) -> Int[np.ndarray, " p"]:
    """Frames equally spaced in the cumulated power of the data."""
    power = np.cumsum((data**2).sum(axis=0))
    wanted = (np.arange(n_probes) + 0.5) / n_probes * power[-1]
    return np.unique(np.searchsorted(power, wanted))


@dataclass(frozen=True, eq=False)
class _Model:
    """Everything that does not depend on the weight.

    `gradients` are the two tangential derivatives per triangle, scaled so that their squares sum to the seminorm of
    order 1; `poisson` solves with their normal matrix; `scale` is the root mean square of the data.
    """

    spectrum: Spectrum
    matrix: Float[np.ndarray, "k n"]
    gradients: tuple[sparse.csr_array, sparse.csr_array]
    triangle_weights: Float[np.ndarray, " m"]
    grounded: Grounded
    scale: float

    def gradient(self, x: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "2 m t"]:
        return np.stack([g @ x for g in self.gradients])

    def divergence(self, d: Float[np.ndarray, "2 m t"]) -> Float[np.ndarray, "n t"]:
        """The gradient's transpose."""
        return self.gradients[0].T @ d[0] + self.gradients[1].T @ d[1]

    def variation(self, x: Float[np.ndarray, "n t"]) -> Float[np.ndarray, " t"]:
        """TV(x) per frame, mV."""
        return self.triangle_weights @ _lengths(self.gradient(x))

    def threshold(self, lambda_: float) -> float:
        """Weight of TV beside half the squared residual."""
        return 0.5 * lambda_**2 * self.scale

    def weight_range(self) -> tuple[float, float]:
        """Weights whose penalty matches that of order 1 between 1e-4 and 1 times its largest singular value."""
        ends = self.spectrum.decomposition.values[0] * np.array([1e-4, 1.0])
        seminorm = np.sqrt(self.spectrum.statistics(ends).seminorm_sq)
        typical = seminorm / np.sqrt(len(self.triangle_weights) * self.spectrum.coefficients.shape[1])
        low, high = ends * np.sqrt(2 * typical / self.scale)
        return float(low), float(max(high, 10 * low))

    def fit(self, spectrum: Spectrum, target: Float[np.ndarray, "2 m t"], rho: float) -> Float[np.ndarray, "n t"]:
        """Minimize |y - A x|^2 + rho |grad x - target|^2, through order 1 about the Poisson solution."""
        found = spectrum.decomposition
        pull = self.divergence(target)
        start = self.grounded.solve(pull)
        start = start - start.mean(axis=0)
        missing = spectrum.coefficients - found.values[:, None] * (found.modes.T @ pull)
        step = (found.values / (found.values**2 + rho))[:, None] * missing
        free = spectrum.free - found.free_left.T @ (self.matrix @ start)
        return start + found.modes @ step + found.free_modes @ free


def _model(problem: Problem) -> _Model:
    """Tangential gradients in an orthonormal frame per triangle, and the decomposition of order 1."""
    from einthoven.geometry.operators import areas, gradient

    surface = source_surface(problem.operator, "total variation")
    penalty = SurfaceGradient().penalty(problem.operator)
    assert penalty is not None
    hidden = hidden_kernel(problem.matrix, penalty)
    matrix = problem.matrix - (problem.matrix @ hidden) @ hidden.T
    area = areas(surface)
    full = sparse.csr_array(gradient(surface))
    energy = full.multiply(np.repeat(area, 3)[:, None]).multiply(full).sum() / surface.n_points
    edge, other = surface.corners[:, 1] - surface.corners[:, 0], surface.corners[:, 2] - surface.corners[:, 0]
    first = edge / np.linalg.norm(edge, axis=1, keepdims=True)
    second = other - np.einsum("mc,mc->m", other, first)[:, None] * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    scales = np.sqrt(area / energy)[:, None]
    parts = tuple(sparse.csr_array(_rowwise(frame * scales) @ full) for frame in (first, second))
    return _Model(
        spectrum=decompose(matrix, penalty).spectrum(problem.data),
        matrix=matrix,
        gradients=(parts[0], parts[1]),
        triangle_weights=np.sqrt(area / area.mean()),
        grounded=Grounded(penalty),
        scale=float(np.sqrt((problem.data**2).mean())),
    )


def _rowwise(vectors: Float[np.ndarray, "m 3"]) -> sparse.csr_array:
    """The matrix that takes, per triangle, the dot product with its vector."""
    m = len(vectors)
    return sparse.csr_array((vectors.ravel(), (np.repeat(np.arange(m), 3), np.arange(3 * m))), shape=(m, 3 * m))


def _lengths(d: Float[np.ndarray, "2 m t"]) -> Float[np.ndarray, "m t"]:
    return np.sqrt(d[0] ** 2 + d[1] ** 2)


@dataclass(frozen=True, eq=False)
class _Solution:
    """Estimate, split variables (for warm starts), relative duality gap and iterations."""

    x: Float[np.ndarray, "n t"]
    d: Float[np.ndarray, "2 m t"]
    dual: Float[np.ndarray, "2 m t"]
    rho: float
    gap: float
    iterations: int


class _Path:
    """Solutions for the same data at one weight after another."""

    def __init__(self, model: _Model, data: Float[np.ndarray, "k t"], tolerance: float, max_iterations: int):
        self.model, self.data = model, data
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.spectrum = model.spectrum.decomposition.spectrum(data)
        self.found: dict[float, _Solution] = {}

    def solve(self, lambda_: float) -> _Solution:
        """The solution for a weight, started from the nearest solved weight."""
        if lambda_ not in self.found:
            near = min(self.found, key=lambda w: abs(np.log(w / lambda_)), default=None)
            start = self._linear(lambda_) if near is None else self.found[near]
            self.found[lambda_] = self._iterate(self.model.threshold(lambda_), start)
        return self.found[lambda_]

    def statistics(self, lambdas: Float[np.ndarray, " w"]) -> Statistics:
        """Residual, total variation (as squared seminorm) and traces, from the largest weight down."""
        solutions = [self.solve(float(w)) for w in lambdas[::-1]][::-1]
        traces = np.array([self._traces(s, float(w)) for s, w in zip(solutions, lambdas, strict=True)])
        return Statistics(
            lambdas=lambdas,
            residual_sq=np.array([((self.data - self.model.matrix @ s.x) ** 2).sum() for s in solutions]),
            seminorm_sq=np.array([self.model.scale * self.model.variation(s.x).sum() for s in solutions]),
            trace=traces[:, 0],
            trace_sq=traces[:, 1],
            n_data=self.data.size,
        )

    def _linear(self, lambda_: float) -> _Solution:
        """Order 1 with a matching weight."""
        model, found = self.model, self.spectrum.decomposition
        rho = float(found.values[0] ** 2 * 1e-4)
        x = self.spectrum.estimate(np.sqrt(rho))
        typical = float(np.sqrt((model.gradient(x) ** 2).mean()))
        rho = model.threshold(lambda_) / max(typical, 1e-12 * model.scale)
        x = self.spectrum.estimate(np.sqrt(rho))
        d = model.gradient(x)
        return _Solution(x, d, np.zeros_like(d), rho, np.inf, 0)

    def _iterate(self, alpha: float, start: _Solution) -> _Solution:
        """Alternating directions with over-relaxation; `dual` is the multiplier itself, not scaled by rho."""
        model, d, dual, rho = self.model, start.d, start.dual, start.rho
        limit = alpha * model.triangle_weights[:, None]
        x, gap, k = start.x, np.inf, 0
        for k in range(1, self.max_iterations + 1):
            x = model.fit(self.spectrum, d - dual / rho, rho)
            slope = model.gradient(x)
            if k % 10 == 0:
                gap = self._gap(x, slope, dual + rho * (slope - d), limit)
                if gap <= self.tolerance:
                    break
            relaxed = 1.7 * slope + (1 - 1.7) * d
            previous, d = d, _shrunk(relaxed + dual / rho, limit / rho)
            dual = dual + rho * (relaxed - d)
            if k % 10 == 5:
                rho *= _balance(slope - d, rho * (d - previous), d, dual)
        return _Solution(x, d, dual, rho, gap, k)

    def _gap(self, x, slope, dual, limit) -> float:
        """Relative duality gap; the fit makes `dual` feasible up to a factor per frame."""
        residual = self.data - self.model.matrix @ x
        square = (residual**2).sum(axis=0)
        primal = 0.5 * square + (limit * _lengths(slope)).sum(axis=0)
        most = 1 / np.maximum((_lengths(dual) / limit).max(axis=0), 1e-300)
        overlap = (residual * self.data).sum(axis=0)
        factor = np.clip(overlap / np.maximum(square, 1e-300), 0.0, most)
        lower = factor * overlap - 0.5 * factor**2 * square
        return float((primal - lower).sum() / max(primal.sum(), 1e-300))

    def _traces(self, solution: _Solution, lambda_: float) -> tuple[float, float]:
        """Traces of A and A^2 of the linear problem with the weights frozen at the solution, summed over frames."""
        model, alpha, total = self.model, self.model.threshold(lambda_), np.zeros(2)
        lengths = _lengths(model.gradient(solution.x))
        floor = 1e-4 * np.sqrt((lengths**2).mean()) + 1e-12 * model.scale
        free = self.spectrum.decomposition.free_left
        seen = model.matrix - free @ (free.T @ model.matrix)
        first, second = model.gradients
        for column in lengths.T:
            rows = sparse.diags_array(alpha * model.triangle_weights / np.maximum(column, floor))
            frozen = sparse.csr_array(first.T @ (rows @ first) + second.T @ (rows @ second))
            half = Grounded(frozen).seen(seen)
            stopped = np.linalg.inv(np.eye(len(half)) + half @ half.T)
            trace = len(half) - np.trace(stopped)
            total += trace, trace - np.trace(stopped) + (stopped**2).sum()
        return float(total[0]), float(total[1])


def _shrunk(d: Float[np.ndarray, "2 m t"], limit: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "2 m t"]:
    """Shorten each triangle's vector by `limit`, to zero where it is shorter."""
    return d * np.maximum(1 - limit / np.maximum(_lengths(d), 1e-300), 0.0)


def _balance(primal, dual, d, multiplier) -> float:
    """Factor for rho that brings both relative residuals together, at most 2 either way."""
    left = np.linalg.norm(primal) * np.linalg.norm(multiplier)
    right = np.linalg.norm(dual) * np.linalg.norm(d)
    return float(np.clip(np.sqrt(left / right), 0.5, 2.0)) if left > 0 and right > 0 else 1.0
