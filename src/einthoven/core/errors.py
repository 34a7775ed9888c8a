"""Errors that a user can mend: each message says what, where, and how to mend it."""

from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and the remedy.

    The command line prints such a message as one line, without a traceback.
    """


class GeometryError(InputError):
    """A surface or a volume conductor is not usable; the message names faces or nodes."""


class FileFormatError(InputError):
    """A file could not be read; the message names the file and the offset or line.

    Parameters
    ----------
    path
        The file.
    problem
        What is wrong and how to mend it.
    where
        Place in the file, for example ``"line 12"`` or ``"byte 96"``.
    """

    def __init__(self, path: str | Path, problem: str, *, where: str = ""):
        self.path = Path(path)
        self.where = where
        self.problem = problem
        super().__init__(f"{path}{', ' + where if where else ''}: {problem}")

    def __reduce__(self):
        # exceptions are rebuilt from `args` (the message alone) unless told otherwise
        return _file_format_error, (self.path, self.problem, self.where)


def _file_format_error(path: Path, problem: str, where: str) -> FileFormatError:
    return FileFormatError(path, problem, where=where)


def some(items: Iterable[object], *, limit: int = 5) -> str:
    """List the first few items for an error message: ``"3, 8, 12 and 40 more"``."""
    shown = [str(i) for i in items]
    if len(shown) <= limit:
        return ", ".join(shown)
    return f"{', '.join(shown[:limit])} and {len(shown) - limit} more"
