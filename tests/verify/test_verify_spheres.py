"""The exact solutions against each other and against the equations they solve."""

import numpy as np
import pytest

from einthoven.verify import spheres

LAYERS = {"radii": [30.0, 45.0, 60.0, 100.0], "conductivities": [0.2, 0.6, 0.05, 0.2]}


@pytest.fixture
def directions() -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(40, 3))
    return points / np.linalg.norm(points, axis=1)[:, None]


@pytest.mark.parametrize(("degree", "value"), [(0, 1.0), (1, 0.6), (2, 0.298507), (3, 0.144330)])
def test_concentric_factor_known_values(degree, value):
    assert spheres.concentric_factor(degree, 2.0) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize("degree", range(6))
def test_layers_of_one_conductivity_are_one_medium(degree):
    exact = spheres.concentric_factor(degree, 2.0)
    layered = spheres.transfer_field(degree, 50.0, [60.0, 75.0, 100.0], [0.3, 0.3, 0.3]).at(100.0)
    assert layered == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_transfer_field_fulfils_the_interface_conditions(degree):
    field = spheres.transfer_field(degree, 20.0, **LAYERS)
    _check_interfaces(field, LAYERS["radii"], LAYERS["conductivities"])
    assert field.at(20.0) == pytest.approx(1.0)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_double_layer_field_jumps_only_at_the_source(degree):
    field = spheres.double_layer_field(degree, 52.0, **LAYERS, intracellular_conductivity=0.1)
    _check_interfaces(field, LAYERS["radii"], LAYERS["conductivities"])
    below, above = field.at([52.0, 52.0 * (1 + 1e-9)])
    assert above - below == pytest.approx(-0.1 / 0.05, rel=1e-6)
    slopes = [(field.at(52.0 + side * 2e-4) - field.at(52.0 + side * 1e-4)) / (side * 1e-4) for side in (-1, 1)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-4)


def test_uniform_double_layer_is_silent_outside():
    field = spheres.double_layer_field(0, 52.0, **LAYERS, intracellular_conductivity=0.1)
    assert field.at([60.0, 100.0]) == pytest.approx(0.0, abs=1e-14)
    assert field.at([10.0, 50.0]) == pytest.approx(0.1 / 0.05)


def test_closed_form_and_series_of_a_dipole_agree(directions):
    position, moment = np.array([20.0, 10.0, -15.0]), np.array([1.0, 2.0, -0.5])
    for radius in (60.0, 100.0):
        closed = spheres.dipole_in_sphere(radius * directions, position, moment, radius=100.0, conductivity=0.2)
        series = spheres.dipole_in_layers(
            radius * directions, position, moment, radii=[50.0, 80.0, 100.0], conductivities=[0.2] * 3
        )
        np.testing.assert_allclose(series, closed, atol=1e-12 * np.abs(closed).max())


def test_dipole_in_sphere_is_harmonic_and_insulated(directions):
    position, moment = np.array([20.0, 10.0, -15.0]), np.array([1.0, 2.0, -0.5])

    def phi(points):
        return spheres.dipole_in_sphere(points, position, moment, radius=100.0, conductivity=0.2)

    h = 1e-3
    outward = (
        1.5 * phi(100 * directions) - 2 * phi((100 - h) * directions) + 0.5 * phi((100 - 2 * h) * directions)
    ) / h
    assert np.abs(outward).max() < 1e-7 * np.abs(phi(90 * directions) - phi(89 * directions)).max()
    center, h = 70 * directions, 0.5
    laplacian = sum(phi(center + h * e) + phi(center - h * e) - 2 * phi(center) for e in np.eye(3))
    second = np.abs([phi(center + h * e) + phi(center - h * e) - 2 * phi(center) for e in np.eye(3)]).max()
    assert np.abs(laplacian).max() < 1e-3 * second


def test_dipole_in_layers_is_insulated_and_continuous(directions):
    position, moment = np.array([10.0, -5.0, 8.0]), np.array([1.0, 2.0, -0.5])

    def phi(r):
        return spheres.dipole_in_layers(r * directions, position, moment, **LAYERS)

    h = 1e-2
    assert np.abs(phi(100.0) - phi(100.0 - h)).max() < 1e-6 * np.abs(phi(100.0)).max()
    np.testing.assert_allclose(phi(45.0 * (1 + 1e-9)), phi(45.0), rtol=1e-6)
    inside, outside = (phi(45.0) - phi(45.0 - h)) / h, (phi(45.0 + h) - phi(45.0 + 1e-9)) / h
    np.testing.assert_allclose(0.6 * inside, 0.05 * outside, atol=5e-3 * 0.6 * np.abs(inside).max())


@pytest.mark.parametrize("center", [(0.0, 0.0, 1e-7), (15.0, -5.0, 10.0)])
def test_cosine_on_a_sphere_is_a_dipole(center):
    moment = spheres.cosine_dipole(10.0, intracellular_conductivity=0.07, axis=(0.0, 0.0, 2.0))
    points = np.array([[0.0, 0.0, 100.0], [0.0, 60.0, 80.0]])
    dipole = spheres.dipole_in_sphere(points, np.array(center), moment, radius=100.0, conductivity=0.2)
    if center[0] == 0:
        field = spheres.double_layer_field(1, 10.0, [100.0], [0.2], intracellular_conductivity=0.07)
        np.testing.assert_allclose(dipole, field.at(100.0) * spheres.legendre(1, points), rtol=1e-7)
    else:
        layered = spheres.dipole_in_layers(points, np.array(center), moment, radii=[100.0], conductivities=[0.2])
        np.testing.assert_allclose(dipole, layered, rtol=1e-10)


def test_layers_must_increase():
    with pytest.raises(ValueError, match="radii must increase"):
        spheres.transfer_field(1, 20.0, [60.0, 50.0], [0.2, 0.2])


def _check_interfaces(field, radii, conductivities):
    """Potential and current are continuous at the interfaces; no current leaves the outermost sphere."""
    h = 1e-4

    def slope(r, side):
        near, far = (field.at(r + side * k * h) for k in (1e-6, 1))
        return (far - near) / (side * h)

    for k, r in enumerate(radii[:-1]):
        assert field.at(r * (1 + 1e-12) + 1e-9) == pytest.approx(field.at(r), rel=1e-7)
        inside, outside = conductivities[k] * slope(r, -1), conductivities[k + 1] * slope(r, 1)
        assert inside == pytest.approx(outside, rel=1e-3)
    assert abs(slope(radii[-1], -1)) < 1e-3 * abs(slope(radii[-1] / 2, 1))
