"""Files of the field, as published, against values extracted from them independently."""

import numpy as np
import pytest

from einthoven.core import FileFormatError
from einthoven.io import read
from einthoven.io.map3d import read_faces, read_points


@pytest.fixture(scope="module")
def cage(data_dir):
    return data_dir / "utah_cage_tank"


@pytest.fixture(scope="module")
def sock(data_dir):
    return data_dir / "utah_sock25feb97_tank"


def same_up_to_winding(found, expected):
    """Whether two lists of triangles hold the same nodes in the same order of triangles."""
    return np.array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))


@pytest.mark.parametrize(
    ("file", "points", "triangles", "winding"),
    [
        ("tank.fld", "tank771_pts_mm", "tank771_tri", "inward"),
        ("cage.fld", "cage602_pts_mm", "cage602_tri", "inward"),
    ],
)
def test_scirun_surfaces(cage, file, points, triangles, winding):
    values = np.load(cage / "cage_tank.npz")
    content = read(cage / file)
    surface = content.surface()
    np.testing.assert_array_equal(surface.points, values[points])
    assert same_up_to_winding(surface.triangles, values[triangles])
    assert content.info["winding"] == winding
    assert content.info["units as stated"] == "cm"  # wrong in the file, hence told and not applied
    np.testing.assert_array_equal(surface.repaired().points, values[points])
    assert surface.repaired().volume == pytest.approx(-surface.volume)


def test_scirun_text_surface(cage):
    values = np.load(cage / "cage_tank.npz")
    content = read(cage / "tank_measured_only.fld")
    assert content.info["encoding"] == "ascii"
    expected = values["tank771_pts_mm"][values["tank192_node_idx"]]
    np.testing.assert_allclose(content.surface().points, expected, rtol=0, atol=1e-9)
    assert same_up_to_winding(content.surface().triangles, values["tank192_tri"])


@pytest.mark.parametrize(("file", "key"), [("Ucager.mat", "cage_mV"), ("Utankr.mat", "tank192_mV")])
def test_scirun_potentials(cage, file, key):
    np.testing.assert_array_equal(read(cage / file).array(), np.load(cage / "cage_tank.npz")[key])


def test_scirun_matrix_of_an_older_version(sock):
    matrix = read(sock / "for_mat_128.mat").array()
    np.testing.assert_array_equal(matrix, np.load(sock / "sock_tank.npz")["scirun_forward_771x128"])
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=2e-5)  # six digits in the file


def test_a_surface_that_is_not_manifold_is_read_and_said_to_be(sock):
    content = read(sock / "25feb97_sock_closed.fld")
    assert content.info["winding"].startswith("not manifold: 3 edges")


def test_map3d_potentials_and_their_excerpt(sock):
    run = read(sock / "cool1-atdr-run1.mat")
    assert run.info["unit"] == "uV"
    values = np.load(sock / "sock_tank.npz")
    potvals = run.array("potvals")
    np.testing.assert_allclose(potvals[:192] / 1000, values["tank192_mV"], rtol=1e-12)
    excerpt = read(sock / "epi_pot_128_fr_170to190.mat").array()
    np.testing.assert_array_equal(excerpt, potvals[192:320, 169:190])
    channels = read(sock / "sock128.channels").array()
    np.testing.assert_array_equal(channels[:, 1], np.arange(193, 321))
    recording = run.recording("potvals", rate_hz=1000.0, unit="uV")
    np.testing.assert_allclose(recording.values[:192], values["tank192_mV"], rtol=1e-12)


@pytest.mark.parametrize("name", ["25feb97_sock_closed", "25feb97_sock"])
def test_map3d_geometry_in_text_and_in_matlab(sock, name):
    """The text holds two digits, the MATLAB file float32: the same nodes and the same triangles."""
    text, matlab = read(sock / f"{name}.pts").surface(), read(sock / f"{name}.mat").surface()
    np.testing.assert_allclose(text.points, matlab.points, atol=0.0051)
    np.testing.assert_array_equal(text.triangles, matlab.triangles)


def test_sock_matches_the_extracted_mesh(sock):
    values = np.load(sock / "sock_tank.npz")
    content = read(sock / "25feb97_sock_closed.fac")
    np.testing.assert_allclose(content.surface().points, values["sock128_pts_mm"], atol=0.0051)
    assert same_up_to_winding(content.surface().triangles, values["sock128_tri"])
    tank = read(sock / "tank_full_771.pts").surface()
    np.testing.assert_allclose(tank.points, values["tank771_pts_mm"], atol=0.0051)


