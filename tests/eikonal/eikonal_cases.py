"""Media, meshes and small helpers for the tests of the eikonal solver."""

from itertools import permutations

import numpy as np

from einthoven.core import Surface, Tetrahedra
from einthoven.geometry.generators import rectangle
from einthoven.verify.convergence import observed_orders


def along(fiber, ratio: float = 3.0, across: float = 0.2) -> np.ndarray:
    """Squared-speed tensor of a fiber direction: `ratio` times as fast along it as across (mm/ms)."""
    f = np.asarray(fiber, dtype=float) / np.linalg.norm(fiber)
    return across**2 * (np.eye(len(f)) + (ratio**2 - 1) * np.outer(f, f))


#: Fibers oblique to the grid, 3:1 in speed.
OBLIQUE_2D, OBLIQUE_3D = along([0.9, 0.42]), along([1.0, 0.6, 0.35])


def fields(n: int, d: int, seed: int, ratio: float = 9.0) -> np.ndarray:
    """Tensors in random directions, eigenvalues 0.04 to 0.04 `ratio`."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((n, d, d)))[0]
    return np.einsum("nij,nj,nkj->nik", turn, 0.04 * ratio ** rng.random((n, d)), turn)


def block(n: int, size: float = 10.0, jitter: float = 0.0) -> Tetrahedra:
    """A cube of n^3 nodes cut into six tetrahedra a cell; nodes inside are moved by `jitter` cells."""
    line = np.linspace(0.0, size, n)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    shift = np.random.default_rng(1).uniform(-jitter, jitter, points.shape) * line[1]
    shift[[0, -1]] = shift[:, [0, -1]] = shift[:, :, [0, -1]] = 0.0
    index = np.arange(n**3).reshape(n, n, n)
    cells = []
    for axes in permutations(range(3)):
        offset, corners = [0, 0, 0], [index[:-1, :-1, :-1]]
        for axis in axes:
            offset[axis] = 1
            corners.append(index[tuple(slice(o, n - 1 + o) for o in offset)])
        cells.append(np.stack([c.reshape(-1) for c in corners], axis=1))
    return Tetrahedra((points + shift).reshape(-1, 3), np.concatenate(cells))


def rough_patch(seed: int, segments: int = 9) -> Surface:
    """A flat patch of 9 mm whose nodes are shaken, so that many angles are obtuse."""
    patch = rectangle((9.0, 9.0), segments=segments)
    shake = np.random.default_rng(seed).uniform(-0.3, 0.3, patch.points.shape) * [9 / segments, 9 / segments, 0.0]
    return patch.with_points(patch.points + shake)


def curved_patch(segments: int = 12) -> Surface:
    """A wavy patch in space of 9 mm."""
    patch = rectangle((9.0, 9.0), segments=segments)
    x, y, z = patch.points.T
    return patch.with_points(np.stack([x, y, z + 0.8 * np.sin(0.7 * x) * np.cos(0.5 * y)], axis=1))


def orders(spacings, errors) -> str:
    """Errors and the orders between them, for messages."""
    return f"errors {np.round(errors, 5).tolist()}, orders {observed_orders(spacings, errors).round(3).tolist()}"
