"""Generated surfaces: closed, outward, with the volume and area of the smooth shape in the limit."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.geometry import generators, operators, quality


@pytest.mark.parametrize(
    ("surface", "volume", "area", "handles"),
    [
        (generators.sphere(10.0, subdivisions=4), 4 / 3 * np.pi * 1000, 4 * np.pi * 100, 0),
        (generators.ellipsoid((3.0, 4.0, 5.0), subdivisions=4), 4 / 3 * np.pi * 60, None, 0),
        (generators.box((2.0, 3.0, 4.0), segments=5), 24.0, 52.0, 0),
        (generators.cylinder(3.0, 7.0, around=96), np.pi * 9 * 7, 2 * np.pi * 3 * (3 + 7), 0),
        (generators.torus(8.0, 3.0, around=96), 2 * np.pi**2 * 8 * 9, 4 * np.pi**2 * 24, 1),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_closed_shapes(surface, volume, area, handles):
    surface.check_closed()
    assert surface.volume == pytest.approx(volume, rel=0.008)
    if area is not None:
        assert operators.areas(surface).sum() == pytest.approx(area, rel=0.008)
    assert quality.euler_characteristic(surface) == 2 - 2 * handles
    assert quality.triangle_quality(surface).min() > 0.3


@pytest.mark.parametrize(("subdivisions", "n"), [(0, 12), (1, 42), (2, 162), (3, 642), (4, 2562)])
def test_icosphere_nodes_lie_on_the_sphere(subdivisions, n):
    sphere = generators.sphere(7.0, subdivisions=subdivisions, center=(1.0, -2.0, 3.0), name="heart")
    assert (sphere.n_points, sphere.n_triangles, sphere.name) == (n, 2 * n - 4, "heart")
    assert np.linalg.norm(sphere.points - [1, -2, 3], axis=1) == pytest.approx(np.full(n, 7.0), rel=1e-13)


def test_shell_is_the_boundary_of_a_wall():
    shell = generators.shell(8.0, 10.0, subdivisions=3)
    shell.check_closed()
    inner, outer = generators.concentric((8.0, 10.0))
    assert shell.volume == pytest.approx(outer.volume - inner.volume, rel=1e-12)


def test_patches_are_flat_open_and_face_up():
    for patch, area in ((generators.rectangle((2.0, 3.0)), 6.0), (generators.disk(2.0, rings=40), 4 * np.pi)):
        assert not patch.is_closed
        assert patch.is_consistent
        assert (operators.normals(patch)[:, 2] > 0.999).all()
        assert operators.areas(patch).sum() == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: generators.sphere(-1.0), "radius must be positive, in mm; got -1"),
        (lambda: generators.sphere(1.0, subdivisions=-1), "subdivisions must be at least 0; got -1"),
        (lambda: generators.shell(3.0, 2.0), "wall must be positive, in mm; got -1"),
        (lambda: generators.torus(2.0, 3.0), "gap must be positive"),
        (lambda: generators.cylinder(1.0, 1.0, around=2), "around must be at least 3"),
        (lambda: generators.box((1.0, np.nan, 1.0)), "y must be positive"),
        (lambda: generators.joined(()), "at least one surface"),
    ],
)
def test_impossible_shapes_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_summary_reads_well():
    text = quality.summary(generators.torus(30.0, 10.0, name="ring"))
    assert text.startswith("ring: 768 nodes, 1536 triangles, 80 x 80 x 20 mm, closed, 1 handle, volume 57.54 ml")
    assert "open (4 border edges)" in quality.summary(generators.rectangle((1.0, 1.0), segments=1))
    assert ", 2 parts," in quality.summary(generators.shell(8.0, 10.0, subdivisions=1))
