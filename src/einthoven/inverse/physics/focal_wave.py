"""Waves that start at a few foci of a surface, with their exact derivatives.

For u (model unit) and the recovery variable v at the nodes, from rest,

    du/dt = c f(u, v) - D A u + sum_q s_q(t) exp(-|x - p_q|^2 / r^2) (b - u)          dv/dt = c g(u, v)

f and g are the membrane's rates, c the clock (a common factor on them), D the diffusivity, A minus the Laplacian of
`einthoven.inverse.physics.reaction_diffusion`, b the membrane's peak. A focus at p_q pulls u within the radius r up to
the peak, with a Gaussian pulse s_q about its onset, so that place and onset are continuous unknowns. Steps are
explicit: of Runge, Kutta and Chebyshev, second order (`einthoven.inverse.physics.chebyshev`), whose stages let
diffusion take long steps. Derivatives by log D, log c, places and onsets are those of the discrete steps,
carried along with the wave: one column each.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse
from scipy.sparse.linalg import eigs

from einthoven.core import InputError, Surface
from einthoven.geometry.quality import edge_lengths
from einthoven.inverse.physics.chebyshev import MOST_STAGES, Stages, reach, stages_for
from einthoven.inverse.physics.reaction_diffusion import ReactionDiffusion
from einthoven.inverse.physics.waves import excitation

Number = float | int

#: Standard deviation of a focus' pulse per upstroke time (2 ms for Aliev-Panfilov cells), and its integral: a focus
#: reaches 1 - exp(-3) = 95 % of the peak.
PULSE, PULL = 0.15, 3.0

#: Radius of a focus per mean edge of the surface.
RADIUS = 1.5

#: Longest steps, share of the upstroke time: of waves, and of those that are only compared with each other.
UPSTROKE_STEP, COARSE_STEP = 0.09, 0.12


class Steps(NamedTuple):
    """Steps per frame, and stages per step."""

    number: int
    stages: int


class Foci(NamedTuple):
    """Parameters of a wave.

    Parameters
    ----------
    positions
        Shape (n_foci, 3), mm.
    onsets
        Shape (n_foci,), ms.
    diffusivity
        D, mm2/ms.
    clock
        c, dimensionless.
    """

    positions: Float[np.ndarray, "n_foci 3"]
    onsets: Float[np.ndarray, " n_foci"]
    diffusivity: float
    clock: float = 1.0


class FocalFields(NamedTuple):
    """A wave at the frames, and its derivatives.

    Parameters
    ----------
    u, v
        Model unit.
    derivative
        Of u by log D, log clock, positions (x, y, z of the first focus, of the second, ..., mm) and onsets (ms).
    """

    u: Float[np.ndarray, "n t"]
    v: Float[np.ndarray, "n t"]
    derivative: Float[np.ndarray, "n t p"]


class FocalWave(eqx.Module):
    """Simulates waves of foci on one surface at given frames.

    Parameters
    ----------
    wave
        Membrane and Laplacian.
    points
        Nodes, mm.
    radius
        r, mm.
    pulse
        Standard deviation of the pulse in time, ms.
    peak
        b.
    first
        Time of the first frame, ms.
    fastest
        Largest eigenvalue of A, 1/mm2.
    lead
        Frames before the first one at which the simulation begins.
    n_times
        Number of frames.
    """

    wave: ReactionDiffusion
    points: Float[Array, "n 3"]
    radius: Float[Array, ""]
    pulse: Float[Array, ""]
    peak: Float[Array, ""]
    first: Float[np.ndarray, ""]
    fastest: Float[np.ndarray, ""]
    lead: int = eqx.field(static=True)
    n_times: int = eqx.field(static=True)

    @classmethod
    def on(
        cls, surface: Surface, wave: ReactionDiffusion, times: Float[np.ndarray, " t"], *, radius: Number | None = None
    ) -> "FocalWave":
        """Waves on a surface.

        Parameters
        ----------
        surface
            That of `wave`.
        wave
            Its interval must be that of the frames.
        times
            Frames, uniform, ms.
        radius
            r, mm; default `RADIUS` mean edges, at which a focus holds some nodes wherever it is.

        Raises
        ------
        InputError
            If the radius is not positive, or less than half a mean edge: a focus between nodes would excite none.
        """
        edge = float(edge_lengths(surface).mean())
        radius = RADIUS * edge if radius is None else radius
        if not 0.5 * edge <= radius < np.inf:
            raise InputError(
                f"{surface.name}: the radius of a focus must be at least half a mean edge, {0.5 * edge:.3g} mm, or it "
                f"excites no node; got {radius!r}."
            )
        dtype = wave.root.dtype
        cells = excitation(wave.membrane)
        upstroke = 1 / cells.steepest
        return cls(
            wave=wave,
            points=jnp.asarray(surface.points, dtype),
            radius=jnp.asarray(radius, dtype),
            pulse=jnp.asarray(PULSE * upstroke, dtype),
            peak=jnp.asarray(cells.peak, dtype),
            first=np.asarray(times[0], np.float64),
            fastest=np.asarray(_largest_eigenvalue(wave), np.float64),
            lead=max(1, int(np.ceil(upstroke / float(wave.step)))),
            n_times=len(times),
        )

    @property
    def earliest(self) -> float:
        """The first onset that a focus can have, ms: its pulse begins with the simulation."""
        return float(self.first) - self.lead * float(self.wave.step) + 2.5 * float(self.pulse)

    def steps(self, diffusivity: Number, clock: Number, *, longest: Number = UPSTROKE_STEP) -> Steps:
        """Steps that are stable, and at most a share of the upstroke time long."""
        frame = float(self.wave.step)
        rate = diffusivity * float(self.fastest) * frame
        number = max(frame * clock / (longest * float(self.wave.unit)), rate / reach(MOST_STAGES))
        number = int(np.ceil(number))
        return Steps(number, stages_for(rate / number))

    def most(self, steps: Steps) -> float:
        """Largest D at which steps are stable, mm2/ms."""
        return reach(steps.stages) * steps.number / (float(self.wave.step) * float(self.fastest))

    def fields(self, foci: Foci, steps: Steps | None = None) -> FocalFields:
        """The wave and its derivatives.

        Parameters
        ----------
        foci
            Parameters.
        steps
            Of the simulation; default: the method `steps`. With fixed ones the wave depends smoothly on D and clock.

        Raises
        ------
        InputError
            If parameters are not finite, D or clock not positive, or an onset is before `earliest`.
        """
        self._check(foci)
        steps = steps or self.steps(foci.diffusivity, foci.clock)
        u, v, slope = _with_derivative(self, self._inside(foci), self._course(steps))
        return FocalFields(*(np.asarray(x, dtype=np.float64) for x in (u.T, v.T, slope.transpose(1, 0, 2))))

    def seen(
        self, matrix: Float[np.ndarray, "r n"], foci: Foci, candidates: Foci, *, longest: Number = UPSTROKE_STEP
    ) -> Float[np.ndarray, "r t n_candidates"]:
        """Matrix @ u of waves that have one more focus: every candidate in turn.

        Parameters
        ----------
        matrix
            What sees u.
        foci
            Foci that all waves have (possibly none), D and clock.
        candidates
            One more focus of every wave; D and clock are not looked at.
        longest
            Step, share of the upstroke time.
        """
        course = self._course(self.steps(foci.diffusivity, foci.clock, longest=longest))
        rows = jnp.asarray(matrix, self.points.dtype)
        found = _seen(self, rows, self._inside(foci), self._inside(candidates), course)
        return np.moveaxis(np.asarray(found, dtype=np.float64), 0, 1)

    def _inside(self, foci: Foci) -> Any:
        """Arrays of the computation's precision, times since the first frame."""
        foci = foci._replace(onsets=foci.onsets - self.first)
        return jax.tree.map(lambda x: jnp.asarray(x, self.points.dtype), foci)

    def _course(self, steps: Steps) -> Any:
        """Steps as arrays: other steps are no other program."""
        stages = Stages.of(steps.stages, str(self.points.dtype))
        return jnp.asarray(steps.number, jnp.int32), stages

    def _check(self, foci: Foci) -> None:
        if not all(np.isfinite(x).all() for x in foci) or not (foci.diffusivity > 0 and foci.clock > 0):
            raise InputError("foci must be finite, and their diffusivity and clock positive.")
        if len(foci.onsets) and np.min(foci.onsets) < self.earliest - 1e-3:
            raise InputError(
                f"a focus must start at {self.earliest:.4g} ms or later, {self.lead} frames before the first one; got "
                f"{np.min(foci.onsets):.4g} ms."
            )

    def bumps(self, positions: Float[Array, "k 3"]) -> Float[Array, "k n"]:
        """What every focus is at the nodes, 1 at its place."""
        away = self.points[None] - positions[:, None]
        return jnp.exp(-jnp.sum(away**2, axis=2) / self.radius**2)

    def pulses(self, onsets: Float[Array, " k"], t: Any) -> Float[Array, " k"]:
        """s_q at a time, 1/ms."""
        return PULL / (self.pulse * np.sqrt(2 * np.pi)) * jnp.exp(-0.5 * ((t - onsets) / self.pulse) ** 2)

    def spread(self, u: Float[Array, "n m"]) -> Float[Array, "n m"]:
        """A u."""
        return (self.wave.negative_laplacian @ u) / self.wave.root

    @property
    def rest(self) -> Any:
        """The recovery variable at rest."""
        return self.wave.membrane.rest()[1][0]


