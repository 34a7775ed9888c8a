"""Connectivity of a triangulation: edges, winding, components. Indices only, no coordinates."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class Edges(NamedTuple):
    """The undirected edges of a triangulation.

    ``vertices[e]`` is the sorted pair of nodes; ``count[e]`` the number of triangles that use the
    edge; ``balance[e]`` how often it is walked upwards minus how often downwards (0 on a
    consistently wound closed surface).
    """

    vertices: Int[np.ndarray, "n_edges 2"]
    count: Int[np.ndarray, " n_edges"]
    balance: Int[np.ndarray, " n_edges"]
    of_triangle: Int[np.ndarray, "n_triangles 3"]


def half_edges(triangles: Int[np.ndarray, "n_triangles 3"]) -> Int[np.ndarray, "n_half 2"]:
    """Directed edges (a, b), (b, c), (c, a) of every triangle, triangle by triangle."""
    return np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)


def edges(triangles: Int[np.ndarray, "n_triangles 3"]) -> Edges:
    """Undirected edges with their use counts and winding balance."""
    directed = half_edges(triangles)
    vertices, index = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True)
    index = index.reshape(-1)
    direction = np.where(directed[:, 0] < directed[:, 1], 1, -1)
    count = np.bincount(index, minlength=len(vertices)).astype(np.int64)
    balance = np.zeros(len(vertices), dtype=np.int64)
    np.add.at(balance, index, direction)
    return Edges(vertices.astype(np.int64), count, balance, index.reshape(-1, 3).astype(np.int64))


def bowtie_nodes(triangles: Int[np.ndarray, "n_triangles 3"], n_points: int) -> Int[np.ndarray, " n"]:
    """Nodes at which two sheets touch in a point (their triangles do not form one fan)."""
    # Corners (triangle, node) that share an edge at that node belong to the same fan.
    corner = np.arange(3 * len(triangles)).reshape(-1, 3)
    table = edges(triangles)
    ends, corners = [], []
    for k in range(3):  # the edge from corner k to corner k + 1
        for c in (k, (k + 1) % 3):
            ends.append(table.of_triangle[:, k] * n_points + triangles[:, c])
            corners.append(corner[:, c])
    key, corner_of = np.concatenate(ends), np.concatenate(corners)
    order = np.argsort(key, kind="stable")
    key, corner_of = key[order], corner_of[order]
    same = key[1:] == key[:-1]
    left, right = corner_of[:-1][same], corner_of[1:][same]
    fan = _components(left, right, 3 * len(triangles))
    pairs = np.unique(np.stack([triangles.reshape(-1), fan], axis=1), axis=0)
    fans = np.bincount(pairs[:, 0], minlength=n_points)
    return np.flatnonzero(fans > 1)


def triangle_components(triangles: Int[np.ndarray, "n_triangles 3"]) -> Int[np.ndarray, " n_triangles"]:
    """Label (0, 1, ...) of the edge-connected part each triangle belongs to."""
    left, right, _ = _neighbors(triangles)
    return np.unique(_components(left, right, len(triangles)), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _components(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """Smallest member of the connected part of each of n items, given pairs of neighbors.

    Smaller numbers spread along the pairs and are followed to their end in every round, so that few rounds are needed.
    (SciPy's graph routines would do; their import takes longer than all the rest.)
    """
    label = np.arange(n)
    while True:
        smaller = np.minimum(label[left], label[right])
        if (smaller == label[left]).all() and (smaller == label[right]).all():
            return label
        for side in (left, right):
            np.minimum.at(label, label[side], smaller)
            np.minimum.at(label, side, smaller)
        while (label[label] != label).any():
            label = label[label]


def _neighbors(triangles: Int[np.ndarray, "n_triangles 3"]):
    """Pairs of triangles that share an edge, and whether they agree in winding there."""
    table = edges(triangles)
    flat = table.of_triangle.reshape(-1)
    directed = half_edges(triangles)
    up = directed[:, 0] < directed[:, 1]
    order = np.argsort(flat, kind="stable")
    sorted_edges, owner, sense = flat[order], order // 3, up[order]
    same = sorted_edges[1:] == sorted_edges[:-1]
    return owner[:-1][same], owner[1:][same], (sense[:-1] != sense[1:])[same]


def consistent_flips(triangles: Int[np.ndarray, "n_triangles 3"]) -> Bool[np.ndarray, " n_triangles"] | None:
    """Which triangles to flip so that neighbors agree; None if the surface is not orientable."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    left, right, agree = _neighbors(triangles)
    n = len(triangles)
    graph = coo_matrix((np.ones(2 * len(left)), (np.r_[left, right], np.r_[right, left])), shape=(n, n)).tocsr()
    agreement = {}
    for a, b, same in zip(left.tolist(), right.tolist(), agree.tolist(), strict=True):
        agreement[a, b] = agreement[b, a] = same
    flip = np.zeros(n, dtype=bool)
    part = triangle_components(triangles)
    for label in range(part.max() + 1 if n else 0):
        seed = int(np.flatnonzero(part == label)[0])
        order, parent = breadth_first_order(graph, seed, directed=False)
        for t in order[1:]:
            p = int(parent[t])
            flip[t] = flip[p] if agreement[p, int(t)] else not flip[p]
        # keep the orientation of the majority, so that few faces change
        members = part == label
        if flip[members].sum() > members.sum() / 2:
            flip[members] = ~flip[members]
    disagree = (flip[left] != flip[right]) == agree
    return None if disagree.any() else flip
