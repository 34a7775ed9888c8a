"""Edge operations on closed triangle meshes: split, collapse and flip, on half-edges.

Half-edge 3 t + k runs from corner k of triangle t to corner k + 1; its twin runs the other way in the neighbor. All
operations keep the mesh closed and manifold; they are sequential and deterministic.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int


def half_edge_twins(triangles: Int[np.ndarray, "m 3"]) -> Int[np.ndarray, " h"]:
    """Index of the opposite half-edge for each half-edge of a closed, consistently wound mesh."""
    start = triangles.reshape(-1)
    stop = triangles[:, [1, 2, 0]].reshape(-1)
    order = np.argsort(np.minimum(start, stop) * (int(triangles.max()) + 1) + np.maximum(start, stop), kind="stable")
    twins = np.empty(len(start), dtype=np.int64)
    twins[order[::2]], twins[order[1::2]] = order[1::2], order[::2]
    return twins


def split_long(
    points: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"], size: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "k 3"], Int[np.ndarray, "l 3"], Float[np.ndarray, " k"]]:
    """Split every edge longer than 4/3 of the wanted length (mean over its ends) at its middle."""
    return _split_long(points, triangles.reshape(-1), half_edge_twins(triangles), size)


def collapse_short(
    points: Float[np.ndarray, "n 3"],
    triangles: Int[np.ndarray, "m 3"],
    size: Float[np.ndarray, " n"],
    normals: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "k 3"], Int[np.ndarray, "l 3"]]:
    """Collapse edges shorter than 4/5 of the wanted length where no triangle turns over or gets too long an edge."""
    corners = triangles.reshape(-1).copy()
    points = points.copy()
    _collapse_short(points, corners, half_edge_twins(triangles), size.copy(), normals.copy())
    corners = corners.reshape(-1, 3)
    corners = corners[corners[:, 0] >= 0]
    used, index = np.unique(corners, return_inverse=True)
    return points[used], index.reshape(-1, 3)


def flip_edges(
    points: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"], normals: Float[np.ndarray, "n 3"]
) -> Int[np.ndarray, "m 3"]:
    """Flip edges until the angles opposite to each sum to at most 180 degrees (Delaunay); no triangle turns over."""
    corners = triangles.reshape(-1).copy()
    _flip_edges(points, corners, half_edge_twins(triangles), normals)
    return corners.reshape(-1, 3)


@numba.njit(cache=True)
@no_type_check
def _next(h):
    return h + 1 if h % 3 < 2 else h - 2


@numba.njit(cache=True)
@no_type_check
def _before(h):
    return h - 1 if h % 3 > 0 else h + 2


@numba.njit(cache=True)
@no_type_check
def _distance(points, a, b):
    x, y, z = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
    return np.sqrt(x * x + y * y + z * z)


@numba.njit(cache=True)
@no_type_check
def _upright(pa, pb, pc, normal):
    """Cosine between the triangle's normal and `normal` (not necessarily a unit vector); 0 for a sliver."""
    u0, u1, u2 = pb[0] - pa[0], pb[1] - pa[1], pb[2] - pa[2]
    v0, v1, v2 = pc[0] - pa[0], pc[1] - pa[1], pc[2] - pa[2]
    c0, c1, c2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
    size = np.sqrt(c0 * c0 + c1 * c1 + c2 * c2)
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    if size < 1e-12 or length < 1e-12:
        return 0.0
    return (c0 * normal[0] + c1 * normal[1] + c2 * normal[2]) / (size * length)