@eqx.filter_jit
def _with_derivative(model: FocalWave, foci: Any, course: Any) -> tuple[Any, Any, Any]:
    """u, v and the derivative of u, frames first.

    The membrane acts node by node: the derivatives of its rates are four numbers per node, whatever the parameters.
    """
    k, n = len(foci.onsets), len(model.points)
    d, c, bumps = foci.diffusivity, foci.clock, model.bumps(foci.positions)
    by_log_d, by_log_c, *by_foci = jnp.split(jnp.eye(2 + 4 * k, dtype=model.points.dtype), [1, 2, 2 + 3 * k])
    bumps_by = _bumps_by(model, foci.positions, by_foci[0].reshape(k, 3, -1))

    def rates(state: Any, t: Any) -> Any:
        u, v, du, dv = state
        (f, g), (f_u, g_u), (f_v, g_v) = _linear(model.wave.rates, u[:, 0], v[:, 0])
        pulses, later = jax.jvp(lambda t: model.pulses(foci.onsets, t), (t,), (jnp.ones_like(t),))
        spread, pull = model.spread(u), (pulses @ bumps)[:, None]
        slope_u = c * f[:, None] - d * spread + pull * (model.peak - u)
        by_pull = jnp.tensordot(pulses, bumps_by, 1) - bumps.T @ (later[:, None] * by_foci[1])
        slope_du = c * (f_u[:, None] * du + f_v[:, None] * dv) - d * model.spread(du) - pull * du
        slope_du += by_pull * (model.peak - u) - by_log_d * (d * spread) + by_log_c * (c * f)[:, None]
        slope_dv = c * (g_u[:, None] * du + g_v[:, None] * dv) + by_log_c * (c * g)[:, None]
        return slope_u, c * g[:, None], slope_du, slope_dv

    one, many = jnp.zeros((n, 1), bumps.dtype), jnp.zeros((n, 2 + 4 * k), bumps.dtype)
    start = (one, one + model.rest, many, many)
    return _march(model, rates, start, course, lambda u, v, du, dv: (u[:, 0], v[:, 0], du))


