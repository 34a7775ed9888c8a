"""When a surrogate can be trusted: input unlike the training data, and how large the error may be.

A sheet is described by a few numbers with names. A surrogate keeps those of its training sheets; a sheet farther from
the nearest of them than they are from each other is flagged, with the numbers that differ most. The error of a
prediction is estimated from the same numbers by a regression on sheets that were not trained on, and scaled so that
nine of ten of those lie below, in every kind of them (split conformal prediction, Vovk et al. 2005, by groups).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.surrogate.movie_maps import crossing_times, front_anisotropy
from einthoven.surrogate.sheets import SheetData

#: Share of the known sheets that are flagged if each is compared with the others.
ALARMS = 0.02

#: A number is named in a warning if it makes at least this share of the squared distance.
NAMED = 0.1

#: Distances at which holes are correlated, mm.
LAGS = (0.5, 1.0, 2.0, 4.0)

#: A texture's variance counts as at least this.
LEAST_VARIANCE = 1e-3

#: Share of the predictions of a kind of sheets whose error is to lie below its bound.
COVERAGE = 0.9

#: Strength of the regression's penalty, in standardized numbers.
PENALTY = 3.0


def tissue_statistics(sheet: SheetData) -> dict[str, float]:
    """Numbers that describe a sheet's tissue and stimuli.

    Parameters
    ----------
    sheet
        Its movie is not looked at.
    """
    return tissue_numbers(sheet.conducting, sheet.diffusivity, sheet.spacing, len(sheet.sites))


def tissue_numbers(conducting: Any, diffusivity: Any, spacing: float, n_stimuli: int) -> dict[str, float]:
    """Numbers that describe a tissue.

    Parameters
    ----------
    conducting, diffusivity
        As of `SheetData`.
    spacing
        mm.
    n_stimuli
        How many stimuli.
    """
    mask = np.asarray(conducting, dtype=bool)
    d = np.asarray(diffusivity, dtype=np.float64)
    tensors = d[mask] if d.ndim > mask.ndim else d[mask][:, None, None] * np.eye(mask.ndim)
    values = np.linalg.eigvalsh(tensors)
    log_d = np.full(mask.shape, np.nan)
    log_d[mask] = np.log(values).mean(axis=1)
    steps = np.concatenate([np.diff(log_d, axis=a).reshape(-1) for a in range(mask.ndim)])
    return {
        **_holes(mask, spacing),
        "mean log D": float(np.nanmean(log_d)),
        "lowest log D": float(np.nanquantile(log_d, 0.02)),
        "highest log D": float(np.nanquantile(log_d, 0.98)),
        "steepness of log D (1/mm)": float(np.sqrt(np.nanmean(steps**2)) / spacing),
        "anisotropy": float(np.log(values[:, -1] / values[:, 0]).mean()),
        "stimuli": float(n_stimuli),
    }


def _holes(mask: np.ndarray, spacing: float) -> dict[str, float]:
    """Density of holes, and what tells textures apart: rim per area (or volume), single cells, elongation."""
    from scipy.ndimage import label

    holes, d = ~mask, mask.ndim
    rim = sum(int((np.diff(mask.astype(np.int8), axis=a) != 0).sum()) for a in range(d))
    parts = np.zeros(holes.shape, dtype=np.int32)
    label(holes, output=parts)
    sizes = np.bincount(parts.reshape(-1))[1:]
    density = float(holes.mean())
    return {
        **texture_numbers(holes.astype(np.float64), spacing),
        "density of holes": density,
        "rim of holes per area (1/mm)": float(rim / (mask.size * spacing)),
        f"holes of one or two cells per area (1/mm{d})": float((sizes <= 2).sum() / (mask.size * spacing**d)),
        "largest hole over all": float(sizes.max() / holes.sum()) * density if sizes.size else 0.0,
    }


def texture_numbers(holes: Float[np.ndarray, "*n"], spacing: float) -> dict[str, float]:
    """Numbers that tell textures apart: correlation of holes over distances, size and elongation of connected holes.

    Parameters
    ----------
    holes
        1 in holes, 0 in cells, between in pixels that are partly holes.
    spacing
        Of the cells or pixels, mm.
    """
    mean, spread = holes.mean(), max(float(holes.var()), LEAST_VARIANCE)
    lags = dict.fromkeys(max(1, round(lag / spacing)) for lag in LAGS)
    found = {}
    for lag in lags:
        k = min(lag, min(holes.shape) - 1)
        along = [(holes[k:] * holes[:-k]).mean(), (holes[:, k:] * holes[:, :-k]).mean()]
        found[f"correlation of holes {lag * spacing:g} mm apart"] = float((np.mean(along) - mean**2) / spread)
    (size, elongation), d = _connected(holes > 0.5), holes.ndim
    return {
        **found,
        f"size of holes (log of mm{d})": size + d * np.log(spacing),
        "elongation of holes (log)": elongation,
    }


def _connected(holes: np.ndarray) -> tuple[float, float]:
    """Logarithms of size (cells) and elongation of connected holes, means over their cells; 0 without holes."""
    from scipy.ndimage import label

    parts = np.zeros(holes.shape, dtype=np.int32)
    label(holes, output=parts)
    if not parts.any():
        return 0.0, 0.0
    places, part = np.argwhere(parts > 0), parts[parts > 0] - 1
    size = np.bincount(part).astype(np.float64)
    axes = range(holes.ndim)
    middle = np.stack([np.bincount(part, places[:, k]) / size for k in axes], axis=1)
    off = places - middle[part]
    moments = np.array([[np.bincount(part, off[:, i] * off[:, j]) / size for i in axes] for j in axes])
    extents = np.linalg.eigvalsh(np.moveaxis(moments, 2, 0) + np.eye(holes.ndim) / 12)  # with a cell's own extent
    ratio = np.log(extents[:, -1] / np.maximum(extents[:, 0], 1 / 12))
    share = size / size.sum()
    return float(share @ np.log(size)), float(share @ ratio)


def movie_statistics(sheet: SheetData, pixel: float) -> dict[str, float]:
    """Numbers that describe a sheet's movie.

    Parameters
    ----------
    sheet
        Its tissue is not looked at.
    pixel
        mm.
    """
    movie = sheet.coarser(pixel)
    top = movie.max(axis=0)
    level = 0.45 * top
    share = top / max(float(top.max()), 1e-9)
    cells = share > 0.3
    times = crossing_times(movie, np.asarray(sheet.movie_times), np.where(cells, level, 0.0))
    rises = ((movie[:-1] < level) & (movie[1:] >= level)).sum(axis=0)
    steps = np.concatenate([np.abs(np.diff(times, axis=a)).reshape(-1) for a in (0, 1)]) / pixel
    steps = steps[np.isfinite(steps)]
    length = (movie > level).mean(axis=0)[cells]
    fibers = float(np.hypot(*front_anisotropy(times, pixel)[:2]))
    whole = float(sheet.movie_times[-1] - sheet.movie_times[0])
    rough = np.concatenate([np.abs(np.diff(share, axis=a)).reshape(-1) for a in (0, 1)])
    return {
        **texture_numbers(1 - np.clip(share, 0.0, 1.0).astype(np.float64), pixel),
        "pixels without cells": float(1 - cells.mean()),
        "pixels partly of cells": float(((share > 0.05) & (share < 0.95)).mean()),
        "mean share of cells": float(share.mean()),
        "roughness of the share (1/mm)": float(rough.mean() / pixel),
        "mean delay between pixels (ms/mm)": float(steps.mean()) if steps.size else 0.0,
        "highest delay between pixels (ms/mm)": float(np.quantile(steps, 0.95)) if steps.size else 0.0,
        "dependence of the slowness on direction": fibers,
        "activations per pixel": float(rises[cells].mean()) if cells.any() else 0.0,
        "active time (ms)": whole * float(length.mean()) if length.size else 0.0,
        "active at the beginning": float((movie[0] > level)[cells].mean()) if cells.any() else 0.0,
    }


@dataclass(frozen=True)
class Judgement:
    """How a sheet compares with the training data.

    Parameters
    ----------
    familiar
        Whether it is like them.
    distance
        From the nearest known sheet, over the distance that `ALARMS` of those exceed among themselves: above 1 is
        unfamiliar.
    unusual
        Numbers that differ most from the nearest known sheet, each as a phrase.
    """

    familiar: bool
    distance: float
    unusual: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """One sentence; None where the sheet is familiar."""
        if self.familiar:
            return None
        why = f": {'; '.join(self.unusual)}" if self.unusual else ""
        return f"unlike the training data (distance {self.distance:.1f}, 1 is the limit){why}"


@dataclass(frozen=True, eq=False)
class Limits:
    """What a surrogate knows of its training data and of its errors.

    Parameters
    ----------
    names
        Of the numbers.
    mean, spread
        Of the numbers over the training sheets; the standard deviations are at least a small share of their size.
    known
        Numbers of the training sheets, standardized.
    reach
        Distance from the nearest known sheet beyond which a sheet is flagged.
    weights
        Of the regression from standardized numbers (and 1, last) to the logarithm of the error.
    scale
        Factor of the estimate that makes it a bound.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " n"]
    spread: Float[np.ndarray, " n"]
    known: Float[np.ndarray, "k n"]
    reach: float
    weights: Float[np.ndarray, " n_and_1"]
    scale: float

    @classmethod
    def fit(
        cls,
        training: Sequence[Mapping[str, float]],
        held: Sequence[Mapping[str, float]],
        errors: Float[np.ndarray, " m"],
        kinds: Sequence[str],
    ) -> "Limits":
        """Learn what is familiar from training sheets, and the error from sheets held out.

        Parameters
        ----------
        training
            Numbers of the training sheets.
        held
            Of sheets that were not trained on.
        errors
            Of their predictions.
        kinds
            Of these sheets: their conditions.
        """
        names = tuple(training[0])
        x, h = (np.array([[row[n] for n in names] for row in rows]) for rows in (training, held))
        mean = x.mean(axis=0)
        spread = np.maximum(x.std(axis=0), 0.02 * np.abs(mean) + 0.01)
        z, zh = (x - mean) / spread, (h - mean) / spread
        known = np.round(z, 3)
        near = np.sqrt(((known[:, None] - known[None]) ** 2).sum(axis=2))
        np.fill_diagonal(near, np.inf)
        nearest = near.min(axis=1)
        reach = max(float(np.quantile(nearest[np.isfinite(nearest)], 1 - ALARMS)), 1e-3) if len(known) > 1 else 1.0
        design, y = np.column_stack([zh, np.ones(len(zh))]), np.log(np.maximum(errors, 1e-9))
        penalty = PENALTY * np.eye(design.shape[1])
        penalty[-1, -1] = 0.0
        gram = np.linalg.inv(design.T @ design + penalty)
        weights = gram @ design.T @ y
        leverage = np.einsum("ij,jk,ik->i", design, gram, design)
        rest = (y - design @ weights) / np.maximum(1 - leverage, 0.1)  # as if each had been left out
        own = [[r for r, k in zip(rest, kinds, strict=True) if k == kind] for kind in dict.fromkeys(kinds)]
        worst = max(float(np.quantile(part, COVERAGE)) for part in own)
        return cls(names, mean, spread, known, reach, weights, float(np.exp(worst)))

    def _standardized(self, numbers: dict[str, float]) -> Float[np.ndarray, " n"]:
        return (np.array([numbers[n] for n in self.names]) - self.mean) / self.spread

    def judge(self, numbers: dict[str, float]) -> Judgement:
        """Compare a sheet with the training data."""
        z = self._standardized(numbers)
        apart = ((self.known - z) ** 2).sum(axis=1)
        nearest = self.known[apart.argmin()]
        like = self.mean + self.spread * nearest
        share = (z - nearest) ** 2 / max(float(apart.min()), 1e-12)
        unusual = [
            f"{self.names[k]} is {numbers[self.names[k]]:.3g}, {like[k]:.3g} in the most similar known sheet"
            for k in np.argsort(-share)
            if share[k] > NAMED
        ]
        distance = float(np.sqrt(apart.min())) / self.reach
        return Judgement(distance <= 1, distance, tuple(unusual[:3]) if distance > 1 else ())

    def bound(self, numbers: dict[str, float]) -> float:
        """Below which the error lies for nine of ten familiar sheets, in every kind of them."""
        z = np.append(self._standardized(numbers), 1.0)
        return self.scale * float(np.exp(z @ self.weights))

    def as_card(self) -> dict[str, Any]:
        """Plain numbers, to be stored."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def of_card(cls, card: dict[str, Any]) -> "Limits":
        """From plain numbers.

        Raises
        ------
        InputError
            If some are missing, as in a card of another version.
        """
        lacking = [k for k in ("names", "mean", "spread", "known", "weights", "reach", "scale") if k not in card]
        if lacking:
            raise InputError(f"the card of these weights lacks limits.{lacking[0]}: of another version? Train anew.")
        arrays = {k: np.array(card[k], dtype=np.float64) for k in ("mean", "spread", "known", "weights")}
        return cls(tuple(card["names"]), **arrays, reach=float(card["reach"]), scale=float(card["scale"]))


def sheet_error(predicted: Float[np.ndarray, "k t"], true: Float[np.ndarray, "k t"]) -> float:
    """Root mean square error over all electrodes over the root mean square of the ECG without its means."""
    rest = true - true.mean(axis=1, keepdims=True)
    return float(np.sqrt(((predicted - true) ** 2).sum() / (rest**2).sum()))
