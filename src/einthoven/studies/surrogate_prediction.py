"""Predictions of surrogates: of all sheets of a set, or of one's own picture of tissue."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import Electrodes, InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.io import write
from einthoven.io.pictures import read_tissue_picture
from einthoven.studies.output import SEAL, staged, write_json
from einthoven.studies.sheet_sets import SheetSet, read_sheet
from einthoven.surrogate.baselines import ecg_of_times
from einthoven.surrogate.front_features import front
from einthoven.surrogate.limits import Judgement, Limits, tissue_numbers
from einthoven.surrogate.models import Surrogate, TissueEcg, statistics
from einthoven.surrogate.neural_eikonal import activation_times
from einthoven.tissue import Grid, Tissue

#: Samples of a predicted ECG, ms, and how long after the last activation it goes on.
EVERY, AFTER = 2.0, 350.0


def write_predictions(
    surrogate: Surrogate, limits: Limits, sheets: SheetSet, folder: Path, *, split: str, progress: Progress = silent
) -> int:
    """Predict all sheets of a part of a set, in the form that `surrogate evaluate --predictions` takes.

    Beside the ECGs ``warning`` says which sheets are unlike the training data and why (empty: familiar), and ``bound``
    below which relative error nine of ten familiar sheets lie. Returns how many are unlike them.

    Parameters
    ----------
    surrogate, limits
        Trained, and what it knows of its limits.
    sheets, split
        The set, and the part of it.
    folder
        For ``predictions.npz``.
    progress
        Told after each sheet.
    """
    names, numbers, found, warnings, bounds, times = [], [], [], [], [], np.zeros(0)
    cells = sheets.cells(split)
    for k, cell in enumerate(cells):
        sheet = read_sheet(sheets.folder, cell)
        names.append(sheet.condition)
        numbers.append(sheet.number)
        found.append(surrogate.predict(sheet))
        known = statistics(surrogate, sheet)
        warnings.append(limits.judge(known).warning or "")
        bounds.append(limits.bound(known))
        times = sheet.movie_times if surrogate.sees_movie else sheet.ecg_times
        progress("predicting", k + 1, len(cells))
    if not found:
        raise InputError(f"{sheets.folder}: has no sheets in its {split} part; ten of a condition give one.")
    with staged(folder, owned=("predictions.npz", SEAL)) as stage:
        arrays = {"condition": np.array(names), "number": np.array(numbers), "ecg": np.stack(found), "times": times}
        arrays |= {"warning": np.array(warnings), "bound": np.array(bounds)}
        np.savez_compressed(stage / "predictions.npz", allow_pickle=False, **arrays)
        unlike = sum(map(bool, warnings))
        write_json(stage / SEAL, {"sheets": len(found), "unlike_training": unlike, "median_bound": np.median(bounds)})
    return unlike


@dataclass(frozen=True)
class PictureSettings:
    """What a picture does not say.

    Parameters
    ----------
    spacing
        Edge of a cell, mm.
    diffusivity
        mm2/ms.
    sites
        Where stimuli are, mm from the lower left corner, shape (k, 2).
    electrodes
        Positions, mm, shape (n, 3); the sheet lies at z = 0.
    """

    spacing: float
    diffusivity: float
    sites: Float[np.ndarray, "k 2"]
    electrodes: Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class PicturePrediction:
    """Activation and ECG of a picture of tissue.

    Parameters
    ----------
    conducting
        Which cells conduct.
    activation
        ms, NaN where nothing conducts or no wave comes.
    ecg
        mV.
    settings
        What was assumed.
    judgement
        How the tissue compares with the training data.
    bound
        Below which relative error nine of ten familiar sheets lie.
    """

    conducting: Bool[np.ndarray, "nx ny"]
    activation: Float[np.ndarray, "nx ny"]
    ecg: Recording
    settings: PictureSettings
    judgement: Judgement
    bound: float


def predict_picture(surrogate: Surrogate, limits: Limits, path: Path, settings: PictureSettings) -> PicturePrediction:
    """Predict activation and ECG of a picture whose dark pixels do not conduct.

    Raises
    ------
    InputError
        If the surrogate does not look at tissue, the picture cannot be read, a site lies outside of the tissue, or
        sizes do not fit.
    """
    if not isinstance(surrogate, TissueEcg):
        raise InputError("a picture of tissue can be predicted by neural-eikonal only; the others look at movies.")
    mask = read_tissue_picture(path)
    if not mask.any():
        raise InputError(f"{path}: no pixel conducts: all are dark. Light pixels are tissue; invert the picture.")
    half = settings.spacing / 2
    tissue = Tissue.isotropic(Grid(mask.shape, settings.spacing, (half, half, 0.0)), settings.diffusivity, mask)
    size = np.array(mask.shape) * settings.spacing
    for site in settings.sites:
        near = np.linalg.norm(tissue.coordinates - site, axis=1).min()
        if near > 1.5:
            raise InputError(
                f"{path}: the site {site[0]:g}, {site[1]:g} mm is {near:.3g} mm from the nearest conducting pixel; the "
                f"sheet goes from 0, 0 to {size[0]:g}, {size[1]:g} mm."
            )
    onsets = np.zeros(len(settings.sites))
    times = activation_times(surrogate.net, front(tissue, settings.sites, onsets, surrogate.conduction))
    samples = np.arange(0.0, np.ceil((np.nanmax(times) + AFTER) / EVERY) * EVERY + EVERY / 2, EVERY)
    names = tuple(f"e{k + 1}" for k in range(len(settings.electrodes)))
    ecg = ecg_of_times(tissue, Electrodes(names, settings.electrodes), times, samples, surrogate.membrane)
    known = tissue_numbers(mask, np.where(mask, settings.diffusivity, np.nan), settings.spacing, len(settings.sites))
    return PicturePrediction(mask, tissue.fill(times), ecg, settings, limits.judge(known), limits.bound(known))


def write_picture_prediction(
    found: PicturePrediction, folder: Path, page: Callable[[PicturePrediction, Path], object] | None
) -> dict[str, Any]:
    """Write ECG, activation map, numbers and page; returns the numbers.

    Parameters
    ----------
    found
        As returned by `predict_picture`.
    folder
        Made if needed.
    page
        Writes ``report.html``; None for no page.
    """
    wave = np.isfinite(found.activation)
    numbers = {
        "cells": int(found.conducting.sum()),
        "conducting_share": float(found.conducting.mean()),
        "not_reached": int((found.conducting & ~wave).sum()),
        "last_activation_ms": float(np.nanmax(found.activation)),
        "largest_potential_mv": float(np.abs(found.ecg.values).max()),
        "distance_from_training": found.judgement.distance,
        "warning": found.judgement.warning or "",
        "error_bound": found.bound,
    }
    with staged(folder, owned=("ecg.csv", "activation.npz", "report.html", SEAL)) as stage:
        write(found.ecg, stage / "ecg.csv")
        np.savez_compressed(
            stage / "activation.npz", allow_pickle=False, activation=found.activation, spacing=found.settings.spacing
        )
        if page is not None:
            page(found, stage / "report.html")
        write_json(stage / SEAL, numbers)
    return numbers
