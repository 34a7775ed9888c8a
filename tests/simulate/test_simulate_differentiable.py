"""The differentiable monodomain: the engine's numbers, right gradients, bounded memory, clear refusals."""

import re
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import Electrodes, InputError
from einthoven.forward.lead_field import lead_field
from einthoven.geometry.generators import sphere
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.bueno_orovio_2008 import BuenoOrovio2008
from einthoven.ionic.courtemanche_ramirez_nattel_1998 import CourtemancheRamirezNattel1998
from einthoven.ionic.fenton_karma_1998 import FentonKarma1998
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.ionic.registry import smoothed
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006
from einthoven.protocol import Ball, Nodes, Protocol, Stimulus
from einthoven.simulate import Activation, Explicit, Godunov, Monodomain, SemiImplicit, Strang, simulate
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.differentiable import Currents, DifferentiableMonodomain, State, infinite_medium
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.traced import checkpointed_scan, nested_lengths, pulse
from einthoven.tissue import Grid, Stencil, Tissue

DT = 0.1


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def corner(tissue: Tissue, *, start=1.0, duration=2.0, amplitude=40.0) -> Protocol:
    where = Ball(tuple(tissue.points[0]), 0.25 * float(np.ptp(tissue.points, axis=0).max()))
    return Protocol((Stimulus(where, start, duration, amplitude),))


def strand(n: int = 12) -> Tissue:
    return Tissue.isotropic(Grid((n,), 0.5), 0.1)


def patchy_sheet() -> Tissue:
    rng = np.random.default_rng(3)
    conducting = rng.random((9, 7)) > 0.2
    conducting[:3] = True
    return Tissue.isotropic(Grid((9, 7), 0.5), rng.uniform(0.06, 0.15, 63), conducting)


def oblique_sheet() -> Tissue:
    return Tissue.anisotropic(Grid((10, 8), 0.5), 0.15, 0.04, (0.6, 0.8))


def aligned_sheet() -> Tissue:
    rng = np.random.default_rng(4)
    return Tissue.anisotropic(Grid((7, 9), 0.5), rng.uniform(0.1, 0.2, 63), rng.uniform(0.02, 0.05, 63), (0.0, 1.0))


def block() -> Tissue:
    return Tissue.isotropic(Grid((6, 5, 4), 0.5), 0.1, np.random.default_rng(5).random((6, 5, 4)) > 0.1)


def shell() -> Tissue:
    return Tissue.isotropic(sphere(4.0, subdivisions=2), 0.1)


TISSUES = {f.__name__: f for f in (strand, patchy_sheet, oblique_sheet, aligned_sheet, block, shell)}


SCHEMES = {
    "godunov": Godunov(),
    "godunov-heun": Godunov(Explicit(order=2)),
    "strang": Strang(),
    "strang-euler": Strang(Explicit(order=1)),
}


