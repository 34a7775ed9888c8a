"""Which triangles of one surface, or of two, meet: floating point where it is certain, exact integers elsewhere."""

from fractions import Fraction
from math import lcm

import numpy as np
from jaxtyping import Int

from einthoven.core import Surface

#: Pairs reported at most; enough for any message.
LIMIT = 1000


def intersections(first: Surface, second: Surface, *, limit: int = LIMIT) -> Int[np.ndarray, "n 2"]:
    """Pairs of triangles, one of each surface, that have a point in common (touching counts).

    Candidates come from a box tree; the test by signs of volumes is decided in floating point where rounding cannot
    matter and in exact integer arithmetic elsewhere.

    Parameters
    ----------
    first, second
        Any two surfaces.
    limit
        Stop after that many pairs.

    Returns
    -------
    np.ndarray
        Shape (n, 2): face of the first, face of the second.
    """
    from einthoven.geometry import kernels

    corners_a, corners_b = np.array(first.corners), np.array(second.corners)
    apart = second.triangles + first.n_points  # no node is shared
    found = kernels.meeting_pairs(
        corners_a, np.array(first.triangles), corners_b, apart, kernels.build_tree(corners_b), False
    )
    return _decided(first, second, found, limit=limit)


def self_intersections(surface: Surface, *, limit: int = LIMIT) -> Int[np.ndarray, "n 2"]:
    """Pairs of triangles of one surface that meet elsewhere than in the nodes or the edge they share.

    Parameters
    ----------
    surface
        Any surface.
    limit
        Stop after that many pairs.

    Returns
    -------
    np.ndarray
        Shape (n, 2), the lower face first.
    """
    from einthoven.geometry import kernels

    corners, nodes = np.array(surface.corners), np.array(surface.triangles)
    found = kernels.meeting_pairs(corners, nodes, corners, nodes, kernels.build_tree(corners), True)
    return _decided(surface, surface, found, limit=limit)


def _decided(
    first: Surface, second: Surface, found: list[tuple[int, int, int]], *, limit: int
) -> Int[np.ndarray, "n 2"]:
    """Keep the certain pairs and those that exact arithmetic confirms."""
    pairs = [(i, j) for i, j, answer in found if answer == 1][:limit]
    for i, j, answer in found:
        if len(pairs) >= limit:
            break
        if answer == 2:
            shared = _shared(first.triangles[i], second.triangles[j]) if first is second else []
            if meet_exactly(first.corners[i], second.corners[j], shared):
                pairs.append((i, j))
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _shared(one: Int[np.ndarray, " 3"], other: Int[np.ndarray, " 3"]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(3) for j in range(3) if one[i] == other[j]]


def meet_exactly(first: np.ndarray, second: np.ndarray, shared: list[tuple[int, int]]) -> bool:
    """Whether two triangles meet elsewhere than in the corners they share, without rounding.

    Parameters
    ----------
    first, second
        Corners, shape (3, 3).
    shared
        Pairs of equal corners (index in the first, index in the second).
    """
    one, two = _integers(first, second)
    if len(shared) == 3:
        return True
    if len(shared) == 2:
        (i, j), (k, m) = shared
        a, b, p, q = one[i], one[k], one[3 - i - k], two[3 - j - m]
        if _volume(a, b, p, q) != 0:
            return False
        u, v = _cross(_minus(b, a), _minus(p, a)), _cross(_minus(b, a), _minus(q, a))
        return _dot(u, v) >= 0
    if len(shared) == 1:
        i, j = shared[0]
        segments = [(one[i - 2], one[i - 1], two), (two[j - 2], two[j - 1], one)]
    else:
        segments = [(t[k - 1], t[k], o) for t, o in ((one, two), (two, one)) for k in range(3)]
    return any(_segment_meets(p, q, triangle) for p, q, triangle in segments)


def _integers(first: np.ndarray, second: np.ndarray) -> tuple[list, list]:
    """Both triangles in integer coordinates, scaled by a common factor."""
    exact = [[Fraction(float(x)) for x in point] for point in (*first, *second)]
    scale = lcm(*(x.denominator for point in exact for x in point))
    whole = [tuple(int(x * scale) for x in point) for point in exact]
    return whole[:3], whole[3:]


def _minus(a, b):
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _sign(x) -> int:
    return (x > 0) - (x < 0)


def _volume(a, b, c, d) -> int:
    return _sign(_dot(_minus(a, d), _cross(_minus(b, d), _minus(c, d))))


def _segment_meets(p, q, triangle) -> bool:
    a, b, c = triangle
    at_p, at_q = _volume(a, b, c, p), _volume(a, b, c, q)
    if at_p * at_q > 0:
        return False
    if at_p == 0 and at_q == 0:
        return _segment_meets_in_plane(p, q, triangle)
    sides = (_volume(p, q, a, b), _volume(p, q, b, c), _volume(p, q, c, a))
    return not (min(sides) < 0 < max(sides))


def _segment_meets_in_plane(p, q, triangle) -> bool:
    normal = _cross(_minus(triangle[1], triangle[0]), _minus(triangle[2], triangle[0]))
    drop = max(range(3), key=lambda k: abs(normal[k]))
    if normal[drop] == 0:
        return False  # a triangle without area; reported by the check on flat triangles
    x, y = (drop + 1) % 3, (drop + 2) % 3
    p, q, *abc = ((v[x], v[y]) for v in (p, q, *triangle))
    edges = [(abc[k], abc[(k + 1) % 3]) for k in range(3)]
    for point in (p, q):
        turns = [_turn(a, b, point) for a, b in edges]
        if not min(turns) < 0 < max(turns):
            return True
    return any(_cross_in_plane(p, q, a, b) for a, b in edges)


def _turn(a, b, c) -> int:
    return _sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _cross_in_plane(p, q, a, b) -> bool:
    """Whether segment pq crosses ab; ends that touch are found by the point tests of the caller or here."""
    one, two = _turn(p, q, a) * _turn(p, q, b), _turn(a, b, p) * _turn(a, b, q)
    if one == 0 and two == 0:  # on one line: apart unless their boxes overlap
        return all(max(p[k], q[k]) >= min(a[k], b[k]) and max(a[k], b[k]) >= min(p[k], q[k]) for k in range(2))
    return one <= 0 and two <= 0
