"""ECGSIM: triangulations (``.tri``) and matrices (text, and the two binary variants of the MFBF matrix file).

A ``.tri`` holds the number of nodes, a line ``index x y z`` for each, the number of triangles and a line
``index i j k`` for each, counted from 1. A matrix file holds rows, columns and the values row by row, then
perhaps a remark; binary ones begin with ``;;mbfmat`` (float64) or directly with the two sizes (int32, then
float32 or float64). Layout after T. Oostendorp's ``loadmat`` as it travels with FieldTrip and ECGSIM.
"""

import struct
from pathlib import Path

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import Lines, check_points, load_text, make_surface, windings
from einthoven.io.writing import one_array, one_surface

MAGIC = b";;mbfmat"


def read_triangles(path: Path) -> Content:
    """Read a triangulation; the index column may be missing."""
    lines = Lines(path, load_text(path))
    points = _numbered(lines, lines.take_count("nodes"), "nodes", np.float64)
    points = check_points(path, points, what="nodes")
    if lines.left == 0:
        return Content(path, "ecgsim", points={path.stem: points})
    triangles = _numbered(lines, lines.take_count("triangles"), "triangles", np.int64)
    lines.done()
    if len(triangles) and triangles.min() < 1:
        raise FileFormatError(path, f"nodes are counted from 1; got {triangles.min()}.")
    surface = make_surface(path, points, triangles - 1, name=path.stem)
    return Content(path, "ecgsim", surfaces=(surface,), info=windings([surface]))


def _numbered(lines: Lines, count: int, what: str, dtype: type) -> np.ndarray:
    """Take lines of three numbers, with or without their own number before."""
    start = lines.next
    table = lines.numbers(count, (4, 3), what=what, dtype=dtype)
    if table.shape[1] == 3:
        return table
    wrong = np.flatnonzero(table[:, 0] != np.arange(1, count + 1))
    if wrong.size:
        k = int(wrong[0])
        raise lines.fail(start + k, f"{what} must be numbered 1, 2, ...; got {table[k, 0]:g} instead of {k + 1}.")
    return table[:, 1:]


def write_triangles(content: Content, path: Path) -> None:
    """Write one surface."""
    surface = one_surface(content, path, "a .tri file")
    rows = [str(surface.n_points)]
    rows += [f"{i} {x!r} {y!r} {z!r}" for i, (x, y, z) in enumerate(surface.points.tolist(), start=1)]
    rows += [str(surface.n_triangles)]
    rows += [f"{i} {a} {b} {c}" for i, (a, b, c) in enumerate((surface.triangles + 1).tolist(), start=1)]
    path.write_text("\n".join(rows) + "\n", encoding="ascii")


def recognizes_matrix(path: Path, head: bytes) -> bool:
    """Whether the file begins like an ECGSIM matrix: magic, two counts in text, or two plausible int32."""
    if head.startswith(MAGIC):
        return True
    if b"\0" not in head:
        words = head.lstrip().splitlines()[0].split() if head.strip() else []
        return len(words) == 2 and all(w.isdigit() for w in words)
    if len(head) < 12:
        return False
    rows, columns = struct.unpack("<2i", head[:8])
    size = path.stat().st_size
    return rows > 0 and columns > 0 and rows * columns * 4 + 8 <= size <= rows * columns * 8 + 1024 + 8


def read_matrix(path: Path) -> Content:
    """Read a matrix, text or binary."""
    data = path.read_bytes()
    if data.startswith(MAGIC):
        return _binary(path, data, 16, magic=True)
    if b"\0" in data[:512]:
        return _binary(path, data, 0, magic=False)
    return _text(path, data)


