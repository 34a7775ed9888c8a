"""The page's data and text: references, missing truth, sizes, escaping."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import Electrodes, Recording
from einthoven.geometry.generators import sphere
from einthoven.report import page
from einthoven.report.encoding import unpacked
from einthoven.report.page import front_view, page_data, render, write_page
from einthoven.report.skin import map_weights

ATTACK = "</script><script>alert(1)</script>{{data}}<img src=x onerror=alert(2)>"


def stored(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_page_is_one_file_without_links(imaging_result, tmp_path):
    path = write_page(imaging_result(), tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.search(r"\{\{[a-z.]+\}\}", text)
    urls = set(re.findall(r"https?://[^\"'\s)]+", text))
    assert urls == {"http://www.w3.org/2000/svg"}


def test_a_failed_write_leaves_the_old_page(imaging_result, tmp_path, monkeypatch):
    path = write_page(imaging_result(1), tmp_path / "report.html")
    before = path.read_bytes()
    monkeypatch.setattr(page, "page_data", lambda result: {"times": object.__new__})
    monkeypatch.setattr(page, "script_json", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(imaging_result(1), path)
    assert path.read_bytes() == before


def test_text_from_files_cannot_leave_its_place(imaging_result):
    result = imaging_result(1, name=ATTACK, info={"citation": ATTACK})
    text = render(replace(result, provenance={ATTACK: {"deep": [ATTACK]}}))
    assert text.count("</script>") == 2
    assert "<script>alert" not in text
    assert "<img" not in text
    assert stored(text)["case"] == {"name": ATTACK, "info": {"citation": ATTACK}}


def test_estimate_and_truth_share_the_scoring_reference(imaging_result):
    result = imaging_result(1)
    found = result.images[0].reconstruction
    lifted = found.estimate.with_values(found.estimate.values + np.linspace(3.0, 8.0, found.estimate.n_times))
    image = replace(result.images[0], reconstruction=replace(found, estimate=lifted))
    data = page_data(replace(result, images=(image,)))
    assert data["mean_removed"]
    assert data["reference"] == "mean-removed"
    for packet in (data["truth"]["values"], data["methods"][0]["values"]):
        values = unpacked(packet)
        assert np.abs(values.mean(axis=0)).max() < 1e-4 * np.ptp(values)
    shown, expected = unpacked(data["methods"][0]["values"]), found.estimate.values - found.estimate.values.mean(axis=0)
    assert np.abs(shown - expected).max() < 1e-5 * np.ptp(expected)


def test_absolute_results_keep_their_mean(imaging_result):
    result = imaging_result(1)
    image = replace(result.images[0], metrics={"reference": "absolute"})
    data = page_data(replace(result, images=(image,)))
    estimate = image.reconstruction.estimate.values
    assert not data["mean_removed"]
    assert np.abs(unpacked(data["methods"][0]["values"]) - estimate).max() < 1e-5 * np.ptp(estimate)


def test_prediction_is_recorded_minus_residual(imaging_result):
    result = imaging_result(1)
    data = page_data(result)
    predicted = unpacked(data["leads"]["recorded"]) - unpacked(data["methods"][0]["residual"])
    expected = result.operator.matrix @ result.images[0].reconstruction.estimate.values
    assert np.abs(predicted - expected).max() < 2e-5 * np.ptp(expected)


def test_without_truth_the_measured_part_is_absent(imaging_result):
    data = page_data(imaging_result(1, truth=False))
    assert data["truth"] is None
    assert "relative_error" not in data["scores"][0]


def test_truth_on_part_of_the_nodes(imaging_result):
    result = imaging_result(1)
    kept = result.truth.sites[::2]
    data = page_data(replace(result, truth=result.truth.select(kept)))
    values = unpacked(data["truth"]["values"])
    measured = np.isfinite(values).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(measured), np.arange(len(values))[::2])
    estimate = unpacked(data["methods"][0]["values"])
    assert np.abs(estimate[measured].mean(axis=0)).max() < 1e-4 * np.ptp(estimate)


def test_truth_at_other_times_is_matched_by_time(imaging_result):
    result = imaging_result(1)
    later = replace(result.truth, values=result.truth.values[:, 10:50], times=result.truth.times[10:50])
    values = unpacked(page_data(replace(result, truth=later))["truth"]["values"])
    assert np.isfinite(values).any(axis=0).nonzero()[0].tolist() == list(range(10, 50))
    assert np.abs(values[:, 10:50] - later.values).max() < 1e-5 * np.ptp(later.values)


def test_methods_that_saw_the_truth_are_told(imaging_result):
    result = imaging_result(3)
    assert [m["saw_truth"] for m in page_data(result)["methods"]] == [False, False, True]
    flagged = replace(result.images[0], metrics={"sees_truth": True})
    assert page.saw_truth(flagged)


def test_long_recordings_are_thinned_and_it_is_said(imaging_result, monkeypatch):
    result = imaging_result(2)
    monkeypatch.setattr(page, "MAX_SAMPLES", 30_000)
    data = page_data(result)
    stride = data["stride"]
    assert stride == -(-((162 * 3 + 54 * 3) * 120) // 30_000)
    np.testing.assert_array_equal(unpacked(data["times"]), result.recording.times[::stride])
    assert data["truth"]["values"]["shape"] == [162, len(result.recording.times[::stride])]


def test_leads_without_electrodes_make_no_map(imaging_result):
    result = imaging_result(1)
    leads = Recording(result.recording.values[:12], result.recording.times, tuple("abcdefghijkl"), "ecg", "wilson")
    image = result.images[0]
    found = replace(image.reconstruction, residual=leads)
    data = page_data(replace(result, recording=leads, images=(replace(image, reconstruction=found),)))
    assert data["torso"]["weights"] is None
    assert data["torso"]["lead_electrode"] == [-1] * 12


def test_map_passes_through_the_electrodes_and_keeps_constants():
    skin = sphere(100.0, subdivisions=3, name="torso")
    electrodes = Electrodes(tuple(f"E{i}" for i in range(60)), skin.points[5:600:10] * 1.02)
    weights = map_weights(skin, electrodes)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    values = np.random.default_rng(0).normal(size=60)
    np.testing.assert_allclose((weights @ values)[5:600:10], values, atol=2e-3 * np.ptp(values))


def test_map_of_a_smooth_field_improves_with_electrodes():
    skin = sphere(100.0, subdivisions=3, name="torso")
    field = skin.points[:, 2] / 100 + 0.3 * skin.points[:, 0] * skin.points[:, 1] / 1e4
    errors = []
    for step in (40, 10, 4):
        nodes = np.arange(0, skin.n_points, step)
        weights = map_weights(skin, Electrodes(tuple(map(str, nodes)), skin.points[nodes]))
        errors.append(np.linalg.norm(weights @ field[nodes] - field) / np.linalg.norm(field))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_quantized_weights_keep_the_map():
    skin = sphere(100.0, subdivisions=3, name="torso")
    nodes = np.arange(0, skin.n_points, 4)
    weights = map_weights(skin, Electrodes(tuple(map(str, nodes)), skin.points[nodes]))
    values = np.random.default_rng(0).normal(size=len(nodes))
    shown = unpacked(page.quantized(weights)) @ values
    assert np.abs(shown - weights @ values).max() < 1e-3 * np.ptp(values)


def test_front_view_is_a_rotation_with_the_longest_axis_up():
    skin = sphere(100.0, subdivisions=1, name="torso")
    skin = skin.with_points(skin.points * [1.0, 0.6, 1.7])
    heart = sphere(10.0, subdivisions=1, center=(20.0, -30.0, 40.0), name="heart")
    view = np.reshape(front_view(skin, heart), (3, 3))
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) == pytest.approx(1.0)
    np.testing.assert_array_equal(view[1:], [[0, 0, 1], [0, -1, 0]])


@pytest.mark.parametrize(("methods", "limit"), [(1, 10e6), (8, 20e6)])
def test_size_of_a_measured_beat(imaging_result, tmp_path, methods, limit):
    result = imaging_result(methods, n_times=510, subdivisions=3)
    assert result.source.surface.n_points >= 602
    assert write_page(result, tmp_path / "report.html").stat().st_size < limit
