"""CARP meshes: ``.pts``, ``.elem``, ``.lon``, ``.vtx`` and ``.surf``, text. Coordinates are micrometers there, mm here.

A ``.pts`` begins with the number of nodes (Dalhousie's do not), an ``.elem`` with the number of elements; each
element is a kind (``Tt`` tetrahedron, ``Tr`` triangle), its nodes counted from 0, and a region. Read any of
the first three and the others of that name are taken along: tetrahedra with regions and fibers, triangles as
a surface.
"""

from pathlib import Path

import numpy as np

from einthoven.core import FileFormatError, Surface
from einthoven.io.content import Content, Volume
from einthoven.io.formats import Format
from einthoven.io.reading import Lines, check_points, load_text, make_surface, windings
from einthoven.io.writing import refuse

#: Micrometers to mm.
MICROMETERS = 1e-3
NODES = {"Tt": 4, "Tr": 3}
OTHER = {"Ln": "lines", "Qd": "quadrilaterals", "Hx": "hexahedra", "Oc": "octahedra", "Py": "pyramids", "Pr": "prisms"}


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the first line is a single integer."""
    lines = [line.split() for line in head.splitlines() if line.strip()]
    return bool(lines) and len(lines[0]) == 1 and lines[0][0].isdigit()


def read(path: Path) -> Content:
    """Read a mesh, or fibers or nodes alone."""
    match path.suffix.lower():
        case ".vtx":
            return _vertices(path)
        case ".lon" if not path.with_suffix(".elem").is_file():
            return Content(path, "carp", arrays={"fibers": _fibers(path)})
    points_file = path.with_suffix(".pts")
    if not points_file.is_file():
        raise FileFormatError(path, f"its nodes are in {points_file.name}, which is not there. Put both together.")
    points = _points(points_file)
    elements = path if path.suffix.lower() == ".surf" else path.with_suffix(".elem")
    if not elements.is_file():
        return Content(path, "carp", points={path.stem: points}, info=_INFO)
    return _mesh(path, elements, points)


_INFO = {"unit": "mm (the file holds micrometers)"}


def _points(path: Path) -> np.ndarray:
    lines = Lines(path, load_text(path))
    points = lines.numbers(lines.take_count("nodes"), (3,), what="nodes")
    lines.done()
    return check_points(path, points, what="nodes") * MICROMETERS


def _mesh(path: Path, elements: Path, points: np.ndarray) -> Content:
    found = _elements(elements, len(points))
    volumes, surfaces, arrays = (), (), {}
    if "Tt" in found:
        table, where = found["Tt"]
        fibers = path.with_suffix(".lon")
        along = _fibers(fibers)[:, :3] if fibers.is_file() and elements.suffix.lower() == ".elem" else None
        total = sum(len(w) for _, w in found.values())
        if along is not None and len(along) != total:
            raise FileFormatError(fibers, f"{len(along)} fibers for {total} elements. Do the files belong together?")
        volumes = (Volume(points, table[:, :4], table[:, 4], None if along is None else along[where]),)
    if "Tr" in found:
        table, _ = found["Tr"]
        surfaces = (make_surface(elements, points, table[:, :3], name=path.stem),)
        arrays = {"regions": table[:, 3]}
    info = dict(_INFO) | (windings(surfaces) if surfaces else {})
    return Content(path, "carp", surfaces=surfaces, volumes=volumes, arrays=arrays, info=info)


def _elements(path: Path, n_points: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Nodes and region of the elements of each kind, and their positions in the file."""
    lines = Lines(path, load_text(path))
    count = lines.take_count("elements")
    if count > lines.left:
        raise lines.fail(len(lines.rows), f"the file promises {count} elements and ends after {lines.left}.")
    rows = [words for _, words in lines.rows[lines.next : lines.next + count]]
    lines.next += count
    lines.done()
    places: dict[str, list[int]] = {}
    for k, words in enumerate(rows):
        if words[0] not in NODES:
            kind = OTHER.get(words[0], "elements of an unknown kind")
            raise lines.fail(k + 1, f"{words[0][:12]!r}: {kind} are not read; tetrahedra (Tt) and triangles (Tr) are.")
        if len(words) - 1 - NODES[words[0]] not in (0, 1):
            raise lines.fail(k + 1, f"{words[0]} needs {NODES[words[0]]} nodes and a region; got {len(words) - 1}.")
        places.setdefault(words[0], []).append(k)
    return {kind: (_table(lines, rows, kind, found, n_points), np.array(found)) for kind, found in places.items()}


