"""Lead systems: the identities of electrocardiography."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError, LeadSystem, Recording, from_twelve_lead
from einthoven.core.leads import FRANK_ELECTRODES, TWELVE_LEAD_ELECTRODES, TWELVE_LEADS

potentials = st.lists(st.floats(-10, 10), min_size=9, max_size=9)


def leads_of(values: list[float]) -> dict[str, float]:
    recording = Recording(np.array(values)[:, None], np.zeros(1), TWELVE_LEAD_ELECTRODES, "bsp")
    result = LeadSystem.twelve_lead().record(recording)
    assert result.quantity == "ecg"
    assert result.reference == "wilson"
    return dict(zip(result.sites, result.values[:, 0], strict=True))


@given(potentials)
def test_einthoven_and_goldberger(values):
    lead = leads_of(values)
    assert tuple(lead) == TWELVE_LEADS
    assert lead["I"] + lead["III"] == pytest.approx(lead["II"], abs=1e-12)
    assert lead["aVR"] + lead["aVL"] + lead["aVF"] == pytest.approx(0, abs=1e-12)
    assert lead["aVR"] == pytest.approx(-(lead["I"] + lead["II"]) / 2, abs=1e-12)
    assert lead["aVL"] == pytest.approx((lead["I"] - lead["III"]) / 2, abs=1e-12)
    assert lead["aVF"] == pytest.approx((lead["II"] + lead["III"]) / 2, abs=1e-12)


@given(potentials, st.floats(-100, 100))
def test_a_constant_is_invisible_in_all_twelve_leads(values, constant):
    before, after = leads_of(values), leads_of([v + constant for v in values])
    for name in TWELVE_LEADS:
        assert after[name] == pytest.approx(before[name], abs=1e-10)


def test_polarity_of_the_limb_and_chest_leads():
    values = dict.fromkeys(TWELVE_LEAD_ELECTRODES, 0.0) | {"LA": 1.0}
    lead = leads_of(list(values.values()))
    assert (lead["I"], lead["II"], lead["III"], lead["aVL"]) == (1.0, 0.0, -1.0, 1.0)
    assert lead["V1"] == pytest.approx(-1 / 3)
    values = dict.fromkeys(TWELVE_LEAD_ELECTRODES, 0.0) | {"V4": 1.0}
    assert leads_of(list(values.values()))["V4"] == 1.0


SYSTEMS = (
    LeadSystem.twelve_lead(),
    LeadSystem.frank(),
    LeadSystem.average(tuple("abcd")),
    LeadSystem.wilson(("V1", "RA")),
    LeadSystem.against(("a", "b"), reference="c"),
)


@pytest.mark.parametrize("system", SYSTEMS, ids=repr)
def test_rows_sum_to_zero(system):
    np.testing.assert_allclose(system.weights.sum(axis=1), 0.0, atol=1e-12)


def test_frank_leads_point_left_down_and_back():
    weights = dict(zip(("X", "Y", "Z"), LeadSystem.frank().weights, strict=True))
    at = FRANK_ELECTRODES.index
    assert weights["X"][at("A")] > 0 > weights["X"][at("I")]  # A left, I right
    assert weights["Y"][at("F")] > 0 > weights["Y"][at("H")]  # F foot, H head
    assert weights["Z"][at("M")] > 0 > weights["Z"][at("E")]  # M back, E front
    np.testing.assert_allclose(weights["Z"], [-0.264, -0.374, -0.231, 0.133, 0.736, 0.0, 0.0])


def test_average_removes_the_mean():
    values = np.random.default_rng(0).normal(size=(4, 3))
    recording = Recording(values, np.arange(3.0), tuple("abcd"), "bsp")
    result = LeadSystem.average(("d", "a")).record(recording)
    np.testing.assert_allclose(result.values, values[[3, 0]] - values[[3, 0]].mean(axis=0))
    assert (result.sites, result.reference) == (("d", "a"), "average")


def test_wilson_and_one_electrode_need_their_reference():
    values = np.random.default_rng(0).normal(size=(4, 3))
    recording = Recording(values, np.arange(3.0), ("RA", "LA", "LL", "V1"), "bsp")
    wilson = LeadSystem.wilson(("V1",)).record(recording)
    np.testing.assert_allclose(wilson.values[0], values[3] - values[:3].mean(axis=0))
    against = LeadSystem.against(("V1", "RA"), reference="RA").record(recording)
    np.testing.assert_allclose(against.values, [values[3] - values[0], np.zeros(3)])
    with pytest.raises(InputError, match="no site named LL"):
        LeadSystem.wilson(("V1",)).record(recording.select(("RA", "LA", "V1")))


def test_weights_must_fit_the_names():
    with pytest.raises(InputError, match=r"lead weights must have shape \(1, 2\); got \(2, 1\)"):
        LeadSystem(("I",), ("LA", "RA"), np.ones((2, 1)), "wilson")


def electrode_potentials(seed: int = 3) -> Recording:
    values = np.random.default_rng(seed).standard_normal((9, 20))
    values -= values[:3].mean(axis=0)  # against Wilson's terminal
    return Recording(values, np.arange(20.0), TWELVE_LEAD_ELECTRODES, "bsp", "wilson")


def test_a_twelve_lead_ecg_holds_its_electrode_potentials():
    known = electrode_potentials()
    ecg = LeadSystem.twelve_lead().record(known)
    for leads in (ecg, ecg.select(("V6", "II", "I", "V1", "V2", "V3", "V4", "V5"))):
        found = from_twelve_lead(leads)
        assert (found.sites, found.quantity, found.reference) == (known.sites, "bsp", "wilson")
        assert np.abs(found.values - known.values).max() < 1e-12


@pytest.mark.parametrize("lead", ["III", "aVR", "aVL", "aVF"])
def test_limb_leads_that_disagree_are_refused(lead):
    ecg = LeadSystem.twelve_lead().record(electrode_potentials())
    values = ecg.values.copy()
    values[ecg.sites.index(lead)] *= -1
    with pytest.raises(InputError, match=f"lead {lead} differs by up to .* mV from what I and II make it"):
        from_twelve_lead(ecg.with_values(values))
    rounded = ecg.with_values(np.round(ecg.values, 2))
    assert from_twelve_lead(rounded).sites == TWELVE_LEAD_ELECTRODES
    with pytest.raises(InputError, match="no site named V3"):
        from_twelve_lead(ecg.select([name for name in ecg.sites if name != "V3"]))
