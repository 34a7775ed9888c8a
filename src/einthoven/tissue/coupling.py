"""How nodes pull on each other: the discrete div(D grad v), on regular grids and as neighbor lists.

Both forms hold rates w (1/ms): dv_i/dt = sum_j w_ij (v_j - v_i). Rows therefore sum to zero, a uniform potential is at
rest, and no current crosses the border or the edge of a non-conducting cell.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from einthoven.core.arrays import frozen

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@runtime_checkable
class Coupling(Protocol):
    """The discrete diffusion operator over the conducting nodes of a tissue."""

    @property
    def n_nodes(self) -> int:
        """Number of conducting nodes."""
        ...

    def matrix(self) -> "csr_array":
        """Sparse A of shape (n_nodes, n_nodes), 1/ms: dv/dt = A v."""
        ...

    def largest_rate(self) -> float:
        """Bound on the spectral radius of A, 1/ms (Gershgorin): forward Euler is stable for dt <= 2 / bound."""
        ...


@dataclass(frozen=True, eq=False)
class Stencil:
    """Coupling of the cells of a regular grid to neighbors at fixed offsets.

    Parameters
    ----------
    nodes
        Flat indices (last index fastest) of the conducting cells, increasing, shape (n_nodes,).
    offsets
        Half of the neighborhood, shape (k, dimension): the other half follows by symmetry.
    weights
        Shape (k, *shape), 1/ms: between each cell and the cell at that offset; 0 where either does not conduct or
        lies outside. May be negative for oblique fibers.
    """

    nodes: Int[np.ndarray, " n_nodes"]
    offsets: Int[np.ndarray, "k dimension"]
    weights: Float[np.ndarray, "k ..."]

    def __post_init__(self):
        object.__setattr__(self, "nodes", frozen(self.nodes, np.int64))
        object.__setattr__(self, "offsets", frozen(self.offsets, np.int64))
        object.__setattr__(self, "weights", frozen(self.weights, np.float64))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return self.weights.shape[1:]

    @property
    def n_nodes(self) -> int:
        """Number of conducting nodes."""
        return len(self.nodes)

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every coupled pair once: positions among the nodes, and its rate."""
        index = np.full(self.shape, -1)
        index.reshape(-1)[self.nodes] = np.arange(self.n_nodes)
        first, second, rates = [], [], []
        for offset, weight in zip(self.offsets, self.weights, strict=True):
            here = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, self.shape, strict=True))
            there = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, self.shape, strict=True))
            used = weight[here] != 0
            first.append(index[here][used])
            second.append(index[there][used])
            rates.append(weight[here][used])
        return np.concatenate(first), np.concatenate(second), np.concatenate(rates)

    def matrix(self) -> "csr_array":
        """Sparse A, symmetric."""
        from scipy.sparse import coo_array, diags_array

        i, j, w = self.pairs()
        entries = (np.concatenate([w, w]), (np.concatenate([i, j]), np.concatenate([j, i])))
        off = coo_array(entries, shape=(self.n_nodes, self.n_nodes)).tocsr()
        return (off - diags_array(off.sum(axis=1))).tocsr()

    def graph(self) -> "Graph":
        """The same coupling as neighbor lists over the conducting nodes."""
        return Graph.of(self.matrix())

    def largest_rate(self) -> float:
        """Gershgorin's bound: twice the largest sum of |w| at a cell."""
        i, j, w = self.pairs()
        total = np.bincount(i, np.abs(w), self.n_nodes) + np.bincount(j, np.abs(w), self.n_nodes)
        return 2.0 * float(total.max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Graph:
    """Coupling as lists of neighbors: surfaces, and grids of which few cells conduct.

    Parameters
    ----------
    neighbors
        Shape (n_nodes, k): positions of the neighbors; unused places repeat the node itself.
    weights
        Shape (n_nodes, k), 1/ms; 0 at unused places. Need not be symmetric (nodes of unequal size).
    """

    neighbors: Int[np.ndarray, "n_nodes k"]
    weights: Float[np.ndarray, "n_nodes k"]

    def __post_init__(self):
        object.__setattr__(self, "neighbors", frozen(self.neighbors, np.int32))
        object.__setattr__(self, "weights", frozen(self.weights, np.float64))

    @classmethod
    def of(cls, matrix: "csr_array") -> "Graph":
        """From a sparse matrix whose rows sum to zero; the diagonal is not kept."""
        matrix = matrix.tocsr()
        matrix.sum_duplicates()
        n = len(matrix.indptr) - 1
        rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
        used = (matrix.indices != rows) & (matrix.data != 0)
        rows, columns, rates = rows[used], matrix.indices[used], matrix.data[used]
        counts = np.bincount(rows, minlength=n)
        width = max(int(counts.max(initial=0)), 1)
        neighbors = np.repeat(np.arange(n)[:, None], width, axis=1)
        weights = np.zeros((n, width))
        place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        neighbors[rows, place], weights[rows, place] = columns, rates
        return cls(neighbors, weights)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.neighbors)

    def matrix(self) -> "csr_array":
        """Sparse A."""
        from scipy.sparse import coo_array, diags_array

        n, width = self.neighbors.shape
        rows = np.repeat(np.arange(n), width)
        used = self.weights.reshape(-1) != 0
        entries = (self.weights.reshape(-1)[used], (rows[used], self.neighbors.reshape(-1)[used]))
        off = coo_array(entries, shape=(n, n)).tocsr()
        return (off - diags_array(off.sum(axis=1))).tocsr()

    def graph(self) -> "Graph":
        """Itself."""
        return self

    def largest_rate(self) -> float:
        """Gershgorin's bound: twice the largest sum of |w| in a row."""
        return 2.0 * float(np.abs(self.weights).sum(axis=1).max(initial=0.0))
