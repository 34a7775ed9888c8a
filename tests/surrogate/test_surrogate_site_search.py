"""The stimulus is found again from a simulated ECG; derivatives match finite differences."""

import numpy as np
import pytest

from einthoven.core import InputError, Recording
from einthoven.forward.lead_field import lead_field
from einthoven.surrogate.neural_eikonal import SlownessNet, corrections
from einthoven.surrogate.site_search import SiteSearch
from surrogate_cases import recipe, sheet


def search(net: SlownessNet | None = None, condition: str = "healthy") -> SiteSearch:
    data = sheet(condition)
    leads = lead_field(data.tissue(), data.electrode_set())
    ecg = Recording(data.ecg, data.ecg_times, leads.out_sites, "egm")
    return SiteSearch(net, data.tissue(), leads, ecg, recipe().membrane)


def test_the_site_is_found():
    told = []
    found = search().find(progress=lambda *a: told.append(a))
    assert np.linalg.norm(found.site - sheet("healthy").sites[0]) < 1.0
    assert abs(found.onset) < 3.0
    assert found.misfit < 0.2
    assert found.activation.shape == (search().tissue.n_nodes,)
    assert told[-1] == ("refining", 3, 3)


def test_gradients_match_finite_differences():
    s = search(SlownessNet.random(0, factor=2, width=8, depth=1), "fibrotic")
    model, x = s._model(), np.array([6.13, 9.31, 1.7])
    here = s._front(x[:2], 1.7)
    begins, fixed = float(here.onsets[0]) - 1.7, corrections(s.net, here)
    value, gradient = s._cost(model, here, fixed, x, begins)
    assert value > 0.01
    for k, step in enumerate((1e-3, 1e-3, 1e-3)):
        ends = [s._cost(model, here, fixed, x + sign * step * np.eye(3)[k], begins)[0] for sign in (1, -1)]
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=1e-4)


def test_leads_must_be_those_of_the_ecg():
    s = search()
    with pytest.raises(InputError, match="the ECG's leads must be those of the operator"):
        SiteSearch(None, s.tissue, s.leads, s.ecg.select(s.ecg.sites[::-1]), s.membrane)
