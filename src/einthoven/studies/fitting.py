"""The fit study: from a case to the activations that its ECG allows."""

import json
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from einthoven.core import Case, InputError, Recording
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.eikonal import Eikonal
from einthoven.forward.sampling import SurfaceSampling, surface_sampling
from einthoven.inverse.wave_ensemble import WaveEnsemble, fit_ensemble
from einthoven.inverse.wave_fit import FitPriors
from einthoven.inverse.wave_leads import WaveLeads, in_channels
from einthoven.simulate.action_potentials import ActionPotentials, planar_action_potentials
from einthoven.simulate.eikonal_ecg import EikonalEcg
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.studies.fit_leads import case_lead_errors
from einthoven.studies.fit_output import STARTS
from einthoven.studies.fit_results import FitResult
from einthoven.studies.imaging import activation_map, qrs_window, select_data
from einthoven.studies.muscle import Muscle, case_muscle
from einthoven.studies.provenance import case_checksums, checksum, machine, versions
from einthoven.studies.settings import FitSettings, ImagingSettings

#: More electrodes than that are taken to be where they should: their errors average out, and would be hundreds of
#: unknowns.
MOST_SLIDING = 32

#: Of the planar wave whose upstroke is seen: duration, diffusivity (mm2/ms), spacing (mm) and step (ms).
UPSTROKE = (300.0, 0.154, 0.25, 0.025)


def fit_case(
    case: Case,
    settings: FitSettings,
    *,
    case_name: str | None = None,
    progress: Progress = silent,
    folder: Path | None = None,
) -> FitResult:
    """Fit waves to the ECG of a case.

    Parameters
    ----------
    case
        Geometry, electrodes and recording; its truth, if any, is used for scores only.
    settings
        Leads, window, muscle, priors, starts.
    case_name
        How the user named the case, for the provenance.
    progress
        Told about boundary elements, chains and fits.
    folder
        Where starts that are done are kept (`STARTS`), and found by a run of the same case and settings that was
        interrupted; None: nowhere.

    Raises
    ------
    InputError
        If the case has no recording, no QRS complex is found in it, or settings do not fit the case.
    """
    begun = time.perf_counter()
    recording = fitted_recording(case, settings)
    muscle = case_muscle(case, spacing=settings.spacing, wall=settings.wall, layer=settings.layer)
    prepared = wave_model(case, muscle, recording, settings, progress=progress)
    ensemble = fit_ensemble(
        prepared.model,
        recording,
        FitPriors(settings.noise_mv, prepared.speeds, model_error=settings.model_error),
        leads=prepared.leads,
        n_sites=settings.sites,
        most_sites=settings.most_sites,
        n_starts=settings.starts,
        seed=settings.seed,
        memory=None if folder is None else FileMemory(folder / STARTS, work_key(case, settings)),
        progress=progress,
    )
    truth = truth_activation(case, muscle)
    return FitResult(
        case=case,
        muscle=muscle,
        recording=recording,
        ensemble=ensemble,
        sampling=prepared.sampling,
        layers=prepared.model.layers,
        errors=prepared.leads.names,
        truth_activation=truth,
        metrics={
            **fit_metrics(case_name or case.name, recording, ensemble, prepared),
            **truth_metrics(ensemble, prepared, muscle, truth),
            "seconds": time.perf_counter() - begun,
        },
        provenance={
            "case": case_name or case.name,
            "settings": settings.model_dump(exclude_none=True, mode="json"),
            "notes": list(muscle.notes),
            "versions": versions(),
            "machine": machine(),
            "checksums": case_checksums(case),
            "data": dict(case.info),
        },
    )


def work_key(case: Case, settings: FitSettings) -> str:
    """Checksum of all that decides a fit: geometry, conductivities, recording, settings, version."""
    conductivities = [
        *((region.surface.name, region.conductivity) for region in case.conductor.regions),
        *((source.surface.name, source.intracellular_conductivity) for source in case.sources),
    ]
    names = [case.electrodes.names, case.recording and (case.recording.sites, case.recording.reference)]
    whole = [settings.model_dump(mode="json"), case_checksums(case), conductivities, names, versions()["einthoven"]]
    return checksum(np.frombuffer(json.dumps(whole).encode(), np.uint8))


class WaveModel(NamedTuple):
    """What is fitted to a case.

    Parameters
    ----------
    model
        From sites, onsets and speeds to channels.
    leads
        From channels to leads.
    sampling
        From the muscle's nodes to those of its surface.
    speeds
        Expected, one per layer, mm/ms.
    """

    model: EikonalEcg
    leads: WaveLeads
    sampling: SurfaceSampling
    speeds: tuple[float, ...]


def wave_model(
    case: Case, muscle: Muscle, recording: Recording, settings: FitSettings, *, progress: Progress = silent
) -> WaveModel:
    """Build the model of a case's ECG: eikonal waves in its muscle, seen through its torso."""
    errors = case_lead_errors(
        case,
        muscle,
        recording,
        pose_mm=settings.pose_mm,
        pose_deg=settings.pose_deg,
        electrode_mm=settings.electrode_mm if recording.n_sites <= MOST_SLIDING else 0.0,
        progress=progress,
    )
    channels, leads = in_channels(errors)
    sampling = surface_sampling(muscle.tissue, muscle.surface)
    fast = muscle.tissue.label("endocardium")
    layered = bool((fast > 0).any())
    shares = np.stack([1 - fast, fast]) if layered else np.ones((1, len(fast)))
    reaction = ReactionEikonal(muscle.tissue, channels @ sampling, upstroke(), recording.times)
    model = EikonalEcg(Eikonal.of(muscle.tissue), shares, reaction, ("wall", "endocardium")[: len(shares)])
    return WaveModel(model, leads, sampling, settings.speeds[: len(shares)])


