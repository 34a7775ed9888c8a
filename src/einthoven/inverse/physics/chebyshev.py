"""Steps of Runge, Kutta and Chebyshev: second order, explicit, and stable for diffusion in proportion to stages^2.

For dy/dt = F(y, t) and s stages, with T_j Chebyshev's polynomials, w_0 = 1 + 2 / (13 s^2),
w_1 = T_s'(w_0) / T_s''(w_0), b_j = T_j''(w_0) / T_j'(w_0)^2, a_j = 1 - b_j T_j(w_0),

    Y_1 = Y_0 + b_1 w_1 h F_0
    Y_j = (1 - m - n) Y_0 + m Y_(j-1) + n Y_(j-2) + k h F_(j-1) - a_(j-1) k h F_0
    m = 2 b_j w_0 / b_(j-1),    n = -b_j / b_(j-2),    k = 2 b_j w_1 / b_(j-1)

(Verwer, Hundsdorfer and Sommeijer, Numerische Mathematik 57:157, 1990, doi:10.1007/BF01386405). Stable for negative
real eigenvalues up to about 2/3 (s^2 - 1) (1 - 4 / 195) / h.
"""

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

#: Most stages of a step.
MOST_STAGES = 20

#: Share of the stability limit that is used: the other terms need some.
SAFE = 0.9


def reach(stages: int) -> float:
    """Largest product of step and eigenvalue that is used with so many stages."""
    return SAFE * 2 / 3 * (stages**2 - 1) * (1 - 4 / 195)


def stages_for(product: float) -> int:
    """Fewest stages, at least two, for a product of step and eigenvalue."""
    return next(s for s in range(2, MOST_STAGES + 1) if s == MOST_STAGES or reach(s) >= product)


class Stages(eqx.Module):
    """Coefficients of a step.

    Parameters
    ----------
    count
        Number of stages.
    rows
        m, n, k, -a_(j-1) k, and the time of Y_(j-1) in steps, for the stages 1, 2, ...; zero-padded. The first has
        k = b_1 w_1 only.
    """

    count: Int[Array, ""]
    rows: Float[Array, "s 5"]

    @classmethod
    def of(cls, count: int, dtype: str) -> "Stages":
        """Coefficients of at least two stages."""
        return cls(jnp.asarray(count, jnp.int32), jnp.asarray(_coefficients(count), dtype))

    def __call__(self, rates: Any, state: Any, t: Any, h: Any) -> Any:
        """The state one step later.

        Parameters
        ----------
        rates
            From state and time to the state's slope.
        state
            Any tree of arrays.
        t, h
            Time and step.
        """
        tree = jax.tree.map

        def stage(j: Any, carry: Any) -> Any:
            """One stage; the first is among them, so that the rates are compiled once."""
            before, last, slope = carry
            m, n, k, a, c = self.rows[j]
            now = rates(last, t + c * h)
            slope = tree(lambda old, new: jnp.where(j == 0, new, old), slope, now)
            mix = lambda y0, y, z, f, f0: (1 - m - n) * y0 + m * z + n * y + h * (k * f + a * f0)  # noqa: E731
            return last, tree(mix, state, before, last, now, slope), slope

        return jax.lax.fori_loop(0, self.count, stage, (state, state, state))[1]


@lru_cache(maxsize=MOST_STAGES)
def _coefficients(count: int) -> Float[np.ndarray, "s 5"]:
    """`rows`."""
    w0 = 1 + 2 / (13 * count**2)
    basis = [np.polynomial.Chebyshev.basis(j) for j in range(count + 1)]
    value, slope, bend = (np.array([p.deriv(d)(w0) if d else p(w0) for p in basis]) for d in range(3))
    w1 = slope[count] / bend[count]
    b = np.concatenate([[0.0, 0.0], bend[2:] / slope[2:] ** 2])
    b[:2] = b[2]
    a, first = 1 - b * value, float(b[1] * w1)
    times, rows = [0.0, first], np.zeros((MOST_STAGES, 5))
    rows[0, 2] = first
    for j in range(2, count + 1):
        m, n, k = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        rows[j - 1] = m, n, k, -a[j - 1] * k, times[-1]
        times.append(m * times[-1] + n * times[-2] + k - a[j - 1] * k)
    return rows
