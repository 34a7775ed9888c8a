"""Calibrate on one beat, image another: fronts on an egg-shaped heart that is believed elsewhere than it is.

Truth and leads of both beats are made on finer meshes, with the heart where it is: 64 average-referenced leads, 20 uV
of noise. The case has the coarser heart shifted, turned and too large. The operator is calibrated on beat A, whose
heart potentials are known; beat B starts from other sites. Errors are relative, mean removed; `exact` is the coarse
operator of the true place.

    python benchmarks/calibration.py --out out/bench

The measured pairs: `einthoven calibrate utah-cage-tank --model placed,pose,leads,gain --out out/cage`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from _tables import written

from einthoven.core import Electrodes, ForwardOperator, Recording, Region, Surface, VolumeConductor
from einthoven.forward import bem
from einthoven.forward.corrections import OperatorModel, recorded_system
from einthoven.forward.references import referenced
from einthoven.geometry.generators import sphere
from einthoven.inverse import make_rule, make_solver
from einthoven.inverse.calibration import MODELS, calibrate

#: What has to be found: shifts (mm), turns (degrees), size and gain (%).
TRUE = np.array([4.0, -3.0, 3.0, 0.0, 5.0, 0.0, -5.0, -6.0])
#: Early sites of the beats, directions from the heart's center.
BEATS = {"A": [(1.0, 0.2, 0.1)], "B": [(-0.5, 0.8, -0.4), (0.1, -1.0, 0.6)]}
NOISE_MV, LEADS, SEED = 0.02, 64, 11


def heart(subdivisions: int) -> Surface:
    """The heart where it is believed to be."""
    ball = sphere(40.0, subdivisions=subdivisions, name="heart")
    return ball.with_points(ball.points * [1.0, 0.8, 1.25] + [10.0, -15.0, 5.0])


def front(surface: Surface, sites: list[tuple[float, float, float]], times: np.ndarray) -> Recording:
    """Potentials of fronts that leave the sites at 0.6 mm/ms, mV; the surface is where it is believed to be."""
    middle = surface.points.mean(axis=0)
    starts = [middle + 40.0 * np.array(s) / np.linalg.norm(s) for s in sites]
    distance = np.min([np.linalg.norm(surface.points - s, axis=1) for s in starts], axis=0)
    values = 10 * np.tanh((distance[:, None] - 0.6 * times) / 8.0)
    return Recording(values, times, surface.node_names, "hsp")


def model(subdivisions: int, electrodes: Electrodes, name: str = "pose") -> OperatorModel:
    """Everything where it is believed to be."""
    skin = Region(sphere(120.0, subdivisions=subdivisions, name="skin"), 0.2)
    system = recorded_system("average", electrodes.names)
    return OperatorModel(heart(subdivisions), VolumeConductor(skin), electrodes, system, MODELS[name])


def error(operator: ForwardOperator, leads: Recording, truth: Recording) -> float:
    """Relative error of the image by the Laplacian with the L-curve."""
    found = make_solver("tikhonov2", make_rule("lcurve")).reconstruct(operator, leads).estimate.values
    x, u = (v - v.mean(axis=0) for v in (found, truth.values))
    return float(np.linalg.norm(x - u) / np.linalg.norm(u))


def main(out: Path, smoke: bool) -> dict:
    """Compute the table, print it and write it under `out`."""
    rng = np.random.default_rng(SEED)
    coarse = 1 if smoke else 2
    places = sphere(120.0, subdivisions=2).points[rng.permutation(162)[:LEADS]]
    electrodes = Electrodes(tuple(f"E{i}" for i in range(LEADS)), places)
    times = np.arange(0.0, 200.0, 4.0)
    fine = model(coarse + 1, electrodes)
    made = fine.at(TRUE)
    beats = {}
    for name, sites in BEATS.items():
        clean = made.record(front(fine.surface, sites, times))
        noisy = clean.values + NOISE_MV * rng.standard_normal(clean.values.shape)
        leads = replace(clean, values=noisy).average_referenced()
        beats[name] = leads, front(heart(coarse), sites, times)
    found = {name: calibrate(model(coarse, electrodes, name), *beats["A"][::-1]) for name in ("pose", "gain")}
    operators = {"exact": model(coarse, electrodes).at(TRUE)}
    built = bem.transfer(heart(coarse), model(coarse, electrodes).conductor, electrodes)
    operators["as believed"] = referenced(built, "average")
    operators |= {f"calibrated on A, {name}": one.operator for name, one in found.items()}
    rows = [
        {"operator": name} | {f"error, beat {beat}": error(operator, *pair) for beat, pair in beats.items()}
        for name, operator in operators.items()
    ]
    best = found["pose"]
    back = [
        {"parameter": n, "found": float(q), "standard_error": float(e), "true": float(t)}
        for n, q, e, t in zip(best.names, best.q, best.errors, TRUE, strict=True)
    ]
    return written(out, "calibration", "Calibrated on one beat, judged on another", rows, parameters=back)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="coarser meshes")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
