"""Results of ensembles and grids of runs, stored cell by cell, so that an interrupted study goes on where it was.

A cell is one run: its configuration (what decides its numbers, nothing else), a flat record of results and named
arrays. It is stored under a hash of the configuration and of a version of the code that computes it: what did not
change is found again, what did is computed anew. A cell is written to a temporary folder and renamed when it is whole,
so that it is complete or absent, whatever happens to the process; checksums tell a cell that was damaged later. Several
processes may fill one store.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from einthoven.core import FileFormatError, InputError
from einthoven.core.errors import some
from einthoven.io.atomic import replacing
from einthoven.studies.output import plain

if TYPE_CHECKING:
    import xarray

#: Version of the folder's layout; part of every key.
LAYOUT = 1
#: What decides a cell: names to numbers, texts, lists and tables of them.
Config = Mapping[str, Any]
#: Temporary folders of processes on other machines are taken for abandoned after this many seconds.
ABANDONED = 24 * 3600.0

_CELL, _DATA, _INDEX, _MARK = "cell.json", "data.zarr", "index.jsonl", "einthoven"


class CellResult(NamedTuple):
    """What a computed cell gives: a flat record, and arrays by name (NumPy, `xarray.DataArray` or `xarray.Dataset`)."""

    record: Mapping[str, Any]
    arrays: Mapping[str, Any] = {}


class CellSummary(NamedTuple):
    """A cell without its arrays, as the index holds it."""

    key: str
    version: str
    config: dict[str, Any]
    record: dict[str, Any]


class DamagedCell(FileFormatError):
    """A stored cell whose files differ from what was written."""


def canonical(config: Config) -> str:
    """Return a configuration as JSON with one spelling: names sorted, 1.0 written as 1, no spaces.

    Raises
    ------
    InputError
        For NaN, infinity, or something that is not a number, a text, a list or a table.
    """
    return json.dumps(_canonical(config, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _canonical(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _canonical(v, f"{place}.{k}" if place else str(k)) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_canonical(v, f"{place}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{place or 'a cell'}: must be finite to be stored; got {value}.")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if value is None or isinstance(value, bool | int | str):
        return value
    raise InputError(f"{place or 'a cell'}: must be a number, text, list or table; got {type(value).__name__}.")


def cell_key(config: Config, version: str = "") -> str:
    """Name of a cell: 32 hexadecimal digits of SHA-256 over its configuration and the version of the code."""
    text = f"{LAYOUT}\n{version}\n{canonical(config)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cell:
    """A stored cell, checked against its checksums when it was opened.

    Parameters
    ----------
    folder
        Where it is.
    summary
        Key, version, configuration and record.
    names
        Names of its arrays.
    """

    folder: Path
    summary: CellSummary
    names: tuple[str, ...]

    @property
    def config(self) -> dict[str, Any]:
        """What was computed."""
        return self.summary.config

    @property
    def record(self) -> dict[str, Any]:
        """Flat results."""
        return self.summary.record

    def load(self, name: str) -> "xarray.DataArray | xarray.Dataset":
        """Return an array, labelled, in memory; equal to the last bit to what was stored."""
        return self.open(name).load()

    def open(self, name: str) -> "xarray.DataArray | xarray.Dataset":
        """Return an array whose values are read when they are used."""
        if name not in self.names:
            raise InputError(f"{self.folder}: holds no array {name!r}; there are {', '.join(self.names) or 'none'}.")
        return _read_arrays(self.folder / _DATA, name)


class ResultsStore:
    """Cells in a folder, found by what they were computed from.

    Parameters
    ----------
    folder
        Made when the first cell is stored.
    version
        Of the code that computes the cells; change it where a change of the code changes numbers.

    Examples
    --------
    >>> import tempfile
    >>> store = ResultsStore(tempfile.mkdtemp(), version="example 1")
    >>> store.put({"spacing": 0.5}, CellResult({"speed": 0.61}))
    >>> store.get({"spacing": 0.5}).record
    {'speed': 0.61}
    >>> store.missing([{"spacing": 0.5}, {"spacing": 0.25}])
    [{'spacing': 0.25}]
    """

    def __init__(self, folder: str | Path, *, version: str = ""):
        self.folder = Path(folder)
        self.version = version

    def __repr__(self) -> str:
        return f"ResultsStore({str(self.folder)!r}, {len(self.keys())} cells)"

    def __contains__(self, config: Config) -> bool:
        """Whether there is a cell of that configuration; its checksums are not looked at."""
        return (self._cell(self.key(config)) / _CELL).is_file()

    def key(self, config: Config) -> str:
        """Name of the cell of a configuration in this store."""
        return cell_key(config, self.version)

    def keys(self) -> list[str]:
        """Names of all cells, of every version, sorted."""
        folder = self.folder / "cells"
        return sorted(e.name for e in folder.iterdir()) if folder.is_dir() else []

    def get(self, config: Config) -> Cell:
        """Return the cell of a configuration.

        Raises
        ------
        InputError
            If there is none.
        DamagedCell
            If it differs from its checksums; `einthoven.studies.sweep.run_cells` computes it anew.
        """
        folder = self._cell(self.key(config))
        if not folder.is_dir():
            raise InputError(
                f"{self.folder}: holds no cell {canonical(config)} (version {self.version!r}); compute it."
            )
        return _open_cell(folder)

    def put(self, config: Config, result: CellResult) -> None:
        """Store a cell; one that is there and intact is left alone, since the same was computed.

        Raises
        ------
        InputError
            If a record is not flat, or a name cannot be that of an array.
        OSError
            If the disk is full; nothing is left behind then.
        """
        key = self.key(config)
        summary = CellSummary(key, self.version, json.loads(canonical(config)), _flat(result.record))
        with self._temporary(key) as stage:
            _write_arrays(stage / _DATA, result.arrays)
            _write_cell(stage, summary, tuple(result.arrays))
            _sync_tree(stage)
            placed = _place(stage, self._cell(key))
        if placed:
            _sync(self.folder / "cells")
            self._append(summary)

    def missing(self, cells: Sequence[Config]) -> list[Config]:
        """Return the configurations that have no cell, or a damaged one."""
        return [config for config in cells if self.damage(config) is not None or config not in self]

    def damage(self, config: Config) -> str | None:
        """Return a sentence on what is wrong with a cell; None if it is intact or absent."""
        try:
            self.get(config)
        except DamagedCell as problem:
            return str(problem)
        except InputError:
            return None
        return None

    def index(self) -> list[CellSummary]:
        """Return all cells without their arrays, sorted by key.

        Read from ``index.jsonl``; where that does not name the cells there are, it is written anew from the cells.
        """
        keys = self.keys()
        found = _read_index(self.folder / _INDEX)
        if found is None or sorted(found) != keys:
            return self.rebuild_index()
        return [found[key] for key in keys]

    def rebuild_index(self) -> list[CellSummary]:
        """Write ``index.jsonl`` anew from the cells; damaged ones are left out."""
        if not self.folder.is_dir():
            return []
        with self._lock("index"):
            found = []
            for key in self.keys():
                try:
                    found.append(_read_summary(self._cell(key)))
                except DamagedCell:
                    continue
            with replacing(self.folder / _INDEX) as partial:
                partial.write_text("".join(_line(summary) for summary in found), encoding="utf-8")
        return found

    @contextmanager
    def claim(self, config: Config) -> Iterator[bool]:
        """Reserve a cell for this process; yields False where another process is computing it.

        The reservation is a lock of the operating system on a file: it goes with the process that holds it.
        """
        key = self.key(config)
        with self._lock(key, wait=False) as held:
            yield held

    def workspace(self, config: Config) -> Path:
        """Folder for what a cell under way wants to keep, such as a checkpoint; it goes when the cell is stored."""
        folder = self.folder / "work" / self.key(config)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_workspace(self, config: Config) -> None:
        """Remove a cell's workspace."""
        shutil.rmtree(self.folder / "work" / self.key(config), ignore_errors=True)

    def sweep(self) -> None:
        """Remove temporary folders whose processes are gone."""
        stages = self.folder / "partial"
        for left in stages.iterdir() if stages.is_dir() else ():
            if _abandoned(left):
                shutil.rmtree(left, ignore_errors=True)

    def _cell(self, key: str) -> Path:
        return self.folder / "cells" / key

    @contextmanager
    def _temporary(self, key: str) -> Iterator[Path]:
        stage = self.folder / "partial" / f"{key}~{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"
        (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        stage.mkdir(parents=True)
        try:
            yield stage
        except BaseException:
            _remove_for_good(stage)
            raise
        shutil.rmtree(stage, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a file's lock; yields False where it is taken and `wait` is False."""
        path = self.folder / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with path.open("a") as file:
                if not _take_lock(file.fileno(), wait=wait):
                    yield False
                    return
                if not _is_at(file.fileno(), path):  # its last holder has removed it meanwhile
                    continue
                try:
                    yield True
                finally:
                    with suppress(PermissionError):  # Windows removes no open file; the next holder takes it over
                        path.unlink(missing_ok=True)
                return

    def _append(self, summary: CellSummary) -> None:
        """Add a line to the index in one write; a torn or doubled line is mended by `index`."""
        with self._lock("index"), (self.folder / _INDEX).open("ab", buffering=0) as file:
            file.write(_line(summary).encode())


# --- cells on disk ----------------------------------------------------------------------------------

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record that JSON can hold; NaN becomes None."""
    flat = {str(k): plain(v) for k, v in record.items()}
    for name, value in flat.items():
        if value is not None and not isinstance(value, bool | int | float | str):
            raise InputError(
                f"record {name!r} must be a number, a text or None; got {type(value).__name__}. Store it as an array."
            )
    return flat


def _line(summary: CellSummary) -> str:
    return json.dumps(summary._asdict(), allow_nan=False) + "\n"


def _read_index(path: Path) -> dict[str, CellSummary] | None:
    """Cells by key; None where the file is not there or a line of it is torn."""
    try:
        rows = [CellSummary(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError):
        return None
    return {row.key: row for row in rows}


def _write_cell(folder: Path, summary: CellSummary, names: tuple[str, ...]) -> None:
    """Write ``cell.json``: what the cell is, and size and checksum of each of its files."""
    body = {"layout": LAYOUT, **summary._asdict(), "arrays": list(names), "files": _files(folder)}
    body["checksum"] = _json_checksum(body)
    (folder / _CELL).write_text(json.dumps(body, allow_nan=False, indent=1) + "\n", encoding="utf-8")


def _json_checksum(body: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True, allow_nan=False).encode())


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and checksum of every file but ``cell.json``."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / _CELL)
    return {p.relative_to(folder).as_posix(): _measure(p) for p in paths}


def measured(folder: Path) -> str:
    """Number of files, bytes and checksum of everything in a folder, as a text: another one after any change."""
    files = _files(folder)
    checksum = zlib.crc32(json.dumps(files, sort_keys=True).encode())
    return f"{len(files)} files, {sum(size for size, _ in files.values())} bytes, checksum {checksum}"


def _measure(path: Path) -> list[int]:
    size, checksum = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            checksum = zlib.crc32(block, checksum)
    return [size, checksum]


def _read_body(folder: Path) -> dict[str, Any]:
    """Read ``cell.json`` and check it against its checksum and the folder's name."""
    try:
        body = json.loads((folder / _CELL).read_text(encoding="utf-8"))
        checksum = body.pop("checksum")
        intact = checksum == _json_checksum(body) and body["key"] == folder.name
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise _damaged(folder, _CELL)
    return body


def _read_summary(folder: Path) -> CellSummary:
    body = _read_body(folder)
    return CellSummary(*(body[name] for name in CellSummary._fields))


def _open_cell(folder: Path) -> Cell:
    body = _read_body(folder)
    there = _files(folder)
    wrong = [name for name, stated in body["files"].items() if there.get(name) != stated]
    wrong += [name for name in there if name not in body["files"]]
    if wrong:
        raise _damaged(folder, some(wrong, limit=2))
    return Cell(folder, _read_summary(folder), tuple(body["arrays"]))


def _damaged(folder: Path, what: str) -> DamagedCell:
    return DamagedCell(folder, f"{what} differs from what was stored; the cell is damaged and has to be computed anew.")


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    import zarr

    zarr.create_group(store=str(path), zarr_format=3)
    for name, values in arrays.items():
        if not _NAME.fullmatch(name):
            raise InputError(f"an array's name must be letters, digits, '_', '.' and '-'; got {name!r}.")
        _write_array(path, name, values)


def _write_array(path: Path, name: str, values: Any) -> None:
    import xarray

    if not isinstance(values, xarray.DataArray | xarray.Dataset):
        values = xarray.DataArray(np.asarray(values))
    single = isinstance(values, xarray.DataArray)
    data = values.to_dataset(name=name) if isinstance(values, xarray.DataArray) else values
    data = data.compute().drop_encoding()
    for key, variable in data.variables.items():
        if variable.dtype.kind == "U":  # of variable length: Zarr's third format has no texts of a fixed one
            data[key] = variable.astype(np.dtypes.StringDType())
    data.attrs = {**data.attrs, _MARK: {"single": single, "name": values.name if single else None}}
    # every chunk is written as it is: one that is all zero or NaN would else be left out, and a NaN would lose its bits
    encoding = {key: {"_FillValue": None, "write_empty_chunks": True} for key in data.variables}
    data.to_zarr(path, group=name, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def _read_arrays(path: Path, name: str) -> "xarray.DataArray | xarray.Dataset":
    data = read_labelled(path, name)
    mark = data.attrs.pop(_MARK)
    return data[name].rename(mark["name"]) if mark["single"] else data


def read_labelled(path: Path, group: str) -> "xarray.Dataset":
    """Open a group of labelled arrays of a Zarr store, every value as it was stored; texts as NumPy has them."""
    import xarray

    data = xarray.open_zarr(
        path, group=group, consolidated=False, mask_and_scale=False, decode_times=False, chunks=None
    )
    for key, variable in data.variables.items():
        if isinstance(variable.dtype, np.dtypes.StringDType):
            data[key] = (variable.dims, np.asarray(variable.values.tolist(), dtype=str), variable.attrs)
    return data


def _place(stage: Path, target: Path) -> bool:
    """Move a finished cell to its place; False where an intact one is there already."""
    while True:
        try:
            os.rename(stage, target)
            return True
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        try:
            _open_cell(target)
            return False
        except DamagedCell:
            aside = stage.with_name(f"{stage.name}-old")
            with suppress(FileNotFoundError):
                os.rename(target, aside)
            shutil.rmtree(aside, ignore_errors=True)


def _remove_for_good(folder: Path) -> None:
    """Remove a folder into which threads of a failed write may still be writing: until it stays away for a while."""
    away = 0
    for _ in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        away = 0 if folder.exists() else away + 1
        if away == 4:
            return
        time.sleep(0.05)


def _abandoned(stage: Path) -> bool:
    """Whether the process that made a temporary folder is gone."""
    try:
        _, host, pid, _ = stage.name.split("~")
        if host != socket.gethostname() or sys.platform == "win32":  # where os.kill(pid, 0) would end a process
            return time.time() - stage.stat().st_mtime > ABANDONED
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):  # not ours; another user's; gone meanwhile
        return False
    return False


def _take_lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file until it is closed; False where it is taken and `wait` is False."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.05)
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sync_tree(folder: Path) -> None:
    """Bring every file and folder to the disk, so that a power cut after the rename loses nothing."""
    if sys.platform == "win32":  # neither files open for reading nor folders can be brought to the disk
        return
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
