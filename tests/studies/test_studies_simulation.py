"""From a study file to results: what is built, what comes out, and that nothing that interrupts it changes a bit."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einthoven.core import InputError, Recording, Surface
from einthoven.geometry.generators import sphere
from einthoven.io import write
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.protocol import Protocol
from einthoven.simulate import Monodomain, Simulation
from einthoven.simulate import run as run_module
from einthoven.studies import simulation as study_module
from einthoven.studies.simulation import Cost, config_of, cost_of, run_study
from einthoven.studies.simulation_build import build_model, build_protocol, build_tissue, prepare
from einthoven.studies.simulation_config import load_study, validated
from einthoven.studies.simulation_output import (
    _durations,
    _notes,
    activation_metrics,
    conduction_velocity,
    metrics_of,
    torso_metrics,
)
from einthoven.studies.store import ResultsStore, read_labelled
from einthoven.tissue import Grid, Tissue

pytestmark = pytest.mark.usefixtures("ctrl_c")

SHEET: dict[str, Any] = {
    "name": "small",
    "tissue": {"kind": "sheet", "size": [12.0, 6.0], "spacing": 0.5, "diffusivity": 0.4},
    "model": {"name": "aliev-panfilov-1996"},
    "protocol": {"stimuli": [{"region": {"kind": "box", "low": [0.0], "high": [2.0]}}]},
    "time": {"t_end": 60.0, "dt": 0.05},
    "keep": {"movie": {"every": 5.0}, "probes": {"points": {"a": [4.25, 3.25], "b": [9.25, 3.25]}, "every": 1.0}},
    "ecg": {"positions": {"above": [6.0, 3.0, 8.0], "beside": [20.0, 3.0, 0.0]}},
}


def study_of(**changes: Any):
    """The small sheet with whole tables replaced or, as ``table__field``, single fields."""
    values = json.loads(json.dumps(SHEET))
    for name, value in changes.items():
        table, _, field = name.partition("__")
        if field:
            values.setdefault(table, {})[field] = value
        else:
            values[table] = value
    return validated(values, "study.toml")


def arrays(folder: Path) -> dict[str, tuple[tuple[str, ...], str, bytes]]:
    """Every stored array: dims, type and bytes."""
    found = {}
    for group in sorted(p.name for p in (folder / "results.zarr").iterdir() if p.is_dir()):
        for name, variable in read_labelled(folder / "results.zarr", group).variables.items():
            values = np.ascontiguousarray(variable.values)
            found[f"{group}/{name}"] = (variable.dims, values.dtype.str, values.tobytes())
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The small sheet, run in one go; not to be changed."""
    out = tmp_path_factory.mktemp("finished")
    run_study(study_of(), out)
    return out


# --- what is built ----------------------------------------------------------------------------------


def test_cells_tile_the_sheet_from_zero():
    tissue = build_tissue(study_of())
    assert tissue.shape == (24, 12)
    assert tissue.points.min(axis=0).tolist() == [0.25, 0.25, 0.0]
    assert tissue.points.max(axis=0).tolist() == [11.75, 5.75, 0.0]
    assert tissue.volumes.sum() == pytest.approx(12 * 6)


def test_fibers_turn_through_a_slab():
    fibers = {"along": 0.4, "across": 0.1, "angle": 30.0, "rotation": 90.0}
    tissue = build_tissue(study_of(tissue={"kind": "slab", "size": [2.0, 2.0, 4.0], "spacing": 0.5, "fibers": fibers}))
    angle = np.degrees(np.arctan2(tissue.fibers[:, 1], tissue.fibers[:, 0])) % 180
    expected = (30.0 + 90.0 * tissue.points[:, 2] / 4.0) % 180
    np.testing.assert_allclose(angle, expected, atol=1e-6)
    assert np.abs(tissue.fibers[:, 2]).max() < 1e-12
    assert np.linalg.eigvalsh(tissue.diffusivity).min() == pytest.approx(0.1)


def test_fibrosis_follows_the_seed_and_its_region():
    texture = {"kind": "diffuse", "density": 0.5, "region": {"kind": "box", "low": [6.0], "high": [12.0]}}
    first, again = (build_tissue(study_of(tissue__fibrosis=[texture], seed=3)) for _ in range(2))
    other = build_tissue(study_of(tissue__fibrosis=[texture], seed=4))
    assert np.array_equal(first.conducting, again.conducting)
    assert not np.array_equal(first.conducting, other.conducting)
    mask = first.conducting.reshape(first.shape)
    assert mask[:12].all()
    assert (~mask[12:]).sum() == 72


