"""Compiled search for the cells of a grid around sites. Imported only by functions that use it."""

from typing import no_type_check

import numba
import numpy as np

from einthoven.eikonal.kernels_stencil import visible


@numba.njit(cache=True)
@no_type_check
def in_sight(index, places, offsets, reach, masked, out):
    """Nodes within `reach` cells of each site and in sight of it; the site's own cell conducts.

    Parameters
    ----------
    index
        Grid of three axes: the node in each cell, -1 where nothing conducts.
    places
        Shape (n, 3): sites, in cells from the center of cell 0.
    offsets
        Shape (m, 3): cells around the site's own that are looked at.
    out
        Shape (n, m), holding -1; filled.
    """
    step = np.empty(3)
    for i in range(len(places)):
        for j in range(len(offsets)):
            x = int(np.floor(places[i, 0] + 0.5)) + offsets[j, 0]
            y = int(np.floor(places[i, 1] + 0.5)) + offsets[j, 1]
            z = int(np.floor(places[i, 2] + 0.5)) + offsets[j, 2]
            s = index.shape
            if not (0 <= x < s[0] and 0 <= y < s[1] and 0 <= z < s[2]) or index[x, y, z] < 0:
                continue
            step[0], step[1], step[2] = x - places[i, 0], y - places[i, 1], z - places[i, 2]
            own = offsets[j, 0] == 0 and offsets[j, 1] == 0 and offsets[j, 2] == 0
            if not own and step[0] ** 2 + step[1] ** 2 + step[2] ** 2 > reach * reach:
                continue
            if own or not masked or visible(index, places[i], step, 32):
                out[i, j] = index[x, y, z]
