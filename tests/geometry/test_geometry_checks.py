"""Every check passes what is right and names what is wrong, with the mend."""

import numpy as np
import pytest

from einthoven.core import Case, Electrodes, GeometryError, Region, Source, Surface, VolumeConductor
from einthoven.geometry import checks, generators

TORSO = generators.ellipsoid((180.0, 120.0, 260.0), subdivisions=3, name="torso")
HEART = generators.sphere(40.0, subdivisions=2, center=(30.0, -20.0, 40.0), name="heart")
LUNG = generators.ellipsoid((40.0, 60.0, 90.0), subdivisions=2, center=(-90.0, 0.0, 60.0), name="lung")
BLOOD = generators.sphere(20.0, subdivisions=2, center=(30.0, -20.0, 40.0), name="blood")


def conductor(*inner: Surface, torso: Surface = TORSO) -> VolumeConductor:
    return VolumeConductor(Region(torso, 0.2), tuple(Region(s, 0.05) for s in inner))


def case(*, electrodes: Electrodes | None = None, heart: Surface = HEART) -> Case:
    on_skin = Electrodes(("V1", "V2", "V3"), TORSO.points[[3, 30, 300]])
    return Case("patient 7", conductor(LUNG), (Source(heart),), electrodes or on_skin)


def test_units_guess_meters_centimeters_and_micrometers():
    checks.check_units(TORSO)
    with pytest.raises(GeometryError, match=r"0.52 across, too small for millimeters .* are these meters\? Say"):
        checks.check_units(TORSO.with_points(TORSO.points / 1000))
    with pytest.raises(GeometryError, match=r"are these centimeters\?"):
        checks.check_units(TORSO.with_points(TORSO.points / 20), plausible=checks.PLAUSIBLE_TORSO_MM)
    with pytest.raises(GeometryError, match=r"5.2e\+05 across, too large .* are these micrometers\?"):
        checks.check_units(TORSO.with_points(TORSO.points * 1000))
    with pytest.raises(GeometryError, match=r"too large .* is one coordinate wrong\?"):
        checks.check_units(TORSO.with_points(TORSO.points * 1e9))


def test_bad_triangles_and_nodes_are_named():
    points, triangles = np.array(HEART.points), np.array(HEART.triangles)
    checks.check_triangles(HEART)
    with pytest.raises(GeometryError, match=r"heart: nodes 162 belong to no triangle. Remove"):
        checks.check_triangles(Surface(np.vstack([points, [[0, 0, 0.0]]]), triangles, "heart"))
    doubled = Surface(np.vstack([points, points[[5]]]), np.vstack([triangles, [[162, 0, 1]]]), "heart")
    with pytest.raises(GeometryError, match=r"nodes 5 and 162 lie at the same place. Merge"):
        checks.check_triangles(doubled)
    a, b, c = triangles[7]
    sliver = points.copy()
    sliver[c] = 0.4 * points[a] + 0.6 * points[b] + 1e-4
    with pytest.raises(GeometryError, match=r"faces .*7.* are flat .* Collapse their shortest edge"):
        checks.check_triangles(Surface(sliver, triangles, "heart"))
    with pytest.raises(GeometryError, match=r"faces 9 occur twice. Delete the copies"):
        checks.check_triangles(Surface(points, np.vstack([triangles, triangles[[9]][:, [1, 2, 0]]]), "heart"))


def test_self_intersection_names_both_faces():
    checks.check_not_self_intersecting(HEART)
    points = np.array(HEART.points)
    points[0] -= 1.5 * (points[0] - [30, -20, 40])  # pushed through the opposite side of its neighborhood
    points[0] -= 1.0 * (HEART.points[0] - [30, -20, 40])
    with pytest.raises(GeometryError, match=r"heart: cuts itself; faces \d+ and \d+.* meet. Smooth or remesh"):
        checks.check_not_self_intersecting(HEART.with_points(points))


def test_surfaces_that_meet_are_named_with_faces_and_place():
    checks.check_separate(HEART, TORSO)
    crossing = HEART.with_points(HEART.points + np.array([130.0, 0, 0]))
    with pytest.raises(GeometryError, match=r"heart and torso must not intersect or touch; faces [\d, ]+ and \d+ more"):
        checks.check_separate(crossing, TORSO)
    with pytest.raises(GeometryError, match=r"\d+ nodes lie outside \([\d, ]+ and \d+ more\), up to \d+ mm. Move"):
        checks.check_inside(crossing, TORSO)


