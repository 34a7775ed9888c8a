"""When a surrogate can be trusted: input unlike the training data, and how large the error may be.

A sheet is described by a few numbers with names. A surrogate keeps their distribution over its training sheets; a sheet
far from it is flagged, with the numbers that are unusual. The error of a prediction is estimated from the same numbers
by a regression on sheets that were not trained on, and scaled so that nine of ten of those lie below (split conformal
prediction, Vovk et al. 2005).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.surrogate.movie_maps import crossing_times
from einthoven.surrogate.sheets import SheetData

#: A sheet is flagged where its distance exceeds that of the farthest known sheet by this factor.
SLACK = 1.3

#: The numbers' own noise counts as at least this share of their standard deviation among the training sheets.
SHRINKAGE = 0.1

#: A number is called unusual beyond so many standard deviations.
UNUSUAL = 4.0

#: Share of the predictions whose error is to lie below its bound.
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
    tensors = d[mask] if d.ndim == 4 else d[mask][:, None, None] * np.eye(2)
    values = np.linalg.eigvalsh(tensors)
    log_d = np.full(mask.shape, np.nan)
    log_d[mask] = 0.5 * np.log(values[:, 0] * values[:, 1])
    steps = np.concatenate([np.diff(log_d, axis=a).reshape(-1) for a in (0, 1)])
    return {
        **_holes(mask, spacing),
        "mean log D": float(np.nanmean(log_d)),
        "lowest log D": float(np.nanquantile(log_d, 0.02)),
        "highest log D": float(np.nanquantile(log_d, 0.98)),
        "steepness of log D (1/mm)": float(np.sqrt(np.nanmean(steps**2)) / spacing),
        "anisotropy": float(np.log(values[:, 1] / values[:, 0]).mean()),
        "stimuli": float(n_stimuli),
    }


def _holes(mask: np.ndarray, spacing: float) -> dict[str, float]:
    """Density of holes, and what tells textures apart: rim per area, single cells, elongation."""
    from scipy.ndimage import label

    holes = ~mask
    rim = sum(int((np.diff(mask.astype(np.int8), axis=a) != 0).sum()) for a in (0, 1))
    parts = np.zeros(holes.shape, dtype=np.int32)
    label(holes, output=parts)
    sizes = np.bincount(parts.reshape(-1))[1:]
    density = float(holes.mean())
    return {
        "density of holes": density,
        "rim of holes per area (1/mm)": float(rim * spacing / (mask.size * spacing**2)),
        "holes of one or two cells per area (1/mm2)": float((sizes <= 2).sum() / (mask.size * spacing**2)),
        "largest hole over all": float(sizes.max() / holes.sum()) * density if sizes.size else 0.0,
    }


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
    rough = np.concatenate([np.abs(np.diff(share, axis=a)).reshape(-1) for a in (0, 1)])
    return {
        "pixels without cells": float(1 - cells.mean()),
        "pixels partly of cells": float(((share > 0.05) & (share < 0.95)).mean()),
        "mean share of cells": float(share.mean()),
        "roughness of the share (1/mm)": float(rough.mean() / pixel),
        "mean delay between pixels (ms/mm)": float(steps.mean()) if steps.size else 0.0,
        "highest delay between pixels (ms/mm)": float(np.quantile(steps, 0.95)) if steps.size else 0.0,
        "activations per pixel": float(rises[cells].mean()) if cells.any() else 0.0,
        "active share of the time": float(length.mean()) if length.size else 0.0,
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
        Over that of the farthest known sheet, with slack: above 1 is unfamiliar.
    unusual
        Numbers that stick out, worst first, each as a phrase.
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
    mean, inverse
        Of the numbers over the training sheets: mean, and inverse of the covariance (with `SHRINKAGE`).
    spread
        Their standard deviations, at least a small share of their size.
    farthest
        Largest Mahalanobis distance of a known sheet.
    weights
        Of the regression from standardized numbers (and 1, last) to the logarithm of the error.
    scale
        Factor of the estimate that makes it a bound.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " n"]
    inverse: Float[np.ndarray, "n n"]
    spread: Float[np.ndarray, " n"]
    farthest: float
    weights: Float[np.ndarray, " n_and_1"]
    scale: float

    @classmethod
    def fit(
        cls, training: list[dict[str, float]], held: list[dict[str, float]], errors: Float[np.ndarray, " m"]
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
        """
        names = tuple(training[0])
        x, h = (np.array([[row[n] for n in names] for row in rows]) for rows in (training, held))
        mean = x.mean(axis=0)
        spread = np.maximum(x.std(axis=0), 0.02 * np.abs(mean) + 0.01)
        z, zh = (x - mean) / spread, (h - mean) / spread
        covariance = z.T @ z / len(z) + SHRINKAGE * np.eye(len(names))
        inverse = np.linalg.inv(covariance)
        farthest = max(float(_distance(rows, inverse).max()) for rows in (z, zh))
        design, y = np.column_stack([zh, np.ones(len(zh))]), np.log(np.maximum(errors, 1e-9))
        penalty = PENALTY * np.eye(design.shape[1])
        penalty[-1, -1] = 0.0
        gram = np.linalg.inv(design.T @ design + penalty)
        weights = gram @ design.T @ y
        leverage = np.einsum("ij,jk,ik->i", design, gram, design)
        rest = (y - design @ weights) / np.maximum(1 - leverage, 0.1)  # as if each had been left out
        rank = min(1.0, COVERAGE * (1 + 1 / len(rest)))
        return cls(names, mean, inverse, spread, farthest, weights, float(np.exp(np.quantile(rest, rank))))

    def _standardized(self, numbers: dict[str, float]) -> Float[np.ndarray, " n"]:
        return (np.array([numbers[n] for n in self.names]) - self.mean) / self.spread

    def judge(self, numbers: dict[str, float]) -> Judgement:
        """Compare a sheet with the training data."""
        z = self._standardized(numbers)
        distance = float(_distance(z[None], self.inverse)[0]) / (SLACK * self.farthest)
        order = np.argsort(-np.abs(z))
        unusual = [
            f"{self.names[k]} is {numbers[self.names[k]]:.3g}, usually {self.mean[k]:.3g} +- {self.spread[k]:.2g}"
            for k in order
            if abs(z[k]) > UNUSUAL
        ]
        return Judgement(distance <= 1, distance, tuple(unusual[:3]))

    def bound(self, numbers: dict[str, float]) -> float:
        """Below which the error lies for nine of ten familiar sheets."""
        z = np.append(self._standardized(numbers), 1.0)
        return self.scale * float(np.exp(z @ self.weights))

    def as_card(self) -> dict[str, Any]:
        """Plain numbers, to be stored."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def of_card(cls, card: dict[str, Any]) -> "Limits":
        """From plain numbers."""
        arrays = {k: np.array(card[k], dtype=np.float64) for k in ("mean", "inverse", "spread", "weights")}
        return cls(tuple(card["names"]), **arrays, farthest=float(card["farthest"]), scale=float(card["scale"]))


def _distance(z: Float[np.ndarray, "m n"], inverse: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " m"]:
    return np.sqrt(np.einsum("mi,ij,mj->m", z, inverse, z))


def sheet_error(predicted: Float[np.ndarray, "k t"], true: Float[np.ndarray, "k t"]) -> float:
    """Root mean square error over all electrodes over the root mean square of the ECG without its means."""
    rest = true - true.mean(axis=1, keepdims=True)
    return float(np.sqrt(((predicted - true) ** 2).sum() / (rest**2).sum()))
