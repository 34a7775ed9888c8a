"""Strong constraint: the estimate is exactly a wave of cells that starts at a few foci."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import Capabilities, ForwardOperator, Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.forward.lead_errors import LeadErrors
from einthoven.inverse.physics.fields import CellPhysics, NoFrontError, Posed, speed_of
from einthoven.inverse.physics.focal_fit import FocalPriors, FocalProblem, FocalState, focal_problem
from einthoven.inverse.physics.focal_search import FocalSearch, search
from einthoven.inverse.physics.focal_wave import FocalWave
from einthoven.inverse.physics.solver import CellSolver
from einthoven.inverse.physics.waves import check_resolved, clocked, excitation, least_diffusivity
from einthoven.inverse.problem import prepare
from einthoven.inverse.rules import Discrepancy
from einthoven.inverse.sweep import Choice
from einthoven.inverse.tikhonov import Tikhonov

#: What may be relied upon: the cells fix scale and zero, and any reference will do.
FOCAL = Capabilities(linear=False, reference_invariant=True, needs_absolute_scale=True)

#: Name of the rule: the number of foci is the only choice.
BIC = "bic"

#: Largest speed that is expected before the fit, mm/ms: smooth estimates make waves that meet look faster than muscle.
FASTEST = 1.0

#: Speed that is expected where no front is seen, mm/ms: between those across and along the fibers of the ventricles.
TYPICAL = 0.5

Number = float | int


class Focus(NamedTuple):
    """Where and when a wave starts.

    Parameters
    ----------
    position
        Shape (3,), mm, on the surface.
    onset
        Middle of its pulse, ms.
    """

    position: Float[np.ndarray, " 3"]
    onset: float


@dataclass(frozen=True, eq=False)
class FocalImage:
    """A wave fitted to the data.

    Parameters
    ----------
    reconstruction
        Estimate (without the mean over the nodes where the data do not show a constant), residual and diagnostics.
    absolute
        The wave's potential at the nodes and frames, with its own zero, mV.
    recovery
        Its recovery variable, model unit.
    foci
        In the order of their onsets.
    diffusivity, clock
        D, mm2/ms, and the factor on the membrane's rates.
    operator
        What the wave was seen through: that given, corrected by the errors that were fitted.
    gain, errors
        Of the leads (1 and none unless fitted), the errors in the units of `LeadErrors.names`.
    posed
        The problem with that operator.
    problem, state
        What was fitted, and the end of the fit.
    """

    reconstruction: Reconstruction
    absolute: Recording
    recovery: Float[np.ndarray, "n t"]
    foci: tuple[Focus, ...]
    diffusivity: float
    clock: float
    operator: ForwardOperator
    gain: float
    errors: dict[str, float]
    posed: Posed
    problem: FocalProblem
    state: FocalState

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search."""
        return bool(self.reconstruction.diagnostics["interrupted"])


