"""Cells are complete or absent, found again by what decides them, and the same bits whatever happened on the way."""

import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.studies import store as store_module
from einthoven.studies.store import CellResult, DamagedCell, ResultsStore, canonical, cell_key
from einthoven.studies.sweep import run_cells

GRID = [{"spacing": h, "size": [10, 10]} for h in (0.5, 0.25, 0.2, 0.125)]


def compute(config, *, log: str | None = None, pause: float = 0.0) -> CellResult:
    """A cell whose numbers depend on its configuration alone."""
    if log is not None:
        with open(log, "a") as file:
            file.write(f"{canonical(config)}\n")
    if pause:
        time.sleep(pause)
    seed = int(cell_key(config)[:8], 16)
    values = np.random.default_rng(seed).normal(size=(3, 40))
    ecg = xarray.DataArray(values, dims=("site", "time"), coords={"site": ["a", "b", "c"], "time": np.arange(40.0)})
    return CellResult({"mean": values.mean(), "cells": 3}, {"ecg": ecg})


def fill(folder: str, n: int, log: str, pause: float, workers: int = 1) -> None:
    """What the child processes of these tests run."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    cells = [{"n": i} for i in range(n)]
    run_cells(cells, partial(compute, log=log, pause=pause), ResultsStore(folder), workers=workers)


def child(call: str, **options) -> subprocess.Popen:
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_studies_store as t; {call}"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return err.decode()


def tree(folder: Path) -> dict[str, bytes]:
    """Every byte of the cells."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "cells").rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    return ResultsStore(tmp_path / "store", version="test 1")


# --- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"b": [1, 2.5], "a": {"x": True, "y": None}},
        {"a": {"y": None, "x": True}, "b": (1.0, 2.5)},
        {"a": {"x": np.True_, "y": None}, "b": np.array([1.0, 2.5])},
        {"a": {"x": True, "y": None}, "b": [np.int64(1), np.float64(2.5)]},
    ],
)
def test_one_configuration_has_one_key(other):
    assert cell_key(other) == cell_key({"a": {"x": True, "y": None}, "b": [1, 2.5]})


@pytest.mark.parametrize(
    "other", [{"a": 1, "b": 0.1}, {"a": "1"}, {"a": True}, {"a": [1]}, {"a": None}, {"A": 1}, {"a": 1 + 2**-52}]
)
def test_another_configuration_has_another_key(other):
    assert cell_key(other) != cell_key({"a": 1})


def test_the_version_of_the_code_is_part_of_the_key(store):
    store.put(GRID[0], CellResult({"x": 1}))
    newer = ResultsStore(store.folder, version="test 2")
    assert GRID[0] in store
    assert newer.missing(GRID[:1]) == GRID[:1]


@given(st.dictionaries(st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False), max_size=6), st.randoms())
def test_a_key_does_not_depend_on_the_order_of_names(config, rng):
    names = list(config)
    rng.shuffle(names)
    assert cell_key({name: config[name] for name in names}) == cell_key(config)
    assert json.loads(canonical(config)) == config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"a\[1\]: must be finite to be stored; got nan"),
        ({"a": {"b": float("inf")}}, r"a\.b: must be finite"),
        ({"a": object()}, r"a: must be a number, text, list or table; got object"),
    ],
)
def test_a_configuration_without_a_spelling_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        cell_key(config)


# --- values -----------------------------------------------------------------------------------------


def awkward() -> xarray.Dataset:
    """NaN with a payload, zeros of both signs, texts, empty arrays, coordinates that are no index."""
    payload = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)[0]
    movie = xarray.DataArray(
        np.array([[1.0, payload, -0.0], [0.0, np.inf, 1e-310]]),
        dims=("site", "time"),
        coords={"site": ["a", "längere"], "time": [0.0, 0.1, 0.2], "depth": ("site", [1, 2])},
        attrs={"unit": "mV", "n": 3},
    )
    return xarray.Dataset(
        {
            "movie": movie,
            "flag": ("site", np.array([True, False])),
            "single": ("time", np.array([1, np.nan, 3], dtype=np.float32)),
            "scalar": ((), np.int64(-4)),
            "empty": (("none", "time"), np.zeros((0, 3))),
            "zeros": ("time", np.zeros(3)),
        },
        attrs={"kind": "test"},
    )


