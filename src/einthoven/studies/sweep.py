"""Running the cells that a store lacks: here, in processes of this machine, or on a cluster.

Whoever computes a cell stores it, so that nothing that is done is lost, whatever happens to the processes. Several may
work on one store: a cell is reserved while it is computed.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from einthoven.core import InputError
from einthoven.core.progress import Progress, silent
from einthoven.studies.cell_tasks import Tally, Task, run_here
from einthoven.studies.cluster import run_on_cluster
from einthoven.studies.store import CellResult, Config, ResultsStore, canonical

#: A number of processes of this machine, or the address of a dask scheduler.
Workers = int | str


def check_workers(workers: Workers) -> None:
    """Raise `InputError` unless it is a positive number or a text."""
    if isinstance(workers, int) and workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}.")


@dataclass(frozen=True)
class Sweep:
    """What `run_cells` did.

    Parameters
    ----------
    computed, reused
        How many cells were computed, and how many were there already.
    damaged
        A sentence for every stored cell that was damaged and therefore computed anew.
    """

    computed: int
    reused: int
    damaged: tuple[str, ...] = ()


def run_cells(
    cells: Sequence[Config],
    compute: Callable[[Config], CellResult],
    store: ResultsStore,
    progress: Progress = silent,
    *,
    workers: Workers = 1,
    name: Callable[[Config], str] | None = None,
) -> Sweep:
    """Compute the cells that a store lacks and put them there as they finish.

    Processes that run the same cells on the same store share the work: each leaves alone what another is computing, and
    waits for it at the end.

    Parameters
    ----------
    cells
        Configurations; equal ones are computed once.
    compute
        From a configuration to its result, the same whenever it is called. With several workers it must be importable
        (a function of a module, or a `functools.partial` of one).
    store
        Where cells are looked for and put.
    progress
        Told after each cell.
    workers
        Processes of this machine (1 computes in this process), or the address of a dask scheduler, whose workers
        compute (`einthoven.studies.cluster`).
    name
        How a cell is called in messages; default: its whole configuration.

    Returns
    -------
    Sweep
        How many were computed, how many found, which were damaged.

    Raises
    ------
    InputError
        If a cell refuses its configuration (the others are computed and stored first), a worker dies, or the disk is
        full. Everything stored stays.
    """
    check_workers(workers)
    wanted = list({store.key(config): config for config in cells}.values())
    store.sweep()
    damaged = tuple(filter(None, map(store.damage, wanted)))
    todo = store.missing(wanted)
    task = Task(compute, store)
    tally = Tally(len(wanted), len(wanted) - len(todo), progress)
    try:
        if isinstance(workers, str):
            run_on_cluster(task, todo, tally, workers)
        elif workers == 1 or len(todo) < 2:
            run_here(task, todo, tally)
        else:
            _run_pool(task, todo, tally, workers)
    except OSError as problem:
        raise InputError(
            f"{store.folder}: cannot be written ({problem.strerror or problem}); {tally.stored} of {len(wanted)} cells "
            "are stored and stay. Make room and run again."
        ) from problem
    if tally.refused:
        config, reason = tally.refused[0]
        more = f" ({len(tally.refused)} of {len(wanted)} cells were refused; the others are stored)"
        called = f"cell {canonical(config)}" if name is None else name(config)
        raise InputError(f"{called}: {reason.rstrip('.')}{more if len(wanted) > 1 else ''}.")
    return Sweep(tally.computed, len(wanted) - tally.computed, damaged)


def _run_pool(task: Task, cells: Sequence[Config], tally: Tally, workers: int) -> None:
    """Run in fresh processes (threads of compiled code do not survive a fork); they end with this one."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    before = multiprocessing.active_children()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(cells)), mp_context=context, initializer=_begin_worker)
    busy = []
    try:
        futures = {pool.submit(task, config): config for config in cells}
        for future in as_completed(futures):
            done = future.result()
            if done.state == "busy":
                busy.append(futures[future])
            else:
                tally.add(futures[future], done)
    except BrokenProcessPool:
        raise InputError(
            f"{task.store.folder}: a worker process was killed (out of memory?); {tally.stored} of {tally.total} cells "
            "are stored and stay. Run again with fewer workers."
        ) from None
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in before:
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    run_here(task, busy, tally)


def _begin_worker() -> None:
    """Leave interrupts to the process that runs the cells, and leave with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
