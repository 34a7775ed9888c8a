"""Compiled work on several threads: one right-hand side, or one piece of a range, at a time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any


def on_threads(work: Callable[..., Any], calls: Iterable[tuple]) -> list[Any]:
    """Results of ``work(*call)`` for every call, on as many threads as Numba may use; `work` releases the lock."""
    return list(each_on_threads(work, calls))


def each_on_threads(work: Callable[..., Any], calls: Iterable[tuple]) -> Iterator[Any]:
    """The same, one result after the other, in the order of the calls."""
    from concurrent.futures import ThreadPoolExecutor

    import numba

    calls = list(calls)
    threads = min(numba.get_num_threads(), len(calls))
    if threads < 2:
        yield from (work(*call) for call in calls)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(lambda call: work(*call), calls)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def pieces(n: int, least: int = 4096) -> list[tuple[int, int]]:
    """Cut the numbers from 0 to n into ranges, one per thread, none shorter than `least` unless there is only one."""
    import numba

    parts = max(1, min(numba.get_num_threads(), n // least))
    bounds = [n * k // parts for k in range(parts + 1)]
    return list(pairwise(bounds))