@dataclass(frozen=True, eq=False)
class StrongConstraint:
    """Foci, diffusivity and clock fitted through the reaction-diffusion equation.

    min |(y - A x(u)) / sigma|^2 over the foci's number, places and onsets, log D and log clock, where u solves

        du/dt = D Lap u + c f(u, v),    dv/dt = c g(u, v)

    on the heart from rest (`einthoven.inverse.physics.focal_wave`). Starts from candidates all over the surface
    (`focal_search`), then Levenberg and Marquardt (`focal_fit`). The data need not show a constant: cells have a
    resting potential. Waves that have started before the recording are not foci, and are out of reach.

    Parameters
    ----------
    physics
        What is assumed of cells, noise and data; `start` is not used. A `diffusivity` is where D begins.
    search
        How foci are looked for.
    priors
        Spread of D, clock and gain.
    radius
        Of a focus, mm; default `focal_wave.RADIUS` mean edges.
    errors
        Errors of the geometry that are fitted with the wave; the operator to image with is their `leads`.
    progress
        Told about candidates and fits.

    Raises
    ------
    InputError
        As `CellPhysics.pose`, and for a radius below half an edge or errors of another operator.

    References
    ----------
    Sasaki, Monthly Weather Review 98:875, 1970, doi:10.1175/1520-0493(1970)098<0875:SBFINV>2.3.CO;2 (strong and weak
    constraints); Schwarz, Annals of Statistics 6:461, 1978, doi:10.1214/aos/1176344136 (BIC).
    """

    physics: CellPhysics = field(default_factory=CellPhysics)
    search: FocalSearch = field(default_factory=FocalSearch)
    priors: FocalPriors = field(default_factory=FocalPriors)
    radius: Number | None = None
    errors: LeadErrors | None = None
    progress: Progress = silent
    name: str = "strong"
    capabilities: ClassVar[Capabilities] = FOCAL

    def within(self, solver: CellSolver) -> "StrongConstraint":
        """The same as a part of another solver: with its physics, and telling its progress."""
        return replace(self, physics=solver.physics, progress=solver.progress)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> FocalImage:
        """Estimate the source, with its foci; Ctrl-C keeps the best so far."""
        problem, posed = self._problem(operator, recording)
        best: FocalState | None = None
        interrupted = False
        try:
            for state in search(problem, self.search, progress=self.progress):
                best = state
        except KeyboardInterrupt:
            if best is None:
                raise
            interrupted = True
        assert best is not None
        return self._packed(problem, posed, best, interrupted)

    def _problem(self, operator: ForwardOperator, recording: Recording) -> tuple[FocalProblem, Posed]:
        physics = self.physics
        posed = physics.pose(operator, recording)
        expected = physics.diffusivity
        if expected is None:
            expected = expected_diffusivity(physics, posed)
        else:
            check_resolved(posed.surface, expected, physics.membrane)
        model = FocalWave.on(posed.surface, posed.wave(physics), posed.problem.recording.times, radius=self.radius)
        problem = focal_problem(
            posed,
            model,
            rank=physics.rank,
            expected=expected,
            least=least_diffusivity(posed.surface, physics.membrane),
            priors=self.priors,
            errors=self.errors,
        )
        return problem, posed

    def _packed(self, problem: FocalProblem, posed: Posed, state: FocalState, interrupted: bool) -> FocalImage:
        foci, errors = state.foci, self.errors
        order = np.argsort(foci.onsets)
        operator = posed.problem.operator
        if errors is not None:
            changed = errors.at(state.errors).select(operator.out_sites)
            operator = replace(operator, matrix=changed.matrix)
        operator = replace(operator, matrix=state.gain * operator.matrix)
        whole = prepare(operator, posed.problem.recording, noise=self.physics.noise)
        cells = excitation(clocked(self.physics.membrane, foci.clock))
        diagnostics = {
            "chi2": state.misfit / problem.data.size,
            "n_sources": float(len(order)),
            "diffusivity": foci.diffusivity,
            "clock": foci.clock,
            "conduction_velocity": cells.speed(foci.diffusivity),
            "bic": problem.bic(state),
            "sigma": posed.sigma,
            "gain": state.gain,
            "interrupted": float(interrupted),
        }
        values = problem.scale.to_mv(state.fields.u)
        times = whole.recording.times
        return FocalImage(
            whole.reconstruction(values, Choice(0.0), method=self.name, rule=BIC, diagnostics=diagnostics),
            Recording(values, times, operator.in_sites, operator.in_quantity),
            state.fields.v,
            tuple(Focus(foci.positions[k], float(foci.onsets[k])) for k in order),
            foci.diffusivity,
            foci.clock,
            operator,
            state.gain,
            dict(zip(errors.names, map(float, state.errors), strict=True)) if errors is not None else {},
            replace(posed, problem=whole),
            problem,
            state,
        )


def with_zero(
    physics: CellPhysics, operator: ForwardOperator, recording: Recording, *, progress: Progress = silent
) -> CellPhysics:
    """The physics with a start that has the cells' zero, where the data do not show it and none is given.

    Parameters
    ----------
    physics, operator, recording
        As for a solver.
    progress
        Told about the search for the wave that is the start, if one is needed; Ctrl-C then is raised again.
    """
    if physics.start is not None or physics.pose(operator, recording).problem.constant_visible:
        return physics
    image = StrongConstraint(physics, progress=progress).image(operator, recording)
    if image.interrupted:
        raise KeyboardInterrupt
    diffusivity = image.diffusivity if physics.diffusivity is None else physics.diffusivity
    return replace(physics, start=image.absolute, diffusivity=diffusivity)


def expected_diffusivity(physics: CellPhysics, posed: Posed) -> float:
    """D of the conduction velocity of the Laplacian estimate, mm2/ms.

    At most that of `FASTEST`, at least what the mesh carries.

    Where the data do not show a constant, cells at rest (the 2 % quantile of the nodes) show the zero of every frame;
    if an image of transmembrane potentials is too flat to show a front, the velocity is `TYPICAL`.

    Raises
    ------
    NoFrontError
        If heart-surface potentials show no front: they are not of the cells' size.
    """
    problem, scale = posed.problem, posed.scale
    found = Tikhonov(2, Discrepancy(posed.sigma), physics.noise).reconstruct(problem.operator, problem.recording)
    values = found.estimate.values
    if not problem.constant_visible:
        values = values - np.quantile(values, 0.02, axis=0) + scale.rest
    cells = excitation(physics.membrane)
    try:
        speed = min(speed_of(found.estimate.with_values(values), scale, cells, posed.surface), FASTEST)
    except NoFrontError:
        if problem.operator.in_quantity != "vm":
            raise
        speed = TYPICAL
    return max(cells.diffusivity(speed), least_diffusivity(posed.surface, physics.membrane))
