"""Compiled edge collapse and edge flips; imported only by functions that use them."""

import heapq
from typing import no_type_check

import numba
import numpy as np

#: Share of length^4 in the cost of an edge: evens the triangles where the surface is flat.
EVENNESS = 3e-3
#: Least triangle quality (0..1) a collapse may leave, unless the worst it replaces is worse.
LEAST_QUALITY = 0.2
#: Least cosine between two triangles whose common edge may be flipped.
FLAT_ENOUGH = 0.9
#: Most triangles around a node.
MOST_AROUND = 14


@numba.njit(cache=True)
@no_type_check
def _cross(a, b):
    return np.array((a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))


@numba.njit(cache=True)
@no_type_check
def quality(a, b, c):
    """4 sqrt(3) area / sum of squared edges: 1 for an equilateral triangle, 0 for a flat one."""
    n = _cross(b - a, c - a)
    edges2 = ((b - a) ** 2).sum() + ((c - b) ** 2).sum() + ((a - c) ** 2).sum()
    return 2 * np.sqrt(3.0) * np.sqrt(n @ n) / edges2 if edges2 > 0 else 0.0


def quadrics(points, triangles, border_edges):
    """Sum over the triangles of a node of area times squared distance to its plane, as (A, b, c) of x'Ax - 2b'x + c.

    Border edges, given as rows (triangle, tail, tip), add the plane through the edge perpendicular to the triangle.
    """
    corners = points[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(cross, axis=1)
    normal = cross / size[:, None]
    face, tail, tip = border_edges.T
    along = points[tip] - points[tail]
    length2 = np.einsum("ij,ij->i", along, along)
    wall = np.cross(normal[face], along) / np.sqrt(length2)[:, None]
    nodes = np.concatenate([triangles.T.ravel(), tail, tip])
    planes = np.concatenate([np.tile(normal, (3, 1)), wall, wall])
    weights = np.concatenate([np.tile(size / 6, 3), length2, length2])
    offset = np.einsum("ij,ij->i", planes, np.concatenate([np.tile(corners[:, 0], (3, 1)), points[tail], points[tail]]))
    matrix, vector, scalar = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3)), np.zeros(len(points))
    np.add.at(matrix, nodes, weights[:, None, None] * planes[:, :, None] * planes[:, None, :])
    np.add.at(vector, nodes, (weights * offset)[:, None] * planes)
    np.add.at(scalar, nodes, weights * offset**2)
    return matrix, vector, scalar


@numba.njit(cache=True)
@no_type_check
def _solve(a, b):
    """Solution of a 3 x 3 system."""
    c0, c1, c2 = _cross(a[1], a[2]), _cross(a[2], a[0]), _cross(a[0], a[1])
    return (c0 * b[0] + c1 * b[1] + c2 * b[2]) / (a[0] @ c0)


@numba.njit(cache=True)
@no_type_check
def _placement(i, j, points, quadrics, fixed, border):
    """Where the collapsed edge goes, and its cost; infinite if both ends must stay."""
    matrix, vector, scalar = quadrics
    along = points[j] - points[i]
    length2 = along @ along
    a, b, c = matrix[i] + matrix[j], vector[i] + vector[j], scalar[i] + scalar[j]
    middle = (points[i] + points[j]) / 2
    place, cost = middle.copy(), np.inf
    if fixed[i] and fixed[j]:
        return place, cost
    if fixed[i] or (border[i] and not border[j] and not fixed[j]):
        place = points[i].copy()
    elif fixed[j] or (border[j] and not border[i]):
        place = points[j].copy()
    else:
        weak = 1e-2 * (a[0, 0] + a[1, 1] + a[2, 2]) + 1e-300
        place = _solve(a + weak * np.eye(3), b + weak * middle)
        move = place - middle
        if move @ move > length2:
            place = middle.copy()
    error = max(0.0, place @ (a @ place) - 2 * (b @ place) + c)
    return place, error + EVENNESS * length2 * length2


