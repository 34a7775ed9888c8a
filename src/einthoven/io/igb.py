"""CARP's IGB files: a text header of 1024 bytes (or a multiple), then the frames.

The header is words ``key:value`` (``x y z t type systeme unites facteur zero org_t inc_t dim_t``) padded with
blanks and ended by a form feed. The true value is ``facteur * stored + zero``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.io.content import Content, millivolts
from einthoven.io.formats import Format
from einthoven.io.writing import one_array

TYPES = {"byte": "u1", "char": "i1", "short": "i2", "int": "i4", "long": "i4", "uint": "u4", "float": "f4"}
TYPES |= {"double": "f8"}
HEADER = 1024


@dataclass(frozen=True)
class _Header:
    size: int
    words: dict[str, str]

    def number(self, key: str) -> float | None:
        """The finite number of that name, or None."""
        try:
            value = float(self.words[key])
        except (KeyError, ValueError):
            return None
        return value if np.isfinite(value) else None


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the file begins with ``key:value`` words."""
    return b"x:" in head and b"type:" in head


def read(path: Path) -> Content:
    """Read all frames as (n_sites, n_times), scaled; a recording too where unit and time step are told."""
    with path.open("rb") as file:
        header = _header(path, file.read(64 * HEADER))
    shape = [_size(path, header, key) for key in "xyzt"]
    dtype = _dtype(path, header)
    sites, times = shape[0] * shape[1] * shape[2], shape[3]
    there = path.stat().st_size - header.size
    if there != sites * times * dtype.itemsize:
        whole = there // (sites * dtype.itemsize)
        raise FileFormatError(
            path,
            f"{times} frames of {sites} values ({dtype.name}) are promised, {there} bytes follow the header: "
            f"{whole} whole frames. Was the run cut off? Mend t: in the header to use them.",
            where=f"byte {header.size}",
        )
    stored = np.fromfile(path, dtype, offset=header.size).reshape(times, sites).T
    values = np.ascontiguousarray(stored, dtype=np.float64)
    values = values * _scale(path, header, "facteur", 1.0) + _scale(path, header, "zero", 0.0)
    return Content(
        path,
        "igb",
        arrays={"values": values},
        time_series=_recording(header, values),
        info={k: header.words[k] for k in ("unites", "unites_t", "inc_t", "org_t", "dim_t") if k in header.words},
    )


def _header(path: Path, start: bytes) -> _Header:
    feed = start.find(b"\f")
    size = feed + 1 if feed >= 0 and (feed + 1) % HEADER == 0 else HEADER
    if len(start) < HEADER:
        raise FileFormatError(path, f"an IGB header has {HEADER} bytes; the file has {len(start)}.", where="byte 0")
    text = start[:size].decode("latin-1")
    lines = [line for line in text.replace("\r", "\n").split("\n") if not line.lstrip().startswith("#")]
    words = dict(word.split(":", 1) for line in lines for word in line.replace("\f", " ").split() if ":" in word)
    if "x" not in words or "type" not in words:
        raise FileFormatError(path, "an IGB header must tell at least x: and type:.", where="byte 0")
    return _Header(size, words)


def _size(path: Path, header: _Header, key: str) -> int:
    word = header.words.get(key, "1")
    if not word.isdecimal() or not 0 < int(word[:12]) < 2**31 or len(word) > 12:
        raise FileFormatError(path, f"{key}: must be a positive integer; got {word[:24]!r}.", where="header")
    return int(word)


def _dtype(path: Path, header: _Header) -> np.dtype:
    kind = header.words["type"]
    if kind not in TYPES:
        raise FileFormatError(path, f"type {kind[:24]!r} is not read; {', '.join(TYPES)} are.", where="header")
    system = header.words.get("systeme", "little_endian")
    if system not in ("little_endian", "big_endian", "ibm_pc", "vax", "mips", "sgi"):
        problem = f"systeme {system[:24]!r} is not known; little_endian and big_endian are."
        raise FileFormatError(path, problem, where="header")
    return np.dtype((">" if system in ("big_endian", "mips", "sgi") else "<") + TYPES[kind])


def _scale(path: Path, header: _Header, key: str, default: float) -> float:
    if key not in header.words:
        return default
    value = header.number(key)
    if value is None:
        raise FileFormatError(path, f"{key}: must be a number; got {header.words[key][:24]!r}.", where="header")
    return value


def _recording(header: _Header, values: Float[np.ndarray, "n_sites n_times"]) -> Recording | None:
    """A recording (ms, mV), where the header tells unit and time step and all values are finite."""
    frames, unit = values.shape[1], header.words.get("unites", "")
    step = header.number("inc_t")
    if step is None and frames > 1:
        length = header.number("dim_t")
        step = None if length is None else length / (frames - 1)
    per_ms = {"ms": 1.0, "s": 1000.0}.get(header.words.get("unites_t", "ms"))
    if unit not in ("mV", "uV", "V") or step is None or not 0 < step < 1e9 or per_ms is None:
        return None
    times = ((header.number("org_t") or 0.0) + step * np.arange(frames)) * per_ms
    try:
        return Recording(values * millivolts(unit), times, tuple(str(i + 1) for i in range(len(values))), "egm")
    except InputError:
        return None


def write(content: Content, path: Path) -> None:
    """Write a recording (mV, its time step) or a matrix, as double."""
    values = one_array(content, path, "an IGB file").astype("<f8")
    words = [f"x:{values.shape[0]} y:1 z:1 t:{values.shape[1]}", "type:double", "systeme:little_endian"]
    series = content.time_series
    if series is not None:
        step = series.dt if series.n_times > 1 else 1.0
        if series.n_times > 2 and not np.allclose(np.diff(series.times), step, rtol=1e-6):
            raise InputError(f"{path.name}: an IGB file holds equidistant frames; resample the recording first.")
        words += [f"unites:mV unites_t:ms org_t:{float(series.times[0])!r} inc_t:{step!r}"]
        words += [f"dim_t:{step * (series.n_times - 1)!r}"]
    words += ["facteur:1 zero:0"]
    header = " \r\n".join(words).encode("ascii")
    path.write_bytes(header.ljust(HEADER - 1) + b"\f" + np.ascontiguousarray(values.T).tobytes())


FORMATS = (Format("igb", (".igb",), recognizes, read, write, "CARP results over time"),)
