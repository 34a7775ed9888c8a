"""What built-in cases are made of is computed once, and computed anew where anything that decides it has changed.

That the cases themselves are kept is tested beside them, in test_phantom_beat and test_phantom_surface, which share the
fine models.
"""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import Recording
from einthoven.datasets.phantom import Phantom, Resolution
from einthoven.studies import kept as module
from einthoven.studies.kept import MOST_CELLS, cache_folder, code_version, kept
from einthoven.studies.phantom_beat import Conduction, VolumeBeat, _decided_by
from einthoven.studies.store import ResultsStore, canonical


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EINTHOVEN_CACHE_DIR", str(tmp_path))


class Counted:
    """Computes a recording of odd numbers and counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        values = np.array([[0.1 + 0.2, -0.0, np.pi], [1e-300, 1e300, -1 / 3]])
        return {"a": Recording(values, np.array([0.0, 1.0, 2.0]), ("x", "y"), "bsp", "average")}


def test_the_same_is_computed_once_and_comes_back_bit_by_bit():
    compute = Counted()
    first, second = kept({"k": 1}, compute)["a"], kept({"k": 1}, compute)["a"]
    assert compute.times == 1
    assert first.values.tobytes() == second.values.tobytes()
    assert (first.sites, first.quantity, first.reference) == (second.sites, second.quantity, second.reference)
    assert first.times.tobytes() == second.times.tobytes()
    kept({"k": 2}, compute)
    assert compute.times == 2


def test_other_code_computes_anew(monkeypatch):
    compute = Counted()
    kept({"k": 1}, compute)
    monkeypatch.setattr(module, "code_version", lambda: "other")
    kept({"k": 1}, compute)
    assert compute.times == 2


def test_the_version_follows_the_source(monkeypatch, tmp_path):
    before = code_version()
    monkeypatch.setattr(module, "MODULES", ("phantom_beat.py",))
    code_version.cache_clear()
    assert code_version() != before
    monkeypatch.undo()
    code_version.cache_clear()
    assert code_version() == before


def test_a_damaged_cell_is_computed_anew():
    compute = Counted()
    kept({"k": 1}, compute)
    store = ResultsStore(cache_folder(), version=code_version())
    file = next(p for p in (store.folder / "cells").rglob("c/*") if p.is_file())
    file.write_bytes(b"damage")
    assert kept({"k": 1}, compute)["a"].values[0, 2] == np.pi
    assert compute.times == 2
    kept({"k": 1}, compute)
    assert compute.times == 2


def test_a_disk_that_is_full_costs_time_only(monkeypatch):
    compute = Counted()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ResultsStore, "put", full)
    assert kept({"k": 1}, compute)["a"].values[0, 2] == np.pi


def test_old_cells_go():
    for k in range(MOST_CELLS + 3):
        kept({"k": k}, Counted())
    assert len(list((cache_folder() / "cells").iterdir())) == MOST_CELLS


@pytest.mark.long
def test_everything_that_decides_the_beat_is_in_its_key():
    small = Phantom(Resolution(torso=40.0, lungs=30.0, heart=9.0, envelope=12.0, blood=14.0))
    beat = VolumeBeat(small)
    keys = {
        canonical(_decided_by(other, layout))
        for other, layout in [
            (beat, "12"),
            (beat, "64"),
            (replace(beat, spacing=2.0), "12"),
            (replace(beat, dt=0.025), "12"),
            (replace(beat, onset=30.0), "12"),
            (replace(beat, conduction=Conduction(wall=0.21)), "12"),
            (replace(beat, durations=replace(beat.durations, basal=11.0)), "12"),
            (replace(beat, phantom=replace(small, resolution=replace(small.resolution, heart=8.5))), "12"),
        ]
    }
    assert len(keys) == 8
