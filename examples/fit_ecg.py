"""Two early sites of the phantom's ventricles from a 12-lead ECG, and how sure their activation map is."""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.core import Recording
from einthoven.datasets.phantom import LEFT, RIGHT, Phantom
from einthoven.forward.sampling import surface_sampling
from einthoven.inverse.wave_ensemble import WaveEnsemble, fit_ensemble
from einthoven.inverse.wave_fit import FitPriors
from einthoven.report.figure_page import write_figure_page
from einthoven.studies.phantom_beat import FINE, EarlySite
from einthoven.studies.phantom_eikonal import EikonalHeart

#: What is to be found: (ventricle, depth, height, angle, onset in ms), and the speeds of wall and endocardial layer.
SITES = (EarlySite(LEFT, 0.0, 0.65, 80.0, 0.0), EarlySite(RIGHT, 0.0, 0.45, 20.0, 12.0))
SPEEDS = (0.43, 1.2)

#: What is expected beforehand, and the noise on every lead, mV.
EXPECTED, NOISE = (0.39, 1.4), 0.02

TIMES = np.arange(-10.0, 131.0, 2.0)


def recorded(spacing: float) -> tuple[Recording, np.ndarray]:
    """Noisy leads of the true wave, on a grid of its own, and its activation times on the heart's surface."""
    heart = EikonalHeart(spacing=spacing, times=TIMES)
    beat = heart.model.beat(heart.places(SITES), [site.time for site in SITES], SPEEDS)
    noise = NOISE * np.random.default_rng(4).standard_normal(beat.ecg.values.shape)
    on_surface = surface_sampling(heart.tissue, Phantom(FINE).heart)
    return beat.ecg.with_values(beat.ecg.values + noise), on_surface.apply(beat.arrival.times)


def fit(ecg: Recording, spacing: float, n_starts: int, most: int) -> tuple[EikonalHeart, WaveEnsemble]:
    """All waves with up to so many early sites that this ECG cannot tell apart."""
    heart = EikonalHeart(spacing=spacing, times=TIMES)
    return heart, fit_ensemble(heart.model, ecg, FitPriors(NOISE, EXPECTED), most_sites=most, n_starts=n_starts)


def metrics(heart: EikonalHeart, ensemble: WaveEnsemble, truth: np.ndarray) -> dict:
    """Sites and activation against the truth."""
    best = ensemble.best
    distance = np.linalg.norm(heart.places(SITES)[:, None] - best.wave.sites, axis=2).min(axis=1)
    on_surface = surface_sampling(heart.tissue, Phantom(FINE).heart)
    error = on_surface.apply(ensemble.mean) - truth
    return {
        "sites": len(best.wave.sites),
        "farthest_site_mm": float(distance.max()),
        "misfit": best.misfit,
        "fits": len(ensemble.fits),
        "activation_error_ms": float(np.abs(error).mean()),
        "spread_ms": float(on_surface.apply(ensemble.spread).mean()),
    }


def figure(ecg: Recording, heart: EikonalHeart, ensemble: WaveEnsemble, truth: np.ndarray):
    """Leads; true and fitted activation; spread; misfit by number of sites."""
    from matplotlib.figure import Figure

    from einthoven.report.figures import surface_map

    canvas = Figure(figsize=(12.0, 7.0), layout="constrained")
    grid = canvas.add_gridspec(2, 4)
    leads = canvas.add_subplot(grid[0, :3])
    step = 1.1 * float(np.abs(ecg.values).max())
    for k, name in enumerate(ecg.sites):
        at = (k % 6) * (ecg.times[-1] - ecg.times[0] + 20), -(k // 6) * 2 * step
        for each in ensemble.fits:
            leads.plot(ecg.times + at[0], each.ecg.values[k] + at[1], color="tab:orange", linewidth=1.2)
        leads.plot(ecg.times + at[0], ecg.values[k] + at[1], color="k", linewidth=0.7)
        leads.text(at[0], at[1] + 0.8 * step, name, fontsize=9)
    leads.set_axis_off()
    leads.set_title("12 leads (black) and the fits that remain (orange)", fontsize=10)
    bars = canvas.add_subplot(grid[0, 3])
    bars.bar([n.n_sites for n in ensemble.numbers], [100 * n.misfit for n in ensemble.numbers], color="tab:blue")
    bars.set_xlabel("early sites")
    bars.set_ylabel("misfit (%)")
    bars.set_xticks([n.n_sites for n in ensemble.numbers])
    surface, on_surface = Phantom(FINE).heart, surface_sampling(heart.tissue, Phantom(FINE).heart)
    levels = [10.0 * k for k in range(int(np.ceil(truth.max() / 10)) + 1)]
    for k, (title, values) in enumerate(
        {"true": truth, "best fit": on_surface.apply(ensemble.best.beat.arrival.times)}.items()
    ):
        panel = canvas.add_subplot(grid[1, k])
        surface_map(surface, values, levels=levels, colors="RdYlBu", label="activation time (ms)", axes=panel)
        panel.set_title(title, fontsize=10)
    spread = on_surface.apply(ensemble.spread)
    panel = canvas.add_subplot(grid[1, 2])
    limits = (0.0, float(spread.max()))
    surface_map(surface, spread, limits=limits, colors="viridis", label="spread (ms)", axes=panel)
    panel.set_title("spread of the fits", fontsize=10)
    panel = canvas.add_subplot(grid[1, 3])
    panel.plot(truth, on_surface.apply(ensemble.mean), ".", markersize=2)
    panel.plot([levels[0], levels[-1]], [levels[0], levels[-1]], color="k", linewidth=0.7)
    panel.set_xlabel("true activation (ms)")
    panel.set_ylabel("mean of the fits (ms)")
    return canvas


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/fit_ecg"))
    parser.add_argument("--smoke", action="store_true", help="coarser grids, fewer starts")
    options = parser.parse_args()
    ecg, truth = recorded(2.5 if options.smoke else 1.5)
    heart, ensemble = fit(ecg, *((3.0, 1, 2) if options.smoke else (2.0, 6, 4)))
    row = metrics(heart, ensemble, truth)
    page = write_figure_page(
        options.out,
        "fit_ecg",
        figure(ecg, heart, ensemble, truth),
        row,
        title="Early sites from an ECG",
        alt="Leads, activation maps and their spread",
    )
    console.table([row], dict.fromkeys(row, "") | {k: k.replace("_", " ") for k in row})
    console.say(f"page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
