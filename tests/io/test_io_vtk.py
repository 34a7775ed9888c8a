"""VTK files: exact round trips with fields, refusals, damage."""

import builtins

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.geometry.generators import sphere
from einthoven.io.content import Content, Volume
from einthoven.io.registry import read, write

BALL = sphere(10.0 / 3, subdivisions=1, center=(1.0, 2.0, 3.0), name="ball")


def ball(path) -> Content:
    arrays = {"lat": np.linspace(0, 1, BALL.n_points) / 3, "part": np.arange(BALL.n_triangles)}
    return Content(path, "memory", surfaces=(BALL,), arrays=arrays)


@pytest.mark.parametrize("suffix", [".vtp", ".vtk"])
def test_surfaces_come_back_exactly(tmp_path, suffix):
    write(ball(tmp_path), tmp_path / f"ball{suffix}")
    found = read(tmp_path / f"ball{suffix}")
    assert np.array_equal(found.surface().points, BALL.points)
    assert np.array_equal(found.surface().triangles, BALL.triangles)
    assert found.surface().name == "ball"
    assert np.array_equal(found.array("lat"), np.linspace(0, 1, BALL.n_points) / 3)
    assert np.array_equal(found.array("part"), np.arange(BALL.n_triangles))


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_meshes_come_back_exactly(tmp_path, suffix):
    points = np.vstack([np.eye(4, 3), [[1.0, 1.0, 1.0]]]) / 7
    mesh = Volume(
        points, np.array([[0, 1, 2, 3], [0, 1, 4, 2]]), np.array([4, 9]), np.array([[1.0, 0, 0], [0, 0.6, 0.8]])
    )
    write(Content(tmp_path, "memory", volumes=(mesh,)), tmp_path / f"m{suffix}")
    (found,) = read(tmp_path / f"m{suffix}").volumes
    assert np.array_equal(found.points, points)
    assert np.array_equal(found.tetrahedra, mesh.tetrahedra)
    assert np.array_equal(found.regions, [4, 9])
    assert np.array_equal(found.fibers, mesh.fibers)


def test_a_text_file_as_other_programs_write_it(tmp_path):
    (tmp_path / "t.vtk").write_text(
        "# vtk DataFile Version 2.0\nby hand\nASCII\nDATASET POLYDATA\nPOINTS 4 float\n0 0 0 1 0 0 0 1 0 0 0 1\n"
        "POLYGONS 4 16\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\nPOINT_DATA 4\nSCALARS lat float 1\n"
        "LOOKUP_TABLE default\n1 2 3 4\n"
    )
    found = read(tmp_path / "t.vtk")
    found.surface().check_closed()
    assert found.array("lat").tolist() == [1, 2, 3, 4]


def test_what_is_not_read(tmp_path):
    import pyvista

    pyvista.PolyData(np.eye(4, 3), [4, 0, 1, 2, 3]).save(tmp_path / "quad.vtp")
    with pytest.raises(FileFormatError, match="faces with more than three corners; triangulate it"):
        read(tmp_path / "quad.vtp")
    pyvista.PolyData(np.eye(3), lines=[2, 0, 1]).save(tmp_path / "line.vtp")
    with pytest.raises(FileFormatError, match="holds lines or strips"):
        read(tmp_path / "line.vtp")
    pyvista.ImageData(dimensions=(2, 2, 2)).cast_to_unstructured_grid().save(tmp_path / "hex.vtu")
    with pytest.raises(FileFormatError, match=r"cells of VTK types 11; only triangles \(5\) and tetrahedra \(10\)"):
        read(tmp_path / "hex.vtu")
    pyvista.PolyData(np.eye(3), faces=[3, 0, 1, 1]).save(tmp_path / "thin.vtp")
    with pytest.raises(FileFormatError, match="three different nodes; faces 0 repeat one"):
        read(tmp_path / "thin.vtp")
    pyvista.PolyData(np.eye(3)).save(tmp_path / "points.vtp")
    assert np.array_equal(read(tmp_path / "points.vtp").point_set(), np.eye(3))


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"a surface is written to \.vtp or \.vtk"):
        write(BALL, tmp_path / "b.vtu")
    mesh = Volume(np.eye(4, 3), np.array([[0, 1, 2, 3]]))
    with pytest.raises(InputError, match=r"a tetrahedral mesh is written to \.vtu or \.vtk"):
        write(Content(tmp_path, "memory", volumes=(mesh,)), tmp_path / "m.vtp")
    with pytest.raises(InputError, match="holds one surface or one mesh with its fields"):
        write(Recording(np.zeros((1, 2)), np.arange(2.0), ("a",), "bsp"), tmp_path / "r.vtp")
    odd = Content(tmp_path, "memory", surfaces=(BALL,), arrays={"x": np.zeros(5)})
    with pytest.raises(InputError, match="array 'x' has 5 rows, which are neither the 42 nodes nor the 80 cells"):
        write(odd, tmp_path / "o.vtp")
    assert list(tmp_path.iterdir()) == []


def test_without_pyvista(tmp_path, monkeypatch):
    write(BALL, tmp_path / "b.vtp")
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "pyvista":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"b.vtp: .vtp files need PyVista, .*pip install 'einthoven\[vtk\]'"):
        read(tmp_path / "b.vtp")
    with pytest.raises(InputError, match="need PyVista"):
        write(BALL, tmp_path / "c.vtp")


@pytest.mark.parametrize("suffix", [".vtp", ".vtu", ".vtk"])
def test_not_vtk_at_all(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_bytes(b"hello " * 20)
    with pytest.raises(FileFormatError, match=r"byte 0: is not a VTK file"):
        read(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("suffix", [".vtp", ".vtk"])
def test_cut_off(tmp_path, suffix, capfd):
    write(ball(tmp_path), tmp_path / f"b{suffix}")
    raw = (tmp_path / f"b{suffix}").read_bytes()
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        (tmp_path / f"c{suffix}").write_bytes(raw[: int(part * len(raw))])
        with pytest.raises(FileFormatError, match=r"c\.vt[pk].*(promises|VTK cannot read it)"):
            read(tmp_path / f"c{suffix}")
    assert capfd.readouterr() == ("", "")


def test_huge_counts_are_refused_before_memory_is_asked_for(tmp_path):
    write(ball(tmp_path), tmp_path / "b.vtp")
    write(ball(tmp_path), tmp_path / "b.vtk")
    for name, old, new in (
        ("b.vtp", b'NumberOfPoints="42"', b'NumberOfPoints="4200000000000"'),
        ("b.vtk", b"POINTS 42", b"POINTS 4200000000000"),
    ):
        raw = (tmp_path / name).read_bytes()
        assert old in raw
        (tmp_path / name).write_bytes(raw.replace(old, new))
        with pytest.raises(FileFormatError, match="promises 4200000000000 points, which do not fit"):
            read(tmp_path / name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".vtp", ".vtk"]))
def test_fuzzed_files_end_in_a_sentence(tmp_path, data, suffix):
    path = tmp_path / f"f{suffix}"
    write(ball(tmp_path), path)
    raw = path.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 4)))
    path.write_bytes(raw[:start] + data.draw(st.binary(max_size=4)) + raw[stop:])
    message = ""
    try:
        read(path)
    except InputError as error:
        message = str(error)
    assert not message or message.startswith(str(path))
    assert "\n" not in message
