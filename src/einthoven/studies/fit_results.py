"""`FitResult`: what a fit of waves to an ECG hands to files, tables and pages."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import Case, Recording
from einthoven.forward.sampling import SurfaceSampling
from einthoven.inverse.wave_ensemble import WaveEnsemble
from einthoven.inverse.wave_fit import WaveFit
from einthoven.studies.muscle import Muscle

#: A misfit above which the ECG is not explained.
POOR = 0.4


@dataclass(frozen=True, eq=False)
class FitResult:
    """A case whose ECG was fitted by eikonal waves.

    Parameters
    ----------
    case, muscle
        The case, and its muscle on a grid.
    recording
        The leads and frames that were fitted.
    ensemble
        The activations that the ECG cannot tell apart.
    sampling
        From the nodes of the muscle to those of its surface.
    layers
        Names of the layers with a conduction velocity each.
    errors
        Names of the errors of heart and electrodes that were fitted along.
    truth_activation
        Activation times at the surface, ms, or None; NaN where not measured.
    metrics
        Flat, as written to ``metrics.json``.
    provenance
        What was run: settings, versions, checksums.
    """

    case: Case
    muscle: Muscle
    recording: Recording
    ensemble: WaveEnsemble
    sampling: SurfaceSampling
    layers: tuple[str, ...]
    errors: tuple[str, ...] = ()
    truth_activation: Float[np.ndarray, " n_surface_nodes"] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def at_surface(self, values: Float[np.ndarray, "*k n_nodes"]) -> Float[np.ndarray, "*k n_surface_nodes"]:
        """Values at the muscle's nodes as means around the nodes of its surface; NaN where most have none."""
        known = np.isfinite(values)
        share = (self.sampling.matrix @ known.T.astype(np.float64)).T
        total = (self.sampling.matrix @ np.where(known, values, 0.0).T).T
        return np.divide(total, share, out=np.full(share.shape, np.nan), where=share > 0.5)


def territories(fit: WaveFit) -> Float[np.ndarray, " n_sites"]:
    """Share of the nodes, in percent, to which the wave of each site came first."""
    first = fit.beat.arrival.from_site
    return 100.0 * np.bincount(first[first >= 0], minlength=len(fit.wave.sites)) / len(first)


def site_rows(result: FitResult) -> list[dict[str, Any]]:
    """One row per fit and site: place (mm), onset (ms), territory (%); fits and sites are counted from 1."""
    return [
        {"fit": number, "site": site, "x_mm": x, "y_mm": y, "z_mm": z, "onset_ms": onset, "territory_percent": share}
        for number, fit in enumerate(result.ensemble.fits, 1)
        for site, ((x, y, z), onset, share) in enumerate(
            zip(fit.wave.sites, fit.wave.onsets, territories(fit), strict=True), 1
        )
    ]


def site_spreads(result: FitResult) -> list[dict[str, Any]]:
    """How far every site of the best fit moves over the fits that have as many sites; one row per site.

    Sites of other fits are matched so that the sum of distances to those of the best is least. Empty where no other fit
    has as many sites.
    """
    from scipy.optimize import linear_sum_assignment

    best = result.ensemble.best.wave
    alike = [fit.wave for fit in result.ensemble.fits if len(fit.wave.sites) == len(best.sites)]
    if len(alike) < 2:
        return []
    places, onsets = [], []
    for wave in alike:
        distance = np.linalg.norm(best.sites[:, None] - wave.sites, axis=2)
        order = linear_sum_assignment(distance)[1]
        places.append(wave.sites[order])
        onsets.append(wave.onsets[order])
    place = np.sqrt(np.var(places, axis=0).sum(axis=-1))
    return [
        {"place_spread_mm": float(mm), "onset_spread_ms": float(ms), "n_matched": len(alike)}
        for mm, ms in zip(place, np.std(onsets, axis=0), strict=True)
    ]


def number_rows(result: FitResult) -> list[dict[str, Any]]:
    """One row per number of sites: misfit, BIC, fits that ended there, and whether the best fit has so many."""
    chosen = len(result.ensemble.best.wave.sites)
    return [{**number._asdict(), "chosen": number.n_sites == chosen} for number in result.ensemble.numbers]


def error_rows(result: FitResult, fit: WaveFit) -> list[dict[str, Any]]:
    """Errors of heart and electrodes that a fit assumes, with what was expected of them, in the unit of their name."""
    settings = result.provenance.get("settings", {})
    rows = []
    errors = fit.wave.errors if len(fit.wave.errors) else np.zeros(len(result.errors))
    for name, value in zip(result.errors, errors, strict=True):
        expected = settings.get(_setting_of(name))
        rows.append({"name": name, "value": float(value), "expected": expected or None})
    return rows


def _setting_of(error: str) -> str:
    if not error.startswith("heart "):
        return "electrode_mm"
    return "pose_deg" if error.endswith("(deg)") else "pose_mm"


def assumptions(result: FitResult) -> list[str]:
    """Say what was assumed about the muscle, its conduction, and the geometry."""
    pose = any(name.startswith("heart ") for name in result.errors)
    electrodes = any(not name.startswith("heart ") for name in result.errors)
    found = [*result.muscle.notes, "Conduction is alike in all directions, with one velocity per layer."]
    if not pose:
        found.append("The heart was taken to be where the case has it.")
    if not electrodes:
        found.append("Electrodes were taken to be where the case has them.")
    return found


def sentences(result: FitResult) -> list[str]:
    """Say how sure the activation is, how far from the truth where there is one, and whether the ECG is explained."""
    found = [ensemble_sentence(result)]
    truth, misfit = truth_sentence(result), result.ensemble.best.misfit
    if truth is not None:
        found.append(truth)
    if misfit > POOR:
        found.append(
            f"The best fit leaves {100 * misfit:.0f} % of the ECG: waves in this muscle do not explain it, so that "
            "neither sites nor spread say much about this heart."
        )
    return found


def ensemble_sentence(result: FitResult) -> str:
    """Say how many fits the ECG cannot tell apart, and how sure their activation times are."""
    ensemble = result.ensemble
    n, spread = len(ensemble.fits), float(np.nanmean(ensemble.spread))
    if n == 1:
        alone = ensemble.n_tried == 1
        who = (
            "Only one fit was tried"
            if alone
            else f"One of {ensemble.n_tried} fits explains this ECG better than all others"
        )
        return f"{who}; its activation times are uncertain by {spread:.1f} ms on average (standard deviation)."
    return (
        f"{n} of {ensemble.n_tried} fits cannot be told apart by this ECG; activation times are uncertain by "
        f"{spread:.1f} ms on average (standard deviation between the fits and around each)."
    )


def truth_sentence(result: FitResult) -> str | None:
    """Say how far the activation is from the truth, and whether the spread tells so; None without a truth."""
    metrics = result.metrics
    if "activation_error_ms" not in metrics:
        return None
    text = f"Against the truth the mean of the fits is off by {metrics['activation_error_ms']:.1f} ms"
    if "best_activation_error_ms" in metrics:
        text += f", the best fit by {metrics['best_activation_error_ms']:.1f} ms"
    text += " (mean absolute error)"
    if "within_2_spreads" in metrics:
        text += (
            f"; {100 * metrics['within_2_spreads']:.0f} % of the nodes are within two standard deviations, of 95 % if "
            "the spread were all of the error"
        )
    return text + "."
