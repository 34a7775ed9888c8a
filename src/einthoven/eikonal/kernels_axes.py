"""Compiled fast marching on grids where speed is the same in all directions: differences along the axes.

The same scheme, codes and order as `kernels_march.march` with neighbors along the axes, in a grid with one layer of
cells around it, where neighbors are found by fixed steps. Imported only by functions that use it.
"""

from typing import no_type_check

import numba
import numpy as np

from einthoven.eikonal.kernels_march import FIRST_ORDER, SEED, STENCIL
from einthoven.eikonal.queue import longer, pop, push

#: Time of a cell that does not conduct; onsets, and so times, may be negative.
WALL = -np.inf


@numba.njit(cache=True, inline="always")
@no_type_check
def _earliest(times, x, step):
    """The time of the earlier neighbor along an axis, infinite where none is known, and whether it is the upper one."""
    low = times[x - step]
    high = times[x + step]
    if low == WALL:
        low = np.inf
    if high == WALL:
        high = np.inf
    return (high, True) if high < low else (low, False)


@numba.njit(cache=True, inline="always")
@no_type_check
def _first(a, b, c, f):
    """T with (T - a)_+^2 + (T - b)_+^2 + (T - c)_+^2 = f."""
    low, b = min(a, b), max(a, b)
    b, c = min(b, c), max(b, c)
    a, b = min(low, b), max(low, b)
    time = a + np.sqrt(f)
    if time > b:
        d = b - a
        time = 0.5 * (a + b + np.sqrt(2.0 * f - d * d))
        if time > c:
            m = (a + b + c) / 3.0
            time = m + np.sqrt(max((f - (a - m) ** 2 - (b - m) ** 2 - (c - m) ** 2) / 3.0, 0.0))
    return time


@numba.njit(cache=True)
@no_type_check
def _second(times, x, steps, f, first):
    """The time by second differences where the cells behind allow them, else `first`."""
    s0, s1, s2, latest, earliest, behind = 0.0, 0.0, 0.0, -np.inf, np.inf, False
    for step in steps:
        near, _ = _earliest(times, x, step)
        earliest = min(earliest, near)
    for step in steps:
        near, upper = _earliest(times, x, step)
        if near >= first:
            continue
        latest = max(latest, near)
        t, w = near - earliest, 1.0
        far = times[x + step + step] if upper else times[x - step - step]
        if WALL < far <= near:
            t, w = t + (near - far) / 3.0, 2.25
            behind = True
        s0, s1, s2 = s0 + w, s1 + w * t, s2 + w * t * t
    root = s1 * s1 - s0 * (s2 - f)
    if not behind or root < 0.0:
        return first
    time = earliest + (s1 + np.sqrt(root)) / s0
    return time if time >= latest else first


@numba.njit(cache=True, nogil=True)
@no_type_check
def march(steps, squares, second, seeds, seed_times, times, how, order):
    """Times of arrival from seeds; returns the number of cells reached.

    Parameters
    ----------
    steps
        Shape (d,), unsigned: from a cell to the next along each axis.
    squares
        Squared time along one spacing, spacing^2 / V, ms2: one for each cell, or one for all.
    second
        Whether second differences are used where they can be.
    seeds, seed_times
        Shape (n_seeds,): cells (-1: none) and their times.
    times, how, order
        Shape (n_cells,), filled; `times` must hold infinity, and `WALL` where nothing conducts.
    """
    n = len(times)
    trial = np.full(n, np.inf)
    keys, items, size = np.empty(4096), np.empty(4096, np.uint32), 0
    alike, seeded = len(squares) == 1, np.zeros(n, np.bool_)
    for k in range(len(seeds)):
        x = seeds[k]
        if x >= 0 and seed_times[k] < trial[x]:
            if size + 1 > len(keys):
                keys, items = longer(keys), longer(items)
            trial[x], how[x], seeded[x] = seed_times[k], SEED - k, True
            push(keys, items, size, trial[x], x)
            size += 1
    start = np.where(seeded, trial, np.inf) if second else trial[:0]
    start_how = how.copy() if second else how[:0]
    zero, count = np.uint64(0), 0
    first_step = steps[0]
    second_step = steps[1] if len(steps) > 1 else zero
    third_step = steps[2] if len(steps) > 2 else zero
    while size > 0:
        key = keys[0]
        y = np.uint64(items[0])
        size -= 1
        pop(keys, items, size)
        if times[y] != np.inf or key != trial[y]:
            continue
        times[y] = key
        order[count] = y
        count += 1
        if size + 6 > len(keys):
            keys, items = longer(keys), longer(items)
        for side in range(2 * len(steps)):
            step = steps[side >> 1]
            x = y + step if side & 1 else y - step
            if times[x] != np.inf:
                continue
            f = squares[zero] if alike else squares[x]
            a, _ = _earliest(times, x, first_step)
            b, c = np.inf, np.inf
            if second_step != zero:
                b, _ = _earliest(times, x, second_step)
            if third_step != zero:
                c, _ = _earliest(times, x, third_step)
            time = _first(a, b, c, f)
            code = FIRST_ORDER if seeded[x] else STENCIL
            if second:
                if not seeded[x]:
                    time = _second(times, x, steps, f, time)
                elif start[x] <= time:
                    time, code = start[x], start_how[x]
                changed = time != trial[x]
            else:
                changed = time < trial[x]
            if changed:
                trial[x] = time
                how[x] = code
                push(keys, items, size, time, x)
                size += 1
    return count
