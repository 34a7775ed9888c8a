"""How well an ECG is predicted: per sheet and electrode, and summed up per condition."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError

#: An electrode's own variance counts at least as this share of the largest one on its sheet, squared: where there is
#: hardly a signal, R2 says nothing.
FLOOR = 0.1


def ecg_scores(
    predicted: Float[np.ndarray, "..."],
    true: Float[np.ndarray, "..."],
    times: Float[np.ndarray, " n_samples"],
) -> dict[str, Float[np.ndarray, " n_electrodes"]]:
    """Score the predicted ECG of one sheet.

    Parameters
    ----------
    predicted, true
        mV, shape (n_electrodes, n_samples).
    times
        ms.

    Returns
    -------
    dict
        Per electrode ``r2`` = 1 - |p - y|^2 / |y - mean(y)|^2; ``r2_floored``, the same with the denominator at least
        `FLOOR`^2 times the largest one of the sheet; ``mae`` (mV); ``correlation``; ``amplitude_ratio``, of
        peak-to-peak amplitudes; ``peak_time_error`` (ms), how far the largest deflections lie apart.

    Raises
    ------
    InputError
        If shapes differ, the prediction is not finite, or the true ECG is constant.
    """
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if p.shape != y.shape or y.ndim != 2 or y.shape[1] != len(times):
        raise InputError(f"scores: shapes of prediction and truth differ: {p.shape} and {y.shape}, {len(times)} times.")
    if not np.isfinite(p).all():
        raise InputError("scores: the prediction holds NaN or infinity.")
    spread = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    if not (spread > 0).all():
        raise InputError(f"scores: the true ECG of electrode {int(np.argmin(spread))} is constant: nothing to predict.")
    wrong = ((p - y) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.array([np.corrcoef(a, b)[0, 1] if np.ptp(a) > 0 else 0.0 for a, b in zip(p, y, strict=True)])
    peaks = [np.asarray(times)[np.abs(x).argmax(axis=1)] for x in (p, y)]
    return {
        "r2": 1 - wrong / spread,
        "r2_floored": 1 - wrong / np.maximum(spread, FLOOR**2 * spread.max()),
        "mae": np.abs(p - y).mean(axis=1),
        "correlation": correlation,
        "amplitude_ratio": np.ptp(p, axis=1) / np.ptp(y, axis=1),
        "peak_time_error": np.abs(peaks[0] - peaks[1]),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up scores of many sheets and electrodes.

    Parameters
    ----------
    rows
        One per sheet and electrode, with the scores of `ecg_scores`.

    Returns
    -------
    dict
        ``r2_mean``, ``r2_std``, ``r2_p05`` (5th percentile), ``r2_min``, ``r2_floored_p05``, and medians of the others.
    """
    r2 = np.array([row["r2"] for row in rows])
    floored = np.array([row["r2_floored"] for row in rows])
    return {
        "n": len(rows),
        "r2_mean": float(r2.mean()),
        "r2_std": float(r2.std()),
        "r2_p05": float(np.quantile(r2, 0.05)),
        "r2_min": float(r2.min()),
        "r2_floored_p05": float(np.quantile(floored, 0.05)),
        **{k: float(np.median([row[k] for row in rows])) for k in ("mae", "correlation", "amplitude_ratio")},
        "peak_time_error": float(np.median([row["peak_time_error"] for row in rows])),
    }
