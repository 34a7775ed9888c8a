"""Error bars against the exact posterior of a small problem; the gate; checkpoints; convergence."""

from dataclasses import replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from einthoven.core import InputError, LeadSystem, Recording
from einthoven.inverse import LCurve, RobustGCV, Stre
from einthoven.inverse.physics import fields
from einthoven.inverse.physics import spread as spreads
from einthoven.inverse.physics.eand_arn import SeparableArn
from einthoven.inverse.physics.fields import CellPhysics, NoFrontError, Perturbation, classical, first_crossing
from einthoven.inverse.physics.gate import Gate, Gated
from einthoven.inverse.physics.network import Blocks
from einthoven.inverse.physics.p_dl import PDL
from einthoven.inverse.physics.registry import make_physics_solver
from einthoven.inverse.physics.spread import Spread, coverage, ensemble, laplace
from einthoven.inverse.physics.strong import StrongConstraint
from einthoven.inverse.physics.training import Schedule, train
from einthoven.inverse.physics.weak import FreeFields, WeakConstraint
from physics_cases import SIGMA, relative_error, wave

CELLS = CellPhysics(sigma=SIGMA, extracellular=True, diffusivity=4.0)


def short() -> Recording:
    """Six frames: few enough for a dense posterior of 2 x 162 x 6 unknowns."""
    return wave().recording.window(40.0, 60.5)


@lru_cache(maxsize=1)
def imaged():
    return WeakConstraint(CELLS, Schedule(steps=60)).image(wave().operator, short())


# -- Laplace ----------------------------------------------------------------------------------------------------------


def dense_factor(image) -> np.ndarray:
    """F' as a matrix, by columns."""
    cost, tolerance = image.prepared.cost, image.reconstruction.weight
    point = jnp.asarray(image.u, jnp.float32), jnp.asarray(image.v, jnp.float32)
    flat, unflatten = jax.flatten_util.ravel_pytree(point)
    whole = lambda x: jax.flatten_util.ravel_pytree(spreads._misfit(cost, tolerance, unflatten(x), pushing=True))[0]  # noqa: E731
    return np.asarray(jax.jacfwd(whole)(flat), dtype=np.float64)


@pytest.mark.long
def test_samples_have_the_spread_of_the_exact_posterior():
    image = imaged()
    factor = dense_factor(image)
    precision = factor.T @ factor + np.eye(factor.shape[1]) / spreads.PRIOR**2
    exact = np.sqrt(np.diag(np.linalg.inv(precision)))[: image.u.size].reshape(image.u.shape)
    found = laplace(image, tolerance=0.3, samples=24, iterations=150).potential.values / 100.0
    assert np.median(found / exact) == pytest.approx(1.0, abs=0.06)
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.95


@pytest.mark.long
def test_the_precision_is_that_of_the_cost():
    """Half the misfit squared is the cost, so that its derivative is the cost's."""
    image = imaged()
    cost, tolerance = image.prepared.cost, image.reconstruction.weight
    u, v = (jnp.asarray(x, jnp.float32) for x in (image.u, image.v))
    parts = spreads._misfit(cost, tolerance, (u, v))
    assert 0.5 * sum(float((p**2).sum()) for p in parts) == pytest.approx(float(cost(u, v, tolerance)[0]), rel=1e-4)


def test_intervals_and_their_coverage():
    sites, times = ("a", "b"), np.arange(4.0)
    spread = Spread(Recording(np.full((2, 4), 2.0), times, sites, "hsp"), np.zeros((3, 2)), "laplace")
    assert spread.interval(0.9) == pytest.approx(np.full((2, 4), 2 * 1.6449), rel=1e-4)
    zero, off = np.zeros((2, 4)), np.array([[0.0, 1.0, 3.2, 3.4], [0.0, -1.0, -3.2, -3.4]])
    assert coverage(zero, off, spread.interval(0.9)) == 0.75
    assert coverage(zero, off, spread.interval(0.5)) == 0.5
    with pytest.raises(InputError, match="a share between 0 and 1; got 90"):
        spread.interval(90)
    with pytest.raises(InputError, match="at least 2 samples; got 1"):
        laplace(imaged(), samples=1)


