"""NumPy's archives of named arrays (``.npz``), read without objects and with every size checked first."""

import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.reading import check_unpacked

#: What a damaged or foreign archive raises on the way.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    SyntaxError,
)


def read_archive(path: str | Path) -> dict[str, np.ndarray]:
    """Read every array of an archive by its name.

    Nothing in the file is executed: objects (pickles) are refused. Before memory is taken, the length of every entry is
    compared with what its array needs, and the sum with the size of the file (`einthoven.io.reading.check_unpacked`).

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileFormatError
        If the file is missing or damaged, is no such archive, holds objects, or unpacks to too much.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            check_unpacked(path, sum(entry.file_size for entry in entries), path.stat().st_size)
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}
    except FileFormatError:
        raise
    except FileNotFoundError:
        raise FileFormatError(path, "there is no such file.") from None
    except OSError as error:
        raise FileFormatError(path, f"cannot be read ({error.strerror or error}).") from None
    except _DAMAGE as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise FileFormatError(path, f"cannot be read as .npz ({line}). Is it cut off or altered?") from None


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its promised size was compared with that of its entry."""
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        promised = prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or promised > entry.file_size:
            what = "objects, which are not read" if dtype.hasobject else f"{promised} bytes in {entry.file_size}"
            raise ValueError(f"{entry.filename} holds {what}")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"arrays of version {version} are not read")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype
