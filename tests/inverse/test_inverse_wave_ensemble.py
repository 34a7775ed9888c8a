"""Several early sites from an ECG: the search, leads with errors, the number of sites, ensembles, interrupted runs."""

from dataclasses import replace

import numpy as np
import pytest
from wave_cases import PRIORS, TIMES, TRUE, measured, sheet_model, start, upstroke

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.eikonal import Eikonal
from einthoven.forward.lead_errors import LeadErrors
from einthoven.inverse import kernels_wave, wave_ensemble
from einthoven.inverse.wave_ensemble import fit_ensemble
from einthoven.inverse.wave_fit import FitPriors, Wave, fit_wave
from einthoven.inverse.wave_leads import WaveLeads, in_channels
from einthoven.inverse.wave_search import WaveSearch
from einthoven.simulate.eikonal_ecg import EikonalEcg
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.tissue import Grid, Tissue

TWO = Wave(np.array([[7.3, 24.4], [30.6, 7.1]]), np.array([6.5, 9.0]), np.array([0.62, 0.78]))


@pytest.fixture(scope="module")
def model() -> EikonalEcg:
    return sheet_model(1.0)


@pytest.fixture(scope="module")
def ecg() -> Recording:
    """Two sites on a grid twice as fine, noise of 10 % of the root mean square."""
    clean = measured(sheet_model(0.5), TWO)
    return measured(sheet_model(0.5), TWO, 0.1 * float(np.sqrt(np.mean(clean.values**2))))


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(wave_ensemble, "STEPS", 15_000)


def with_errors(model: EikonalEcg) -> WaveLeads:
    """The sheet's leads; a first error adds a tenth of the neighbor's potential, a second one changes two leads."""
    n = model.model.leads.n_out
    shift, other = 0.1 * np.roll(np.eye(n), 1, axis=0), np.zeros((n, n))
    other[2, 2], other[5, 5] = 0.3, -0.2
    plain = WaveLeads.of(model.model.leads)
    return WaveLeads(
        plain.sites, plain.quantity, plain.reference, np.stack([np.eye(n), shift, other]), ("a", "b"),
        np.array([0.5, 2.0]),
    )  # fmt: skip


# -- leads with errors ------------------------------------------------------------------------------------------------


def test_leads_are_the_sum_of_what_errors_change(model):
    leads = with_errors(model)
    channels = model.beat(TRUE.sites, TRUE.onsets, TRUE.speeds).ecg
    got = leads.record(channels, np.array([0.4, -1.5]), 2.0)
    wanted = channels.values + 0.04 * np.roll(channels.values, 1, axis=0)
    wanted[2] -= 0.45 * channels.values[2]
    wanted[5] += 0.3 * channels.values[5]
    assert np.abs(got.values - 2 * wanted).max() < 1e-12 * np.abs(wanted).max()
    assert (got.sites, got.quantity, got.reference) == (leads.sites, leads.quantity, leads.reference)


@pytest.mark.parametrize("n_in", [7, 60])  # fewer and more than there are rows
def test_channels_hold_the_leads_and_their_changes(n_in):
    rng = np.random.default_rng(0)
    plain = ForwardOperator(
        rng.standard_normal((4, n_in)), tuple(f"n{i}" for i in range(n_in)), tuple("ABCD"), "vm", "bsp", "average"
    )
    errors = LeadErrors(
        plain, rng.standard_normal((2, 4, n_in)), ("x", "y", "A a", "A b"), np.array([5.0, 5.0, 2.0, 2.0]),
        rng.standard_normal((2, n_in)), rng.standard_normal((4, 2)),
    )  # fmt: skip
    channels, leads = in_channels(errors, negligible=1e-12)
    assert channels.n_out == min(n_in, 4 + 2 * 4 + 2)
    assert np.abs(leads.mixing[0] @ channels.matrix - plain.matrix).max() < 1e-12
    assert np.abs(leads.mixing[1:] @ channels.matrix - errors.changes).max() < 1e-12
    assert (leads.names, leads.reference) == (errors.names, "average")
    fewer, coarse = in_channels(errors, negligible=0.3)
    assert 1 <= fewer.n_out < channels.n_out
    assert np.abs(coarse.mixing[0] @ fewer.matrix - plain.matrix).max() > 1e-3


