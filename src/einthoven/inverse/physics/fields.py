"""What all solvers with cell physics share: settings, data term, diffusivity, where they start, and the cost.

    J(u, v) = 1/2 |(y - A x(u)) / sigma|^2 + 1/2 (|r_u|^2 + |r_v|^2) / tau^2

x(u) is the potential of the source in mV, sigma the noise of the leads, r the residuals of
`einthoven.inverse.physics.reaction_diffusion` on all nodes and frames, tau their assumed standard deviation. Data and
operator are rotated to the operator's leading singular vectors; what is left out no source can explain. chi2 is the
first term's squared norm over the number of data kept.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import ForwardOperator, InputError, Reconstruction, Recording, Surface
from einthoven.inverse.held_out import held_out_leads
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.physics.reaction_diffusion import ReactionDiffusion, check_membrane, frame_step
from einthoven.inverse.physics.waves import (
    Excitation,
    check_resolved,
    diffusivity_on,
    excitation,
    imaging_cells,
    least_diffusivity,
)
from einthoven.inverse.problem import Problem, prepare
from einthoven.inverse.regularizers import source_surface
from einthoven.inverse.rules import LCurve, RobustGCV
from einthoven.inverse.stre import Stre
from einthoven.ionic import IonicModel, VoltageScale
from einthoven.signals.activation import conduction_velocity

Number = float | int

#: Share of the nodes that may be excited in the first frame by a wave that begins there.
UNDER_WAY = 0.1

#: Least share of the noise's variance that robust generalized cross-validation may leave. Chosen with the truth of the
#: two measured recordings: on `utah-sock` it leaves 0.18 and fails, on `utah-cage-tank` 0.61 and is right.
LEAST_OF_NOISE = 0.5

#: From so many leads on some are held out to find the noise; of fewer they are missed too much.
LEADS_TO_HOLD_OUT = 32


@dataclass(frozen=True, eq=False)
class CellPhysics:
    """What a solver assumes of cells, noise and data; nothing here is chosen with the truth.

    Parameters
    ----------
    membrane
        Two variables, smooth, the same everywhere; default: the imaging papers' Aliev-Panfilov cells.
    diffusivity
        D, mm2/ms; None: from the conduction velocity of the starting estimate.
    laplacian
        ``"weak"`` (linear elements) or ``"edge-length"`` (the imaging papers').
    sigma
        Standard deviation of the leads' noise, mV, errors of the operator included; None: from `noise`, else from leads
        that are held out (`einthoven.inverse.held_out`), or, where they are few, the quietest window of the recording.
    noise
        Covariance of the leads' noise; operator and data are whitened with it.
    extracellular
        Take the potential on the heart surface for the cells' excitation, as the imaging papers do (0 mV at rest, the
        membrane's amplitude at the peak). Without it, heart-surface potentials are refused: outside the cells the
        equations do not hold.
    start
        Estimate of the source to start from, all sites and frames; default: spatiotemporal regularization with robust
        generalized cross-validation. Needed where the data do not see a constant.
    rank
        Most singular vectors of the operator kept.
    wall
        Largest thickness of a wall, mm, across which the wave goes too, from one side of a closed surface to the other
        (`einthoven.inverse.physics.reaction_diffusion.across`); None: it runs along the surface only.
    dtype
        ``"float32"``, or ``"float64"`` within `jax.enable_x64`.
    """

    membrane: IonicModel = field(default_factory=imaging_cells)
    diffusivity: float | None = None
    laplacian: str = "weak"
    sigma: float | None = None
    noise: NoiseCovariance | None = None
    extracellular: bool = False
    start: Recording | None = None
    rank: int = 100
    wall: float | None = None
    dtype: str = "float32"

    def __post_init__(self):
        check_membrane(self.membrane)
        for name, value in (("sigma", self.sigma), ("diffusivity", self.diffusivity), ("wall", self.wall)):
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"cell physics: {name} must be positive; got {value!r}.")
        if self.rank < 1:
            raise InputError(f"cell physics: rank must be at least 1; got {self.rank!r}.")

    def prepare(self, operator: ForwardOperator, recording: Recording) -> "Prepared":
        """Check everything, estimate what is not given, and make the cost.

        Raises
        ------
        InputError
            For extracellular potentials unless `extracellular`, an invisible constant without `start`, a mesh too
            coarse for D, frames that are few or not uniform, and what classical solvers refuse.
        """
        posed = self.pose(operator, recording)
        start = self._start(posed)
        cells = excitation(self.membrane)
        diffusivity = self.diffusivity
        if diffusivity is None:
            diffusivity = diffusivity_on(posed.surface, cells, speed_of(start, posed.scale, cells, posed.surface))
        check_resolved(posed.surface, diffusivity, self.membrane)
        return self._prepared(posed, start, float(diffusivity))

    def prepare_free(self, operator: ForwardOperator, recording: Recording) -> "Prepared":
        """As `prepare` for residuals without weight: of any potential in any reference, and without D.

        The unit of u is the range of the start, its zero the source's own.

        Raises
        ------
        InputError
            For frames that are few or not uniform, and what classical solvers refuse.
        """
        posed = replace(self, extracellular=True).pose(operator, recording)
        start = classical(posed).estimate if self.start is None else self._given(posed.problem)
        posed = replace(posed, scale=VoltageScale(0.0, float(np.ptp(start.values)) or 1.0))
        return self._prepared(posed, start, least_diffusivity(posed.surface, self.membrane))

    def _prepared(self, posed: "Posed", start: Recording, diffusivity: float) -> "Prepared":
        """The cost, and fields that start at an estimate."""
        problem, scale, wave = posed.problem, posed.scale, posed.wave(self)
        cost = Cost.of(problem, wave, scale, sigma=posed.sigma, diffusivity=diffusivity, rank=self.rank)
        u = jnp.asarray(scale.from_mv(start.values), self.dtype)
        return Prepared(problem, posed.surface, scale, posed.sigma, diffusivity, cost, u, recovery_along(wave, u))

    def pose(self, operator: ForwardOperator, recording: Recording) -> "Posed":
        """Check everything that needs no estimate of the source.

        Raises
        ------
        InputError
            As `prepare`, but for what concerns the start and D.
        """
        surface = source_surface(operator, "physics of cells")
        scale = potential_scale(self.membrane, operator, extracellular=self.extracellular)
        step = frame_step(recording)
        problem = prepare(operator, recording, noise=self.noise)
        return Posed(problem, surface, scale, step, self.sigma if self.sigma is not None else noise_level(problem))

    def _start(self, posed: "Posed") -> Recording:
        """The given estimate, or the classical one."""
        problem = posed.problem
        if self.start is not None:
            return self._given(problem)
        if not problem.constant_visible:
            raise InputError(
                f"cells excite at an absolute potential, and with the reference {problem.operator.reference!r} the "
                "data do not show a constant on the heart. Use an absolute reference, or give `start`, an estimate "
                "with the right zero."
            )
        return classical(posed).estimate

    def _given(self, problem: Problem) -> Recording:
        """The given estimate, at the operator's sites."""
        assert self.start is not None
        if self.start.quantity != problem.operator.in_quantity:
            raise InputError(
                f"the start is {self.start.quantity}, the operator's sources are {problem.operator.in_quantity}; "
                "they must be the same."
            )
        if self.start.n_times != problem.recording.n_times:
            raise InputError(
                f"the start has {self.start.n_times} frames, the recording {problem.recording.n_times}; they must "
                "be the same."
            )
        return self.start.select(problem.operator.in_sites)


def noise_level(problem: Problem) -> float:
    """Standard deviation of the noise in lead space, mV, as `CellPhysics.sigma` says."""
    if problem.noise is not None or problem.recording.n_sites < LEADS_TO_HOLD_OUT:
        return problem.sigma()
    return held_out_leads(problem.operator, problem.recording, groups=4).sigma


def recovery_along(wave: ReactionDiffusion, u: Float[Array, "n t"]) -> Float[Array, "n t"]:
    """The recovery variable along a starting estimate: from rest, or from its mean where an activity has no beginning.

    Where more than `UNDER_WAY` of the nodes are excited in the first frame, the cells were not at rest before; v then
    begins everywhere at its mean over the second half of a first pass.
    """
    v = wave.recovery(u)
    peak = excitation(wave.membrane).peak
    if float((u[:, 0] > peak / 2).mean()) <= UNDER_WAY:
        return v
    return wave.recovery(u, first=v[:, v.shape[1] // 2 :].mean())


def potential_scale(membrane: IonicModel, operator: ForwardOperator, *, extracellular: bool = False) -> VoltageScale:
    """From the membrane's unit to the operator's source in mV: the one place where they are converted.

    Transmembrane potentials are the membrane's own. Heart-surface potentials are extracellular; taken for the
    excitation (`extracellular`), they are 0 mV at rest.

    Raises
    ------
    InputError
        For heart-surface potentials unless `extracellular`, and sources that are neither.
    """
    if operator.in_quantity == "vm":
        return membrane.scale
    if operator.in_quantity != "hsp":
        raise InputError(f"cells have a transmembrane potential; the operator's sources are {operator.in_quantity}.")
    if not extracellular:
        raise InputError(
            "the equations of cells hold for transmembrane potentials, and potentials on the heart surface are "
            "extracellular: they would be forced to have a plateau they do not have. Use an operator for transmembrane "
            "potentials (bem.double_layer) or a classical method; `extracellular=True` forces it, for comparison with "
            "the imaging papers."
        )
    return VoltageScale(0.0, membrane.scale.amplitude)


@dataclass(frozen=True, eq=False)
class Posed:
    """What is known before anything is estimated.

    Parameters
    ----------
    problem
        Operator and data in lead space.
    surface
        The heart.
    scale
        From the model unit to mV of the source.
    step
        Between frames, ms.
    sigma
        Noise of the leads, mV.
    """

    problem: Problem
    surface: Surface
    scale: VoltageScale
    step: float
    sigma: float

    def wave(self, physics: CellPhysics, membrane: IonicModel | None = None) -> ReactionDiffusion:
        """The residuals of a wave of cells: of those assumed, or of another membrane."""
        cells = physics.membrane if membrane is None else membrane
        return ReactionDiffusion.on(
            self.surface,
            cells,
            step=self.step,
            laplacian=physics.laplacian,
            wall=physics.wall,
            dtype=physics.dtype,
        )


def classical(posed: Posed) -> Reconstruction:
    """What needs no cells: spatiotemporal regularization with robust generalized cross-validation.

    Where that leaves less than half of the noise (`LEAST_OF_NOISE`), it has taken errors of the operator for sources,
    and the L-curve chooses the weight.

    Parameters
    ----------
    posed
        Operator, data and noise.
    """
    problem = posed.problem
    found = Stre(RobustGCV(), noise=problem.noise).reconstruct(problem.operator, problem.recording)
    left = problem.data - problem.matrix @ found.estimate.values
    if float((left**2).mean()) >= LEAST_OF_NOISE * posed.sigma**2:
        return found
    return Stre(LCurve(), noise=problem.noise).reconstruct(problem.operator, problem.recording)


def leading(problem: Problem, rank: int) -> Float[np.ndarray, "r k"]:
    """Rows that take lead space to the operator's first left singular vectors, at most `rank`."""
    left, values, _ = np.linalg.svd(problem.matrix, full_matrices=False)
    kept = min(rank, int((values > 1e-10 * values[0]).sum()))
    return np.ascontiguousarray(left[:, :kept].T)


class Cost(eqx.Module):
    """J and its parts, as a function of u and v.

    Parameters
    ----------
    matrix, data
        Rotated to the leading singular vectors, per standard deviation of the noise, for u in the model unit.
    wave
        The residuals.
    diffusivity
        D, mm2/ms.
    wanted
        Values that the residuals are drawn to in place of 0.
    """

    matrix: Float[Array, "r n"]
    data: Float[Array, "r t"]
    wave: ReactionDiffusion
    diffusivity: Float[Array, ""]
    wanted: "Perturbation | None" = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        wave: ReactionDiffusion,
        scale: VoltageScale,
        *,
        sigma: float,
        diffusivity: float,
        rank: int,
    ) -> "Cost":
        """The cost of a problem, its leading singular vectors computed once."""
        rows = leading(problem, rank)
        real = partial(jnp.asarray, dtype=wave.root.dtype)
        data = problem.data - scale.rest * problem.matrix.sum(axis=1, keepdims=True)
        return cls(
            matrix=real(rows @ problem.matrix * (scale.amplitude / sigma)),
            data=real(rows @ data / sigma),
            wave=wave,
            diffusivity=real(diffusivity),
        )

    def __call__(self, u: Float[Array, "n t"], v: Float[Array, "n t"], tolerance: Any) -> tuple[Any, "Parts"]:
        """J for residuals of standard deviation `tolerance`, and its parts."""
        misfit = jnp.sum((self.data - self.matrix @ u) ** 2)
        r_u, r_v = self.wave(u, v, self.diffusivity)
        if self.wanted is not None:
            r_u, r_v = r_u - self.wanted.r_u, r_v - self.wanted.r_v
        physics = jnp.sum(r_u**2) + jnp.sum(r_v**2)
        total = 0.5 * misfit + 0.5 * physics / tolerance**2
        return total, Parts(misfit / self.data.size, jnp.sqrt(physics / (2 * u.size)))

    def of_fields(self, fields: Any, tolerance: Any, key: Any) -> tuple[Any, "Parts"]:
        """J of fields on the grid; nothing is drawn with the key."""
        u, v = fields()
        return self(u, v, tolerance)

    def perturbed(self, by: "Perturbation") -> "Cost":
        """The cost with data and residuals moved."""
        return Cost(self.matrix, self.data + by.data, self.wave, self.diffusivity, by)


class Perturbation(eqx.Module):
    """What data and residuals are moved by: rotated data per standard deviation, and r_u and r_v.

    For all members of an ensemble together the members come first.
    """

    data: Float[Array, "*k r t"]
    r_u: Float[Array, "*k n t"]
    r_v: Float[Array, "*k n t"]


class Parts(eqx.Module):
    """chi2 per datum, and the root mean square of the residuals."""

    chi2: Any
    physics: Any


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a solver with cell physics starts from.

    Parameters
    ----------
    problem
        Operator and data in lead space.
    surface
        The heart.
    scale
        From the model unit to mV of the source.
    sigma
        Noise of the leads, mV.
    diffusivity
        D, mm2/ms.
    cost
        J.
    u, v
        Fields to start from, model unit.
    """

    problem: Problem
    surface: Surface
    scale: VoltageScale
    sigma: float
    diffusivity: float
    cost: Cost
    u: Float[Array, "n t"]
    v: Float[Array, "n t"]

    @property
    def half_peak(self) -> float:
        """The level at which a node counts as active, model unit."""
        return excitation(self.cost.wave.membrane).peak / 2

    def potential(self, u: Float[np.ndarray, "n t"]) -> Recording:
        """Potential of the source, mV, of a field in the model unit."""
        operator = self.problem.operator
        return Recording(self.scale.to_mv(u), self.problem.recording.times, operator.in_sites, operator.in_quantity)


def first_crossing(
    u: Float[np.ndarray, "n t"], times: Float[np.ndarray, " t"], level: Number
) -> Float[np.ndarray, " n"]:
    """First upward crossing of a level, ms, linear between frames; NaN where there is none or in the first frame."""
    above = u - level
    rises = (above[:, :-1] <= 0) & (above[:, 1:] > 0)
    k, row = rises.argmax(axis=1), np.arange(len(u))
    seen = rises.any(axis=1) & (above[:, 0] <= 0)
    before, after = above[row, k], above[row, k + 1]
    share = np.where(seen, before / np.where(seen, before - after, 1.0), np.nan)
    return times[k] + share * np.diff(times)[k]


class NoFrontError(InputError):
    """An estimate shows no front, so that nothing can be read off it."""


def speed_of(estimate: Recording, scale: VoltageScale, cells: Excitation, surface: Surface) -> float:
    """Median conduction velocity of an estimate, mm/ms, from its first upward crossings of half the peak.

    Nodes that are excited in the first frame, or never, do not count.

    Raises
    ------
    NoFrontError
        If fewer than one node in ten is seen to be excited: D must then be given.
    """
    times = first_crossing(scale.from_mv(estimate.values), estimate.times, cells.peak / 2)
    seen = np.isfinite(times)
    if seen.mean() < 0.1:
        raise NoFrontError(
            f"the estimate to start from shows a front at {int(seen.sum())} of {len(seen)} nodes only, so the "
            "diffusivity cannot be read off it; is the scale right (mV), and are these potentials of cells? "
            "Those outside of cells are a few mV. Otherwise give `diffusivity` (mm2/ms)."
        )
    return conduction_velocity(surface, times).median
