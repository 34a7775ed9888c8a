"""Noise of the leads from a quiet window, and the signal-to-noise ratio."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import Recording
from einthoven.core.sites import match_names
from einthoven.signals.sampling import check_frames


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the leads in a quiet window.

    Parameters
    ----------
    sigma
        Standard deviation of every lead, mV, shape (n_sites,).
    covariance
        Sample covariance, mV^2, shape (n_sites, n_sites); singular with fewer frames than leads.
    shrinkage
        How far `regularized` goes towards uncorrelated leads, 0..1 (Schaefer and Strimmer 2005).
    sites
        Names.
    window
        Start and end, ms.
    n_frames
        Frames in the window.
    """

    sigma: Float[np.ndarray, " n_sites"]
    covariance: Float[np.ndarray, "n_sites n_sites"]
    shrinkage: float
    sites: tuple[str, ...]
    window: tuple[float, float]
    n_frames: int

    def __repr__(self) -> str:
        return (
            f"Noise(median {1e3 * np.median(self.sigma):.3g} uV over {len(self.sites)} leads, {self.n_frames} frames, "
            f"{self.window[0]:g}..{self.window[1]:g} ms)"
        )

    def regularized(self) -> Float[np.ndarray, "n_sites n_sites"]:
        """Covariance with its correlations shrunk, positive definite if no lead is silent: fit for whitening."""
        diagonal = np.diag(self.sigma**2)
        return (1.0 - self.shrinkage) * self.covariance + self.shrinkage * diagonal


def noise_estimate(recording: Recording, start: float, stop: float) -> Noise:
    """Estimate noise from a window without cardiac activity; a straight line is removed from every lead first.

    Parameters
    ----------
    recording
        Leads.
    start, stop
        The quiet window, ms, for example the PQ segment or from `quiet_window`.

    Returns
    -------
    Noise
        Per lead and as a covariance, unbiased for white noise.

    Raises
    ------
    InputError
        If the window holds fewer than five frames.
    """
    quiet = recording.window(start, stop)
    check_frames(quiet, 5, f"a noise estimate from {start:g}..{stop:g} ms")
    time = quiet.times - quiet.times.mean()
    level = quiet.values.mean(axis=1, keepdims=True)
    trend = (quiet.values @ time / (time @ time))[:, None] * time
    rest = quiet.values - level - trend
    freedom = quiet.n_times - 2
    covariance = rest @ rest.T / freedom
    sigma = np.sqrt(np.diag(covariance))
    return Noise(sigma, covariance, _shrinkage(rest, sigma), quiet.sites, (start, stop), quiet.n_times)


def _shrinkage(rest: np.ndarray, sigma: np.ndarray) -> float:
    """Intensity towards a diagonal target: sum of the variances of the correlations over the sum of their squares."""
    live = sigma > 0
    z = rest[live] / sigma[live, None]
    n = z.shape[1]
    if len(z) < 2:
        return 0.0
    r = z @ z.T / n
    variance = (z**2 @ (z**2).T / n - r**2) / (n - 1)
    off = ~np.eye(len(z), dtype=bool)
    total = (r[off] ** 2).sum()
    return float(np.clip(variance[off].sum() / total, 0.0, 1.0)) if total > 0 else 1.0


def quiet_window(recording: Recording, *, duration: float = 40.0) -> tuple[float, float]:
    """Return the window of that duration (ms) in which all leads together move least.

    Raises
    ------
    InputError
        If the recording is shorter than the window.
    """
    width = round(duration / recording.dt)
    check_frames(recording, width + 1, f"a quiet window of {duration:g} ms")
    sums = [
        np.concatenate([np.zeros((recording.n_sites, 1)), np.cumsum(v, axis=1)], axis=1) for v in _powers(recording)
    ]
    n = width + 1
    mean, square = [(s[:, n:] - s[:, :-n]) / n for s in sums]
    variance = np.maximum(square - mean**2, 0.0).sum(axis=0)
    k = int(variance.argmin())
    return float(recording.times[k]), float(recording.times[k + width])


def _powers(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    swing = recording.values - recording.values.mean(axis=1, keepdims=True)
    return swing, swing**2


def high_frequency_noise(recording: Recording) -> Float[np.ndarray, " n_sites"]:
    """Standard deviation of white noise from the second differences of each lead, mV.

    The second difference of white noise has variance 6 sigma^2 and of a smooth signal is small; the median absolute
    value makes it blind to the QRS complex.
    """
    return 1.4826 * np.median(np.abs(np.diff(recording.values, 2, axis=1)), axis=1) / np.sqrt(6.0)


def snr_db(recording: Recording, noise: Noise) -> Float[np.ndarray, " n_sites"]:
    """Signal-to-noise ratio of every lead, dB: 10 log10(signal power / noise power).

    The signal is the deviation from the lead's level in the quiet window; the noise power is subtracted from its
    power. -inf where nothing is left, inf where the noise is zero.

    Parameters
    ----------
    recording
        Leads.
    noise
        Of the same leads, matched by name.

    Raises
    ------
    InputError
        If a lead has no noise estimate.
    """
    index = match_names(recording.sites, noise.sites, "noise")
    level = recording.window(*noise.window).values.mean(axis=1, keepdims=True)
    variance = noise.sigma[index] ** 2
    power = np.maximum(((recording.values - level) ** 2).mean(axis=1) - variance, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10.0 * np.log10(power / variance)
