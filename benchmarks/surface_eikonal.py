"""Waves on the phantom's closed ventricular surface by the eikonal equation, beside the same by cell physics.

    python benchmarks/surface_eikonal.py --out out/bench [--smoke]

Aliev-Panfilov cells as in the case ``phantom-surface``, from four single sites and two at once. The eikonal has
the speed of a plane front on this mesh and one action potential, that of a plane wave: nothing is fitted to the waves.
Told are the error of the activation times (50 mV above rest, outside of the stimulated patches), what is left of it
without its mean, and if a front of radius r is slower by D / r, r as on a flat disk (a correction that the tables of
plane waves do not have); and R2 of 120 electrodes on the skin, over all frames and over the activation alone, from the
uncorrected times. Prints and writes ``surface_eikonal.json`` and
``surface_eikonal.md``.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _tables import written

from einthoven.core import Recording
from einthoven.datasets.phantom import LEFT, RIGHT, Phantom
from einthoven.eikonal import Eikonal
from einthoven.forward.bem import transfer
from einthoven.geometry import edge_lengths
from einthoven.inverse.physics.waves import ROWS, excitation, imaging_cells, slowness
from einthoven.simulate.action_potentials import planar_action_potentials
from einthoven.studies.phantom_beat import FINE, EarlySite
from einthoven.studies.phantom_surface import FOCUS, SurfaceBeat, patch_around
from einthoven.tissue import Tissue

#: Where the waves start.
STARTS = {
    "left free wall": (EarlySite(LEFT, 1.0, 0.5, 150.0, 0.0),),
    "left apex": (EarlySite(LEFT, 1.0, 0.1, 60.0, 0.0),),
    "right free wall": (EarlySite(RIGHT, 1.0, 0.5, 0.0, 0.0),),
    "left endocardium": (EarlySite(LEFT, 0.0, 0.6, -60.0, 0.0),),
    "two sites": (EarlySite(LEFT, 1.0, 0.3, 120.0, 0.0), EarlySite(RIGHT, 1.0, 0.7, 20.0, 30.0)),
}

#: Above rest, where a node counts as active, mV; by when a stimulus of 20 mV/ms has brought it there, ms.
ACTIVE, AT_ONCE = 50.0, 2.5


def front_speed(surface, diffusivity: float) -> float:
    """Speed of a plane front on a mesh, mm/ms."""
    cells = excitation(imaging_cells())
    logs, shares = slowness(round(cells.threshold / cells.peak, 4))
    rho = cells.spread(diffusivity) / (ROWS * float(edge_lengths(surface).mean())) ** 2
    return cells.speed(diffusivity) * float(np.interp(np.log(rho), logs, shares))


def crossing(potentials: np.ndarray, times: np.ndarray) -> np.ndarray:
    """First upward crossing of `ACTIVE`, linear between frames, ms; NaN where there is none."""
    above = potentials - ACTIVE
    rises = (above[:, :-1] < 0) & (above[:, 1:] >= 0)
    k = rises.argmax(axis=1)
    low, high = (np.take_along_axis(above, (k + i)[:, None], axis=1)[:, 0] for i in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = low / (low - high)
    return np.where(rises.any(axis=1), times[k] + share * (times[k + 1] - times[k]), np.nan)


def r2(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per electrode."""
    return 1 - ((found - truth) ** 2).sum(axis=1) / ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)


def compared(name: str, beat: SurfaceBeat, phantom: Phantom, operator, shape) -> dict:
    """One wave both ways."""
    surface, tissue = phantom.heart, Tissue.isotropic(phantom.heart, beat.diffusivity)
    begun = time.perf_counter()
    vm = beat(surface)
    simulated, begun = time.perf_counter() - begun, time.perf_counter()
    above = vm.values - vm.values[:, :1].min()
    patches = [patch_around(beat.ventricles, surface, site, FOCUS) for site in beat.sites]
    nodes = np.concatenate(patches)
    onsets = np.concatenate([np.full(len(p), s.time + AT_ONCE) for p, s in zip(patches, beat.sites, strict=True)])
    speed = front_speed(surface, beat.diffusivity)
    squared = np.full(tissue.n_nodes, speed**2)
    arrival = Eikonal.of(tissue).solve(squared, surface.points[nodes], onsets).times
    made = np.stack([np.interp(vm.times - t, shape.times, shape.values[0] - shape.values[0, 0]) for t in arrival])
    ecg = operator.record(Recording(made, vm.times, surface.node_names, "hsp")).values
    took = time.perf_counter() - begun
    truth = operator.record(Recording(above, vm.times, surface.node_names, "hsp")).values
    active = crossing(above, vm.times)
    outside = np.setdiff1d(np.arange(tissue.n_nodes), nodes)
    late = (arrival - active)[outside]
    radius = FOCUS + speed * np.maximum(arrival - min(onsets), 0.0)
    wide = beat.diffusivity / speed
    slowed = arrival + wide / speed * np.log((radius - wide) / (FOCUS - wide))
    during = vm.times <= np.nanmax(active) + 8.0
    return {
        "start": name,
        "nodes": tissue.n_nodes,
        "last activation ms": float(np.nanmax(active)),
        "error ms, mean": float(np.nanmean(np.abs(late))),
        "late ms": float(np.nanmean(late)),
        "error ms without that": float(np.nanmean(np.abs(late - np.nanmean(late)))),
        "error ms, flat disk": float(np.nanmean(np.abs((slowed - active)[outside]))),
        "R2": float(r2(ecg, truth).mean()),
        "R2, 5 %": float(np.quantile(r2(ecg, truth), 0.05)),
        "R2 of activation": float(r2(ecg[:, during], truth[:, during]).mean()),
        "eikonal s": took,
        "cell physics s": simulated,
    }


def main(out: Path, smoke: bool) -> dict:
    """Run all waves."""
    phantom = Phantom() if smoke else Phantom(FINE)
    starts = dict(list(STARTS.items())[:1]) if smoke else STARTS
    operator = transfer(phantom.heart, phantom.conductor, phantom.electrodes(120))
    beat, cells = SurfaceBeat(), imaging_cells()
    edge = float(edge_lengths(phantom.heart).mean())
    plane = {"diffusivity": beat.diffusivity, "spacing": edge, "dt": 0.05, "length": 1200.0}
    shape = planar_action_potentials(lambda durations: cells, [0.0], **plane)
    rows = [compared(name, replace(beat, sites=sites), phantom, operator, shape) for name, sites in starts.items()]
    return written(out, "surface_eikonal", "Waves on a closed heart surface: eikonal and cell physics", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    main(options.out, options.smoke)
