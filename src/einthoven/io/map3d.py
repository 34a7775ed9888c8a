"""Dalhousie and map3d text files: ``.pts`` and ``.fac`` (1-based), ``.pot``, ``.leadlinks`` and ``.channels``.

A ``.pts`` holds one node per line, a ``.fac`` of the same name one triangle per line, with an optional fourth
column (a group). Read either one and both are taken. There is no header and no unit.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import FileFormatError, Surface
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import Lines, check_points, load_text, make_surface, windings
from einthoven.io.writing import one_array, one_point_set, refuse


def recognizes_points(path: Path, head: bytes) -> bool:
    """Whether the first line holds at least three words (CARP's ``.pts`` begin with a count)."""
    words = _first_line(head)
    return len(words) >= 3


def recognizes_potentials(path: Path, head: bytes) -> bool:
    """Whether the file begins with a line of numbers that is no ECGSIM matrix (two counts)."""
    words = _first_line(head)
    is_sizes = len(words) == 2 and all(w.isdigit() for w in words)
    return not head.startswith(b";;mbfmat") and b"\0" not in head and len(words) >= 1 and not is_sizes


def _first_line(head: bytes) -> list[bytes]:
    lines = [line.split() for line in head.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    return lines[0] if lines else []


def read_points(path: Path) -> Float[np.ndarray, "n_points 3"]:
    """Return the nodes of a ``.pts`` file, in the file's unit (a fourth column is left out)."""
    lines = Lines(path, load_text(path))
    if lines.left == 0:
        raise FileFormatError(path, "no points: the file holds only blank lines.", where="line 1")
    return check_points(path, lines.numbers(lines.left, (3, 4), what="points")[:, :3])


def read_faces(path: Path) -> tuple[Int[np.ndarray, "n_triangles 3"], Int[np.ndarray, " n_triangles"] | None]:
    """Return the triangles of a ``.fac`` file, 0-based, and the group of each if the file has a fourth column."""
    lines = Lines(path, load_text(path))
    if lines.left == 0:
        raise FileFormatError(path, "no triangles: the file holds only blank lines.", where="line 1")
    table = lines.numbers(lines.left, (3, 4), what="triangles", dtype=np.int64)
    bad = np.flatnonzero((table[:, :3] < 1).any(axis=1))
    if bad.size:
        raise lines.fail(int(bad[0]), f"nodes are counted from 1; got {table[bad[0], :3].min()}.")
    return table[:, :3] - 1, table[:, 3] if table.shape[1] == 4 else None


def read(path: Path) -> Content:
    """Read points, or a surface where the other file of the pair exists."""
    points_file, faces_file = _pair(path)
    if points_file is None:
        triangles, groups = read_faces(path)
        arrays = {"triangles": triangles} | ({"groups": groups} if groups is not None else {})
        return Content(path, "map3d", arrays=arrays, info={"note": "triangles are 0-based here; there is no .pts"})
    points = read_points(points_file)
    if faces_file is None:
        return Content(path, "map3d", points={path.stem: points})
    triangles, groups = read_faces(faces_file)
    bad = np.flatnonzero((triangles >= len(points)).any(axis=1))
    if bad.size:
        raise FileFormatError(
            faces_file,
            f"triangle {bad[0] + 1} names node {triangles[bad[0]].max() + 1}; {points_file.name} holds {len(points)}.",
            where=f"triangle {bad[0] + 1}",
        )
    surface = make_surface(faces_file, points, triangles, name=path.stem)
    arrays = {} if groups is None else {"groups": groups}
    return Content(path, "map3d", surfaces=(surface,), arrays=arrays, info=windings([surface]))


def _pair(path: Path) -> tuple[Path | None, Path | None]:
    """The ``.pts`` and the ``.fac`` file of that name, where they exist."""
    if path.suffix.lower() == ".pts":
        return path, _sibling(path, ".fac")
    return _sibling(path, ".pts"), path


def _sibling(path: Path, suffix: str) -> Path | None:
    for candidate in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if candidate.is_file():
            return candidate
    return None


def write(content: Content, path: Path) -> None:
    """Write a surface as ``.pts`` and ``.fac``, or a point set as ``.pts``."""
    if len(content.surfaces) == 1:
        surface = content.surfaces[0]
        _write_rows(path.with_suffix(".pts"), surface.points)
        _write_rows(path.with_suffix(".fac"), _with_groups(surface, content))
    elif path.suffix.lower() == ".pts" and len(content.points) == 1:
        _write_rows(path, one_point_set(content, path)[1])
    else:
        raise refuse(path, f"a {path.suffix} file", "one surface or one point set", content)


def _with_groups(surface: Surface, content: Content) -> np.ndarray:
    groups = content.arrays.get("groups")
    faces = surface.triangles + 1
    return faces if groups is None or len(groups) != len(faces) else np.column_stack([faces, groups]).astype(np.int64)


def _write_rows(path: Path, rows: np.ndarray) -> None:
    path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in np.asarray(rows).tolist()), encoding="ascii")


def read_potentials(path: Path) -> Content:
    """Read a ``.pot`` file: one line per node, one column per frame."""
    lines = Lines(path, load_text(path))
    if lines.left == 0:
        raise FileFormatError(path, "no potentials: the file holds only blank lines.", where="line 1")
    columns = len(lines.rows[0][1])
    values = lines.numbers(lines.left, (columns,), what="potentials")
    return Content(path, "map3d-potentials", arrays={"potvals": values})


def write_potentials(content: Content, path: Path) -> None:
    """Write potentials: one line per node, one column per frame."""
    _write_rows(path, one_array(content, path, "a .pot file").astype(np.float64))


def read_links(path: Path) -> Content:
    """Read ``.leadlinks`` or ``.channels``: which lead sits at which node or channel, both counted from 1."""
    lines = Lines(path, load_text(path))
    count = lines.take_count("leads", extra=True)
    links = lines.numbers(count, (2,), what="leads", dtype=np.int64)
    lines.done()
    names = tuple(str(v) for v in links[:, 0])
    return Content(path, "map3d-links", arrays={"links": links}, names={"links": names}, info={"base": "1"})


FORMATS = (
    Format("map3d", (".pts", ".fac"), recognizes_points, read, write, "Dalhousie and map3d points and triangles"),
    Format(
        "map3d-potentials",
        (".pot",),
        recognizes_potentials,
        read_potentials,
        write_potentials,
        "map3d potentials, a line per node",
    ),
    Format(
        "map3d-links",
        (".leadlinks", ".channels"),
        lambda path, head: True,
        read_links,
        about="map3d lead positions",
    ),
)
