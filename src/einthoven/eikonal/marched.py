"""What a march leaves behind: times, what decided them, in which order; derivatives passed along that graph."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Marched(NamedTuple):
    """Of k right-hand sides.

    Parameters
    ----------
    times
        ms, infinite where nothing arrives.
    how
        Codes of what decided each node, see the kernels; -1 where nothing arrives.
    order
        Nodes from early to late; only the first `counts` of each row are reached.
    counts
        How many nodes are reached.
    """

    times: Float[np.ndarray, "k n_nodes"]
    how: Int[np.ndarray, "k n_nodes"]
    order: Int[np.ndarray, "k n_nodes"]
    counts: Int[np.ndarray, " k"]

    @classmethod
    def joined(cls, parts: "Sequence[Marched]") -> "Marched":
        """Several marches as one."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @property
    def reached(self) -> list[Int[np.ndarray, " n"]]:
        """Of each row the nodes reached, early to late."""
        return [order[:count] for order, count in zip(self.order, self.counts, strict=True)]


class Graph(NamedTuple):
    """What decided each node of one right-hand side, to first order: T_x = sum_k shares T_nodes + what is x's own.

    Parameters
    ----------
    nodes
        Parents, -1 where there are fewer.
    shares
        Derivatives of the node's time by theirs.
    order
        The nodes, parents before children; None where two nodes decide each other.
    """

    nodes: Int[np.ndarray, "n_nodes n_parents"]
    shares: Float[np.ndarray, "n_nodes n_parents"]
    order: Int[np.ndarray, " n"] | None

    @classmethod
    def sorted(
        cls, nodes: Int[np.ndarray, "n_nodes n_parents"], shares: Float[np.ndarray, "n_nodes n_parents"]
    ) -> "Graph":
        """Find the order, if there is one."""
        from einthoven.eikonal import kernels_passes

        order = np.empty(len(nodes), np.int32)
        return cls(nodes, shares, order if kernels_passes.parents_first(nodes, order) == len(nodes) else None)

    def pass_back(self, adjoint: Float[np.ndarray, " n_nodes"]) -> Float[np.ndarray, " n_nodes"]:
        """(I - W)^-T adjoint, W the shares: in reverse order, or as a sparse system where there is none."""
        from einthoven.eikonal import kernels_passes

        if self.order is None:
            return self._solved(adjoint, transposed=True)
        total = adjoint.copy()
        kernels_passes.pass_back(self.nodes, self.shares, self.order, total)
        return total

    def pass_forward(self, own: Float[np.ndarray, "n_nodes n_changes"]) -> Float[np.ndarray, "n_nodes n_changes"]:
        """(I - W)^-1 own: changes of all times from what changes in each node's own equation."""
        from einthoven.eikonal import kernels_passes

        if self.order is None:
            return self._solved(own, transposed=False)
        total = np.array(own, order="C")
        kernels_passes.pass_forward(self.nodes, self.shares, self.order, total)
        return total

    def first_seeds(
        self, how: Int[np.ndarray, " n_nodes"], late: Int[np.ndarray, " n_nodes"]
    ) -> Int[np.ndarray, " n_nodes"]:
        """Which seed's wave came to each node, -1 where none came; `late` is an order that must do in a cycle."""
        from einthoven.eikonal import kernels_passes

        out = np.full(len(how), -1, np.int64)
        kernels_passes.first_seeds(self.nodes, self.shares, how, late if self.order is None else self.order, out)
        return out

    def _solved(self, right: np.ndarray, *, transposed: bool) -> np.ndarray:
        from scipy.sparse import csc_array, eye_array
        from scipy.sparse.linalg import spsolve

        n = len(self.nodes)
        child, which = np.nonzero(self.nodes >= 0)
        w = csc_array((self.shares[child, which], (child, self.nodes[child, which])), shape=(n, n))
        matrix = eye_array(n) - w
        return np.asarray(spsolve(csc_array(matrix.T if transposed else matrix), right)).reshape(right.shape)


def to_seeds(
    how: Int[np.ndarray, " n_nodes"], values: Float[np.ndarray, " n_nodes"], n_seeds: int
) -> Float[np.ndarray, " n_seeds"]:
    """Sum of the values at the nodes that each seed decided."""
    from einthoven.eikonal.kernels_march import SEED

    seeded = how <= SEED
    return np.bincount(SEED - how[seeded], values[seeded], n_seeds)


def seeds_of(
    how: Int[np.ndarray, " n_nodes"], values: Float[np.ndarray, "n_changes n_seeds"]
) -> Float[np.ndarray, "n_nodes n_changes"]:
    """Value of the seed that decided each node, 0 at the others: the transpose of `to_seeds`."""
    from einthoven.eikonal.kernels_march import SEED

    out = np.zeros((len(how), len(values)))
    seeded = how <= SEED
    out[seeded] = values[:, SEED - how[seeded]].T
    return out
