"""The fit study on a spherical heart: a known wave found through all layers, its window, and work that is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import (
    Case,
    Electrodes,
    InputError,
    Recording,
    Region,
    Source,
    VolumeConductor,
)
from einthoven.geometry.generators import shell, sphere
from einthoven.geometry.locate import contains
from einthoven.inverse import wave_ensemble
from einthoven.studies.fitting import (
    FileMemory,
    fit_case,
    fitted_recording,
    truth_activation,
    upstroke,
    wave_model,
    work_key,
)
from einthoven.studies.muscle import case_muscle
from einthoven.studies.settings import FitSettings

SITE, ONSET, SPEED = np.array([[22.0, 9.0, -7.0]]), np.array([31.0]), 0.55

QUICK = FitSettings(
    spacing=4.0, window_ms=(20.0, 150.0), step_ms=4.0, speeds=(0.5, 1.0), noise_mv=1e-4, most_sites=2, starts=2,
    pose_mm=0.0, pose_deg=0.0, electrode_mm=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def bare() -> Case:
    """A closed muscle, 20 to 32 mm from its center, in a sphere of 90 mm with 30 electrodes; no recording."""
    skin = sphere(90.0, subdivisions=3, name="torso")
    rng = np.random.default_rng(0)
    way = rng.standard_normal((30, 3))
    electrodes = Electrodes(
        tuple(f"E{i}" for i in range(30)), 90.0 * way / np.linalg.norm(way, axis=1, keepdims=True)
    )  # fmt: skip
    heart = Source(shell(20.0, 32.0, subdivisions=3, name="heart"), "vm")
    return Case("ball", VolumeConductor(Region(skin, 0.2)), (heart,), electrodes)


@pytest.fixture(scope="module")
def case(bare) -> Case:
    """The same with the ECG of a wave on a grid of 3 mm, 1 ms apart, and the transmembrane potentials that made it."""
    times = np.arange(0.0, 201.0)
    quiet = Recording(np.zeros((30, 201)), times, bare.electrodes.names, "bsp", "average")
    settings = QUICK.model_copy(update={"spacing": 3.0})
    muscle = case_muscle(bare, spacing=3.0)
    made = wave_model(bare, muscle, quiet, settings)
    beat = made.model.beat(SITE, ONSET, (SPEED,))
    clean = made.leads.record(beat.ecg, np.zeros(0))
    noise = 0.02 * clean.values.std() * np.random.default_rng(1).standard_normal(clean.values.shape)
    arrived = made.sampling.apply(beat.arrival.times)
    surface = bare.sources[0].surface
    vm = -85 + upstroke().at((times - arrived[:, None]).reshape(-1))[0].reshape(len(arrived), -1)
    truth = Recording(vm, times, surface.node_names, "vm", "absolute")
    source = Source(surface, "vm", truth)
    return Case("ball", bare.conductor, (source,), bare.electrodes, clean.with_values(clean.values + noise))


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(wave_ensemble, "STEPS", 3000)


@pytest.mark.long
def test_a_wave_is_found_through_all_layers(case, short):
    """Made on 3 mm, fitted on 4 mm; the truth is read from the potentials, not from the wave."""
    result = fit_case(case, QUICK)
    best = result.ensemble.best
    assert np.linalg.norm(best.wave.sites - SITE, axis=1).min() < 5.0
    assert best.misfit < 0.1
    assert best.wave.speeds[0] == pytest.approx(SPEED, rel=0.12)  # coarse grids are slow
    assert result.layers == ("wall",)
    assert result.errors == ()
    m = result.metrics
    assert m["activation_error_ms"] < 4.0
    assert m["activation_correlation"] > 0.98
    assert m["earliest_error_mm"] < 7.0
    assert m["wall_speed"] == best.wave.speeds[0]
    assert (m["start_ms"], m["stop_ms"], m["n_frames"], m["n_leads"]) == (20.0, 148.0, 33, 30)
    assert m["correlation"] > 0.99
    assert result.provenance["settings"]["spacing"] == 4.0
    assert any("no cavity is known" in note for note in result.provenance["notes"])
    assert contains(case.sources[0].surface, best.wave.sites).all()


@pytest.mark.long
def test_errors_of_pose_and_electrodes_are_unknowns_where_asked_for(case):
    settings = QUICK.model_copy(update={"pose_mm": 4.0, "electrode_mm": 3.0})
    recording = fitted_recording(case, settings)
    made = wave_model(case, case_muscle(case, spacing=4.0), recording, settings)
    assert made.leads.names[:3] == ("heart x (mm)", "heart y (mm)", "heart z (mm)")
    assert made.leads.n_errors == 3 + 60
    assert made.leads.spread.tolist() == [4.0] * 3 + [3.0] * 60


def test_without_a_window_the_qrs_complex_is_fitted(case):
    """The wave comes to the surface at 40 ms, and to the far side at about 150 ms."""
    recording = fitted_recording(case, QUICK.model_copy(update={"window_ms": None}))
    assert 20 <= recording.times[0] <= 40
    assert 110 <= recording.times[-1] <= 200
    assert recording.dt == 4.0
    row = case.recording.values[3]
    assert np.allclose(recording.values[3], row[np.round(recording.times).astype(int)])
    odd = fitted_recording(case, QUICK.model_copy(update={"window_ms": (21.5, 61.0)}))
    assert odd.times.tolist() == list(range(24, 61, 4))  # on whole steps, within
    flat = case.recording.with_values(np.zeros_like(case.recording.values))
    quiet = Case("ball", case.conductor, case.sources, case.electrodes, flat)
    with pytest.raises(InputError, match="no QRS complex was found in the leads; say where it is: --window"):
        fitted_recording(quiet, FitSettings())


@pytest.mark.parametrize(
    ("window", "problem"),
    [((-5.0, 100.0), "must lie within the recording, 0 to 200 ms"), ((20.0, 30.0), "holds 3 frames of 4 ms; it needs")],
)
def test_windows_that_do_not_fit_are_refused(case, window, problem):
    with pytest.raises(InputError, match=problem):
        fitted_recording(case, QUICK.model_copy(update={"window_ms": window}))


def test_too_few_leads_are_refused(case):
    with pytest.raises(InputError, match="ball: fitting needs at least 3 leads; got 2: E4, E7"):
        fitted_recording(case, QUICK.model_copy(update={"leads": ("E4", "E7")}))


def test_a_case_without_a_recording_is_refused(bare):
    with pytest.raises(InputError, match="no body-surface recording"):
        fit_case(bare, QUICK)


def test_truth_is_used_where_it_covers_the_surface(case, bare):
    muscle = case_muscle(case, spacing=4.0)
    times = truth_activation(case, muscle)
    depth = np.linalg.norm(SITE) - 20.0  # below the inner surface
    assert np.nanmin(times) == pytest.approx(ONSET[0] + depth / SPEED, abs=2.0)
    assert truth_activation(bare, case_muscle(bare, spacing=4.0)) is None


@pytest.mark.long
def test_an_interrupted_fit_goes_on(case, short, tmp_path):
    def stop(step: str, done: int, total: int) -> None:
        if step == "fits" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_case(case, QUICK, folder=tmp_path, progress=stop)
    lines = (tmp_path / "starts.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines[1:]] == ["chain 0", "chain 1", "fits 0"]
    steps = []
    resumed = fit_case(case, QUICK, folder=tmp_path, progress=lambda step, done, total: steps.append((step, done)))
    assert ("chains", 2) in steps
    assert ("tables", 0) not in steps  # no chain ran again
    whole = fit_case(case, QUICK)
    assert np.array_equal(resumed.ensemble.activation, whole.ensemble.activation)
    # other settings start over
    other = FileMemory(tmp_path / "starts.jsonl", "another key")
    assert not len(other)


def test_starts_belong_to_one_geometry_recording_and_settings(case):
    """What was done with other conductivities, electrodes, potentials or settings must not be gone on with."""
    skin, rest = case.conductor.skin, (case.sources, case.electrodes, case.recording)
    moved = Electrodes(case.electrodes.names, 0.99 * case.electrodes.positions)
    others = [
        Case("ball", VolumeConductor(Region(skin, 0.25)), *rest),
        Case("ball", case.conductor, (replace(case.sources[0], intracellular_conductivity=0.1),), *rest[1:]),
        Case("ball", case.conductor, case.sources, moved, case.recording),
        Case("ball", case.conductor, *rest[:2], case.recording.with_values(2 * case.recording.values)),
    ]
    keys = [work_key(each, QUICK) for each in (case, *others)]
    keys.append(work_key(case, QUICK.model_copy(update={"seed": 1})))
    assert len(set(keys)) == len(keys)
    assert work_key(Case("ball", case.conductor, *rest), QUICK) == keys[0]


def test_memory_is_kept_line_by_line(tmp_path):
    path = tmp_path / "new" / "starts.jsonl"
    memory = FileMemory(path, "k")
    assert not path.exists()
    memory["a"], memory["b"] = [1, 2.5], {"x": None}
    again = FileMemory(path, "k")
    assert dict(again) == {"a": [1, 2.5], "b": {"x": None}}
    again["c"] = 3
    assert set(FileMemory(path, "k")) == {"a", "b", "c"}
    with path.open("a") as file:
        file.write('\n["d", [1, 2')  # killed while it was written
    cut = FileMemory(path, "k")
    assert set(cut) == {"a", "b", "c"}
    cut["e"] = 5
    assert set(FileMemory(path, "k")) == {"a", "b", "c", "e"}
    other = FileMemory(path, "other")
    other["z"] = 1
    assert dict(FileMemory(path, "other")) == {"z": 1}
    assert not len(FileMemory(path, "k"))
    with pytest.raises(TypeError, match="not taken back"):
        del other["z"]