def assert_like_the_engine(tissue, model, *, steps, dt, atol, scheme=SCHEMES["godunov"], protocol=None):
    monodomain, protocol = Monodomain(tissue, model, scheme), protocol or corner(tissue, duration=1.0)
    run = DifferentiableMonodomain(monodomain, dt=dt, t_end=steps * dt, every=steps * dt)
    wave = run(model, run.weights, Currents.of(protocol, tissue))
    engine = Engine(monodomain, dt)
    v, states = model.rest()
    engine.load(np.full(tissue.n_nodes, v), np.stack([np.full(tissue.n_nodes, x) for x in states]))
    rise, fall = (model.scale.from_mv(level) for level in (-40.0, -70.0))
    found = Crossings.empty(1, tissue.n_nodes, rise_level=rise, fall_level=fall)
    engine.advance(steps, 0, Pulses.of(protocol, tissue, model, dt), found)
    v, states = engine.state()
    np.testing.assert_allclose(wave.last.v, v, atol=atol, rtol=atol)
    np.testing.assert_allclose(wave.last.states, states, atol=atol, rtol=atol)
    np.testing.assert_allclose(wave.activation, found.rise[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(wave.recovery, found.fall[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(wave.vm[:, -1], model.scale.to_mv(wave.last.v), rtol=1e-13)
    return wave


@pytest.mark.parametrize(
    ("make", "scheme"),
    [*((f, "godunov") for f in TISSUES), *((f, "strang") for f in ("strand", "shell"))],
)
def test_steps_are_those_of_the_engine(make, scheme):
    tissue = TISSUES[make]()
    model = AlievPanfilov1996(a=np.random.default_rng(0).uniform(0.1, 0.2, tissue.n_nodes), time_unit=1.0)
    wave = assert_like_the_engine(tissue, model, steps=400, dt=0.1, atol=1e-10, scheme=SCHEMES[scheme])
    assert np.isfinite(wave.activation).sum() > 5
    assert np.isfinite(wave.recovery).sum() > 5


@pytest.mark.parametrize("scheme", ["godunov", "strang"])
def test_each_stimulus_acts_at_its_place_and_time(scheme):
    ends = ((np.arange(2), 1.0, 1.0, 40.0), (np.arange(9, 12), 4.0, 2.0, 25.0))
    protocol = Protocol(tuple(Stimulus(Nodes(nodes), *rest) for nodes, *rest in ends))
    model = AlievPanfilov1996(time_unit=1.0)
    wave = assert_like_the_engine(
        strand(), model, steps=300, dt=0.1, atol=1e-10, scheme=SCHEMES[scheme], protocol=protocol
    )
    assert wave.activation[0] < wave.activation[11] < wave.activation[7]


@pytest.mark.parametrize("scheme", ["godunov-heun", "strang-euler"])
def test_other_orders_of_diffusion_step_like_the_engine(scheme):
    wave = assert_like_the_engine(
        strand(), AlievPanfilov1996(time_unit=1.0), steps=400, dt=0.1, atol=1e-10, scheme=SCHEMES[scheme]
    )
    assert np.isfinite(wave.recovery).sum() > 5


@pytest.mark.parametrize("scheme", ["godunov", "strang"])
def test_a_run_gives_what_simulate_gives(scheme):
    tissue, model = patchy_sheet(), AlievPanfilov1996(time_unit=1.0)
    monodomain = Monodomain(tissue, model, SCHEMES[scheme])
    run = DifferentiableMonodomain(monodomain, dt=DT, t_end=40.0)
    wave = run(model, run.weights, Currents.of(corner(tissue), tissue))
    found = simulate(monodomain, corner(tissue), 40.0, dt=DT, keep=[Activation(max_beats=1)]).data
    assert np.isfinite(wave.recovery).sum() > 5
    np.testing.assert_allclose(wave.activation, found["activation"].values[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(wave.recovery, found["recovery"].values[0], rtol=0, atol=1e-8)


def test_a_graph_of_grid_cells_steps_like_the_grid():
    tissue = patchy_sheet()
    assert isinstance(tissue.coupling, Stencil)
    run = DifferentiableMonodomain(Monodomain(tissue, AlievPanfilov1996()), dt=DT, t_end=20.0)
    as_graph = patchy_sheet()
    object.__setattr__(as_graph, "coupling", tissue.coupling.graph())
    other = DifferentiableMonodomain(Monodomain(as_graph, AlievPanfilov1996()), dt=DT, t_end=20.0)
    currents = Currents.of(corner(tissue), tissue)
    factor = np.random.default_rng(1).uniform(0.5, 1.5, tissue.n_nodes)
    ours, theirs = (r(AlievPanfilov1996(), r.scaled(factor), currents) for r in (run, other))
    np.testing.assert_allclose(ours.vm, theirs.vm, atol=1e-10)


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "scheme"),
    [
        (smoothed(FentonKarma1998.modified_luo_rudy()), "godunov"),
        (smoothed(MitchellSchaeffer2003()), "strang"),
        (smoothed(BuenoOrovio2008.epi()), "strang"),
        (smoothed(TenTusscherPanfilov2006()), "strang"),
        (TenTusscherPanfilov2006(), "godunov"),
        (CourtemancheRamirezNattel1998(), "godunov"),
    ],
    ids=lambda p: p if isinstance(p, str) else type(p).__name__ + ("" if p.is_smooth else ", exact thresholds"),
)
def test_other_membranes_step_like_the_engine(model, scheme, monkeypatch):
    monkeypatch.setattr("einthoven.simulate.differentiable._check_smooth", lambda model: None)
    wave = assert_like_the_engine(strand(), model, steps=500, dt=0.02, atol=1e-10, scheme=SCHEMES[scheme])
    assert np.isfinite(wave.activation).sum() > 5


# -- weights and leads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [strand, patchy_sheet, aligned_sheet, block], ids=lambda f: f.__name__)
def test_scaled_weights_are_those_of_the_scaled_tissue(make):
    tissue = make()
    run = DifferentiableMonodomain(Monodomain(tissue, AlievPanfilov1996()), dt=DT, t_end=1.0)
    factor = np.random.default_rng(2).uniform(0.3, 1.1, tissue.n_nodes)
    np.testing.assert_allclose(run.scaled(factor), tissue.scaled(factor).coupling.weights, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("make", [oblique_sheet, shell], ids=lambda f: f.__name__)
def test_a_uniform_factor_scales_any_tissue(make):
    tissue = make()
    run = DifferentiableMonodomain(Monodomain(tissue, AlievPanfilov1996()), dt=DT, t_end=1.0)
    np.testing.assert_allclose(run.scaled(np.full(tissue.n_nodes, 0.7)), 0.7 * run.weights, rtol=1e-12)


@pytest.mark.parametrize("make", [patchy_sheet, oblique_sheet, shell], ids=lambda f: f.__name__)
def test_leads_are_those_of_the_lead_field(make):
    tissue, model = make(), AlievPanfilov1996()
    electrodes = Electrodes(("A", "B"), np.array([[2.0, 3.0, 9.0], [-7.0, 1.0, 2.0]]))
    operator = lead_field(tissue, electrodes)
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=10.0)
    ours = run.lead_field(run.weights, infinite_medium(tissue, electrodes))
    np.testing.assert_allclose(ours, operator.matrix, atol=1e-12 * np.abs(operator.matrix).max())
    wave = run(model, run.weights, Currents.of(corner(tissue), tissue), lead_field=ours)
    assert wave.ecg.shape == (2, len(run.times))
    assert np.ptp(wave.ecg) > 0
    np.testing.assert_allclose(wave.ecg, operator.matrix @ np.asarray(wave.vm), atol=1e-12)


def test_samples_are_where_the_times_say():
    tissue, model = strand(), AlievPanfilov1996()
    currents = Currents.of(corner(tissue), tissue)
    long = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=14.0, every=2.0)
    short = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=6.0, every=6.0)
    np.testing.assert_allclose(long.times, np.arange(0, 15, 2.0), atol=1e-12)
    wave = long(model, long.weights, currents)
    assert wave.vm.shape == (12, 8)
    np.testing.assert_allclose(wave.vm[:, 0], -80.0)
    np.testing.assert_allclose(wave.vm[:, 3], short(model, short.weights, currents).vm[:, -1], atol=1e-12)


def test_a_run_goes_on_from_a_state():
    tissue, model = strand(), AlievPanfilov1996()
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=6.0)
    whole = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=12.0)
    currents = Currents.of(corner(tissue), tissue)
    first = run(model, run.weights, currents)
    silent = Currents.of(Protocol(), tissue)
    second = run(model, run.weights, silent, initial=first.last)
    np.testing.assert_allclose(second.last.v, whole(model, whole.weights, currents).last.v, atol=1e-12)


