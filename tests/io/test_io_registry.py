"""The one `read` and the one `write`: choosing the format, refusing the rest, writing whole or not at all."""

import os
from dataclasses import replace

import numpy as np
import pytest
from io_samples import TETRA, make, matrix, octahedron, recording, volume

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.io import Content, formats, read, registry, write
from einthoven.io.atomic import replacing


def test_formats_share_endings_and_are_told_apart_by_their_first_bytes(tmp_path):
    for name, format_ in (
        ("scirun-matrix", "scirun"),
        ("matlab-surface", "matlab"),
        ("challenge", "challenge"),
        ("map3d-points", "map3d"),
        ("carp-points", "carp"),
    ):
        (tmp_path / name).mkdir()
        assert read(make(name, tmp_path / name)).format == format_
    write(matrix(), tmp_path / "m.mat", format="ecgsim-matrix")
    assert read(tmp_path / "m.mat").format == "ecgsim-matrix"
    content = Content(tmp_path, "", arrays={"matrix": matrix(600, 50)}, info={"encoding": "binary"})
    write(content, tmp_path / "b.mat", format="ecgsim-matrix")
    assert read(tmp_path / "b.mat").format == "ecgsim-matrix"


def test_names_of_formats_are_unique_and_endings_lower_case():
    names = [f.name for f in formats()]
    assert len(set(names)) == len(names)
    assert all(s == s.lower() and "." in s for f in formats() for s in f.suffixes)


def test_upper_case_endings(tmp_path):
    write(octahedron(), tmp_path / "HEART.PLY")
    assert read(tmp_path / "HEART.PLY").surface().n_points == 6


def test_format_overrules_the_ending(tmp_path):
    write(octahedron(), tmp_path / "heart.txt", format="ply")
    np.testing.assert_array_equal(read(tmp_path / "heart.txt", format="ply").surface().points, octahedron().points)
    with pytest.raises(InputError, match=r"format must be one of challenge, matlab.*got 'obj'"):
        read(tmp_path / "heart.txt", format="obj")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.fld: there is no such file\.$"):
        read(tmp_path / "nothing.fld")
    write(octahedron(), tmp_path / "heart.ply")
    with pytest.raises(InputError, match=r"heart\.stl: there is no such file\. Did you mean heart\.ply\?"):
        read(tmp_path / "heart.stl")
    with pytest.raises(InputError, match=r"there is no such file\. The folder .*lost does not exist either"):
        read(tmp_path / "lost" / "a.fld")
    with pytest.raises(InputError, match="this is a folder; name a file in it"):
        read(tmp_path)
    (tmp_path / "mycase").mkdir()
    (tmp_path / "mycase" / "case.toml").write_text("")
    with pytest.raises(InputError, match=r"this is a case folder; read it with einthoven\.io\.cases\.read_case"):
        read(tmp_path / "mycase")
    (tmp_path / "empty.fld").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"empty\.fld: the file is empty"):
        read(tmp_path / "empty.fld")
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"unknown kind of file\. Known endings: -cs\.mat, \.bdf.*\.tri.*format="):
        read(tmp_path / "a.docx")
    (tmp_path / "a.mat").write_bytes(b"something else entirely, long enough to be looked at")
    with pytest.raises(FileFormatError, match="byte 0: looks like none of matlab, scirun, ecgsim-matrix"):
        read(tmp_path / "a.mat")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    write(octahedron(), tmp_path / "heart.ply")
    (tmp_path / "heart.ply").chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "heart.ply")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot write a dict; write takes Content, Surface, Recording"):
        registry.to_content({"a": 1}, tmp_path / "a.ply")
    with pytest.raises(InputError, match=r"unknown kind of file\. Known for writing: .*\.ply"):
        write(octahedron(), tmp_path / "a.docx")
    with pytest.raises(InputError, match="map3d-links files are only read"):
        write(matrix(), tmp_path / "a.channels")
    with pytest.raises(InputError, match=r"the folder .*lost does not exist\. Create it first"):
        write(octahedron(), tmp_path / "lost" / "a.ply")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("obj", "file", "message"),
    [
        (matrix(), "a.ply", "a PLY file holds one surface or one point set; got a array"),
        (matrix(), "a.stl", "an STL file holds one surface; got a array"),
        (matrix(), "a.tri", "a .tri file holds one surface"),
        (matrix(), "a.fld", "a SCIRun field holds a surface or a point set"),
        (matrix(), "a.elem", "a CARP mesh holds one surface, one tetrahedral mesh, one point set or fibers"),
        (matrix(), "a.fac", "a .fac file holds one surface or one point set"),
        (matrix(3, 4), "a.lon", "a .lon file holds 3 or 6 numbers per element"),
        (octahedron(), "a.tra", "an ECGSIM matrix holds one array or recording; got a surface"),
        (octahedron(), "a.igb", "an IGB file holds one array or recording"),
        (octahedron(), "a.pot", "a .pot file holds one array or recording"),
        (np.zeros((2, 2, 2)), "a.tra", "holds a matrix of real numbers; got 3-D float64"),
        (np.array([["a"]]), "a.tra", "holds a matrix of real numbers; got 2-D <U1"),
    ],
)
def test_formats_refuse_what_they_cannot_hold(tmp_path, obj, file, message):
    with pytest.raises(InputError, match=message):
        write(obj, tmp_path / file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["a.igb", "a.mat"])
