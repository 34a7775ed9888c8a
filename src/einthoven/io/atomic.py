"""Write whole or not at all: to a temporary neighbor, renamed when finished."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from einthoven.core import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on failure it goes.

    Works for files and for folders. What was at `path` before stays untouched until the new one is
    complete.

    Raises
    ------
    InputError
        If the folder that is to hold `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot write there, the folder {path.parent} does not exist. Create it first.")
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    _remove(partial)
    try:
        yield partial
        if partial.is_dir() and path.exists():
            swap_in(partial, path)
        else:
            os.replace(partial, path)
    finally:
        _remove(partial)


def swap_in(new: Path, path: Path) -> None:
    """Move `new` to `path`, where a folder stands (a rename cannot replace one); put that back if it fails.

    Parameters
    ----------
    new
        File or folder on the same file system.
    path
        What it is to replace.
    """
    old = path.with_name(f".{path.stem}.{os.getpid()}.old{path.suffix}")
    _remove(old)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(old, path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
