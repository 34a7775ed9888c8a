"""Errors of the geometry: their covariance, and their fit together with a wave."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import Electrodes, GeometryError, InputError, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.forward.lead_errors import POSE, SIZE, LeadErrors, lead_errors, moved
from einthoven.geometry.generators import ellipsoid, sphere
from einthoven.geometry.locate import closest_points
from einthoven.inverse import NoiseCovariance
from einthoven.inverse.model_error import GeometrySpread, drawn, model_error, perturbed
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.focal_fit import FocalPriors
from einthoven.inverse.physics.focal_search import FocalSearch
from einthoven.inverse.physics.strong import StrongConstraint
from physics_cases import SIGMA, relative_error, wave

HEART = sphere(30.0, subdivisions=2, name="heart")
SKIN = ellipsoid((60.0, 75.0, 90.0), subdivisions=2, name="skin")
VOLUME = VolumeConductor(Region(SKIN, 0.2), (Region(sphere(12.0, subdivisions=1, center=(0.0, 0.0, 65.0)), 0.05),))
ELECTRODES = Electrodes(tuple(f"E{i}" for i in range(50)), SKIN.points[:50])
SYSTEM = LeadSystem(ELECTRODES.names, ELECTRODES.names, np.eye(50), "absolute")


@pytest.fixture(scope="module")
def errors() -> LeadErrors:
    return lead_errors(
        HEART, VOLUME, ELECTRODES, SYSTEM, source="hsp", pose_mm=4.0, pose_deg=4.0, size_percent=5.0, electrode_mm=0.0
    )


def built(pose: np.ndarray, percent: float = 0.0) -> np.ndarray:
    return bem.transfer(moved(HEART, pose, np.zeros(3), percent=percent), VOLUME, ELECTRODES).matrix


def potential() -> Recording:
    """A wave on this heart, which has the nodes of the case."""
    return wave().truth


# -- first order ------------------------------------------------------------------------------------------------------


def test_changes_of_a_transfer_predict_a_heart_elsewhere(errors):
    assert errors.names == (*POSE, SIZE)
    assert errors.leads.in_quantity == "hsp"
    x = potential().values
    for q in (np.array([2.0, -3.0, 1.0, 3.0, 2.0, -4.0, 0.0]), 4.0 * np.eye(7)[6], -4.0 * np.eye(7)[6]):
        true = built(q[:6], float(q[6])) @ x
        before, after = (np.linalg.norm(a @ x - true) for a in (errors.leads.matrix, errors.at(q).matrix))
        assert before > 0.005 * np.linalg.norm(true)
        assert after < 0.2 * before
    assert np.allclose(errors.changes.sum(axis=2), 0.0, atol=1e-6)  # a constant passes wherever the heart is


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"source": "egm"}, "the source must be 'vm' or 'hsp'; got 'egm'"),
        ({"size_percent": 40.0}, r"size_percent: an expected error must be 0 \(exact\) to 30 percent"),
    ],
)
def test_bad_errors_are_refused(more, words):
    with pytest.raises(InputError, match=words):
        lead_errors(HEART, VOLUME, ELECTRODES, SYSTEM, **more)


# -- covariance -------------------------------------------------------------------------------------------------------


def test_covariance_against_brute_force(errors):
    """Entry by entry, and what whitening makes of sensor noise and errors together."""
    x = potential()
    sensor = NoiseCovariance.white(errors.leads.record(x), sigma=2.0)
    others = drawn(errors, count=3, seed=1)
    found = model_error(errors.leads, others, x, sensor)
    parts = [(o.matrix - errors.leads.matrix) @ x.values for o in others]
    brute = np.array([[np.mean([d[i] * d[j] for d in parts]) for j in range(50)] for i in range(50)])
    assert np.allclose(found.matrix, brute + 4.0 * np.eye(50), atol=1e-9 * np.abs(brute).max())
    shuffled = errors.leads.select(ELECTRODES.names[::-1])
    assert np.allclose(model_error(shuffled, others, x, sensor).matrix, found.matrix[::-1, ::-1])
    linear = model_error(errors.leads, drawn(errors, count=600), x, sensor).matrix - 4.0 * np.eye(50)
    exact = sum(s**2 * (c @ x.values) @ (c @ x.values).T for s, c in zip(errors.spread, errors.changes, strict=True))
    assert np.linalg.norm(linear - exact / x.n_times) < 0.15 * np.linalg.norm(exact / x.n_times)


def test_random_geometries():
    def build(*geometry):
        seen.append(geometry)
        return bem.transfer(*geometry)

    seen, expected = [], GeometrySpread(3.0, 3.0, 2.0, electrode_mm=2.0, conductivity_percent=20.0)
    geometry = (HEART, VOLUME, ELECTRODES)
    one, other = perturbed(geometry, build, expected, count=2, seed=4)
    assert one.out_sites == other.out_sites == ELECTRODES.names
    assert np.abs(one.matrix - other.matrix).max() > 1e-4
    again = perturbed(geometry, bem.transfer, expected, count=1, seed=4)[0]
    assert np.array_equal(again.matrix, one.matrix)
    heart, volume, electrodes = seen[0]
    away = np.linalg.norm(electrodes.positions - ELECTRODES.positions, axis=1)
    assert closest_points(SKIN, electrodes.positions).distance.max() < 1e-9
    assert 0.5 < np.sqrt((away**2).mean()) / (2.0 * np.sqrt(2.0)) < 1.5
    assert 0.1 < np.linalg.norm(heart.points.mean(axis=0)) < 15.0
    assert volume.inner[0].conductivity != 0.05
    exact = perturbed(geometry, bem.transfer, GeometrySpread(0.0, 0.0), count=1)[0]
    assert np.allclose(exact.matrix, bem.transfer(*geometry).matrix, atol=1e-12)


def test_bad_input_is_refused(errors):
    x, noise = potential(), NoiseCovariance.white(errors.leads.record(potential()), sigma=1.0)
    with pytest.raises(InputError, match="at least one other operator"):
        model_error(errors.leads, [], x, noise)
    with pytest.raises(InputError, match="must agree in source quantity"):
        model_error(errors.leads, drawn(errors, count=1), replace(x, quantity="vm"), noise)
    with pytest.raises(InputError, match="at least 1; got 0"):
        drawn(errors, count=0)
    with pytest.raises(InputError, match="at least 1; got 0"):
        perturbed((HEART, VOLUME, ELECTRODES), bem.transfer, GeometrySpread(), count=0)
    with pytest.raises(InputError, match="pose_mm: an expected error must be 0 to 50; got -1"):
        GeometrySpread(pose_mm=-1.0)
    with pytest.raises(InputError, match="regions that move with the heart"):
        perturbed((HEART, VOLUME, ELECTRODES), bem.transfer, GeometrySpread(), moving=["lung"])

    def impossible(*geometry):
        raise GeometryError("surfaces meet")

    with pytest.raises(GeometryError, match="surfaces meet"):
        perturbed((HEART, VOLUME, ELECTRODES), impossible, GeometrySpread())


# -- fitted with the wave ---------------------------------------------------------------------------------------------


def test_pose_and_gain_are_found_with_the_wave(errors):
    """The heart 4 mm and 3 degrees off and a gain of 1.05: the fit finds them, and the image is better."""
    truth, q = potential(), np.array([3.0, -2.0, 2.0, 2.0, -1.0, 2.0, 0.0])
    clean = 1.05 * built(q[:6]) @ truth.values
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    recording = replace(errors.leads.record(truth), values=clean + 0.2 * SIGMA * noise)
    cells = CellPhysics(sigma=0.2 * SIGMA, extracellular=True)
    once = FocalSearch(n_candidates=20, n_starts=1, most=1)
    plain = StrongConstraint(cells, search=once).image(errors.leads, recording)
    fitted = StrongConstraint(cells, search=once, errors=errors, priors=FocalPriors(gain_spread=0.1))
    found = fitted.image(errors.leads, recording)
    assert tuple(found.errors) == errors.names
    assert np.allclose(list(found.errors.values())[:3], q[:3], atol=1.0)
    assert found.gain == pytest.approx(1.05, abs=0.02)
    assert relative_error(found.absolute, truth) < relative_error(plain.absolute, truth)
    assert found.reconstruction.diagnostics["chi2"] < 0.5 * plain.reconstruction.diagnostics["chi2"]
    predicted = found.operator.apply(found.absolute.values)
    assert np.allclose(recording.values - predicted, found.reconstruction.residual.values, atol=1e-9)
    assert np.allclose(found.operator.matrix, found.gain * errors.at(np.array([*found.errors.values()])).matrix)


def test_errors_of_another_operator_are_refused(errors):
    other = replace(errors.leads, matrix=1.01 * errors.leads.matrix)
    solver = StrongConstraint(CellPhysics(sigma=1.0, extracellular=True, diffusivity=4.0), errors=errors)
    with pytest.raises(InputError, match="lead errors belong to another operator"):
        solver.image(other, errors.leads.record(potential()))
