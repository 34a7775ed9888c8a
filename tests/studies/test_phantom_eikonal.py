"""The phantom's ventricles as an eikonal heart: plausible beats, and derivatives through the whole chain."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.studies.phantom_beat import DURRER_SITES
from einthoven.studies.phantom_eikonal import EikonalHeart

SPEEDS = (0.4, 1.3)


@pytest.fixture(scope="module")
def heart() -> EikonalHeart:
    return EikonalHeart(spacing=2.5)


@pytest.fixture(scope="module")
def onsets():
    return np.array([site.time for site in DURRER_SITES])


@pytest.mark.long
def test_a_normal_beat_is_one(heart, onsets):
    places = heart.places(DURRER_SITES)
    arrival, ecg, _ = heart.model.beat(places, onsets, SPEEDS)
    assert arrival.reached.all()
    assert 60 < np.ptp(arrival.times) < 120  # a QRS; coarse grids of first order are slow
    assert ecg.quantity == "ecg"
    assert ecg.sites[:3] == ("I", "II", "III")
    lead = dict(zip(ecg.sites, ecg.values, strict=True))
    assert np.allclose(lead["II"], lead["I"] + lead["III"], atol=1e-9)
    assert 0.5 < np.ptp(ecg.values[:, :120], axis=1).max() < 6.0  # mV
    assert lead["V1"][:120].min() < -lead["V1"][:120].max()  # rS
    assert lead["V6"][:120].max() > -lead["V6"][:120].min()
    assert lead["II"][200:].max() > 0.1  # T upright


@pytest.mark.long
def test_faster_conduction_makes_a_shorter_qrs(heart, onsets):
    places = heart.places(DURRER_SITES)
    times = [np.ptp(heart.model.beat(places, onsets, (c * 0.4, c * 1.3)).arrival.times) for c in (1.0, 1.25)]
    assert times[0] > times[1] > 0.75 * times[0]


@pytest.mark.long
def test_the_jacobian_is_that_of_the_whole_chain(heart, onsets):
    rng = np.random.default_rng(5)
    places = heart.places(DURRER_SITES) + rng.uniform(-0.2, 0.2, (len(onsets), 3))
    begins = onsets + rng.uniform(0, 1, len(onsets))
    weights, n = rng.normal(size=(12, 401)), len(onsets)
    model = heart.model
    jacobian = model.jacobian(model.beat(places, begins, SPEEDS))
    assert jacobian.shape == (4 * n + 2, 12, 401)

    def value(change):
        speeds = np.asarray(SPEEDS) * np.exp(change[4 * n :])
        moved = places + change[: 3 * n].reshape(n, 3), begins + change[3 * n : 4 * n]
        return (weights * model.beat(*moved, speeds).ecg.values).sum()

    step = 1e-7  # kinks at the bins of activation time are 0.5 ms apart: few nodes pass one
    for part in (slice(0, 3 * n), slice(3 * n, 4 * n), slice(4 * n, None)):
        way = np.zeros(4 * n + 2)
        way[part] = rng.normal(size=way[part].shape)
        slope = (value(step * way) - value(-step * way)) / (2 * step)
        assert slope == pytest.approx(np.einsum("p,plt,lt->", way, jacobian, weights), rel=2e-4)


@pytest.mark.long
def test_backward_and_forward_agree_through_the_whole_chain(heart, onsets):
    rng, model = np.random.default_rng(6), heart.model
    places, weights = heart.places(DURRER_SITES), rng.normal(size=(12, 401))
    beat = model.beat(places, onsets, SPEEDS)
    back = beat.arrival.pull_back(model.model.pull_back(beat.arrival.times, weights))
    by_speed = 2 * np.square(SPEEDS) * (model.shares @ back.squared_speed)
    expected = np.concatenate([back.sites.reshape(-1), back.onsets, by_speed])
    found = np.einsum("plt,lt->p", model.jacobian(beat), weights)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9 * np.abs(expected).max())


def test_wrong_settings_are_named(heart):
    model = heart.model
    for speeds in ((0.0, 1.0), (0.4, 1300.0), (0.4,), (np.nan, 1.0)):
        with pytest.raises(
            InputError, match=r"speeds must be positive, in mm/ms \(equal to m/s\), one for each of wall"
        ):
            model.squared_speed(speeds)
    with pytest.raises(InputError, match="must be 0 or more and sum to 1 at every node"):
        replace(model, shares=2 * model.shares)
    with pytest.raises(InputError, match=r"shares must have shape \(2 layers, \d+ nodes\)"):
        replace(model, shares=model.shares[:1])