def test_uneven_times_are_refused_where_only_a_rate_is_stored(tmp_path, file):
    uneven = replace(recording(2, 4), times=np.array([0.0, 1.0, 2.0, 9.0]))
    with pytest.raises(InputError, match=r"equidistant.*resample the recording first"):
        write(uneven, tmp_path / file)


def test_field_values_must_fit_the_nodes(tmp_path):
    content = Content(tmp_path, "", surfaces=(octahedron(),), arrays={"data": np.zeros(5)})
    with pytest.raises(InputError, match="one value for each of the 6 nodes"):
        write(content, tmp_path / "a.fld")


def test_an_existing_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.ply"
    write(octahedron(), path)
    before = path.read_bytes()

    def half(content, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    broken = replace(next(f for f in formats() if f.name == "ply"), write=half)
    monkeypatch.setattr(registry, "_writer", lambda path: broken)
    with pytest.raises(InputError, match=r"a\.ply: cannot be written \(No space left on device\)"):
        write(octahedron(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_both_files_of_a_pair_are_replaced(tmp_path):
    for format_, endings in (("map3d", (".pts", ".fac")), ("carp", (".pts", ".elem"))):
        folder = tmp_path / format_
        folder.mkdir()
        for surface in (octahedron(), octahedron().with_points(2 * octahedron().points)):
            write(surface, folder / f"a{endings[1]}")
            assert {p.name for p in folder.iterdir()} == {f"a{e}" for e in endings}
        np.testing.assert_allclose(read(folder / "a.pts").surface().points, 2 * octahedron().points, rtol=1e-13)


def test_content_of_igb_with_a_scale(tmp_path):
    head = b"x:2 y:1 z:1 t:3 type:short systeme:big_endian unites:uV facteur:0.5 zero:-1 inc_t:2 org_t:10 # \r\n"
    body = np.array([[2, 4], [6, 8], [10, 12]], dtype=">i2").tobytes()
    (tmp_path / "a.igb").write_bytes(head.ljust(1023) + b"\f" + body)
    content = read(tmp_path / "a.igb")
    np.testing.assert_array_equal(content.array(), [[0, 2, 4], [1, 3, 5]])
    assert isinstance(content.time_series, Recording)
    np.testing.assert_array_equal(content.time_series.times, [10, 12, 14])
    np.testing.assert_allclose(content.recording(quantity="egm").values, content.array() / 1000)


def test_carp_mesh_of_mixed_elements(tmp_path):
    write(Content(tmp_path, "", volumes=(volume(),)), tmp_path / "a.elem")
    (tmp_path / "a.elem").write_text("3\nTt 0 1 2 3 5\nTr 0 2 1 9\nTt 1 2 3 4 6\n")
    (tmp_path / "a.lon").write_text("1\n1 0 0\n0 1 0\n0 0 1\n")
    content = read(tmp_path / "a.pts")
    np.testing.assert_array_equal(content.volumes[0].regions, [5, 6])
    np.testing.assert_array_equal(content.volumes[0].fibers, [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(content.surface().triangles, [[0, 2, 1]])
    np.testing.assert_array_equal(content.array("regions"), [9])
    (tmp_path / "b.vtx").write_text("2\nextra\n0\n3\n")
    np.testing.assert_array_equal(read(tmp_path / "b.vtx").array("nodes"), [0, 3])


def test_ply_with_other_properties_and_elements(tmp_path):
    head = "ply\nformat ascii 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\nproperty float y\n"
    head += "property float z\nproperty uchar red\nelement edge 1\nproperty int a\nproperty int b\n"
    head += "element face 2\nproperty uchar quality\nproperty list uchar int vertex_index\nend_header\n"
    rows = [" ".join(f"{v:g}" for v in p) + f" {10 * k}" for k, p in enumerate(TETRA)]
    (tmp_path / "a.ply").write_text(head + "\n".join([*rows, "0 1", "7 3 0 1 2", "8 3 0 3 1"]) + "\n")
    content = read(tmp_path / "a.ply")
    np.testing.assert_array_equal(content.surface().triangles, [[0, 1, 2], [0, 3, 1]])
    np.testing.assert_array_equal(content.array("red"), [0, 10, 20, 30])
    np.testing.assert_array_equal(content.array("quality"), [7, 8])


def test_big_endian_ply(tmp_path):
    head = b"ply\nformat binary_big_endian 1.0\nelement vertex 4\nproperty double x\nproperty double y\n"
    head += b"property double z\nelement face 1\nproperty list uchar uint vertex_indices\nend_header\n"
    face = b"\x03" + np.array([0, 2, 1], dtype=">u4").tobytes()
    (tmp_path / "a.ply").write_bytes(head + TETRA.astype(">f8").tobytes() + face)
    np.testing.assert_array_equal(read(tmp_path / "a.ply").surface().corners[0], TETRA[[0, 2, 1]])


def test_tri_without_numbers_and_with_points_only(tmp_path):
    rows = [" ".join(map(str, p)) for p in TETRA.tolist()]
    (tmp_path / "a.tri").write_text("\n".join(["4", *rows]) + "\n")
    np.testing.assert_array_equal(read(tmp_path / "a.tri").point_set(), TETRA)
    (tmp_path / "b.tri").write_text("\n".join(["4", *rows, "1", "1 3 2"]) + "\n")
    np.testing.assert_array_equal(read(tmp_path / "b.tri").surface().triangles, [[0, 2, 1]])


def test_ecgsim_matrix_with_a_remark(tmp_path):
    (tmp_path / "a.tra").write_text("2 2\n1 2\n3 4\nmade on a Tuesday\n")
    content = read(tmp_path / "a.tra")
    np.testing.assert_array_equal(content.array(), [[1, 2], [3, 4]])
    assert content.info["remark"] == "made on a Tuesday"
    (tmp_path / "b.tra").write_bytes(np.array([2, 3], dtype="<i4").tobytes() + np.arange(6, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read(tmp_path / "b.tra").array(), [[0, 1, 2], [3, 4, 5]])
    (tmp_path / "c.tra").write_bytes(np.array([2, 3], dtype="<i4").tobytes() + np.arange(6, dtype="<f8").tobytes())
    np.testing.assert_array_equal(read(tmp_path / "c.tra").array(), [[0, 1, 2], [3, 4, 5]])


def _second_rename_fails(monkeypatch):
    rename, calls = os.rename, []

    def fails_once(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise OSError("no space left")
        rename(old, new)

    monkeypatch.setattr(os, "rename", fails_once)


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    path = tmp_path / "case"
    path.mkdir()
    (path / "old").write_text("old")
    _second_rename_fails(monkeypatch)
    with pytest.raises(OSError, match="no space left"), replacing(path) as partial:
        partial.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["case"]
    assert (path / "old").read_text() == "old"


def test_a_store_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    write(octahedron(), path)
    _second_rename_fails(monkeypatch)
    with pytest.raises(InputError, match="cannot be written"):
        write(recording(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(read(path).surface().points, octahedron().points)


@pytest.mark.parametrize("name", ["a.ply", "a.zarr"])
def test_a_folder_of_the_users_is_never_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(InputError, match=f"{name}: a folder of that name is in the way. Move it"):
        write(octahedron(), tmp_path / name)
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [name, f"{name}/mine"]


def test_a_file_does_not_replace_a_store(tmp_path):
    write(octahedron(), tmp_path / "a.zarr")
    with pytest.raises(InputError, match="a folder of that name is in the way"):
        write(octahedron(), tmp_path / "a.zarr", format="ply")
    assert read(tmp_path / "a.zarr").surface().n_points == 6
