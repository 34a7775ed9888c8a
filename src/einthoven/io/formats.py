"""The `Format` record that every file format module fills in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from einthoven.io.content import Content


@dataclass(frozen=True)
class Format:
    """One file format.

    Parameters
    ----------
    name
        Short name shown to people.
    suffixes
        Lower-case endings with the dot, longest first (``"-cs.mat"``, ``".mat"``).
    recognizes
        Given the path and the first 512 bytes, whether the file is of this format. Several formats
        share an ending (``.mat``, ``.pts``): the first that recognizes the file reads it.
    read
        Path to content; raises `FileFormatError`.
    write
        Content to path, or None for formats that are only read. Written to a temporary file next to
        the target and renamed, so that a failed write leaves nothing behind.
    """

    name: str
    suffixes: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path], Content]
    write: Callable[[Content, Path], None] | None = None
