"""``einthoven image`` with cell physics: options, what is printed, mistakes, Ctrl-C and going on."""

import json
import re
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from einthoven.cli import console
from einthoven.cli.image import gate_line, summary
from einthoven.studies.imaging import image_case
from imaging_cases import short, wave_case
from physics_cases import SIGMA

FORCED = ("--extracellular", "--sigma", SIGMA, "--no-page")


@pytest.fixture
def sphere_wave(monkeypatch):
    """The wave on a sphere under a name: as a file its 100 mV on the skin would be refused."""
    monkeypatch.setattr("einthoven.studies.ready.open_case", lambda *_, **__: wave_case())
    return "sphere-wave"


def stop_at(monkeypatch, text):
    """Press Ctrl-C at the first report of a step that starts so."""

    def report(step, done, total):
        if step.startswith(text):
            raise KeyboardInterrupt

    def stopped(*words, **more):
        return image_case(*words, **{**more, "progress": report})

    monkeypatch.setattr("einthoven.studies.imaging.image_case", stopped)


@pytest.mark.long
def test_verdicts_files_and_settings(einthoven, sphere_wave, tmp_path):
    out = tmp_path / "out"
    methods = f"tikhonov2,{short(tmp_path, 'good')},{short(tmp_path, 'hasty')}"
    outcome = einthoven("image", sphere_wave, "--method", methods, *FORCED, "--diffusivity", 4.5, "--out", out)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 140
    assert re.search(r"residual +chi2 +seconds", lines[1])
    assert "good: accepted, chi2 is" in outcome.out
    refused = next(line for line in lines if line.startswith("hasty: "))
    assert re.fullmatch(r"hasty: not accepted, .*; it fell back on stre, rgcv\.", refused)
    assert {"training.csv", "metrics.json", "run.toml"} <= {entry.name for entry in out.iterdir()}
    run = tomllib.loads((out / "run.toml").read_text())["settings"]
    assert (run["extracellular"], run["diffusivity"], run["gate"]) == (True, 4.5, True)
    rows = json.loads((out / "metrics.json").read_text())
    assert rows[1]["diffusivity"] == 4.5
    assert [row.get("accepted") for row in rows] == [None, True, False]


def test_no_gate_and_another_membrane(einthoven, sphere_wave, tmp_path):
    words = ("--method", short(tmp_path, "hasty"), *FORCED, "--no-gate", "--json", "--out", tmp_path / "out")
    outcome = einthoven("image", sphere_wave, *words, "--membrane", "mitchell-schaeffer", "--diffusivity", 15)
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["rule"] == "annealed"
    assert told["verdict"].startswith("gate switched off; ")
    assert tomllib.loads((tmp_path / "out" / "run.toml").read_text())["settings"]["membrane"] == "mitchell-schaeffer"


@pytest.mark.long
def test_ctrl_c_writes_the_best_and_the_same_command_goes_on(einthoven, sphere_wave, tmp_path, monkeypatch):
    out = tmp_path / "not" / "there"
    words = ("image", sphere_wave, "--method", f"{short(tmp_path, 'good')},p-dl", *FORCED, "--out", out)
    with monkeypatch.context() as patch:
        stop_at(patch, "good: J")
        outcome = einthoven(*words)
    assert outcome.code == 130
    assert outcome.err == (
        "error: interrupted; the best so far of good was written, not run: p-dl; run the same command again to go on.\n"
    )
    row = json.loads((out / "metrics.json").read_text())
    assert (row["method"], row["interrupted"], row["steps"]) == ("good", True, 25.0)
    assert (out / ".good.checkpoint.npz").is_file()
    outcome = einthoven(*words[:3], short(tmp_path, "good"), *FORCED, "--out", out)
    assert outcome.code == 0, outcome.err
    row = json.loads((out / "metrics.json").read_text())
    assert (row["interrupted"], row["steps"]) == (False, 200.0)
    assert not (out / ".good.checkpoint.npz").exists()


def test_ctrl_c_before_anything_is_done_writes_nothing(einthoven, sphere_wave, tmp_path, monkeypatch):
    stop_at(monkeypatch, "imaging")
    outcome = einthoven("image", sphere_wave, "--method", "weak-4dvar", *FORCED, "--out", tmp_path / "out")
    assert outcome.code == 130
    assert not (tmp_path / "out").exists()


