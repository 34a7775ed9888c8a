"""A compiled heap of (time, node): the narrow band of a marching front, nodes twice where their time changed.

Four children each, unsigned places (Numba then asks for no negative indices). Imported only by functions that use it,
so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np

ONE, TWO, THREE, FOUR = (np.uint64(i) for i in (1, 2, 3, 4))


@numba.njit(cache=True)
@no_type_check
def longer(array):
    """A copy twice as long."""
    out = np.empty(2 * len(array), array.dtype)
    out[: len(array)] = array
    return out


@numba.njit(cache=True, inline="always")
@no_type_check
def push(keys, items, size, key, item):
    """Add an entry after `size` others; the arrays must have room for it."""
    place = np.uint64(size)
    while place > 0:
        above = (place - ONE) >> TWO
        if keys[above] <= key:
            break
        keys[place] = keys[above]
        items[place] = items[above]
        place = above
    keys[place] = key
    items[place] = item


@numba.njit(cache=True, inline="always")
@no_type_check
def pop(keys, items, size):
    """Take the entry of the smallest key, which is at 0, out of the heap; `size` others are left."""
    last = np.uint64(size)
    key = keys[last]
    item = items[last]
    place = np.uint64(0)
    while True:
        below = FOUR * place + ONE
        if below + THREE < last:
            least, smallest = below, keys[below]
            if keys[below + ONE] < smallest:
                least, smallest = below + ONE, keys[below + ONE]
            if keys[below + TWO] < smallest:
                least, smallest = below + TWO, keys[below + TWO]
            if keys[below + THREE] < smallest:
                least, smallest = below + THREE, keys[below + THREE]
        elif below < last:
            least, smallest = below, keys[below]
            other = below + ONE
            while other < last:
                if keys[other] < smallest:
                    least, smallest = other, keys[other]
                other += ONE
        else:
            break
        if smallest >= key:
            break
        keys[place] = smallest
        items[place] = items[least]
        place = least
    keys[place] = key
    items[place] = item
