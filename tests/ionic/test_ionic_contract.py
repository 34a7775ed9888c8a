"""What every membrane model of the registry keeps."""

import dataclasses
import functools
import inspect
import re
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from ionic_cases import CLASSES, CONCENTRATIONS, SINGULAR, derivatives, is_fraction, lowest, run, variants

from einthoven.core import InputError
from einthoven.ionic.cell import start
from einthoven.ionic.model import IonicModel
from einthoven.ionic.registry import MODELS, model, smoothed
from einthoven.ionic.stepping import reaction_step

# What rest may do in 1 s without a stimulus: v in mV, gates in their unit, concentrations as a share. The initial
# values of the two biophysical models are published ones, not steady states (their modules say whose): those of ten
# Tusscher-Panfilov are a diastole at 1 Hz, from which f and j still recover and calcium falls.
DRIFT = {"ten-tusscher": (0.35, 0.25, 0.55), "courtemanche": (0.01, 0.001, 0.005)}
EXACT_DRIFT = (1e-5, 1e-8, 0.0)
KERNEL_PRIMITIVES = {
    "add", "sub", "mul", "div", "neg", "exp", "log", "log1p", "expm1", "tanh", "logistic", "sqrt", "rsqrt", "pow",
    "integer_pow", "abs", "max", "min", "select_n", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not",
    "convert_element_type", "pjit", "jit", "custom_jvp_call",
}  # fmt: skip

every_model = pytest.mark.parametrize("name", list(MODELS))
every_class = pytest.mark.parametrize("name", list(CLASSES.values()))
every_variant = pytest.mark.parametrize("title", [title for title, _ in variants()])


def voltages(membrane: IonicModel) -> np.ndarray:
    """From -150 to 100 mV, singular voltages (first) and their neighbors included, model unit."""
    near = [x + d for d in (0.0, -1e-3, -1e-9, 1e-9, 1e-3) for x in SINGULAR]
    return membrane.scale.from_mv(np.array([*near, *np.linspace(lowest(membrane), 100.0, 255)]))


@functools.cache
def sweep(title: str) -> dict[str, np.ndarray]:
    """Rates at those voltages and their derivatives: along v, across v by a difference, with respect to every state."""
    membrane = dict(variants())[title]
    with jax.enable_x64(True):
        v = jnp.asarray(voltages(membrane))
        states = [
            0.5 if is_fraction(membrane, n) else x for n, x in zip(membrane.states, membrane.rest()[1], strict=True)
        ]
        _, states = start(membrane, (v, tuple(states)))
        rates, along = jax.jvp(lambda x: derivatives(membrane, x, states), (v,), (jnp.ones_like(v),))
        h = 1e-5 / membrane.scale.amplitude
        across = (derivatives(membrane, v + h, states) - derivatives(membrane, v - h, states)) / (2 * h)
        _, pull = jax.vjp(lambda x, s: derivatives(membrane, x, s), v, states)
        in_v, in_states = pull(jnp.linspace(0.5, 1.5, len(states) + 1)[:, None] * jnp.ones_like(v))
        found = {"rates": rates, "along": along, "across": across, "back": jnp.stack([in_v, *in_states])}
        return {k: np.asarray(x) for k, x in found.items()}


@every_model
def test_rest_stays(name: str):
    membrane = model(name)
    v_bound, gate_bound, share = next((b for key, b in DRIFT.items() if name.startswith(key)), EXACT_DRIFT)
    _, low, high = run(membrane, 1000.0, 0.05)
    assert (high[0] - low[0]) * membrane.scale.amplitude < v_bound
    for state, least, most in zip(membrane.states, low[1], high[1], strict=True):
        assert most - least <= (share * most if state in CONCENTRATIONS else gate_bound), state


@every_class
def test_smooth_thresholds_leave_rest_where_it_is(name: str):
    membrane = smoothed(model(name))
    with jax.enable_x64(True):
        v, states = start(membrane)
        ours, theirs = (np.asarray(derivatives(m, v, states)) for m in (membrane, model(name)))
    assert abs(ours[0] - theirs[0]) * membrane.scale.amplitude < 1e-4  # mV/ms; currents at rest are of order 1
    np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-4)


@every_model
def test_an_action_potential_keeps_gates_between_0_and_1_and_comes_back(name: str):
    membrane = model(name)
    (v, _), low, high = run(membrane, 900.0, 0.05, stimulus=52.0)
    assert membrane.scale.to_mv(high[0]) > -10
    assert abs(membrane.scale.to_mv(v) - membrane.scale.to_mv(low[0])) < 5
    for state, least, most in zip(membrane.states, low[1], high[1], strict=True):
        if is_fraction(membrane, state):
            assert least >= 0, state
            assert most <= 1, state
        elif state in CONCENTRATIONS:
            assert least > 0, state


