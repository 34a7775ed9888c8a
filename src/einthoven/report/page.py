"""The report page: one HTML file that shows an imaging result, offline."""

from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import Recording, Surface
from einthoven.core.recording import QUANTITIES
from einthoven.inverse.physics.training import History
from einthoven.report.encoding import packed, quantized, script_json
from einthoven.report.skin import map_weights
from einthoven.report.template import SHARED, filled, write_page_text
from einthoven.studies.results import Imaging, ImagingResult, PhysicsImaging

#: Samples (sites x frames, all methods) a page holds at most; beyond it only every k-th frame is shown.
MAX_SAMPLES = 6_000_000
#: Fewer leads with a known place than this make no map.
MIN_MAP_LEADS = 8
#: Steps of a training that a page shows at most.
MAX_STEPS = 400
_ASSETS = (*SHARED, "page.js")


def write_page(result: ImagingResult, path: Path) -> Path:
    """Write one self-contained HTML page: maps, electrograms, scores, provenance.

    Needs no server and no network. Arrays are int16 with scale and offset (error below 1e-5 of the
    range). If the result holds more than `MAX_SAMPLES` samples, every k-th frame is shown and the page
    says so.

    Parameters
    ----------
    result
        A case imaged by one or several methods, with or without truth.
    path
        The file; its folder must exist. Written to a temporary file first, then renamed.

    Returns
    -------
    Path
        The file.
    """
    return write_page_text(path, render(result))


def render(result: ImagingResult) -> str:
    """Return the page as text."""
    title, data = f"{result.case.name} - einthoven", script_json(page_data(result))
    return filled("page.html", _ASSETS, title=title, data=data)


def page_data(result: ImagingResult) -> dict[str, Any]:
    """Return what the page shows, as JSON-like data with packed arrays."""
    stride = frame_stride(result)
    times = result.recording.times[::stride]
    centered = _centered(result)
    truth = _truth_on_nodes(result)
    return {
        "case": {"name": result.case.name, "info": dict(result.case.info)},
        "times": packed(times),
        "stride": stride,
        "mean_removed": centered,
        "reference": _score_reference(result),
        "heart": _heart(result),
        "torso": _torso(result),
        "leads": {
            "names": list(result.recording.sites),
            "recorded": quantized(result.recording.values[:, ::stride]),
            "reference": result.recording.reference,
            "quantity": QUANTITIES[result.recording.quantity],
            "suspects": list(result.suspects),
        },
        "methods": [_method(image, truth, centered, stride) for image in result.images],
        "truth": None
        if truth is None
        else {
            "values": quantized(truth[:, ::stride]),
            "activation": _optional(result.truth_activation),
            "simulated": result.case.info.get("origin", "").startswith("generated"),
        },
        "scores": [dict(image.metrics) for image in result.images],
        "provenance": result.provenance,
    }


