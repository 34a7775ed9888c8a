"""Rules that choose the regularization weight, as objects.

All of them see a `Sweep`: residual |r|, seminorm |Q x| and traces of the influence matrix A(lambda) at any weight, with
N = number of independent data. All except `Fixed` and `Discrepancy` sample the sweep's range on a logarithmic grid; an
optimum at the edge widens the range by two decades, at most three times, and is then reported as ``at_edge``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording, WeightCurve
from einthoven.core.sites import match_names
from einthoven.inverse.decomposition import Statistics
from einthoven.inverse.sweep import Choice, Sweep


@runtime_checkable
class Rule(Protocol):
    """Chooses one weight from a sweep, or raises `InputError` where its criterion has no optimum."""

    @property
    def name(self) -> str:
        """Name as in the command line."""
        ...

    def choose(self, sweep: Sweep) -> Choice:
        """Return the weight and the curve behind it."""
        ...


@dataclass(frozen=True)
class LCurve:
    """The corner of the L-curve: largest curvature of (log |r|, log |Q x|) (Hansen 1992, doi:10.1137/1034115)."""

    name: str = field(default="lcurve", init=False)

    def choose(self, sweep: Sweep) -> Choice:
        """Return the corner."""
        return _search(sweep.smooth or sweep, _curvature, np.nanargmax, "curvature of the L-curve")


@dataclass(frozen=True)
class GCV:
    """Generalized cross-validation: (|r|^2 / N) / (tr(I - A) / N)^2, minimized (Golub, Heath and Wahba 1979)."""

    name: str = field(default="gcv", init=False)

    def choose(self, sweep: Sweep) -> Choice:
        """Return the minimum."""
        return _search(sweep, _gcv, np.nanargmin, "generalized cross-validation, mV^2")


@dataclass(frozen=True)
class RobustGCV:
    """Robust generalized cross-validation: GCV (gamma + (1 - gamma) tr(A^2) / N) (Lukas 2006).

    Parameters
    ----------
    gamma
        In (0, 1]; 1 is plain GCV, smaller values guard against too small weights when the errors of neighboring leads
        are alike (as those of a wrong operator are). The default is the one whose worst excess over the best weight is
        smallest in 16 simulations on two geometries with exact and wrong operators (``benchmarks/inverse_gamma.py``).

    References
    ----------
    Lukas, Inverse Problems 22:1883, 2006, doi:10.1088/0266-5611/22/5/021.
    """

    gamma: float = 0.2
    name: str = field(default="rgcv", init=False)

    def __post_init__(self):
        if not 0 < self.gamma <= 1:
            raise InputError(f"gamma of robust GCV must be in (0, 1]; got {self.gamma!r}. 1 is plain GCV.")

    def choose(self, sweep: Sweep) -> Choice:
        """Return the minimum."""
        return _search(sweep, self._criterion, np.nanargmin, f"robust GCV (gamma {self.gamma:g}), mV^2")

    def _criterion(self, found: Statistics) -> Float[np.ndarray, " w"]:
        return _gcv(found) * (self.gamma + (1 - self.gamma) * found.trace_sq / found.n_data)


@dataclass(frozen=True)
class CRESO:
    """Composite residual and smoothing operator (Colli Franzone et al. 1985).

    The smallest lambda at which C = d/d(lambda^2) (lambda^2 |Q x|^2 - |r|^2) has a local maximum.
    """

    name: str = field(default="creso", init=False)

    def choose(self, sweep: Sweep) -> Choice:
        """Return the first local maximum.

        Raises
        ------
        InputError
            If there is none.
        """
        sweep = sweep.smooth or sweep
        lambdas = sweep.lambdas(sweep.low, sweep.high)
        found = sweep.statistics(lambdas)
        values = _creso(found)
        inner = values[1:-1]
        peaks = 1 + np.flatnonzero((inner > values[:-2]) & (inner >= values[2:]) & (inner > 0))
        if not peaks.size:
            raise InputError(
                f"CRESO has no local maximum between lambda {lambdas[0]:.2g} and {lambdas[-1]:.2g} on these data; "
                "use another rule, for example lcurve or rgcv."
            )
        weight = _vertex(lambdas, values, int(peaks[0]))
        return Choice(weight, _curve(found, values, weight, "CRESO, mV^2"), {"local_maxima": float(peaks.size)})


@dataclass(frozen=True)
class UCurve:
    """The U-curve: 1 / |r|^2 + 1 / |Q x|^2, minimized (Krawczyk-Stando and Rudnicki 2007)."""

    name: str = field(default="ucurve", init=False)

    def choose(self, sweep: Sweep) -> Choice:
        """Return the minimum."""
        return _search(sweep, _u_curve, np.nanargmin, "U-curve, 1/mV^2")


@dataclass(frozen=True)
class Discrepancy:
    """Morozov's discrepancy principle: |r|^2 = N sigma^2.

    Parameters
    ----------
    sigma
        Standard deviation of the noise on each lead, mV; None takes it from the solver's noise covariance, or without
        one from the quietest window of the recording. Errors of the operator count as noise too: a sigma of the
        amplifiers alone asks for too good a fit.
    """

    sigma: float | None = None
    name: str = field(default="discrepancy", init=False)

    def __post_init__(self):
        if self.sigma is not None and not 0 < self.sigma < np.inf:
            raise InputError(f"sigma of the discrepancy principle must be positive (mV); got {self.sigma!r}.")

    def choose(self, sweep: Sweep) -> Choice:
        """Return the weight at which the residual is as large as the noise.

        If the noise exceeds the data, or no weight fits so well, the nearest edge with ``at_edge`` 1.
        """
        sigma = sweep.sigma() if self.sigma is None else self.sigma
        wider = 1.0 if sweep.bounded else 1e4
        low, high = sweep.low / wider, sweep.high * wider
        lambdas = sweep.lambdas(low, high)
        found = sweep.statistics(lambdas)
        target = found.n_data * sigma**2
        values = found.residual_sq / found.n_data / sigma**2
        below = np.flatnonzero(found.residual_sq <= target)
        edge = not below.size or below[-1] == len(lambdas) - 1
        weight = float(lambdas[below[-1]] if below.size else lambdas[0])
        if sweep.grid is None and not edge:
            weight = _root(sweep, target, (weight, float(lambdas[below[-1] + 1])))
        curve = _curve(found, values, weight, "squared residual over expected noise")
        return Choice(weight, curve, {"sigma": sigma, "at_edge": float(edge)})


@dataclass(frozen=True)
class Fixed:
    """A given weight.

    Parameters
    ----------
    lambda_
        Positive; the penalty is lambda^2 |Q x|^2 with mean(diag(Q^T Q)) = 1. For truncation: components with singular
        values below lambda are dropped.
    """

    lambda_: float

    def __post_init__(self):
        if not 0 < self.lambda_ < np.inf:
            raise InputError(f"lambda must be positive and finite; got {self.lambda_!r}.")

    @property
    def name(self) -> str:
        """``fixed:VALUE``."""
        return f"fixed:{self.lambda_:g}"

    def choose(self, sweep: Sweep) -> Choice:
        """Return the weight."""
        return Choice(float(self.lambda_))


@dataclass(frozen=True, eq=False)
class Oracle:
    """The weight with the smallest relative error against the truth: a bound for rules, not a rule for use.

    Parameters
    ----------
    truth
        Potentials on (some of) the sources, same frames as the data. Compared in the scoring reference: after the mean
        over these sources is removed per frame where a constant is invisible.
    """

    truth: Recording
    name: str = field(default="oracle", init=False)

    def choose(self, sweep: Sweep) -> Choice:
        """Return the best weight."""
        rows = match_names(self.truth.sites, sweep.sites, "operator (oracle)")
        truth = self._columns(sweep)

        def error(found: Statistics) -> Float[np.ndarray, " w"]:
            estimates = (_centered(sweep.estimate(float(w))[rows], sweep.mean_removed) for w in found.lambdas)
            return np.array([np.linalg.norm(x - truth) for x in estimates]) / max(np.linalg.norm(truth), 1e-300)

        coarse = sweep if sweep.grid is not None else replace(sweep, n_weights=30)
        choice = _search(coarse, error, np.nanargmin, "relative error against the truth")
        return choice if sweep.grid is not None else self._refined(coarse, error, choice)

    @staticmethod
    def _refined(sweep: Sweep, error: Callable[[Statistics], np.ndarray], choice: Choice) -> Choice:
        """Golden section between the neighbors of the best sampled weight."""
        from scipy.optimize import minimize_scalar

        assert choice.curve is not None
        lambdas = choice.curve.lambdas
        best = int(np.nanargmin(choice.curve.criterion))
        bounds = np.log(lambdas[[max(best - 1, 0), min(best + 1, len(lambdas) - 1)]])
        found = minimize_scalar(
            lambda t: error(sweep.statistics(np.array([np.exp(t)])))[0],
            bounds=tuple(bounds),
            method="bounded",
            options={"xatol": 1e-2},
        )
        weight = float(np.exp(found.x)) if found.fun < np.nanmin(choice.curve.criterion) else float(lambdas[best])
        return replace(choice, weight=weight, curve=replace(choice.curve, chosen=weight))

    def _columns(self, sweep: Sweep) -> Float[np.ndarray, "n t"]:
        values = _centered(self.truth.values, sweep.mean_removed)
        return values if sweep.temporal is None else values @ sweep.temporal


#: The rule of solvers that are given none.
DEFAULT_RULE: Rule = LCurve()


def _centered(values, mean_removed: bool):
    return values - values.mean(axis=0) if mean_removed else values


def _search(
    sweep: Sweep,
    criterion: Callable[[Statistics], np.ndarray],
    pick: Callable[[np.ndarray], np.intp],
    label: str,
) -> Choice:
    """Sample, pick, widen the range while the pick is at its edge, refine by a parabola."""
    low, high = sweep.low, sweep.high
    for attempt in range(4):
        lambdas = sweep.lambdas(low, high)
        found = sweep.statistics(lambdas)
        values = criterion(found)
        if not np.isfinite(values).any():
            raise InputError(f"the {label} is undefined on these data; use another rule.")
        best = int(pick(values))
        edge = _edge(values, best)
        if edge == 0 or sweep.bounded or sweep.grid is not None or attempt == 3:
            break
        low, high = (low / 100, high) if edge < 0 else (low, high * 100)
    weight = float(lambdas[best]) if edge or sweep.grid is not None else _vertex(lambdas, values, best)
    return Choice(weight, _curve(found, values, weight, label), {"at_edge": float(abs(edge))})


def _edge(values, best: int) -> int:
    """-1 or 1 if nothing finite lies below or above, else 0."""
    finite = np.flatnonzero(np.isfinite(values))
    return -1 if best == finite[0] else 1 if best == finite[-1] else 0


def _vertex(lambdas, values, i: int) -> float:
    """Optimum of the parabola through three neighbors on the logarithmic axis."""
    before, here, after = values[i - 1 : i + 2]
    bend = before - 2 * here + after
    if not np.isfinite(bend) or bend == 0:
        return float(lambdas[i])
    step = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
    return float(lambdas[i] * (lambdas[i + 1] / lambdas[i]) ** step)


def _root(sweep: Sweep, target: float, bracket: tuple[float, float]) -> float:
    """The weight at which the squared residual equals `target`."""
    from scipy.optimize import root_scalar

    def excess(t: float) -> float:
        return float(np.log(sweep.statistics(np.array([np.exp(t)])).residual_sq[0] / target))

    found = root_scalar(excess, bracket=(np.log(bracket[0]), np.log(bracket[1])), xtol=1e-10)
    return float(np.exp(found.root))


def _curve(found: Statistics, values, weight: float, label: str) -> WeightCurve:
    return WeightCurve(
        lambdas=found.lambdas,
        residual_norms=np.sqrt(found.residual_sq),
        seminorms=np.sqrt(found.seminorm_sq),
        criterion=values,
        chosen=weight,
        label=label,
    )


def _floored(found: Statistics) -> Float[np.ndarray, " w"]:
    """Squared residuals, not below rounding of the largest."""
    return np.maximum(found.residual_sq, 1e-30 * found.residual_sq.max())


def _gcv(found: Statistics) -> Float[np.ndarray, " w"]:
    n = found.n_data
    rest = np.maximum((n - found.trace) / n, 1e-15)
    return _floored(found) / n / rest**2


def _u_curve(found: Statistics) -> Float[np.ndarray, " w"]:
    seminorm = np.maximum(found.seminorm_sq, 1e-30 * found.seminorm_sq.max())
    return 1 / _floored(found) + 1 / seminorm


def _creso(found: Statistics) -> Float[np.ndarray, " w"]:
    square = found.lambdas**2
    return np.gradient(square * found.seminorm_sq - found.residual_sq, square)


def _curvature(found: Statistics) -> Float[np.ndarray, " w"]:
    """Curvature of the log-log curve; undefined where it stands still and at its ends."""
    t = np.log(found.lambdas)
    x = np.log(_floored(found)) / 2
    y = np.log(np.maximum(found.seminorm_sq, 1e-30 * found.seminorm_sq.max())) / 2
    if len(t) < 5:
        return np.full(len(t), np.nan)
    dx, dy = np.gradient(x, t), np.gradient(y, t)
    speed = np.hypot(dx, dy)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = (dx * np.gradient(dy, t) - dy * np.gradient(dx, t)) / speed**3
    bend[speed < 1e-3] = np.nan
    bend[[0, 1, -2, -1]] = np.nan
    return bend
