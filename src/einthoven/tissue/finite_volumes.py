"""div(D grad v) on regular grids by finite volumes: symmetric, energy never negative, no flux at any border.

Without cross terms of D the rate between two neighbors along axis a is the harmonic mean of their D_aa over h^2. With
cross terms the cells around every grid vertex exchange through half faces that have potentials of their own; these are
eliminated by minimizing the energy, so that the form stays a sum of squares (multi-point flux approximation, Aavatsmark
2002, doi:10.1023/A:1021291114475, in its symmetric form on squares and cubes).
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from einthoven.tissue.coupling import Graph, Stencil
from einthoven.tissue.grid import Grid

#: A tensor's off-diagonal entry below this share of sqrt(D_aa D_bb) counts as zero.
ALIGNED = 1e-12


class HalfRates(NamedTuple):
    """Rates (1/ms) from every node to its neighbors at half of the offsets, 0 where there is none.

    ``neighbors`` are positions among the nodes, the node itself where there is none.
    """

    offsets: Int[np.ndarray, "k d"]
    rates: Float[np.ndarray, "n_nodes k"]


def coupling(grid: Grid, nodes: Int[np.ndarray, " n_nodes"], diffusivity: Float[np.ndarray, "..."]) -> Stencil | Graph:
    """Discrete div(D grad v) over the conducting cells: a `Graph` on large grids of which few cells conduct.

    Parameters
    ----------
    grid
        The grid.
    nodes
        Flat indices of the conducting cells, increasing.
    diffusivity
        mm2/ms: shape (), (n_nodes,), (d, d) or (n_nodes, d, d).
    """
    half = half_rates(grid, nodes, diffusivity)
    if grid.n_points > 100_000 and len(nodes) < 0.25 * grid.n_points:
        return as_graph(grid, nodes, half)
    return as_stencil(grid, nodes, half)


def half_rates(grid: Grid, nodes: Int[np.ndarray, " n_nodes"], diffusivity: Float[np.ndarray, "..."]) -> HalfRates:
    """Rates to the neighbors at half of the offsets; oblique offsets at which nothing couples are left out."""
    if diffusivity.ndim >= 2 and not _is_aligned(diffusivity):
        found = _oblique(grid, nodes, diffusivity)
    else:
        found = _along_axes(grid, nodes, diffusivity)
    used = found.rates.any(axis=0) | (np.abs(found.offsets).sum(axis=1) == 1)
    return found if used.all() else HalfRates(found.offsets[used], np.ascontiguousarray(found.rates[:, used]))


def as_stencil(grid: Grid, nodes: Int[np.ndarray, " n_nodes"], half: HalfRates) -> Stencil:
    """As weights on the whole grid."""
    weights = np.zeros((len(half.offsets), grid.n_points))
    weights[:, nodes] = half.rates.T
    return Stencil(nodes, half.offsets, _locked(weights.reshape(len(half.offsets), *grid.shape)))


def as_graph(grid: Grid, nodes: Int[np.ndarray, " n_nodes"], half: HalfRates) -> Graph:
    """As neighbor lists over the conducting cells."""
    n, k = half.rates.shape
    index, steps, places = _padded(grid, nodes)
    neighbors = np.empty((n, max(2 * k, 1)), dtype=np.int32)
    weights = np.zeros((n, max(2 * k, 1)))
    every = np.arange(n, dtype=np.int32)
    neighbors[:, 0] = every
    for column, offset in enumerate(half.offsets):
        step = int(offset @ steps)
        ahead, behind = index[places + step], index[places - step]
        weights[:, 2 * column] = half.rates[:, column]
        weights[:, 2 * column + 1] = np.where(behind >= 0, half.rates[behind, column], 0.0)
        neighbors[:, 2 * column] = np.where(weights[:, 2 * column] != 0, ahead, every)
        neighbors[:, 2 * column + 1] = np.where(weights[:, 2 * column + 1] != 0, behind, every)
    return Graph(_locked(neighbors), _locked(weights))


def _is_aligned(tensors: Float[np.ndarray, "*n d d"]) -> bool:
    """Whether all tensors are diagonal."""
    d = tensors.shape[-1]
    return all(
        bool((np.abs(tensors[..., a, b]) <= ALIGNED * np.sqrt(tensors[..., a, a] * tensors[..., b, b])).all())
        for a in range(d)
        for b in range(a)
    )


def _along_axes(grid: Grid, nodes: np.ndarray, diffusivity: np.ndarray) -> HalfRates:
    index, steps, places = _padded(grid, nodes)
    rates = np.empty((len(nodes), grid.dimension))
    for axis in range(grid.dimension):
        along = diffusivity[..., axis, axis] if diffusivity.ndim >= 2 else diffusivity
        along = np.broadcast_to(along, len(nodes))
        other = index[places + steps[axis]]
        face = 2.0 * along * along[other] / (along + along[other])
        rates[:, axis] = np.where(other >= 0, face, 0.0) / grid.spacing**2
    return HalfRates(np.eye(grid.dimension, dtype=np.int64), rates)


def _oblique(grid: Grid, nodes: np.ndarray, diffusivity: np.ndarray) -> HalfRates:
    from einthoven.tissue.kernels import tensor_rates

    d = grid.dimension
    index, steps, _ = _padded(grid, nodes)
    corners = np.array(list(product((0, 1), repeat=d)))
    offsets = np.array([o for o in product((-1, 0, 1), repeat=d) if o > (0,) * d])
    place = {tuple(o): k for k, o in enumerate(offsets.tolist())}
    pair = np.array([[place.get(tuple((b - a).tolist()), 0) for b in corners] for a in corners])
    faces, signs = _half_faces(corners)
    tensors = np.ascontiguousarray(diffusivity.reshape(-1, d, d), dtype=np.float64)
    rates = np.zeros((len(nodes), len(offsets)))
    tensor_rates(index, corners @ steps, faces, signs, pair, tensors, rates)
    rates *= 2.0 ** (2 - d) / grid.spacing**2
    return HalfRates(offsets, rates)


def _half_faces(corners: Int[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray]:
    """The half face of each orthant across each axis: two orthants that differ in that axis alone share it."""
    numbers: dict[tuple, int] = {}
    faces = np.empty(corners.shape, dtype=np.int64)
    for q, corner in enumerate(corners.tolist()):
        for axis in range(len(corner)):
            key = (axis, *corner[:axis], *corner[axis + 1 :])
            faces[q, axis] = numbers.setdefault(key, len(numbers))
    return faces, 1.0 - 2.0 * corners  # a lower cell's half face lies on its upper side


def _padded(grid: Grid, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Node at every place of the grid with a frame of -1 (flat), steps along the axes in it, and the nodes' places."""
    shape = tuple(n + 2 for n in grid.shape)
    steps = np.array([int(np.prod(shape[a + 1 :])) for a in range(len(shape))], dtype=np.int64)
    places = np.ravel_multi_index(tuple(i + 1 for i in np.unravel_index(nodes, grid.shape)), shape)
    index = np.full(int(np.prod(shape)), -1, dtype=np.int32)
    index[places] = np.arange(len(nodes), dtype=np.int32)
    return index, steps, places


def _locked(array: np.ndarray) -> np.ndarray:
    """Read-only without a copy: for arrays nobody else holds."""
    owner = array if array.base is None else array.base
    owner.flags.writeable = False
    array.flags.writeable = False
    return array
