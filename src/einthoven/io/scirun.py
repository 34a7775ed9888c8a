"""SCIRun fields (``.fld``) and matrices (``.mat`` that MATLAB cannot read), binary and text.

Read: ``TriSurfMesh`` and ``PointCloudMesh`` fields with their node or face data, ``DenseMatrix`` and
``ColumnMatrix``; every other class is refused by name. Written: version 1 of the stream, binary, or text
where `Content.info` says ``encoding: ascii``. A file's ``units`` property is told and not applied: in
measured files it is wrong (``utah-cage-tank`` says cm and holds mm).
"""

from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import Surface
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import check_points, make_surface, windings
from einthoven.io.scirun_stream import SCALARS, BinaryStream, BinaryWriter, Stream, TextWriter, open_stream
from einthoven.io.writing import one_array, one_point_set, refuse

#: Highest version of each class that is understood.
KNOWN = {
    "Field": 3,
    "Mesh": 2,
    "MeshBase": 1,
    "PropertyManager": 2,
    "Property": 2,
    "STLVector": 2,
    "Array1": 2,
    "STLIndexVector": 1,
    "STLPair": 1,
    "GenericField": 3,
    "TriSurfField": 1,
    "PointCloudField": 1,
    "TriSurfMesh": 4,
    "PointCloudMesh": 2,
    "DenseMatrix": 4,
    "ColumnMatrix": 3,
    "Matrix": 3,
}


def recognizes(path: Path, head: bytes) -> bool:
    """Whether the file begins with SCIRun's signature."""
    return head[:4] == b"SCI\n"


def read(path: Path) -> Content:
    """Read a field or a matrix."""
    stream = open_stream(path)
    stream.open()
    have, _ = stream.pointer()
    if not have:
        raise stream.fail("the file holds a pointer to nothing.")
    name, version = _begin(stream)
    match name.split("<")[0]:
        case "DenseMatrix":
            content = _dense(stream, version)
        case "ColumnMatrix":
            content = _column(stream, version)
        case "TriSurfField" | "PointCloudField":
            inner, inner_version = _begin(stream, "GenericField")
            content = _field(stream, inner, inner_version)
            stream.end()
        case "GenericField":
            content = _field(stream, name, version)
        case _:
            raise stream.fail(
                f"{name[:60]!r} is not read; fields of triangles (TriSurfMesh) or points (PointCloudMesh) and "
                "matrices (DenseMatrix, ColumnMatrix) are. Convert it in SCIRun first."
            )
    stream.close()
    stream.finish()
    return content


def _begin(stream: Stream, *wanted: str) -> tuple[str, int]:
    """Begin a class of one of the wanted names and a known version."""
    name, version = stream.begin()
    family = name.split("<")[0]
    if wanted and family not in wanted:
        raise stream.fail(f"expected {' or '.join(wanted)}, got {name[:60]!r}.")
    if family in KNOWN and not 1 <= version <= KNOWN[family]:
        raise stream.fail(f"{family} of version {version} is not known; the newest read is {KNOWN[family]}.")
    return name, version


def _dense(stream: Stream, version: int) -> Content:
    properties = _matrix_base(stream)
    rows, columns = (int(v) for v in stream.array("int" if version < 4 else "long_long", 2))
    if rows < 0 or columns < 0:
        raise stream.fail(f"a matrix must not have {rows} x {columns} entries.")
    stream.open()
    if version > 2 and _raw_flag(stream, rows * columns):
        raise stream.fail("the numbers of this matrix are in a separate .raw file; write it as one file in SCIRun.")
    values = stream.array("double", rows * columns).reshape(rows, columns)
    stream.close()
    stream.end()
    return Content(stream.path, "scirun", arrays={"matrix": values}, info=_info(stream, properties))


def _raw_flag(stream: Stream, count: int) -> bool:
    """Read the flag "numbers are elsewhere": one byte in SCIRun 4's binary version 2, an integer in SCIRun 5's."""
    one_byte = isinstance(stream, BinaryStream) and stream.left - 1 == 8 * count
    return bool(stream.array("unsigned_char" if one_byte else "int", 1)[0])


