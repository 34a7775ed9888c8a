"""The phantom's ventricles as an eikonal heart: plausible beats, and derivatives through the whole chain."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.studies.phantom_beat import DURRER_SITES
from einthoven.studies.phantom_eikonal import EikonalHeart, Speeds

SPEEDS = Speeds(0.4, 1.3)


@pytest.fixture(scope="module")
def heart() -> EikonalHeart:
    return EikonalHeart(spacing=2.5)


@pytest.fixture(scope="module")
def onsets():
    return np.array([site.time for site in DURRER_SITES])


def test_a_normal_beat_is_one(heart, onsets):
    places = heart.places(DURRER_SITES)
    arrival = heart.activate(places, onsets, SPEEDS)
    assert arrival.reached.all()
    assert 60 < np.ptp(arrival.times) < 120  # a QRS; coarse grids of first order are slow
    ecg = heart.ecg(places, onsets, SPEEDS)
    assert ecg.quantity == "ecg"
    assert ecg.sites[:3] == ("I", "II", "III")
    lead = dict(zip(ecg.sites, ecg.values, strict=True))
    assert np.allclose(lead["II"], lead["I"] + lead["III"], atol=1e-9)
    assert 0.5 < np.ptp(ecg.values[:, :120], axis=1).max() < 6.0  # mV
    assert lead["V1"][:120].min() < -lead["V1"][:120].max()  # rS
    assert lead["V6"][:120].max() > -lead["V6"][:120].min()
    assert lead["II"][200:].max() > 0.1  # T upright


def test_faster_conduction_makes_a_shorter_qrs(heart, onsets):
    places = heart.places(DURRER_SITES)
    times = [np.ptp(heart.activate(places, onsets, Speeds(c * 0.4, c * 1.3)).times) for c in (1.0, 1.25)]
    assert times[0] > times[1] > 0.75 * times[0]


def test_derivatives_pass_from_the_leads_to_sites_onsets_and_speeds(heart, onsets):
    rng = np.random.default_rng(5)
    places = heart.places(DURRER_SITES) + rng.uniform(-0.2, 0.2, (len(onsets), 3))
    begins = onsets + rng.uniform(0, 1, len(onsets))
    weights = rng.normal(size=(12, 401))

    def value(place, begin, v):
        return (weights * heart.model.ecg(heart.wave.solve(v, place, begin).times).values).sum()

    v = heart.squared_speed(SPEEDS)
    arrival = heart.wave.solve(v, places, begins)
    found = arrival.pull_back(heart.model.pull_back(arrival.times, weights))
    step = 2e-6  # kinks at the bins of activation time are 0.5 ms apart: few nodes pass one
    for name, way in (
        ("sites", (rng.normal(size=places.shape), 0 * begins, 0 * v)),
        ("onsets", (0 * places, rng.normal(size=begins.shape), 0 * v)),
        ("squared_speed", (0 * places, 0 * begins, rng.normal(size=v.shape) * v)),
    ):
        up, down = (value(places + s * way[0], begins + s * way[1], v + s * way[2]) for s in (step, -step))
        slopes = (found.sites, found.onsets, found.squared_speed)
        exact = sum((g * w).sum() for g, w in zip(slopes, way, strict=True))
        assert (up - down) / (2 * step) == pytest.approx(exact, rel=2e-4), name


def test_wrong_speeds_are_named(heart):
    with pytest.raises(InputError, match=r"speeds must be positive, in mm/ms \(equal to m/s\); got 0 in the wall"):
        heart.squared_speed(Speeds(0.0, 1.0))
    with pytest.raises(InputError, match=r"got 0\.4 in the wall, 1300 in the layer"):
        heart.squared_speed(Speeds(0.4, 1300.0))