@numba.njit(cache=True)
@no_type_check
def _neighbors(node, around, count, triangles, out):
    """Fill `out` with the nodes around a node; return how many."""
    m = 0
    for r in range(count[node]):
        for k in range(3):
            other = triangles[around[node, r], k]
            if other == node:
                continue
            known = False
            for s in range(m):
                if out[s] == other:
                    known = True
                    break
            if not known:
                out[m] = other
                m += 1
    return m


@numba.njit(cache=True)
@no_type_check
def _allowed(i, j, place, state, work):
    """Whether collapsing edge ij into `place` keeps topology, orientation and decent triangles."""
    points, triangles, around, count, _, border = state
    near_i, near_j = work
    m_i = _neighbors(i, around, count, triangles, near_i)
    m_j = _neighbors(j, around, count, triangles, near_j)
    common = 0
    for r in range(m_i):
        for s in range(m_j):
            common += near_i[r] == near_j[s]
    on_edge = 0
    for r in range(count[i]):
        t = around[i, r]
        on_edge += triangles[t, 0] == j or triangles[t, 1] == j or triangles[t, 2] == j
    if common != on_edge or on_edge == 0:
        return False
    if border[i] and border[j] and on_edge == 2:
        return False
    if count[i] + count[j] - 2 * on_edge > MOST_AROUND or m_i + m_j - 2 - common < 3:
        return False
    worst_before, worst_after = 1.0, 1.0
    for node, other in ((i, j), (j, i)):
        for r in range(count[node]):
            t = around[node, r]
            u, v, w = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b, c = points[u], points[v], points[w]
            worst_before = min(worst_before, quality(a, b, c))
            if other in (u, v, w):
                third = u + v + w - node - other
                if not border[third] and count[third] <= 3:
                    return False
                continue
            x = place if u == node else a
            y = place if v == node else b
            z = place if w == node else c
            old, new = _cross(b - a, c - a), _cross(y - x, z - x)
            if old @ new <= 0.5 * np.sqrt((old @ old) * (new @ new)):
                return False
            worst_after = min(worst_after, quality(x, y, z))
    return worst_after >= min(LEAST_QUALITY, worst_before)


@numba.njit(cache=True)
@no_type_check
def _tables(triangles, n, width):
    around, count = np.full((n, width), -1, np.int64), np.zeros(n, np.int64)
    for t in range(len(triangles)):
        for k in range(3):
            node = triangles[t, k]
            around[node, count[node]] = t
            count[node] += 1
    return around, count


@numba.njit(cache=True)
@no_type_check
def _merge(i, j, state, alive_triangle):
    """Let node i take over the triangles of node j; those on the edge vanish."""
    _, triangles, around, count, fixed, border = state
    for r in range(count[j]):
        t = around[j, r]
        if triangles[t, 0] == i or triangles[t, 1] == i or triangles[t, 2] == i:
            alive_triangle[t] = False
            for k in range(3):
                node = triangles[t, k]
                if node == j:
                    continue
                m = 0
                for s in range(count[node]):
                    if around[node, s] != t:
                        around[node, m] = around[node, s]
                        m += 1
                count[node] = m
    for r in range(count[j]):
        t = around[j, r]
        if alive_triangle[t]:
            for k in range(3):
                if triangles[t, k] == j:
                    triangles[t, k] = i
            around[i, count[i]] = t
            count[i] += 1
    count[j] = 0
    fixed[i] = fixed[i] or fixed[j]
    border[i] = border[i] or border[j]


