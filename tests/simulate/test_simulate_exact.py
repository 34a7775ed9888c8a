"""The simulator against exact solutions, symmetries and conservation laws.

The studies are those of `benchmarks/simulate_verification.py`, on fewer levels.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from einthoven.geometry.generators import ellipsoid
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.stepping import reaction_step
from einthoven.protocol import Protocol, Stimulus, Whole
from einthoven.simulate import Godunov, Monodomain, Movie, Strang, simulate
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.tissue import Grid, Tissue
from einthoven.verify import manufactured
from einthoven.verify import niederer as published


def _benchmark(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


studies = _benchmark("simulate_verification")
niederer = _benchmark("niederer")
SCHEMES = {name: scheme for name, (scheme, _) in studies.SCHEMES.items()}


def orders(rows, key="order"):
    return [row[key] for row in rows[1:]]


# -- space, dt falling with h^2 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Godunov(), Strang()], ids=["godunov", "strang"])
def test_speed_and_profile_of_a_front_converge_with_order_two(scheme):
    rows = studies.front((0.4, 0.2, 0.1), scheme)
    assert orders(rows, "speed order") == pytest.approx([2, 2], abs=0.2)
    assert orders(rows, "profile order") == pytest.approx([2, 2], abs=0.2)
    assert rows[-1]["speed error"] < 1.5e-3


@pytest.mark.parametrize(("fibers", "wave"), [(0.0, 90.0), (30.0, 75.0)])
def test_speed_of_a_plane_front_is_that_along_its_normal(fibers, wave):
    rows = studies.oblique_front((0.4, 0.2), fibers, wave)
    assert orders(rows, "speed order") == pytest.approx([2], abs=0.2)
    assert rows[-1]["speed error"] < 0.01
    assert rows[-1]["turned (deg)"] < 0.1


@pytest.mark.parametrize(
    ("lengths", "degrees", "cells"), [((8.0, 6.0), (1, 2), (16, 32, 64)), ((8.0, 6.0, 4.0), (1, 2, 1), (16, 32))]
)
def test_cosine_modes_converge_with_order_two(lengths, degrees, cells):
    rows = studies.box_mode(lengths, degrees, cells)
    assert orders(rows) == pytest.approx([2] * (len(cells) - 1), abs=0.2)


@pytest.mark.parametrize(("dimension", "cells"), [(2, (32, 64)), (3, (16, 32))])
def test_gaussian_across_oblique_fibers_converges_with_order_two(dimension, cells):
    rows = studies.oblique_gaussian(dimension, cells)
    assert orders(rows) == pytest.approx([2], abs=0.2)
    assert rows[-1]["error"] < 0.01


@pytest.mark.parametrize(("dimension", "cells"), [(2, (32, 64)), (3, (16, 32))])
@pytest.mark.parametrize("name", ["Godunov, explicit", "Strang, Crank-Nicolson"])
def test_rotating_fibers_with_a_reaction_converge_with_order_two(dimension, cells, name):
    rows = studies.rotating_fibers(dimension, cells, SCHEMES[name])
    assert orders(rows) == pytest.approx([2], abs=0.2)
    assert rows[-1]["error"] < 0.02


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_spherical_harmonics_decay_at_their_rate(degree):
    rows = studies.sphere_mode(degree, (2, 3))
    assert orders(rows) == pytest.approx([2], abs=0.2)
    assert rows[-1]["error"] < 0.015


# -- time, at a fixed spacing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(studies.SCHEMES))
def test_order_in_time_is_that_of_the_splitting(name):
    scheme, expected = studies.SCHEMES[name]
    rows = studies.time_order(scheme, studies.Gated(), (80, 160, 320))
    assert orders(rows)[-1] == pytest.approx(expected, abs=0.2)


def _growth(name, z, c):
    """Factor of one step on a mode whose diffusion decays by z = dt lambda, with a leak of c = dt leak."""
    half = z / 2
    diffusion = {
        "Godunov, explicit": 1 - z,
        "Godunov, Crank-Nicolson": (1 - half) / (1 + half),
        "Godunov, backward Euler": 1 / (1 + z),
        "Strang, explicit (Heun)": (1 - half + half**2 / 2) ** 2,
        "Strang, Crank-Nicolson": ((1 - half / 2) / (1 + half / 2)) ** 2,
    }[name]
    return diffusion * (1 - c + (c**2 / 2 if name.startswith("Strang") else 0.0))


@pytest.mark.parametrize(
    ("name", "degrees"), [*((name, (2, 1)) for name in SCHEMES), *(("Godunov, explicit", d) for d in ((3,), (1, 2, 1)))]
)
def test_every_step_multiplies_a_mode_by_the_factor_of_its_scheme(name, degrees):
    """The grid's own modes are known, so that each scheme's arithmetic is checked to rounding."""
    d, h, steps, dt, leak = len(degrees), 0.5, 40, 0.3, 0.05
    lengths, diffusivities = (8.0, 6.0, 4.0)[:d], (0.1, 0.04, 0.04)[:d]
    grid = studies.box_grid(lengths, 16)
    box = Tissue.anisotropic(grid, 0.1, 0.04, np.eye(d)[0])
    start = manufactured.cosine(box.points, lengths, degrees)
    rate = sum(
        4 * D / h**2 * np.sin(np.pi * m * h / (2 * x)) ** 2
        for D, m, x in zip(diffusivities, degrees, lengths, strict=True)
    )
    v, _ = studies.stepped(box, studies.Leak(leak=leak), start, t_end=steps * dt, dt=dt, scheme=SCHEMES[name])
    np.testing.assert_allclose(v, _growth(name, dt * rate, dt * leak) ** steps * start, rtol=0, atol=1e-11)


# -- invariants -------------------------------------------------------------------------------------------------------


def patchy_sheet(seed=0, shape=(22, 17)):
    """A sheet with holes, turning fibers and uneven conductivity, without any symmetry."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape, 0.5)
    angle = rng.uniform(0, np.pi, grid.n_points)
    fibers = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = rng.uniform(0.05, 0.1, grid.n_points)
    return Tissue.anisotropic(grid, along, 0.3 * along, fibers, conducting=rng.random(grid.n_points) > 0.15)