def bits(array: xarray.DataArray) -> bytes:
    return np.ascontiguousarray(array.values).tobytes()


def test_a_cell_comes_back_to_the_last_bit(store):
    data = awkward()
    store.put(GRID[0], CellResult({"x": 0.1 + 0.2, "none": None, "nan": np.nan}, {"all": data, "movie": data.movie}))
    cell = store.get(GRID[0])
    assert cell.record == {"x": 0.30000000000000004, "none": None, "nan": None}
    assert cell.config == GRID[0]
    assert cell.names == ("all", "movie")
    loaded = cell.load("all")
    assert loaded.identical(data)
    for name in data.variables:
        assert loaded[name].dtype == data[name].dtype
        assert bits(loaded[name]) == bits(data[name]), name
    alone = cell.load("movie")
    assert alone.identical(data.movie)
    assert bits(alone) == bits(data.movie)


def test_plain_arrays_and_lazy_reading(store):
    values = np.arange(12.0).reshape(3, 4)
    store.put(GRID[0], CellResult({}, {"plain": values}))
    opened = store.get(GRID[0]).open("plain")
    assert np.array_equal(opened.values, values)
    with pytest.raises(InputError, match=r"holds no array 'movie'; there are plain"):
        store.get(GRID[0]).load("movie")


def test_a_stored_cell_is_read_by_xarray_alone(store):
    store.put(GRID[0], compute(GRID[0]))
    path = store.get(GRID[0]).folder / "data.zarr"
    with xarray.open_zarr(path, group="ecg", consolidated=False, chunks=None) as data:
        assert np.array_equal(data["ecg"].values, compute(GRID[0]).arrays["ecg"].values)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (CellResult({"x": [1, 2]}), r"record 'x' must be a number, a text or None; got list"),
        (CellResult({}, {"../x": np.zeros(2)}), r"name must be letters.*'\.\./x'"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(store, result, message):
    with pytest.raises(InputError, match=message):
        store.put(GRID[0], result)
    assert store.keys() == []
    assert store.missing(GRID) == GRID
    assert not list((store.folder / "partial").glob("*"))


def test_an_absent_cell_is_named(store):
    with pytest.raises(InputError, match=r'holds no cell {"size":\[10,10\],"spacing":0.5}'):
        store.get(GRID[0])


# --- running ----------------------------------------------------------------------------------------


def test_only_what_depends_on_a_changed_line_is_computed_again(store):
    calls = []

    def counted(config):
        calls.append(config)
        return compute(config)

    first = run_cells([*GRID, GRID[0]], counted, store)
    assert (first.computed, first.reused) == (4, 0)
    assert calls == GRID
    changed = [*GRID[:3], {"spacing": 0.125, "size": [10, 12]}]
    second = run_cells(changed, counted, store)
    assert (second.computed, second.reused) == (1, 3)
    assert calls[4:] == changed[3:]
    assert run_cells(GRID, counted, store).computed == 0


def test_progress_counts_what_was_there(store):
    told = []
    run_cells(GRID[:2], compute, store)
    run_cells(GRID, compute, store, lambda step, done, total: told.append((step, done, total)))
    assert told == [("cells", 2, 4), ("cells", 3, 4), ("cells", 4, 4)]


def test_a_refused_cell_does_not_lose_the_others(store):
    def picky(config):
        if config["spacing"] == 0.25:
            raise InputError("no cell conducts.")
        return compute(config)

    with pytest.raises(InputError, match=r'"spacing":0\.25}: no cell conducts \(1 of 4 cells were refused'):
        run_cells(GRID, picky, store)
    assert store.missing(GRID) == GRID[1:2]


def test_an_interruption_keeps_what_is_stored(store):
    def tired(config):
        if config == GRID[2]:
            raise KeyboardInterrupt
        return compute(config)

    with pytest.raises(KeyboardInterrupt):
        run_cells(GRID, tired, store)
    assert store.missing(GRID) == GRID[2:]


@pytest.mark.slow
def test_workers_compute_the_same_bytes(tmp_path):
    alone, together = ResultsStore(tmp_path / "a"), ResultsStore(tmp_path / "b")
    run_cells(GRID, compute, alone)
    done = run_cells(GRID, compute, together, workers=2)
    assert done.computed == 4
    assert tree(together.folder) == tree(alone.folder)
    assert together.index() == alone.index()


def die(config):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_is_told(store):
    with pytest.raises(InputError, match=r"a worker process was killed.*0 of 4 cells are stored.*fewer workers"):
        run_cells(GRID, die, store, workers=2)


def test_the_number_of_workers_is_checked(store):
    with pytest.raises(InputError, match="workers must be at least 1; got 0"):
        run_cells(GRID, compute, store, workers=0)


@pytest.mark.slow
def test_workers_leave_when_the_parent_is_killed(tmp_path):
    process = child(f"t.fill({str(tmp_path / 's')!r}, 40, {str(tmp_path / 'log')!r}, 0.5, workers=2)")
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline, "no worker began"
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


# --- killed, shared, full -----------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_random_times_it_ends_as_if_it_had_not_been(tmp_path):
    rng = random.Random(3)
    cells = [{"n": i} for i in range(14)]
    whole = ResultsStore(tmp_path / "whole")
    run_cells(cells, compute, whole)
    store = ResultsStore(tmp_path / "store")
    call = f"t.fill({str(store.folder)!r}, {len(cells)}, {str(tmp_path / 'log')!r}, 0.05)"
    cut_short = 0
    for _ in range(8):
        process = child(call)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.3))  # all cells take 0.7 s at least
        process.kill()
        process.communicate()
        present = [config for config in cells if config in store]
        assert [store.get(config).record for config in present] == [compute(config).record for config in present]
        cut_short += len(present) < len(cells)
    assert cut_short >= 2
    finish(child(call))
    assert tree(store.folder) == tree(whole.folder)
    assert store.index() == whole.index()
    assert not list((store.folder / "partial").iterdir())


