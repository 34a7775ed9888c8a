"""Calibrate on one beat, image another: the wave on the phantom's heart surface, with the heart believed elsewhere.

Truth and leads of both beats come from the finer phantom; the case to be imaged has its heart shifted and turned. The
operator is calibrated on beat A, whose heart potentials are known, and images beat B, whose early sites are others.
Errors are relative, leads of absolute reference; `exact` is the operator of the true place.

    python benchmarks/calibration.py --out out/bench

The measured pairs: `einthoven calibrate utah-cage-tank --model placed,pose,leads,gain --out out/cage`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from _tables import written

from einthoven.core import Case, Recording, Source
from einthoven.datasets.phantom import LEFT, RIGHT
from einthoven.forward.lead_errors import center, moved
from einthoven.inverse import make_rule, make_solver
from einthoven.studies.calibration import calibrate_case
from einthoven.studies.forward import build_operator
from einthoven.studies.phantom_beat import EarlySite
from einthoven.studies.phantom_surface import SurfaceBeat, phantom_surface_case
from einthoven.studies.settings import CalibrationSettings

#: Where the heart is believed to be, from where it is: mm and degrees.
WRONG = np.array([4.0, -3.0, 3.0, 0.0, 0.0, 5.0])
BEATS = {
    "A": (EarlySite(LEFT, 1.0, 0.5, 150.0, 0.0),),
    "B": (EarlySite(RIGHT, 1.0, 0.4, 30.0, 0.0), EarlySite(LEFT, 1.0, 0.8, -60.0, 20.0)),
}


def misplaced(case: Case) -> Case:
    """The case with its heart believed elsewhere."""
    source = case.source()
    surface = moved(source.surface, WRONG, center(source.surface))
    return replace(case, sources=(Source(surface, source.quantity, source.truth),))


def error(operator, recording: Recording, truth: Recording) -> float:
    """Relative error of the image by the Laplacian with the L-curve."""
    found = make_solver("tikhonov2", make_rule("lcurve")).reconstruct(operator, recording).estimate
    return float(np.linalg.norm(found.values - truth.values) / np.linalg.norm(truth.values))


def main(out: Path, smoke: bool) -> dict:
    """Compute the table, print it and write it under `out`."""
    duration, every = (160.0, 2.0) if smoke else (400.0, 4.0)
    cases = {
        name: phantom_surface_case(64, beat=SurfaceBeat(sites=sites, duration=duration, every=every))
        for name, sites in BEATS.items()
    }
    wrong = {name: misplaced(case) for name, case in cases.items()}
    last = float(cases["A"].recording.times[-1])
    models = ("gain",) if smoke else ("pose", "gain")
    found = calibrate_case(wrong["A"], CalibrationSettings(models=models, fit_ms=(0.0, 0.5 * last)))
    operators = {"exact": build_operator(cases["A"]), "as believed": found.uncalibrated}
    operators |= {f"calibrated on A, {name}": one.operator for name, one in found.calibrated.items()}
    rows = []
    for name, operator in operators.items():
        row: dict = {"operator": name}
        for beat, case in cases.items():
            row[f"error, beat {beat}"] = error(operator, case.recording, case.source().truth)
        rows.append(row)
    best = found.first
    back = [
        {"parameter": n, "found": float(q), "standard_error": float(e), "true": float(t)}
        for n, q, e, t in zip(best.names, best.q, best.errors, true_errors(best.names), strict=True)
    ]
    return written(out, "calibration", "Calibrated on one beat, judged on another", rows, parameters=back)


def true_errors(names: tuple[str, ...]) -> np.ndarray:
    """What has to be found: the way back; size and gain are right."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(WRONG[3:], degrees=True).inv()
    back = np.concatenate([-WRONG[:3], turn.as_rotvec(degrees=True)])
    return np.array([back[i] if i < 6 and name.startswith("heart") else 0.0 for i, name in enumerate(names)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="shorter beats, one model")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
