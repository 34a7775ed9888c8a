"""Compiled kernels on grids: rates of exchange between cells with full diffusion tensors.

Imported only by functions that use them, so that importing the package stays cheap.
"""

from typing import no_type_check

import numba
import numpy as np


@numba.njit(cache=True)
@no_type_check
def tensor_rates(index, corners, faces, signs, pair, diffusivity, rates):
    """Rates between the cells around every grid vertex, summed, in units of 2^(2 - d) / h^2.

    Around a vertex every cell has one orthant, and every two orthants side by side share one half face with a potential
    of its own. The energy sum_orthants g^T D g / 2, g the differences between an orthant's half faces and its cell, is
    minimized over the potentials of the half faces (Schur complement): what is left couples the cells.

    Parameters
    ----------
    index
        Flat padded grid, -1 where nothing conducts (all of the padding), else the node.
    corners
        Steps in the flat padded grid from the lowest to each of the 2^d cells around a vertex.
    faces, signs
        Shape (2^d, d): half face of each orthant across each axis, and the side it lies on.
    pair
        Shape (2^d, 2^d): which of the half offsets leads from the first to the second cell.
    diffusivity
        Shape (n_nodes, d, d), or (1, d, d) where all nodes are alike.
    rates
        Shape (n_nodes, n_pairs): added to.
    """
    n_corners, d = faces.shape
    n_faces = n_corners * d // 2
    alike = len(diffusivity) == 1
    node = np.empty(n_corners, np.int64)
    matrix, known = np.empty((n_faces, n_faces)), np.empty((n_faces, n_corners))
    for base in range(len(index) - corners[-1]):
        present = 0
        for q in range(n_corners):
            node[q] = index[base + corners[q]]
            present += node[q] >= 0
        if present < 2:
            continue
        matrix[:] = 0.0
        known[:] = 0.0
        for q in range(n_corners):
            if node[q] < 0:
                continue
            tensor = diffusivity[0 if alike else node[q]]
            for a in range(d):
                for b in range(d):
                    value = signs[q, a] * signs[q, b] * tensor[a, b]
                    matrix[faces[q, a], faces[q, b]] += value
                    known[faces[q, a], q] += value
        _solve_lower(matrix, known)
        for q in range(n_corners):
            for r in range(q + 1, n_corners):
                if node[q] >= 0 and node[r] >= 0:
                    total = 0.0
                    for f in range(n_faces):
                        total += known[f, q] * known[f, r]
                    rates[node[q], pair[q, r]] += total


@numba.njit(cache=True)
@no_type_check
def _solve_lower(matrix, known):
    """Cholesky factor L of `matrix` in place; `known` becomes L^-1 known. Rows without any cell are left out."""
    n, m = known.shape
    for i in range(n):
        for j in range(i):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / matrix[j, j]
        total = matrix[i, i]
        for k in range(i):
            total -= matrix[i, k] ** 2
        matrix[i, i] = np.sqrt(total) if total > 0 else 1.0
        for q in range(m):
            total = known[i, q]
            for k in range(i):
                total -= matrix[i, k] * known[k, q]
            known[i, q] = total / matrix[i, i]
