"""``einthoven simulate``: what it prints and writes, one line per mistake, and going on after an interruption."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from einthoven.ionic.registry import MODELS
from einthoven.studies import simulation as study_module
from einthoven.studies.simulation_config import ready_studies, study_text

pytestmark = pytest.mark.usefixtures("ctrl_c")

STUDY = """\
name = "small"
title = "A small sheet"

[tissue]
kind = "sheet"
size = [12.0, 6.0]
spacing = 0.5
diffusivity = 0.4

[model]
name = "aliev-panfilov-1996"

[[protocol.stimuli]]
region = { kind = "box", low = [0.0], high = [2.0] }

[time]
t_end = 60.0
dt = 0.05

[keep]
movie = { every = 5.0 }
probes = { points = { middle = [6.0, 3.0] } }

[ecg]
positions = { above = [6.0, 3.0, 8.0] }
"""


@pytest.fixture
def study(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return path


def test_a_study_is_run_told_and_not_run_twice(einthoven, study, tmp_path):
    out = tmp_path / "out"
    outcome = einthoven("simulate", study, "--out", out)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert re.fullmatch(
        r"small: 288 cells x 1,200 steps; about \d+ MB of memory and .* of stepping at .* million cell-steps/s"
        r"(; other .*)?",
        lines[0],
    )
    assert lines[1].split()[:3] == ["cells", "activated", "TAT"]
    assert lines[-1] == f"page: {out / 'report.html'}"
    assert "</html>" in (out / "report.html").read_text()
    row = json.loads((out / "metrics.json").read_text())
    assert row["activated"] == 1.0
    again = einthoven("simulate", study, "--out", out)
    assert f"{out} holds this study already, complete" in again.out
    assert "steps; about" not in again.out
    fresh = einthoven("simulate", study, "--out", out, "--fresh", "--no-page")
    assert "steps; about" in fresh.out
    assert fresh.out.splitlines()[-1] == f"results: {out}"


def test_json_is_the_metrics_and_nothing_else(einthoven, study, tmp_path):
    outcome = einthoven("simulate", study, "--out", tmp_path / "out", "--json", "--no-page")
    assert json.loads(outcome.out) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_sweep_is_a_table(einthoven, study, tmp_path):
    study.write_text(STUDY + '\n[sweep]\n"tissue.diffusivity" = [0.3, 0.4]\n')
    outcome = einthoven("simulate", study, "--out", tmp_path / "out", "--no-page")
    assert outcome.code == 0, outcome.err
    assert "2 runs of 288 cells" in outcome.out
    assert outcome.out.splitlines()[1].split()[:2] == ["run", "tissue.diffusivity"]
    rows = json.loads(einthoven("simulate", study, "--out", tmp_path / "out", "--json").out)
    assert [row["tissue.diffusivity"] for row in rows] == [0.3, 0.4]
    assert rows[0]["cv_mm_per_ms"] < rows[1]["cv_mm_per_ms"]
    assert (tmp_path / "out" / "report.html").exists()


def test_ready_made_studies_and_models_are_listed(einthoven):
    told = einthoven("simulate", "--list").out
    for name, title in ready_studies().items():
        assert re.search(rf"^  {name} +{re.escape(title)}$", told, re.MULTILINE)
    for name in MODELS:
        assert f"  {name}\n" in told
    listed = json.loads(einthoven("simulate", "--list", "--json").out)
    assert listed == {"studies": ready_studies(), "models": list(MODELS)}


def test_a_study_is_shown_to_start_from(einthoven, tmp_path):
    shown = einthoven("simulate", "fibrotic-sheet", "--show").out
    assert shown == study_text("fibrotic-sheet")
    assert tomllib.loads(shown)["name"] == "fibrotic-sheet"


def test_a_check_costs_nothing(einthoven, study, tmp_path):
    outcome = einthoven("simulate", study, "--check")
    assert "24 x 12 grid of 0.5 mm" in outcome.out
    assert "288 cells x 1,200 steps" in outcome.out
    facts = json.loads(einthoven("simulate", study, "--check", "--json").out)
    assert (facts["cells"], facts["steps"], facts["runs"]) == (288, 1200, 1)
    assert list(tmp_path.iterdir()) == [study]


BROKEN = [
    ("spacing = 0.5", "spacing = -1", r"tissue\.spacing: must be positive; got -1 \("),
    ("spacing = 0.5", "spcing = 0.5", r"tissue\.spcing: unknown field \(did you mean 'spacing'\?\)"),
    ("[tissue]", "[tissue", r"small\.toml, line 4.*is not valid TOML"),
    ("dt = 0.05", "dt = 0.5", r"time: dt must be at most 0\.1562 ms, .*got 0\.5 ms.*semi-implicit"),
    (
        "low = [0.0], high = [2.0]",
        "low = [90.0], high = [95.0]",
        r"error: protocol\.stimuli\[0\]: Box.*no conducting node",
    ),
    ("t_end = 60.0", 't_end = "long"', r"time\.t_end: must be a number; got 'long'"),
    ("diffusivity = 0.4", "diffusivity = inf", r"tissue\.diffusivity: must be finite; got inf"),
    ("size = [12.0, 6.0]", "size = [120000.0, 60000.0]", r"tissue: 2\.88e\+10 cells need at least .* GB of memory"),
    (
        "[model]",
        '[[tissue.fibrosis]]\nkind = "diffuse"\ndensity = 0.9999\n[model]',
        r"tissue\.fibrosis\[0\]: all 288 cells would be taken out",
    ),
    ("[model]", '[[tissue.fibrosis]]\nkind = "diffuse"\ndensity = 1.0\n[model]', r"density: must be below 1; got 1"),
    (
        "[model]",
        '[[tissue.fibrosis]]\nkind = "diffuse"\ndensity = 0.99\n'
        'region = { kind = "box", low = [6.0], high = [6.5] }\n[model]',
        r"protocol: no stimulus reaches 132 of 276 cells",
    ),
    ('name = "aliev', 'parameters = { k = nan }\nname = "aliev', r"model\.parameters\.k: must be finite; got nan"),
    ('name = "aliev-panfilov-1996"', 'name = "aliev"', r"unknown membrane model 'aliev'.*Did you mean aliev-panfilov"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN, ids=[new.split("\n")[0][:30] for _, new, _ in BROKEN])
def test_a_broken_study_is_refused_in_one_line(einthoven, study, tmp_path, old, new, message):
    assert old in STUDY
    study.write_text(STUDY.replace(old, new))
    outcome = einthoven("simulate", study, "--out", tmp_path / "out")
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err
    assert "small.toml" in outcome.err
    assert "internal error" not in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["helthy-sheet", "--out", "x"], r"no such study.*did you mean 'healthy-sheet'"),
        (["nowhere.toml", "--out", "x"], r"nowhere\.toml: cannot be read: No such file"),
        (["healthy-sheet"], r"give a folder for the results: --out out/healthy-sheet"),
        ([], r"name a study file or a ready-made study"),
        (["healthy-sheet", "--out", ""], r"--out must name a folder"),
        (["healthy-sheet", "--out", "x", "--workers", "0"], r"workers"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(einthoven, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    outcome = einthoven("simulate", *words)
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err
    assert not list(tmp_path.iterdir())


def test_an_interruption_says_where_it_stopped_and_how_to_go_on(einthoven, study, tmp_path, monkeypatch):
    def stop(prepared, store, progress, *, fresh):
        progress("simulating", 300, 1200)
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "_simulated", stop)
    outcome = einthoven("simulate", study, "--out", tmp_path / "out")
    assert outcome.code == 130
    told = "interrupted at 15 of 60 ms; run the same command again to go on from there, or with --fresh to start over."
    assert outcome.err == f"error: {told}\n"


#: Looks follow each other for 400 ms, a beat.
BEAT = STUDY.replace("t_end = 60.0", "t_end = 400.0").replace("every = 5.0", "every = 50.0")
#: The command with a checkpoint after every tenth of a second, slow enough to be stopped long before its end.
SLOWLY = """
import time
from einthoven.cli import main
from einthoven.simulate import engine, run
run.CHECKPOINT_SECONDS = 0.1
advance = engine.Engine.advance
def slow(self, *given):
    time.sleep(0.01)
    advance(self, *given)
