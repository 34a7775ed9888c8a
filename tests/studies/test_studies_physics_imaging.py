"""Imaging with cell physics as a study: beside classical methods, gate, error bars, interruption, files."""

import csv
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import InputError, Recording
from einthoven.inverse.physics.gate import Gate, Verdict
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.spread import Spread
from einthoven.inverse.physics.training import History
from einthoven.io.zarr_store import load_zarr
from einthoven.studies.imaging import checked_methods, image_case
from einthoven.studies.output import foci_rows, training_rows, write_imaging
from einthoven.studies.results import PhysicsImaging
from einthoven.studies.settings import ImagingSettings
from imaging_cases import short, wave_case
from physics_cases import SIGMA


def settings(*methods: str, **more) -> ImagingSettings:
    return ImagingSettings(methods=methods, rule="rgcv", sigma_mv=SIGMA, extracellular=True, **more)


def replace_settings(told: ImagingSettings, **more) -> ImagingSettings:
    return told.model_copy(update=more)


class Stop:
    """Presses Ctrl-C at the first report of a step whose name holds a text."""

    def __init__(self, text: str):
        self.text = text

    def __call__(self, step: str, done: int, total: int) -> None:
        if self.text in step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A classical method, an image that is accepted, with error bars, and one that is not."""
    folder = tmp_path_factory.mktemp("both")
    methods = ("stre", short(folder, "good"), short(folder, "hasty"))
    return image_case(wave_case(), settings(*methods, error_bars="laplace"), folder=folder / "out")


@pytest.mark.long
def test_an_accepted_image_is_the_solvers_and_better(both):
    stre, good, _ = both.images
    assert stre.physics is None
    assert good.metrics["accepted"] is True
    assert (good.metrics["method"], good.metrics["rule"]) == ("good", "annealed")
    assert good.metrics["verdict"].startswith("chi2 is ")
    assert good.metrics["interrupted"] is False
    assert good.metrics["relative_error"] < 0.75 * stre.metrics["relative_error"]
    assert good.reconstruction is not None
    assert np.array_equal(good.reconstruction.estimate.values, good.physics.image.reconstruction.estimate.values)


@pytest.mark.long
def test_a_fallback_is_named_and_is_the_classical_answer(both):
    stre, _, hasty = both.images
    assert hasty.metrics["accepted"] is False
    assert hasty.metrics["rule"] == "fell back on stre, rgcv"
    np.testing.assert_allclose(hasty.reconstruction.estimate.values, stre.reconstruction.estimate.values, rtol=1e-9)
    assert hasty.physics.spread is None


def test_where_no_front_is_seen_the_other_methods_are_not_lost():
    """Potentials of a few mV, as outside of cells."""
    case = wave_case()
    faint = replace(case, recording=case.recording.with_values(0.02 * case.recording.values))
    told = replace_settings(settings("stre", "weak-4dvar"), sigma_mv=0.02 * SIGMA)
    result = image_case(faint, told)
    stre, weak = result.images
    assert weak.metrics["accepted"] is False
    assert "front at 0 of" in weak.metrics["verdict"]
    assert (weak.physics.image, weak.physics.history, weak.physics.foci, weak.physics.spread) == (None, None, (), None)
    np.testing.assert_allclose(weak.reconstruction.estimate.values, stre.reconstruction.estimate.values, rtol=1e-9)


@pytest.mark.long
def test_a_prior_without_physics_needs_no_force_and_no_gate():
    free = replace_settings(settings("network-prior"), extracellular=False)
    (image,) = image_case(wave_case(), free).images
    assert image.metrics["accepted"] is True
    assert image.metrics["verdict"].startswith("gate not needed, no physics of cells; chi2 is ")
    assert image.physics.gate is None
    assert "diffusivity" not in image.reconstruction.diagnostics


@pytest.mark.long
def test_an_image_without_a_wave_has_no_activation(tmp_path):
    """Forced cell physics can find none within the recording."""
    case = wave_case()
    faint = replace(case, recording=case.recording.with_values(1e-4 * case.recording.values))
    told = replace_settings(settings("tikhonov2", "strong", gate=False), diffusivity=4.0)
    result = image_case(faint, told)
    classical, strong = result.images
    assert classical.activation is not None
    assert strong.activation is None
    assert not any(name.startswith("activation_error") for name in strong.metrics)
    write_imaging(result, tmp_path / "out", page=None)


def test_without_the_gate_the_image_stays(tmp_path):
    result = image_case(wave_case(), settings(short(tmp_path, "hasty"), gate=False))
    metrics = result.images[0].metrics
    assert (metrics["rule"], metrics["accepted"]) == ("annealed", True)
    assert metrics["verdict"].startswith("gate switched off; the physics was given little weight")
    assert result.images[0].physics.gate is None


def test_files_hold_training_spread_and_configuration(both, tmp_path):
    write_imaging(both, tmp_path, page=None)
    with (tmp_path / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["good"] * 200 + ["hasty"] * 3
    assert list(rows[0]) == ["method", "step", "cost", "chi2", "physics_rms", "tolerance"]
    history = both.images[1].physics.image.history
    assert [float(rows[199][k]) for k in ("cost", "tolerance")] == pytest.approx(
        [history.cost[-1], history.tolerance[-1]], rel=1e-5
    )
    spread = load_zarr(tmp_path / "reconstruction.zarr")["good spread"]
    np.testing.assert_allclose(spread.values, both.images[1].physics.spread.potential.values)
    with (tmp_path / "activation.csv").open() as file:
        first = next(csv.DictReader(file))
    assert {"good_ms", "good_spread_ms"} < set(first)
    assert "hasty_spread_ms" not in first
    run = tomllib.loads((tmp_path / "run.toml").read_text())
    assert run["settings"]["error_bars"] == "laplace"
    assert run["settings"]["membrane"] == "aliev-panfilov"
    assert tomllib.loads(run["configurations"]["hasty"])["schedule"]["steps"] == 3


def test_a_classical_rerun_removes_the_files_of_trainings(both, tmp_path):
    write_imaging(both, tmp_path, page=None)
    write_imaging(replace(both, images=both.images[:1]), tmp_path, page=None)
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"metrics.json", "metrics.csv", "reconstruction.zarr", "activation.csv", "run.toml"}


@pytest.mark.long
def test_an_interrupted_training_is_written_and_goes_on(tmp_path):
    out = tmp_path / "out"
    asked = settings("tikhonov2", short(tmp_path, "good"), "strong")
    stopped = image_case(wave_case(), asked, folder=out, progress=Stop("good: J"))
    assert stopped.interrupted
    assert stopped.not_run == ("strong",)
    assert [image.metrics["method"] for image in stopped.images] == ["tikhonov2", "good"]
    assert stopped.images[1].metrics["interrupted"] is True
    assert stopped.images[1].metrics["verdict"].startswith("interrupted after 25 steps; ")
    assert (out / ".good.checkpoint.npz").is_file()
    write_imaging(stopped, out, page=None)
    assert json.loads((out / "metrics.json").read_text())[1]["interrupted"] is True
    assert (out / ".good.checkpoint.npz").is_file()
    steps = []
    again = image_case(
        wave_case(), settings(short(tmp_path, "good")), folder=out, progress=lambda s, d, n: steps.append((s, d))
    )
    assert min(done for step, done in steps if step.startswith("good: J")) == 50
    assert not again.interrupted
    assert not (out / ".good.checkpoint.npz").exists()
    whole = image_case(wave_case(), settings(short(tmp_path, "good")))
    assert again.images[0].metrics["chi2"] == whole.images[0].metrics["chi2"]


@pytest.mark.parametrize("method", ["strong+weak", "weak-4dvar"])
def test_ctrl_c_while_the_start_is_sought_ends_the_method(method):
    # the search of `strong` keeps its best on Ctrl-C; a training must not go on from it
    with pytest.raises(KeyboardInterrupt):
        image_case(wave_case(), settings(method, reference="average"), progress=Stop("1 focus: fit"))
    stopped = image_case(wave_case(), settings("tikhonov2", method, reference="average"), progress=Stop("1 focus: fit"))
    assert stopped.not_run == (method,)


def test_ctrl_c_during_error_bars_keeps_the_image(tmp_path):
    asked = settings(short(tmp_path, "hasty"), gate=False, error_bars="laplace")
    stopped = image_case(wave_case(), asked, progress=Stop("error bars"))
    image = stopped.images[0]
    assert stopped.interrupted
    assert image.metrics["interrupted"] is True
    assert image.physics.spread is None


def test_two_methods_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    methods = short(tmp_path, "good"), short(tmp_path / "other", "good")
    with pytest.raises(InputError, match="two methods are called 'good'"):
        checked_methods(settings(*methods))


def test_extracellular_potentials_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("einthoven.studies.imaging.build_operator", lambda *_, **__: pytest.fail("work was done"))
    asked = ImagingSettings(methods=("tikhonov2", "weak-4dvar"))
    with pytest.raises(InputError, match=r"weak-4dvar: .*extracellular.*--quantity vm.*--extracellular forces it"):
        image_case(wave_case(), asked)


def test_activation_spread_is_over_the_samples_that_show_a_front():
    times = np.array([[1.0, 5.0, np.nan, np.nan], [3.0, 5.0, 7.0, np.nan]])
    spread = Spread(Recording(np.ones((4, 2)), np.arange(2.0), tuple("abcd"), "hsp"), times, "laplace")
    image = PhysicsImaging(object.__new__(Imaged), Verdict(True, ""), spread, Gate())
    np.testing.assert_array_equal(image.activation_spread, [1.0, 0.0, np.nan, np.nan])


def test_rows_of_what_was_not_trained_are_none(both):
    classical = replace(both, images=both.images[:1])
    assert training_rows(classical) == []
    assert foci_rows(classical) == []


def test_history_has_the_columns_of_the_file():
    assert History._fields == ("cost", "chi2", "physics", "tolerance")
