"""Cells on a cluster: separate workers that are killed, a scheduler that is restarted, and the same bits at the end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import CancelledError
from distributed.comm.core import CommClosedError
from test_studies_store import compute, tree

import einthoven
from einthoven.core import InputError
from einthoven.core.progress import silent
from einthoven.studies import cluster
from einthoven.studies.cell_tasks import Tally, Task
from einthoven.studies.store import ResultsStore
from einthoven.studies.sweep import run_cells

CELLS = [{"n": i} for i in range(12)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
WORKER = "from einthoven.cli.main import run; import sys; sys.argv = ['einthoven', 'worker', *sys.argv[1:]]; run()"


def started(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *words], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        words = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port)]
        self.scheduler = started([*words, "--no-dashboard"])

    def start_worker(self, *options: str) -> None:
        self.workers.append(started(["-c", WORKER, self.address, *options]))

    def computing(self) -> list[psutil.Process]:
        """The processes that compute: below the command the nanny, below that the worker."""
        found = []
        for worker in self.workers:
            try:
                below = psutil.Process(worker.pid).children(recursive=True)
                found += [p for p in below if "spawn_main" in " ".join(p.cmdline()) or not p.children()]
            except psutil.NoSuchProcess:
                continue
        return found

    def close(self) -> None:
        everything = [self.scheduler, *self.workers]
        below = [c for p in everything if p.poll() is None for c in psutil.Process(p.pid).children(recursive=True)]
        for process in [*below, *everything]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for process in everything:
            process.wait(20)


@pytest.fixture
def there():
    found = Cluster()
    yield found
    found.close()


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("serial") / "store"
    run_cells(CELLS, compute, ResultsStore(folder))
    return tree(folder)


def run_and(folder: Path, address: str, disturb, *, pause: float = 0.4) -> list[str]:
    """Run the cells while something happens once some are done; returns the log of what was computed."""
    log, seen = folder.with_suffix(".log"), threading.Event()

    def progress(step: str, done: int, total: int) -> None:
        if done >= 3:
            seen.set()

    def wait_and_disturb() -> None:
        assert seen.wait(120)
        disturb()

    thread = threading.Thread(target=wait_and_disturb)
    thread.start()
    task = partial(compute, log=str(log), pause=pause)
    sweep = run_cells(CELLS, task, ResultsStore(folder), progress, workers=address)
    thread.join()
    assert sweep.reused + sweep.computed == len(CELLS)
    return log.read_text().splitlines()


@pytest.mark.long
def test_a_killed_worker_loses_nothing(there, tmp_path, serial):
    there.start_worker("--processes", "2")
    there.start_worker()

    def kill() -> None:
        there.computing()[0].send_signal(signal.SIGKILL)

    log = run_and(tmp_path / "store", there.address, kill)
    assert tree(tmp_path / "store") == serial
    assert len(CELLS) <= len(log) <= len(CELLS) + 1


@pytest.mark.long
def test_a_worker_that_leaves_and_one_that_comes(there, tmp_path, serial):
    there.start_worker()

    def replace_worker() -> None:
        there.workers[0].send_signal(signal.SIGKILL)
        for process in there.computing():
            process.send_signal(signal.SIGKILL)
        there.start_worker()

    log = run_and(tmp_path / "store", there.address, replace_worker)
    assert tree(tmp_path / "store") == serial
    assert len(log) <= len(CELLS) + 2


@pytest.mark.long
def test_a_restarted_scheduler_goes_on(there, tmp_path, serial):
    there.start_worker("--processes", "2")

    def restart() -> None:
        there.scheduler.send_signal(signal.SIGKILL)
        there.scheduler.wait(20)
        there.start_scheduler()

    log = run_and(tmp_path / "store", there.address, restart)
    assert tree(tmp_path / "store") == serial
    assert len(log) <= len(CELLS) + 2  # what was in flight on two workers


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_FIRST", 0.0)
    monkeypatch.setattr(cluster, "ATTEMPT", 0.5)
    store = ResultsStore(tmp_path / "store")
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9: no scheduler answers; start one \(dask scheduler\)"):
        run_cells(CELLS, compute, store, workers="tcp://127.0.0.1:9")
    for wrong in ("nowhere", "tcp://host", "tcp://host:port"):
        with pytest.raises(InputError, match=f"{wrong}: is no address of a scheduler; for example tcp://10.0.0.1:8786"):
            run_cells(CELLS, compute, store, workers=wrong)


def test_a_worker_of_another_version_refuses(tmp_path):
    task = Task(compute, ResultsStore(tmp_path / "store"))
    assert cluster.RemoteTask(task, einthoven.__version__)({"n": 1}).state == "computed"
    refused = cluster.RemoteTask(task, "9.9")({"n": 2})
    assert refused.state == "refused"
    assert refused.reason.startswith(f"a worker has einthoven {einthoven.__version__}, this is 9.9")


@pytest.mark.long
def test_a_refused_cell_is_named(there, tmp_path):
    there.start_worker()
    begun = time.monotonic()
    with pytest.raises(InputError, match="n must not be 5"):
        run_cells(CELLS, refusing, ResultsStore(tmp_path / "store"), workers=there.address)
    assert len(ResultsStore(tmp_path / "store").keys()) == len(CELLS) - 1
    assert time.monotonic() - begun < 120


def refusing(config):
    if config["n"] == 5:
        raise InputError("n must not be 5.")
    return compute(config)


@pytest.mark.parametrize("lost", [CommClosedError("in gather: connection reset"), CancelledError()])
def test_a_scheduler_lost_while_a_result_is_fetched_leaves_the_cell_to_do(tmp_path, lost):
    class Future:
        status = "finished"

        def result(self) -> None:
            raise lost

    class Client:
        status = "running"

        def nthreads(self) -> dict[str, int]:
            return {"a": 1}

        def submit(self, task: object, config: object, *, pure: bool) -> Future:
            return Future()

    store = ResultsStore(tmp_path / "store")
    tally = Tally(3, 0, silent)
    task = cluster.RemoteTask(Task(compute, store), einthoven.__version__)
    left = cluster._Round(Client(), task, store, tally).run(CELLS[:3])
    assert sorted(c["n"] for c in left) == [0, 1, 2]
    assert tally.stored == 0
