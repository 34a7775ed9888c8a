"""The exact solutions of the simulator's verification, against the equations they solve."""

import numpy as np
import pytest

from einthoven.verify import convergence, harmonics, manufactured, nagumo

FRONT = {"diffusivity": 0.12, "rate": 0.8}


def box_points(lengths, count=200, seed=0):
    points = np.zeros((count, 3))
    points[:, : len(lengths)] = np.random.default_rng(seed).uniform(0.02, 0.98, (count, len(lengths))) * lengths
    return points


def central(function, points, axis, step):
    """Fourth-order central difference along one axis."""
    shift = np.zeros(3)
    shift[axis] = step
    near = function(points + shift) - function(points - shift)
    far = function(points + 2 * shift) - function(points - 2 * shift)
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.4])
def test_front_solves_nagumos_equation(threshold):
    s, h = np.linspace(-4, 4, 81), 1e-3
    v = nagumo.front(s, **FRONT)
    slope = (nagumo.front(s + h, **FRONT) - nagumo.front(s - h, **FRONT)) / (2 * h)
    curvature = (nagumo.front(s + h, **FRONT) - 2 * v + nagumo.front(s - h, **FRONT)) / h**2
    moving = -nagumo.speed(**FRONT, threshold=threshold) * slope
    made = FRONT["diffusivity"] * curvature + nagumo.reaction(v, rate=FRONT["rate"], threshold=threshold)
    np.testing.assert_allclose(moving, made, atol=1e-6 * np.abs(moving).max())


def test_front_leads_from_one_to_zero():
    ends = nagumo.front(np.array([-1e3, 0.0, 1e3]), **FRONT)
    np.testing.assert_allclose(ends, [1.0, 0.5, 0.0], atol=1e-12)


def test_front_stands_still_at_one_half():
    assert nagumo.speed(**FRONT, threshold=0.5) == 0


@pytest.mark.parametrize(("lengths", "degrees"), [((8.0,), (2,)), ((8.0, 5.0), (1, 3)), ((8.0, 5.0, 6.0), (2, 1, 1))])
def test_cosine_mode_decays_at_its_rate(lengths, degrees):
    points, diffusivities = box_points(lengths), (0.1, 0.2, 0.05)[: len(lengths)]

    def mode(x):
        return manufactured.cosine(x, lengths, degrees)

    flux_out = sum(
        d * central(lambda x, k=k: central(mode, x, k, 0.02), points, k, 0.02) for k, d in enumerate(diffusivities)
    )
    rate = manufactured.cosine_rate(diffusivities, lengths, degrees)
    np.testing.assert_allclose(flux_out, -rate * mode(points), atol=1e-6 * rate)


@pytest.mark.parametrize("dimension", [2, 3])
def test_gaussian_solves_the_heat_equation_of_its_tensor(dimension):
    root = np.random.default_rng(3).normal(size=(dimension, dimension))
    tensor = 0.1 * root @ root.T + 0.02 * np.eye(dimension)
    points, center = box_points((4.0, 4.0, 4.0)[:dimension]), (2.0, 1.5, 2.5)[:dimension]

    def v(x, time=5.0):
        return manufactured.gaussian(x, center, spread=0.8, tensor=tensor, time=time)

    change = (v(points, 5.001) - v(points, 4.999)) / 0.002
    spread = sum(
        tensor[i, j] * central(lambda x, j=j: central(v, x, j, 0.02), points, i, 0.02)
        for i in range(dimension)
        for j in range(dimension)
    )
    np.testing.assert_allclose(change, spread, atol=1e-5 * np.abs(change).max())


@pytest.mark.parametrize("dimension", [2, 3])
def test_gaussian_starts_round_and_of_height_one(dimension):
    points, tensor = box_points((4.0, 4.0, 4.0)[:dimension]), 0.1 * np.eye(dimension)
    start = manufactured.gaussian(points, (0,) * dimension, spread=1.5, tensor=tensor, time=0.0)
    np.testing.assert_allclose(start, np.exp(-(points**2).sum(axis=1) / 4.5), rtol=1e-12)


