"""Recordings as clinics and PhysioNet store them: WFDB, EDF and BioSemi BDF.

All three store integers with a gain: what is written is rounded (WFDB and EDF to 16 bits per lead,
BDF to 24), what is read is in mV. Quantity, reference and first time are kept in a comment (WFDB) or
an annotation (EDF, BDF), where other programs ignore them.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from einthoven.core import QUANTITIES, FileFormatError, InputError, Quantity, Recording
from einthoven.core.errors import some
from einthoven.io.content import Content, millivolts
from einthoven.io.formats import Format

_VOLTS = ("mV", "uV", "µV", "V", "nV")
_MARK = re.compile(r"einthoven quantity=(\w+) start_ms=(-?\d+\.?\d*(?:e[-+]?\d{1,2})?) reference=(.+)")


@dataclass(frozen=True, eq=False)
class _Signals:
    """Signals of one file, mV, before they become a recording."""

    values: Float[np.ndarray, "n_sites n_times"]
    names: tuple[str, ...]
    rate_hz: float
    remarks: Sequence[str]
    info: dict[str, str]

    def content(self, path: Path, format_name: str) -> Content:
        start, quantity, reference = 0.0, "ecg", "recorder"
        for remark in self.remarks:
            mark = _MARK.fullmatch(remark.strip())
            if mark and mark[1] in QUANTITIES:
                quantity, start, reference = mark[1], float(mark[2]), mark[3]
        bad = np.flatnonzero(~np.isfinite(self.values).all(axis=1))
        if bad.size:
            first = int(np.flatnonzero(~np.isfinite(self.values[bad[0]]))[0])
            raise FileFormatError(
                path,
                f"leads {some(self.names[i] for i in bad)} have samples marked as invalid. Cut the record to where all "
                "are valid, or leave these leads out of it.",
                where=f"sample {first}",
            )
        times = start + np.arange(self.values.shape[1]) * (1000.0 / self.rate_hz)
        try:
            series = Recording(self.values, times, self.names, cast(Quantity, quantity), reference)
        except InputError as error:
            raise FileFormatError(path, str(error)) from error
        info = {"unit": "mV", "rate_hz": f"{self.rate_hz:g}", **self.info}
        return Content(path, format_name, time_series=series, info=info)


def _mark(recording: Recording) -> str:
    start = float(recording.times[0])
    return f"einthoven quantity={recording.quantity} start_ms={start!r} reference={recording.reference}"


def _rate(recording: Recording, path: Path) -> float:
    """Sampling rate, Hz; refuses times that are not equally spaced."""
    if recording.n_times < 2:
        raise InputError(f"{path}: this format needs a sampling rate; one frame has none. Write .csv or .zarr.")
    steps = np.diff(recording.times)
    if np.ptp(steps) > 1e-6 * recording.dt:
        raise InputError(
            f"{path}: this format holds equally spaced samples; the times step by {steps.min():g} to {steps.max():g} "
            "ms. Resample first, or write .csv or .zarr."
        )
    rate = 1000.0 * (recording.n_times - 1) / float(recording.times[-1] - recording.times[0])
    return float(round(rate)) if abs(rate - round(rate)) < 1e-6 * rate else rate


def _only_recording(content: Content, path: Path) -> Recording:
    if content.time_series is None or content.surfaces or content.points or content.volumes:
        raise InputError(f"{path}: this format holds a recording and nothing else; got {content!r}.")
    return content.time_series


# --- WFDB ----------------------------------------------------------------------------------------


def _wfdb() -> ModuleType:
    with warnings.catch_warnings():  # its import trips over newer versions of pandas
        warnings.simplefilter("ignore")
        import wfdb
    return wfdb


@contextmanager
def _reported(path: Path, what: str, *, mend: str = "Is the file cut off or altered?") -> Iterator[None]:
    """Turn whatever a library raises or warns of on a damaged file into an error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for harmless in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", harmless)
            yield
    except InputError:
        raise
    except (Exception, Warning) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:160].rstrip(".")
        raise FileFormatError(path, f"{what}: {line}. {mend}") from error