def test_combinations_have_the_jacobian_of_their_leads(model):
    beat = model.beat(TWO.sites, TWO.onsets, TWO.speeds)
    mixing = np.random.default_rng(0).standard_normal((3, 10))
    wanted = mixing @ model.jacobian(beat)
    assert np.abs(model.jacobian(beat, mixing) - wanted).max() < 1e-12 * np.abs(wanted).max()


def test_errors_are_found_with_the_wave(model):
    leads, truth = with_errors(model), np.array([-0.8, 1.1])
    channels = model.beat(TRUE.sites, TRUE.onsets, TRUE.speeds).ecg
    ecg, priors = leads.record(channels, truth, TRUE.gain), FitPriors(1e-6, (0.6, 0.8))
    known = fit_wave(model, ecg, start((12.0, 22.0)), priors, leads=leads)
    assert known.wave.errors == pytest.approx(truth, abs=1e-3)
    assert np.linalg.norm(known.wave.sites - TRUE.sites) < 0.02
    assert known.misfit < 1e-4
    assert np.abs(known.ecg.values - ecg.values).max() < 1e-4 * np.abs(ecg.values).max()
    ignored = fit_wave(model, ecg, start((12.0, 22.0)), priors)
    assert ignored.misfit > 0.05
    assert np.linalg.norm(ignored.wave.sites - TRUE.sites) > 5 * np.linalg.norm(known.wave.sites - TRUE.sites)


def test_without_data_errors_stay_zero_with_their_spread(model):
    ecg = measured(model, TRUE)
    begin = start((12.0, 22.0))._replace(errors=np.array([0.3, -1.0]))
    fit = fit_wave(model, ecg, begin, FitPriors(1e6, (0.6, 0.8)), leads=with_errors(model))
    assert fit.wave.errors == pytest.approx(0.0, abs=1e-6)
    assert np.diag(fit.curvature)[-2:] == pytest.approx([1 / 0.5**2, 1 / 2.0**2], rel=1e-6)


def test_leads_that_do_not_fit_are_refused(model):
    leads = with_errors(model)
    with pytest.raises(InputError, match=r"mixing must have shape \(1 \+ 1 errors, 10 leads, channels\)"):
        replace(leads, names=("a",), spread=np.ones(1))
    with pytest.raises(InputError, match="spread of every error positive"):
        replace(leads, spread=np.array([1.0, 0.0]))
    other = replace(leads, mixing=leads.mixing[:, :, :9])
    with pytest.raises(InputError, match="combine the model's 10 channels"):
        fit_wave(model, measured(model, TRUE), start((12.0, 22.0)), PRIORS, leads=other)
    begin = start((12.0, 22.0))._replace(errors=np.zeros(1))
    with pytest.raises(InputError, match="the start hold no or 2 errors; got 10 channels and 1 errors"):
        fit_wave(model, measured(model, TRUE), begin, PRIORS, leads=leads)


# -- the search -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def search(model, ecg) -> WaveSearch:
    return WaveSearch.of(model, ecg, FitPriors(1e-4, (0.6, 0.8)))


def energy(search: WaveSearch, candidates, onsets, state) -> tuple[float, float]:
    tables, lead_field, matrix = search.problem[:3]
    work = (
        np.empty(tables.shape[2], np.float32), np.empty((matrix.shape[1], lead_field.shape[1]), np.float32),
        np.empty(lead_field.shape[1], np.float32),
    )  # fmt: skip
    return kernels_wave.energy((np.array(candidates), np.array(onsets)), state, search.problem, work)


