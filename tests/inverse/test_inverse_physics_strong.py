"""Strong constraint: exact derivatives, foci found again, any reference, what is refused."""

from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np
import pytest

from einthoven.core import ForwardOperator, InputError, LeadSystem, Recording, Solver
from einthoven.geometry.generators import sphere
from einthoven.geometry.locate import closest_points
from einthoven.geometry.remesh import refined
from einthoven.inverse import Oracle, Stre
from einthoven.inverse.physics import strong as strong_module
from einthoven.inverse.physics.fields import CellPhysics, NoFrontError
from einthoven.inverse.physics.focal_fit import FocalPriors, FocalProblem, focal_problem
from einthoven.inverse.physics.focal_search import FocalSearch
from einthoven.inverse.physics.focal_wave import FocalWave, Foci, Steps
from einthoven.inverse.physics.reaction_diffusion import ReactionDiffusion
from einthoven.inverse.physics.registry import PHYSICS_METHODS
from einthoven.inverse.physics.spread import foci_spread, laplace
from einthoven.inverse.physics.strong import StrongConstraint, expected_diffusivity
from einthoven.inverse.physics.strong_weak import StrongWeak
from einthoven.inverse.physics.training import Schedule
from einthoven.inverse.physics.waves import clocked, excitation, imaging_cells
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from physics_cases import SIGMA, relative_error, wave

CELLS = CellPhysics(sigma=SIGMA, extracellular=True)
OTHERS = MitchellSchaeffer2003(gate_width=0.02)

#: Steps that are short for a time of 2 ms between frames.
FINE = Steps(10, 4)

#: Few candidates: spheres are small.
SEARCH = FocalSearch(n_candidates=20, most=2)

#: Foci between nodes, far from each other, and a wave that is not the expected one.
PLACES = np.array([[5.0, -29.0, 3.0], [-12.0, 22.0, 14.0]])
FOCI = Foci(closest_points(wave().operator.source, PLACES).points, np.array([9.0, 25.0]), 4.6, 1.1)
ONE = FOCI._replace(positions=FOCI.positions[:1], onsets=FOCI.onsets[:1])


@lru_cache(maxsize=4)
def model(dtype="float32", others=False) -> FocalWave:
    surface, times = wave().operator.source, wave().recording.times
    cells = OTHERS if others else imaging_cells()
    return FocalWave.on(surface, ReactionDiffusion.on(surface, cells, step=4.0, dtype=dtype), times)


def twin(foci: Foci) -> tuple[Recording, Recording]:
    """Absolute data of a wave on the very mesh, with noise, and its potential."""
    w = wave()
    truth = w.truth.with_values(100.0 * model().fields(foci).u)
    clean = w.operator.record(truth)
    noise = np.random.default_rng(5).standard_normal(clean.values.shape)
    return clean.with_values(clean.values + SIGMA * noise), truth


def averaged(recording: Recording, operator: ForwardOperator | None = None):
    """Operator and data with an average reference."""
    operator = wave().operator if operator is None else operator
    return LeadSystem.average(operator.out_sites).operator() @ operator, recording.average_referenced()


def strong(cells=CELLS, search=SEARCH, **more) -> StrongConstraint:
    return StrongConstraint(cells, search=search, **more)


@pytest.fixture(scope="module")
def image():
    return strong().image(wave().operator, wave().recording)


@pytest.fixture(scope="module")
def averaged_image():
    return strong().image(*averaged(wave().recording))


# -- the wave and its derivatives -------------------------------------------------------------------------------------


def short(membrane) -> FocalWave:
    surface = sphere(30.0, subdivisions=1, name="heart")
    cells = ReactionDiffusion.on(surface, membrane, step=2.0, dtype="float64")
    return FocalWave.on(surface, cells, 100.0 + 2.0 * np.arange(12))


@pytest.mark.parametrize("membrane", [imaging_cells(), OTHERS], ids=["aliev-panfilov", "mitchell-schaeffer"])
def test_derivatives_are_those_of_the_wave(membrane):
    with jax.enable_x64(True):
        found = short(membrane)
        foci = Foci(PLACES, np.array([101.0, 108.0]), 12.0, 1.1)
        exact = found.fields(foci, FINE).derivative
        names = ["diffusivity", "clock", *["positions"] * 6, *["onsets"] * 2]
        for k, name in enumerate(names):

            def at(h, k=k, name=name):
                value = getattr(foci, name)
                if k < 2:
                    return found.fields(foci._replace(**{name: value * np.exp(h)}), FINE).u
                unit = np.eye(6 if k < 8 else 2)[k - 2 if k < 8 else k - 8].reshape(np.shape(value))
                return found.fields(foci._replace(**{name: value + h * unit}), FINE).u

            difference = (at(1e-4) - at(-1e-4)) / 2e-4
            assert np.abs(difference).max() > 1e-4
            assert np.abs(difference - exact[:, :, k]).max() <= 1e-5 * np.abs(difference).max()


