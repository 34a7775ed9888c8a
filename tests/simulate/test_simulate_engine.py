"""The compiled loop against the plain arithmetic it stands for: all schemes, tissues, precisions, pulses, crossings."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest
from scipy.sparse import eye_array
from scipy.sparse.linalg import spsolve

from einthoven.core import InputError
from einthoven.geometry.generators import ellipsoid
from einthoven.ionic.registry import MODELS
from einthoven.ionic.stepping import reaction_step
from einthoven.simulate import Explicit, Godunov, Monodomain, SemiImplicit, Strang, kernels_module
from einthoven.simulate import engine as engine_module
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.engine import BlowUp, Engine, largest_dt
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.second_order import midpoint_step
from einthoven.tissue import Grid, Tissue

SCHEMES = {
    "Godunov, Euler": Godunov(),
    "Godunov, Heun": Godunov(Explicit(order=2)),
    "Godunov, backward Euler": Godunov(SemiImplicit(theta=1.0, tolerance=1e-13)),
    "Strang, Euler": Strang(Explicit(order=1)),
    "Strang, Heun": Strang(),
    "Strang, Crank-Nicolson": Strang(SemiImplicit(tolerance=1e-13)),
}


def patchy_sheet():
    """Anisotropic, heterogeneous, with holes; no side a multiple of a vector."""
    rng = np.random.default_rng(5)
    shape = (21, 27)
    angle = rng.uniform(0, np.pi, shape)
    fibers = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    mask = rng.uniform(size=shape) > 0.2
    sheet = Tissue.anisotropic(Grid(shape, 0.25), 0.1, 0.03, fibers.reshape(-1, 2), conducting=mask)
    return sheet.scaled(rng.uniform(0.4, 1.0, sheet.n_nodes))


def block():
    rng = np.random.default_rng(6)
    return Tissue.isotropic(Grid((7, 9, 11), 0.3), 0.08, conducting=rng.uniform(size=(7, 9, 11)) > 0.15)


def shell():
    return Tissue.isotropic(ellipsoid((8.0, 7.0, 9.0), subdivisions=2), 0.1)


TISSUES = {"sheet": patchy_sheet, "block": block, "surface": shell}


def start(tissue, model, seed=7):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        v0, states = model.rest()
    low, high = (float(model.scale.from_mv(x)) for x in (-80.0, 20.0))
    v = np.float64(v0) + (high - low) * rng.uniform(0, 1, tissue.n_nodes) ** 4
    return v, np.array([float(x) * rng.uniform(0.97, 1.03, tissue.n_nodes) for x in states])


class Plain:
    """The same steps with a sparse matrix and the membrane's definition."""

    def __init__(self, monodomain, dt):
        self.m, self.dt = monodomain, dt
        self.strang = isinstance(monodomain.scheme, Strang)
        self.step = jax.jit(midpoint_step if self.strang else reaction_step)
        self.a = monodomain.tissue.coupling.matrix()

    def diffused(self, v, h):
        how = self.m.scheme.diffusion
        if isinstance(how, SemiImplicit):
            one = eye_array(len(v), format="csr")
            return spsolve((one - how.theta * h * self.a).tocsc(), v + (1 - how.theta) * h * (self.a @ v))
        first = h * (self.a @ v)
        return v + first if how.order == 1 else v + 0.5 * (first + h * (self.a @ (v + first)))

    def reacted(self, v, states):
        with jax.enable_x64(True):
            v, states = self.step(self.m.model, jnp.asarray(v), tuple(map(jnp.asarray, states)), self.dt)
            return np.asarray(v), np.array([np.asarray(s) for s in states]).reshape(len(states), len(v))

    def __call__(self, v, states):
        if self.strang:
            v, states = self.reacted(self.diffused(v, self.dt / 2), states)
            return self.diffused(v, self.dt / 2), states
        return self.reacted(self.diffused(v, self.dt), states)


def advanced(monodomain, dt, v, states, n, pulses=None, crossings=None, first=0):
    engine = Engine(monodomain, dt)
    engine.load(v, states)
    engine.advance(n, first, pulses or Pulses.none(), crossings)
    return engine.state()


