"""Where the values of nodes lie in the arrays of the compiled loop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from einthoven.tissue.coupling import Graph, Stencil


@dataclass(frozen=True, eq=False)
class Layout:
    """Groups of cells that are computed together, and the coupling in their order.

    On a grid a group is computed if any of its cells conducts; the others of its cells are uncoupled copies of a node.

    Parameters
    ----------
    lanes, ways
        Cells in a vector, vectors in a group.
    length
        Of one row of potentials, without margins, in cells; a whole number of groups.
    margin
        Cells before and after a row.
    firsts, counts
        Runs of computed groups: number of the first in the row, and how many groups all runs before hold.
    places
        Shape (n_nodes,): place of every node in a row.
    nodes
        Shape (n_cells,): position of the node in every computed cell, -1 where there is none.
    weights, neighbors, offsets
        The coupling, see `einthoven.simulate.kernels`: of a grid weights (k, row with margins) and offsets of places;
        of lists weights and neighbors in slots, and for every group where its slots begin.
    n_offsets
        Half the neighbors of a grid; None for lists.
    """

    lanes: int
    ways: int
    length: int
    margin: int
    firsts: Int[np.ndarray, " n_runs"]
    counts: Int[np.ndarray, " n_runs_and_one"]
    places: Int[np.ndarray, " n_nodes"]
    nodes: Int[np.ndarray, " n_cells"]
    weights: Float[np.ndarray, " n_weights"]
    neighbors: Int[np.ndarray, " n_slots"]
    offsets: Int[np.ndarray, " n_offsets"]
    n_offsets: int | None

    @property
    def n_groups(self) -> int:
        """Number of computed groups."""
        return int(self.counts[-1])

    @property
    def row(self) -> int:
        """Length of a row with its margins."""
        return self.length + 2 * self.margin

    @property
    def cells(self) -> Int[np.ndarray, " n_cells"]:
        """Place in a row of every computed cell."""
        size, lengths = self.lanes * self.ways, np.diff(self.counts)
        groups = np.arange(self.n_groups) + np.repeat(self.firsts - self.counts[:-1], lengths)
        return (groups[:, None] * size + np.arange(size)).reshape(-1)

    def spread(self, values: Float[np.ndarray, "k n_nodes"]) -> Float[np.ndarray, " n"]:
        """Values of nodes, vector by vector: index (vector, k, lane); cells without a node get the first one's."""
        source = np.where(self.nodes < 0, 0, self.nodes).reshape(-1, self.lanes)
        return np.ascontiguousarray(np.moveaxis(values[:, source], 0, 1)).reshape(-1)

    def collect(self, spread: Float[np.ndarray, " n"], k: int) -> Float[np.ndarray, "k n_nodes"]:
        """The inverse of `spread`."""
        if k == 0:
            return np.zeros((0, len(self.places)), spread.dtype)
        ordered = np.moveaxis(spread.reshape(-1, k, self.lanes), 1, 0).reshape(k, -1)
        found = np.empty((k, len(self.places)), spread.dtype)
        used = self.nodes >= 0
        found[:, self.nodes[used]] = ordered[:, used]
        return found


def layout(coupling: Stencil | Graph, lanes: int, ways: int, dtype: np.dtype) -> Layout:
    """Layout of a coupling."""
    if isinstance(coupling, Graph):
        return _lists(coupling, lanes, ways, dtype)
    return _grid(coupling, lanes, ways, dtype)


def _padded(n: int, lanes: int) -> int:
    return -(-n // lanes) * lanes


def _grid(stencil: Stencil, lanes: int, ways: int, dtype: np.dtype) -> Layout:
    shape = stencil.shape
    strides = np.array([int(np.prod(shape[k + 1 :])) for k in range(len(shape))])
    offsets = stencil.offsets @ strides
    size = lanes * ways
    length = _padded(int(np.prod(shape)), size)
    margin = _padded(int(np.abs(offsets).max(initial=0)), 8)
    active = np.unique(stencil.nodes // size)
    begins = np.flatnonzero(np.diff(active, prepend=-2) != 1)
    nodes = np.full((length // size, size), -1, dtype=np.int64)
    nodes.reshape(-1)[stencil.nodes] = np.arange(stencil.n_nodes)
    weights = np.zeros((len(offsets), length + 2 * margin), dtype)
    weights[:, margin : margin + int(np.prod(shape))] = stencil.weights.reshape(len(offsets), -1)
    return Layout(
        lanes, ways, length, margin, active[begins], np.append(begins, len(active)), stencil.nodes,
        nodes[active].reshape(-1),
        weights.reshape(-1), np.zeros(0, np.int32), offsets, len(offsets),
    )  # fmt: skip


def _lists(graph: Graph, lanes: int, ways: int, dtype: np.dtype) -> Layout:
    n = graph.n_nodes
    length = _padded(n, lanes * ways)
    width = graph.neighbors.shape[1]
    used = graph.weights != 0
    order = np.argsort(~used, axis=1, kind="stable")
    neighbors = np.repeat(np.arange(length, dtype=np.int32)[:, None], width, axis=1)
    neighbors[:n] = np.take_along_axis(np.where(used, graph.neighbors, np.arange(n)[:, None]), order, axis=1)
    weights = np.zeros((length, width), dtype)
    weights[:n] = np.take_along_axis(graph.weights, order, axis=1)
    counts = np.zeros(length, np.int64)
    counts[:n] = used.sum(axis=1)
    slots = counts.reshape(-1, lanes).max(axis=1)
    kept = (np.arange(width) < slots[:, None]).reshape(-1)

    def packed(values: np.ndarray) -> np.ndarray:
        grouped = np.moveaxis(values.reshape(-1, lanes, width), 1, 2)
        return np.ascontiguousarray(grouped.reshape(-1, lanes)[kept]).reshape(-1)

    nodes = np.full(length, -1, dtype=np.int64)
    nodes[:n] = np.arange(n)
    return Layout(
        lanes, ways, length, 0, np.zeros(1, np.int64), np.array([0, length // (lanes * ways)]), np.arange(n), nodes,
        packed(weights),
        packed(neighbors), np.concatenate([[0], np.cumsum(slots)]), None,
    )  # fmt: skip
