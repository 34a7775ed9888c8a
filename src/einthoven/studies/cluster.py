"""Cells computed by the workers of a dask scheduler.

Workers are started by ``einthoven worker ADDRESS``, any number on any machine that sees the store's folder under the
same path. A worker stores what it computes; the scheduler carries names only. A worker that dies gives its cell to
another one; where the scheduler dies, its successor at the same address gets the cells that are not stored.
"""

import re
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import einthoven
from einthoven.core import InputError
from einthoven.studies.cell_tasks import POLL, Done, Tally, Task
from einthoven.studies.store import Config, ResultsStore

#: How long (s) a scheduler is looked for, at the beginning and after it was lost.
PATIENCE_FIRST, PATIENCE = 10.0, 600.0

#: How long (s) an attempt takes.
ATTEMPT = 5.0


@dataclass(frozen=True)
class RemoteTask:
    """A task that refuses to run in a package of another version, with one thread."""

    task: Task
    version: str

    def __call__(self, config: Config) -> Done:
        """Take a cell's turn."""
        import numba

        if einthoven.__version__ != self.version:
            reason = f"a worker has einthoven {einthoven.__version__}, this is {self.version}; install the same version"
            return Done("refused", reason)
        numba.set_num_threads(1)
        return self.task(config)


def run_on_cluster(task: Task, cells: Sequence[Config], tally: Tally, address: str) -> None:
    """Compute cells on the workers of a scheduler.

    Parameters
    ----------
    task
        What computes and stores a cell.
    cells
        What is computed.
    tally
        Told of every cell that is done.
    address
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    InputError
        If there is no scheduler, dask.distributed is not installed, a cell kills its workers again and again, or
        workers do not see the store.
    """
    store = ResultsStore(task.store.folder.resolve(), version=task.store.version)
    remote = RemoteTask(replace(task, store=store), einthoven.__version__)
    waiting, patience = list(cells), PATIENCE_FIRST
    while waiting:
        client = _connected(address, tally, patience)
        try:
            waiting = _Round(client, remote, store, tally).run(waiting)
        finally:
            client.close(timeout=ATTEMPT)
        patience = PATIENCE


def _connected(address: str, tally: Tally, patience: float) -> Any:
    """A client; a scheduler that is away is waited for."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a scheduler needs dask.distributed: pip install 'einthoven[cluster]'.") from None
    begun, (host, port) = time.monotonic(), _place(address)
    while True:
        try:
            socket.create_connection((host, port), timeout=ATTEMPT).close()  # a client that fails leaves things behind
            return Client(address, timeout=ATTEMPT, set_as_default=False)
        except OSError:
            if time.monotonic() - begun > patience:
                raise InputError(
                    f"{address}: no scheduler answers; start one (dask scheduler) and workers (einthoven worker "
                    f"{address}). {tally.stored} of {tally.total} cells are stored and stay."
                ) from None
        tally.progress("waiting for the scheduler", tally.stored, tally.total)
        time.sleep(1.0)


def _place(address: str) -> tuple[str, int]:
    """Host and port."""
    found = re.fullmatch(r"(?:[a-z]+://)?(.+):(\d{1,5})/?", address)
    if found is None:
        raise InputError(f"{address}: is no address of a scheduler; for example tcp://10.0.0.1:8786.")
    return found[1].strip("[]"), int(found[2])


class _Round:
    """Cells on one scheduler, until they are done or it is lost."""

    def __init__(self, client: Any, task: RemoteTask, store: ResultsStore, tally: Tally):
        self.client, self.task, self.store, self.tally = client, task, store, tally
        self.flying: dict[Any, Config] = {}

    def run(self, cells: Sequence[Config]) -> list[Config]:
        """Compute; returns the cells that are left because the scheduler was lost."""
        waiting = list(cells)[::-1]
        try:
            while (waiting or self.flying) and self._fill(waiting) and self._collect(waiting):
                time.sleep(POLL)
        except BaseException:
            self._cancel()
            raise
        return [*waiting[::-1], *self.flying.values()]

    def _fill(self, waiting: list[Config]) -> bool:
        """Give every thread a cell and a next one; few, as a worker that dies casts suspicion on all that it holds."""
        try:
            threads = sum(self.client.nthreads().values())
        except (OSError, RuntimeError):
            return False
        if not threads and not self.flying:
            self.tally.progress("waiting for workers", self.tally.stored, self.tally.total)
        while waiting and len(self.flying) < 2 * threads:
            config = waiting.pop()
            self.flying[self.client.submit(self.task, config, pure=False)] = config
        return self.client.status == "running"

    def _collect(self, waiting: list[Config]) -> bool:
        """Take what is done; False if the scheduler was lost."""
        for future in [f for f in self.flying if f.status != "pending"]:
            if future.status in ("cancelled", "lost"):
                return False
            config = self.flying[future]
            done = self._result(future, config)
            if done is None:
                return False
            del self.flying[future]
            if done.state == "busy":
                waiting.insert(0, config)
            else:
                self.tally.add(config, done)
        return True

    def _result(self, future: Any, config: Config) -> Done | None:
        """What became of a cell; None if the scheduler was lost before it told."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            done: Done = future.result()
        except (CommClosedError, CancelledError):
            return None
        except KilledWorker as problem:
            raise InputError(
                f"{self.store.folder}: {problem.allowed_failures + 1} workers died while they held one cell ({config}; "
                f"out of memory?); {self.tally.stored} of {self.tally.total} cells are stored and stay."
            ) from None
        if done.state == "computed" and config not in self.store:
            raise InputError(
                f"{self.store.folder}: a worker stored a cell that is not there: it sees another disk. The folder must "
                "be one that all machines share, under the same path."
            )
        return done

    def _cancel(self) -> None:
        """Take back what was not begun; what is under way is stored."""
        with suppress(OSError, RuntimeError):
            self.client.cancel(list(self.flying), asynchronous=False)
