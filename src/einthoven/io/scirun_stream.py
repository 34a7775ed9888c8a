"""SCIRun's persistent streams, binary and text: the alphabet its fields and matrices are written in.

A stream is a sequence of classes (name, version, members), pointers (a flag and an identity), numbers, strings
and vectors. Binary version 1 is XDR: big-endian, everything padded to four bytes. Binary version 2 says its
byte order (``LIT`` or ``BIG``) and packs characters. The text variant puts braces around classes.
Layout after SCIRun's ``Core/Persistent`` (https://github.com/SCIInstitute/SCIRun, MIT).
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from einthoven.core import FileFormatError

#: NumPy kind and XDR width of the element types a stream may hold.
SCALARS: dict[str, tuple[str, str]] = {
    "double": ("f8", "f8"),
    "float": ("f4", "f4"),
    "int": ("i4", "i4"),
    "unsigned_int": ("u4", "u4"),
    "long_long": ("i8", "i8"),
    "unsigned_long_long": ("u8", "u8"),
    "short": ("i2", "i4"),
    "unsigned_short": ("u2", "u4"),
    "char": ("i1", "i4"),
    "unsigned_char": ("u1", "u4"),
    "bool": ("u1", "u4"),
}


class BinaryStream:
    """Reader of binary streams, versions 1 (XDR) and 2."""

    text = False

    def __init__(self, path: Path, data: bytes):
        self.path, self.data = path, data
        self.xdr, self.order, self.at = True, ">", 12
        version = data[8:11]
        if version == b"002":
            self.xdr, self.at = False, 16
            if data[12:16] not in (b"LIT\n", b"BIG\n"):
                raise FileFormatError(path, "the byte order must be LIT or BIG.", where="byte 12")
            self.order = "<" if data[12:16] == b"LIT\n" else ">"
        elif version != b"001":
            raise FileFormatError(path, "only versions 001 and 002 of SCIRun's binary stream exist.", where="byte 8")

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def fail(self, problem: str) -> FileFormatError:
        """Return the error at the present position."""
        return FileFormatError(self.path, problem, where=f"byte {self.at}")

    def array(self, kind: str, count: int) -> np.ndarray:
        """Read `count` numbers of a C++ type."""
        dtype = np.dtype(self.order + SCALARS[kind][1 if self.xdr else 0])
        if count < 0 or count * dtype.itemsize > self.left:
            raise self.fail(f"{count} values of type {kind} are promised, {self.left} bytes are left. Is it cut off?")
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values.astype(dtype.newbyteorder("="))

    def rows(self, count: int) -> np.ndarray:
        """Read points: three doubles each."""
        return self.array("double", 3 * count).reshape(-1, 3)

    def string(self) -> str:
        """Read a string: its length and the characters, padded to four bytes (XDR) or ended by NUL."""
        length = int(self.array("unsigned_int", 1)[0])
        padded = -(-length // 4) * 4 if self.xdr else length
        if padded > min(self.left, 1000):
            raise self.fail(f"a string of {length} characters is promised; names here are short. Is it damaged?")
        raw = self.data[self.at : self.at + length]
        self.at += padded
        return raw.rstrip(b"\0").decode("latin-1")

    def begin(self) -> tuple[str, int]:
        """Read the name and version of a class."""
        return self.string(), int(self.array("int", 1)[0])

    def pointer(self) -> tuple[bool, int]:
        """Read whether an object follows, and its identity."""
        have, identity = self.array("int", 2)
        if have not in (0, 1):
            raise self.fail(f"a pointer must begin with 0 or 1; got {have}.")
        return bool(have), int(identity)

    def end(self) -> None:
        """End of a class: not marked in binary streams."""

    def open(self) -> None:
        """Beginning of a group: not marked in binary streams."""

    def close(self) -> None:
        """End of a group: not marked in binary streams."""

    def finish(self) -> None:
        """Raise unless everything has been read."""
        if self.left:
            raise self.fail(f"{self.left} bytes follow where the file should end. Is a count too small?")


class TextStream:
    """Reader of text streams."""

    text = True
    _token = re.compile(r'[{}]|"[^"]*"|[A-Za-z_][^\s{}"]*|[^\s{},;"]+|"')

    def __init__(self, path: Path, data: bytes):
        self.path = path
        self.source = data.decode("latin-1")
        found = list(self._token.finditer(self.source, 8))
        self.tokens = [m.group() for m in found]
        self.places = [m.start() for m in found]
        self.at = 0
        self.word("the version of the stream")

    def fail(self, problem: str, *, back: int = 0) -> FileFormatError:
        """Return the error at the present position."""
        at = self.at - back
        place = self.places[at] if at < len(self.places) else len(self.source)
        line = self.source.count("\n", 0, place) + 1
        column = place - (self.source.rfind("\n", 0, place) + 1) + 1
        return FileFormatError(self.path, problem, where=f"line {line}, column {column}")

    def word(self, what: str) -> str:
        """Take the next word."""
        if self.at >= len(self.tokens):
            raise self.fail(f"the file ends where {what} should be. Is it cut off?")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, sign: str) -> None:
        """Take a brace."""
        got = self.word(f"'{sign}'")
        if got != sign:
            raise self.fail(f"expected '{sign}', got {got[:24]!r}.", back=1)

    def integer(self, what: str) -> int:
        """Take one integer."""
        word = self.word(what)
        try:
            return int(word)
        except ValueError:
            raise self.fail(f"{what} must be an integer; got {word[:24]!r}.", back=1) from None

    def array(self, kind: str, count: int) -> np.ndarray:
        """Read `count` numbers of a C++ type."""
        if count < 0 or count > len(self.tokens) - self.at:
            left = len(self.tokens) - self.at
            raise self.fail(f"{count} values of type {kind} are promised, {left} words are left. Is it cut off?")
        self.at += count
        return self._numbers(range(self.at - count, self.at), np.dtype(SCALARS[kind][0]))

    def _numbers(self, places: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Turn the words at these places into numbers."""
        kind = float if dtype.kind == "f" else int
        words = [self.tokens[k] for k in places]
        try:
            return np.array(list(map(kind, words)), dtype=dtype)
        except (ValueError, OverflowError):
            for k, word in zip(places, words, strict=True):
                try:
                    np.array(kind(word), dtype=dtype)
                except (ValueError, OverflowError):
                    self.at = k
                    raise self.fail(f"expected a number of type {dtype.name}, got {word[:24]!r}.") from None
            raise

    def rows(self, count: int) -> np.ndarray:
        """Read points: ``{x y z }`` each."""
        if count < 0 or 5 * count > len(self.tokens) - self.at:
            left = (len(self.tokens) - self.at) // 5
            raise self.fail(f"{count} points are promised, at most {left} are left. Is it cut off?")
        begin = self.at
        for k in range(count):
            self.at = begin + 5 * k
            if self.tokens[self.at] != "{" or self.tokens[self.at + 4] != "}":
                raise self.fail(f"point {k} must be three numbers in braces.")
        self.at = begin + 5 * count
        places = [k for k in range(begin, self.at) if (k - begin) % 5 in (1, 2, 3)]
        return self._numbers(places, np.dtype("f8")).reshape(-1, 3)

    def string(self) -> str:
        """Read a quoted string."""
        word = self.word("a string")
        if len(word) < 2 or word[0] != '"' or word[-1] != '"':
            raise self.fail(f"expected a quoted string, got {word[:24]!r}.", back=1)
        return word[1:-1]

    def begin(self) -> tuple[str, int]:
        """Read the name and version of a class."""
        self.expect("{")
        return self.word("the name of a class"), self.integer("the version of a class")

    def pointer(self) -> tuple[bool, int]:
        """Read whether an object follows (``@``) or not (``%``), and its identity."""
        word = self.word("a pointer")
        if word[0] not in "@%" or not word[1:].isdecimal():
            raise self.fail(f"expected a pointer like @1, got {word[:24]!r}.", back=1)
        return word[0] == "@", int(word[1:10])

    def end(self) -> None:
        """End of a class."""
        self.expect("}")

    def open(self) -> None:
        """Beginning of a group."""
        self.expect("{")

    def close(self) -> None:
        """End of a group."""
        self.expect("}")

    def finish(self) -> None:
        """Raise unless everything has been read."""
        if self.at < len(self.tokens):
            raise self.fail(f"{len(self.tokens) - self.at} words follow where the file should end.")