@numba.njit(cache=True)
@no_type_check
def _split_long(points, corners, twins, size):
    n, m = len(points), len(corners) // 3
    room = 4 * m
    p = np.empty((n + room, 3))
    p[:n] = points
    s = np.empty(n + room)
    s[:n] = size
    org = np.empty(3 * (m + 2 * room), dtype=np.int64)
    org[: 3 * m] = corners
    twin = np.empty_like(org)
    twin[: 3 * m] = twins
    for h in range(3 * m):
        t = twin[h]
        if h > t:
            continue
        a, b = org[h], org[t]
        if n == len(p) or _distance(p, a, b) <= 4 / 3 * 0.5 * (s[a] + s[b]):
            continue
        p[n] = 0.5 * (p[a] + p[b])
        s[n] = 0.5 * (s[a] + s[b])
        _split(org, twin, h, n, m)
        n += 1
        m += 2
    return p[:n].copy(), org[: 3 * m].copy().reshape(-1, 3), s[:n].copy()


@numba.njit(cache=True)
@no_type_check
def _split(org, twin, h, middle, m):
    """Put node `middle` on half-edge h; the new triangles are m and m + 1."""
    h1, h2 = _next(h), _before(h)
    t = twin[h]
    t1, t2 = _next(t), _before(t)
    b, c, d = org[t], org[h2], org[t2]
    a = org[h]
    after_h, after_t = twin[h1], twin[t1]
    n0, k0 = 3 * m, 3 * m + 3
    org[h1] = middle
    org[n0], org[n0 + 1], org[n0 + 2] = middle, b, c
    org[t1] = middle
    org[k0], org[k0 + 1], org[k0 + 2] = middle, a, d
    for x, y in ((h, k0), (h1, n0 + 2), (n0, t), (n0 + 1, after_h), (t1, k0 + 2), (k0 + 1, after_t)):
        twin[x] = y
        twin[y] = x


@numba.njit(cache=True)
@no_type_check
def _flip_edges(points, org, twin, normals):
    n = points.shape[0]
    valence = np.zeros(n, dtype=np.int64)
    for h in range(len(org)):
        valence[org[h]] += 1
    for _ in range(10):
        changed = 0
        for h in range(len(org)):
            t = twin[h]
            if h < t and _wants_flip(points, org, twin, h, normals, valence):
                a, b, c, d = org[h], org[t], org[_before(h)], org[_before(t)]
                valence[a] -= 1
                valence[b] -= 1
                valence[c] += 1
                valence[d] += 1
                _flip(org, twin, h)
                changed += 1
        if changed == 0:
            break


@numba.njit(cache=True)
@no_type_check
def _wants_flip(points, org, twin, h, normals, valence):
    t = twin[h]
    a, b, c, d = org[h], org[t], org[_before(h)], org[_before(t)]
    if valence[a] <= 4 or valence[b] <= 4:
        return False
    opposite = _angle(points, c, a, b) + _angle(points, d, a, b)
    if opposite <= np.pi + 1e-6:
        return False
    k = h  # is there already an edge c-d?
    start = _before(h)
    k = start
    while True:
        if org[_next(k)] == d:
            return False
        k = _next(twin[k])
        if k == start:
            break
    up_first = normals[a] + normals[d] + normals[c]
    up_second = normals[d] + normals[b] + normals[c]
    worst = min(
        _upright(points[a], points[d], points[c], up_first), _upright(points[d], points[b], points[c], up_second)
    )
    now_first = normals[a] + normals[b] + normals[c]
    now_second = normals[b] + normals[a] + normals[d]
    now = min(
        _upright(points[a], points[b], points[c], now_first), _upright(points[b], points[a], points[d], now_second)
    )
    return worst > 0.7 or worst > now


@numba.njit(cache=True)
@no_type_check
def _angle(points, at, a, b):
    u, v = points[a] - points[at], points[b] - points[at]
    x = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
    c0, c1, c2 = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    return np.arctan2(np.sqrt(c0 * c0 + c1 * c1 + c2 * c2), x)


@numba.njit(cache=True)
@no_type_check
def _flip(org, twin, h):
    """Replace the edge a-b of triangles (a, b, c) and (b, a, d) by c-d."""
    h1, h2 = _next(h), _before(h)
    t = twin[h]
    t1, t2 = _next(t), _before(t)
    a, b, c, d = org[h], org[t], org[h2], org[t2]
    after_h1, after_t1, after_t2 = twin[h1], twin[t1], twin[t2]
    org[h], org[h1], org[h2] = a, d, c
    org[t], org[t1], org[t2] = d, b, c
    for x, y in ((h, after_t1), (h1, t2), (t, after_t2), (t1, after_h1)):
        twin[x] = y
        twin[y] = x