def test_first_crossing():
    times = np.array([0.0, 2.0, 4.0, 6.0])
    u = np.array([[0.0, 0.4, 0.8, 0.2], [0.9, 0.4, 0.8, 0.9], [0.0, 0.1, 0.2, 0.1], [0.0, 0.0, 0.0, 1.0]])
    assert first_crossing(u, times, 0.5) == pytest.approx([2.5, np.nan, np.nan, 5.0], nan_ok=True)


# -- ensembles --------------------------------------------------------------------------------------------------------


def small(steps: int = 60, **more) -> SeparableArn:
    return SeparableArn(CELLS, Schedule(steps, 0.01), width=16, blocks=Blocks(1), n_modes=60, n_frequencies=8, **more)


@pytest.mark.long
def test_members_are_trained_as_each_would_be_alone():
    """All members at once give what the perturbed cost gives one by one."""
    w, solver = wave(), small(steps=8, seed=3)
    prepared = CELLS.prepare(w.operator, w.recording)
    draws = spreads._noise(prepared.cost, 0.3, 3, 2)
    alone = []
    for k in range(2):
        by = Perturbation(draws.data[k], draws.r_u[k], draws.r_v[k])
        trained = train(solver.fields(prepared, 3 + k), prepared.cost.perturbed(by), solver.schedule)
        alone.append(np.asarray(trained.fields()[0]))
    image, spread = ensemble(solver, w.operator, w.recording, members=2)
    assert np.allclose(image.u, np.mean(alone, axis=0), atol=2e-3)
    assert np.allclose(spread.potential.values, 100 * np.std(alone, axis=0, ddof=1), atol=0.3)
    assert spread.how == "ensemble"
    assert spread.activation.shape == (2, w.operator.n_in)