def _bumps_by(model: FocalWave, positions: Any, moves: Float[Array, "k 3 p"]) -> Float[Array, "k n p"]:
    """Change of the bumps along changes of their places."""
    return jax.vmap(lambda move: jax.jvp(model.bumps, (positions,), (move,))[1], -1, -1)(moves)


def _linear(rates: Any, u: Any, v: Any) -> Any:
    """Rates and their derivatives by u and by v, node by node."""
    one, none = jnp.ones_like(u), jnp.zeros_like(u)
    value, by_u = jax.jvp(rates, (u, v), (one, none))
    return value, by_u, jax.jvp(rates, (u, v), (none, one))[1]


@eqx.filter_jit
def _seen(model: FocalWave, matrix: Any, foci: Any, candidates: Any, course: Any) -> Any:
    """Matrix @ u of every candidate, frames first."""
    known, new = model.bumps(foci.positions), model.bumps(candidates.positions).T

    def rates(state: Any, t: Any) -> Any:
        u, v = state
        f, g = model.wave.rates(u, v)
        pull = (model.pulses(foci.onsets, t) @ known)[:, None] + model.pulses(candidates.onsets, t) * new
        return foci.clock * f - foci.diffusivity * model.spread(u) + pull * (model.peak - u), foci.clock * g

    start = jnp.zeros_like(new), jnp.full_like(new, model.rest)
    return _march(model, rates, start, course, lambda u, v: matrix @ u)


def _march(model: FocalWave, rates: Any, start: Any, course: Any, look: Any) -> Any:
    """What `look` sees at the frames."""
    number, stages = course
    h = model.wave.step / number

    def step(_: Any, carry: Any) -> Any:
        state, t = carry
        return stages(rates, state, t, h), t + h

    def frame(state: Any, frame: Any) -> Any:
        state, _ = jax.lax.fori_loop(0, number, step, (state, frame * model.wave.step))
        return state, look(*state)

    frames = jnp.arange(1 - model.lead, model.n_times, dtype=model.points.dtype) - 1
    _, found = jax.lax.scan(frame, start, frames)
    return jax.tree.map(lambda x: x[model.lead - 1 :], found)


def _largest_eigenvalue(wave: ReactionDiffusion) -> float:
    """Of A."""
    rows = wave.negative_laplacian
    n = rows.index.shape[1]
    weight = np.asarray(rows.weight / wave.root[:, 0], dtype=np.float64)
    column = np.tile(np.arange(n), (len(weight), 1))
    matrix = sparse.csr_array((weight.ravel(), (column.ravel(), np.asarray(rows.index).ravel())), shape=(n, n))
    start = np.random.default_rng(0).standard_normal(n)
    return float(np.abs(eigs(matrix, k=1, v0=start, return_eigenvectors=False))[0])
