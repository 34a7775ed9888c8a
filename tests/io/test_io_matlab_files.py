"""MATLAB files: the variants the field writes, and agreement with `scipy.io.loadmat`."""

import contextlib
import struct
import warnings

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from io_samples import TETRA, matrix, octahedron

from einthoven.core import FileFormatError, InputError
from einthoven.io import Content, read, write
from einthoven.io.matlab_v5 import Cells, Structs, read_variables

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mat-io sets an option that pandas is about to drop
    from matio import save_to_mat
    from matio.utils.matclass import MatlabOpaque

HEART = octahedron()


def struct_of(points, faces, **others):
    return {"heart": {points: HEART.points, faces: HEART.triangles + 1.0, **others}}


@pytest.mark.parametrize(
    ("points", "faces"), [("node", "face"), ("pts", "fac"), ("points", "cells"), ("Vertices", "Faces")]
)
@pytest.mark.parametrize("wide", [True, False])
def test_nodes_and_faces_in_both_orientations(tmp_path, points, faces, wide):
    fields = {points: HEART.points, faces: (HEART.triangles + 1).astype(np.int32)}
    scipy.io.savemat(tmp_path / "a.mat", {"heart": {k: v.T if wide else v for k, v in fields.items()}})
    found = read(tmp_path / "a.mat").surface("heart")
    np.testing.assert_array_equal(found.points, HEART.points)
    np.testing.assert_array_equal(found.triangles, HEART.triangles)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("n_faces", [3, 4])
def test_few_faces_follow_the_nodes(tmp_path, wide, n_faces):
    """With 3 or 4 faces the orientation is only known from the nodes."""
    node, face = HEART.points, HEART.triangles[:n_faces] + 1.0
    scipy.io.savemat(tmp_path / "a.mat", {"g": {"node": node.T if wide else node, "face": face.T if wide else face}})
    content = read(tmp_path / "a.mat")
    assert not content.volumes
    np.testing.assert_array_equal(content.surface().triangles, HEART.triangles[:n_faces])


def test_nodes_and_faces_without_a_struct(tmp_path):
    scipy.io.savemat(tmp_path / "cage.mat", {"node": HEART.points.T, "face": HEART.triangles.T + 1.0, "fs": 2048.0})
    content = read(tmp_path / "cage.mat")
    assert content.surface().name == "cage"
    assert content.info["fs"] == "2048.0"


def test_cells_of_geometries(tmp_path):
    cells = np.empty((1, 2), dtype=object)
    for k in range(2):
        cells[0, k] = {"pts": HEART.points.T * (k + 1), "fac": HEART.triangles.T + 1, "channels": np.arange(6)}
    scipy.io.savemat(tmp_path / "a.mat", {"geom": cells})
    content = read(tmp_path / "a.mat")
    assert [s.name for s in content.surfaces] == ["geom1", "geom2"]
    np.testing.assert_array_equal(content.surface("geom2").points, 2 * HEART.points)
    np.testing.assert_array_equal(content.array("geom2.channels").ravel(), np.arange(6))


def test_faces_counted_from_zero_are_told(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"g": {"node": HEART.points, "face": HEART.triangles}})
    content = read(tmp_path / "a.mat")
    assert content.info["base"].startswith("0")
    np.testing.assert_array_equal(content.surface().triangles, HEART.triangles)


def test_potentials_with_unit_rate_and_names(tmp_path):
    values = (1000 * matrix(3, 5)).astype(np.int32)
    fields = {"potvals": values, "unit": "uV", "samplerate": 500.0, "label": np.array(["a", "b", "c"], dtype=object)}
    scipy.io.savemat(tmp_path / "a.mat", {"onerun": fields})
    content = read(tmp_path / "a.mat")
    assert content.array("potvals").dtype == np.int32
    assert content.names["potvals"] == ("a", "b", "c")
    recording = content.recording(quantity="bsp")
    assert recording.sites == ("a", "b", "c")
    assert recording.dt == 2.0
    np.testing.assert_allclose(recording.values, values / 1000.0)


def test_sparse_matrices(tmp_path):
    small = scipy.sparse.random_array((20, 30), density=0.2, rng=np.random.default_rng(1), format="csc")
    large = scipy.sparse.random_array((100_000, 90_000), density=1e-8, rng=np.random.default_rng(1), format="csc")
    scipy.io.savemat(tmp_path / "a.mat", {"small": small, "large": large}, do_compression=True)
    content = read(tmp_path / "a.mat")
    np.testing.assert_array_equal(content.array("small"), small.toarray())
    assert content.info["large"] == "not read: sparse 100000 x 90000, too large to be dense"


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_triangulation_objects(tmp_path, version):
    properties = {"ConnectivityList": HEART.triangles + 1.0, "Points": HEART.points, "Constraints": np.zeros((0, 2))}
    variables = {"TR": MatlabOpaque(properties, "triangulation"), "potvals": matrix(6, 4)}
    save_to_mat(str(tmp_path / "a.mat"), variables, version=version)
    content = read(tmp_path / "a.mat")
    np.testing.assert_array_equal(content.surface("TR").points, HEART.points)
    np.testing.assert_array_equal(content.surface("TR").triangles, HEART.triangles)
    np.testing.assert_array_equal(content.array("potvals"), matrix(6, 4))


