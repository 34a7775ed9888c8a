"""How fibrosis changes an ECG: sheets of growing density, predicted by `neural-eikonal` and simulated."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.report.figure_page import write_figure_page
from einthoven.surrogate.models import load_surrogate
from einthoven.surrogate.recipe import Condition, ElectrodeRecipe, SheetRecipe
from einthoven.surrogate.scores import ecg_scores
from einthoven.surrogate.sheets import SheetData, simulate_sheet

#: Density of the fibrosis.
DENSITIES = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Pair:
    """A sheet with its simulated ECG, and the predicted one."""

    density: float
    sheet: SheetData
    predicted: np.ndarray

    @property
    def r2(self) -> float:
        """Of the electrode."""
        return float(ecg_scores(self.predicted, self.sheet.ecg, self.sheet.ecg_times)["r2"][0])


def pair(density: float, size: float) -> Pair:
    """Simulate and predict a sheet; the texture of all densities is the same, only the threshold falls."""
    condition = Condition(
        name="fibrosis", sheets=1, diffusivity=(0.1, 0.1), textures=("thresholded",) if density else (),
        density=(density, density), texture_length=(2.0, 2.0),
    )  # fmt: skip
    recipe = SheetRecipe(
        title="fibrosis", size=size, t_end=560.0, seed=3, condition=(condition,),
        electrodes=ElectrodeRecipe(fixed=((size / 2, size / 2, 20.0),)),
    )  # fmt: skip
    sheet, _ = simulate_sheet(recipe, condition, 0)
    return Pair(density, sheet, load_surrogate("neural-eikonal")[0].predict(sheet))


def figure(pairs: list[Pair]):
    """Sheets above, ECGs below."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(3.0 * len(pairs), 5.0), layout="constrained")
    axes = canvas.subplots(2, len(pairs), sharey="row", squeeze=False)
    last = max(float(np.nanmax(p.sheet.activation)) for p in pairs)
    for (above, below), p in zip(axes.T, pairs, strict=True):
        above.set_facecolor("#30343b")
        extent = (0, p.sheet.size, 0, p.sheet.size)
        shown = above.imshow(p.sheet.activation.T, origin="lower", extent=extent, vmin=0, vmax=last)
        above.set_title(f"{100 * p.density:.0f} % fibrosis", fontsize=10)
        below.plot(p.sheet.ecg_times, p.sheet.ecg[0], color="#9aa2ad", lw=3, label="simulated")
        below.plot(p.sheet.ecg_times, p.predicted[0], color="C3", lw=1.2, label="neural-eikonal")
        below.set_xlabel("Time (ms)")
        below.set_title(f"R² {p.r2:.4f}", fontsize=9)
    canvas.colorbar(shown, ax=axes[0], label="Activation (ms)", shrink=0.8)
    axes[1][0].set_ylabel("ECG (mV)")
    axes[1][0].legend(frameon=False, fontsize=8)
    return canvas


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/fibrosis_and_ecg"))
    parser.add_argument("--smoke", action="store_true", help="smaller sheets")
    options = parser.parse_args()
    pairs = [pair(d, 32.0 if options.smoke else 64.0) for d in DENSITIES]
    largest = [float(np.ptp(p.sheet.ecg[0])) for p in pairs]
    last = [float(np.nanmax(p.sheet.activation)) for p in pairs]
    row = {
        "least_r2": min(p.r2 for p in pairs),
        "amplitude_without_mv": largest[0],
        "amplitude_with_most_mv": largest[-1],
        "last_activation_without_ms": last[0],
        "last_activation_with_most_ms": last[-1],
    }
    page = write_figure_page(
        options.out, "fibrosis_and_ecg", figure(pairs), row, title="How fibrosis changes an ECG",
        alt="Activation maps and ECGs at four densities of fibrosis",
    )  # fmt: skip
    console.table([row], {k: k.replace("_", " ") for k in row})
    console.say(f"page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
