"""The calibration study: correct a case's operator by its measured heart potentials, judge it on frames held out."""

import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import Case, ForwardOperator, InputError, Recording, Source, Surface
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.forward.corrections import OperatorModel, Spread, recorded_system
from einthoven.forward.lead_errors import LeadErrors
from einthoven.inverse.calibration import MODELS, Calibration, calibrate
from einthoven.inverse.registry import make_rule, make_solver
from einthoven.metrics import score, scoring_reference
from einthoven.studies.calibration_frames import Split, splits
from einthoven.studies.imaging import select_data
from einthoven.studies.provenance import case_checksums, machine, versions
from einthoven.studies.settings import CalibrationSettings, ImagingSettings

#: Methods and rules by which operators are judged; none sees the truth.
JUDGES = (("tikhonov2", "lcurve"), ("tikhonov2", "rgcv"), ("stre", "lcurve"))

#: Least share of the heart's nodes that must be measured; the others are filled in.
LEAST_MEASURED = 0.5


class Judged(NamedTuple):
    """An operator at frames held out.

    Parameters
    ----------
    scores
        One per judge: relative error and correlation of the image.
    frame_errors
        Of the first judge's image, root mean square over the measured nodes, mV.
    misfit
        |y - A x| / |y|.
    residuals
        Root mean square of y - A x per lead, mV.
    """

    scores: tuple[dict[str, Any], ...]
    frame_errors: Float[np.ndarray, " n_test"]
    misfit: float
    residuals: Float[np.ndarray, " n_leads"]