def test_triangulation_objects_in_a_struct(tmp_path):
    properties = {"ConnectivityList": HEART.triangles + 1.0, "Points": HEART.points}
    inner = np.empty((1, 1), dtype=[("mesh", object), ("unit", object)])
    inner[0, 0] = (MatlabOpaque(properties, "triangulation"), "mm")
    save_to_mat(str(tmp_path / "a.mat"), {"case1": inner}, version="v7")
    np.testing.assert_array_equal(read(tmp_path / "a.mat").surface().points, HEART.points)


def test_other_objects_are_named_not_read(tmp_path):
    save_to_mat(str(tmp_path / "a.mat"), {"t": MatlabOpaque({"a": np.eye(2)}, "mymesh"), "m": matrix()}, version="v7")
    content = read(tmp_path / "a.mat")
    assert content.info["t"] == "not read: object of class mymesh"
    np.testing.assert_array_equal(content.array("m"), matrix())


def write_v73(path, *, swollen=False):
    """A struct, a cell, text and a sparse matrix as MATLAB writes them into HDF5."""
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("heart")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        group["node"] = HEART.points  # columns of MATLAB are rows of HDF5: this is 3 x N there
        group["face"] = HEART.triangles + 1.0
        name = file.create_dataset("heart/name", data=np.array([[ord(c)] for c in "cage"], dtype="u2"))
        name.attrs["MATLAB_class"] = np.bytes_("char")
        refs = file.create_group("#refs#")
        refs["a"] = matrix().T
        cell = file.create_dataset("runs", data=np.array([[refs["a"].ref]], dtype=h5py.ref_dtype))
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        sparse = file.create_group("L")
        sparse.attrs["MATLAB_sparse"] = np.uint64(2)
        sparse["data"], sparse["ir"], sparse["jc"] = np.array([5.0, 7.0]), np.array([1, 0]), np.array([0, 1, 2, 2])
        if swollen:
            file.create_dataset("big", shape=(400_000, 100_000), chunks=(100, 100), dtype="f8")
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(head)


def test_version_73(tmp_path):
    write_v73(tmp_path / "a.mat")
    content = read(tmp_path / "a.mat")
    np.testing.assert_array_equal(content.surface("cage").points, HEART.points)
    np.testing.assert_array_equal(content.surface("cage").triangles, HEART.triangles)
    np.testing.assert_array_equal(content.array("runs"), matrix())
    np.testing.assert_array_equal(content.array("L"), [[0, 7, 0], [5, 0, 0]])


def test_version_73_promising_too_much(tmp_path):
    write_v73(tmp_path / "a.mat", swollen=True)
    with pytest.raises(FileFormatError, match=r"/big: \d+ bytes promise to unpack to 320000000064, more than"):
        read(tmp_path / "a.mat")


def test_version_73_damaged(tmp_path):
    write_v73(tmp_path / "a.mat")
    data = (tmp_path / "a.mat").read_bytes()
    rng = np.random.default_rng(2)
    for k in range(150):
        at = int(rng.integers(512, min(len(data), 6000)))
        changed = data[:at] + rng.bytes(1 + k % 4) + data[at + 1 + k % 4 :]
        (tmp_path / "a.mat").write_bytes(changed if k % 5 else data[:at])
        with contextlib.suppress(FileFormatError):
            read(tmp_path / "a.mat")


def test_version_4(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"node": HEART.points, "face": HEART.triangles + 1.0, "txt": "cm"}, format="4")
    content = read(tmp_path / "a.mat")
    np.testing.assert_array_equal(content.surface().points, HEART.points)
    assert content.info["txt"] == "cm"
    data = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(data[:-30])
    with pytest.raises(FileFormatError, match=r"byte \d+: no variable of MATLAB's version 4 begins here"):
        read(tmp_path / "a.mat")


@pytest.mark.parametrize("compressed", [True, False])
def test_agreement_with_scipy(tmp_path, compressed):
    """Every kind of value that scipy writes, read by both."""
    rng = np.random.default_rng(0)
    variables = {f"v_{t}": (100 * rng.normal(size=(3, 4, 2))).astype(t) for t in ("f8", "f4", "i1", "u2", "i4", "u8")}
    variables |= {
        "c": rng.normal(size=(2, 3)) + 1j,
        "flag": np.array([[True, False]]),
        "text": "Grüße",
        "empty": np.zeros((0, 3)),
    }
    variables |= {"rows": np.array(["ab", "cd"]), "nested": {"a": {"b": np.arange(5.0)}}}
    scipy.io.savemat(tmp_path / "a.mat", variables, do_compression=compressed)
    found, expected = read_variables(tmp_path / "a.mat"), scipy.io.loadmat(tmp_path / "a.mat")
    for name in [k for k in variables if k.startswith("v_")] + ["c", "flag", "empty"]:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype.kind == variables[name].dtype.kind
    assert (found["text"], found["rows"]) == ("Grüße", ("ab", "cd"))
    assert isinstance(found["nested"], Structs)
    np.testing.assert_array_equal(found["nested"].items[0]["a"].items[0]["b"], [np.arange(5.0)])


