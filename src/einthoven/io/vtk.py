"""VTK files (``.vtp``, ``.vtu``, legacy ``.vtk``), through PyVista, which comes with the extra ``vtk``."""

import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from einthoven.core import FileFormatError, GeometryError, InputError, Surface
from einthoven.core.errors import some
from einthoven.io.content import Content, Volume
from einthoven.io.formats import Format

_TRIANGLE, _TETRAHEDRON = 5, 10
_HARMLESS_CELLS = {0, 1}  # empty cells and single vertices
_LEGACY_COUNT = re.compile(rb"^(POINTS|POLYGONS|CELLS|CELL_TYPES)[ \t]+(\d+)", re.MULTILINE)
_LEGACY_VERSION = re.compile(rb"# vtk DataFile Version (\d+)\.(\d+)[ \t\r]*\n")
_LEGACY_CELLS = re.compile(rb"^(POLYGONS|CELLS)[ \t]+(\d+)[ \t]+(\d+)[ \t\r]*\n", re.MULTILINE)
_XML_COUNT = re.compile(rb'NumberOf(Points|Cells|Polys|Verts|Lines|Strips)="(\d+)"')
#: Numbers that a byte of a compressed XML file may stand for.
MOST_PER_BYTE = 1000
_REGION_NAMES = ("region", "regions", "elemTag", "tag", "material", "MaterialIds")
_FIBER_NAMES = ("fiber", "fibers", "Fiber", "fibre")


def _pyvista(path: Path) -> ModuleType:
    try:
        import pyvista
    except ImportError as error:
        raise InputError(
            f"{path}: {path.suffix} files need PyVista, which is not installed; run `pip install 'einthoven[vtk]'`, or "
            "convert the file to .ply."
        ) from error
    return pyvista


def read(path: Path) -> Content:
    """Read surfaces of triangles, tetrahedral meshes and their fields; other cells are refused."""
    _check_counts(path)
    data = _load(path)
    if not hasattr(data, "points") or data.n_points == 0:
        raise FileFormatError(path, f"holds no points ({type(data).__name__}); a surface or a mesh is needed.")
    points = np.asarray(data.points, dtype=np.float64)
    surfaces, volumes = _cells(path, data, points)
    arrays = {name: np.asarray(values) for name, values in data.point_data.items()}
    for name, values in data.cell_data.items():
        arrays[f"cell:{name}" if name in arrays else name] = np.asarray(values)
    arrays = {name: values for name, values in arrays.items() if values.dtype.kind in "fiub"}
    sets = {} if surfaces or volumes else {path.stem: points}
    return Content(path, "vtk", surfaces=surfaces, points=sets, arrays=arrays, volumes=volumes)


def _check_counts(path: Path) -> None:
    """Refuse a file whose counts do not fit its size, before the library makes room for them."""
    raw = path.read_bytes()
    legacy = path.suffix.lower() == ".vtk"
    if not _recognizes(path, raw[:512]):
        start = "# vtk DataFile" if legacy else "<VTKFile"
        raise FileFormatError(path, f"is not a VTK file; {start!r} is missing at its beginning.", where="byte 0")
    for match in (_LEGACY_COUNT if legacy else _XML_COUNT).finditer(raw):
        count, place = int(match[2]), match.start()
        if count > (len(raw) - place if legacy else MOST_PER_BYTE * len(raw)):
            raise FileFormatError(
                path,
                f"promises {count} {match[1].decode().lower()}, which do not fit in it. Is it cut off or altered?",
                where=f"byte {place}",
            )
    if legacy:
        _check_legacy_cells(path, raw)


def _check_legacy_cells(path: Path, raw: bytes) -> None:
    """Refuse a legacy file whose version does not fit its cells, or whose cells do not end: VTK would crash on them."""
    version = _LEGACY_VERSION.match(raw)
    if version is None:
        raise FileFormatError(path, "its version is not two numbers; the file is damaged.", where="line 1")
    with_offsets = b"\nOFFSETS " in raw
    for match in _LEGACY_CELLS.finditer(raw):
        where, count, size = f"byte {match.start()}", int(match[2]), int(match[3])
        if with_offsets != (int(version[1]) >= 5):
            raise FileFormatError(path, "its cells do not have the layout of its version; it is damaged.", where=where)
        if with_offsets:
            continue
        values, at = _legacy_numbers(raw, match.end(), size), 0
        for _ in range(count):
            if at >= len(values) or not 0 <= values[at] < size:
                break
            at += int(values[at]) + 1
        if at != size:
            raise FileFormatError(path, f"its {count} cells do not fill their {size} numbers.", where=where)