def test_candidates_are_waves_with_one_more_focus():
    matrix = wave().operator.matrix
    seen = model().seen(matrix, ONE, Foci(FOCI.positions[[1, 1]], np.array([25.0, 45.0]), 0.0))
    for k, onset in enumerate((25.0, 45.0)):
        foci = FOCI._replace(onsets=np.array([9.0, onset]))
        alone = matrix @ model().fields(foci, model().steps(FOCI.diffusivity, FOCI.clock)).u
        assert np.allclose(seen[:, :, k], alone, atol=1e-4)


@pytest.mark.parametrize("membrane", [imaging_cells(), OTHERS], ids=["aliev-panfilov", "mitchell-schaeffer"])
def test_the_clock_is_that_of_the_membrane(membrane):
    """A wave of faster cells is the wave with that clock; rates are all multiplied."""
    with jax.enable_x64(True):
        fast = clocked(membrane, 1.3)
        _, states = membrane.rest()
        plain, more = membrane.rates(0.4, states), fast.rates(0.4, states)
        assert float(more[0]) == pytest.approx(1.3 * float(plain[0]), rel=1e-12)
        foci = Foci(PLACES, np.array([101.0, 108.0]), 12.0, 1.3)
        with_clock = short(membrane).fields(foci, FINE)
        # pulses are as long as the expected cells' upstroke: those of the faster ones are shorter
        same = replace(short(fast), pulse=short(membrane).pulse, lead=short(membrane).lead)
        assert np.allclose(same.fields(foci._replace(clock=1.0), FINE).u, with_clock.u, atol=1e-10)
        assert np.allclose(same.fields(foci._replace(clock=1.0), FINE).v, with_clock.v, atol=1e-10)


def test_jacobian_of_the_residual():
    """With gain, errors and priors, along steps within the surface."""
    with jax.enable_x64(True):
        cells = replace(CELLS, dtype="float64")
        posed = cells.pose(wave().operator, wave().recording)
        base = focal_problem(
            posed, model(dtype="float64"), rank=20, expected=4.0, least=1.0, priors=FocalPriors(gain_spread=0.2)
        )
        change = np.random.default_rng(0).standard_normal((2, *base.rows[0].shape)) * base.rows[0].std()
        problem = replace(base, rows=np.concatenate([base.rows, 0.1 * change]), spread=np.array([1.5, 0.5]))
        state = problem.state(FOCI, 1.05, np.array([0.3, -0.2]))
        step = 1e-5
        for k in range(state.jacobian.shape[1]):
            there, back = (problem.moved(state, s * step * np.eye(state.jacobian.shape[1])[k]) for s in (1, -1))
            slope = (there.residual - back.residual) / (2 * step)
            assert np.abs(slope - state.jacobian[:, k]).max() <= 1e-4 * np.abs(slope).max(), k


# -- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_twin_is_found_again():
    """Number of foci, places to a millimeter, onsets, D and clock."""
    recording, truth = twin(FOCI)
    found = strong().image(wave().operator, recording)
    assert found.reconstruction.diagnostics["n_sources"] == 2
    assert np.allclose([f.position for f in found.foci], FOCI.positions, atol=1.0)
    assert np.allclose([f.onset for f in found.foci], FOCI.onsets, atol=0.5)
    assert found.diffusivity == pytest.approx(FOCI.diffusivity, rel=0.02)
    assert found.clock == pytest.approx(FOCI.clock, rel=0.04)
    assert relative_error(found.absolute, truth) < 0.01
    assert found.reconstruction.diagnostics["chi2"] == pytest.approx(1.0, abs=0.06)


@pytest.mark.long
def test_error_bars_of_a_wave(image):
    """Those of the fields are the spread of waves of drawn parameters; more misfit than noise widens them."""
    p, state = image.problem, image.state
    covariance = p.covariance(state)
    steps = np.random.default_rng(1).multivariate_normal(np.zeros(5), covariance, size=60) / p.scales(1)
    waves = np.std([p.moved(state, step).fields.u for step in steps], axis=0)
    spread = laplace(image)
    found = spread.potential.values / p.scale.amplitude
    assert np.sqrt((found**2).mean()) == pytest.approx(np.sqrt((waves**2).mean()), rel=0.25)
    assert np.corrcoef(found.ravel(), waves.ravel())[0, 1] > 0.95
    told = foci_spread(image)
    assert told.positions == pytest.approx([np.sqrt(covariance[2, 2] + covariance[3, 3])])
    assert told.onsets == pytest.approx([np.sqrt(covariance[4, 4])])
    more = p.covariance(state._replace(misfit=4.0 * p.data.size))
    wider = np.sqrt(4.0 * p.data.size / state.misfit)
    assert np.allclose(np.sqrt(np.diag(more))[2:], wider * np.sqrt(np.diag(covariance))[2:], rtol=0.03)
    assert spread.activation.shape == (12, 162)


