"""What is fuzzed: small valid files of every format and study, and the call that reads each."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))  # where pytest finds it too

from io_samples import make, matrix, octahedron, recording, volume

from einthoven.io import Content, read, write

#: Samples of `io_samples` by the reader that they exercise.
GROUPS = {
    "matlab": ("matlab-surface", "matlab-recording", "matlab-volume", "challenge"),
    "scirun": ("fld-binary", "fld-ascii", "fld-points", "scirun-matrix", "scirun-matrix-ascii"),
    "ecgsim": ("tri", "ecgsim-matrix", "ecgsim-matrix-binary"),
    "map3d": ("map3d", "map3d-points", "map3d-potentials"),
    "carp": ("carp-volume", "carp-surface", "carp-points", "carp-fibers"),
    "igb": ("igb",),
    "ply": ("ply-binary", "ply-ascii"),
    "stl": ("stl-binary", "stl-ascii"),
}


@dataclass(frozen=True)
class Sample:
    """A folder of files that are valid together, and the call that reads them.

    Parameters
    ----------
    name
        Of its folder.
    files
        Those of which one at a time is replaced by any bytes.
    call
        Reads them; ends in a result or an `InputError`.
    """

    name: str
    files: tuple[Path, ...]
    call: Callable[[], Any]


def samples_of(group: str, folder: Path) -> list[Sample]:
    """Write the samples of a group into `folder`."""
    if group in GROUPS:
        return [_file_sample(name, folder / name, make) for name in GROUPS[group]]
    return _OTHERS[group](folder)


def _file_sample(name: str, folder: Path, maker: Callable[[str, Path], Path]) -> Sample:
    folder.mkdir(parents=True)
    path = maker(name, folder)
    files = tuple(sorted(p for p in folder.rglob("*") if p.is_file()))
    return Sample(name, files, lambda: repr(read(path)))


def _contents(folder: Path, **parts: tuple[str, dict[str, Any]]) -> list[Sample]:
    """Samples of which each is one content in one file."""

    def maker(name: str, place: Path) -> Path:
        file, content = parts[name]
        write(Content(place / file, "memory", **content), place / file)
        return place / file

    return [_file_sample(name, folder / name, maker) for name in parts]


def _vtk(folder: Path) -> list[Sample]:
    surface = {"surfaces": (octahedron(),), "arrays": {"lat": matrix(6, 1)}}
    found = _contents(folder, vtp=("a.vtp", surface), vtu=("a.vtu", {"volumes": (volume(),)}), vtk=("a.vtk", surface))
    return found + [_file_sample(f"old-{kind}", folder / f"old-{kind}", _old_vtk) for kind in (1, 2)]


def _old_vtk(name: str, folder: Path) -> Path:
    """Version 4.2, text (1) or binary (2)."""
    import pyvista
    from vtkmodules.vtkIOLegacy import vtkPolyDataWriter

    heart = octahedron()
    faces = np.column_stack([np.full(heart.n_triangles, 3), heart.triangles]).ravel()
    writer = vtkPolyDataWriter()
    writer.SetFileName(str(folder / "a.vtk"))
    writer.SetInputData(pyvista.PolyData(heart.points, faces))
    writer.SetFileVersion(42)
    writer.SetFileType(int(name[-1]))
    writer.Write()
    return folder / "a.vtk"


_TEXTS = {
    "points.csv": "name,x,y,z\na,1,2,3\nb,4,5,6.5\n",
    "triangles.tsv": "# base: 1\n1\t2\t3\n3\t2\t4\n",
    "table.csv": "1 2 3 4\n5 6 7 8\n",
    "named.csv": 'time_ms;"V1";V2\n0;0.5;1\n1;1;2\n2;2;3\n',
}


def _tables(folder: Path) -> list[Sample]:
    found = _contents(folder, recording=("a.csv", {"time_series": recording()}))
    return found + [_file_sample(name, folder / f"in-{name}", _text) for name in _TEXTS]


def _text(name: str, folder: Path) -> Path:
    (folder / name).write_text(_TEXTS[name], encoding="utf-8")
    return folder / name


def _signals(folder: Path) -> list[Sample]:
    long = {"time_series": recording(3, 100)}
    return _contents(folder, wfdb=("a.hea", {"time_series": recording()}), edf=("a.edf", long), bdf=("a.bdf", long))


def _zarr(folder: Path) -> list[Sample]:
    return _contents(
        folder, recording=("a.zarr", {"time_series": recording()}), surface=("b.zarr", {"surfaces": (octahedron(),)})
    )


def _archives(folder: Path) -> list[Sample]:
    """Operators, weights and predictions in NumPy's archives."""
    from einthoven.core import ForwardOperator
    from einthoven.io.zarr_store import load_operator, save_operator
    from einthoven.studies.surrogates import external
    from einthoven.surrogate.weights import load_weights

    folder.mkdir()
    operator, weights, predictions = folder / "operator.npz", folder / "weights.npz", folder / "predictions.npz"
    save_operator(ForwardOperator(matrix(2, 3), ("a", "b", "c"), ("x", "y"), "hsp", "bsp", "absolute"), operator)
    card = np.frombuffer(b'{"model": "none", "scores": []}', dtype=np.uint8)
    np.savez_compressed(weights, allow_pickle=False, layer=matrix(), card=card)
    ecg = {"condition": np.array(["a"]), "number": np.array([0]), "ecg": np.zeros((1, 2, 4)), "times": np.arange(4.0)}
    np.savez(predictions, allow_pickle=False, **ecg)
    return [
        Sample("operator", (operator,), lambda: repr(load_operator(operator))),
        Sample("weights", (weights,), lambda: load_weights(weights)),
        Sample("predictions", (predictions,), lambda: external(predictions)),
    ]