# -- gradients --------------------------------------------------------------------------------------------------------


def central(f, x, direction, h=1e-5):
    """Derivative along a direction: central differences of fourth order.

    f gives numbers and the crossing times they rest on. These are linear within a step, so that their derivative
    jumps when one moves to another step: differences across such a jump would be no reference.
    """
    at = {k: f(jax.tree.map(lambda a, d, k=k: a + k * h * d, x, direction)) for k in (-2, -1, 1, 2)}
    steps = [np.floor(np.nan_to_num(at[k][1]) / DT) for k in (-2, 2)]
    np.testing.assert_array_equal(*steps, err_msg="a crossing time moved to another step: take another direction")
    at = {k: np.asarray(value) for k, (value, _) in at.items()}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)


def along(gradient, direction):
    """Contraction of the rows of a Jacobian with a direction."""
    parts = jax.tree.map(lambda g, d: np.asarray(g).reshape(len(g), -1) @ np.ravel(d), gradient, direction)
    return sum(jax.tree.leaves(parts))


def one_at(tree, pick, value):
    """A direction that is zero but for one part."""
    return eqx.tree_at(pick, jax.tree.map(lambda a: np.zeros(np.shape(a)), tree), value)


@pytest.fixture(scope="module")
def sheet_gradient():
    """Four outputs of a sheet, their Jacobian, and where it is taken."""
    with jax.enable_x64(True):
        tissue = patchy_sheet()
        rng = np.random.default_rng(8)
        model = AlievPanfilov1996(a=rng.uniform(0.1, 0.2, tissue.n_nodes), time_unit=2.0)
        electrodes = Electrodes(("A",), np.array([[2.0, 3.0, 4.0]]))
        run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=70.0)
        currents = Currents.of(corner(tissue, start=1.03, duration=2.07, amplitude=37.0), tissue, edge=0.5)
        transfer, weight = infinite_medium(tissue, electrodes), rng.normal(size=(4, tissue.n_nodes))

        @jax.jit
        def outputs(x):
            model, factor, currents = x
            weights = run.scaled(factor)
            wave = run(model, weights, currents, lead_field=run.lead_field(weights, transfer))
            seen = (jnp.nan_to_num(a) for a in (wave.activation, wave.recovery))
            numbers = [
                *(w @ a for w, a in zip(weight, seen, strict=False)),
                (wave.ecg**2).sum(),
                weight[2] @ wave.last.v,
            ]
            return jnp.stack(numbers), jnp.stack([wave.activation, wave.recovery])

        x = (model, np.full(tissue.n_nodes, 1.0), currents)
        assert np.isfinite(outputs(x)[1][1]).mean() > 0.8
        yield outputs, jax.jit(jax.jacrev(lambda x: outputs(x)[0]))(x), x


