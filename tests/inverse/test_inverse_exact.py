"""Solvers and rules against independent computations."""

import numpy as np
import pytest
from inverse_cases import centered_error
from scipy import sparse

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.geometry.operators import areas, gradient, mass, stiffness
from einthoven.inverse import (
    CRESO,
    GCV,
    Discrepancy,
    Fixed,
    FundamentalSolutions,
    Greensite,
    LCurve,
    NoiseCovariance,
    RobustGCV,
    Stre,
    Tikhonov,
    TotalVariation,
    TruncatedSVD,
    UCurve,
)
from einthoven.inverse.decomposition import decompose
from einthoven.inverse.problem import prepare
from einthoven.inverse.regularizers import Identity, SurfaceGradient, SurfaceLaplacian
from einthoven.inverse.total_variation import _model


def penalty(operator: ForwardOperator, order: int) -> np.ndarray:
    """Q^T Q from its definition."""
    if order == 0:
        return np.eye(operator.n_in)
    assert operator.source is not None
    k = stiffness(operator.source).toarray()
    full = k if order == 1 else k @ np.diag(1 / mass(operator.source).diagonal()) @ k
    return full / np.diag(full).mean()


def algebraic(matrix: np.ndarray, data: np.ndarray) -> tuple[ForwardOperator, Recording]:
    """An operator without geometry, absolute reference."""
    rows, columns = (tuple(f"{c}{i}" for i in range(n)) for c, n in zip("yx", matrix.shape, strict=True))
    data = data.reshape(len(matrix), -1)
    return (
        ForwardOperator(matrix, columns, rows, "hsp", "bsp"),
        Recording(data, np.arange(float(data.shape[1])), rows, "bsp"),
    )


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("lambda_", [1e-3, 0.1, 10.0])
def test_tikhonov_solves_the_normal_equations(order, lambda_, simulated):
    op, data = simulated.absolute_operator, simulated.absolute_recording
    found = Tikhonov(order, Fixed(lambda_)).reconstruct(op, data)
    a = op.matrix
    direct = np.linalg.solve(a.T @ a + lambda_**2 * penalty(op, order), a.T @ data.values)
    assert np.allclose(found.estimate.values, direct, atol=1e-7 * np.abs(direct).max())


@pytest.mark.parametrize("order", [1, 2])
def test_referenced_tikhonov_is_the_minimum_with_zero_mean(order, simulated):
    op, data = simulated.operator, simulated.recording
    found = Tikhonov(order, Fixed(0.1)).reconstruct(op, data)
    a, one = op.matrix, np.ones((op.n_in, op.n_in))
    direct = np.linalg.solve(a.T @ a + 0.01 * penalty(op, order) + one, a.T @ data.values)
    assert np.allclose(found.estimate.values, direct, atol=1e-7 * np.abs(direct).max())


@pytest.mark.parametrize("order", [1, 2])
def test_a_constant_is_not_penalized(order, simulated):
    op = simulated.absolute_operator
    data = simulated.absolute_recording.with_values(np.tile(op.matrix.sum(axis=1)[:, None] * 4.0, 24))
    found = Tikhonov(order, Fixed(100.0)).reconstruct(op, data)
    assert np.allclose(found.estimate.values, 4.0, rtol=1e-9)


@pytest.mark.parametrize("regularizer", [Identity(), SurfaceGradient(), SurfaceLaplacian()])
def test_sweep_statistics_match_the_estimates(regularizer, simulated):
    op, y = simulated.operator, simulated.recording.values
    spectrum = decompose(op.matrix, regularizer.penalty(op)).spectrum(y)
    lambdas = np.array([0.01, 0.3])
    stats = spectrum.statistics(lambdas)
    per_frame = spectrum.frame_statistics(lambdas)
    q = penalty(op, {"identity": 0, "surface gradient": 1, "surface Laplacian": 2}[regularizer.name])
    for i, lambda_ in enumerate(lambdas):
        x = spectrum.estimate(lambda_)
        assert stats.residual_sq[i] == pytest.approx(((y - op.matrix @ x) ** 2).sum(), rel=1e-8)
        assert stats.seminorm_sq[i] == pytest.approx((x * (q @ x)).sum(), rel=1e-6)
        assert per_frame[0][i] == pytest.approx(((y - op.matrix @ x) ** 2).sum(axis=0), rel=1e-6)
        assert per_frame[1][i] == pytest.approx((x * (q @ x)).sum(axis=0), rel=1e-6)
        influence = spectrum.decomposition.influence(lambda_)
        assert stats.trace[i] == pytest.approx(24 * np.trace(influence), rel=1e-9)
        assert stats.trace_sq[i] == pytest.approx(24 * np.trace(influence @ influence), rel=1e-9)
        assert influence @ y == pytest.approx(op.matrix @ x, abs=1e-9 * np.abs(y).max())