def _table(lines: Lines, rows: list[list[str]], kind: str, places: list[int], n_points: int) -> np.ndarray:
    width = NODES[kind] + 1
    table = np.zeros((len(places), width), dtype=np.int64)
    for t, k in enumerate(places):
        words = rows[k][1:]
        try:
            table[t, : len(words)] = [int(w) for w in words]
        except (ValueError, OverflowError):
            raise lines.fail(k + 1, f"nodes and region must be integers; got {' '.join(words)[:40]!r}.") from None
        if not all(0 <= v < n_points for v in table[t, :-1]):
            raise lines.fail(k + 1, f"nodes must be 0..{n_points - 1}; got {' '.join(words[:-1])[:40]}.")
    return table


def _fibers(path: Path) -> np.ndarray:
    lines = Lines(path, load_text(path))
    first = lines.rows[0][1] if lines.left else []
    axes = 1
    if len(first) == 1:
        axes = lines.take_count("fiber directions")
        if axes not in (1, 2):
            raise lines.fail(0, f"a .lon file holds 1 or 2 directions per element; got {axes}.")
    fibers = lines.numbers(lines.left, (3 * axes,), what="fibers")
    bad = np.flatnonzero(~np.isfinite(fibers).all(axis=1))
    if bad.size:
        raise lines.fail(int(bad[0]) + 1, "fibers must be finite.")
    return fibers


def _vertices(path: Path) -> Content:
    lines = Lines(path, load_text(path))
    count = lines.take_count("nodes")
    if lines.left == 0 or lines.rows[lines.next][1][0] not in ("intra", "extra"):
        raise lines.fail(lines.next, "the second line must be 'intra' or 'extra'.")
    domain = lines.rows[lines.next][1][0]
    lines.next += 1
    nodes = lines.numbers(count, (1,), what="nodes", dtype=np.int64)[:, 0]
    lines.done()
    return Content(path, "carp", arrays={"nodes": nodes}, info={"domain": domain, "base": "0"})


def write(content: Content, path: Path) -> None:
    """Write a surface or a tetrahedral mesh as ``.pts`` and ``.elem``, with fibers as ``.lon``; points as ``.pts``."""
    if len(content.volumes) == 1 and not content.surfaces:
        _write_volume(content.volumes[0], path)
    elif len(content.surfaces) == 1 and not content.volumes:
        _write_surface(content.surfaces[0], content, path)
    elif len(content.points) == 1 and path.suffix.lower() == ".pts":
        _write_points(next(iter(content.points.values())), path)
    elif len(content.arrays) == 1 and path.suffix.lower() == ".lon":
        _write_fibers(np.asarray(next(iter(content.arrays.values()))), path)
    else:
        raise refuse(path, "a CARP mesh", "one surface, one tetrahedral mesh, one point set or fibers", content)


def _write_volume(volume: Volume, path: Path) -> None:
    _write_points(volume.points, path.with_suffix(".pts"))
    regions = np.zeros(len(volume.tetrahedra), dtype=np.int64) if volume.regions is None else volume.regions
    _write_elements("Tt", np.column_stack([volume.tetrahedra, regions]), path)
    if volume.fibers is not None:
        _write_fibers(volume.fibers, path.with_suffix(".lon"))


def _write_surface(surface: Surface, content: Content, path: Path) -> None:
    _write_points(surface.points, path.with_suffix(".pts"))
    regions = np.asarray(content.arrays.get("regions", np.zeros(surface.n_triangles)), dtype=np.int64)
    _write_elements("Tr", np.column_stack([surface.triangles, regions]), path)


def _write_points(points: np.ndarray, path: Path) -> None:
    rows = [" ".join(map(repr, row)) for row in (np.asarray(points) / MICROMETERS).tolist()]
    path.write_text("\n".join([str(len(points)), *rows]) + "\n", encoding="ascii")


def _write_elements(kind: str, table: np.ndarray, path: Path) -> None:
    rows = [f"{kind} " + " ".join(map(str, row)) for row in table.tolist()]
    path.with_suffix(".elem").write_text("\n".join([str(len(table)), *rows]) + "\n", encoding="ascii")


def _write_fibers(fibers: np.ndarray, path: Path) -> None:
    if fibers.ndim != 2 or fibers.shape[1] not in (3, 6):
        raise refuse(
            path, "a .lon file", "3 or 6 numbers per element", Content(path, "carp", arrays={"fibers": fibers})
        )
    rows = [" ".join(map(repr, row)) for row in np.asarray(fibers, dtype=np.float64).tolist()]
    path.write_text("\n".join([str(fibers.shape[1] // 3), *rows]) + "\n", encoding="ascii")


FORMATS = (
    Format("carp", (".pts", ".elem", ".lon", ".vtx", ".surf"), recognizes, read, write, "CARP meshes (micrometers)"),
)
