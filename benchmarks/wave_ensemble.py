"""Several early sites from a 12-lead ECG: how often they are found, how sure the ensembles are, and what errors do.

    python benchmarks/wave_ensemble.py --out out/bench [--smoke]

Four kinds of data, none made by the model that is fitted; everything is fitted on a 2 mm grid of the phantom's
ventricles with the default settings, which have not seen these cases. Expected speeds are those of the paced beat of
``benchmarks/reaction_eikonal.py``.

* ``twin``: eikonal waves on a 1.5 mm grid with other speeds, sites at random in the endocardial layer, white noise of
  20 uV on every lead; every site comes first to 5 % of the muscle or more.
* ``normal twin``: the same from the six sites of the phantom's normal beat.
* ``moved``: twins of two sites whose heart is shifted and turned (5 mm, 5 degrees) and whose electrodes lie elsewhere
  (5 mm, all standard deviations), fitted as if all were right (``taken as right``) and with these errors as unknowns.
* ``monodomain``: beats of the monodomain equation at 1 mm, an error of the model on purpose.

Prints and writes ``wave_ensemble.json`` and ``wave_ensemble.md``.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _tables import written

from einthoven.core import Electrodes, ForwardOperator, InputError, LeadSystem, Recording, Region, VolumeConductor
from einthoven.datasets.phantom import Phantom
from einthoven.forward import bem
from einthoven.forward.lead_errors import along_skin, center, lead_errors, moved
from einthoven.forward.sampling import SurfaceSampling, surface_sampling
from einthoven.inverse.wave_ensemble import WaveEnsemble, fit_ensemble
from einthoven.inverse.wave_fit import FitPriors
from einthoven.inverse.wave_leads import WaveLeads, in_channels
from einthoven.protocol import multi_site
from einthoven.simulate import Activation, Ecg, simulate
from einthoven.simulate.eikonal_ecg import EikonalEcg
from einthoven.studies.phantom_beat import FINE, INTRACELLULAR_CONDUCTIVITY, VolumeBeat
from einthoven.studies.phantom_eikonal import EikonalHeart

#: Of the ECG, ms after the first site fires.
TIMES = np.arange(-10.0, 131.0, 2.0)

#: Expected speeds, mm/ms, and those of the twins; noise, mV.
EXPECTED, TWIN, NOISE = (0.39, 1.4), (0.43, 1.2), 0.02

#: Errors of pose and electrodes: mm, degrees, mm (standard deviations).
ERRORS = (5.0, 5.0, 5.0)

BLOOD = ("left_blood", "right_blood")


class Truth(NamedTuple):
    """What made an ECG."""

    sites: np.ndarray
    activation: np.ndarray  # at the nodes of the heart's surface, ms; NaN where the ECG was over before
    ecg: Recording


class Bench(NamedTuple):
    """The phantom: the heart that is fitted, the one that makes twins, and where both are compared."""

    fitted: EikonalHeart
    twin: EikonalHeart
    surface: Phantom
    at_fitted: SurfaceSampling
    at_twin: SurfaceSampling


def bench(truth: float, fine: float, coarse: float) -> Bench:
    """Build it."""
    beat = VolumeBeat(Phantom(), truth, onset=0.0)
    fitted, twin = EikonalHeart(beat, coarse, "12-lead", TIMES), EikonalHeart(beat, fine, "12-lead", TIMES)
    surface = Phantom(FINE, beat.phantom.conductivities, beat.phantom.thorax)
    samplings = [surface_sampling(heart.tissue, surface.heart) for heart in (fitted, twin)]
    return Bench(fitted, twin, surface, *samplings)


def noisy(clean: Recording, seed: int) -> Recording:
    """With white noise."""
    return clean.with_values(clean.values + NOISE * np.random.default_rng(seed).standard_normal(clean.values.shape))


def random_sites(heart: EikonalHeart, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sites in the endocardial layer and their onsets within 15 ms, the first one at 0.

    Drawn again until each comes first to 5 % of the muscle: a site that others overrun cannot be found.
    """
    rng = np.random.default_rng(seed)
    inner = heart.tissue.points[heart.tissue.label("fast") > 0.5]
    while True:
        sites, onsets = inner[rng.permutation(len(inner))[:n]], rng.uniform(0, 15, n)
        onsets -= onsets.min()
        owner = heart.model.wave.solve(heart.model.squared_speed(TWIN), sites, onsets).from_site
        if np.bincount(owner, minlength=n).min() > 0.05 * len(owner):
            return sites, onsets