def _text(path: Path, data: bytes) -> Content:
    words = data.decode("latin-1").split(maxsplit=2)
    if len(words) < 2 or not all(w.isdecimal() and len(w) < 10 for w in words[:2]):
        raise FileFormatError(path, "a matrix begins with its numbers of rows and columns.", where="line 1")
    rows, columns = int(words[0]), int(words[1])
    rest = words[2] if len(words) > 2 else ""
    if rows * columns > (len(rest) + 1) // 2:
        problem = f"{rows} x {columns} values are promised, the file has only {len(data)} bytes. Is it cut off?"
        raise FileFormatError(path, problem, where="line 1")
    values = rest.split(maxsplit=rows * columns)
    if len(values) < rows * columns:
        where = f"line {data.count(bytes([10])) + 1}"
        raise FileFormatError(path, f"{rows} x {columns} values are promised, {len(values)} found.", where=where)
    remark = values[rows * columns].strip() if len(values) > rows * columns else ""
    numbers = []
    for k, word in enumerate(values[: rows * columns]):
        try:
            numbers.append(float(word))
        except ValueError:
            where = f"row {k // columns + 1}, column {k % columns + 1}"
            raise FileFormatError(path, f"expected a number, got {word[:24]!r}.", where=where) from None
    if remark and _is_number(remark.split()[0]):
        where = f"after row {rows}"
        raise FileFormatError(path, "more values than rows x columns follow. Is a count too small?", where=where)
    matrix = np.array(numbers, dtype=np.float64).reshape(rows, columns)
    return _matrix_content(path, matrix, remark, "ascii")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _binary(path: Path, data: bytes, start: int, *, magic: bool) -> Content:
    if len(data) < start + 8:
        raise FileFormatError(path, "the file ends before the size of the matrix.", where=f"byte {len(data)}")
    rows, columns = struct.unpack_from("<2i", data, start)
    left = len(data) - start - 8
    if rows < 1 or columns < 1 or rows * columns * (8 if magic else 4) > left:
        problem = f"{rows} x {columns} values are promised, {left} bytes follow. Is it cut off?"
        raise FileFormatError(path, problem, where=f"byte {start}")
    dtype = np.dtype("<f8" if magic or rows * columns * 8 <= left else "<f4")
    matrix = np.frombuffer(data, dtype, rows * columns, start + 8).reshape(rows, columns).astype(np.float64)
    extra = data[start + 8 + matrix.size * dtype.itemsize :]
    if len(extra) > 1000 or any(b > 127 for b in extra):
        where = f"byte {len(data) - len(extra)}"
        raise FileFormatError(path, f"{len(extra)} bytes follow that are no remark. Is a count too small?", where=where)
    return _matrix_content(path, matrix, extra.decode("ascii").strip("\0 \r\n"), "binary")


def _matrix_content(path: Path, matrix: np.ndarray, remark: str, encoding: str) -> Content:
    info = {"encoding": encoding} | ({"remark": remark[:1000]} if remark else {})
    return Content(path, "ecgsim-matrix", arrays={"matrix": matrix}, info=info)


def write_matrix(content: Content, path: Path) -> None:
    """Write a matrix: text, or binary where `Content.info` says ``encoding: binary``."""
    matrix = one_array(content, path, "an ECGSIM matrix").astype(np.float64)
    if content.info.get("encoding") == "binary":
        head = MAGIC + b"\0" + struct.pack("<i", 24) + b"\0\0\0" + struct.pack("<2i", *matrix.shape)
        path.write_bytes(head + np.ascontiguousarray(matrix, dtype="<f8").tobytes())
        return
    rows = (" ".join(map(repr, row)) for row in matrix.tolist())
    path.write_text(f"{matrix.shape[0]} {matrix.shape[1]}\n" + "\n".join(rows) + "\n", encoding="ascii")


FORMATS = (
    Format("ecgsim", (".tri",), lambda path, head: True, read_triangles, write_triangles, "ECGSIM triangulations"),
    Format(
        "ecgsim-matrix",
        (".mat", ".tra", ".dep", ".rep", ".bsm", ".refecg", ".pot"),
        recognizes_matrix,
        read_matrix,
        write_matrix,
        "ECGSIM matrices, text and binary",
    ),
)
