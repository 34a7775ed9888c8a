"""The imaging study: from a case to maps and scores, for one or several methods."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import Case, ForwardOperator, InputError, Recording, Source, Surface
from einthoven.core.progress import Progress, silent
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.registry import configurations, make_physics_solver
from einthoven.inverse.registry import METHODS, make_rule, make_solver
from einthoven.metrics import (
    ABSOLUTE,
    MEAN_REMOVED,
    activation_error,
    localization_error,
    remove_mean,
    score,
    scoring_reference,
)
from einthoven.signals import find_bad_leads
from einthoven.studies.forward import build_operator
from einthoven.studies.physics_imaging import (
    check_physics,
    image_with_physics,
    is_physics,
    own_configurations,
    solver_name,
)
from einthoven.studies.provenance import case_checksums, machine, versions
from einthoven.studies.results import Imaging, ImagingResult
from einthoven.studies.saved_operator import operator_checksum, saved_operator
from einthoven.studies.settings import ImagingSettings

#: Entry of `Case.info`: activation is a steepest upstroke, where heart-surface potentials stand for the excitation.
UPSTROKE = ("activation", "upstroke")

#: Activation is searched this far (ms) before and after the QRS complex of the leads.
QRS_MARGIN = 10.0

#: Leads of a shorter recording are not examined.
FEWEST_FRAMES = 20


def image_case(
    case: Case,
    settings: ImagingSettings,
    *,
    case_name: str | None = None,
    folder: Path | None = None,
    built: ForwardOperator | None = None,
    progress: Progress = silent,
) -> ImagingResult:
    """Image a case with every method of the settings.

    Parameters
    ----------
    case
        Geometry, electrodes and recording; its truth, if any, is used for scores (and by the oracle
        rule, which says so).
    settings
        Methods, rule, leads, window, noise.
    case_name
        How the user named the case, for the provenance.
    folder
        Where long trainings keep their checkpoints; None: nowhere.
    built
        The operator of the case's geometry (`einthoven.studies.forward.build_operator`), where it has been built
        before; None to build it, or to take the one of the settings.
    progress
        Told after each method, and about the steps of a training.

    Returns
    -------
    ImagingResult
        Referenced operator and data, one `Imaging` per method, scores against the truth if there is one. Ctrl-C leaves
        out the methods that are not done, and is raised again where none is; a training that it ends keeps its best.

    Raises
    ------
    InputError
        If the case has no recording, or settings do not fit it.
    """
    methods = checked_methods(settings)
    own = own_configurations(methods)
    source = case.source(settings.quantity)
    check_physics(methods, settings, source)
    recording = select_data(case, settings)
    steps = len(methods) + 1
    progress("imaging", 0, steps)
    start = time.perf_counter()
    if built is None:
        saved, wanted = settings.operator, source.quantity
        built = (
            build_operator(case, quantity=wanted)
            if saved is None
            else saved_operator(Path(saved), case, recording, wanted)
        )
    operator = referenced_operator(built, recording)
    operator_seconds = time.perf_counter() - start
    progress("imaging", 1, steps)
    upstroke = case.info.get(UPSTROKE[0]) == UPSTROKE[1]
    truth = scoring_truth(source, recording, upstroke=upstroke)
    images = []
    for count, method in enumerate(methods):
        try:
            images.append(_image(method, settings, (operator, recording), truth, (folder, progress)))
        except KeyboardInterrupt:
            if not images:
                raise
            break
        progress("imaging", count + 2, steps)
        if images[-1].metrics.get("interrupted"):
            break
    return ImagingResult(
        case=case,
        source=source,
        operator=operator,
        recording=recording,
        images=tuple(images),
        truth=truth.potentials,
        truth_activation=truth.activation,
        provenance={
            "case": case_name or case.name,
            "settings": settings.model_dump(exclude_none=True, mode="json"),
            "operator_seconds": operator_seconds,
            "operator_sha256": operator_checksum(built),
            "versions": versions(),
            "machine": machine(),
            "checksums": case_checksums(case),
            "data": dict(case.info),
            **own,
        },
        not_run=tuple(solver_name(method) for method in methods[len(images) :]),
        suspects=suspect_leads(case, recording.sites),
    )


def checked_methods(settings: ImagingSettings) -> tuple[str, ...]:
    """Return the methods, each once; a wrong name of a method or rule is told before any work is done."""
    if not settings.methods:
        raise InputError("methods must name at least one inverse method; got none. Example: --method tikhonov2.")
    if settings.rule != "oracle":
        make_rule(settings.rule, gamma=settings.gamma, sigma=settings.sigma_mv)
    methods = tuple(dict.fromkeys(settings.methods))
    for method in methods:
        check_method(method)
    called = [solver_name(method) for method in methods]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two methods are called {twice!r}, and results go by that name; rename one of the files.")
    return methods


def check_method(method: str) -> None:
    """Raise `InputError` unless there is a method of that name, classical or with cell physics, or such a file."""
    if method in METHODS:
        return
    try:
        make_physics_solver(method, CellPhysics())
    except InputError as problem:
        if method.endswith(".toml"):
            raise
        names = (*METHODS, *configurations())
        close = get_close_matches(method, names, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise InputError(f"unknown method {method!r}; there is {', '.join(names)}.{hint}") from problem


def select_data(case: Case, settings: ImagingSettings) -> Recording:
    """Return the leads and frames to image, in the reference asked for.

    A subset of average-referenced leads is averaged again over the leads that stay: differences between leads, all
    that such a recording holds, do not change.
    """
    if case.recording is None:
        raise InputError(f"{case.name}: the case has no body-surface recording to image; add one to case.toml.")
    recording = case.recording
    names = settings.leads if settings.leads is not None else recording.sites
    unknown = [name for name in settings.exclude if name not in recording.sites]
    if unknown:
        raise InputError(f"{case.name}: cannot exclude {', '.join(unknown)}: the recording has no lead of that name.")
    chosen = [name for name in names if name not in settings.exclude]
    if list(chosen) != list(recording.sites):
        averaged = recording.reference == "average"
        recording = recording.select(chosen)
        if averaged:
            recording = recording.average_referenced()
    if settings.reference is not None:
        recording = rereferenced(recording, settings.reference)
    return recording if settings.window_ms is None else recording.window(*settings.window_ms)


def suspect_leads(case: Case, leads: Sequence[str]) -> tuple[str, ...]:
    """Return one sentence per lead that looks bad in the case's own recording, before it is cut or rereferenced.

    A lead that is only at odds with its neighbors is not named: where electrodes are few or far apart a good one may
    be.

    Parameters
    ----------
    case
        With a recording.
    leads
        Those that are imaged.
    """
    assert case.recording is not None
    own = [name for name in leads if name in case.recording.sites]
    if case.recording.n_times < FEWEST_FRAMES or len(own) < 2:
        return ()
    found = find_bad_leads(case.recording.select(own), case.electrodes)
    sure = [name for name, why in found.reasons.items() if not all(w.startswith("disagrees") for w in why)]
    return tuple(line for name, line in zip(found.bad, found.lines(), strict=True) if name in sure)


def rereferenced(recording: Recording, reference: str) -> Recording:
    """Bring a recording to the reference ``average``, ``wilson``, or an electrode's name."""
    from einthoven.forward.references import lead_system

    if reference == recording.reference:
        return recording
    return replace(lead_system(reference, recording.sites).record(recording), reference=reference)