def test_what_is_left_to_explain(image):
    """White noise is nothing; a wave that is not there is what it would explain."""
    p, state = image.problem, image.state
    noise = np.random.default_rng(2).standard_normal(p.data.shape)
    slow = 0.5 * np.sin(np.linspace(0.0, 6.0, p.data.shape[1]))[None] * np.ones((len(p.data), 1))

    def left(residual):
        known = state.residual[p.data.size :]
        whole = np.concatenate([residual.ravel(), known])
        return p.unexplained(state._replace(residual=whole, misfit=float((residual**2).sum())))

    assert abs(left(noise)) < 6 * np.sqrt(2 * p.data.size)
    assert left(noise + slow) - left(noise) == pytest.approx((slow**2).sum() + 2 * (slow * noise).sum(), rel=0.05)


def test_better_than_the_classical_yardstick_on_a_finer_truth(image):
    w = wave()
    yardstick = relative_error(Stre(Oracle(w.truth)).reconstruct(w.operator, w.recording).estimate, w.truth)
    assert relative_error(image.reconstruction.estimate, w.truth) < 0.7 * yardstick
    focus = refined(w.operator.source, curved=True).surface.points[-1]
    assert len(image.foci) == 1
    assert np.linalg.norm(image.foci[0].position - focus) < 3.0


def test_result_is_consistent(image):
    found, w = image.reconstruction, wave()
    assert (found.method, found.rule) == ("strong", "bic")
    assert np.array_equal(found.estimate.values, image.absolute.values)
    predicted = w.operator.apply(found.estimate.values)
    assert np.allclose(found.residual.values, w.recording.values - predicted, atol=1e-10)
    left = np.linalg.svd(w.operator.matrix, full_matrices=False)[0]
    misfit = (left.T @ found.residual.values) ** 2
    told = found.diagnostics
    assert told["chi2"] == pytest.approx(misfit.mean() / SIGMA**2, rel=1e-6)
    assert told["bic"] == pytest.approx(misfit.sum() / SIGMA**2 + 5 * np.log(misfit.size), rel=1e-6)
    assert told["conduction_velocity"] == pytest.approx(
        np.sqrt(image.diffusivity * image.clock * 8 / 12.9 / 2) * 0.8, rel=1e-6
    )
    once = strong(search=replace(SEARCH, most=1))
    again = once.reconstruct(w.operator, w.recording.select(w.recording.sites[::-1]))
    assert np.allclose(again.estimate.values, found.estimate.values, atol=0.5)


def test_an_average_reference_leaves_the_absolute_estimate(image, averaged_image):
    """Data without a constant: the wave has its own zero; the reconstruction has the mean removed."""
    w, found = wave(), averaged_image
    assert relative_error(found.absolute, w.truth) < 1.3 * relative_error(image.absolute, w.truth)
    assert found.reconstruction.estimate.reference == "average"
    assert np.allclose(found.reconstruction.estimate.values.mean(axis=0), 0.0, atol=1e-9)
    assert np.allclose(found.absolute.values, image.absolute.values, atol=15.0)


@pytest.mark.long
def test_transmembrane_potentials_of_other_cells():
    """Data of cells at rest at -80 mV, of another membrane, whose clock runs fast."""
    w = wave()
    cells = CellPhysics(sigma=SIGMA, membrane=OTHERS, diffusivity=14.0)
    foci = ONE._replace(diffusivity=16.0, clock=1.1)
    fields = model(others=True).fields(foci)
    truth = replace(w.truth.with_values(100.0 * fields.u - 80.0), quantity="vm")
    operator = replace(w.operator, in_quantity="vm")
    few = FocalSearch(n_candidates=8, n_starts=1, most=1, evaluations=12)
    found = strong(cells, few).image(operator, operator.record(truth))
    assert relative_error(found.absolute, truth) < 0.01
    assert (found.absolute.quantity, found.clock) == ("vm", pytest.approx(1.1, rel=0.02))
    assert np.allclose(found.recovery, fields.v, atol=0.1)


