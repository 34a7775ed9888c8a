"""Triangulations of implicit bodies: marching tetrahedra, then remeshing to even triangles on the surface."""

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import Surface
from einthoven.core.topology import edges
from einthoven.datasets.phantom.halfedges import collapse_short, flip_edges, split_long
from einthoven.datasets.phantom.implicit import Field, gradient, project

#: Six tetrahedra of a cube around its diagonal 0-7, all right-handed (corner: bit 0 = x, bit 1 = y, bit 2 = z).
_CUBE = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])

#: For one, two and three nodes inside (listed first): the cut edges at a triangle's corners.
_PIECES = (
    (1, ([0, 1], [0, 2], [0, 3])),
    (2, ([0, 2], [0, 3], [1, 3])),
    (2, ([0, 2], [1, 3], [1, 2])),
    (3, ([0, 3], [1, 3], [2, 3])),
)


def mesh_body(
    field: Field,
    box: Float[np.ndarray, "2 3"],
    *,
    edge_length: float,
    finest: float,
    cell: float,
    name: str,
) -> Surface:
    """Triangulate the zero surface of a body with even, well-shaped triangles.

    Parameters
    ----------
    field
        The body; its surface must be closed and lie inside `box`.
    box
        Lower and upper corner, mm.
    edge_length
        Wanted length of edges where the surface is smooth, mm.
    finest
        Shortest wanted length, used where the surface bends within one edge, mm.
    cell
        Grid spacing of the first triangulation, mm: at most about half of the thinnest wall.
    name
        Name of the surface.

    Returns
    -------
    Surface
        Closed, outward; every node on the zero surface.
    """
    points, triangles = marching_tetrahedra(field, box, cell=cell)
    # thin out before the body's function, the costly part, is asked again
    normals = _unit(_mesh_normals(points, triangles))
    points, triangles = collapse_short(points, triangles, np.full(len(points), 0.9 * finest), normals)
    points = project(field, points, steps=2, longest=0.5 * cell)
    points, triangles = remesh(field, points, triangles, edge_length=edge_length, finest=finest)
    return Surface(points, triangles, name)


