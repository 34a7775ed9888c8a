"""Compiled passes over the graph of what decided what: derivatives backward and forward, and where waves came from.

Every node x has parents y_k with shares s_k, the derivatives of T_x by T_y; seeds have none. Imported only by functions
that use them.
"""

from typing import no_type_check

import numba
import numpy as np

from einthoven.eikonal.kernels_march import SEED


@numba.njit(cache=True, nogil=True)
@no_type_check
def parents_first(nodes, order):
    """Sort the nodes so that parents come before children; returns how many could be sorted (all: no cycle)."""
    n, m = nodes.shape
    starts, waiting = np.zeros(n + 1, np.int64), np.zeros(n, np.int64)
    for x in range(n):
        for k in range(m):
            if nodes[x, k] >= 0:
                starts[nodes[x, k] + 1] += 1
                waiting[x] += 1
    for x in range(n):
        starts[x + 1] += starts[x]
    children, place = np.empty(starts[n], np.int64), starts[:-1].copy()
    for x in range(n):
        for k in range(m):
            if nodes[x, k] >= 0:
                children[place[nodes[x, k]]] = x
                place[nodes[x, k]] += 1
    count = 0
    for x in range(n):
        if waiting[x] == 0:
            order[count] = x
            count += 1
    done = 0
    while done < count:
        y = order[done]
        done += 1
        for place_ in range(starts[y], starts[y + 1]):
            x = children[place_]
            waiting[x] -= 1
            if waiting[x] == 0:
                order[count] = x
                count += 1
    return count


@numba.njit(cache=True, nogil=True)
@no_type_check
def pass_back(nodes, shares, order, adjoint):
    """Give every node's derivative to its parents too, children first: `adjoint` is changed."""
    for i in range(len(order) - 1, -1, -1):
        x = order[i]
        for k in range(nodes.shape[1]):
            if nodes[x, k] >= 0:
                adjoint[nodes[x, k]] += adjoint[x] * shares[x, k]


@numba.njit(cache=True, nogil=True)
@no_type_check
def pass_forward(nodes, shares, order, changes):
    """Add the parents' changes to every node's own, parents first: `changes`, shape (n, n_changes), is changed."""
    for x in order:
        for k in range(nodes.shape[1]):
            if nodes[x, k] >= 0:
                for p in range(changes.shape[1]):
                    changes[x, p] += shares[x, k] * changes[nodes[x, k], p]


@numba.njit(cache=True, nogil=True)
@no_type_check
def first_seeds(nodes, shares, how, order, out):
    """Which seed's wave came to each node: that of its most important parent. Fills `out`, -1 where none came."""
    for i in range(len(order)):
        x = order[i]
        out[x] = SEED - how[x] if how[x] <= SEED else -1
        most = 0.0
        for k in range(nodes.shape[1]):
            if nodes[x, k] >= 0 and shares[x, k] > most:
                most = shares[x, k]
                out[x] = out[nodes[x, k]]
