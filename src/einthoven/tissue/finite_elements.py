"""div(D grad v) on triangulated surfaces by linear finite elements with a lumped mass.

w_ij = -K_ij / m_i, K the stiffness with the tensor's part in each triangle's plane, m a node's third of the area of its
triangles. Opposite an angle above 90 degrees a weight is negative: allowed, since the energy v^T K v stays a sum of
squares; the maximum principle is then lost, and meshes with many such angles deserve a look.
"""

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import Surface
from einthoven.tissue.coupling import Graph


def coupling(
    surface: Surface, conducting: Bool[np.ndarray, " n_points"], diffusivity: Float[np.ndarray, "..."]
) -> Graph:
    """Discrete div(D grad v) over the conducting nodes of a surface.

    A triangle with one corner that does not conduct keeps two thirds of its area and no flux at that corner, whose
    potential is eliminated; on equilateral triangles the edge that is left keeps its weight, so that a strand one node
    wide conducts.

    Parameters
    ----------
    surface
        The surface, closed or open.
    conducting
        Which nodes conduct.
    diffusivity
        mm2/ms at the conducting nodes: shape (), (n_nodes,), (3, 3) or (n_nodes, 3, 3).
    """
    from scipy.sparse import coo_array, csr_array, diags_array

    from einthoven.geometry.operators import node_areas

    index = np.where(conducting, np.cumsum(conducting) - 1, -1)
    corners = index[surface.triangles]
    kept = (corners >= 0).sum(axis=1) >= 2
    corners = corners[kept]
    local = _stiffness(surface, kept, _on_triangles(diffusivity, corners))
    local = _without_missing(local, corners < 0)
    n = int(conducting.sum())
    i, j = (np.broadcast_to(c, local.shape)[local != 0] for c in (corners[:, :, None], corners[:, None, :]))
    stiffness = coo_array((local[local != 0], (i, j)), shape=(n, n)).tocsr()
    return Graph.of(csr_array(-(diags_array(1 / node_areas(surface)[conducting]) @ stiffness)))


def _on_triangles(diffusivity: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Mean over the conducting corners of every triangle, as a number or a tensor."""
    if diffusivity.ndim in (0, 2):
        return np.broadcast_to(diffusivity, (len(corners), *diffusivity.shape))
    present = corners >= 0
    weights = present / present.sum(axis=1, keepdims=True)
    return np.einsum("tk,tk...->t...", weights, diffusivity[corners])


def _stiffness(surface: Surface, kept: np.ndarray, diffusivity: np.ndarray) -> Float[np.ndarray, "t 3 3"]:
    """Integral of grad phi_i . D grad phi_j over each triangle."""
    from einthoven.geometry.operators import areas, normals

    points, area = surface.corners[kept], areas(surface)[kept]
    opposite = np.roll(points, -2, axis=1) - np.roll(points, -1, axis=1)
    slopes = np.cross(normals(surface)[kept][:, None, :], opposite) / (2 * area)[:, None, None]
    flux = slopes * diffusivity[:, None, None] if diffusivity.ndim == 1 else slopes @ diffusivity
    return area[:, None, None] * (flux @ slopes.transpose(0, 2, 1))


def _without_missing(local: Float[np.ndarray, "t 3 3"], missing: Bool[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3 3"]:
    """Eliminate the corner that does not conduct, of those triangles that have one."""
    some = np.flatnonzero(missing.any(axis=1))
    corner = missing[some].argmax(axis=1)
    row = local[some, corner]
    pivot = row[np.arange(len(some)), corner]
    local[some] = (local[some] - row[:, :, None] * row[:, None, :] / pivot[:, None, None]) * (2 / 3)
    local[some, corner] = 0.0
    local[some, :, corner] = 0.0
    return local