def _matlab73(folder: Path) -> list[Sample]:
    """Version 7.3, and objects."""
    import warnings

    import h5py

    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from matio import save_to_mat
        from matio.utils.matclass import MatlabOpaque
    plain, objects = folder / "plain.mat", folder / "objects.mat"
    heart = octahedron()
    with h5py.File(plain, "w", userblock_size=512) as file:
        group = file.create_group("heart")
        group["node"], group["face"] = heart.points, heart.triangles + 1.0
        refs = file.create_group("#refs#")
        refs["a"] = matrix().T
        file.create_dataset("runs", data=np.array([[refs["a"].ref]], dtype=h5py.ref_dtype))
    with plain.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    mesh = MatlabOpaque({"ConnectivityList": heart.triangles + 1.0, "Points": heart.points}, "triangulation")
    save_to_mat(str(objects), {"TR": mesh, "potvals": matrix(6, 4)}, version="v7")
    return [Sample(p.stem, (p,), lambda p=p: repr(read(p))) for p in (plain, objects)]


def _pictures(folder: Path) -> list[Sample]:
    from PIL import Image

    from einthoven.io.pictures import read_tissue_picture

    folder.mkdir()
    found = []
    for ending in ("png", "tif", "jpg", "bmp", "gif"):
        path = folder / f"a.{ending}"
        Image.fromarray(np.tile(np.uint8([0, 255]), (4, 3))).save(path)
        found.append(Sample(ending, (path,), lambda path=path: read_tissue_picture(path)))
    return found


def _cases(folder: Path) -> list[Sample]:
    from einthoven.core import Case, Electrodes, Recording, Region, Source, VolumeConductor
    from einthoven.geometry.generators import sphere
    from einthoven.io.cases import read_case, write_case

    torso, heart = sphere(100.0, subdivisions=1, name="torso"), sphere(40.0, subdivisions=0, name="heart")
    leads = Electrodes(tuple("abcdefgh"), torso.points[:8])
    potentials = Recording(matrix(8, 5), np.arange(5.0), leads.names, "bsp", "absolute")
    case = Case("c", VolumeConductor(Region(torso, 0.2), ()), (Source(heart, "hsp"),), leads, potentials, {"a": "b"})
    write_case(case, folder)
    by_hand = folder / "by-hand"
    shutil.copytree(folder, by_hand)
    (by_hand / "case.toml").write_text(_CASE, encoding="utf-8")
    return [Sample(p.name, (p / "case.toml",), lambda p=p: read_case(p)) for p in (folder, by_hand)]


_CASE = """length_unit = "mm"
[surfaces.torso]
file = "torso.ply"
conductivity = 0.2
repair = true
[hearts.epi]
file = "heart.ply"
quantity = "hsp"
[electrodes]
nodes = ["1-4", 7, 9]
first_index = 1
names = ["z", "b", "c", "d", "e", "f"]
rename = {z = "a"}
max_distance = 5.0
[recording]
file = "recording.csv"
rows = [1, "2-6"]
first_index = 1
reference = "average"
average = true
window = [0, 3]
"""


def _studies(folder: Path) -> list[Sample]:
    """Every kind of study and recipe, by the files that come with the package."""
    from importlib import resources

    from einthoven.inverse.physics.fields import CellPhysics
    from einthoven.inverse.physics.registry import make_physics_solver
    from einthoven.studies.bench_inverse import load_bench
    from einthoven.studies.bench_surrogate import load_surrogate_bench
    from einthoven.studies.sheet_sets import load_recipe
    from einthoven.studies.simulation_config import load_study, runs_of
    from einthoven.surrogate.configuration import load_configuration

    physics = CellPhysics()
    kinds: dict[str, Callable[[Path], Any]] = {
        "studies/ready_studies": lambda p: runs_of(load_study(p)),
        "studies/ready_benches": lambda p: load_bench(str(p)),
        "studies/ready_surrogate_benches": lambda p: load_surrogate_bench(str(p)),
        "studies/ready_sheets": lambda p: load_recipe(str(p)),
        "surrogate/configurations": lambda p: load_configuration(str(p)),
        "inverse/physics/configurations": lambda p: make_physics_solver(str(p), physics),
    }
    found = []
    for place, call in kinds.items():
        ready = resources.files("einthoven") / place
        for file in sorted((f for f in ready.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name):
            path = folder / place.replace("/", "-") / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read_bytes())
            found.append(Sample(f"{path.parent.name}-{path.stem}", (path,), lambda path=path, call=call: call(path)))
    return found


_OTHERS: dict[str, Callable[[Path], list[Sample]]] = {
    "matlab73": _matlab73,
    "vtk": _vtk,
    "tables": _tables,
    "signals": _signals,
    "zarr": _zarr,
    "archives": _archives,
    "pictures": _pictures,
    "case.toml": _cases,
    "studies": _studies,
}
ALL = (*GROUPS, *_OTHERS)