#: What is perturbed: place in (model, factor, currents), direction from the random numbers and the shape.
PARTS = {
    "conductivity of a cell": (lambda x: x[1], lambda rng, like: np.eye(1, len(like), 17)[0]),
    "conductivities": (lambda x: x[1], lambda rng, like: rng.normal(size=like.shape)),
    "scalar parameter": (lambda x: x[0].mu1, lambda rng, like: 0.03),
    "scalar parameter, stiff": (lambda x: x[0].k, lambda rng, like: 1.0),
    "parameter of a cell": (lambda x: x[0].a, lambda rng, like: 0.1 * np.eye(1, len(like), 9)[0]),
    "parameter per cell": (lambda x: x[0].a, lambda rng, like: 0.1 * rng.normal(size=like.shape)),
    "amplitude": (lambda x: x[2].amplitude, lambda rng, like: np.full(1, 10.0)),
    "onset": (lambda x: x[2].onset, lambda rng, like: np.full(1, 1.0)),
    "duration": (lambda x: x[2].duration, lambda rng, like: np.full(1, 1.0)),
}


@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
def test_gradients_match_central_differences(sheet_gradient, part):
    outputs, gradient, x = sheet_gradient
    pick, make = PARTS[part]
    direction = one_at(x, pick, make(np.random.default_rng(1), np.asarray(pick(x))))
    expected, found = central(outputs, x, direction), along(gradient, direction)
    assert (np.abs(expected) > 1e-6).all(), "the check must see something"
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_forward_mode_agrees_with_reverse_mode(sheet_gradient):
    outputs, gradient, x = sheet_gradient
    rng = np.random.default_rng(4)
    direction = jax.tree.map(lambda a: 0.1 * rng.normal(size=np.shape(a)), x)
    forward = jax.jvp(lambda x: outputs(x)[0], (jax.tree.map(jnp.asarray, x),), (direction,))[1]
    np.testing.assert_allclose(forward, along(gradient, direction), rtol=1e-9)


@pytest.mark.long
def test_gradients_on_a_surface_match_central_differences():
    tissue, model = Tissue.isotropic(sphere(4.0, subdivisions=2), 0.4), AlievPanfilov1996(time_unit=6.0)
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=60.0)
    currents = Currents.of(corner(tissue), tissue, edge=0.4)
    weight = np.random.default_rng(0).normal(size=tissue.n_nodes)

    @jax.jit
    def output(factor):
        wave = run(model, run.scaled(factor), currents)
        return jnp.stack([weight @ wave.activation, weight @ wave.last.v]), wave.activation

    factor, direction = np.ones(tissue.n_nodes), np.random.default_rng(1).normal(size=tissue.n_nodes)
    assert np.isfinite(output(factor)[1]).all()
    found = along(jax.jit(jax.jacrev(lambda f: output(f)[0]))(factor), direction)
    np.testing.assert_allclose(found, central(output, factor, direction), rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "name"),
    [
        (FentonKarma1998.modified_luo_rudy(), "tau_d"),
        (MitchellSchaeffer2003(), "v_gate"),
        (BuenoOrovio2008.epi(), "tau_fi"),
        (TenTusscherPanfilov2006.epi(), "g_ca_l"),
    ],
    ids=lambda p: p if isinstance(p, str) else type(p).__name__,
)
def test_gradients_of_smoothed_membranes_match_differences_of_the_smoothed_membrane(model, name):
    model, tissue = smoothed(model), strand(8)
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=0.02, t_end=12.0)
    currents = Currents.of(corner(tissue, amplitude=60.0), tissue, edge=0.5)

    @jax.jit
    def outputs(x):
        value, factor = x
        wave = run(eqx.tree_at(lambda m: getattr(m, name), model, value), run.scaled(factor), currents)
        return jnp.stack([wave.activation.mean(), (wave.vm[3] ** 2).mean()]), wave.activation

    value = np.asarray(getattr(model, name))
    x = (value, np.ones(tissue.n_nodes))
    assert np.isfinite(outputs(x)[1]).all()
    gradient = jax.jit(jax.jacrev(lambda x: outputs(x)[0]))(x)
    for direction in ((value, np.zeros(8)), (0.0 * value, np.linspace(-1, 1, 8))):
        expected = central(outputs, x, direction)
        assert (np.abs(expected) > 1e-4).all(), "the check must see something"
        np.testing.assert_allclose(along(gradient, direction), expected, rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["godunov-heun", "strang"])