def _column(stream: Stream, version: int) -> Content:
    properties = _matrix_base(stream) if version > 1 else {}
    rows = int(stream.array("int" if version < 3 else "long_long", 1)[0])
    values = stream.array("double", rows).reshape(-1, 1)
    stream.end()
    return Content(stream.path, "scirun", arrays={"matrix": values}, info=_info(stream, properties))


def _matrix_base(stream: Stream) -> dict[str, str]:
    _, version = _begin(stream, "Matrix")
    if version < 2:
        stream.array("int", 1)
    properties = _properties(stream) if version > 2 else {}
    stream.end()
    return properties


def _field(stream: Stream, name: str, version: int) -> Content:
    """Mesh and data of a ``GenericField<Mesh, Basis, vector<type>>``."""
    _, field_version = _begin(stream, "Field")
    if field_version < 3:
        stream.array("int", 1)
    properties = _properties(stream)
    stream.end()
    if version >= 2:
        stream.open()
        if not stream.pointer()[0]:
            raise stream.fail("the field has no mesh.")
    mesh_name, mesh_version = _begin(stream, "TriSurfMesh", "PointCloudMesh")
    points, triangles, mesh_properties = _mesh(stream, mesh_name, mesh_version)
    if version >= 2:
        stream.close()
    if version >= 3:
        _basis(stream)
    data = _vector(stream, name.rsplit("vector<", 1)[-1].rstrip("> _"))
    stream.end()
    return _content(stream, points, triangles, data=data, properties={**mesh_properties, **properties})


def _mesh(stream: Stream, name: str, version: int) -> tuple[np.ndarray, np.ndarray | None, dict[str, str]]:
    _begin(stream, "Mesh", "MeshBase")
    properties = _properties(stream)
    stream.end()
    points, triangles = _vector(stream, "Point"), None
    if name.startswith("TriSurfMesh"):
        flat = _vector(stream, "int")
        if len(flat) % 3:
            raise stream.fail(f"triangles need three nodes each; got {len(flat)} indices.")
        triangles = flat.reshape(-1, 3)
        if version < 4:
            _vector(stream, "int")  # neighbors across edges: they follow from the triangles
    if version >= 2:
        _basis(stream)
    stream.end()
    return points, triangles, properties


def _basis(stream: Stream) -> None:
    name, _ = stream.begin()
    if not any(kind in name for kind in ("Linear", "Constant", "NoData")):
        raise stream.fail(f"fields over {name[:60]!r} are not read; linear and constant ones are.")
    stream.end()


def _vector(stream: Stream, kind: str) -> np.ndarray:
    """Read ``STLVector``, ``Array1`` or ``STLIndexVector`` of numbers, points or vectors."""
    name, _ = _begin(stream, "STLVector", "Array1", "STLIndexVector")
    if name == "STLIndexVector":
        count, width = (int(v) for v in stream.array("long_long", 2))
        kind = "long_long" if width == 8 else "int"
    else:
        count = int(stream.array("int", 1)[0])
    if kind in ("Point", "Vector"):
        values = stream.rows(count)
    elif kind in SCALARS:
        values = stream.array(kind, count)
    elif count == 0:
        values = np.zeros(0)
    else:
        raise stream.fail(f"data of type {kind[:40]!r} is not read; numbers and vectors are.")
    stream.end()
    return values


def _properties(stream: Stream) -> dict[str, str]:
    _begin(stream, "PropertyManager")
    count, found = int(stream.array("unsigned_int", 1)[0]), {}
    for _ in range(count):
        name = stream.string()
        if stream.pointer()[0]:
            found[name] = _property(stream)
    stream.end()
    return found


def _property(stream: Stream) -> str:
    name, version = _begin(stream, "Property")
    kind = name.removeprefix("Property<").removesuffix(">")
    if version > 1:
        stream.array("bool", 1)
    if kind == "string":
        value = stream.string()
    elif kind in SCALARS:
        value = f"{stream.array(kind, 1)[0]}"
    elif kind.startswith("pair<") and kind[5:].rstrip(">").split(",")[0] in SCALARS:
        _begin(stream, "STLPair")
        pair = [stream.array(part, 1)[0] for part in kind[5:].rstrip(">").split(",") if part in SCALARS]
        value = " ".join(map(str, pair))
        stream.end()
    else:
        raise stream.fail(f"a property of type {name[:60]!r} is not read. Remove it in SCIRun.")
    stream.end()
    return value


