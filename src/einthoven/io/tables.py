"""Text tables (CSV, TSV): points, triangles and recordings.

What a table holds is told from its header, or, without one, from its columns; see `read`. Comment
lines start with ``#``; those of the form ``# key: value`` are kept. Cells are separated by commas,
semicolons, tabs or blanks; decimals are written with a point.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import QUANTITIES, FileFormatError, InputError, Quantity, Recording
from einthoven.core.errors import some
from einthoven.io.atomic import replacing
from einthoven.io.content import Content, millivolts
from einthoven.io.formats import Format

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+")
_UNITED = re.compile(r"^(?P<name>.*?)[\s_]*[\[(_](?P<unit>[A-Za-zµ]+)[\])]?$")
#: Lines at the beginning and at the end of a file from which its delimiter is told.
SAMPLED_LINES = 10
_NAME_HEADS = {"name", "site", "lead", "electrode", "channel", "label", "node", "id"}
_TIME_HEADS = {"time", "t", "times"}
_TRIANGLE_HEADS = {
    ("a", "b", "c"),
    ("i", "j", "k"),
    ("v1", "v2", "v3"),
    ("v0", "v1", "v2"),
    ("n1", "n2", "n3"),
    ("node1", "node2", "node3"),
    ("p1", "p2", "p3"),
}


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a text table.

    Parameters
    ----------
    path
        Where it came from.
    header
        Cells of the first line, or None if it holds numbers like the others.
    rows
        Cells of every further line.
    lines
        Line number of every row, from 1.
    comments
        ``# key: value`` lines.
    """

    path: Path
    header: tuple[str, ...] | None
    rows: list[list[str]]
    lines: list[int]
    comments: dict[str, str]

    @property
    def n_columns(self) -> int:
        """Number of cells in every row."""
        return len(self.rows[0])

    @property
    def named(self) -> bool:
        """Whether the first column holds names rather than numbers."""
        if self.header is not None:
            return _plain(self.header[0]) in _NAME_HEADS
        return self.n_columns > 1 and not _is_number(self.rows[0][0])

    def text(self, column: int) -> tuple[str, ...]:
        """One column as text."""
        return tuple(row[column] for row in self.rows)

    def numbers(self, columns: Sequence[int]) -> Float[np.ndarray, "n_rows n_columns"]:
        """Columns as numbers; raises `FileFormatError` with the line of the first cell that is none."""
        try:
            return np.array([[float(row[c]) for c in columns] for row in self.rows], dtype=np.float64)
        except ValueError:
            pass
        for row, line in zip(self.rows, self.lines, strict=True):
            for c in columns:
                if not _is_number(row[c]):
                    raise FileFormatError(self.path, _not_a_number(row[c], c + 1), where=f"line {line}")
        raise FileFormatError(self.path, "holds something that is not a number.")


def read_table(path: str | Path) -> Table:
    """Split a text file into cells, checking that every line has as many as the first.

    Raises
    ------
    FileFormatError
        If the file is missing, not text, empty or ragged, or uses decimal commas; the message names
        the line.
    """
    path = Path(path)
    comments: dict[str, str] = {}
    kept, lines = [], []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.lstrip().startswith("#"):
            key, colon, value = line.lstrip().lstrip("#").partition(":")
            if colon:
                comments[key.strip()] = value.strip()
        elif line.strip(" \t\r;,"):
            kept.append(line.strip())
            lines.append(number)
    if not kept:
        raise FileFormatError(path, "holds no values. Is it the right file?")
    rows = _split(path, kept, lines)
    header = tuple(rows[0]) if _is_header(rows) else None
    if header is not None:
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise FileFormatError(path, "has a header but no values below it.", where="line 1")
    return Table(path, header, rows, lines, comments)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileFormatError(path, f"cannot be read: {error.strerror or error}.") from None
    zero = raw.find(b"\0")
    if zero >= 0:
        raise FileFormatError(path, "is not a text table; it holds a zero byte.", where=f"byte {zero}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            path, "is not text in UTF-8; save it again with that encoding.", where=f"byte {error.start}"
        ) from None


