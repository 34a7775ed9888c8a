"""What is written is read back, to the last bit where the format can hold it."""

import numpy as np
import pytest
from io_samples import SAMPLES, TETRA, make, matrix, octahedron, recording, volume

from einthoven.core import Electrodes, ForwardOperator, Surface
from einthoven.io import formats, read, write

SURFACES = ("fld-binary", "fld-ascii", "tri", "map3d", "carp-surface", "ply-binary", "ply-ascii", "stl-ascii")


@pytest.mark.parametrize("name", SURFACES)
def test_surface_round_trip(name, tmp_path):
    found = read(make(name, tmp_path)).surface()
    # micrometers and back cost one rounding each way; STL orders its nodes by first use
    tolerance = 1e-13 if name == "carp-surface" else 0.0
    np.testing.assert_allclose(found.corners, octahedron().corners, rtol=tolerance, atol=0)
    if name != "stl-ascii":
        np.testing.assert_array_equal(found.triangles, octahedron().triangles)
        assert found.n_points == 6


@pytest.mark.parametrize("name", SURFACES)
def test_winding_is_told_and_not_mended(name, tmp_path):
    inward = Surface(octahedron().points, octahedron().triangles[:, ::-1], "heart")
    file, _, parts = SAMPLES[name]
    for surface, word in ((inward, "inward"), (octahedron(), "outward")):
        path = tmp_path / file
        write(read(make(name, tmp_path)).__class__(path, "", surfaces=(surface,), info=parts.get("info", {})), path)
        found = read(path)
        assert found.info["winding"] == word
        np.testing.assert_allclose(found.surface().corners, surface.corners, rtol=1e-13)


def test_stl_binary_keeps_single_precision(tmp_path):
    found = read(make("stl-binary", tmp_path))
    np.testing.assert_array_equal(found.surface().corners, octahedron().corners.astype(np.float32))
    assert found.surface().n_points == 6
    assert found.info["joined"] == "24 corners to 6 nodes"


def test_data_on_nodes_travels_along(tmp_path):
    np.testing.assert_array_equal(read(make("fld-binary", tmp_path)).array("data"), matrix(6, 1).ravel())
    np.testing.assert_array_equal(read(make("ply-binary", tmp_path)).array("lat"), matrix(6, 1).ravel())
    np.testing.assert_array_equal(read(make("map3d", tmp_path)).array("groups"), np.arange(8))
    np.testing.assert_array_equal(read(make("carp-surface", tmp_path)).array("regions"), np.arange(8))


@pytest.mark.parametrize("name", ["fld-points", "map3d-points", "carp-points"])
def test_points_round_trip(name, tmp_path):
    np.testing.assert_allclose(read(make(name, tmp_path)).point_set(), TETRA, rtol=1e-15)


@pytest.mark.parametrize(
    "name",
    ["scirun-matrix", "scirun-matrix-ascii", "ecgsim-matrix", "ecgsim-matrix-binary", "map3d-potentials", "challenge"],
)
def test_matrix_round_trip(name, tmp_path):
    found = read(make(name, tmp_path))
    key = "potvals" if name in ("challenge", "map3d-potentials") else "matrix"
    np.testing.assert_array_equal(found.array(key), matrix())
    if name == "challenge":
        np.testing.assert_array_equal(found.array("pacingLoc"), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("name", ["carp-volume", "matlab-volume"])
def test_volume_round_trip(name, tmp_path):
    found = read(make(name, tmp_path)).volumes[0]
    np.testing.assert_allclose(found.points, volume().points, rtol=1e-15)
    np.testing.assert_array_equal(found.tetrahedra, volume().tetrahedra)
    if name == "carp-volume":
        np.testing.assert_array_equal(found.regions, [1, 7])
        np.testing.assert_array_equal(found.fibers, volume().fibers)


def test_carp_files_hold_micrometers(tmp_path):
    make("carp-points", tmp_path)
    lines = (tmp_path / "a.pts").read_text().splitlines()
    assert lines[0] == "4"
    np.testing.assert_allclose([float(w) for w in lines[4].split()], [1000.0, 2000.0, 14500.0])


def test_two_surfaces_in_one_matlab_file(tmp_path):
    found = read(make("matlab-surface", tmp_path))
    assert [s.name for s in found.surfaces] == ["heart", "torso"]
    np.testing.assert_array_equal(found.surface("torso").points, octahedron().points)
    np.testing.assert_array_equal(found.surface("heart").triangles, octahedron().triangles)
    assert found.info["torso.winding"] == "outward"


@pytest.mark.parametrize("name", ["matlab-recording", "igb"])
def test_recording_round_trip(name, tmp_path):
    found, true = read(make(name, tmp_path)).time_series, recording()
    np.testing.assert_array_equal(found.values, true.values)
    np.testing.assert_allclose(found.times, true.times, rtol=1e-12)
    if name == "matlab-recording":
        assert (found.sites, found.quantity, found.reference) == (true.sites, "bsp", "average")


def test_nouns_are_written_directly(tmp_path):
    write(octahedron(), tmp_path / "heart.ply")
    assert read(tmp_path / "heart.ply").surface().name == "heart"
    write(Electrodes(("a", "b", "c", "d"), TETRA), tmp_path / "leads.mat")
    np.testing.assert_array_equal(read(tmp_path / "leads.mat").point_set("electrodes"), TETRA)
    operator = ForwardOperator(matrix(2, 3), ("1", "2", "3"), ("u", "v"), "hsp", "bsp")
    write(operator, tmp_path / "operator.mat", format="scirun")
    np.testing.assert_array_equal(read(tmp_path / "operator.mat").array(), matrix(2, 3))
    write(matrix(3, 3), tmp_path / "m.tra")
    np.testing.assert_array_equal(read(tmp_path / "m.tra").array(), matrix(3, 3))
    write(recording(), tmp_path / "r.mat", format="scirun")
    np.testing.assert_array_equal(read(tmp_path / "r.mat").array(), recording().values)


def test_every_own_format_has_a_sample_that_reads_back(tmp_path):
    ours = {"scirun", "matlab", "challenge", "ecgsim", "ecgsim-matrix", "map3d", "map3d-potentials", "carp", "igb"}
    ours |= {"ply", "stl"}
    assert ours <= {f.name for f in formats()}
    seen = {read(make(name, tmp_path / name)).format for name in SAMPLES if not (tmp_path / name).mkdir()}
    assert seen == ours
