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


def test_the_site_of_its_own_ecg_is_found():
    """On so small a sheet with three electrodes the simulated ECG is explained by more than one site."""
    from dataclasses import replace

    told, site = [], np.array([5.3, 10.8])
    s = search()
    own = s._model().ecg(s._at(s._model(), site, 2.0).activation)
    found = replace(s, ecg=own).find(progress=lambda *a: told.append(a))
    assert np.linalg.norm(found.site - site) < 0.2
    assert found.onset == pytest.approx(2.0, abs=0.3)
    assert found.misfit < 0.02
    assert found.activation.shape == (s.tissue.n_nodes,)
    assert told[-1] == ("refining", 3, 3)


def test_gradients_match_finite_differences():
    s = search(SlownessNet.random(0, factor=2, width=8, depth=1), "fibrotic")
    model, x = s._model(), np.array([6.13, 9.31, 1.7])
    here = s._front(x[:2], 1.7)
    begins, fixed = float(here.onsets[0]) - 1.7, corrections(s.net, here)
    value, gradient = s._cost(model, here, fixed, x, begins)
    assert value > 0.01
    step = 1e-4  # larger ones change which nodes start with the time of the straight way
    for k in range(3):
        ends = [s._cost(model, here, fixed, x + sign * step * np.eye(3)[k], begins)[0] for sign in (1, -1)]
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.01)


def test_leads_must_be_those_of_the_ecg():
    s = search()
    with pytest.raises(InputError, match="the ECG's leads must be those of the operator"):
        SiteSearch(None, s.tissue, s.leads, s.ecg.select(s.ecg.sites[::-1]), s.membrane)
