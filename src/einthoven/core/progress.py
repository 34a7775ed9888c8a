"""How long work tells how far it is; the numerics themselves stay silent."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called as ``progress(step, done, total)`` when a step advances.

    What follows ": " in `step` is a remark on its state, not part of its name.
    """

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note that `done` of `total` parts of the named step are finished."""
        ...


def silent(step: str, done: int, total: int) -> None:
    """Take no note."""