def test_the_energy_is_its_formula(search):
    """Against plain NumPy, at two sites, other speeds and the first table."""
    tables, lead_field, matrix, data, (size, n, price, of_speeds, of_gain, step) = search.problem
    candidates, onsets, slowness = [3, 40], [18.3, 24.9], 0.13
    times = np.min([tables[0, c] * np.exp(slowness) + o for c, o in zip(candidates, onsets, strict=True)], axis=0)
    bins = np.zeros((matrix.shape[1], lead_field.shape[1]))
    for t, row in zip(times, lead_field, strict=True):
        b = int(t)
        if b <= len(bins) - 2:
            bins[b] += row * (1 - t + b)
            bins[b + 1] += row * (t - b)
    fitted = matrix @ bins
    pull = 0.02 * size / n / of_gain**2
    gain = np.clip(((fitted * data).sum() + pull) / ((fitted**2).sum() + pull), 0.2, 5.0)
    wanted = n / 2 * np.log(((data - gain * fitted) ** 2).sum() / size) + 2 * price
    wanted += ((slowness / of_speeds) ** 2 + (np.log(gain) / of_gain) ** 2 + (step / of_speeds) ** 2) / 2
    got = energy(search, candidates, onsets, (2, slowness, 0))
    assert got[0] == pytest.approx(wanted, abs=2e-3 * n)  # single precision inside a logarithm
    assert got[1] == pytest.approx(gain, rel=1e-4)
    assert size == pytest.approx((data.astype(float) ** 2).sum(), rel=1e-5)


def test_tables_hold_arrival_times_at_every_combination_of_speeds(model, search):
    """In bins of 1 ms; patches are about as large as cells, so that extremes differ by half a cell's time."""
    tables = search.problem[0]
    assert tables.shape[:2] == (3, len(search.candidates))
    assert search.speeds == pytest.approx(np.array([[0.6, 0.8 * f] for f in (2 / 3, 1.0, 1.5)]))
    for table, speeds in zip(tables, search.speeds, strict=True):
        for k in (0, 17, 101):
            times = model.wave.solve(model.squared_speed(speeds), search.candidates[[k]]).times
            assert table[k].max() == pytest.approx(times.max(), rel=0.03)
            assert table[k].mean() == pytest.approx(times.mean(), rel=0.05)


def test_a_chain_is_repeatable_and_remembers_its_best(search):
    first, again, other = (search.anneal(seed, n_steps=4000, most=4) for seed in (1, 1, 2))
    assert set(first) <= {1, 2, 3, 4}
    for n, found in first.items():
        assert np.array_equal(found.wave.sites, again[n].wave.sites)
        assert found.wave.sites.shape == (n, 2)
        assert ((found.wave.onsets >= search.window[0]) & (found.wave.onsets <= search.window[1])).all()
        places = [int(np.flatnonzero((search.candidates == site).all(axis=1))[0]) for site in found.wave.sites]
        tables = [k for k, s in enumerate(search.speeds) if found.wave.speeds / s == pytest.approx(
            found.wave.speeds[0] / s[0])]  # fmt: skip
        slowness = -np.log(found.wave.speeds[0] / search.speeds[tables[0]][0])
        bins = found.wave.onsets - search.window[2]
        now, gain = energy(search, places, bins, (n, slowness, tables[0]))
        assert now == pytest.approx(found.energy, rel=1e-5, abs=1e-2)
        assert gain == pytest.approx(found.wave.gain, rel=1e-5)
    assert any(not np.array_equal(first[n].wave.sites, other[n].wave.sites) for n in set(first) & set(other))
    assert set(search.anneal(1, n_steps=4000, most=2, least=2)) == {2}
    early = replace(search, window=(search.window[0], 3.0, search.window[2]))  # the ECG asks for later onsets
    assert all((found.wave.onsets <= 3.0).all() for found in early.anneal(1, n_steps=4000, most=3).values())


