"""Which gamma makes robust GCV safe: simulations with exact and wrong operators, and the measured sock.

For every case the error of Tikhonov (order 2) with robust GCV over the error with the best weight (1 is perfect). The
measured cage, on which robust GCV is judged, takes no part. Simulated fronts sweep over two heart surfaces; the data
come from the true operator with white noise, the inversion uses it (exact), or one built with the heart 5 mm off.

    python benchmarks/inverse_gamma.py --out out/bench
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, LeadSystem, Recording, Region, Surface, VolumeConductor
from einthoven.datasets import load_case
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.inverse import Oracle, RobustGCV, Tikhonov

GAMMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
SEED = 11


@dataclass(frozen=True)
class Trial:
    """One inversion with known truth."""

    name: str
    operator: ForwardOperator
    recording: Recording
    truth: Recording


def front(surface: Surface, times: np.ndarray, width: float) -> Recording:
    """A front of relative width `width` that crosses the surface while it turns, mV."""
    phase = times / times[-1]
    direction = np.stack([np.cos(2 * phase), np.sin(2 * phase), 0.5 * np.ones_like(phase)])
    offset = surface.points - surface.points.mean(axis=0)
    along = (offset / np.linalg.norm(offset, axis=1).max()) @ (direction / np.linalg.norm(direction, axis=0))
    values = 10 * np.tanh((along - 1.6 * phase + 0.8) / width)
    return Recording(values, times, surface.node_names, "hsp")


def simulated(name: str, heart: Surface, skin: Surface, electrodes: Electrodes) -> Iterator[Trial]:
    """Fronts of two widths, noise of 1 and 5 %, operators exact and with the heart 5 mm off."""
    conductor = VolumeConductor(Region(skin, 0.2))
    average = LeadSystem.average(electrodes.names).operator()
    exact = average @ bem.transfer(heart, conductor, electrodes)
    moved = average @ bem.transfer(heart.with_points(heart.points + np.array([4.0, -3.0, 0.0])), conductor, electrodes)
    times = np.arange(40.0)
    rng = np.random.default_rng(SEED)
    for width in (0.15, 0.4):
        truth = front(heart, times, width)
        clean = exact.record(truth)
        for noise in (0.01, 0.05):
            level = noise * np.sqrt((clean.values**2).mean())
            data = clean.with_values(clean.values + level * rng.standard_normal(clean.values.shape))
            data = data.average_referenced()
            for kind, operator in (("exact", exact), ("5 mm off", moved)):
                yield Trial(f"{name}, front {width:g}, noise {100 * noise:g} %, {kind}", operator, data, truth)


def measured(name: str) -> Trial:
    """A measured pair, average-referenced."""
    case = load_case(name)
    source, recording = case.source(), case.recording
    assert recording is not None
    assert source.truth is not None
    average = LeadSystem.average(recording.sites).operator()
    operator = average @ bem.transfer(source.surface, case.conductor, case.electrodes)
    return Trial(name, operator, recording.average_referenced(), source.truth)


def trials(smoke: bool) -> Iterator[Trial]:
    """All cases; only small spheres in a smoke run."""
    skin = sphere(100.0, subdivisions=2 if smoke else 3, name="skin")
    chosen = np.random.default_rng(SEED).permutation(skin.n_points)[: 48 if smoke else 192]
    electrodes = Electrodes(tuple(f"E{i}" for i in range(len(chosen))), skin.points[chosen])
    yield from simulated("spheres", sphere(50.0, subdivisions=2, name="heart"), skin, electrodes)
    if smoke or not os.environ.get("EINTHOVEN_DATA_DIR"):
        return
    case = load_case("dalhousie-2007")
    yield from simulated("dalhousie-2007", case.source().surface, case.conductor.skin, case.electrodes)
    yield measured("utah-sock")


def error(trial: Trial, rule) -> float:
    """Relative error after the mean over the nodes is removed."""
    estimate = Tikhonov(2, rule).reconstruct(trial.operator, trial.recording).estimate.select(trial.truth.sites)
    x, u = (v - v.mean(axis=0) for v in (estimate.values, trial.truth.values))
    return float(np.linalg.norm(x - u) / np.linalg.norm(u))


def row(trial: Trial) -> dict:
    """Error with the best weight, and the ratios for every gamma."""
    best = error(trial, Oracle(trial.truth))
    return {"case": trial.name, "oracle": best} | {f"{g:g}": error(trial, RobustGCV(g)) / best for g in GAMMAS}


def main(out: Path, smoke: bool) -> dict:
    """Compute the table, print it and write it under `out`."""
    rows = [row(t) for t in trials(smoke)]
    simulations = [r for r in rows if "front" in r["case"]]
    worst = {f"{g:g}": max(r[f"{g:g}"] for r in simulations) for g in GAMMAS}
    mean = {f"{g:g}": float(np.exp(np.mean([np.log(r[f"{g:g}"]) for r in simulations]))) for g in GAMMAS}
    rows += [{"case": "worst simulation", "oracle": ""} | worst, {"case": "mean simulation", "oracle": ""} | mean]
    columns = ["case", "oracle", *(f"{g:g}" for g in GAMMAS)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for r in rows:
        lines.append("| " + " | ".join(f"{r[c]:.3f}" if isinstance(r[c], float) else str(r[c]) for c in columns) + " |")
    out.mkdir(parents=True, exist_ok=True)
    (out / "inverse_gamma.md").write_text("# gamma of robust GCV\n\n" + "\n".join(lines) + "\n")
    (out / "inverse_gamma.json").write_text(json.dumps({"seed": SEED, "rows": rows}, indent=1))
    print("\n".join(lines))
    return {"rows": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="small meshes, seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
