"""The `Tetrahedra` noun."""

import numpy as np
import pytest

from einthoven.core import GeometryError, Tetrahedra

POINTS = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10], [10, 10, 10]], dtype=float)
CELLS = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])


def test_it_holds_what_it_was_given_and_cannot_be_changed():
    mesh = Tetrahedra(POINTS, CELLS[:, ::-1], "block")
    assert mesh.n_points == 5
    assert np.allclose(mesh.volumes, [500 / 3, 1000 / 3])
    assert repr(mesh) == "Tetrahedra('block', 5 nodes, 2 tetrahedra, 0.5 ml)"
    assert mesh.cells.dtype == np.int64
    for array in (mesh.points, mesh.cells):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (POINTS, CELLS[:0], r"n > 0; got \(0, 4\)"),
        (np.where(POINTS == 10, np.nan, POINTS), CELLS, r"coordinates must be finite; nodes 1, 2, 3, 4 hold NaN"),
        (POINTS, CELLS + 1, r"whole numbers 0\.\.4; tetrahedra 1 point outside\. Is the file 1-based"),
        (POINTS, CELLS - 1, r"tetrahedra 0 point outside"),
        (POINTS * [1, 1, 0], CELLS, r"^mesh: tetrahedra 0, 1 are flat or repeat a node\. Delete them\.$"),
        (POINTS, np.array([[0, 1, 2, 3], [0, 1, 2, 2]]), r"tetrahedra 1 are flat or repeat a node"),
    ],
)  # fmt: skip
def test_what_is_refused(points, cells, message):
    with pytest.raises(GeometryError, match=message):
        Tetrahedra(points, cells)


def test_a_mesh_from_a_file_becomes_one():
    from einthoven.io import Volume

    mesh = Volume(POINTS, CELLS, np.array([1, 7])).mesh("block")
    assert repr(mesh) == "Tetrahedra('block', 5 nodes, 2 tetrahedra, 0.5 ml)"
    with pytest.raises(GeometryError, match="1-based"):
        Volume(POINTS, CELLS + 1).mesh()