def _split(path: Path, kept: list[str], lines: list[int]) -> list[list[str]]:
    sample = kept if len(kept) <= 2 * SAMPLED_LINES else kept[:SAMPLED_LINES] + kept[-SAMPLED_LINES:]
    delimiter = max((",", ";", "\t", None), key=lambda d: _fitness(_cells(path, sample, d), d))
    rows = _cells(path, kept, delimiter)
    width = _usual_width(rows)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise FileFormatError(
                path, f"has {len(row)} cells where most lines have {width}. Mend the line.", where=f"line {line}"
            )
    return rows


def _usual_width(rows: list[list[str]]) -> int:
    return Counter(len(row) for row in rows).most_common(1)[0][0]


def _fitness(rows: list[list[str]], delimiter: str | None) -> tuple[bool, int, int]:
    """How well a delimiter splits: into several cells, as many in every line, and numbers at that."""
    width = _usual_width(rows)
    odd = sum(len(row) != width for row in rows)
    numbers = sum(_is_number(c) or (delimiter == ";" and _COMMA.fullmatch(c) is not None) for r in rows for c in r)
    return width > 1, -odd, numbers


def _cells(path: Path, kept: list[str], delimiter: str | None) -> list[list[str]]:
    if delimiter is None:
        return [line.split() for line in kept]
    try:
        rows = [[c.strip() for c in row] for row in csv.reader(kept, delimiter=delimiter, skipinitialspace=True)]
    except csv.Error as error:
        raise FileFormatError(path, f"cannot be split into cells: {error}.") from None
    if len(rows) != len(kept):
        raise FileFormatError(path, "a quoted name runs over several lines; write it on one.")
    ends = all(len(row) == len(rows[0]) > 1 and row[-1] == "" for row in rows)  # every line ends in a delimiter
    return [row[:-1] for row in rows] if ends else rows


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _not_a_number(cell: str, column: int) -> str:
    if cell == "":
        return f"column {column} is empty. Fill it in, or delete the row."
    if _COMMA.fullmatch(cell):
        return f"decimal comma in {cell!r}; write decimals with a point ({cell.replace(',', '.')})."
    return f"{cell[:40]!r} in column {column} is not a number."


def _is_header(rows: list[list[str]]) -> bool:
    first = rows[0]
    if _is_number(first[0]) or _COMMA.fullmatch(first[0]):
        return False
    if all(_is_number(c) or _COMMA.fullmatch(c) for c in first[1:]):  # a name and its values, or a name and times
        return len(first) == 1 or _plain(first[0]) in _NAME_HEADS | _TIME_HEADS
    return True


def _plain(head: str) -> str:
    """Header cell without its unit: ``"time_ms"`` -> ``"time"``, ``"x [mm]"`` -> ``"x"``."""
    return _with_unit(head)[0]


def _with_unit(head: str) -> tuple[str, str]:
    match = _UNITED.match(head.strip())
    if match and match["unit"] in ("ms", "s", "sec", "us", "mm", "cm", "m", "mV", "uV", "µV", "V", "nV"):
        return match["name"].strip().lower(), match["unit"]
    return head.strip().lower(), ""


def read(path: Path) -> Content:
    """Read a CSV or TSV file.

    ===================================  ==================================================
    columns                              content
    ===================================  ==================================================
    header with x, y, z (and a name)     points
    three columns with a decimal point,  points
    with or without a name before
    header a,b,c / i,j,k / v1,v2,v3;     array ``triangles``, as stored; whether 0- or 1-based
    or three columns of whole numbers    in ``info["first_index"]``
    header with time_ms or time_s        recording, one site per column
    first column of names                recording, one site per row; times from the header
    a header of other names              array, one site per column
    numbers only                         array as stored
    ===================================  ==================================================
    """
    table = read_table(path)
    if _xyz(table) is not None:
        return _points_content(table)
    if _is_triangles(table):
        return _triangles_content(table)
    return _recording_content(table)


