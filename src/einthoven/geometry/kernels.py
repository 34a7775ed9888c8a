"""Compiled kernels on triangles: box tree, closest point, solid angle, intersection.

Imported only by functions that use them, so that importing the package stays cheap.
"""

import heapq
from typing import no_type_check

import numba
import numpy as np

LEAF = 4
#: Rounding bound of a 3 x 3 determinant of differences, relative to its permanent (Shewchuk 1997 gives 7.8e-16).
ROUNDING = 1e-15

NO, YES, UNSURE = 0, 1, 2


@numba.njit(cache=True)
@no_type_check
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
@no_type_check
def _box_distance2(p, low, high):
    total = 0.0
    for k in range(3):
        d = max(low[k] - p[k], 0.0, p[k] - high[k])
        total += d * d
    return total


@numba.njit(cache=True)
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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
@no_type_check
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


@numba.njit(cache=True)
@no_type_check
def _length(a, b):
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@numba.njit(cache=True)
@no_type_check
def twins(triangles, n_points):
    """Opposite half-edge of half-edge 3 t + k (corner k to k + 1 of triangle t); -1 at a border."""
    n = 3 * len(triangles)
    key, back = np.empty(n, np.int64), np.empty(n, np.int64)
    for h in range(n):
        a, b = triangles[h // 3, h % 3], triangles[h // 3, (h + 1) % 3]
        key[h], back[h] = a * n_points + b, b * n_points + a
    order = np.argsort(key)
    ordered = key[order]
    twin = np.full(n, -1, np.int64)
    for h in range(n):
        at = np.searchsorted(ordered, back[h])
        if at < n and ordered[at] == back[h]:
            twin[h] = order[at]
    return twin


@numba.njit(cache=True)
@no_type_check
def _window_key(b0, b1, sx, sy, sigma):
    """Distance at the nearest point of the window [b0, b1] on the x axis from its source (sx, sy)."""
    x = min(max(sx, b0), b1) - sx
    return sigma + np.sqrt(x * x + sy * sy)


@numba.njit(cache=True)
@no_type_check
def _dominated(window, distance, tail, tip, third, length):
    """Whether a path through a node of the face behind is shorter for every ray of the window (Xin & Wang 2009)."""
    _, b0, b1, sx, sy, sigma, by_tail = window
    far0, far1 = sigma + np.hypot(b0 - sx, sy), sigma + np.hypot(b1 - sx, sy)
    if distance[tail] + b1 < far1 * (1 - 1e-12) or distance[tip] + (length - b0) < far0 * (1 - 1e-12):
        return True
    reach, at = third
    if by_tail:
        return distance[at] + reach[0] < far0 * (1 - 1e-12)
    return distance[at] + reach[1] < far1 * (1 - 1e-12)


@numba.njit(cache=True)
@no_type_check
def _hit(b, sx, sy, ox, oy, ux, uy):
    """Parameter along o + t u where the ray from the source through (b, 0) meets it."""
    dx, dy = b - sx, -sy
    return -(dx * (oy - sy) - dy * (ox - sx)) / (dx * uy - dy * ux)


@numba.njit(cache=True)
@no_type_check
def _apex(points, triangles, h):
    """Length of half-edge h and the apex of its triangle, with the half-edge along x from the origin."""
    t, k = h // 3, h % 3
    a, b, c = points[triangles[t, k]], points[triangles[t, (k + 1) % 3]], points[triangles[t, (k + 2) % 3]]
    ab, ac, bc = _length(a, b), _length(a, c), _length(b, c)
    cx = (ab * ab + ac * ac - bc * bc) / (2 * ab)
    return ab, cx, np.sqrt(max(ac * ac - cx * cx, 0.0)), ac, bc


@numba.njit(cache=True)
@no_type_check
def _children(window, apex, keep):
    """Windows on the two other edges of the face a window enters, as (edge 2 or 1, b0, b1, sx, sy, sigma, by_tail).

    `keep` is (left, right). Coordinates follow the half-edge of the neighboring face, source below.
    """
    _, b0, b1, sx, sy, sigma, _ = window
    length, cx, cy, left, right = apex
    cut = sx - sy * (cx - sx) / (cy - sy)
    children = [(0, 0.0, 0.0, 0.0, 0.0, 0.0, True)]
    children.clear()
    if cut - b0 > 1e-12 * length and keep[0]:  # edge apex -> tail, seen from its neighbor: tail -> apex
        ux, uy = cx / left, cy / left
        t0 = min(max(_hit(b0, sx, sy, 0.0, 0.0, ux, uy), 0.0), left)
        t1 = left if b1 >= cut else min(max(_hit(b1, sx, sy, 0.0, 0.0, ux, uy), 0.0), left)
        if t1 - t0 > 1e-11 * left:
            children.append((2, t0, t1, ux * sx + uy * sy, ux * sy - uy * sx, sigma, True))
    if b1 - cut > 1e-12 * length and keep[1]:  # edge tip -> apex, seen from its neighbor: apex -> tip
        ux, uy = (length - cx) / right, -cy / right
        t0 = 0.0 if b0 <= cut else min(max(_hit(b0, sx, sy, cx, cy, ux, uy), 0.0), right)
        t1 = min(max(_hit(b1, sx, sy, cx, cy, ux, uy), 0.0), right)
        if t1 - t0 > 1e-11 * right:
            px, py = sx - cx, sy - cy
            children.append((1, t0, t1, ux * px + uy * py, ux * py - uy * px, sigma, False))
    return children


@numba.njit(cache=True)
@no_type_check
def _split(window, apex, best, split_at):
    """Distance at the apex, and which children a window may have: one angle, one split (Chen & Han 1990)."""
    _, b0, b1, sx, sy, sigma, _ = window
    length, cx, cy, _, _ = apex
    cut = sx - sy * (cx - sx) / (cy - sy)
    if not b0 - 1e-10 * length <= cut <= b1 + 1e-10 * length:
        return np.inf, cut, (True, True)
    trial = sigma + np.hypot(cx - sx, cy - sy)
    if trial <= best * (1 + 1e-10):  # ties: both rays pass through the apex of their neighbor
        return trial, cut, (True, True)
    return trial, cut, (cut <= split_at, cut >= split_at)


@numba.njit(cache=True)
@no_type_check
def geodesic(points, triangles, twin, relay, sources, offsets):
    """Exact distance along the polyhedron: windows of straight rays, unfolded from face to face, nearest first.

    `relay` marks nodes through which shortest paths may turn: saddles and border nodes.
    """
    n = len(points)
    distance, sent = np.full(n, np.inf), np.full(n, np.inf)
    best, split_at = np.full(len(twin), np.inf), np.zeros(len(twin))
    at_node = np.argsort(triangles.ravel(), kind="mergesort")
    first = np.searchsorted(triangles.ravel()[at_node], np.arange(n + 1))
    windows = [(0, 0.0, 0.0, 0.0, 0.0, 0.0, True)]
    heap = [(0.0, 0)]
    windows.clear()
    heap.clear()
    for k in range(len(sources)):
        distance[sources[k]] = min(distance[sources[k]], offsets[k])
        heapq.heappush(heap, (distance[sources[k]], -1 - sources[k]))
    while len(heap):
        _, item = heapq.heappop(heap)
        if item < 0:  # a node sends rays into all its faces
            node = -1 - item
            if distance[node] >= sent[node]:
                continue
            sent[node] = distance[node]
            for corner in at_node[first[node] : first[node + 1]]:
                t, k = corner // 3, corner % 3
                for other in (triangles[t, (k + 1) % 3], triangles[t, (k + 2) % 3]):
                    along = distance[node] + _length(points[node], points[other])
                    if along < distance[other]:
                        distance[other] = along
                        if relay[other]:
                            heapq.heappush(heap, (along, -1 - other))
                opposite = 3 * t + (k + 1) % 3
                length, cx, cy, _, _ = _apex(points, triangles, opposite)
                if twin[opposite] >= 0:
                    window = (twin[opposite], 0.0, length, length - cx, -cy, distance[node], True)
                    heapq.heappush(heap, (_window_key(0.0, length, length - cx, -cy, distance[node]), len(windows)))
                    windows.append(window)
            continue
        window = windows[item]
        h = window[0]
        if _behind_shorter(window, points, triangles, twin, distance):
            continue
        apex = _apex(points, triangles, h)
        node = triangles[h // 3, (h % 3 + 2) % 3]
        trial, cut, keep = _split(window, apex, best[h], split_at[h])
        if trial <= best[h] and np.isfinite(trial):
            best[h], split_at[h] = trial, cut
        if trial < distance[node]:
            distance[node] = trial
            if relay[node]:
                heapq.heappush(heap, (trial, -1 - node))
        for edge, b0, b1, sx, sy, sigma, by_tail in _children(window, apex, keep):
            enters = twin[3 * (h // 3) + (h % 3 + edge) % 3]
            if enters < 0:
                continue
            child = (enters, b0, b1, sx, sy, sigma, by_tail)
            if not _behind_shorter(child, points, triangles, twin, distance):
                heapq.heappush(heap, (_window_key(b0, b1, sx, sy, sigma), len(windows)))
                windows.append(child)
    return distance


@numba.njit(cache=True)
@no_type_check
def _behind_shorter(window, points, triangles, twin, distance):
    """Whether a node of the edge of a window, or of the face behind it, offers shorter paths to all of the window."""
    h = window[0]
    t, k = h // 3, h % 3
    tail, tip = triangles[t, k], triangles[t, (k + 1) % 3]
    back = twin[h]
    # the face behind, with its half-edge tip -> tail: mirror its apex into the coordinates of h
    length, cx, cy, _, _ = _apex(points, triangles, back)
    third = triangles[back // 3, (back % 3 + 2) % 3]
    x, y = length - cx, -cy
    _, b0, b1, _, _, _, _ = window
    reach = (np.hypot(x - b0, y), np.hypot(x - b1, y))
    return _dominated(window, distance, tail, tip, (reach, third), length)
