"""What the writers share: picking the one thing a format can hold, and refusing the rest clearly."""

from pathlib import Path

import numpy as np

from einthoven.core import InputError, Surface
from einthoven.io.content import Content


def holdings(content: Content) -> str:
    """Name what a content holds: ``"2 surfaces, a recording"``."""
    parts = []
    for kind, count in (
        ("surface", len(content.surfaces)),
        ("point set", len(content.points)),
        ("array", len(content.arrays)),
        ("tetrahedral mesh", len(content.volumes)),
        ("recording", int(content.time_series is not None)),
    ):
        if count:
            plural = f"{kind}es" if kind.endswith("h") else f"{kind}s"
            parts.append(f"{count} {plural}" if count > 1 else f"a {kind}")
    return ", ".join(parts) or "nothing"


def refuse(path: Path, what: str, needed: str, content: Content) -> InputError:
    """Return the error for content that a format cannot hold."""
    return InputError(f"{path.name}: {what} holds {needed}; got {holdings(content)}. Choose another format.")


def one_surface(content: Content, path: Path, what: str) -> Surface:
    """Return the only surface."""
    if len(content.surfaces) != 1:
        raise refuse(path, what, "one surface", content)
    return content.surfaces[0]


def one_array(content: Content, path: Path, what: str = "a matrix file") -> np.ndarray:
    """Return the only array, or the values of the recording (mV), as a matrix."""
    if content.time_series is not None and not content.arrays:
        return np.asarray(content.time_series.values)
    if len(content.arrays) != 1:
        raise refuse(path, what, "one array or recording", content)
    values = np.asarray(next(iter(content.arrays.values())))
    if values.ndim > 2 or values.dtype.kind not in "fiub":
        raise InputError(f"{path.name}: {what} holds a matrix of real numbers; got {values.ndim}-D {values.dtype}.")
    return values.reshape(-1, 1) if values.ndim < 2 else values


def one_point_set(content: Content, path: Path) -> tuple[str, np.ndarray]:
    """Return name and coordinates of the only point set."""
    if len(content.points) != 1:
        raise refuse(path, "the file", "one point set", content)
    return next(iter(content.points.items()))