def test_gaussian_keeps_its_integral():
    axis = np.linspace(-12, 12, 241)
    points = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.zeros((241, 241))], axis=-1).reshape(-1, 3)
    tensor = np.array([[0.1, 0.06], [0.06, 0.05]])
    first, later = (manufactured.gaussian(points, (0, 0), spread=1.0, tensor=tensor, time=t) for t in (0.0, 8.0))
    assert later.sum() == pytest.approx(first.sum(), rel=1e-9)


@pytest.mark.parametrize(
    "box",
    [
        manufactured.RotatingFibers((8.0, 5.0), (1, 2), 0.2, 0.05, (1.5,), 0.4),
        manufactured.RotatingFibers((8.0, 5.0, 6.0), (1, 2, 1), 0.2, 0.05, (1.5, -0.7), 0.4),
    ],
)
def test_rotating_fibers_divergence_is_the_derivative_of_the_flux(box):
    points, d = box_points(box.lengths), box.dimension

    def flux(x, axis):
        slope = np.stack([central(box.potential, x, k, 0.01) for k in range(d)], axis=1)
        f = box.fibers(x)
        along = (f * slope).sum(axis=1)
        return box.scale(x) * (box.across * slope[:, axis] + (box.along - box.across) * along * f[:, axis])

    numeric = sum(central(lambda x, k=k: flux(x, k), points, k, 0.01) for k in range(d))
    np.testing.assert_allclose(box.divergence(points), numeric, atol=1e-6 * np.abs(numeric).max())


def test_rotating_fibers_let_no_flux_through_the_faces():
    box = manufactured.RotatingFibers((8.0, 5.0, 6.0), (1, 2, 1), 0.2, 0.05, (1.5, -0.7))
    for axis in range(3):
        points = box_points(box.lengths)
        points[:, axis] = box.lengths[axis]
        np.testing.assert_allclose(box.fibers(points), [[1.0, 0.0, 0.0]] * len(points), atol=1e-12)
        np.testing.assert_allclose(central(box.potential, points, axis, 0.01), 0.0, atol=1e-10)


def test_rotating_fibers_are_oblique_inside():
    box = manufactured.RotatingFibers((8.0, 5.0), (1, 2), 0.2, 0.05, (1.5,))
    (middle,) = box.fibers(np.array([[4.0, 2.5, 0.0]]))
    np.testing.assert_allclose(middle, np.array([1.0, 1.5]) / np.hypot(1.0, 1.5))


def test_rotating_fibers_want_one_entry_per_side():
    with pytest.raises(ValueError, match="2 sides need 2 degrees and 1 tilts"):
        manufactured.RotatingFibers((8.0, 5.0), (1, 2), 0.2, 0.05, (1.5, 1.0))


@pytest.mark.parametrize(("degree", "order"), [(1, 0), (1, -1), (2, 1), (2, -2), (3, 3), (3, 0)])
def test_harmonics_are_eigenfunctions_on_the_sphere(degree, order):
    """Extended as a constant along the radius, the Laplacian in space is that on the sphere."""
    points = np.random.default_rng(1).normal(size=(50, 3))
    points *= 7.0 / np.linalg.norm(points, axis=1, keepdims=True)

    def y(x):
        return harmonics.harmonic(degree, order, x)

    laplacian = sum(central(lambda x, k=k: central(y, x, k, 0.02), points, k, 0.02) for k in range(3))
    rate = harmonics.decay_rate(degree, radius=7.0, diffusivity=1.0)
    np.testing.assert_allclose(laplacian, -rate * y(points), atol=1e-6 * np.abs(y(points)).max())


def test_harmonics_of_one_degree_are_independent():
    points = np.random.default_rng(1).normal(size=(50, 3))
    basis = np.stack([harmonics.harmonic(3, m, points) for m in range(-3, 4)])
    assert np.linalg.matrix_rank(basis) == 7


def test_richardson_recovers_limit_and_order_at_uneven_ratios():
    h = np.array([0.5, 0.2, 0.1])
    limit, order = convergence.richardson(h, 42.0 + 30 * h**1.7)
    assert (limit, order) == pytest.approx((42.0, 1.7), rel=1e-9)


def test_richardson_refuses_values_that_do_not_settle():
    with pytest.raises(ValueError, match="no order of convergence"):
        convergence.richardson([0.4, 0.2, 0.1], [1.0, 2.0, 1.5])
