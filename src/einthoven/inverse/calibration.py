"""Calibration: correct an operator with heart potentials that were measured together with the leads.

    min over q   sum_t |y_t - A(q) x_t|^2 / sigma^2 + |q / s|^2

x are heart potentials measured at the frames t, y the leads; s are the errors expected (`OperatorModel.sizes`). Solved
by Gauss-Newton steps: A is built anew at every q, its changes too.

sigma is not the noise: what A leaves of the leads is alike in many frames, so that a misfit of thousands of numbers is
worth a few. It is chosen by cross-validation: the calibration frames are cut into runs that hold equal shares of the
leads' energy; every run is predicted from the others, to first order, and the sigma that predicts best is taken. Frames
that are not given take no part.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, GeometryError, InputError, Recording
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.forward.corrections import OperatorModel
from einthoven.forward.lead_errors import LeadErrors

#: What may be wrong, by the name of a model.
MODELS: dict[str, tuple[str, ...]] = {
    "gain": ("gain",),
    "pose": ("pose", "scale", "gain"),
    "leads": ("gain", "leads"),
    "electrodes": ("pose", "scale", "gain", "electrodes"),
    "skin": ("pose", "scale", "gain", "skin"),
    "placed": ("pose", "scale", "gain", "electrodes", "leads"),
    "full": ("pose", "scale", "gain", "skin", "electrodes", "leads"),
}

#: Changes with the heart's pose and size and with the skin are built anew after a step that moved one of these by more
#: than this share of its expected error.
REBUILT = 1.0

#: Predictions this much worse than the best count as equal; of equal ones the largest sigma is taken.
TIE = 1e-3


class Step(NamedTuple):
    """One Gauss-Newton step.

    Parameters
    ----------
    sigma
        mV, in force.
    objective
        sum |y - A x|^2 + sigma^2 |q / s|^2, mV^2, where the step ended.
    largest
        Largest change of a parameter, in expected errors; where a step could not be taken (surfaces would meet, or the
        objective rises along it), the change that it asked for.
    """

    sigma: float
    objective: float
    largest: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """An operator corrected by a paired recording.

    Parameters
    ----------
    operator
        A(q), built at the corrected geometry.
    names
        Of the parameters, with units.
    q
        Their values.
    errors
        Their standard errors, for sigma as chosen; those of the prior where data say nothing.
    sizes
        Standard deviations expected beforehand.
    sigma
        mV, chosen by cross-validation.
    steps
        How the solution was reached.
    converged
        Whether the last step was small.
    """

    operator: ForwardOperator
    names: tuple[str, ...]
    q: Float[np.ndarray, " n_errors"]
    errors: Float[np.ndarray, " n_errors"]
    sizes: Float[np.ndarray, " n_errors"]
    sigma: float
    steps: tuple[Step, ...]
    converged: bool

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        return f"Calibration({len(self.names)} parameters, sigma {1e3 * self.sigma:.3g} uV, {state})"


def calibrate(
    model: OperatorModel,
    heart: Recording,
    leads: Recording,
    *,
    n_folds: int = 5,
    max_steps: int = 6,
    tolerance: float = 0.1,
    start: LeadErrors | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Find the errors of an operator.

    Parameters
    ----------
    model
        What may be wrong.
    heart, leads
        Measured at the same frames: potentials of all nodes of the heart's surface, and the leads of the model.
    n_folds
        Runs of frames for the choice of sigma.
    max_steps
        Gauss-Newton steps at most.
    tolerance
        Converged once no parameter moves by more than this share of its expected error.
    start
        ``model.linearized(0)``, if it is there already.
    progress
        Told about operators.

    Raises
    ------
    InputError
        If sites or frames do not match, or there are fewer than three frames per run.
    """
    data = _matched(model, heart, leads, n_folds)
    q, sigma = np.zeros(len(model.names)), 0.0
    steps: list[Step] = []
    linear = model.linearized(q, progress=progress) if start is None else start
    while True:
        parts = [_normal(linear, x, y) for x, y in data]
        if len(steps) < 2:
            sigma = _chosen_sigma(parts, q, model.sizes)
        total = _total(parts)
        before, (q, step) = q, _stepped(model, data, _Newton(total, q, model.sizes, sigma))
        steps.append(step)
        if step.largest < tolerance or len(steps) == max_steps or np.array_equal(q, before):
            break
        far = np.abs((q - before) / model.sizes)[: len(linear.whole)].max(initial=0.0) > REBUILT
        linear = model.linearized(q, like=None if far else linear, progress=progress)
    errors = np.sqrt(np.diag(np.linalg.inv(total.gram / sigma**2 + np.diag(1 / model.sizes**2))))
    converged = steps[-1].largest < tolerance
    return Calibration(model.at(q), model.names, q, errors, model.sizes, sigma, tuple(steps), converged)


class _Normal(NamedTuple):
    """|r - J d|^2 = square - 2 slope d + d gram d."""

    gram: Float[np.ndarray, "n n"]
    slope: Float[np.ndarray, " n"]
    square: float


