"""The operator noun: what it refuses, and what composition keeps."""

import numpy as np
import pytest

from einthoven.core import Electrodes, ForwardOperator, InputError, Recording, Surface

TETRA = Surface(np.eye(4, 3) * 10.0, np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]), "tetra")


def make(
    n_out: int = 2, n_in: int = 3, *, quantities: tuple = ("hsp", "bsp"), seed: int = 0, **fields
) -> ForwardOperator:
    matrix = np.random.default_rng(seed).normal(size=(n_out, n_in))
    return ForwardOperator(
        matrix, tuple(f"i{k}" for k in range(n_in)), tuple(f"o{k}" for k in range(n_out)), *quantities, **fields
    )


def test_matrix_shape_is_checked():
    with pytest.raises(InputError, match=r"shape \(targets, sources\) = \(2, 3\); got \(3, 2\)"):
        ForwardOperator(np.zeros((3, 2)), ("a", "b", "c"), ("x", "y"), "hsp", "bsp")


def test_repeated_sites_are_named():
    with pytest.raises(InputError, match="source sites of an operator must have unique names; a occur"):
        ForwardOperator(np.zeros((2, 2)), ("a", "a"), ("x", "y"), "hsp", "bsp")


def test_matrix_must_be_finite():
    with pytest.raises(InputError, match="must be finite"):
        ForwardOperator(np.full((2, 2), np.nan), ("a", "b"), ("x", "y"), "hsp", "bsp")


def test_columns_must_be_the_nodes_of_the_source():
    with pytest.raises(InputError, match=r"nodes of its source surface 'tetra' \(4\); got 3"):
        make(source=TETRA)


def test_lead_matrix_and_electrodes_belong_together():
    with pytest.raises(InputError, match="belong together"):
        make(lead_matrix=np.eye(2))
    with pytest.raises(InputError, match="belong together"):
        make(electrodes=Electrodes(("a", "b"), np.zeros((2, 3))))
    with pytest.raises(InputError, match=r"\(targets, electrodes\) = \(2, 3\); got \(2, 2\)"):
        make(electrodes=Electrodes(("a", "b", "c"), np.zeros((3, 3))), lead_matrix=np.eye(2))


def test_recording_of_another_quantity_is_refused():
    recording = Recording(np.zeros((3, 2)), np.arange(2.0), ("i0", "i1", "i2"), "vm")
    with pytest.raises(InputError, match=r"takes hsp \(heart-surface potential.*got vm"):
        make().record(recording)


def test_recording_lacking_a_site_is_refused():
    recording = Recording(np.zeros((2, 2)), np.arange(2.0), ("i0", "i1"), "hsp")
    with pytest.raises(InputError, match="no site named i2"):
        make().record(recording)


def test_composition_matches_names_in_any_order():
    inner = make(4, 3)
    order = [2, 0, 3]
    outer = ForwardOperator(np.eye(3), tuple(inner.out_sites[k] for k in order), ("x", "y", "z"), "bsp", "ecg")
    np.testing.assert_array_equal((outer @ inner).matrix, inner.matrix[order])


def test_composition_keeps_the_reference_of_the_outer_unless_it_has_none():
    inner = make(reference="skin")
    sites = inner.out_sites
    absolute = ForwardOperator(np.eye(2), sites, sites, "bsp", "bsp")
    average = ForwardOperator(np.eye(2) - 0.5, sites, sites, "bsp", "bsp", reference="average")
    assert (absolute @ inner).reference == "skin"
    assert (average @ inner).reference == "average"


def test_composition_keeps_electrodes_with_their_lead_matrix():
    nodes = Electrodes(("n0", "n1"), np.zeros((2, 3)))
    inner = make(electrodes=nodes, lead_matrix=np.array([[1.0, 0.0], [0.5, 0.5]]))
    sites = inner.out_sites
    outer = ForwardOperator(np.array([[1.0, -1.0]]), sites, ("lead",), "bsp", "ecg")
    both = outer @ inner
    assert both.electrodes is nodes
    np.testing.assert_array_equal(both.lead_matrix, [[0.5, -0.5]])
    own = Electrodes(("e",), np.ones((1, 3)))
    interpolating = ForwardOperator(
        np.array([[0.5, 0.5]]), sites, ("e",), "bsp", "bsp", electrodes=own, lead_matrix=np.eye(1)
    )
    assert (interpolating @ inner).electrodes is own
    np.testing.assert_array_equal((outer @ inner.select(sites[::-1])).lead_matrix, both.lead_matrix)


def test_selection_takes_the_rows_of_the_lead_matrix():
    operator = make(electrodes=Electrodes(("a", "b"), np.zeros((2, 3))), lead_matrix=np.eye(2))
    np.testing.assert_array_equal(operator.select(("o1",)).lead_matrix, [[0.0, 1.0]])


def test_matrix_is_copied_unless_read_only():
    matrix = np.ones((1, 1))
    operator = ForwardOperator(matrix, ("a",), ("b",), "vm", "bsp")
    matrix[0, 0] = 5
    assert operator.matrix[0, 0] == 1
    matrix.flags.writeable = False
    assert ForwardOperator(matrix, ("a",), ("b",), "vm", "bsp").matrix is matrix


def test_composition_with_something_else_is_a_type_error():
    with pytest.raises(TypeError, match="does not support ufuncs"):
        make() @ np.zeros((3, 3))


def test_repr_says_what_maps_to_what():
    assert repr(make()) == "ForwardOperator(hsp x 3 -> bsp x 2, reference 'absolute')"


def test_a_mean_over_other_sites_is_not_called_the_average():
    inner = make(3, 3, reference="average")
    nodes = inner.out_sites
    interpolation = ForwardOperator(np.full((2, 3), 1 / 3), nodes, ("x", "y"), "bsp", "bsp")
    assert (interpolation @ inner).reference == "average of 3"
    assert (ForwardOperator(np.eye(3), nodes, nodes[::-1], "bsp", "bsp") @ inner).reference == "average"
    potentials = Recording(np.eye(3), np.arange(3.0), nodes, "bsp")
    assert interpolation.record(potentials).reference == "absolute"
    assert interpolation.record(potentials.average_referenced()).reference == "average of 3"
