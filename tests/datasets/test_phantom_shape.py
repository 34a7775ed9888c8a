"""The phantom's size and shape against adult values, its meshes and its electrodes."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.datasets.phantom import LAYOUTS, LEFT, RIGHT, Phantom, Resolution, Thorax, Ventricles, anatomy
from einthoven.datasets.phantom.implicit import gradient, project
from einthoven.geometry.checks import check_conductor, check_not_self_intersecting
from einthoven.geometry.locate import closest_points, contains
from einthoven.geometry.operators import angles

SURFACES = ("torso", "left_lung", "right_lung", "heart", "envelope", "left_blood", "right_blood")
COARSE = Resolution(torso=30.0, lungs=28.0, heart=8.0, envelope=12.0, blood=11.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def voxels(phantom: Phantom):
    """Volume of one voxel (ml), its points in the heart's frame, and in the phantom's."""
    step = 1.5
    low, high = phantom.ventricles.local_box
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    local = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return step**3 / 1000, local, phantom.ventricles.to_world(local)


def test_cavities_hold_adult_volumes(phantom, voxels):
    """End-diastolic volumes, adults: left 160 +- 29 and 135 +- 26, right 190 +- 33 and 148 +- 35 ml (men, women)."""
    # Hudsmith et al. 2005, doi:10.1080/10976640500295516; the cavities are counted up to the valve plane
    ml, local, world = voxels
    heart = phantom.ventricles
    inside = (heart.envelope(world) < -heart.clearance) & (heart.myocardium(world) > 0)
    left, right = heart.left_cavity.distance(local) < 0, heart.right_cavity(local) < 0
    assert 110 < ml * (inside & left).sum() < 160
    assert 120 < ml * (inside & right).sum() < 180
    assert (inside & left & right).sum() == 0


def test_muscle_has_adult_mass(phantom, voxels):
    """Left ventricle 145 +- 29 g in men, 108 +- 20 g in women at 1.05 g/ml (Kang et al., doi:10.21037/cdt-20-530)."""
    ml, _, world = voxels
    heart = phantom.ventricles
    muscle = heart.is_muscle(world)
    label = heart.coordinates(world).ventricle
    assert 110 < 1.05 * ml * (muscle & (label == LEFT)).sum() < 170
    assert 35 < 1.05 * ml * (muscle & (label == RIGHT)).sum() < 75
    assert phantom.heart.volume / 1000 == pytest.approx(ml * muscle.sum(), rel=0.02)


def _thickness(heart: Ventricles, start: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """Length of the way through the muscle from points on an endocardium along its normal, mm."""
    steps = np.arange(0.0, 25.0, 0.05)
    along = start[:, None] + steps[:, None] * outward[:, None]
    muscle = heart.is_muscle(along.reshape(-1, 3)).reshape(len(start), -1)
    return 0.05 * muscle.sum(axis=1)


def _endocardium(heart: Ventricles, field, angles_deg, heights, outward: float):
    """Points of one endocardium around the long axis, and the normals into the wall."""
    angle, height = (a.reshape(-1) for a in np.meshgrid(np.radians(angles_deg), heights))
    first = np.column_stack([20 * np.cos(angle), 20 * np.sin(angle), height])
    local = project(field, first, steps=60, longest=3.0)
    normal = gradient(field, local)
    normal *= outward / np.linalg.norm(normal, axis=1, keepdims=True)
    return heart.to_world(local), normal @ heart.axes


def test_left_wall_and_septum_are_9_to_11_mm_and_thin_at_the_apex(phantom):
    heart = phantom.ventricles
    around = np.arange(-180.0, 180.0, 15.0)
    free = around[np.abs(around) > 110]
    for sector in (free, np.array([-20.0, 0.0, 20.0])):
        start, outward = _endocardium(heart, heart.left_cavity.distance, sector, [-50.0, -35.0, -20.0], 1.0)
        thickness = _thickness(heart, start, outward)
        assert thickness.min() > 9.0
        assert thickness.max() < 11.0
    tip = heart.to_world(np.array([[0.0, 0.0, heart.left_cavity.equator - heart.left_cavity.half_length[0]]]))
    assert 4.5 < _thickness(heart, tip, -heart.axes[2:])[0] < 8.0


def test_right_free_wall_is_3_to_4_mm(phantom):
    heart = phantom.ventricles
    angle, height = (a.reshape(-1) for a in np.meshgrid(np.radians([-25.0, 0.0, 25.0]), [-45.0, -30.0, -15.0]))
    first = np.column_stack([65 * np.cos(angle), 65 * np.sin(angle), height])
    local = project(heart.right_cavity, first, steps=60, longest=3.0)
    normal = gradient(heart.right_cavity, local)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    thickness = _thickness(heart, heart.to_world(local), normal @ heart.axes)
    assert thickness.min() > 3.0
    assert thickness.max() < 4.0


def test_heart_lies_left_and_points_left_forward_and_down(phantom):
    """Long axis 38 +- 8 degrees below horizontal in the frontal plane on CT (doi:10.5837/bjc.2015.016)."""
    apex = -phantom.ventricles.axes[2]
    assert 30 < np.degrees(np.arctan2(-apex[2], apex[0])) < 46
    assert 30 < np.degrees(np.arctan2(-apex[1], apex[0])) < 50
    septum = phantom.ventricles.axes[0]
    assert septum[0] < -0.5
    assert septum[1] < -0.5
    assert 10 < phantom.heart.points[:, 0].mean() < 45


def test_heart_is_20_to_35_mm_under_the_skin(phantom):
    """Skin to heart 32 +- 8 mm, parasternal, by echocardiography (Rahko 2008, doi:10.1016/j.echo.2007.11.007)."""
    found = closest_points(phantom.torso, phantom.heart.points)
    assert 20 < found.distance.min() < 35
    nearest = found.points[found.distance.argmin()]
    assert nearest[1] < -80  # the front of the chest
    assert contains(phantom.torso, phantom.heart.points).all()


def _girth(thorax: Thorax, z: float) -> tuple[float, float, float]:
    """Girth, breadth and depth of a horizontal section, mm."""
    turn = np.linspace(0, 2 * np.pi, 181)
    directions = np.column_stack([np.cos(turn), np.sin(turn), 0 * turn])
    skin = thorax.skin_along(np.tile([[0.0, 0.0, z]], (len(turn), 1)), directions)
    return (
        float(np.linalg.norm(np.diff(skin, axis=0), axis=1).sum()),
        float(np.ptp(skin[:, 0])),
        float(np.ptp(skin[:, 1])),
    )


def test_torso_has_adult_girths_and_volume(phantom):
    """Chest and waist after the 2012 survey of US Army personnel (Gordon et al. 2014, NATICK/TR-15/007)."""
    chest, breadth, depth = _girth(phantom.thorax, 60.0)
    waist, narrow, flat = _girth(phantom.thorax, -155.0)
    assert 850 < chest < 1150
    assert 270 < breadth < 340
    assert 200 < depth < 280
    assert 750 < waist < 0.96 * chest
    assert narrow < breadth
    assert flat < depth
    assert 2 * phantom.torso.points[:, 0].max() > 1.25 * breadth  # shoulders
    # the trunk is 43 % of the body's mass (de Leva 1996, doi:10.1016/0021-9290(95)00178-6): 26 to 39 kg for 60 to 90 kg
    assert 26 < phantom.torso.volume / 1e6 < 39


def test_lungs_have_adult_volumes(phantom):
    """Between functional residual and total capacity of men, 3.3 and 7 l (ICRP 89, 10.1016/S0146-6453(03)00002-2)."""
    left, right = phantom.left_lung.volume / 1e6, phantom.right_lung.volume / 1e6
    assert 3.3 < left + right < 7.0
    assert 0.75 < left / right < 0.98  # the heart takes its room from the left lung


def test_left_lung_has_a_cardiac_notch(phantom):
    """The medial side is hollow: its convex hull holds much of the heart."""
    from scipy.spatial import Delaunay

    hull = Delaunay(phantom.left_lung.points)
    held = (hull.find_simplex(phantom.heart.points) >= 0).mean()
    assert held > 0.2  # a convex lung would hold none of it
    assert not contains(phantom.left_lung, phantom.heart.points).any()


@pytest.mark.parametrize("resolution", [COARSE, Resolution()], ids=["coarse", "default"])
def test_surfaces_are_closed_smooth_and_well_shaped(resolution):
    phantom = Phantom(resolution)
    for name in SURFACES:
        surface = getattr(phantom, name)
        surface.check_closed()
        assert surface.n_points - len(surface.edges.vertices) + surface.n_triangles == 2, f"{name} has a handle"
        check_not_self_intersecting(surface)
        smallest = np.degrees(angles(surface).min(axis=1))
        assert smallest.min() > 12, name
        assert smallest.mean() > 45, name


def test_surfaces_lie_apart_and_nest(phantom):
    assert check_conductor(phantom.conductor, phantom.heart)
    assert check_conductor(phantom.conductor, phantom.envelope)
    gap = closest_points(phantom.heart, phantom.envelope.points).distance
    assert 1.5 < gap.min() < 3.0
    assert contains(phantom.envelope, phantom.heart.points).all()
    for blood in (phantom.left_blood, phantom.right_blood):
        assert closest_points(phantom.heart, blood.points).distance.min() > 0.4
        assert contains(phantom.envelope, blood.points).all()


def test_default_node_counts(phantom):
    assert 1000 <= phantom.torso.n_points <= 1500
    assert 1800 <= phantom.heart.n_points <= 2600
    assert 600 <= phantom.envelope.n_points <= 1000


def test_nodes_lie_on_the_smooth_surfaces(phantom):
    heart, thorax = phantom.ventricles, phantom.thorax
    fields = {
        "torso": thorax.torso, "left_lung": thorax.left_lung, "right_lung": thorax.right_lung,
        "heart": heart.myocardium, "envelope": heart.envelope,
        "left_blood": heart.left_blood, "right_blood": heart.right_blood,
    }  # fmt: skip
    for name, field in fields.items():
        assert np.abs(field(getattr(phantom, name).points)).max() < 1e-6, name


@pytest.mark.parametrize("name", ["torso", "left_lung", "heart"])
def test_same_parameters_give_the_same_arrays(name):
    first = getattr(Phantom(COARSE), name)
    edge = {"torso": COARSE.torso, "left_lung": COARSE.lungs, "heart": COARSE.heart}[name]
    again = anatomy._surface.__wrapped__(Thorax(), name, edge)  # past the cache
    assert again is not first
    assert np.array_equal(again.points, first.points)
    assert np.array_equal(again.triangles, first.triangles)


def test_shorter_edges_give_more_nodes(phantom):
    coarse = Phantom(COARSE)
    for name in SURFACES:
        assert getattr(coarse, name).n_points < getattr(phantom, name).n_points
    edges = phantom.envelope.points[phantom.envelope.edges.vertices]
    median = np.median(np.linalg.norm(edges[:, 0] - edges[:, 1], axis=1))
    assert median == pytest.approx(phantom.resolution.envelope, rel=0.2)


def test_wall_coordinates(phantom):
    heart = phantom.ventricles
    found = heart.coordinates(phantom.heart.points)
    assert {LEFT, RIGHT} == set(np.unique(found.ventricle))
    assert found.transmural.min() == 0
    assert found.transmural.max() == 1
    assert 0 <= found.apicobasal.min() < 0.03
    assert found.apicobasal.max() > 0.97
    # the ends of the local axes: middle of the septum, front, free wall of the left ventricle, right ventricle
    wall = 24.0 + 4.9
    local = np.array([[wall, 0, -30.0], [0, wall + 1, -30.0], [-wall, 1e-9, -30.0], [66.5, 0, -30.0]])
    places = heart.coordinates(heart.to_world(local))
    assert places.rotational[:2] == pytest.approx([0, np.pi / 2], abs=1e-6)
    assert abs(places.rotational[2]) == pytest.approx(np.pi, abs=1e-6)
    assert places.transmural[:3] == pytest.approx([0.5, 0.5, 0.5], abs=0.08)
    assert places.ventricle.tolist() == [LEFT, LEFT, LEFT, RIGHT]


@pytest.mark.parametrize(
    ("name", "n", "front"), [("12-lead", 10, 10), ("frank", 7, 5), ("64", 64, 46), ("120", 120, 80), ("192", 192, 127)]
)
def test_layouts_lie_on_the_skin(phantom, name, n, front):
    for shown in (phantom, Phantom(COARSE)):
        electrodes = shown.electrodes(name)
        assert len(electrodes) == n
        assert closest_points(shown.torso, electrodes.positions).distance.max() < 1e-9
        gaps = np.linalg.norm(electrodes.positions[:, None] - electrodes.positions, axis=2) + 1e3 * np.eye(n)
        assert gaps.min() > 10
    smooth = phantom.electrodes(name).positions
    assert abs(int((smooth[:, 1] < 0).sum()) - front) <= 2


def test_twelve_lead_electrodes_sit_where_they_should(phantom):
    for name in ("12-lead", "64", "120", "192"):
        assert phantom.electrodes(name).names[:10] == ("RA", "LA", "LL", "RL", "V1", "V2", "V3", "V4", "V5", "V6")
    place = dict(zip(*(lambda e: (e.names, e.positions))(phantom.electrodes("12-lead")), strict=True))
    assert place["RA"][0] < -150 < 150 < place["LA"][0]
    assert place["LL"][2] < -200
    assert place["LL"][0] > 50
    row = [place[f"V{k}"][0] for k in range(1, 7)]
    assert row == sorted(row)
    assert row[0] == pytest.approx(-row[1], abs=3)
    assert place["V1"][2] > place["V4"][2]
    assert [place[k][2] for k in ("V5", "V6")] == pytest.approx([place["V4"][2]] * 2, abs=4)


def test_unknown_layout_and_wrong_edge_length_are_refused(phantom):
    with pytest.raises(InputError, match="no electrode layout 'vest-7'; there are 12-lead, frank, 64, 120, 192"):
        phantom.electrodes("vest-7")
    with pytest.raises(InputError, match=r"edge length of heart must be 2\.5\.\.9 mm; got 0\.4"):
        Resolution(heart=0.4)
    assert len(LAYOUTS) == 5