def read_wfdb(path: Path) -> Content:
    """Read a WFDB record by its header (``.hea``); signal files that are missing are named in ``info``."""
    _check_header(path)
    wfdb, stem = _wfdb(), str(path.with_suffix(""))
    with _reported(path, "the header is damaged"):
        header = wfdb.rdheader(stem)
    names = [name or str(i + 1) for i, name in enumerate(header.sig_name or [None] * header.n_sig)]
    there = {file: (path.parent / file).is_file() for file in header.file_name}
    volts = [unit in _VOLTS for unit in header.units]
    kept = [i for i in range(header.n_sig) if there[header.file_name[i]] and volts[i]]
    missing = sorted(file for file, found in there.items() if not found)
    if not kept:
        raise FileFormatError(path, f"no potentials can be read; missing files: {some(missing) or 'none'}.")
    _same_rate(path, {names[i]: float(header.fs * header.samps_per_frame[i]) for i in kept})
    with _reported(path, "its signals cannot be read"):
        found = wfdb.rdrecord(stem, channels=kept, smooth_frames=True)
        if max(header.samps_per_frame[i] for i in kept) > 1:
            raise ValueError("several samples per frame are not read; resample the record to one rate")
    factors = np.array([millivolts(header.units[i]) for i in kept])
    info = _wfdb_info(header, names, missing=missing, volts=volts)
    values = np.ascontiguousarray((found.p_signal * factors).T)
    return _Signals(values, tuple(names[i] for i in kept), float(header.fs), header.comments, info).content(
        path, "wfdb"
    )


def _wfdb_info(header: Any, names: Sequence[str], *, missing: Sequence[str], volts: Sequence[bool]) -> dict[str, str]:
    info = {}
    if missing:
        gone = [names[i] for i in range(header.n_sig) if header.file_name[i] in missing]
        info["missing"] = f"{some(missing)} is not there, so the leads {', '.join(gone)} were not read."
    if not all(volts):
        others = [f"{names[i]} ({header.units[i]})" for i in range(header.n_sig) if not volts[i]]
        info["left out"] = f"not potentials: {', '.join(others)}"
    remarks = [c.strip() for c in header.comments if c.strip() and not _MARK.fullmatch(c.strip())]
    return info | ({"comments": "\n".join(remarks)} if remarks else {})


