"""Baselines: what a movie tells, what the tissue tells, against simulated ECGs."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.eikonal import Eikonal
from einthoven.eikonal.conduction import Conduction
from einthoven.forward.lead_field import lead_field
from einthoven.surrogate import baselines
from einthoven.surrogate.movie_maps import crossing_times, movie_maps
from einthoven.surrogate.pixel_lead_fields import border_extrapolated, of_pixels, true_lead_field
from einthoven.surrogate.scores import ecg_scores
from einthoven.surrogate.sheets import simulate_sheet
from einthoven.tissue import Grid, Tissue
from surrogate_cases import recipe, sheet

MEMBRANE = recipe().membrane


def r2(found: np.ndarray, data, movie: bool) -> np.ndarray:
    true, times = (data.ecg_of_frames, data.movie_times) if movie else (data.ecg, data.ecg_times)
    return ecg_scores(found, true[: len(found)], times)["r2"]


def test_pixels_of_one_cell_have_the_exact_lead_field():
    data = sheet()
    tissue, electrodes = data.tissue(), data.electrode_set()
    found = of_pixels(tissue, electrodes, 1)
    exact = lead_field(tissue, electrodes).matrix
    assert np.allclose(found.reshape(len(found), -1)[:, tissue.nodes], exact)
    assert np.abs(found.reshape(len(found), -1)[:, ~tissue.conducting]).max() == 0


def test_extrapolation_is_exact_for_a_potential_that_is_linear():
    """Pixel means of V = x, seen by a lead field that lives in the outermost cells only."""
    factor, m = 4, 6
    x = np.arange(factor * m, dtype=float)
    pixel = np.repeat(x.reshape(m, factor).mean(axis=1)[:, None], m, axis=1)
    sums = np.zeros((1, m, m))
    sums[0, 0, 2], sums[0, -1, 2] = 1.0, -2.0
    cells = np.ones((m, m), bool)
    seen = (border_extrapolated(sums, factor, cells)[0] * pixel).sum()
    assert seen == pytest.approx(x[0] - 2 * x[-1])
    assert border_extrapolated(sums, factor, cells).sum() == pytest.approx(sums.sum())
    cells[1, 2] = False
    assert border_extrapolated(sums, factor, cells)[0, 0, 2] == 1.0


def test_the_true_lead_field_predicts_well():
    assert r2(true_lead_field(sheet(), 1.0), sheet(), True).min() > 0.98
    fine, coarse = (r2(true_lead_field(sheet(), p), sheet(), True).mean() for p in (1.0, 2.0))
    assert fine > coarse


def test_crossings_are_linear_between_frames():
    movie = np.zeros((4, 1, 3))
    movie[:, 0, 0], movie[:, 0, 1] = [0, 10, 50, 60], [0, 0, 5, 9]
    found = crossing_times(movie, np.array([0.0, 4, 8, 12]), np.full((1, 3), 20.0))
    assert found[0, 0] == pytest.approx(5.0)
    assert np.isnan(found[0, 1:]).all()


def plane_wave(speed: float, pixel: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A front along x at a known speed, over 40 x 40 pixels, with a hole."""
    times = np.arange(0.0, 200.0, 2.0)
    arrival = (np.arange(40) + 0.5)[:, None] * pixel / speed * np.ones((1, 40))
    movie = 100 / (1 + np.exp(-(times[:, None, None] - 10 - arrival) / 0.7))
    movie[:, 18:22, 18:22] = 0.0
    return movie.astype(np.float32), times


def test_diffusivity_is_read_off_the_velocity():
    conduction = Conduction.of(MEMBRANE)
    for d in (0.04, 0.1):
        movie, times = plane_wave(float(conduction.speed(d, 0.5)))
        maps = movie_maps(movie, times, 1.0, conduction, 0.5)
        assert np.median(maps.diffusivity) == pytest.approx(d, rel=0.02)
        assert not maps.conducting[19, 19]
        assert maps.share[5, 5] == pytest.approx(1.0, abs=1e-3)
        assert maps.normal[:, 5, 20] == pytest.approx([1, 0], abs=0.02)
    assert maps.conducting.sum() == 1600 - 16


