"""``einthoven surrogate``: a small set from a recipe to predictions, and what mistakes say."""

import json

import pytest

RECIPE = """
title = "two kinds"
size = 16.0
t_end = 400.0

[electrodes]
fixed = [[8.0, 8.0, 12.0]]

[[condition]]
name = "healthy"
sheets = 10
"""

TINY = """
title = "tiny"
model = "neural-eikonal"
epochs = 1

[network]
width = 4
depth = 1
"""


def test_generate(einthoven, tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    said = einthoven("surrogate", "generate", tmp_path / "r.toml", "--out", tmp_path / "set", "--cost")
    assert said.code == 0
    assert said.out.startswith("8 sheets to simulate: about ")
    made = einthoven("surrogate", "generate", tmp_path / "r.toml", "--out", tmp_path / "set")
    assert made.code == 0, made.err
    assert "8 sheets simulated, 2 were there" in made.out
    again = einthoven("surrogate", "generate", tmp_path / "r.toml", "--out", tmp_path / "set")
    assert again.out.startswith("all sheets are there.")


def test_train_evaluate_predict(einthoven, sheet_folder, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    trained = einthoven(
        "surrogate", "train", tmp_path / "tiny.toml", sheet_folder, "--out", tmp_path / "mine", "--sheets", 4,
        "--score-on", sheet_folder,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "neural-eikonal: " in trained.out
    assert "4 sheets" in trained.out
    weights = tmp_path / "mine" / "weights.npz"
    card = einthoven("surrogate", "card", weights)
    assert card.code == 0, card.err
    assert card.out.startswith("# mine")
    assert "--sheets 4 --score-on out/recipe:test" in card.out
    scored = einthoven(
        "surrogate", "evaluate", sheet_folder, "--weights", weights, "--no-baselines", "--out", tmp_path / "s", "--json"
    )
    assert scored.code == 0, scored.err
    assert {row["predictor"] for row in json.loads(scored.out)} == {"mine"}
    predicted = einthoven("surrogate", "predict", weights, sheet_folder, "--out", tmp_path / "p")
    assert predicted.code == 0, predicted.err
    outside = einthoven(
        "surrogate", "evaluate", sheet_folder, "--predictions", tmp_path / "p" / "predictions.npz", "--no-baselines",
        "--out", tmp_path / "s2", "--no-page",
    )  # fmt: skip
    assert outside.code == 0, outside.err
    assert "predictions" in outside.out


def test_predict_a_picture(einthoven, sheet_folder, tmp_path):
    import numpy as np
    from PIL import Image

    (tmp_path / "tiny.toml").write_text(TINY)
    assert (
        einthoven(
            "surrogate", "train", tmp_path / "tiny.toml", sheet_folder, "--out", tmp_path / "m", "--sheets", 2
        ).code
        == 0
    )
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(tmp_path / "p.png")
    words = ["surrogate", "predict", tmp_path / "m" / "weights.npz", tmp_path / "p.png", "--out", tmp_path / "o"]
    found = einthoven(*words, "--site", "4,5", "--electrode", "10,10,20", "--electrode", "-8,10,30")
    assert found.code == 0, found.err
    assert "1600 cells conduct (100.0 %)" in found.out
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"ecg.csv", "activation.npz", "metrics.json", "report.html"}
    for more, said in (
        (["--site", "4,5"], "a picture needs a stimulus and an electrode"),
        (
            ["--site", "4", "--electrode", "1,2,3"],
            "--site must be 2 numbers in mm with commas, for example 10,20; got 4",
        ),
        (["--site", "4,5", "--electrode", "a,b,c"], "--electrode must be 3 numbers"),
    ):
        failed = einthoven(*words, *more)
        assert failed.code == 2
        assert said in failed.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate"], "name a recipe"),
        (["generate", "sheets-smoke"], "give a folder for the results, for example --out out/sheets"),
        (["generate", "nothing", "--out", "x"], "no such recipe"),
        (["train"], "name a surrogate and a set"),
        (["train", "seq2seq", ".", "--out", "x"], "holds no set of sheets"),
        (["train", "seq2seq", ".", "--score-on", "there", "--out", "x"], "there: holds no set of sheets"),
        (["card", "nothing"], "no such weights"),
        (["evaluate", ".", "--out", "x"], "holds no set of sheets"),
        (["predict", "nothing", ".", "--out", "x"], "no such weights"),
    ],
)
def test_mistakes(einthoven, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = einthoven("surrogate", *words)
    assert failed.code == 2
    assert said in failed.err
    assert "Traceback" not in failed.err


def test_lists(einthoven):
    assert "published-200mm" in einthoven("surrogate", "generate", "--list").out
    assert "neural-eikonal" in einthoven("surrogate", "train", "--list").out
    assert "[[condition]]" in einthoven("surrogate", "generate", "sheets-64mm", "--show").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["surrogate"], "name a study file or a ready-made study"),
        (["surrogate", "surrogate-smoke"], "give a folder for the results, for example --out out/bench"),
        (["surrogate", "nothing", "--out", "x"], "nothing: no such study"),
        (
            ["surrogate", "surrogate-smoke", "--out", "x", "--workers", "2", "--scheduler", "tcp://a:1"],
            "give --workers, or --scheduler, whose workers compute; not both",
        ),
        (["forward"], "name a study file or a ready-made study; `einthoven bench forward --list`"),
        (["forward", "forward-smoke"], "give a folder for the results, for example --out out/bench"),
        (
            ["forward", "inverse-core", "--out", "x"],
            "inverse-core: no such study; give a TOML file, or one of: forward-",
        ),
        (["inverse", "inverse-smoke", "--out", "x", "--scheduler", "here"], "here: is no address of a scheduler"),
    ],
)
def test_mistakes_of_comparisons(einthoven, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed = einthoven("bench", *words)
    assert failed.code == 2
    assert said in failed.err
    assert "Traceback" not in failed.err


def test_ready_made_comparisons_are_listed(einthoven):
    assert "seq2seq-ablations" in einthoven("bench", "surrogate", "--list").out
    operators = einthoven("bench", "forward", "--list").out
    assert "forward-spheres" in operators
    assert "operators: transfer, double layer, envelope" in operators
    methods = einthoven("bench", "inverse", "--list").out
    assert "heart shift (mm)" in methods
    assert "robustness" in methods
    assert "[[block]]" in einthoven("bench", "surrogate", "surrogate-smoke", "--show").out


def test_operators_are_compared(einthoven, tmp_path):
    study = tmp_path / "mine.toml"
    study.write_text('title = "two balls"\n[[block]]\ncases = ["spheres"]\nlevels = [0, 1]\ndegrees = [1]')
    first = einthoven("bench", "forward", study, "--out", tmp_path / "out")
    assert first.code == 0
    assert "two balls" in first.out
    assert "report.html" in first.out
    again = einthoven("bench", "forward", study, "--out", tmp_path / "out", "--json", "--no-page")
    assert [line["level"] for line in json.loads(again.out)] == [0, 1]
    assert not (tmp_path / "out" / "report.html").exists()
