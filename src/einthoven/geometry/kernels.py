"""Compiled kernels on triangles: box tree, closest point, solid angle, intersection.

Imported only by functions that use them, so that importing the package stays cheap.
"""

import numba
import numpy as np

LEAF = 4
#: Rounding bound of a 3 x 3 determinant of differences, relative to its permanent (Shewchuk 1997 gives 7.8e-16).
ROUNDING = 1e-15

NO, YES, UNSURE = 0, 1, 2


@numba.njit(cache=True)
def build_tree(corners):
    """Binary tree of axis-aligned boxes over triangles; node k has children left[k] and left[k] + 1."""
    n = len(corners)
    size = max(1, 2 * n)
    low, high = np.empty((size, 3)), np.empty((size, 3))
    left, start, stop = np.full(size, -1, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    order = np.arange(n)
    centers = (corners[:, 0] + corners[:, 1] + corners[:, 2]) / 3
    stop[0] = n
    used, node = 1, 0
    while node < used:
        first, last = start[node], stop[node]
        for k in range(3):
            low[node, k], high[node, k] = np.inf, -np.inf
            for t in range(first, last):
                for v in range(3):
                    low[node, k] = min(low[node, k], corners[order[t], v, k])
                    high[node, k] = max(high[node, k], corners[order[t], v, k])
        if last - first > LEAF:
            members = order[first:last].copy()
            axis = np.argmax(high[node] - low[node])
            order[first:last] = members[np.argsort(centers[members, axis])]
            middle = (first + last) // 2
            left[node] = used
            start[used], stop[used], start[used + 1], stop[used + 1] = first, middle, middle, last
            used += 2
        node += 1
    return low[:used], high[:used], left[:used], start[:used], stop[:used], order


@numba.njit(cache=True)
def _box_distance2(p, low, high):
    total = 0.0
    for k in range(3):
        d = max(low[k] - p[k], 0.0, p[k] - high[k])
        total += d * d
    return total


@numba.njit(cache=True)
def _closest_on_segment(p, a, b):
    """Parameter along a..b of the point closest to p, and the squared distance."""
    length2, along = 0.0, 0.0
    for k in range(3):
        length2 += (b[k] - a[k]) ** 2
        along += (p[k] - a[k]) * (b[k] - a[k])
    s = min(1.0, max(0.0, along / length2)) if length2 > 0 else 0.0
    d2 = 0.0
    for k in range(3):
        d2 += (a[k] + s * (b[k] - a[k]) - p[k]) ** 2
    return s, d2


@numba.njit(cache=True)
def closest_on_triangle(p, corners, weights):
    """Fill the barycentric weights of the closest point; return the squared distance. Flat triangles are fine."""
    a, b, c = corners[0], corners[1], corners[2]
    n = np.cross(b - a, c - a)
    n2 = n @ n
    if n2 > 0:
        wb = np.cross(p - a, c - a) @ n / n2
        wc = np.cross(b - a, p - a) @ n / n2
        if wb >= 0 and wc >= 0 and wb + wc <= 1:
            weights[0], weights[1], weights[2] = 1 - wb - wc, wb, wc
            height = (p - a) @ n
            return height * height / n2
    best = np.inf
    for k in range(3):
        s, d2 = _closest_on_segment(p, corners[k], corners[(k + 1) % 3])
        if d2 < best:
            best = d2
            weights[k], weights[(k + 1) % 3], weights[(k + 2) % 3] = 1 - s, s, 0.0
    return best


@numba.njit(cache=True)
def closest(points, corners, tree):
    """Closest triangle, barycentric weights and distance of every point; exact search through the tree."""
    low, high, left, start, stop, order = tree
    n = len(points)
    found, weights, distance = np.zeros(n, np.int64), np.zeros((n, 3)), np.zeros(n)
    stack, trial = np.empty(128, np.int64), np.empty(3)
    for i in range(n):
        p, best, depth = points[i], np.inf, 1
        stack[0] = 0
        while depth:
            depth -= 1
            node = stack[depth]
            if _box_distance2(p, low[node], high[node]) > best:
                continue
            if left[node] < 0:
                for t in order[start[node] : stop[node]]:
                    d2 = closest_on_triangle(p, corners[t], trial)
                    if d2 < best or (d2 == best and t < found[i]):
                        best, found[i] = d2, t
                        weights[i] = trial
                continue
            near, far = left[node], left[node] + 1
            if _box_distance2(p, low[far], high[far]) < _box_distance2(p, low[near], high[near]):
                near, far = far, near
            stack[depth], stack[depth + 1] = far, near
            depth += 2
        distance[i] = np.sqrt(best)
    return found, weights, distance


@numba.njit(cache=True, parallel=True)
def solid_angles(points, corners):
    """Sum over triangles of the solid angle at every point (van Oosterom & Strackee 1983), steradians."""
    n, m = len(points), len(corners)
    total = np.zeros(n)
    for i in numba.prange(n):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        angle = 0.0
        for t in range(m):
            ax, ay, az = corners[t, 0, 0] - x, corners[t, 0, 1] - y, corners[t, 0, 2] - z
            bx, by, bz = corners[t, 1, 0] - x, corners[t, 1, 1] - y, corners[t, 1, 2] - z
            cx, cy, cz = corners[t, 2, 0] - x, corners[t, 2, 1] - y, corners[t, 2, 2] - z
            a = np.sqrt(ax * ax + ay * ay + az * az)
            b = np.sqrt(bx * bx + by * by + bz * bz)
            c = np.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            below = a * b * c
            below += (ax * bx + ay * by + az * bz) * c
            below += (bx * cx + by * cy + bz * cz) * a
            below += (cx * ax + cy * ay + cz * az) * b
            angle += 2 * np.arctan2(volume, below)
        total[i] = angle
    return total


@numba.njit(cache=True)
def _side(a, b, c, d):
    """Sign of the volume (a, b, c, d): -1, 1, or 0 if rounding leaves it open."""
    ux, uy, uz = a[0] - d[0], a[1] - d[1], a[2] - d[2]
    vx, vy, vz = b[0] - d[0], b[1] - d[1], b[2] - d[2]
    wx, wy, wz = c[0] - d[0], c[1] - d[1], c[2] - d[2]
    value = ux * (vy * wz - vz * wy) + uy * (vz * wx - vx * wz) + uz * (vx * wy - vy * wx)
    bound = abs(ux) * (abs(vy * wz) + abs(vz * wy)) + abs(uy) * (abs(vz * wx) + abs(vx * wz))
    bound = ROUNDING * (bound + abs(uz) * (abs(vx * wy) + abs(vy * wx)))
    return 1 if value > bound else (-1 if value < -bound else 0)


@numba.njit(cache=True)
def _gap(axis, p, q, triangle, size):
    """Whether the segment and the triangle are surely apart along the axis."""
    sp, sq = axis @ p, axis @ q
    low, high = np.inf, -np.inf
    for k in range(3):
        value = axis @ triangle[k]
        low, high = min(low, value), max(high, value)
    margin = 1e-14 * size * (abs(axis[0]) + abs(axis[1]) + abs(axis[2]))
    return min(sp, sq) > high + margin or max(sp, sq) < low - margin


@numba.njit(cache=True)
def _apart(p, q, triangle):
    """Whether some separating axis surely divides the segment from the triangle."""
    size = max(np.abs(p).max(), np.abs(q).max(), np.abs(triangle).max())
    along = q - p
    normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
    if _gap(normal, p, q, triangle, size) or _gap(np.cross(normal, along), p, q, triangle, size):
        return True
    for k in range(3):
        edge = triangle[(k + 1) % 3] - triangle[k]
        if _gap(np.cross(normal, edge), p, q, triangle, size) or _gap(np.cross(along, edge), p, q, triangle, size):
            return True
        if _gap(np.cross(np.cross(along, edge), along), p, q, triangle, size):
            return True
    return False


@numba.njit(cache=True)
def segment_meets_triangle(p, q, triangle):
    """NO, YES or UNSURE (rounding leaves it open)."""
    a, b, c = triangle[0], triangle[1], triangle[2]
    at_p, at_q = _side(a, b, c, p), _side(a, b, c, q)
    if at_p * at_q > 0:
        return NO
    if at_p * at_q < 0:
        s, t, u = _side(p, q, a, b), _side(p, q, b, c), _side(p, q, c, a)
        if (s > 0 and t > 0 and u > 0) or (s < 0 and t < 0 and u < 0):
            return YES
        if min(s, t, u) < 0 and max(s, t, u) > 0:
            return NO
    return NO if _apart(p, q, triangle) else UNSURE


@numba.njit(cache=True)
def _distinct_meet(first, second):
    answer = NO
    for k in range(3):
        for one, other in ((first, second), (second, first)):
            result = segment_meets_triangle(one[k], one[(k + 1) % 3], other)
            if result == YES:
                return YES
            if result == UNSURE:
                answer = UNSURE
    return answer


@numba.njit(cache=True)
def triangles_meet(first, second, nodes_first, nodes_second):
    """Whether two triangles meet elsewhere than in the nodes they share: NO, YES or UNSURE."""
    shared, here, there = 0, np.zeros(3, np.bool_), np.zeros(3, np.bool_)
    for i in range(3):
        for j in range(3):
            if nodes_first[i] == nodes_second[j]:
                shared += 1
                here[i], there[j] = True, True
    if shared == 0:
        return _distinct_meet(first, second)
    if shared == 3:
        return YES
    if shared == 2:  # folded onto each other, or not
        i, j = np.argmin(here), np.argmin(there)
        if _side(first[0], first[1], first[2], second[j]) != 0:
            return NO
        a, b = first[(i + 1) % 3], first[(i + 2) % 3]
        out, other = first[i] - a, second[j] - a
        along = b - a
        u, v = np.cross(along, out), np.cross(along, other)
        cosine = u @ v / np.sqrt((u @ u) * (v @ v))
        return NO if cosine < 0.5 else UNSURE
    i, j = np.argmax(here), np.argmax(there)
    one = segment_meets_triangle(first[(i + 1) % 3], first[(i + 2) % 3], second)
    if one == YES:
        return YES
    two = segment_meets_triangle(second[(j + 1) % 3], second[(j + 2) % 3], first)
    return max(one, two) if two != YES else YES


@numba.njit(cache=True)
def meeting_pairs(corners_a, nodes_a, corners_b, nodes_b, tree_b, same):
    """Pairs of triangles that meet, with YES or UNSURE; `same` if both sets are one surface (each pair once)."""
    low, high, left, start, stop, order = tree_b
    pairs, stack = [(0, 0, 0)], np.empty(128, np.int64)
    box_low, box_high = np.empty(3), np.empty(3)
    for i in range(len(corners_a)):
        for k in range(3):
            box_low[k], box_high[k] = corners_a[i, :, k].min(), corners_a[i, :, k].max()
        stack[0], depth = 0, 1
        while depth:
            depth -= 1
            node = stack[depth]
            if (box_low > high[node]).any() or (box_high < low[node]).any():
                continue
            if left[node] >= 0:
                stack[depth], stack[depth + 1] = left[node], left[node] + 1
                depth += 2
                continue
            for t in order[start[node] : stop[node]]:
                if same and t <= i:
                    continue
                answer = triangles_meet(corners_a[i], corners_b[t], nodes_a[i], nodes_b[t])
                if answer != NO:
                    pairs.append((i, t, answer))
    return pairs[1:]
