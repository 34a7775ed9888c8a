"""What the readers share: bytes, tables of numbers with line numbers, surfaces, and errors of other libraries."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float

from einthoven.core import FileFormatError, GeometryError, InputError, Surface
from einthoven.core.errors import some

#: Packed data may unpack to so many bytes, or to so many times their own length, whichever is more.
MOST_UNPACKED, MOST_TIMES = 1 << 30, 100


def check_unpacked(path: Path, promised: int, stored: int, *, where: str = "") -> None:
    """Refuse data that say they unpack to far more than what is stored, before memory is taken for them.

    Parameters
    ----------
    path
        Used in the message.
    promised, stored
        Bytes after and before unpacking.
    where
        Place in the file.

    Raises
    ------
    FileFormatError
        If more is promised than `MOST_UNPACKED` bytes and than `MOST_TIMES` what is stored.
    """
    if promised > max(MOST_UNPACKED, MOST_TIMES * stored):
        raise FileFormatError(
            path,
            f"{stored} bytes promise to unpack to {promised}, more than recordings or geometries do; store them "
            "unpacked.",
            where=where,
        )


def load_text(path: Path) -> str:
    """Return the whole file as text.

    Raises
    ------
    FileFormatError
        If it holds NUL bytes, which no text file does.
    """
    data = path.read_bytes()
    nul = data.find(b"\0")
    if nul >= 0:
        raise FileFormatError(path, "a text file was expected, this one is binary (NUL byte).", where=f"byte {nul}")
    return data.decode("utf-8", errors="replace").removeprefix("\ufeff")


class Lines:
    """The lines of a text file that hold something, with their numbers.

    Parameters
    ----------
    path
        Used in messages.
    text
        The file. Blank lines and lines that begin with one of `comments` are left out.
    comments
        Beginnings of comment lines.
    """

    def __init__(self, path: Path, text: str, *, comments: tuple[str, ...] = ("#",)):
        self.path = path
        self.rows = [
            (number, line.split())
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and not line.lstrip().startswith(comments)
        ]
        self.next = 0

    @property
    def left(self) -> int:
        """Number of lines not yet taken."""
        return len(self.rows) - self.next

    def fail(self, row: int, problem: str) -> FileFormatError:
        """Return the error for the line at position `row` (the last line if the file ends before)."""
        if not self.rows:
            return FileFormatError(self.path, problem, where="line 1")
        return FileFormatError(self.path, problem, where=f"line {self.rows[min(row, len(self.rows) - 1)][0]}")

    def take_count(self, what: str, *, extra: bool = False) -> int:
        """Take a line with one number of things; `extra` allows further words after it."""
        if self.left == 0:
            raise self.fail(self.next, f"the file ends where the number of {what} should be.")
        words = self.rows[self.next][1]
        try:
            count = int(words[0])
        except ValueError:
            raise self.fail(self.next, f"the number of {what} must be an integer; got {_short(words[0])}.") from None
        if len(words) > 1 and not extra:
            raise self.fail(self.next, f"the number of {what} must stand alone; got {len(words)} words.")
        if count < 0:
            raise self.fail(self.next, f"the number of {what} must not be negative; got {count}.")
        self.next += 1
        return count

    def take(self, count: int, columns: Sequence[int], what: str) -> list[list[str]]:
        """Take `count` lines of as many words as one of `columns`, all alike.

        Raises
        ------
        FileFormatError
            If the file ends before, or a line has another number of words.
        """
        if count > self.left:
            raise self.fail(
                len(self.rows), f"the file promises {count} {what} and ends after {self.left}. Is it cut off?"
            )
        rows = self.rows[self.next : self.next + count]
        width = len(rows[0][1]) if rows else 0
        for k, (_, words) in enumerate(rows):
            if len(words) not in columns or len(words) != width:
                wanted = width if width in columns else " or ".join(map(str, columns))
                raise self.fail(self.next + k, f"{what} need {wanted} numbers per line; got {len(words)}.")
        self.next += count
        return [words for _, words in rows]

    def numbers(self, count: int, columns: Sequence[int], *, what: str, dtype: type = np.float64) -> np.ndarray:
        """Take `count` lines of numbers as an array (count, columns)."""
        start = self.next
        words = self.take(count, columns, what)
        if not words:
            return np.zeros((0, columns[0]), dtype=dtype)
        try:
            return np.array(words).astype(dtype)
        except (ValueError, OverflowError):
            kind = int if np.issubdtype(dtype, np.integer) else float
            for k, row in enumerate(words):
                for word in row:
                    if not _parses(word, kind):
                        raise self.fail(start + k, f"{what} must be numbers; got {_short(word)}.") from None
            raise self.fail(start, f"{what} must be numbers of a usual size.") from None

    def done(self) -> None:
        """Raise `FileFormatError` if lines are left over."""
        if self.left:
            raise self.fail(self.next, f"the file should end here; {self.left} lines follow. Is a count too small?")


def _parses(word: str, kind: type) -> bool:
    try:
        value = kind(word)
    except ValueError:
        return False
    return kind is float or -(2**63) <= value < 2**63


def _short(word: str) -> str:
    return repr(word if len(word) <= 24 else word[:24] + "...")


def make_surface(path: Path, points: np.ndarray, triangles: np.ndarray, *, name: str, where: str = "") -> Surface:
    """Build a surface; what is wrong with it is reported as damage of the file."""
    try:
        return Surface(np.asarray(points, dtype=np.float64), np.asarray(triangles, dtype=np.int64), name)
    except GeometryError as error:
        raise FileFormatError(path, str(error), where=where) from error


def check_points(path: Path, points: np.ndarray, *, what: str = "points") -> Float[np.ndarray, "n_points 3"]:
    """Return the points as float64; raise `FileFormatError` if one is not finite."""
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        raise FileFormatError(path, f"{what} must be finite; {some(bad)} (0-based) hold NaN or infinity.")
    return np.asarray(points, dtype=np.float64)


def winding(surface: Surface) -> str:
    """Say how a surface is wound, in words: nothing is repaired while reading."""
    table = surface.edges
    multiple = int((table.count > 2).sum())
    if multiple:
        return f"not manifold: {multiple} edges belong to more than two triangles"
    if not surface.is_consistent:
        twisted = int((np.abs(table.balance) > (table.count == 1)).sum())
        return f"inconsistent: {twisted} edges are walked twice in the same direction"
    if not surface.is_closed:
        return "open"
    return "outward" if surface.volume > 0 else "inward"


def windings(surfaces: Sequence[Surface]) -> dict[str, str]:
    """Facts for `Content.info`: ``winding``, or ``NAME.winding`` for each of several surfaces."""
    if len(surfaces) == 1:
        return {"winding": winding(surfaces[0])}
    return {f"{s.name}.winding": winding(s) for s in surfaces}


@contextmanager
def damage(path: Path, what: str) -> Iterator[None]:
    """Turn whatever another library raises on a damaged file into a `FileFormatError`."""
    try:
        yield
    except (InputError, OSError) as error:
        if isinstance(error, InputError) or (error.errno is not None and error.filename is not None):
            raise
        raise FileFormatError(path, f"damaged {what} ({_reason(error)}).") from error
    except Exception as error:
        raise FileFormatError(path, f"damaged {what} ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:160] + "..."
