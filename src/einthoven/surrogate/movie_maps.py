"""What a movie tells of its tissue without learning: where cells are, when they are active, how well they conduct."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import InputError
from einthoven.eikonal.conduction import Conduction

#: Share of its own largest potential at which a pixel counts as activated.
ACTIVE = 0.45

#: Pixels with a smaller share of conducting cells count as holes.
LEAST_SHARE = 0.05

#: Half width of the window in which a plane is fitted to the activation times, mm.
WINDOW = 3.0

#: Diffusivities that are looked for, mm2/ms.
LOWEST_DIFFUSIVITY, HIGHEST_DIFFUSIVITY = 0.01, 0.3


@dataclass(frozen=True, eq=False)
class MovieMaps:
    """Maps read off a movie.

    Parameters
    ----------
    pixel
        Edge of the pixels, mm.
    share
        Of a pixel's cells that conduct, from its largest potential over that of the whole movie; 0 in holes.
    activation
        ms, NaN where the wave does not come.
    diffusivity
        mm2/ms, from the conduction velocity; of holes and where no velocity is seen that of the neighborhood.
    normal
        Unit vectors in which the front runs; 0 where none is seen.
    trust
        How well a plane fits the activation times around a pixel: 1 perfectly, 0 not at all.
    anisotropy
        Fibers: how much the logarithm of the slowness goes as cos 2 a and sin 2 a with the angle a of the front's
        normal over the whole sheet, and which share of its variance that explains.
    """

    pixel: float
    share: Float[np.ndarray, "m m"]
    activation: Float[np.ndarray, "m m"]
    diffusivity: Float[np.ndarray, "m m"]
    normal: Float[np.ndarray, "2 m m"]
    trust: Float[np.ndarray, "m m"]
    anisotropy: tuple[float, float, float]

    @property
    def conducting(self) -> Bool[np.ndarray, "m m"]:
        """Pixels that are no holes."""
        return self.share > 0


def movie_maps(
    movie: Float[np.ndarray, "t m m"],
    times: Float[np.ndarray, " t"],
    pixel: float,
    conduction: Conduction,
    spacing: float,
) -> MovieMaps:
    """Read the maps off a movie.

    Parameters
    ----------
    movie
        mV above rest, means over pixels.
    times
        Of the frames, ms.
    pixel
        Edge of the pixels, mm.
    conduction
        Of the membrane: from conduction velocity to D.
    spacing
        Of the simulated grid, mm, on which D was that fast; 0 for real tissue.

    Raises
    ------
    InputError
        If nothing is activated.
    """
    top = movie.max(axis=0)
    if not top.max() > 10.0:
        raise InputError(f"movie: nothing is activated: potentials rise by {top.max():.3g} mV at most. Is it in mV?")
    share = np.minimum(top / top.max(), 1.0)
    share = np.where(share >= LEAST_SHARE, share, 0.0)
    activation = np.where(share > 0, crossing_times(movie, times, ACTIVE * top), np.nan)
    gradient, trust = _gradient(activation, pixel)
    slowness = np.linalg.norm(gradient, axis=0)
    normal = np.where(trust > 0, gradient / np.maximum(slowness, 1e-9), 0.0)
    diffusivity = _diffusivity(slowness, trust, pixel, conduction, spacing)
    return MovieMaps(pixel, share, activation, diffusivity, normal, trust, front_anisotropy(activation, pixel))


def crossing_times(
    movie: Float[np.ndarray, "t m k"], times: Float[np.ndarray, " t"], level: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "m k"]:
    """First upward crossing of a level, ms, linear between frames; NaN where there is none."""
    above = movie - level
    rises = (above[:-1] < 0) & (above[1:] >= 0) & (level > 0)
    k = rises.argmax(axis=0)
    before, after = (np.take_along_axis(above, (k + i)[None], axis=0)[0] for i in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = before / (before - after)
    return np.where(rises.any(axis=0), times[k] + share * (times[k + 1] - times[k]), np.nan)


def front_anisotropy(activation: Float[np.ndarray, "m m"], pixel: float) -> tuple[float, float, float]:
    """Fit the logarithm of the slowness by 1, cos 2 a and sin 2 a, a the angle of the front's normal.

    Parameters
    ----------
    activation
        ms, NaN where the wave does not come.
    pixel
        mm.

    Returns
    -------
    tuple
        Amplitudes of cos 2 a and sin 2 a, and the share of the variance that the fit explains; zeros where hardly a
        front is seen.
    """
    gradient = [np.gradient(activation, pixel, axis=axis) for axis in (0, 1)]
    slowness = np.hypot(*gradient)
    seen = np.isfinite(slowness) & (slowness > 0.1)
    if seen.sum() < 10:
        return 0.0, 0.0, 0.0
    twice = 2 * np.arctan2(gradient[1][seen], gradient[0][seen])
    design = np.stack([np.ones(seen.sum()), np.cos(twice), np.sin(twice)], axis=1)
    log_slowness = np.log(slowness[seen])
    fitted = np.linalg.lstsq(design, log_slowness, rcond=None)[0]
    explained = (design @ fitted).var() / max(float(log_slowness.var()), 1e-12)
    return float(fitted[1]), float(fitted[2]), float(explained)


def _gradient(activation: Float[np.ndarray, "m m"], pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (ms/mm) of planes fitted to the activation times in windows, and how well they fit.

    All sums of the least-squares fit over windows are box filters.
    """
    from scipy.ndimage import uniform_filter

    width = 2 * max(1, round(WINDOW / pixel)) + 1
    known = np.isfinite(activation)
    weight, t = known.astype(float), np.where(known, activation, 0.0)
    x, y = np.meshgrid(*[pixel * np.arange(n) for n in activation.shape], indexing="ij")

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, width, mode="constant")

    n = np.maximum(mean(weight), 1e-9)
    mx, my, mt = mean(weight * x) / n, mean(weight * y) / n, mean(weight * t) / n
    xx, yy, tt = (mean(weight * a * a) / n - b * b for a, b in ((x, mx), (y, my), (t, mt)))
    xy, xt, yt = (mean(weight * a * b) / n - c * d for a, b, c, d in ((x, y, mx, my), (x, t, mx, mt), (y, t, my, mt)))
    det = np.maximum(xx * yy - xy**2, 1e-9)
    gx, gy = (yy * xt - xy * yt) / det, (xx * yt - xy * xt) / det
    left = np.maximum(tt - gx * xt - gy * yt, 0.0)
    enough = n > 6.0 / width**2
    return np.stack([gx, gy]), np.where(enough & known, 1.0 / (left + 1.0), 0.0)


def _diffusivity(
    slowness: np.ndarray, trust: np.ndarray, pixel: float, conduction: Conduction, spacing: float
) -> Float[np.ndarray, "m m"]:
    """D of the conduction velocity, smoothed over a few mm with weights that leave out collisions and sites."""
    from scipy.ndimage import gaussian_filter

    table = np.geomspace(LOWEST_DIFFUSIVITY, HIGHEST_DIFFUSIVITY, 200)
    if spacing > 0:
        table = table[spacing / np.sqrt(table) <= conduction.zetas[-1]]
    speeds = conduction.speed(table, spacing)
    with np.errstate(divide="ignore"):
        log_d = np.interp(np.log(1 / np.maximum(slowness, 1e-6)), np.log(speeds), np.log(table))
    weight = gaussian_filter(trust**2, WINDOW / 2 / pixel) + 1e-9 * (trust > 0).any()
    return np.exp(gaussian_filter(trust**2 * log_d, WINDOW / 2 / pixel) / np.maximum(weight, 1e-12))
