"""MATLAB ``.mat`` files as the field writes them: surfaces, point sets, potentials and matrices.

A struct (or the file itself) with nodes and faces is a surface: ``node/face`` of the Forward/Inverse Toolkit,
``pts/fac`` of map3d (also in cells, ``geom{1}``), ``points/cells``, ``vertices/faces``; 3 x N or N x 3, faces
counted from 1 (from 0 where a 0 occurs; `Content.info` tells). ``triangulation`` objects are read through
mat-io, version 7.3 through h5py. Everything else that is numeric becomes an array under its shortest unique
name, single numbers and text go to `Content.info`.
"""

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import FileFormatError, InputError, Recording, Surface
from einthoven.core.recording import QUANTITIES
from einthoven.io import matlab_v5, matlab_v73
from einthoven.io.content import Content, Volume, millivolts
from einthoven.io.formats import Format
from einthoven.io.matlab_v5 import Cells, Opaque, Structs
from einthoven.io.reading import check_points, damage, make_surface, windings
from einthoven.io.writing import refuse

POINTS = ("node", "nodes", "pts", "points", "pnt", "pos", "vertices", "vert", "ver", "coordinates")
FACES = ("face", "faces", "fac", "tri", "triangles", "itri", "cells", "connectivitylist", "dhk")
LABELS = ("label", "labels", "leadnames", "leadlabels", "channelnames", "names")
RATES = ("rate_hz", "samplerate", "samplingrate", "samplefrequency", "fs")
#: Sparse matrices up to this many entries are read, as dense ones.
DENSE = 8_000_000


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the file begins like MATLAB's versions 4 to 7.3."""
    return matlab_v5.is_version5(head) or matlab_v73.is_version73(head) or matlab_v5.is_version4(path, head)


