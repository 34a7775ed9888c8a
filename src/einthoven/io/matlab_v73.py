"""MATLAB's version 7.3: HDF5 with MATLAB's conventions, through h5py."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.matlab_v5 import DEPTH, Cells, Opaque, Structs
from einthoven.io.reading import check_unpacked, damage

#: Largest factor by which deflate can compress.
DEFLATE = 1032


def is_version73(head: bytes) -> bool:
    """Whether the header says 7.3, or the file is bare HDF5."""
    marked = head[:19] == b"MATLAB 7.3 MAT-file" or head[124:128] in (b"\x00\x02IM", b"\x02\x00MI")
    return marked or head[:8] == b"\x89HDF\r\n\x1a\n"


def read_variables(path: Path) -> dict[str, Any]:
    """Return the variables by name, in the types of `einthoven.io.matlab_v5.read_variables`.

    Raises
    ------
    FileFormatError
        If the file is damaged or promises more than it holds.
    """
    import h5py

    with damage(path, "MATLAB 7.3 (HDF5) file"), h5py.File(path, "r") as file:
        visits = _Visits(path, file)
        return {k: _value(visits, member, 0) for k, member in visits.members(file) if not k.startswith("#")}


@dataclass
class _Visits:
    """The file, and how much of it was visited: references may lead to the same place again and again."""

    path: Path
    file: Any
    items: int = 0
    bytes: int = 0

    def take(self, item: Any, promised: int = 0) -> None:
        """Count an item; refuse more items, or more bytes, than the file can hold."""
        self.items, self.bytes = self.items + 1, self.bytes + promised
        size = self.path.stat().st_size
        if self.items > 100 + size // 8:
            raise FileFormatError(self.path, "its references lead in circles or to the same places.", where=item.name)
        check_unpacked(self.path, self.bytes, size, where=item.name)

    def members(self, group: Any) -> Iterator[tuple[str, Any]]:
        """Members of a group by name; those that lie in another file are refused."""
        import h5py

        for name in map(str, group):
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise FileFormatError(self.path, f"{name} lies in another file; copy it into this one.")
            yield name, group[name]


def _value(visits: _Visits, item: Any, depth: int) -> Any:
    import h5py

    path = visits.path
    visits.take(item)
    if depth > DEPTH:
        raise FileFormatError(path, f"cells and structs are nested more than {DEPTH} deep.", where=item.name)
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if "MATLAB_object_decode" in item.attrs and int(item.attrs["MATLAB_object_decode"]) == 3:
        return Opaque(kind)
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            return _sparse(visits, item)
        return Structs((1, 1), ({k: _value(visits, member, depth + 1) for k, member in visits.members(item)},))
    return _dataset(visits, item, kind=kind, depth=depth)


def _dataset(visits: _Visits, item: Any, *, kind: str, depth: int) -> Any:
    import h5py

    path, file = visits.path, visits.file
    if item.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.zeros((0, 0))
    values = _load(visits, item)
    if values.dtype == h5py.ref_dtype:
        found = tuple(_value(visits, file[ref], depth + 1) for ref in values.ravel())
        return Cells(tuple(reversed(values.shape)), found)
    if values.dtype.kind not in "biufc" and not (values.dtype.names and set(values.dtype.names) == {"real", "imag"}):
        return Opaque(kind or str(values.dtype))
    if values.dtype.names:
        values = values["real"] + 1j * values["imag"]
    if kind == "char":
        codes = values.astype(np.int64).ravel()
        if codes.size and (codes.min() < 0 or codes.max() > 0xFFFF):
            raise FileFormatError(path, "text must hold 16-bit characters.", where=item.name)
        return "".join(map(chr, codes.tolist()))
    return values.T.astype(np.bool_) if kind == "logical" else np.ascontiguousarray(values.T)


def _load(visits: _Visits, item: Any) -> np.ndarray:
    """Read a dataset after checking its size against what is stored, and that it is stored in this file."""
    path = visits.path
    if item.external or item.is_virtual:
        raise FileFormatError(path, "its values lie in another file; copy them into this one.", where=item.name)
    need = prod(item.shape) * item.dtype.itemsize
    visits.take(item, need)
    stored = item.id.get_storage_size()
    if need > stored * (DEFLATE if item.chunks else 1) + 4096:
        problem = f"{need} bytes are promised, {stored} are stored. Is the file cut off?"
        raise FileFormatError(path, problem, where=item.name)
    return np.asarray(item[()])


def _sparse(visits: _Visits, item: Any) -> Any:
    from scipy.sparse import csc_array

    path, parts = visits.path, dict(visits.members(item))
    starts = _load(visits, parts["jc"]).astype(np.int64)
    rows = _load(visits, parts["ir"]).astype(np.int64) if "ir" in parts else np.zeros(0, dtype=np.int64)
    values = _load(visits, parts["data"]).astype(np.float64) if "data" in parts else np.zeros(0)
    n_rows, used = int(item.attrs["MATLAB_sparse"]), int(starts[-1])
    ok = starts[0] == 0 and (np.diff(starts) >= 0).all() and used <= min(rows.size, values.size)
    if not ok or (used and not 0 <= rows[:used].min() <= rows[:used].max() < n_rows):
        raise FileFormatError(path, "the indices of a sparse matrix lie outside.", where=item.name)
    return csc_array((values[:used], rows[:used], starts), shape=(n_rows, len(starts) - 1))
