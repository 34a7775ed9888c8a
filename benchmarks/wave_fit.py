"""One ectopic focus in the phantom's ventricles, found from its ECG: error against the number of leads.

    python benchmarks/wave_fit.py --out out/bench [--smoke]

Foci are drawn at random in the muscle. Their ECG comes (a) from the eikonal equation on a finer grid and with other
speeds than expected (a twin: the same kind of model), and (b) from the monodomain equation (a model error on purpose).
White noise is added to every lead. Nothing is chosen with the truth: candidates are spread over the muscle, expected
speeds are those of ``benchmarks/reaction_eikonal.py``'s paced beat. Prints and writes ``wave_fit.json`` and
``wave_fit.md``.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _tables import written

from einthoven.core import ForwardOperator, Recording
from einthoven.datasets.phantom import Phantom
from einthoven.inverse.wave_fit import FitPriors, WaveFit, locate_focus
from einthoven.protocol import multi_site
from einthoven.simulate import Activation, Ecg, simulate
from einthoven.studies.phantom_beat import VolumeBeat
from einthoven.studies.phantom_eikonal import EikonalHeart

#: Of the ECG, ms after the focus fires.
TIMES = np.arange(0.0, 221.0, 2.0)

#: Expected speeds, mm/ms, and those of the twins.
EXPECTED, TWIN = (0.39, 1.4), (0.43, 1.2)

#: Noise of the leads, and what the fit counts with: noise and model error together, mV.
NOISE, COUNTED = 0.02, {"twin": 0.03, "monodomain": 0.06}


def twin(heart: EikonalHeart, focus: np.ndarray) -> Recording:
    """The ECG by the eikonal equation."""
    return heart.model.beat(focus[None], [0.0], TWIN).ecg


def simulated(beat: VolumeBeat, layouts: dict[str, ForwardOperator], focus: np.ndarray) -> dict[str, Recording]:
    """The ECG of every layout by the monodomain equation."""
    heart = beat.monodomain()
    protocol = multi_site([focus], [0.0], 3.0, duration=3.0, amplitude=50.0)
    keeps = [Ecg(leads, every=2.0, name=f"leads_{k}") for k, leads in enumerate(layouts.values())]
    run = simulate(heart, protocol, TIMES[-1], dt=beat.dt, keep=[Activation(level=-40.0), *keeps])
    return {name: run.recording(keep.name) for name, keep in zip(layouts, keeps, strict=True)}


def located(heart: EikonalHeart, clean: Recording, kind: str, seed: int) -> tuple[WaveFit, float]:
    """The best fit to noisy leads, and the time it took, s."""
    noise = NOISE * np.random.default_rng(seed).standard_normal(clean.values.shape)
    begun = time.perf_counter()
    fits = locate_focus(heart.model, clean.with_values(clean.values + noise), FitPriors(COUNTED[kind], EXPECTED))
    return fits[0], time.perf_counter() - begun


def summary(kind: str, layout: str, errors: list[float], fits: list[WaveFit], seconds: list[float]) -> dict:
    """One row of the table."""
    e = np.array(errors)
    return {
        "data": kind,
        "electrodes": layout,
        "foci": len(e),
        "median error (mm)": float(np.median(e)),
        "90 % below (mm)": float(np.quantile(e, 0.9)),
        "largest (mm)": float(e.max()),
        "within 5 mm (%)": float(100 * (e <= 5).mean()),
        "within 10 mm (%)": float(100 * (e <= 10).mean()),
        "median misfit": float(np.median([f.misfit for f in fits])),
        "wall (mm/ms)": float(np.median([f.wave.speeds[0] for f in fits])),
        "layer (mm/ms)": float(np.median([f.wave.speeds[1] for f in fits])),
        "seconds": float(np.median(seconds)),
    }


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the table."""
    phantom = Phantom()
    layouts = ("12-lead",) if smoke else ("12-lead", "64", "120")
    n_foci, coarse, fine, truth = (2, 3.0, 2.5, 2.0) if smoke else (12, 2.0, 1.5, 1.0)
    beat = VolumeBeat(phantom, truth, onset=0.0)
    hearts = {name: EikonalHeart(beat, coarse, name, TIMES) for name in layouts}
    twins = {name: replace(heart, spacing=fine) for name, heart in hearts.items()}
    volume = {name: replace(heart, spacing=truth).leads for name, heart in hearts.items()}
    points = replace(hearts[layouts[0]], spacing=truth).tissue.points
    foci = points[np.random.default_rng(7).permutation(len(points))]
    foci = foci[twins[layouts[0]].model.wave.inside(foci)][:n_foci]  # muscle on both grids
    measured = {"twin": [{n: twin(h, focus) for n, h in twins.items()} for focus in foci]}
    measured["monodomain"] = [simulated(beat, volume, focus) for focus in foci]
    rows = []
    for kind, recordings in measured.items():
        for name, heart in hearts.items():
            found = [located(heart, r[name], kind, seed) for seed, r in enumerate(recordings)]
            fits = [fit for fit, _ in found]
            errors = [float(np.linalg.norm(f.wave.sites[0] - x)) for f, x in zip(fits, foci, strict=True)]
            rows.append(summary(kind, name, errors, fits, [s for _, s in found]))
            print(f"{kind}, {name}: median {rows[-1]['median error (mm)']:.1f} mm, {rows[-1]['seconds']:.1f} s each")
    return written(out, "wave_fit", "One focus from its ECG", rows, 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
