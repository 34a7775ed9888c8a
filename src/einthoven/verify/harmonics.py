"""Diffusion on a sphere: every spherical harmonic of degree l decays at the rate l (l + 1) D / R^2."""

import numpy as np
from jaxtyping import Float


def harmonic(degree: int, order: int, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Real spherical harmonic P_l^|m|(cos theta) times cos(m phi), or sin(|m| phi) where m < 0; not normalized.

    Parameters
    ----------
    degree
        l >= 0.
    order
        m, -l to l.
    points
        Directions from the center; any length but zero.
    """
    from scipy.special import lpmv

    m = abs(order)
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    polar = lpmv(m, degree, points[:, 2] / np.linalg.norm(points, axis=1))
    return polar * (np.cos(m * azimuth) if order >= 0 else np.sin(m * azimuth))


def decay_rate(degree: int, *, radius: float, diffusivity: float) -> float:
    """Rate l (l + 1) D / R^2, 1/ms, with R in mm and D in mm2/ms.

    Examples
    --------
    >>> round(decay_rate(2, radius=10.0, diffusivity=0.1), 9)
    0.006
    """
    return degree * (degree + 1) * diffusivity / radius**2