def test_inside_finds_faces_that_meet_though_all_nodes_are_inside():
    spike = generators.box((100.0, 100.0, 100.0), segments=1, name="room")
    points = np.array(spike.points)
    dent = generators.box((150.0, 150.0, 150.0), segments=2, name="house")
    pushed = np.array(dent.points)
    middle = np.flatnonzero((np.abs(pushed) < [1, 1, 80]).all(axis=1) & (pushed[:, 2] > 70))
    pushed[middle, 2] = 45.0  # the ceiling's middle comes down into the room
    with pytest.raises(GeometryError, match=r"room and house must not intersect or touch"):
        checks.check_inside(Surface(points, spike.triangles, "room"), dent.with_points(pushed))


def test_heart_in_other_coordinates_or_outside():
    with pytest.raises(GeometryError, match=r"all 162 nodes lie outside .* same coordinates and unit"):
        checks.check_inside(HEART.with_points(HEART.points + 500), TORSO)
    checks.check_inside(HEART, TORSO)


def test_gap_is_returned_or_refused():
    assert checks.check_gap(BLOOD, HEART) == pytest.approx(20, rel=0.03)
    near = generators.sphere(39.7, subdivisions=2, center=(30.0, -20.0, 40.0), name="blood")
    with pytest.raises(GeometryError, match=r"blood: comes too near to heart; nodes 0, 1, .* mm from it, less than"):
        checks.check_gap(near, HEART)


def test_electrodes_report_distance_or_are_named():
    at = np.array([TORSO.points[3] * 1.02, TORSO.points[9], TORSO.points[20] * 1.2])
    electrodes = Electrodes(("V1", "V2", "V9"), at)
    distance = checks.check_electrodes(electrodes, TORSO, max_distance=100.0)
    assert distance[1] == pytest.approx(0, abs=1e-9)
    assert 2 < distance[0] < 6
    with pytest.raises(GeometryError, match=r"near torso; V9 \(\d\d.\d mm\) do not. Leave them out, re-digitize"):
        checks.check_electrodes(electrodes, TORSO)
    far = Electrodes(("V1", "V2"), at[:2] + 300)
    with pytest.raises(GeometryError, match=r"coordinates and unit of the skin\? See einthoven.geometry.registration"):
        checks.check_electrodes(far, TORSO)


def test_parents_of_nested_and_neighboring_surfaces():
    assert checks.parents(conductor()) == (None,)
    assert checks.parents(conductor(LUNG, BLOOD), HEART) == (None, 0, 3, 0)
    assert checks.parents(conductor(BLOOD, LUNG)) == (None, 0, 0)
    inner = generators.sphere(10.0, subdivisions=1, center=(30.0, -20.0, 40.0), name="clot")
    assert checks.parents(conductor(inner, LUNG, BLOOD), HEART) == (None, 3, 0, 4, 0)


def test_parents_names_what_is_half_inside_or_outside():
    half = HEART.with_points(HEART.points + np.array([-80.0, 20.0, 20.0]))
    with pytest.raises(GeometryError, match=r"lung: \d+ of 162 nodes lie inside heart .* Surfaces nest or lie side"):
        checks.parents(conductor(LUNG), half)
    with pytest.raises(GeometryError, match=r"lung: must lie inside torso; all 162 nodes"):
        checks.parents(conductor(LUNG.with_points(LUNG.points - 900)))


def test_conductor_passes_and_places_each_heart_on_its_own():
    envelope = generators.sphere(42.0, subdivisions=2, center=(30.0, -20.0, 40.0), name="envelope")
    assert checks.check_conductor(conductor(LUNG), HEART, envelope) == (None, 0, 0, 0)


def test_a_wall_inside_a_conductor_is_checked_by_its_parts():
    wall = generators.shell(30.0, 40.0, subdivisions=2, name="heart")
    moved = wall.with_points(wall.points + np.array([30.0, -20, 40]))
    assert checks.check_conductor(conductor(LUNG, BLOOD), moved) == (None, 0, 0, 0)