@numba.njit(cache=True)
@no_type_check
def _collapse_short(points, org, twin, size, normals):
    """Collapse in place; dead triangles get corners -1."""
    n_half = len(org)
    mark = np.full(len(points), -1, dtype=np.int64)
    for _ in range(6):
        changed = 0
        for h in range(n_half):
            if org[h] < 0:
                continue
            t = twin[h]
            a, b = org[h], org[t]
            if _distance(points, a, b) >= 0.8 * 0.5 * (size[a] + size[b]):
                continue
            if not _may_join(org, twin, h, mark):
                continue
            target = 0.5 * (points[a] + points[b])
            up = normals[a] + normals[b]
            if _stays_upright(points, org, twin, h, target, up, normals, size) and _stays_upright(
                points, org, twin, t, target, up, normals, size
            ):
                _collapse(org, twin, h)
                points[a] = target
                normals[a] = up / np.sqrt((up**2).sum())
                size[a] = min(size[a], size[b])
                changed += 1
        if changed == 0:
            break


@numba.njit(cache=True)
@no_type_check
def _may_join(org, twin, h, mark):
    """Link condition: the ends share exactly the two opposite nodes, and those keep at least three neighbors."""
    t = twin[h]
    c, d = org[_before(h)], org[_before(t)]
    if c == d:
        return False
    valence = 0
    k = h
    while True:
        mark[org[_next(k)]] = h
        valence += 1
        k = _next(twin[k])
        if k == h or valence > 64:
            break
    shared, other = 0, 0
    k = t
    while True:
        if mark[org[_next(k)]] == h:
            shared += 1
        other += 1
        k = _next(twin[k])
        if k == t or other > 64:
            break
    k = h
    count = 0
    while True:
        mark[org[_next(k)]] = -1
        count += 1
        k = _next(twin[k])
        if k == h or count > 64:
            break
    if shared != 2 or valence > 32 or other > 32 or valence + other < 8:
        return False
    return _valence(twin, _before(h)) > 3 and _valence(twin, _before(t)) > 3


@numba.njit(cache=True)
@no_type_check
def _valence(twin, h):
    k, n = h, 0
    while True:
        n += 1
        k = _next(twin[k])
        if k == h or n > 64:
            return n


@numba.njit(cache=True)
@no_type_check
def _stays_upright(points, org, twin, h, target, up, normals, size):
    """Whether the triangles around the start of h, but the two at h, stay upright and short if it moves to `target`."""
    t = twin[h]
    k = _next(twin[h])
    while k != h:
        # k starts at the node; its triangle is (node, x, y)
        if k // 3 != t // 3 and k // 3 != h // 3:
            x, y = org[_next(k)], org[_before(k)]
            normal = up + normals[x] + normals[y]
            after = _upright(target, points[x], points[y], normal)
            if after < 0.5 and after <= _upright(points[org[k]], points[x], points[y], normal):
                return False
            gap = np.sqrt(((points[x] - target) ** 2).sum())
            if gap > 4 / 3 * size[x] * 1.3:
                return False
        k = _next(twin[k])
    return True


@numba.njit(cache=True)
@no_type_check
def _collapse(org, twin, h):
    """Join the end of h to its start; both triangles at h die."""
    t = twin[h]
    a = org[h]
    k = t
    while True:
        org[k] = a
        k = _next(twin[k])
        if k == t:
            break
    h1, h2, t1, t2 = _next(h), _before(h), _next(t), _before(t)
    for x, y in ((twin[h1], twin[h2]), (twin[t1], twin[t2])):
        twin[x] = y
        twin[y] = x
    for k in (h, h1, h2, t, t1, t2):
        org[k] = -1
