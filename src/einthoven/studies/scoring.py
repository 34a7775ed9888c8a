"""Scoring files against a truth file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from einthoven.core import InputError, Reconstruction, Recording
from einthoven.metrics import MEAN_REMOVED, score


def score_files(
    estimate: Path, truth: Path, *, rate_hz: float | None = None, unit: str | None = None, mean_removed: bool = False
) -> list[dict[str, Any]]:
    """Score the potentials of one file against those of another.

    Parameters
    ----------
    estimate
        Any recording file, or a ``reconstruction.zarr``: then every method in it is scored.
    truth
        Any recording file, or a ``reconstruction.zarr`` that holds a truth.
    rate_hz, unit
        For files that do not hold sampling rate or unit (then mV by default).
    mean_removed
        Remove the mean over the sites from every frame of both first; done anyway where a recording is
        referenced.

    Returns
    -------
    list of dict
        One flat row of scores per estimate.

    Raises
    ------
    InputError
        If sites or times do not match; where neither file names its sites, rows are compared in order.
    """
    wanted = _recordings(truth, rate_hz=rate_hz, unit=unit)
    right = wanted.get("truth") or (next(iter(wanted.values())) if len(wanted) == 1 else None)
    if right is None:
        raise InputError(f"{truth}: holds no truth, but {', '.join(wanted)}; name a file with measured potentials.")
    rows = []
    for name, left in _recordings(estimate, rate_hz=rate_hz, unit=unit).items():
        if name in ("truth", "recording"):
            continue
        left = left if left.quantity == right.quantity else _as(left, right)
        scores = score(left, right, reference=MEAN_REMOVED if mean_removed else None)
        rows.append({"estimate": name, **scores})
    if not rows:
        raise InputError(f"{estimate}: holds no estimate to score.")
    return rows


def _as(recording: Recording, other: Recording) -> Recording:
    """Take a file's bare numbers for the quantity they are compared with."""
    if recording.quantity != "bsp":
        return recording  # it says what it is; `score` will refuse
    return Recording(recording.values, recording.times, recording.sites, other.quantity, recording.reference)


def _recordings(path: Path, *, rate_hz: float | None, unit: str | None) -> Mapping[str, Recording]:
    """Every recording of a file, by name."""
    from einthoven.io import read
    from einthoven.io.zarr_store import load_zarr

    if path.suffix != ".zarr":
        return {path.name: read(path).recording(rate_hz=rate_hz, unit=unit)}
    stored = load_zarr(path)
    items = stored if isinstance(stored, dict) else {path.name: stored}
    found = {}
    for name, item in items.items():
        if isinstance(item, Reconstruction):
            found[name] = item.estimate
        elif isinstance(item, Recording):
            found[name] = item
    if not found:
        raise InputError(f"{path}: holds no recording; give a recording or a reconstruction.zarr.")
    return found
