"""Activation and recovery times, isochrones and conduction velocity."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording, Surface
from einthoven.signals.sampling import check_frames, sample_interval


def activation_times(
    recording: Recording, *, window: tuple[float, float] | None = None, smooth_ms: float = 0.0
) -> Float[np.ndarray, " n_sites"]:
    """Local activation times: steepest descent of electrograms, steepest upstroke of transmembrane potentials.

    The extremum of the central difference is refined by the parabola through it and its neighbors.

    Parameters
    ----------
    recording
        ``hsp`` or ``egm`` (descent) or ``vm`` (upstroke).
    window
        Search only within these times, ms; for example the QRS complex.
    smooth_ms
        Standard deviation of a Gaussian that smooths the derivative, ms; 0 for none.

    Returns
    -------
    ndarray
        Shape (n_sites,), ms; NaN for a site whose potential is constant or never moves in that direction.

    Raises
    ------
    InputError
        If the quantity has no local activation, the sampling is not uniform, or the window holds fewer than
        three frames.

    Notes
    -----
    Spach and Dolber 1986 (doi:10.1161/01.RES.58.3.356).
    """
    return _steepest(recording, _activation_sign(recording), window=window, smooth_ms=smooth_ms)


def recovery_times(
    recording: Recording, *, window: tuple[float, float] | None = None, smooth_ms: float = 0.0
) -> Float[np.ndarray, " n_sites"]:
    """Recovery times: steepest upstroke of the T wave (Wyatt), steepest downstroke for transmembrane potentials.

    Parameters
    ----------
    recording
        ``hsp``, ``egm`` (upstroke) or ``vm`` (downstroke).
    window
        Times that hold the T wave, ms. Without it, each site is searched from 80 ms after its activation.
    smooth_ms
        Standard deviation of a Gaussian that smooths the derivative, ms.

    Returns
    -------
    ndarray
        Shape (n_sites,), ms; NaN where there is none.

    Notes
    -----
    Wyatt et al. 1981; Haws and Lux 1990 (doi:10.1161/01.CIR.81.1.281).
    """
    after = None
    if window is None:
        after = activation_times(recording, smooth_ms=smooth_ms) + 80.0
    return _steepest(recording, -_activation_sign(recording), window=window, smooth_ms=smooth_ms, after=after)


def action_potential_durations(recording: Recording, *, fraction: float = 0.9) -> Float[np.ndarray, " n_sites"]:
    """Time from the steepest upstroke to `fraction` of repolarization, ms (APD90 by default).

    Rest is the lowest, plateau the highest potential of the site within the recording, which should hold one
    action potential.

    Parameters
    ----------
    recording
        ``vm``.
    fraction
        0..1, exclusive.

    Returns
    -------
    ndarray
        Shape (n_sites,), ms; NaN where the site does not repolarize within the recording.
    """
    if recording.quantity != "vm":
        raise InputError(
            f"action potential durations need vm; got {recording.quantity}. For electrograms use "
            "activation_recovery_intervals."
        )
    if not 0 < fraction < 1:
        raise InputError(f"the fraction of repolarization must be between 0 and 1; got {fraction:g}.")
    start = activation_times(recording)
    values, times = recording.values, recording.times
    low, high = values.min(axis=1), values.max(axis=1)
    level = high - fraction * (high - low)
    top = values.argmax(axis=1)
    frames = np.arange(len(times))
    below = (values <= level[:, None]) & (frames > top[:, None])
    end = np.full(len(values), np.nan)
    found = np.flatnonzero(below.any(axis=1) & (high > low))
    k = below[found].argmax(axis=1)
    before, behind = values[found, k - 1], values[found, k]
    end[found] = times[k - 1] + (before - level[found]) / (before - behind) * (times[k] - times[k - 1])
    return end - start


def activation_recovery_intervals(
    recording: Recording,
    *,
    activation_window: tuple[float, float] | None = None,
    recovery_window: tuple[float, float] | None = None,
    smooth_ms: float = 0.0,
) -> Float[np.ndarray, " n_sites"]:
    """Recovery time minus activation time, ms: the electrogram's measure of the action potential's duration.

    Raises
    ------
    InputError
        As `activation_times`.
    """
    activation = activation_times(recording, window=activation_window, smooth_ms=smooth_ms)
    return recovery_times(recording, window=recovery_window, smooth_ms=smooth_ms) - activation


def _activation_sign(recording: Recording) -> int:
    if recording.quantity == "vm":
        return 1
    if recording.quantity in ("hsp", "egm"):
        return -1
    raise InputError(
        f"local activation is defined for hsp, egm and vm; got {recording.quantity}, a potential away from the heart. "
        "Reconstruct the heart first."
    )


def slope(recording: Recording, *, smooth_ms: float = 0.0) -> Float[np.ndarray, "n_sites n_times"]:
    """Time derivative by central differences, mV/ms, smoothed by a Gaussian of `smooth_ms`."""
    dt = sample_interval(recording)
    check_frames(recording, 3, "a time derivative")
    derivative = np.gradient(recording.values, dt, axis=1)
    if smooth_ms > 0:
        from scipy.ndimage import gaussian_filter1d

        derivative = gaussian_filter1d(derivative, smooth_ms / dt, axis=1, mode="nearest")
    return derivative


def _steepest(
    recording: Recording,
    sign: int,
    *,
    window: tuple[float, float] | None,
    smooth_ms: float,
    after: np.ndarray | None = None,
) -> np.ndarray:
    """Time of the largest ``sign * slope`` per site."""
    steep = sign * slope(recording, smooth_ms=smooth_ms)
    allowed = np.broadcast_to(window_frames(recording, window), steep.shape)
    if after is not None:
        allowed = allowed & (recording.times >= after[:, None])
    return peak_times(np.where(allowed, steep, -np.inf), recording.times)


def window_frames(recording: Recording, window: tuple[float, float] | None) -> np.ndarray:
    """Which frames lie in the window; refuses one with fewer than three."""
    if window is None:
        return np.ones(recording.n_times, dtype=bool)
    inside = (recording.times >= window[0]) & (recording.times <= window[1])
    if inside.sum() < 3:
        raise InputError(
            f"window {window[0]:g}..{window[1]:g} ms holds {int(inside.sum())} frames of a recording that spans "
            f"{recording.times[0]:g}..{recording.times[-1]:g} ms; give one with at least three."
        )
    return inside


def peak_times(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Time of each row's maximum, refined by a parabola; NaN where no value is positive. -inf marks what to skip."""
    k = values.argmax(axis=1)
    rows = np.arange(len(values))
    peak = values[rows, k]
    inner = (k > 0) & (k < values.shape[1] - 1)
    left, right = values[rows, np.maximum(k - 1, 0)], values[rows, np.minimum(k + 1, values.shape[1] - 1)]
    inner &= np.isfinite(left) & np.isfinite(right)
    with np.errstate(invalid="ignore"):
        curvature = np.where(inner, left - 2 * peak + right, 0.0)
        shift = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    shift = np.where(inner, shift, 0.0)
    step = np.median(np.diff(times))
    return np.where(peak > 0, times[k] + np.clip(shift, -0.5, 0.5) * step, np.nan)


