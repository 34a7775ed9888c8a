"""Edges, winding and components from indices alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import topology

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def octahedron() -> np.ndarray:
    return np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [1, 0, 5], [2, 1, 5], [3, 2, 5], [0, 3, 5]])


def test_edges_of_a_tetrahedron():
    table = topology.edges(TETRAHEDRON)
    assert table.vertices.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert (table.count == 2).all()
    assert (table.balance == 0).all()
    ends = table.vertices[table.of_triangle]
    assert np.array_equal(np.sort(ends.reshape(4, -1), axis=1)[:, ::2], np.sort(TETRAHEDRON, axis=1))


def test_balance_tells_a_turned_triangle():
    turned = TETRAHEDRON.copy()
    turned[1] = turned[1, ::-1]
    table = topology.edges(turned)
    twisted = {tuple(e) for e in table.vertices[table.balance != 0].tolist()}
    assert twisted == {(0, 1), (1, 3), (0, 3)}


def test_components_follow_edges_not_nodes():
    touching = np.vstack([TETRAHEDRON, np.where(TETRAHEDRON == 0, 3, TETRAHEDRON + 4)])
    part = topology.triangle_components(touching)
    assert part.tolist() == [0] * 4 + [1] * 4
    assert topology.bowtie_nodes(touching, 8).tolist() == [3]
    assert topology.bowtie_nodes(TETRAHEDRON, 4).size == 0


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.permutations(range(8)))
@settings(deadline=None)
def test_any_turned_faces_are_found_up_to_the_whole(turned, order):
    faces = octahedron()[list(order)]
    flipped = np.array(turned)
    mixed = np.where(flipped[:, None], faces[:, ::-1], faces)
    flips = topology.consistent_flips(mixed)
    assert flips is not None
    assert np.array_equal(flips, flipped) or np.array_equal(flips, ~flipped)
    assert flips.sum() <= 4  # few faces change


def test_one_sided_strip_has_no_flips():
    strip = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 0, 4], [4, 0, 1]])
    assert topology.consistent_flips(strip) is None
