import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.core import InputError, Recording
from einthoven.metrics import ABSOLUTE, MEAN_REMOVED, MEASURES, remove_mean, score, scoring_reference

SITES = ("h:0", "h:1", "h:2", "h:3")
TIMES = np.arange(6.0)


def recording(seed=0, *, reference="absolute", sites=SITES):
    values = np.random.default_rng(seed).normal(size=(len(sites), len(TIMES)))
    return Recording(values, TIMES, sites, "hsp", reference)


def test_score_holds_every_measure_and_says_its_reference():
    estimate, truth = recording(1), recording(2)
    scores = score(estimate, truth)
    assert list(scores) == [*MEASURES, "sc", "tc", "reference"]
    assert scores["reference"] == "absolute"
    assert scores["relative_error"] == pytest.approx(
        np.linalg.norm(estimate.values - truth.values) / np.linalg.norm(truth.values), rel=1e-14
    )


def test_a_referenced_recording_is_scored_mean_removed():
    estimate, truth = recording(1, reference="average"), recording(2)
    scores = score(estimate, truth)
    e, t = (r.values - r.values.mean(axis=0) for r in (estimate, truth))
    assert scores["reference"] == MEAN_REMOVED
    assert scores["relative_error"] == pytest.approx(np.linalg.norm(e - t) / np.linalg.norm(t), rel=1e-14)
    assert score(estimate, truth, reference=ABSOLUTE)["reference"] == ABSOLUTE


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6), st.sampled_from([0, 1]))
def test_mean_removed_scores_do_not_see_a_constant_added_to_a_frame(offsets, which):
    pair = [recording(1), recording(2)]
    before = score(*pair, reference=MEAN_REMOVED)
    pair[which] = pair[which].with_values(pair[which].values + np.array(offsets))
    after = score(*pair, reference=MEAN_REMOVED)
    for name in (*MEASURES, "sc", "tc"):
        assert after[name] == pytest.approx(before[name], abs=1e-12)


def test_sites_are_matched_by_name_and_the_mean_is_that_of_the_common_ones():
    estimate = recording(1)
    truth = recording(2, sites=("h:2", "h:0"))
    scores = score(estimate, truth, reference=MEAN_REMOVED)
    e = estimate.values[[2, 0]]
    e, t = e - e.mean(axis=0), truth.values - truth.values.mean(axis=0)
    assert scores["rmse"] == pytest.approx(np.sqrt(((e - t) ** 2).mean()), rel=1e-14)


def test_removing_the_mean_leaves_exact_zeros_of_a_constant_frame():
    values = np.full((3, 2), 0.1)
    values[:, 1] = (1.0, 2.0, 3.0)
    removed = remove_mean(Recording(values, TIMES[:2], SITES[:3], "hsp"))
    assert (removed.values[:, 0] == 0).all()
    assert removed.reference == "average"
    # otherwise rounding would decide whether two zero vectors count 1 or a random cosine
    scaled = Recording(values * 0.7, TIMES[:2], SITES[:3], "hsp")
    assert score(scaled, removed, reference=MEAN_REMOVED)["sc"] == pytest.approx(1.0, rel=1e-14)


def test_zero_truth_scores_are_nan_only_where_stated():
    truth = recording(1).with_values(np.zeros((4, 6)))
    scores = score(recording(2), truth)
    assert {k for k, v in scores.items() if isinstance(v, float) and np.isnan(v)} == {
        "relative_error",
        "correlation",
        "rdm",
        "mag",
    }
    assert scores["sc"] == 0.0


def test_scoring_reference_follows_the_leads():
    assert scoring_reference(recording()) == ABSOLUTE
    for name in ("average", "wilson", "skin", "V1"):
        assert scoring_reference(recording(reference=name)) == MEAN_REMOVED


def test_mismatch_is_refused_with_the_sites_or_times():
    truth = recording(2)
    with pytest.raises(InputError, match="sites h:3 of the truth are not in the estimate"):
        score(recording(1, sites=SITES[:3]), truth)
    with pytest.raises(InputError, match=r"times differ: the estimate has 5 frames, 0\.\.4 ms, the truth 6, 0\.\.5 ms"):
        score(truth.window(0.0, 4.0), truth)
    late = Recording(truth.values, np.r_[TIMES[:4], 4.5, 5.5], SITES, "hsp")
    with pytest.raises(InputError, match=r"times differ at frames 4, 5 \(first: 4.5 ms against 4 ms\)"):
        score(late, truth)
    other = Recording(truth.values, TIMES, SITES, "vm")
    with pytest.raises(InputError, match=r"cannot score vm \(transmembrane potential\) against hsp"):
        score(other, truth)
    with pytest.raises(InputError, match="a scoring reference is 'absolute' or 'mean-removed'; got 'wilson'"):
        score(truth, truth, reference="wilson")