def _xyz(table: Table) -> list[int] | None:
    """Columns of x, y, z, if the table holds points."""
    if table.header is not None:
        heads = [_plain(h) for h in table.header]
        return [heads.index(a) for a in "xyz"] if all(heads.count(a) == 1 for a in "xyz") else None
    start = 1 if table.named else 0
    if table.n_columns - start != 3 or _whole(table):
        return None
    return [start, start + 1, start + 2]


def _whole(table: Table) -> bool:
    return table.n_columns == 3 and all(cell.isdigit() for row in table.rows for cell in row)


def _is_triangles(table: Table) -> bool:
    if table.header is None:
        return _whole(table)
    return tuple(_plain(h) for h in table.header) in _TRIANGLE_HEADS


def _points_content(table: Table) -> Content:
    columns = _xyz(table)
    assert columns is not None
    values = table.numbers(columns)
    info = dict(table.comments)
    names: dict[str, tuple[str, ...]] = {}
    others = [c for c in range(table.n_columns) if c not in columns]
    if table.header is not None:
        units = {_with_unit(table.header[c])[1] for c in columns} - {""}
        if len(units) > 1:
            raise FileFormatError(
                table.path, f"x, y and z have different units: {some(sorted(units))}.", where="line 1"
            )
        info |= {"length_unit": units.pop()} if units else {}
        others = [c for c in others if _plain(table.header[c]) in _NAME_HEADS] or others[:1]
    if others:
        names["points"] = table.text(others[0]) if table.header is not None else _row_names(table)
    return Content(table.path, "csv", points={"points": values}, names=names, info=info)


def _triangles_content(table: Table) -> Content:
    values = table.numbers([0, 1, 2])
    bad = np.flatnonzero((values != np.round(values)).any(axis=1) | (values < 0).any(axis=1))
    if bad.size:
        raise FileFormatError(
            table.path, "node numbers must be whole and not negative.", where=f"line {table.lines[bad[0]]}"
        )
    triangles = values.astype(np.int64)
    first = "0" if triangles.min() == 0 else "unknown: 0 does not occur, so the nodes may be counted from 0 or from 1"
    first = table.comments.get("first_index", first)
    return Content(table.path, "csv", arrays={"triangles": triangles}, info={**table.comments, "first_index": first})


def triangles_from(
    stored: Int[np.ndarray, "n_triangles 3"], n_points: int, *, path: Path, first_index: int | None = None
) -> Int[np.ndarray, "n_triangles 3"]:
    """Return 0-based triangles, told from the numbers used or from `first_index`.

    Counted from 0 if node 0 occurs; counted from 1 if node `n_points` occurs; otherwise ambiguous.

    Raises
    ------
    FileFormatError
        If the numbers fit neither, or both and `first_index` is not given.
    """
    low, high = int(stored.min()), int(stored.max())
    from_zero, from_one = high <= n_points - 1, low >= 1 and high <= n_points
    if first_index is None:
        if low == 0 and from_zero:
            first_index = 0
        elif high == n_points and from_one:
            first_index = 1
        elif from_zero and from_one:
            raise FileFormatError(
                path,
                f"node numbers {low}..{high} fit {n_points} nodes counted from 0 and from 1; state first_index = 0 or "
                "first_index = 1.",
            )
        else:
            first_index = 0 if low == 0 else 1
    if low < first_index or high > n_points - 1 + first_index:
        other = 1 - first_index
        fits = other <= low and high <= n_points - 1 + other
        mend = f"State first_index = {other}." if fits else "Do points and triangles belong together?"
        raise FileFormatError(
            path, f"node numbers {low}..{high} do not fit {n_points} nodes counted from {first_index}. {mend}"
        )
    return (stored - first_index).astype(np.int64)


