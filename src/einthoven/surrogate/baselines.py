"""What a learned ECG has to beat: every baseline takes a sheet and gives its ECG.

Those that look at the movie predict the ECG at its frames, those that look at the tissue at the ECG's own samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import Electrodes, Recording
from einthoven.eikonal import Eikonal
from einthoven.eikonal.conduction import Conduction
from einthoven.forward.lead_field import lead_field
from einthoven.ionic.registry import model
from einthoven.simulate.action_potentials import ActionPotentials, planar_action_potentials
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.surrogate.lead_field_net import MovieEcg
from einthoven.surrogate.pixel_lead_fields import true_lead_field
from einthoven.surrogate.sheets import STIMULUS_AMPLITUDE, STIMULUS_RADIUS, SheetData
from einthoven.tissue import Grid, Tissue

#: How long coupling evens out repolarization, ms, fitted once per membrane to the true activation times of training
#: sheets; other cells are taken to repolarize a fixed time after their activation (0).
TAUS = {"fenton-karma-1998-atrial": 175.0, "mitchell-schaeffer-2003": 0.0}

#: Above rest, where a cell counts as active, mV.
ACTIVE = 45.0


def no_learning(sheet: SheetData, pixel: float, membrane: str) -> Float[np.ndarray, "k t"]:
    """Predict from the movie alone: holes from the largest potential, D from the conduction velocity, a lead field."""
    return MovieEcg(None, Conduction.of(membrane), pixel, sheet.spacing).predict(sheet)


def eikonal(sheet: SheetData, membrane: str, *, tau: float | None = None) -> Float[np.ndarray, "k s"]:
    """Predict from the tissue alone, without a simulation: arrival times, one action potential, the exact lead field.

    Parameters
    ----------
    sheet
        Its tissue, stimuli and electrodes are looked at.
    membrane
        Of the cells.
    tau
        How long coupling evens out repolarization, ms; 0: every cell has the same duration; None: that of `TAUS`.
    """
    return of_sheet(sheet, eikonal_times(sheet, membrane), membrane, tau=tau)


def eikonal_times(sheet: SheetData, membrane: str) -> Float[np.ndarray, " n_nodes"]:
    """Arrival times at the nodes of the tissue, ms, NaN where no wave comes.

    A stimulus makes a disk active at once; outside of it the wave runs as if it had begun at its center that much
    earlier.
    """
    tissue = sheet.tissue()
    v = Conduction.of(membrane).squared_speed(tissue)
    places, begins = front_start(tissue, v, sheet.sites, sheet.onsets)
    times = Eikonal.of(tissue, order=2).solve(v, places, begins).times
    return np.maximum(times, started(tissue, sheet.sites, sheet.onsets))


def front_start(
    tissue: Tissue,
    squared_speed: Float[np.ndarray, "..."],
    sites: Float[np.ndarray, "k d"],
    onsets: Float[np.ndarray, " k"],
) -> tuple[Float[np.ndarray, "w d"], Float[np.ndarray, " w"]]:
    """Where and when waves begin that leave the stimulated disks as those of the stimuli do: mm and ms.

    Holes may cut a disk in parts that are not connected within it: a wave begins in each, at the node nearest to the
    center, as much earlier as it takes from there to the disk's edge.
    """
    own, onset, ahead = [], [], []
    for site, begin in zip(sites, onsets, strict=True):
        away = np.linalg.norm(tissue.coordinates - site, axis=1)
        nearest = int(np.argmin(away))
        inside = away <= STIMULUS_RADIUS
        parts = _parts(tissue, inside)
        others = {int(np.argmin(np.where(parts == k, away, np.inf))) for k in range(1, parts.max() + 1)}
        for node in [nearest, *sorted(others - {nearest, int(np.argmin(np.where(inside, away, np.inf)))})]:
            own.append(node)
            onset.append(begin)
            ahead.append(STIMULUS_RADIUS - (away[node] if node != nearest else 0.0))
    v = (
        squared_speed[own]
        if squared_speed.ndim in (1, 3)
        else np.broadcast_to(squared_speed, (len(own), *squared_speed.shape))
    )
    speed = np.sqrt(v) if v.ndim == 1 else np.linalg.det(v) ** (0.5 / v.shape[1])
    return tissue.coordinates[own], np.asarray(onset) + ACTIVE / STIMULUS_AMPLITUDE - np.asarray(ahead) / speed


def _parts(tissue: Tissue, inside: Bool[np.ndarray, " n_nodes"]) -> Int[np.ndarray, " n_nodes"]:
    """Number, from 1 on, of the connected part of some nodes of a grid that each of them belongs to; 0 for others."""
    from scipy.ndimage import label

    chosen = np.zeros(tissue.n_points, dtype=bool)
    chosen[tissue.nodes] = inside
    parts = np.zeros(tissue.shape, dtype=np.int32)
    label(chosen.reshape(tissue.shape), output=parts)
    return tissue.take(parts)


def started(
    tissue: Tissue, sites: Float[np.ndarray, "k d"], onsets: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " n_nodes"]:
    """When the stimulus itself makes a node active, ms; minus infinity outside of the disks.

    Where disks overlap the earlier one counts.
    """
    out = np.full(tissue.n_nodes, np.inf)
    for site, onset in zip(sites, onsets, strict=True):
        inside = np.linalg.norm(tissue.coordinates - site, axis=1) <= STIMULUS_RADIUS
        out[inside] = np.minimum(out[inside], onset + ACTIVE / STIMULUS_AMPLITUDE)
    return np.where(np.isfinite(out), out, -np.inf)


def ecg_of_times(
    tissue: Tissue,
    electrodes: Electrodes,
    times: Float[np.ndarray, " n_nodes"],
    samples: Float[np.ndarray, " s"],
    membrane: str,
    *,
    tau: float | None = None,
) -> Recording:
    """ECG of activation times by the exact lead field.

    Parameters
    ----------
    tissue
        A sheet or slab on a grid.
    electrodes
        In an infinite medium.
    times
        Activation of the nodes, ms, NaN where no wave comes.
    samples
        Of the ECG, ms.
    membrane
        Of the cells.
    tau
        How long coupling evens out repolarization, ms; None: that of `TAUS`.
    """
    assert isinstance(tissue.domain, Grid)
    shape = action_potential(membrane, tissue.domain.spacing)
    tau = TAUS.get(membrane, 0.0) if tau is None else tau
    return ReactionEikonal(tissue, lead_field(tissue, electrodes), shape, samples, tau=tau).ecg(times)


def of_sheet(
    sheet: SheetData, times: Float[np.ndarray, " n_nodes"], membrane: str, *, tau: float | None = None
) -> Float[np.ndarray, "k s"]:
    """ECG of activation times on a sheet, mV."""
    samples = np.asarray(sheet.ecg_times, dtype=np.float64)
    return ecg_of_times(sheet.tissue(), sheet.electrode_set(), times, samples, membrane, tau=tau).values


@lru_cache(maxsize=4)
def action_potential(membrane: str, spacing: float) -> ActionPotentials:
    """The action potential of a planar wave at D = 0.1 mm2/ms."""
    cells = model(membrane)
    return planar_action_potentials(
        lambda durations: cells, [0.0], diffusivity=0.1, spacing=spacing, dt=min(0.05, 0.8 * spacing**2 / 0.4)
    )


@dataclass(frozen=True, eq=False)
class FrameRidge:
    """Ridge regression from a frame's pixels to the fixed electrodes: one linear map for all sheets.

    Parameters
    ----------
    weights
        Shape (k, m * m).
    pixel
        mm.
    penalty
        Chosen on the validation sheets.
    """

    weights: Float[np.ndarray, "k p"]
    pixel: float
    penalty: float

    @classmethod
    def fit(cls, training: Any, validation: Any, *, pixel: float, n_electrodes: int) -> "FrameRidge":
        """Fit to sheets; of seven penalties the one with the least error on the validation sheets.

        Parameters
        ----------
        training, validation
            Iterables of `SheetData`.
        pixel
            Of the frames, mm.
        n_electrodes
            The first so many electrodes, at the same places in all sheets.
        """
        gram, moment = 0.0, 0.0
        for sheet in training:
            frames, y = cls._arrays(sheet, pixel, n_electrodes)
            gram, moment = gram + frames @ frames.T, moment + y @ frames.T
        gram, moment = np.asarray(gram), np.asarray(moment)
        held = [cls._arrays(sheet, pixel, n_electrodes) for sheet in validation]
        size = np.trace(gram) / len(gram)
        tried = []
        for share in 10.0 ** np.arange(-6, 1):
            w = np.linalg.solve(gram + share * size * np.eye(len(gram)), moment.T).T
            tried.append((sum(float(((w @ f - y) ** 2).sum()) for f, y in held), share * size, w))
        _, penalty, weights = min(tried, key=lambda t: t[0])
        return cls(weights, pixel, float(penalty))

    @staticmethod
    def _arrays(sheet: SheetData, pixel: float, n_electrodes: int) -> tuple[np.ndarray, np.ndarray]:
        movie = sheet.coarser(pixel)
        return movie.reshape(len(movie), -1).T.astype(np.float64), sheet.ecg_of_frames[:n_electrodes]

    def predict(self, sheet: SheetData) -> Float[np.ndarray, "k t"]:
        """ECG of the fixed electrodes at the movie's frames, mV."""
        movie = sheet.coarser(self.pixel)
        return self.weights @ movie.reshape(len(movie), -1).T.astype(np.float64)


def movie_baselines(membrane: str, pixel: float) -> Mapping[str, Callable[[SheetData], np.ndarray]]:
    """Baselines that look at the movie, by name."""
    return {
        f"true lead field, {pixel:g} mm": lambda s: true_lead_field(s, pixel, extrapolated=False),
        f"true lead field, {pixel:g} mm, border extrapolated": lambda s: true_lead_field(s, pixel),
        f"no learning, {pixel:g} mm": lambda s: no_learning(s, pixel, membrane),
    }


def tissue_baselines(membrane: str) -> Mapping[str, Callable[[SheetData], np.ndarray]]:
    """Baselines that look at the tissue, by name."""
    return {
        "eikonal, constant duration": lambda s: eikonal(s, membrane, tau=0.0),
        "eikonal, modelled duration": lambda s: eikonal(s, membrane),
        "true activation, modelled duration": lambda s: of_sheet(s, s.tissue().take(s.activation), membrane),
    }
