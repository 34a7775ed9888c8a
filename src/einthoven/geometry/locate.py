"""Where points lie with respect to a surface: closest point, inside or outside."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import GeometryError, Surface


class Closest(NamedTuple):
    """Closest points on a surface.

    ``triangle[i]`` is the face, ``barycentric[i]`` the weights of its three nodes, ``points[i]`` the point in mm and
    ``distance[i]`` how far it is, mm.
    """

    triangle: Int[np.ndarray, " n"]
    barycentric: Float[np.ndarray, "n 3"]
    points: Float[np.ndarray, "n 3"]
    distance: Float[np.ndarray, " n"]


def closest_points(surface: Surface, points: Float[np.ndarray, "n 3"]) -> Closest:
    """Closest point of the surface to every given point.

    Exact: the box tree only skips triangles that cannot be closer. Where several triangles are equally close (at
    an edge or a node) the lowest index found is returned.

    Parameters
    ----------
    surface
        Any surface, closed or open.
    points
        Shape (n, 3), mm.

    Returns
    -------
    Closest
        Faces, barycentric weights, points and distances.
    """
    from einthoven.geometry import kernels

    corners = surface.corners
    query = np.array(points, dtype=np.float64, order="C")
    triangle, weights, distance = kernels.closest(query, np.array(corners), kernels.build_tree(np.array(corners)))
    return Closest(triangle, weights, np.einsum("nk,nkx->nx", weights, corners[triangle]), distance)


def winding_numbers(surface: Surface, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """How often the surface winds around every point: its solid angle there over 4 pi.

    1 inside and 0 outside a closed outward surface, -1 inside an inward one; in between for an open surface. From
    the solid angle of plane triangles (van Oosterom & Strackee 1983, doi:10.1109/TBME.1983.325207).

    Parameters
    ----------
    surface
        Any surface.
    points
        Shape (n, 3), mm.

    Returns
    -------
    np.ndarray
        Shape (n,), dimensionless.
    """
    from einthoven.geometry import kernels

    query = np.array(points, dtype=np.float64, order="C")
    return kernels.solid_angles(query, np.array(surface.corners)) / (4 * np.pi)


def contains(surface: Surface, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Whether every point lies inside a closed surface, whichever way its triangles are wound.

    A point is inside where the winding number is not zero. For a wall of two shells (the inner one wound into its
    cavity) the wall is inside and the cavity is not. Points on the surface itself may count either way.

    Parameters
    ----------
    surface
        Closed and consistently wound; outward or inward.
    points
        Shape (n, 3), mm.

    Returns
    -------
    np.ndarray
        Shape (n,), bool.

    Raises
    ------
    GeometryError
        If the surface is open or its triangles are not wound alike.
    """
    if not surface.is_closed:
        surface.check_closed()
    if not surface.is_consistent:
        twisted = int((surface.edges.balance != 0).sum())
        raise GeometryError(
            f"{surface.name}: inside and outside need triangles wound alike; {twisted} edges are walked twice in the "
            "same direction. Use `surface.repaired()`."
        )
    near = ((points >= surface.points.min(axis=0)) & (points <= surface.points.max(axis=0))).all(axis=1)
    inside = np.zeros(len(points), dtype=bool)
    if near.any():
        inside[near] = np.abs(winding_numbers(surface, points[near])) > 0.5
    return inside
