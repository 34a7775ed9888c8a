"""The measured cage in its tank: the figures that imaging has to reach without seeing the truth."""

import numpy as np
import pytest
from inverse_cases import centered_error

from einthoven.core import LeadSystem
from einthoven.datasets import load_case
from einthoven.forward import bem
from einthoven.inverse import make_rule, make_solver


@pytest.fixture(scope="module")
def cage(data_dir):
    """Average-referenced operator and recording, and the measured truth."""
    case = load_case("utah-cage-tank")
    source = case.source()
    average = LeadSystem.average(case.recording.sites).operator()
    operator = average @ bem.transfer(source.surface, case.conductor, case.electrodes)
    return operator, case.recording.average_referenced(), source.truth


@pytest.mark.parametrize(
    ("method", "rule", "error", "correlation"),
    [
        ("tikhonov2", "lcurve", 0.32, 0.948),
        ("tikhonov2", "rgcv", 0.32, 0.948),
        ("tikhonov1", "lcurve", 0.32, 0.948),
        ("mfs", "lcurve", 0.315, 0.950),
        ("greensite", "lcurve", 0.305, 0.953),
        ("tikhonov0", "rgcv", 0.41, 0.910),
    ],
)
def test_cage_is_imaged_without_the_truth(method, rule, error, correlation, cage):
    operator, recording, truth = cage
    found = make_solver(method, make_rule(rule)).reconstruct(operator, recording)
    x, u = (v - v.mean(axis=0) for v in (found.estimate.values, truth.values))
    assert 0.25 < centered_error(found.estimate, truth) <= error
    assert np.corrcoef(x.ravel(), u.ravel())[0, 1] >= correlation
