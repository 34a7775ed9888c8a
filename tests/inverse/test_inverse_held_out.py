"""Noise from held-out leads."""

import numpy as np
import pytest

from einthoven.core import InputError, LeadSystem
from einthoven.inverse import Fixed, Tikhonov
from einthoven.inverse.held_out import held_out_leads
from physics_cases import SIGMA, wave


def test_the_noise_is_found():
    """Sensor noise alone, with an operator that is nearly right: what is found is it and the prediction's error."""
    found = held_out_leads(wave().operator, wave().recording)
    assert SIGMA < found.sigma < 1.35 * SIGMA
    quiet = wave().recording.with_values(wave().operator.apply(wave().truth.values))
    assert held_out_leads(wave().operator, quiet).sigma < 0.4 * SIGMA


def test_a_lead_that_is_wrong_stands_out():
    recording = wave().recording
    values = recording.values.copy()
    values[[7, 19]] = values[[19, 7]]
    by_lead = held_out_leads(wave().operator, recording.with_values(values)).by_lead
    assert set(np.argsort(by_lead)[-2:]) == {7, 19}


def test_every_lead_is_predicted_from_others_only():
    """A lead's own data do not change its prediction: the residual moves by as much as they do."""
    w, solver = wave(), Tikhonov(2, Fixed(0.05))
    plain = held_out_leads(w.operator, w.recording, solver=solver).residual.values
    values = w.recording.values.copy()
    values[5] += 3.0
    moved = held_out_leads(w.operator, w.recording.with_values(values), solver=solver).residual.values
    assert moved[5] - plain[5] == pytest.approx(np.full(values.shape[1], 3.0), abs=1e-8)


def test_a_constant_in_referenced_leads_changes_nothing():
    w, average = wave(), LeadSystem.average(wave().operator.out_sites)
    operator, recording = average.operator() @ w.operator, w.recording.average_referenced()
    plain = held_out_leads(operator, recording)
    shifted = held_out_leads(operator, recording.with_values(recording.values + np.linspace(0, 50, recording.n_times)))
    assert np.allclose(plain.residual.values, shifted.residual.values, atol=1e-8)
    assert plain.signal == pytest.approx(shifted.signal)
    assert SIGMA < plain.sigma < 1.35 * SIGMA


@pytest.mark.parametrize("groups", [1, 65])
def test_groups_must_be_possible(groups):
    with pytest.raises(InputError, match=f"from 2 to 64 groups; got 64 leads and {groups} groups"):
        held_out_leads(wave().operator, wave().recording, groups=groups)


def test_few_leads_are_refused():
    names = wave().recording.sites[:7]
    with pytest.raises(InputError, match="at least 8 leads"):
        held_out_leads(wave().operator.select(names), wave().recording.select(names), groups=4)