def twin(b: Bench, sites: np.ndarray, onsets: np.ndarray, seed: int, leads: ForwardOperator | None = None) -> Truth:
    """Eikonal waves on the finer grid, seen by the phantom's leads or by others."""
    model = b.twin.model
    if leads is not None:
        reaction = replace(model.model, leads=leads @ b.at_twin)
        model = EikonalEcg(model.wave, model.shares, reaction, model.layers)
    beat = model.beat(sites, onsets, TWIN)
    return Truth(sites, b.at_twin.apply(beat.arrival.times), noisy(beat.ecg, seed))


def moved_leads(b: Bench, seed: int) -> ForwardOperator:
    """The 12 leads of a heart and electrodes that lie elsewhere; draws whose surfaces meet are drawn again."""
    rng = np.random.default_rng(seed)
    conductor, electrodes, system = b.surface.conductor, b.surface.electrodes("12-lead"), LeadSystem.twelve_lead()
    for _ in range(20):
        pose = np.repeat(ERRORS[:2], 3) * rng.standard_normal(6)
        about = center(b.surface.heart)
        regions = [
            Region(moved(r.surface, pose, about), r.conductivity) if r.surface.name in BLOOD else r
            for r in conductor.regions
        ]
        shift = ERRORS[2] * rng.standard_normal((len(electrodes), 2))
        ways = along_skin(conductor.skin, electrodes.positions, 1.0)
        places = electrodes.positions + sum(shift[:, k, None] * (ways[2 * k] - ways[2 * k + 1]) / 2 for k in range(2))
        try:
            potentials = bem.double_layer(
                moved(b.surface.heart, pose, about), VolumeConductor(regions[0], tuple(regions[1:])),
                Electrodes(electrodes.names, places), intracellular_conductivity=INTRACELLULAR_CONDUCTIVITY,
            )  # fmt: skip
        except InputError:
            continue
        return system.operator() @ potentials
    raise SystemExit("no pose without meeting surfaces was found")


def monodomain(b: Bench, sites: np.ndarray, onsets: np.ndarray, seed: int) -> Truth:
    """The beat of the monodomain equation."""
    beat = b.fitted.beat
    heart, volume = beat.monodomain(), replace(b.fitted, spacing=beat.spacing)
    protocol = multi_site(list(sites), list(onsets), 3.0, duration=3.0, amplitude=50.0)
    run = simulate(
        heart, protocol, TIMES[-1], dt=beat.dt, keep=[Activation(level=-40.0), Ecg(volume.leads, every=2.0, name="ecg")]
    )
    ecg, active = run.recording("ecg"), run.data["activation"].values[0]
    values = np.zeros((ecg.n_sites, len(TIMES)))
    values[:, TIMES >= 0] = ecg.values
    clean = Recording(values, TIMES, ecg.sites, ecg.quantity, ecg.reference)
    return Truth(sites, surface_sampling(heart.tissue, b.surface.heart).apply(active), noisy(clean, seed))


def unknown_geometry(b: Bench) -> tuple[EikonalEcg, WaveLeads]:
    """The model that is fitted, with errors of pose and electrodes as unknowns."""
    errors = lead_errors(
        b.surface.heart, b.surface.conductor, b.surface.electrodes("12-lead"), LeadSystem.twelve_lead(), moving=BLOOD,
        intracellular_conductivity=INTRACELLULAR_CONDUCTIVITY, pose_mm=ERRORS[0], pose_deg=ERRORS[1],
        electrode_mm=ERRORS[2],
    )  # fmt: skip
    channels, leads = in_channels(errors)
    model = b.fitted.model
    reaction = replace(model.model, leads=channels @ b.at_fitted, tau=0.0)
    return EikonalEcg(model.wave, model.shares, reaction, model.layers), leads


