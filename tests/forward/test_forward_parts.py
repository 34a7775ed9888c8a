"""Electrodes, references, point sources, inspection."""

import json

import numpy as np
import pytest

from einthoven.core import Electrodes, ForwardOperator, GeometryError, InputError, Recording
from einthoven.forward.electrodes import interpolation
from einthoven.forward.inspect import inspect
from einthoven.forward.point_sources import dipole, monopole
from einthoven.forward.references import lead_system, referenced, referenced_to
from einthoven.geometry.generators import sphere

SITES = ("RA", "LA", "LL", "V1", "V2")


@pytest.fixture
def operator() -> ForwardOperator:
    matrix = np.random.default_rng(0).normal(size=(5, 7))
    matrix += (1 - matrix.sum(axis=1, keepdims=True)) / 7
    positions = np.arange(15.0).reshape(5, 3)
    nodes = tuple(f"heart:{i}" for i in range(7))
    return ForwardOperator(
        matrix, nodes, SITES, "hsp", "bsp", electrodes=Electrodes(SITES, positions), lead_matrix=np.eye(5)
    )


# -- electrodes -------------------------------------------------------------------------------------------------------


def test_interpolation_is_exact_for_linear_potentials_on_the_skin():
    skin = sphere(100.0, subdivisions=2, name="torso")
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), size=20)
    points = np.einsum("nk,nkx->nx", weights, skin.corners[rng.integers(0, 320, size=20)])
    electrodes = Electrodes(tuple(f"e{i}" for i in range(20)), points)
    operator = interpolation(skin, electrodes)
    slope = np.array([1.0, -2.0, 0.3])
    np.testing.assert_allclose(operator.apply(skin.points @ slope), points @ slope, atol=1e-10)
    assert (operator.matrix >= 0).all()
    assert ((operator.matrix > 1e-12).sum(axis=1) <= 3).all()
    np.testing.assert_allclose(operator.matrix.sum(axis=1), 1.0, atol=1e-12)
    assert operator.in_sites == skin.node_names
    assert operator.electrodes is electrodes


def test_electrode_off_the_skin_is_named():
    skin = sphere(100.0, subdivisions=2, name="torso")
    electrodes = Electrodes(("on", "off"), np.array([[0.0, 0.0, 101.0], [0.0, 120.0, 0.0]]))
    with pytest.raises(GeometryError, match=r"torso; off \(2\d\.\d mm\) do not"):
        interpolation(skin, electrodes)
    assert interpolation(skin, electrodes, max_distance=30.0).n_out == 2