def test_two_textures_of_one_kind_differ():
    texture = {"kind": "islands", "density": 0.2, "correlation_length": 1.5}
    one = build_tissue(study_of(tissue__fibrosis=[texture]))
    two = build_tissue(study_of(tissue__fibrosis=[texture, texture]))
    assert one.n_nodes == round(0.8 * 288)
    assert two.n_nodes == round(0.8 * one.n_nodes)


@pytest.mark.parametrize(
    "texture",
    [
        {"kind": "patchy", "density": 0.1, "patch_size": 2.0},
        {"kind": "compact", "density": 0.1, "blobs": 2, "centers": [[3.0, 3.0], [9.0, 3.0]]},
        {"kind": "interstitial", "density": 0.1, "length": 3.0, "direction": [1.0, 0.5]},
    ],
)
def test_every_texture_meets_its_density(texture):
    assert build_tissue(study_of(tissue__fibrosis=[texture])).n_nodes == 288 - round(0.1 * 288)


def test_a_scar_changes_the_membrane_of_its_border():
    scar = {"center": [8.0, 3.0], "radius": 1.5, "border": 1.0, "roughness": 0.0}
    study = study_of(tissue__scars=[scar], model__border={"k": 0.5}, model__parameters={"k": 6.0})
    tissue = build_tissue(study)
    k = np.asarray(build_model(study, tissue).k)
    distance = np.linalg.norm(tissue.points[:, :2] - [8.0, 3.0], axis=1)
    assert distance.min() >= 1.5
    assert set(k[distance < 2.5].tolist()) == {3.0}
    assert set(k[distance >= 2.5].tolist()) == {6.0}


def test_remodelled_gap_junctions_scale_the_diffusivity():
    study = study_of(tissue__gap_junctions=[{"low": 0.5, "high": 0.5}])
    np.testing.assert_allclose(np.asarray(build_tissue(study).diffusivity), 0.2)


def test_stimuli_are_as_written():
    stimulus = {"region": {"kind": "line", "start": [0.0, 3.0], "stop": [12.0, 3.0], "width": 1.0}, "clamp": True}
    study = study_of(protocol={"stimuli": [stimulus | {"start": 5.0, "duration": 3.0, "amplitude": 20.0}]})
    (made,) = build_protocol(study, build_tissue(study)).stimuli
    assert (made.start, made.duration, made.amplitude, made.kind) == (5.0, 3.0, 20.0, "clamp")
    assert len(made.select(build_tissue(study))) == 48


def test_named_protocols():
    whole = {"kind": "whole"}
    tissue = build_tissue(study_of())
    burst = study_of(protocol={"kind": "burst", "region": whole, "interval": 20.0, "count": 3, "start": 1.0})
    assert build_protocol(burst, tissue).starts == (1.0, 21.0, 41.0)
    s1_s2 = {"kind": "s1-s2", "region": whole, "interval": 20.0, "count": 2, "s2_interval": 15.0}
    assert build_protocol(study_of(protocol=s1_s2), tissue).starts == (0.0, 20.0, 35.0)
    cross = build_protocol(study_of(protocol={"kind": "cross-field", "s2_start": 30.0}), tissue)
    assert cross.starts == (0.0, 30.0)
    edge, quadrant = cross.select(tissue)
    assert tissue.points[edge, 0].max() <= 2.25
    assert tissue.points[quadrant].max(axis=0).tolist() == [5.75, 2.75, 0.0]


@pytest.mark.slow
def test_the_twelve_lead_study_is_the_built_in_beat():
    """The case ``phantom`` can be made from its study file: tissue, cells and stimuli are the same."""
    from einthoven.studies.phantom_beat import VolumeBeat

    values = load_study("twelve-lead-beat").model_dump(mode="json", exclude_none=True)
    values["tissue"]["spacing"] = 2.0
    study, beat = validated(values, "s"), VolumeBeat(spacing=2.0)
    tissue, heart = build_tissue(study), beat.monodomain()
    assert np.array_equal(tissue.nodes, heart.tissue.nodes)
    np.testing.assert_allclose(tissue.diffusivity, heart.tissue.diffusivity, rtol=1e-12, atol=1e-14)
    made = build_model(study, tissue)
    for name in ("tau_in", "tau_out", "tau_open", "tau_close"):
        np.testing.assert_allclose(getattr(made, name), getattr(heart.model, name), rtol=1e-5)
    ours, theirs = build_protocol(study, tissue), beat.protocol(heart.tissue).shifted(beat.onset)
    assert ours.starts == theirs.starts
    for a, b in zip(ours.select(tissue), theirs.select(heart.tissue), strict=True):
        assert np.array_equal(a, b)
    assert [s.duration for s in ours.stimuli] == [s.duration for s in theirs.stimuli]
    assert (study.dtype, study.time.dt, study.time.t_end) == (heart.dtype, beat.dt, beat.duration)