def test_gradients_of_other_schemes_match_central_differences(scheme):
    tissue, model = strand(), AlievPanfilov1996(time_unit=2.0)
    run = DifferentiableMonodomain(Monodomain(tissue, model, SCHEMES[scheme]), dt=DT, t_end=30.0)
    currents = Currents.of(corner(tissue, start=1.03, duration=2.07), tissue, edge=0.5)

    @jax.jit
    def output(x):
        model, factor, currents = x
        wave = run(model, run.scaled(factor), currents)
        return jnp.stack([wave.activation.mean(), (wave.vm[3] ** 2).mean()]), wave.activation

    x = (model, np.ones(tissue.n_nodes), currents)
    assert np.isfinite(output(x)[1]).all()
    gradient = jax.jit(jax.jacrev(lambda x: output(x)[0]))(x)
    for part in ("conductivities", "scalar parameter", "amplitude", "onset"):
        pick, make = PARTS[part]
        direction = one_at(x, pick, make(np.random.default_rng(1), np.asarray(pick(x))))
        expected = central(output, x, direction)
        assert (np.abs(expected) > 1e-4).all(), "the check must see something"
        np.testing.assert_allclose(along(gradient, direction), expected, rtol=1e-6)


def test_a_node_that_never_fires_has_no_time_and_no_gradient():
    conducting = np.ones(12, bool)
    conducting[8] = False
    tissue, model = Tissue.isotropic(Grid((12,), 0.5), 0.1, conducting), AlievPanfilov1996(time_unit=1.0)
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=30.0)
    currents = Currents.of(corner(tissue), tissue)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def gradient_and_wave(factor):
        wave = run(model, run.scaled(factor), currents)
        return jnp.where(jnp.isnan(wave.activation), 0.0, wave.activation).sum(), wave

    gradient, wave = gradient_and_wave(np.ones(tissue.n_nodes))
    assert np.isfinite(wave.activation[:8]).all()
    assert np.isnan(wave.activation[8:]).all()
    assert (gradient[1:8] != 0).all()
    np.testing.assert_array_equal(gradient[8:], 0.0)


def test_a_bump_that_does_not_fire_has_no_recovery():
    tissue, model = strand(), AlievPanfilov1996(time_unit=1.0)
    weak = Protocol((Stimulus(Nodes(np.arange(12)), 1.0, 2.0, 9.5),))
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=30.0)
    wave = run(model, run.weights, Currents.of(weak, tissue))
    assert -70 < wave.vm.max() < -40
    assert wave.vm[:, -1].max() < -70
    assert np.isnan(wave.activation).all()
    assert np.isnan(wave.recovery).all()


# -- loops and memory -------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 2000), levels=st.integers(1, 4))
def test_nested_loops_are_long_enough_and_short(n, levels):
    lengths = nested_lengths(n, levels)
    assert len(lengths) == levels
    assert np.prod(lengths) >= n
    assert max(lengths) <= n ** (1 / levels) + 1


@pytest.mark.long
@settings(max_examples=8)
@given(n=st.integers(1, 40), levels=st.integers(0, 3))
def test_nested_loops_do_what_the_plain_loop_does(n, levels):
    with jax.enable_x64(True):
        index = np.arange(n, dtype=np.int32)

        def total(x, lengths):
            last, out = checkpointed_scan(lambda c, i: (jnp.sin(c) + 0.1 * i, c * c), x, index, lengths)
            return last + (out * np.arange(n)).sum(), out

        plain, nested = (jax.value_and_grad(total, has_aux=True)(0.3, m) for m in ((), nested_lengths(n, levels)))
        np.testing.assert_allclose(nested[0][1], plain[0][1], rtol=1e-13)
        np.testing.assert_allclose(nested[1], plain[1], rtol=1e-12)