def _recording_content(table: Table) -> Content:
    info = dict(table.comments)
    if table.header is not None and _plain(table.header[0]) in _TIME_HEADS:
        return _columns_with_time(table, info)
    if table.named:
        return _rows_with_names(table, info)
    values = table.numbers(range(table.n_columns))
    if table.header is None:
        return Content(table.path, "csv", arrays={"values": values}, info=info)
    sites, factor = _columns_units(table, range(table.n_columns), info)
    return Content(
        table.path,
        "csv",
        arrays={"values": np.ascontiguousarray(values.T) * factor},
        names={"values": sites},
        info=info,
    )


def _columns_with_time(table: Table, info: dict[str, str]) -> Content:
    assert table.header is not None
    columns = range(1, table.n_columns)
    if not columns:
        raise FileFormatError(table.path, "has a time column but no site beside it.", where="line 1")
    times = table.numbers([0])[:, 0] * _time_factor(table, table.header[0])
    sites, factor = _columns_units(table, columns, info)
    return _series(table, times, sites, values=table.numbers(columns).T * factor, info=info)


def _rows_with_names(table: Table, info: dict[str, str]) -> Content:
    columns = range(1, table.n_columns)
    values, sites = table.numbers(columns), _row_names(table)
    factor = _file_unit(table, {table.comments.get("unit", "")} - {""}, info)
    heads = table.header[1:] if table.header is not None else ()
    if heads and all(_is_number(h) for h in heads):
        unit = table.comments.get("time_unit", "")
        times = np.array([float(h) for h in heads]) * _time_factor(table, f"time_{unit}" if unit else "time")
        return _series(table, times, sites, values=values * factor, info=info)
    return Content(table.path, "csv", arrays={"values": values * factor}, names={"values": sites}, info=info)


def _row_names(table: Table) -> tuple[str, ...]:
    """The first column; without a header it must not mix names and numbers."""
    names = table.text(0)
    if table.header is None:
        for name, line in zip(names, table.lines, strict=True):
            if _is_number(name):
                raise FileFormatError(
                    table.path,
                    f"the first column holds names above and the number {name} here; begin the file with a header.",
                    where=f"line {line}",
                )
    return names


def _series(
    table: Table, times: np.ndarray, sites: tuple[str, ...], *, values: np.ndarray, info: dict[str, str]
) -> Content:
    quantity = table.comments.get("quantity", "bsp")
    if quantity not in QUANTITIES:
        raise FileFormatError(table.path, f"quantity must be one of {', '.join(QUANTITIES)}; got {quantity!r}.")
    steps = np.flatnonzero(~(np.diff(times) > 0))
    if steps.size:
        place = f"line {table.lines[steps[0] + 1]}" if len(times) == len(table.lines) else ""
        raise FileFormatError(table.path, "times must increase from sample to sample.", where=place)
    try:
        series = Recording(values, times, sites, cast(Quantity, quantity), table.comments.get("reference", "absolute"))
    except InputError as error:
        raise FileFormatError(table.path, str(error)) from None
    return Content(table.path, "csv", time_series=series, info=info)


def _time_factor(table: Table, head: str) -> float:
    unit = _with_unit(head)[1] or table.comments.get("time_unit", "")
    factors = {"ms": 1.0, "s": 1000.0, "sec": 1000.0, "us": 1e-3}
    if unit not in factors:
        raise FileFormatError(
            table.path, f"the time column {head!r} does not say its unit; name it time_ms or time_s.", where="line 1"
        )
    return factors[unit]


def _columns_units(table: Table, columns: Sequence[int], info: dict[str, str]) -> tuple[tuple[str, ...], float]:
    """Site names without units, and the factor to mV."""
    assert table.header is not None
    pairs = [_split_potential_unit(table.header[c]) for c in columns]
    units = {unit for _, unit in pairs} - {""} or {table.comments.get("unit", "")} - {""}
    return tuple(name for name, _ in pairs), _file_unit(table, units, info)


def _split_potential_unit(head: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*?)\s*[\[(](mV|uV|µV|V|nV)[\])]", head.strip())
    return (match[1], match[2]) if match else (head.strip(), "")


