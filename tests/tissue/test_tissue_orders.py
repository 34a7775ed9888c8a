"""Orders of convergence of div(D grad v), each against an exact solution; h is the spacing.

(1 - tau div D grad) v = f is solved with f made from v, so that space is the only error. The last rate is tested.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import eye_array
from scipy.sparse.linalg import cg, splu
from tissue_cases import around

from einthoven.geometry.generators import rectangle, sphere
from einthoven.tissue import Grid, Tissue

SIZE, TAU = 10.0, 10.0
BLOCK = 1024


def manufactured(d: int, ratio: float) -> tuple[Callable, Callable, Callable]:
    """Tensor, potential and right-hand side on a cube of SIZE mm with no flux through its sides.

    Fibers turn about one axis by an angle that vanishes on the sides, where the potential's normal derivative is zero.
    """
    k = np.pi / SIZE
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])[:d, :d] / (1.0 if d == 2 else np.sqrt(3.0))

    def tensor(p):
        angle = 1.2 * jnp.prod(jnp.sin(k * p))
        turn = jnp.eye(d) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * cross @ cross
        values = jnp.array([0.1 * (1 + 0.3 * jnp.cos(k * p[0]))] + [0.1 / ratio] * (d - 1))
        return turn @ jnp.diag(values) @ turn.T

    def potential(p):
        return jnp.prod(jnp.cos(k * p * jnp.arange(1, d + 1))) + jnp.cos(k * p[0])

    def right(p):
        flux = jax.jacfwd(lambda q: tensor(q) @ jax.grad(potential)(q))(p)
        return potential(p) - TAU * jnp.trace(flux)

    return tensor, potential, right


def at(function: Callable, points: np.ndarray) -> np.ndarray:
    """Values at points, in blocks of one size so that the function is compiled once."""
    with jax.enable_x64(True):
        blocks = np.resize(points, (-(-len(points) // BLOCK), BLOCK, points.shape[1]))
        return np.concatenate([np.asarray(compiled(function)(block)) for block in blocks])[: len(points)]


@lru_cache(maxsize=3)
def compiled(function: Callable) -> Callable:
    return jax.jit(jax.vmap(function))


def solved(tissue: Tissue, right: np.ndarray, tau: float) -> np.ndarray:
    root = np.sqrt(tissue.volumes)
    matrix = eye_array(tissue.n_nodes) - tau * tissue.coupling.matrix().multiply(root[:, None]).multiply(1 / root)
    found, status = cg(matrix.tocsr(), root * right, rtol=1e-12, maxiter=5000)
    assert status == 0
    return found / root


def rates(errors: list[float]) -> np.ndarray:
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@pytest.mark.parametrize(("d", "sizes"), [(1, (16, 32, 64)), (2, (16, 32, 64)), (3, (8, 16, 32))])
def test_turning_fibers_on_a_grid_are_second_order(d, sizes):
    tensor, potential, right = manufactured(d, 9.0) if d > 1 else one_dimension()
    errors = []
    for n in sizes:
        h = SIZE / n
        grid = Grid((n,) * d, h, (h / 2,) * 3)
        x = grid.points[:, :d]
        tissue = Tissue(grid, at(tensor, x), np.ones(grid.n_points, bool))
        assert d == 1 or len(tissue.coupling.offsets) == {2: 4, 3: 13}[d]
        exact = at(potential, x)
        error = solved(tissue, at(right, x), TAU) - exact
        errors.append(float(np.sqrt((error**2).mean() / (exact**2).mean())))
    assert rates(errors)[-1] == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < {1: 1e-3, 2: 1e-3, 3: 2e-2}[d]


def one_dimension():
    k = np.pi / SIZE

    def tensor(p):
        return 0.1 * (1 + 0.3 * jnp.cos(k * p[0])) * jnp.eye(1)

    def potential(p):
        return jnp.cos(k * p[0])

    def right(p):
        return potential(p) - TAU * jnp.trace(jax.jacfwd(lambda q: tensor(q) @ jax.grad(potential)(q))(p))

    return tensor, potential, right


@pytest.mark.parametrize("angle", [30.0, 45.0])
def test_oblique_fibers_at_a_border_without_flux_are_second_order(angle):
    """No exact solution is known: differences of successive grids, the largest anywhere, borders included."""
    fiber = (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    found = []
    for n in (20, 40, 80):
        h = SIZE / n
        tissue = Tissue.anisotropic(Grid((n, n), h, (h / 2, h / 2, 0.0)), 0.2, 0.2 / 9, fiber)
        source = np.exp(-0.5 * ((tissue.points[:, 0] - 2) ** 2 + (tissue.points[:, 1] - 3) ** 2))
        found.append(solved(tissue, source, 30.0).reshape(n, n))
    steps = [np.abs(a - b.reshape(len(a), 2, len(a), 2).mean(axis=(1, 3))).max() for a, b in pairwise(found)]
    assert rates(steps) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0])
def test_an_anisotropic_gaussian_spreads_as_it_should(angle):
    """Fibers at any angle to the grid, along : across = 9 : 1; time by Crank-Nicolson with dt proportional to h."""
    fiber = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    errors = []
    for n in (40, 80):
        h = 40.0 / n
        tissue = Tissue.anisotropic(Grid((n, n), h, (h / 2 - 20, h / 2 - 20, 0.0)), 0.18, 0.02, fiber)
        inverse = np.linalg.inv(tissue.diffusivity)
        form = np.einsum("ni,ij,nj->n", tissue.coordinates, inverse, tissue.coordinates)
        v, exact = np.exp(-form / (4 * 40.0)), 0.5 * np.exp(-form / (4 * 80.0))
        steps = n // 2
        dt = 40.0 / steps
        a = tissue.coupling.matrix()
        left = splu((eye_array(n * n) - 0.5 * dt * a).tocsc())
        for _ in range(steps):
            v = left.solve(v + 0.5 * dt * (a @ v))
        errors.append(float(np.linalg.norm(v - exact) / np.linalg.norm(exact)))
    assert rates(errors)[-1] == pytest.approx(2.0, abs=0.25)
    assert errors[-1] < 0.005


def test_numbers_that_vary_are_second_order_on_surfaces():
    tensor, potential, right = manufactured(2, 9.0)
    errors = []
    for n in (16, 32, 64):
        patch = rectangle((SIZE, SIZE), segments=n)
        x = patch.points[:, :2] + SIZE / 2
        tensors = np.zeros((patch.n_points, 3, 3))
        tensors[:, :2, :2], tensors[:, 2, 2] = at(tensor, x), 0.1
        tissue = Tissue(patch, tensors, np.ones(patch.n_points, bool))
        errors.append(float(np.sqrt(((solved(tissue, at(right, x), TAU) - at(potential, x)) ** 2).mean())))
    assert rates(errors)[-1] == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("degree", [1, 2])
def test_spherical_harmonics_are_second_order(degree):
    """-Laplacian of a harmonic of degree l is l (l + 1) / R^2 times it."""
    errors = []
    for subdivisions in (2, 3, 4):
        surface = sphere(10.0, subdivisions=subdivisions)
        z, x = surface.points[:, 2] / 10, surface.points[:, 0] / 10
        harmonic = {1: z, 2: x * z}[degree]
        tissue = Tissue.isotropic(surface, 0.2)
        found = solved(tissue, (1 + 50.0 * 0.2 * degree * (degree + 1) / 100) * harmonic, 50.0)
        errors.append(float(np.sqrt(((found - harmonic) ** 2).mean() / (harmonic**2).mean())))
    assert rates(errors)[-1] == pytest.approx(2.0, abs=0.2)
    assert errors[-1] < 2e-3


def test_on_a_sphere_with_fibers_around_it_a_zonal_potential_sees_conduction_across_alone():
    errors = []
    for subdivisions in (3, 4):
        surface = sphere(10.0, subdivisions=subdivisions)
        tissue = Tissue.anisotropic(surface, 0.3, 0.1, around(surface.points))
        zonal = surface.points[:, 2] / 10
        found = solved(tissue, (1 + 50.0 * 0.1 * 2 / 100) * zonal, 50.0)
        errors.append(float(np.sqrt(((found - zonal) ** 2).mean() / (zonal**2).mean())))
    assert errors[-1] < 2e-3
    assert errors[-1] < 0.4 * errors[0]