def test_conductor_refuses_crossing_regions_and_wrong_units():
    crossing = HEART.with_points(HEART.points + np.array([-80.0, 20.0, 20.0]))
    with pytest.raises(GeometryError, match=r"lung and heart must not intersect"):
        checks.check_conductor(conductor(LUNG), crossing)
    tiny = TORSO.with_points(TORSO.points / 20)
    with pytest.raises(GeometryError, match=r"torso: is 26 across, too small .* are these centimeters"):
        checks.check_conductor(conductor(torso=tiny))


def test_case_reports_distances_and_prefixes_its_name():
    found = checks.check_case(case())
    assert found["electrode_distance_max"] < 1e-9
    assert found["heart_depth_min"] == pytest.approx(52, abs=6)
    off = Electrodes(("V1", "V2", "V3"), np.vstack([TORSO.points[[3, 30]], [[0, 0, 0]]]))
    with pytest.raises(GeometryError, match=r"^patient 7: electrodes must lie .* V3 \(1\d\d.\d mm\)"):
        checks.check_case(case(electrodes=off))
    with pytest.raises(GeometryError, match=r"^patient 7: heart: must lie inside torso"):
        checks.check_case(case(heart=HEART.with_points(HEART.points + np.array([130.0, 0, 0]))))


def test_memory_needed_is_returned_or_refused_with_a_mend():
    assert checks.check_memory(1000, 600) == pytest.approx(16 * 1000 * 1600 / 2**30)
    with pytest.raises(GeometryError, match=r"for 40000 \+ 20000 nodes need 35.8 GiB; 6.4 GiB can be used. Decimate"):
        checks.check_memory(40000, 20000, available=8 * 2**30)
    with pytest.raises(GeometryError) as caught:
        checks.check_memory(40000, 20000, available=8 * 2**30)
    n, m = (int(x) for x in str(caught.value).split("at most ")[1].split(" nodes")[0].split(" + "))
    checks.check_memory(n, m, available=8 * 2**30)
    with pytest.raises(GeometryError):
        checks.check_memory(int(n * 1.01), int(m * 1.01), available=8 * 2**30)


def test_physical_memory_is_read_or_unknown(monkeypatch):
    assert 2**28 < checks.physical_memory() < 2**50

    def missing(name):
        raise ValueError(name)

    monkeypatch.setattr(checks.os, "sysconf", missing)
    assert checks.physical_memory() is None
    assert checks.check_memory(10**6, 10**6) > 1e4  # nothing to compare with: only reported


def test_measured_geometries_pass(data_dir):
    with np.load(data_dir / "utah_cage_tank" / "cage_tank.npz") as file:
        tank = Surface(file["tank771_pts_mm"], file["tank771_tri"].astype(int), "tank")
        cage = Surface(file["cage602_pts_mm"], file["cage602_tri"].astype(int), "cage")
    assert checks.check_conductor(conductor(torso=tank), cage) == (None, 0)
    with np.load(data_dir / "cinc2007_dalhousie" / "cinc2007.npz") as file:
        torso = Surface(file["case3_torso_pts_mm"], file["torso_tri"].astype(int), "torso")
        heart = Surface(file["case3_heart_pts_mm"], file["case3_heart_tri"].astype(int), "epicardium")
        electrodes = Electrodes(tuple(map(str, range(120))), torso.points[file["elec120_node_idx"]])
    found = checks.check_case(Case("dalhousie", conductor(torso=torso), (Source(heart),), electrodes))
    assert found["electrode_distance_max"] == pytest.approx(0, abs=1e-9)
    assert found["heart_depth_min"] == pytest.approx(21.5, abs=3)


def test_ventricles_pass(data_dir):
    from scipy.io import loadmat

    def load(name: str) -> Surface:
        stored = loadmat(data_dir / "kit_cei" / "ventricles" / f"{name}.mat", squeeze_me=True, struct_as_record=False)
        mesh = next(v for k, v in stored.items() if not k.startswith("__"))
        return Surface(np.asarray(mesh.points, dtype=float), np.asarray(mesh.cells, dtype=int) - 1, name)

    torso, heart, envelope = load("torso"), load("heart_res1"), load("heart_peri_res1")
    assert checks.check_conductor(conductor(torso=torso), heart, envelope) == (None, 0, 0)