def patchy_surface(seed=0):
    rng = np.random.default_rng(seed)
    surface = ellipsoid((12.0, 9.0, 7.0), subdivisions=3)
    return Tissue.isotropic(
        surface, rng.uniform(0.05, 0.1, surface.n_points), conducting=rng.random(surface.n_points) > 0.1
    )


@pytest.mark.parametrize(
    ("make", "name"),
    [*((patchy_sheet, name) for name in SCHEMES), (patchy_surface, "Godunov, explicit")],
)
def test_uniform_tissue_stays_uniform(make, name):
    """Wherever the tissue lies, cells that start alike and are driven alike stay alike."""
    tissue = make()
    driven = Protocol((Stimulus(Whole(), 1.0, 1.0, 60.0),))
    run = simulate(
        Monodomain(tissue, AlievPanfilov1996(), SCHEMES[name]),
        driven,
        40.0,
        dt=0.2,
        keep=[Movie(every=4.0, dtype="float64")],
    )
    movie = run.data["movie"].values
    vm = tissue.take(movie) if isinstance(tissue.domain, Grid) else movie
    assert np.ptp(vm) > 90
    np.testing.assert_allclose(vm, np.broadcast_to(vm[:, :1], vm.shape), rtol=0, atol=1e-9)


def test_uniform_tissue_does_what_one_cell_does():
    import jax

    sheet, model, dt = patchy_sheet(), AlievPanfilov1996(), 0.2
    engine = Engine(Monodomain(sheet, model), dt)
    engine.load(np.full(sheet.n_nodes, 0.4), np.full((1, sheet.n_nodes), 0.1))
    engine.advance(200, 0, Pulses.none())
    with jax.enable_x64(True):
        step = jax.jit(lambda v, states: reaction_step(model, v, states, dt))
        v, states = np.float64(0.4), (np.float64(0.1),)
        for _ in range(200):
            v, states = step(v, states)
    found_v, found_states = engine.state()
    np.testing.assert_allclose(found_v, float(v), rtol=1e-10)
    np.testing.assert_allclose(found_states, float(states[0]), rtol=1e-10)


TURNS = {
    "quarter turn": lambda a: np.rot90(a, axes=(0, 1)),
    "half turn": lambda a: np.rot90(a, 2, axes=(0, 1)),
    "reflection": lambda a: a[::-1],
    "transposition": lambda a: np.swapaxes(a, 0, 1),
}
#: What each does to vectors in the sheet.
MATRICES = {
    "quarter turn": [[0, -1], [1, 0]],
    "half turn": [[-1, 0], [0, -1]],
    "reflection": [[-1, 0], [0, 1]],
    "transposition": [[0, 1], [1, 0]],
}


