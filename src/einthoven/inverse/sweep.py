"""A family of estimates indexed by one weight, as every rule sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from einthoven.core import WeightCurve
from einthoven.inverse.decomposition import Spectrum, Statistics, truncation_filter


@dataclass(frozen=True, eq=False)
class Choice:
    """A weight, the curve behind it, and what to know about it."""

    weight: float
    curve: WeightCurve | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sweep:
    """Estimates for one weight after another: what a rule chooses from.

    Parameters
    ----------
    statistics
        Residuals, seminorms and traces at given weights.
    estimate
        The estimate at one weight, shape (n_sources, n_columns).
    low, high
        Where to look first; a rule may go beyond unless `bounded` or `grid` is given.
    sigma
        Returns the standard deviation of the noise, mV; called only by rules that need it.
    sites
        Names of the sources.
    mean_removed
        Whether estimates are compared after the mean over the sources is removed.
    temporal
        Columns as combinations of frames, shape (n_times, n_columns); None if they are the frames.
    grid
        The only weights there are (truncation), or None.
    smooth
        The continuous sweep that rules with derivatives use in place of a truncated one, or None.
    bounded
        Whether rules must stay between `low` and `high`.
    n_weights
        How many weights to try.
    """

    statistics: Callable[[Float[np.ndarray, " w"]], Statistics]
    estimate: Callable[[float], Float[np.ndarray, "n t"]]
    low: float
    high: float
    sigma: Callable[[], float]
    sites: tuple[str, ...]
    mean_removed: bool
    temporal: Float[np.ndarray, "n_times t"] | None = None
    grid: Float[np.ndarray, " w"] | None = None
    smooth: "Sweep | None" = None
    bounded: bool = False
    n_weights: int = 100

    def lambdas(self, low: float, high: float) -> Float[np.ndarray, " w"]:
        """The weights to try between `low` and `high`."""
        return np.geomspace(low, high, self.n_weights) if self.grid is None else self.grid


def spectral_sweep(
    spectrum: Spectrum,
    *,
    sigma: Callable[[], float],
    sites: tuple[str, ...],
    mean_removed: bool,
    temporal: Float[np.ndarray, "n_times t"] | None = None,
) -> Sweep:
    """The sweep of Tikhonov estimates of a decomposition."""
    values = spectrum.decomposition.values
    return Sweep(
        statistics=spectrum.statistics,
        estimate=spectrum.estimate,
        low=float(np.clip(values[-1], 1e-8 * values[0], 1e-2 * values[0])),
        high=float(values[0]),
        sigma=sigma,
        sites=sites,
        mean_removed=mean_removed,
        temporal=temporal,
    )


def truncated(sweep: Sweep, spectrum: Spectrum) -> Sweep:
    """The sweep of truncated estimates of the same decomposition: its weights are the singular values."""
    values = spectrum.decomposition.values
    return replace(
        sweep,
        statistics=partial(spectrum.statistics, filtered=truncation_filter),
        estimate=partial(spectrum.estimate, filtered=truncation_filter),
        grid=np.unique(values[values >= sweep.low]),
        smooth=sweep,
    )