def test_regularizers_have_unit_mean_diagonal(simulated):
    for regularizer in (SurfaceGradient(), SurfaceLaplacian()):
        q = regularizer.penalty(simulated.operator)
        assert q is not None
        assert q.diagonal().mean() == pytest.approx(1.0)
        assert np.abs(q @ np.ones(q.shape[0])).max() < 1e-12


def test_truncation_is_the_truncated_pseudoinverse(simulated):
    op, y = simulated.absolute_operator, simulated.absolute_recording
    left, values, right = np.linalg.svd(op.matrix, full_matrices=False)
    found = TruncatedSVD(Fixed((values[9] + values[10]) / 2)).reconstruct(op, y)
    direct = right[:10].T @ ((left[:, :10].T @ y.values) / values[:10, None])
    assert found.diagnostics["rank"] == 10
    assert np.allclose(found.estimate.values, direct, atol=1e-9 * np.abs(direct).max())


def test_greensite_with_one_weight_and_all_components_is_tikhonov(simulated):
    op, y = simulated.operator, simulated.recording
    found = Greensite(Fixed(0.05), components=10**6).reconstruct(op, y)
    plain = Tikhonov(2, Fixed(0.05)).reconstruct(op, y)
    assert np.allclose(found.estimate.values, plain.estimate.values, atol=1e-8)


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("order", [0, 2])
def test_stre_solves_the_full_space_time_system(window, order, tiny):
    op, y = tiny.absolute_operator, tiny.absolute_recording
    n, n_times, lambda_, ratio = op.n_in, y.n_times, 0.05, 0.7
    found = Stre(Fixed(lambda_), ratio=ratio, window=window, order=order).reconstruct(op, y)
    pairs = np.zeros((n_times, n_times))
    for t in range(n_times):
        for tau in range(t + 1, min(t + window, n_times - 1) + 1):
            pairs[[t, tau], [t, tau]] += 1
            pairs[[t, tau], [tau, t]] -= 1
    a = op.matrix
    still = a.T @ a + lambda_**2 * penalty(op, order)
    system = np.kron(np.eye(n_times), still) + (ratio * lambda_) ** 2 * np.kron(pairs, np.eye(n))
    direct = np.linalg.solve(system, (a.T @ y.values).T.ravel()).reshape(n_times, n).T
    assert np.allclose(found.estimate.values, direct, atol=1e-8 * np.abs(direct).max())


def test_stre_traces_are_those_of_the_influence_matrix(tiny):
    op, y = tiny.absolute_operator, tiny.absolute_recording
    found = Stre(GCV(), ratio=0.7).reconstruct(op, y)
    curve = found.curve
    assert curve is not None
    i, n_times = 60, y.n_times
    lambda_ = float(curve.lambdas[i])
    step = np.diff(np.eye(n_times), axis=0)
    a = np.kron(np.eye(n_times), op.matrix)
    system = a.T @ a + lambda_**2 * np.kron(np.eye(n_times), penalty(op, 2))
    system += (0.7 * lambda_) ** 2 * np.kron(step.T @ step, np.eye(op.n_in))
    influence = a @ np.linalg.solve(system, a.T)
    data = y.values.T.ravel()
    residual = data - influence @ data
    gcv = (residual**2).mean() / (1 - np.trace(influence) / len(data)) ** 2
    assert curve.criterion[i] == pytest.approx(gcv, rel=1e-5)


