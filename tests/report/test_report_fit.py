"""What the page and the files of a fit hold."""

import csv
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import xarray
from report_browser import ATTACK
from report_fits import ONSETS, SITES, fit_result

from einthoven.io.zarr_store import load_zarr
from einthoven.report import fit_page
from einthoven.report.encoding import unpacked
from einthoven.report.fit_page import fit_page_data, leads_apart, write_fit_page
from einthoven.studies.fit_output import STARTS, write_fit
from einthoven.studies.fit_results import (
    assumptions,
    ensemble_sentence,
    error_rows,
    sentences,
    site_rows,
    site_spreads,
    territories,
    truth_sentence,
)
from einthoven.studies.settings import FitSettings


def read_rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def result():
    return fit_result()


def test_maps_are_those_of_the_surface(result):
    maps, ensemble = fit_page_data(result)["maps"], result.ensemble
    n = result.muscle.surface.n_points
    assert maps["fits"]["shape"] == [3, n]
    for key, times in (("mean", ensemble.mean), ("spread", ensemble.spread)):
        np.testing.assert_allclose(unpacked(maps[key]), result.sampling.matrix @ times, atol=1e-2)
    np.testing.assert_allclose(unpacked(maps["truth"]), unpacked(maps["fits"])[0], atol=1e-2)
    assert np.std(unpacked(maps["fits"]), axis=0) == pytest.approx(unpacked(maps["spread"]), abs=2.0)


def test_a_node_that_no_wave_reaches_is_left_out_of_the_means_around_it(result):
    times = np.full(result.muscle.tissue.n_nodes, 40.0)
    times[result.sampling.matrix.indices[0]] = np.nan
    assert np.allclose(result.at_surface(times), 40.0)
    assert np.isnan(result.at_surface(np.full(times.shape, np.nan))).all()


def test_the_band_holds_every_fit(result):
    leads = fit_page_data(result)["leads"]
    low, high, fitted = (unpacked(leads[key]) for key in ("low", "high", "fitted"))
    fitted = fitted.reshape(3, 12, -1)
    step = 1e-4
    assert (fitted >= low - step).all()
    assert (fitted <= high + step).all()
    assert (high - low).max() > 0.05
    np.testing.assert_allclose(unpacked(leads["recorded"]), result.recording.values, atol=step)


def test_sites_and_their_territories(result):
    fits = fit_page_data(result)["fits"]
    assert [len(fit["sites"]) for fit in fits] == [2, 2, 1]
    np.testing.assert_allclose(fits[0]["sites"], SITES)
    np.testing.assert_allclose(fits[1]["onsets"], ONSETS + 2)
    assert sum(fits[0]["territories"]) == pytest.approx(100)
    assert min(fits[0]["territories"]) > 10
    assert fits[2]["territories"] == [100.0]
    assert fits[0]["errors"] == [
        {"name": "heart x (mm)", "value": 2.0, "expected": 5.0},
        {"name": "heart pitch (deg)", "value": -8.0, "expected": 5.0},
    ]


def test_sites_are_matched_over_the_fits_that_have_as_many(result):
    spreads = site_spreads(result)
    assert [row["n_matched"] for row in spreads] == [2, 2]
    for row in spreads:
        assert row["place_spread_mm"] == pytest.approx(1.5)
        assert row["onset_spread_ms"] == pytest.approx(1.0)
    assert site_spreads(fit_result(1)) == []


def test_matching_does_not_depend_on_the_order_of_sites(result):
    first, second, third = result.ensemble.fits
    swapped = second._replace(wave=second.wave._replace(sites=second.wave.sites[::-1], onsets=second.wave.onsets[::-1]))
    other = replace(result, ensemble=replace(result.ensemble, fits=(first, swapped, third)), provenance={})
    assert site_spreads(other) == site_spreads(result)
    assert error_rows(other, first)[0]["expected"] is None  # without settings nothing was expected


def test_the_sentence_says_how_many_fits_are_alike(result):
    spread = float(np.mean(result.ensemble.spread))
    assert ensemble_sentence(result) == (
        "3 of 8 fits cannot be told apart by this ECG; activation times are uncertain by "
        f"{spread:.1f} ms on average (standard deviation between the fits and around each)."
    )
    one = fit_result(1)
    assert ensemble_sentence(one).startswith("One of 8 fits explains this ECG better than all others;")
    alone = replace(one, ensemble=replace(one.ensemble, n_tried=1))
    assert ensemble_sentence(alone).startswith("Only one fit was tried;")


