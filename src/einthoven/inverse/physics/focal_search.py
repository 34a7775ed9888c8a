"""How many foci, and where to start their fit: candidates spread over the surface, one more focus at a time.

The first focus: every candidate is simulated once, at the expected D, and compared with the data at all onsets, as the
wave of one focus only shifts with its onset. Each further one: every candidate at several onsets, beside the foci that
were found. A focus is kept while Schwarz' criterion (BIC) falls by more than `ENOUGH`, and by more than what the error
of the model itself may explain, which is not white: a share of the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.focal_fit import FocalProblem, FocalState, descend
from einthoven.inverse.physics.focal_wave import COARSE_STEP, Foci
from einthoven.inverse.wave_fit import spread_nodes

#: Least fall of the BIC for one more focus.
ENOUGH = 10.0

#: Onsets tried for a further focus: shares of the time from the first onset to the last excitation.
SHARES = (0.05, 0.2, 0.35, 0.5)

#: Candidates are simulated together, this many at a time.
BATCH = 60

#: Simulations of a trial fit, and share of its cost below which it stops.
TRIAL, TRIAL_TOLERANCE = 4, 1e-2

#: The same of the fit before one more focus is looked for, and the share for the last fit.
LOOSE, LOOSE_TOLERANCE, TOLERANCE = 8, 1e-2, 1e-4

#: Fits in a row, each with shorter steps, while D is held by what the steps allow.
REFITS = 4

#: Foci, gain and errors that a fit starts from.
Start = tuple[Foci, float, np.ndarray]


@dataclass(frozen=True)
class FocalSearch:
    """How foci are looked for.

    Parameters
    ----------
    n_candidates
        Nodes spread evenly over the surface.
    n_starts
        Candidates from which a fit is tried.
    most
        Largest number of foci.
    evaluations
        Most simulations of one fit.
    model_error
        Root mean square error of the model as a share of the data: one more focus must explain more than that.
    """

    n_candidates: int = 60
    n_starts: int = 2
    most: int = 3
    evaluations: int = 40
    model_error: float = 0.02

    def __post_init__(self):
        for name in ("n_candidates", "n_starts", "most", "evaluations"):
            if getattr(self, name) < 1:
                raise InputError(f"foci: {name} must be at least 1; got {getattr(self, name)!r}.")
        if not 0 <= self.model_error < 1:
            raise InputError(f"foci: the error of the model must be a share of the data; got {self.model_error!r}.")


def search(problem: FocalProblem, how: FocalSearch, *, progress: Progress = silent) -> Iterator[FocalState]:
    """States, each better than the one before: the last one is the result.

    Parameters
    ----------
    problem
        What is fitted.
    how
        Candidates and limits.
    progress
        Told about candidates and fits of every number of foci.
    """
    best: FocalState | None = None
    needed = ENOUGH + how.model_error**2 * float((problem.rest_free**2).sum())
    for n in range(1, how.most + 1):
        if best is not None and problem.unexplained(best) < needed:
            break
        label = f"strong, {n} {'focus' if n == 1 else 'foci'}"
        starts = _first(problem, how) if best is None else _next(problem, best, how, label, progress)
        tried = _trial(problem, starts, label, progress)
        if tried is None or (best is not None and problem.bic(tried) > problem.bic(best) - needed):
            break
        for state in _fit(problem, tried, min(how.evaluations, LOOSE), LOOSE_TOLERANCE, label, progress):
            best = state
            yield state
    if best is not None:
        yield from _fit(problem, best, how.evaluations, TOLERANCE, "strong, all foci", progress)


def _fit(
    problem: FocalProblem, start: FocalState, evaluations: int, tolerance: float, label: str, progress: Progress
) -> Iterator[FocalState]:
    """States of falling cost; begins again with shorter steps while D is held by what the steps allow."""
    best = start
    for _ in range(REFITS):
        problem = problem.with_steps_for(best.foci)
        for i, state in enumerate(descend(problem, *best[:3], evaluations=evaluations, tolerance=tolerance)):
            progress(f"{label}: fit", min(i, evaluations - 1), evaluations)
            best = state
            yield state
        if best.foci.diffusivity < 0.98 * problem.most:
            break
    progress(f"{label}: fit", evaluations, evaluations)


def _trial(problem: FocalProblem, starts: list[Start], label: str, progress: Progress) -> FocalState | None:
    """The best end of short fits from the starts."""
    ends = []
    for i, start in enumerate(starts):
        progress(f"{label}: trial fits", i, len(starts))
        coarse = problem.with_steps_for(start[0], longest=COARSE_STEP)
        ends.append(list(descend(coarse, *start, evaluations=TRIAL, tolerance=TRIAL_TOLERANCE))[-1])
    progress(f"{label}: trial fits", len(starts), len(starts))
    return min(ends, key=lambda state: state.cost, default=None)


def _first(problem: FocalProblem, how: FocalSearch) -> list[Start]:
    """Starts with one focus."""
    model, data = problem.model, problem.rest_free
    places = spread_nodes(problem.surface.points, how.n_candidates)
    none = Foci(np.zeros((0, 3)), np.zeros(0), problem.expected)
    step, n = float(model.wave.step), model.n_times
    found: list[tuple[float, int, float]] = []
    for part in _batches(len(places)):
        here = Foci(places[part], np.full(len(part), model.earliest), problem.expected)
        seen = model.seen(problem.scale.amplitude * problem.rows[0], none, here, longest=COARSE_STEP)
        for k, i in enumerate(part):
            costs = [_shifted(seen[:, :, k], data, s) for s in range(n - 4)]
            best = int(np.argmin(costs))
            found.append((costs[best], int(i), model.earliest + best * step))
    alone = [(cost, Foci(places[[i]], np.array([onset]), problem.expected)) for cost, i, onset in found]
    return _starts(problem, alone, how)


def _next(problem: FocalProblem, state: FocalState, how: FocalSearch, label: str, progress: Progress) -> list[Start]:
    """Starts with one focus more than a state has."""
    model, foci = problem.model, state.foci
    places = spread_nodes(problem.surface.points, how.n_candidates)
    times = float(model.first) + float(model.wave.step) * np.arange(model.n_times)
    excited = _excited(state.fields.u, times, 0.5 * float(model.peak))
    nearest = np.linalg.norm(problem.surface.points[None] - places[:, None], axis=2).argmin(axis=1)
    begin, end = float(foci.onsets.min()), float(np.nanmax(excited, initial=times[0]))
    pairs = [(i, begin + share * (end - begin)) for share in SHARES for i in range(len(places))]
    pairs = [(i, t) for i, t in pairs if not excited[nearest[i]] <= t]
    data, found = problem.rest_free, []
    for part in _batches(len(pairs)):
        progress(f"{label}: candidates", int(part[0]), len(pairs))
        here = Foci(places[[pairs[j][0] for j in part]], np.array([pairs[j][1] for j in part]), foci.diffusivity)
        rows = state.gain * problem.scale.amplitude * problem.operator(state.errors)
        seen = model.seen(rows, foci, here, longest=COARSE_STEP)
        costs = ((seen - data[:, :, None]) ** 2).sum(axis=(0, 1))
        for j, cost in zip(part, costs, strict=True):
            i, t = pairs[j]
            more = Foci(np.vstack([foci.positions, places[i]]), np.append(foci.onsets, t), *foci[2:])
            found.append((float(cost), more))
    return _starts(problem, found, how, state)


def _starts(
    problem: FocalProblem, found: list[tuple[float, Foci]], how: FocalSearch, before: FocalState | None = None
) -> list[Start]:
    """The best starts, at most one per place."""
    gain, errors = (1.0, np.zeros(len(problem.spread))) if before is None else before[1:3]
    chosen: list[Foci] = []
    for _, foci in sorted(found, key=lambda pair: pair[0]):
        if len(chosen) == how.n_starts:
            break
        if all(np.any(foci.positions[-1] != other.positions[-1]) for other in chosen):
            chosen.append(foci)
    return [(foci, gain, errors) for foci in chosen]


def _batches(n: int) -> list[np.ndarray]:
    """Numbers below n, `BATCH` at a time; the last batch repeats its end, so that all compile alike."""
    return [np.minimum(np.arange(k, k + min(n, BATCH)), n - 1) for k in range(0, n, BATCH)]


def _shifted(seen: Float[np.ndarray, "r t"], data: Float[np.ndarray, "r t"], shift: int) -> float:
    """Squared misfit of a wave that starts some frames later."""
    n = data.shape[1] - shift
    return float(((seen[:, :n] - data[:, shift:]) ** 2).sum() + (data[:, :shift] ** 2).sum())


def _excited(u: Float[np.ndarray, "n t"], times: Float[np.ndarray, " t"], level: float) -> Float[np.ndarray, " n"]:
    """The first frame at which u is above a level; NaN: never."""
    above = u > level
    return np.where(above.any(axis=1), times[above.argmax(axis=1)], np.nan)
