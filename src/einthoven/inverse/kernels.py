"""Compiled kernels of the iterative solvers.

Imported only by functions that use them, so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np


@numba.njit(cache=True)
@no_type_check
def advance(slope, d, dual, limit, rho):
    """Relax, shorten each triangle's vector by limit / rho (to zero where it is shorter), and add what is left to dual.

    `d` and `dual` are updated. Returns the squared norms per frame of slope - d, rho times the change of d, d, dual.
    """
    norms = np.zeros((4, len(rho)))
    for i in range(len(limit)):
        for t in range(len(rho)):
            u = 1.7 * slope[0, i, t] - 0.7 * d[0, i, t] + dual[0, i, t] / rho[t]
            v = 1.7 * slope[1, i, t] - 0.7 * d[1, i, t] + dual[1, i, t] / rho[t]
            factor = max(1.0 - limit[i] / rho[t] / max(np.sqrt(u * u + v * v), 1e-300), 0.0)
            new_u, new_v = factor * u, factor * v
            change_u, change_v = rho[t] * (new_u - d[0, i, t]), rho[t] * (new_v - d[1, i, t])
            left_u, left_v = slope[0, i, t] - new_u, slope[1, i, t] - new_v
            d[0, i, t], d[1, i, t] = new_u, new_v
            dual[0, i, t], dual[1, i, t] = rho[t] * (u - new_u), rho[t] * (v - new_v)
            norms[0, t] += left_u**2 + left_v**2
            norms[1, t] += change_u**2 + change_v**2
            norms[2, t] += new_u**2 + new_v**2
            norms[3, t] += dual[0, i, t] ** 2 + dual[1, i, t] ** 2
    return norms
