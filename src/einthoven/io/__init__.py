"""Readers and writers: `read(path)` and `write(obj, path)` for every format, one file per format."""

from einthoven.io.content import Content, Volume, millimeters, millivolts
from einthoven.io.formats import Format
from einthoven.io.registry import formats, read, write

__all__ = ["Content", "Format", "Volume", "formats", "millimeters", "millivolts", "read", "write"]
