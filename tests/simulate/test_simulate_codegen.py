"""From a membrane model to arithmetic, and from arithmetic to vector instructions."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import DTYPES, compiled

from einthoven.core import InputError
from einthoven.ionic import IonicModel, VoltageScale, parameter
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.registry import MODELS
from einthoven.ionic.stepping import reaction_step
from einthoven.simulate.codegen import trace
from einthoven.simulate.program import Builder, Program
from einthoven.simulate.second_order import midpoint_step

#: Format that holds the reference of float64: more digits than that, else the test could not see an ulp.
LONG = np.longdouble
needs_long = pytest.mark.skipif(np.finfo(LONG).nmant < 60, reason="no format with more digits than float64 here")

REFERENCES = {"exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh}


def unary(op):
    builder = Builder()
    return builder.program([builder.apply(op, builder.input("v"))])


def samples(op, bits):
    """Arguments over the range in which the result is a normal number."""
    rng, kind = np.random.default_rng(1), DTYPES[bits]
    top, bottom, small = (700.0, -700.0, -300) if bits == 64 else (88.0, -86.9, -36)
    near = rng.choice([-1.0, 1.0], 4000) * 10.0 ** rng.uniform(small, 1, 4000)
    if op == "log":
        x = np.concatenate([10.0 ** rng.uniform(small, -small, 8000), 1 + 0.3 * rng.uniform(-1, 1, 8000)])
    elif op == "log1p":
        x = np.concatenate([near[near > -0.99], 10.0 ** rng.uniform(0, -small, 6000)])
    elif op == "tanh":
        x = np.concatenate([near, rng.uniform(-25, 25, 8000)])
    else:
        x = np.concatenate([near, rng.uniform(bottom, top, 8000), rng.uniform(-2, 2, 4000)])
    return x[: len(x) // 32 * 32].astype(kind)


@needs_long
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("op", REFERENCES)
def test_elementary_functions_err_by_a_few_units_in_the_last_place(op, bits):
    x = samples(op, bits)
    got, _ = compiled(unary(op), x, bits=bits)
    exact = REFERENCES[op](x.astype(LONG if bits == 64 else np.float64))
    unit = np.spacing(np.abs(exact.astype(DTYPES[bits])))
    error = np.abs((got.astype(exact.dtype) - exact) / unit)
    assert error.max() <= (3 if bits == 64 else 4), x[error.argmax()]
    assert error.max() > 0.3  # the measure sees the rounding


@pytest.mark.parametrize("bits", [64, 32])
def test_elementary_functions_keep_nan_and_end_as_they_should(bits):
    inf, nan, big = np.inf, np.nan, 1e4 if bits == 64 else 200.0
    expected = {
        "exp": {nan: nan, inf: inf, -inf: 0.0, big: inf, -big: 0.0, 0.0: 1.0},
        "expm1": {nan: nan, inf: inf, -inf: -1.0, big: inf, -big: -1.0, 0.0: 0.0},
        "log": {nan: nan, inf: inf, 0.0: -inf, -1.0: nan, 1.0: 0.0},
        "log1p": {nan: nan, inf: inf, -1.0: -inf, -2.0: nan, 0.0: 0.0},
        "tanh": {nan: nan, inf: 1.0, -inf: -1.0, big: 1.0, -big: -1.0, 0.0: 0.0},
    }
    for op, table in expected.items():
        x = np.resize(list(table), 32)
        got, _ = compiled(unary(op), x, bits=bits)
        for argument, value, found in zip(x, np.resize(list(table.values()), 32), got, strict=True):
            assert found == pytest.approx(value, abs=1e-30, nan_ok=True), (op, argument)


def test_powers_agree_with_numpy():
    builder = Builder()
    v = builder.input("v")
    outputs = [builder.apply("pow", v, builder.constant(p)) for p in (1.7, -2.3, 0.0)] + [builder.power(v, -3)]
    x = np.random.default_rng(2).uniform(0.01, 20, 64)
    for output, expected in zip(outputs, (x**1.7, x**-2.3, np.ones(64), x**-3.0), strict=True):
        got, _ = compiled(builder.program([output]), x)
        np.testing.assert_allclose(got, expected, rtol=1e-14)


# -- models -----------------------------------------------------------------------------------------------------------


def scattered(model, n, seed=3):
    """Cells around rest: v over its whole range, states moved by some percent."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        v0, states = model.rest()
    low, high = (float(model.scale.from_mv(x)) for x in (-85.0, 40.0))
    moved = [float(x) * rng.uniform(0.9, 1.1, n) + 1e-3 * rng.uniform(0, 1, n) for x in states]
    return np.asarray(v0) * 0 + rng.uniform(low, high, n), moved


def by_jax(model, step, v, states, dt):
    with jax.enable_x64(True):
        v, states = step(model, jnp.asarray(v), tuple(jnp.asarray(s) for s in states), dt)
        return np.asarray(v), np.array([np.asarray(s) for s in states])


def by_kernel(model, step, v, states, dt, bits=64, ways=1):
    membrane = trace(model, step)
    shared, cells = membrane.values(model, dt)
    return compiled(membrane.program, v, states, cells, shared, bits=bits, ways=ways)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_steps_as_its_definition_does(name):
    model = MODELS[name]()
    v, states = scattered(model, 64)
    expected_v, expected = by_jax(model, reaction_step, v, states, 0.02)
    got_v, got = by_kernel(model, reaction_step, v, states, 0.02)
    scale = max(1.0, np.abs(expected_v).max())
    np.testing.assert_allclose(got_v, expected_v, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-14)
    assert np.abs(expected_v - v).max() > 1e-5  # a step that does nothing would pass too


