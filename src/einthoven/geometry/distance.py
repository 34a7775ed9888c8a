"""Distances along a surface."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import GeometryError, InputError, Surface
from einthoven.core.errors import some
from einthoven.geometry import operators


def geodesic(
    surface: Surface,
    sources: Sequence[int] | Sequence[np.integer] | Int[np.ndarray, " n_sources"],
    *,
    offsets: Float[np.ndarray, " n_sources"] | None = None,
) -> Float[np.ndarray, " n_points"]:
    """Shortest distance along the surface from the nearest of the source nodes, mm.

    Exact on the polyhedron, up to rounding: intervals of straight rays are unfolded from face to face, nearest
    first, and dropped where a node offers a shorter path (Chen & Han 1990, doi:10.1145/98524.98601; Xin & Wang
    2009, doi:10.1145/1559755.1559761). What remains is the error of the mesh itself.

    Parameters
    ----------
    surface
        Any surface.
    sources
        Node indices.
    offsets
        Distance to start from at every source, mm (default 0); a source never exceeds its offset.

    Returns
    -------
    np.ndarray
        Shape (n_points,), mm; infinite on parts that hold no source.

    Raises
    ------
    InputError
        If there is no source or a source is not a node.
    GeometryError
        If the surface is not manifold, not wound alike, or has a flat triangle.
    """
    from einthoven.geometry import kernels

    nodes = _checked_sources(surface, sources)
    start = np.zeros(len(nodes)) if offsets is None else np.array(offsets, dtype=np.float64)
    return kernels.geodesic(*_prepared(surface), nodes, start)


def geodesic_matrix(
    surface: Surface, sources: Sequence[int] | Sequence[np.integer] | Int[np.ndarray, " n_sources"]
) -> Float[np.ndarray, "n_sources n_points"]:
    """Distances along the surface from each source node on its own, mm; rows as in `geodesic`."""
    from einthoven.geometry import kernels

    nodes = _checked_sources(surface, sources)
    mesh, zero = _prepared(surface), np.zeros(1)
    return np.stack([kernels.geodesic(*mesh, nodes[k : k + 1], zero) for k in range(len(nodes))])


def along_edges(
    surface: Surface, sources: Sequence[int] | Sequence[np.integer] | Int[np.ndarray, " n_sources"]
) -> Float[np.ndarray, " n_points"]:
    """Length of the shortest path along edges to the nearest source node, mm: an upper bound of `geodesic`."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    nodes = _checked_sources(surface, sources)
    i, j = surface.edges.vertices.T
    length = np.linalg.norm(surface.points[i] - surface.points[j], axis=1)
    graph = csr_array((length, (i, j)), shape=(surface.n_points, surface.n_points))
    return np.asarray(dijkstra(graph, directed=False, indices=nodes, min_only=True), dtype=np.float64)


def _checked_sources(
    surface: Surface, sources: Sequence[int] | Sequence[np.integer] | np.ndarray
) -> Int[np.ndarray, " n_sources"]:
    nodes = np.atleast_1d(np.array(sources, dtype=np.int64))
    if not nodes.size:
        raise InputError(f"{surface.name}: a distance needs at least one source node; got none.")
    bad = nodes[(nodes < 0) | (nodes >= surface.n_points)]
    if bad.size:
        raise InputError(f"{surface.name}: sources must be nodes 0..{surface.n_points - 1}; got {some(bad)}.")
    return nodes


def _prepared(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, triangles, opposite half-edges, and the nodes a shortest path may turn at."""
    from einthoven.geometry import kernels

    if not surface.is_consistent or (surface.edges.count > 2).any():
        raise GeometryError(
            f"{surface.name}: distances along it need a manifold surface with triangles wound alike. "
            "Use `surface.repaired()`."
        )
    operators.check_not_flat(surface)
    triangles = np.array(surface.triangles)
    turn = np.bincount(triangles.ravel(), operators.angles(surface).ravel(), minlength=surface.n_points)
    relay = turn > 2 * np.pi + 1e-9
    relay[surface.edges.vertices[surface.edges.count == 1]] = True
    return np.array(surface.points), triangles, kernels.twins(triangles, surface.n_points), relay


def farthest_points(points: Float[np.ndarray, "n d"], count: int, first: int = 0) -> Int[np.ndarray, " count"]:
    """Return numbers of points spread evenly: the first one, then always the one farthest from all before."""
    chosen, distance = [first], np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen[:count], dtype=np.int64)
