"""The report page of a fit: activation maps of all fits that the ECG cannot tell apart, and the ECG itself."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import Case, Recording
from einthoven.core.recording import QUANTITIES
from einthoven.inverse.wave_fit import WaveFit
from einthoven.report.encoding import packed, quantized, script_json
from einthoven.report.page import front_view
from einthoven.report.template import SHARED, filled, write_page_text
from einthoven.studies.fit_results import (
    FitResult,
    assumptions,
    error_rows,
    number_rows,
    sentences,
    site_spreads,
    territories,
)

#: Fits of the ensemble that can be looked at one by one, the best ones.
MAX_FITS = 40
#: Values (fits x nodes) of all maps at most.
MAX_MAP_VALUES = 1_000_000
#: Samples (leads x frames, all fits) at most; beyond it only every k-th frame is shown.
MAX_SAMPLES = 1_500_000
#: Leads shown at first where there are more than `MANY_LEADS`: far from each other on the skin.
SPREAD_LEADS, MANY_LEADS = 18, 24
_ASSETS = (*SHARED, "fit.css", "fit.js")


def write_fit_page(result: FitResult, path: Path) -> Path:
    """Write one self-contained HTML page: maps, early sites, fitted leads, what was assumed, provenance.

    Needs no server and no network. Mean, spread and band are over all fits of the ensemble; the best of them, as many
    as there is room for, can be looked at one by one.

    Parameters
    ----------
    result
        As returned by `einthoven.studies.fitting.fit_case`.
    path
        The file; its folder must exist. Written to a temporary file first, then renamed.

    Returns
    -------
    Path
        The file.
    """
    title, data = f"{result.case.name}: fitted waves - einthoven", script_json(fit_page_data(result))
    return write_page_text(path, filled("fit.html", _ASSETS, title=title, data=data))


def fit_page_data(result: FitResult) -> dict[str, Any]:
    """Return what the page shows, as JSON-like data with packed arrays."""
    fits = result.ensemble.fits[: shown_fits(result)]
    stride = frame_stride(result, len(fits))
    return {
        "case": {"name": result.case.name, "info": dict(result.case.info)},
        "heart": _heart(result),
        "maps": _maps(result, fits),
        "times": packed(result.recording.times[::stride]),
        "stride": stride,
        "leads": _leads(result, fits, stride),
        "layers": list(result.layers),
        "fits": [_fit(result, fit) for fit in fits],
        "n_fits": len(result.ensemble.fits),
        "n_tried": result.ensemble.n_tried,
        "site_spreads": site_spreads(result),
        "numbers": number_rows(result),
        "noise": result.ensemble.noise,
        "left_over": float(np.sqrt(np.mean(_rest(result) ** 2))),
        "metrics": dict(result.metrics),
        "sentences": sentences(result),
        "notes": assumptions(result),
        "simulated": result.case.info.get("origin", "").startswith("generated"),
        "provenance": result.provenance,
    }


def shown_fits(result: FitResult) -> int:
    """How many fits can be looked at one by one."""
    room = MAX_MAP_VALUES // result.muscle.surface.n_points
    return max(1, min(len(result.ensemble.fits), MAX_FITS, room))


def frame_stride(result: FitResult, n_fits: int) -> int:
    """Return k: every k-th frame is kept so that the page holds at most `MAX_SAMPLES` samples."""
    recording = result.recording
    return max(1, -(-recording.n_sites * recording.n_times * (n_fits + 3) // MAX_SAMPLES))


def _rest(result: FitResult) -> Float[np.ndarray, "n_leads n_times"]:
    """What the best fit leaves of the recording, mV."""
    return result.recording.values - result.ensemble.best.ecg.select(result.recording.sites).values


def _heart(result: FitResult) -> dict[str, Any]:
    surface, info = result.muscle.surface, result.case.info
    return {
        "name": surface.name,
        "points": packed(surface.points),
        "triangles": packed(surface.triangles),
        "frame": info.get("frame", "LPS" if result.case.name.startswith("phantom") else ""),
        "view": front_view(result.case.conductor.skin, surface),
        "n_nodes": result.muscle.tissue.n_nodes,
    }


def _maps(result: FitResult, fits: tuple[WaveFit, ...]) -> dict[str, Any]:
    """Maps at the surface, ms: of the fits shown, and over all of them."""
    ensemble, truth = result.ensemble, result.truth_activation
    return {
        "fits": quantized(result.at_surface(np.array([fit.beat.arrival.times for fit in fits]))),
        "mean": quantized(result.at_surface(ensemble.mean)),
        "spread": quantized(result.at_surface(ensemble.spread)),
        "truth": None if truth is None else quantized(truth),
    }


def _leads(result: FitResult, fits: tuple[WaveFit, ...], stride: int) -> dict[str, Any]:
    """Recorded and fitted leads, mV, and the band that holds all fits."""
    recording = result.recording
    every = [fit.ecg.select(recording.sites).values for fit in result.ensemble.fits]
    low, high = np.min(every, axis=0), np.max(every, axis=0)
    shown = np.concatenate(every[: len(fits)])
    return {
        "names": list(recording.sites),
        "recorded": quantized(recording.values[:, ::stride]),
        "fitted": quantized(shown[:, ::stride]),
        "low": quantized(low[:, ::stride]),
        "high": quantized(high[:, ::stride]),
        "reference": recording.reference,
        "quantity": QUANTITIES[recording.quantity],
        "first": leads_apart(result.case, recording).tolist(),
    }


def leads_apart(case: Case, recording: Recording) -> Int[np.ndarray, " n"]:
    """Leads to be shown first, in their own order: all, or of many those far from each other on the skin."""
    if recording.n_sites <= MANY_LEADS:
        return np.arange(recording.n_sites)
    position = {name: place for name, place in zip(case.electrodes.names, case.electrodes.positions, strict=True)}
    if any(site not in position for site in recording.sites):
        return np.unique(np.linspace(0, recording.n_sites - 1, SPREAD_LEADS).round().astype(int))
    return np.sort(_apart(np.array([position[site] for site in recording.sites]), recording.values, SPREAD_LEADS))


def _apart(
    places: Float[np.ndarray, "n 3"], values: Float[np.ndarray, "n n_times"], count: int
) -> Int[np.ndarray, " count"]:
    """Begin with the largest lead, then always take the one farthest from all before."""
    chosen = [int(np.linalg.norm(values, axis=1).argmax())]
    distance = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return np.array(chosen)


def _fit(result: FitResult, fit: WaveFit) -> dict[str, Any]:
    wave = fit.wave
    return {
        "cost": fit.cost,
        "misfit": fit.misfit,
        "converged": fit.converged,
        "sites": wave.sites.tolist(),
        "onsets": wave.onsets.tolist(),
        "territories": territories(fit).tolist(),
        "speeds": np.asarray(wave.speeds).tolist(),
        "gain": wave.gain,
        "errors": error_rows(result, fit),
    }