# -- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["average", "wilson", "V2"])
def test_referenced_rows_are_differences(operator, reference):
    result = referenced(operator, reference)
    zero = {
        "average": operator.matrix.mean(axis=0),
        "wilson": operator.matrix[:3].mean(axis=0),
        "V2": operator.matrix[4],
    }
    np.testing.assert_allclose(result.matrix, operator.matrix - zero[reference], atol=1e-14)
    np.testing.assert_allclose(result.matrix.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(result.lead_matrix @ operator.matrix, result.matrix, atol=1e-14)
    assert (result.reference, result.out_sites, result.out_quantity) == (reference, SITES, "bsp")
    again = referenced(result, reference)
    np.testing.assert_allclose(again.matrix, result.matrix, atol=1e-14)


def test_changing_the_reference_goes_through_differences(operator):
    direct = referenced(operator, "wilson")
    detour = referenced(referenced(operator, "average"), "wilson")
    np.testing.assert_allclose(detour.matrix, direct.matrix, atol=1e-14)


def test_operator_is_brought_to_the_recording(operator):
    values = np.random.default_rng(1).normal(size=(3, 4))
    sites = ("V2", "RA", "V1")
    average = Recording(values - values.mean(axis=0), np.arange(4.0), sites, "bsp", "average")
    matched = referenced_to(operator, average)
    assert matched.out_sites == sites
    chosen = operator.matrix[[4, 0, 3]]
    np.testing.assert_allclose(matched.matrix, chosen - chosen.mean(axis=0), atol=1e-14)
    wilson = referenced_to(operator, Recording(values, np.arange(4.0), sites, "bsp", "wilson"))
    np.testing.assert_allclose(wilson.matrix, chosen - operator.matrix[:3].mean(axis=0), atol=1e-14)
    absolute = referenced_to(operator, Recording(values, np.arange(4.0), sites, "bsp"))
    np.testing.assert_array_equal(absolute.matrix, chosen)


def test_missing_reference_electrodes_are_named(operator):
    with pytest.raises(InputError, match=r"reference 'wilson' over 3 leads needs LA, which the operator does not give"):
        referenced(operator.select(("RA", "LL", "V1")), "wilson")
    with pytest.raises(InputError, match="needs V9, which the operator does not give"):
        referenced(operator, "V9")
    for model in ("absolute", "skin"):
        with pytest.raises(InputError, match=f"reference '{model}': that zero is known to a model only"):
            lead_system(model, SITES)


def test_electrograms_are_referenced_too(operator):
    egm = ForwardOperator(operator.matrix, operator.in_sites, SITES, "vm", "egm", reference="skin")
    assert referenced(egm, "average").out_quantity == "egm"


# -- point sources ----------------------------------------------------------------------------------------------------


def test_dipole_is_the_limit_of_two_monopoles():
    rng = np.random.default_rng(0)
    points, source, moment = rng.normal(size=(6, 3)) * 50, rng.normal(size=(1, 3)), np.array([1.0, -2.0, 0.5])
    h = 1e-4
    pair = np.concatenate([source + h * moment / 2, source - h * moment / 2])
    potentials = monopole(points, pair, conductivity=0.2)
    limit = (potentials[:, 0] - potentials[:, 1]) / h
    np.testing.assert_allclose(dipole(points, source, conductivity=0.2)[:, 0] @ moment, limit, rtol=1e-6)


def test_monopole_known_value():
    value = monopole(np.array([[3.0, 4.0, 0.0]]), np.zeros((1, 3)), conductivity=0.5)
    assert value[0, 0] == pytest.approx(1 / (4 * np.pi * 0.5 * 5))


def test_point_at_a_source_is_named():
    with pytest.raises(InputError, match="points 1 coincide"):
        monopole(np.array([[1.0, 0, 0], [0, 0, 0]]), np.zeros((1, 3)), conductivity=0.2)


# -- inspection -------------------------------------------------------------------------------------------------------


def test_inspection_of_a_known_matrix():
    values = np.array([2.0, 0.5, 0.01, 1e-6])
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (6, 5))
    operator = ForwardOperator(u * values @ v.T, tuple("abcde"), tuple("uvwxyz"), "vm", "bsp", "skin")
    report = inspect(operator, seconds=1.5)
    np.testing.assert_allclose(report.singular_values, [*values, 0.0], atol=1e-14)
    assert report.rank == 4
    assert report.condition == pytest.approx(2e6, rel=1e-6)
    assert report.ranks == {1e-1: 2, 1e-2: 2, 1e-3: 3, 1e-4: 3}
    assert report.matrix_bytes == 6 * 5 * 8
    assert report.row_sum == 0.0
    flat = json.loads(json.dumps(report.as_dict()))
    assert flat["rank_at_0.001"] == 3
    assert flat["seconds"] == 1.5
    assert len(flat["singular_values"]) == 5


def test_inspection_finds_rows_that_do_not_sum(operator):
    assert inspect(operator).row_sum_error < 1e-14
    assert inspect(referenced(operator, "average")).row_sum_error < 1e-14
    wrong = ForwardOperator(operator.matrix + 0.01, operator.in_sites, SITES, "hsp", "bsp")
    scale = np.abs(wrong.matrix).sum(axis=1).max()
    assert inspect(wrong).row_sum_error == pytest.approx(0.07 / scale)
    assert "rows sum to 1" in repr(inspect(operator))