Stream = BinaryStream | TextStream


def open_stream(path: Path) -> Stream:
    """Return the reader for a SCIRun file.

    Raises
    ------
    FileFormatError
        If it does not begin with SCIRun's signature.
    """
    data = path.read_bytes()
    if data[:4] != b"SCI\n" or len(data) < 16:
        raise FileFormatError(path, "not a SCIRun file: it must begin with 'SCI' and BIN or ASC.", where="byte 0")
    if data[4:8] == b"BIN\n":
        return BinaryStream(path, data)
    if data[4:8] == b"ASC\n":
        return TextStream(path, data)
    raise FileFormatError(path, f"SCIRun stream of kind {data[4:7]!r}; BIN and ASC are read.", where="byte 4")


class BinaryWriter:
    """Writer of binary version 1 (XDR), which every SCIRun reads."""

    def __init__(self):
        self.parts = [b"SCI\nBIN\n001\n"]

    def integers(self, *values: int) -> None:
        """Write 32-bit integers."""
        self.parts.append(struct.pack(f">{len(values)}i", *values))

    def string(self, value: str) -> None:
        """Write a string."""
        raw = value.encode("latin-1", errors="replace")
        self.parts.append(struct.pack(">I", len(raw)) + raw + b"\0" * (-len(raw) % 4))

    def begin(self, name: str, version: int) -> None:
        """Begin a class."""
        self.string(name)
        self.integers(version)

    def end(self) -> None:
        """End a class."""

    def open(self) -> None:
        """Begin a group."""

    def close(self) -> None:
        """End a group."""

    def pointer(self, identity: int) -> None:
        """Announce an object."""
        self.integers(1, identity)

    def doubles(self, values: np.ndarray) -> None:
        """Write doubles."""
        self.parts.append(np.ascontiguousarray(values, dtype=">f8").tobytes())

    def rows(self, values: np.ndarray) -> None:
        """Write points."""
        self.doubles(values)

    def indices(self, values: np.ndarray) -> None:
        """Write node indices."""
        self.parts.append(np.ascontiguousarray(values, dtype=">i4").tobytes())

    def getvalue(self) -> bytes:
        """Return the file."""
        return b"".join(self.parts)


