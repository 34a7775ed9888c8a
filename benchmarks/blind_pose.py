"""Can the heart's place be corrected without its potentials? What criteria without truth say of places.

The operator of `utah-cage-tank` is built with the heart shifted, turned and scaled: along the correction that paired
potentials give (`einthoven calibrate`, all frames; gain left out, which no criterion can see), and in random ways of
the expected size. For every place: the error of the image (which needs the truth), and what could choose the place
without it, the error of leads that are held out from images by the surface Laplacian, by spatiotemporal regularization
and by total variation (robust GCV, the last by the L-curve on every tenth frame). A blind correction is safe if the
place that a criterion prefers has no larger error than where the heart is believed to be; among the places listed,
and anywhere (for the Laplacian: its minimum with a prior of the expected size, by Gauss-Newton steps).

The same on a simulation whose prior is right in kind, fronts on an egg (`benchmarks/calibration.py`), where the true
place is known exactly.

    python benchmarks/blind_pose.py --out out/bench
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import calibration as simulated
import numpy as np
from _tables import written
from scipy.stats import rankdata

from einthoven.core import ForwardOperator, GeometryError, Recording, Solver
from einthoven.forward.corrections import OperatorModel, recorded_system
from einthoven.inverse import LCurve, RobustGCV, Stre, Tikhonov, TotalVariation
from einthoven.inverse.calibration import MODELS, calibrate
from einthoven.inverse.held_out import held_out_leads

#: Shares of the correction from paired potentials; random places and the seed that draws them.
SHARES, RANDOM, SEED = (-1.0, -0.5, 0.0, 0.5, 1.0), 12, 5
#: Gauss-Newton steps of the search for the best place, and every how many frames it takes.
STEPS, EVERY = 4, 5
#: Solvers whose held-out leads may choose, and every how many frames they take.
CRITERIA: dict[str, tuple[Solver, int]] = {
    "held out, laplacian": (Tikhonov(2, RobustGCV()), 1),
    "held out, stre": (Stre(RobustGCV()), 4),
    "held out, tv": (TotalVariation(LCurve()), 10),
}


def measured() -> tuple[OperatorModel, Recording, Recording]:
    """The measured pair: model, leads, heart potentials."""
    from einthoven.datasets import load_case

    case = load_case("utah-cage-tank")
    source, leads = case.source("hsp"), case.recording
    assert leads is not None
    assert source.truth is not None
    system = recorded_system(leads.reference, leads.sites)
    model = OperatorModel(source.surface, case.conductor, case.electrodes, system, MODELS["pose"])
    return model, leads, source.truth


def egg() -> tuple[OperatorModel, Recording, Recording]:
    """The simulated pair: the coarse model of where the heart is not."""
    rng = np.random.default_rng(simulated.SEED)
    places = simulated.sphere(120.0, subdivisions=2).points[rng.permutation(162)[: simulated.LEADS]]
    electrodes = simulated.Electrodes(tuple(f"E{i}" for i in range(len(places))), places)
    times = np.arange(0.0, 200.0, 4.0)
    fine, sites = simulated.model(3, electrodes), simulated.BEATS["A"]
    clean = fine.at(np.append(simulated.TRUE[:7], 0.0)).record(simulated.front(fine.surface, sites, times))
    noisy = clean.with_values(clean.values + simulated.NOISE_MV * rng.standard_normal(clean.values.shape))
    coarse = simulated.model(2, electrodes)
    return coarse, noisy.average_referenced(), simulated.front(simulated.heart(2), sites, times)


def places(model: OperatorModel, correction: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Parameters of all places, the gain 0."""
    found = {f"{share:+.1f} of the correction": share * correction for share in SHARES}
    rng = np.random.default_rng(SEED)
    found |= {f"random {k + 1}": model.sizes * rng.standard_normal(len(model.sizes)) for k in range(n)}
    return {name: np.append(q[:-1], 0.0) for name, q in found.items()}


def error(operator: ForwardOperator, leads: Recording, truth: Recording) -> float:
    """Relative error of the Laplacian's image with robust GCV, mean removed."""
    estimate = Tikhonov(2, RobustGCV()).reconstruct(operator, leads).estimate.select(truth.sites).values
    x, u = (v - v.mean(axis=0) for v in (estimate, truth.values))
    return float(np.linalg.norm(x - u) / np.linalg.norm(u))


