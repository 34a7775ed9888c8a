"""The 2026 ECGI Data Challenge's ``*-cs.mat``: ``ts.potvals`` (nodes x time) and ``ts.pacingLoc`` (3 numbers).

A submission is a ``.zip`` of such files, one per beat, matched with the truth by base name.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np

from einthoven.core import FileFormatError, InputError
from einthoven.core.errors import some
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.matlab import load_variables
from einthoven.io.matlab_v5 import Structs
from einthoven.io.reading import check_unpacked
from einthoven.metrics.challenge import ChallengeBeat

#: How the name of a beat's file ends.
ENDING = "-cs.mat"


def recognizes(path: Path, head: bytes) -> bool:
    """The ending belongs to the challenge alone."""
    return True


def read(path: Path) -> Content:
    """Read potentials and pacing location (in the unit of the geometry's file)."""
    values, place = _potentials_and_place(path)
    if not values.size:
        raise FileFormatError(path, "ts.potvals must be a matrix of nodes x time.")
    arrays = {"potvals": values}
    if place is not None:
        arrays["pacingLoc"] = place
    return Content(path, "challenge", arrays=arrays)


def _potentials_and_place(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """``ts.potvals``, perhaps empty, and ``ts.pacingLoc``, None where there is none."""
    variables = load_variables(path)
    ts = variables.get("ts")
    if not isinstance(ts, Structs) or len(ts.items) != 1:
        there = ", ".join(variables) or "nothing"
        raise FileFormatError(path, f"a challenge file holds the struct ts; this one holds {there}.")
    fields = ts.items[0]
    values, place = fields.get("potvals"), fields.get("pacingLoc")
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        raise FileFormatError(path, "ts.potvals must be a matrix of nodes x time.")
    if place is None:
        return values, None
    if not isinstance(place, np.ndarray) or place.size != 3 or place.dtype.kind not in "fiu":
        raise FileFormatError(path, "ts.pacingLoc must hold three numbers.")
    return values, place.reshape(3).astype(np.float64)


def read_beats(path: str | Path) -> dict[str, ChallengeBeat]:
    """Read the beats of a submission, or of a folder with the truth.

    As the challenge's scorer does, every ``*-cs.mat`` at any depth is taken, and goes by its base name. Potentials may
    be empty, where only the location counts.

    Parameters
    ----------
    path
        A folder, or a ``.zip``.

    Returns
    -------
    dict
        Beats by base name without ``-cs.mat``, sorted.

    Raises
    ------
    InputError
        If there is none, or two have the same base name.
    FileFormatError
        If a file is damaged, or lacks potentials or location.
    """
    path = Path(path)
    with _unpacked(path) as folder:
        files = sorted(
            (f for f in folder.rglob(f"*{ENDING}") if not f.name.startswith(".")), key=lambda f: (f.name, str(f))
        )
        if not files:
            raise InputError(f"{path}: holds no beat; beats are files whose names end in {ENDING}.")
        twice = sorted({a.name for a, b in pairwise(files) if a.name == b.name})
        if twice:
            raise InputError(
                f"{path}: {some(twice)} occur more than once in its folders, and beats go by their base names; leave "
                "one of each."
            )
        return {f.name.removesuffix(ENDING): _beat(f, path / f.relative_to(folder)) for f in files}


def _beat(file: Path, shown: Path) -> ChallengeBeat:
    """Read one beat; errors name the file as the user knows it."""
    try:
        values, place = _potentials_and_place(file)
    except FileFormatError as error:
        raise FileFormatError(shown, error.problem, where=error.where) from None
    if place is None:
        raise FileFormatError(shown, "has no pacing site; the scorer needs ts.pacingLoc of every beat.")
    values = values.astype(np.float64) if values.size else np.zeros((0, 0))
    return ChallengeBeat(values, place)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The folder itself, or a temporary one with the beats of a ``.zip``."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise InputError(f"{path}: there is no such folder or .zip with beats.")
    with TemporaryDirectory(prefix="einthoven-") as temporary:
        try:
            with zipfile.ZipFile(path) as archive:
                check_unpacked(path, sum(entry.file_size for entry in archive.infolist()), path.stat().st_size)
                for name in archive.namelist():
                    place = PurePosixPath(name)
                    if name.endswith(ENDING) and "__MACOSX" not in place.parts:
                        archive.extract(name, temporary)
        except FileFormatError:
            raise
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError) as error:
            raise FileFormatError(path, f"is not a folder, and not a whole .zip: {error}.") from None
        yield Path(temporary)


def write_beats(beats: Mapping[str, ChallengeBeat], folder: Path) -> list[Path]:
    """Write one ``NAME-cs.mat`` per beat into a folder that exists; returns the files.

    Raises
    ------
    InputError
        If potentials or a location are not finite.
    """
    files = []
    for name, beat in beats.items():
        if not np.isfinite(beat.potentials).all():
            raise InputError(f"beat {name}: its potentials must be finite; some are NaN or infinite.")
        path = folder / f"{name}{ENDING}"
        write(Content(path, "challenge", arrays={"potvals": beat.potentials, "pacingLoc": beat.pacing_location}), path)
        files.append(path)
    return files


def pack_beats(files: list[Path], path: Path) -> None:
    """Pack beats into the ``.zip`` that is submitted, without folders."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # the .mat files are compressed
        for file in files:
            archive.write(file, file.name)


def write(content: Content, path: Path) -> None:
    """Write potentials (an array ``potvals``, or the recording in mV) and the array ``pacingLoc``."""
    from scipy.io import savemat

    values = content.arrays.get("potvals")
    if values is None and content.time_series is not None:
        values = content.time_series.values
    place = np.ravel(content.arrays.get("pacingLoc", np.zeros(0)))
    if values is None or np.ndim(values) != 2:
        raise InputError(f"{path.name}: a challenge file holds the array 'potvals', nodes x time.")
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(
            f"{path.name}: a challenge file needs the pacing site: Content(..., arrays={{'potvals': values, "
            "'pacingLoc': (x, y, z)})."
        )
    ts = {"potvals": np.asarray(values, dtype=np.float64), "pacingLoc": place.astype(np.float64)}
    savemat(path, {"ts": ts}, appendmat=False, do_compression=True, oned_as="row")


FORMATS = (
    Format("challenge", (ENDING,), recognizes, read, write, "2026 ECGI Data Challenge: potvals and pacing site"),
)
