"""``einthoven worker``: processes that compute for a dask scheduler."""

import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from einthoven.cli import console

#: One thread for every library: results do not depend on where a cell is computed.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

#: Seconds between two attempts to find the scheduler.
AGAIN = 2.0


def worker(
    scheduler: Annotated[str, typer.Argument(help="Address of the scheduler, such as tcp://10.0.0.1:8786.")],
    processes: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    stay: Annotated[bool, typer.Option("--stay/--leave", help="Wait for a scheduler that was lost.")] = True,
) -> None:
    """Compute for a scheduler (`dask scheduler`), one thread per process; the store's folder must be shared."""
    from importlib.util import find_spec

    from einthoven.core import InputError

    if find_spec("distributed") is None:
        raise InputError("a worker needs dask.distributed: pip install 'einthoven[cluster]'.")
    words = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-dashboard"]
    words += ["--nworkers", str(processes)]
    signal.signal(signal.SIGTERM, _leave)
    while True:
        process = subprocess.Popen(words, env={**os.environ, **ONE_THREAD})
        try:
            code = process.wait()
        except KeyboardInterrupt:
            console.fail("stopped; what this worker was computing is given to others.", code=130)
        finally:
            _end(process)
        if not stay:
            raise typer.Exit(code)
        console.say(f"no scheduler at {scheduler}; looking for it again")
        time.sleep(AGAIN)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _end(process: subprocess.Popen) -> None:
    """End the workers with this process."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
