"""Orders of convergence and limits, from results at several spacings."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

Numbers = Sequence[float] | Float[np.ndarray, " n"]


def observed_orders(spacings: Numbers, errors: Numbers) -> Float[np.ndarray, " pairs"]:
    """Order between neighboring levels: log(e_i / e_i+1) / log(h_i / h_i+1).

    Examples
    --------
    >>> observed_orders([0.4, 0.2, 0.1], [0.16, 0.04, 0.01]).tolist()
    [2.0, 2.0]
    """
    h, e = np.asarray(spacings, dtype=float), np.asarray(errors, dtype=float)
    return np.log(e[:-1] / e[1:]) / np.log(h[:-1] / h[1:])


def richardson(spacings: Numbers, values: Numbers) -> tuple[float, float]:
    """Limit at spacing zero and order p of value(h) = limit + C h^p, from three levels.

    Parameters
    ----------
    spacings
        Three, decreasing; their ratios may differ.
    values
        Monotone and, as h falls, ever closer to each other.

    Returns
    -------
    tuple
        Limit and order.

    Raises
    ------
    ValueError
        If no order between 0.1 and 10 explains the values.

    Examples
    --------
    >>> limit, order = richardson([0.5, 0.2, 0.1], [3.25, 3.04, 3.01])
    >>> round(limit, 10), round(order, 10)
    (3.0, 2.0)
    """
    (h1, h2, h3), (t1, t2, t3) = (np.asarray(x, dtype=float) for x in (spacings, values))
    ratio = (t1 - t2) / (t2 - t3) if t2 != t3 else np.inf

    def surplus(p: float) -> float:
        return (h1**p - h2**p) / (h2**p - h3**p) - ratio

    if not surplus(0.1) < 0 < surplus(10.0):
        raise ValueError(f"no order of convergence explains {list(values)} at spacings {list(spacings)}.")
    p = _root(surplus)
    return float(t3 - (t2 - t3) * h3**p / (h2**p - h3**p)), p


def _root(surplus: Callable[[float], float]) -> float:
    from scipy.optimize import root_scalar

    return float(root_scalar(surplus, bracket=(0.1, 10.0), method="brentq", xtol=1e-13).root)
