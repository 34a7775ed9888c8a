"""``einthoven fit``: what it prints and writes, and every mistake in one line."""

import csv
import json
import math
import re
import tomllib

import pytest

from einthoven.core import InputError
from einthoven.studies import fitting
from einthoven.studies.settings import FitSettings

OPTIONS = [
    (["--speeds", "fast"], r"--speeds must be numbers separated by commas; got 'fast'"),
    (["--speeds", "0.6"], r"speeds\.1"),
    (["--speeds", "0.6,20"], r"speeds\.1: .*less than or equal to 5; got 20"),
    (["--speeds", "0.6,nan"], r"speeds\.1: .*finite"),
    (["--step", "0.7"], r"step-ms: .*multiple of 0\.5; got 0\.7"),
    (["--spacing", "0"], r"spacing: .*greater than 0"),
    (["--noise", "0"], r"noise-mv: .*greater than 0"),
    (["--sites", "21"], r"sites: .*less than or equal to 20"),
    (["--starts", "0"], r"starts: .*greater than or equal to 1"),
    (["--pose-mm", "-1"], r"pose-mm: .*greater than or equal to 0"),
    (["--window", "80"], r"--window must be START:STOP"),
    (["--window", "8000:9000"], r"window .*8000"),
    (["--leads", ""], r"leads: .*at least 1"),
    (["--leads", "E1,E2,E999"], r"no site named E999"),
    (["--exclude", "E999"], r"cannot exclude E999"),
    (["--reference", "wilson"], r"RA"),
    (["--window", "10:10.5"], r"the window holds 1 frames? of 2 ms"),
    (["--step", "2"], r"no QRS complex was found in the leads; say where it is: --window START:STOP"),
    (["--spacing", "6", "--window", "10:70"], r"heart: a wall of 10 mm needs a spacing of 5 mm or less; got 6"),
    (["--nonsense"], r"nonsense"),
]


#: A fit that is quick: one site in a coarse wall, the geometry taken as exact.
WORDS = "--window 10:70 --step 4 --spacing 5 --starts 1 --sites 1 --pose-mm 0 --pose-deg 0 --electrode-mm 0"
QUICK = tuple(WORDS.split())


@pytest.fixture(scope="module")
def once():
    """Waves are fitted once for all tests with the same settings."""
    real, done = fitting.fit_case, {}

    def fit_case(case, settings, **rest):
        if settings not in done:
            done[settings] = real(case, settings, **rest)
        return done[settings]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit_case", fit_case)
        yield


@pytest.fixture
def fitted(einthoven, handmade, once, tmp_path):
    """The folder of a quick fit, and what was printed."""
    outcome = einthoven("fit", handmade, "--out", tmp_path / "out", *QUICK)
    assert outcome.code == 0, outcome.err
    return tmp_path / "out", outcome.out


@pytest.mark.long
def test_fit_writes_and_prints_what_it_promises(fitted):
    out, printed = fitted
    for words in ("misfit", "onset ms", "Conduction velocity: wall ", "activation times are uncertain by"):
        assert words in printed
    assert "a wall of 10 mm was made" in printed  # what was assumed
    assert printed.strip().endswith(f"page: {out / 'report.html'}")
    names = (
        "metrics.json metrics.csv sites.csv numbers.csv activation.csv fit.zarr activation.zarr run.toml report.html"
    )
    assert {path.name for path in out.iterdir()} == set(names.split())  # no checkpoint, nothing partial
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_leads"] == 81
    assert len(metrics["sites"]) == metrics["n_sites"] == 1
    assert metrics["misfit"] < 0.3
    rows = list(csv.DictReader((out / "sites.csv").read_text().splitlines()))
    assert float(rows[0]["territory_percent"]) == 100
    assert "</html>" in (out / "report.html").read_text()


def test_the_wave_begins_at_the_apex_where_it_does(fitted):
    (site,) = json.loads((fitted[0] / "metrics.json").read_text())["sites"]
    apex = (25.0, -30.0, -35.0)  # of examples/handmade_case.py
    assert math.dist([site[f"{axis}_mm"] for axis in "xyz"], apex) < 15


def test_the_settings_of_a_run_can_be_used_again(fitted):
    settings = FitSettings(**tomllib.loads((fitted[0] / "run.toml").read_text())["settings"])
    assert (settings.window_ms, settings.sites, settings.step_ms, settings.pose_mm) == ((10.0, 70.0), 1, 4.0, 0.0)


def test_json_is_the_metrics_and_nothing_else(einthoven, handmade, once, tmp_path):
    outcome = einthoven("fit", handmade, "--out", tmp_path / "out", *QUICK, "--json", "--no-page")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(("words", "message"), OPTIONS, ids=[" ".join(w) for w, _ in OPTIONS])
def test_a_wrong_option_is_refused_in_one_line(einthoven, handmade, tmp_path, words, message):
    outcome = einthoven("fit", handmade, "--out", tmp_path / "out", *words)
    assert outcome.code == 2, outcome
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(message, outcome.err, re.IGNORECASE), outcome.err
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_an_unknown_case_lists_what_there_is(einthoven, tmp_path):
    outcome = einthoven("fit", "phantmo", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "phantom" in outcome.err
    assert "utah-cage-tank" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_case_without_a_recording_has_nothing_to_fit(einthoven, case, tmp_path):
    text = (case / "case.toml").read_text()
    start, stop = text.index("[recording]"), text.index("[info]")
    (case / "case.toml").write_text(text[:start] + text[stop:])
    outcome = einthoven("fit", case, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert "no body-surface recording" in outcome.err


def test_out_must_not_be_a_file_and_that_is_said_before_the_work(einthoven, handmade, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("mine")
    monkeypatch.setattr("einthoven.studies.fitting.fit_case", lambda *_, **__: pytest.fail("worked first"))
    outcome = einthoven("fit", handmade, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "must be a folder" in outcome.err


def test_interrupted_says_how_to_go_on(einthoven, handmade, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("einthoven.studies.fitting.fit_case", stopped)
    outcome = einthoven("fit", handmade, "--out", tmp_path / "out")
    assert outcome.code == 130
    assert "run the same command again" in outcome.err


def test_defaults_of_the_command_are_those_of_the_settings(einthoven, handmade, tmp_path, monkeypatch):
    seen = []

    def noted(_case, settings, **_):
        seen.append(settings)
        raise InputError("far enough")

    monkeypatch.setattr("einthoven.studies.fitting.fit_case", noted)
    einthoven("fit", handmade, "--out", tmp_path / "out")
    assert seen == [FitSettings()]
    words = "--window 0:90 --leads E1,E2 --exclude E3 --reference average --step 1 --spacing 3 --wall 8 --layer 0 "
    words += "--speeds 0.5,2 --noise 0.1 --sites 2 --most-sites 4 --starts 3 --seed 7 "
    words += "--pose-mm 1 --pose-deg 2 --electrode-mm 0"
    einthoven("fit", handmade, "--out", tmp_path / "out", *words.split())
    assert seen[1] == FitSettings(
        window_ms=(0, 90),
        leads=("E1", "E2"),
        exclude=("E3",),
        reference="average",
        step_ms=1,
        spacing=3,
        wall=8,
        layer=0,
        speeds=(0.5, 2),
        noise_mv=0.1,
        sites=2,
        most_sites=4,
        starts=3,
        seed=7,
        pose_mm=1,
        pose_deg=2,
        electrode_mm=0,
    )
