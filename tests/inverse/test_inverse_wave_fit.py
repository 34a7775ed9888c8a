"""Early sites, onsets and speeds from an ECG: recovered where the model made it, and what decides where it did not."""

from dataclasses import replace

import numpy as np
import pytest
from wave_cases import PRIORS, TRUE, measured, sheet_model, start

from einthoven.core import InputError, Recording
from einthoven.inverse import wave_fit
from einthoven.inverse.wave_fit import FitPriors, Wave, fit_wave, locate_focus, spread_nodes
from einthoven.simulate.eikonal_ecg import EikonalEcg


@pytest.fixture(scope="module")
def model() -> EikonalEcg:
    return sheet_model(1.0)


def test_a_wave_that_the_model_made_is_found_exactly(model):
    fit = fit_wave(model, measured(model, TRUE), start((15.0, 25.0)), FitPriors(1e-6, (0.6, 0.8)))
    assert fit.converged
    assert fit.misfit < 1e-3
    assert np.abs(fit.wave.sites - TRUE.sites).max() < 0.05
    assert np.abs(fit.wave.onsets - TRUE.onsets).max() < 0.1
    assert fit.wave.speeds == pytest.approx(TRUE.speeds, rel=5e-3)
    assert fit.wave.gain == pytest.approx(TRUE.gain, rel=2e-3)


def test_two_sites_are_found_from_a_start_nearby(model):
    true = Wave(np.array([[9.3, 20.4], [28.6, 7.1]]), np.array([6.5, 11.0]), np.array([0.55, 0.9]))
    fit = fit_wave(
        model, measured(model, true), start((12.0, 22.0), (26.0, 9.0), onsets=8.0), FitPriors(1e-6, (0.6, 0.8))
    )
    assert np.abs(fit.wave.sites - true.sites).max() < 0.1
    assert np.abs(fit.wave.onsets - true.onsets).max() < 0.3


def test_a_focus_is_found_without_a_start_on_another_grid_and_with_noise(model):
    """Data from a grid twice as fine; noise of 3 % of the largest amplitude."""
    clean = measured(sheet_model(0.5), TRUE)
    noise = 0.03 * float(np.abs(clean.values).max())
    ecg = measured(sheet_model(0.5), TRUE, noise)
    fits = locate_focus(model, ecg, FitPriors(noise, (0.6, 0.8)), n_candidates=40)
    assert [fit.cost for fit in fits] == sorted(fit.cost for fit in fits)
    assert np.linalg.norm(fits[0].wave.sites[0] - TRUE.sites[0]) < 1.0
    assert fits[0].misfit < 0.2


def test_the_spread_of_repeated_noise_is_what_the_curvature_says(model):
    ecg = measured(model, TRUE)
    noise = 0.02 * float(np.abs(ecg.values).max())
    priors, rng = FitPriors(noise, (0.6, 0.8)), np.random.default_rng(3)
    fits = [
        fit_wave(model, ecg.with_values(ecg.values + noise * rng.standard_normal(ecg.values.shape)), TRUE, priors)
        for _ in range(40)
    ]
    found = np.array([[*fit.wave.sites[0], *fit.wave.onsets] for fit in fits])
    predicted = np.sqrt(np.diag(np.linalg.inv(fits[0].curvature))[:3])
    # 40 draws know a standard deviation to 11 %; the cost has kinks beside
    assert np.abs(found.std(axis=0, ddof=1) / predicted - 1).max() < 0.4


def test_priors_decide_where_the_data_do_not(model):
    """With hardly any data the expected speeds and gain 1 stay; with good data they do not matter."""
    ecg = measured(model, TRUE)
    far = start((12.0, 22.0), onsets=5.0)._replace(speeds=np.array([0.9, 0.5]), gain=0.6)
    vague = fit_wave(model, ecg, far, FitPriors(1e6, (0.6, 0.8)))
    assert vague.wave.speeds == pytest.approx([0.6, 0.8], rel=1e-4)
    assert vague.wave.gain == pytest.approx(1.0, rel=1e-4)
    assert vague.curvature[-1, -1] == pytest.approx(1 / 0.3**2, rel=1e-6)
    firm = fit_wave(model, ecg, start((12.0, 22.0), onsets=5.0), FitPriors(0.01, (0.6, 0.8), 1e-6, 1e-6))
    assert firm.wave.speeds == pytest.approx([0.6, 0.8], rel=1e-3)
    assert firm.misfit > 0.05


