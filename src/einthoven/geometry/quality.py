"""How good the triangles of a surface are, and a paragraph that says so."""

import numpy as np
from jaxtyping import Float

from einthoven.core import Surface, topology
from einthoven.geometry import operators


def edge_lengths(surface: Surface) -> Float[np.ndarray, " n_edges"]:
    """Length of every edge, mm, in the order of `Surface.edges`."""
    i, j = surface.edges.vertices.T
    return np.linalg.norm(surface.points[i] - surface.points[j], axis=1)


def triangle_quality(surface: Surface) -> Float[np.ndarray, " n_triangles"]:
    """4 sqrt(3) area / (sum of squared edges): 1 for an equilateral triangle, 0 for a flat one."""
    edge = surface.corners - np.roll(surface.corners, -1, axis=1)
    return 4 * np.sqrt(3) * operators.areas(surface) / np.einsum("tij,tij->t", edge, edge)


def euler_characteristic(surface: Surface) -> int:
    """Nodes in use - edges + triangles: 2 for every closed part without handles, 0 for a torus."""
    return int(len(np.unique(surface.triangles)) - len(surface.edges.vertices) + surface.n_triangles)


def summary(surface: Surface) -> str:
    """One paragraph: size, topology, volume, edge lengths, triangle quality."""
    edge, good = edge_lengths(surface), triangle_quality(surface)
    parts = int(topology.triangle_components(surface.triangles).max()) + 1
    if not surface.is_closed:
        loose = int((surface.edges.count == 1).sum())
        many = int((surface.edges.count > 2).sum())
        shape = f"open ({loose} border edges)" if loose else f"not manifold ({many} edges of more than two triangles)"
    else:
        handles = parts - euler_characteristic(surface) // 2
        shape = f"closed, {handles} handle{'s' if handles != 1 else ''}" if handles else "closed"
        shape += f", volume {surface.volume / 1000:.4g} ml"
    if parts > 1:
        shape += f", {parts} parts"
    if not surface.is_consistent:
        shape += ", not wound alike"
    size = " x ".join(f"{v:.0f}" for v in surface.extent)
    return (
        f"{surface.name}: {surface.n_points} nodes, {surface.n_triangles} triangles, {size} mm, {shape}, area "
        f"{operators.areas(surface).sum() / 100:.4g} cm2; edges {edge.min():.2g} to {edge.max():.2g} mm (mean "
        f"{edge.mean():.2g}); triangle quality at least {good.min():.2f} (mean {good.mean():.2f}, 1 is equilateral)."
    )
