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
from einthoven.inverse.rules import DEFAULT_RULE, Oracle, Rule
from einthoven.inverse.sweep import Sweep

#: Frames on which the oracle compares weights, at least.
ORACLE_PROBES = 64


@dataclass(frozen=True)
class TotalVariation:
    """Isotropic total variation of every frame: the integral of |grad x| over the surface.

    min |A x - y|^2 + lambda^2 s TV(x), TV(x) = sum over triangles of w_f |g_f(x)|, where |g(x)|^2 = sum |g_f|^2 is the
    squared seminorm of order 1 (mean diagonal 1), w_f^2 is the triangle's area over the mean area, and s the root mean
    square of the data: so the estimate scales with the data, for a given lambda.

    Solved by the alternating direction method of multipliers, started from order 1, with a step size per frame; frames
    that are done rest. The duality gap bounds how far the objective, summed over the frames, is from its minimum; both
    it and the largest number of iterations are reported.

    Parameters
    ----------
    rule
        Chooses lambda on `n_probes` frames, equally spaced in cumulated power (the oracle on at least 64: a bound
        must have seen most of the beat). Traces are those of the linear problem
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
        n_probes = max(self.n_probes, ORACLE_PROBES) if isinstance(self.rule, Oracle) else self.n_probes
        frames = probe_frames(problem.data, n_probes)
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
    order 1; `grounded` solves with their normal matrix; `free_seen` takes a source to its part in the data patterns
    that order 1 does not penalize; `scale` is the root mean square of the data.
    """

    spectrum: Spectrum
    matrix: Float[np.ndarray, "k n"]
    gradients: tuple[sparse.csr_array, sparse.csr_array]
    triangle_weights: Float[np.ndarray, " m"]
    grounded: Grounded
    free_seen: Float[np.ndarray, "p n"]
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

    def fit(
        self, coefficients: Float[np.ndarray, "r t"], free: Float[np.ndarray, "p t"], pull, rho: Float[np.ndarray, " t"]
    ) -> Float[np.ndarray, "n t"]:
        """Minimize |y - A x|^2 + rho |grad x - target|^2 for pull = grad^T target, about the Poisson solution."""
        found = self.spectrum.decomposition
        start = self.grounded.solve(pull)
        start = start - start.mean(axis=0)
        missing = coefficients - found.values[:, None] * (found.modes.T @ pull)
        step = found.values[:, None] / (found.values[:, None] ** 2 + rho) * missing
        return start + found.modes @ step + found.free_modes @ (free - self.free_seen @ start)


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
    spectrum = decompose(matrix, penalty).spectrum(problem.data)
    return _Model(
        spectrum=spectrum,
        matrix=matrix,
        gradients=(parts[0], parts[1]),
        triangle_weights=np.sqrt(area / area.mean()),
        grounded=Grounded(penalty),
        free_seen=spectrum.decomposition.free_left.T @ matrix,
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
    """Estimate, split variables and step sizes (for warm starts), relative duality gap and iterations."""

    x: Float[np.ndarray, "n t"]
    d: Float[np.ndarray, "2 m t"]
    dual: Float[np.ndarray, "2 m t"]
    rho: Float[np.ndarray, " t"]
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
        """Order 1 with a matching weight, and a step size that matches each frame's gradients."""
        model, found = self.model, self.spectrum.decomposition
        x = self.spectrum.estimate(float(found.values[0] * 1e-2))
        typical = float(np.sqrt((model.gradient(x) ** 2).mean()))
        rho = model.threshold(lambda_) / max(typical, 1e-12 * model.scale)
        x = self.spectrum.estimate(np.sqrt(rho))
        d = model.gradient(x)
        per_frame = np.sqrt((d**2).mean(axis=(0, 1)))
        steps = model.threshold(lambda_) / np.maximum(per_frame, 1e-2 * per_frame.max() + 1e-12 * model.scale)
        return _Solution(x, d, np.zeros_like(d), steps, np.inf, 0)

    def _iterate(self, alpha: float, start: _Solution) -> _Solution:
        """Alternate until every frame's gap is below the tolerance times the mean of its own and the average objective.

        Together the gaps are then below the tolerance times the whole objective.
        """
        limit = alpha * self.model.triangle_weights
        x, d, dual, rho = start.x.copy(), start.d.copy(), start.dual.copy(), start.rho.copy()
        primal, gap = np.zeros(len(rho)), np.full(len(rho), np.inf)
        k, active = 0, np.arange(len(rho))
        while k < self.max_iterations and active.size:
            n = min(10, self.max_iterations - k)
            state = (d.take(active, axis=2), dual.take(active, axis=2), rho[active])
            x[:, active], d[:, :, active], dual[:, :, active], rho[active], ends = self._run(active, state, limit, n)
            primal[active], gap[active] = ends
            active = np.flatnonzero(gap > 0.5 * self.tolerance * (primal + primal.mean()))
            k += n
        return _Solution(x, d, dual, rho, float(gap.sum() / max(primal.sum(), 1e-300)), k)

    def _run(self, active: Int[np.ndarray, " a"], state, limit: Float[np.ndarray, " m"], n: int):
        """`n` alternating directions with over-relaxation for some frames, then their objectives and duality gaps.

        The multiplier itself is kept, not scaled by rho.
        """
        from einthoven.inverse.kernels import advance

        model = self.model
        coefficients, free = self.spectrum.coefficients[:, active], self.spectrum.free[:, active]
        d, dual, rho = state
        for k in range(n):
            x = model.fit(coefficients, free, model.divergence(d - dual / rho), rho)
            slope = model.gradient(x)
            if k == n - 1:
                ends = self._gap(active, x, slope, dual + rho * (slope - d), limit)
            norms = advance(slope, d, dual, limit, rho)
            if k == 4:
                rho = rho * _balance(*np.sqrt(norms))
        return x, d, dual, rho, ends

    def _gap(self, active, x, slope, dual, limit):
        """Objective and duality gap per frame; the fit makes `dual` feasible up to a factor per frame."""
        data = self.data[:, active]
        residual = data - self.model.matrix @ x
        square = (residual**2).sum(axis=0)
        primal = 0.5 * square + limit @ _lengths(slope)
        most = 1 / np.maximum((_lengths(dual) / limit[:, None]).max(axis=0), 1e-300)
        overlap = (residual * data).sum(axis=0)
        factor = np.clip(overlap / np.maximum(square, 1e-300), 0.0, most)
        return primal, primal - factor * overlap + 0.5 * factor**2 * square

    def _traces(self, solution: _Solution, lambda_: float) -> tuple[float, float]:
        """Traces of A and A^2 of the linear problem with the weights frozen at the solution, summed over frames."""
        model, alpha, total = self.model, self.model.threshold(lambda_), np.zeros(2)
        lengths = _lengths(model.gradient(solution.x))
        floor = 1e-4 * np.sqrt((lengths**2).mean()) + 1e-12 * model.scale
        kept = model.grounded.kept
        seen = (model.matrix - self.spectrum.decomposition.free_left @ model.free_seen)[:, kept]
        first, second = (sparse.csr_array(g[:, kept]) for g in model.gradients)
        for column in lengths.T:
            rows = sparse.diags_array(alpha * model.triangle_weights / np.maximum(column, floor))
            frozen = sparse.csc_array(first.T @ (rows @ first) + second.T @ (rows @ second))
            stopped = np.linalg.inv(np.eye(len(seen)) + seen @ _solved(frozen, seen.T))
            trace = len(seen) - np.trace(stopped)
            total += trace, trace - np.trace(stopped) + (stopped**2).sum()
        return float(total[0]), float(total[1])


def _solved(matrix: sparse.csc_array, right: Float[np.ndarray, "c k"]) -> Float[np.ndarray, "c k"]:
    """Solve a sparse positive definite system."""
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True}
    factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return factor.solve(np.asfortranarray(right))


def _balance(primal, change, d, dual) -> Float[np.ndarray, " t"]:
    """Factors for rho that bring both relative residuals together, at most 2 either way."""
    left, right = primal * dual, change * d
    possible = (left > 0) & (right > 0)
    ratio = np.divide(left, right, out=np.ones_like(left), where=possible)
    return np.clip(np.sqrt(ratio), 0.5, 2.0)