engine.Engine.advance = slow
main.run()
"""


@pytest.mark.slow
def test_a_real_ctrl_c_is_gone_on_from(einthoven, study, tmp_path):
    """The command in a process of its own, interrupted while it steps."""
    study.write_text(BEAT)
    out = tmp_path / "out"
    words = ["simulate", str(study), "--out", str(out), "--no-page"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "8,000 steps" in process.stdout.readline()
    checkpoint = out / ".unfinished" / "results.checkpoint.npz"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "run the same command again to go on" in err
    assert checkpoint.exists()
    assert not (out / "metrics.json").exists()
    assert einthoven(*words).code == 0
    assert tomllib.loads((out / "run.toml").read_text())["resumed_at_ms"] > 0


def refused(outcome, message: str) -> None:
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err), outcome.err


def test_a_folder_of_another_study_is_refused(einthoven, study, tmp_path):
    out = tmp_path / "out"
    assert einthoven("simulate", study, "--out", out, "--no-page").code == 0
    before = (out / "metrics.json").read_bytes()
    study.write_text(STUDY.replace('name = "small"', 'name = "other"').replace("0.4", "0.3"))
    refused(einthoven("simulate", study, "--out", out), r"holds the study 'small'; choose another --out, or .*--fresh")
    assert (out / "metrics.json").read_bytes() == before
    assert einthoven("simulate", study, "--out", out, "--fresh", "--no-page").code == 0


def test_out_below_a_file_is_refused(einthoven, study, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(einthoven("simulate", study, "--out", tmp_path / "file" / "x"), r"Not a directory.*Choose another --out")


def stored_bytes(out: Path) -> dict[str, bytes]:
    """Every chunk of the results."""
    root = out / "results.zarr"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "zarr.json"}


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(einthoven, study, tmp_path):
    study.write_text(BEAT)
    words = ["simulate", str(study), "--no-page", "--out"]
    checkpoint = tmp_path / "killed" / ".unfinished" / "results.checkpoint.npz"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, *words, str(tmp_path / "killed")], stdout=subprocess.PIPE)
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    # other settings are refused, and nothing is lost
    study.write_text(study.read_text().replace("diffusivity = 0.4", "diffusivity = 0.3"))
    refused(einthoven(*words, tmp_path / "killed"), r"unfinished run of other settings.*start over with --fresh")
    study.write_text(study.read_text().replace("diffusivity = 0.3", "diffusivity = 0.4"))
    assert einthoven(*words, tmp_path / "killed").code == 0
    assert tomllib.loads((tmp_path / "killed" / "run.toml").read_text())["resumed_at_ms"] > 0
    assert einthoven(*words, tmp_path / "whole").code == 0
    assert stored_bytes(tmp_path / "killed") == stored_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_a_full_disk(einthoven, study, tmp_path):
    study.write_text(BEAT)
    words = ["simulate", str(study), "--no-page", "--out", str(tmp_path / "out")]
    assert einthoven("simulate", study, "--check").code == 0  # compiled: what is limited is the results
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
    limited = subprocess.run([sys.executable, "-c", limit + SLOWLY, *words], capture_output=True, text=True)
    assert limited.returncode == 2, limited.stderr
    assert len(limited.stderr.strip().splitlines()) == 1
    assert "File too large" in limited.stderr
    assert "Make room and run again" in limited.stderr
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert einthoven(*words).code == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["activated"] == 1.0


def test_a_full_disk_is_one_line(einthoven, study, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device", str(tmp_path / "out" / "x"))

    monkeypatch.setattr(study_module, "_simulated", full)
    outcome = einthoven("simulate", study, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert "No space left on device" in outcome.err
    assert "Make room and run again" in outcome.err