@dataclass(frozen=True, eq=False)
class ConductionVelocity:
    """Apparent conduction velocity on a surface.

    Parameters
    ----------
    speed
        Shape (n_triangles,), mm/ms (= m/s); NaN where the map is flat or undefined.
    direction
        Unit vectors of propagation, shape (n_triangles, 3); NaN where the speed is.
    """

    speed: Float[np.ndarray, " n_triangles"]
    direction: Float[np.ndarray, "n_triangles 3"]

    @property
    def median(self) -> float:
        """Median speed over the triangles where it is defined, mm/ms."""
        defined = self.speed[np.isfinite(self.speed)]
        return float(np.median(defined)) if defined.size else float("nan")


def conduction_velocity(surface: Surface, lat: Float[np.ndarray, " n_points"]) -> ConductionVelocity:
    """Speed 1/|grad lat| and direction of propagation in every triangle.

    At sites of origin and collision the gradient vanishes and the speed is spuriously large; use the
    median, or leave out what is above a plausible limit.

    Parameters
    ----------
    surface
        The heart surface.
    lat
        Activation times at its nodes, shape (n_points,), ms; NaN where a node was not activated.

    Raises
    ------
    InputError
        If there is not one time per node.
    """
    from einthoven.geometry.operators import gradient

    _check_nodes(surface, lat)
    # NaN in an unused node must not spread through the sparse product
    undefined = ~np.isfinite(lat[surface.triangles]).all(axis=1)
    slopes = (gradient(surface) @ np.where(np.isfinite(lat), lat, 0.0)).reshape(-1, 3)
    steepness = np.linalg.norm(slopes, axis=1)
    flat = undefined | (steepness <= 1e-9)
    steepness = np.where(flat, np.nan, steepness)
    return ConductionVelocity(1.0 / steepness, slopes / steepness[:, None])


