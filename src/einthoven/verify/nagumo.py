"""The exact travelling front of Nagumo's equation.

dv/dt = div(D grad v) + k v (1 - v) (v - a), with 0 < a < 1/2: v = 1 invades v = 0 at a known speed and with a known
profile (McKean 1970, doi:10.1016/0001-8708(70)90023-X). D in mm2/ms, k in 1/ms, lengths in mm, times in ms.
"""

import numpy as np
from jaxtyping import Float


def reaction(v: Float[np.ndarray, "..."], *, rate: float, threshold: float) -> Float[np.ndarray, "..."]:
    """Rate of v without diffusion: k v (1 - v) (v - a), 1/ms."""
    return rate * v * (1 - v) * (v - threshold)


def speed(*, diffusivity: float, rate: float, threshold: float) -> float:
    """Speed of the front, c = sqrt(D k / 2) (1 - 2 a), mm/ms.

    Parameters
    ----------
    diffusivity
        D along the direction in which the front moves, n . D n for a tensor.
    rate
        k.
    threshold
        a; the front stands still at 1/2.

    Examples
    --------
    >>> round(speed(diffusivity=0.1, rate=1.0, threshold=0.25), 6)
    0.111803
    """
    return float(np.sqrt(diffusivity * rate / 2) * (1 - 2 * threshold))


def width(*, diffusivity: float, rate: float) -> float:
    """Width of the front, w = sqrt(2 D / k), mm: it passes from 0.88 to 0.12 within 4 w."""
    return float(np.sqrt(2 * diffusivity / rate))


def front(ahead: Float[np.ndarray, "..."], *, diffusivity: float, rate: float) -> Float[np.ndarray, "..."]:
    """Profile v = 1 / (1 + exp(s / w)), s the distance ahead of the point where v = 1/2, mm.

    At time t the front that started at 0 and moves along the unit vector n has s = n . x - c t.
    """
    return 0.5 - 0.5 * np.tanh(ahead / (2 * width(diffusivity=diffusivity, rate=rate)))
