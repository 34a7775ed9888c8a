"""What is unlike the training data is flagged, with the reason; bounds of errors hold as often as they say."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.surrogate.limits import Limits, movie_statistics, sheet_error, texture_numbers, tissue_statistics
from surrogate_cases import sheet


def test_numbers_of_a_tissue():
    found = tissue_statistics(sheet())
    assert found["density of holes"] == pytest.approx(1 - sheet().conducting.mean())
    assert found["anisotropy"] == 0
    assert found["stimuli"] == 1
    mask = np.ones((20, 20), bool)
    mask[4:8, 4:10] = False
    mask[15, 15] = False
    data = replace(sheet(), conducting=mask, diffusivity=np.where(mask, 0.1, np.nan))
    found = tissue_statistics(data)
    assert found["rim of holes per area (1/mm)"] == pytest.approx((20 + 4) * 0.5 / 100)
    assert found["holes of one or two cells per area (1/mm2)"] == pytest.approx(1 / 100)
    assert found["mean log D"] == pytest.approx(np.log(0.1))
    assert found["steepness of log D (1/mm)"] == pytest.approx(0, abs=1e-12)


def test_numbers_of_a_movie():
    found = movie_statistics(sheet("healthy"), 1.0)
    assert found["activations per pixel"] == 1
    assert found["active at the beginning"] == 0
    assert 0.8 < found["mean delay between pixels (ms/mm)"] < 2.0
    twice = replace(
        sheet("healthy"), movie=np.concatenate([sheet("healthy").movie] * 2), movie_times=np.arange(202) * 4.0
    )
    assert movie_statistics(twice, 1.0)["activations per pixel"] == 2


def fitted(n: int = 400, seed: int = 0) -> tuple[Limits, np.random.Generator]:
    rng = np.random.default_rng(seed)
    rows = [dict(zip("abc", x, strict=True)) for x in rng.normal([0, 5, 2], [1, 1, 0.5], (n, 3))]
    errors = np.array([0.01 * np.exp(0.5 * r["a"] + 0.2 * rng.standard_normal()) for r in rows[: n // 4]])
    return Limits.fit(rows, rows[: n // 4], errors, ["one"] * (n // 4)), rng


def test_the_familiar_passes_and_the_strange_is_flagged():
    limits, rng = fitted()
    passed = [
        limits.judge(dict(zip("abc", x, strict=True))).familiar for x in rng.normal([0, 5, 2], [1, 1, 0.5], (200, 3))
    ]
    assert np.mean(passed) > 0.95
    strange = limits.judge({"a": 0.0, "b": 14.0, "c": 2.0})
    assert not strange.familiar
    assert strange.distance > 1
    assert strange.warning is not None
    assert strange.warning.startswith("unlike the training data (distance")
    assert "b is 14, " in strange.warning
    assert "in the most similar known sheet" in strange.warning
    assert "c is" not in strange.warning
    assert limits.judge({"a": 0.0, "b": 5.0, "c": 2.0}).warning is None


def test_a_gap_between_known_kinds_is_strange():
    """Two kinds of known sheets: what lies between them is like neither, though it is like their mean."""
    rng = np.random.default_rng(0)
    rows = [{"a": float(c + 0.1 * rng.standard_normal()), "b": 0.1 * float(rng.standard_normal())}
            for c in (-3.0, 3.0) for _ in range(100)]  # fmt: skip
    limits = Limits.fit(rows, rows, np.ones(len(rows)), ["one"] * len(rows))
    assert limits.judge({"a": 3.0, "b": 0.0}).familiar
    assert not limits.judge({"a": 0.0, "b": 0.0}).familiar


def test_numbers_of_textures():
    stripes = np.zeros((40, 40))
    stripes[:, 5:7] = stripes[:, 20:22] = 1.0
    blobs = np.zeros((40, 40))
    blobs[3:10, 3:10] = blobs[25:33, 20:28] = 1.0
    salt = (np.random.default_rng(0).random((40, 40)) < 0.1).astype(float)
    long, round_, single = (texture_numbers(x, 0.5) for x in (stripes, blobs, salt))
    assert long["elongation of holes (log)"] > 4
    assert round_["elongation of holes (log)"] == pytest.approx(0, abs=0.01)
    assert round_["size of holes (log of mm2)"] == pytest.approx((49 * np.log(49 / 4) + 64 * np.log(16)) / 113)
    assert abs(single["correlation of holes 0.5 mm apart"]) < 0.1
    assert round_["correlation of holes 0.5 mm apart"] > 0.8
    assert texture_numbers(np.zeros((8, 8)), 0.5)["size of holes (log of mm2)"] == pytest.approx(2 * np.log(0.5))


def test_bounds_hold_nine_times_in_ten():
    limits, rng = fitted()
    below = []
    for _ in range(1000):
        a, b, c = rng.normal([0, 5, 2], [1, 1, 0.5])
        error = 0.01 * np.exp(0.5 * a + 0.2 * rng.standard_normal())
        below.append(error <= limits.bound({"a": a, "b": b, "c": c}))
    assert 0.85 < np.mean(below) < 0.95
    assert limits.bound({"a": 2.0, "b": 5.0, "c": 2.0}) > 1.8 * limits.bound({"a": 0.0, "b": 5.0, "c": 2.0})


def test_bounds_hold_within_a_kind_that_its_numbers_do_not_tell():
    """One of ten sheets is of a kind with twice the error: a bound for all sheets together would fail most of those."""
    rng = np.random.default_rng(1)
    draws = [(i, rng.standard_normal(), rng.random() < 0.1) for i in range(400)]
    rows = [{"a": x} for _, x, _ in draws]
    errors = np.array([0.01 * np.exp(0.5 * x + 0.2 * rng.standard_normal()) * (2 if odd else 1) for _, x, odd in draws])
    kinds = ["odd" if odd else "plain" for *_, odd in draws]
    limits = Limits.fit(rows, rows, errors, kinds)
    below = {kind: [] for kind in ("odd", "plain")}
    for e, row, kind in zip(errors, rows, kinds, strict=True):
        below[kind].append(e <= limits.bound(row))
    assert np.mean(below["odd"]) > 0.85
    assert np.mean(below["plain"]) > 0.98
    together = Limits.fit(rows, rows, errors, ["one"] * 400)
    assert np.mean([e <= together.bound(r) for e, r, k in zip(errors, rows, kinds, strict=True) if k == "odd"]) < 0.5


def test_limits_are_stored_as_plain_numbers():
    import json

    limits, _ = fitted()
    back = Limits.of_card(json.loads(json.dumps(limits.as_card())))
    numbers = {"a": 0.3, "b": 9.0, "c": 1.0}
    assert back.judge(numbers) == limits.judge(numbers)
    assert back.bound(numbers) == limits.bound(numbers)


def test_a_card_of_another_version_is_told():
    limits, _ = fitted()
    card = limits.as_card()
    del card["known"]
    with pytest.raises(InputError, match=r"lacks limits\.known: of another version\? Train anew"):
        Limits.of_card(card)


def test_errors_of_a_sheet():
    true = np.array([[0.0, 2.0], [5.0, 7.0]])
    assert sheet_error(true, true) == 0
    assert sheet_error(true + 1, true) == pytest.approx(1)