def compiled_gradient(t_end: float, levels: int):
    tissue, model = Tissue.isotropic(Grid((16, 16), 0.5), 0.1), AlievPanfilov1996()
    run = DifferentiableMonodomain(
        Monodomain(tissue, model), dt=DT, t_end=t_end, every=DT * 5, keep_vm=False, levels=levels
    )
    currents = Currents.of(corner(tissue), tissue)

    def loss(factor):
        return (run(model, run.scaled(factor), currents).last.v ** 2).sum()

    return jax.jit(jax.grad(loss)).lower(np.ones(tissue.n_nodes)).compile()


@pytest.mark.long
def test_memory_is_bounded_and_the_gradient_does_not_depend_on_it():
    """16 times the steps: 16 times the memory without checkpoints, about 4 times with two levels, less with three."""
    few, many = ({m: compiled_gradient(t, m) for m in (0, 2, 3)} for t in (20.0, 320.0))
    size = [{m: c.memory_analysis().temp_size_in_bytes for m, c in level.items()} for level in (few, many)]
    growth = {m: size[1][m] / size[0][m] for m in size[0]}
    assert growth[0] > 12
    assert growth[2] < 5
    assert growth[3] < 3.5
    assert size[1][0] > 100 * size[1][2]
    gradients = [few[m](np.ones(256)) for m in few]
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(gradients[2], gradients[0], rtol=1e-10, atol=1e-13)


class Counting(AlievPanfilov1996):
    """Aliev-Panfilov that counts how often its rates are traced."""

    def rates(self, v, states):
        TRACES.append(1)
        return super().rates(v, states)


TRACES: list[int] = []


@pytest.mark.long
def test_one_trace_serves_all_values_and_any_number_of_steps():
    tissue = strand()
    counts = []
    for t_end in (3.0, 200.0):
        run = DifferentiableMonodomain(Monodomain(tissue, Counting()), dt=DT, t_end=t_end)
        gradient = jax.jit(
            jax.grad(lambda m, f, c, run=run: run(m, run.scaled(f), c).last.v.sum(), argnums=(0, 1, 2), allow_int=True)
        )
        TRACES.clear()
        for k in range(4):
            model = Counting(a=0.1 + 0.01 * k, k=8.0 + k)
            currents = Currents.of(corner(tissue, start=1.0 + k, amplitude=30.0 + k), tissue, edge=0.5)
            gradient(model, np.full(tissue.n_nodes, 1.0 + 0.1 * k), currents)
            if k == 0:
                first = len(TRACES)
        assert len(TRACES) == first
        counts.append(first)
        for k in range(4):
            run(
                Counting(a=0.1 + 0.01 * k),
                run.scaled(np.full(tissue.n_nodes, 1.0 + 0.1 * k)),
                Currents.of(corner(tissue), tissue),
            )
            if k == 0:
                first = len(TRACES)
        assert len(TRACES) == first
    assert counts[0] == counts[1] <= 4


@pytest.mark.long
def test_ensembles_by_vmap_equal_a_loop():
    tissue = patchy_sheet()
    run = DifferentiableMonodomain(Monodomain(tissue, AlievPanfilov1996()), dt=DT, t_end=7.0)
    currents = Currents.of(corner(tissue), tissue, edge=0.3)
    rng = np.random.default_rng(6)
    models = AlievPanfilov1996(a=rng.uniform(0.1, 0.2, (3, tissue.n_nodes)), k=np.array([7.0, 8.0, 9.0]))
    models = jax.tree.map(lambda p: np.broadcast_to(p, (3, *p.shape)) if p.ndim == 0 else p, models)
    onsets, factors = np.array([[0.5], [1.0], [1.7]]), rng.uniform(0.5, 1.1, (3, tissue.n_nodes))

    def loss(model, factor, onset):
        wave = run(model, run.scaled(factor), eqx.tree_at(lambda c: c.onset, currents, onset))
        return (wave.vm**2).mean(), wave

    both = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    together, both = jax.jit(jax.vmap(both))(models, factors, onsets), jax.jit(both)
    for k in range(3):
        alone = both(jax.tree.map(lambda p, k=k: p[k], models), factors[k], onsets[k])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-10, atol=1e-12)


@pytest.mark.long
def test_single_precision_needs_no_64_bit_mode():
    tissue, model = patchy_sheet(), AlievPanfilov1996(time_unit=1.0)
    currents = Currents.of(corner(tissue), tissue)
    double = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=20.0)

    def last(run, factor):
        wave = run(model, run.scaled(factor), currents)
        return wave.last.v.mean(), wave

    def gradient_of(run):
        return jax.jit(jax.grad(lambda factor: last(run, factor), has_aux=True))(np.ones(tissue.n_nodes, run.dtype))

    slope, expected = gradient_of(double)
    with jax.enable_x64(False):
        run = DifferentiableMonodomain(Monodomain(tissue, model, dtype="float32"), dt=DT, t_end=20.0)
        gradient, wave = gradient_of(run)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((wave, gradient)))
    np.testing.assert_allclose(wave.activation, expected.activation, atol=2e-4)
    np.testing.assert_allclose(gradient, slope, atol=2e-4 * np.abs(slope).max())