def upstroke() -> ActionPotentials:
    """The action potential of a planar wave of ten Tusscher and Panfilov's 2006 model (10.1152/ajpheart.00109.2006)."""
    from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006

    duration, diffusivity, spacing, dt = UPSTROKE
    return planar_action_potentials(
        lambda _: TenTusscherPanfilov2006(), np.array([duration]), diffusivity=diffusivity, spacing=spacing, dt=dt
    )


def fitted_recording(case: Case, settings: FitSettings) -> Recording:
    """The leads that are fitted, every `step_ms` within the window; without one within the QRS complex."""
    chosen = ImagingSettings(leads=settings.leads, exclude=settings.exclude, reference=settings.reference)
    recording = select_data(case, chosen)
    if recording.n_sites < 3:
        raise InputError(
            f"{case.name}: fitting needs at least 3 leads; got {recording.n_sites}: {some(recording.sites)}."
        )
    window = settings.window_ms or qrs_window(recording)
    if window is None:
        raise InputError(f"{case.name}: no QRS complex was found in the leads; say where it is: --window START:STOP.")
    first, last = float(recording.times[0]), float(recording.times[-1])
    if not first <= window[0] < window[1] <= last:
        raise InputError(
            f"{case.name}: the window {window[0]:g} to {window[1]:g} ms must lie within the recording, {first:g} to "
            f"{last:g} ms."
        )
    step = settings.step_ms
    start = step * np.ceil(window[0] / step - 1e-9)
    times = np.arange(start, window[1] + 1e-9, step)
    if len(times) < 5:
        raise InputError(f"{case.name}: the window holds {len(times)} frames of {step:g} ms; it needs 5 or more.")
    values = np.array([np.interp(times, recording.times, row) for row in recording.values])
    return Recording(values, times, recording.sites, recording.quantity, recording.reference)


def truth_activation(case: Case, muscle: Muscle) -> np.ndarray | None:
    """Activation times of the case's transmembrane truth, if it covers the muscle's surface."""
    for source in case.sources:
        truth, surface = source.truth, source.surface
        if source.quantity != "vm" or surface is not muscle.surface or truth is None or case.recording is None:
            continue
        if set(truth.sites) == set(surface.node_names):
            return activation_map(truth, case.recording, surface)
    return None


def fit_metrics(name: str, recording: Recording, ensemble: WaveEnsemble, prepared: WaveModel) -> dict[str, Any]:
    """Flat numbers of a fit."""
    best = ensemble.best
    fitted, data = best.ecg.values, recording.select(best.ecg.sites).values
    speeds = dict(zip((f"{layer}_speed" for layer in prepared.model.layers), best.wave.speeds, strict=True))
    return {
        "case": name,
        "n_leads": recording.n_sites,
        "n_frames": recording.n_times,
        "start_ms": float(recording.times[0]),
        "stop_ms": float(recording.times[-1]),
        "n_sites": len(best.wave.sites),
        "misfit": best.misfit,
        "correlation": float(np.corrcoef(fitted.reshape(-1), data.reshape(-1))[0, 1]),
        "noise_mv": ensemble.noise,
        "n_effective": ensemble.n_effective,
        "gain": float(best.wave.gain),
        **{key: float(value) for key, value in speeds.items()},
        "spread_ms": float(ensemble.spread.mean()),
        "n_fits": len(ensemble.fits),
        "n_starts": ensemble.n_tried,
    }


def truth_metrics(
    ensemble: WaveEnsemble, prepared: WaveModel, muscle: Muscle, truth: np.ndarray | None
) -> dict[str, Any]:
    """Scores of the activation against the truth on the surface; empty without one."""
    from einthoven.metrics import activation_error

    if truth is None:
        return {}
    known = np.isfinite(truth)
    mean, best, spread = (
        prepared.sampling.apply(values)[known]
        for values in (ensemble.mean, ensemble.best.beat.arrival.times, ensemble.spread)
    )
    scores = activation_error(mean, truth[known])
    wave = ensemble.best.wave
    earliest = muscle.surface.points[int(np.nanargmin(truth))]
    return {
        "activation_error_ms": scores.mean_abs,
        "activation_correlation": scores.correlation,
        "best_activation_error_ms": activation_error(best, truth[known]).mean_abs,
        "within_2_spreads": float((np.abs(mean - truth[known]) <= 2 * spread).mean()),
        "earliest_error_mm": float(np.linalg.norm(wave.sites[int(np.argmin(wave.onsets))] - earliest)),
    }


class FileMemory(MutableMapping[str, Any]):
    """Pieces of work in a file, a line of JSON each, written as they are done.

    Parameters
    ----------
    path
        The file; it and its folder are made when the first piece is put.
    key
        Of the work: what another work has left is not looked at, and is written over.
    """

    def __init__(self, path: Path, key: str):
        self.path, self._key = path, key
        self._pieces: dict[str, Any] = dict(_read_lines(path, key))
        self._ours = bool(self._pieces)

    def __getitem__(self, name: str) -> Any:
        return self._pieces[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def __setitem__(self, name: str, value: Any) -> None:
        self._pieces[name] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps([name, value])
        with self.path.open("a" if self._ours else "w", encoding="utf-8") as file:
            file.write(f"\n{line}" if self._ours else f"{json.dumps({'key': self._key})}\n{line}")
        self._ours = True

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{self.path}: what is done is not taken back")


def _read_lines(path: Path, key: str) -> Iterator[tuple[str, Any]]:
    """What is whole in the file, if it is that of the key."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0] != json.dumps({"key": key}):
        return
    for line in lines[1:]:
        try:
            yield tuple(json.loads(line))
        except ValueError:
            continue  # cut off while it was written
