"""The page of a predicted picture: tissue and activation, ECG."""

import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from einthoven.report.plain_page import picture, write_plain_page
from einthoven.studies.surrogate_prediction import PicturePrediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_picture_page(found: PicturePrediction, path: Path) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    found
        As returned by `einthoven.studies.surrogate_prediction.predict_picture`.
    path
        The file; its folder must exist.
    """
    s = found.settings
    told = (
        f"{found.conducting.shape[0]} x {found.conducting.shape[1]} cells of {s.spacing:g} mm, D = {s.diffusivity:g} "
        "mm²/ms; no simulation was run. Stars are stimuli, circles electrodes over the sheet."
    )
    judged = found.judgement.warning or "The tissue is like that of the training data"
    sure = f"{judged}. Relative error, for nine of ten familiar sheets: below {100 * found.bound:.1f} %."
    parts = [f"<p>{html.escape(text)}</p>" for text in (told, sure)]
    parts.append(picture(picture_figure(found), "Activation map and ECG"))
    return write_plain_page(path, "Predicted activation and ECG", parts)


def picture_figure(found: PicturePrediction) -> "Figure":
    """Activation map with isochrones, and the ECG."""
    from matplotlib.figure import Figure

    s = found.settings
    width, height = np.array(found.conducting.shape) * s.spacing
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_facecolor("#30343b")
    image = left.imshow(found.activation.T, origin="lower", extent=(0, width, 0, height), cmap="viridis")
    left.plot(*s.sites.T, "w*", ms=11, mec="k", mew=0.6)
    over = [e for e in s.electrodes if 0 <= e[0] <= width and 0 <= e[1] <= height]
    if over:
        left.plot(*np.array(over)[:, :2].T, "o", mfc="none", mec="w", ms=7)
    left.set(xlabel="x (mm)", ylabel="y (mm)")
    figure.colorbar(image, ax=left, label="Activation (ms)", shrink=0.85)
    for name, row in zip(found.ecg.sites, found.ecg.values, strict=True):
        right.plot(found.ecg.times, row, lw=1.3, label=name)
    right.set(xlabel="Time (ms)", ylabel="ECG (mV)")
    right.legend(frameon=False, fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    return figure