def judged(name: str, operator: ForwardOperator, leads: Recording, truth: Recording, thin: int) -> dict:
    """Error and criteria of one place."""
    row = {"place": name, "error": error(operator, leads, truth)}
    for criterion, (solver, every) in CRITERIA.items():
        some = replace(leads, values=leads.values[:, :: every * thin], times=leads.times[:: every * thin])
        out = held_out_leads(operator, some, solver=solver, groups=4)
        row[criterion] = out.sigma / out.signal
    return row


def minimized(model: OperatorModel, leads: Recording) -> np.ndarray:
    """The place of least n log |r| + |q / s|^2 / 2, r the held-out leads' residuals, n the number of independent data.

    n is the number of leads times the effective number of temporal components (their energy's participation ratio).
    """
    some = replace(leads, values=leads.values[:, ::EVERY], times=leads.times[::EVERY])
    energy = np.linalg.svd(some.values - some.values.mean(axis=0), compute_uv=False) ** 2
    count = some.n_sites * energy.sum() ** 2 / (energy**2).sum()

    def residual(operator: ForwardOperator) -> np.ndarray:
        return held_out_leads(
            operator, some, solver=CRITERIA["held out, laplacian"][0], groups=6
        ).residual.values.ravel()

    free, sizes = len(model.sizes) - 1, model.sizes[:-1]
    q = np.zeros(len(model.sizes))
    for _ in range(STEPS):
        near = model.linearized(q)
        here = residual(near.leads)
        changes = np.eye(len(q))[:free] * 0.2 * model.sizes
        slope = np.stack([(residual(near.at(e)) - here) / e.max() for e in changes], axis=1)
        weight = count / (here @ here)
        normal = weight * slope.T @ slope + np.diag(sizes**-2.0)
        step = -np.linalg.solve(normal, weight * slope.T @ here + q[:free] / sizes**2)
        q[:free] += step * min(1.0, 1 / np.abs(step / sizes).max())
    return q


def compared(pair: tuple[OperatorModel, Recording, Recording], n: int, thin: int) -> tuple[list[dict], list[dict]]:
    """All places, and for every criterion the place it prefers."""
    model, leads, truth = pair
    correction = calibrate(model, truth, leads).q
    rows = []
    for name, q in places(model, correction, n).items():
        try:
            operator = model.at(q)
        except GeometryError:  # surfaces would meet
            continue
        rows.append(judged(name, operator, leads, truth, thin))
        print(rows[-1], flush=True)
    errors = np.array([row["error"] for row in rows])
    believed = next(row["error"] for row in rows if row["place"].startswith("+0.0"))
    chosen = []
    for criterion in CRITERIA:
        values = np.array([row[criterion] for row in rows])
        best = int(values.argmin())
        chosen.append(
            {
                "criterion": criterion,
                "place": rows[best]["place"],
                "error there": errors[best],
                "error as believed": believed,
                "smallest error": errors.min(),
                "rank correlation": float(np.corrcoef(rankdata(values), rankdata(errors))[0, 1]),
            }
        )
    if n > 1:
        best = minimized(model, leads)
        chosen.append(
            {
                "criterion": "held out, laplacian",
                "place": "minimum: " + ", ".join(f"{v:.1f}" for v in best[:-1]),
                "error there": error(model.at(best), leads, truth),
                "error as believed": believed,
            }
        )
    return rows, chosen


def main(out: Path, smoke: bool) -> dict:
    """Compute the tables, print them and write them under `out`."""
    pairs = {"fronts on an egg": egg}
    if os.environ.get("EINTHOVEN_DATA_DIR") or not smoke:
        pairs["utah-cage-tank"] = measured
    tables, chosen = {}, []
    for name, pair in pairs.items():
        tables[name], best = compared(pair(), 1 if smoke else RANDOM, 5 if smoke else 1)
        chosen += [{"pair": name, **row} for row in best]
    return written(out, "blind_pose", "The place that criteria without truth prefer", chosen, places=tables)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="few places and frames")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
