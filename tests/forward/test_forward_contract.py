"""What every forward operator must fulfil, run over all that the package builds."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    InputError,
    LeadSystem,
    Recording,
    Region,
    Surface,
    VolumeConductor,
)
from einthoven.eikonal.conduction import Conduction
from einthoven.forward import bem
from einthoven.forward.electrodes import interpolation
from einthoven.forward.references import referenced
from einthoven.geometry.generators import sphere
from einthoven.surrogate.lead_field_net import ConductanceNet, MovieEcg
from surrogate_cases import sheet

NAMES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6", "X1")


@cache
def scene() -> tuple[Surface, Surface, VolumeConductor, Electrodes]:
    heart = sphere(30.0, subdivisions=1, center=(10.0, -5.0, 0.0), name="heart")
    envelope = sphere(36.0, subdivisions=1, center=(10.0, -5.0, 0.0), name="envelope")
    lung = sphere(15.0, subdivisions=1, center=(-55.0, 10.0, 0.0), name="lung")
    volume = VolumeConductor(Region(sphere(100.0, subdivisions=1, name="torso"), 0.2), (Region(lung, 0.05),))
    directions = np.random.default_rng(0).normal(size=(len(NAMES), 3))
    positions = 97.0 * directions / np.linalg.norm(directions, axis=1)[:, None]
    return heart, envelope, volume, Electrodes(NAMES, positions)


def transfer() -> ForwardOperator:
    _, envelope, volume, electrodes = scene()
    return bem.transfer(envelope, volume, electrodes)


def transfer_to_skin() -> ForwardOperator:
    return bem.transfer(scene()[1], scene()[2])


def double_layer() -> ForwardOperator:
    heart, _, volume, electrodes = scene()
    return bem.double_layer(heart, volume, electrodes)


def double_layer_to_envelope() -> ForwardOperator:
    return bem.double_layer_to_surface(*scene()[:1], scene()[2], scene()[1])


def electrograms() -> ForwardOperator:
    heart, _, volume, _ = scene()
    points = np.array([[50.0, 0.0, 0.0], [0.0, 60.0, 10.0], [-10.0, -60.0, -10.0]])
    return bem.double_layer_to_points(heart, volume, Electrodes(("e1", "e2", "e3"), points))


def skin_interpolation() -> ForwardOperator:
    return interpolation(scene()[2].skin, scene()[3])


def movie() -> ForwardOperator:
    """Read off a movie by a network that was not trained."""
    data, conduction = sheet(), Conduction.of("fenton-karma-1998-atrial")
    model = MovieEcg(ConductanceNet.random(0, pixel=1.0, width=8, depth=1), conduction, 1.0, data.spacing)
    return model.operator(data.movie, data.movie_times, data.electrode_set())


#: Every operator the package builds, with what its rows sum to (None: pixels with few cells count more).
REGISTRY: dict[str, tuple[Callable[[], ForwardOperator], float | None]] = {
    "transfer": (transfer, 1.0),
    "transfer to skin": (transfer_to_skin, 1.0),
    "double layer": (double_layer, 0.0),
    "double layer to envelope": (double_layer_to_envelope, 0.0),
    "electrograms": (electrograms, 0.0),
    "interpolation": (skin_interpolation, 1.0),
    "average": (lambda: referenced(transfer(), "average"), 0.0),
    "wilson": (lambda: referenced(transfer(), "wilson"), 0.0),
    "one electrode": (lambda: referenced(double_layer(), "V3"), 0.0),
    "twelve leads": (lambda: LeadSystem.twelve_lead().operator() @ transfer(), 0.0),
    "interpolated": (lambda: skin_interpolation() @ transfer_to_skin(), 1.0),
    "envelope to skin": (lambda: transfer() @ double_layer_to_envelope(), 0.0),
    "movie": (movie, None),
}


@cache
def built(name: str) -> ForwardOperator:
    return REGISTRY[name][0]()


@pytest.fixture(params=REGISTRY)
def operator(request) -> ForwardOperator:
    return built(request.param)


@pytest.mark.parametrize("seed", range(3))
def test_adjoint(operator, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=operator.n_in), rng.normal(size=operator.n_out)
    ax = operator.apply(x)
    assert abs(ax @ y - x @ operator.adjoint(y)) < 1e-12 * np.linalg.norm(ax) * np.linalg.norm(y)


def test_linear_and_as_matrix(operator):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, operator.n_in, 4))
    tolerance = 1e-12 * np.abs(operator.matrix).sum()
    np.testing.assert_allclose(operator.as_matrix() @ x, operator.apply(x), atol=tolerance)
    combined = 2.5 * operator.apply(x) - 3 * operator.apply(y)
    np.testing.assert_allclose(operator.apply(2.5 * x - 3 * y), combined, atol=tolerance)
    assert np.abs(operator.matrix).max() > 0


@pytest.mark.parametrize("name", [name for name, (_, total) in REGISTRY.items() if total is not None])
def test_rows_sum_to_what_the_physics_says(name):
    operator, expected = built(name), REGISTRY[name][1]
    scale = np.abs(operator.matrix).sum(axis=1).max()
    assert np.abs(operator.matrix.sum(axis=1) - expected).max() < 1e-7 * scale


def test_recording_keeps_names_quantity_and_reference(operator):
    rng = np.random.default_rng(1)
    order = rng.permutation(operator.n_in)
    sites = tuple(operator.in_sites[i] for i in order)
    values = rng.normal(size=(operator.n_in, 3))
    recording = Recording(values, np.arange(3.0), sites, operator.in_quantity)
    result = operator.record(recording)
    assert (result.sites, result.quantity) == (operator.out_sites, operator.out_quantity)
    assert result.reference == operator.reference
    np.testing.assert_allclose(result.values, operator.matrix @ values[np.argsort(order)], rtol=1e-12, atol=1e-12)


def test_selection_takes_rows_by_name(operator):
    names = operator.out_sites[::-1][:2]
    chosen = operator.select(names)
    np.testing.assert_array_equal(chosen.matrix, operator.matrix[::-1][:2])
    assert chosen.out_sites == names
    with pytest.raises(InputError, match="no site named nowhere"):
        operator.select(("nowhere",))


def test_arrays_are_read_only(operator):
    assert not operator.matrix.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        operator.matrix[0, 0] = 1.0


def test_lead_matrix_reproduces_the_operator(operator):
    """Where leads are combinations of electrodes, the rows are the same combinations of the electrodes' rows."""
    if operator.lead_matrix is None or operator.in_quantity != "hsp":
        assert operator.in_quantity == "vm" or operator.lead_matrix is not None
        return
    _, envelope, volume, _ = scene()
    rows = bem.transfer(envelope, volume, operator.electrodes).matrix
    np.testing.assert_allclose(operator.lead_matrix @ rows, operator.matrix, atol=1e-12)