def test_the_perturbation_moves_data_and_residuals():
    prepared = CELLS.prepare(wave().operator, wave().recording)
    cost, (u, v) = prepared.cost, (prepared.u, prepared.v)
    r_u, r_v = cost.wave(u, v, cost.diffusivity)
    by = Perturbation(cost.matrix @ u - cost.data, r_u, r_v)
    assert float(cost.perturbed(by)(u, v, 0.3)[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(cost(u, v, 0.3)[0]) > 100.0


def test_ensembles_refuse_what_they_cannot_do():
    w = wave()
    with pytest.raises(InputError, match="at least 2 members and a solver with residuals on the grid; got 1 of eand"):
        ensemble(small(), w.operator, w.recording, members=1)
    with pytest.raises(InputError, match="got 4 of p-dl"):
        ensemble(PDL(CELLS), w.operator, w.recording, members=4)


# -- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chi2", "tolerance", "accepted", "words"),
    [
        (0.97, 0.3, True, "chi2 is 0.970, within 0.9 to 1.05"),
        (1.06, 0.3, False, "the image leaves more than noise"),
        (0.80, 0.3, False, "the image leaves less than noise"),
        (1.00, 0.9, False, r"little weight \(tau 0.90 > 0.5\)"),
    ],
)
def test_verdicts(chi2, tolerance, accepted, words):
    verdict = Gate().judge(chi2, tolerance)
    assert verdict.accepted is accepted
    with pytest.raises(InputError, match=words):
        raise InputError(verdict.reason)


def test_a_rejected_image_is_replaced_by_the_classical_one():
    w = wave()
    solver = WeakConstraint(CELLS, Schedule(steps=40))
    open_, closed = Gate(0.0, 9.0, 9.0), Gate(8.0, 9.0)
    found, image, verdict = Gated(solver, open_).image(w.operator, w.recording)
    assert verdict.accepted
    assert np.array_equal(found.estimate.values, image.reconstruction.estimate.values)
    assert (found.method, found.rule, found.diagnostics["accepted"]) == ("weak-4dvar", "annealed", 1.0)
    found, image, verdict = Gated(solver, closed).image(w.operator, w.recording)
    classical = Stre(RobustGCV()).reconstruct(w.operator, w.recording)
    assert not verdict.accepted
    assert np.allclose(found.estimate.values, classical.estimate.values)
    assert found.method == "weak-4dvar"
    assert found.rule == "fell back on stre, rgcv"
    assert found.diagnostics["accepted"] == 0.0
    assert relative_error(image.reconstruction.estimate, found.estimate) > 1e-3


@pytest.mark.parametrize("solver", [WeakConstraint(CELLS), StrongConstraint(CELLS)], ids=lambda s: s.name)
def test_where_no_front_is_seen_the_classical_answer_is_given(solver):
    """Potentials of a few mV: no node comes near half the peak."""
    w = wave()
    faint = w.recording.with_values(0.02 * w.recording.values)
    solver = replace(solver, physics=replace(CELLS, diffusivity=None, sigma=0.02 * SIGMA))
    found, image, verdict = Gated(solver).image(w.operator, faint)
    assert image is None
    assert not verdict.accepted
    assert "front at 0 of" in verdict.reason
    assert found.rule == "fell back on stre, rgcv"
    assert np.array_equal(found.estimate.values, Stre(RobustGCV()).reconstruct(w.operator, faint).estimate.values)
    with pytest.raises(NoFrontError):
        solver.image(w.operator, faint)


def test_where_robust_gcv_fits_the_noise_the_l_curve_chooses(monkeypatch):
    w = wave()
    posed = CELLS.pose(w.operator, w.recording)
    assert classical(posed).rule == "rgcv"
    monkeypatch.setattr(fields, "LEAST_OF_NOISE", 2.0)
    found = classical(posed)
    wanted = Stre(LCurve()).reconstruct(w.operator, w.recording)
    assert found.rule == "lcurve"
    assert np.array_equal(found.estimate.values, wanted.estimate.values)


@pytest.mark.long
def test_a_prior_without_physics_takes_any_potential_in_any_reference():
    w = wave()
    operator = LeadSystem.average(w.operator.out_sites).operator() @ w.operator
    recording = w.recording.average_referenced()
    found = make_physics_solver("network-prior", CellPhysics(sigma=SIGMA)).reconstruct(operator, recording)
    told = found.diagnostics
    assert told["chi2"] <= 1.05
    assert told["steps"] < 1500
    assert "diffusivity" not in told
    centered = w.truth.with_values(w.truth.values - w.truth.values.mean(axis=0))
    assert relative_error(found.estimate, centered) < 0.7


def test_a_noise_that_was_estimated_may_be_too_large():
    """Then chi2 is small without anything being wrong."""
    told, estimated = (Gated(WeakConstraint(replace(CELLS, sigma=s))).bounds for s in (SIGMA, None))
    assert (told.least, estimated.least) == (0.9, 0.5)
    assert estimated.judge(0.7, 0.3).accepted
    assert not told.judge(0.7, 0.3).accepted
    assert told.most == estimated.most


def test_a_gate_needs_bounds():
    with pytest.raises(InputError, match="bounds of chi2 in order"):
        Gate(1.0, 0.9)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def stopping_at(step: int):
    def stop(name, done, total):
        if done >= step:
            raise KeyboardInterrupt

    return stop


@pytest.mark.long
@pytest.mark.parametrize(
    "make", [lambda **more: WeakConstraint(CELLS, Schedule(steps=110), **more), partial(small, 110)]
)
def test_an_interrupted_training_goes_on_to_the_same_bits(make, tmp_path):
    w, file = wave(), tmp_path / "state.npz"
    whole = make().image(w.operator, w.recording)
    cut = make(checkpoint=file, progress=stopping_at(50)).image(w.operator, w.recording)
    assert cut.reconstruction.diagnostics["interrupted"] == 1.0
    assert len(cut.history.cost) == 50
    assert file.is_file()
    steps = []
    rest = make(checkpoint=file, progress=lambda name, done, total: steps.append(done)).image(w.operator, w.recording)
    assert steps[0] == 75
    assert np.array_equal(rest.u, whole.u)
    assert np.array_equal(rest.history.cost, whole.history.cost)
    assert not file.exists()


@pytest.mark.parametrize("spoil", ["data", "settings", "truncated"])
def test_a_checkpoint_of_something_else_is_not_used(spoil, tmp_path):
    w, file = wave(), tmp_path / "state.npz"
    solver = WeakConstraint(CELLS, Schedule(steps=75), checkpoint=file)
    replace(solver, progress=stopping_at(25)).image(w.operator, w.recording)
    recording, steps = w.recording, []
    if spoil == "data":
        recording = recording.with_values(1.01 * recording.values)
    elif spoil == "settings":
        solver = replace(solver, schedule=Schedule(steps=75, rate=0.02))
    else:
        file.write_bytes(file.read_bytes()[:2000])
    replace(solver, progress=lambda name, done, total: steps.append(done)).image(w.operator, recording)
    assert steps == [25, 50, 75]


# -- convergence ------------------------------------------------------------------------------------------------------


def test_courses_end_when_one_gains_little():
    w = wave()
    prepared = CELLS.prepare(w.operator, w.recording)
    fields = FreeFields(prepared.u, prepared.v)
    schedule = Schedule(steps=100, rate=0.03, tolerances=(0.3, 0.3), courses=12, settled=0.02)
    trained = train(fields, prepared.cost, schedule)
    n = len(trained.history.cost) // 100
    assert trained.converged is True
    assert 2 <= n < 12
    ends = trained.history.cost.reshape(n, 100)[:, -10:].mean(axis=1)
    assert ends[-1] > 0.98 * ends[-2]
    assert (ends[1:-1] <= 0.98 * ends[:-2]).all()
    never = train(fields, prepared.cost, replace(schedule, courses=2, settled=1e-6))
    assert never.converged is False
    assert train(fields, prepared.cost, replace(schedule, courses=1)).converged is None


def test_courses_at_different_weights_say_nothing():
    """While tau still falls the cost rises, and that is no sign of convergence."""
    w = wave()
    prepared = CELLS.prepare(w.operator, w.recording)
    schedule = Schedule(steps=10, rate=1e-6, tolerances=(1.0, 0.001), annealed=1.0, courses=2)
    loose = replace(prepared.cost, data=prepared.cost.matrix @ prepared.u)
    trained = train(FreeFields(prepared.u, prepared.v), loose, replace(schedule, annealed=0.9, courses=1))
    assert trained.history.tolerance[-1] == pytest.approx(0.001)
    halfway = train(FreeFields(prepared.u, prepared.v), loose, replace(schedule, tolerances=(1.0, 1e-9), courses=2))
    assert halfway.history.tolerance[-1] < halfway.history.tolerance[9]
    assert halfway.converged is False
    stuck = replace(prepared.cost, data=2 * prepared.cost.data)
    held = train(FreeFields(prepared.u, prepared.v), stuck, schedule)
    assert (held.history.tolerance == 1.0).all()


def test_no_physics_is_an_infinite_tolerance():
    w = wave()
    prepared = CELLS.prepare(w.operator, w.recording)
    schedule = Schedule(steps=60, rate=0.03, tolerances=(np.inf, np.inf))
    trained = train(FreeFields(prepared.u, prepared.v), prepared.cost, schedule)
    n = prepared.cost.data.size
    assert trained.history.cost == pytest.approx(0.5 * n * trained.history.chi2, rel=1e-4)
    cold = FreeFields(jnp.zeros_like(prepared.u), prepared.v)
    ended = train(cold, prepared.cost, replace(schedule, steps=500, rate=0.1)).history.chi2
    assert ended[-1] <= 1.0
    assert len(ended) < 500
    assert (ended[:-25] > 1.0).all()
