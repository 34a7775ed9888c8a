"""The calibration study: which frames it sees, which it is judged on, and what it says of a case that will not do."""

from dataclasses import replace

import numpy as np
import pytest

from calibration_cases import TRUE, case_of, pair
from einthoven.core import InputError, Recording
from einthoven.datasets import load_case
from einthoven.studies.calibration import calibrate_case, filled_in, paired_heart
from einthoven.studies.calibration_frames import splits
from einthoven.studies.calibration_output import lead_rows, metric_rows, notes, parameter_rows
from einthoven.studies.settings import CalibrationSettings


@pytest.fixture(scope="module")
def made():
    return pair(noise=0.05, n_times=80)


@pytest.fixture(scope="module")
def result(made):
    return calibrate_case(case_of(made), CalibrationSettings(models=("pose", "gain")))


@pytest.mark.long
def test_a_calibrated_half_improves_the_other(result):
    rows = [row for row in metric_rows(result) if row["model"] == "pose"]
    assert [row["split"] for row in rows[::3]] == ["first half -> second half", "second half -> first half"]
    assert {(row["method"], row["rule"]) for row in rows} == {
        ("tikhonov2", "lcurve"),
        ("tikhonov2", "rgcv"),
        ("stre", "lcurve"),
    }
    for row in rows:
        assert row["error_after"] < row["error_before"]
        assert row["misfit_test_after"] < 0.5 * row["misfit_test_before"]
        assert row["converged"]
    assert result.first.q == pytest.approx(TRUE, abs=1.0)


def test_frames_held_out_never_decide_anything(made):
    settings = CalibrationSettings(models=("pose",), fit_ms=(0.0, 39.0))
    rng = np.random.default_rng(7)
    late = made.leads.times > 39.0
    heart, leads = (
        r.with_values(np.where(late, 0.0, r.values) + late * _centered(rng.standard_normal(r.values.shape)))
        for r in (made.heart, made.leads)
    )
    changed = made._replace(heart=heart, leads=leads)
    one, other = (calibrate_case(case_of(m), settings) for m in (made, changed))
    assert np.array_equal(one.first.q, other.first.q)
    assert one.first.sigma == other.first.sigma
    assert one.trials[0].before.misfit != other.trials[0].before.misfit


def _centered(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0)


def test_tables_have_a_row_for_everything(made, result):
    parameters = list(parameter_rows(result))
    assert len(parameters) == 3 * (8 + 1)  # first half, second half, all; pose and gain
    assert {row["calibrated_on"] for row in parameters} == {"first half", "second half", "all"}
    assert len(list(lead_rows(result))) == 2 * 2 * len(made.leads.sites)
    assert "of the model pose, calibrated on all frames" in notes(result)[0]


def test_nodes_without_measurement_are_filled_in_and_not_scored(made):
    heart = made.heart.select(made.heart.sites[20:])
    found = calibrate_case(case_of(made, heart=heart), CalibrationSettings(models=("gain",), fit_ms=(0.0, 39.0)))
    assert found.filled == made.heart.sites[:20]
    assert "20 of 162 nodes of the heart were not measured" in notes(found)[1]
    assert np.array_equal(found.heart.select(heart.sites).values, heart.values)
    filled = filled_in(heart, made.model.surface).values[:20]
    assert np.abs(filled - made.heart.values[:20]).mean() < 0.2 * np.abs(made.heart.values).mean()


def test_waves_are_held_out_too_where_they_are_found():
    t = np.arange(600.0)
    wave = np.exp(-0.5 * ((t - 150) / 10) ** 2) + 0.3 * np.exp(-0.5 * ((t - 400) / 40) ** 2)
    leads = np.stack([wave, -wave, 0.5 * wave]) + 1e-4 * np.random.default_rng(0).standard_normal((3, 600))
    found = splits(Recording(leads, t, ("a", "b", "c"), "bsp", "average"), None, None)
    assert [split.name for split in found[2:]] == ["QRS -> ST-T", "ST-T -> QRS"]
    assert all(np.intersect1d(split.fit, split.test).size == 0 for split in found)
    assert 120 < t[found[2].fit].mean() < 180
    assert 250 < t[found[2].test].mean() < 450


@pytest.mark.parametrize(
    ("fit", "test", "message"),
    [
        ((0.0, 40.0), (40.0, 79.0), r"share 1 frames; .* not overlap"),
        ((0.0, 90.0), None, r"--fit 0:90 must lie within the recording, 0 to 79 ms"),
        ((0.0, 40.0), (50.0, 99.0), r"--test 50:99 must lie within"),
        ((0.0, 10.0), None, r"--fit 0:10: holds 11 frames; .* 30 or more"),
        ((0.0, 70.0), None, r"the frames outside of --fit: holds 9 frames"),
        (None, (0.0, 40.0), r"--test needs --fit"),
    ],
)
def test_windows_that_will_not_do(made, fit, test, message):
    with pytest.raises(InputError, match=message):
        splits(made.leads, fit, test)


def test_cases_that_will_not_do(made):
    case = case_of(made)
    source = case.source()

    def told(message: str, **truth) -> None:
        changed = replace(source, **truth)
        with pytest.raises(InputError, match=message):
            paired_heart(replace(case, sources=(changed,)), changed, made.leads)

    told(r"the case has no truth on its heart surface", truth=None)
    told(r"measured at 50 of 162 nodes, too few", truth=made.heart.select(made.heart.sites[:50]))
    told(r"measured at 41 of the 80 times", truth=made.heart.window(0.0, 40.0))
    absolute = replace(made.leads, reference="absolute")
    with pytest.raises(InputError, match=r"have reference 'recorder': their zeros differ"):
        paired_heart(case, replace(source, truth=replace(made.heart, reference="recorder")), absolute)
    with pytest.raises(InputError, match=r"unknown model nonsense; there is gain, pose"):
        calibrate_case(case, CalibrationSettings(models=("nonsense",)))
    with pytest.raises(InputError, match=r"no heart surface for 'hsp'"):
        calibrate_case(replace(case, sources=(replace(source, quantity="vm", truth=None),)), CalibrationSettings())


@pytest.mark.long
@pytest.mark.slow
def test_the_measured_cage_is_imaged_better_by_gains_from_the_other_frames(data_dir):
    case = load_case("utah-cage-tank")
    found = calibrate_case(case, CalibrationSettings(models=("leads",), fit_ms=(0.0, 254.0), test_ms=(260.0, 330.0)))
    (row, *_) = metric_rows(found)
    assert row["misfit_test_after"] < 0.6 * row["misfit_test_before"]
    assert row["error_after"] < 0.92 * row["error_before"]
    assert found.first.q[0] == pytest.approx(-7.7, abs=0.5)
