"""How fibrosis changes an ECG: sheets of growing density, predicted by `neural-eikonal` and simulated."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.core import Electrodes
from einthoven.ionic.registry import model
from einthoven.report.figure_page import write_figure_page
from einthoven.surrogate.models import load_surrogate
from einthoven.surrogate.recipe import Condition, ElectrodeRecipe, SheetRecipe
from einthoven.surrogate.scores import ecg_scores
from einthoven.surrogate.sheets import Sheet, SheetData, run_sheet
from einthoven.tissue import Grid, Tissue
from einthoven.tissue.fibrosis import ThresholdedField

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
    """Simulate and predict a sheet; texture, site and electrode are the same, only the threshold of fibrosis falls."""
    middle, spacing = size / 2, 0.5
    condition = Condition(name="fibrosis", sheets=1)
    electrodes = ElectrodeRecipe(fixed=((middle, middle, 20.0),))
    recipe = SheetRecipe(title="fibrosis", size=size, t_end=560.0, electrodes=electrodes, condition=(condition,))
    grid = Grid((recipe.n_cells, recipe.n_cells), spacing, (spacing / 2, spacing / 2, 0.0))
    tissue = Tissue.isotropic(grid, np.full(grid.n_points, 0.1))
    site = np.array([[size / 4, size / 3]])
    away = np.linalg.norm(tissue.coordinates - site[0], axis=1) > 3.0
    fibrotic = ThresholdedField(density, correlation_length=2.0).apply(tissue, 5, within=away)
    places = Electrodes(("over the middle",), np.array(electrodes.fixed))
    sheet = run_sheet(recipe, Sheet(fibrotic, model(recipe.membrane), site, np.zeros(1), places, {}))
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
