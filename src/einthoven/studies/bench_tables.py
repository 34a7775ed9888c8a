"""Tables of a comparison: medians and spreads over data sets, ratios to the yardstick, the gate's mistakes."""

from collections.abc import Iterable, Sequence

import numpy as np

from einthoven.inverse.physics.gate import Gate
from einthoven.studies.bench_output import Row, grouped
from einthoven.studies.disturbances import KINDS

#: What a data set is, and what a line of the table is.
DATA = ("geometry", "case", "reference", "position", "sigma", "seed", "disturbance", "size")
LINE = ("geometry", "case", "reference", "sigma", "disturbance", "size", "method")
#: What decides a curve but its method: errors against sizes of a disturbance.
CURVE = ("geometry", "case", "reference", "sigma", "disturbance")
#: The yardstick, and the classical answer that a gate falls back on.
YARDSTICK, CLASSICAL = "stre:oracle", "stre:rgcv"
#: Scores of which median and quartiles are shown.
SCORES = (
    "relative_error",
    "correlation",
    "mse_mv2",
    "node_error",
    "frame_error",
    "relative_error_mean_removed",
    "correlation_mean_removed",
    "mse_mv2_mean_removed",
    "activation_error_ms",
    "localization_error_mm",
    "chi2_leads",
    "told_chi2",
    "seconds",
    "processor_seconds",
    "peak_mb",
    "coverage_50",
    "coverage_90",
    "inflation_90",
    "sigma_used",
    "told_diffusivity",
)
#: Scores of speed: of calls that compile they say nothing.
OF_SPEED = ("seconds", "processor_seconds")


def error_key(reference: str) -> str:
    """The relative error by which methods are compared."""
    return "relative_error" if reference == "absolute" else "relative_error_mean_removed"


def summary(rows: Sequence[Row]) -> list[Row]:
    """One line per geometry, case, reference, noise, disturbance, its size and method.

    Every score has its median, and its quartiles as ``..._low`` and ``..._high``; ``over_stre`` is the median over data
    sets of the ratio of the method's error to the yardstick's on the same data.
    """
    yardsticks = {key: here[0] for key, here in grouped(_of(rows, YARDSTICK), DATA).items()}
    lines = []
    for key, here in grouped(rows, LINE).items():
        line: Row = {k: v for k, v in zip(LINE, key, strict=True) if v is not None} | {"data_sets": len(here)}
        for score in SCORES:
            of = [r for r in here if not r.get("compiled")] or here if score in OF_SPEED else here
            line |= _quartiles(score, [r[score] for r in of if score in r])
        error = error_key(line["reference"])
        ratios = [
            r[error] / yardsticks[d][error]
            for r in here
            if error in r and (d := tuple(r.get(k) for k in DATA)) in yardsticks
        ]
        lines.append(line | _quartiles("over_stre", ratios))
    return lines


def _of(rows: Iterable[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method]


def _quartiles(score: str, values: Sequence[float]) -> Row:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {score: float(middle), f"{score}_low": float(low), f"{score}_high": float(high)}


def curves(rows: Sequence[Row]) -> list[Row]:
    """One line per disturbance, size and method, as `summary`: the undisturbed data of the same draws have size 0.

    The undisturbed data belong to every disturbance, so that they are there more than once.
    """
    plain = grouped([r for r in rows if not r.get("disturbance")], CURVE[:-1])
    lines = []
    for key, here in grouped([r for r in rows if r.get("disturbance")], CURVE).items():
        draws = {(r["position"], r["seed"], r["method"], r["noise"]) for r in here}
        same = [r for r in plain.get(key[:-1], []) if (r["position"], r["seed"], r["method"], r["noise"]) in draws]
        with_none = [{**r, "disturbance": key[-1], "size": 0.0} for r in same] + here
        unit = KINDS[key[-1]].unit
        found = summary(sorted(with_none, key=lambda r: r["size"]))
        lines += [{k: line[k] for k in LINE} | {"unit": unit} | line for line in found]
    return lines


def gate_counts(rows: Sequence[Row], gate: Gate | None = None) -> list[Row]:
    """By method and case: how often the gate opens, and how often it is wrong.

    A false accept is an image that is let through although the classical answer is better; a false reject one that is
    held back although it is better.
    """
    gate = Gate() if gate is None else gate
    classical = {key: here[0] for key, here in grouped(_of(rows, CLASSICAL), DATA).items()}
    judged = [r for r in rows if "told_chi2" in r and tuple(r.get(k) for k in DATA) in classical]
    found = []
    for (case, method), here in grouped(judged, ("case", "method")).items():
        line = {"case": case, "method": method, "data_sets": len(here), "accepted": 0}
        line |= {"false_accepts": 0, "false_rejects": 0}
        for row in here:
            error = error_key(row["reference"])
            better = row[error] < classical[tuple(row.get(k) for k in DATA)][error]
            bounds = gate if row["noise"] == "told" else gate.for_estimated_noise
            accepted = bounds.judge(row["told_chi2"], row["weight"]).accepted
            line["accepted"] += accepted
            line["false_accepts"] += accepted and not better
            line["false_rejects"] += better and not accepted
        found.append(line)
    return found
