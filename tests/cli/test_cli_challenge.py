"""The 2026 challenge from the command line: beats in, a submission out, its score."""

import csv
import importlib.util
import json
import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from einthoven.io.challenge import read_beats, write_beats
from einthoven.metrics import ChallengeBeat

ROOT = Path(__file__).parents[2]


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("challenge_folder", ROOT / "examples" / "challenge_folder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """``data`` and ``truth`` of three simulated beats on coarse meshes; not to be changed."""
    folder = tmp_path_factory.mktemp("challenge")
    example().write_simulated(folder / "data", folder / "truth", subdivisions=1)
    return folder


@pytest.fixture
def data(written, tmp_path) -> Path:
    """A copy of the data, to break."""
    return Path(shutil.copytree(written / "data", tmp_path / "data"))


def test_beats_become_a_submission_and_a_score(einthoven, written, tmp_path):
    out = tmp_path / "out"
    outcome = einthoven("challenge", "image", written / "data", "--method", "greensite", "--out", out)
    assert outcome.code == 0, outcome.err
    assert f"3 beats: {out / 'submission.zip'}" in outcome.out
    truth, found = read_beats(written / "truth"), read_beats(out / "submission")
    assert list(found) == list(truth) == ["Run0001-b1", "Run0001-b2", "Run0002-b1"]
    with zipfile.ZipFile(out / "submission.zip") as archive:
        assert sorted(archive.namelist()) == [f"{name}-cs.mat" for name in truth]
    for name, beat in found.items():
        assert beat.potentials.shape == truth[name].potentials.shape == (42, 75)
        assert np.linalg.norm(beat.pacing_location - truth[name].pacing_location) < 60
    rows = json.loads((out / "metrics.json").read_text())
    assert [row["beat"] for row in rows] == list(found)
    assert {row["method"] for row in rows} == {"greensite"}
    assert (rows[0]["x_mm"], rows[0]["site"]) == (found["Run0001-b1"].pacing_location[0], "activation")

    outcome = einthoven("challenge", "score", out, written / "truth", "--dataset", "auckland", "--out", tmp_path / "s")
    assert outcome.code == 0, outcome.err
    assert "The distance is added: a larger error gives a larger sum" in outcome.out
    told = json.loads((tmp_path / "s" / "metrics.json").read_text())
    sites = [np.linalg.norm(found[n].pacing_location - truth[n].pacing_location) for n in truth]
    assert told["localization_error_mm"] == pytest.approx(np.mean(sites), rel=1e-12)
    assert told["total"] == pytest.approx((told["sc"] + told["tc"] + 1 - told["rmse"]) / 6 + np.mean(sites) / 2)
    with (tmp_path / "s" / "beats.csv").open() as file:
        assert [row["beat"] for row in csv.DictReader(file)] == list(truth)


def test_every_dataset_says_which_way_is_better(einthoven, written):
    truth = written / "truth"
    for dataset, total, text in (
        ("utah", 1.0, "Larger is better."),
        ("auckland", 0.5, "has no better direction. Look at the parts."),
        ("Halifax", 0.0, "A mean distance in mm: smaller is better."),
        ("bratislava", 0.0, "A mean distance in mm: smaller is better."),
    ):
        assert text in einthoven("challenge", "score", truth, truth, "--dataset", dataset).out
        told = json.loads(einthoven("challenge", "score", truth, truth, "-d", dataset, "--json").out)
        assert (told["dataset"], told["total"]) == (dataset.lower(), pytest.approx(total, abs=1e-12))


def test_two_geometries_make_one_submission(einthoven, data, tmp_path):
    other = Path(shutil.copytree(data, tmp_path / "P002"))
    outcome = einthoven("challenge", "image", data, other, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "beat Run0001-b1 is in " in outcome.err
    for file in (other / "Beats").iterdir():
        file.rename(file.with_name(file.name.replace("Run", "P002-")))
    outcome = einthoven("challenge", "image", data, other, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert len(read_beats(tmp_path / "out")) == 6


def beat(folder: Path, values: np.ndarray) -> None:
    savemat(folder / "Beats" / "Run0001-b1-ts.mat", {"ts": {"potvals": values}})


def potentials(folder: Path) -> np.ndarray:
    ts = loadmat(folder / "Beats" / "Run0001-b1-ts.mat", squeeze_me=True, struct_as_record=False)["ts"]
    return np.array(ts.potvals)


def spoil(folder: Path, how: str) -> None:
    values, toml = potentials(folder), folder / "case.toml"
    match how:
        case "nan":
            values[3, 4] = np.nan
            beat(folder, values)
        case "lead":
            beat(folder, values[1:])
        case "rest":
            beat(folder, np.zeros_like(values))
        case "damaged":
            path = folder / "Beats" / "Run0001-b1-ts.mat"
            path.write_bytes(path.read_bytes()[:200])
        case "none":
            shutil.rmtree(folder / "Beats")
        case "pattern":
            toml.write_text(toml.read_text().replace("Beats/*-ts.mat", "Beats/Run0001-b1-ts.mat"))
        case "truth":
            toml.write_text(toml.read_text() + '[hearts.heart.truth]\nfile = "a.csv"\n')


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("nan", "NaN"),
        ("lead", "41"),
        ("rest", "beat Run0001-b1: "),
        ("damaged", "Run0001-b1-ts.mat"),
        ("none", "recording.file: no file in "),
        ("pattern", "must name the files of the beats by one *"),
        ("truth", "hearts.heart.truth: belongs to one recording, not to all beats."),
    ],
)
def test_mistakes_end_in_one_sentence_before_anything_is_written(einthoven, data, tmp_path, how, match):
    spoil(data, how)
    outcome = einthoven("challenge", "image", data, "--out", tmp_path / "out")
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert match in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--method", "tikhonov2,stre"), "a submission has one method"),
        (("--method", "tikhonov3"), "unknown method 'tikhonov3'"),
        (("--rule", "oracle"), "the oracle rule needs the truth"),
        (("--site", "guess"), "the site must come from one of activation, wave; got 'guess'"),
    ],
)
def test_wrong_options_are_named(einthoven, written, tmp_path, words, match):
    outcome = einthoven("challenge", "image", written / "data", *words, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert match in outcome.err


def test_scores_of_what_does_not_fit(einthoven, written, tmp_path):
    truth = read_beats(written / "truth")
    ours = Path(shutil.copytree(written / "truth", tmp_path / "ours"))
    (ours / "Run0001-b2-cs.mat").unlink()
    told = einthoven("challenge", "score", ours, written / "truth", "--dataset", "utah")
    assert (told.code, "Run0001-b2 are missing on one side: the estimate" in told.err) == (2, True)
    beat = truth["Run0001-b2"]
    write_beats({"Run0001-b2": ChallengeBeat(beat.potentials[:, :-1], beat.pacing_location)}, ours)
    told = einthoven("challenge", "score", ours, written / "truth", "--dataset", "utah")
    assert "beat Run0001-b2: estimate and truth must have the same shape" in told.err
    told = einthoven("challenge", "score", ours, written / "truth", "--dataset", "oslo")
    assert "--dataset must be one of utah, auckland, halifax, bratislava; got 'oslo'." in told.err


def test_a_folder_of_other_beats_is_left_alone(einthoven, written, tmp_path):
    mine = tmp_path / "out" / "submission"
    mine.mkdir(parents=True)
    (mine / "x-cs.mat").write_bytes(b"mine")
    outcome = einthoven("challenge", "image", written / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "is there, and not of a finished run; choose another --out" in outcome.err
    assert (mine / "x-cs.mat").read_bytes() == b"mine"


def test_image_refuses_a_pattern(einthoven, written, tmp_path):
    outcome = einthoven("image", written / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "stands for several beats, which `einthoven challenge image` takes" in outcome.err


@pytest.mark.long
def test_the_measured_tank_in_the_shape_of_the_challenge(einthoven, data_dir, tmp_path):
    from einthoven.studies.ready import open_case

    example().write_measured(tmp_path / "data", tmp_path / "truth", open_case("utah-cage-tank"))
    outcome = einthoven("challenge", "image", tmp_path / "data", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    told = json.loads(einthoven("challenge", "score", tmp_path / "out", tmp_path / "truth", "-d", "utah", "--json").out)
    assert 0.5 < told["sc"] < 1
    assert told["tc"] > 0.9


@pytest.mark.long
def test_a_wave_gives_the_site(einthoven, tmp_path):
    example().write_simulated(tmp_path / "data", tmp_path / "truth", subdivisions=2)
    for file in sorted((tmp_path / "data" / "Beats").iterdir())[1:]:
        file.unlink()
        (tmp_path / "truth" / file.name.replace("-ts", "-cs")).unlink()
    outcome = einthoven("challenge", "image", tmp_path / "data", "--site", "wave", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    (row,) = json.loads((tmp_path / "out" / "metrics.json").read_text())
    (beat,) = read_beats(tmp_path / "out").values()
    assert row["site"] == "wave"
    # within the heart, half axes 40, 40 and 55 mm around (25, -30, 20)
    inside = np.abs(beat.pacing_location - [25.0, -30.0, 20.0]) < [40.0, 40.0, 55.0]
    assert inside.all()
