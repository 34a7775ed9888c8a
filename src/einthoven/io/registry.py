"""One `read` and one `write` for every file format."""

import os
import tempfile
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from einthoven.core import Electrodes, FileFormatError, ForwardOperator, GeometryError, InputError, Recording, Surface
from einthoven.io.atomic import swap_in
from einthoven.io.content import Content
from einthoven.io.formats import Format

#: Modules that list their formats in ``FORMATS``; where two share an ending, the
#: earlier is asked first when reading and preferred when writing.
MODULES = (
    "einthoven.io.challenge",
    "einthoven.io.matlab",
    "einthoven.io.scirun",
    "einthoven.io.map3d",
    "einthoven.io.ecgsim",
    "einthoven.io.carp",
    "einthoven.io.igb",
    "einthoven.io.ply",
    "einthoven.io.stl",
    "einthoven.io.vtk",
    "einthoven.io.tables",
    "einthoven.io.signals_files",
    "einthoven.io.zarr_store",
)

#: Bytes a format is shown to recognize a file.
HEAD_BYTES = 512


@cache
def formats() -> tuple[Format, ...]:
    """Return every known file format, in the order they are asked."""
    return tuple(f for name in MODULES if find_spec(name) is not None for f in import_module(name).FORMATS)


def read(path: str | Path, *, format: str | None = None) -> Content:
    """Read a file of any known format.

    The format follows from the file's ending and, where several formats share it, from the first
    bytes. Reading never repairs: a surface wound inward stays so and `Content.info` says it.

    Parameters
    ----------
    path
        A file (or a Zarr folder).
    format
        Name of the format, to overrule the ending.

    Raises
    ------
    InputError
        If there is no such file, or nobody knows its ending.
    FileFormatError
        If the file is damaged; the message names the byte or line.
    """
    path = Path(path)
    found = _existing(path)
    reader = _named(format) if format is not None else _reader(path, found)
    try:
        return reader.read(path)
    except FileFormatError:
        raise
    except GeometryError as error:
        raise FileFormatError(path, str(error)) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def write(
    obj: Content | Surface | Recording | ForwardOperator | Electrodes | np.ndarray,
    path: str | Path,
    *,
    format: str | None = None,
) -> None:
    """Write an object in the format its path asks for.

    Everything is written beside the target first and then renamed: an existing file is replaced
    only when the new one is whole.

    Parameters
    ----------
    obj
        What to write. An array becomes the matrix or the potentials of the file.
    path
        Where to; the ending names the format.
    format
        Name of the format, to overrule the ending (``format="scirun"`` for a SCIRun ``.mat``).

    Raises
    ------
    InputError
        If the format is unknown, only read, or cannot hold the object, or a folder is in the way.
    """
    path = Path(path)
    content = to_content(obj, path)
    writer = _named(format) if format is not None else _writer(path)
    if writer.write is None:
        raise InputError(f"{path}: {writer.name} files are only read. Known for writing: {_endings(writing=True)}.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
            writer.write(content, Path(folder) / path.name)
            _move_into_place(Path(folder), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error


def to_content(obj: object, path: str | Path = "") -> Content:
    """Return an object as the `Content` of a file at `path`.

    Raises
    ------
    InputError
        If the object is of a kind that files do not hold.
    """
    path = Path(path)
    match obj:
        case Content():
            return obj
        case Surface():
            return Content(path, "memory", surfaces=(obj,))
        case Recording():
            return Content(path, "memory", time_series=obj)
        case Electrodes():
            return Content(path, "memory", points={"electrodes": obj.positions}, names={"electrodes": obj.names})
        case ForwardOperator():
            facts = {"in_quantity": obj.in_quantity, "out_quantity": obj.out_quantity, "reference": obj.reference}
            names = {"matrix": obj.out_sites, "matrix:columns": obj.in_sites}
            return Content(path, "memory", arrays={"matrix": obj.matrix}, names=names, info=facts)
        case np.ndarray():
            return Content(path, "memory", arrays={"values": obj})
    raise InputError(
        f"{path}: cannot write a {type(obj).__name__}; write takes Content, Surface, Recording, ForwardOperator, "
        "Electrodes or an array (a case: einthoven.io.cases.write_case)."
    )


def _existing(path: Path) -> bytes:
    """First bytes of the file (none for a folder)."""
    if path.is_dir():
        if (path / "case.toml").exists():
            raise InputError(f"{path}: this is a case folder; read it with einthoven.io.cases.read_case.")
        if not _candidates(path):
            raise InputError(f"{path}: this is a folder; name a file in it.")
        return b""
    if not path.exists():
        raise InputError(f"{path}: there is no such file.{_neighbors(path)}")
    if not path.is_file():
        raise InputError(f"{path}: is a device, a pipe or a socket, not a file.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not head:
        raise FileFormatError(path, "the file is empty.")
    return head


def _neighbors(path: Path) -> str:
    """Suggest a file with the same stem."""
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    similar = sorted(p.name for p in path.parent.glob(f"{path.stem}.*"))[:3] if path.stem.isidentifier() else []
    return f" Did you mean {' or '.join(similar)}?" if similar else ""


def _candidates(path: Path) -> list[Format]:
    """Formats of the longest ending that fits."""
    name = path.name.lower()
    fits = {s for f in formats() for s in f.suffixes if name.endswith(s)}
    if not fits:
        return []
    longest = max(fits, key=len)
    return [f for f in formats() if longest in f.suffixes]


def _reader(path: Path, head: bytes) -> Format:
    candidates = _candidates(path)
    if not candidates:
        raise InputError(f"{path}: unknown kind of file. Known endings: {_endings()}; or name it with format=...")
    if len(candidates) == 1:
        return candidates[0]
    for candidate in candidates:
        if candidate.recognizes(path, head):
            return candidate
    raise FileFormatError(path, f"looks like none of {', '.join(f.name for f in candidates)}.", where="byte 0")


def _writer(path: Path) -> Format:
    candidates = _candidates(path)
    if not candidates:
        raise InputError(f"{path}: unknown kind of file. Known for writing: {_endings(writing=True)}.")
    return next((f for f in candidates if f.write is not None), candidates[0])


def _named(name: str) -> Format:
    for known in formats():
        if known.name == name:
            return known
    raise InputError(f"format must be one of {', '.join(f.name for f in formats())}; got {name!r}.")


def _endings(*, writing: bool = False) -> str:
    return ", ".join(sorted({s for f in formats() if f.write is not None or not writing for s in f.suffixes}))


def _move_into_place(folder: Path, target: Path) -> None:
    """Rename everything in `folder` to beside `target`, the target itself last."""
    written = sorted(folder.iterdir(), key=lambda p: p.name == target.name)
    for item in written:
        final = target.parent / item.name
        if final.is_dir() and not (item.is_dir() and (final / "zarr.json").is_file()):
            raise InputError(f"{final}: a folder of that name is in the way. Move it, or choose another name.")
    for item in written:
        final = target.parent / item.name
        if final.is_dir():
            swap_in(item, final)
        else:
            os.replace(item, final)
