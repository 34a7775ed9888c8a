"""The definition of the published slab."""

import numpy as np
import pytest

from einthoven.verify import niederer


def centers(spacing):
    counts = [round(s / spacing) for s in niederer.SIZE]
    axes = [(np.arange(n) + 0.5) * spacing for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@pytest.mark.parametrize("spacing", niederer.SPACINGS)
def test_stimulated_volume_is_that_of_the_cube(spacing):
    share = niederer.stimulated_share(centers(spacing).reshape(-1, 3), spacing)
    assert share.sum() * spacing**3 == pytest.approx(1.5**3, rel=1e-9)


def test_stimulated_share_of_cut_cells():
    """At 0.2 mm the cube's faces cut cells in halves, its edges in quarters, its corner in an eighth."""
    share = niederer.stimulated_share(centers(0.2).reshape(-1, 3), 0.2).reshape(centers(0.2).shape[:3])
    assert [share[0, 0, 0], share[7, 0, 0], share[7, 7, 0], share[7, 7, 7]] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert share[8:].max() == 0


@pytest.mark.parametrize("spacing", niederer.SPACINGS)
def test_at_points_is_exact_for_multilinear_fields(spacing):
    def field(x):
        return 3 + 2 * x[..., 0] - x[..., 1] + 0.5 * x[..., 2] + 0.1 * x[..., 0] * x[..., 1] * x[..., 2]

    found = niederer.at_points(field(centers(spacing)), spacing)
    np.testing.assert_allclose(found, field(np.array(list(niederer.POINTS.values()))), rtol=1e-12)


def test_at_points_between_cells():
    found = niederer.at_points(centers(0.5)[..., 0], 0.5, [(1.9, 1.0, 1.0), (7.0, 0.1, 2.9)])
    assert found == pytest.approx([1.9, 7.0])


def test_published_tables_name_the_same_points():
    assert all(list(niederer.PUBLISHED[h]) == list(niederer.POINTS) for h in niederer.SPACINGS)


def test_published_means_grow_with_distance_along_each_edge():
    """What ties the published names to coordinates: activation is later farther along every edge."""
    for row in niederer.PUBLISHED.values():
        by_place = {niederer.POINTS[name]: value.mean for name, value in row.items() if name != "P9"}
        for place, mean in by_place.items():
            for axis, side in enumerate(niederer.SIZE):
                farther = tuple(side if k == axis else x for k, x in enumerate(place))
                assert by_place[farther] >= mean