def marching_tetrahedra(
    field: Field, box: Float[np.ndarray, "2 3"], *, cell: float
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "m 3"]]:
    """Triangulate the zero surface of a body on a regular grid of tetrahedra; the result is closed and manifold.

    Each cube is cut into six tetrahedra that share its diagonal, so that neighbors agree without ambiguous cases.
    """
    axes = [np.arange(lo, hi + cell, cell) for lo, hi in box.T]
    shape = tuple(len(a) for a in axes)
    values = _grid_values(field, axes)
    values[values == 0] = 1e-9
    stride = np.array([shape[1] * shape[2], shape[2], 1])
    offsets = np.array([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)]) @ stride
    inside = (values < 0).reshape(shape)
    count = np.zeros(tuple(n - 1 for n in shape), dtype=np.int8)
    for i, j, k in np.ndindex(2, 2, 2):
        count += inside[i : shape[0] - 1 + i, j : shape[1] - 1 + j, k : shape[2] - 1 + k]
    cubes = np.argwhere((count > 0) & (count < 8)) @ stride
    tetrahedra = (cubes[:, None, None] + offsets[_CUBE]).reshape(-1, 4)
    keys = _cut_edges(tetrahedra, values)
    codes, index = np.unique(keys[..., 0] * len(values) + keys[..., 1], return_inverse=True)
    unique = np.stack([codes // len(values), codes % len(values)], axis=1)
    corners = np.stack([axes[d][unique // stride[d] % shape[d]] for d in range(3)], axis=-1)
    a, b = values[unique[:, 0]], values[unique[:, 1]]
    t = np.clip(a / (a - b), 0.02, 0.98)
    points = corners[:, 0] + t[:, None] * (corners[:, 1] - corners[:, 0])
    return points, index.reshape(-1, 3)


def _grid_values(field: Field, axes: list[np.ndarray]) -> np.ndarray:
    """Values at all grid nodes, x slowest; far from the surface, as a coarser grid tells, those of its closest node."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    every = 3
    coarse = [np.clip(np.arange(0, len(a) + every, every), 0, len(a) - 1) for a in axes]
    rough = field(grid[np.ix_(*coarse)].reshape(-1, 3)).reshape([len(c) for c in coarse])
    nearest = [(np.arange(len(a)) + every // 2) // every for a in axes]
    values = rough[np.ix_(*nearest)].reshape(-1)
    # a node is at most sqrt(3) cells from its coarse node; the rest allows for functions steeper than a distance
    close = np.flatnonzero(np.abs(values) < 4.0 * (axes[0][1] - axes[0][0]))
    values[close] = np.concatenate([field(part) for part in np.array_split(grid.reshape(-1, 3)[close], 8)])
    return values


def _cut_edges(tetrahedra: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Triangles of the cut tetrahedra, (n, 3, 2): each corner is the sorted pair of grid nodes whose edge is cut."""
    inside = values[tetrahedra] < 0
    count = inside.sum(axis=1)
    order = np.argsort(~inside, axis=1, kind="stable")
    inversions = np.sum([order[:, i] > order[:, j] for i in range(4) for j in range(i + 1, 4)], axis=0)
    sorted_nodes = np.take_along_axis(tetrahedra, order, axis=1)
    found = []
    for n_inside, pairs in _PIECES:
        chosen = count == n_inside
        corners = np.stack([np.sort(sorted_nodes[chosen][:, p], axis=1) for p in pairs], axis=1)
        odd = inversions[chosen] % 2 == 1
        found.append(np.where(odd[:, None, None], corners[:, ::-1], corners))
    return np.concatenate(found)


def remesh(
    field: Field,
    points: Float[np.ndarray, "n 3"],
    triangles: Int[np.ndarray, "m 3"],
    *,
    edge_length: float,
    finest: float,
    rounds: int = 7,
) -> tuple[Float[np.ndarray, "k 3"], Int[np.ndarray, "l 3"]]:
    """Make the triangles even: split, collapse, flip, relax in the tangent plane, project (Botsch & Kobbelt 2004).

    The wanted length shrinks with the radius of curvature of the body, not below `finest`, and grows slowly away from
    there. The surface stays closed and keeps its genus (doi:10.1145/1057432.1057457).
    """
    for k in range(rounds):
        size = _wanted_length(field, points, triangles, edge_length=edge_length, finest=finest)
        if k < rounds - 2:
            points, triangles, size = split_long(points, triangles, size)
            points = project(field, points, steps=1, longest=finest)
        normals = _unit(gradient(field, points))
        points, triangles = collapse_short(points, triangles, size, normals)
        points = project(field, points, steps=1, longest=finest)
        normals = _unit(gradient(field, points))
        triangles = flip_edges(points, triangles, normals)
        points = _relaxed(points, triangles, normals)
        points = project(field, points, steps=1, longest=finest)
    triangles = flip_edges(points, triangles, _unit(gradient(field, points)))
    return project(field, points, steps=6, longest=finest), triangles


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _mesh_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Sum of the area vectors of the triangles at each node."""
    corners = points[triangles]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(points)
    for k in range(3):
        np.add.at(total, triangles[:, k], area)
    return total


def _wanted_length(
    field: Field, points: np.ndarray, triangles: np.ndarray, *, edge_length: float, finest: float
) -> np.ndarray:
    """Wanted length at the nodes: 0.6 of the radius of curvature, within bounds, changing by at most 0.3 per mm."""
    a, b = edges(triangles).vertices.T
    step = 0.35 * finest
    normals = _unit(gradient(field, points, step=step))
    length = np.maximum(np.linalg.norm(points[a] - points[b], axis=1), step)
    bend = np.linalg.norm(normals[a] - normals[b], axis=1) / length
    worst = np.zeros(len(points))
    np.maximum.at(worst, a, bend)
    np.maximum.at(worst, b, bend)
    size = np.clip(0.6 / np.maximum(worst, 1e-9), finest, edge_length)
    for _ in range(20):
        before = size.copy()
        np.minimum.at(size, a, before[b] + 0.3 * length)
        np.minimum.at(size, b, before[a] + 0.3 * length)
    return size


def _relaxed(points: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Move every node to the mean of its triangles' centers, in the tangent plane."""
    center = points[triangles].mean(axis=1)
    total, count = np.zeros_like(points), np.bincount(triangles.reshape(-1), minlength=len(points))
    for k in range(3):
        np.add.at(total, triangles[:, k], center)
    move = total / count[:, None] - points
    return points + move - (move * normals).sum(axis=1, keepdims=True) * normals