@pytest.mark.slow
def test_two_processes_share_the_cells(tmp_path):
    log = tmp_path / "log"
    call = f"t.fill({str(tmp_path / 's')!r}, 12, {str(log)!r}, 0.1)"
    for process in [child(call), child(call)]:
        finish(process)
    computed = log.read_text().splitlines()
    assert len(computed) == len(set(computed)) == 12
    store = ResultsStore(tmp_path / "s")
    assert store.missing([{"n": i} for i in range(12)]) == []
    assert len(store.index()) == 12
    assert not list((store.folder / "locks").iterdir())


def test_a_cell_that_another_process_computes_is_waited_for(store, monkeypatch):
    """The other process (here: another hold of the lock) stores the cell while this one waits."""
    calls, waits = [], []
    claim = store.claim(GRID[1])
    assert claim.__enter__()

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            store.put(GRID[1], compute(GRID[1]))
            claim.__exit__(None, None, None)

    def counted(config):
        calls.append(config)
        return CellResult({"cells": 3})

    monkeypatch.setattr(store_module.time, "sleep", wait)
    done = run_cells(GRID, counted, store)
    assert calls == [GRID[0], GRID[2], GRID[3]]
    assert len(waits) == 3
    assert (done.computed, done.reused) == (3, 1)


def test_a_lock_is_held_by_one_at_a_time(store):
    """Also where its file is removed by one holder while another waits for it."""
    counts = [0]

    def count():
        for _ in range(60):
            with store._lock("counter"):
                seen = counts[0]
                time.sleep(0.0005)
                counts[0] = seen + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [240]