@every_variant
def test_rates_are_finite_at_every_voltage(title: str):
    assert np.isfinite(sweep(title)["rates"]).all()


@every_variant
def test_gradients_are_finite_at_every_voltage(title: str):
    assert np.isfinite(sweep(title)["along"]).all()
    assert np.isfinite(sweep(title)["back"]).all()


@every_variant
def test_gradients_are_right_at_singular_voltages(title: str):
    n = SINGULAR.index(-40.0)  # from there on jumps, not removable singularities
    along, across = sweep(title)["along"][:, :n], sweep(title)["across"][:, :n]
    scale = np.abs(across).max(axis=1, keepdims=True) + 1e-9
    np.testing.assert_allclose(along / scale, across / scale, atol=2e-5)


@every_class
def test_only_operations_that_kernels_know(name: str):
    for membrane in (model(name), smoothed(model(name))):
        with jax.enable_x64(True):
            v, states = start(membrane)
            jaxpr = jax.make_jaxpr(lambda v, s, m=membrane: reaction_step(m, v, s, 0.02))(v, states)
        assert primitives(jaxpr.jaxpr) <= KERNEL_PRIMITIVES


def primitives(jaxpr: Any) -> set[str]:
    """Names of the primitives of a jaxpr, and of those inside them."""
    inner = [p for e in jaxpr.eqns for p in e.params.values()]
    inner = [p.jaxpr for p in inner if isinstance(p, jax.extend.core.ClosedJaxpr)]
    return {e.primitive.name for e in jaxpr.eqns}.union(*map(primitives, inner))


@every_class
def test_values_of_parameters_do_not_trace_again(name: str):
    membrane, traces = model(name), []
    field = first_parameter(membrane)

    @eqx.filter_jit
    def step(m, v, states):
        traces.append(0)
        return jax.eval_shape(lambda: reaction_step(m, v, states, 0.02)) and v

    with jax.enable_x64(True):
        v, states = start(membrane)
        for factor in (1.0, 1.1, 1.2):
            step(dataclasses.replace(membrane, **{field: factor * getattr(membrane, field)}), v, states)
    assert len(traces) == 1


@every_class
def test_one_value_per_cell_equals_cells_one_by_one(name: str):
    membrane = model(name)
    field = first_parameter(membrane)
    values = float(getattr(membrane, field)) * np.array([0.9, 1.0, 1.2])
    with jax.enable_x64(True):
        together = _stepped(dataclasses.replace(membrane, **{field: values}))
        apart = [_stepped(dataclasses.replace(membrane, **{field: x})) for x in values]
    for k, part in enumerate(together):
        np.testing.assert_allclose(part, [one[k] for one in apart], rtol=1e-13)
    assert len(set(together[0])) == 3


def _stepped(membrane: IonicModel) -> tuple:
    """v and states after one step of 0.02 ms from 0 mV."""
    v, states = start(membrane, (membrane.scale.from_mv(0.0), membrane.rest()[1]))
    v, states = reaction_step(membrane, v, states, 0.02)
    return tuple(np.asarray(x) for x in (v, *states))


def first_parameter(membrane: IonicModel) -> str:
    """A parameter on which dv/dt depends at 0 mV."""
    return next(f.name for f in dataclasses.fields(membrane) if f.name in ("k", "tau_in", "tau_d", "tau_fi", "g_na"))


@every_class
def test_steps_are_of_first_order(name: str):
    membrane = model(name)  # from 10 mV for 0.4 ms: no threshold is crossed
    ends = [run(membrane, 0.4, dt, v=10.0)[0] for dt in (0.02, 0.01, 0.005, 0.0002)]
    values = np.array([[float(x) for x in (v, *states)] for v, states in ends])
    errors = np.abs(values[:-1] - values[-1])
    orders = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(orders[:, 0], 1.0, atol=0.1)
    assert np.mean(np.abs(orders[1] - 1.0) < 0.2) > 0.85  # one or two states hardly move, or their errors cancel


# a parameter on which the mean potential of the first 30 ms or, where thresholds matter, of a whole beat depends
PROBE = {
    "aliev-panfilov-1996": ("a", 400.0),
    "mitchell-schaeffer-2003": ("tau_close", 400.0),
    "fenton-karma-1998-br": ("tau_si", 400.0),
    "cherry-ehrlich-nattel-fenton-2007": ("tau_si", 400.0),
    "bueno-orovio-2008-epi": ("tau_si", 400.0),
    "ten-tusscher-panfilov-2006-epi": ("g_na", 20.0),
    "courtemanche-ramirez-nattel-1998": ("g_na", 20.0),
}


