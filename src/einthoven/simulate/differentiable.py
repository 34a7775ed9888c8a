"""The monodomain as one differentiable function: gradients with respect to tissue, membrane and stimulus.

The time stepping is that of the compiled engine: Godunov's or Strang's splitting with explicit diffusion. See
docs/concepts/gradients.md for what is exact, what it costs and what is refused.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from einthoven.core import Electrodes, InputError, Surface
from einthoven.forward.lead_field import BATH_CONDUCTIVITY, INTRACELLULAR_PER_DIFFUSIVITY
from einthoven.ionic import IonicModel
from einthoven.ionic.stepping import reaction_step
from einthoven.protocol import Protocol
from einthoven.simulate.keep import Activation
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.schemes import Explicit, Scheme, Strang
from einthoven.simulate.second_order import midpoint_step
from einthoven.simulate.traced import (
    Diffusion,
    GraphDiffusion,
    GridDiffusion,
    Numeric,
    apart,
    checkpointed_scan,
    nested_lengths,
    pulse,
)
from einthoven.tissue import Stencil, Tissue

Number = float | int

#: Levels at which activation and recovery are looked for unless told otherwise.
FIRST_BEAT = Activation()


class Currents(eqx.Module):
    """Stimulus currents whose strength and times can be differentiated.

    Parameters
    ----------
    amplitude
        What each adds to dv/dt, mV/ms.
    onset, duration
        ms. With an edge, onset is the middle of the rise and the fall's middle is a duration later, so that the
        charge does not depend on the edge.
    region
        Shape (n_stimuli, n_nodes): 1 at the nodes that each drives, 0 elsewhere; values between are allowed.
    edge
        Width of rise and fall, ms. 0: a box, as in the engine when onset and duration are multiples of dt; derivatives
        with respect to onset and duration are then refused.
    """

    amplitude: Float[Numeric, " n_stimuli"]
    onset: Float[Numeric, " n_stimuli"]
    duration: Float[Numeric, " n_stimuli"]
    region: Float[Numeric, "n_stimuli n_nodes"]
    edge: Number = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        if not 0 <= self.edge < 1e3:
            raise InputError(f"the edge of stimuli must be 0 or a width in ms; got {self.edge:g}.")
        if _is_known(self.onset) and (early := np.asarray(self.onset) < 0.5 * self.edge).any():
            k = int(early.argmax())
            raise InputError(
                f"stimulus {k}: its edge of {self.edge:g} ms around {float(self.onset[k]):g} ms begins before 0 ms and "
                f"is cut. Let it start at {0.5 * self.edge:g} ms or later."
            )
        if _is_known(self.duration) and not (np.asarray(self.duration) > 0).all():
            raise InputError("stimuli must last a positive time in ms.")

    @classmethod
    def of(cls, protocol: Protocol, tissue: Tissue, *, edge: Number = 0.0) -> "Currents":
        """The stimuli of a protocol.

        Raises
        ------
        InputError
            If one is a clamp, or lies outside the tissue.
        """
        if any(s.kind != "current" for s in protocol.stimuli):
            raise InputError("gradients know currents only; a clamp replaces the potential. Use kind 'current'.")
        region = np.zeros((len(protocol), tissue.n_nodes))
        for row, nodes in zip(region, protocol.select(tissue), strict=True):
            row[nodes] = 1.0
        table = np.array([(s.amplitude, s.start, s.duration) for s in protocol.stimuli], dtype=np.float64).reshape(
            -1, 3
        )
        amplitude, onset, duration = table.T
        return cls(amplitude, onset, duration, region, edge)


class State(NamedTuple):
    """Potential (model unit), shape (n_nodes,), and states of the membrane, shape (n_states, n_nodes)."""

    v: Any
    states: Any


class Wave(eqx.Module):
    """What a simulation gave; every number can be differentiated.

    Parameters
    ----------
    vm
        Transmembrane potential at `DifferentiableMonodomain.times`, mV, shape (n_nodes, n_times); no columns if not
        kept.
    ecg
        Leads at the same times, mV, shape (n_leads, n_times); no rows without a lead field.
    activation, recovery
        First upward crossing of the activation level and first downward crossing of the recovery level after it, ms,
        NaN where there is none (leave such nodes out of a sum with ``jnp.where``); empty if not kept. Linear between
        two steps, which makes their derivative the implicit one, -(dv/dp) / (dv/dt).
    last
        State after the last step.
    """

    vm: Float[Array, "n_nodes n_times"]
    ecg: Float[Array, "n_leads n_times"]
    activation: Float[Array, " n"]
    recovery: Float[Array, " n"]
    last: State


class DifferentiableMonodomain(eqx.Module):
    """Steps a monodomain from (membrane, coupling weights, stimuli) to potentials, ECG and activation times.

    A pure function of its arguments: `jax.grad`, `jax.jvp`, `jax.vmap` and `jax.jit` apply, on a CPU or a GPU alike.
    The reverse pass keeps the state at the starts of nested loops only, so that its memory grows with the (levels +
    1)-th root of the number of steps.

    Parameters
    ----------
    monodomain
        Tissue and membrane; diffusion must be explicit. Its dtype is that of the computation; float64 needs JAX's
        64-bit mode, which is the caller's to set.
    dt
        Time step, ms.
    t_end
        Length, ms; a multiple of `every`.
    every
        Interval of potentials and ECG, ms; a multiple of dt.
    activation
        Levels of activation and recovery, `max_beats` 1; None: not kept, which saves two fields per stored state.
    keep_vm
        Whether potentials are kept; the ECG and the activation times need none.
    levels
        Nested loops over the samples: 2 keeps about 2 sqrt(n_samples) + every / dt states, 3 fewer at the cost of one
        more forward pass; 0 keeps every intermediate of every step, for comparison.

    Raises
    ------
    InputError
        For implicit diffusion, intervals that do not divide, float64 in 32-bit mode.

    Examples
    --------
    >>> sheet = Tissue.isotropic(Grid((32, 32), 0.5), 0.1)  # doctest: +SKIP
    >>> run = DifferentiableMonodomain(Monodomain(sheet, model), dt=0.1, t_end=40.0)  # doctest: +SKIP
    >>> times = lambda factor: run(model, run.scaled(factor), currents).activation  # doctest: +SKIP
    >>> jax.grad(lambda factor: times(factor).mean())(jnp.ones(sheet.n_nodes))  # doctest: +SKIP
    """

    #: Coupling weights of the tissue as it is, 1/ms.
    weights: Float[np.ndarray, "..."]
    share: Float[np.ndarray, "..."]
    diffusion: Diffusion
    scheme: Scheme = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    steps_per_sample: int = eqx.field(static=True)
    n_samples: int = eqx.field(static=True)
    activation: Activation | None = eqx.field(static=True)
    keep_vm: bool = eqx.field(static=True)
    levels: int = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(
        self,
        monodomain: Monodomain,
        *,
        dt: Number,
        t_end: Number,
        every: Number = 1.0,
        activation: Activation | None = FIRST_BEAT,
        keep_vm: bool = True,
        levels: int = 2,
    ):
        if not isinstance(monodomain.scheme.diffusion, Explicit):
            raise InputError(
                f"gradients step with explicit diffusion; got {monodomain.scheme}. Build the monodomain with scheme "
                "Godunov(Explicit()) or Strang(Explicit(order=2))."
            )
        if activation is not None and activation.max_beats != 1:
            raise InputError(f"gradients keep the first beat only; got max_beats = {activation.max_beats}.")
        if levels not in range(9):
            raise InputError(f"levels must be 0 (no checkpoints) to 8; got {levels}.")
        coupling = monodomain.tissue.coupling
        on_grid = isinstance(coupling, Stencil)
        self.diffusion = GridDiffusion.of(coupling) if on_grid else GraphDiffusion.of(coupling)
        self.weights = coupling.weights
        self.share = self.diffusion.shares(_local_diffusivity(monodomain.tissue))
        self.scheme, self.dt = monodomain.scheme, float(dt)
        self.steps_per_sample = _ratio(every, dt, "the interval `every`", "dt")
        self.n_samples = _ratio(t_end, every, "t_end", "the interval `every`")
        self.activation, self.keep_vm, self.levels, self.dtype = activation, keep_vm, levels, monodomain.dtype

    @property
    def n_nodes(self) -> int:
        """Number of conducting nodes."""
        return self.diffusion.nodes.shape[0] if isinstance(self.diffusion, GridDiffusion) else self.weights.shape[0]

    @property
    def _parts(self) -> int:
        """Into how many the stimulus and the diffusion of a step are split."""
        return 2 if isinstance(self.scheme, Strang) else 1

    @property
    def times(self) -> Float[np.ndarray, " n_times"]:
        """Times of potentials and ECG, ms: 0, every, ..., t_end."""
        return self.dt * self.steps_per_sample * np.arange(self.n_samples + 1.0)

    def scaled(self, factor: Float[Numeric, " n_nodes"]) -> Float[Array, "..."]:
        """Weights of the tissue with its diffusivity multiplied by a positive factor per node.

        On a grid whose fibers run along its axes, or without fibers, exactly those of `Tissue.scaled`. With oblique
        fibers and on surfaces each rate is multiplied by the harmonic mean of the two factors, which agrees where the
        factor is constant and to second order in its change from node to node.

        Raises
        ------
        InputError
            If factors are not positive or not one per node.
        """
        factor = self._real(factor)
        if factor.shape != (self.n_nodes,):
            raise InputError(f"factors of the diffusivity must be one per node ({self.n_nodes}); got {factor.shape}.")
        good = jnp.isfinite(factor) & (factor > 0)
        factor = _demand(factor, {"factors of the diffusivity must be positive and finite.": good.all()})
        return self.diffusion.scaled(self._real(self.weights), self._real(self.share), factor)

    def lead_field(
        self, weights: Float[Numeric, "..."], transfer: Float[Numeric, "n_leads n_nodes"]
    ) -> Float[Array, "n_leads n_nodes"]:
        """Leads from potentials, L = Z A^T with the coupling A of the weights: the ECG knows the conductivities twice.

        Parameters
        ----------
        weights
            As for the simulation.
        transfer
            Z: lead potential (mV) per unit of dv/dt (mV/ms) at each node; `infinite_medium` makes it.
        """
        weights = self._real(weights)

        def row(z: Any) -> Any:
            return self.diffusion.collect(self.diffusion.adjoint(weights, self.diffusion.spread(z)))

        return jax.vmap(row)(self._real(transfer))

    def __call__(
        self,
        model: IonicModel,
        weights: Float[Numeric, "..."],
        currents: Currents,
        *,
        lead_field: Float[Numeric, "n_leads n_nodes"] | None = None,
        initial: State | None = None,
    ) -> Wave:
        """Simulate.

        Parameters
        ----------
        model
            Membrane; parameters are numbers or one per node.
        weights
            `weights` of this object, or of `scaled`.
        currents
            Stimuli.
        lead_field
            From potentials (mV) to leads (mV), for example of `einthoven.forward.lead_field`, or `lead_field` of this
            object where conductivities are differentiated.
        initial
            State to start from; default: rest.

        Raises
        ------
        InputError
            For a model with thresholds, shapes that do not fit, NaN, dt above its limit, a potential that blows up.
            Where values are known only when the compiled program runs (inside `jax.jit`, `grad`, `vmap`), these are
            checked there and the error is JAX's, with the same sentence.
        """
        _check_smooth(model)
        self._check_mode()
        leads = np.zeros((0, self.n_nodes)) if lead_field is None else lead_field
        model, weights, currents, leads = jax.tree.map(self._real, (model, weights, currents, leads))
        self._check_shapes(model, weights, currents, leads)
        given = initial if initial is None else State(*map(self._real, initial))
        weights = self._check_values(model, weights, (currents, leads, given))
        wave = _run(self, model, (weights, currents, leads), given)
        good = jnp.isfinite(wave.last.v).all()
        problem = f"the potential became NaN or infinite before t_end with dt = {self.dt:g} ms. Lower dt, or "
        problem += "check the stimulus."
        return _demand(wave, {problem: good})

    def _real(self, value: Any) -> Any:
        self._check_mode()
        return jnp.asarray(value, self.dtype)

    def _check_mode(self) -> None:
        if self.dtype == "float64" and not jax.config.read("jax_enable_x64"):
            raise InputError(
                "float64 needs JAX's 64-bit mode. Work inside `with jax.enable_x64(True):`, set "
                "jax.config.update('jax_enable_x64', True) once, or build the Monodomain with dtype 'float32'."
            )

    def _check_shapes(self, model: IonicModel, weights: Any, currents: Currents, leads: Any) -> None:
        n = self.n_nodes
        wrong = {p.shape for p in jax.tree.leaves(model)} - {(), (n,)}
        if wrong:
            raise InputError(f"parameters of the membrane must be numbers or one per node ({n}); got {wrong.pop()}.")
        if weights.shape != self.weights.shape:
            raise InputError(
                f"weights must have the shape of the tissue's own, {self.weights.shape}; got {weights.shape}."
            )
        if currents.region.shape[1] != n or leads.ndim != 2 or leads.shape[1] != n:
            raise InputError(
                f"regions of the stimuli and the lead field need one column per node ({n}); got shapes "
                f"{currents.region.shape} and {leads.shape}. Build them for this very tissue."
            )

    def _check_values(self, model: IonicModel, weights: Any, others: Any) -> Any:
        """Weights, once everything is known to be finite and dt stable."""
        parts = {
            "parameters of the membrane": model,
            "coupling weights": weights,
            "stimuli, lead field and state": others,
        }
        conditions = {
            f"{name} must be finite; found NaN or infinity.": _is_finite(part) for name, part in parts.items()
        }
        bound = self.diffusion.largest_rate(weights) / self._parts
        limit = f"{2.0 / float(bound):.4g} ms" if _is_known(bound) and bound else "2 / largest_rate"
        conditions[
            f"dt = {self.dt:g} ms is above the limit of explicit diffusion on this tissue, {limit}. Lower dt or the "
            "diffusivity."
        ] = self.dt * bound <= 2.0
        return _demand(weights, conditions)


def infinite_medium(
    tissue: Tissue,
    electrodes: Electrodes,
    *,
    intracellular_per_diffusivity: Number = INTRACELLULAR_PER_DIFFUSIVITY,
    bath_conductivity: Number = BATH_CONDUCTIVITY,
) -> Float[np.ndarray, "n_leads n_nodes"]:
    """Z of `DifferentiableMonodomain.lead_field` for electrodes in an infinite medium.

    s V_k / (4 pi sigma_b r_k), the factor that `einthoven.forward.lead_field` applies to A^T; see there for the
    parameters.
    """
    distance = np.linalg.norm(tissue.points[None] - electrodes.positions[:, None], axis=2)
    return intracellular_per_diffusivity / (4 * np.pi * bath_conductivity) * tissue.volumes / distance


# -- inside the compiled program --------------------------------------------------------------------------------------


class _Carry(NamedTuple):
    """Fields that go from step to step, in the layout of the diffusion."""

    v: Any
    states: tuple[Any, ...]
    activation: Any
    recovery: Any


@eqx.filter_jit
def _run(run: DifferentiableMonodomain, model: IonicModel, given: tuple, initial: State | None) -> Wave:
    weights, currents, leads = given
    spread, collect = run.diffusion.spread, run.diffusion.collect
    membrane = jax.tree.map(lambda p: spread(p) if p.ndim else p, model)
    drive = jax.vmap(spread)(currents.region / model.scale.amplitude)

    def sample(carry: _Carry, number: Any) -> tuple[_Carry, tuple]:
        first = number * run.steps_per_sample
        steps = first + np.arange(run.steps_per_sample)
        carry = _take_steps(run, membrane, (weights, currents, drive), carry, steps)
        return carry, look(carry)

    def look(carry: _Carry) -> tuple:
        vm = model.scale.to_mv(collect(carry.v))
        return leads @ vm, vm if run.keep_vm else vm[:0]

    start = _start(run, model, initial)
    lengths = nested_lengths(run.n_samples, run.levels) if run.levels else ()
    last, samples = checkpointed_scan(sample, start, np.arange(run.n_samples, dtype=np.int32), lengths)
    ecg, vm = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]).T, look(start), samples)
    states = jnp.stack([collect(x) for x in last.states])
    return Wave(vm, ecg, _times(run, last.activation), _times(run, last.recovery), State(collect(last.v), states))


def _take_steps(run: DifferentiableMonodomain, model: IonicModel, given: tuple, carry: _Carry, steps: Any) -> _Carry:
    """The steps between two samples."""

    def body(carry: _Carry, step: Any) -> tuple[_Carry, None]:
        return _step(run, model, given, carry, step), None

    if run.levels:
        body = jax.checkpoint(body, prevent_cse=False)
    return jax.lax.scan(body, carry, steps)[0]


def _step(run: DifferentiableMonodomain, model: IonicModel, given: tuple, carry: _Carry, step: Any) -> _Carry:
    """Stimulus, diffusion, membrane, crossings as the engine does; under Strang half of the first two at either end."""
    weights, currents, drive = given
    t = run.dt * step.astype(weights.dtype)
    h = run.dt / run._parts
    shape = pulse(currents.onset, currents.onset + currents.duration, t, dt=run.dt, edge=currents.edge)
    strength = h * currents.amplitude * shape

    def driven(v: Any) -> Any:
        return sum((s * d for s, d in zip(strength, drive, strict=True)), v)

    def euler(v: Any, weights: Any) -> Any:
        return v + h * run.diffusion.rate(weights, v)

    def diffused(v: Any) -> Any:
        once = apart(step, euler, lambda v, _: v, v, weights)
        if run.scheme.diffusion == Explicit(order=1):
            return once
        return 0.5 * (v + apart(step, euler, lambda v, _: v, once, weights))

    v = diffused(driven(carry.v))
    if isinstance(run.scheme, Strang):
        v, states = midpoint_step(model, v, carry.states, run.dt)
        v = driven(diffused(v))
    else:
        v, states = reaction_step(model, v, carry.states, run.dt)
    if run.activation is None:
        return _Carry(v, states, carry.activation, carry.recovery)
    levels = tuple(model.scale.from_mv(level) for level in (run.activation.level, run.activation.recovery_level))
    old = (carry.activation, carry.recovery)

    def cross(before: Any, after: Any, activation: Any, recovery: Any) -> tuple[Any, Any]:
        return _crossings((before, after), levels, (activation, recovery), t, run.dt)

    return _Carry(v, states, *apart(step, cross, lambda *a: a[2:], carry.v, v, *old))


def _crossings(pair: tuple, levels: tuple, found: tuple, t: Any, dt: float) -> tuple[Any, Any]:
    """First rise and the first fall after it, interpolated between the potentials before and after a step."""
    (before, after), (activation, recovery), (rise, fall) = pair, found, levels
    open_, up = jnp.isnan(activation), jnp.isnan(recovery)
    rising = open_ & (before < rise) & (after >= rise)
    falling = ~open_ & up & (before > fall) & (after <= fall)
    crossing = rising | falling
    change = jnp.where(crossing, after - before, 1.0)
    when = t + dt * (jnp.where(rising, rise, fall) - before) / change
    return jnp.where(rising, when, activation), jnp.where(falling, when, recovery)


def _start(run: DifferentiableMonodomain, model: IonicModel, initial: State | None) -> _Carry:
    one = jnp.ones(run.n_nodes, run.dtype)
    v, states = model.rest() if initial is None else initial
    v, states = one * v, tuple(one * x for x in states)
    field = run.diffusion.spread(v)
    unset = jnp.full((0,) if run.activation is None else field.shape, jnp.nan, run.dtype)
    return _Carry(field, tuple(map(run.diffusion.spread, states)), unset, unset)


def _times(run: DifferentiableMonodomain, times: Any) -> Any:
    return times if run.activation is None else run.diffusion.collect(times)


# -- checks -----------------------------------------------------------------------------------------------------------


def _is_known(value: Any) -> bool:
    return not isinstance(value, Tracer)


def _is_finite(part: Any) -> Any:
    return jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(part)]).all()


def _demand(value: Any, conditions: dict[str, Any]) -> Any:
    """The value, if all conditions hold, else an error with the sentence of the first that fails.

    What is known only when the program runs becomes a check of the program.
    """
    for problem, good in conditions.items():
        if _is_known(good) and not good:
            raise InputError(problem)
    later = {problem: good for problem, good in conditions.items() if not _is_known(good)}
    if not later:
        return value
    bad = ~jnp.array(list(later.values()))
    return eqx.branched_error_if(value, bad.any(), bad.argmax(), list(later))


def _check_smooth(model: IonicModel) -> None:
    if not model.is_smooth:
        raise InputError(
            f"{type(model).__name__} switches at thresholds, where differentiation drops the change of the "
            "crossing time: "
            f"its gradient would be wrong. Give it a gate_width above 0, recommended {model.smooth_width:g}, as "
            "`einthoven.ionic.registry.smoothed` does (docs/concepts/gradients.md)."
        )


def _ratio(whole: Number, part: Number, name: str, of: str) -> int:
    """How many parts make the whole; refused if no whole number."""
    if not (0 < part <= whole < 1e9):
        raise InputError(f"{name} must be at least {of} and both positive times in ms; got {whole:g} and {part:g}.")
    count = round(whole / part)
    if abs(count * part - whole) > 1e-6 * part:
        raise InputError(f"{name} must be a multiple of {of}; got {whole:g} and {part:g} ms.")
    return count


def _local_diffusivity(tissue: Tissue) -> Float[np.ndarray, "..."]:
    """D at the nodes where rates are harmonic means of it, else a number."""
    return np.ones(()) if isinstance(tissue.domain, Surface) else tissue.diffusivity