def referenced_operator(operator: ForwardOperator, recording: Recording) -> ForwardOperator:
    """Bring an operator to the leads and the reference of a recording."""
    from einthoven.forward.references import referenced_to

    if recording.reference == "absolute" and operator.reference != "absolute":
        raise InputError(
            f"{operator.in_quantity} cannot be imaged from leads of absolute reference: a transmembrane operator has "
            "no zero of its own; add --reference average."
        )
    return referenced_to(operator, recording)


@dataclass(frozen=True, eq=False)
class Truth:
    """Measured potentials in the scoring reference and their activation times; both None where there is no truth.

    `upstroke` says how activation shows in potentials of this case, as in `activation_map`.
    """

    reference: str
    upstroke: bool
    potentials: Recording | None = None
    activation: np.ndarray | None = None


def scoring_truth(source: Source, recording: Recording, *, upstroke: bool = False) -> Truth:
    """Return the truth at the recording's frames in the scoring reference.

    Referenced leads cannot see a constant on the heart, and no lead the mean of a transmembrane potential: the mean
    over the nodes is then removed from truth and estimate.
    """
    reference = MEAN_REMOVED if source.quantity == "vm" else scoring_reference(recording)
    if source.truth is None:
        return Truth(reference, upstroke)
    near = np.abs(source.truth.times[:, None] - recording.times).min(axis=1) < 1e-3 * max(recording.dt, 1e-3)
    if near.sum() != recording.n_times:
        raise InputError(
            f"{source.surface.name}: the truth has {int(near.sum())} of the recording's {recording.n_times} frames "
            f"({recording.times[0]:g}..{recording.times[-1]:g} ms); give both the same times, or use --window."
        )
    truth = replace(source.truth, values=source.truth.values[:, near], times=recording.times)
    potentials = truth if reference == ABSOLUTE else remove_mean(truth)
    lat = activation_map(truth, recording, source.surface, upstroke=upstroke)
    return Truth(reference, upstroke, potentials, lat)


