"""Calibration on spheres, where the true errors are known."""

from dataclasses import replace

import numpy as np
import pytest

from calibration_cases import TRUE, WHOLE, pair, wide
from einthoven.core import InputError
from einthoven.forward.corrections import N_SKIN, OperatorModel, Spread, recorded_system, skin_modes
from einthoven.forward.lead_errors import center
from einthoven.inverse.calibration import MODELS, calibrate


def test_an_exact_twin_gives_back_place_size_and_gain():
    made = pair()
    found = calibrate(made.model, made.heart, made.leads, tolerance=1e-3, max_steps=10)
    assert found.converged
    # the heart's turn is seen through its shape, too
    assert found.q == pytest.approx(TRUE, abs=0.02)


def test_the_calibrated_operator_is_that_of_the_true_geometry():
    made = pair(noise=0.02)
    found = calibrate(made.model, made.heart, made.leads)
    built = made.model.at(np.zeros(len(TRUE)))
    before, after = (np.linalg.norm(o.matrix - made.truth.matrix) for o in (built, found.operator))
    assert before > 0.05 * np.linalg.norm(made.truth.matrix)
    assert after < 0.03 * before
    assert found.operator.reference == "average"
    assert found.operator.source is not None
    assert center(found.operator.source) == pytest.approx(center(made.model.surface) + TRUE[:3], abs=0.3)


def test_standard_errors_cover_the_truth():
    made = pair(noise=0.05)
    found = calibrate(wide(made.model), made.heart, made.leads)
    assert (np.abs(found.q - TRUE) < 4 * found.errors).all()
    assert (found.errors < found.sizes / 5).all()


def test_without_information_everything_stays_as_expected():
    made = pair(noise=0.0)
    silence = made.heart.with_values(1e-6 * made.heart.values)
    rng = np.random.default_rng(0)
    leads = made.leads.with_values(rng.standard_normal(made.leads.values.shape)).average_referenced()
    found = calibrate(made.model, silence, leads)
    assert np.abs(found.q / found.sizes).max() < 1e-3
    assert found.errors == pytest.approx(found.sizes, rel=1e-3)


def test_a_narrow_expectation_holds_a_parameter():
    made = pair(noise=0.05)
    narrow = replace(made.model, spread=Spread(scale_percent=1e-4))
    found = calibrate(narrow, made.heart, made.leads)
    assert abs(found.q[6]) < 0.01
    assert found.q[:3] == pytest.approx(TRUE[:3], abs=1.0)  # the others are free
    assert abs(calibrate(made.model, made.heart, made.leads).q[6] - TRUE[6]) < 0.5


@pytest.mark.parametrize("kind", ["electrodes", "leads", "skin"])
def test_every_kind_of_error_is_found(kind):
    size = {"electrodes": 80, "leads": 40, "skin": N_SKIN}[kind]
    true = np.random.default_rng(1).standard_normal(size) * {"electrodes": 3.0, "leads": 5.0, "skin": 1.0}[kind]
    made = pair((kind,), true)
    found = calibrate(made.model, made.heart, made.leads)
    built = made.model.at(np.zeros(size))
    before, after = (np.linalg.norm(o.matrix - made.truth.matrix) for o in (built, found.operator))
    assert before > 0.02 * np.linalg.norm(made.truth.matrix)
    assert after < 0.2 * before


@pytest.mark.long
def test_changes_are_those_of_operators_built_anew():
    model = pair(MODELS["full"], np.zeros(8 + N_SKIN + 80 + 40)).model
    rng = np.random.default_rng(2)
    q = 0.2 * rng.standard_normal(len(model.names)) * model.sizes
    linear = model.linearized(q)
    assert linear.leads.matrix == pytest.approx(model.at(q).matrix, abs=1e-12)
    for kind in model.kinds:
        d = np.zeros(len(q))
        chosen = [i for i, name in enumerate(_kinds(model)) if name == kind]
        d[chosen] = 0.1 * model.sizes[chosen] * rng.standard_normal(len(chosen))
        exact = (model.at(q + d).matrix - model.at(q - d).matrix) / 2
        assert np.linalg.norm(exact) > 0
        change = linear.at(d).matrix - linear.leads.matrix
        assert np.linalg.norm(change - exact) < {"electrodes": 0.35}.get(kind, 0.05) * np.linalg.norm(exact), kind


def _kinds(model: OperatorModel) -> list[str]:
    return [kind for kind in model.kinds for _ in model.part(np.zeros(len(model.names)), kind)]


def test_the_skin_bends_without_what_the_heart_can_do():
    skin = pair().model.conductor.skin
    modes = skin_modes(skin)
    n = skin.n_points
    flat = modes.reshape(N_SKIN, -1)
    assert flat @ flat.T / n == pytest.approx(np.eye(N_SKIN), abs=1e-9)
    x = skin.points - skin.points.mean(axis=0)
    rigid = [np.tile(axis, (n, 1)) for axis in np.eye(3)] + [np.cross(axis, x) for axis in np.eye(3)] + [x]
    for one in rigid:
        assert np.abs(flat @ one.reshape(-1)).max() < 1e-8 * np.linalg.norm(one) * np.sqrt(n)


def test_what_does_not_match_is_told():
    made = pair()
    with pytest.raises(InputError, match=r"the heart potentials lack nodes"):
        calibrate(made.model, made.heart.select(made.heart.sites[:100]), made.leads)
    with pytest.raises(InputError, match=r"must have the same frames"):
        calibrate(made.model, made.heart.window(0.0, 40.0), made.leads)
    with pytest.raises(InputError, match=r"10 frames are too few for 5 runs"):
        calibrate(made.model, made.heart.window(0.0, 9.0), made.leads.window(0.0, 9.0))
    with pytest.raises(InputError, match=r"reference 'absolute', the model 'average'"):
        calibrate(made.model, made.heart, replace(made.leads, reference="absolute"))
    with pytest.raises(InputError, match=r"the leads are zero"):
        calibrate(made.model, made.heart, made.leads.with_values(0 * made.leads.values))
    with pytest.raises(InputError, match=r"corrections must be some of pose, .*; got nonsense"):
        replace(made.model, kinds=("nonsense",))
    with pytest.raises(InputError, match=r"shift_mm: .* above 0"):
        Spread(shift_mm=0.0)
    with pytest.raises(InputError, match=r"need electrodes RA, LA, LL"):
        replace(made.model, system=recorded_system("wilson", made.model.electrodes.names), kinds=WHOLE)