class _Newton(NamedTuple):
    normal: _Normal
    q: Float[np.ndarray, " n"]
    sizes: Float[np.ndarray, " n"]
    sigma: float

    def step(self) -> Float[np.ndarray, " n"]:
        prior = self.sigma**2 / self.sizes**2
        return np.linalg.solve(self.normal.gram + np.diag(prior), self.normal.slope - prior * self.q)

    def objective(self, square: float, q: Float[np.ndarray, " n"]) -> float:
        return square + self.sigma**2 * float(((q / self.sizes) ** 2).sum())


def _matched(
    model: OperatorModel, heart: Recording, leads: Recording, n_folds: int
) -> list[tuple[Float[np.ndarray, "n_in _"], Float[np.ndarray, "n_leads _"]]]:
    """Heart and leads, cut into runs of equal energy."""
    lacking = [name for name in model.surface.node_names if name not in set(heart.sites)]
    if lacking:
        raise InputError(f"calibration: the heart potentials lack nodes {some(lacking)}; fill them in first.")
    if leads.reference != model.system.reference:
        raise InputError(
            f"calibration: the leads have reference {leads.reference!r}, the model {model.system.reference!r}."
        )
    if heart.n_times != leads.n_times or not np.allclose(heart.times, leads.times, atol=1e-3 * max(heart.dt, 1e-3)):
        raise InputError("calibration: heart potentials and leads must have the same frames.")
    if leads.n_times < 3 * n_folds:
        raise InputError(
            f"calibration: {leads.n_times} frames are too few for {n_folds} runs; it needs {3 * n_folds} or more."
        )
    x = heart.select(model.surface.node_names).values
    y = leads.select(model.system.names).values
    energy = np.cumsum((y**2).sum(axis=0))
    if not energy[-1] > 0:
        raise InputError("calibration: the leads are zero at the calibration frames; choose other frames.")
    inner = np.searchsorted(energy, energy[-1] * np.arange(1, n_folds) / n_folds)
    least = np.arange(1, n_folds)
    cuts = np.clip(np.maximum.accumulate(inner - least), 0, leads.n_times - n_folds) + least
    return [
        (np.asarray(xs), np.asarray(ys))
        for xs, ys in zip(np.split(x, cuts, axis=1), np.split(y, cuts, axis=1), strict=True)
    ]


def _normal(linear: LeadErrors, x: Float[np.ndarray, "n_in t"], y: Float[np.ndarray, "n_leads t"]) -> _Normal:
    """Normal equations of one run; changes of rank one, w_l (s_l x), are never written out."""
    residual = y - linear.leads.matrix @ x
    whole = linear.whole @ x
    flat = whole.reshape(len(whole), y.size)
    slopes, weights = linear.slopes @ x, linear.weights
    n = len(whole)
    gram = np.zeros((linear.n_errors, linear.n_errors))
    gram[:n, :n] = flat @ flat.T
    if len(slopes):
        gram[n:, n:] = (weights.T @ weights) * (slopes @ slopes.T)
        gram[:n, n:] = ((weights.T @ whole) * slopes).sum(axis=2)
        gram[n:, :n] = gram[:n, n:].T
    seen = ((weights.T @ residual) * slopes).sum(axis=1) if len(slopes) else np.zeros(0)
    slope = np.concatenate([flat @ residual.reshape(-1), seen])
    return _Normal(gram, slope, float((residual**2).sum()))


def _total(parts: list[_Normal]) -> _Normal:
    grams, slopes, squares = zip(*parts, strict=True)
    return _Normal(np.sum(grams, axis=0), np.sum(slopes, axis=0), float(np.sum(squares)))


def _stepped(
    model: OperatorModel,
    data: list[tuple[Float[np.ndarray, "n_in _"], Float[np.ndarray, "n_leads _"]]],
    newton: _Newton,
) -> tuple[Float[np.ndarray, " n"], Step]:
    """Go as far along the step as the objective falls: all of it, a half, a quarter, an eighth."""
    whole = newton.step()
    before = newton.objective(newton.normal.square, newton.q)
    for share in (1.0, 0.5, 0.25, 0.125):
        q = newton.q + share * whole
        try:
            matrix = model.at(q).matrix
        except GeometryError:
            continue
        after = newton.objective(sum(float(((y - matrix @ x) ** 2).sum()) for x, y in data), q)
        if after <= before * (1 + 1e-9):
            return q, Step(newton.sigma, after, float(np.abs(share * whole / model.sizes).max()))
    return newton.q, Step(newton.sigma, before, float(np.abs(whole / model.sizes).max()))


def _chosen_sigma(parts: list[_Normal], q: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"]) -> float:
    """The sigma whose corrections, found from all other runs, leave least of every run; of equals the largest."""
    total = _total(parts)
    scale = float(np.trace(total.gram * np.outer(sizes, sizes)))
    candidates = np.sqrt(np.geomspace(1e-7 * scale, 1e2 * max(scale, total.square), 40))
    left = np.zeros(len(candidates))
    for part in parts:
        values, vectors = np.linalg.eigh((total.gram - part.gram) * np.outer(sizes, sizes))
        vectors = sizes[:, None] * vectors
        slope = vectors.T @ (total.slope - part.slope)
        back = vectors.T @ (q / sizes**2)
        for i, sigma in enumerate(candidates):
            d = vectors @ ((slope - sigma**2 * back) / (np.maximum(values, 0) + sigma**2))
            left[i] += part.square - 2 * part.slope @ d + d @ part.gram @ d
    return float(candidates[left <= left.min() * (1 + TIE)].max())
