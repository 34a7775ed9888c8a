"""Early sites, onsets and conduction velocities from an ECG: least squares through the eikonal equation.

    minimize  |g A(theta, q) - y|^2 / (2 sigma^2) + |log(c / c_0)|^2 / (2 s_c^2) + (log g)^2 / (2 s_g^2)
              + sum_j (q_j / s_j)^2 / 2

over sites, onsets and log speeds c, the gain g of the leads and errors q of the geometry (`WaveLeads`); A(theta, q)
are the leads of an `einthoven.simulate.eikonal_ecg.EikonalEcg`. The Jacobian is exact for the discrete model, so that
some twenty steps of Levenberg and Marquardt do what gradient descent (as in Grandits et al. 2023, arXiv 2308.08410)
needs hundreds for. The cost has many local minima: a start decides which one is found. One focus is found from a scan
of candidates, several by `einthoven.inverse.wave_ensemble`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.core.sites import match_names
from einthoven.geometry.distance import farthest_points
from einthoven.inverse.wave_leads import WaveLeads
from einthoven.simulate.eikonal_ecg import Beat, EikonalEcg

#: What one step of a parameter is worth beside the others: mm, ms, log speed, log gain.
_SCALES = (4.0, 4.0, 0.15, 0.15)

#: Longest steps: mm, ms, log speed or gain.
_LONGEST = (12.0, 12.0, 0.4)

#: Speeds stay within, mm/ms.
_SPEEDS = (0.01, 9.9)

#: Damping: first (share of the largest curvature), after a bad and after a good step; bad steps before giving up.
_DAMPING, _RAISED, _LOWERED, _TRIALS = 1e-2, 4.0, 1 / 3, 8


class Wave(NamedTuple):
    """What is fitted.

    Parameters
    ----------
    sites
        Shape (n_sites, d), mm.
    onsets
        Shape (n_sites,), ms.
    speeds
        Conduction velocity of each layer, mm/ms.
    gain
        Of the leads: measured over modelled.
    errors
        Of the geometry, in the units of `WaveLeads.names`; none: all 0.
    """

    sites: Float[np.ndarray, "n_sites d"]
    onsets: Float[np.ndarray, " n_sites"]
    speeds: Float[np.ndarray, " n_layers"]
    gain: float = 1.0
    errors: Float[np.ndarray, " n_errors"] = np.zeros(0)


@dataclass(frozen=True)
class FitPriors:
    """What is known beforehand.

    Parameters
    ----------
    noise
        Standard deviation of the leads about the model, mV: noise and model error together.
    speeds
        Expected conduction velocity of each layer, mm/ms.
    speeds_spread, gain_spread
        Standard deviation of the logarithms of speeds and gain.
    model_error
        Error of the model as a share of the ECG; for the number of sites and the spread of an ensemble only. 0.14: fits
        of one focus leave 16 % of beats of the monodomain equation, and 8 % of beats of the eikonal equation on
        another grid (``benchmarks/wave_fit.py``, 12 leads).
    """

    noise: float
    speeds: tuple[float, ...]
    speeds_spread: float = 0.25
    gain_spread: float = 0.3
    model_error: float = 0.14

    def __post_init__(self):
        if not 0 <= self.model_error <= 1:
            raise InputError(
                f"fit: the error of the model must be a share of the ECG, 0 to 1; got {self.model_error:g}."
            )
        numbers = (self.noise, self.speeds_spread, self.gain_spread, *self.speeds)
        if not self.speeds or not all(0 < x < np.inf for x in numbers):
            raise InputError(
                "fit: noise (mV), expected speeds (mm/ms) and both spreads must be positive and finite; got "
                f"{self.noise:g}, {self.speeds}, {self.speeds_spread:g}, {self.gain_spread:g}."
            )


class WaveFit(NamedTuple):
    """A local minimum.

    Parameters
    ----------
    wave
        The parameters.
    beat
        Their activation and channels (without gain and errors).
    ecg
        The leads, with gain and errors.
    cost
        What was minimized.
    misfit
        |g A - y| / |y|.
    evaluations
        Solutions of the eikonal equation that it took.
    converged
        Whether the cost stopped falling before the evaluations were used up.
    curvature
        J^T J of the scaled residual at the end, by sites (mm), onsets (ms), log speeds, log gain and errors: its
        inverse is the Laplace approximation of their covariance.
    """

    wave: Wave
    beat: Beat
    ecg: Recording
    cost: float
    misfit: float
    evaluations: int
    converged: bool
    curvature: Float[np.ndarray, "p p"]


def fit_wave(
    model: EikonalEcg,
    ecg: Recording,
    start: Wave,
    priors: FitPriors,
    *,
    leads: WaveLeads | None = None,
    evaluations: int = 60,
    tolerance: float = 1e-4,
) -> WaveFit:
    """Follow the least squares down from a start.

    Parameters
    ----------
    model
        Its times must be those of the ECG.
    ecg
        Measured lead potentials, mV, at the model's times.
    start
        Sites outside of the tissue are moved to its nearest node, at every step.
    priors
        Noise, expected speeds and their spread.
    leads
        From the model's channels to leads, which must be among those of the ECG; None: they are the channels.
    evaluations
        At most.
    tolerance
        Twice in a row the cost must fall by less than this share of itself.

    Raises
    ------
    InputError
        If leads or times do not agree, and for a start of wrong shape.
    """
    problem = _Problem.of(model, ecg, start, priors, leads)
    state = problem.state(problem.inside(problem.with_errors(start)))
    jacobian = problem.jacobian(state)
    damping, used, quiet = _DAMPING * float((jacobian**2).sum(axis=0).max()), 1, 0
    while quiet < 2 and used < evaluations:
        moved, damping, tried = _stepped(problem, state, jacobian, damping, evaluations - used)
        used += tried
        if moved is None:
            quiet = 2
            break
        quiet = quiet + 1 if state.cost - moved.cost < tolerance * state.cost else 0
        state, jacobian = moved, problem.jacobian(moved)
    plain = jacobian / problem.scales
    misfit = np.linalg.norm(state.ecg.values - problem.data) / np.linalg.norm(problem.data)
    return WaveFit(
        state.wave, state.beat, state.ecg, state.cost, float(misfit), used, quiet >= 2, plain.T @ plain
    )  # fmt: skip


def locate_focus(
    model: EikonalEcg,
    ecg: Recording,
    priors: FitPriors,
    *,
    n_candidates: int = 150,
    n_starts: int = 3,
    progress: Progress = silent,
) -> list[WaveFit]:
    """Fits from one site, the best first: every candidate is tried as it is, and from the best of them fits start.

    Parameters
    ----------
    model, ecg, priors
        As in `fit_wave`.
    n_candidates
        Nodes spread evenly over the tissue; each is tried at every onset in the first half of the ECG, with expected
        speeds and gain 1.
    n_starts
        How many fits, from candidates at least a fifth of the tissue's size apart.
    progress
        Told about candidates and fits.
    """
    candidates = spread_nodes(model.wave.points, n_candidates)
    expected = np.asarray(priors.speeds, dtype=np.float64)
    first = Wave(candidates[:1], np.zeros(1), expected)
    problem = _Problem.of(model, ecg, first, priors, None)
    medium = model.wave.medium(model.squared_speed(expected))
    found: list[tuple[float, float]] = []
    for i, place in enumerate(candidates):
        progress("candidates", i, len(candidates))
        found.append(problem.best_onset(model.wave.solve(medium, place[None], problem.times[0]).times))
    progress("candidates", len(candidates), len(candidates))
    fits = []
    starts = list(_apart(candidates, [cost for cost, _ in found], n_starts))
    for k, i in enumerate(starts):
        progress("fits", k, len(starts))
        fits.append(fit_wave(model, ecg, Wave(candidates[i : i + 1], np.array([found[i][1]]), expected), priors))
    progress("fits", len(starts), len(starts))
    return sorted(fits, key=lambda fit: fit.cost)


def spread_nodes(points: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "m d"]:
    """Pick points far from each other: the first one, then always the one farthest from all before."""
    if count < 1:
        raise InputError(f"fit: the number of candidates must be 1 or more; got {count}.")
    return points[farthest_points(points, min(count, len(points)))]


def _apart(points: Float[np.ndarray, "n d"], costs: Any, count: int) -> Iterator[int]:
    """Numbers of the best points that are far from each other."""
    limit, taken = 0.2 * float(np.linalg.norm(np.ptp(points, axis=0))), []
    for i in np.argsort(costs):
        if len(taken) == count:
            return
        if all(np.linalg.norm(points[i] - points[j]) > limit for j in taken):
            taken.append(i)
            yield int(i)


class _State(NamedTuple):
    wave: Wave
    beat: Beat
    ecg: Recording
    residual: Float[np.ndarray, " n"]

    @property
    def cost(self) -> float:
        return 0.5 * float(self.residual @ self.residual)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Residual and Jacobian, in the order sites, onsets, log speeds, log gain, errors."""

    model: EikonalEcg
    leads: WaveLeads
    data: Float[np.ndarray, "n_leads n_times"]
    priors: FitPriors
    n_sites: int
    tree: Any

    @classmethod
    def of(
        cls, model: EikonalEcg, ecg: Recording, start: Wave, priors: FitPriors, leads: WaveLeads | None
    ) -> "_Problem":
        from scipy.spatial import KDTree

        leads = WaveLeads.of(model.model.leads) if leads is None else leads
        n, d, layers = len(start.sites), model.wave.dimension, len(model.layers)
        shapes = tuple(np.shape(x) for x in (start.sites, start.onsets, start.speeds))
        if not n or shapes != ((n, d), (n,), (layers,)) or len(priors.speeds) != layers:
            raise InputError(
                f"fit: a start needs sites (n, {d}), onsets (n,) and {layers} speeds, and priors as many; got "
                f"{', '.join(map(str, shapes))} and {len(priors.speeds)}."
            )
        if not all(np.isfinite(x).all() for x in start):
            raise InputError("fit: the start must be finite; some of it is NaN or infinite.")
        times = model.model.times
        if ecg.n_times != len(times) or np.abs(ecg.times - times).max() > 1e-6:
            raise InputError(
                f"fit: the ECG must be given at the model's times, {times[0]:g} to {times[-1]:g} ms in {len(times)} "
                f"frames; got {ecg.times[0]:g} to {ecg.times[-1]:g} ms in {ecg.n_times}."
            )
        if leads.mixing.shape[2] != model.model.leads.n_out or len(start.errors) not in (0, leads.n_errors):
            raise InputError(
                f"fit: the leads must combine the model's {model.model.leads.n_out} channels, and the start hold no or "
                f"{leads.n_errors} errors; got {leads.mixing.shape[2]} channels and {len(start.errors)} errors."
            )
        rows = match_names(leads.sites, ecg.sites, "fit: the ECG")
        data = ecg.values[rows]
        if not data.any():
            raise InputError("fit: the ECG is zero everywhere, so that there is nothing to fit.")
        return cls(model, leads, data, priors, n, KDTree(model.wave.points))

    @property
    def times(self) -> Float[np.ndarray, " n_times"]:
        return self.model.model.times

    @property
    def scales(self) -> Float[np.ndarray, " p"]:
        n, d = self.n_sites, self.model.wave.dimension
        plain = np.repeat(_SCALES, [n * d, n, len(self.model.layers), 1])
        return np.concatenate([plain, self.leads.spread])

    def best_onset(self, activation: Float[np.ndarray, " n_nodes"]) -> tuple[float, float]:
        """Squared misfit at gain 1 of an activation that begins with the ECG or some frames later, and its begin."""
        ecg, data = self.model.model.ecg(activation).values, self.data
        n = ecg.shape[1]
        costs = [((ecg[:, : n - k] - data[:, k:]) ** 2).sum() + (data[:, :k] ** 2).sum() for k in range(n // 2 + 1)]
        best = int(np.argmin(costs))
        return float(costs[best]), float(self.times[best])

    def inside(self, wave: Wave) -> Wave:
        """The wave with sites outside of the tissue at the nearest node."""
        sites = np.array(wave.sites, dtype=np.float64)
        out = ~self.model.wave.inside(sites)
        sites[out] = self.model.wave.points[self.tree.query(sites[out])[1]]
        return wave._replace(sites=sites)

    def with_errors(self, wave: Wave) -> Wave:
        """The wave with as many errors as there are."""
        return wave if len(wave.errors) else wave._replace(errors=np.zeros(self.leads.n_errors))

    def state(self, wave: Wave) -> _State:
        beat, p = self.model.beat(wave.sites, wave.onsets, wave.speeds), self.priors
        ecg = self.leads.record(beat.ecg, wave.errors, wave.gain)
        leads = ((ecg.values - self.data) / p.noise).reshape(-1)
        speeds = np.log(wave.speeds / np.asarray(p.speeds)) / p.speeds_spread
        known = [speeds, [np.log(wave.gain) / p.gain_spread], wave.errors / self.leads.spread]
        return _State(wave, beat, ecg, np.concatenate([leads, *known]))

    def jacobian(self, state: _State) -> Float[np.ndarray, "n p"]:
        """Of the residual, by scaled parameters."""
        wave, p, n_layers = state.wave, self.priors, len(self.model.layers)
        channels = state.beat.ecg.values
        mixing = self.leads.at(wave.errors)
        if len(mixing) <= mixing.shape[1]:
            by_wave = wave.gain * self.model.jacobian(state.beat, mixing)
        else:
            by_wave = wave.gain * (mixing @ self.model.jacobian(state.beat))
        by_error = wave.gain * (self.leads.mixing[1:] @ channels)
        every = np.concatenate([by_wave, state.ecg.values[None], by_error])
        known = [1 / p.speeds_spread] * n_layers + [1 / p.gain_spread, *(1 / self.leads.spread)]
        rows = np.zeros((len(known), len(every)))
        rows[:, -len(known) :] = np.diag(known)
        return np.concatenate([every.reshape(len(every), -1).T / p.noise, rows]) * self.scales

    def moved(self, wave: Wave, step: Float[np.ndarray, " p"]) -> Wave:
        """The wave after a step in parameters that are not scaled, no step too long, sites inside."""
        n, d = self.n_sites, self.model.wave.dimension
        ends = np.cumsum([n * d, n, len(self.model.layers) + 1])
        sites, onsets, logs, errors = np.split(step, ends)
        sites = sites.reshape(n, d)
        length = np.linalg.norm(sites, axis=1, keepdims=True)
        sites = sites * np.minimum(1.0, _LONGEST[0] / np.maximum(length, 1e-12))
        factors = np.exp(np.clip(logs, -_LONGEST[2], _LONGEST[2]))
        return self.inside(
            Wave(
                wave.sites + sites,
                wave.onsets + np.clip(onsets, -_LONGEST[1], _LONGEST[1]),
                np.clip(wave.speeds * factors[:-1], *_SPEEDS),
                wave.gain * float(factors[-1]),
                wave.errors + errors,
            )
        )


def _stepped(
    problem: _Problem, state: _State, jacobian: Float[np.ndarray, "n p"], damping: float, most: int
) -> tuple[_State | None, float, int]:
    """The first of more and more damped steps that lowers the cost (None: there is none), the damping, the trials."""
    normal, slope = jacobian.T @ jacobian, jacobian.T @ state.residual
    for tried in range(1, min(_TRIALS, most) + 1):
        step = -np.linalg.solve(normal + damping * np.eye(len(normal)), slope) * problem.scales
        moved = problem.state(problem.moved(state.wave, step))
        if moved.cost < state.cost:
            return moved, damping * _LOWERED, tried
        damping *= _RAISED
    return None, damping, min(_TRIALS, most)
