"""What a march leaves behind: times, what decided them, and the order in which they became known."""

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
