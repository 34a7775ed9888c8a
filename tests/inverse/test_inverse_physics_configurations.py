"""Configurations of solvers, and the automatic differentiation of P-DL."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.inverse.physics.eand_arn import PointwiseArn, SeparableArn
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.network import Block, Blocks
from einthoven.inverse.physics.p_dl import PDL
from einthoven.inverse.physics.registry import configurations, configured, make_physics_solver
from physics_cases import SIGMA, wave

CELLS = CellPhysics(sigma=SIGMA, extracellular=True)

#: What makes every ablation one.
DIFFERENCES = {
    "numerical-plain": lambda s: isinstance(s, PointwiseArn) and s.blocks == Blocks(3, "none"),
    "adaptive-automatic": lambda s: isinstance(s, PDL) and s.blocks == Blocks(3, "adaptive"),
    "no-physics": lambda s: isinstance(s, SeparableArn) and s.schedule.tolerances == (np.inf, np.inf),
    "no-warm-start": lambda s: isinstance(s, SeparableArn) and not s.warm,
    "fixed-weight": lambda s: isinstance(s, SeparableArn) and s.schedule.tolerances == (0.3, 0.3),
    "no-blocks": lambda s: isinstance(s, SeparableArn) and s.blocks.number == 0,
    "edge-length": lambda s: isinstance(s, SeparableArn) and s.physics.laplacian == "edge-length",
}


@pytest.mark.parametrize("name", sorted(configurations()))
def test_every_configuration_that_ships_is_a_solver_of_its_name(name):
    solver = make_physics_solver(name, CELLS)
    assert solver.name == name
    assert solver.physics.sigma == SIGMA
    assert DIFFERENCES.get(name, lambda s: True)(solver)


def test_all_ablations_ship():
    assert set(DIFFERENCES) <= set(configurations())


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'solver = "eand-arn"\n[schedule]\nsteps = 7\nrate = 1\n[network]\nwidth = 9\nplace = "coordinates"\n'
    )
    solver = make_physics_solver(str(file), CELLS)
    assert isinstance(solver, PointwiseArn)
    assert (solver.name, solver.schedule.steps, solver.schedule.rate) == ("mine", 7, 1)
    assert (solver.width, solver.place) == (9, "coordinates")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"solver": "eand"}, "solver \\(one of weak-4dvar.*got 'eand'"),
        ({"solver": "p-dl", "networks": {}}, "got networks"),
        ({"solver": "p-dl", "network": {"depth": 3}}, r"\[network\] may hold .*width.*got \['depth'\]"),
        ({"solver": "p-dl", "network": {"name": "x"}}, r"got \['name'\]"),
        ({"solver": "p-dl", "network": {"width": "wide"}}, r"\[network\] width is like 32; got 'wide'"),
        ({"solver": "p-dl", "network": {"width": True}}, r"\[network\] width is like 32; got True"),
        ({"solver": "weak-4dvar", "network": {"blocks": {"number": 1}}}, r"\[network.blocks\]"),
        ({"solver": "eand-arn", "network": {"blocks": {"skip": "long"}}}, "skip that is adaptive, residual, none"),
        ({"solver": "eand-arn", "network": {"blocks": 3}}, r"\[network.blocks\] may hold number, skip; got 3"),
        ({"solver": "eand-arn", "schedule": {"steps": 0}}, "at least one step"),
        ({"solver": "eand-arn", "schedule": {"courses": 0}}, "at least one course"),
        ({"solver": "eand-arn", "physics": {"sigma": 1.0}}, r"\[physics\] may hold laplacian, rank, diffusivity, wall"),
        ({"solver": "eand-arn", "physics": {"diffusivity": "low"}}, r"diffusivity is like None; got 'low'"),
        ({"solver": "eand-arn", "network": {"place": "angles"}}, "place must be modes or coordinates; got 'angles'"),
        ({"solver": "p-dl", "network": {"n_points": 0}}, "at least one point and one frame; got 0"),
    ],
)
def test_what_is_wrong_in_a_configuration(told, words):
    with pytest.raises(InputError, match=words):
        configured(told, CELLS)


def test_names_and_files_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"unknown solver 'eand-am'; .*Did you mean eand-arn\?"):
        make_physics_solver("eand-am", CELLS)
    with pytest.raises(InputError, match=r"unknown solver 'none\.toml'"):
        make_physics_solver("none.toml", CELLS)
    file = tmp_path / "torn.toml"
    file.write_text('solver = "eand')
    with pytest.raises(InputError, match=r"torn\.toml: "):
        make_physics_solver(str(file), CELLS)


@pytest.mark.parametrize(("skip", "expected"), [("none", 0.0), ("residual", 1.0), ("adaptive", 1.0)])
def test_skips(skip, expected):
    """With its layers at zero a block gives its input times the share that the skip carries."""
    block = jax.tree.map(jnp.zeros_like, Block.random(jax.random.key(0), 4, "float32", skip))
    x = jnp.arange(8.0).reshape(2, 4)
    assert np.allclose(block(x), expected * x)
    half = replace(block, alpha=jnp.asarray(0.25))
    assert np.allclose(half(x), (0.75 if skip == "adaptive" else expected) * x)


# -- P-DL -------------------------------------------------------------------------------------------------------------


def p_dl(**more):
    solver = PDL(replace(CELLS, diffusivity=4.0), width=12, **more)
    prepared = solver.physics.prepare(wave().operator, wave().recording)
    return solver, solver.fields(prepared, 1), solver.cost(prepared)


@pytest.mark.long
def test_residuals_are_those_of_the_network_in_space_and_time():
    """Against central differences in mm and ms."""
    _, fields, cost = p_dl()
    z = jax.random.uniform(jax.random.key(2), (5, 4), minval=-0.8, maxval=0.8)
    length, duration, h = float(cost.length), float(cost.duration), 0.02
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), fields)
        points = jnp.asarray(z, jnp.float64)
        at = lambda k, s: double.at(points.at[:, k].add(s * h))  # noqa: E731
        value = double.at(points)
        laplacian = sum((at(k, 1) - 2 * value + at(k, -1))[:, 0] for k in range(3)) / (h * length) ** 2
        slope = (at(3, 1) - at(3, -1)) / (2 * h * duration)
    wave_, (u, v) = cost.grid.wave, np.asarray(value).T
    f, g = (np.asarray(x) for x in wave_.rates(jnp.asarray(u, jnp.float32), jnp.asarray(v, jnp.float32)))
    r_u = float(wave_.unit) * (np.asarray(slope[:, 0]) - 4.0 * np.asarray(laplacian) - f)
    r_v = float(wave_.unit) * (np.asarray(slope[:, 1]) - g)
    found = cost.residuals(fields, z)
    assert np.allclose(found[0], r_u, rtol=2e-3, atol=2e-3 * np.abs(r_u).max())
    assert np.allclose(found[1], r_v, rtol=2e-3, atol=2e-3 * np.abs(r_v).max())


@pytest.mark.long
def test_the_cost_is_unbiased():
    """Over many draws its mean is the sum over all frames and the integral over nodes and times."""
    _, fields, cost = p_dl(n_points=400, n_frames=5)
    keys = jax.random.split(jax.random.key(5), 200)
    totals, parts = jax.vmap(lambda key: cost.of_fields(fields, 0.3, key))(keys)
    u, _ = fields()
    chi2 = float(((cost.data - cost.grid.matrix @ u) ** 2).mean())
    assert float(parts.chi2.mean()) == pytest.approx(chi2, rel=0.05)
    times = jnp.linspace(-1, 1, 41)
    mesh = jnp.concatenate([jnp.repeat(fields.space, 41, axis=0), jnp.tile(times, len(fields.space))[:, None]], axis=1)
    r_u, r_v = cost.residuals(fields, mesh)
    physics = float((r_u**2).mean() + (r_v**2).mean()) * len(fields.space) * len(fields.time)
    expected = 0.5 * chi2 * cost.data.size + 0.5 * physics / 0.09
    assert float(totals.mean()) == pytest.approx(expected, rel=0.05)


def test_the_grid_holds_the_network_at_nodes_and_frames():
    _, fields, _ = p_dl()
    u, v = fields()
    point = jnp.concatenate([fields.space[7], fields.time[3:4]])[None]
    assert np.allclose(fields.at(point)[0], [u[7, 3], v[7, 3]], atol=1e-6)
    trained = fields.trained()
    assert (trained.space, trained.time) == (False, False)
    assert trained.head is True
