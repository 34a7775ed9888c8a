"""A beat of the phantom by the eikonal equation, beside the same beat by the monodomain equation.

    python benchmarks/reaction_eikonal.py --out out/bench [--smoke]

The two speeds of the eikonal are chosen on a beat paced from one site (activation times alone are looked at) and then
used for the normal beat, whose errors are told: activation, ECG, and the time each takes. Prints and writes
``reaction_eikonal.json`` and ``reaction_eikonal.md``.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _tables import written

from einthoven.datasets.phantom import LEFT, RIGHT, Phantom
from einthoven.simulate import Activation, Ecg
from einthoven.studies.phantom_beat import DURRER_SITES, Conduction, EarlySite, VolumeBeat
from einthoven.studies.phantom_eikonal import EikonalHeart

#: The beat on which the speeds are chosen.
PACED = (EarlySite(RIGHT, 0.0, 0.2, 0.0, 0.0),)
#: Others on which nothing is chosen.
ECTOPIC = (EarlySite(LEFT, 1.0, 0.6, 120.0, 0.0),)


def simulated(beat: VolumeBeat, heart: EikonalHeart) -> dict:
    """Activation at the nodes (ms) and leads (mV) by the monodomain equation."""
    begun = time.perf_counter()
    run = beat.simulate(lambda _: [Activation(level=-40.0), Ecg(heart.leads, every=1.0)])
    return {
        "activation": run.data["activation"].values[0],
        "ecg": run.recording("ecg").values[:, : len(heart.times)],
        "seconds": time.perf_counter() - begun,
    }


def carried(values: np.ndarray, points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Values at points of one grid at those of another: mean of the four nearest, weighted by inverse distance."""
    from scipy.spatial import KDTree

    distance, near = KDTree(points).query(targets, k=4)
    weights = 1 / np.maximum(distance, 1e-6)
    return (weights * values[near]).sum(axis=1) / weights.sum(axis=1)


def chosen_speeds(heart: EikonalHeart, sites: tuple[EarlySite, ...], truth: np.ndarray) -> np.ndarray:
    """The speeds whose activation times, up to a constant, are closest to the truth in the mean square."""
    from scipy.optimize import minimize

    places, onsets, model = heart.places(sites), [s.time for s in sites], heart.model

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        speeds = np.exp(logs)
        arrival = model.wave.solve(model.squared_speed(speeds), places, onsets)
        late = arrival.times - truth
        late = late - late.mean()
        by_v = arrival.pull_back(2 * late / len(late)).squared_speed
        return float((late**2).mean()), 2 * speeds**2 * (model.shares @ by_v)

    found = minimize(cost, np.log([0.4, 1.3]), jac=True, method="L-BFGS-B", options={"maxiter": 40})
    return np.exp(found.x)


def r2(found: np.ndarray, truth: np.ndarray) -> float:
    """Of all leads together."""
    return float(1 - ((found - truth) ** 2).sum() / ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum())


def median_seconds(work, times: int = 9) -> float:
    """Median wall time of a call, the first one not counted."""
    work()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def compared(
    name: str, heart: EikonalHeart, sites: tuple[EarlySite, ...], speeds: np.ndarray, truth: dict, points
) -> dict:
    """Errors of one beat, and the time that it takes once everything is prepared."""
    places, onsets = heart.places(sites), [s.time for s in sites]
    activation = carried(truth["activation"], points, heart.tissue.points)
    model = heart.model
    arrival = model.beat(places, onsets, speeds).arrival
    late = arrival.times - activation
    shifted = model.model.ecg(arrival.times - late.mean())
    end = int(activation.max() + 25)
    v = model.squared_speed(speeds)
    ready = {
        "activation (ms)": 1e3 * median_seconds(lambda: model.wave.solve(v, places, onsets)),
        "ECG (ms)": 1e3 * median_seconds(lambda: model.model.ecg(arrival.times)),
        "both (ms)": 1e3 * median_seconds(lambda: model.beat(places, onsets, speeds)),
    }
    return {
        "beat": name,
        "spacing (mm)": heart.spacing,
        "nodes": heart.tissue.n_nodes,
        "last activation (ms)": float(activation.max()),
        "offset (ms)": float(late.mean()),
        "sd of activation error (ms)": float(late.std()),
        "largest (ms)": float(np.abs(late - late.mean()).max()),
        "R2 of the QRS": r2(shifted.values[:, :end], truth["ecg"][:, :end]),
        "R2 of the beat": r2(shifted.values, truth["ecg"]),
        "R2, true activation": r2(model.model.ecg(activation).values, truth["ecg"]),
        **ready,
    }


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the tables."""
    phantom = Phantom()
    spacing = 2.0 if smoke else 1.0
    beats = {
        name: VolumeBeat(phantom, spacing, Conduction(sites=sites), onset=0.0, duration=401.0)
        for name, sites in (("paced", PACED), ("normal", DURRER_SITES), ("ectopic", ECTOPIC))
    }
    fine = EikonalHeart(beats["normal"], spacing)
    truths = {name: simulated(beat, fine) for name, beat in beats.items()}
    for name, truth in truths.items():
        print(f"monodomain, {name} beat: {truth['seconds']:.1f} s, last activation {truth['activation'].max():.1f} ms")
    rows = []
    for h in (spacing, 2.5) if smoke else (1.0, 1.5, 2.0):
        heart = fine if h == spacing else replace(fine, spacing=h)
        activation = carried(truths["paced"]["activation"], fine.tissue.points, heart.tissue.points)
        speeds = chosen_speeds(heart, PACED, activation)
        for name, beat in beats.items():
            row = compared(name, heart, beat.conduction.sites, speeds, truths[name], fine.tissue.points)
            row |= dict(zip(("wall (mm/ms)", "layer (mm/ms)"), speeds.tolist(), strict=True))
            rows.append(row)
            print(f"{h:g} mm, {name}: sd {row['sd of activation error (ms)']:.2f} ms, {row['both (ms)']:.1f} ms")
    seconds = {n: t["seconds"] for n, t in truths.items()}
    title = "The phantom's beat by the eikonal equation"
    return written(out, "reaction_eikonal", title, rows, **{"monodomain seconds": seconds})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
