"""When nodes cross a level: activation and recovery times found inside the compiled loop."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Crossings:
    """Times at which each node's v passes a level upward, and a level downward after a rise; filled in place.

    Times are interpolated linearly between steps. A node rises again only after it has fallen. The arrays are the whole
    memory of the search: kept and handed in again, it continues.

    Parameters
    ----------
    rise_level, fall_level
        In the model's own unit.
    rise, fall
        Shape (k, n_nodes), ms: the first k times, NaN where there was none yet.
    n_rise, n_fall
        Shape (n_nodes,): how often each node rose and fell, beyond k as well.
    """

    rise_level: float
    fall_level: float
    rise: Float[np.ndarray, "k n_nodes"]
    fall: Float[np.ndarray, "k n_nodes"]
    n_rise: Int[np.ndarray, " n_nodes"]
    n_fall: Int[np.ndarray, " n_nodes"]

    @classmethod
    def empty(cls, max_beats: int, n_nodes: int, *, rise_level: float, fall_level: float) -> "Crossings":
        """Nothing found yet; room for max_beats times per node."""
        times = np.full((2, max_beats, n_nodes), np.nan)
        counts = np.zeros((2, n_nodes), np.int64)
        return cls(float(rise_level), float(fall_level), times[0], times[1], counts[0], counts[1])