@pytest.mark.long
def test_the_code_of_the_page_runs_and_says_what_the_page_says():
    page = Path(__file__).parents[2] / "docs" / "concepts" / "gradients.md"
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    assert names["times"].shape == names["slopes"].shape == (8, 256)
    assert names["smooth_cell"].is_smooth
    assert names["by_factor"].sum() < 0, "faster tissue fires earlier"
    assert (np.diff(names["times"].mean(axis=1)) < 0).all()
    assert abs(names["by_stimulus"].onset[0] - 1) < 0.02, "1 up to the time step"


# -- stimulus edges ---------------------------------------------------------------------------------------------------


@given(
    start=st.floats(2.0, 5.0),
    duration=st.floats(0.05, 4.0),
    dt=st.floats(0.01, 0.5),
    edge=st.one_of(st.just(0.0), st.floats(0.05, 3.0)),
)
def test_the_charge_of_a_pulse_depends_on_its_duration_only(start, duration, dt, edge):
    with jax.enable_x64(True):
        shape = np.asarray(pulse(start, start + duration, dt * np.arange(1200), dt=dt, edge=edge))
        np.testing.assert_allclose(dt * shape.sum(), duration, rtol=1e-9, atol=1e-12)
        assert shape.min() >= -1e-12
        assert shape.max() <= 1 + 1e-12


def test_a_sharp_pulse_on_steps_is_a_box():
    shape = np.asarray(pulse(1.0, 3.0, 0.1 * np.arange(60), dt=0.1, edge=0.0))
    np.testing.assert_allclose(shape, (np.arange(60) >= 10) & (np.arange(60) < 30), atol=1e-12)


@pytest.mark.parametrize("start", [1.0, 1.04, 1.25, 1.5])
def test_the_slope_of_a_pulse_edge_is_exact_where_its_pieces_join_too(start):
    t = 0.05 * np.arange(100)
    slope = jax.jacfwd(lambda s: pulse(s, s + 2.0, t, dt=0.05, edge=0.5))(start)
    h = 1e-6
    up, down = (pulse(start + k, start + k + 2.0, t, dt=0.05, edge=0.5) for k in (h, -h))
    np.testing.assert_allclose(slope, (up - down) / (2 * h), atol=1e-5)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def simple():
    tissue, model = strand(), AlievPanfilov1996()
    run = DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=3.0)
    return run, model, Currents.of(corner(tissue), tissue)


def test_threshold_models_are_refused_and_told_the_way_out(simple):
    run, _, currents = simple
    with pytest.raises(InputError, match=r"crossing time.*gate_width above 0, recommended 0\.005"):
        run(FentonKarma1998.modified_luo_rudy(), run.weights, currents)
    with pytest.raises(InputError, match="MitchellSchaeffer2003 switches at thresholds"):
        jax.grad(lambda tau: run(MitchellSchaeffer2003(tau_in=tau), run.weights, currents).last.v.sum())(0.3)


def test_derivatives_of_sharp_edges_are_refused(simple):
    run, model, currents = simple

    def loss(currents):
        return run(model, run.weights, currents).last.v.sum()

    for name in ("onset", "duration"):
        with pytest.raises(InputError, match=r"sharp edges .* not differentiable"):
            jax.grad(lambda x, n=name: loss(eqx.tree_at(lambda c: getattr(c, n), currents, x)))(
                jnp.asarray(getattr(currents, name))
            )
    strength = jax.grad(lambda a: loss(eqx.tree_at(lambda c: c.amplitude, currents, a)))(
        jnp.asarray(currents.amplitude)
    )
    assert np.isfinite(strength).all()
    assert strength[0] != 0


