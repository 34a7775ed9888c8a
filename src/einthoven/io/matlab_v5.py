"""MATLAB's binary files of version 4, 5, 6 and 7, parsed with every size checked before memory is taken.

`scipy.io.loadmat` refuses names stored as anything but miINT8, which older map3d files have, and takes memory
for whatever a damaged header promises; hence this reader. Layout: MathWorks, "MAT-File Format" (2018).
"""

import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.reading import check_unpacked

#: NumPy types of the numeric data types mi*.
NUMERIC = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
#: Encodings of miUTF8, miUTF16, miUTF32.
TEXT = {16: ("u1", "utf-8"), 17: ("u2", "utf-16"), 18: ("u4", "utf-32")}
MATRIX, COMPRESSED = 14, 15
#: NumPy types of the numeric classes mx*.
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17
DEPTH = 40


@dataclass(frozen=True, eq=False)
class Opaque:
    """An object of a MATLAB class (``triangulation``, ``string``, ``table``), whose content lies elsewhere."""

    classname: str


@dataclass(frozen=True, eq=False)
class Cells:
    """A cell array: its shape and its entries in MATLAB's order."""

    shape: tuple[int, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Structs:
    """A struct array: its shape and one dictionary per entry."""

    shape: tuple[int, ...]
    items: tuple[dict[str, Any], ...]


@dataclass
class _Element:
    kind: int
    start: int
    size: int


class _Reader:
    """Walks one buffer; `offset` and `label` place it within the file for messages."""

    def __init__(self, path: Path, data: bytes, *, order: str, label: str = ""):
        self.path, self.data, self.order, self.label = path, data, order, label
        self.at = 0
        self.stop = len(data)

    def fail(self, problem: str, *, at: int | None = None) -> FileFormatError:
        return FileFormatError(self.path, problem, where=f"byte {self.at if at is None else at}{self.label}")

    def element(self) -> _Element:
        """Read a tag and step over its data."""
        if self.stop - self.at < 8:
            raise self.fail("the file ends within an element. Is it cut off?")
        kind, size = struct.unpack_from(self.order + "2I", self.data, self.at)
        if kind >> 16:  # small element: size and data in one word each
            found = _Element(kind & 0xFFFF, self.at + 4, kind >> 16)
            if found.size > 4:
                raise self.fail(f"a small element holds at most 4 bytes; got {found.size}.")
            self.at += 8
            return found
        start = self.at + 8
        if size > self.stop - start:
            raise self.fail(f"an element of {size} bytes is promised, {self.stop - start} are left. Is it cut off?")
        self.at = min(start + (size if kind == COMPRESSED else -(-size // 8) * 8), self.stop)
        return _Element(kind, start, size)

    def numbers(self, what: str) -> np.ndarray:
        """Read an element of numbers."""
        begin = self.at
        found = self.element()
        if found.kind not in NUMERIC:
            raise self.fail(f"{what} must be numbers; got data type {found.kind}.", at=begin)
        dtype = np.dtype(self.order + NUMERIC[found.kind])
        if found.size % dtype.itemsize:
            raise self.fail(f"{what}: {found.size} bytes are no whole numbers of type {dtype.name}.", at=begin)
        return np.frombuffer(self.data, dtype, found.size // dtype.itemsize, found.start)

    def text(self, what: str) -> str:
        """Read a name; any 8-bit type is accepted, since map3d writes miUINT8 for miINT8."""
        begin = self.at
        found = self.element()
        if found.kind not in (1, 2, 16) or found.size > 4096:
            raise self.fail(f"{what} must be a short text; got data type {found.kind}, {found.size} bytes.", at=begin)
        return self.data[found.start : found.start + found.size].rstrip(b"\0").decode("utf-8", errors="replace")

    def inner(self, found: _Element) -> "_Reader":
        """A reader for the content of an element."""
        reader = _Reader(self.path, self.data, order=self.order, label=self.label)
        reader.at, reader.stop = found.start, found.start + found.size
        return reader


def read_variables(path: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file of version 4 to 7 by name.

    Numbers become arrays, text ``str``, sparse matrices `scipy.sparse.csc_array`, the rest `Cells`,
    `Structs` and `Opaque`.

    Raises
    ------
    FileFormatError
        If the file is damaged; the message names the byte.
    """
    data = path.read_bytes()
    if not is_version5(data[:128]):
        return _version4(path, data)
    order = "<" if data[126:128] == b"IM" else ">"
    reader = _Reader(path, data, order=order)
    reader.at = 128
    variables: dict[str, Any] = {}
    while reader.stop - reader.at >= 8:
        begin = reader.at
        found = reader.element()
        if found.kind == COMPRESSED:
            inner = _Reader(
                path, _inflate(reader, found), order=order, label=f" (uncompressed, of the block at {begin})"
            )
            begin, found, source = 0, inner.element(), inner
        else:
            source = reader
        if found.kind != MATRIX:
            raise source.fail(f"a variable must be a matrix (14); got data type {found.kind}.", at=begin)
        name, value = _matrix(source.inner(found), 0)
        if name and name != "__function_workspace__":
            variables[name] = value
    if reader.at == 128:
        raise reader.fail("the file holds no variable. Is it cut off?")
    if reader.at < reader.stop and any(data[reader.at :]):
        raise reader.fail(f"{reader.stop - reader.at} bytes follow the last variable. Is the file cut off?")
    return variables


def is_version5(head: bytes) -> bool:
    """Whether the first 128 bytes are the header of a file of version 5 to 7."""
    return len(head) >= 128 and (
        (head[126:128] == b"IM" and head[124:126] == b"\x00\x01")
        or (head[126:128] == b"MI" and head[124:126] == b"\x01\x00")
    )


def _inflate(reader: _Reader, found: _Element) -> bytes:
    """Uncompress an element; the inner tag bounds how much."""
    packed = reader.data[found.start : found.start + found.size]
    try:
        engine = zlib.decompressobj()
        start = engine.decompress(packed, 8)
        if len(start) < 8:
            raise reader.fail("a compressed element must hold a variable.", at=found.start)
        size = struct.unpack(reader.order + "2I", start)[1]
        check_unpacked(reader.path, size, len(packed), where=f"byte {found.start}")
        rest = engine.decompress(engine.unconsumed_tail, size + 8) if size else b""
        if not engine.eof:
            engine.decompress(engine.unconsumed_tail, 8)
    except zlib.error as error:
        raise reader.fail(f"damaged compressed data ({error}).", at=found.start) from None
    if not engine.eof or len(rest) < size:
        raise reader.fail("compressed data end before the variable does. Is the file cut off?", at=found.start)
    return start + rest


def _matrix(reader: _Reader, depth: int) -> tuple[str, Any]:
    """Read name and value of a matrix whose content is all of `reader`."""
    if depth > DEPTH:
        raise reader.fail(f"cells and structs are nested more than {DEPTH} deep.")
    if reader.at == reader.stop:
        return "", np.zeros((0, 0))
    flags = reader.numbers("array flags")
    if flags.size != 2:
        raise reader.fail("array flags must be two numbers.")
    word = int(flags[0])
    kind, is_logical, is_complex = word & 0xFF, bool(word & 0x200), bool(word & 0x800)
    if kind == OPAQUE:
        name = reader.text("the name")
        reader.text("the type system")
        return name, Opaque(reader.text("the class"))
    begin = reader.at
    shape = tuple(int(v) for v in reader.numbers("dimensions"))
    if len(shape) < 2 or len(shape) > 16 or min(shape) < 0:
        raise reader.fail(f"dimensions must be two or more counts; got {shape[:8]}.", at=begin)
    name = reader.text("the name")
    return name, _value(reader, kind, shape, depth=depth, is_complex=is_complex, is_logical=is_logical)


def _value(
    reader: _Reader, kind: int, shape: tuple[int, ...], *, depth: int, is_complex: bool, is_logical: bool
) -> Any:
    if kind in CLASSES:
        values = _plain(reader, shape, is_complex)
        wanted = np.bool_ if is_logical else np.complex128 if is_complex else np.dtype(CLASSES[kind])
        return values.astype(wanted)
    match kind:
        case 4:
            return _characters(reader, shape)
        case 1:
            return Cells(shape, tuple(_children(reader, prod(shape), depth)))
        case 2 | 3:
            if kind == OBJECT:
                reader.text("the class")
            return _structs(reader, shape, depth)
        case 5:
            return _sparse(reader, shape, is_complex)
        case 16:
            return Opaque("function_handle")
    raise reader.fail(f"arrays of class {kind} are not known.")


def _plain(reader: _Reader, shape: tuple[int, ...], is_complex: bool) -> np.ndarray:
    begin = reader.at
    values = reader.numbers("values")
    if values.size != prod(shape):
        promise = " x ".join(map(str, shape))
        raise reader.fail(f"{promise} values are promised, {values.size} are there. Is a count wrong?", at=begin)
    if is_complex:
        imaginary = reader.numbers("imaginary values")
        if imaginary.size != values.size:
            raise reader.fail("real and imaginary parts differ in length.", at=begin)
        values = values + 1j * imaginary
    return values.reshape(shape, order="F")


def _characters(reader: _Reader, shape: tuple[int, ...]) -> str | tuple[str, ...]:
    """Read text: one string, or one per row."""
    begin = reader.at
    found = reader.element()
    raw = reader.data[found.start : found.start + found.size]
    if found.kind in TEXT:
        width, encoding = TEXT[found.kind]
        if encoding != "utf-8":
            encoding += "-le" if reader.order == "<" else "-be"
        text = raw[: len(raw) // np.dtype(width).itemsize * np.dtype(width).itemsize].decode(encoding, errors="replace")
    elif found.kind in (1, 2, 3, 4):
        codes = np.frombuffer(raw, reader.order + {1: "u1", 2: "u1", 3: "u2", 4: "u2"}[found.kind])
        text = "".join(map(chr, codes.tolist()))
    else:
        raise reader.fail(f"text must not have data type {found.kind}.", at=begin)
    rows = shape[0]
    if rows <= 1 or len(text) != prod(shape):
        return text
    return tuple(text[r::rows] for r in range(rows))


def _children(reader: _Reader, count: int, depth: int) -> list[Any]:
    if count * 8 > reader.stop - reader.at:
        raise reader.fail(f"{count} entries are promised, {reader.stop - reader.at} bytes are left. Is it cut off?")
    values = []
    for _ in range(count):
        begin = reader.at
        found = reader.element()
        if found.kind != MATRIX:
            raise reader.fail(f"an entry must be a matrix (14); got data type {found.kind}.", at=begin)
        values.append(_matrix(reader.inner(found), depth + 1)[1])
    return values


def _structs(reader: _Reader, shape: tuple[int, ...], depth: int) -> Structs:
    begin = reader.at
    width = reader.numbers("the length of field names")
    if width.size != 1 or not 1 <= int(width[0]) <= 4096:
        raise reader.fail("the length of field names must be one positive number.", at=begin)
    found = reader.element()
    if found.kind not in (1, 2, 16) or found.size % int(width[0]):
        raise reader.fail("field names must be text of equal length.", at=begin)
    step = int(width[0])
    raw = [reader.data[found.start + k : found.start + k + step] for k in range(0, found.size, step)]
    names = [r.split(b"\0")[0].decode("utf-8", errors="replace") for r in raw]
    count = prod(shape)
    if not names:
        if count > 1:
            raise reader.fail("a struct array without fields is not read.", at=begin)
        return Structs(shape, tuple({} for _ in range(count)))
    values = _children(reader, count * len(names), depth)
    rows = [dict(zip(names, values[k * len(names) : (k + 1) * len(names)], strict=True)) for k in range(count)]
    return Structs(shape, tuple(rows))


def _sparse(reader: _Reader, shape: tuple[int, ...], is_complex: bool) -> Any:
    from scipy.sparse import csc_array

    begin = reader.at
    rows, starts, values = reader.numbers("row indices"), reader.numbers("column starts"), reader.numbers("values")
    if is_complex:
        values = values + 1j * reader.numbers("imaginary values")[: values.size]
    if len(shape) != 2 or starts.size != shape[1] + 1 or starts[0] != 0 or (np.diff(starts.astype(np.int64)) < 0).any():
        raise reader.fail("the column starts of a sparse matrix must begin with 0 and increase.", at=begin)
    used = int(starts[-1])
    if (
        used > rows.size
        or used > values.size
        or (used and not 0 <= int(rows[:used].min()) <= rows[:used].max() < shape[0])
    ):
        raise reader.fail("the row indices of a sparse matrix lie outside.", at=begin)
    data = values[:used].astype(np.complex128 if is_complex else np.float64)
    return csc_array((data, rows[:used].astype(np.int64), starts.astype(np.int64)), shape=shape)


def is_version4(path: Path, head: bytes) -> bool:
    """Whether the file plausibly begins with a variable of version 4."""
    return _header4(head, path.stat().st_size) is not None


def _header4(head: bytes, size: int) -> tuple[str, int, int, int, bool, int] | None:
    """Byte order, value type, rows, columns, complex, length of the name; None if implausible."""
    if len(head) < 20:
        return None
    for order, machine in (("<", 0), (">", 1)):
        mopt, rows, columns, imaginary, name = struct.unpack_from(order + "5i", head)
        if not 0 <= mopt < 5000 or mopt // 1000 != machine or mopt // 100 % 10 or mopt // 10 % 10 > 5 or mopt % 10 > 1:
            continue
        if rows < 0 or columns < 0 or imaginary not in (0, 1) or not 1 < name <= 64:
            continue
        width = (8, 4, 4, 2, 2, 1)[mopt // 10 % 10] * (1 + imaginary)
        label = head[20 : 20 + name]
        if label[-1:] == b"\0" and label[:-1].isascii() and 20 + name + rows * columns * width <= size:
            return order, mopt % 100, rows, columns, bool(imaginary), name
    return None


def _version4(path: Path, data: bytes) -> dict[str, Any]:
    variables, at = {}, 0
    while at < len(data):
        header = _header4(data[at : at + 128], len(data) - at)
        if header is None:
            raise FileFormatError(
                path, "no variable of MATLAB's version 4 begins here, or it is cut off.", where=f"byte {at}"
            )
        order, kind, rows, columns, is_complex, length = header
        name = data[at + 20 : at + 20 + length - 1].decode("ascii")
        dtype = np.dtype(order + ("f8", "f4", "i4", "i2", "u2", "u1")[kind // 10])
        at += 20 + length
        count = rows * columns
        values = np.frombuffer(data, dtype, count, at).astype(np.float64)
        at += count * dtype.itemsize * (1 + is_complex)
        if is_complex:
            raise FileFormatError(path, f"{name}: complex values of version 4 are not read.", where=f"byte {at}")
        matrix = values.reshape((rows, columns), order="F")
        variables[name] = (
            "".join(chr(int(v)) for v in matrix.ravel() if 0 <= v < 0x110000) if kind % 10 == 1 else matrix
        )
    return variables