def _info(stream: Stream, properties: dict[str, str]) -> dict[str, str]:
    info = {"encoding": "ascii" if stream.text else "binary"}
    return info | {"units as stated" if k == "units" else k: v for k, v in properties.items()}


def _content(
    stream: Stream, points: np.ndarray, triangles: np.ndarray | None, *, data: np.ndarray, properties: dict[str, str]
) -> Content:
    name = properties.get("Name") or properties.get("name") or stream.path.stem
    info = _info(stream, properties)
    arrays: dict[str, Any] = {"data": data} if len(data) else {}
    if triangles is None:
        found = check_points(stream.path, points)
        return Content(stream.path, "scirun", points={name: found}, arrays=arrays, info=info)
    surface = make_surface(stream.path, points, triangles, name=name)
    if len(data) not in (0, surface.n_points, surface.n_triangles):
        raise stream.fail(
            f"the field holds {len(data)} values; its mesh has {surface.n_points} nodes and "
            f"{surface.n_triangles} triangles."
        )
    return Content(stream.path, "scirun", surfaces=(surface,), arrays=arrays, info=info | windings([surface]))


def write(content: Content, path: Path) -> None:
    """Write a surface, a point set (``.fld``) or a matrix (``.mat``)."""
    text = content.info.get("encoding") == "ascii"
    out = TextWriter() if text else BinaryWriter()
    out.open()
    out.pointer(1)
    if path.suffix.lower() == ".fld":
        _write_field(out, content, path)
    else:
        _write_matrix(out, one_array(content, path))
    out.close()
    path.write_bytes(out.getvalue())


def _write_matrix(out: BinaryWriter | TextWriter, values: np.ndarray) -> None:
    out.begin("DenseMatrix", 3)
    out.begin("Matrix", 3)
    _write_properties(out, {})
    out.end()
    out.integers(*values.shape)
    out.open()
    out.integers(0)
    out.doubles(values)
    out.close()
    out.end()


def _write_field(out: BinaryWriter | TextWriter, content: Content, path: Path) -> None:
    surface: Surface | None = content.surface() if content.surfaces else None
    if surface is None and not content.points:
        raise refuse(path, "a SCIRun field", "a surface or a point set", content)
    kind = "TriSurf" if surface is not None else "PointCloud"
    name, points = (surface.name, surface.points) if surface is not None else one_point_set(content, path)
    data = np.ravel(content.arrays.get("data", np.zeros(0)))
    if len(data) not in (0, len(points)):
        raise refuse(path, "a SCIRun field", f"one value for each of the {len(points)} nodes", content)
    out.begin(f"{kind}Field<double>", 1)
    out.begin(f"GenericField<{kind}Mesh,vector<double>>", 1)
    out.begin("Field", 1)
    out.integers(0 if len(data) else 4)
    _write_properties(out, {"Name": name})
    out.end()
    out.begin(f"{kind}Mesh", 1)
    out.begin("Mesh", 2)
    _write_properties(out, {}, first=3)
    out.end()
    _write_vector(out, points)
    if surface is not None:
        _write_vector(out, surface.triangles.ravel())
        _write_vector(out, np.zeros(0, dtype=np.int64))
    out.end()
    _write_vector(out, data.astype(np.float64))
    out.end()
    out.end()


def _write_vector(out: BinaryWriter | TextWriter, values: np.ndarray) -> None:
    out.begin("STLVector", 2)
    out.integers(len(values))
    if values.ndim == 2:
        out.rows(values)
    elif values.dtype.kind == "i":
        out.indices(values)
    else:
        out.doubles(values)
    out.end()


def _write_properties(out: BinaryWriter | TextWriter, properties: dict[str, str], *, first: int = 2) -> None:
    out.begin("PropertyManager", 2)
    out.integers(len(properties))
    for identity, (name, value) in enumerate(properties.items(), start=first):
        out.string(name)
        out.pointer(identity)
        out.begin("Property<string>", 2)
        out.integers(0)
        out.string(value)
        out.end()
    out.end()


FORMATS = (Format("scirun", (".fld", ".mat"), recognizes, read, write, "SCIRun fields and matrices, binary and text"),)
