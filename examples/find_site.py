"""Where a wave began, from sixteen noisy electrodes: `neural-eikonal` inverted by its gradient."""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.core import Recording
from einthoven.forward.lead_field import lead_field
from einthoven.report.figure_page import write_figure_page
from einthoven.surrogate.models import load_surrogate
from einthoven.surrogate.recipe import Condition, ElectrodeRecipe, SheetRecipe
from einthoven.surrogate.sheets import SheetData, simulate_sheet
from einthoven.surrogate.site_search import FoundSite, SiteSearch

#: Noise, share of the ECG's root mean square.
NOISE = 0.05


def simulated(size: float) -> tuple[SheetData, str]:
    """A fibrotic sheet whose ECG was simulated, and its membrane."""
    condition = Condition(name="fibrosis", sheets=1, textures=("thresholded",), density=(0.2, 0.2))
    electrodes = ElectrodeRecipe(random=16)
    recipe = SheetRecipe(
        title="site", size=size, t_end=560.0, seed=11, electrodes=electrodes, condition=(condition,)
    )  # fmt: skip
    return simulate_sheet(recipe, condition, 0)[0], recipe.membrane


def found(sheet: SheetData, membrane: str) -> FoundSite:
    """The site found from the noisy ECG; tissue and electrodes are known."""
    leads = lead_field(sheet.tissue(), sheet.electrode_set())
    noise = np.random.default_rng(0).standard_normal(sheet.ecg.shape)
    values = sheet.ecg + NOISE * np.sqrt((sheet.ecg**2).mean()) * noise
    ecg = Recording(values, sheet.ecg_times, leads.out_sites, "egm")
    return SiteSearch(load_surrogate("neural-eikonal")[0].net, sheet.tissue(), leads, ecg, membrane).find()


def figure(sheet: SheetData, site: FoundSite):
    """True and found activation."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.0, 4.0), layout="constrained")
    last = float(np.nanmax(sheet.activation))
    maps = (("simulated", sheet.activation), ("found from the ECG", sheet.tissue().fill(site.activation)))
    for axes, (title, values) in zip(canvas.subplots(1, 2), maps, strict=True):
        axes.set_facecolor("#30343b")
        shown = axes.imshow(values.T, origin="lower", extent=(0, sheet.size, 0, sheet.size), vmin=0, vmax=last)
        axes.plot(*sheet.sites[0], "wo", ms=11, mfc="none", mew=1.5, label="true site")
        axes.plot(*site.site, "r*", ms=9, label="found")
        axes.set(title=title, xlabel="x (mm)")
    axes.legend(fontsize=8, loc="upper right")
    canvas.colorbar(shown, ax=canvas.axes, label="Activation (ms)", shrink=0.8)
    return canvas


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/find_site"))
    parser.add_argument("--smoke", action="store_true", help="a smaller sheet")
    options = parser.parse_args()
    sheet, membrane = simulated(32.0 if options.smoke else 64.0)
    site = found(sheet, membrane)
    row = {
        "site_error_mm": float(np.linalg.norm(site.site - sheet.sites[0])),
        "onset_error_ms": abs(site.onset),
        "relative_misfit": site.misfit,
        "activation_error_ms": float(np.nanmean(np.abs(sheet.tissue().fill(site.activation) - sheet.activation))),
    }
    page = write_figure_page(
        options.out, "find_site", figure(sheet, site), row, title="A stimulus found from its ECG",
        alt="True and found activation maps",
    )  # fmt: skip
    console.table([row], {k: k.replace("_", " ") for k in row})
    console.say(f"page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