def test_an_unstable_step_is_refused_with_the_limit(simple):
    _, model, _ = simple
    tissue = strand()
    slow = DifferentiableMonodomain(Monodomain(tissue, model), dt=2.0, t_end=8.0, every=2.0)
    currents = Currents.of(corner(tissue), tissue)
    with pytest.raises(InputError, match=r"dt = 2 ms is above the limit .* 1\.25 ms"):
        slow(model, slow.weights, currents)
    assert np.isfinite(slow(model, slow.scaled(np.full(tissue.n_nodes, 0.6)), currents).last.v).all()
    halves = DifferentiableMonodomain(Monodomain(tissue, model, Strang()), dt=3.0, t_end=6.0, every=3.0)
    with pytest.raises(InputError, match=r"dt = 3 ms is above the limit .* 2\.5 ms"):
        halves(model, halves.weights, currents)
    assert np.isfinite(halves(model, halves.scaled(np.full(tissue.n_nodes, 0.8)), currents).last.v).all()
    with pytest.raises(eqx.EquinoxRuntimeError, match="dt = 2 ms is above the limit"):
        eqx.filter_jit(lambda f: slow(model, slow.scaled(f), currents).last.v)(jnp.ones(tissue.n_nodes))


def test_values_that_are_not_finite_are_refused(simple):
    run, model, currents = simple
    with pytest.raises(InputError, match="parameters of the membrane must be finite"):
        run(AlievPanfilov1996(a=np.nan), run.weights, currents)
    with pytest.raises(InputError, match="coupling weights must be finite"):
        run(model, np.full_like(run.weights, np.inf), currents)
    with pytest.raises(InputError, match="stimuli, lead field and state must be finite"):
        run(model, run.weights, eqx.tree_at(lambda c: c.amplitude, currents, np.array([np.nan])))
    with pytest.raises(InputError, match="positive and finite"):
        run.scaled(np.linspace(-1, 1, 12))
    gradient = eqx.filter_jit(jax.grad(lambda a: run(AlievPanfilov1996(a=a), run.weights, currents).last.v.sum()))
    assert np.isfinite(gradient(jnp.asarray(0.1)))
    with pytest.raises(eqx.EquinoxRuntimeError, match="parameters of the membrane must be finite"):
        gradient(jnp.asarray(np.nan))


def test_a_blow_up_is_reported(simple):
    run, model, currents = simple
    with pytest.raises(InputError, match=r"became NaN or infinite before t_end with dt = 0\.1 ms"):
        run(model, run.weights, eqx.tree_at(lambda c: c.amplitude, currents, np.array([1e9])))


def test_what_does_not_fit_is_refused(simple):
    run, model, currents = simple
    tissue = strand()
    with pytest.raises(InputError, match=r"numbers or one per node \(12\); got \(5,\)"):
        run(AlievPanfilov1996(a=np.full(5, 0.1)), run.weights, currents)
    with pytest.raises(InputError, match="shape of the tissue's own"):
        run(model, run.weights[:, :-1], currents)
    with pytest.raises(InputError, match="Build them for this very tissue"):
        run(model, run.weights, Currents.of(corner(strand(9)), strand(9)))
    with pytest.raises(InputError, match="one per node"):
        run.scaled(np.ones(5))
    with pytest.raises(InputError, match="gradients step with explicit diffusion; got Strang"):
        DifferentiableMonodomain(Monodomain(tissue, model, Strang(SemiImplicit())), dt=DT, t_end=1.0)
    with pytest.raises(InputError, match="first beat only"):
        DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=1.0, activation=Activation(max_beats=2))
    with pytest.raises(InputError, match="t_end must be a multiple"):
        DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=1.25)
    with pytest.raises(InputError, match="levels must be"):
        DifferentiableMonodomain(Monodomain(tissue, model), dt=DT, t_end=1.0, levels=-1)


def test_stimuli_that_cannot_be_differentiated_are_refused():
    tissue = strand()
    clamp = Protocol((Stimulus(Nodes(np.arange(2)), 0.0, 1.0, 20.0, "clamp"),))
    with pytest.raises(InputError, match="currents only"):
        Currents.of(clamp, tissue)
    with pytest.raises(InputError, match=r"begins before 0 ms.*start at 0\.5 ms or later"):
        Currents.of(corner(tissue, start=0.2), tissue, edge=1.0)
    with pytest.raises(InputError, match="positive time"):
        Currents(np.ones(1), np.ones(1), np.zeros(1), np.ones((1, 12)))


def test_double_precision_in_32_bit_mode_is_refused(simple):
    run, model, currents = simple
    with jax.enable_x64(False), pytest.raises(InputError, match="64-bit mode"):
        run(model, run.weights, currents)


def test_one_reports_a_state_of_its_own(simple):
    run, model, currents = simple
    start = State(np.full(12, 0.5), np.zeros((1, 12)))
    wave = run(model, run.weights, currents, initial=start)
    np.testing.assert_allclose(wave.vm[:, 0], -30.0)
