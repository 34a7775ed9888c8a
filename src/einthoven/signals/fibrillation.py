"""Fibrillation: phase maps, phase singularities and their paths, dominant frequency."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError, Recording, Surface
from einthoven.signals.sampling import check_frames, sample_interval, sampling_rate_hz


def phase(recording: Recording) -> Float[np.ndarray, "n_sites n_times"]:
    """Phase of the analytic signal of every site, mean removed: cos(2 pi f t) has phase 2 pi f t.

    Within about one period of either end the phase is less certain (the Hilbert transform sees the record as
    periodic).

    Parameters
    ----------
    recording
        Uniformly sampled, several periods long.

    Returns
    -------
    ndarray
        Radians, -pi..pi, shape (n_sites, n_times); NaN where the site is constant.

    Raises
    ------
    InputError
        If the recording is not uniform or has fewer than 8 frames.

    Notes
    -----
    Bray and Wikswo 2002 (doi:10.1103/PhysRevE.65.051902).
    """
    sample_interval(recording)
    check_frames(recording, 8, "a phase map")
    return _analytic_phase(recording.values)


def _analytic_phase(values: np.ndarray) -> np.ndarray:
    from scipy.signal import hilbert

    swing = values - values.mean(axis=1, keepdims=True)
    angle = np.angle(np.asarray(hilbert(swing, axis=1)))
    still = np.ptp(values, axis=1) == 0
    return np.where(still[:, None], np.nan, angle)


def recomposed(recording: Recording, period_ms: Float[np.ndarray, " n_sites"]) -> Recording:
    """Sinusoidal recomposition of electrograms: one sinusoid of one period per downstroke.

    Every frame with a negative slope adds one period of a sinusoid, centered there and weighted by the slope;
    far-field waves and noise between activations disappear, and `phase` of the result is smooth.

    Parameters
    ----------
    recording
        Electrograms, uniformly sampled.
    period_ms
        Cycle length of every site, ms, for example ``1000 / dominant_frequency(recording).frequency_hz``.

    Raises
    ------
    InputError
        If a period is not positive, or longer than the recording.

    Notes
    -----
    Kuklik et al. 2015 (doi:10.1109/TBME.2014.2350029).
    """
    from scipy.signal import fftconvolve

    dt = sample_interval(recording)
    length = recording.n_times * dt
    if np.shape(period_ms) != (recording.n_sites,) or not ((period_ms > 2 * dt) & (period_ms < length)).all():
        raise InputError(
            f"recomposition needs one period per site, shape ({recording.n_sites},), between "
            f"{2 * dt:g} and {length:g} ms."
        )
    weight = np.maximum(-np.gradient(recording.values, dt, axis=1), 0.0)
    out = np.empty_like(weight)
    for site, period in enumerate(period_ms):
        half = int(period / dt / 2)
        kernel = -np.sin(2 * np.pi * np.arange(-half, half + 1) * dt / period)
        out[site] = fftconvolve(weight[site], kernel, mode="full")[half : half + recording.n_times] * dt
    return recording.with_values(out)


@dataclass(frozen=True, eq=False)
class Singularities:
    """Phase singularities, one row each, in the order of the frames.

    Parameters
    ----------
    frame
        Index of the frame, shape (n,).
    triangle
        Triangle that holds it, shape (n,).
    charge
        +1 or -1: the phase grows counter-clockwise or clockwise around it, seen from outside.
    position
        Where the interpolated phase vector vanishes, shape (n, 3), mm.
    """

    frame: Int[np.ndarray, " n"]
    triangle: Int[np.ndarray, " n"]
    charge: Int[np.ndarray, " n"]
    position: Float[np.ndarray, "n 3"]

    def __len__(self) -> int:
        return len(self.frame)

    def count(self, n_frames: int) -> Int[np.ndarray, " n_frames"]:
        """Number of singularities in every frame."""
        return np.bincount(self.frame, minlength=n_frames).astype(np.int64)


def phase_singularities(surface: Surface, phases: Float[np.ndarray, "n_points n_times"]) -> Singularities:
    """Triangles around which the phase winds once.

    The winding number of a triangle is the sum of the wrapped phase differences along its edges, over 2 pi. Each
    difference is computed once per edge and used with opposite signs on its two sides, so the charges on a closed
    surface add up to zero in every frame.

    Parameters
    ----------
    surface
        Wound consistently, open or closed.
    phases
        Radians at the nodes, shape (n_points, n_times); triangles with a NaN hold none.

    Returns
    -------
    Singularities
        Perhaps empty.

    Raises
    ------
    InputError
        If there is not one row per node.

    Notes
    -----
    Iyer and Gray 2001 (doi:10.1114/1.1326030).
    """
    if np.ndim(phases) != 2 or len(phases) != surface.n_points:
        raise InputError(
            f"{surface.name}: phases must have shape ({surface.n_points}, times), one row per node; got "
            f"{np.shape(phases)}."
        )
    table = surface.edges
    a, b = table.vertices.T
    known = np.isfinite(phases)
    safe = np.where(known, phases, 0.0)
    step = safe[b] - safe[a]
    step -= 2 * np.pi * np.round(step / (2 * np.pi))
    start, stop = surface.triangles, np.roll(surface.triangles, -1, axis=1)
    sign = np.where(start < stop, 1.0, -1.0)
    around = sum(sign[:, k, None] * step[table.of_triangle[:, k]] for k in range(3))
    winding = np.round(around / (2 * np.pi)).astype(np.int64)
    winding *= known[surface.triangles].all(axis=1)
    frame, triangle = np.nonzero(winding.T)
    charge = winding[triangle, frame]
    return Singularities(frame, triangle, charge, _vanishing_points(surface, safe, triangle, frame))


def _vanishing_points(surface: Surface, phases: np.ndarray, triangle: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Where the linear interpolant of exp(i phase) is zero."""
    nodes = surface.triangles[triangle]
    angle = phases[nodes, frame[:, None]]
    weight = np.stack([np.sin(angle[:, (k + 2) % 3] - angle[:, (k + 1) % 3]) for k in range(3)], axis=1)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.where(np.abs(total) > 1e-12, weight / np.where(np.abs(total) > 1e-12, total, 1.0), 1 / 3)
    return np.einsum("nk,nkd->nd", weight, surface.points[nodes])