def agree(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        if a.size:
            scale = np.maximum(np.abs(b).max(axis=-1, keepdims=True), 1e-3)
            assert (np.abs(a - b) / scale).max() < tolerance


# -- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tissue", TISSUES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_steps_are_those_of_the_plain_arithmetic(tissue, scheme):
    tissue, model = TISSUES[tissue](), MODELS["aliev-panfilov-1996"]()
    monodomain = Monodomain(tissue, model, SCHEMES[scheme])
    v, states = start(tissue, model)
    found, plain = advanced(monodomain, 0.05, v, states, 10), (v, states)
    step = Plain(monodomain, 0.05)
    for _ in range(10):
        plain = step(*plain)
    agree(found, plain, 1e-11)
    assert np.abs(found[0] - v).max() > 0.01


@pytest.mark.parametrize("name", ["mitchell-schaeffer-2003", "fenton-karma-1998-br", "bueno-orovio-2008-epi"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_membranes_and_single_precision_step_alike(name, dtype):
    tissue, model = patchy_sheet(), MODELS[name]()
    monodomain = Monodomain(tissue, model, Godunov(), dtype)
    v, states = start(tissue, model)
    found, plain = advanced(monodomain, 0.05, v, states, 20), (v, states)
    assert found[0].dtype == dtype
    step = Plain(monodomain, 0.05)
    for _ in range(20):
        plain = step(*plain)
    agree(found, plain, 1e-11 if dtype == "float64" else 1e-4)


def test_parameters_of_cells_reach_their_cells():
    tissue, model = patchy_sheet(), MODELS["fenton-karma-1998-br"]()
    rng = np.random.default_rng(8)
    many = dataclasses.replace(model, tau_d=float(model.tau_d) * rng.uniform(0.5, 2, tissue.n_nodes))
    v, states = start(tissue, model)
    found = advanced(Monodomain(tissue, many), 0.05, v, states, 20)
    plain, step = (v, states), Plain(Monodomain(tissue, many), 0.05)
    for _ in range(20):
        plain = step(*plain)
    agree(found, plain, 1e-11)
    same = advanced(Monodomain(tissue, model), 0.05, v, states, 20)
    assert np.abs(found[0] - same[0]).max() > 1e-4
    wrong = dataclasses.replace(model, tau_d=np.ones(3))
    with pytest.raises(InputError, match=r"one value per conducting node \(\d+\); got shape \(3,\)"):
        Engine(Monodomain(tissue, wrong), 0.05)


@pytest.mark.parametrize("scheme", ["Godunov, Euler", "Strang, Heun", "Strang, Crank-Nicolson"])
@pytest.mark.parametrize("tissue", TISSUES)
def test_threads_and_cuts_change_no_bit(tissue, scheme, monkeypatch):
    monkeypatch.setattr(engine_module, "_OPERATIONS_PER_TASK", 100)
    monodomain = Monodomain(TISSUES[tissue](), MODELS["fenton-karma-1998-br"](), SCHEMES[scheme])
    v, states = start(monodomain.tissue, monodomain.model)

    def run(*cuts):
        engine, done = Engine(monodomain, 0.05), 0
        engine.load(v, states)
        for n in cuts:
            engine.advance(n, done, Pulses.none())
            done += n
        return engine, engine.state()

    _, once = run(30)
    _, cut = run(1, 2, 17, 10)
    before = numba.get_num_threads()
    if numba.config.NUMBA_NUM_THREADS > 1:
        numba.set_num_threads(2)
    try:
        engine, parallel = run(30)
        assert len(engine._bounds()) - 1 == numba.get_num_threads()
    finally:
        numba.set_num_threads(before)
    for a, b, c in zip(once, cut, parallel, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_state_is_what_was_loaded():
    for make in TISSUES.values():
        tissue, model = make(), MODELS["bueno-orovio-2008-epi"]()
        v, states = start(tissue, model)
        engine = Engine(Monodomain(tissue, model), 0.05)
        engine.load(v, states)
        np.testing.assert_array_equal(engine.state()[0], v)
        np.testing.assert_array_equal(engine.state()[1], states)
        assert 8 * (len(states) + 3) < engine.memory_bytes / tissue.n_nodes < 2000
        with pytest.raises(InputError, match="the state must be v"):
            engine.load(v[1:], states[:, 1:])
        with pytest.raises(InputError, match="the state must be v"):
            engine.load(v, states[1:])


# -- pulses -----------------------------------------------------------------------------------------------------------


def pulses(*rows):
    """Rows of (first step, last step, nodes, value, clamp)."""
    nodes = [np.asarray(r[2]) for r in rows]
    return Pulses(
        np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.cumsum([0, *map(len, nodes)]),
        np.concatenate(nodes), np.array([float(r[3]) for r in rows]), np.array([r[4] for r in rows]),
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["Godunov, Euler", "Strang, Heun", "Strang, Crank-Nicolson"])
def test_pulses_act_where_and_when_they_are_said_to(scheme):
    tissue, model = patchy_sheet(), MODELS["aliev-panfilov-1996"]()
    monodomain = Monodomain(tissue, model, SCHEMES[scheme])
    v, states = start(tissue, model)
    given = pulses(
        (2, 5, [3, 40, 41], 0.8, False), (4, 8, [40, 100], -0.3, False), (6, 9, [41, 200], 0.5, True)
    )  # fmt: skip
    found = advanced(monodomain, 0.05, v, states, 12, given)
    step = Plain(monodomain, 0.05)
    before, after = (0.025, 0.025) if step.strang else (0.05, 0.0)
    plain = v.copy(), states
    for n in range(12):
        current, clamped = np.zeros(len(v)), {}
        for first, last, nodes, value, clamp in zip(
            given.start_step, given.stop_step, np.split(given.nodes, given.pointers[1:-1]), given.values, given.clamp,
            strict=True,
        ):  # fmt: skip
            if first <= n < last and clamp:
                clamped |= dict.fromkeys(nodes, value)
            elif first <= n < last:
                current[nodes] += value
        new, states_now = step(plain[0] + before * current, plain[1])
        new = new + after * current
        for node, value in clamped.items():
            new[node] = value
        plain = new, states_now
    agree(found, plain, 1e-11)
    assert np.abs(found[0] - advanced(monodomain, 0.05, v, states, 12)[0]).max() > 0.05


def test_strang_stays_second_order_while_a_current_flows():
    cable, model = Tissue.isotropic(Grid((40,), 0.25), 0.1), MODELS["aliev-panfilov-1996"]()
    v, states = np.zeros(40), np.zeros((1, 40))

    def after(n, scheme):
        given = pulses((0, n // 2, np.arange(4), 0.12, False))
        return advanced(Monodomain(cable, model, scheme), 4.0 / n, v, states, n, given)[0]

    for scheme, expected in ((Strang(), 2.0), (Godunov(), 1.0)):
        coarse, middle, fine = (after(n, scheme) for n in (160, 320, 640))
        order = np.log2(np.abs(coarse - middle).max() / np.abs(middle - fine).max())
        assert order == pytest.approx(expected, abs=0.2)


def test_pulses_beyond_the_tissue_are_refused():
    tissue, model = patchy_sheet(), MODELS["aliev-panfilov-1996"]()
    v, states = start(tissue, model)
    with pytest.raises(InputError, match=f"nodes beyond the {tissue.n_nodes} of the tissue"):
        advanced(Monodomain(tissue, model), 0.05, v, states, 1, pulses((0, 1, [tissue.n_nodes], 1.0, False)))


# -- crossings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aliev-panfilov-1996", "fenton-karma-1998-br", "ten-tusscher-panfilov-2006-epi"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_crossing_is_noted_in_every_lane(name, dtype):
    """Every node is lifted over the level and dropped again at its own time: all places in a group have their turn."""
    model = MODELS[name]()
    tissue = Tissue.isotropic(Grid((3, 41), 2.0), 0.02)
    n = tissue.n_nodes
    v, states = start(tissue, model)
    v[:] = v.min()
    low, high, level = (float(model.scale.from_mv(x)) for x in (-80.0, 10.0, -30.0))
    rows = [(1 + 3 * i % 50, 30 + 3 * i % 50, [i], high, True) for i in range(n)]
    rows += [(30 + 3 * i % 50, 100, [i], low, True) for i in range(n)]
    crossings = Crossings.empty(2, n, rise_level=level, fall_level=level)
    advanced(Monodomain(tissue, model, dtype=dtype), 0.02, v, states, 90, pulses(*rows), crossings)
    first = 1 + 3 * np.arange(n) % 50
    np.testing.assert_array_equal(crossings.n_rise, np.ones(n))
    np.testing.assert_array_equal(crossings.n_fall, np.ones(n))
    assert np.all((crossings.rise[0] >= 0.02 * first) & (crossings.rise[0] <= 0.02 * (first + 1) + 1e-9))
    assert np.isnan(crossings.rise[1]).all()


@pytest.mark.parametrize("scheme", ["Godunov, Euler", "Strang, Heun"])
def test_a_current_that_lifts_over_the_level_at_once_is_a_crossing(scheme):
    model, tissue = MODELS["aliev-panfilov-1996"](), Tissue.isotropic(Grid((40,), 0.5), 0.02)
    crossings = Crossings.empty(1, 40, rise_level=0.3, fall_level=0.1)
    given = pulses((3, 4, [7, 22], 20.0, False))
    advanced(Monodomain(tissue, model, SCHEMES[scheme]), 0.05, np.zeros(40), np.zeros((1, 40)), 8, given, crossings)
    np.testing.assert_array_equal(np.flatnonzero(crossings.n_rise), [7, 22])
    assert np.all((crossings.rise[0, [7, 22]] > 0.15) & (crossings.rise[0, [7, 22]] < 0.2))


def test_crossing_times_are_those_between_two_steps():
    cable, model = Tissue.isotropic(Grid((50,), 0.25), 0.1), MODELS["aliev-panfilov-1996"]()
    v, states = np.zeros(50), np.zeros((1, 50))
    v[:10] = 0.9
    engine = Engine(Monodomain(cable, model), 0.05)
    engine.load(v, states)
    crossings = Crossings.empty(1, 50, rise_level=0.3, fall_level=0.1)
    movie = [v]
    for n in range(3000):
        engine.advance(1, n, Pulses.none(), crossings)
        movie.append(engine.state()[0])
    movie = np.array(movie)
    whole = Crossings.empty(1, 50, rise_level=0.3, fall_level=0.1)
    advanced(Monodomain(cable, model), 0.05, v, states, 3000, crossings=whole)
    for node in (12, 17, 33, 49):
        k = int(np.argmax((movie[:-1, node] < 0.3) & (movie[1:, node] >= 0.3)))
        part = (0.3 - movie[k, node]) / (movie[k + 1, node] - movie[k, node])
        assert crossings.rise[0, node] == pytest.approx(0.05 * (k + part), abs=1e-12)
    np.testing.assert_array_equal(whole.rise, crossings.rise)
    with pytest.raises(InputError, match="crossings were made for 7 nodes"):
        engine.advance(1, 0, Pulses.none(), Crossings.empty(1, 7, rise_level=0.3, fall_level=0.1))


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_blow_up_is_reported_with_its_step_and_place():
    tissue, model = patchy_sheet(), MODELS["aliev-panfilov-1996"]()
    v, states = start(tissue, model)
    for value in (np.nan, 1e6):
        engine = Engine(Monodomain(tissue, model), 0.05)
        engine.load(v, states)
        engine.advance(5, 0, Pulses.none())
        bad = engine.state()
        bad[0][17] = value
        engine.load(*bad)
        with pytest.raises(BlowUp) as found:
            engine.advance(100, 5, Pulses.none())
        assert found.value.step == 5
        assert found.value.node in {17, *tissue.coupling.matrix()[[17]].indices}


def spectrum(tissue):
    """Eigenvalues of the coupling, made symmetric by the nodes' volumes."""
    root = np.sqrt(tissue.volumes)
    a = tissue.coupling.matrix().toarray() * root[:, None] / root
    assert np.abs(a - a.T).max() < 1e-10
    return np.linalg.eigvalsh(a)


@pytest.mark.parametrize("make", TISSUES.values(), ids=TISSUES)
def test_the_largest_dt_is_stable_and_not_much_too_strict(make):
    tissue, model = make(), MODELS["aliev-panfilov-1996"]()
    largest = largest_dt(Monodomain(tissue, model))
    eigenvalue = spectrum(tissue).min()
    assert largest <= 2 / -eigenvalue * (1 + 1e-9)
    assert largest > 0.6 * 2 / -eigenvalue
    with pytest.raises(InputError, match=r"dt must be at most .* ms, where explicit diffusion stays stable"):
        Engine(Monodomain(tissue, model), 1.001 * largest)
    assert largest_dt(Monodomain(tissue, model, Godunov(SemiImplicit()))) == np.inf
    for dt in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="dt must be a positive time"):
            Engine(Monodomain(tissue, model), dt)


def test_implicit_diffusion_knows_that_nodes_differ_in_size():
    """Conjugate gradients need the inner product in which the coupling is symmetric: 54 iterations then."""
    ball = ellipsoid((8.0, 8.0, 8.0), subdivisions=3)
    stretched = dataclasses.replace(ball, points=ball.points * np.exp(0.25 * ball.points[:, :1]))
    tissue, model = Tissue.isotropic(stretched, 0.1), MODELS["aliev-panfilov-1996"]()
    assert tissue.volumes.max() / tissue.volumes.min() > 100
    monodomain = Monodomain(tissue, model, Godunov(SemiImplicit(theta=1.0, tolerance=1e-12)))
    v, states = start(tissue, model)
    engine = Engine(monodomain, 5.0)
    engine.load(v, states)
    engine.advance(1, 0, Pulses.none())
    agree(engine.state(), Plain(monodomain, 5.0)(v, states), 1e-9)
    assert engine._implicit[-1][0] < 80


def test_an_implicit_solve_that_does_not_end_is_reported(monkeypatch):
    monkeypatch.setattr(engine_module, "MOST_ITERATIONS", 2)
    tissue, model = patchy_sheet(), MODELS["aliev-panfilov-1996"]()
    monodomain = Monodomain(tissue, model, Godunov(SemiImplicit()))
    with pytest.raises(InputError, match="did not reach its tolerance in 2 iterations; take a smaller dt than 1 ms"):
        advanced(monodomain, 1.0, *start(tissue, model), 3)


# -- compiled code is kept --------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from einthoven.ionic.registry import MODELS
from einthoven.simulate import Monodomain
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.tissue import Grid, Tissue
engine = Engine(Monodomain(Tissue.isotropic(Grid((9, 9), 0.25), 0.1), MODELS["aliev-panfilov-1996"]()), 0.05)
engine.load(np.full(81, 0.5), np.zeros((1, 81)))
engine.advance(3, 0, Pulses.none())
print(repr(engine.state()[0][0]), *sorted(p.name for p in Path(sys.argv[1]).rglob("*.nbc")))
"""


def test_compiled_kernels_are_kept_between_processes(tmp_path):
    caches = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    others = ("NUMBA_CACHE_DIR", "EINTHOVEN_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in others} | caches

    def run():
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first, second = run(), run()
    assert len(first) == 2  # one sweep was kept
    assert second == first  # nothing was compiled again


def test_kernels_are_made_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder can be made here")
    tissue, model = patchy_sheet(), MODELS["mitchell-schaeffer-2003"]()
    v, states = start(tissue, model)
    kept = advanced(Monodomain(tissue, model), 0.05, v, states, 5)
    monkeypatch.setattr(kernels_module, "cache_folder", lambda: tmp_path / "file" / "kernels")
    monkeypatch.setattr(kernels_module, "stamp", lambda: "another")
    np.testing.assert_array_equal(advanced(Monodomain(tissue, model), 0.05, v, states, 5)[0], kept[0])
