"""MATLAB's version 7.3: HDF5 with MATLAB's conventions, through h5py."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.matlab_v5 import DEPTH, Cells, Opaque, Structs
from einthoven.io.reading import damage

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
        return {k: _value(path, file, file[k], 0) for k in map(str, file) if not k.startswith("#")}


def _value(path: Path, file: Any, item: Any, depth: int) -> Any:
    import h5py

    if depth > DEPTH:
        raise FileFormatError(path, f"cells and structs are nested more than {DEPTH} deep.", where=item.name)
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if "MATLAB_object_decode" in item.attrs and int(item.attrs["MATLAB_object_decode"]) == 3:
        return Opaque(kind)
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            return _sparse(path, item)
        return Structs((1, 1), ({k: _value(path, file, item[k], depth + 1) for k in map(str, item)},))
    return _dataset(path, file, item, kind=kind, depth=depth)


def _dataset(path: Path, file: Any, item: Any, *, kind: str, depth: int) -> Any:
    import h5py

    if item.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.zeros((0, 0))
    values = _load(path, item)
    if values.dtype == h5py.ref_dtype:
        found = tuple(_value(path, file, file[ref], depth + 1) for ref in values.ravel())
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


def _load(path: Path, item: Any) -> np.ndarray:
    """Read a dataset after checking its size against what is stored."""
    need = prod(item.shape) * item.dtype.itemsize
    stored = item.id.get_storage_size()
    if need > stored * (DEFLATE if item.chunks else 1) + 4096:
        problem = f"{need} bytes are promised, {stored} are stored. Is the file cut off?"
        raise FileFormatError(path, problem, where=item.name)
    return np.asarray(item[()])


def _sparse(path: Path, item: Any) -> Any:
    from scipy.sparse import csc_array

    starts = _load(path, item["jc"]).astype(np.int64)
    rows = _load(path, item["ir"]).astype(np.int64) if "ir" in item else np.zeros(0, dtype=np.int64)
    values = _load(path, item["data"]).astype(np.float64) if "data" in item else np.zeros(0)
    n_rows, used = int(item.attrs["MATLAB_sparse"]), int(starts[-1])
    ok = starts[0] == 0 and (np.diff(starts) >= 0).all() and used <= min(rows.size, values.size)
    if not ok or (used and not 0 <= rows[:used].min() <= rows[:used].max() < n_rows):
        raise FileFormatError(path, "the indices of a sparse matrix lie outside.", where=item.name)
    return csc_array((values[:used], rows[:used], starts), shape=(n_rows, len(starts) - 1))
