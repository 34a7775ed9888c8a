"""Compiled kernels that make the upwind stencils of a grid from squared-speed tensors.

A tensor is split as V = sum_i w_i e_i e_i^T with integer vectors e_i and weights w_i >= 0 (Selling's reduction of a
superbase; three vectors in 2-D, six in 3-D). Then <V grad T, grad T> = sum_i w_i <grad T, e_i>^2, and the scheme that
replaces each <grad T, e_i> by an upwind difference is monotone and causal at any anisotropy (Mirebeau 2019,
doi:10.1137/17M1127466). An isotropic tensor gives the common scheme along the axes.

Imported only by functions that use them, so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np

#: Pairs of vectors of a superbase, and the two others (in 2-D: the other one, twice), in 2-D and in 3-D.
PAIRS_2D = np.array([[0, 1, 2, 2], [0, 2, 1, 1], [1, 2, 0, 0]])
PAIRS_3D = np.array([[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 0, 2], [2, 3, 0, 1]])

#: Weights below this share of the tensor's trace are zero.
_NOTHING = 1e-12

#: Steps of the reduction before it gives up: enough for speeds of 100:1.
_STEPS = 400


@numba.njit(cache=True)
@no_type_check
def _inner(tensor, a, b):
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            total += a[i] * tensor[i, j] * b[j]
    return total


@numba.njit(cache=True)
@no_type_check
def reduce_superbase(tensor, base):
    """Turn `base`, shape (d + 1, d), into a superbase whose vectors meet at obtuse angles in the tensor's metric.

    Returns whether that succeeded; it fails only for tensors of absurd anisotropy or those that are not positive.
    """
    n, d = base.shape
    for i in range(d):
        for j in range(d):
            base[i, j] = 1 if i == j else 0
        base[d, i] = -1
    trace = 0.0
    for i in range(d):
        trace += tensor[i, i]
    for _ in range(_STEPS):
        obtuse = True
        for i in range(n):
            for j in range(i + 1, n):
                if _inner(tensor, base[i], base[j]) > _NOTHING * trace:
                    obtuse = False
                    _flip(base, i, j)
                    break
            if not obtuse:
                break
        if obtuse:
            return True
    return False


@numba.njit(cache=True)
@no_type_check
def _flip(base, i, j):
    """The next superbase: -b_i, b_j and the rest plus b_i (2-D: the rest becomes b_i - b_j)."""
    n, d = base.shape
    for k in range(n):
        if k not in (i, j):
            for a in range(d):
                base[k, a] = base[i, a] - base[j, a] if d == 2 else base[k, a] + base[i, a]
    for a in range(d):
        base[i, a] = -base[i, a]


@numba.njit(cache=True)
@no_type_check
def _offset(base, pair, out):
    """The integer vector that belongs to a pair: orthogonal to the others, +-1 on the pair."""
    k, m = pair[2], pair[3]
    if base.shape[1] == 2:
        out[0], out[1] = base[k, 1], -base[k, 0]
        return
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        out[a] = base[k, b] * base[m, c] - base[k, c] * base[m, b]


@numba.njit(cache=True)
@no_type_check
def _free(index, x, y, z):
    s = index.shape
    return 0 <= x < s[0] and 0 <= y < s[1] and 0 <= z < s[2] and index[x, y, z] >= 0


@numba.njit(cache=True)
@no_type_check
def visible(index, start, step, n_steps):
    """Whether the straight segment start + (0 to 1) step runs through conducting cells.

    `start` is in units of cells from the center of cell 0, `step` too. Where the segment crosses an edge or a corner of
    cells, one way around it through faces must be free.
    """
    here = np.empty(3, np.int64)
    target = np.empty(3, np.int64)
    sign = np.empty(3, np.int64)
    for a in range(3):
        here[a] = int(np.floor(start[a] + 0.5))
        target[a] = int(np.floor(start[a] + step[a] + 0.5))
        sign[a] = 1 if target[a] > here[a] else -1
    for _ in range(n_steps):
        if here[0] == target[0] and here[1] == target[1] and here[2] == target[2]:
            return _free(index, here[0], here[1], here[2])
        first = np.inf
        for a in range(3):
            if here[a] != target[a]:
                first = min(first, (here[a] + 0.5 * sign[a] - start[a]) / step[a])
        moves = 0
        axes = np.empty(3, np.int64)
        for a in range(3):
            if here[a] != target[a] and (here[a] + 0.5 * sign[a] - start[a]) / step[a] <= first + 1e-9:
                axes[moves] = a
                moves += 1
        if moves > 1 and not _around(index, here, axes, moves, sign):
            return False
        for k in range(moves):
            here[axes[k]] += sign[axes[k]]
        if not _free(index, here[0], here[1], here[2]):
            return False
    return False


@numba.njit(cache=True)
@no_type_check
def _around(index, here, axes, moves, sign):
    """Whether some order of the moves passes free cells only (the last cell is not looked at)."""
    for k in range(moves):
        a = axes[k]
        x, y, z = here[0], here[1], here[2]
        x += sign[a] * (a == 0)
        y += sign[a] * (a == 1)
        z += sign[a] * (a == 2)
        if not _free(index, x, y, z):
            continue
        if moves == 2:
            return True
        for j in range(moves):
            b = axes[j]
            if b != a and _free(index, x + sign[b] * (b == 0), y + sign[b] * (b == 1), z + sign[b] * (b == 2)):
                return True
    return False


@numba.njit(cache=True)
@no_type_check
def axis_neighbors(index, places, neighbors):
    """Fill `neighbors`, shape (n, 2 d), with the nodes below and above along every axis, -1 where there is none."""
    for x in range(len(places)):
        for a in range(neighbors.shape[1] // 2):
            for side in range(2):
                step = 2 * side - 1
                i = places[x, 0] + step * (a == 0)
                j = places[x, 1] + step * (a == 1)
                k = places[x, 2] + step * (a == 2)
                neighbors[x, 2 * a + side] = index[i, j, k] if _free(index, i, j, k) else -1


@numba.njit(cache=True, nogil=True)
@no_type_check
def reduced_stencils(first, last, index, places, tensors, pairs, masked, second, bases, weights, near, far, blocked):
    """Upwind stencils of nodes from their tensors.

    Parameters
    ----------
    first, last
        The nodes from `first` to before `last` are worked on; other threads do the rest.
    index
        Grid, always of three axes: the node in each cell, -1 where nothing conducts.
    places
        Shape (n, 3): the cell of every node.
    tensors
        Shape (n, d, d) or (1, d, d), V / spacing^2, 1/ms2.
    pairs
        `PAIRS_2D` or `PAIRS_3D`; m is their number.
    masked
        Whether some cell of the grid does not conduct, so that lines of sight are looked at.
    second
        Whether `far` is wanted.
    bases, weights, near, far
        Filled: superbases (n, d + 1, d); weights w_i (n, m); neighbors at -e_i and +e_i (n, 2 m), -1 where there is
        none or it is hidden; those at twice the distance.
    blocked
        Filled, shape (n,): 1 where a neighbor is missing or hidden (not those beyond the grid's border along an axis),
        2 where the reduction failed, or so much of the tensor is nothing beside the rest that the vectors left do not
        span space.
    """
    d, m = tensors.shape[1], len(pairs)
    alike = len(tensors) == 1
    for x in range(first, last):
        tensor = tensors[0 if alike else x]
        base, offset = bases[x], np.empty(3, np.int64)
        offset[2] = 0
        blocked[x] = 0 if reduce_superbase(tensor, base) else 2
        trace = 0.0
        for a in range(d):
            trace += tensor[a, a]
        spanned = np.zeros((3, 3))
        for i in range(m):
            w = -_inner(tensor, base[pairs[i, 0]], base[pairs[i, 1]])
            weights[x, i] = w if w > _NOTHING * trace else 0.0
            _offset(base, pairs[i], offset)
            for a in range(d):
                for b in range(d):
                    spanned[a, b] += offset[a] * offset[b] * (weights[x, i] > 0.0)
            length = abs(offset[0]) + abs(offset[1]) + abs(offset[2])
            for side in range(2):
                near[x, 2 * i + side] = -1
                if second:
                    far[x, 2 * i + side] = -1
                reach = _seen(index, places[x], offset, 2 * side - 1, length, masked)
                near[x, 2 * i + side] = reach
                if reach < 0:
                    if weights[x, i] > 0.0 and (masked or length > 1):
                        blocked[x] = max(blocked[x], 1)
                elif second:
                    far[x, 2 * i + side] = _seen(index, places[reach], offset, 2 * side - 1, length, masked)
        if _volume(spanned, d) < 0.5:
            blocked[x] = 2


@numba.njit(cache=True)
@no_type_check
def _volume(a, d):
    """Determinant of the leading d x d part, d 2 or 3."""
    if d == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return (
        a[0, 0] * (a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1])
        - a[0, 1] * (a[1, 0] * a[2, 2] - a[1, 2] * a[2, 0])
        + a[0, 2] * (a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0])
    )


@numba.njit(cache=True)
@no_type_check
def _seen(index, place, offset, sign, length, masked):
    """The node at place + sign * offset, -1 where there is none or it cannot be seen."""
    x, y, z = place[0] + sign * offset[0], place[1] + sign * offset[1], place[2] + sign * offset[2]
    if not _free(index, x, y, z):
        return -1
    if masked and length > 1:
        start, step = np.empty(3), np.empty(3)
        for a in range(3):
            start[a], step[a] = place[a], sign * offset[a]
        if not visible(index, start, step, length + 1):
            return -1
    return index[x, y, z]


@numba.njit(cache=True)
@no_type_check
def count_users(weights, near, axes, lengths, starts):
    """How many nodes use each node y in their stencil or along an axis: added to ``starts[y + 1]``, then summed."""
    for x in range(len(near)):
        for s in range(near.shape[1]):
            if near[x, s] >= 0 and weights[x, s >> 1] > 0.0:
                starts[near[x, s] + 1] += 1
    for x in range(len(axes)):
        for s in range(axes.shape[1]):
            if lengths[x, s >> 1] > 0.0 and axes[x, s] >= 0:
                starts[axes[x, s] + 1] += 1
    for y in range(len(near)):
        starts[y + 1] += starts[y]


@numba.njit(cache=True)
@no_type_check
def list_users(weights, near, axes, lengths, starts, users):
    """Fill ``users[starts[y]:starts[y + 1]]`` with the nodes that `count_users` counted."""
    place = starts[:-1].copy()
    for x in range(len(near)):
        for s in range(near.shape[1]):
            y = near[x, s]
            if y >= 0 and weights[x, s >> 1] > 0.0:
                users[place[y]] = x
                place[y] += 1
    for x in range(len(axes)):
        for s in range(axes.shape[1]):
            y = axes[x, s]
            if lengths[x, s >> 1] > 0.0 and y >= 0:
                users[place[y]] = x
                place[y] += 1