def test_the_search_comes_near_two_sites(search):
    found = min((search.anneal(seed, n_steps=20_000, most=2, least=2)[2] for seed in range(3)), key=lambda f: f.energy)
    distance = np.linalg.norm(found.wave.sites[:, None] - TWO.sites, axis=2)
    assert distance.min(axis=0).max() < 4.0  # candidates are about 1.7 mm apart, patches as large as cells


def test_tissue_that_falls_apart_is_refused(ecg):
    grid = Grid((20, 12), 2.0, (1.0, 1.0, 0.0))
    tissue = Tissue.isotropic(grid, 0.2, np.abs(grid.points[:, 0] - 20) > 3, thickness=3.0)
    matrix = np.random.default_rng(0).standard_normal((ecg.n_sites, tissue.n_nodes))
    leads = ForwardOperator(matrix, tuple(f"node:{i}" for i in range(tissue.n_nodes)), ecg.sites, "vm", "bsp")
    reaction = ReactionEikonal(tissue, leads, upstroke(), TIMES)
    parts = EikonalEcg(Eikonal.of(tissue), np.ones((1, tissue.n_nodes)), reaction, ("all",))
    with pytest.raises(InputError, match="the tissue falls apart"):
        WaveSearch.of(parts, ecg, FitPriors(1e-4, (0.6,)))


# -- ensembles --------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_sites_and_their_number_come_from_the_data(model, ecg, short):
    ensemble = fit_ensemble(model, ecg, FitPriors(1e-6, (0.6, 0.8)), most_sites=4, n_starts=4)
    best = ensemble.best.wave
    assert len(best.sites) == 2
    distance = np.linalg.norm(best.sites[:, None] - TWO.sites, axis=2)
    assert distance.min(axis=0).max() < 2.0
    assert ensemble.best.misfit < 0.12
    assert list(ensemble.bics) == sorted(ensemble.bics)
    assert ensemble.bics[-1] <= ensemble.bics[0] + wave_ensemble.TOLERANCE
    numbers = {number.n_sites: number for number in ensemble.numbers}
    assert min(ensemble.numbers, key=lambda number: number.bic).n_sites == 2
    assert numbers[1].bic > numbers[2].bic + 50
    assert "with 2 sites" in repr(ensemble)


def test_the_number_of_sites_can_be_given(model, ecg, short):
    ensemble = fit_ensemble(model, ecg, PRIORS, n_sites=1, n_starts=2)
    assert {len(fit.wave.sites) for fit in ensemble.fits} == {1}
    with pytest.raises(InputError, match="1 or more; got 0 starts and 8 sites"):
        fit_ensemble(model, ecg, PRIORS, n_starts=0)
    with pytest.raises(InputError, match="got 2 starts and 0 sites"):
        fit_ensemble(model, ecg, PRIORS, n_starts=2, n_sites=0)


@pytest.mark.long
def test_what_was_done_is_not_done_again_and_gives_the_same(model, ecg, short, monkeypatch):
    def fitted(memory, progress=lambda *_: None):
        return fit_ensemble(model, ecg, PRIORS, most_sites=3, n_starts=3, memory=memory, progress=progress)

    class Cut(Exception):
        pass

    def cut(step: str, done: int, total: int) -> None:
        if step == "fits" and done == 2:
            raise Cut

    whole, memory = fitted({}), {}
    with pytest.raises(Cut):
        fitted(memory, cut)
    assert {"chain 0", "chain 1", "chain 2", "fits 0", "fits 1"} == set(memory)
    chains = []
    monkeypatch.setattr(WaveSearch, "anneal", lambda self, *a, **k: chains.append(a))
    resumed = fitted(memory)
    assert not chains
    assert len(resumed.fits) == len(whole.fits)
    for one, other in zip(whole.fits, resumed.fits, strict=True):
        assert np.array_equal(one.wave.sites, other.wave.sites)
        assert one.misfit == other.misfit
    assert resumed.n_effective == pytest.approx(whole.n_effective, rel=1e-9)
    again = fitted(memory)  # everything is known now
    assert {fit.evaluations for fit in again.fits} == {1}
    assert [fit.misfit for fit in again.fits] == [fit.misfit for fit in whole.fits]