@pytest.mark.slow
def test_the_surface_study_is_the_built_in_wave(tmp_path):
    """The case ``phantom-surface`` can be made from its study file: its wave comes out of it, bit for bit."""
    from einthoven.datasets.phantom import Phantom
    from einthoven.studies.phantom_beat import FINE
    from einthoven.studies.phantom_surface import SurfaceBeat

    run_study(load_study("phantom-surface"), tmp_path)
    movie = read_labelled(tmp_path / "results.zarr", "movie")["movie"]
    wave = SurfaceBeat()(Phantom(FINE).heart)
    assert np.array_equal(movie["time"].values, wave.times)
    assert np.array_equal(movie.transpose("node", "time").values, wave.values.astype(movie.dtype))


def test_layers_take_their_own_membranes():
    names = {
        k: f"bueno-orovio-2008-{n}" for k, n in (("endocardium", "endo"), ("midwall", "mid"), ("epicardium", "epi"))
    }
    study = study_of(model={"name": "bueno-orovio-2008-epi", "layers": names})
    tissue = build_tissue(study).labelled("layer", np.arange(288) % 3)
    made = np.asarray(build_model(study, tissue).tau_fi)
    from einthoven.ionic.registry import model

    for layer, name in enumerate(names.values()):
        assert (made[layer::3] == np.asarray(model(name).tau_fi)).all()


def test_a_surface_from_a_file(tmp_path):
    write(sphere(10.0, subdivisions=2), tmp_path / "ball.ply")
    text = json.loads(json.dumps(SHEET)) | {
        "tissue": {"kind": "surface", "surface": str(tmp_path / "ball.ply"), "diffusivity": 0.4},
        "protocol": {"stimuli": [{"region": {"kind": "ball", "center": [0.0, 0.0, 10.0], "radius": 4.0}}]},
        "keep": {},
        "ecg": {"positions": {"far": [30.0, 0.0, 0.0]}},
    }
    prepared = prepare(validated(text, "s"))
    assert isinstance(prepared.monodomain.tissue.domain, Surface)
    before = config_of(validated(text, "s"))
    write(sphere(11.0, subdivisions=2), tmp_path / "ball.ply")
    assert config_of(validated(text, "s")) != before  # a changed file is another run


# --- bad input --------------------------------------------------------------------------------------

NOT_FITTING = [
    ({"time__dt": 0.5}, r"time: dt must be at most 0\.1562 ms, .* got 0\.5 ms"),
    (
        {"protocol": {"stimuli": [{"region": {"kind": "ball", "center": [50.0, 0.0], "radius": 1.0}}]}},
        r"protocol\.stimuli\[0\]: Ball.*holds no conducting node of the tissue.*Move or enlarge it",
    ),
    (
        {"protocol": {"stimuli": [{"region": {"kind": "whole"}, "start": 60.0}]}},
        r"protocol: a stimulus at 60 ms would come after the end of the simulation at 60 ms",
    ),
    ({"tissue__fibrosis": [{"kind": "diffuse", "density": 0.9999}]}, r"tissue\.fibrosis\[0\]: all 288 cells"),
    (
        {
            "tissue__fibrosis": [
                {"kind": "diffuse", "density": 0.99, "region": {"kind": "box", "low": [6.0], "high": [6.5]}}
            ]
        },
        r"protocol: no stimulus reaches 132 of 276 cells \(48%\): .*tissue\.unreached \(now 0\.05\)",
    ),
    ({"tissue__fibrosis": [{"kind": "interstitial", "density": 0.1}]}, r"tissue\.fibrosis\[0\]: .*isotropic"),
    ({"tissue__scars": [{"center": [40.0, 3.0], "radius": 1.0}]}, r"tissue\.scars\[0\]: .*no conducting node"),
    ({"model__name": "aliev-panfilov-1995"}, r"model: unknown membrane model.*Did you mean aliev-panfilov-1996"),
    ({"model__parameters": {"kk": 3.0}}, r"model: unknown parameter of aliev-panfilov-1996 'kk'"),
    ({"model__border": {"k": 0.5}}, r"model: border: needs a scar"),
    ({"protocol": {"kind": "early-sites"}}, r'protocol: early-sites: needs tissue\.kind = "phantom-ventricles"'),
    ({"keep__probes": {"points": {"out": [40.0, 3.0]}}}, r"keep\.probes: out at \(40, 3, 0\) mm is .* Move it"),
    ({"keep__probes": {"points": {"a": [1.0, 1.0], "b": [1.0]}}}, r"keep\.probes: all points need as many coordinates"),
    ({"keep__activation": {"level": -80.0}}, r"keep\.activation: the recovery level"),
    ({"keep__phase_singularities": {"every": 5.0, "delay": 7.0}}, r"keep\.phase_singularities: .*multiple"),
    ({"ecg": {"positions": {"touching": [0.25, 0.25, 0.0]}}}, r"ecg: .*touching.*less than half its size"),
    ({"ecg": {"torso": "phantom"}}, r'ecg: torso: needs tissue\.kind = "phantom-ventricles"'),
]


