"""Broken input: every mistake ends in one clear line, a non-zero exit code and no result."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.geometry.generators import ellipsoid
from einthoven.io import read, write


def edit(case: Path, old: str, new: str) -> None:
    text = (case / "case.toml").read_text()
    assert old in text
    (case / "case.toml").write_text(text.replace(old, new))


def numbers(case: Path, name: str) -> np.ndarray:
    return np.loadtxt(case / name, delimiter=",")


def open_torso(case):
    torso = read(case / "torso.ply").surface()
    write(type(torso)(torso.points, torso.triangles[:-3], "torso"), case / "torso.ply")


def inward_torso(case):
    torso = read(case / "torso.ply").surface()
    write(type(torso)(torso.points, torso.triangles[:, ::-1], "torso"), case / "torso.ply")


def one_face_flipped(case):
    torso = read(case / "torso.ply").surface()
    triangles = torso.triangles.copy()
    triangles[7] = triangles[7, ::-1]
    write(type(torso)(torso.points, triangles, "torso"), case / "torso.ply")


def meters(case):
    for name in ("torso.ply",):
        torso = read(case / name).surface()
        write(torso.with_points(torso.points / 1000), case / name)


def heart_outside(case):
    nodes = np.loadtxt(case / "heart_nodes.csv", delimiter=",", skiprows=1) + np.array([500.0, 0, 0])
    np.savetxt(case / "heart_nodes.csv", nodes, delimiter=",", header="x,y,z", comments="")


def heart_through_skin(case):
    nodes = np.loadtxt(case / "heart_nodes.csv", delimiter=",", skiprows=1) + np.array([0, -70.0, 0])
    np.savetxt(case / "heart_nodes.csv", nodes, delimiter=",", header="x,y,z", comments="")


def electrodes_in_mm(case):
    edit(case, 'unit = "cm"', 'unit = "mm"')


def nan_in_recording(case):
    values = numbers(case, "recording.csv")
    values[3, 5] = np.nan
    np.savetxt(case / "recording.csv", values, delimiter=",")


def transposed_recording(case):
    np.savetxt(case / "recording.csv", numbers(case, "recording.csv").T, delimiter=",")


def missing_leads(case):
    np.savetxt(case / "recording.csv", numbers(case, "recording.csv")[:-4], delimiter=",")


def ragged_recording(case):
    lines = (case / "recording.csv").read_text().splitlines()
    lines[6] = lines[6].rsplit(",", 3)[0]
    (case / "recording.csv").write_text("\n".join(lines))


def truncated_torso(case):
    data = (case / "torso.ply").read_bytes()
    (case / "torso.ply").write_bytes(data[: len(data) // 2])


def zero_based_faces(case):
    np.savetxt(case / "heart_faces.csv", numbers(case, "heart_faces.csv") - 1, delimiter=",", fmt="%d")


def missing_file(case):
    (case / "electrodes.csv").unlink()


def misspelled_field(case):
    edit(case, "conductivity", "conductivty")


def negative_conductivity(case):
    edit(case, "conductivity = 0.2 ", "conductivity = -0.2 ")


def no_rate(case):
    edit(case, 'unit = "uV"\nrate_hz = 500', 'unit = "uV"')


def not_toml(case):
    edit(case, "[electrodes]", "[electrodes")


def lung_through_heart(case):
    write(ellipsoid((40.0, 40.0, 40.0), subdivisions=2, center=(60.0, -30.0, 20.0), name="lung"), case / "lung.ply")
    edit(case, "[hearts.heart]\n", '[surfaces.lung]\nfile = "lung.ply"\nconductivity = 0.05\n\n[hearts.heart]\n')


BROKEN = [
    (open_torso, r"torso: must be closed; \d+ edges .* Fill the hole"),
    (inward_torso, r"torso.*must be wound outward.*repair = true"),
    (one_face_flipped, r"torso.*wound alike.*faces .*7.*repair = true"),
    (meters, r"torso.*meters"),
    (heart_outside, r"heart.*(outside|inside).*torso"),
    (heart_through_skin, r"(heart.*torso|torso.*heart)"),
    (electrodes_in_mm, r"E1.*skin"),
    (nan_in_recording, r"recording.*must be finite; E4 hold"),
    (transposed_recording, r"gives 60 rows, there are 81 electrodes; set `transpose = true`"),
    (missing_leads, r"gives 77 rows, there are 81 electrodes; choose rows with `rows`"),
    (ragged_recording, r"recording.csv, line 7"),
    (truncated_torso, r"torso.ply, (line|byte) \d+"),
    (zero_based_faces, r"heart_faces.csv.*counted from 1\. State first_index = 0"),
    (missing_file, r"electrodes.csv"),
    (misspelled_field, r"torso\.conductivty: unknown field \(did you mean 'conductivity'\?\) .*1 more: .*conductivity"),
    (negative_conductivity, r"case.toml.*conductivity"),
    (no_rate, r"recording.*rate_hz"),
    (not_toml, r"case.toml.*line \d+"),
    (lung_through_heart, r"(lung.*heart|heart.*lung)"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN, ids=[d.__name__ for d, _ in BROKEN])
def test_a_broken_case_is_refused_in_one_line(einthoven, case, tmp_path, damage, message):
    damage(case)
    outcome = einthoven("image", case, "--out", tmp_path / "out")
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err
    assert "internal error" not in outcome.err
    assert not (tmp_path / "out" / "metrics.json").exists()


OPTIONS = [
    (["--method", "tikhonov3"], r"unknown method 'tikhonov3'.*Did you mean tikhonov"),
    (["--rule", "lcruve"], r"unknown rule 'lcruve'.*Did you mean lcurve"),
    (["--rule", "fixed:x"], r"fixed needs a number"),
    (["--rule", "fixed:-1"], r"positive"),
    (["--quantity", "egm"], r"quantity"),
    (["--quantity", "vm"], r"no heart surface for 'vm'"),
    (["--window", "80"], r"--window must be START:STOP"),
    (["--window", "8000:9000"], r"window .* holds no frame"),
    (["--leads", "E1,E2,E999"], r"no site named E999"),
    (["--exclude", "E999"], r"cannot exclude E999"),
    (["--leads", "E1,E2"], r"lead"),
    (["--reference", "wilson"], r"RA"),
    (["--gamma", "2", "--rule", "rgcv"], r"gamma"),
    (["--noise-window", "0:4"], r"8"),
    (["--nonsense"], r"nonsense"),
]


@pytest.mark.parametrize(("words", "message"), OPTIONS, ids=[" ".join(w) for w, _ in OPTIONS])
def test_a_wrong_option_is_refused_in_one_line(einthoven, handmade, tmp_path, words, message):
    outcome = einthoven("image", handmade, "--out", tmp_path / "out", *words)
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err, re.IGNORECASE), outcome.err
    assert "internal error" not in outcome.err
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_an_unknown_case_lists_what_there_is(einthoven, tmp_path):
    outcome = einthoven("image", "utah-cage-tnak", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "phantom" in outcome.err
    assert "utah-cage-tank" in outcome.err


def test_the_oracle_needs_a_truth(einthoven, case, tmp_path):
    text = (case / "case.toml").read_text()
    start, stop = text.index("[hearts.heart.truth]"), text.index("[electrodes]")
    (case / "case.toml").write_text(text[:start] + text[stop:])
    outcome = einthoven("image", case, "--rule", "oracle", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "oracle needs the measured truth" in outcome.err


def test_out_must_not_be_a_file(einthoven, handmade, tmp_path):
    (tmp_path / "out").write_text("mine")
    outcome = einthoven("image", handmade, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "must be a folder" in outcome.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_refusal_of_a_solver_names_method_and_rule(einthoven, handmade, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise InputError("no local maximum. Use lcurve.")

    monkeypatch.setattr("einthoven.inverse.tikhonov.Tikhonov.reconstruct", refuse)
    outcome = einthoven("image", handmade, "--rule", "creso", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert outcome.err == "error: tikhonov2 with creso: no local maximum. Use lcurve.\n"


def microvolts_called_volts(case):
    edit(case, 'unit = "uV"', 'unit = "V"')


def false_reference_lead(case):
    edit(case, 'reference = "average"', 'reference = "E1"')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (microvolts_called_volts, r"recording.unit.*largest potential is .* mV.*microvolts"),
        (false_reference_lead, r"recording.reference.*is 'E1', but that lead reaches"),
    ],
)
def test_implausible_numbers_are_refused_by_info_too(einthoven, case, damage, message):
    damage(case)
    outcome = einthoven("info", case)
    assert outcome.code == 2
    assert re.search(message, outcome.err), outcome.err


def test_an_empty_out_is_refused(einthoven, handmade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = einthoven("image", handmade, "--out", "")
    assert outcome.code == 2
    assert "--out must name a folder" in outcome.err
    assert not list(tmp_path.iterdir())


def test_an_interruption_is_told(einthoven, handmade, tmp_path, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("einthoven.inverse.tikhonov.Tikhonov.reconstruct", stop)
    outcome = einthoven("image", handmade, "--out", tmp_path / "out")
    assert outcome.code == 130
    assert outcome.err.startswith("error: interrupted")
    assert not (tmp_path / "out").exists()


def test_an_unstated_unit_is_asked_for(einthoven, tmp_path):
    (tmp_path / "plain.csv").write_text("time_ms,a,b\n0,1000,2000\n1,500,0\n")
    outcome = einthoven("convert", tmp_path / "plain.csv", tmp_path / "out.zarr")
    assert outcome.code == 2
    assert "give --unit" in outcome.err
    assert einthoven("convert", tmp_path / "plain.csv", tmp_path / "out.zarr", "--unit", "uV").code == 0
    assert read(tmp_path / "out.zarr").recording().values[0, 0] == 1.0


def test_scores_without_a_value_are_null_in_json(einthoven, tmp_path):
    (tmp_path / "zero.csv").write_text("# unit: mV\ntime_ms,a,b\n0,0,0\n1,0,0\n")
    (tmp_path / "one.csv").write_text("# unit: mV\ntime_ms,a,b\n0,1,0\n1,0,1\n")
    outcome = einthoven("score", tmp_path / "one.csv", tmp_path / "zero.csv", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["relative_error"] is None


def test_datasets_are_listed_by_name_for_people(einthoven):
    told = einthoven("datasets", "list").out
    assert "utah-cage-tank" in told
    assert "licence:" in told
