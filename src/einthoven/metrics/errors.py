"""Errors of potentials: each measure over everything, per frame and per node."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError

Kernel = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class Measure:
    """An error measure between an estimate and the truth, both of shape (n_sites, n_times).

    Call it for one number over all sites and frames; `per_frame` and `per_node` give the same measure
    over space and over time.

    Parameters
    ----------
    name
        As in ``metrics.json``.
    best
        Its value for a perfect estimate.
    kernel
        ``kernel(estimate, truth, axis)`` reduces one axis of two arrays of equal shape.
    """

    name: str
    best: float
    kernel: Kernel

    def __repr__(self) -> str:
        return f"Measure({self.name!r}, best {self.best:g})"

    def __call__(
        self, estimate: Float[np.ndarray, "n_sites n_times"], truth: Float[np.ndarray, "n_sites n_times"]
    ) -> float:
        """Return the measure over all sites and frames.

        Raises
        ------
        InputError
            If the shapes differ, or there is nothing to compare.
        """
        estimate, truth = checked_pair(estimate, truth, self.name)
        return float(self.kernel(estimate.reshape(-1, 1), truth.reshape(-1, 1), 0)[0])

    def per_frame(
        self, estimate: Float[np.ndarray, "n_sites n_times"], truth: Float[np.ndarray, "n_sites n_times"]
    ) -> Float[np.ndarray, " n_times"]:
        """Return the measure over the sites, one number per frame."""
        return self.kernel(*checked_pair(estimate, truth, self.name), 0)

    def per_node(
        self, estimate: Float[np.ndarray, "n_sites n_times"], truth: Float[np.ndarray, "n_sites n_times"]
    ) -> Float[np.ndarray, " n_sites"]:
        """Return the measure over the frames, one number per site."""
        return self.kernel(*checked_pair(estimate, truth, self.name), 1)


def checked_pair(estimate: np.ndarray, truth: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 arrays; refuse different shapes and nothing at all."""
    estimate, truth = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if estimate.ndim != 2 or estimate.shape != truth.shape:
        raise InputError(
            f"{name}: estimate and truth must have the same shape (sites, times); got {estimate.shape} and "
            f"{truth.shape}. Select the common sites and frames, or use `score` on recordings."
        )
    if estimate.size == 0:
        raise InputError(f"{name}: nothing to compare; estimate and truth hold no values.")
    return estimate, truth


def _norm(values: np.ndarray, axis: int) -> np.ndarray:
    # scaled by the largest entry, so that squares neither overflow nor underflow
    top = np.max(np.abs(values), axis=axis, keepdims=True)
    safe = np.where(top > 0, top, 1.0)
    root = np.sqrt(np.sum((values / safe) ** 2, axis=axis, keepdims=True))
    return np.squeeze(safe * root, axis=axis)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is zero."""
    undefined = below == 0
    return np.where(undefined, np.nan, above / np.where(undefined, 1.0, below))


def _unit(values: np.ndarray, axis: int) -> np.ndarray:
    return _ratio(values, np.expand_dims(_norm(values, axis), axis))


def centered(values: np.ndarray, axis: int) -> np.ndarray:
    """Deviation from the mean; exactly zero where the values are constant (up to rounding of the mean)."""
    deviation = values - np.mean(values, axis=axis, keepdims=True)
    constant = np.max(values, axis=axis, keepdims=True) == np.min(values, axis=axis, keepdims=True)
    return np.where(constant, 0.0, deviation)


def _relative_error(estimate: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    return _ratio(_norm(estimate - truth, axis), _norm(truth, axis))


def _correlation(estimate: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    a, b = _unit(centered(estimate, axis), axis), _unit(centered(truth, axis), axis)
    return np.clip(np.sum(a * b, axis=axis), -1.0, 1.0)


def _rdm(estimate: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    difference = _unit(estimate, axis) - _unit(truth, axis)
    return np.minimum(np.sqrt(np.sum(difference**2, axis=axis)), 2.0)


def _mag(estimate: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    return _ratio(_norm(estimate, axis), _norm(truth, axis))


def _rmse(estimate: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    return _norm(estimate - truth, axis) / np.sqrt(estimate.shape[axis])


#: |estimate - truth| / |truth| (Frobenius); NaN where the truth is zero.
relative_error = Measure("relative_error", 0.0, _relative_error)
#: Pearson correlation; NaN where estimate or truth is constant.
correlation = Measure("correlation", 1.0, _correlation)
#: Root of the mean squared difference, mV.
rmse = Measure("rmse", 0.0, _rmse)
#: Relative difference measure, | estimate/|estimate| - truth/|truth| |, 0..2; NaN where either is zero
#: (Meijs et al. 1989, doi:10.1109/10.40805).
rdm = Measure("rdm", 0.0, _rdm)
#: Magnification, |estimate| / |truth|; NaN where the truth is zero (Meijs et al. 1989, doi:10.1109/10.40805).
mag = Measure("mag", 1.0, _mag)

#: The measures by name.
MEASURES: dict[str, Measure] = {m.name: m for m in (relative_error, correlation, rmse, rdm, mag)}