def _check_header(path: Path) -> None:
    """Find the line that is wrong, which the library does not tell."""
    raw = path.read_bytes()
    if b"\0" in raw:
        raise FileFormatError(path, "is not a WFDB header but binary.", where=f"byte {raw.index(0)}")
    lines = [(n, line.strip()) for n, line in enumerate(raw.decode("utf-8", errors="replace").splitlines(), start=1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not lines:
        raise FileFormatError(path, "is not a WFDB header; it has no record line.", where="line 1")
    number, record = lines[0]
    match = re.match(r"[-\w]+(?P<segments>/\d+)?\s+(?P<n>\d{1,5})(\s+[\d.]+\S*)?(\s+\d+)?", record)
    if match is None:
        raise FileFormatError(path, "is not a WFDB header: NAME SIGNALS RATE SAMPLES expected.", where=f"line {number}")
    if match["segments"]:
        raise FileFormatError(path, "is a record of several segments; read its segments one by one.", where="line 1")
    if int(match["n"]) == 0 or int(match["n"]) != len(lines) - 1:
        raise FileFormatError(
            path, f"promises {match['n']} signals and describes {len(lines) - 1}.", where=f"line {lines[-1][0]}"
        )
    for number, line in lines[1:]:
        if not re.match(r"\S+\s+\d{1,3}([x:+]\S*)?(\s+\S+)*$", line):
            raise FileFormatError(path, "a signal line must be FILE FORMAT GAIN ...", where=f"line {number}")
        name = line.split()[0]
        if re.search(r"[/\\:]", name) or name in (".", ".."):
            raise FileFormatError(
                path, f"signals must be in files beside the header; got {name[:40]!r}.", where=f"line {number}"
            )


def write_wfdb(content: Content, path: Path) -> None:
    """Write ``NAME.hea`` and ``NAME.dat``: 16 bits per sample, gain and offset of each lead of its own."""
    recording = _only_recording(content, path)
    if not re.fullmatch(r"[-\w]+", path.stem, re.ASCII):
        raise InputError(f"{path}: a WFDB record's name is made of letters, digits, - and _; rename {path.stem!r}.")
    rate = _rate(recording, path)
    low, high = recording.values.min(axis=1), recording.values.max(axis=1)
    span = np.where(high > low, high - low, 1.0)
    gain = 65000.0 / span
    baseline = np.round(-gain * (high + low) / 2).astype(np.int64)
    if np.abs(baseline).max() >= 2**31:
        raise InputError(
            f"{path}: the offset of a lead is too large for its amplitude in 16 bits; remove the baseline."
        )
    digital = np.round(recording.values.T * gain + baseline).astype(np.int64)
    with _reported(path, "could not be written", mend="Write .csv or .zarr instead."):
        _wfdb().wrsamp(
            path.stem,
            fs=rate,
            units=["mV"] * recording.n_sites,
            sig_name=list(recording.sites),
            d_signal=digital,
            fmt=["16"] * recording.n_sites,
            adc_gain=gain.tolist(),
            baseline=baseline.tolist(),
            comments=[_mark(recording)],
            write_dir=str(path.parent),
        )


# --- EDF and BDF ---------------------------------------------------------------------------------


def read_edf(path: Path) -> Content:
    """Read an EDF or EDF+ file; potentials in mV, annotations in ``info``."""
    return _read_edf(path, "edf")


def read_bdf(path: Path) -> Content:
    """Read a BioSemi BDF or BDF+ file; the status channel is left out and named in ``info``."""
    return _read_edf(path, "bdf")


def _read_edf(path: Path, kind: str) -> Content:
    import edfio

    _check_size(path, 3 if kind == "bdf" else 2)
    with _reported(path, "the header is damaged"):
        reader = edfio.read_bdf if kind == "bdf" else edfio.read_edf
        found = cast(Any, reader(path, header_encoding="latin-1"))
        signals = [s for s in found.signals if s.physical_dimension.strip() in _VOLTS]
        others = [f"{s.label} ({s.physical_dimension})" for s in found.signals if s not in signals]
        # by the header, not by comparing onsets: sums of record durations are not exact
        continuous = found.is_continuous or not found.reserved.strip().endswith("+D")
        notes = [(a.onset, a.text) for a in found.annotations]
    if not continuous:
        raise FileFormatError(path, "has gaps in time (a discontinuous file); cut it into continuous pieces.")
    if not signals:
        raise FileFormatError(path, f"holds no potentials; it has {some(others) or 'no signals'}.")
    _same_rate(path, {s.label: float(s.sampling_frequency) for s in signals})
    with _reported(path, "its signals cannot be read"):
        values = np.stack([s.data * millivolts(s.physical_dimension.strip()) for s in signals])
    texts = [text for _, text in notes]
    info = {"left out": f"not potentials: {', '.join(others)}"} if others else {}
    shown = [f"{1000 * onset:g} ms: {text}" for onset, text in notes if not _MARK.fullmatch(text)]
    info |= {"annotations": "\n".join(shown)} if shown else {}
    rate = float(signals[0].sampling_frequency)
    return _Signals(values, tuple(s.label for s in signals), rate, texts, info).content(path, kind)


def _check_size(path: Path, bytes_per_sample: int) -> None:
    """Compare the file's length with what its header promises, field by field."""
    with path.open("rb") as file:
        head = file.read(256)
        fields = {"number of header bytes": (184, 8), "number of records": (236, 8), "number of signals": (252, 4)}
        counts = {}
        for what, (start, length) in fields.items():
            text = head[start : start + length].decode("ascii", errors="replace").strip()
            if not re.fullmatch(r"-?\d+", text):
                raise FileFormatError(path, f"the {what} must be a whole number; got {text!r}.", where=f"byte {start}")
            counts[what] = int(text)
        n, header_bytes, records = (
            counts["number of signals"],
            counts["number of header bytes"],
            counts["number of records"],
        )
        if n < 1 or header_bytes != 256 * (n + 1):
            raise FileFormatError(
                path, f"{n} signals need a header of {256 * (n + 1)} bytes; it says {header_bytes}.", where="byte 184"
            )
        place = 256 + 216 * n
        file.seek(place)
        raw = file.read(8 * n)
    words = [raw[8 * i : 8 * i + 8].decode("ascii", errors="replace").strip() for i in range(n)]
    wrong = [i for i, word in enumerate(words) if not word.isdigit() or int(word) == 0]
    if wrong:
        raise FileFormatError(
            path, "the samples per record must be a positive number.", where=f"byte {place + 8 * wrong[0]}"
        )
    promised = header_bytes + records * bytes_per_sample * sum(map(int, words))
    size = path.stat().st_size
    if records < 1 or size != promised:
        raise FileFormatError(
            path,
            f"the header promises {promised} bytes ({records} records), the file has {size}. Is it cut off?",
            where=f"byte {min(size, max(promised, 0))}",
        )


def _same_rate(path: Path, rates: dict[str, float]) -> None:
    if len(set(rates.values())) > 1:
        listed = some(f"{name} {rate:g} Hz" for name, rate in rates.items())
        raise FileFormatError(
            path, f"signals have different sampling rates ({listed}); export them at one rate, or in separate files."
        )


def write_edf(content: Content, path: Path) -> None:
    """Write EDF+: 16 bits per sample, range of each lead of its own."""
    _write_edf(content, path, "edf")


def write_bdf(content: Content, path: Path) -> None:
    """Write BDF+: 24 bits per sample, range of each lead of its own."""
    _write_edf(content, path, "bdf")


def _write_edf(content: Content, path: Path, kind: str) -> None:
    import edfio

    recording = _only_recording(content, path)
    rate = _rate(recording, path)
    long = [s for s in recording.sites if len(s) > 16 or not s.isascii() or not s.isprintable() or s != s.strip()]
    if long:
        raise InputError(
            f"{path}: names of leads in {kind.upper()} have at most 16 plain characters; {some(long)} do not. "
            "Rename them."
        )
    make, whole = (edfio.BdfSignal, edfio.Bdf) if kind == "bdf" else (edfio.EdfSignal, edfio.Edf)
    with _reported(path, "could not be written", mend="Write .csv or .zarr instead."):
        signals = [
            make(row, rate, label=name, physical_dimension="mV", physical_range=_range(row))
            for name, row in zip(recording.sites, recording.values, strict=True)
        ]
        seconds = _record_seconds(recording.n_times, rate, path)
        note = edfio.EdfAnnotation(0, None, _mark(recording))
        whole(cast(Any, signals), data_record_duration=seconds, annotations=[note]).write(path)


def _range(row: Float[np.ndarray, " n_times"]) -> tuple[float, float]:
    """Smallest and largest value, rounded outward to the 8 characters that the header has."""
    low, high = float(row.min()), float(row.max())
    if not (abs(low) < 1e6 and abs(high) < 1e6):
        raise ValueError(f"values of {max(abs(low), abs(high)):g} mV do not fit the header")
    if high - low < 1e-4:
        low, high = low - 1e-4, high + 1e-4
    digits = max(0, 8 - 2 - len(str(int(max(abs(low), abs(high))))))
    scale = 10.0**digits
    return float(np.floor(low * scale) / scale), float(np.ceil(high * scale) / scale)


def _record_seconds(n_times: int, rate: float, path: Path) -> float:
    """Longest record of at most 10 s that divides the recording and has a length of 8 characters."""
    for samples in range(min(n_times, max(1, int(10 * rate))), 0, -1):
        seconds = samples / rate
        if n_times % samples == 0 and len(f"{seconds:g}") <= 8 and float(f"{seconds:g}") == seconds:
            return seconds
    raise InputError(
        f"{path}: {n_times} samples at {rate:g} Hz do not divide into records of a length that the header can hold. "
        "Cut the recording to a whole number of seconds, or write .csv or .zarr."
    )


def _wfdb_head(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".hea"


def _edf_head(path: Path, head: bytes) -> bool:
    return head[:8].rstrip() == b"0"


def _bdf_head(path: Path, head: bytes) -> bool:
    return head[:8] == b"\xffBIOSEMI"


FORMATS: tuple[Format, ...] = (
    Format("wfdb", (".hea",), _wfdb_head, read_wfdb, write_wfdb),
    Format("edf", (".edf",), _edf_head, read_edf, write_edf),
    Format("bdf", (".bdf",), _bdf_head, read_bdf, write_bdf),
)
