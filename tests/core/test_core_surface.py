"""Surface: what it refuses, and how `repaired` winds parts that nest."""

import jaxtyping
import numpy as np
import pytest

from einthoven.core import GeometryError, Surface

CUBE_POINTS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_TRIANGLES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


def cube(size: float = 1.0, *, center: float = 0.0, inward: bool = False) -> Surface:
    triangles = CUBE_TRIANGLES[:, ::-1] if inward else CUBE_TRIANGLES
    return Surface((CUBE_POINTS - 0.5) * size + [center, 0, 0], triangles, "cube")


def together(*surfaces: Surface) -> Surface:
    offsets = np.cumsum([0, *(s.n_points for s in surfaces)])
    triangles = np.concatenate([s.triangles + o for s, o in zip(surfaces, offsets, strict=False)])
    return Surface(np.concatenate([s.points for s in surfaces]), triangles, "parts")


def same_faces(a: Surface, b: Surface) -> bool:
    """Equal up to where each triangle starts."""

    def canonical(triangles):
        start = triangles.argmin(axis=1)
        columns = [np.take_along_axis(triangles, ((start + k) % 3)[:, None], axis=1) for k in range(3)]
        return np.concatenate(columns, axis=1)

    return np.array_equal(canonical(a.triangles), canonical(b.triangles))


def test_a_good_cube_passes_and_is_left_alone():
    surface = cube(2.0)
    surface.check_closed()
    assert surface.volume == pytest.approx(8.0)
    assert not surface.flips().any()


def test_inward_is_refused_and_repaired():
    surface = cube(inward=True)
    with pytest.raises(GeometryError, match=r"cube: .* wound outward .* all 12 faces point .*repaired\(\)"):
        surface.check_closed()
    assert same_faces(surface.repaired(), cube())


@pytest.mark.parametrize("faces", [[0], [3, 4], [0, 5, 7, 11]])
def test_single_faces_are_turned_back(faces):
    triangles = CUBE_TRIANGLES.copy()
    triangles[faces] = triangles[faces][:, ::-1]
    surface = Surface(cube().points, triangles, "cube")
    with pytest.raises(GeometryError, match=r"wound alike; .* walked twice .* around faces"):
        surface.check_closed()
    assert np.flatnonzero(surface.flips()).tolist() == faces
    assert same_faces(surface.repaired(), cube())


@pytest.mark.parametrize("outer_inward", [False, True])
@pytest.mark.parametrize("inner_inward", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_a_wall_points_out_of_itself_on_both_sides(outer_inward, inner_inward, order):
    parts = (cube(4.0, inward=outer_inward), cube(2.0, inward=inner_inward))[::order]
    right = together(*(cube(4.0), cube(2.0, inward=True))[::order])
    surface = together(*parts)
    assert same_faces(surface.repaired(), right)
    assert right.volume == pytest.approx(64 - 8)
    right.check_closed()
    if outer_inward or not inner_inward:
        with pytest.raises(GeometryError, match="or from within a cavity"):
            surface.check_closed()


def test_message_names_the_shell_that_is_wrong():
    with pytest.raises(GeometryError, match=r"faces 12, 13, 14, 15, 16 and 7 more point the other way"):
        together(cube(4.0), cube(2.0)).check_closed()


def test_parity_goes_on_with_depth_and_side_by_side_parts_stay_outward():
    wrong = together(cube(8.0), cube(6.0), cube(4.0, inward=True), cube(2.0), cube(1.0, center=20, inward=True))
    right = together(cube(8.0), cube(6.0, inward=True), cube(4.0), cube(2.0, inward=True), cube(1.0, center=20))
    assert same_faces(wrong.repaired(), right)
    assert right.volume == pytest.approx(512 - 216 + 64 - 8 + 1)


def test_translation_does_not_change_the_repair():
    far = together(cube(4.0), cube(2.0))
    moved = far.with_points(far.points + np.array([1e5, -2e5, 3e4]))
    assert np.array_equal(moved.flips(), far.flips())


def test_open_surface_names_the_hole():
    with pytest.raises(GeometryError, match=r"must be closed; 3 edges .* at nodes 0, 1, 3. Fill the hole"):
        Surface(CUBE_POINTS, CUBE_TRIANGLES[1:], "cube").check_closed()


def test_edges_of_three_triangles():
    points = np.vstack([CUBE_POINTS, [[0.5, 0.5, 3.0]]])
    surface = Surface(points, np.vstack([CUBE_TRIANGLES, [[1, 3, 8], [3, 7, 8], [7, 5, 8], [5, 1, 8]]]), "tent")
    with pytest.raises(GeometryError, match=r"tent: must be manifold; edges \(1, 3\), .* more than two triangles"):
        surface.check_closed()
    with pytest.raises(GeometryError, match="tent: must be manifold"):
        surface.repaired()


def test_bowtie_node_is_named():
    apart = together(cube(), cube(center=3.0))
    triangles = apart.triangles.copy()
    triangles[triangles == 8] = 7  # the second cube shares one node with the first
    surface = Surface(apart.points, triangles, "bowtie")
    assert surface.is_closed
    with pytest.raises(GeometryError, match=r"bowtie: must be manifold; at nodes 7 two sheets touch in a point"):
        surface.check_closed()


def test_moebius_strip_is_not_orientable():
    n = 8
    angle = np.pi * np.arange(n) / n
    ring = np.stack([np.cos(2 * angle), np.sin(2 * angle), 0 * angle], axis=1)
    half = 0.3 * np.stack([np.cos(angle) * np.cos(2 * angle), np.cos(angle) * np.sin(2 * angle), np.sin(angle)], axis=1)
    points = np.concatenate([ring - half, ring + half])
    triangles = []
    for k in range(n):
        low, high = k, n + k
        next_low, next_high = (k + 1, n + k + 1) if k + 1 < n else (n, 0)
        triangles += [[low, next_low, next_high], [low, next_high, high]]
    strip = Surface(points, np.array(triangles), "strip")
    with pytest.raises(GeometryError, match=r"strip: is not orientable \(one-sided, as a Moebius strip\)"):
        strip.repaired()


def test_flat_pillow_has_no_volume():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
    pillow = Surface(points, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]), "pillow")
    with pytest.raises(GeometryError, match="pillow: encloses no volume; it is flat"):
        pillow.check_closed()