@dataclass(frozen=True, eq=False)
class Trial:
    """One model calibrated on part of the frames and judged on others.

    Parameters
    ----------
    model
        Its name.
    split
        Which frames.
    calibration
        What came out.
    before, after
        The operator as built, and as calibrated, at the frames held out.
    fit_misfit
        |y - A x| / |y| at the calibration frames, before and after.
    seconds
        Of the calibration.
    """

    model: str
    split: Split
    calibration: Calibration
    before: Judged
    after: Judged
    fit_misfit: tuple[float, float]
    seconds: float


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """What a calibration hands to files and pages.

    Parameters
    ----------
    case, source
        The case and the heart surface.
    recording, heart
        Leads and heart potentials; nodes of the heart that were not measured are filled in.
    filled
        Names of these nodes.
    uncalibrated
        The operator as built.
    calibrated
        By model, from all frames that may be used for it.
    trials
        Every model on every split.
    provenance
        Settings, versions, checksums.
    """

    case: Case
    source: Source
    recording: Recording
    heart: Recording
    filled: tuple[str, ...]
    uncalibrated: ForwardOperator
    calibrated: dict[str, Calibration]
    trials: tuple[Trial, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Calibration:
        """That of the first model: the one to be used."""
        return next(iter(self.calibrated.values()))


def calibrate_case(
    case: Case, settings: CalibrationSettings, *, case_name: str | None = None, progress: Progress = silent
) -> CalibrationResult:
    """Calibrate the operator of a case with every model of the settings.

    Parameters
    ----------
    case
        With a recording and the heart potentials measured at the same times.
    settings
        Models, frames, leads, expected errors.
    case_name
        How the user named the case, for the provenance.
    progress
        Told about boundary elements and calibrations.

    Raises
    ------
    InputError
        If the case has no such pair, or settings do not fit it.
    """
    models = checked_models(settings)
    source, recording = case.source("hsp"), select_data(case, _leads(settings))
    heart, filled = paired_heart(case, source, recording)
    parts = splits(recording, settings.fit_ms, settings.test_ms)
    setup = _Setup(case, source, recording, heart, settings)
    every = setup.model(*models)
    changes = every.linearized(np.zeros(len(every.names)), progress=progress)
    judged = tuple(setup.judged(changes.leads, split) for split in parts)
    trials: list[Trial] = []
    calibrated: dict[str, Calibration] = {}
    for i, name in enumerate(models):
        for split, before in zip(parts, judged, strict=True):
            progress("calibrations", len(trials) + i, len(models) * (len(parts) + 1))
            trials.append(setup.trial(name, split, changes, before, progress))
        whole = np.arange(recording.n_times)
        progress("calibrations", len(trials) + i, len(models) * (len(parts) + 1))
        asked = settings.fit_ms is not None
        calibrated[name] = trials[-1].calibration if asked else setup.calibrated(name, whole, changes, progress)
    progress("calibrations", 1, 1)
    return CalibrationResult(
        case=case,
        source=source,
        recording=recording,
        heart=heart,
        filled=filled,
        uncalibrated=changes.leads,
        calibrated=calibrated,
        trials=tuple(trials),
        provenance={
            "case": case_name or case.name,
            "settings": settings.model_dump(exclude_none=True, mode="json"),
            "filled_nodes": len(filled),
            "versions": versions(),
            "machine": machine(),
            "checksums": case_checksums(case),
            "data": dict(case.info),
        },
    )


def checked_models(settings: CalibrationSettings) -> tuple[str, ...]:
    """The models, each once; a wrong name is told before any work is done."""
    unknown = [name for name in settings.models if name not in MODELS]
    if unknown:
        raise InputError(f"unknown model {some(unknown)}; there is {', '.join(MODELS)}.")
    return tuple(dict.fromkeys(settings.models))


def paired_heart(case: Case, source: Source, recording: Recording) -> tuple[Recording, tuple[str, ...]]:
    """The heart potentials at the recording's frames and all nodes, and the nodes that had to be filled in.

    Raises
    ------
    InputError
        If they were not measured, at too few nodes, at other times, or against another zero than the leads.
    """
    truth, surface = source.truth, source.surface
    if truth is None:
        raise InputError(
            f"{case.name}: calibration needs heart potentials that were measured together with the leads; the case "
            "has no truth on its heart surface. Add one to case.toml."
        )
    share = truth.n_sites / surface.n_points
    if share < LEAST_MEASURED:
        raise InputError(
            f"{case.name}: heart potentials were measured at {truth.n_sites} of {surface.n_points} nodes, too few for "
            f"a calibration, which needs {LEAST_MEASURED:.0%}. Use a coarser heart surface, or measure more."
        )
    if recording.reference == "absolute" and truth.reference != "absolute":
        raise InputError(
            f"{case.name}: the leads are absolute, the heart potentials have reference {truth.reference!r}: their "
            "zeros differ. Add --reference average."
        )
    near = np.abs(truth.times[:, None] - recording.times).min(axis=1) < 1e-3 * max(recording.dt, 1e-3)
    if near.sum() != recording.n_times:
        raise InputError(
            f"{case.name}: heart potentials were measured at {int(near.sum())} of the {recording.n_times} times of the "
            "leads; give both the same times."
        )
    measured = replace(truth, values=truth.values[:, near], times=recording.times)
    lacking = tuple(name for name in surface.node_names if name not in set(truth.sites))
    return (filled_in(measured, surface) if lacking else measured.select(surface.node_names)), lacking


def filled_in(measured: Recording, surface: Surface) -> Recording:
    """Potentials at all nodes: where nothing was measured, those that make the surface Laplacian smallest."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    from einthoven.geometry.operators import mass, stiffness

    area = np.asarray(mass(surface, lumped=True).diagonal())
    k = sparse.csr_array(stiffness(surface))
    penalty = sparse.csc_array(k @ sparse.diags_array(1 / area) @ k)
    position = {name: i for i, name in enumerate(surface.node_names)}
    known = np.array([position[name] for name in measured.sites])
    unknown = np.setdiff1d(np.arange(surface.n_points), known)
    values = np.zeros((surface.n_points, measured.n_times))
    values[known] = measured.values
    right = -(penalty[unknown][:, known] @ measured.values)
    solved: Any = spsolve(penalty[unknown][:, unknown], right)
    values[unknown] = np.asarray(solved).reshape(len(unknown), -1)
    return replace(measured, values=values, sites=surface.node_names)


def misfit(operator: ForwardOperator, heart: Recording, leads: Recording) -> float:
    """|y - A x| / |y|."""
    return float(np.linalg.norm(leads.values - operator.matrix @ heart.values) / np.linalg.norm(leads.values))


def _leads(settings: CalibrationSettings) -> ImagingSettings:
    return ImagingSettings(leads=settings.leads, exclude=settings.exclude, reference=settings.reference)


@dataclass(frozen=True, eq=False)
class _Setup:
    """What all trials share."""

    case: Case
    source: Source
    recording: Recording
    heart: Recording
    settings: CalibrationSettings

    def model(self, *names: str) -> OperatorModel:
        """What a model takes for uncertain; of several models, what any of them does."""
        kinds = tuple(dict.fromkeys(kind for name in names for kind in MODELS[name]))
        spread = Spread(**{key: float(getattr(self.settings, key)) for key in Spread.__dataclass_fields__})
        system = recorded_system(self.recording.reference, self.recording.sites)
        return OperatorModel(self.source.surface, self.case.conductor, self.case.electrodes, system, kinds, spread)

    def at(self, frames: Int[np.ndarray, " n"]) -> tuple[Recording, Recording]:
        """Heart and leads at some frames."""
        heart, leads = (
            replace(r, values=r.values[:, frames], times=r.times[frames]) for r in (self.heart, self.recording)
        )
        return heart, leads

    def calibrated(
        self, name: str, frames: Int[np.ndarray, " n"], changes: LeadErrors, progress: Progress
    ) -> Calibration:
        """A model calibrated on some frames; `changes` are those of all models at the geometry as it was given."""
        model = self.model(name)
        start = changes.select(model.names)
        return calibrate(model, *self.at(frames), n_folds=self.settings.folds, start=start, progress=progress)

    def trial(self, name: str, split: Split, changes: LeadErrors, before: Judged, progress: Progress) -> Trial:
        """A model calibrated on part of the frames, judged on others."""
        begun = time.perf_counter()
        found = self.calibrated(name, split.fit, changes, progress)
        seconds = time.perf_counter() - begun
        fitted = self.at(split.fit)
        misfits = misfit(changes.leads, *fitted), misfit(found.operator, *fitted)
        return Trial(name, split, found, before, self.judged(found.operator, split), misfits, seconds)

    def judged(self, operator: ForwardOperator, split: Split) -> Judged:
        """Image the frames held out; the heart potentials there are used to score, for nothing else."""
        heart, leads = self.at(split.test)
        assert self.source.truth is not None
        truth = heart.select(self.source.truth.sites)
        scores, errors = [], np.zeros(0)
        for method, rule in JUDGES:
            estimate = make_solver(method, make_rule(rule)).reconstruct(operator, leads).estimate
            scores.append(dict(score(estimate, truth, reference=scoring_reference(leads))))
            if not errors.size:
                errors = _frame_errors(estimate, truth, centered=scoring_reference(leads) != "absolute")
        rest = leads.values - operator.matrix @ heart.values
        return Judged(tuple(scores), errors, misfit(operator, heart, leads), np.sqrt((rest**2).mean(axis=1)))


def _frame_errors(estimate: Recording, truth: Recording, *, centered: bool) -> Float[np.ndarray, " n"]:
    difference = estimate.select(truth.sites).values - truth.values
    if centered:
        difference = difference - difference.mean(axis=0)
    return np.asarray(np.sqrt((difference**2).mean(axis=0)))
