"""Compiled work on several threads: one right-hand side, or one piece of a range, at a time."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any


def on_threads(work: Callable[..., Any], calls: Iterable[tuple]) -> list[Any]:
    """Results of ``work(*call)`` for every call, on as many threads as Numba may use; `work` releases the lock."""
    from concurrent.futures import ThreadPoolExecutor

    import numba

    calls = list(calls)
    threads = min(numba.get_num_threads(), len(calls))
    if threads < 2:
        return [work(*call) for call in calls]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: work(*call), calls))


def pieces(n: int, least: int = 4096) -> list[tuple[int, int]]:
    """Cut the numbers from 0 to n into ranges, one per thread, none shorter than `least` unless there is only one."""
    import numba

    parts = max(1, min(numba.get_num_threads(), n // least))
    bounds = [n * k // parts for k in range(parts + 1)]
    return list(pairwise(bounds))