def test_the_truth_is_named_where_it_is_known(result):
    assert truth_sentence(result) is None
    metrics = {"activation_error_ms": 7.84, "best_activation_error_ms": 9.0, "within_2_spreads": 0.72}
    scored = replace(result, metrics=metrics)
    assert truth_sentence(scored) == (
        "Against the truth the mean of the fits is off by 7.8 ms, the best fit by 9.0 ms (mean absolute error); 72 % "
        "of the nodes are within two standard deviations, of 95 % if the spread were all of the error."
    )
    assert fit_page_data(scored)["sentences"] == [ensemble_sentence(result), truth_sentence(scored)]


def test_an_ecg_that_is_not_explained_is_named(result):
    assert len(sentences(result)) == 1
    best, *others = result.ensemble.fits
    poor = replace(result, ensemble=replace(result.ensemble, fits=(best._replace(misfit=0.51), *others)))
    assert sentences(poor)[1].startswith("The best fit leaves 51 % of the ECG: waves in this muscle do not explain it")


def test_what_was_assumed_is_said(result):
    conduction = "Conduction is alike in all directions, with one velocity per layer."
    electrodes = "Electrodes were taken to be where the case has them."
    assert assumptions(result) == ["The wall is as thick as the ball.", conduction, electrodes]
    exact = replace(result, errors=())
    assert assumptions(exact)[2:] == ["The heart was taken to be where the case has it.", electrodes]
    assert assumptions(replace(result, errors=("heart x (mm)", "V1 a (mm)")))[2:] == []
    assert fit_page_data(result)["notes"] == assumptions(result)


def test_many_leads_are_shown_by_a_few_far_apart():
    result = fit_result(1, n_leads=100)
    first = leads_apart(result.case, result.recording)
    assert len(set(first.tolist())) == fit_page.SPREAD_LEADS
    places = result.case.electrodes.positions
    between = np.linalg.norm(places[first][:, None] - places[first], axis=2) + 1e9 * np.eye(len(first))
    assert between.min() > 40  # evenly spread on a sphere of 100 mm they would be 80 mm apart
    assert np.linalg.norm(result.recording.values, axis=1).argmax() in first


def test_large_results_are_thinned(result, monkeypatch):
    monkeypatch.setattr(fit_page, "MAX_MAP_VALUES", 2 * result.muscle.surface.n_points)
    monkeypatch.setattr(fit_page, "MAX_SAMPLES", 12 * 51 * 5 // 2)
    data = fit_page_data(result)
    assert (len(data["fits"]), data["n_fits"], data["stride"]) == (2, 3, 2)
    assert data["leads"]["fitted"]["shape"] == [24, 26]
    np.testing.assert_allclose(unpacked(data["maps"]["mean"]), result.sampling.matrix @ result.ensemble.mean, atol=1e-2)


def test_text_of_users_cannot_leave_its_element(tmp_path):
    page = write_fit_page(fit_result(1, name=ATTACK, notes=(ATTACK,)), tmp_path / "report.html").read_text()
    assert "<script>window.attacked" not in page
    assert "<img" not in page
    assert page.count("</script>") == 2


def test_files_hold_what_was_found(result, tmp_path):
    (tmp_path / STARTS).write_text("{}\n")
    (tmp_path / "report.html").write_text("of an earlier run")
    files = write_fit(result, tmp_path, page=None)
    assert set(files) == {path.name for path in tmp_path.iterdir()}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [site["z_mm"] for site in metrics["sites"]] == SITES[:, 2].tolist()
    assert [row["chosen"] for row in metrics["numbers"]] == [False, True]
    rows = {name: read_rows(tmp_path / f"{name}.csv") for name in ("sites", "activation", "metrics")}
    assert [(row["fit"], row["site"]) for row in rows["sites"]] == [
        (str(r["fit"]), str(r["site"])) for r in site_rows(result)
    ]
    assert rows["metrics"][0]["window"] == "0.0 100.0"
    best = result.at_surface(result.ensemble.best.beat.arrival.times)
    assert [float(row["best_ms"]) for row in rows["activation"]] == pytest.approx(best, abs=1e-3)
    assert {"mean_ms", "spread_ms", "truth_ms"} < set(rows["activation"][0])
    stored = load_zarr(tmp_path / "fit.zarr")
    np.testing.assert_array_equal(stored["fitted"].values, result.ensemble.best.ecg.values)
    times = xarray.open_zarr(tmp_path / "activation.zarr", consolidated=False)["activation"]
    assert (times.dims, times.shape) == (("fit", "node"), (3, len(best)))
    np.testing.assert_allclose(times[0], best)
    run = tomllib.loads((tmp_path / "run.toml").read_text())
    assert FitSettings(**run["settings"]) == FitSettings()


def test_shares_are_of_the_whole_muscle(result):
    best = result.ensemble.best
    first = best.beat.arrival.from_site
    assert territories(best) == pytest.approx([100 * np.mean(first == k) for k in (0, 1)])