def test_a_correlated_error_counts_less(model):
    """White noise on every lead counts nearly as many numbers as there are, slow or shared noise fewer."""
    fit = fit_wave(model, measured(model, TRUE), TRUE, PRIORS, evaluations=1)
    rng = np.random.default_rng(0)
    shape = fit.ecg.values.shape
    white = rng.standard_normal(shape)
    slow = np.repeat(rng.standard_normal((shape[0], shape[1] // 9 + 1)), 9, axis=1)[:, : shape[1]]
    shared = np.broadcast_to(rng.standard_normal(shape[1]), shape)
    size, found = float(np.sqrt(np.mean(fit.ecg.values**2))), {}
    for share in (0.0, 0.14):
        priors = replace(PRIORS, model_error=share)
        for name, noise in (("white", white), ("slow", slow), ("shared", shared)):
            noisy = fit.ecg.with_values(fit.ecg.values + 0.1 * size * noise)
            found[name, share] = wave_ensemble._errors(fit, noisy, priors)
    assert found["white", 0.0][1] == pytest.approx(white.size, rel=0.1)
    assert found["white", 0.0][0] == pytest.approx(0.1 * size, rel=0.1)
    assert found["slow", 0.0][1] < 0.3 * white.size
    assert found["shared", 0.0][1] == pytest.approx(shape[1], rel=0.05)
    # an error of the model as correlated as the ECG, added
    assert found["white", 0.14][1] < 0.6 * white.size
    whole = np.sqrt(0.1**2 + 0.14**2) * size * np.sqrt(white.size / found["white", 0.14][1])
    assert found["white", 0.14][0] == pytest.approx(whole, rel=0.02)


@pytest.mark.long
def test_the_spread_holds_both_what_lies_between_the_fits_and_around_each(model, ecg, short):
    ensemble = fit_ensemble(model, ecg, PRIORS, most_sites=3, n_starts=3)
    alone = replace(ensemble, fits=ensemble.fits[:1], bics=ensemble.bics[:1])
    rng, fit = np.random.default_rng(0), alone.best
    n = alone.model.activation_jacobian(fit.beat).shape[0]
    covariance = np.linalg.inv(fit.curvature)[:n, :n]
    draws = rng.multivariate_normal(np.zeros(n), 1e-4 * covariance, 200)
    k = len(fit.wave.sites)
    times = [
        model.beat(
            fit.wave.sites + d[: 2 * k].reshape(k, 2), fit.wave.onsets + d[2 * k : 3 * k],
            fit.wave.speeds * np.exp(d[3 * k :]),
        ).arrival.times
        for d in draws
    ]  # fmt: skip
    assert np.median(alone.spread / (100 * np.std(times, axis=0))) == pytest.approx(1.0, abs=0.1)
    moved = replace(ensemble, fits=(fit, shifted(fit, 6.0)), bics=(0.0, 0.0))
    assert moved.spread == pytest.approx(np.sqrt(alone.spread**2 + 9.0), rel=1e-6)
    assert moved.mean == pytest.approx(fit.beat.arrival.times + 3.0, rel=1e-9)


def shifted(fit, later: float):
    """The same fit some time later."""
    beat = fit.beat.arrival
    arrival = beat.wave.solve(beat.medium, fit.wave.sites, fit.wave.onsets + later)
    return fit._replace(beat=fit.beat._replace(arrival=arrival))


def test_sites_that_activate_nothing_are_taken_away(model):
    wave = Wave(np.array([[9.3, 20.4], [30.0, 7.0]]), np.array([6.5, 60.0]), np.array([0.55, 0.9]))
    fit = fit_wave(model, measured(model, wave), wave, PRIORS, evaluations=1)
    assert wave_ensemble._without_idle(fit).sites.tolist() == [[9.3, 20.4]]
