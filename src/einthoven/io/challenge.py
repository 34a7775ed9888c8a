"""The 2026 ECGI Data Challenge's ``*-cs.mat``: ``ts.potvals`` (nodes x time) and ``ts.pacingLoc`` (3 numbers)."""

from pathlib import Path

import numpy as np

from einthoven.core import FileFormatError, InputError
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.matlab import load_variables
from einthoven.io.matlab_v5 import Structs


def recognizes(path: Path, head: bytes) -> bool:
    """The ending belongs to the challenge alone."""
    return True


def read(path: Path) -> Content:
    """Read potentials and pacing location (in the unit of the geometry's file)."""
    variables = load_variables(path)
    ts = variables.get("ts")
    if not isinstance(ts, Structs) or len(ts.items) != 1:
        there = ", ".join(variables) or "nothing"
        raise FileFormatError(path, f"a challenge file holds the struct ts; this one holds {there}.")
    fields = ts.items[0]
    values = fields.get("potvals")
    if not isinstance(values, np.ndarray) or values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        raise FileFormatError(path, "ts.potvals must be a matrix of nodes x time.")
    arrays = {"potvals": values}
    place = fields.get("pacingLoc")
    if place is not None:
        if not isinstance(place, np.ndarray) or place.size != 3 or place.dtype.kind not in "fiu":
            raise FileFormatError(path, "ts.pacingLoc must hold three numbers.")
        arrays["pacingLoc"] = place.reshape(3).astype(np.float64)
    return Content(path, "challenge", arrays=arrays)


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
    Format("challenge", ("-cs.mat",), recognizes, read, write, "2026 ECGI Data Challenge: potvals and pacing site"),
)