@pytest.mark.parametrize(("changes", "message"), NOT_FITTING, ids=[next(iter(c)) for c, _ in NOT_FITTING])
def test_what_does_not_fit_is_refused_before_the_first_step(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        run_study(study_of(**changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_potential_that_blows_up_is_told_with_its_time(tmp_path):
    fast = {"time_unit": 0.02}  # ms: the membrane's own steps are unstable, not those of diffusion
    shock = {"stimuli": [{"region": {"kind": "whole"}, "amplitude": 9000.0}]}
    with pytest.raises(InputError, match=r"left all bounds at step \d+ \(t = .* ms\)"):
        run_study(study_of(model__parameters=fast, protocol=shock), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_cells_cut_off_within_the_limit_are_counted(tmp_path):
    texture = {"kind": "diffuse", "density": 0.99, "region": {"kind": "box", "low": [11.0], "high": [11.5]}}
    result = run_study(study_of(tissue__fibrosis=[texture]), tmp_path)
    assert result.rows[0]["unreached_cells"] == 12
    assert result.notes[0] == "12 cells (4.35%) are cut off from every stimulus and stay at rest."


def test_what_the_numbers_lack_is_told(tmp_path):
    short = run_study(study_of(), tmp_path / "short")
    assert short.rows[0]["duration_ms"] is None
    assert short.notes == ("No cell recovers to -70 mV within 60 ms: no action potential duration is given.",)
    weak = {"stimuli": [{"region": {"kind": "box", "low": [0.0], "high": [2.0]}, "amplitude": 1.0}]}
    (told,) = run_study(study_of(protocol=weak), tmp_path / "weak").notes
    assert told == "No cell was activated: see the stimuli and the level of keep.activation."


def test_qt_that_is_not_in_the_leads_is_told():
    row = {"activated": 1.0, "duration_ms": 250.0, "qrs_ms": 230.0, "qt_ms": None}
    (told,) = _notes(prepare(study_of()), row)
    assert told.startswith(
        "QT is not given: the leads lack quiet before or behind the QRS complex, or the end of the T"
    )


def test_leads_without_a_torso_are_not_called_body_surface_potentials(tmp_path):
    shown = []
    run_study(study_of(), tmp_path, page=lambda simulation, path, **_: shown.append(simulation.data["ecg"].attrs))
    assert shown[0]["label"] == "potential at electrodes in an infinite bath, zero far away"


def test_more_memory_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr(study_module, "_physical_memory", lambda: 1_000_000)
    with pytest.raises(InputError, match=r"288 cells need about \d+ MB of memory; this machine has 1 MB"):
        cost_of(prepare(study_of()))


def test_the_cost_counts_cells_steps_and_runs():
    cost = cost_of(prepare(study_of()), runs=3)
    assert (cost.runs, cost.nodes, cost.steps) == (3, 288, 1200)
    assert cost.seconds == pytest.approx(3 * 288 * 1200 / cost.rate)
    assert cost.longest_seconds >= cost.seconds
    assert cost.sentence().startswith("3 runs of 288 cells x 1,200 steps; about ")


def test_the_cost_is_that_of_the_run_itself():
    """Stimuli and what is kept are in the measured steps: many looks cost more than few."""
    looks = {"probes": {"points": {"a": [4.25, 3.25]}, "every": 0.05}, "movie": {"every": 0.05}}
    rare, often = (cost_of(prepare(study_of(time__t_end=600.0, keep=keep))) for keep in ({}, looks))
    assert often.rate < 0.5 * rare.rate


def test_a_cost_that_varies_is_told_as_a_range():
    told = Cost(1, 1000, 1000, 10**9, 1e6, 0.25e6, busy=True).sentence()
    assert "1 s to 4 s of stepping at 1 million cell-steps/s; other programs use the processors" in told
    assert " to " not in Cost(1, 1000, 1000, 10**9, 1e6, 0.9e6).sentence()


# --- metrics ----------------------------------------------------------------------------------------


def plane(domain: Any, speed: np.ndarray, last: float) -> Simulation:
    """A simulation whose activation is a plane wave of known velocity, until a time."""
    import xarray

    tissue = Tissue.isotropic(domain, 0.1)
    lat = tissue.points[:, : len(speed)] @ (speed / (speed @ speed))
    lat[lat > last] = np.nan
    times = {"dims": ("beat", "node"), "attrs": {"unit": "ms", "level_mv": -70.0}}
    data = {
        "activation": xarray.DataArray(lat[None], **times),
        "recovery": xarray.DataArray(lat[None] + 200.0, **times),
    }
    return Simulation(Monodomain(tissue, AlievPanfilov1996()), Protocol(()), 0.1, 100.0, data, 1000, 1.0)


@pytest.mark.parametrize(
    ("domain", "speed"),
    [
        (Grid((40,), 0.5), np.array([0.6])),
        (Grid((30, 20), 0.5), np.array([0.4, 0.3])),
        (Grid((12, 10, 8), 0.5), np.array([0.3, 0.4, 0.2])),
        (Grid((30, 1), 0.5), np.array([0.6, 0.0])),
    ],
)
def test_the_velocity_of_a_plane_wave(domain, speed):
    wave = plane(domain, speed, np.inf)
    assert conduction_velocity(wave, wave.data["activation"].values[0]) == pytest.approx(np.linalg.norm(speed))
    found = activation_metrics(wave)
    assert found["activated"] == 1.0
    assert found["duration_ms"] == pytest.approx(200.0)
    assert found["duration_level_mv"] == -70.0


def test_half_an_activation():
    wave = plane(Grid((40,), 0.5), np.array([0.5]), 20.0)
    found = activation_metrics(wave)
    assert found["activated"] == pytest.approx(21 / 40)
    assert found["activation_time_ms"] == found["last_activation_ms"] == 20.0
    nothing = activation_metrics(plane(Grid((40,), 0.5), np.array([0.5]), -1.0))
    assert (nothing["activated"], nothing["activation_time_ms"], nothing["cv_mm_per_ms"]) == (0.0, None, None)


def test_metrics_agree_with_the_arrays(finished):
    row = json.loads((finished / "metrics.json").read_text())
    probes = read_labelled(finished / "results.zarr", "probes")["probes"]
    lat = [float(np.interp(-40.0, v[: v.argmax() + 1], probes["time"].values[: v.argmax() + 1])) for v in probes.values]
    assert row["cv_mm_per_ms"] == pytest.approx(5.0 / (lat[1] - lat[0]), rel=0.05)
    ecg = read_labelled(finished / "results.zarr", "ecg")["ecg"]
    assert row["ecg_amplitude_mv"] == pytest.approx(float(np.ptp(ecg.values, axis=1).max()))
    assert row["ecg_largest_lead"] in ("above", "beside")
    assert (row["cells"], row["steps"], row["activated"]) == (288, 1200, 1.0)


def test_qrs_is_from_the_first_to_the_last_activation_and_t_ends_where_the_leads_say():
    times = np.arange(0.0, 800.0)

    def leads(width: float) -> Recording:
        """A QRS complex of that width from 50 ms, and a T wave; a second beat begins at 600 ms."""
        wave = np.where((times > 50) & (times < 50 + width), np.sin(8 * np.pi * (times - 50) / width), 0.0)
        wave += 0.3 * np.exp(-(((times - 330) / 30) ** 2)) + 3 * ((times > 600) & (times < 640))
        return Recording(np.stack([wave, 0.7 * wave]), times, ("a", "b"), "ecg", "wilson")

    lat = np.array([[50.0, 90.0, 130.0, np.nan], [600.0, 620.0, np.nan, np.nan]])
    found = torso_metrics(leads(80.0), lat)
    assert found["qrs_ms"] == 80.0
    assert 325 < found["qt_ms"] < 355
    late = torso_metrics(leads(80.0), lat + np.array([[0.0, 0.0, 150.0, 0.0], [0.0] * 4]))
    assert late == {"qrs_ms": 230.0, "qt_ms": None}  # the leads do not show that activation: T is not told
    assert torso_metrics(leads(80.0), np.full((1, 3), np.nan)) == {"qrs_ms": None, "qt_ms": None}


def test_the_first_action_potential_counts_whatever_comes_later():
    """A later upstroke that is steeper, as that of a stimulus, is not where the first action potential begins."""
    times = np.arange(0.0, 900.0)
    first = 100 / (1 + np.exp(-(times - 50) / 3)) / (1 + np.exp((times - 350) / 5))
    spike = np.where((times > 420) & (times < 430), 60.0, 0.0)
    probes = Recording(np.stack([first, first + spike]) - 80, times, ("alone", "stimulated"), "vm")
    alone, stimulated = _durations(probes)
    assert alone == pytest.approx(311, abs=3)
    assert stimulated == pytest.approx(alone, abs=0.5)


def test_rotors_are_counted():
    import xarray

    wave = plane(Grid((10, 10), 0.5), np.array([0.5, 0.0]), np.inf)
    rows = np.array([[5.0, 1, 0, 0, 0], [10.0, 1, 0, 0, 0], [15.0, 1, 0, 0, 0], [15.0, -1, 3, 3, 0]])
    more = {
        "phase_singularity_count": xarray.DataArray(np.array([0.0, 1.0, 1.0, 2.0]), dims="time"),
        "phase_singularities": xarray.DataArray(rows, dims=("row", "column")),
        "phase_singularity_paths": xarray.DataArray(np.array([0, 0, 0, -1]), dims="row"),
    }
    from dataclasses import replace

    row = metrics_of(prepare(study_of()), replace(wave, data={**more}))
    assert row["singularities_most"] == 2
    assert row["singularities_mean"] == 1.0
    assert (row["singularity_paths"], row["singularity_longest_ms"]) == (1, 10.0)


# --- one run ----------------------------------------------------------------------------------------


def test_a_run_writes_everything_it_promises(tmp_path):
    seen = {}

    def page(simulation, path, **given):
        seen.update(given, names=sorted(simulation.data), probes=simulation.data["probes"].attrs["points"])
        path.write_text("page")

    costs = []
    result = run_study(study_of(seed=5), tmp_path / "a" / "out", page=page, announce=costs.append)
    out = tmp_path / "a" / "out"
    files = {"metrics.csv", "metrics.json", "report.html", "results.zarr", "run.toml", "study.toml"}
    assert {p.name for p in out.iterdir()} == files
    assert len(costs) == 1
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(result.rows[0]))
    assert (out / "metrics.csv").read_text().splitlines()[0].startswith("study,model,tissue,seed,")
    run = tomllib.loads((out / "run.toml").read_text())
    assert run["settings"]["seed"] == 5
    assert "numpy" in run["versions"]
    assert {p.name for p in (out / "results.zarr").iterdir() if p.is_dir()} == {
        "movie",
        "activation",
        "recovery",
        "probes",
        "ecg",
    }
    assert seen["title"] == "small"
    assert seen["summary"]["cells"] == 288
    assert seen["probes"].tolist() == [[4.25, 3.25, 0.0], [9.25, 3.25, 0.0]]


def test_the_study_as_run_runs_to_the_same_bits(finished, tmp_path):
    study = load_study(finished / "study.toml")
    assert study.config == study_of().config
    assert study.versions["numpy"] == np.__version__
    run_study(study, tmp_path)
    assert arrays(tmp_path) == arrays(finished)


def test_a_complete_study_is_not_computed_again(finished, monkeypatch):
    monkeypatch.setattr(study_module, "prepare", lambda study: pytest.fail("was prepared again"))
    again = run_study(study_of(name="renamed"), finished)
    assert again.reused == 1
    assert again.rows[0]["cells"] == 288


def test_a_changed_line_is_computed_again(tmp_path):
    run_study(study_of(), tmp_path)
    changed = run_study(study_of(tissue__diffusivity=0.3), tmp_path)
    assert changed.reused == 0
    assert tomllib.loads((tmp_path / "study.toml").read_text())["tissue"]["diffusivity"] == 0.3


def interrupt_at(step: int):
    """Progress that presses Ctrl-C once a step is reached."""

    def progress(what: str, done: int, total: int) -> None:
        if what == "simulating" and done >= step:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


def test_ctrl_c_leaves_a_checkpoint_that_ends_with_the_same_bits(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(), tmp_path, interrupt_at(400))
    assert not (tmp_path / "metrics.json").exists()
    first = []
    result = run_study(study_of(), tmp_path, lambda what, done, total: first.append(done))
    assert min(first) > 400
    assert tomllib.loads((tmp_path / "run.toml").read_text())["resumed_at_ms"] >= 20.0
    assert arrays(tmp_path) == arrays(finished)
    assert not (tmp_path / ".unfinished").exists()
    fields = set(result.rows[0]) - {"seconds", "cell_steps_per_second"}
    whole = json.loads((finished / "metrics.json").read_text())
    assert {k: result.rows[0][k] for k in fields} == {k: whole[k] for k in fields}


def test_results_of_an_earlier_run_survive_an_interruption(tmp_path):
    run_study(study_of(), tmp_path)
    before = arrays(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(seed=1), tmp_path, interrupt_at(400))
    assert arrays(tmp_path) == before
    assert json.loads((tmp_path / "metrics.json").read_text())["seed"] == 0


def test_an_unfinished_run_of_other_settings_is_not_mixed_in(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(), tmp_path, interrupt_at(400))
    with pytest.raises(InputError, match="unfinished run of other settings"):
        run_study(study_of(tissue__diffusivity=0.3), tmp_path)
    run_study(study_of(tissue__diffusivity=0.3), tmp_path, resume=False)
    assert (tmp_path / "metrics.json").exists()


def test_fresh_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(), tmp_path, interrupt_at(400))
    first = []
    run_study(study_of(), tmp_path, lambda what, done, total: first.append(done), resume=False)
    assert min(first) <= 400
    assert "resumed_at_ms" not in tomllib.loads((tmp_path / "run.toml").read_text())


def test_a_page_that_fails_does_not_cost_the_simulation(finished, tmp_path, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("no page today")

    with pytest.raises(RuntimeError, match="no page today"):
        run_study(study_of(), tmp_path, page=broken)
    assert not (tmp_path / "metrics.json").exists()
    monkeypatch.setattr(study_module, "_simulated", lambda *a, **k: pytest.fail("was simulated again"))
    run_study(study_of(), tmp_path)
    assert arrays(tmp_path) == arrays(finished)


def test_a_full_disk_ends_in_a_sentence_and_resumes(finished, tmp_path, monkeypatch):
    saved = []
    real = os.fsync

    def full(descriptor):
        saved.append(descriptor)
        if len(saved) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\).*Make room and run again"):
            run_study(study_of(), tmp_path)
    assert not (tmp_path / "metrics.json").exists()
    run_study(study_of(), tmp_path)
    assert tomllib.loads((tmp_path / "run.toml").read_text())["resumed_at_ms"] > 0
    assert arrays(tmp_path) == arrays(finished)


def run_slowly(out: str) -> None:
    """What the killed processes run: a checkpoint after every look."""
    run_module.CHECKPOINT_SECONDS = 0.0

    def told(what: str, done: int, total: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()

    run_study(study_of(), Path(out), told)


@pytest.mark.slow
def test_killed_at_random_times_it_ends_with_the_same_bits(finished, tmp_path):
    rng = random.Random(1)
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_studies_simulation as t; "
    code += f"t.run_slowly({str(tmp_path)!r})"
    killed = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 6)):
            process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        killed += not (tmp_path / "metrics.json").exists()
    assert killed >= 1
    run_study(study_of(), tmp_path)
    assert arrays(tmp_path) == arrays(finished)


@pytest.mark.parametrize("out", ["", "."])
def test_a_folder_must_be_named(out):
    with pytest.raises(InputError, match="--out must name a folder"):
        run_study(study_of(), Path(out))


def test_out_must_not_be_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="must be a folder"):
        run_study(study_of(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_of_another_study_is_not_written_over(finished, tmp_path):
    run_study(study_of(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(InputError, match=r"holds the study 'small'; choose another --out, or replace it with --fresh"):
        run_study(study_of(name="other", seed=4), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    run_study(study_of(name="other", seed=4), tmp_path, resume=False)
    assert json.loads((tmp_path / "metrics.json").read_text())["study"] == "other"
    (tmp_path / "study.toml").unlink()
    with pytest.raises(InputError, match="holds results of something else"):
        run_study(study_of(name="third", seed=5), tmp_path)


def test_nothing_of_an_earlier_run_stays_beside_the_new_one(tmp_path):
    def page(simulation, path, **_):
        path.write_text("page")

    run_study(study_of(), tmp_path, page=page)
    run_study(study_of(seed=1), tmp_path)  # without a page
    assert not (tmp_path / "report.html").exists()
    run_study(swept(seed=[0, 1]), tmp_path, page=page)
    assert not (tmp_path / "results.zarr").exists()
    assert (tmp_path / "runs" / "run-2.html").exists()
    run_study(study_of(seed=1), tmp_path)
    assert not (tmp_path / "runs").exists()


# --- sweeps -----------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {"time": {"t_end": 20.0, "dt": 0.05}, "keep": {}, "ecg": {"positions": {"a": [6.0, 3.0, 8.0]}}}


def swept(**sweep: list[Any]):
    return study_of(**QUICK, sweep={name.replace("__", "."): values for name, values in sweep.items()})


def test_a_sweep_is_a_row_per_run_and_only_new_runs_are_computed(tmp_path, monkeypatch):
    pages = []

    def page(simulation, path, **_):
        pages.append(simulation)
        path.write_text("page")

    first = run_study(swept(tissue__diffusivity=[0.2, 0.4], seed=[0, 1]), tmp_path, page=page)
    assert [(row["tissue.diffusivity"], row["seed"]) for row in first.rows] == [(0.2, 0), (0.2, 1), (0.4, 0), (0.4, 1)]
    assert first.rows[0]["ecg_amplitude_mv"] < first.rows[2]["ecg_amplitude_mv"]
    assert len(pages) == 4
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["run-2.html", "run-3.html", "run-4.html"]
    assert len(json.loads((tmp_path / "metrics.json").read_text())) == 4
    computed = []
    real = study_module.compute_run
    monkeypatch.setattr(study_module, "compute_run", lambda config, **k: computed.append(config) or real(config, **k))
    second = run_study(swept(tissue__diffusivity=[0.2, 0.3], seed=[0, 1]), tmp_path)
    assert [(c["tissue"]["diffusivity"], c["seed"]) for c in computed] == [(0.3, 0), (0.3, 1)]
    assert second.rows[0] == first.rows[0]
    assert run_study(swept(tissue__diffusivity=[0.2, 0.3], seed=[0, 1]), tmp_path).rows == second.rows
    assert len(computed) == 2


def test_an_interrupted_sweep_goes_on_within_its_run(tmp_path):
    study = swept(seed=[0, 1])

    def stop(what: str, done: int, total: int) -> None:
        if what == "cells" and done == 1:
            stop.armed = True  # type: ignore[attr-defined]
        if what == "simulating" and done >= 100 and getattr(stop, "armed", False):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, stop)
    store = ResultsStore(tmp_path / "store", version=study_module.VERSION)
    assert len(store.keys()) == 1
    first = []
    run_study(study, tmp_path, lambda what, done, total: first.append(done) if what == "simulating" else None)
    assert min(first) > 100
    assert len(store.index()) == 2
    alone = run_study(study_of(**QUICK, seed=1), tmp_path / "alone")
    assert (
        json.loads((tmp_path / "metrics.json").read_text())[1]["ecg_amplitude_mv"] == alone.rows[0]["ecg_amplitude_mv"]
    )


@pytest.mark.slow
def test_workers_give_the_same_rows(tmp_path):
    study = swept(seed=[0, 1], tissue__diffusivity=[0.2, 0.4])
    alone, together = run_study(study, tmp_path / "a"), run_study(study, tmp_path / "b", workers=2)
    timing = {"seconds", "cell_steps_per_second"}
    for a, b in zip(alone.rows, together.rows, strict=True):
        assert {k: v for k, v in a.items() if k not in timing} == {k: v for k, v in b.items() if k not in timing}


def test_a_damaged_run_is_computed_again_and_told(tmp_path):
    study = swept(seed=[0, 1])
    first = run_study(study, tmp_path)
    cell = tmp_path / "store" / "cells" / first.rows[1]["cell"] / "cell.json"
    cell.write_text(cell.read_text()[:-30])
    again = run_study(study, tmp_path)
    assert len(again.notes) == 1
    assert "is damaged" in again.notes[0]
    assert again.rows[1]["ecg_amplitude_mv"] == first.rows[1]["ecg_amplitude_mv"]


def test_a_refused_run_names_its_values(tmp_path):
    message = r"run 2 \(time\.dt = 0\.5\): time: dt must be at most.*\(1 of 2 cells were refused"
    with pytest.raises(InputError, match=message):
        run_study(swept(time__dt=[0.05, 0.5]), tmp_path)
    assert not (tmp_path / "metrics.json").exists()
