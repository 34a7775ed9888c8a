"""Refinement conserves, decimation keeps shape, topology and chosen nodes; fields are carried along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import GeometryError, InputError, Surface
from einthoven.geometry import generators, operators, quality
from einthoven.geometry.intersect import self_intersections
from einthoven.geometry.locate import closest_points
from einthoven.geometry.remesh import decimated, interpolation, refined

SHAPES = [
    generators.sphere(50.0, subdivisions=3),
    generators.torus(30.0, 10.0, around=40),
    generators.box((50.0, 40.0, 30.0), segments=8),
    generators.shell(40.0, 50.0, subdivisions=3),
    generators.cylinder(20.0, 50.0, around=36),
]


@pytest.mark.parametrize("surface", [*SHAPES, generators.disk(5.0)], ids=lambda s: s.name)
def test_flat_refinement_conserves_everything(surface):
    fine, carry = refined(surface, times=2)
    assert fine.n_triangles == 16 * surface.n_triangles
    assert operators.areas(fine).sum() == pytest.approx(operators.areas(surface).sum(), rel=1e-12)
    assert fine.volume == pytest.approx(surface.volume, rel=1e-12, abs=1e-9)
    assert quality.euler_characteristic(fine) == quality.euler_characteristic(surface)
    assert (fine.is_closed, fine.is_consistent) == (surface.is_closed, True)
    assert np.array_equal(fine.points[: surface.n_points], surface.points)
    assert np.abs(carry @ surface.points - fine.points).max() < 1e-12 * 50
    assert np.abs(carry.sum(axis=1) - 1).max() < 1e-14


def test_curved_refinement_approaches_the_smooth_surface():
    errors = []
    for subdivisions in (1, 2, 3):
        fine = refined(generators.sphere(1.0, subdivisions=subdivisions), curved=True).surface
        errors.append(np.abs(np.linalg.norm(fine.points, axis=1) - 1).max())
    assert errors[1] < 1e-3  # the flat midpoints are off by 1.3e-2
    assert errors[2] < 2.1e-4
    disk = generators.disk(5.0)
    assert np.abs(refined(disk, curved=True).surface.points - refined(disk).surface.points).max() < 1e-12


@pytest.mark.long
@pytest.mark.parametrize("surface", SHAPES, ids=lambda s: s.name)
@pytest.mark.parametrize("share", [0.6, 0.25])
def test_decimation_keeps_shape_and_topology(surface, share):
    n = int(share * surface.n_points)
    coarse, carry = decimated(surface, n)
    assert coarse.n_points == n
    coarse.check_closed()
    assert quality.euler_characteristic(coarse) == quality.euler_characteristic(surface)
    assert len(self_intersections(coarse)) == 0
    assert coarse.volume == pytest.approx(surface.volume, rel=0.07)
    assert operators.areas(coarse).sum() == pytest.approx(operators.areas(surface).sum(), rel=0.03)
    edge = quality.edge_lengths(coarse).mean()
    assert closest_points(coarse, surface.points).distance.max() < 0.35 * edge
    good = quality.triangle_quality(coarse)
    assert good.mean() > (0.85 if share > 0.5 else 0.75)  # a quarter of the torus: six nodes around its tube
    assert good.min() > 0.25
    assert carry.shape == (n, surface.n_points)
    assert np.abs(carry.sum(axis=1) - 1).max() < 1e-12
    assert np.abs(carry @ surface.points - coarse.points).max() < 0.1 * edge


@given(st.integers(0, 10**6), st.integers(60, 150))
@settings(deadline=None, max_examples=10)
def test_decimated_rough_surfaces_stay_closed_and_outward(seed, n):
    rng = np.random.default_rng(seed)
    sphere = generators.sphere(10.0, subdivisions=2)
    rough = sphere.with_points(sphere.points * rng.uniform(0.93, 1.07, size=(sphere.n_points, 1)))
    keep = rng.choice(rough.n_points, 5, replace=False)
    coarse = decimated(rough, n, keep=keep).surface
    coarse.check_closed()
    assert coarse.n_points == n
    assert np.array_equal(coarse.points[:5], rough.points[keep])


def test_chosen_nodes_come_first_and_do_not_move():
    sphere = generators.sphere(50.0, subdivisions=3)
    keep = np.array([600, 3, 77, 250])
    coarse, carry = decimated(sphere, 120, keep=keep)
    assert np.array_equal(coarse.points[:4], sphere.points[keep])
    field = np.random.default_rng(0).normal(size=sphere.n_points)
    assert (carry @ field)[:4] == pytest.approx(field[keep], abs=1e-9)


def test_border_of_an_open_patch_is_kept():
    disk = generators.disk(50.0, rings=15)
    coarse = decimated(disk, 150).surface
    assert operators.areas(coarse).sum() == pytest.approx(operators.areas(disk).sum(), rel=0.01)
    assert coarse.is_consistent
    assert quality.euler_characteristic(coarse) == 1


def test_smooth_field_survives_refinement_and_decimation():
    sphere = generators.sphere(50.0, subdivisions=4)
    field = sphere.points[:, 0] * sphere.points[:, 1] / 2500
    coarse, carry = decimated(sphere, 640)
    exact = coarse.points[:, 0] * coarse.points[:, 1] / 2500
    assert np.abs(carry @ field - exact).max() < 0.005
    back = interpolation(coarse, sphere.points) @ (carry @ field)
    assert np.abs(back - field).max() < 0.03


def test_asking_for_too_much_is_refused():
    sphere = generators.sphere(1.0, subdivisions=1)
    with pytest.raises(
        InputError, match=r"sphere: can be decimated to 4..42 nodes; got 43. To get more nodes, use `ref"
    ):
        decimated(sphere, 43)
    with pytest.raises(InputError, match=r"keep must name different nodes 0..41; got 99"):
        decimated(sphere, 20, keep=[99])
    with pytest.raises(InputError, match="got a node twice"):
        decimated(sphere, 20, keep=[1, 1])
    with pytest.raises(InputError, match="times must be 0 or more; got -1"):
        refined(sphere, times=-1)
    with pytest.raises(GeometryError, match=r"torus: could be decimated to \d+ nodes, not to 4, without changing"):
        decimated(generators.torus(3.0, 1.0, around=12), 4)
    triangles = np.array(sphere.triangles)
    triangles[5] = triangles[5, ::-1]
    with pytest.raises(GeometryError, match=r"wound alike to decimate. Use `surface.repaired\(\)`"):
        decimated(Surface(sphere.points, triangles), 20)


def test_measured_ventricles_and_torso(data_dir):
    from scipy.io import loadmat

    for name, n, deviation in (("heart_res1", 1000, 3.0), ("torso", 600, 6.0)):
        stored = loadmat(data_dir / "kit_cei" / "ventricles" / f"{name}.mat", squeeze_me=True, struct_as_record=False)
        mesh = next(v for k, v in stored.items() if not k.startswith("__"))
        fine = Surface(np.asarray(mesh.points, dtype=float), np.asarray(mesh.cells, dtype=int) - 1, name)
        coarse = decimated(fine, n).surface
        coarse.check_closed()
        assert coarse.n_points == n
        assert coarse.volume == pytest.approx(fine.volume, rel=0.01)
        assert closest_points(coarse, fine.points).distance.max() < deviation
        assert quality.triangle_quality(coarse).mean() > 0.88
