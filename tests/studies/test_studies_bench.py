"""Comparison of imaging methods: studies, cells, scores, tables, page."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.inverse.physics.gate import Gate
from einthoven.report.bench_page import write_bench_page
from einthoven.studies import bench_inverse, bench_output
from einthoven.studies.bench_cases import BenchCase, bench_data, uneven
from einthoven.studies.bench_inverse import (
    INVERSE,
    BenchStudy,
    bench_cells,
    bench_text,
    cell_name,
    compute_cell,
    load_bench,
    ready_benches,
    run_bench,
)
from einthoven.studies.bench_output import grouped
from einthoven.studies.bench_tables import gate_counts, summary
from einthoven.studies.memory import PeakMemory
from einthoven.studies.store import ResultsStore

# -- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ready_benches()))
def test_every_study_that_ships_is_one(name):
    study = load_bench(name)
    assert study.title == ready_benches()[name]
    cells = bench_cells(study)
    assert len({str(sorted(c.items())) for c in cells}) == len(cells)


def test_settings_are_chosen_on_other_positions_than_the_tables_use():
    """Positions 0 to 9 are for choosing."""
    for name in ready_benches():
        if name not in ("inverse-smoke", "inverse-choice"):
            positions = {c["position"] for c in bench_cells(load_bench(name))}
            assert min(positions) >= 10


def test_the_core_table_is_what_the_docs_say():
    cells = bench_cells(load_bench("inverse-core"))
    assert {c["geometry"] for c in cells} == {"dalhousie-2007"}
    assert {c["case"] for c in cells} == {"one focus", "mismatched"}
    assert {c["sigma"] for c in cells} == {1.0, 5.0, 10.0}
    weak = [c for c in cells if c["method"] == "weak-4dvar"]
    assert len({c["position"] for c in weak}) >= 3
    assert len({c["seed"] for c in weak}) >= 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "x"', "block: Field required"),
        ('title = "x"\n[[block]]\nmethods = []', "methods: .*must not be empty"),
        ('title = "x"\n[[block]]\nmethods = ["stre"]\nsigmas = [0]', "noise must be positive"),
        ('title = "x"\n[[block]]\nmethods = ["stre"]\ncases = ["three foci"]', "cases.0: .*'one focus'"),
        ('title = "x"\n[[block]]\nmethods = ["stre"]\nnoises = 1', "noises: Extra inputs"),
        ('title = "x"\n[[block]]\nmethods = ["strong-weak"]', "unknown solver 'strong-weak'"),
        ('title = "x"\n[[block]]\nmethods = ["stre:best"]', "unknown rule 'best'"),
    ],
)
def test_what_is_wrong_in_a_study(text, words, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        load_bench(file)


def test_files_that_are_no_studies(tmp_path):
    with pytest.raises(InputError, match=r"no such study; give a TOML file, or one of: .*inverse-core"):
        load_bench("inverse-score")
    with pytest.raises(InputError, match="cannot be read"):
        load_bench(tmp_path / "none.toml")
    torn = tmp_path / "torn.toml"
    torn.write_text("title = ")
    with pytest.raises(FileFormatError, match="is no TOML file"):
        load_bench(torn)
    torn.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="no text in UTF-8"):
        load_bench(torn)
    assert tomllib.loads(bench_text("inverse-core"))["title"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"geometry": "utah"}, "geometry must be one of dalhousie-2007"),
        ({"case": "three foci"}, "case must be one of one focus"),
        ({"reference": "wilson"}, "reference must be one of absolute, average"),
        ({"geometry": "phantom", "case": "re-entry", "reference": "average"}, "'one focus' and 'two foci' only"),
        ({"geometry": "phantom"}, "no absolute reference"),
    ],
)
def test_cases_that_there_are_not(settings, words):
    with pytest.raises(InputError, match=words):
        BenchCase(**settings)


# -- data: spheres in place of the measured geometry ------------------------------------------------------------------


def test_data_have_the_noise_and_the_truth_that_was_asked_for(spheres):
    one = bench_data(BenchCase(sigma=2.0, seed=1))
    other = bench_data(BenchCase(sigma=2.0, seed=2))
    silent = bench_data(BenchCase(sigma=1e-9, seed=1))
    noise = one.recording.values - silent.recording.values
    assert noise.std() == pytest.approx(2.0, rel=0.05)
    assert not np.allclose(one.recording.values, other.recording.values)
    assert np.array_equal(one.truth.values, other.truth.values)
    assert one.truth.sites == spheres.operator.in_sites
    # another operator and a finer mesh: the truth at the coarse nodes does not give the data
    crime = spheres.operator.apply(one.truth.values) - silent.recording.values
    assert 1e-3 < np.linalg.norm(crime) / np.linalg.norm(silent.recording.values) < 0.1
    first = int(np.argmax(one.truth.values[:, 2]))
    place = spheres.heart.points
    assert np.linalg.norm(place[first] - place[one.foci[0]]) < 25.0


def test_two_foci_are_apart(spheres):
    data = bench_data(BenchCase(case="two foci", position=4))
    a, b = spheres.heart.points[data.foci]
    assert np.linalg.norm(a - b) > 25.0


def test_average_reference(spheres):
    data = bench_data(BenchCase(reference="average"))
    assert data.recording.values.mean(axis=0) == pytest.approx(np.zeros(40), abs=1e-9)
    assert data.operator.matrix.mean(axis=0) == pytest.approx(np.zeros(162), abs=1e-9)
    assert data.truth.values.max() > 80.0


def test_a_wrong_pose_is_another_operator(spheres):
    right, wrong = (bench_data(BenchCase(case=c)) for c in ("one focus", "wrong pose"))
    change = np.linalg.norm(wrong.operator.matrix - right.operator.matrix) / np.linalg.norm(right.operator.matrix)
    assert 0.02 < change < 0.5
    assert np.array_equal(wrong.truth.values, right.truth.values)


@pytest.mark.filterwarnings("ignore:tissue. the largest diffusivity")
def test_a_mismatched_wave_is_another_wave(spheres):
    right, other = (bench_data(BenchCase(case=c)) for c in ("one focus", "mismatched"))
    assert 0.05 < np.linalg.norm(other.truth.values - right.truth.values) / np.linalg.norm(right.truth.values) < 1.0
    field = uneven(spheres.surface, np.random.default_rng(0))
    assert np.abs(field).max() == 1.0
    assert field.std() > 0.2


# -- cells ------------------------------------------------------------------------------------------------------------

SETTING = {"geometry": "dalhousie-2007", "case": "one focus", "reference": "absolute", "position": 1, "sigma": 2.0}


def cell(method: str, **more) -> dict:
    return {**SETTING, "seed": 0, "method": method, "noise": "told", "spread": False, **more}


def test_a_classical_cell(spheres):
    record = compute_cell(cell("stre:oracle")).record
    assert 0.02 < record["relative_error"] < 0.3
    assert record["correlation"] > 0.9
    assert record["relative_error_mean_removed"] > record["relative_error"]
    assert record["activation_error_ms"] < 10.0
    assert record["localization_error_mm"] < 30.0
    assert record["sigma_used"] == 2.0
    assert record["seconds"] > 0
    better = compute_cell(cell("stre:oracle", sigma=0.2)).record
    assert better["relative_error"] < record["relative_error"]


@pytest.mark.long
def test_a_cell_with_cell_physics_and_error_bars(spheres):
    found = compute_cell(cell("weak-4dvar", noise="held-out", spread=True)).record
    assert found["relative_error"] < compute_cell(cell("stre:oracle")).record["relative_error"]
    assert found["sigma_used"] != 2.0
    assert found["sigma_used"] == pytest.approx(2.0, rel=0.5)
    assert 0.0 < found["coverage_50"] < found["coverage_90"] <= 1.0
    assert {"told_chi2", "weight", "told_diffusivity", "spread_seconds"} <= set(found)


def test_with_an_average_reference_only_the_mean_removed_error_counts(spheres):
    record = compute_cell(cell("stre:oracle", reference="average")).record
    assert "relative_error" not in record
    assert record["relative_error_mean_removed"] < 0.9


def test_scores_of_the_truth_itself(spheres):
    data = bench_data(BenchCase(position=1))
    from einthoven.core import Reconstruction

    residual = data.recording.with_values(np.full(data.recording.values.shape, 5.0))
    perfect = bench_inverse.scores(Reconstruction(data.truth, residual, "m", "r", 1.0), None, data, 5.0)
    assert perfect["relative_error"] == 0.0
    assert perfect["chi2_leads"] == pytest.approx(1.0)
    assert perfect["activation_error_ms"] == 0.0
    assert perfect["localization_error_mm"] < 20.0
    delayed = np.hstack([np.zeros((data.truth.n_sites, 1)), data.truth.values[:, :-1]])
    late = Recording(delayed, data.truth.times, data.truth.sites, "hsp")
    shifted = bench_inverse.scores(Reconstruction(late, residual, "m", "r", 1.0), None, data, 5.0)
    assert shifted["activation_error_ms"] == pytest.approx(4.3, abs=1.0)


def test_cells_are_stored_and_found_again(spheres, tmp_path, monkeypatch):
    study = BenchStudy.model_validate(
        {"title": "t", "block": [{"positions": [1], "seeds": [0], "sigmas": [2.0], "methods": ["stre", "tikhonov2"]}]}
    )
    store = ResultsStore(tmp_path / "store")
    rows, sweep = run_bench(study, store)
    assert (sweep.computed, sweep.reused) == (2, 0)
    monkeypatch.setattr(bench_inverse, "compute_cell", lambda config: pytest.fail("computed again"))
    again, sweep = run_bench(study, store)
    assert (sweep.computed, sweep.reused) == (0, 2)
    assert again == rows
    assert cell_name(rows[0]) == "stre, dalhousie-2007, one focus, absolute, 1, 2.0, 0"


def test_peak_memory_is_that_of_the_block():
    with PeakMemory() as small:
        pass
    with PeakMemory() as large:
        np.ones(40_000_000)
    if small.mb is not None:  # the system tells
        assert large.mb - small.mb > 250


# -- tables -----------------------------------------------------------------------------------------------------------


def row(method, error, position=11, **more):
    base = {
        "geometry": "dalhousie-2007",
        "case": "one focus",
        "reference": "absolute",
        "sigma": 1.0,
        "seed": 0,
        "noise": "told",
    }
    scores = {"relative_error": error, "relative_error_mean_removed": error, "seconds": 2.0}
    return {**base, "noise": "told", "position": position, "method": method, **scores, **more}


ROWS = [
    row("stre:oracle", 0.10),
    row("stre:oracle", 0.20, 12),
    row("stre:rgcv", 0.12),
    row("stre:rgcv", 0.22, 12),
    row("weak-4dvar", 0.05, told_chi2=1.0, weight=0.3, compiled=True, seconds=50.0),
    row("weak-4dvar", 0.04, 12, told_chi2=1.3, weight=0.3, compiled=False),
    row("eand-arn", 0.30, told_chi2=1.0, weight=0.3),
    row("eand-arn", 0.30, 12, told_chi2=1.3, weight=0.3),
]


def test_the_table_holds_medians_and_ratios():
    lines = {line["method"]: line for line in summary(ROWS)}
    weak = lines["weak-4dvar"]
    assert weak["data_sets"] == 2
    assert weak["relative_error"] == pytest.approx(0.045)
    assert (weak["relative_error_low"], weak["relative_error_high"]) == pytest.approx((0.0425, 0.0475))
    assert weak["over_stre"] == pytest.approx((0.5 + 0.2) / 2)
    assert lines["stre:oracle"]["over_stre"] == 1.0
    assert weak["seconds"] == 2.0  # the call that compiled does not count
    assert list(grouped(ROWS, ("method",))) == [("stre:oracle",), ("stre:rgcv",), ("weak-4dvar",), ("eand-arn",)]


def test_the_gates_mistakes_are_counted():
    counts = {line["method"]: line for line in gate_counts(ROWS)}
    assert counts["weak-4dvar"] | {"case": ""} == {
        "case": "", "method": "weak-4dvar", "data_sets": 2, "accepted": 1, "false_accepts": 0, "false_rejects": 1,
    }  # fmt: skip
    assert (counts["eand-arn"]["false_accepts"], counts["eand-arn"]["false_rejects"]) == (1, 0)
    open_ = {line["method"]: line for line in gate_counts(ROWS, Gate(0.5, 2.0))}
    assert open_["eand-arn"]["false_accepts"] == 2


@pytest.mark.parametrize(("noise", "accepted"), [("told", 0), ("held-out", 1)])
def test_an_estimated_noise_may_be_too_large(noise, accepted):
    rows = [row("stre:rgcv", 0.12), row("weak-4dvar", 0.05, told_chi2=0.8, weight=0.3, noise=noise)]
    (line,) = gate_counts(rows)
    assert (line["accepted"], line["false_rejects"]) == (accepted, 1 - accepted)


def test_files_and_page(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_inverse, "run_bench", lambda study, store, **how: (ROWS, None))
    study = load_bench("inverse-core")
    result = bench_output.write_bench(INVERSE, study, tmp_path / "out", page=write_bench_page)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"cells.csv", "table.csv", "gate.csv", "run.toml", "report.html", "metrics.json"} <= names
    text = (tmp_path / "out" / "report.html").read_text()
    assert study.title in text
    assert "0.0450" in text
    assert "<tr class=gray>" in text
    assert "://" not in text.replace("http://www.w3.org", "")
    assert len(result.table) == 4
    run = tomllib.loads((tmp_path / "out" / "run.toml").read_text())
    assert run["study"]["block"][0]["positions"] == [11, 12, 13]


def test_names_in_the_page_are_escaped(tmp_path):
    study = BenchStudy.model_validate({"title": "<script>", "block": [{"methods": ["stre"]}]})
    rows = [row("<img>", 0.1), row("stre:oracle", 0.2)]
    provenance = {"machine": {"processor": "<b>", "cores": 2, "system": "x"}, "versions": {"a": "<i>"}}
    result = bench_output.BenchResult(study, {"cells": rows, "table": summary(rows)}, provenance)
    text = Path(write_bench_page(result, tmp_path / "p.html")).read_text()
    for tag in ("<script>", "<img>", "<b>", "<i>"):
        assert tag not in text