@pytest.mark.parametrize(
    ("points", "triangles", "message"),
    [
        (np.zeros((3, 3)), [[0, 1, 1]], "three different nodes; faces 0 repeat"),
        (np.zeros((3, 3)), [[0, 1, 3]], r"must be 0..2; faces 0 point outside. Is the file 1-based"),
        (np.array([[0, 0, 0], [np.nan, 0, 0], [0, 1, 0]]), [[0, 1, 2]], "finite; nodes 1 hold NaN"),
    ],
)
def test_construction_names_what_is_wrong(points, triangles, message):
    with pytest.raises(GeometryError, match=message):
        Surface(points, np.array(triangles), "s")


@pytest.mark.parametrize("index", [1.5, np.nan])
def test_node_numbers_are_not_cut_to_whole_ones(index, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users run without executed annotations
    with pytest.raises(GeometryError, match="s: node indices must be whole numbers; faces 1 hold others"):
        Surface(np.eye(4, 3), np.array([[0, 1, 2], [0, 2, index]]), "s")


def test_measured_epicardium_is_repaired_as_curated(data_dir):
    folder = data_dir / "cinc2007_dalhousie"
    points = np.loadtxt(folder / "case0003_h1100.pts")
    raw = Surface(points, np.loadtxt(folder / "case0003_h1100.fac", dtype=int) - 1, "epicardium")
    assert (raw.edges.balance != 0).sum() == 73
    assert raw.flips().sum() == 159
    repaired = raw.repaired()
    repaired.check_closed()
    with np.load(folder / "cinc2007.npz") as curated:
        assert same_faces(repaired, Surface(curated["case3_heart_pts_mm"], curated["case3_heart_tri"]))


def test_inward_tank_and_cage_are_turned(data_dir):
    with np.load(data_dir / "utah_cage_tank" / "cage_tank.npz") as file:
        for name in ("tank771", "cage602"):
            good = Surface(file[f"{name}_pts_mm"], file[f"{name}_tri"].astype(int), name)
            good.check_closed()
            inward = Surface(good.points, good.triangles[:, ::-1], name)
            with pytest.raises(GeometryError, match=rf"{name}: .*outward.* all {good.n_triangles} faces"):
                inward.check_closed()
            assert same_faces(inward.repaired(), good)


def test_measured_shell_keeps_its_cavity(data_dir):
    from scipy.io import loadmat

    stored = loadmat(data_dir / "kit_cei" / "sphere" / "heart.mat", squeeze_me=True, struct_as_record=False)
    mesh = next(v for k, v in stored.items() if not k.startswith("__"))
    heart = Surface(np.asarray(mesh.points, dtype=float), np.asarray(mesh.cells, dtype=int) - 1, "heart")
    heart.check_closed()
    assert not heart.flips().any()
    assert heart.volume == pytest.approx(4 / 3 * np.pi * (25**3 - 23**3), rel=0.02)
    turned = Surface(heart.points, heart.triangles[:, ::-1], "heart")
    assert same_faces(turned.repaired(), heart)