def test_composition_is_associative():
    leads, inner, source = LeadSystem.twelve_lead().operator(), skin_interpolation(), transfer_to_skin()
    left, right = (leads @ inner) @ source, leads @ (inner @ source)
    np.testing.assert_allclose(left.matrix, right.matrix, atol=1e-13)
    np.testing.assert_allclose(left.lead_matrix, right.lead_matrix, atol=1e-15)
    for operator in (left, right):
        assert operator.electrodes is not None
        assert operator.electrodes.names == NAMES
        assert operator.source is source.source
        assert operator.conductor is source.conductor
        assert (operator.reference, operator.out_quantity) == ("wilson", "ecg")
    x = np.random.default_rng(0).normal(size=source.n_in)
    np.testing.assert_allclose(
        left.apply(x), leads.matrix @ inner.select(leads.in_sites).apply(source.apply(x)), atol=1e-12
    )


def test_composition_refuses_a_mismatch():
    with pytest.raises(InputError, match="outer operator takes hsp, the inner one gives bsp"):
        transfer() @ double_layer()
    with pytest.raises(InputError, match="no site named envelope:0"):
        transfer() @ bem.double_layer_to_surface(scene()[0], scene()[2], scene()[1].renamed("other"))
    lacking = transfer().select(NAMES[1:])
    with pytest.raises(InputError, match="no site named RA"):
        LeadSystem.twelve_lead().operator() @ lacking