class TextWriter:
    """Writer of text version 1; numbers are written so that they read back exactly."""

    def __init__(self):
        self.parts = ["SCI\nASC\n1\n"]

    def integers(self, *values: int) -> None:
        """Write integers."""
        self.parts.append("".join(f"{v} " for v in values))

    def string(self, value: str) -> None:
        """Write a string."""
        self.parts.append('"' + value.replace('"', "'") + '" ')

    def begin(self, name: str, version: int) -> None:
        """Begin a class."""
        self.parts.append(f"{{{name} {version} ")

    def end(self) -> None:
        """End a class."""
        self.parts.append("}\n")

    def open(self) -> None:
        """Begin a group."""
        self.parts.append("{")

    def close(self) -> None:
        """End a group."""
        self.parts.append("}")

    def pointer(self, identity: int) -> None:
        """Announce an object."""
        self.parts.append(f"@{identity} ")

    def doubles(self, values: np.ndarray) -> None:
        """Write doubles."""
        self.parts.append("".join(f"{v!r} " for v in np.ravel(values).tolist()))

    def rows(self, values: np.ndarray) -> None:
        """Write points."""
        self.parts.append("".join(f"{{{x!r} {y!r} {z!r} }}" for x, y, z in values.tolist()))

    def indices(self, values: np.ndarray) -> None:
        """Write node indices."""
        self.parts.append("".join(f"{v} " for v in np.ravel(values).tolist()))

    def getvalue(self) -> bytes:
        """Return the file."""
        return "".join(self.parts).encode("latin-1", errors="replace")
