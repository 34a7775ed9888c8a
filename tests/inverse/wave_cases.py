"""A sheet with ten electrodes, waves in it and their ECG."""

import numpy as np

from einthoven.core import Electrodes, Recording
from einthoven.eikonal import Eikonal
from einthoven.forward.lead_field import lead_field
from einthoven.inverse.wave_fit import FitPriors, Wave
from einthoven.simulate.action_potentials import ActionPotentials
from einthoven.simulate.eikonal_ecg import EikonalEcg
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.tissue import Grid, Tissue

TIMES = np.arange(0.0, 81.0)
TRUE = Wave(np.array([[9.3, 20.4]]), np.array([6.5]), np.array([0.55, 0.9]), 1.2)
PRIORS = FitPriors(0.001, (0.6, 0.8))


def upstroke() -> ActionPotentials:
    times = np.arange(-10.0, 200.0, 0.5)
    return ActionPotentials(times, (-80 + 100 / (1 + np.exp(-times / 1.5)))[None], np.array([300.0]))


def sheet_model(spacing: float) -> EikonalEcg:
    """36 x 30 mm with a hole, the right half faster; ten electrodes around."""
    shape = (round(36 / spacing), round(30 / spacing))
    grid = Grid(shape, spacing, (spacing / 2, spacing / 2, 0.0))
    x, y = grid.points[:, 0], grid.points[:, 1]
    tissue = Tissue.isotropic(grid, 0.2, ~((abs(x - 20) < 3) & (abs(y - 12) < 5)), thickness=3.0)
    angle = np.arange(10) * 2 * np.pi / 10
    places = np.stack([18 + 26 * np.cos(angle), 15 + 23 * np.sin(angle), 8 + 0 * angle], axis=1)
    leads = lead_field(tissue, Electrodes(tuple(f"E{i}" for i in range(10)), places))
    right = 1 / (1 + np.exp(-(tissue.points[:, 0] - 18) / 1.0))
    model = ReactionEikonal(tissue, leads, upstroke(), TIMES)
    return EikonalEcg(Eikonal.of(tissue), np.stack([1 - right, right]), model, ("left", "right"))


def measured(model: EikonalEcg, wave: Wave, noise: float = 0.0) -> Recording:
    ecg = model.beat(wave.sites, wave.onsets, wave.speeds).ecg
    values = wave.gain * ecg.values + noise * np.random.default_rng(1).standard_normal(ecg.values.shape)
    return ecg.with_values(values)


def start(*sites: tuple[float, float], onsets=0.0) -> Wave:
    places = np.array(sites)
    return Wave(places, np.broadcast_to(onsets, len(places)).astype(float), np.array(PRIORS.speeds))
