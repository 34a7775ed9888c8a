"""Solvers with cell physics: what all of them must do, how good they are, what they refuse."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from einthoven.core import ForwardOperator, InputError, LeadSystem, Recording, Solver
from einthoven.geometry.generators import sphere
from einthoven.geometry.quality import edge_lengths
from einthoven.inverse import METHODS, NoiseCovariance, Oracle, RobustGCV, Stre
from einthoven.inverse.physics.eand_arn import PointwiseArn, SeparableArn
from einthoven.inverse.physics.fields import CellPhysics, potential_scale, recovery_along, speed_of
from einthoven.inverse.physics.network import Blocks, PointwiseFields, Trunk, surface_modes, waves_in_time
from einthoven.inverse.physics.p_dl import PDL
from einthoven.inverse.physics.reaction_diffusion import check_precision
from einthoven.inverse.physics.refinement import FASTER, with_refined_diffusivity
from einthoven.inverse.physics.registry import PHYSICS_METHODS
from einthoven.inverse.physics.training import Schedule, train
from einthoven.inverse.physics.waves import (
    ROWS,
    diffusivity_on,
    excitation,
    imaging_cells,
    least_diffusivity,
    slowness,
)
from einthoven.inverse.physics.weak import FreeFields, WeakConstraint
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from physics_cases import DIFFUSIVITY, SIGMA, relative_error, wave

#: A plane front on this coarse mesh is slow: D of its speed is above the true one.
CELLS = CellPhysics(sigma=SIGMA, extracellular=True, diffusivity=4.7)

#: Solvers small and short enough for tests.
SMALL = {
    "weak-4dvar": lambda cells=CELLS, **more: WeakConstraint(cells, Schedule(steps=200, rate=0.03), **more),
    "eand-arn-separable": lambda cells=CELLS, **more: SeparableArn(
        cells, Schedule(steps=150, rate=0.01), width=48, blocks=Blocks(1), n_modes=160, n_frequencies=16, **more
    ),
    "eand-arn": lambda cells=CELLS, **more: PointwiseArn(
        cells, Schedule(steps=150, rate=0.005), width=24, blocks=Blocks(1), n_frequencies=8, **more
    ),
    "p-dl": lambda cells=CELLS, **more: PDL(
        cells, Schedule(steps=1000, rate=0.005, tolerances=(0.3, 0.3)), width=24, n_points=200, **more
    ),
}

#: A few steps of any of them, where quality does not matter.
FEW = {
    "weak-4dvar": lambda cells=CELLS, **more: WeakConstraint(cells, Schedule(steps=3), **more),
    "eand-arn-separable": lambda cells=CELLS, **more: SeparableArn(
        cells, Schedule(3), width=8, blocks=Blocks(1), **more
    ),
    "eand-arn": lambda cells=CELLS, **more: PointwiseArn(cells, Schedule(3), width=8, blocks=Blocks(1), **more),
    "p-dl": lambda cells=CELLS, **more: PDL(cells, Schedule(3), width=8, n_points=50, **more),
}

every_method = pytest.mark.parametrize("method", sorted(SMALL))


@pytest.fixture(scope="module")
def images():
    return {name: make().image(wave().operator, wave().recording) for name, make in SMALL.items()}


# -- what all of them must do -----------------------------------------------------------------------------------------


@every_method
def test_is_a_solver_under_its_registered_name(method):
    solver = PHYSICS_METHODS[method](CELLS)
    assert isinstance(solver, Solver)
    assert solver.name == method
    assert method not in METHODS
    assert solver.capabilities.needs_absolute_scale
    assert not solver.capabilities.linear
    assert not solver.capabilities.reference_invariant


@pytest.mark.long
@every_method
def test_result_is_consistent(method, images):
    found, w = images[method].reconstruction, wave()
    assert found.estimate.sites == w.operator.in_sites
    assert np.array_equal(found.estimate.times, w.recording.times)
    assert (found.estimate.quantity, found.estimate.reference) == ("hsp", "absolute")
    assert (found.method, found.rule) == (method, "annealed")
    predicted = w.operator.apply(found.estimate.values)
    assert np.allclose(found.residual.values, w.recording.values - predicted, atol=1e-10)
    assert images[method].v.shape == found.estimate.values.shape


@pytest.mark.long
@every_method
def test_diagnostics_are_those_of_the_result(method, images):
    image = images[method]
    told, n = image.reconstruction.diagnostics, len(image.history.cost)
    left = np.linalg.svd(wave().operator.matrix, full_matrices=False)[0]
    misfit = left.T @ image.reconstruction.residual.values
    assert told["chi2"] == pytest.approx((misfit**2).mean() / SIGMA**2, rel=1e-3)
    assert told["steps"] == n
    assert told["interrupted"] == 0.0
    assert told["sigma"] == SIGMA
    assert image.history.tolerance[0] == pytest.approx(0.3 if method == "p-dl" else 1.0)
    assert (np.diff(image.history.tolerance) <= 0).all()
    assert image.history.tolerance[-1] >= 0.2999
    physics = (told["physics_rms"] / found_tolerance(image)) ** 2 * 2 * image.v.size
    assert told["cost"] == pytest.approx(0.5 * (told["chi2"] * misfit.size + physics), rel=1e-3)


@every_method
def test_is_better_than_the_classical_yardstick(method, images):
    """The classical solution with the weight that only an oracle knows; the networks and the fields do not see it."""
    w = wave()
    yardstick = relative_error(Stre(Oracle(w.truth)).reconstruct(w.operator, w.recording).estimate, w.truth)
    found = relative_error(images[method].reconstruction.estimate, w.truth)
    assert found < {"weak-4dvar": 0.6, "eand-arn-separable": 0.6, "eand-arn": 0.95, "p-dl": 1.0}[method] * yardstick


@every_method
def test_starts_from_the_classical_solution(method, images):
    w = wave()
    classical = Stre(RobustGCV()).reconstruct(w.operator, w.recording).estimate
    assert np.allclose(images[method].start.values, classical.values, atol=1e-4)


@pytest.mark.long
@every_method
def test_is_deterministic_and_blind_to_the_order_of_leads(method):
    w = wave()
    plain = FEW[method]().reconstruct(w.operator, w.recording)
    again = FEW[method]().reconstruct(w.operator, w.recording)
    assert np.array_equal(plain.estimate.values, again.estimate.values)
    names = list(w.recording.sites)
    np.random.default_rng(1).shuffle(names)
    shuffled = FEW[method]().reconstruct(w.operator, w.recording.select(names))
    assert shuffled.residual.sites == tuple(names)
    assert np.allclose(plain.estimate.values, shuffled.estimate.values, atol=0.05)


@pytest.mark.long
@pytest.mark.parametrize("method", ["eand-arn", "eand-arn-separable", "p-dl"])
def test_seeds_differ(method):
    w = wave()
    one, other = (FEW[method](seed=s).reconstruct(w.operator, w.recording).estimate.values for s in (0, 1))
    assert np.abs(one - other).max() > 1e-3


@every_method
def test_ctrl_c_keeps_what_there_is(method):
    calls = []

    def stop(step, done, total):
        calls.append((step.split(": ")[0], done, total))
        raise KeyboardInterrupt

    solver = replace(SMALL[method](progress=stop), schedule=Schedule(steps=60))
    found = solver.reconstruct(wave().operator, wave().recording)
    assert calls == [(method, 25, 60)]
    assert found.diagnostics["interrupted"] == 1.0
    assert found.diagnostics["steps"] == 25.0


@pytest.mark.long
@every_method
def test_progress_counts_the_steps(method):
    calls = []
    solver = replace(
        SMALL[method](progress=lambda step, *n: calls.append((step.split(": ")[0], *n))), schedule=Schedule(steps=30)
    )
    solver.reconstruct(wave().operator, wave().recording)
    assert calls == [(method, 25, 30), (method, 30, 30)]


def test_other_data_compile_nothing():
    """Traces of the fields are counted: once for the first data, never for the next."""
    w, traces = wave(), []

    class Counted(FreeFields):
        def __call__(self):
            traces.append(1)
            return self.u, self.v

    def run(sigma):
        ready = replace(CELLS, sigma=sigma, diffusivity=4.0 + sigma).prepare(w.operator, w.recording)
        train(Counted(ready.u, ready.v), ready.cost, Schedule(steps=50))
        return len(traces)

    first = run(2.0)
    assert 1 <= first <= 2
    assert run(3.0) == first


# -- what they assume -------------------------------------------------------------------------------------------------


def test_extracellular_potentials_are_refused_unless_forced():
    w = wave()
    with pytest.raises(InputError, match="hold for transmembrane potentials, and potentials on the heart surface are"):
        WeakConstraint(CellPhysics(sigma=SIGMA)).reconstruct(w.operator, w.recording)
    assert potential_scale(imaging_cells(), w.operator, extracellular=True) == (0.0, 100.0)
    transmembrane = replace(w.operator, in_quantity="vm")
    assert potential_scale(imaging_cells(), transmembrane) == (-80.0, 100.0)
    leads = replace(w.operator, in_quantity="bsp", source=None)
    with pytest.raises(InputError, match="sources are bsp"):
        potential_scale(imaging_cells(), leads)


def test_transmembrane_potentials_give_the_same_image():
    """The same data of a source that rests at -80 mV: only zero and name of the potential differ."""
    w = wave()
    shift = w.operator.matrix.sum(axis=1, keepdims=True)
    data = w.recording.with_values(w.recording.values - 80.0 * shift)
    plain = FEW["weak-4dvar"]().reconstruct(w.operator, w.recording).estimate
    found = FEW["weak-4dvar"]().reconstruct(replace(w.operator, in_quantity="vm"), data).estimate
    assert found.quantity == "vm"
    assert np.allclose(found.values + 80.0, plain.values, atol=0.05)


def test_an_invisible_constant_is_refused_without_a_start():
    w = wave()
    operator = LeadSystem.average(w.operator.out_sites).operator() @ w.operator
    recording = w.recording.average_referenced()
    with pytest.raises(InputError, match="do not show a constant on the heart\\. Use an absolute reference, or give"):
        CELLS.prepare(operator, recording)
    found = FEW["weak-4dvar"](replace(CELLS, start=w.truth)).reconstruct(operator, recording)
    assert relative_error(found.estimate, w.truth.average_referenced()) < 0.1
    with pytest.raises(InputError, match="the start is vm, the operator's sources are hsp"):
        FEW["weak-4dvar"](replace(CELLS, start=replace(w.truth, quantity="vm"))).reconstruct(operator, recording)
    with pytest.raises(InputError, match="the start has 39 frames, the recording 40"):
        FEW["weak-4dvar"](replace(CELLS, start=w.truth.window(8.0, 1e3))).reconstruct(operator, recording)


def test_the_diffusivity_is_read_off_the_start():
    w, scale = wave(), potential_scale(imaging_cells(), wave().operator, extracellular=True)
    cells = excitation(imaging_cells())
    speed = speed_of(w.truth, scale, cells, w.operator.source)
    assert cells.diffusivity(speed) == pytest.approx(DIFFUSIVITY, rel=0.25)
    flat = w.truth.with_values(0.01 * w.truth.values)
    with pytest.raises(InputError, match="shows a front at 0 of 162 nodes only"):
        speed_of(flat, scale, cells, w.operator.source)


def test_the_diffusivity_is_read_again_off_a_better_map():
    """From a start that is four times too fast, D comes out near that of the true wave on this mesh."""
    w, cells = wave(), excitation(imaging_cells())
    ready = replace(CELLS, diffusivity=16.0).prepare(w.operator, w.recording)
    steps = []
    found = with_refined_diffusivity(ready, imaging_cells(), progress=lambda s, *n: steps.append(s.split(": ")[0]))
    true = FASTER * diffusivity_on(ready.surface, cells, speed_of(w.truth, ready.scale, cells, ready.surface))
    assert found.diffusivity == pytest.approx(true, rel=0.3)
    assert found.diffusivity < 0.6 * 16.0
    assert float(found.cost.diffusivity) == pytest.approx(found.diffusivity, rel=1e-6)
    assert np.array_equal(found.u, ready.u)
    assert set(steps) == {"diffusivity"}


def test_a_given_diffusivity_is_left_alone_and_another_is_refined():
    w = wave()
    assert FEW["weak-4dvar"]().prepare(w.operator, w.recording).diffusivity == 4.7
    own = replace(CELLS, diffusivity=None)
    first, found = own.prepare(w.operator, w.recording), FEW["weak-4dvar"](own).prepare(w.operator, w.recording)
    assert found.diffusivity != first.diffusivity
    assert found.diffusivity == pytest.approx(with_refined_diffusivity(first, own.membrane).diffusivity, rel=1e-6)


def test_a_mesh_slows_fronts():
    """A fine chain not at all, a coarse one by a tenth at D / (k h^2) = 0.05; D is raised by what it takes."""
    logs, shares = slowness(0.1)
    assert np.interp(np.log(2.0), logs, shares) == pytest.approx(1.0, abs=0.02)
    assert np.interp(np.log(0.05), logs, shares) == pytest.approx(0.88, abs=0.02)
    surface, cells = wave().operator.source, excitation(imaging_cells())
    found = diffusivity_on(surface, cells, cells.speed(8.0))
    rho = cells.spread(found) / (ROWS * edge_lengths(surface).mean()) ** 2
    assert cells.speed(found) * np.interp(np.log(rho), logs, shares) == pytest.approx(cells.speed(8.0), rel=1e-3)
    assert diffusivity_on(surface, cells, 1e-3) == pytest.approx(least_diffusivity(surface, imaging_cells()))


def test_recovery_of_an_activity_under_way():
    """Cells that are excited in the first frame were not at rest before: v begins at a mean, not at rest."""
    w = wave()
    ready = CELLS.prepare(w.operator, w.recording)
    flow, u = ready.cost.wave, ready.u
    assert np.array_equal(recovery_along(flow, u), flow.recovery(u))
    late = jnp.asarray(np.roll(np.asarray(u), -15, axis=1))
    assert float((late[:, 0] > 0.5).mean()) > 0.1
    found = recovery_along(flow, late)
    assert float(found[0, 0]) == pytest.approx(float(flow.recovery(late)[:, 20:].mean()), rel=1e-5)
    assert np.ptp(np.asarray(found[:, 0])) == 0.0
    assert float(found[0, 0]) > 0.05


def test_speed_of_a_plane_front():
    """It is the front's, at half the peak, not that of a foot that rises everywhere at once."""
    surface = sphere(30.0, subdivisions=3, name="heart")
    times = np.arange(0.0, 120.0, 4.0)
    u = 20 / (1 + np.exp(-(times - 10.0) / 3.0)) + 80 / (
        1 + np.exp(-(times - 55.0 - surface.points[:, 2:] / 0.7) / 3.0)
    )
    estimate = Recording(u, times, surface.node_names, "hsp")
    scale = potential_scale(imaging_cells(), replace(_onto(surface), in_quantity="hsp"), extracellular=True)
    found = speed_of(estimate, scale, excitation(imaging_cells()), surface)
    z = surface.points[:, 2] / 30.0
    assert found == pytest.approx(np.median(0.7 / np.sqrt(1 - z**2 + 1e-9)), rel=0.05)