@pytest.mark.parametrize("name", ["aliev-panfilov-1996", "fenton-karma-1998-br", "courtemanche-ramirez-nattel-1998"])
def test_second_order_steps_and_single_precision_agree_too(name):
    model = MODELS[name]()
    v, states = scattered(model, 64)
    expected_v, expected = by_jax(model, midpoint_step, v, states, 0.02)
    got_v, got = by_kernel(model, midpoint_step, v, states, 0.02, ways=2)
    np.testing.assert_allclose(got_v, expected_v, rtol=0, atol=1e-10 * max(1.0, np.abs(v).max()))
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)
    single_v, single = by_kernel(model, midpoint_step, v, states, 0.02, bits=32)
    np.testing.assert_allclose(single_v, expected_v, rtol=0, atol=2e-5 * max(1.0, np.abs(v).max()))
    np.testing.assert_allclose(single, expected, rtol=2e-4, atol=1e-6)


def test_a_parameter_may_have_one_value_per_cell():
    n, rng = 32, np.random.default_rng(4)
    base = MODELS["ten-tusscher-panfilov-2006-epi"]()
    values = {"g_ks": rng.uniform(0.1, 0.5, n), "g_to": rng.uniform(0.05, 0.3, n)}
    v, states = scattered(base, n)
    got_v, got = by_kernel(dataclasses.replace(base, **values), reaction_step, v, states, 0.02)
    for i in (0, 13, 31):
        one = dataclasses.replace(base, **{k: x[i] for k, x in values.items()})
        expected_v, expected = by_jax(one, reaction_step, v[i : i + 1], [s[i : i + 1] for s in states], 0.02)
        assert got_v[i] == pytest.approx(expected_v[0], abs=1e-11)
        np.testing.assert_allclose(got[:, i], expected[:, 0], rtol=1e-11, atol=1e-14)


def test_what_does_not_vary_is_computed_before_the_loop():
    membrane = trace(MODELS["ten-tusscher-panfilov-2006-epi"](), reaction_step)
    logarithms = [k for k, i in enumerate(membrane.program.instructions) if i.op == "log"]
    # reversal potentials depend on concentrations, of which Na, K and Ca within the cell vary: three logarithms stay
    assert len(logarithms) <= 5
    for op, args, _ in membrane.program.instructions:
        kinds = {membrane.program.instructions[a].op for a in args}
        assert not args or kinds - {"const", "shared"} or op in ("lt", "le", "eq", "ne"), (op, kinds)


# -- what models may hold ---------------------------------------------------------------------------------------------


class Odd(IonicModel):
    """A cell whose rate is made of one function."""

    how: str = eqx.field(static=True, default="sin")
    gain: float = parameter(1.0)

    scale = VoltageScale(0.0, 1.0)
    states = ()
    is_smooth = True

    def rest(self):
        return jnp.asarray(0.0), ()

    def rates(self, v, states):
        del states
        table = {
            "sin": lambda: jnp.sin(v),
            "array": lambda: jnp.sum(jnp.array([1.0, 2.0]) * v),
            "integer": lambda: v * jnp.floor(v).astype(int).astype(float),
            "logistic": lambda: self.gain * jax.nn.sigmoid(v),
            "where": lambda: jnp.where((v > 0.2) & ~(v >= 0.7), v**3, -v) + jnp.clip(v, -0.5, 0.5),
            "root": lambda: jnp.sqrt(jnp.abs(v)) + jnp.abs(v) ** 1.5 + jax.lax.rsqrt(1.0 + v * v) + jnp.exp2(v),
            "constant": lambda: jnp.asarray(0.25) * self.gain,
        }
        return table[self.how](), ()


@pytest.mark.parametrize(("how", "message"), [("sin", "uses the operation 'sin'"), ("array", "array"), ("integer", "")])
def test_an_operation_that_kernels_lack_is_named(how, message):
    with pytest.raises(InputError, match=f"Odd .*{message}"):
        trace(Odd(how), reaction_step)


@pytest.mark.parametrize("how", ["logistic", "where", "root", "constant"])
def test_operations_mean_what_they_mean_in_jax(how):
    model = Odd(how)
    v = np.concatenate([np.linspace(-2, 2, 61), [0.2, 0.7, 0.5]])
    expected, _ = by_jax(model, reaction_step, v, (), 0.1)
    got, _ = by_kernel(model, reaction_step, v, (), 0.1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=4e-16 * 8)


def test_programs_survive_being_written_as_text():
    program = trace(AlievPanfilov1996(), reaction_step).program
    assert Program.parse(str(program)) == program
    assert str(Program.parse(str(program))) == str(program)


def test_equal_parts_are_computed_once_and_constants_are_folded():
    builder = Builder()
    v, g = builder.input("v"), builder.input("shared")
    a = builder.apply("mul", builder.apply("add", v, builder.constant(1.0)), g)
    b = builder.apply("mul", g, builder.apply("add", builder.constant(1.0), v))
    assert a == b
    two = builder.apply("exp", builder.apply("sub", builder.constant(1.5), builder.constant(1.5)))
    assert builder.instructions[two] == ("const", (), 1.0)
    assert builder.apply("mul", two, v) == v


def test_a_product_of_two_negatives_ends():
    builder = Builder()
    x, y = builder.input("v"), builder.input("state")
    product = builder.apply("mul", builder.apply("neg", x), builder.apply("neg", y))
    assert builder.instructions[product].op == "mul"
    signed = builder.apply("mul", builder.apply("neg", builder.input("shared")), builder.apply("neg", y))
    assert builder.program([signed]).evaluate({"shared": [3.0], "state": [2.0], "v": 0.0}) == [6.0]
