"""Compiled edge collapse and edge flips; imported only by functions that use them."""

import heapq

import numba
import numpy as np

#: Share of length^4 in the cost of an edge: evens the triangles where the surface is flat.
EVENNESS = 3e-3
#: Least quality, 2 sqrt(3) height-like measure in 0..1, a collapse may leave (or the worst it replaces).
LEAST_QUALITY = 0.2
#: Most triangles around a node.
MOST_AROUND = 14


@numba.njit(cache=True)
def quality(a, b, c):
    """4 sqrt(3) area / sum of squared edges: 1 for an equilateral triangle, 0 for a flat one."""
    n = np.cross(b - a, c - a)
    edges2 = ((b - a) ** 2).sum() + ((c - b) ** 2).sum() + ((a - c) ** 2).sum()
    return 2 * np.sqrt(3.0) * np.sqrt(n @ n) / edges2 if edges2 > 0 else 0.0


@numba.njit(cache=True)
def _quadrics(points, triangles):
    """Sum over the triangles of a node of area times squared distance to its plane, as (A, b, c) of x'Ax - 2b'x + c.

    Border edges add the plane through the edge, perpendicular to the triangle.
    """
    n = len(points)
    uses = {(0, 0): 0}
    for t in range(len(triangles)):
        for k in range(3):
            i, j = triangles[t, k], triangles[t, (k + 1) % 3]
            key = (min(i, j), max(i, j))
            uses[key] = uses.get(key, 0) + 1
    matrix, vector, scalar = np.zeros((n, 3, 3)), np.zeros((n, 3)), np.zeros(n)
    for t in range(len(triangles)):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        cross = np.cross(b - a, c - a)
        size = np.sqrt(cross @ cross)
        normal = cross / size
        for k in range(3):
            _add_plane(matrix, vector, scalar, triangles[t, k], normal, a, size / 6)
            i, j = triangles[t, k], triangles[t, (k + 1) % 3]
            if uses[(min(i, j), max(i, j))] == 1:
                along = points[j] - points[i]
                wall = np.cross(normal, along)
                length2 = along @ along
                wall = wall / np.sqrt(length2)
                _add_plane(matrix, vector, scalar, i, wall, points[i], length2)
                _add_plane(matrix, vector, scalar, j, wall, points[i], length2)
    return matrix, vector, scalar


@numba.njit(cache=True)
def _add_plane(matrix, vector, scalar, node, normal, point, weight):
    d = normal @ point
    for r in range(3):
        for s in range(3):
            matrix[node, r, s] += weight * normal[r] * normal[s]
        vector[node, r] += weight * d * normal[r]
    scalar[node] += weight * d * d


@numba.njit(cache=True)
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
        place = np.linalg.solve(a + weak * np.eye(3), b + weak * middle)
        move = place - middle
        if move @ move > length2:
            place = middle.copy()
    error = max(0.0, place @ (a @ place) - 2 * (b @ place) + c)
    return place, error + EVENNESS * length2 * length2


@numba.njit(cache=True)
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
def _allowed(i, j, place, state, work):
    """Whether collapsing edge ij into `place` keeps topology, orientation and decent triangles."""
    points, triangles, around, count, fixed, border = state
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
    for r in range(common):  # a node left with fewer than three triangles would fold over
        pass
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
            old, new = np.cross(b - a, c - a), np.cross(y - x, z - x)
            if old @ new <= 0.5 * np.sqrt((old @ old) * (new @ new)):
                return False
            worst_after = min(worst_after, quality(x, y, z))
    return worst_after >= min(LEAST_QUALITY, worst_before)


@numba.njit(cache=True)
def _tables(triangles, n, width):
    around, count = np.full((n, width), -1, np.int64), np.zeros(n, np.int64)
    for t in range(len(triangles)):
        for k in range(3):
            node = triangles[t, k]
            around[node, count[node]] = t
            count[node] += 1
    return around, count


@numba.njit(cache=True)
def _merge(i, j, state, alive_triangle):
    """Let node i take over the triangles of node j; those on the edge vanish."""
    points, triangles, around, count, fixed, border = state
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
def collapse(points, triangles, fixed, border, n_wanted):
    """Collapse edges, cheapest first, until `n_wanted` nodes are left; arrays are changed in place.

    Returns points, the triangles that are left, and which nodes are alive; a fixed node keeps its index.
    """
    n = len(points)
    fixed, border = fixed.copy(), border.copy()
    width = max(3 * MOST_AROUND, np.bincount(triangles.ravel()).max() + 2)
    around, count = _tables(triangles, n, width)
    quadrics = _quadrics(points, triangles)
    matrix, vector, scalar = quadrics
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
                _, cost = _placement(i, near[r], points, quadrics, fixed, border)
                heapq.heappush(heap, (cost, i, near[r], 0, 0))
    while left > n_wanted and len(heap):
        cost, i, j, version_i, version_j = heapq.heappop(heap)
        if not np.isfinite(cost):
            break
        if not alive[i] or not alive[j] or version[i] != version_i or version[j] != version_j:
            continue
        if fixed[j]:
            i, j = j, i
        place, _ = _placement(i, j, points, quadrics, fixed, border)
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
            _, cost = _placement(i, near[r], points, quadrics, fixed, border)
            heapq.heappush(heap, (cost, i, near[r], version[i], version[near[r]]))
    return points, triangles[alive_triangle], alive


@numba.njit(cache=True)
def _opposite_angle(p, a, b):
    u, v = a - p, b - p
    n = np.cross(u, v)
    return np.arctan2(np.sqrt(n @ n), u @ v)


@numba.njit(cache=True)
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
            if _opposite_angle(points[p], points[i], points[j]) + _opposite_angle(points[q], points[j], points[i]) < (
                np.pi + 1e-6
            ):
                continue
            one, two = np.cross(points[j] - points[i], points[p] - points[i]), np.cross(
                points[i] - points[j], points[q] - points[j]
            )
            new_one = np.cross(points[q] - points[p], points[j] - points[p]) * -1.0
            new_two = np.cross(points[p] - points[q], points[i] - points[q]) * -1.0
            mean = one / np.sqrt(one @ one) + two / np.sqrt(two @ two)
            mean = mean / np.sqrt(mean @ mean)
            flat = one @ two > 0.8 * np.sqrt((one @ one) * (two @ two))
            ahead = new_one @ mean > 0.5 * np.sqrt(new_one @ new_one) and new_two @ mean > 0.5 * np.sqrt(
                new_two @ new_two
            )
            if not (flat and ahead):
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
