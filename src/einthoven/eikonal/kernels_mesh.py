"""Compiled solution of the eikonal equation on triangles and tetrahedra, and its reverse pass.

The time of a node x is the least of T(y) + |x - y| over the points y of the opposite sides of its cells, T linear
there, |.| the cell's metric (Qian, Zhang and Zhao 2007, doi:10.1137/050627083; Fu, Kirby and Whitaker 2013,
doi:10.1137/120881956). A cell's metric enters by the squared lengths of its edges alone. Nodes are taken in the order
of their times; where a cell has an obtuse angle in its metric, a later node can still lower an earlier one, which is
then taken again, until nothing changes.

Imported only by functions that use them, so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np

from einthoven.eikonal.kernels_march import SEED
from einthoven.eikonal.queue import ONE, longer, pop, push

#: Number of the edge between two corners of a cell; a triangle uses the first three corners of its own table.
TRIANGLE_EDGES = np.array([[-1, 0, 1], [0, -1, 2], [1, 2, -1]])
TETRAHEDRON_EDGES = np.array([[-1, 0, 1, 2], [0, -1, 3, 4], [1, 3, -1, 5], [2, 4, 5, -1]])

#: A time must fall by more than this part of itself to count as another.
_SAME = 1e-13

#: Squared sine below which two edges are one: cells that lost a corner name another one twice.
_FLAT = 1e-14


@numba.njit(cache=True)
@no_type_check
def _from_edge(ta, tb, xa, xb, ab):
    """Time at x from the edge a-b, and the share of b; squared lengths."""
    if ta == np.inf or tb == np.inf:
        from_a, from_b = ta + np.sqrt(xa), tb + np.sqrt(xb)
        return (from_a, 0.0) if from_a <= from_b else (from_b, 1.0)
    delta = tb - ta
    b = 0.5 * (xa + ab - xb)
    rest = ab - delta * delta
    if rest > 0.0:
        q = -delta * np.sqrt(max(xa * ab - b * b, 0.0) / rest)
        share = (b + q) / ab
        if 0.0 < share < 1.0:
            return ta + share * delta + np.sqrt(max(xa - 2.0 * share * b + share * share * ab, 0.0)), share
    from_a, from_b = ta + np.sqrt(xa), tb + np.sqrt(xb)
    return (from_a, 0.0) if from_a <= from_b else (from_b, 1.0)


@numba.njit(cache=True)
@no_type_check
def _from_side(ta, tb, tc, xa, xb, xc, ab, ac, bc):
    """Time at x from the triangle a-b-c, and the shares of b and c; squared lengths.

    What is minimized is convex: where its minimum over the plane lies beyond some sides of the triangle, that over the
    triangle lies on one of them.
    """
    past_a, past_b, past_c = True, True, True  # beyond the side opposite to a, b, c
    if ta != np.inf and tb != np.inf and tc != np.inf:
        db, dc = tb - ta, tc - ta
        g = 0.5 * (ab + ac - bc)
        det = ab * ac - g * g
        if det > _FLAT * ab * ac:
            slope = (ac * db * db - 2.0 * g * db * dc + ab * dc * dc) / det
            if slope < 1.0:
                pb, pc = 0.5 * (xa + ab - xb), 0.5 * (xa + ac - xc)
                wb, wc = (ac * pb - g * pc) / det, (ab * pc - g * pb) / det
                height = max(xa - pb * wb - pc * wc, 0.0)
                r = np.sqrt(height / (1.0 - slope))
                wb -= r * (ac * db - g * dc) / det
                wc -= r * (ab * dc - g * db) / det
                past_a, past_b, past_c = wb + wc > 1.0, wb < 0.0, wc < 0.0
                if not (past_a or past_b or past_c):
                    return ta + db * wb + dc * wc + r, wb, wc
    best, wb, wc = np.inf, 0.0, 0.0
    if past_c:
        best, wb = _from_edge(ta, tb, xa, xb, ab)
    if past_b:
        time, share = _from_edge(ta, tc, xa, xc, ac)
        if time < best:
            best, wb, wc = time, 0.0, share
    if past_a:
        time, share = _from_edge(tb, tc, xb, xc, bc)
        if time < best:
            best, wb, wc = time, 1.0 - share, share
    return best, wb, wc


@numba.njit(cache=True, inline="always")
@no_type_check
def _known(times, node, x):
    """Time of a corner; corners that name the node x again (see `mesh_solver.Cells`) tell nothing."""
    return times[node] if node != x else np.inf


@numba.njit(cache=True)
@no_type_check
def _from_cell(cells, squares, c, i, times):
    """Time at corner i of cell c from the others, and the shares of the second and third of them."""
    x = cells[c, i]
    if cells.shape[1] == 3:
        a, b = (i + 1) % 3, (i + 2) % 3
        e = TRIANGLE_EDGES
        ta, tb = _known(times, cells[c, a], x), _known(times, cells[c, b], x)
        time, share = _from_edge(ta, tb, squares[c, e[i, a]], squares[c, e[i, b]], squares[c, e[a, b]])
        return time, share, 0.0
    a, b, d = (i + 1) % 4, (i + 2) % 4, (i + 3) % 4
    e = TETRAHEDRON_EDGES
    ta, tb, td = _known(times, cells[c, a], x), _known(times, cells[c, b], x), _known(times, cells[c, d], x)
    return _from_side(
        ta, tb, td, squares[c, e[i, a]], squares[c, e[i, b]], squares[c, e[i, d]],
        squares[c, e[a, b]], squares[c, e[a, d]], squares[c, e[b, d]],
    )  # fmt: skip


@numba.njit(cache=True)
@no_type_check
def acute(squares, n_corners, out):
    """Which corners of which cells see no two others at an obtuse angle: they do not depend on later nodes."""
    e = TRIANGLE_EDGES if n_corners == 3 else TETRAHEDRON_EDGES
    for c in range(len(squares)):
        for i in range(n_corners):
            out[c, i] = True
            for j in range(n_corners):
                for k in range(j + 1, n_corners):
                    if i not in (j, k) and squares[c, e[i, j]] + squares[c, e[i, k]] < squares[c, e[j, k]]:
                        out[c, i] = False


@numba.njit(cache=True, nogil=True)
@no_type_check
def march(cells, squares, is_acute, starts, cells_of, seeds, seed_times, times, how):
    """Times of arrival from seeds.

    Parameters
    ----------
    cells
        Shape (n_cells, 3) or (n_cells, 4): nodes.
    squares
        Shape (n_cells, 3) or (n_cells, 6): squared lengths of the edges in the cell's metric, ms2.
    is_acute
        Shape of `cells`, from `acute`.
    starts, cells_of
        Which cells each node belongs to: ``cells_of[starts[x]:starts[x + 1]]``.
    seeds, seed_times
        Shape (n_seeds,): nodes (-1: none) and their times.
    times, how
        Shape (n,), filled; `times` must hold infinity and `how` -1. Codes are n_corners * cell + corner.
    """
    keys, items, size = np.empty(4096), np.empty(4096, np.uint32), 0
    n_corners = cells.shape[1]
    for k in range(len(seeds)):
        x = seeds[k]
        if x >= 0 and seed_times[k] < times[x]:
            if size + 1 > len(keys):
                keys, items = longer(keys), longer(items)
            times[x], how[x] = seed_times[k], SEED - k
            push(keys, items, size, times[x], x)
            size += 1
    while size > 0:
        key = keys[0]
        y = np.uint64(items[0])
        size -= 1
        pop(keys, items, size)
        if key != times[y]:
            continue
        while size + n_corners * (starts[y + ONE] - starts[y]) > len(keys):
            keys, items = longer(keys), longer(items)
        for place in range(starts[y], starts[y + ONE]):
            c = np.uint64(cells_of[place])
            for i in range(n_corners):
                x = np.uint64(cells[c, i])
                old = times[x]
                if x == y or (old <= key and is_acute[c, i]):
                    continue
                time, _, _ = _from_cell(cells, squares, c, i, times)
                if time < old - _SAME * abs(time):
                    times[x] = time
                    how[x] = n_corners * c + i
                    push(keys, items, size, time, x)
                    size += 1


@numba.njit(cache=True, nogil=True)
@no_type_check
def parents(cells, squares, times, how, nodes, shares):
    """What decided each node: `nodes` (n, 3), -1 where there is none, and their shares, which sum to 1."""
    n_corners = cells.shape[1]
    for x in range(len(times)):
        nodes[x, :] = -1
        shares[x, :] = 0.0
        if how[x] < 0:
            continue
        c, i = how[x] // n_corners, how[x] % n_corners
        _, b, d = _from_cell(cells, squares, c, i, times)
        shares[x, 0], shares[x, 1], shares[x, 2] = max(1.0 - b - d, 0.0), b, d
        for k in range(n_corners - 1):
            if shares[x, k] > 0.0:
                nodes[x, k] = cells[c, (i + 1 + k) % n_corners]


@numba.njit(cache=True, nogil=True)
@no_type_check
def by_edges(cells, squares, how, shares, out):
    """Derivatives of every node's time by the squared lengths of the cell that decided it: fills `out` (n, n_edges).

    |x - sum_i s_i a_i|^2 = sum_i s_i |x - a_i|^2 - sum_{i < j} s_i s_j |a_i - a_j|^2 for shares that sum to 1.
    """
    n_corners = cells.shape[1]
    e = TRIANGLE_EDGES if n_corners == 3 else TETRAHEDRON_EDGES
    for x in range(len(how)):
        out[x, :] = 0.0
        if how[x] < 0:
            continue
        c, i = how[x] // n_corners, how[x] % n_corners
        square = 0.0
        for k in range(n_corners - 1):
            a = (i + 1 + k) % n_corners
            square += shares[x, k] * squares[c, e[i, a]]
            for m in range(k):
                square -= shares[x, k] * shares[x, m] * squares[c, e[a, (i + 1 + m) % n_corners]]
        if square <= 0.0:
            continue
        half = 0.5 / np.sqrt(square)
        for k in range(n_corners - 1):
            a = (i + 1 + k) % n_corners
            out[x, e[i, a]] += half * shares[x, k]
            for m in range(k):
                out[x, e[a, (i + 1 + m) % n_corners]] -= half * shares[x, k] * shares[x, m]
