"""Results that were cut off after they were finished, or while a run was stopped, are never used."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import FileFormatError
from einthoven.io.stream import Channel, ZarrStream
from einthoven.studies import simulation as study_module
from einthoven.studies.simulation import run_study
from einthoven.studies.simulation_config import validated

STUDY = {
    "name": "small",
    "tissue": {"kind": "sheet", "size": [6.0, 3.0], "spacing": 0.5, "diffusivity": 0.4},
    "model": {"name": "aliev-panfilov-1996"},
    "protocol": {"stimuli": [{"region": {"kind": "box", "low": [0.0], "high": [2.0]}}]},
    "time": {"t_end": 20.0, "dt": 0.05},
    "keep": {"movie": {"every": 5.0}},
}


def chunks(store: Path) -> dict[str, bytes]:
    """Every chunk of a store."""
    files = [p for p in store.rglob("*") if p.is_file() and p.name != "zarr.json"]
    return {str(p.relative_to(store)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run_study(validated(STUDY, "study.toml"), out)
    return out


@pytest.fixture
def out(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


def test_whole_results_are_not_made_again(out):
    assert run_study(validated(STUDY, "study.toml"), out).reused == 1


@pytest.mark.parametrize("damage", ["cut", "gone", "changed"])
def test_damaged_results_are_made_again(finished, out, damage):
    victim = max((p for p in (out / "results.zarr").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    if damage == "gone":
        victim.unlink()
    elif damage == "cut":
        os.truncate(victim, victim.stat().st_size // 2)
    else:
        victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert run_study(validated(STUDY, "study.toml"), out).reused == 0
    assert chunks(out / "results.zarr") == chunks(finished / "results.zarr")
    assert run_study(validated(STUDY, "study.toml"), out).reused == 1


def test_a_run_killed_after_its_results_were_moved_starts_over(out, finished, monkeypatch):
    """Its note that it was done was left behind, the results it speaks of were not."""
    work = out / study_module.UNFINISHED
    work.mkdir()
    shutil.move(out / "results.zarr", out / ".partial-killed")
    (out / "metrics.json").unlink()
    monkeypatch.setattr(study_module, "cell_key", lambda *_: "key")
    done = {"key": "key", "seconds": 1.0, "resumed_at": None, "results": "5 files, 100 bytes, checksum 1"}
    (work / "done.json").write_text(json.dumps(done))
    found = run_study(validated(STUDY, "study.toml"), out)
    assert found.reused == 0
    assert chunks(out / "results.zarr") == chunks(finished / "results.zarr")


def stream(path: Path) -> ZarrStream:
    return ZarrStream(path, (Channel("a", ("time", "x"), "time", (3,)),), fingerprint="f")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_stopped_run_does_not_go_on_from_damaged_chunks(tmp_path, damage):
    begun = stream(tmp_path / "run.zarr")
    begun.append("a", np.arange(12.0).reshape(4, 3))
    begun.checkpoint({"t": np.asarray(4.0)})
    assert np.array_equal(stream(tmp_path / "run.zarr").read("a"), np.arange(12.0).reshape(4, 3))
    victim = next(p for p in (tmp_path / "run.zarr" / "a" / "a").rglob("*") if p.is_file() and p.name != "zarr.json")
    if damage == "cut":
        os.truncate(victim, victim.stat().st_size - 1)
    else:
        victim.unlink()
    with pytest.raises(FileFormatError, match=r"run\.zarr: does not fit its checkpoint \(.*; start afresh"):
        stream(tmp_path / "run.zarr")