def test_a_diffusivity_that_the_mesh_would_pin_is_refused():
    with pytest.raises(InputError, match="too coarse for a front of 1 mm2/ms"):
        FEW["weak-4dvar"](replace(CELLS, diffusivity=1.0)).reconstruct(wave().operator, wave().recording)


def test_few_or_uneven_frames_are_refused():
    w = wave()
    with pytest.raises(InputError, match="at least 5 frames"):
        FEW["weak-4dvar"]().reconstruct(w.operator, w.recording.window(0.0, 16.0))
    keep = np.arange(40) != 20
    uneven = replace(w.recording, values=w.recording.values[:, keep], times=w.recording.times[keep])
    with pytest.raises(InputError, match="sampled uniformly"):
        FEW["weak-4dvar"]().reconstruct(w.operator, uneven)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CellPhysics(sigma=0.0), "sigma must be positive; got 0.0"),
        (lambda: CellPhysics(diffusivity=-1.0), "diffusivity must be positive; got -1.0"),
        (lambda: check_precision("half"), "'float32' or 'float64'; got 'half'"),
        (lambda: CellPhysics(rank=0), "rank must be at least 1; got 0"),
        (lambda: CellPhysics(membrane=MitchellSchaeffer2003()), "gate without width"),
        (lambda: Schedule(tolerances=(0.3, 1.0)), "tolerances that fall"),
        (lambda: SeparableArn(width=0), "width must be at least 1"),
        (lambda: surface_modes(sphere(1.0, subdivisions=0), 0), "at least one; got 0"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_sigma_comes_from_the_covariance_or_a_quiet_window():
    w = wave()
    noise = NoiseCovariance.white(w.recording, sigma=SIGMA)
    for cells in (replace(CELLS, sigma=None, noise=noise), replace(CELLS, sigma=None)):
        found = FEW["weak-4dvar"](cells).reconstruct(w.operator, w.recording)
        assert found.diagnostics["sigma"] == pytest.approx(SIGMA, rel=1e-6 if cells.noise else 0.2)


def test_other_cells_can_be_imaged():
    cells = replace(CELLS, membrane=MitchellSchaeffer2003(gate_width=0.02), diffusivity=20.0)
    found = FEW["weak-4dvar"](cells).reconstruct(wave().operator, wave().recording)
    assert np.isfinite(found.estimate.values).all()


@pytest.mark.long
@pytest.mark.parametrize("method", ["weak-4dvar", "eand-arn-separable"])
def test_precision(method):
    """Both precisions agree; double needs the mode, single does not mind it."""
    w = wave()
    with pytest.raises(InputError, match="float64 needs JAX's 64-bit mode"):
        FEW[method](replace(CELLS, dtype="float64")).reconstruct(w.operator, w.recording)
    single = FEW[method]().reconstruct(w.operator, w.recording).estimate.values
    with jax.enable_x64(True):
        double = FEW[method](replace(CELLS, dtype="float64")).image(w.operator, w.recording)
        still = FEW[method]().image(w.operator, w.recording)
        assert all(x.dtype == np.float64 for x in double.fields())
        assert all(x.dtype == np.float32 for x in still.fields())
    assert np.allclose(still.reconstruction.estimate.values, single, atol=0.2)
    if method == "weak-4dvar":  # random numbers differ with the precision
        assert np.allclose(double.reconstruction.estimate.values, single, atol=0.2)


# -- networks ---------------------------------------------------------------------------------------------------------


def test_blocks_start_as_the_identity_and_end_as_the_layer():
    trunk = Trunk.random(jax.random.key(0), 5, 7, blocks=Blocks(2), squashed=False, dtype="float32")
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)), jnp.float32)
    assert np.allclose(trunk(x), x @ trunk.embedding, atol=1e-6)
    block = replace(trunk.blocks[0], alpha=jnp.ones(()))
    y = x @ trunk.embedding
    assert np.allclose(block(y), jnp.tanh(jnp.tanh(y @ block.first) @ block.second), atol=1e-6)


