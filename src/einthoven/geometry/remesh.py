"""Finer and coarser versions of a surface, with the matrix that carries nodal fields along."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from einthoven.core import GeometryError, InputError, Surface
from einthoven.core.errors import some
from einthoven.geometry import operators
from einthoven.geometry.intersect import self_intersections
from einthoven.geometry.locate import closest_points

#: Spread of the normals around a node (second over first eigenvalue) from which it counts as a crease.
CREASE = 0.1
#: How far evening out may take a triangle's center off the old surface, as a fraction of the edge length.
DEVIATION = 0.05


class Remeshed(NamedTuple):
    """A remeshed surface and the matrix that carries fields to it.

    ``surface`` is the new surface; ``interpolation @ field`` takes values at the old nodes to the new ones, shape
    (n_new, n_old), rows sum to 1.
    """

    surface: Surface
    interpolation: csr_array


def interpolation(surface: Surface, points: Float[np.ndarray, "n 3"]) -> csr_array:
    """Matrix that evaluates nodal fields at the points of the surface closest to the given ones.

    Parameters
    ----------
    surface
        Any surface.
    points
        Shape (n, 3), mm; on or near the surface.

    Returns
    -------
    csr_array
        Shape (n, n_points): barycentric weights, rows sum to 1.
    """
    found = closest_points(surface, points)
    rows = np.repeat(np.arange(len(points)), 3)
    columns = surface.triangles[found.triangle].ravel()
    matrix = csr_array((found.barycentric.ravel(), (rows, columns)), shape=(len(points), surface.n_points))
    matrix.eliminate_zeros()
    return matrix


def refined(surface: Surface, *, times: int = 1, curved: bool = False) -> Remeshed:
    """Cut every triangle into four at the midpoints of its edges.

    Parameters
    ----------
    surface
        Any surface.
    times
        How often; each time multiplies the triangles by 4.
    curved
        False: new nodes lie on the flat triangles; area, volume and shape stay exactly the same. True: they lie on
        a cubic curve through the edge's ends, perpendicular to their node normals (Vlachos et al. 2001,
        doi:10.1145/364338.364387), so that a smooth surface is approached; nodes on an open border stay on its
        edges, and sharp corners are rounded.

    Returns
    -------
    Remeshed
        Old nodes keep their index and position; fields are interpolated linearly.
    """
    if times < 0:
        raise InputError(f"times must be 0 or more; got {times}.")
    carry = _identity(surface.n_points)
    for _ in range(times):
        table = surface.edges
        i, j = table.vertices.T
        middle = (surface.points[i] + surface.points[j]) / 2
        if curved:
            middle = middle + np.where(table.count[:, None] == 1, 0.0, _bulge(surface, i, j))
        (a, b, c), (ab, bc, ca) = surface.triangles.T, (surface.n_points + table.of_triangle).T
        four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.stack([np.stack(t, axis=1) for t in four], axis=1).reshape(-1, 3)
        carry = _midpoints(table.vertices, surface.n_points) @ carry
        surface = replace(surface, points=np.concatenate([surface.points, middle]), triangles=triangles)
    return Remeshed(surface, csr_array(carry))


def decimated(
    surface: Surface,
    n_points: int,
    *,
    keep: Sequence[int] | Sequence[np.integer] | Int[np.ndarray, " n_keep"] = (),
    smoothing: int = 10,
) -> Remeshed:
    """Coarser version with `n_points` nodes: edges are collapsed, then triangles evened out on the old surface.

    Edges go in the order of their quadric error (Garland & Heckbert 1997, doi:10.1145/258734.258849) plus a small
    part of their length, so that triangles stay even. A collapse that would change the topology, turn a triangle
    over or leave a sliver is refused. Afterwards edges are flipped to Delaunay and nodes moved along the surface to
    the middle of their triangles, `smoothing` times, and put back onto the old surface; corners stay, and nodes on
    a crease move along it.

    Parameters
    ----------
    surface
        Closed or open, manifold, wound alike.
    n_points
        Number of nodes wanted.
    keep
        Nodes that stay where they are; they come first in the result, in the order given.
    smoothing
        Rounds of evening out; 0 leaves the nodes where the quadrics put them.

    Returns
    -------
    Remeshed
        The coarse surface; ``interpolation`` evaluates old fields at its nodes.

    Raises
    ------
    GeometryError
        If the surface is not manifold, the number cannot be reached, or the result cuts itself.
    """
    from einthoven.geometry import collapse

    kept = _checked(surface, n_points, keep)
    fixed = np.zeros(surface.n_points, dtype=bool)
    fixed[kept] = True
    border = _on_border(surface)
    points, triangles = np.array(surface.points), np.array(surface.triangles)
    planes = collapse.quadrics(points, triangles, _border_edges(surface))
    points, triangles, alive = collapse.collapse(points, triangles, fixed, border, planes, n_points)
    if alive.sum() > n_points:
        raise GeometryError(
            f"{surface.name}: could be decimated to {int(alive.sum())} nodes, not to {n_points}, without changing its "
            "shape or topology. Ask for more nodes, or keep fewer."
        )
    order = np.concatenate([kept, np.setdiff1d(np.flatnonzero(alive), kept)])
    renumber = np.full(surface.n_points, -1, dtype=np.int64)
    renumber[order] = np.arange(len(order))
    coarse = Surface(points[order], renumber[triangles], surface.name)
    coarse = _evened(coarse, surface, len(kept), rounds=smoothing)
    _check_result(coarse, surface)
    return Remeshed(coarse, interpolation(surface, coarse.points))


def _evened(coarse: Surface, fine: Surface, n_kept: int, *, rounds: int) -> Surface:
    """Flip edges to Delaunay and move free nodes along the old surface toward even triangles."""
    from einthoven.geometry import collapse

    mobile = np.arange(coarse.n_points) >= n_kept
    border = _on_border(coarse)
    for _ in range(rounds):
        triangles = np.array(coarse.triangles)
        collapse.flip(np.array(coarse.points), triangles)
        coarse = replace(coarse, triangles=triangles)
        points = np.array(coarse.points)
        points[~border] += 0.7 * _evening_moves(coarse)[~border]
        points[~mobile] = coarse.points[~mobile]
        points[mobile] = closest_points(fine, points[mobile]).points
        coarse = coarse.with_points(_without_damage(coarse, points, fine))
    return coarse


def _evening_moves(surface: Surface) -> Float[np.ndarray, "n_points 3"]:
    """From every node toward the middle of its triangles, along the surface: creases move along themselves only."""
    n, at = surface.n_points, surface.triangles.ravel()
    area = operators.areas(surface)
    weight = np.repeat(area, 3)
    total = np.bincount(at, weight, minlength=n)
    center = np.repeat(surface.corners.mean(axis=1), 3, axis=0)
    middle = np.stack([np.bincount(at, weight * center[:, k], minlength=n) for k in range(3)], axis=1)
    move = middle / total[:, None] - surface.points
    normal = operators.normals(surface)
    tensor = np.zeros((n, 3, 3))
    np.add.at(tensor, at, np.repeat(area[:, None, None] * normal[:, :, None] * normal[:, None, :], 3, axis=0))
    spread, axes = np.linalg.eigh(tensor)
    mobility = np.clip(1 - spread / (CREASE * spread[:, 2:]), 0, 1)
    return np.einsum("nik,nk,njk,nj->ni", axes, mobility, axes, move)


def _without_damage(
    surface: Surface, moved: Float[np.ndarray, "n_points 3"], fine: Surface
) -> Float[np.ndarray, "n_points 3"]:
    """The moved nodes, where no triangle turns by 60 degrees, grows thin or leaves the old surface; others stay."""
    before = operators.normals(surface)
    edge = np.sqrt(operators.areas(surface).mean())
    allowed = np.maximum(closest_points(fine, surface.corners.mean(axis=1)).distance, DEVIATION * edge)
    points = moved.copy()
    while True:
        corners = points[surface.triangles]
        a, b, c = corners.transpose(1, 0, 2)
        cross = np.cross(b - a, c - a)
        size = np.linalg.norm(cross, axis=1)
        longest2 = np.max([((u - v) ** 2).sum(axis=1) for u, v in ((a, b), (b, c), (c, a))], axis=0)
        bad = (np.einsum("ij,ij->i", cross, before) < 0.5 * size) | (size < 0.1 * longest2)
        bad |= closest_points(fine, corners.mean(axis=1)).distance > 1.0001 * allowed
        nodes = np.unique(surface.triangles[bad])
        nodes = nodes[(points[nodes] != surface.points[nodes]).any(axis=1)]
        if not nodes.size:
            return points
        points[nodes] = surface.points[nodes]


def _checked(
    surface: Surface, n_points: int, keep: Sequence[int] | Sequence[np.integer] | np.ndarray
) -> Int[np.ndarray, " n_keep"]:
    """The nodes to keep, once everything asked for makes sense."""
    kept = np.array(keep, dtype=np.int64).reshape(-1)
    bad = kept[(kept < 0) | (kept >= surface.n_points)]
    if bad.size or len(np.unique(kept)) < len(kept):
        raise InputError(
            f"{surface.name}: keep must name different nodes 0..{surface.n_points - 1}; got {some(bad)}"
            f"{'a node twice' if not bad.size else ''}."
        )
    least = max(4, len(kept))
    if not least <= n_points <= surface.n_points:
        raise InputError(
            f"{surface.name}: can be decimated to {least}..{surface.n_points} nodes; got {n_points}. "
            "To get more nodes, use `refined` first."
        )
    surface.flips()  # refuses edges of more than two triangles, and one-sided surfaces
    if not surface.is_consistent:
        raise GeometryError(f"{surface.name}: triangles must be wound alike to decimate. Use `surface.repaired()`.")
    operators.check_no_isolated(surface)
    operators.check_not_flat(surface)
    return kept


def _check_result(coarse: Surface, fine: Surface) -> None:
    pairs = self_intersections(coarse)
    if len(pairs) and not len(self_intersections(fine)):
        raise GeometryError(
            f"{fine.name}: decimated to {coarse.n_points} nodes it would cut itself (near "
            f"({', '.join(f'{x:.1f}' for x in coarse.corners[pairs[0, 0]].mean(axis=0))}) mm). Ask for more nodes."
        )


def _on_border(surface: Surface) -> Bool[np.ndarray, " n_points"]:
    border = np.zeros(surface.n_points, dtype=bool)
    border[surface.edges.vertices[surface.edges.count == 1]] = True
    return border


def _border_edges(surface: Surface) -> Int[np.ndarray, "n_border 3"]:
    """Border edges as rows (triangle, tail, tip)."""
    face, k = np.nonzero(surface.edges.count[surface.edges.of_triangle] == 1)
    return np.stack([face, surface.triangles[face, k], surface.triangles[face, (k + 1) % 3]], axis=1)


def _bulge(surface: Surface, i: Int[np.ndarray, " n"], j: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """From the middle of every edge to the middle of the cubic perpendicular to the normals at its ends."""
    normal, along = operators.node_normals(surface), surface.points[j] - surface.points[i]
    at_i = np.einsum("ij,ij->i", along, normal[i])[:, None] * normal[i]
    at_j = np.einsum("ij,ij->i", along, normal[j])[:, None] * normal[j]
    return (at_j - at_i) / 8


def _identity(n: int) -> csr_array:
    every = np.arange(n)
    return csr_array((np.ones(n), (every, every)), shape=(n, n))


def _midpoints(vertices: Int[np.ndarray, "n_edges 2"], n: int) -> csr_array:
    """Matrix from nodal values to values at nodes and edge midpoints."""
    m = len(vertices)
    rows = np.concatenate([np.arange(n), np.repeat(n + np.arange(m), 2)])
    columns = np.concatenate([np.arange(n), vertices.ravel()])
    return csr_array((np.concatenate([np.ones(n), np.full(2 * m, 0.5)]), (rows, columns)), shape=(n + m, n))