def test_weak_after_strong_starts_from_the_wave(image, averaged_image):
    """With its D, clock and zero; the free fields fit the data better, and the absolute estimate is kept."""
    w = wave()
    few = strong(search=replace(SEARCH, most=1))
    solver = StrongWeak(few.physics, Schedule(steps=100, rate=0.003, tolerances=(0.15, 0.15)), strong=few)
    prepared = solver.prepare_from(image)
    assert np.allclose(100.0 * prepared.u, image.absolute.values, atol=1e-3)
    assert prepared.cost.wave.membrane.time_unit == pytest.approx(12.9 / image.clock, rel=1e-5)
    assert float(prepared.cost.diffusivity) == pytest.approx(image.diffusivity, rel=1e-5)
    found = solver.image(*averaged(w.recording))
    assert found.reconstruction.method == "strong+weak"
    assert found.reconstruction.estimate.reference == "average"
    assert relative_error(found.absolute, w.truth) < 0.08
    removed = found.absolute.values - found.absolute.values.mean(axis=0)
    assert np.allclose(found.reconstruction.estimate.values, removed, atol=1e-9)
    chi2 = averaged_image.reconstruction.diagnostics["chi2"]
    assert found.reconstruction.diagnostics["chi2"] < chi2


def test_diffusivity_before_the_fit():
    """From an absolute or an average reference it is nearly the same, and close enough to start from."""
    w = wave()
    plain = expected_diffusivity(CELLS, CELLS.pose(w.operator, w.recording))
    average = expected_diffusivity(CELLS, CELLS.pose(*averaged(w.recording)))
    assert plain == pytest.approx(4.0, rel=0.5)
    assert average == pytest.approx(plain, rel=0.23)


def test_a_flat_image_of_transmembrane_potentials_shows_no_front(monkeypatch):
    """Then a usual velocity is expected; heart-surface potentials would be too small for those of cells."""
    w = wave()
    faint = w.recording.with_values(0.02 * w.recording.values)
    cells = CellPhysics(sigma=0.02 * SIGMA)
    monkeypatch.setattr(strong_module, "TYPICAL", 0.9)  # a speed that this coarse mesh carries
    found = expected_diffusivity(cells, cells.pose(*averaged(faint, replace(w.operator, in_quantity="vm"))))
    assert found == pytest.approx(excitation(cells.membrane).diffusivity(0.9))
    with pytest.raises(NoFrontError, match="front at 0 of"):
        expected_diffusivity(CELLS, CELLS.pose(*averaged(faint)))


# -- interface --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["strong", "strong+weak"])
def test_registered(method):
    solver = PHYSICS_METHODS[method](CELLS)
    assert isinstance(solver, Solver)
    assert solver.name == method
    assert solver.capabilities.reference_invariant
    assert not solver.capabilities.linear


def test_ctrl_c_keeps_the_best_so_far():
    calls = []

    def stop(step, done, total):
        calls.append((step, done, total))
        assert 0 <= done <= total
        if step == "strong, 1 focus: fit" and done == 1:
            raise KeyboardInterrupt

    found = strong(progress=stop).image(wave().operator, wave().recording)
    assert found.reconstruction.diagnostics["interrupted"] == 1.0
    assert found.reconstruction.diagnostics["n_sources"] == 1.0
    assert calls[0] == ("strong, 1 focus: trial fits", 0, 2)

    def at_once(step, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        strong(progress=at_once).image(wave().operator, wave().recording)


def problem() -> FocalProblem:
    posed = CELLS.pose(wave().operator, wave().recording)
    return focal_problem(posed, model(), rank=20, expected=4.0, least=1.0, priors=FocalPriors())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: strong(radius=1.0).image(wave().operator, wave().recording), "at least half a mean edge"),
        (lambda: FocalSearch(most=0), "most must be at least 1; got 0"),
        (lambda: FocalSearch(model_error=1.0), "a share of the data; got 1.0"),
        (lambda: FocalPriors(clock_spread=0.0), "diffusivity and clock must be positive"),
        (lambda: FocalPriors(gain_spread=-1.0), "gain must be 0 or positive; got -1"),
        (lambda: clocked(imaging_cells(), 0.0), "the clock must be positive; got 0.0"),
        (lambda: model().fields(ONE._replace(onsets=np.array([-50.0]))), "must start at .* ms or later"),
        (lambda: model().fields(ONE._replace(diffusivity=-1.0)), "diffusivity and clock positive"),
        (
            lambda: strong(replace(CELLS, diffusivity=1.0)).image(wave().operator, wave().recording),
            "too coarse for a front of 1 mm2/ms",
        ),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_steps_stay_on_the_surface_and_within_bounds():
    p = problem()
    state = p.state(ONE, 1.0, np.zeros(0))
    after = p.moved(state, np.full(5, 1e3))
    assert closest_points(p.surface, after.foci.positions).distance.max() < 1e-9
    assert np.linalg.norm(after.foci.positions - ONE.positions) <= float(p.model.radius) + 1e-6
    assert after.foci.diffusivity <= p.most
    assert after.foci.clock == pytest.approx(1.1 * np.exp(0.3))
    early = p.state(ONE._replace(onsets=np.array([0.0])), 1.0, np.zeros(0))
    assert p.moved(early, np.array([0.0, 0.0, 0.0, 0.0, -1e3])).foci.onsets[0] == pytest.approx(p.model.earliest)
