"""Smooth Gaussian random fields: functions of space that depend on a seed and a length in mm, not on any grid."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError

#: Lattice points per correlation length.
PER_LENGTH = 2.5

#: Layers of the lattice around the points: the reach of the smoothing and of the interpolation.
MARGIN = 8

#: Most lattice points a field may need.
LARGEST = 300_000_000


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A Gaussian random field with mean 0, variance 1 and correlation exp(-(r / length)^2).

    White noise on a lattice of a fixed spacing in mm, whose value at every place follows from the seed and the place
    alone, is smoothed and interpolated. The same seed gives the same field on any grid, at any spacing and mask.

    Parameters
    ----------
    length
        Correlation length, mm: there the correlation is 1/e.
    start
        Lattice index of the first coefficient.
    coefficients
        Of cubic splines.
    """

    length: float
    start: Int[np.ndarray, " d"]
    coefficients: Float[np.ndarray, "..."]

    @classmethod
    def over(cls, points: Float[np.ndarray, "n d"], length: float, *, seed: int, name: str) -> "SmoothField":
        """The field in the box of some points.

        Parameters
        ----------
        points
            mm, in one to three dimensions.
        length
            Correlation length, mm.
        seed, name
            Both decide the noise: fields of different names are independent.
        """
        from scipy.ndimage import gaussian_filter, spline_filter

        if not 0 < length < 1e4:
            raise InputError(f"random field: the correlation length must be a positive length in mm; got {length:g}.")
        step = length / PER_LENGTH
        start = np.floor(points.min(axis=0) / step).astype(np.int64) - MARGIN
        stop = np.ceil(points.max(axis=0) / step).astype(np.int64) + MARGIN + 1
        if np.prod((stop - start).astype(float)) > LARGEST:
            raise InputError(
                f"random field: a correlation length of {length:g} mm is too short for a tissue of "
                f"{', '.join(f'{x:.4g}' for x in np.ptp(points, axis=0))} mm. Take a longer one, or diffuse fibrosis."
            )
        sigma = 0.5 * PER_LENGTH
        noise = lattice_noise(start, stop, seed=seed, name=name)
        smooth = gaussian_filter(noise, sigma, mode="constant", truncate=(MARGIN - 2) / sigma)
        taps = np.exp(-0.5 * (np.arange(2 - MARGIN, MARGIN - 1) / sigma) ** 2)
        smooth /= (np.sqrt((taps**2).sum()) / taps.sum()) ** points.shape[1]
        return cls(length, start, spline_filter(smooth, 3, mode="mirror"))

    def __call__(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Values at points in the box."""
        from scipy.ndimage import map_coordinates

        places = points.T * (PER_LENGTH / self.length) - self.start[:, None]
        return map_coordinates(self.coefficients, places, order=3, mode="mirror", prefilter=False)


def lattice_noise(
    start: Int[np.ndarray, " d"], stop: Int[np.ndarray, " d"], *, seed: int, name: str
) -> Float[np.ndarray, "..."]:
    """Independent standard normal numbers at the places start <= (i, j, k) < stop of an endless lattice.

    Every number is a hash of the seed, the name and the place (the finalizer of SplitMix64, Steele, Lea & Flood 2014,
    doi:10.1145/2660193.2660195, once per coordinate).
    """
    from scipy.special import ndtri

    d = len(start)
    state = _mixed(np.array([seed & (2**64 - 1)], dtype=np.uint64) ^ np.uint64(crc32(name.encode())))
    state = state.reshape((1,) * d)
    for axis in range(d):
        place = np.arange(start[axis], stop[axis], dtype=np.int64).view(np.uint64)
        state = _mixed(state ^ _mixed(place).reshape([-1 if a == axis else 1 for a in range(d)]))
    return ndtri(((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _mixed(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
