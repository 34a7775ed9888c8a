"""Noise of the leads: covariance, whitening, standard deviation in a quiet window."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording
from einthoven.core.arrays import frozen
from einthoven.core.sites import check_names, match_names


@dataclass(frozen=True, eq=False)
class NoiseCovariance:
    """Covariance of the leads' noise.

    Parameters
    ----------
    matrix
        Shape (n_sites, n_sites), mV^2, symmetric positive semidefinite.
    sites
        Names of the leads.
    reference
        Reference of the recording it was estimated from; it must be that of the data.
    """

    matrix: Float[np.ndarray, "n_sites n_sites"]
    sites: tuple[str, ...]
    reference: str = "absolute"

    def __post_init__(self):
        matrix = np.asarray(self.matrix, dtype=np.float64)
        object.__setattr__(self, "sites", check_names(self.sites, "the sites of a noise covariance"))
        if matrix.shape != (len(self.sites), len(self.sites)):
            raise InputError(
                f"a noise covariance must have shape ({len(self.sites)}, {len(self.sites)}); got {matrix.shape}."
            )
        if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, atol=1e-9 * np.abs(matrix).max()):
            raise InputError("a noise covariance must be finite and symmetric; estimate it again from clean frames.")
        values = np.linalg.eigvalsh(matrix)
        if values[0] < -1e-9 * max(values[-1], 0.0) or values[-1] <= 0:
            raise InputError("a noise covariance must be positive semidefinite and not zero.")
        object.__setattr__(self, "matrix", frozen(matrix, np.float64))

    def __repr__(self) -> str:
        return f"NoiseCovariance({len(self.sites)} leads, {1e3 * self.sigma:.3g} uV, reference {self.reference!r})"

    @property
    def sigma(self) -> float:
        """Root mean square standard deviation of the leads, mV."""
        return float(np.sqrt(np.trace(self.matrix) / len(self.sites)))

    @classmethod
    def white(cls, recording: Recording, *, sigma: float) -> "NoiseCovariance":
        """Independent noise of standard deviation `sigma` (mV) on all leads of a recording."""
        if not sigma > 0:
            raise InputError(f"sigma must be positive (mV); got {sigma!r}.")
        return cls(sigma**2 * np.eye(recording.n_sites), recording.sites, recording.reference)

    @classmethod
    def from_window(cls, recording: Recording, *, start: float, stop: float) -> "NoiseCovariance":
        """Estimate from the frames of a window without heart signal.

        Each lead's line over the window is removed; the sample covariance is shrunk toward a multiple of the identity
        by the optimal amount (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4), so that it can be inverted
        from few frames.

        Parameters
        ----------
        recording
            The data, in the reference in which they will be inverted.
        start, stop
            The window, ms; at least eight frames.
        """
        quiet = recording.window(start, stop)
        if quiet.n_times < 8:
            raise InputError(
                f"the window {start:g}..{stop:g} ms holds {quiet.n_times} frames; a noise covariance needs at least 8."
            )
        deviations, freedom = _detrended(quiet.values)
        return cls(_shrunk(deviations, freedom), recording.sites, recording.reference)

    def select(self, sites: tuple[str, ...]) -> "NoiseCovariance":
        """Keep the named leads, in the order given."""
        index = match_names(sites, self.sites, "noise covariance")
        return NoiseCovariance(self.matrix[np.ix_(index, index)], tuple(sites), self.reference)

    def whitener(self, basis: Float[np.ndarray, "k n_sites"]) -> Float[np.ndarray, "k n_sites"]:
        """W with W C W^T = s^2 I in the lead space spanned by the rows of `basis`, s^2 the mean noise power there.

        The rows of `basis` are orthonormal. The factor s keeps the data in mV, so that a weight has the same meaning
        with and without whitening.

        Raises
        ------
        InputError
            If some direction of the lead space has no noise.
        """
        values, vectors = np.linalg.eigh(basis @ self.matrix @ basis.T)
        if values[0] <= 1e-10 * values[-1]:
            raise InputError(
                f"the noise covariance is singular within the {len(basis)} independent leads; estimate it from a "
                "longer window (`NoiseCovariance.from_window`), or add a small multiple of the identity."
            )
        scale = np.sqrt(values.mean())
        return (scale / np.sqrt(values))[:, None] * (vectors.T @ basis)


def quietest_window(recording: Recording, *, duration: float | None = None) -> tuple[float, float]:
    """Return start and stop (ms) of the window in which the leads vary least about their straight lines.

    Parameters
    ----------
    recording
        At least 16 frames.
    duration
        Length of the window, ms; default a tenth of the recording, at least 8 frames.
    """
    n = recording.n_times
    if n < 16:
        raise InputError(f"finding a quiet window needs at least 16 frames; the recording has {n}. Give sigma.")
    width = max(8, n // 10 if duration is None else round(duration / recording.dt) + 1)
    if width > n:
        raise InputError(f"a quiet window of {duration:g} ms is longer than the recording.")
    starts = range(0, n - width + 1, max(1, width // 4))
    power = [float((_detrended(recording.values[:, s : s + width])[0] ** 2).sum()) for s in starts]
    first = starts[int(np.argmin(power))]
    return float(recording.times[first]), float(recording.times[first + width - 1])


def quiet_sigma(recording: Recording, *, rank: int | None = None) -> float:
    """Standard deviation of the leads' noise (mV) in the quietest window.

    Parameters
    ----------
    recording
        The data.
    rank
        Number of independent leads (one less than the leads for an average reference); default all.
    """
    start, stop = quietest_window(recording)
    deviations, freedom = _detrended(recording.window(start, stop).values)
    return float(np.sqrt((deviations**2).sum() / (freedom * (rank or recording.n_sites))))


def _detrended(values):
    """Deviations from each row's straight line, and the degrees of freedom left."""
    n = values.shape[1]
    line = np.stack([np.ones(n), np.linspace(-1, 1, n)]) / np.sqrt([[n], [1.0]])
    line[1] /= np.linalg.norm(line[1])
    return values - (values @ line.T) @ line, n - 2


def _shrunk(deviations, freedom: int):
    """Ledoit-Wolf estimate of the covariance."""
    m, n = deviations.shape
    sample = deviations @ deviations.T / freedom
    mean = np.trace(sample) / m
    spread = ((sample - mean * np.eye(m)) ** 2).sum()
    scaled = deviations * np.sqrt(n / freedom)
    error = (((scaled**2).sum(axis=0) ** 2).sum() / n - (sample**2).sum()) / n
    shrinkage = min(1.0, max(error, 0.0) / spread) if spread > 0 else 1.0
    return (1 - shrinkage) * sample + shrinkage * mean * np.eye(m)
