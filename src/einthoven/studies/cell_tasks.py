"""The turn of one cell: reserve it, compute it, store it; and counting the cells that are done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from einthoven.core import InputError
from einthoven.core.progress import Progress
from einthoven.studies.store import CellResult, Config, ResultsStore

#: How often (s) a cell that another process computes is looked at.
POLL = 0.2


class Done(NamedTuple):
    """How a cell's turn ended: ``computed``, ``found``, ``busy`` (in another process) or ``refused`` with a reason."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """Computes a cell, unless another process does, and stores it."""

    compute: Callable[[Config], CellResult]
    store: ResultsStore

    def __call__(self, config: Config) -> Done:
        """Take a cell's turn."""
        with self.store.claim(config) as held:
            if not held:
                return Done("busy")
            if not self.store.missing([config]):
                return Done("found")
            try:
                result = self.compute(config)
            except InputError as problem:
                return Done("refused", str(problem))
            self.store.put(config, result)
            self.store.clear_workspace(config)
            return Done("computed")


@dataclass
class Tally:
    """Counts finished cells and tells them."""

    total: int
    stored: int
    progress: Progress
    computed: int = 0
    refused: list[tuple[Config, str]] = field(default_factory=list)

    def __post_init__(self):
        self.progress("cells", self.stored, self.total)

    def add(self, config: Config, done: Done) -> None:
        """Count a cell whose turn has ended."""
        if done.state == "refused":
            self.refused.append((config, done.reason))
        else:
            self.computed += done.state == "computed"
            self.stored += 1
        self.progress("cells", self.stored + len(self.refused), self.total)


def run_here(task: Task, cells: Sequence[Config], tally: Tally) -> None:
    """Compute cells one by one in this process; those that others compute are waited for."""
    while cells:
        busy = []
        for config in cells:
            done = task(config)
            if done.state == "busy":
                busy.append(config)
            else:
                tally.add(config, done)
        if len(busy) == len(cells):
            time.sleep(POLL)
        cells = busy
