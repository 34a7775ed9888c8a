"""PLY surfaces (Stanford polygon files), text and binary, in NumPy alone.

Read: vertices with any scalar properties, triangles with any scalar properties; other elements are passed
over. Faces that are no triangles are refused, not split. Written: binary little-endian double, or text where
`Content.info` says ``encoding: ascii``; arrays with one value per node go along as properties.
Format: G. Turk, "The PLY Polygon File Format" (1994).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import Lines, check_points, make_surface, windings
from einthoven.io.writing import refuse

TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    name: str
    count: int
    scalars: list[tuple[str, str]] = field(default_factory=list)
    #: (position among the properties, count type, index type) of its list, if it has one
    listed: tuple[int, str, str] | None = None


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the file begins with ``ply``."""
    return head[:3] == b"ply" and head[3:4] in (b"\r", b"\n")


def read(path: Path) -> Content:
    """Read vertices and triangles."""
    data = path.read_bytes()
    order, elements, start = _header(path, data)
    tables = _text_tables(path, data, start, elements) if order == "" else _tables(path, data, start, elements, order)
    vertices = tables.get("vertex")
    if vertices is None or not {"x", "y", "z"} <= set(vertices):
        raise FileFormatError(path, "a PLY file must hold the element vertex with x, y, z.", where="line 1")
    points = check_points(path, np.column_stack([vertices[k] for k in "xyz"]).astype(np.float64))
    arrays = {k: np.asarray(v) for k, v in vertices.items() if k not in "xyz"}
    info = {"encoding": "ascii" if order == "" else "binary"}
    faces = tables.get("face", {})
    if "triangles" not in faces or len(faces["triangles"]) == 0:
        return Content(path, "ply", points={path.stem: points}, arrays=arrays, info=info)
    surface = make_surface(path, points, faces["triangles"], name=path.stem)
    arrays |= {k if k not in arrays else f"face {k}": v for k, v in faces.items() if k != "triangles"}
    return Content(path, "ply", surfaces=(surface,), arrays=arrays, info=info | windings([surface]))