@dataclass(frozen=True, eq=False)
class SingularityPath:
    """One singularity followed through time.

    Parameters
    ----------
    charge
        +1 or -1.
    frames
        Increasing, shape (n,).
    positions
        Shape (n, 3), mm.
    """

    charge: int
    frames: Int[np.ndarray, " n"]
    positions: Float[np.ndarray, "n 3"]

    def __repr__(self) -> str:
        return f"SingularityPath(charge {self.charge:+d}, frames {self.frames[0]}..{self.frames[-1]})"


def track_singularities(
    singularities: Singularities, *, max_step_mm: float = 10.0, max_gap: int = 3, min_frames: int = 1
) -> tuple[SingularityPath, ...]:
    """Join singularities of one charge into paths, frame by frame.

    Between frames the pairing of least total distance is taken; distances are straight, so `max_step_mm` should
    be smaller than the wall is thick where two sheets of the surface face each other.

    Parameters
    ----------
    singularities
        From `phase_singularities`.
    max_step_mm
        Largest step between two frames of a path, mm.
    max_gap
        A path may miss up to this many frames.
    min_frames
        Shorter paths are left out.

    Returns
    -------
    tuple of SingularityPath
        In the order of their first frame.
    """
    done: list[list[int]] = []
    active: list[list[int]] = []
    for frame in np.unique(singularities.frame):
        still = [p for p in active if frame - singularities.frame[p[-1]] <= max_gap + 1]
        done += [p for p in active if frame - singularities.frame[p[-1]] > max_gap + 1]
        here = np.flatnonzero(singularities.frame == frame)
        taken = _paired(singularities, [p[-1] for p in still], here, max_step_mm)
        for row, k in taken:
            still[row].append(int(here[k]))
        used = {k for _, k in taken}
        active = still + [[int(i)] for k, i in enumerate(here) if k not in used]
    paths = sorted((p for p in done + active if len(p) >= min_frames), key=lambda p: p[0])
    return tuple(
        SingularityPath(int(singularities.charge[p[0]]), singularities.frame[p], singularities.position[p])
        for p in paths
    )


def _paired(s: Singularities, tails: list[int], here: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs (path, newcomer) of least total distance within the limit and of equal charge."""
    if not tails or not here.size:
        return []
    from scipy.optimize import linear_sum_assignment

    distance = np.linalg.norm(s.position[tails][:, None] - s.position[here][None], axis=2)
    allowed = (distance <= limit) & (s.charge[tails][:, None] == s.charge[here][None])
    cost = np.where(allowed, distance, 1e3 * limit + 1.0)  # forbidden pairs are taken last, then dropped
    return [(int(i), int(k)) for i, k in zip(*linear_sum_assignment(cost), strict=True) if allowed[i, k]]


@dataclass(frozen=True, eq=False)
class DominantFrequency:
    """Where the spectrum of each site peaks, and how much of the power is there.

    Parameters
    ----------
    frequency_hz
        Shape (n_sites,), Hz; NaN for a site without power in the band.
    regularity
        Power within 0.75 Hz of the peak over the power in the band, 0..1, shape (n_sites,).
    """

    frequency_hz: Float[np.ndarray, " n_sites"]
    regularity: Float[np.ndarray, " n_sites"]


def dominant_frequency(
    recording: Recording, *, low_hz: float = 2.5, high_hz: float = 20.0, segment_ms: float = 4000.0
) -> DominantFrequency:
    """Dominant frequency and regularity index by Welch's method (Hann windows, half overlap).

    Parameters
    ----------
    recording
        Uniformly sampled.
    low_hz, high_hz
        Band searched, Hz.
    segment_ms
        Length of a segment, ms; the whole recording if that is shorter.

    Raises
    ------
    InputError
        If the band is empty or beyond Nyquist's frequency, or the recording is shorter than four periods of `low_hz`.

    Notes
    -----
    Sanders et al. 2005 (doi:10.1161/CIRCULATIONAHA.105.517011).
    """
    from scipy.signal import welch

    rate = sampling_rate_hz(recording)
    if not 0 < low_hz < high_hz < rate / 2:
        raise InputError(
            f"the band must be 0 < low_hz < high_hz < {rate / 2:g} Hz (half the sampling rate); got {low_hz:g} and "
            f"{high_hz:g} Hz."
        )
    check_frames(recording, int(np.ceil(4 * rate / low_hz)), f"a spectrum down to {low_hz:g} Hz (four periods)")
    size = min(round(segment_ms * rate / 1000.0), recording.n_times)
    padded = 1 << int(np.ceil(np.log2(max(size, rate / 0.05))))
    f, power = welch(recording.values, fs=rate, nperseg=size, nfft=padded, detrend="linear", axis=1)
    band = (f >= low_hz) & (f <= high_hz)
    f, power = f[band], power[:, band]
    k = power.argmax(axis=1)
    total = power.sum(axis=1)
    near = np.abs(f[None, :] - f[k][:, None]) <= 0.75
    live = total > 0
    regularity = np.where(live, (power * near).sum(axis=1) / np.where(live, total, 1.0), np.nan)
    return DominantFrequency(np.where(live, f[k], np.nan), regularity)