def load_variables(path: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file of any version; ``triangulation`` objects as structs."""
    with path.open("rb") as file:
        head = file.read(512)
    if not recognizes(path, head):
        raise FileFormatError(path, "not a MATLAB file: no header of versions 4 to 7.3.", where="byte 0")
    version = matlab_v73 if matlab_v73.is_version73(head) else matlab_v5
    variables = version.read_variables(path)
    if any(_holds_triangulation(v) for v in variables.values()):
        variables |= _objects(path, [k for k, v in variables.items() if _holds_triangulation(v)])
    return variables


def _holds_triangulation(value: Any) -> bool:
    match value:
        case Opaque(classname="triangulation"):
            return True
        case Cells(items=items):
            return any(map(_holds_triangulation, items))
        case Structs(items=items):
            return any(_holds_triangulation(v) for row in items for v in row.values())
    return False


def _objects(path: Path, names: list[str]) -> dict[str, Any]:
    """Load variables that hold objects through mat-io."""
    with damage(path, "MATLAB object"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mat-io sets an option that pandas is about to drop
        from matio import load_from_mat
        from matio.utils.matclass import MatReadWarning

        warnings.simplefilter("error", MatReadWarning)
        return {k: _plain(v) for k, v in load_from_mat(str(path), variable_names=names).items() if k in names}


def _plain(value: Any) -> Any:
    """Turn what mat-io gives into the types of `einthoven.io.matlab_v5`."""
    if hasattr(value, "classname") and hasattr(value, "properties"):
        properties = value.properties
        if value.classname == "triangulation" and isinstance(properties, dict):
            return Structs((1, 1), ({k: _plain(v) for k, v in properties.items()},))
        return Opaque(str(value.classname))
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        rows = tuple({k: _plain(row[k]) for k in value.dtype.names} for row in value.ravel(order="F"))
        return Structs(value.shape, rows)
    if value.dtype == object:
        items = tuple(_plain(v) for v in value.ravel(order="F"))
        return items[0] if value.size == 1 and isinstance(items[0], Structs | Opaque) else Cells(value.shape, items)
    if value.dtype.kind in "US":
        return "".join(map(str, value.ravel()))
    return value


@dataclass
class _Finds:
    """What has been found so far, under full names."""

    path: Path
    surfaces: list[Surface] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    points: dict[str, np.ndarray] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    info: dict[str, str] = field(default_factory=dict)
    recordings: list[Recording] = field(default_factory=list)


def read(path: Path) -> Content:
    """Read a MATLAB file of version 4 to 7.3."""
    finds = _Finds(path)
    _fields(finds, load_variables(path), "")
    short = _short_names([*finds.arrays, *finds.info])
    return Content(
        path,
        "matlab",
        surfaces=tuple(finds.surfaces),
        points=finds.points,
        arrays={short[k]: v for k, v in finds.arrays.items()},
        volumes=tuple(finds.volumes),
        names={short.get(k, k): v for k, v in finds.names.items()},
        time_series=finds.recordings[0] if len(finds.recordings) == 1 else None,
        info={short[k]: v for k, v in finds.info.items()} | (windings(finds.surfaces) if finds.surfaces else {}),
    )


def _short_names(full: list[str]) -> dict[str, str]:
    """Last part of every dotted name, where that is unique."""
    last = [name.rsplit(".", 1)[-1] for name in full]
    return {name: short if last.count(short) == 1 else name for name, short in zip(full, last, strict=True)}


def _walk(finds: _Finds, value: Any, name: str) -> None:
    match value:
        case Structs(items=items):
            for k, fields in enumerate(items):
                _fields(finds, fields, name if len(items) == 1 else f"{name}{k + 1}")
        case Cells(items=items):
            for k, item in enumerate(items):
                _walk(finds, item, name if len(items) == 1 else f"{name}{k + 1}")
        case Opaque(classname=classname):
            finds.info[name] = f"not read: object of class {classname}"
        case str():
            finds.info[name] = value[:500]
        case tuple():
            finds.names[name] = value
        case np.ndarray() if value.size == 1:
            finds.info[name] = str(value.item())
        case np.ndarray():
            if value.size:
                finds.arrays[name] = value
        case _ if hasattr(value, "toarray"):
            rows, columns = value.shape
            if rows * columns <= DENSE:
                finds.arrays[name] = value.toarray()
            else:
                finds.info[name] = f"not read: sparse {rows} x {columns}, too large to be dense"


def _fields(finds: _Finds, fields: dict[str, Any], name: str) -> None:
    """Take a struct: its mesh, its potentials with labels, then the rest."""
    left = dict(fields)
    nodes, faces = _pop(left, POINTS), _pop(left, FACES)
    label = left.get("name") if isinstance(left.get("name"), str) else name
    if nodes is not None:
        _mesh(finds, nodes, faces, label or finds.path.stem)
    elif faces is not None:
        left["faces"] = faces
    labels = next((k for k in left if k.lower() in LABELS and isinstance(left[k], Cells)), None)
    potentials = next((k for k in ("potvals", "potval") if _is_matrix(left.get(k))), None)
    prefix = f"{name}." if name else ""
    if labels is not None and potentials is not None:
        texts = tuple(t for t in left[labels].items if isinstance(t, str))
        if len(texts) == len(left[labels].items) == len(left[potentials]):
            finds.names[prefix + potentials] = texts
            del left[labels]
    if potentials is not None:
        _recording(finds, left, potentials, finds.names.get(prefix + potentials))
    for key, value in left.items():
        _walk(finds, value, prefix + key)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "fiu" and value.size > 1


def _pop(fields: dict[str, Any], keys: tuple[str, ...]) -> np.ndarray | None:
    """Take out the first matrix of one of these names that has 3 (or 4) rows or columns."""
    for key in list(fields):
        value = fields[key]
        if key.lower() in keys and _is_matrix(value) and {3, 4} & set(value.shape):
            return fields.pop(key)
    return None


def _mesh(finds: _Finds, nodes: np.ndarray, faces: np.ndarray | None, name: str) -> None:
    path = finds.path
    if 3 not in nodes.shape:
        raise FileFormatError(path, f"{name}: nodes must be 3 x N or N x 3; got {nodes.shape[0]} x {nodes.shape[1]}.")
    wide = nodes.shape[0] == 3 and (nodes.shape[1] != 3 or faces is None or faces.shape[0] in (3, 4))
    points = check_points(path, nodes.T if wide else nodes, what=f"nodes of {name}")
    if faces is None:
        finds.points[name] = points
        return
    corners = _corners(finds, faces, wide, name=name, n_points=len(points))
    if corners.shape[1] == 4:
        finds.volumes.append(Volume(points, corners))
    else:
        finds.surfaces.append(make_surface(path, points, corners, name=name))


def _corners(finds: _Finds, faces: np.ndarray, wide: bool, *, name: str, n_points: int) -> np.ndarray:
    """Node indices, one row per face, 0-based."""
    rows, columns = faces.shape
    transposed = wide if {rows, columns} <= {3, 4} else rows in (3, 4)
    corners = faces.T if transposed else faces
    if corners.dtype.kind == "f" and not (np.isfinite(corners).all() and (corners == np.floor(corners)).all()):
        raise FileFormatError(finds.path, f"{name}: faces must hold whole numbers.")
    if corners.min() < 0 or corners.max() > n_points:
        problem = f"{name}: faces name nodes {corners.min():g}..{corners.max():g}; there are {n_points}."
        raise FileFormatError(finds.path, problem)
    corners = corners.astype(np.int64)
    if corners.min() == 0:
        finds.info[f"{name}.base"] = "0 (nodes are counted from 0)"
        return corners
    return corners - 1


def _recording(finds: _Finds, fields: dict[str, Any], key: str, names: tuple[str, ...] | None) -> None:
    """Add a recording, where unit and sampling rate stand beside the potentials."""
    unit = fields.get("unit", fields.get("units"))
    rate = next((fields[k] for k in fields if k.lower() in RATES), None)
    if unit not in ("mV", "uV", "V") or not isinstance(rate, np.ndarray) or rate.size != 1:
        return
    values, rate_hz = fields[key], float(np.real(rate.item()))
    if not 0 < rate_hz < 1e9:
        return
    start = fields.get("start_ms")
    begin = float(np.real(start.item())) if isinstance(start, np.ndarray) and start.size == 1 else 0.0
    times = begin + np.arange(values.shape[1]) * (1000.0 / rate_hz)
    sites = names or tuple(str(i + 1) for i in range(len(values)))
    quantity: Any = fields.get("quantity") if fields.get("quantity") in QUANTITIES else "bsp"
    reference: Any = fields.get("reference") if isinstance(fields.get("reference"), str) else "absolute"
    try:
        finds.recordings.append(Recording(values * millivolts(unit), times, sites, quantity, reference))
    except InputError as error:
        finds.info["note"] = str(error)


def write(content: Content, path: Path) -> None:
    """Write version 5: structs with ``node`` and ``face`` (3 x N, from 1), ``potvals`` with unit and rate, arrays."""
    from scipy.io import savemat

    variables: dict[str, Any] = {}
    for surface in content.surfaces:
        mesh = {"node": surface.points.T, "face": (surface.triangles.T + 1).astype(np.float64), "name": surface.name}
        variables[_identifier(surface.name, variables)] = mesh
    for volume in content.volumes:
        mesh = {"node": volume.points.T, "cells": (volume.tetrahedra.T + 1).astype(np.float64)}
        variables[_identifier("volume", variables)] = mesh
    for name, points in content.points.items():
        variables[_identifier(name, variables)] = {"node": points.T, "name": name}
    for name, values in content.arrays.items():
        variables[_identifier(name, variables)] = values
    if content.time_series is not None:
        variables[_identifier("ts", variables)] = _potvals(content.time_series, path)
    if not variables:
        raise refuse(path, "a MATLAB file", "surfaces, points, arrays or a recording", content)
    savemat(path, variables, appendmat=False, do_compression=True, long_field_names=True, oned_as="column")


def _identifier(name: str, taken: dict[str, Any]) -> str:
    """A name MATLAB takes, not yet used."""
    base = re.sub(r"\W", "_", name, flags=re.ASCII)[:50] or "x"
    base = base if base[0].isalpha() else f"x{base}"
    found, k = base, 2
    while found in taken:
        found, k = f"{base}_{k}", k + 1
    return found


def _potvals(recording: Recording, path: Path) -> dict[str, Any]:
    if recording.n_times > 2 and not np.allclose(np.diff(recording.times), recording.dt, rtol=1e-6):
        raise InputError(f"{path.name}: MATLAB potvals are equidistant in time; resample the recording first.")
    rate = {"rate_hz": 1000.0 / recording.dt} if recording.n_times > 1 else {}
    return {
        "potvals": recording.values,
        "unit": "mV",
        "start_ms": float(recording.times[0]),
        "label": np.array(recording.sites, dtype=object),
        "quantity": recording.quantity,
        "reference": recording.reference,
        **rate,
    }


FORMATS = (Format("matlab", (".mat",), recognizes, read, write, "MATLAB 4 to 7.3: surfaces, potvals, matrices"),)