def test_names_that_scipy_refuses(data_dir):
    """map3d stores names as miUINT8; `scipy.io.loadmat` says 'Expecting miINT8 as data type'."""
    content = read(data_dir / "dalhousie_map3d" / "daltorsoepi.mat")
    torso, heart = content.surfaces
    assert (torso.n_points, torso.n_triangles, heart.n_points, heart.n_triangles) == (352, 700, 98, 192)
    for surface, file in ((torso, "daltorso.pts"), (heart, "dalepi.pts")):
        text = read(data_dir / "dalhousie_map3d" / file).surface()
        np.testing.assert_allclose(surface.points, text.points, atol=1e-5)
        np.testing.assert_array_equal(surface.triangles, text.triangles)
        assert content.info[f"{surface.name}.winding"] == "outward"


def test_twisted_faces_are_kept(data_dir):
    folder = data_dir / "cinc2007_dalhousie"
    values = np.load(folder / "cinc2007.npz")
    content = read(folder / "case0003_h1100.pts")
    assert content.info["winding"] == "inconsistent: 73 edges are walked twice in the same direction"
    np.testing.assert_array_equal(content.surface().points, values["case3_heart_pts_mm"])
    assert same_up_to_winding(content.surface().triangles, values["case3_heart_tri"])
    fixed = content.surface().repaired()
    assert (fixed.triangles != content.surface().triangles).any(axis=1).sum() == 159
    # nodes and faces of different names are taken one by one
    triangles, groups = read_faces(folder / "daltorso.fac")
    assert groups is None
    assert same_up_to_winding(triangles, values["torso_tri"])
    np.testing.assert_array_equal(read_points(folder / "case0003_b352.pts"), values["case3_torso_pts_mm"])


@pytest.mark.parametrize("name", ["heart_res1", "heart_peri_res1", "torso"])
def test_the_same_surface_in_matlab_and_ply(data_dir, name):
    folder = data_dir / "kit_cei" / "ventricles"
    matlab, ply = read(folder / f"{name}.mat"), read(folder / f"{name}.ply")
    np.testing.assert_allclose(matlab.surface().points, ply.surface().points, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(matlab.surface().triangles, ply.surface().triangles)
    assert matlab.info["winding"] == ply.info["winding"] == "outward"


def test_binary_ply(data_dir):
    folder = data_dir / "kit_cei" / "sphere"
    ply, matlab = read(folder / "heart.ply"), read(folder / "heart.mat")
    assert ply.info["encoding"] == "binary"
    np.testing.assert_array_equal(ply.surface().points, matlab.surface().points)
    np.testing.assert_array_equal(ply.surface().triangles, matlab.surface().triangles)


def test_sparse_laplacian_of_version_73(data_dir):
    laplacian = read(data_dir / "kit_cei" / "ventricles" / "L_sigma7.mat").array()
    assert laplacian.shape == (2306, 2306)
    assert abs(laplacian.sum(axis=1)).max() < 1e-6 < 1e-2 < abs(laplacian.sum(axis=0)).max()


def test_leads_and_potentials_of_map3d(data_dir):
    folder = data_dir / "dalhousie_map3d"
    assert read(folder / "dipole2_002.pot").array().shape == (352, 1)
    links = read(folder / "daltorso.leadlinks").array()
    assert links.shape == (117, 2)
    np.testing.assert_array_equal(links[0], [1, 165])


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("utah_cage_tank", "tank.fld"),
        ("utah_cage_tank", "tank_measured_only.fld"),
        ("utah_cage_tank", "Utankr.mat"),
        ("dalhousie_map3d", "daltorsoepi.mat"),
        ("kit_cei/sphere", "torso.mat"),
        ("kit_cei/sphere", "heart.ply"),
        ("kit_cei/ventricles", "L_sigma7.mat"),
    ],
)
def test_real_files_cut_off(data_dir, tmp_path, folder, file):
    data = (data_dir / folder / file).read_bytes()
    target = tmp_path / file
    for part in (0.02, 0.3, 0.7, 0.99, 0.9999):
        target.write_bytes(data[: int(part * len(data))])
        with pytest.raises(FileFormatError, match=r"(byte \d|line \d|damaged)"):
            read(target)
