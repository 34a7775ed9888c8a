"""Public recordings and geometries: where they are, what they may be used for, and whether they are intact.

Files are taken from the folder that the environment variable ``EINTHOVEN_DATA_DIR`` names, or else
downloaded from their public origin to the cache (`einthoven.io.caches`). Every file is compared with its
checksum before it is read.
"""

import contextlib
import logging
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from einthoven.core import FileFormatError, InputError
from einthoven.core.errors import some
from einthoven.io.caches import cache_folder

#: Names the folder that holds the datasets' folders.
DATA_DIR = "EINTHOVEN_DATA_DIR"
#: Seconds that an origin may stay silent.
TIMEOUT_S = 20
#: How often a download that is cut off is begun, each time anew.
ATTEMPTS = 3
#: What is said of one that was cut off.
CUT = f"the connection was cut {ATTEMPTS} times"

#: Takes a URL, the path to write and an object that this package does not use, as pooch's downloaders do.
Downloader = Callable[[str, str, Any], None]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset: its name in the dataset's folder, size in bytes, checksum, public origins in order."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """A public dataset.

    Parameters
    ----------
    name
        As in the command line.
    folder
        Its folder under ``EINTHOVEN_DATA_DIR``.
    title, kind
        What it is.
    origin, licence, citation
        Where it is from, what may be done with it, what to cite.
    notes
        What to know before trusting a number.
    files
        Files read by `einthoven.datasets.load_case` and companions.
    """

    name: str
    folder: str
    title: str
    kind: str
    origin: str
    licence: str
    citation: str
    notes: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files)

    @property
    def info(self) -> dict[str, str]:
        """Title, origin, licence, citation and notes, as a case carries them."""
        return {key: getattr(self, key) for key in ("title", "origin", "licence", "citation", "notes")}

    def file(self, name: str) -> RemoteFile:
        """Return the entry of one file."""
        for found in self.files:
            if found.name == name:
                return found
        raise InputError(f"{self.name}: no file {name!r}; there are {some(f.name for f in self.files)}.")


@cache
def _datasets() -> dict[str, Dataset]:
    table = tomllib.loads(files("einthoven.datasets").joinpath("registry.toml").read_text(encoding="utf-8"))
    found = {}
    for entry in table["dataset"]:
        remote = tuple(RemoteFile(f["name"], f["size"], f["sha256"], tuple(f["urls"])) for f in entry.pop("files"))
        found[entry["name"]] = Dataset(**entry, files=remote)
    return found


def list_datasets() -> tuple[Dataset, ...]:
    """Return the record of every dataset."""
    return tuple(_datasets().values())


def dataset(name: str) -> Dataset:
    """Return the record of one dataset.

    Raises
    ------
    InputError
        If there is none of that name; the message lists them.
    """
    if name not in _datasets():
        raise InputError(f"there is no dataset named {name!r}; there are {', '.join(_datasets())}.")
    return _datasets()[name]


def is_local(name: str) -> bool:
    """Whether all files of a dataset are on this machine (their checksums are not compared)."""
    record = dataset(name)
    folder = _local_folder(record) or _cache_folder(record)
    return all((folder / entry.name).is_file() for entry in record.files)


def dataset_path(name: str, *, downloader: Downloader | None = None) -> Path:
    """Return the folder with all files of a dataset, downloaded if need be and compared with their checksums.

    Parameters
    ----------
    name
        As in `list_datasets`.
    downloader
        In place of pooch's own, for tests and for networks behind a gate.

    Raises
    ------
    InputError
        If a file is neither at hand nor downloadable; the message says where to put it.
    FileFormatError
        If a file differs from its checksum.
    """
    record = dataset(name)
    for entry in record.files:
        dataset_file(name, entry.name, downloader=downloader)
    return _local_folder(record) or _cache_folder(record)


def dataset_file(name: str, file: str, *, downloader: Downloader | None = None) -> Path:
    """Return one file of a dataset, downloaded if need be and compared with its checksum.

    Raises as `dataset_path` does.
    """
    record = dataset(name)
    entry = record.file(file)
    folder = _local_folder(record)
    if folder is not None:
        path = folder / entry.name
        if not path.is_file():
            raise InputError(
                f"{record.name}: {path} is missing. Get it from {entry.urls[0]}, or move the incomplete folder away so "
                "that everything is downloaded."
            )
        return _intact(path, entry, mend=f"Get it again from {entry.urls[0]}.")
    path = _cache_folder(record) / entry.name
    if not path.is_file():
        _download(record, entry, path, downloader)
    return _intact(path, entry, mend="Delete it, and it is downloaded again.")


def _local_folder(record: Dataset) -> Path | None:
    root = os.environ.get(DATA_DIR)
    if not root:
        return None
    if not Path(root).is_dir():
        raise InputError(f"{DATA_DIR} names {root}, which is not a folder. Correct it, or unset it to download.")
    folder = Path(root) / record.folder
    return folder if folder.is_dir() else None


def _cache_folder(record: Dataset) -> Path:
    return cache_folder("datasets") / record.folder


def _intact(path: Path, entry: RemoteFile, *, mend: str) -> Path:
    import hashlib

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        what = f"has {len(data)} bytes instead of {entry.size}" if len(data) != entry.size else "was altered"
        raise FileFormatError(path, f"{what} (its checksum is not the published one). {mend}")
    return path


def _download(record: Dataset, entry: RemoteFile, path: Path, downloader: Downloader | None) -> None:
    """Try the origins in order; pooch compares the checksum before the file appears under its name."""
    problems = []
    for url in entry.urls:
        problem = _from_origin(url, entry, path, downloader)
        if problem is None:
            return
        problems.append(problem)
    reasons = "; ".join(dict.fromkeys(problems))
    raise InputError(
        f"{record.name}: {entry.name} could not be downloaded from {' or '.join(entry.urls)} ({reasons}). "
        f"Put the files of {record.origin} into {_cache_folder(record)}, or set {DATA_DIR} to a folder that holds "
        f"{record.folder}/ with them."
    )


def _from_origin(url: str, entry: RemoteFile, path: Path, downloader: Downloader | None) -> str | None:
    """Download from one origin, from the beginning if the connection was cut; what was wrong, or None."""
    import pooch

    problem = None
    for _ in range(ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _silent(pooch.get_logger()):
                pooch.retrieve(
                    url,
                    known_hash=f"sha256:{entry.sha256}",
                    fname=path.name,
                    path=path.parent,
                    downloader=cast(Any, downloader or pooch.HTTPDownloader(timeout=TIMEOUT_S)),
                )
            return None
        except (OSError, ValueError) as error:  # no network, not found, another checksum
            problem = _reason(error)
            if problem != CUT:
                break
    return problem


@contextlib.contextmanager
def _silent(log: logging.Logger) -> Iterator[None]:
    """Keep pooch from telling about downloads."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _reason(error: Exception) -> str:
    name = type(error).__name__
    if name == "ChunkedEncodingError":
        return CUT
    if name in ("ReadTimeout", "ConnectTimeout") or "Read timed out" in str(error):
        return f"no answer for {TIMEOUT_S:g} s"
    if name in ("ConnectionError", "ProxyError", "SSLError"):
        return "no connection"
    if name == "HTTPError" and getattr(error, "response", None) is not None:
        response = cast(Any, error).response
        return f"the server says {response.status_code} {response.reason}"
    if isinstance(error, ValueError) and "hash" in str(error).lower():
        return "what came is not the file, its checksum differs"
    return (str(error).splitlines() or [name])[0][:120].rstrip(".")