@eqx.filter_jit
def mean_and_slope(membrane: IonicModel, direction: IonicModel, v, states, current):
    """Mean potential under a current, mV, and its derivative along a change of the parameters."""

    def mean(m: IonicModel):
        def step(state, i):
            new = reaction_step(m, state[0] + 0.05 * i, state[1], 0.05)
            return new, new[0]

        return m.scale.amplitude * jax.lax.scan(step, (v, states), current)[1].mean()

    return jax.jvp(mean, (membrane,), (direction,))


def slopes(membrane: IonicModel, field: str, duration: float) -> tuple[float, float]:
    """Derivative of the mean potential with respect to log(field): automatic, and by a difference."""
    with jax.enable_x64(True):
        v, states = start(membrane)
        current = jnp.where(jnp.arange(round(duration / 0.05)) < 20, 52.0 / membrane.scale.amplitude, 0.0)
        value = getattr(membrane, field)
        zero = jax.tree.map(np.zeros_like, membrane)
        along = dataclasses.replace(zero, **{field: value})
        _, automatic = mean_and_slope(membrane, along, v, states, current)
        h = 1e-3 if not membrane.is_smooth else 1e-5
        high, low = (
            mean_and_slope(dataclasses.replace(membrane, **{field: value * (1 + s)}), along, v, states, current)[0]
            for s in (h, -h)
        )
        return float(automatic), (float(high) - float(low)) / (2 * h)


@pytest.mark.long
@every_class
def test_gradients_of_smooth_models_match_differences(name: str):
    membrane = smoothed(model(name))
    assert membrane.is_smooth
    automatic, difference = slopes(membrane, *PROBE[name])
    assert abs(difference) > 0.1
    assert automatic == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize("name", [n for n in PROBE if n.startswith(("mitchell", "fenton", "bueno"))])
def test_gradients_of_exact_thresholds_are_off_and_the_model_says_so(name: str):
    membrane = model(name)
    assert not membrane.is_smooth
    automatic, difference = slopes(membrane, *PROBE[name])
    assert abs(automatic / difference - 1) > 0.01


@every_class
def test_a_vanishing_width_is_the_exact_threshold(name: str):
    exact = model(name)
    if exact.is_smooth:
        assert smoothed(exact) is exact
        return
    sharp = dataclasses.replace(exact, gate_width=1e-7)
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        v = jnp.asarray(exact.scale.from_mv(rng.uniform(-90.0, 30.0, 300)))
        _, states = start(exact, (v, exact.rest()[1]))
        fractions = jnp.asarray(rng.uniform(0.05, 0.95, (len(states), 300)))
        states = tuple(
            f if is_fraction(exact, s) else x for f, x, s in zip(fractions, states, exact.states, strict=True)
        )
        ours, theirs = derivatives(sharp, v, states), derivatives(exact, v, states)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", list(CLASSES.values()))
def test_a_width_that_is_no_width_is_refused(name: str):
    membrane = model(name)
    if membrane.is_smooth:
        return
    for width in (-0.1, float("nan")):
        with pytest.raises(InputError, match="gate_width"):
            dataclasses.replace(membrane, gate_width=width)
    if name.startswith(("ten", "courtemanche")):
        with pytest.raises(InputError, match=r"below 2\.8"):
            dataclasses.replace(membrane, gate_width=3.0)


@every_class
def test_documentation_names_source_and_every_parameter(name: str):
    membrane = model(name)
    text = inspect.getdoc(type(membrane)) or ""
    source = inspect.getmodule(type(membrane)).__doc__ or ""
    assert "doi:10." in source or re.search(r"\d+\(\d+\):\d+-\d+, (19|20)\d\d", source)
    words = set(text.replace(",", " ").split())
    assert {f.name for f in dataclasses.fields(membrane)} <= words
    assert len(set(membrane.states)) == len(membrane.states) == len(membrane.rest()[1])


class Decay(IonicModel):
    """A model of a user: dv/dt = -v / tau."""

    states: ClassVar[tuple[str, ...]] = ()
    tau: float = 10.0

    @property
    def is_smooth(self) -> bool:
        return True

    def rest(self):
        return 0.0, ()

    def rates(self, v, states):
        return -v / self.tau, ()


def test_a_model_of_ones_own_needs_three_methods():
    (v, _), _, _ = run(Decay(), 10.0, 0.001, v=1.0)
    assert float(v) == pytest.approx(np.exp(-1.0), rel=1e-3)
