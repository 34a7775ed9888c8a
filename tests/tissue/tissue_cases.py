"""Tissues of every kind, for the tests that all couplings must pass."""

import numpy as np

from einthoven.geometry.generators import rectangle, sphere, torus
from einthoven.tissue import Grid, Tissue


def random_tensors(n: int, d: int, seed: int, *, ratio: float = 20.0) -> np.ndarray:
    """Symmetric positive definite tensors in random directions, eigenvalues 0.02 to 0.02 `ratio`."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((n, d, d)))[0]
    size = 0.02 * ratio ** rng.random((n, d))
    return np.einsum("nij,nj,nkj->nik", turn, size, turn)


def random_mask(n: int, seed: int, share: float = 0.7) -> np.ndarray:
    mask = np.random.default_rng(seed + 100).random(n) < share
    mask[n // 2] = True
    return mask


def tensor_grid(shape: tuple[int, ...], seed: int) -> Tissue:
    grid = Grid(shape, 0.5)
    return Tissue(grid, random_tensors(grid.n_points, len(shape), seed), random_mask(grid.n_points, seed))


def number_grid(shape: tuple[int, ...], seed: int) -> Tissue:
    grid = Grid(shape, 0.5)
    rng = np.random.default_rng(seed)
    return Tissue.isotropic(grid, 0.02 + 0.3 * rng.random(shape), random_mask(grid.n_points, seed).reshape(shape))


def around(points: np.ndarray) -> np.ndarray:
    """Unit vectors around the z axis; along x on the axis."""
    turn = np.cross([0.0, 0.0, 1.0], points)
    turn[np.linalg.norm(turn, axis=1) < 1e-9] = [1.0, 0.0, 0.0]
    return turn / np.linalg.norm(turn, axis=1, keepdims=True)


def fiber_sphere(seed: int) -> Tissue:
    surface = sphere(10.0, subdivisions=2)
    return Tissue.anisotropic(surface, 0.2, 0.03, around(surface.points), random_mask(surface.n_points, seed))


def tensor_torus(seed: int) -> Tissue:
    surface = torus(10.0, 3.0, around=16)
    mask = random_mask(surface.n_points, seed, 0.8)
    return Tissue(surface, random_tensors(surface.n_points, 3, seed), mask)


def obtuse_patch(seed: int) -> Tissue:
    """A flat patch of triangles with angles far above 90 degrees."""
    patch = rectangle((9.0, 9.0), segments=9)
    sheared = patch.points + np.array([2.2, 0.0, 0.0]) * patch.points[:, 1:2]
    return Tissue(
        patch.with_points(sheared), random_tensors(patch.n_points, 3, seed), random_mask(patch.n_points, seed)
    )


TISSUES = {
    "strand of numbers": lambda seed: number_grid((12,), seed),
    "strand of tensors": lambda seed: tensor_grid((12,), seed),
    "sheet of numbers": lambda seed: number_grid((6, 7), seed),
    "sheet of tensors": lambda seed: tensor_grid((6, 7), seed),
    "slab of numbers": lambda seed: number_grid((4, 5, 6), seed),
    "slab of tensors": lambda seed: tensor_grid((4, 5, 6), seed),
    "slab one cell thick": lambda seed: tensor_grid((6, 1, 6), seed),
    "sheet of one tensor": lambda seed: Tissue.anisotropic(
        Grid((7, 6), 0.25), 0.2, 0.01, (0.6, 0.8), random_mask(42, seed)
    ),
    "slab of one tensor": lambda seed: Tissue.anisotropic(
        Grid((4, 5, 4), 0.25), 0.2, 0.01, (2 / 3, 1 / 3, 2 / 3), random_mask(80, seed)
    ),
    "single cell": lambda seed: Tissue.isotropic(Grid((1, 1), 0.5), 0.1),
    "sphere": lambda seed: Tissue.isotropic(sphere(10.0, subdivisions=2), 0.1, random_mask(162, seed)),
    "fibers on a sphere": fiber_sphere,
    "tensors on a torus": tensor_torus,
    "obtuse triangles": obtuse_patch,
}