def activation_map(
    potentials: Recording, recording: Recording, surface: Surface, *, upstroke: bool = False
) -> np.ndarray:
    """Local activation times (ms) at the potentials' sites, within the QRS complex of the recording.

    The steepest descent of extracellular potentials, the steepest upstroke of transmembrane ones and of all where
    `upstroke` is true.

    Where the potentials cover all nodes of the surface, neighbors help each other
    (`einthoven.signals.spatiotemporal_activation_times`); else every site's steepest descent stands alone.

    Stimulus artifacts and the QRS window come from the leads alone (`einthoven.signals`), so that neither a pacing
    spike nor a steep T wave is taken for activation; where no QRS complex is found, the whole recording is searched.
    """
    from einthoven.signals import activation_times, spatiotemporal_activation_times
    from einthoven.signals.artifacts import bridge_artifacts, stimulus_artifacts

    if upstroke:
        potentials = replace(potentials, quantity="vm")
    spikes = stimulus_artifacts(recording)
    potentials = bridge_artifacts(potentials, spikes)
    window = qrs_window(bridge_artifacts(recording, spikes))
    if set(potentials.sites) != set(surface.node_names):
        return activation_times(potentials, window=window)
    return spatiotemporal_activation_times(potentials.select(surface.node_names), surface, window=window)


def qrs_window(recording: Recording) -> tuple[float, float] | None:
    """QRS complex of the leads with a margin, ms, up to the end of the recording on a side where none is found.

    None where neither its onset nor its offset is found.
    """
    from einthoven.signals.beats import delineate

    try:
        waves = delineate(recording)
    except InputError:
        return None
    if not np.isfinite([waves.qrs_onset, waves.qrs_offset]).any():
        return None
    start = np.fmax(waves.qrs_onset - QRS_MARGIN, recording.times[0])
    return float(start), float(np.fmin(waves.qrs_offset + QRS_MARGIN, recording.times[-1]))


def _noise(settings: ImagingSettings, recording: Recording) -> NoiseCovariance | None:
    if settings.noise_window_ms is None:
        return None
    start, stop = settings.noise_window_ms
    return NoiseCovariance.from_window(recording, start=start, stop=stop)


def _image(
    method: str,
    settings: ImagingSettings,
    prepared: tuple[ForwardOperator, Recording],
    truth: Truth,
    course: tuple[Path | None, Progress],
) -> Imaging:
    """Run one method and score it."""
    operator, recording = prepared
    noise = _noise(settings, recording)
    folder, progress = course
    physics = None
    start = time.perf_counter()
    try:
        if is_physics(method):
            found, physics = image_with_physics(
                method, settings, prepared, noise=noise, folder=folder, progress=progress
            )
        else:
            rule = make_rule(settings.rule, truth=truth.potentials, gamma=settings.gamma, sigma=settings.sigma_mv)
            found = make_solver(method, rule, noise=noise).reconstruct(operator, recording)
    except InputError as problem:
        how = method if is_physics(method) else f"{method} with {settings.rule}"
        raise InputError(f"{how}: {problem}") from problem
    seconds = time.perf_counter() - start
    lat = _activation(found.estimate, recording, operator.source, upstroke=truth.upstroke)
    metrics: dict[str, Any] = {
        "method": found.method,
        "rule": found.rule,
        "lambda": found.weight,
        "reference": truth.reference,
        **_scores(found.estimate, lat, truth, operator),
        "lead_reference": recording.reference,
        "quantity": operator.in_quantity,
        "sees_truth": physics is None and settings.rule == "oracle",
        "residual": float(np.linalg.norm(found.residual.values) / np.linalg.norm(recording.values)),
        "seconds": seconds,
        "n_nodes": operator.n_in,
        "n_leads": recording.n_sites,
        "n_times": recording.n_times,
        **found.diagnostics,
    }
    if physics is not None:
        metrics |= {"accepted": physics.verdict.accepted, "verdict": physics.verdict.reason}
        metrics["interrupted"] = bool(metrics.get("interrupted"))
    return Imaging(found, metrics, lat, physics)


def _activation(
    estimate: Recording, recording: Recording, surface: Surface | None, *, upstroke: bool
) -> np.ndarray | None:
    """Activation times; None without a surface, and where the image stays at rest."""
    from einthoven.signals.coherent import NoActivationError

    if surface is None:
        return None
    try:
        return activation_map(estimate, recording, surface, upstroke=upstroke)
    except NoActivationError:
        return None


def _scores(estimate: Recording, lat: np.ndarray | None, truth: Truth, operator: ForwardOperator) -> dict[str, Any]:
    """Scores of potentials and activation; empty without a truth."""
    if truth.potentials is None:
        return {}
    found: dict[str, Any] = dict(score(estimate, truth.potentials, reference=truth.reference))
    if lat is None or truth.activation is None or operator.source is None:
        return found
    position = {name: i for i, name in enumerate(estimate.sites)}
    nodes = np.array([position[name] for name in truth.potentials.sites])
    timing = activation_error(lat[nodes], truth.activation)
    found["activation_error_ms"] = timing.mean_abs
    found["activation_correlation"] = timing.correlation
    points = operator.source.points[nodes]
    found["localization_error_mm"] = localization_error(lat[nodes], truth.activation, points)
    return found