def _legacy_numbers(raw: bytes, start: int, size: int) -> np.ndarray:
    """Return up to `size` whole numbers that begin at `start`; fewer where the file ends or something else stands."""
    if b"\nBINARY" in raw[:512]:
        return np.frombuffer(raw, ">i4", min(size, (len(raw) - start) // 4), start)
    words = raw[start:].split(maxsplit=size)[:size]
    good = next((k for k, word in enumerate(words) if not word.isdigit() or len(word) > 18), len(words))
    return np.array(words[:good], dtype=np.int64)


def _load(path: Path) -> Any:
    """Read with VTK, whose complaints become one error with the place it names."""
    pyvista = _pyvista(path)
    from vtkmodules.vtkIOLegacy import vtkDataSetReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader, vtkXMLUnstructuredGridReader

    readers = {".vtp": vtkXMLPolyDataReader, ".vtu": vtkXMLUnstructuredGridReader, ".vtk": vtkDataSetReader}
    reader: Any = readers[path.suffix.lower()]()
    reader.SetFileName(str(path))
    for switch in ("ReadAllScalarsOn", "ReadAllVectorsOn", "ReadAllTensorsOn", "ReadAllFieldsOn"):
        getattr(reader, switch, lambda: None)()
    catcher = pyvista.VtkErrorCatcher(send_to_logging=False)
    with warnings.catch_warnings(), pyvista.vtk_verbosity("off"), catcher:
        warnings.simplefilter("ignore")
        reader.Update()
    output, events = reader.GetOutputDataObject(0), [str(event) for event in catcher.events]
    if events or output is None:
        raise _complaint(path, " ".join(events))
    return pyvista.wrap(output)


def _complaint(path: Path, text: str) -> FileFormatError:
    """Make one sentence of what VTK said."""
    place = re.search(r"byte index (\d+)", text)
    said = re.search(r"((Error|Cannot|Unrecognized|Unsupported|Invalid|Could not|Premature)[^.!:]*)", text)
    what = " ".join(said[1].split())[:160] if said else "it does not say why"
    return FileFormatError(
        path, f"VTK cannot read it ({what}). Is it cut off or altered?", where=f"byte {place[1]}" if place else ""
    )


def _cells(path: Path, data: Any, points: np.ndarray) -> tuple[tuple[Surface, ...], tuple[Volume, ...]]:
    pyvista = _pyvista(path)
    if isinstance(data, pyvista.PolyData):
        if data.n_lines or data.n_strips:
            raise FileFormatError(path, "holds lines or strips; keep its triangles only (ParaView: Triangulate).")
        _check_offsets(path, data.GetPolys())
        faces = np.asarray(data.faces, dtype=np.int64)
        if faces.size == 0:
            return (), ()
        if faces.size % 4 or (faces[::4] != 3).any():
            raise FileFormatError(
                path, "has faces with more than three corners; triangulate it (ParaView: Triangulate)."
            )
        triangles = faces.reshape(-1, 4)[:, 1:]
        return (_surface(path, points, triangles),), ()
    if not isinstance(data, pyvista.UnstructuredGrid):
        raise FileFormatError(path, f"holds a {type(data).__name__}; a surface or a tetrahedral mesh is needed.")
    kinds = set(np.unique(data.celltypes).tolist())
    strange = kinds - {_TRIANGLE, _TETRAHEDRON} - _HARMLESS_CELLS
    if strange:
        raise FileFormatError(
            path, f"has cells of VTK types {some(sorted(strange))}; only triangles (5) and tetrahedra (10) are read."
        )
    cells = {int(k): np.asarray(v, dtype=np.int64) for k, v in data.cells_dict.items()}
    _check_indices(path, cells, len(points))
    surfaces = (_surface(path, points, cells[_TRIANGLE]),) if _TRIANGLE in cells else ()
    volumes = (_volume(data, points, cells[_TETRAHEDRON]),) if _TETRAHEDRON in cells else ()
    return surfaces, volumes


def _check_offsets(path: Path, polygons: Any) -> None:
    """Refuse faces whose beginnings lie outside their list of nodes; VTK would crash on them."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    offsets = vtk_to_numpy(polygons.GetOffsetsArray()).astype(np.int64)
    size = polygons.GetConnectivityArray().GetNumberOfValues()
    if offsets.size and (offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != size):
        raise FileFormatError(path, f"the beginnings of its faces do not fit their {size} nodes. Is the file damaged?")


def _check_indices(path: Path, cells: dict[int, np.ndarray], n_points: int) -> None:
    for nodes in cells.values():
        if nodes.size and (nodes.min() < 0 or nodes.max() >= n_points):
            bad = int(np.flatnonzero(((nodes < 0) | (nodes >= n_points)).any(axis=1))[0])
            raise FileFormatError(path, f"cell {bad} uses a node outside 0..{n_points - 1}. Is the file damaged?")


def _surface(path: Path, points: np.ndarray, triangles: np.ndarray) -> Surface:
    try:
        return Surface(points, triangles, path.stem)
    except GeometryError as error:
        raise FileFormatError(path, str(error)) from error


def _volume(data: Any, points: np.ndarray, tetrahedra: np.ndarray) -> Volume:
    """Tetrahedra with their region labels and fibers, where arrays of the usual names hold them."""
    mine = np.asarray(data.celltypes) == _TETRAHEDRON
    fields = {name: np.asarray(values)[mine] for name, values in data.cell_data.items()}
    regions = next((fields[n] for n in _REGION_NAMES if n in fields and fields[n].ndim == 1), None)
    fibers = next((fields[n] for n in _FIBER_NAMES if n in fields and fields[n].shape[1:] == (3,)), None)
    if regions is not None and not (regions == np.round(regions)).all():
        regions = None
    return Volume(
        points,
        tetrahedra,
        None if regions is None else regions.astype(np.int64),
        None if fibers is None else fibers.astype(np.float64),
    )


def write(content: Content, path: Path) -> None:
    """Write one surface (``.vtp``, ``.vtk``) or tetrahedral mesh (``.vtu``, ``.vtk``) with its fields, in binary."""
    pyvista = _pyvista(path)
    if len(content.surfaces) + len(content.volumes) != 1 or content.points or content.time_series is not None:
        raise InputError(f"{path}: a VTK file holds one surface or one mesh with its fields; got {content!r}.")
    suffix = path.suffix.lower()
    if content.surfaces:
        if suffix == ".vtu":
            raise InputError(f"{path}: a surface is written to .vtp or .vtk; .vtu is for tetrahedral meshes.")
        surface = content.surfaces[0]
        faces = np.insert(surface.triangles, 0, 3, axis=1).reshape(-1)
        data = pyvista.PolyData(np.array(surface.points), faces)
        n_points, n_cells = surface.n_points, surface.n_triangles
    else:
        if suffix == ".vtp":
            raise InputError(f"{path}: a tetrahedral mesh is written to .vtu or .vtk; .vtp is for surfaces.")
        volume = content.volumes[0]
        cells = np.insert(volume.tetrahedra, 0, 4, axis=1).reshape(-1)
        kinds = np.full(len(volume.tetrahedra), _TETRAHEDRON, dtype=np.uint8)
        data = pyvista.UnstructuredGrid(cells, kinds, np.array(volume.points))
        n_points, n_cells = len(volume.points), len(volume.tetrahedra)
        if volume.regions is not None:
            data.cell_data["region"] = np.array(volume.regions)
        if volume.fibers is not None:
            data.cell_data["fiber"] = np.array(volume.fibers)
    _attach(data, content, path, sizes=(n_points, n_cells))
    data.save(path, binary=True)


def _attach(data: Any, content: Content, path: Path, *, sizes: tuple[int, int]) -> None:
    """Put fields on nodes or cells, by their length."""
    for name, values in content.arrays.items():
        array = np.array(values)
        if array.shape[:1] == (sizes[0],):
            data.point_data[name] = array
        elif array.shape[:1] == (sizes[1],):
            data.cell_data[name] = array
        else:
            raise InputError(
                f"{path}: array {name!r} has {array.shape[0] if array.ndim else 1} rows, which are neither the "
                f"{sizes[0]} nodes nor the {sizes[1]} cells."
            )


def _recognizes(path: Path, head: bytes) -> bool:
    if path.suffix.lower() == ".vtk":
        return head.startswith(b"# vtk")
    return b"<VTKFile" in head or head.lstrip().startswith(b"<?xml")


FORMATS: tuple[Format, ...] = (Format("vtk", (".vtp", ".vtu", ".vtk"), _recognizes, read, write),)