def frame_stride(result: ImagingResult) -> int:
    """Return k: every k-th frame is kept so that the page holds at most `MAX_SAMPLES` samples."""
    spreads = [image.physics is not None and image.physics.spread is not None for image in result.images]
    n_maps = len(result.images) + sum(spreads) + (result.truth is not None)
    per_frame = result.source.surface.n_points * n_maps + result.recording.n_sites * (len(result.images) + 1)
    return max(1, -(-per_frame * result.recording.n_times // MAX_SAMPLES))


def saw_truth(image: Imaging) -> bool:
    """Whether the weight of this method was chosen with the truth."""
    flagged = [image.metrics.get(key) for key in ("sees_truth", "uses_truth")]
    return image.reconstruction.rule.startswith("oracle") or any(flag is True for flag in flagged)


def _centered(result: ImagingResult) -> bool:
    """Whether maps are shown without their mean, as the scores see them: a constant on the heart is then invisible."""
    return _score_reference(result) != "absolute"


def _score_reference(result: ImagingResult) -> str:
    for image in result.images:
        if "reference" in image.metrics:
            return str(image.metrics["reference"])
    hidden = result.recording.reference != "absolute" or result.source.quantity == "vm"
    return "mean-removed" if hidden else "absolute"


def _truth_on_nodes(result: ImagingResult) -> np.ndarray | None:
    """Truth at every node and frame of the recording; NaN where it was not measured."""
    if result.truth is None:
        return None
    surface, truth = result.source.surface, result.truth
    index = {name: i for i, name in enumerate(surface.node_names)}
    values = np.full((surface.n_points, result.recording.n_times), np.nan)
    frames, columns = _common_frames(result.recording, truth)
    rows = np.array([index[site] for site in truth.sites])
    values[rows[:, None], frames] = truth.values[:, columns]
    return values


def _common_frames(recording: Recording, truth: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the recording and of the truth that were taken at the same time."""
    if recording.n_times == truth.n_times and np.allclose(recording.times, truth.times):
        both = np.arange(recording.n_times)
        return both, both
    nearest = np.abs(recording.times[:, None] - truth.times[None, :]).argmin(axis=1)
    tolerance = 0.5 * (recording.dt if recording.n_times > 1 else 1.0)
    close = np.abs(truth.times[nearest] - recording.times) <= tolerance
    return np.flatnonzero(close), nearest[close]


def _heart(result: ImagingResult) -> dict[str, Any]:
    surface = result.source.surface
    return {
        "name": surface.name,
        "quantity": result.source.quantity,
        "label": QUANTITIES[result.source.quantity],
        "points": packed(surface.points),
        "triangles": packed(surface.triangles),
    }


def _torso(result: ImagingResult) -> dict[str, Any]:
    skin, electrodes = result.case.conductor.skin, result.case.electrodes
    position = {name: i for i, name in enumerate(electrodes.names)}
    index = [position.get(site, -1) for site in result.recording.sites]
    placed = [site for site in result.recording.sites if site in position]
    weights = None
    if result.recording.quantity == "bsp" and len(placed) >= MIN_MAP_LEADS and len(placed) == len(index):
        weights = quantized(map_weights(skin, electrodes.select(placed)))
    return {
        "name": skin.name,
        "points": packed(skin.points),
        "triangles": packed(skin.triangles),
        "electrodes": packed(electrodes.positions),
        "names": list(electrodes.names),
        "lead_electrode": index,
        "weights": weights,
        "frame": result.case.info.get("frame", "LPS" if result.case.name.startswith("phantom") else ""),
        "view": front_view(skin, result.source.surface),
    }


def front_view(skin: Surface, heart: Surface) -> list[float]:
    """Rotation (3 x 3 by rows: right, up, towards the viewer) that looks at the chest.

    Up is the longest extent of the torso, depth its shortest; the chest is the side that the heart is nearer to.
    """
    low, high = skin.points.min(axis=0), skin.points.max(axis=0)
    up, depth = int(np.argmax(high - low)), int(np.argmin(high - low))
    if up == depth:
        up, depth = 2, 1
    middle = (heart.points.min(axis=0) + heart.points.max(axis=0)) / 2 - (low + high) / 2
    axes = np.eye(3)
    towards = axes[depth] * (1.0 if middle[depth] > 0 else -1.0)
    return [float(v) for v in np.concatenate([np.cross(axes[up], towards), axes[up], towards])]


def _method(image: Imaging, truth: np.ndarray | None, centered: bool, stride: int) -> dict[str, Any]:
    found = image.reconstruction
    estimate = found.estimate.values
    if centered:
        seen = slice(None) if truth is None else np.isfinite(truth).any(axis=1)
        estimate = estimate - estimate[seen].mean(axis=0)
    return {
        "name": found.method,
        "rule": found.rule,
        "weight": found.weight,
        "saw_truth": saw_truth(image),
        "values": quantized(estimate[:, ::stride]),
        "residual": quantized(found.residual.values[:, ::stride]),
        "activation": _optional(image.activation),
        "curve": _curve(image),
        "diagnostics": dict(found.diagnostics),
        "physics": None if image.physics is None else _physics(image.physics, stride),
    }


def _physics(physics: PhysicsImaging, stride: int) -> dict[str, Any]:
    """What the page says of an image by cell physics: verdict, training, foci, error bars."""
    spread, gate = physics.spread, physics.gate
    return {
        "accepted": physics.verdict.accepted,
        "verdict": physics.verdict.reason,
        "gate": None if gate is None else {"least": gate.least, "most": gate.most, "tolerance": gate.tolerance},
        "history": None if physics.history is None else thinned(physics.history),
        "foci": [{"place": [float(x) for x in f.position], "onset": float(f.onset)} for f in physics.foci],
        "spread": None if spread is None else quantized(spread.potential.values[:, ::stride]),
        "activation_spread": _optional(physics.activation_spread),
    }


def thinned(history: History) -> dict[str, list[float]]:
    """Course of a training at `MAX_STEPS` steps at most, the first and the last among them, six digits each."""
    n = len(history.cost)
    kept = np.unique(np.linspace(0, n - 1, min(n, MAX_STEPS)).round().astype(int))
    columns = {name: [float(f"{v:.6g}") for v in values[kept]] for name, values in history._asdict().items()}
    return {"step": [float(k + 1) for k in kept], **columns}


def _curve(image: Imaging) -> dict[str, Any] | None:
    curve = image.reconstruction.curve
    if curve is None:
        return None
    return {
        "lambdas": curve.lambdas,
        "residual_norms": curve.residual_norms,
        "seminorms": curve.seminorms,
        "criterion": curve.criterion,
        "chosen": curve.chosen,
        "label": curve.label,
    }


def _optional(values: Any) -> dict[str, Any] | None:
    return None if values is None else packed(np.asarray(values, dtype=np.float64))