def _header(path: Path, data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ("" for text), elements, and where the body begins."""
    if not recognizes(path, data[:4]):
        raise FileFormatError(path, "a PLY file must begin with 'ply'.", where="line 1")
    end = re.search(rb"\nend_header[ \t]*\r?\n", data[:65536])
    if end is None:
        raise FileFormatError(path, "the header has no end (end_header).", where="line 1")
    order, elements = None, []
    for number, line in enumerate(data[: end.start()].decode("latin-1").splitlines(), start=1):
        words = line.split()
        where = f"line {number}"
        match words:
            case ["format", kind, "1.0"] if kind in ORDERS:
                order = ORDERS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                elements.append(_Element(name, int(count)))
            case ["property", *rest] if elements:
                _property(path, elements[-1], rest, where)
            case [] | ["ply"] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise FileFormatError(path, f"not understood: {line.strip()[:60]!r}.", where=where)
    if order is None:
        raise FileFormatError(path, "the header names no format.", where="line 1")
    return order, elements, end.end()


def _property(path: Path, element: _Element, words: list[str], where: str) -> None:
    match words:
        case [kind, name] if kind in TYPES:
            element.scalars.append((name, TYPES[kind]))
        case ["list", counts, values, _] if counts in TYPES and values in TYPES and "f" not in TYPES[counts]:
            if element.listed is not None:
                raise FileFormatError(path, f"element {element.name} has two lists; one is read.", where=where)
            element.listed = (len(element.scalars), TYPES[counts], TYPES[values])
        case _:
            raise FileFormatError(path, f"property not understood: {' '.join(words)[:60]!r}.", where=where)
    if len({name for name, _ in element.scalars}) < len(element.scalars):
        raise FileFormatError(path, f"element {element.name} names a property twice.", where=where)


def _dtype(element: _Element, order: str) -> np.dtype:
    """Record of one element, its list taken for three entries."""
    fields: list[Any] = [(name, order + kind) for name, kind in element.scalars]
    if element.listed is not None:
        at, counts, values = element.listed
        fields[at:at] = [("_n", order + counts), ("_list", order + values, (3,))]
    return np.dtype(fields)


def _tables(path: Path, data: bytes, start: int, elements: list[_Element], order: str) -> dict[str, dict]:
    tables = {}
    for element in elements:
        if element.listed is not None and element.name != "face":
            break  # its length is only known by walking it; what follows faces is not needed
        dtype = _dtype(element, order)
        need = element.count * dtype.itemsize
        if element.listed is not None and len(data) - start > 0 and element.count:
            _check_first(path, data, start, dtype)
        if need > len(data) - start:
            problem = (
                f"{element.count} x {element.name} need {need} bytes, {len(data) - start} are left. Is it cut off?"
            )
            raise FileFormatError(path, problem, where=f"byte {start}")
        records = np.frombuffer(data, dtype, element.count, start) if dtype.itemsize else np.zeros(0)
        tables[element.name] = _columns(path, records, element, start)
        start += need
    else:
        if start < len(data):
            problem = f"{len(data) - start} bytes follow where the file should end. Is a count too small?"
            raise FileFormatError(path, problem, where=f"byte {start}")
    return tables


def _check_first(path: Path, data: bytes, start: int, dtype: np.dtype) -> None:
    """Say that faces are no triangles before saying that bytes are missing."""
    if len(data) - start >= dtype.itemsize:
        _refuse_polygons(path, np.frombuffer(data, dtype, 1, start)["_n"], f"byte {start}")


def _refuse_polygons(path: Path, counts: np.ndarray, where: str) -> None:
    bad = np.flatnonzero(counts != 3)
    if bad.size:
        k = int(bad[0])
        problem = f"face {k} has {counts[k]} nodes; only triangles are read. Triangulate it in a mesh editor."
        raise FileFormatError(path, problem, where=where)


def _columns(path: Path, records: np.ndarray, element: _Element, start: int) -> dict[str, np.ndarray]:
    columns = {name: records[name].astype(records[name].dtype.newbyteorder("=")) for name, _ in element.scalars}
    if element.listed is not None:
        _refuse_polygons(path, records["_n"], f"byte {start}")
        columns["triangles"] = records["_list"].astype(np.int64)
    return columns


def _text_tables(path: Path, data: bytes, start: int, elements: list[_Element]) -> dict[str, dict]:
    before = data[:start].count(b"\n")
    text = "\n" * before + data[start:].decode("latin-1")
    lines = Lines(path, text, comments=("comment",))
    tables = {}
    for element in elements:
        if element.listed is not None and element.name != "face":
            _pass_over(lines, element)
            continue
        if element.listed is None:
            table = lines.numbers(element.count, (len(element.scalars),), what=element.name)
            tables[element.name] = {name: table[:, k] for k, (name, _) in enumerate(element.scalars)}
        else:
            tables[element.name] = _text_faces(lines, element)
    lines.done()
    return tables


def _pass_over(lines: Lines, element: _Element) -> None:
    if element.count > lines.left:
        raise lines.fail(len(lines.rows), f"{element.count} x {element.name} are promised. Is it cut off?")
    lines.next += element.count


def _text_faces(lines: Lines, element: _Element) -> dict[str, np.ndarray]:
    at = element.listed[0] if element.listed is not None else 0
    for row in range(lines.next, min(lines.next + element.count, len(lines.rows))):
        words = lines.rows[row][1]
        if len(words) > at and words[at] != "3":
            problem = f"a face has {words[at][:12]} nodes; only triangles are read. Triangulate it in a mesh editor."
            raise lines.fail(row, problem)
    table = lines.numbers(element.count, (4 + len(element.scalars),), what="faces")
    indices = table[:, at + 1 : at + 4]
    bad = np.flatnonzero((indices != np.floor(indices)).any(axis=1) | ~(np.abs(indices) < 2**53).all(axis=1))
    if bad.size:
        raise lines.fail(lines.next - element.count + int(bad[0]), "node indices must be integers.")
    others = np.delete(table, slice(at, at + 4), axis=1)
    columns = {name: others[:, k] for k, (name, _) in enumerate(element.scalars)}
    return columns | {"triangles": indices.astype(np.int64)}


def write(content: Content, path: Path) -> None:
    """Write one surface or one point set, with the arrays that hold one value per node."""
    if len(content.surfaces) + len(content.points) != 1:
        raise refuse(path, "a PLY file", "one surface or one point set", content)
    surface = content.surfaces[0] if content.surfaces else None
    points = surface.points if surface is not None else next(iter(content.points.values()))
    fields = {k: np.ravel(v) for k, v in content.arrays.items() if np.size(v) == len(points)}
    names = [re.sub(r"\W+", "_", k) for k in fields]
    ascii_ = content.info.get("encoding") == "ascii"
    head = ["ply", f"format {'ascii' if ascii_ else 'binary_little_endian'} 1.0", f"element vertex {len(points)}"]
    head += [f"property double {name}" for name in ("x", "y", "z", *names)]
    if surface is not None:
        head += [f"element face {surface.n_triangles}", "property list uchar int vertex_indices"]
    header = ("\n".join([*head, "end_header"]) + "\n").encode("ascii", errors="replace")
    vertices = np.column_stack([points, *fields.values()]).astype(np.float64)
    triangles = surface.triangles if surface is not None else np.zeros((0, 3), dtype=np.int64)
    path.write_bytes(header + (_text_body if ascii_ else _binary_body)(vertices, triangles))


def _text_body(vertices: np.ndarray, triangles: np.ndarray) -> bytes:
    rows = [" ".join(map(repr, row)) for row in vertices.tolist()]
    rows += [f"3 {a} {b} {c}" for a, b, c in triangles.tolist()]
    return ("\n".join(rows) + "\n").encode("ascii")


def _binary_body(vertices: np.ndarray, triangles: np.ndarray) -> bytes:
    faces = np.zeros(len(triangles), dtype=[("n", "u1"), ("nodes", "<i4", (3,))])
    faces["n"], faces["nodes"] = 3, triangles
    return vertices.astype("<f8").tobytes() + faces.tobytes()


FORMATS = (Format("ply", (".ply",), recognizes, read, write, "PLY surfaces and points, text and binary"),)