def put_often(folder: str) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    store = ResultsStore(folder)
    for _ in range(4):
        for i in range(5):
            store.put({"n": i}, compute({"n": i}))


@pytest.mark.slow
def test_two_processes_may_put_the_same_cells(tmp_path):
    for process in [child(f"t.put_often({str(tmp_path / 's')!r})") for _ in range(2)]:
        finish(process)
    store = ResultsStore(tmp_path / "s")
    assert store.missing([{"n": i} for i in range(5)]) == []
    lines = (store.folder / "index.jsonl").read_text().splitlines()
    assert len(lines) == 5


def test_a_full_disk_leaves_no_half_cell(store, monkeypatch):
    run_cells(GRID[:1], compute, store)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device\); 1 of 4 cells are stored and stay. Make room"):
            run_cells(GRID, compute, store)
    assert len(store.keys()) == 1
    assert not list((store.folder / "partial").iterdir())
    assert run_cells(GRID, compute, store).computed == 3


def fill_within(folder: str, limit: int) -> None:
    """Run cells where no file may grow beyond a limit: the operating system refuses in the middle of a chunk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = ResultsStore(folder)
    try:
        run_cells([{"n": 0}], big, store)
    except InputError as problem:
        sys.stderr.write(str(problem))
        sys.exit(3)


def big(config):
    return CellResult({}, {"x": np.random.default_rng(0).normal(size=200_000)})


@pytest.mark.slow
def test_a_refusal_of_the_operating_system_leaves_no_half_cell(tmp_path):
    process = child(f"t.fill_within({str(tmp_path / 's')!r}, 300_000)")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err.decode()
    assert "File too large" in err.decode()
    assert "0 of 1 cells are stored" in err.decode()
    store = ResultsStore(tmp_path / "s")
    assert store.keys() == []
    store.sweep()  # a thread of the failed write may have been slower than the removal: the next run takes that away
    assert not list((store.folder / "partial").iterdir())
    run_cells([{"n": 0}], big, store)
    assert np.array_equal(store.get({"n": 0}).load("x").values, big({}).arrays["x"])


def test_what_dead_processes_left_is_swept(store):
    stages = store.folder / "partial"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = socket.gethostname()
    dead, alive = stages / f"k~{host}~{gone.pid}~1", stages / f"k~{host}~{os.getpid()}~1"
    elsewhere, ancient = stages / "k~elsewhere~1~1", stages / "k~elsewhere~2~1"
    for folder in (dead, alive, elsewhere, ancient):
        folder.mkdir(parents=True)
    os.utime(ancient, (0, 0))
    store.sweep()
    assert sorted(stages.iterdir()) == sorted([alive, elsewhere])


def test_a_workspace_lasts_until_its_cell_is_stored(store):
    seen = []

    def twice(config):
        space = store.workspace(config)
        seen.append((space / "checkpoint").exists())
        (space / "checkpoint").write_text("half way")
        if len(seen) == 1:
            raise KeyboardInterrupt
        return compute(config)

    with pytest.raises(KeyboardInterrupt):
        run_cells(GRID[:1], twice, store)
    run_cells(GRID[:1], twice, store)
    assert seen == [False, True]
    assert not list((store.folder / "work").iterdir())


# --- damage -----------------------------------------------------------------------------------------


def flip_a_bit(cell: Path) -> None:
    path = next(p for p in (cell / "data.zarr" / "ecg" / "ecg").rglob("*") if p.is_file() and p.name != "zarr.json")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_a_chunk(cell: Path) -> None:
    next(p for p in (cell / "data.zarr" / "ecg" / "ecg").rglob("0") if p.is_file()).unlink()


def cut_a_chunk(cell: Path) -> None:
    path = next(p for p in (cell / "data.zarr" / "ecg" / "time").rglob("0") if p.is_file())
    path.write_bytes(path.read_bytes()[:-3])


def add_a_file(cell: Path) -> None:
    (cell / "data.zarr" / "ecg" / "stray").write_text("")


def edit_metadata(cell: Path) -> None:
    path = cell / "data.zarr" / "ecg" / "ecg" / "zarr.json"
    path.write_text(path.read_text().replace("float64", "int64"))


def edit_the_record(cell: Path) -> None:
    path = cell / "cell.json"
    text = path.read_text()
    assert '"cells": 3' in text
    path.write_text(text.replace('"cells": 3', '"cells": 4'))


def truncate_the_record(cell: Path) -> None:
    path = cell / "cell.json"
    path.write_text(path.read_text()[:-20])


def lose_the_record(cell: Path) -> None:
    (cell / "cell.json").unlink()


def take_anothers_place(cell: Path) -> None:
    other = next(p for p in cell.parent.iterdir() if p != cell)
    shutil.rmtree(cell)
    shutil.copytree(other, cell)


DAMAGE = [
    flip_a_bit,
    lose_a_chunk,
    cut_a_chunk,
    add_a_file,
    edit_metadata,
    edit_the_record,
    truncate_the_record,
    lose_the_record,
    take_anothers_place,
]


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory) -> Path:
    """Two intact cells; not to be changed."""
    store = ResultsStore(tmp_path_factory.mktemp("intact") / "store", version="test 1")
    run_cells(GRID[:2], compute, store)
    return store.folder


@pytest.mark.parametrize("damage", DAMAGE, ids=[d.__name__ for d in DAMAGE])
def test_a_damaged_cell_is_noticed_and_computed_anew(two_cells, store, damage):
    shutil.copytree(two_cells, store.folder)
    before = tree(store.folder)
    cell = store.folder / "cells" / store.key(GRID[0])
    damage(cell)
    with pytest.raises(DamagedCell, match=r"differs from what was stored; the cell is damaged"):
        store.get(GRID[0])
    assert store.missing(GRID[:2]) == GRID[:1]
    assert tree(store.folder) != before
    done = run_cells(GRID[:2], compute, store)
    assert (done.computed, done.reused) == (1, 1)
    assert len(done.damaged) == 1
    assert str(cell) in done.damaged[0]
    assert tree(store.folder) == before
    assert len(store.index()) == 2


def test_an_intact_cell_is_not_written_again(two_cells, store):
    shutil.copytree(two_cells, store.folder)
    cell = store.folder / "cells" / store.key(GRID[0]) / "cell.json"
    written = cell.stat().st_mtime_ns
    store.put(GRID[0], compute(GRID[0]))
    assert cell.stat().st_mtime_ns == written


# --- index ------------------------------------------------------------------------------------------


def forget(index: Path) -> None:
    index.unlink()


def tear(index: Path) -> None:
    index.write_text(index.read_text()[:-9])


def repeat(index: Path) -> None:
    index.write_text(index.read_text() * 2)


def shorten(index: Path) -> None:
    index.write_text(index.read_text().splitlines(keepends=True)[0])


def scribble(index: Path) -> None:
    index.write_text('{"key": 3}\n[]\n')


def invent(index: Path) -> None:
    index.write_text(index.read_text() + '{"key": "0", "version": "", "config": {}, "record": {}}\n')


@pytest.mark.parametrize("harm", [forget, tear, repeat, shorten, scribble, invent])
def test_the_index_is_made_of_the_cells(two_cells, store, harm):
    shutil.copytree(two_cells, store.folder)
    before = store.index()
    assert [row.record["cells"] for row in before] == [3, 3]
    assert sorted(row.config["spacing"] for row in before) == [0.25, 0.5]
    harm(store.folder / "index.jsonl")
    assert store.index() == before
    assert store.rebuild_index() == before
    assert len((store.folder / "index.jsonl").read_text().splitlines()) == 2


def test_an_empty_store_has_no_index(tmp_path):
    store = ResultsStore(tmp_path / "nothing")
    assert store.index() == store.rebuild_index() == []
    assert not store.folder.exists()
    assert repr(store).endswith("0 cells)")