def test_names_of_another_type_than_miint8(tmp_path):
    """Files of map3d store names as miUINT8, on which scipy fails."""
    scipy.io.savemat(tmp_path / "a.mat", {"geom": {"pts": TETRA.T}}, do_compression=False)
    data = (tmp_path / "a.mat").read_bytes()
    small_name = struct.pack("<HH", 1, 4) + b"geom"
    assert data.count(small_name) == 1
    (tmp_path / "a.mat").write_bytes(data.replace(small_name, struct.pack("<HH", 2, 4) + b"geom"))
    with pytest.raises(TypeError, match="Expecting miINT8"):
        scipy.io.loadmat(tmp_path / "a.mat")
    np.testing.assert_array_equal(read(tmp_path / "a.mat").point_set("geom"), TETRA)


def test_big_endian_cells(tmp_path):
    """A hand-made big-endian file: cell array of one double."""

    def element(kind, body):
        return struct.pack(">2I", kind, len(body)) + body + b"\0" * (-len(body) % 8)

    def array(flags, name, body):
        head = element(6, struct.pack(">2I", flags, 0)) + element(5, struct.pack(">2i", 1, 1)) + element(1, name)
        return element(14, head + body)

    inner = array(6, b"", element(9, struct.pack(">d", 2.5)))
    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + array(1, b"cell", inner)
    (tmp_path / "a.mat").write_bytes(data)
    found = read_variables(tmp_path / "a.mat")["cell"]
    assert isinstance(found, Cells)
    assert found.items[0] == 2.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"node": TETRA, "face": [[1, 2, 9]]}, r"geom: faces name nodes 1\.\.9; there are 4"),
        ({"node": TETRA, "face": [[1, 2, 2.5]]}, "geom: faces must hold whole numbers"),
        ({"node": np.vstack([TETRA, [[np.nan] * 3]]), "face": [[1, 2, 3]]}, r"nodes of geom must be finite; 4 "),
        ({"node": TETRA, "face": [[1, 2, 2]]}, "a triangle must have three different nodes"),
    ],
)
def test_wrong_meshes(tmp_path, fields, message):
    scipy.io.savemat(tmp_path / "a.mat", {"geom": fields})
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a.mat")


def test_zip_bomb(tmp_path):
    """A compressed element that says 4 GB: nothing of that size is taken."""
    import zlib

    body = struct.pack("<2I", 14, 0xFFFFFFF0) + b"\0" * 1000
    packed = zlib.compress(body)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(head + struct.pack("<2I", 15, len(packed)) + packed)
    with pytest.raises(FileFormatError, match="24 bytes promise to unpack to 4294967280, more than recordings"):
        read(tmp_path / "a.mat")


def test_deep_nesting(tmp_path):
    value = np.arange(3.0)
    for _ in range(60):
        value = {"a": value}
    scipy.io.savemat(tmp_path / "a.mat", {"deep": value})
    with pytest.raises(FileFormatError, match="nested more than 40 deep"):
        read(tmp_path / "a.mat")


def test_file_without_variables(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM")
    with pytest.raises(FileFormatError, match="byte 128: the file holds no variable"):
        read(tmp_path / "a.mat")


def test_challenge_files(tmp_path):
    path = tmp_path / "beat1-cs.mat"
    write(Content(path, "", arrays={"potvals": matrix(), "pacingLoc": np.array([4.0, 5.0, 6.0])}), path)
    ts = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)["ts"]
    np.testing.assert_array_equal(ts.potvals, matrix())
    assert ts.pacingLoc.shape == (3,)
    with pytest.raises(InputError, match="needs the pacing site"):
        write(Content(path, "", arrays={"potvals": matrix()}), path.with_name("c-cs.mat"))
    with pytest.raises(InputError, match="holds the array 'potvals'"):
        write(Content(path, "", arrays={"pacingLoc": np.zeros(3)}), path)
    scipy.io.savemat(path, {"other": 1.0})
    with pytest.raises(FileFormatError, match="holds the struct ts; this one holds other"):
        read(path)
    scipy.io.savemat(path, {"ts": {"potvals": matrix(), "pacingLoc": [1.0, 2.0]}})
    with pytest.raises(FileFormatError, match="pacingLoc must hold three numbers"):
        read(path)
    scipy.io.savemat(path, {"ts": {"potvals": "x"}})
    with pytest.raises(FileFormatError, match="potvals must be a matrix"):
        read(path)