def test_the_pointwise_network_is_a_function_of_time_and_place(images):
    """Evaluated point by point it gives what it gives on the grid."""
    fields = images["eand-arn"].fields
    assert isinstance(fields, PointwiseFields)
    u, v = fields()
    i, j = 5, 11
    x = fields.trunk(jnp.concatenate([fields.fixed.space[i], fields.fixed.time[j]])[None])
    out = (x @ fields.head + fields.head_bias)[0]
    assert float(u[i, j]) == pytest.approx(float(fields.fixed.u[i, j] + out[0]), abs=1e-5)
    assert float(v[i, j]) == pytest.approx(float(fields.fixed.v[i, j] + out[1]), abs=1e-5)


@pytest.mark.parametrize("method", ["eand-arn", "eand-arn-separable"])
def test_only_the_network_is_trained(method, images):
    image, w = images[method], wave()
    start = image.fields.fixed.u
    assert np.allclose(100 * np.asarray(start), image.start.values, atol=1e-3)
    blocks = image.fields.trunk.blocks if method == "eand-arn" else image.fields.time.blocks
    assert all(float(b.alpha) != 0 for b in blocks)
    assert w.operator.n_in == len(start)


def test_modes_are_eigenfunctions():
    surface = sphere(30.0, subdivisions=3)
    modes, values = surface_modes(surface, 8)
    assert values * 900 == pytest.approx(np.repeat([2.0, 6.0], [3, 5]), rel=0.01)
    assert (modes**2).mean(axis=0) == pytest.approx(np.ones(8), rel=0.02)
    assert waves_in_time(9, 4).shape == (9, 9)


def found_tolerance(image) -> float:
    """Of the last step; a solver tells it as its weight."""
    assert image.reconstruction.weight == image.history.tolerance[-1]
    return image.reconstruction.weight


def _onto(surface) -> ForwardOperator:
    """Three leads of the mean, for the scale only."""
    weights = np.full((3, surface.n_points), 1 / surface.n_points)
    return ForwardOperator(weights, surface.node_names, ("a", "b", "c"), "hsp", "bsp", source=surface)