def test_sites_outside_are_moved_to_the_nearest_node(model):
    fit = fit_wave(model, measured(model, TRUE), start((-5.0, 20.0)), PRIORS)  # left of the sheet
    assert np.linalg.norm(fit.wave.sites[0] - TRUE.sites[0]) < 0.5
    inside = model.wave.inside(np.array([[20.0, 12.0], [9.3, 20.4], [-5.0, 20.0]]))  # in the hole, in the sheet, beside
    assert inside.tolist() == [False, True, False]


def test_leads_are_matched_by_name(model):
    ecg = measured(model, TRUE)
    shuffled = ecg.select(tuple(reversed(ecg.sites)))
    fits = [fit_wave(model, data, start((12.0, 22.0)), PRIORS) for data in (ecg, shuffled)]
    assert np.array_equal(fits[0].wave.sites, fits[1].wave.sites)
    with pytest.raises(InputError, match="fit: the ECG: no site named E0"):
        fit_wave(model, ecg.select(ecg.sites[1:]), start((12.0, 22.0)), PRIORS)


@pytest.mark.parametrize("damping", [1e-2, 1e-14])  # with hardly any the first steps are far too long
def test_evaluations_are_an_upper_bound_and_the_cost_never_rises(model, damping, monkeypatch):
    monkeypatch.setattr(wave_fit, "_DAMPING", damping)
    ecg = measured(model, TRUE)
    costs = []
    for evaluations in (1, 2, 3, 4, 5, 6, 12, 60):
        fit = fit_wave(model, ecg, start((33.0, 4.0)), PRIORS, evaluations=evaluations)
        assert fit.evaluations <= evaluations
        costs.append(fit.cost)
    assert costs == sorted(costs, reverse=True)
    assert not fit_wave(model, ecg, start((33.0, 4.0)), PRIORS, evaluations=3).converged


def test_spread_nodes_are_far_from_each_other():
    points = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), axis=-1).reshape(-1, 2)
    chosen = spread_nodes(points, 4)
    assert {tuple(p) for p in chosen} == {(0, 0), (9, 9), (0, 9), (9, 0)}
    assert len(spread_nodes(points, 1000)) == 100
    with pytest.raises(InputError, match="candidates must be 1 or more; got 0"):
        spread_nodes(points, 0)


def test_wrong_input_is_named(model):
    ecg = measured(model, TRUE)
    with pytest.raises(InputError, match=r"a start needs sites \(n, 2\), onsets \(n,\) and 2 speeds"):
        fit_wave(model, ecg, TRUE._replace(onsets=np.zeros(2)), PRIORS)
    with pytest.raises(InputError, match=r"and priors as many; got .* and 1"):
        fit_wave(model, ecg, TRUE, FitPriors(0.01, (0.5,)))
    with pytest.raises(InputError, match="the start must be finite"):
        fit_wave(model, ecg, TRUE._replace(onsets=np.array([np.nan])), PRIORS)
    short = Recording(ecg.values[:, :80], ecg.times[:80], ecg.sites, ecg.quantity, ecg.reference)
    with pytest.raises(InputError, match="at the model's times, 0 to 80 ms in 81 frames; got 0 to 79 ms in 80"):
        fit_wave(model, short, TRUE, PRIORS)
    with pytest.raises(InputError, match="zero everywhere"):
        fit_wave(model, ecg.with_values(0 * ecg.values), TRUE, PRIORS)
    with pytest.raises(InputError, match="must be positive and finite; got 0"):
        FitPriors(0.0, (0.5,))
    with pytest.raises(InputError, match="must be positive and finite"):
        replace(PRIORS, speeds=(0.5, -1.0))
