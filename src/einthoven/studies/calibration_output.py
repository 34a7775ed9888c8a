"""What a calibration writes: operator, scores, parameters, errors per frame and per lead, the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from einthoven.core.progress import Progress, silent
from einthoven.inverse.calibration import Calibration
from einthoven.studies.calibration import JUDGES, CalibrationResult, Trial
from einthoven.studies.output import SEAL, plain, staged, without_none, write_json, write_rows

#: Percent by which an error must have grown for an image to be called worse.
WORSE = 0.5

#: What calibrations on all usable frames are called in tables.
ALL = "all"


def write_calibration(
    result: CalibrationResult,
    folder: Path,
    *,
    page: Callable[[CalibrationResult, Path], object] | None,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write everything to a folder that is whole once it has ``metrics.json``.

    Parameters
    ----------
    result
        As returned by `calibrate_case`.
    folder
        Made if needed; entries of an earlier run are replaced when the new ones are complete.
    page
        Writes ``report.html``; None for no page.
    progress
        Told after each part.

    Returns
    -------
    dict
        File name to path.
    """
    from einthoven.io.zarr_store import save_operator

    rows = metric_rows(result)
    with staged(folder, owned=("report.html",)) as stage:
        save_operator(result.first.operator, stage / "operator.npz")
        save_operator(result.first.operator, stage / "operator.zarr")
        progress("writing", 1, 3)
        write_rows(stage / "metrics.csv", rows)
        write_rows(stage / "parameters.csv", list(parameter_rows(result)))
        write_rows(stage / "frames.csv", list(frame_rows(result)))
        write_rows(stage / "electrodes.csv", list(lead_rows(result)))
        (stage / "run.toml").write_text(tomli_w.dumps(without_none(plain(result.provenance))), encoding="utf-8")
        progress("writing", 2, 3)
        if page is not None:
            page(result, stage / "report.html")
        write_json(stage / SEAL, rows)
        names = [entry.name for entry in stage.iterdir()]
    progress("writing", 3, 3)
    return {name: folder / name for name in names}


def metric_rows(result: CalibrationResult) -> list[dict[str, Any]]:
    """One row per model, split and method of imaging."""
    return [row for trial in result.trials for row in _trial_rows(trial, result.recording.times)]


def _trial_rows(trial: Trial, times: np.ndarray) -> Iterator[dict[str, Any]]:
    fit, test = times[trial.split.fit], times[trial.split.test]
    for i, (method, rule) in enumerate(JUDGES):
        before, after = trial.before.scores[i], trial.after.scores[i]
        yield {
            "model": trial.model,
            "split": trial.split.name,
            "method": method,
            "rule": rule,
            "error_before": before["relative_error"],
            "error_after": after["relative_error"],
            "change_percent": _change(before, after),
            "correlation_before": before["correlation"],
            "correlation_after": after["correlation"],
            "reference": after["reference"],
            "misfit_fit_before": trial.fit_misfit[0],
            "misfit_fit_after": trial.fit_misfit[1],
            "misfit_test_before": trial.before.misfit,
            "misfit_test_after": trial.after.misfit,
            "sigma_mv": trial.calibration.sigma,
            "n_parameters": len(trial.calibration.names),
            "steps": len(trial.calibration.steps),
            "converged": trial.calibration.converged,
            "fit_start_ms": fit[0],
            "fit_stop_ms": fit[-1],
            "n_fit": len(fit),
            "test_start_ms": test[0],
            "test_stop_ms": test[-1],
            "n_test": len(test),
            "seconds": trial.seconds,
        }


def calibrations(result: CalibrationResult, model: str) -> dict[str, Calibration]:
    """All calibrations of a model, by the frames they were made on."""
    found = {trial.split.name.split(" -> ")[0]: trial.calibration for trial in result.trials if trial.model == model}
    if len(found) > 1:
        found[ALL] = result.calibrated[model]
    return found


def parameter_rows(result: CalibrationResult) -> Iterator[dict[str, Any]]:
    """One row per model, frames and parameter: value, standard error, what was expected."""
    for model in result.calibrated:
        for frames, found in calibrations(result, model).items():
            for name, value, error, size in zip(found.names, found.q, found.errors, found.sizes, strict=True):
                yield {
                    "model": model,
                    "calibrated_on": frames,
                    "parameter": name,
                    "value": float(value),
                    "standard_error": float(error),
                    "expected": float(size),
                }


def frame_rows(result: CalibrationResult) -> Iterator[dict[str, Any]]:
    """One row per model, split and frame held out: error of the first judge's image."""
    for trial in result.trials:
        times = result.recording.times[trial.split.test]
        for time, before, after in zip(times, trial.before.frame_errors, trial.after.frame_errors, strict=True):
            yield {
                "model": trial.model,
                "split": trial.split.name,
                "time_ms": float(time),
                "rmse_before_mv": float(before),
                "rmse_after_mv": float(after),
            }


def lead_rows(result: CalibrationResult) -> Iterator[dict[str, Any]]:
    """One row per model, split and lead: what the operator leaves of it at the frames held out."""
    for trial in result.trials:
        both = zip(result.recording.sites, trial.before.residuals, trial.after.residuals, strict=True)
        for name, before, after in both:
            yield {
                "model": trial.model,
                "split": trial.split.name,
                "lead": name,
                "residual_before_mv": float(before),
                "residual_after_mv": float(after),
            }


def notes(result: CalibrationResult) -> list[str]:
    """What a reader must know: where the operator comes from, what was filled in, what did not converge."""
    model = next(iter(result.calibrated))
    fit = result.provenance.get("settings", {}).get("fit_ms")
    frames = "all frames" if fit is None else f"{fit[0]:g} to {fit[1]:g} ms"
    found = [
        f"Errors are of images of frames held out, {result.trials[0].after.scores[0]['reference']}; weights are chosen "
        f"without the truth. The operator written is that of the model {model}, calibrated on {frames}."
    ]
    if result.filled:
        found.append(
            f"{len(result.filled)} of {result.heart.n_sites} nodes of the heart were not measured: for the calibration "
            "they are filled in smoothly, in the scores they do not count."
        )
    worse = sorted({trial.model for trial in result.trials if _worse(trial)})
    if worse:
        found.append(f"Some images became worse: {', '.join(worse)}. Do not use these operators without a look.")
    rough = sorted({trial.model for trial in result.trials if not trial.calibration.converged})
    if rough:
        found.append(f"Not converged: {', '.join(rough)}.")
    return found


def _worse(trial: Trial) -> bool:
    pairs = zip(trial.before.scores, trial.after.scores, strict=True)
    return any(_change(before, after) > WORSE for before, after in pairs)


def _change(before: dict[str, Any], after: dict[str, Any]) -> float:
    return 100 * (after["relative_error"] / before["relative_error"] - 1)
