"""What built-in cases are made of, kept in the user's cache, so that a beat is simulated once on a machine.

A cell of a results store holds the arrays under a hash of everything that decides them: settings, geometry, the source
code that computes them, versions of the numerical packages, the processor. It is written to a temporary folder and
renamed when it is whole, and it is checked against its checksums when it is read; what is damaged or cannot be read is
computed anew. Deleting the folder costs time, nothing else.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from einthoven.core import InputError, Recording
from einthoven.io import caches
from einthoven.studies.provenance import machine, versions
from einthoven.studies.store import CellResult, ResultsStore

#: Parts of the package whose source decides the built-in cases.
SOURCES = ("core", "geometry", "datasets/phantom", "ionic", "tissue", "protocol", "simulate", "forward")
#: Modules of this package that do.
MODULES = ("phantom_beat.py", "phantom_surface.py")
#: The oldest cells beyond this many are removed.
MOST_CELLS = 12


def cache_folder() -> Path:
    """Where cells are kept."""
    return caches.cache_folder("beats")


@cache
def code_version() -> str:
    """Checksum of the source that decides the built-in cases, of the packages it uses, and of the processor's name."""
    digest = hashlib.sha256(repr((sorted(versions().items()), machine()["processor"])).encode())
    root = Path(str(resources.files("einthoven")))
    files = [path for part in SOURCES for path in sorted((root / part).rglob("*.py"))]
    for path in (*files, *(root / "studies" / name for name in MODULES)):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kept(config: Mapping[str, Any], compute: Callable[[], Mapping[str, Recording]]) -> dict[str, Recording]:
    """Return recordings by name: those that are kept for a configuration, or else computed and kept.

    Parameters
    ----------
    config
        Everything but the code that decides them, as `einthoven.studies.store` takes it.
    compute
        Computes them. A cache that cannot be written costs the next call its time and is no error.
    """
    store = ResultsStore(cache_folder(), version=code_version())
    try:
        cell = store.get(config)
        return {name: Recording.from_xarray(cell.load(name)) for name in cell.names}  # type: ignore[arg-type]
    except InputError:  # absent, or damaged
        made = dict(compute())
    try:
        store.sweep()
        store.put(config, CellResult({}, {name: recording.to_xarray() for name, recording in made.items()}))
        _keep_newest(store.folder / "cells")
    except OSError:
        pass
    return made


def _keep_newest(folder: Path) -> None:
    cells = sorted(folder.iterdir(), key=lambda cell: cell.stat().st_mtime)
    for cell in cells[:-MOST_CELLS]:
        shutil.rmtree(cell, ignore_errors=True)
