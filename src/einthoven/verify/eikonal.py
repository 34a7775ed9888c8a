"""Exact times of arrival: straight ways in uniform tissue, plane waves, great circles, and the way around a wall.

All solve <V grad T, grad T> = 1. V in mm2/ms2, lengths in mm, times in ms.
"""

import numpy as np
from jaxtyping import Float


def from_point(
    ways: Float[np.ndarray, "*n d"], squared_speed: float | Float[np.ndarray, "d d"]
) -> Float[np.ndarray, "*n"]:
    """Time along straight ways from a site, T = sqrt(e . V^-1 e), V the same everywhere.

    Parameters
    ----------
    ways
        e, from the site to where the time is wanted, mm.
    squared_speed
        V, a number or a tensor, mm2/ms2.

    Examples
    --------
    >>> from_point(np.array([[3.0, 0.0], [0.0, 3.0]]), np.diag([0.36, 0.04])).tolist()
    [5.0, 15.0]
    """
    slowness = np.linalg.inv(
        np.multiply(squared_speed, np.eye(ways.shape[-1])) if np.ndim(squared_speed) == 0 else np.asarray(squared_speed)
    )
    return np.sqrt(np.einsum("...i,ij,...j->...", ways, slowness, ways))


def plane_slowness(normal: Float[np.ndarray, " d"], squared_speed: Float[np.ndarray, "d d"]) -> Float[np.ndarray, " d"]:
    """Gradient p of the plane wave T = p . x whose front has this normal: p = n / sqrt(n . V n), ms/mm.

    Examples
    --------
    >>> plane_slowness(np.array([2.0, 0.0]), np.diag([0.25, 0.04])).tolist()
    [2.0, 0.0]
    """
    normal = np.asarray(normal, dtype=float)
    return normal / np.sqrt(normal @ squared_speed @ normal)


def on_sphere(points: Float[np.ndarray, "n 3"], site: Float[np.ndarray, " 3"], speed: float) -> Float[np.ndarray, " n"]:
    """Time along great circles from a site on a sphere around the origin, T = R angle / c.

    Examples
    --------
    >>> on_sphere(np.array([[0.0, 0.0, 10.0]]), np.array([10.0, 0.0, 0.0]), 0.5).round(4).tolist()
    [31.4159]
    """
    radius = float(np.linalg.norm(site))
    across = np.linalg.norm(np.cross(points, site), axis=1)
    return radius * np.arctan2(across, points @ site) / speed


def around_wall(
    points: Float[np.ndarray, "n 2"], site: Float[np.ndarray, " 2"], wall: tuple[float, float, float]
) -> Float[np.ndarray, " n"]:
    """Length of the shortest way from a site past a wall in the plane, mm; divide by the speed.

    Parameters
    ----------
    points, site
        Outside of the wall.
    wall
        (low, high, top): where low < x < high and y < top nothing conducts.

    Examples
    --------
    >>> around_wall(np.array([[5.0, 0.0], [0.0, 3.0]]), np.array([0.0, 0.0]), (1.0, 4.0, 1.0)).round(4).tolist()
    [5.8284, 3.0]
    """
    low, high, top = wall
    near, far = (np.array([low, top]), np.array([high, top]))
    if site[0] >= high:
        near, far = far, near
    lengths = [_clear(points, site, wall)]
    over = float(_clear(near[None], site, wall)[0])
    lengths.append(over + _clear(points, near, wall))
    lengths.append(float(_clear(far[None], site, wall)[0]) + _clear(points, far, wall))
    lengths.append(over + (high - low) + _clear(points, far, wall))
    return np.min(lengths, axis=0)


def _clear(
    points: Float[np.ndarray, "n 2"], start: Float[np.ndarray, " 2"], wall: tuple[float, float, float]
) -> Float[np.ndarray, " n"]:
    """Lengths of straight ways, infinite where the wall is in between."""
    low, high, top = wall
    way = points - start
    run = np.where(way[:, 0] == 0, 1.0, way[:, 0])
    ends = np.sort(np.stack([(low - start[0]) / run, (high - start[0]) / run]), axis=0)
    first, last = np.clip(ends, 0.0, 1.0)
    below = start[1] + np.minimum(first * way[:, 1], last * way[:, 1]) < top - 1e-9
    return np.where((way[:, 0] != 0) & (last - first > 1e-9) & below, np.inf, np.linalg.norm(way, axis=1))
