"""Current sources in an infinite homogeneous medium."""

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.errors import some


def monopole(
    points: Float[np.ndarray, "n_points 3"], sources: Float[np.ndarray, "n_sources 3"], *, conductivity: float
) -> Float[np.ndarray, "n_points n_sources"]:
    """Potential of unit current sources, phi = 1 / (4 pi s r).

    Parameters
    ----------
    points
        Where, mm.
    sources
        Positions of the sources, mm.
    conductivity
        s, mS/mm.

    Returns
    -------
    np.ndarray
        Shape (n_points, n_sources), mV per uA.

    Raises
    ------
    InputError
        If a point coincides with a source.
    """
    _, distance = _apart(points, sources)
    return 1.0 / (4 * np.pi * conductivity * distance)


def dipole(
    points: Float[np.ndarray, "n_points 3"], sources: Float[np.ndarray, "n_sources 3"], *, conductivity: float
) -> Float[np.ndarray, "n_points n_sources 3"]:
    """Potential of unit current dipoles along x, y and z, phi = p . (x - y) / (4 pi s r^3).

    Parameters
    ----------
    points, sources, conductivity
        As in `monopole`.

    Returns
    -------
    np.ndarray
        Shape (n_points, n_sources, 3), mV per uA mm.

    Raises
    ------
    InputError
        If a point coincides with a source.
    """
    apart, distance = _apart(points, sources)
    return apart / (4 * np.pi * conductivity * distance[:, :, None] ** 3)


def _apart(points: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    apart = points[:, None] - sources[None]
    distance = np.sqrt((apart**2).sum(axis=2))
    hit = np.flatnonzero((distance == 0).any(axis=1))
    if hit.size:
        raise InputError(
            f"the potential of a point source is infinite at the source; points {some(hit)} coincide with one. "
            "Move these points or sources."
        )
    return apart, distance
