"""The `Format` record that every file format module fills in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from einthoven.io.content import Content


@dataclass(frozen=True)
class Format:
    """One file format.

    A module of `einthoven.io` lists its formats in ``FORMATS``; `einthoven.io.registry` names the module.

    Parameters
    ----------
    name
        Short name shown to people and taken by ``format=`` (``"scirun"``, ``"matlab"``).
    suffixes
        Lower-case endings with the dot (``".fld"``); a longer one wins over a shorter
        (``"-cs.mat"`` over ``".mat"``).
    recognizes
        Given the path and the first 512 bytes (empty for a folder), whether the file is of this
        format. Several formats share an ending (``.mat``, ``.pts``): the first that recognizes the
        file reads it. Where an ending belongs to one format only, it is not asked, so that the
        reader itself can say what is wrong.
    read
        Path to content; raises `FileFormatError`.
    write
        Content to path, or None for formats that are only read. The registry hands it a path in a
        fresh temporary folder and moves what was written there into place, so that a failed write
        leaves nothing behind: it may write sibling files (``.fac`` beside ``.pts``) or a folder.
    about
        One line for people: what is read and written.
    """

    name: str
    suffixes: tuple[str, ...]
    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path], Content]
    write: Callable[[Content, Path], None] | None = None
    about: str = ""
