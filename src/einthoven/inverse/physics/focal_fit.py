"""Least squares over foci, diffusivity and clock, and errors of the geometry, by Levenberg and Marquardt.

    minimize  |y - g (A_0 + sum_j q_j A_j) x(theta)|^2 / (2 sigma^2) + (log D / D_0)^2 / (2 s_D^2)
              + (log c)^2 / (2 s_c^2) + (log g)^2 / (2 s_g^2) + sum_j (q_j / s_j)^2 / 2

x(theta) is the potential of a wave (`einthoven.inverse.physics.focal_wave`), in mV. Data and operators are rotated to
the leading singular vectors of A_0. Places stay on the surface: steps are taken in the tangent plane and their ends
projected. The Jacobian is exact for the discrete wave.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Surface
from einthoven.core.sites import match_names
from einthoven.forward.lead_errors import LeadErrors
from einthoven.geometry.locate import closest_points
from einthoven.geometry.operators import normals
from einthoven.inverse.physics.fields import Posed, leading
from einthoven.inverse.physics.focal_wave import UPSTROKE_STEP, FocalFields, FocalWave, Foci, Steps
from einthoven.ionic import VoltageScale

#: Longest steps: places in radii, onsets in upstroke times, logarithms.
LONGEST = (1.0, 1.0, 0.3)

#: Damping: first (share of the largest curvature), after a bad and after a good step; bad steps before giving up.
DAMPING, RAISED, LOWERED, TRIALS = 1e-3, 5.0, 0.25, 6


@dataclass(frozen=True)
class FocalPriors:
    """What is known before the fit.

    Parameters
    ----------
    diffusivity_spread, clock_spread
        Standard deviation of log D about the expected D, and of the log clock about 0.
    gain_spread
        Standard deviation of the logarithm of the gain of all leads; 0: it is 1.
    """

    diffusivity_spread: float = 1.0
    clock_spread: float = 0.3
    gain_spread: float = 0.0

    def __post_init__(self):
        if not (0 < self.diffusivity_spread < np.inf and 0 < self.clock_spread < np.inf):
            raise InputError(f"foci: the spread of diffusivity and clock must be positive; got {self}.")
        if not 0 <= self.gain_spread < np.inf:
            raise InputError(f"foci: the spread of the gain must be 0 or positive; got {self.gain_spread!r}.")


class FocalState(NamedTuple):
    """Parameters, their wave, and how well it fits.

    Parameters
    ----------
    foci
        Places, onsets, D, clock.
    gain, errors
        g and q.
    fields
        u, v and the derivative of u.
    residual
        Prediction minus data, per standard deviation; then the priors.
    jacobian
        Of the residual, by scaled parameters.
    misfit
        Squared norm of the residual of the data.
    """

    foci: Foci
    gain: float
    errors: Float[np.ndarray, " m"]
    fields: FocalFields
    residual: Float[np.ndarray, " n"]
    jacobian: Float[np.ndarray, "n p"]
    misfit: float

    @property
    def cost(self) -> float:
        """What is minimized."""
        return 0.5 * float(self.residual @ self.residual)


@dataclass(frozen=True, eq=False)
class FocalProblem:
    """Residual and Jacobian, in the order log D, log clock, places (2 each), onsets, log gain (if free), errors.

    Parameters
    ----------
    model
        Simulates waves.
    surface
        Where places are.
    rows
        A_0 and A_j, rotated, per standard deviation of the noise and mV.
    data
        Rotated, per standard deviation.
    scale
        From the model unit to mV.
    expected, least
        D_0, and the smallest D that the mesh carries, mm2/ms.
    priors
        Spreads.
    spread
        s_j.
    steps
        Of the simulation.
    """

    model: FocalWave
    surface: Surface
    rows: Float[np.ndarray, "_ r n"]
    data: Float[np.ndarray, "r t"]
    scale: VoltageScale
    expected: float
    least: float
    priors: FocalPriors
    spread: Float[np.ndarray, " m"]
    steps: Steps

    @property
    def most(self) -> float:
        """Largest D at which the steps are stable, mm2/ms."""
        return self.model.most(self.steps)

    @property
    def rest_free(self) -> Float[np.ndarray, "r t"]:
        """Data without what cells at rest give."""
        return self.data - self.scale.rest * self.rows[0].sum(axis=1, keepdims=True)

    @property
    def times(self) -> tuple[float, float]:
        """Upstroke time, and the last onset that matters (the last frame), ms."""
        model = self.model
        return float(model.wave.unit), float(model.first) + (model.n_times - 1) * float(model.wave.step)

    def operator(self, errors: Float[np.ndarray, " m"]) -> Float[np.ndarray, "r n"]:
        """A_0 + sum_j q_j A_j."""
        return self.rows[0] + np.tensordot(errors, self.rows[1:], axes=1)

    def with_steps_for(self, foci: Foci, *, longest: float = UPSTROKE_STEP) -> "FocalProblem":
        """Enough steps for a D that is larger by a third: within one fit their number does not change."""
        return replace(self, steps=self.model.steps(1.33 * foci.diffusivity, foci.clock, longest=longest))

    def scales(self, n_foci: int) -> Float[np.ndarray, " p"]:
        """What one step of every parameter is worth beside the others."""
        radius, upstroke = float(self.model.radius), self.times[0]
        gain = [self.priors.gain_spread] * (self.priors.gain_spread > 0)
        return np.array([0.15, 0.1] + [radius / 3] * (2 * n_foci) + [upstroke / 3] * n_foci + gain + [*self.spread])

    def state(self, foci: Foci, gain: float, errors: Float[np.ndarray, " m"]) -> FocalState:
        """The wave of these parameters, its misfit and its Jacobian."""
        fields = self.model.fields(foci, self.steps)
        n, r = len(foci.onsets), len(self.data)
        rows = np.concatenate([self.operator(errors), *self.rows[1:]])
        leads = (rows @ self.scale.to_mv(fields.u)).reshape(-1, *self.data.shape)
        seen = gain * leads[0]
        slope = self.scale.amplitude * gain * np.tensordot(rows[:r], self._tangent(foci, fields.derivative), axes=1)
        extra = [seen[..., None]] * (self.priors.gain_spread > 0) + [np.moveaxis(gain * leads[1:], 0, -1)]
        every = np.concatenate([slope, *extra], axis=2)
        known, prior_rows = self._prior(foci, gain, errors)
        left = (seen - self.data).ravel()
        return FocalState(
            foci,
            gain,
            errors,
            fields,
            residual=np.concatenate([left, known]),
            jacobian=np.concatenate([every.reshape(left.size, -1), prior_rows]) * self.scales(n),
            misfit=float(left @ left),
        )

    def moved(self, state: FocalState, step: Float[np.ndarray, " p"]) -> FocalState:
        """The state after a step of scaled parameters, no step too long, places on the surface."""
        foci, n, upstroke = state.foci, len(state.foci.onsets), self.times[0]
        parts = np.split(step * self.scales(n), np.cumsum([2, 2 * n, n, int(self.priors.gain_spread > 0)]))
        longest = LONGEST[0] * float(self.model.radius)
        places = np.einsum("kd,kdx->kx", parts[1].reshape(n, 2), self._bases(foci))
        length = np.linalg.norm(places, axis=1, keepdims=True)
        places = places * np.minimum(1.0, longest / np.maximum(length, 1e-12))
        onsets = foci.onsets + np.clip(parts[2], -LONGEST[1] * upstroke, LONGEST[1] * upstroke)
        factors = np.exp(np.clip(parts[0], -LONGEST[2], LONGEST[2]))
        gain = np.exp(np.clip(parts[3].sum(), -LONGEST[2], LONGEST[2]))
        after = Foci(
            closest_points(self.surface, foci.positions + places).points,
            np.clip(onsets, self.model.earliest, self.times[1]),
            float(np.clip(foci.diffusivity * factors[0], self.least, self.most)),
            float(foci.clock * factors[1]),
        )
        return self.state(after, float(state.gain * gain), state.errors + parts[4])

    def covariance(self, state: FocalState) -> Float[np.ndarray, "p p"]:
        """Of the parameters in their own units, in the order of the Jacobian; the Laplace approximation.

        Where the misfit is more than noise, the noise is taken to be that much larger.
        """
        n = self.data.size
        data, known = state.jacobian[:n], state.jacobian[n:]
        precision = data.T @ data / max(1.0, state.misfit / n) + known.T @ known
        scales = self.scales(len(state.foci.onsets))
        return np.linalg.inv(precision) * np.outer(scales, scales)

    def tangents(self, state: FocalState) -> Float[np.ndarray, "n t q"]:
        """Derivatives of u by the first parameters: log D, log clock, places within the surface, onsets."""
        return self._tangent(state.foci, state.fields.derivative)

    def bic(self, state: FocalState) -> float:
        """Bayesian information criterion: misfit + p log n; of the parameters, those of the foci, D and clock."""
        return state.misfit + (2 + 3 * len(state.foci.onsets)) * float(np.log(self.data.size))

    def unexplained(self, state: FocalState) -> float:
        """The most that the misfit can still fall: what is more than white noise.

        Noise is what second differences along the frames show, and no more than was told: 0 where nothing but noise is
        left.
        """
        left = state.residual[: self.data.size].reshape(self.data.shape)
        noise = float((np.diff(left, 2, axis=1) ** 2).mean()) / 6
        return state.misfit - min(noise, 1.0) * self.data.size

    def _tangent(self, foci: Foci, slope: Float[np.ndarray, "n t p"]) -> Float[np.ndarray, "n t q"]:
        """Derivatives by places within the surface instead of by x, y, z."""
        n = len(foci.onsets)
        whole, places, onsets = np.split(slope, [2, 2 + 3 * n], axis=2)
        within = np.einsum("ntkx,kdx->ntkd", places.reshape(*slope.shape[:2], n, 3), self._bases(foci))
        return np.concatenate([whole, within.reshape(*slope.shape[:2], 2 * n), onsets], axis=2)

    def _bases(self, foci: Foci) -> Float[np.ndarray, "k 2 3"]:
        """Two unit vectors in the surface at every place."""
        across = normals(self.surface)[closest_points(self.surface, foci.positions).triangle]
        first = np.cross(across, np.eye(3)[np.abs(across).argmin(axis=1)])
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        return np.stack([first, np.cross(across, first)], axis=1)

    def _prior(
        self, foci: Foci, gain: float, errors: Float[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "q p"]]:
        """Residuals of the priors and their derivatives."""
        p, n = self.priors, len(foci.onsets)
        values = [np.log(foci.diffusivity / self.expected) / p.diffusivity_spread, np.log(foci.clock) / p.clock_spread]
        weights = [1 / p.diffusivity_spread, 1 / p.clock_spread]
        if p.gain_spread:
            values, weights = [*values, np.log(gain) / p.gain_spread], [*weights, 1 / p.gain_spread]
        values, weights = [*values, *(errors / self.spread)], [*weights, *(1 / self.spread)]
        rows = np.zeros((len(values), 3 * n + len(values)))
        rows[[0, 1], [0, 1]] = weights[:2]
        rows[range(2, len(values)), range(3 * n + 2, rows.shape[1])] = weights[2:]
        return np.array(values), rows


def focal_problem(
    posed: Posed,
    model: FocalWave,
    *,
    rank: int,
    expected: float,
    least: float,
    priors: FocalPriors,
    errors: LeadErrors | None = None,
) -> FocalProblem:
    """Rotate data and operators to the leading singular vectors.

    Parameters
    ----------
    posed
        Operator and data.
    model
        Simulates waves on its surface, at its frames.
    rank
        Most singular vectors kept.
    expected, least
        Diffusivities, mm2/ms: the expected and the smallest one.
    priors
        Spreads.
    errors
        How the operator changes; its leads must be the operator's.

    Raises
    ------
    InputError
        If the leads of the errors are not those of the operator.
    """
    problem = posed.problem
    directions = leading(problem, rank)
    rows = [directions @ problem.matrix]
    spread = np.zeros(0)
    if errors is not None:
        weights = directions @ problem.transform
        rows += [weights @ change for change in changes_of(errors, problem.operator)]
        spread = np.asarray(errors.spread)
    start = FocalProblem(
        model=model,
        surface=posed.surface,
        rows=np.stack(rows) / posed.sigma,
        data=directions @ problem.data / posed.sigma,
        scale=posed.scale,
        expected=expected,
        least=least,
        priors=priors,
        spread=spread,
        steps=Steps(4, 2),
    )
    return start.with_steps_for(Foci(np.zeros((0, 3)), np.zeros(0), expected))


def changes_of(errors: LeadErrors, operator: ForwardOperator) -> Float[np.ndarray, "m k n"]:
    """The A_j in the operator's order of leads and sites.

    Raises
    ------
    InputError
        If the leads of the errors are not those of the operator.
    """
    leads = match_names(operator.out_sites, errors.leads.out_sites, "lead errors")
    sites = match_names(operator.in_sites, errors.leads.in_sites, "lead errors")
    there = errors.leads.matrix[np.ix_(leads, sites)]
    if errors.leads.in_quantity != operator.in_quantity or not np.allclose(
        there, operator.matrix, rtol=0, atol=1e-6 * np.abs(there).max()
    ):
        raise InputError(
            "lead errors belong to another operator; make them of the same surfaces, electrodes and reference, and "
            "image with their `leads` as the operator."
        )
    return errors.changes[:, leads][:, :, sites]


def descend(
    problem: FocalProblem,
    foci: Foci,
    gain: float,
    errors: Float[np.ndarray, " m"],
    *,
    evaluations: int = 40,
    tolerance: float = 1e-4,
) -> Iterator[FocalState]:
    """States of ever smaller cost, until it falls by less than a share of itself twice in a row.

    Parameters
    ----------
    problem
        What is minimized.
    foci, gain, errors
        Where to start; the first state given.
    evaluations
        Most simulations.
    tolerance
        That share.
    """
    state = problem.state(foci, gain, errors)
    yield state
    damping, used, quiet = DAMPING * float((state.jacobian**2).sum(axis=0).max()), 0, 0
    while quiet < 2 and used < evaluations:
        normal, slope = state.jacobian.T @ state.jacobian, state.jacobian.T @ state.residual
        for _ in range(TRIALS):
            used += 1
            after = problem.moved(state, -np.linalg.solve(normal + damping * np.eye(len(normal)), slope))
            if after.cost < state.cost:
                break
            damping *= RAISED
        else:
            return
        quiet = quiet + 1 if state.cost - after.cost < tolerance * state.cost else 0
        state, damping = after, damping * LOWERED
        yield state