def _file_unit(table: Table, units: set[str], info: dict[str, str]) -> float:
    """Factor to mV; what the file says, or that it says nothing, goes to `info`."""
    if len(units) > 1:
        raise FileFormatError(table.path, f"columns have different units: {some(sorted(units))}.", where="line 1")
    info["unit"] = units.pop() if units else "not stated, taken as mV"
    if info["unit"].startswith("not"):
        return 1.0
    try:
        return millivolts(info["unit"])
    except InputError as error:
        raise FileFormatError(table.path, str(error)) from None


def write_points(
    path: str | Path, points: Float[np.ndarray, "n_points 3"], *, names: Sequence[str] | None = None
) -> None:
    """Write coordinates (mm) as ``name,x,y,z`` or ``x,y,z`` with all their digits."""
    rows = [[repr(float(v)) for v in point] for point in points]
    heads = ["x_mm", "y_mm", "z_mm"]
    if names is not None:
        rows = [[name, *row] for name, row in zip(names, rows, strict=True)]
        heads = ["name", *heads]
    _write_rows(Path(path), [heads, *rows])


def write_triangles(path: str | Path, triangles: Int[np.ndarray, "n_triangles 3"]) -> None:
    """Write 0-based node numbers as ``a,b,c``."""
    rows = [[str(int(v)) for v in row] for row in triangles]
    _write_rows(Path(path), [["a", "b", "c"], *rows], comments={"first_index": "0"})


def write_recording(path: str | Path, recording: Recording) -> None:
    """Write a recording, one site per column, times in ms, values in mV with all their digits."""
    heads = ["time_ms", *recording.sites]
    rows = [
        [repr(float(t)), *(repr(float(v)) for v in frame)]
        for t, frame in zip(recording.times, recording.values.T, strict=True)
    ]
    comments = {"quantity": recording.quantity, "unit": "mV", "reference": recording.reference}
    _write_rows(Path(path), [heads, *rows], comments=comments)


def write_matrix(path: str | Path, matrix: Float[np.ndarray, "n_rows n_columns"]) -> None:
    """Write numbers only, as stored."""
    _write_rows(Path(path), [[repr(float(v)) for v in row] for row in np.atleast_2d(matrix)])


def write(content: Content, path: Path) -> None:
    """Write what the content holds, if it is one table: a recording, a point set or an array."""
    arrays = {k: v for k, v in content.arrays.items() if np.ndim(v) in (1, 2) and np.isrealobj(v)}
    things = len(content.points) + len(arrays) + (content.time_series is not None)
    if content.surfaces or content.volumes:
        raise InputError(
            f"{path}: a table holds points or triangles but not a surface; write a .ply, .stl or .vtp file instead."
        )
    if things != 1 or len(arrays) < len(content.arrays):
        raise InputError(f"{path}: a table holds one recording, point set or array; {content!r} is not that.")
    if content.time_series is not None:
        write_recording(path, content.time_series)
    elif content.points:
        key, points = next(iter(content.points.items()))
        write_points(path, points, names=content.names.get(key))
    elif "triangles" in arrays:
        write_triangles(path, arrays["triangles"])
    else:
        write_matrix(path, next(iter(arrays.values())))


def _write_rows(path: Path, rows: list[list[str]], *, comments: dict[str, str] | None = None) -> None:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    bad = [c for row in rows for c in (row if row is rows[0] else row[:1]) if not _writable(c)]
    if bad:
        raise InputError(
            f"{path}: names in a table are written on one line, without blanks around them, # or quote in front or "
            f"unit behind; rename {some(map(repr, bad))}."
        )
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        for key, value in (comments or {}).items():
            file.write(f"# {key}: {value}\n")
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def _writable(name: str) -> bool:
    plain = name == name.strip() and name.isprintable() and not name.startswith(("#", '"'))
    return plain and not _split_potential_unit(name)[1]


def _recognizes(path: Path, head: bytes) -> bool:
    return path.suffix.lower() in (".csv", ".tsv")


FORMATS: tuple[Format, ...] = (Format("csv", (".csv", ".tsv"), _recognizes, read, write),)
