"""``einthoven calibrate`` and ``image --operator``: what they print and write, and every mistake in one line."""

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from calibration_cases import case_of, pair
from einthoven.io.cases import write_case
from einthoven.io.zarr_store import load_operator, save_operator
from einthoven.studies import calibration
from einthoven.studies.settings import CalibrationSettings

QUICK = ("--model", "pose,gain", "--fit", "0:39")

OPTIONS = [
    (["--model", "nonsense"], r"unknown model nonsense; there is gain, pose"),
    (["--model", ""], r"models: .*at least 1"),
    (["--fit", "40"], r"--fit must be START:STOP"),
    (["--fit", "0:900"], r"--fit 0:900 must lie within the recording"),
    (["--fit", "0:39", "--test", "30:79"], r"share 10 frames; a calibration is judged on frames"),
    (["--test", "0:39"], r"--test needs --fit"),
    (["--fit", "0:5"], r"holds 6 frames"),
    (["--shift-mm", "0"], r"shift-mm: .*greater than 0"),
    (["--lead-percent", "90"], r"lead-percent: .*less than or equal to 50"),
    (["--folds", "1"], r"folds: .*greater than or equal to 2"),
    (["--leads", "E1,E2,E999"], r"no site named E999"),
    (["--exclude", "E999"], r"cannot exclude E999"),
    (["--reference", "wilson"], r"RA"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "case"
    write_case(case_of(pair(noise=0.05, n_times=80)), path)
    return path


@pytest.fixture(scope="module")
def once():
    """A calibration is made once for all tests with the same settings."""
    real, done = calibration.calibrate_case, {}

    def calibrate_case(case, settings, **rest):
        if settings not in done:
            done[settings] = real(case, settings, **rest)
        return done[settings]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "calibrate_case", calibrate_case)
        yield


@pytest.fixture
def calibrated(einthoven, folder, once, tmp_path):
    outcome = einthoven("calibrate", folder, "--out", tmp_path / "out", *QUICK)
    assert outcome.code == 0, outcome.err
    return tmp_path / "out", outcome.out


def test_calibrate_writes_and_prints_what_it_promises(calibrated):
    out, printed = calibrated
    for words in ("before", "after", "0:39 -> all others", "calibrated on 0 to 39 ms", "operator: "):
        assert words in printed
    assert printed.strip().endswith(f"page: {out / 'report.html'}")
    names = "metrics.json metrics.csv parameters.csv frames.csv electrodes.csv run.toml report.html"
    assert {path.name for path in out.iterdir()} == {*names.split(), "operator.npz", "operator.zarr"}
    rows = json.loads((out / "metrics.json").read_text())
    assert len(rows) == 2 * 3  # models x methods
    assert rows[0]["error_after"] < rows[0]["error_before"]
    parameters = list(csv.DictReader((out / "parameters.csv").read_text().splitlines()))
    assert [row["parameter"] for row in parameters][:2] == ["heart x (mm)", "heart y (mm)"]
    page = (out / "report.html").read_text()
    assert page.count("<img ") == 3
    assert "<script" not in page
    settings = CalibrationSettings(**tomllib.loads((out / "run.toml").read_text())["settings"])
    assert (settings.models, settings.fit_ms) == (("pose", "gain"), (0.0, 39.0))


def test_both_files_hold_the_same_operator(calibrated):
    out, _ = calibrated
    one, other = load_operator(out / "operator.npz"), load_operator(out / "operator.zarr")
    assert np.array_equal(one.matrix, other.matrix)
    assert one.reference == "average"
    assert one.source is not None


def test_an_image_is_made_with_the_saved_operator(einthoven, folder, calibrated, tmp_path):
    out, _ = calibrated
    errors = {}
    for name, words in {"built": (), "saved": ("--operator", out / "operator.npz")}.items():
        outcome = einthoven("image", folder, "--out", tmp_path / name, "--no-page", "--json", *words)
        assert outcome.code == 0, outcome.err
        errors[name] = json.loads(outcome.out)["relative_error"]
    assert errors["saved"] < 0.95 * errors["built"]
    runs = {name: tomllib.loads((tmp_path / name / "run.toml").read_text()) for name in errors}
    assert runs["saved"]["settings"]["operator"] == str(out / "operator.npz")
    assert runs["saved"]["operator_sha256"] != runs["built"]["operator_sha256"]
    assert len(runs["saved"]["operator_sha256"]) == 64


def test_the_operator_of_forward_gives_the_image_of_the_geometry(einthoven, folder, tmp_path):
    assert einthoven("forward", folder, "--out", tmp_path / "forward").code == 0
    rows = []
    for words in ((), ("--operator", tmp_path / "forward" / "operator.zarr")):
        outcome = einthoven("image", folder, "--out", tmp_path / "image", "--no-page", "--json", *words)
        assert outcome.code == 0, outcome.err
        rows.append(json.loads(outcome.out)["relative_error"])
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)


def test_a_foreign_operator_is_refused_in_one_line(einthoven, folder, calibrated, tmp_path):
    operator = load_operator(calibrated[0] / "operator.npz")
    from dataclasses import replace

    wrong = {
        "other heart nodes": replace(operator, in_sites=tuple(f"x{i}" for i in range(operator.n_in)), source=None),
        "the operator has no leads E3": operator.select([s for s in operator.out_sites if s != "E3"]),
        "the operator carries vm to bsp; the case needs hsp to bsp": replace(operator, in_quantity="vm"),
    }
    wrong["are not in both"] = wrong.pop("other heart nodes")
    for message, bad in wrong.items():
        save_operator(bad, tmp_path / "bad.npz")
        outcome = einthoven("image", folder, "--out", tmp_path / "image", "--operator", tmp_path / "bad.npz")
        assert outcome.code == 2
        assert len(outcome.err.strip().splitlines()) == 1
        assert message in outcome.err
    outcome = einthoven("image", folder, "--out", tmp_path / "image", "--operator", tmp_path / "none.npz")
    assert outcome.code == 2
    assert "none.npz" in outcome.err
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(("words", "message"), OPTIONS, ids=[" ".join(w) for w, _ in OPTIONS])
def test_a_wrong_option_is_refused_in_one_line(einthoven, folder, tmp_path, words, message):
    outcome = einthoven("calibrate", folder, "--out", tmp_path / "out", *words)
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err, re.IGNORECASE), outcome.err
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_case_without_truth_is_refused(einthoven, handmade, tmp_path):
    from einthoven.io.cases import read_case

    case = read_case(handmade)
    from dataclasses import replace

    write_case(replace(case, sources=(replace(case.source(), truth=None),)), tmp_path / "blind")
    outcome = einthoven("calibrate", tmp_path / "blind", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "the case has no truth on its heart surface" in outcome.err


def test_interrupted_leaves_nothing(einthoven, folder, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("einthoven.report.calibration_page.write_calibration_page", stopped)
    outcome = einthoven("calibrate", folder, "--out", tmp_path / "out", "--model", "gain", "--fit", "0:39")
    assert outcome.code == 130
    assert not any((tmp_path / "out").iterdir())


def test_json_is_the_metrics_and_nothing_else(einthoven, folder, once, tmp_path):
    outcome = einthoven("calibrate", folder, "--out", tmp_path / "out", *QUICK, "--json", "--no-page")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert not (tmp_path / "out" / "report.html").exists()
