"""All methods x all rules on the measured pairs, with the oracle beside them; a simulated case without them.

Errors are relative errors and correlations after the mean over the heart's nodes is removed from every frame of
estimate and truth (leads are average-referenced). No rule except ``oracle`` sees the truth. Seconds are those of the
first ``reconstruct`` call with that rule, decomposition included.

    python benchmarks/inverse_table.py --out out/bench
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, InputError, LeadSystem, Recording, Region, VolumeConductor
from einthoven.datasets import load_case
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.inverse import METHODS, make_rule, make_solver

RULES = ("lcurve", "gcv", "rgcv", "creso", "ucurve", "discrepancy", "oracle")
SEED = 5


def measured(name: str) -> tuple[ForwardOperator, Recording, Recording]:
    """Operator, average-referenced recording and truth of a measured pair."""
    case = load_case(name)
    source, recording = case.source(), case.recording
    assert recording is not None
    assert source.truth is not None
    average = LeadSystem.average(recording.sites).operator()
    operator = average @ bem.transfer(source.surface, case.conductor, case.electrodes)
    return operator, recording.average_referenced(), source.truth


def simulated() -> tuple[ForwardOperator, Recording, Recording]:
    """A front on concentric spheres, 48 leads, 1 % noise, inverted with the operator that made it."""
    heart, skin = sphere(50.0, subdivisions=2, name="heart"), sphere(100.0, subdivisions=2, name="skin")
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(skin.n_points)[:48]
    electrodes = Electrodes(tuple(f"E{i}" for i in range(48)), skin.points[chosen])
    absolute = bem.transfer(heart, VolumeConductor(Region(skin, 0.2)), electrodes)
    times = np.arange(20.0)
    values = 10 * np.tanh((heart.points[:, [2]] / 50.0 - np.linspace(-0.8, 0.8, 20)) / 0.3)
    truth = Recording(values, times, heart.node_names, "hsp")
    clean = absolute.record(truth)
    noise = 0.01 * np.sqrt((clean.values**2).mean()) * rng.standard_normal(clean.values.shape)
    operator = LeadSystem.average(electrodes.names).operator() @ absolute
    return operator, clean.with_values(clean.values + noise).average_referenced(), truth


def cell(method: str, rule: str, problem: tuple[ForwardOperator, Recording, Recording]) -> dict:
    """One method with one rule: scores, weight and seconds, or why there is none."""
    operator, recording, truth = problem
    start = time.perf_counter()
    try:
        found = make_solver(method, make_rule(rule, truth=truth)).reconstruct(operator, recording)
    except InputError as error:
        return {"method": method, "rule": rule, "error": str(error)}
    seconds = time.perf_counter() - start
    x, u = (v - v.mean(axis=0) for v in (found.estimate.select(truth.sites).values, truth.values))
    return {
        "method": method,
        "rule": rule,
        "lambda": found.weight,
        "relative_error": float(np.linalg.norm(x - u) / np.linalg.norm(u)),
        "correlation": float(np.corrcoef(x.ravel(), u.ravel())[0, 1]),
        "seconds": seconds,
    } | found.diagnostics


def sweep_seconds(problem: tuple[ForwardOperator, Recording, Recording]) -> dict:
    """Decomposition, sweep of 100 weights, and one estimate of all frames, separately."""
    from einthoven.inverse.decomposition import decompose
    from einthoven.inverse.problem import prepare
    from einthoven.inverse.regularizers import SurfaceLaplacian

    operator, recording, _ = problem
    marks = [time.perf_counter()]
    ready = prepare(operator, recording)
    spectrum = decompose(ready.matrix, SurfaceLaplacian().penalty(ready.operator)).spectrum(ready.data)
    marks.append(time.perf_counter())
    spectrum.statistics(np.geomspace(1e-4, 1e1, 100))
    marks.append(time.perf_counter())
    spectrum.estimate(0.1)
    marks.append(time.perf_counter())
    names = ("decomposition_s", "sweep_of_100_weights_s", "estimate_of_all_frames_s")
    return dict(zip(names, np.diff(marks).tolist(), strict=True))


def markdown(name: str, cells: list[dict], speed: dict) -> str:
    """One row per method, relative error / correlation per rule."""
    lines = [f"## {name}", "", "| method | " + " | ".join(RULES) + " | seconds (lcurve) |"]
    lines.append("|" + "---|" * (len(RULES) + 2))
    for method in METHODS:
        row = {c["rule"]: c for c in cells if c["method"] == method}
        texts = [_text(row[rule]) for rule in RULES]
        lines.append(f"| {method} | " + " | ".join(texts) + f" | {row['lcurve'].get('seconds', np.nan):.2f} |")
    lines += ["", "tikhonov2: " + ", ".join(f"{k[:-2].replace('_', ' ')} {1e3 * v:.1f} ms" for k, v in speed.items())]
    return "\n".join(lines) + "\n"


def _text(cell: dict) -> str:
    if "error" in cell:
        return "none"
    error = cell["relative_error"]
    return f"{error:.3f} / {cell['correlation']:.3f}" if error < 10 else "> 10"


def main(out: Path, smoke: bool) -> dict:
    """Compute the tables, print them and write them under `out`."""
    problems = {"simulated front on spheres": simulated()}
    if not smoke and os.environ.get("EINTHOVEN_DATA_DIR"):
        problems = {name: measured(name) for name in ("utah-cage-tank", "utah-sock")}
    tables, text = {}, "# Methods and rules\n"
    for name, problem in problems.items():
        cells = [cell(method, rule, problem) for method in METHODS for rule in RULES]
        speed = sweep_seconds(problem)
        tables[name] = {"cells": cells, "speed": speed}
        text += "\n" + markdown(name, cells, speed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "inverse_table.md").write_text(text)
    (out / "inverse_table.json").write_text(json.dumps(tables, indent=1))
    print(text)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="a small simulated case, seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