BROKEN = {
    "broken": 'solver "weak-4dvar"\n',
    "strange": 'solver = "weak-4dvra"\n',
    "field": 'solver = "weak-4dvar"\n[schedule]\nstepps = 3\n',
}
MISTAKES = [
    (["--method", "weak-4dvar"], r"weak-4dvar: .*extracellular.*--extracellular forces it"),
    (["--method", "weak-4dvra"], r"unknown method 'weak-4dvra'.*Did you mean weak-4dvar"),
    (["--method", "nowhere.toml"], r"nowhere\.toml.*give a TOML file, or one of"),
    (["--method", "FOLDER/broken.toml"], r"broken\.toml: .*line 1"),
    (["--method", "FOLDER/strange.toml"], r"strange\.toml: .*solver \(one of .*got 'weak-4dvra'"),
    (["--method", "FOLDER/field.toml"], r"field\.toml: \[schedule\] may hold steps.*stepps"),
    (["--method", "weak-4dvar", "--extracellular", "--membrane", "fox"], r"membrane.*aliev-panfilov.*got 'fox'"),
    (["--method", "weak-4dvar", "--extracellular", "--diffusivity", "-1"], r"diffusivity.*greater than 0"),
    (["--method", "weak-4dvar", "--extracellular", "--error-bars", "all"], r"error-bars.*'none' or 'laplace'"),
    (["--method", "weak-4dvar", "--extracellular", "--diffusivity", "0.1"], r"weak-4dvar: .*too coarse"),
    (["--method", "weak-4dvar", "--extracellular", "--window", "4:16"], r"weak-4dvar: .*at least 5 frames.*got 4"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(w) for w, _ in MISTAKES])
def test_mistakes_are_one_line(einthoven, sphere_wave, tmp_path, words, message):
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.toml").write_text(text)
    words = [word.replace("FOLDER", str(tmp_path)) for word in words]
    outcome = einthoven("image", sphere_wave, "--sigma", SIGMA, "--out", tmp_path / "out", *words)
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err
    assert not (tmp_path / "out").exists()


def test_data_without_a_wave_are_told(einthoven, monkeypatch, tmp_path):
    case = wave_case()
    quiet = replace(case, recording=case.recording.with_values(1e-3 * case.recording.values))
    monkeypatch.setattr("einthoven.studies.ready.open_case", lambda *_, **__: quiet)
    words = ("--method", "weak-4dvar", "--extracellular", "--sigma", 1e-3 * SIGMA)
    outcome = einthoven("image", "quiet", *words, "--out", tmp_path / "out", "--no-page")
    assert outcome.code == 0
    told = (
        r"weak-4dvar: not accepted, .*shows a front at .* give `diffusivity` \(mm2/ms\); it fell back on stre, rgcv\."
    )
    assert re.search(told, outcome.out), outcome.out
    outcome = einthoven("image", "quiet", *words, "--out", tmp_path / "forced", "--no-gate")
    assert outcome.code == 2
    assert re.search(r"weak-4dvar: .*shows a front at .* give `diffusivity`", outcome.err), outcome.err
    assert not (tmp_path / "forced").exists()


def test_out_that_is_a_file_is_told_before_the_work(einthoven, sphere_wave, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("mine")
    monkeypatch.setattr("einthoven.studies.imaging.image_case", lambda *_, **__: pytest.fail("work was done"))
    outcome = einthoven("image", sphere_wave, "--method", "weak-4dvar", *FORCED, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "must be a folder" in outcome.err


def test_what_is_said_of_weights_and_gates():
    classical = {"method": "tikhonov2", "rule": "lcurve", "sees_truth": False, "reference": "absolute"}
    physics = {"method": "strong", "rule": "bic", "sees_truth": False, "accepted": True, "verdict": "chi2 is 1.000"}
    assert summary([physics, classical]).startswith("No truth to compare with. Weights chosen by lcurve from the")
    assert "lcurve" not in summary([physics])
    assert gate_line({**physics, "verdict": "gate switched off; tau"}) == "strong: gate switched off; tau."
    assert gate_line(physics) == "strong: accepted, chi2 is 1.000."


def test_progress_shows_the_remark_beside_its_bar(monkeypatch):
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=100, stderr=True))
    with console.progress(quiet=False) as advance:
        advance("weak-4dvar: J 12.5, chi2 1.234", 50, 200)
        advance("weak-4dvar: J 2.5, chi2 0.981", 200, 200)
        advance("strong, 1 focus: fit", 3, 40)
    shown = screen.getvalue()
    assert "weak-4dvar: J 2.5, chi2 0.981" in shown
    assert "200/200" in shown
    assert np.char.count(shown, "strong, 1 focus: fit").item() >= 1