def _check_nodes(surface: Surface, values: np.ndarray) -> None:
    if np.shape(values) != (surface.n_points,):
        raise InputError(
            f"{surface.name}: needs one activation time per node, shape ({surface.n_points},); got {np.shape(values)}."
        )


@dataclass(frozen=True, eq=False)
class Isochrone:
    """Where a map has one value.

    Parameters
    ----------
    level
        The value, ms for activation times.
    lines
        Polylines on the surface, each of shape (n, 3), mm; a closed one repeats its first point at the end.
    """

    level: float
    lines: tuple[np.ndarray, ...]


def isochrones(
    surface: Surface, lat: Float[np.ndarray, " n_points"], levels: Float[np.ndarray, " n_levels"]
) -> tuple[Isochrone, ...]:
    """Level lines of a nodal map, by linear interpolation in the triangles.

    Parameters
    ----------
    surface
        Open or closed.
    lat
        Values at the nodes, shape (n_points,); triangles with a NaN are left out.
    levels
        Values to draw.

    Returns
    -------
    tuple of Isochrone
        One per level, perhaps without lines.

    Raises
    ------
    InputError
        If there is not one value per node.
    """
    _check_nodes(surface, lat)
    return tuple(Isochrone(float(level), tuple(_level_lines(surface, lat, float(level)))) for level in levels)


def _level_lines(surface: Surface, lat: np.ndarray, level: float) -> list[np.ndarray]:
    table = surface.edges
    a, b = table.vertices.T
    above = lat >= level  # a node on the level counts as above: every crossed triangle then has two crossed edges
    usable = np.isfinite(lat[surface.triangles]).all(axis=1)
    crossed = above[a] != above[b]
    rows = usable & crossed[table.of_triangle].any(axis=1)
    pairs = [tuple(e for e in three if crossed[e]) for three in table.of_triangle[rows].tolist()]
    weight = np.zeros(len(a))
    weight[crossed] = (level - lat[a[crossed]]) / (lat[b[crossed]] - lat[a[crossed]])
    points = surface.points[a] + weight[:, None] * (surface.points[b] - surface.points[a])
    return [points[chain] for chain in _chains(pairs)]


def _chains(pairs: list[tuple[int, ...]]) -> list[list[int]]:
    """Join pairs of edges into chains; open ones first, closed ones repeat their start."""
    neighbors: dict[int, list[int]] = {}
    for e, f in pairs:
        neighbors.setdefault(e, []).append(f)
        neighbors.setdefault(f, []).append(e)
    ends = [e for e, n in neighbors.items() if len(n) == 1]
    left = set(neighbors)
    chains = []
    for start in [*ends, *neighbors]:
        if start not in left:
            continue
        chain = [start]
        left.discard(start)
        while True:
            onward = [e for e in neighbors[chain[-1]] if e in left]
            if not onward:
                break
            chain.append(onward[0])
            left.discard(onward[0])
        if len(chain) > 2 and start in neighbors[chain[-1]]:
            chain.append(start)
        chains.append(chain)
    return chains