@numba.njit(cache=True)
@no_type_check
def collapse(points, triangles, fixed, border, planes, n_wanted):
    """Collapse edges, cheapest first, until `n_wanted` nodes are left; arrays are changed in place.

    `planes` are the `quadrics`. Returns points, the triangles that are left, and which nodes are alive; a fixed
    node keeps its index.
    """
    n = len(points)
    fixed, border = fixed.copy(), border.copy()
    width = max(3 * MOST_AROUND, np.bincount(triangles.ravel()).max() + 2)
    around, count = _tables(triangles, n, width)
    matrix, vector, scalar = planes
    state = (points, triangles, around, count, fixed, border)
    work = (np.empty(2 * width, np.int64), np.empty(2 * width, np.int64))
    near = np.empty(2 * width, np.int64)
    alive, alive_triangle = count > 0, np.ones(len(triangles), np.bool_)
    version, left = np.zeros(n, np.int64), alive.sum()
    heap = [(0.0, 0, 0, 0, 0)]
    heap.clear()
    for i in range(n):
        for r in range(_neighbors(i, around, count, triangles, near)):
            if i < near[r]:
                _, cost = _placement(i, near[r], points, planes, fixed, border)
                heapq.heappush(heap, (cost, i, near[r], 0, 0))
    while left > n_wanted and len(heap):
        cost, i, j, version_i, version_j = heapq.heappop(heap)
        if not np.isfinite(cost):
            break
        if not alive[i] or not alive[j] or version[i] != version_i or version[j] != version_j:
            continue
        if fixed[j]:
            i, j = j, i
        place, _ = _placement(i, j, points, planes, fixed, border)
        if not _allowed(i, j, place, state, work):
            continue
        _merge(i, j, state, alive_triangle)
        points[i] = place
        matrix[i] += matrix[j]
        vector[i] += vector[j]
        scalar[i] += scalar[j]
        alive[j] = False
        left -= 1
        version[i] += 1
        m = _neighbors(i, around, count, triangles, near)
        for r in range(m):
            _, cost = _placement(i, near[r], points, planes, fixed, border)
            heapq.heappush(heap, (cost, i, near[r], version[i], version[near[r]]))  # pyright: ignore[reportArgumentType]
    return points, triangles[alive_triangle], alive


@numba.njit(cache=True)
@no_type_check
def _opposite_angle(p, a, b):
    u, v = a - p, b - p
    n = _cross(u, v)
    return np.arctan2(np.sqrt(n @ n), u @ v)


@numba.njit(cache=True)
@no_type_check
def _may_flip(i, j, p, q):
    """Whether edge ij between triangles ijp and jiq should become pq: not Delaunay, nearly flat, nothing turned."""
    if _opposite_angle(p, i, j) + _opposite_angle(q, j, i) < np.pi + 1e-6:
        return False
    one, two = _cross(j - i, p - i), _cross(i - j, q - j)
    one, two = one / np.sqrt(one @ one), two / np.sqrt(two @ two)
    mean = one + two
    mean = mean / np.sqrt(mean @ mean)
    new_one, new_two = _cross(i - p, q - p), _cross(q - p, j - p)
    ahead = new_one @ mean > 0.5 * np.sqrt(new_one @ new_one) and new_two @ mean > 0.5 * np.sqrt(new_two @ new_two)
    return one @ two > FLAT_ENOUGH and ahead


@numba.njit(cache=True)
@no_type_check
def flip(points, triangles):
    """Flip edges in place, one pass, where the opposite angles exceed 180 degrees and the surface is nearly flat."""
    owner = {(0, 0): 0}
    owner.clear()
    for t in range(len(triangles)):
        for k in range(3):
            owner[(triangles[t, k], triangles[t, (k + 1) % 3])] = 3 * t + k
    flips = 0
    for t in range(len(triangles)):
        for k in range(3):
            i, j, p = triangles[t, k], triangles[t, (k + 1) % 3], triangles[t, (k + 2) % 3]
            if (j, i) not in owner or (i, j) not in owner:
                continue
            h = owner[(j, i)]
            other = h // 3
            q = triangles[other, (h % 3 + 2) % 3]
            if p == q or (p, q) in owner or (q, p) in owner:
                continue
            if not _may_flip(points[i], points[j], points[p], points[q]):
                continue
            triangles[t] = np.array((p, i, q))
            triangles[other] = np.array((q, j, p))
            for face in (t, other):
                for s in range(3):
                    owner[(triangles[face, s], triangles[face, (s + 1) % 3])] = 3 * face + s
            del owner[(i, j)]
            del owner[(j, i)]
            flips += 1
            break
    return flips