@pytest.mark.parametrize("turn", list(TURNS))
@pytest.mark.parametrize("name", ["Godunov, explicit", "Strang, Crank-Nicolson"])
def test_turned_sheet_gives_the_turned_result(turn, name):
    sheet = patchy_sheet()
    place, matrix = TURNS[turn], np.array(MATRICES[turn], dtype=float)
    index = place(np.arange(sheet.n_points).reshape(sheet.shape))
    at = np.full(sheet.n_points, -1)
    at[sheet.nodes] = np.arange(sheet.n_nodes)
    order = at[index.ravel()]
    order = order[order >= 0]
    tensors = matrix @ sheet.diffusivity[order] @ matrix.T
    turned = Tissue(Grid(index.shape, 0.5), tensors, sheet.conducting[index.ravel()])
    corner = sheet.points[:, :2].min(axis=0) + 1.6
    driven = (sheet.points[:, :2] <= corner).all(axis=1)
    first = _after(sheet, driven, SCHEMES[name])
    second = _after(turned, driven[order], SCHEMES[name])
    assert first.max() - first.min() > 0.5
    np.testing.assert_allclose(second, first[order], rtol=0, atol=1e-10)


def _after(tissue, driven, scheme):
    """Aliev-Panfilov after 30 ms, from cells excited where `driven`."""
    engine = Engine(Monodomain(tissue, AlievPanfilov1996(), scheme), 0.1)
    engine.load(np.where(driven, 1.0, 0.0), np.zeros((1, tissue.n_nodes)))
    engine.advance(300, 0, Pulses.none())
    return engine.state()[0]


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0), (0, 2, 1)])
def test_slab_with_its_axes_exchanged_gives_the_same(axes):
    rng = np.random.default_rng(4)
    shape = (11, 9, 7)
    fibers = rng.normal(size=(*shape, 3))
    fibers /= np.linalg.norm(fibers, axis=-1, keepdims=True)
    mask, driven = rng.random(shape) > 0.1, np.zeros(shape, bool)
    driven[:4, :4, :3] = True
    results = []
    for order in ((0, 1, 2), axes):
        grid = Grid(tuple(shape[k] for k in order), 0.5)
        turned = fibers.transpose(*order, 3)[..., list(order)]
        slab = Tissue.anisotropic(grid, 0.08, 0.02, turned.reshape(-1, 3), conducting=mask.transpose(order))
        after = slab.fill(_after(slab, driven.transpose(order).reshape(-1)[slab.nodes], Godunov()))
        results.append(after.transpose(np.argsort(order)))
    assert np.nanmax(results[0]) - np.nanmin(results[0]) > 0.5
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-10)


@settings(max_examples=15, phases=(Phase.explicit, Phase.generate))  # a smaller tissue would explain nothing
@given(
    seed=st.integers(0, 10_000),
    case=st.sampled_from([*((patchy_sheet, n) for n in SCHEMES), (patchy_surface, "Godunov, explicit")]),
)
def test_diffusion_conserves_what_there_is(seed, case):
    """The integral of v stays, whatever the mask, the fibers and the scheme; the spread of v falls."""
    make, name = case
    tissue = make(seed)
    v = np.random.default_rng(seed).normal(size=tissue.n_nodes)
    after, _ = studies.stepped(tissue, studies.Leak(), v, t_end=20.0, dt=0.2, scheme=SCHEMES[name])
    total, size = tissue.volumes @ v, tissue.volumes @ np.abs(v)
    assert abs(tissue.volumes @ after - total) < 1e-9 * size
    assert tissue.volumes @ after**2 < 0.9 * (tissue.volumes @ v**2)


def test_single_precision_moves_the_front_alike():
    sheet = patchy_sheet()
    driven = sheet.points[:, 0] < 2.0
    found = []
    for dtype in ("float64", "float32"):
        engine = Engine(Monodomain(sheet, AlievPanfilov1996(), Godunov(), dtype), 0.1)
        engine.load(np.where(driven, 1.0, 0.0), np.zeros((1, sheet.n_nodes)))
        engine.advance(300, 0, Pulses.none())
        found.append(engine.state()[0].astype(np.float64))
    assert 0 < np.abs(found[1] - found[0]).max() < 1e-3


# -- the published slab -----------------------------------------------------------------------------------------------


def test_coarse_slab_lies_among_the_published_codes():
    """Golden numbers of `python benchmarks/niederer.py --smoke`."""
    row = niederer.activation(0.5, 0.05)
    for name, value in published.PUBLISHED[0.5].items():
        assert abs(row[name] - value.mean) < 2 * value.deviation, name
    assert row["P8"] == pytest.approx(135.14, abs=0.05)