def row(name: str, b: Bench, truth: Truth, ensemble: WaveEnsemble, seconds: float) -> dict:
    """What came out of one case."""
    best = ensemble.best.wave
    distance = np.linalg.norm(best.sites[:, None] - truth.sites, axis=2).min(axis=0)
    times = {
        "best": b.at_fitted.apply(ensemble.best.beat.arrival.times), "mean": b.at_fitted.apply(ensemble.mean)
    }  # fmt: skip
    known = np.isfinite(truth.activation)
    spread = b.at_fitted.apply(ensemble.spread)[known]
    errors = {key: (value - truth.activation)[known] for key, value in times.items()}
    return {
        "data": name,
        "sites": len(truth.sites),
        "found": len(best.sites),
        "distances": distance.tolist(),
        "misfit": ensemble.best.misfit,
        "fits": len(ensemble.fits),
        "best (ms)": float(np.sqrt(np.mean(errors["best"] ** 2))),
        "mean (ms)": float(np.sqrt(np.mean(errors["mean"] ** 2))),
        "spread (ms)": float(np.sqrt(np.mean(spread**2))),
        "within 2 spreads (%)": float(100 * np.mean(np.abs(errors["mean"]) <= 2 * spread)),
        "n_eff": ensemble.n_effective,
        "wall (mm/ms)": float(best.speeds[0]),
        "layer (mm/ms)": float(best.speeds[1]),
        "seconds": seconds,
    }


def summary(rows: list[dict]) -> list[dict]:
    """One line per kind of data and number of sites."""
    keys = list(dict.fromkeys((r["data"], r["sites"]) for r in rows))
    found = []
    for data, sites in keys:
        same = [r for r in rows if (r["data"], r["sites"]) == (data, sites)]
        distance = np.concatenate([r["distances"] for r in same])
        line = {
            "data": data,
            "sites": sites,
            "cases": len(same),
            "number right (%)": 100 * float(np.mean([r["found"] == sites for r in same])),
            "number found": f"{min(r['found'] for r in same)} to {max(r['found'] for r in same)}",
            "median distance (mm)": float(np.median(distance)),
            "within 5 mm (%)": 100 * float((distance <= 5).mean()),
            "within 10 mm (%)": 100 * float((distance <= 10).mean()),
        }
        for key in ("misfit", "fits", "best (ms)", "mean (ms)", "spread (ms)", "within 2 spreads (%)", "seconds"):
            line[key] = float(np.median([r[key] for r in same]))
        found.append(line)
    return found


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the tables."""
    b = bench(2.0, 2.5, 3.0) if smoke else bench(1.0, 1.5, 2.0)
    n_starts, counts = (2, {2: 1}) if smoke else (8, {1: 4, 2: 8, 3: 6})
    rows: list[dict] = []

    def fit(name: str, truth: Truth, model: EikonalEcg, leads: WaveLeads | None = None) -> None:
        begun = time.perf_counter()
        ensemble = fit_ensemble(
            model, truth.ecg, FitPriors(NOISE, EXPECTED), leads=leads, n_starts=n_starts,
            most_sites=3 if smoke else 8,
        )  # fmt: skip
        rows.append(row(name, b, truth, ensemble, time.perf_counter() - begun))
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / "wave_ensemble.partial.json").write_text(json.dumps(rows))

    for n, count in counts.items():
        for k in range(count):
            fit("twin", twin(b, *random_sites(b.twin, n, 100 * n + k), k), b.fitted.model)
    normal = b.twin.beat.conduction.sites
    places, onsets = b.twin.places(normal), np.array([site.time for site in normal])
    for k in range(0 if smoke else 2):
        fit("normal twin", twin(b, places, onsets, 50 + k), b.fitted.model)
    unknown, leads = unknown_geometry(b)
    for k in range(1 if smoke else 5):
        truth = twin(b, *random_sites(b.twin, 2, 700 + k), k, moved_leads(b, 800 + k))
        fit("moved, taken as right", truth, b.fitted.model)
        fit("moved, errors unknown", truth, unknown, leads)
    for k in range(1 if smoke else 3):
        fit("monodomain", monodomain(b, *random_sites(b.twin, 2, 900 + k), k), b.fitted.model)
    if not smoke:
        fit("normal monodomain", monodomain(b, places, onsets, 60), b.fitted.model)
    (out / "wave_ensemble.partial.json").unlink()
    return written(out, "wave_ensemble", "Several early sites from a 12-lead ECG", summary(rows), 3, cases=rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