def test_a_movie_at_rest_is_refused():
    with pytest.raises(InputError, match=r"nothing is activated: potentials rise by 0\.1 mV"):
        movie_maps(np.full((5, 8, 8), 0.1), np.arange(5.0), 1.0, Conduction.of(MEMBRANE), 0.5)


def test_without_learning_the_movie_predicts_fairly():
    assert r2(baselines.no_learning(sheet("healthy"), 1.0, MEMBRANE), sheet("healthy"), True).min() > 0.95


def test_the_eikonal_arrives_with_the_simulation():
    data = sheet("healthy")
    error = baselines.eikonal_times(data, MEMBRANE) - data.tissue().take(data.activation)
    assert np.abs(error).mean() < 1.5
    inside = np.linalg.norm(data.tissue().coordinates - data.sites[0], axis=1) < 1.0
    assert np.abs(error[inside]).max() < 1.0


def test_modelled_duration_is_better_than_constant_and_true_activation_best():
    data = sheet("healthy")
    constant, modelled, true = (r2(f(data), data, False).mean() for f in baselines.tissue_baselines(MEMBRANE).values())
    assert constant < modelled < true
    assert true > 0.997


def test_ridge_recovers_a_linear_map():
    """Sheets whose ECG is a fixed linear map of the frame."""
    from dataclasses import replace

    weights = np.random.default_rng(0).standard_normal((1, 64)) * 1e-3

    def made(number: int):
        data = sheet("healthy", number)
        frames = data.coarser(2.0).reshape(len(data.movie), -1).T
        return replace(data, ecg=weights @ frames, ecg_times=data.movie_times)

    training, validation = [made(k) for k in range(3)], [made(8)]
    ridge = baselines.FrameRidge.fit(training, validation, pixel=2.0, n_electrodes=1)
    assert r2(ridge.predict(validation[0]), validation[0], True).min() > 0.99


def test_a_disk_cut_in_two_by_a_hole_starts_two_waves():
    """A slit through the stimulated disk: both sides are active at once, and the wave goes on from both."""
    mask = np.ones((40, 40), dtype=bool)
    mask[:, 20] = False
    mask[0, 20] = True
    tissue = Tissue.isotropic(Grid((40, 40), 0.5), 0.1, mask)
    conduction = Conduction.of(MEMBRANE)
    site, onset = np.array([[10.0, 9.5]]), np.array([2.0])
    v = np.broadcast_to(conduction.squared_speed(tissue), tissue.n_nodes)
    places, begins = baselines.front_start(tissue, v, site, onset)
    assert len(places) == 2
    assert places[0][1] < 10.0 < places[1][1]
    times = Eikonal.of(tissue).solve(v, places, begins).times
    times = np.maximum(times, baselines.started(tissue, site, onset))
    full = tissue.fill(times)
    near, far = full[20, 10], full[20, 31]  # 9 cells from the center on one side, 12 on the other
    assert 0 < far - near < 3 * 0.5 / np.sqrt(float(np.min(v)))
    one = Eikonal.of(tissue).solve(v, places[:1], begins[:1]).times
    assert tissue.fill(one)[20, 31] > far + 20


def test_repolarization_is_modelled_as_the_cells_need_it():
    """Coupling hardly changes the durations of Mitchell-Schaeffer cells, those of Fenton-Karma cells much."""
    other = recipe(membrane="mitchell-schaeffer-2003", t_end=640.0)
    for data, membrane, wrong in (
        (simulate_sheet(other, other.conditions[0], 0)[0], other.membrane, 175.0),
        (sheet("healthy"), MEMBRANE, 0.0),
    ):
        times = data.tissue().take(data.activation)
        own = r2(baselines.of_sheet(data, times, membrane), data, False)
        assert own.mean() > 0.985
        assert own.mean() > r2(baselines.of_sheet(data, times, membrane, tau=wrong), data, False).mean() + 0.002