def objective(op: ForwardOperator, y: np.ndarray, lambda_: float):
    """Total variation's objective per frame, its gradients and weights from their definitions."""
    assert op.source is not None
    area = areas(op.source)
    g = sparse.csr_array(gradient(op.source)).toarray().reshape(len(area), 3, -1)
    g = g * np.sqrt(area / np.diag(stiffness(op.source).toarray()).mean())[:, None, None]
    weights = np.sqrt(area / area.mean())
    scale = np.sqrt(((y - y.mean(axis=0)) ** 2).sum() / (y.size - y.shape[1]))

    def value(x: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(np.einsum("mcn,nt->mct", g, x), axis=1)
        return ((y - op.matrix @ x) ** 2).sum(axis=0) + lambda_**2 * scale * (weights @ lengths)

    return value, g, weights, scale


@pytest.mark.slow
def test_total_variation_reaches_the_minimum(tiny):
    op, y, lambda_ = tiny.operator, tiny.recording.values, 0.1
    found = TotalVariation(Fixed(lambda_), tolerance=1e-6, max_iterations=5000).reconstruct(op, tiny.recording)
    assert found.diagnostics["converged"] == 1
    assert found.diagnostics["duality_gap"] <= 1e-6
    value, g, weights, scale = objective(op, y, lambda_)
    reweighted = np.zeros((op.n_in, y.shape[1]))
    for t in range(y.shape[1]):
        x = np.linalg.lstsq(op.matrix, y[:, t])[0]
        for _ in range(300):
            w = weights / np.maximum(np.linalg.norm(g @ x, axis=1), 1e-5)
            p = np.einsum("m,mcn,mck->nk", w, g, g)
            system = op.matrix.T @ op.matrix + 0.5 * lambda_**2 * scale * p + np.ones_like(p)
            x = np.linalg.solve(system, op.matrix.T @ y[:, t])
        reweighted[:, t] = x
    reached, reference = value(found.estimate.values).sum(), value(reweighted).sum()
    assert reached == pytest.approx(reference, rel=1e-4)
    assert reached <= reference * (1 + 2e-6)
    assert value(0.9 * reweighted).sum() > reached * 1.001


def test_total_variation_prefers_edges(tiny):
    """A larger weight flattens: fewer triangles with a slope, down to a constant."""
    flat = TotalVariation(Fixed(30.0)).reconstruct(tiny.operator, tiny.recording)
    steep = TotalVariation(Fixed(0.05)).reconstruct(tiny.operator, tiny.recording)
    assert flat.diagnostics["total_variation"] < 1e-3 * steep.diagnostics["total_variation"]


def test_fundamental_solutions_recover_a_dipolar_potential(simulated):
    """On concentric spheres, Y_1 on the heart gives 0.6 Y_1 on the body: the image of that is Y_1."""
    op = simulated.absolute_operator
    assert op.source is not None
    assert op.electrodes is not None
    heart = op.source.points[:, [2]] / 50.0
    body = 0.6 * op.electrodes.positions[:, [2]] / 100.0
    recording = Recording(body, np.zeros(1), op.out_sites, "bsp")
    found = FundamentalSolutions(Fixed(0.1), shrink=0.5, inflate=1.5).reconstruct(op, recording)
    assert np.linalg.norm(found.estimate.values - heart) < 0.005 * np.linalg.norm(heart)


def test_fundamental_solutions_recover_a_constant(simulated):
    op = simulated.absolute_operator
    recording = simulated.absolute_recording.with_values(np.full((64, 24), 3.0))
    found = FundamentalSolutions(Fixed(0.1), shrink=0.5, inflate=1.5).reconstruct(op, recording)
    assert np.allclose(found.estimate.values, 3.0, rtol=1e-3)


def test_fundamental_solutions_refuse_what_they_cannot_know(simulated):
    op = simulated.operator
    bare = ForwardOperator(op.matrix, op.in_sites, op.out_sites, "hsp", "bsp", "average", source=op.source)
    with pytest.raises(InputError, match="needs the torso and the electrode positions"):
        FundamentalSolutions().reconstruct(bare, simulated.recording)
    with pytest.raises(InputError, match="0 < shrink < 1 < inflate"):
        FundamentalSolutions(shrink=1.5)


def test_gcv_is_leaving_one_out_where_all_leads_are_alike():
    """On a circulant operator all leverages are equal: GCV is the mean squared prediction error of left-out leads."""
    rng = np.random.default_rng(0)
    kernel = np.exp(-(np.arange(12) ** 2) / 4.0) + np.exp(-((12 - np.arange(12)) ** 2) / 4.0)
    a = np.array([np.roll(kernel, i) for i in range(12)])
    y = a @ rng.standard_normal(12) + 0.1 * rng.standard_normal(12)
    curve = Tikhonov(0, GCV()).reconstruct(*algebraic(a, y)).curve
    assert curve is not None
    for i in (40, 70, 90):
        lambda_, errors = curve.lambdas[i], []
        for out in range(12):
            rest = np.delete(np.arange(12), out)
            x = np.linalg.solve(a[rest].T @ a[rest] + lambda_**2 * np.eye(12), a[rest].T @ y[rest])
            errors.append((y[out] - a[out] @ x) ** 2)
        assert curve.criterion[i] == pytest.approx(np.mean(errors), rel=1e-8)


def picard(seed: int, level: float) -> tuple[ForwardOperator, Recording, np.ndarray]:
    """A problem with exponentially decaying singular values and a smooth solution."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((40, 40)))[0] for _ in range(2))
    values = 10.0 ** (-np.arange(40) / 5)
    x = right @ (values**0.3 * rng.standard_normal(40))
    y = left @ (values * (right.T @ x)) + level * rng.standard_normal(40)
    return *algebraic(left @ np.diag(values) @ right.T, y), x


@pytest.mark.parametrize("rule", [LCurve(), GCV(), RobustGCV(0.3), Discrepancy(1e-3)], ids=lambda r: r.name)
def test_rules_come_close_to_the_best_weight_on_picard_problems(rule):
    ratios = []
    for seed in range(10):
        op, y, x = picard(seed, 1e-3)
        best = min(
            np.linalg.norm(Tikhonov(0, Fixed(w)).reconstruct(op, y).estimate.values[:, 0] - x)
            for w in np.geomspace(1e-6, 1, 40)
        )
        found = Tikhonov(0, rule).reconstruct(op, y)
        ratios.append(np.linalg.norm(found.estimate.values[:, 0] - x) / best)
    assert np.median(ratios) < 1.25


def test_discrepancy_reaches_the_expected_residual(simulated):
    found = Tikhonov(2, Discrepancy(0.05)).reconstruct(simulated.operator, simulated.recording)
    assert (found.residual.values**2).sum() == pytest.approx(63 * 24 * 0.05**2, rel=1e-6)
    assert found.diagnostics["at_edge"] == 0


def test_discrepancy_reports_noise_larger_than_the_data(simulated):
    found = Tikhonov(2, Discrepancy(1e3)).reconstruct(simulated.operator, simulated.recording)
    assert found.diagnostics["at_edge"] == 1
    assert np.isfinite(found.estimate.values).all()


def test_creso_is_the_first_maximum_of_its_definition():
    """Two singular values: C = sum b^2 s^2 (s^2 - 3 w) / (s^2 + w)^3 with w = lambda^2."""
    s, b = np.array([1.0, 1.0, 1e-3]), np.array([1.0, 1.0, 1e-3])
    found = Tikhonov(0, CRESO()).reconstruct(*algebraic(np.diag(s), b))
    w = np.geomspace(1e-3, 1, 200001) ** 2
    c = ((b * s) ** 2 * (s**2 - 3 * w[:, None]) / (s**2 + w[:, None]) ** 3).sum(axis=1)
    peak = 1 + np.flatnonzero((c[1:-1] > c[:-2]) & (c[1:-1] > c[2:]))[0]
    assert found.weight == pytest.approx(np.sqrt(w[peak]), rel=0.05)


def test_creso_says_when_there_is_no_maximum():
    with pytest.raises(InputError, match=r"CRESO has no local maximum.*use another rule"):
        Tikhonov(0, CRESO()).reconstruct(*algebraic(np.eye(4), np.ones(4)))


def test_u_curve_is_the_minimum_of_its_definition(simulated):
    found = Tikhonov(0, UCurve()).reconstruct(simulated.operator, simulated.recording)
    weights = found.weight * np.array([0.9, 1.0, 1.1])
    values = []
    for w in weights:
        other = Tikhonov(0, Fixed(w)).reconstruct(simulated.operator, simulated.recording)
        values.append(1 / (other.residual.values**2).sum() + 1 / (other.estimate.values**2).sum())
    assert values[1] < min(values[0], values[2])


@pytest.mark.parametrize("rule", [LCurve(), GCV(), RobustGCV(), UCurve()], ids=lambda r: r.name)
def test_rules_survive_noise_free_and_pure_noise_data(rule, overdetermined, simulated):
    clean = Tikhonov(2, rule).reconstruct(overdetermined.operator, overdetermined.recording)
    assert np.isfinite(clean.estimate.values).all()
    noise = np.random.default_rng(3).standard_normal((64, 24))
    loud = simulated.recording.with_values(noise).average_referenced()
    found = Tikhonov(2, rule).reconstruct(simulated.operator, loud)
    assert np.isfinite(found.estimate.values).all()
    assert found.diagnostics["at_edge"] in (0, 1)


def test_an_optimum_at_the_edge_widens_the_range(overdetermined):
    """Noise-free data ask GCV for weights far below the smallest singular value."""
    found = Tikhonov(0, GCV()).reconstruct(overdetermined.operator, overdetermined.recording)
    smallest = decompose(overdetermined.operator.matrix, None).values[-1]
    assert found.weight < 0.05 * smallest
    assert centered_error(found.estimate, overdetermined.truth) < 1e-3


def test_whitening_is_generalized_least_squares(simulated):
    op, y = simulated.absolute_operator, simulated.absolute_recording
    rng = np.random.default_rng(5)
    root = rng.standard_normal((64, 64)) / 8 + np.diag(np.linspace(0.5, 2, 64))
    c = root @ root.T
    found = Tikhonov(2, Fixed(0.1), NoiseCovariance(c, y.sites)).reconstruct(op, y)
    scale = np.linalg.eigvalsh(c).mean()
    inverse = np.linalg.inv(c) * scale
    a = op.matrix
    direct = np.linalg.solve(a.T @ inverse @ a + 0.01 * penalty(op, 2), a.T @ inverse @ y.values)
    assert np.allclose(found.estimate.values, direct, atol=1e-6 * np.abs(direct).max())


def test_total_variation_reports_the_traces_of_its_frozen_problem(tiny):
    """At one frame and weight, against tr F and tr F^2 of F = A (A^T A + P)^-1 A^T with P frozen at the estimate."""
    op, recording = tiny.operator, tiny.recording
    frame = Recording(recording.values[:, 5:6], recording.times[5:6], recording.sites, "bsp", recording.reference)
    problem = prepare(op, frame)
    solver = TotalVariation(GCV())
    sweep = solver._sweep(problem, _model(problem), np.array([0]))
    lambda_ = float(sweep.low**0.25 * sweep.high**0.75)
    found, x = sweep.statistics(np.array([lambda_])), sweep.estimate(lambda_)
    _, g, weights, scale = objective(op, frame.values, lambda_)
    lengths = np.linalg.norm(g @ x[:, 0], axis=1)
    lengths = np.maximum(lengths, 1e-4 * np.sqrt((lengths**2).mean()))
    p = 0.5 * lambda_**2 * scale * np.einsum("m,mcn,mck->nk", weights / lengths, g, g)
    a = problem.matrix - problem.matrix.mean(axis=1, keepdims=True)
    influence = a @ np.linalg.solve(a.T @ a + p + np.abs(p).max() * np.ones_like(p) / len(p), a.T)
    assert 1 < found.trace[0] < len(a) - 1
    assert found.trace[0] == pytest.approx(np.trace(influence), rel=1e-5)
    assert found.trace_sq[0] == pytest.approx((influence**2).sum(), rel=1e-5)


@pytest.mark.parametrize("offset", [1.0, np.pi])
def test_an_operator_that_sees_only_constants_has_no_weight_to_choose(simulated, offset):
    matrix = np.repeat(offset * np.arange(1.0, 6.0)[:, None], simulated.absolute_operator.n_in, axis=1)
    with pytest.raises(InputError, match=r"sees nothing on the heart but constants.*Use order 0"):
        decompose(matrix, SurfaceLaplacian().penalty(simulated.absolute_operator))
    assert len(decompose(matrix, None).values) == 1
