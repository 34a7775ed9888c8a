"""STL surfaces, text and binary, in NumPy alone.

An STL file holds loose triangles in single precision; corners with bit-identical coordinates become one node,
in the order in which they appear (`Content.info` says how many were joined). Normals in the file are ignored:
the winding is that of the corners.
"""

import re
from pathlib import Path

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import check_points, make_surface, windings
from einthoven.io.writing import one_surface

RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def recognizes(path: Path, head: bytes) -> bool:
    """STL has no signature: everything with its ending is taken."""
    return True


def read(path: Path) -> Content:
    """Read the triangles and join equal corners."""
    data = path.read_bytes()
    text = data[:5].lower() == b"solid" and b"facet" in data[:2048] and b"\0" not in data[:2048]
    corners = _text(path, data) if text else _binary(path, data)
    check_points(path, corners.reshape(-1, 3), what="corners")
    flat = corners.reshape(-1, 3).astype(np.float64) + 0.0  # -0.0 becomes 0.0
    unique, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    surface = make_surface(path, unique[order], rank[inverse.reshape(-1)].reshape(-1, 3), name=path.stem)
    info = {"encoding": "ascii" if text else "binary", "joined": f"{len(flat)} corners to {len(unique)} nodes"}
    return Content(path, "stl", surfaces=(surface,), info=info | windings([surface]))


def _binary(path: Path, data: bytes) -> np.ndarray:
    if len(data) < 84:
        raise FileFormatError(path, f"a binary STL has at least 84 bytes; got {len(data)}.", where=f"byte {len(data)}")
    count = int.from_bytes(data[80:84], "little")
    if len(data) != 84 + RECORD.itemsize * count or count == 0:
        fits = (len(data) - 84) / RECORD.itemsize
        problem = f"{count} triangles are promised; there are bytes for {fits:g}. Is it cut off, or no STL?"
        raise FileFormatError(path, problem, where="byte 80")
    return np.frombuffer(data, RECORD, count, 84)["corners"]


def _text(path: Path, data: bytes) -> np.ndarray:
    source = data.decode("latin-1")
    if not re.search(r"\bendsolid\b", source[-4096:]):
        where = f"line {source.count(chr(10)) + 1}"
        raise FileFormatError(path, "the file ends without 'endsolid'. Is it cut off?", where=where)
    corners, loop = [], 0
    for number, line in enumerate(source.splitlines(), start=1):
        words = line.split()
        match words[:1]:
            case ["outer"]:
                loop = 0
            case ["vertex"]:
                corners.append(_vertex(path, words, number))
                loop += 1
            case ["endloop"] if loop != 3:
                raise FileFormatError(path, f"a facet must have 3 corners; got {loop}.", where=f"line {number}")
            case [] | ["solid" | "facet" | "endfacet" | "endsolid" | "endloop"]:
                pass
            case _:
                raise FileFormatError(path, f"not understood: {line.strip()[:60]!r}.", where=f"line {number}")
    if not corners or len(corners) % 3:
        raise FileFormatError(path, f"{len(corners)} corners make no whole triangles.", where="line 1")
    return np.array(corners).reshape(-1, 3, 3)


def _vertex(path: Path, words: list[str], number: int) -> list[float]:
    try:
        values = [float(w) for w in words[1:]]
    except ValueError:
        values = []
    if len(values) != 3:
        problem = f"a corner needs three numbers; got {' '.join(words[1:])[:40]!r}."
        raise FileFormatError(path, problem, where=f"line {number}")
    return values


def write(content: Content, path: Path) -> None:
    """Write one surface, binary (single precision), or text where `Content.info` says ``encoding: ascii``."""
    surface = one_surface(content, path, "an STL file")
    corners = surface.corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    if content.info.get("encoding") == "ascii":
        path.write_text(_facets(normals.tolist(), corners.tolist()), encoding="ascii")
        return
    records = np.zeros(surface.n_triangles, dtype=RECORD)
    records["normal"], records["corners"] = normals, corners
    head = b"einthoven".ljust(80)
    path.write_bytes(head + surface.n_triangles.to_bytes(4, "little") + records.tobytes())


def _facets(normals: list, corners: list) -> str:
    rows = ["solid surface"]
    for normal, triangle in zip(normals, corners, strict=True):
        rows += [f"facet normal {' '.join(map(repr, normal))}", "outer loop"]
        rows += [f"vertex {' '.join(map(repr, corner))}" for corner in triangle]
        rows += ["endloop", "endfacet"]
    return "\n".join([*rows, "endsolid surface"]) + "\n"


FORMATS = (Format("stl", (".stl",), recognizes, read, write, "STL surfaces, text and binary"),)
