"""The commands on a hand-made case: what they print and what they write."""

import csv
import json
import tomllib

import numpy as np
import pytest

from einthoven.io import read
from einthoven.io.zarr_store import load_operator, load_zarr

PROMISED = {"method", "rule", "lambda", "relative_error", "correlation", "rmse", "sc", "tc", "seconds", "reference"}


def test_image_writes_everything_it_promises(einthoven, handmade, tmp_path):
    out = tmp_path / "out"
    outcome = einthoven("image", handmade, "--method", "tikhonov0,tikhonov2", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "tikhonov2" in outcome.out
    rows = json.loads((out / "metrics.json").read_text())
    assert [row["method"] for row in rows] == ["tikhonov0", "tikhonov2"]
    assert all(set(row) >= PROMISED for row in rows)
    assert rows[1]["relative_error"] < rows[0]["relative_error"] < 0.5
    with (out / "metrics.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["tikhonov0", "tikhonov2"]
    stored = load_zarr(out / "reconstruction.zarr")
    assert set(stored) == {"tikhonov0", "tikhonov2", "recording", "truth"}
    run = tomllib.loads((out / "run.toml").read_text())
    assert run["settings"]["methods"] == ["tikhonov0", "tikhonov2"]
    assert len(run["checksums"]["recording"]) == 64
    assert "numpy" in run["versions"]
    with (out / "activation.csv").open() as file:
        nodes = list(csv.DictReader(file))
    assert len(nodes) == 162
    assert "</html>" in (out / "report.html").read_text()
    assert not list(out.glob(".partial*"))


def test_leads_that_look_bad_are_named(einthoven, handmade, case, tmp_path):
    assert "of the leads look" not in einthoven("image", handmade, "--out", tmp_path / "good").out
    values = np.loadtxt(case / "recording.csv", delimiter=",")
    values[4] = 0.0
    values[[10, 40]] = values[[40, 10]]
    np.savetxt(case / "recording.csv", values, delimiter=",")
    text = (case / "case.toml").read_text().replace('reference = "average"', 'reference = "absolute"')
    (case / "case.toml").write_text(text)
    printed = einthoven("image", case, "--out", tmp_path / "bad").out
    assert "3 of the leads look bad; without them: --exclude E5,E11,E41" in printed
    assert "E5: flat" in printed
    assert "E11: looks swapped with E41" in printed
    assert "looks swapped with E41" in (tmp_path / "bad" / "report.html").read_text()
    rest = einthoven("image", case, "--exclude", "E5,E11,E41", "--out", tmp_path / "rest").out
    assert "of the leads look" not in rest


def test_one_method_gives_one_object(einthoven, handmade, tmp_path):
    outcome = einthoven("image", handmade, "--no-page", "--json", "--out", tmp_path)
    printed = json.loads(outcome.out)
    assert printed["method"] == "tikhonov2"
    assert json.loads((tmp_path / "metrics.json").read_text())["lambda"] == printed["lambda"]
    assert not (tmp_path / "report.html").exists()


def test_the_oracle_is_labelled_and_not_worse(einthoven, handmade, tmp_path):
    best = json.loads(einthoven("image", handmade, "--rule", "oracle", "--no-page", "--json", "--out", tmp_path).out)
    free = json.loads(einthoven("image", handmade, "--no-page", "--json", "--out", tmp_path).out)
    assert best["sees_truth"] is True
    assert best["rule"] == "oracle"
    assert free["sees_truth"] is False
    assert best["relative_error"] <= free["relative_error"] * (1 + 1e-9)


def test_score_reproduces_the_metrics(einthoven, handmade, tmp_path):
    einthoven("image", handmade, "--no-page", "--json", "--out", tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    store = tmp_path / "reconstruction.zarr"
    outcome = einthoven("score", store, store, "--mean-removed", "--json")
    assert outcome.code == 0, outcome.err
    scored = json.loads(outcome.out)
    for key in ("relative_error", "correlation", "rmse", "sc", "tc"):
        assert scored[key] == pytest.approx(metrics[key], rel=1e-9)


def test_score_takes_two_plain_files(einthoven, handmade, tmp_path):
    truth = np.loadtxt(handmade / "heart_potentials.csv", delimiter=",")
    np.savetxt(tmp_path / "half.csv", truth / 2, delimiter=",")
    outcome = einthoven("score", tmp_path / "half.csv", handmade / "heart_potentials.csv", "--rate-hz", 500, "--json")
    assert outcome.code == 0, outcome.err
    scored = json.loads(outcome.out)
    assert scored["relative_error"] == pytest.approx(0.5)
    assert scored["correlation"] == pytest.approx(1.0)
    assert scored["mag"] == pytest.approx(0.5)


def test_forward_saves_a_checked_operator(einthoven, handmade, tmp_path):
    outcome = einthoven(
        "forward", handmade, "--source", handmade / "heart_potentials.csv", "--rate-hz", 500, "--out", tmp_path
    )
    assert outcome.code == 0, outcome.err
    assert "row sums" in outcome.out
    operator = load_operator(tmp_path / "operator.npz")
    np.testing.assert_allclose(operator.as_matrix().sum(axis=1), 1.0, atol=1e-9)
    same = load_operator(tmp_path / "operator.zarr")
    np.testing.assert_array_equal(same.as_matrix(), operator.as_matrix())
    truth = np.loadtxt(handmade / "heart_potentials.csv", delimiter=",")
    predicted = read(tmp_path / "prediction.zarr").recording()
    np.testing.assert_allclose(predicted.values, operator.as_matrix() @ truth, rtol=1e-9, atol=1e-12)
    assert json.loads((tmp_path / "metrics.json").read_text())["n_in"] == 162


def test_convert_to_a_store_and_back_changes_no_number(einthoven, handmade, tmp_path):
    assert einthoven("convert", handmade, tmp_path / "case.zarr").code == 0
    assert einthoven("convert", tmp_path / "case.zarr", tmp_path / "folder").code == 0
    options = ("--no-page", "--json", "--out", tmp_path / "out")
    first = json.loads(einthoven("image", handmade, *options).out)
    for other in (tmp_path / "case.zarr", tmp_path / "folder"):
        again = json.loads(einthoven("image", other, *options).out)
        assert again["relative_error"] == pytest.approx(first["relative_error"], rel=1e-12)


def test_info_describes_cases_files_and_the_installation(einthoven, handmade):
    told = einthoven("info", handmade)
    assert told.code == 0, told.err
    assert "wound outward" in told.out
    assert "conductivity 0.2 S/m" in told.out
    assert "162 nodes" in einthoven("info", handmade / "torso.ply").out
    assert "numba" in einthoven("info").out


def test_datasets_are_listed_with_licence(einthoven):
    rows = json.loads(einthoven("datasets", "list", "--json").out)
    names = {row["name"] for row in rows}
    assert {"utah-cage-tank", "utah-sock", "dalhousie-2007", "dalhousie-map3d", "kit-ventricles"} <= names
    assert all(row["licence"] for row in rows)


def test_a_rerun_replaces_and_a_failed_one_leaves_nothing(einthoven, handmade, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert einthoven("image", handmade, "--no-page", "--out", out).code == 0
    first = (out / "metrics.json").read_text()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("einthoven.studies.output.write_activation", full)
    outcome = einthoven("image", handmade, "--method", "tikhonov0", "--no-page", "--out", out)
    assert outcome.code != 0
    assert "No space left" in outcome.err
    assert (out / "metrics.json").read_text() == first
    assert not list(out.glob(".partial*"))


def test_an_internal_error_is_one_line(einthoven, handmade, tmp_path, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("einthoven.studies.imaging.image_case", broken)
    outcome = einthoven("image", handmade, "--out", tmp_path)
    assert outcome.code == 1
    assert "internal error: ZeroDivisionError" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
