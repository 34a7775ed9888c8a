"""Zarr stores (and ``.npz`` for operators): the package's own format for everything it computes.

A store is a folder in Zarr's third format, readable by any Zarr library; recordings and estimates
are labelled arrays: ``xarray.open_zarr(path, group="estimate", consolidated=False)``. It is written to
a temporary folder and renamed, and its root is marked complete last, with a checksum of every array: a
store that was cut off, or that lost a file, is refused when read.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from einthoven.core import (
    Case,
    Electrodes,
    FileFormatError,
    ForwardOperator,
    InputError,
    Reconstruction,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
    WeightCurve,
)
from einthoven.io.archives import read_archive
from einthoven.io.atomic import replacing
from einthoven.io.content import Content
from einthoven.io.formats import Format
from einthoven.io.reading import check_unpacked

#: Version of the layout; raised when an older reader could misunderstand.
LAYOUT = 1
#: What a store may hold.
Stored = Recording | Surface | Electrodes | ForwardOperator | Case | Reconstruction

#: What einthoven's arrays are packed by; no other code is run to unpack one.
CODECS = frozenset({"bytes", "vlen-utf8", "zstd"})
_KNOWN = ", ".join(sorted(CODECS))

_ROOT = "einthoven"
_CURVE = ("lambdas", "residual_norms", "seminorms", "criterion")


@dataclass
class _Node:
    """One group on its way to or from disk: attributes, arrays with their dims, subgroups."""

    kind: str
    attrs: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict)
    groups: dict[str, "_Node"] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        return self.arrays[name][1]

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(str(s) for s in self.array(name))


def save_zarr(obj: Stored | Mapping[str, Stored], path: str | Path) -> None:
    """Write an object, or several by name, as one Zarr store.

    Parameters
    ----------
    obj
        A recording, surface, electrodes, operator, case or reconstruction, or a mapping of names to
        such objects. Names may not hold ``/``.
    path
        Folder of the store, ending in ``.zarr``. An existing Zarr store is replaced once the new one
        is complete; any other file or folder is left alone and refused.

    Raises
    ------
    InputError
        If something else is at `path`, or the object is of another kind.
    """
    path = Path(path)
    if path.exists() and not (path / "zarr.json").is_file():
        raise InputError(f"{path}: something that is not a Zarr store is in the way. Move it, or choose another name.")
    node = _collection(obj) if isinstance(obj, Mapping) else _to_node(obj)
    with replacing(path) as partial:
        _write_store(node, partial)


def load_zarr(path: str | Path) -> Any:
    """Read what `save_zarr` wrote.

    Returns
    -------
    Stored or dict of str to Stored
        Equal in every value to what was saved.

    Raises
    ------
    FileFormatError
        If there is no such store, it was not completed, or an array differs from its checksum.
    """
    return _from_node(_read_store(Path(path)), Path(path))


def save_operator(operator: ForwardOperator, path: str | Path) -> None:
    """Write an operator with its geometry to ``.npz`` or ``.zarr``.

    Raises
    ------
    InputError
        If the path ends otherwise.
    """
    path = Path(path)
    if path.suffix == ".zarr":
        save_zarr(operator, path)
        return
    if path.suffix != ".npz":
        raise InputError(f"{path}: an operator is written to .npz or .zarr; got {path.suffix or 'no ending'!r}.")
    flat: dict[str, np.ndarray] = {}
    _flatten(_operator_node(operator), "", flat)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **cast(Any, flat))


def load_operator(path: str | Path) -> ForwardOperator:
    """Read an operator from ``.npz`` or ``.zarr``; nothing in the file is executed.

    Raises
    ------
    FileFormatError
        If the file is missing, damaged or holds something else.
    """
    path = Path(path)
    found = _from_node(_unflatten(read_archive(path), path), path) if path.suffix == ".npz" else load_zarr(path)
    if not isinstance(found, ForwardOperator):
        raise FileFormatError(path, f"holds a {type(found).__name__}, not an operator.")
    return found


# --- nouns to nodes and back ---------------------------------------------------------------------


def _collection(objects: Mapping[str, Stored]) -> _Node:
    node = _Node("collection", {"order": list(objects)})
    for name, obj in objects.items():
        if not name or "/" in name or name.startswith(("_", ".")):
            raise InputError(
                f"names in a Zarr store must not be empty, start with '.' or '_' or hold '/'; got {name!r}."
            )
        node.groups[name] = _to_node(obj)
    return node


def _to_node(obj: object) -> _Node:
    for kind, make in _WRITERS.items():
        if isinstance(obj, kind):
            return make(obj)
    raise InputError(
        f"cannot store a {type(obj).__name__}; a Zarr store holds {', '.join(k.__name__ for k in _WRITERS)}."
    )


def _text(names: tuple[str, ...]) -> np.ndarray:
    return np.array(names, dtype=np.dtypes.StringDType())


def _recording_node(recording: Recording) -> _Node:
    return _Node(
        "recording",
        {"quantity": recording.quantity, "unit": "mV", "time_unit": "ms", "reference": recording.reference},
        {
            "potential": (("site", "time"), recording.values),
            "site": (("site",), _text(recording.sites)),
            "time": (("time",), recording.times),
        },
    )


def _recording_of(node: _Node) -> Recording:
    return Recording(
        node.array("potential"),
        node.array("time"),
        node.names("site"),
        node.attrs["quantity"],
        node.attrs["reference"],
    )


def _surface_node(surface: Surface) -> _Node:
    arrays = {
        "points": (("point", "axis"), surface.points),
        "triangles": (("triangle", "corner"), surface.triangles),
    }
    return _Node("surface", {"name": surface.name, "unit": "mm"}, arrays)


def _surface_of(node: _Node) -> Surface:
    return Surface(node.array("points"), node.array("triangles"), node.attrs["name"])


def _electrodes_node(electrodes: Electrodes) -> _Node:
    arrays = {
        "positions": (("electrode", "axis"), electrodes.positions),
        "electrode": (("electrode",), _text(electrodes.names)),
    }
    return _Node("electrodes", {"unit": "mm"}, arrays)


def _electrodes_of(node: _Node) -> Electrodes:
    return Electrodes(node.names("electrode"), node.array("positions"))


def _conductor_node(conductor: VolumeConductor) -> _Node:
    node = _Node("conductor", {"n_regions": len(conductor.regions)})
    for i, region in enumerate(conductor.regions):
        child = _surface_node(region.surface)
        child.attrs["conductivity"] = float(region.conductivity)
        node.groups[f"region_{i}"] = child
    return node


def _conductor_of(node: _Node) -> VolumeConductor:
    children = [node.groups[f"region_{i}"] for i in range(int(node.attrs["n_regions"]))]
    regions = [Region(_surface_of(child), float(child.attrs["conductivity"])) for child in children]
    return VolumeConductor(regions[0], tuple(regions[1:]))


def _operator_node(operator: ForwardOperator) -> _Node:
    node = _Node(
        "operator",
        {
            "in_quantity": operator.in_quantity,
            "out_quantity": operator.out_quantity,
            "reference": operator.reference,
            "unit": "mV/mV",
        },
        {
            "matrix": (("out_site", "in_site"), operator.matrix),
            "out_site": (("out_site",), _text(operator.out_sites)),
            "in_site": (("in_site",), _text(operator.in_sites)),
        },
    )
    if operator.lead_matrix is not None:
        node.arrays["lead_matrix"] = (("out_site", "lead_electrode"), np.asarray(operator.lead_matrix))
    if operator.source is not None:
        node.groups["source"] = _surface_node(operator.source)
    if operator.conductor is not None:
        node.groups["conductor"] = _conductor_node(operator.conductor)
    if operator.electrodes is not None:
        node.groups["electrodes"] = _electrodes_node(operator.electrodes)
    return node


def _operator_of(node: _Node) -> ForwardOperator:
    groups = node.groups
    return ForwardOperator(
        matrix=node.array("matrix"),
        in_sites=node.names("in_site"),
        out_sites=node.names("out_site"),
        in_quantity=node.attrs["in_quantity"],
        out_quantity=node.attrs["out_quantity"],
        reference=node.attrs["reference"],
        source=_surface_of(groups["source"]) if "source" in groups else None,
        conductor=_conductor_of(groups["conductor"]) if "conductor" in groups else None,
        electrodes=_electrodes_of(groups["electrodes"]) if "electrodes" in groups else None,
        lead_matrix=node.array("lead_matrix") if "lead_matrix" in node.arrays else None,
    )


def _source_attributes(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {"quantity": source.quantity}
    if source.intracellular_conductivity is not None:
        found["intracellular_conductivity"] = float(source.intracellular_conductivity)
    return found


def _case_node(case: Case) -> _Node:
    node = _Node("case", {"name": case.name, "info": dict(case.info), "n_sources": len(case.sources)})
    node.groups["conductor"] = _conductor_node(case.conductor)
    node.groups["electrodes"] = _electrodes_node(case.electrodes)
    for i, source in enumerate(case.sources):
        child = _Node("source", _source_attributes(source), groups={"surface": _surface_node(source.surface)})
        if source.truth is not None:
            child.groups["truth"] = _recording_node(source.truth)
        node.groups[f"source_{i}"] = child
    if case.recording is not None:
        node.groups["recording"] = _recording_node(case.recording)
    return node


def _case_of(node: _Node) -> Case:
    sources = []
    for i in range(int(node.attrs["n_sources"])):
        child = node.groups[f"source_{i}"]
        truth = _recording_of(child.groups["truth"]) if "truth" in child.groups else None
        conductivity = child.attrs.get("intracellular_conductivity")
        sources.append(Source(_surface_of(child.groups["surface"]), child.attrs["quantity"], truth, conductivity))
    return Case(
        name=node.attrs["name"],
        conductor=_conductor_of(node.groups["conductor"]),
        sources=tuple(sources),
        electrodes=_electrodes_of(node.groups["electrodes"]),
        recording=_recording_of(node.groups["recording"]) if "recording" in node.groups else None,
        info={str(k): str(v) for k, v in node.attrs["info"].items()},
    )


def _reconstruction_node(found: Reconstruction) -> _Node:
    diagnostics = {k: float(v) for k, v in found.diagnostics.items()}
    attrs = {"method": found.method, "rule": found.rule}
    node = _Node("reconstruction", attrs, groups={"estimate": _recording_node(found.estimate)})
    node.groups["residual"] = _recording_node(found.residual)
    # numbers go to arrays, since JSON has no NaN and no infinity
    node.arrays["weight"] = ((), np.asarray(found.weight, dtype=np.float64))
    node.arrays["diagnostic"] = (("diagnostic",), _text(tuple(diagnostics)))
    node.arrays["diagnostics"] = (("diagnostic",), np.array(list(diagnostics.values()), dtype=np.float64))
    if found.curve is not None:
        curve = _Node("curve", {"label": found.curve.label})
        for name in _CURVE:
            curve.arrays[name] = (("weight",), np.asarray(getattr(found.curve, name), dtype=np.float64))
        curve.arrays["chosen"] = ((), np.asarray(found.curve.chosen, dtype=np.float64))
        node.groups["curve"] = curve
    return node


def _reconstruction_of(node: _Node) -> Reconstruction:
    curve = None
    if "curve" in node.groups:
        stored = node.groups["curve"]
        sweep = [stored.array(name) for name in _CURVE]
        curve = WeightCurve(*sweep, chosen=float(stored.array("chosen")), label=stored.attrs["label"])
    return Reconstruction(
        estimate=_recording_of(node.groups["estimate"]),
        residual=_recording_of(node.groups["residual"]),
        method=node.attrs["method"],
        rule=node.attrs["rule"],
        weight=float(node.array("weight")),
        curve=curve,
        diagnostics=dict(zip(node.names("diagnostic"), node.array("diagnostics").tolist(), strict=True)),
    )


_WRITERS: dict[type, Callable[[Any], _Node]] = {
    Recording: _recording_node,
    Surface: _surface_node,
    Electrodes: _electrodes_node,
    ForwardOperator: _operator_node,
    Case: _case_node,
    Reconstruction: _reconstruction_node,
}
_READERS: dict[str, Callable[[_Node], Any]] = {
    "recording": _recording_of,
    "surface": _surface_of,
    "electrodes": _electrodes_of,
    "operator": _operator_of,
    "case": _case_of,
    "reconstruction": _reconstruction_of,
}


def _from_node(node: _Node, path: Path) -> Any:
    if node.kind == "collection":
        return {name: _from_node(node.groups[name], path) for name in node.attrs["order"]}
    if node.kind not in _READERS:
        raise FileFormatError(
            path, f"holds an unknown kind of object, {node.kind!r}. Was it written by a newer version?"
        )
    try:
        return _READERS[node.kind](node)
    except (KeyError, TypeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(path, f"the stored {node.kind} {what}; the store is damaged, write it again.") from error


# --- nodes to Zarr and back ----------------------------------------------------------------------


def _write_store(node: _Node, path: Path) -> None:
    import zarr

    sums: dict[str, int] = {}
    root = zarr.create_group(store=str(path), zarr_format=3)
    _write_group(root, node, "", sums)
    root.attrs[_ROOT] = {"layout": LAYOUT, "complete": True, "checksums": sums}


def _write_group(group: Any, node: _Node, prefix: str, sums: dict[str, int]) -> None:
    from zarr.codecs import ZstdCodec

    group.attrs.update({"kind": node.kind, **node.attrs})
    for name, (dims, values) in node.arrays.items():
        attrs = {k: v for k, v in node.attrs.items() if name == "potential"}
        if values.dtype.kind == "T":
            made = group.create_array(
                name,
                shape=values.shape,
                dtype="string",
                dimension_names=dims,
                attributes=attrs,
                compressors=ZstdCodec(checksum=True),  # so that a damaged number of texts is noticed before it is used
            )
        else:
            made = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                dimension_names=dims,
                attributes=attrs,
                fill_value=0 if values.dtype.kind == "i" else np.nan,
                config={"write_empty_chunks": True},  # NaN of either sign counts as empty and would lose its bits
            )
        made[...] = values
        sums[f"{prefix}{name}"] = _checksum(values)
    for name, child in node.groups.items():
        _write_group(group.create_group(name), child, f"{prefix}{name}/", sums)


def _checksum(values: np.ndarray) -> int:
    if values.dtype.kind in "TUO":
        return zlib.crc32("\0".join(str(v) for v in values.reshape(-1)).encode())
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def _read_store(path: Path) -> _Node:
    import zarr

    if not (path / "zarr.json").is_file():
        what = "there is no such Zarr store" if not path.exists() else "is not a Zarr store (it has no zarr.json)"
        raise FileFormatError(path, f"{what}.")
    try:
        root = zarr.open_group(store=str(path), mode="r", zarr_format=3)
        attrs = dict(root.attrs)
    except Exception as error:
        raise FileFormatError(path, f"cannot be opened as a Zarr group: {_line(error)}.") from error
    mark = attrs.get(_ROOT)
    if not isinstance(mark, dict) or mark.get("complete") is not True:
        raise FileFormatError(
            path, "is not complete: it was not finished, or not written by einthoven. Run again what wrote it."
        )
    if mark.get("layout") != LAYOUT:
        raise FileFormatError(path, f"has layout {mark.get('layout')}; this version reads {LAYOUT}. Update einthoven.")
    sums = mark.get("checksums")
    if not isinstance(sums, dict):
        raise FileFormatError(path, "has no checksums; the store is damaged, write it again.")
    node = _read_group(root, "", cast(dict[str, int], sums), path)
    if sums:
        raise FileFormatError(path, f"array {next(iter(sums))!r} is missing; the store is damaged, write it again.")
    return node


def _read_group(group: Any, prefix: str, sums: dict[str, int], path: Path) -> _Node:
    try:
        attrs = {k: v for k, v in dict(group.attrs).items() if k != _ROOT}
        node = _Node(str(attrs.pop("kind", "")), attrs)
        members = dict(group.members())
    except Exception as error:
        raise FileFormatError(path, f"group {prefix or '/'!r} is damaged: {_line(error)}.") from error
    for name, member in members.items():
        key = f"{prefix}{name}"
        if not hasattr(member, "shape"):
            node.groups[name] = _read_group(member, f"{key}/", sums, path)
            continue
        _check_size(path, key, member)
        try:
            values = np.asarray(member[...])
        except Exception as error:
            raise FileFormatError(path, f"array {key!r} is damaged: {_line(error)}.") from error
        if sums.pop(key, None) != _checksum(values):
            raise FileFormatError(
                path, f"array {key!r} differs from its checksum; the store is damaged, write it again."
            )
        node.arrays[name] = ((), values)
    return node


def _check_size(path: Path, key: str, member: Any) -> None:
    """Refuse an array packed by foreign codecs, or one that promises far more than its chunks can hold."""
    foreign = sorted(_codecs(member) - CODECS)
    if foreign:
        raise FileFormatError(
            path, f"array {key!r} is packed by {foreign[0]!r}; einthoven's stores hold {_KNOWN} only."
        )
    chunks = [f for f in (path / key).rglob("*") if f.is_file() and f.name != "zarr.json"]
    stored = sum(f.stat().st_size for f in chunks)
    promised = int(max(member.nbytes, prod(member.chunks) * member.dtype.itemsize))
    check_unpacked(path, promised, stored, where=f"array {key!r}")
    if promised > 16_000_000 + 100_000 * stored:
        raise FileFormatError(
            path, f"array {key!r} promises {promised} bytes and has {stored} on disk; the store is damaged."
        )


def _codecs(member: Any) -> set[str]:
    """Names of everything that packs an array."""
    return {str(codec["name"]) for codec in member.metadata.to_dict()["codecs"]}


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


# --- nodes to npz and back -----------------------------------------------------------------------


def _flatten(node: _Node, prefix: str, flat: dict[str, np.ndarray]) -> None:
    flat[f"{prefix}kind"] = np.array(node.kind)
    for name, value in node.attrs.items():
        flat[f"{prefix}@{name}"] = np.array(value)
    for name, (_, values) in node.arrays.items():
        flat[f"{prefix}{name}"] = np.array(values.tolist(), dtype=str) if values.dtype.kind == "T" else values
    for name, child in node.groups.items():
        _flatten(child, f"{prefix}{name}/", flat)


def _unflatten(flat: Mapping[str, np.ndarray], path: Path) -> _Node:
    if "kind" not in flat:
        raise FileFormatError(path, "was not written by einthoven (it has no entry 'kind').")
    root = _Node(str(flat["kind"]))
    for key, values in flat.items():
        *parents, name = key.split("/")
        node = root
        for parent in parents:
            node = node.groups.setdefault(parent, _Node(""))
        if name == "kind":
            node.kind = str(values)
        elif name.startswith("@"):
            node.attrs[name[1:]] = values.item() if values.ndim == 0 else values.tolist()
        else:
            node.arrays[name] = ((), values)
    return root


# --- as a file format ----------------------------------------------------------------------------


def read(path: Path) -> Content:
    """Read a store as the `Content` of a file: surfaces, electrodes, recording or estimate, matrix."""
    return _content(load_zarr(path), path)


def _content(obj: Any, path: Path) -> Content:
    match obj:
        case Recording():
            return Content(path, "zarr", time_series=obj, info={"unit": "mV"})
        case Surface():
            return Content(path, "zarr", surfaces=(obj,), info={"length_unit": "mm"})
        case Electrodes():
            return Content(path, "zarr", points={"electrodes": obj.positions}, names={"electrodes": obj.names})
        case Reconstruction():
            info = {"unit": "mV", "method": obj.method, "rule": obj.rule, "lambda": repr(obj.weight)}
            return Content(path, "zarr", time_series=obj.estimate, info=info)
        case ForwardOperator():
            return Content(
                path,
                "zarr",
                arrays={"matrix": obj.matrix},
                names={"matrix": obj.out_sites, "matrix:columns": obj.in_sites},
                info={
                    "in_quantity": obj.in_quantity,
                    "out_quantity": obj.out_quantity,
                    "reference": obj.reference,
                },
            )
        case Case():
            return Content(
                path,
                "zarr",
                surfaces=(*(r.surface for r in obj.conductor.regions), *(s.surface for s in obj.sources)),
                points={"electrodes": obj.electrodes.positions},
                names={"electrodes": obj.electrodes.names},
                time_series=obj.recording,
                info={"unit": "mV", "length_unit": "mm", **obj.info},
            )
    inside = ", ".join(obj) if isinstance(obj, dict) else type(obj).__name__
    raise FileFormatError(path, f"holds several objects ({inside}); read it with einthoven.io.zarr_store.load_zarr.")


def write(content: Content, path: Path) -> None:
    """Write a content that is one recording, surface, point set or operator."""
    n = len(content.surfaces) + len(content.points) + len(content.arrays) + len(content.volumes)
    if n + (content.time_series is not None) != 1 or content.volumes:
        raise InputError(f"{path}: a Zarr store holds one recording, surface, point set or operator; got {content!r}.")
    if content.time_series is not None:
        save_zarr(content.time_series, path)
    elif content.surfaces:
        save_zarr(content.surfaces[0], path)
    elif content.points:
        key, positions = next(iter(content.points.items()))
        names = content.names.get(key) or tuple(str(i + 1) for i in range(len(positions)))
        save_zarr(Electrodes(names, positions), path)
    else:
        save_operator(_operator_in(content, path), path)


def read_npz(path: Path) -> Content:
    """Read an operator's ``.npz`` as the `Content` of a file: its matrix and the names of rows and columns."""
    return replace(_content(load_operator(path), path), format="npz")


def write_npz(content: Content, path: Path) -> None:
    """Write a content that is one operator; its geometry is kept by `save_operator` only."""
    save_operator(_operator_in(content, path), path)


def _operator_in(content: Content, path: Path) -> ForwardOperator:
    names = content.names
    if list(content.arrays) != ["matrix"] or "matrix" not in names or "matrix:columns" not in names:
        raise InputError(
            f"{path}: a bare array has no sampling rate and no names, which {path.suffix} files need; make a recording "
            "of it (`content.recording(rate_hz=...)`) and write that to .csv or .zarr."
        )
    info = cast(Any, content.info)
    return ForwardOperator(
        content.array("matrix"),
        names["matrix:columns"],
        names["matrix"],
        info.get("in_quantity", "hsp"),
        info.get("out_quantity", "bsp"),
        info.get("reference", "absolute"),
    )


def _recognizes(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".zarr"


def _recognizes_npz(path: Path, head: bytes) -> bool:
    return head.startswith(b"PK")


FORMATS: tuple[Format, ...] = (
    Format("zarr", (".zarr",), _recognizes, read, write),
    Format("npz", (".npz",), _recognizes_npz, read_npz, write_npz),
)
