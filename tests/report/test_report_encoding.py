"""Arrays and text of the page: quantization, JSON inside a script element."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from einthoven.report.encoding import bits, deflated, packed, plain, quantized, script_json, unpacked

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=20), elements=VALUES))
def test_quantization_error_is_below_a_thousandth_percent_of_the_range(values):
    back = unpacked(quantized(values))
    assert back.shape == values.shape
    assert np.abs(back - values).max() <= 1e-5 * np.ptp(values) + 1e-12 * np.abs(values).max()


def test_quantized_keeps_missing_values_and_the_extremes():
    values = np.array([[-3.0, np.nan], [5.0, np.inf]])
    back = unpacked(quantized(values))
    np.testing.assert_array_equal(np.isnan(back), [[False, True], [False, True]])
    np.testing.assert_allclose(back[:, 0], [-3.0, 5.0], rtol=1e-12)


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.full((2, 3), 7.5), np.full((1, 2), np.nan)])
def test_quantized_constant(values):
    np.testing.assert_array_equal(unpacked(quantized(values)), values)


def test_packed_types():
    assert packed(np.arange(3))["dtype"] == "int32"
    np.testing.assert_array_equal(unpacked(packed(np.array([0.5, np.nan]))), np.array([0.5, np.nan], dtype=np.float32))


@given(st.text())
def test_script_json_is_inert_and_true(text):
    encoded = script_json({"name": text})
    assert json.loads(encoded) == {"name": text}
    assert encoded.isascii()
    assert not set("<>&") & set(encoded)


def test_plain_knows_numpy_and_files(tmp_path):
    given_ = {1: np.float64(2.5), "a": (np.int64(3), np.bool_(True)), "p": tmp_path, "n": float("nan"), "x": np.eye(2)}
    found = plain(given_)
    assert found == {"1": 2.5, "a": [3, True], "p": str(tmp_path), "n": None, "x": [[1.0, 0.0], [0.0, 1.0]]}
    json.dumps(found, allow_nan=False)


@given(
    arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=12), elements=VALUES),
    st.sampled_from([254, 65534]),
)
def test_deflated_rows_come_back_within_half_a_step(values, levels):
    back = unpacked(deflated(values, levels=levels))
    assert back.shape == values.shape
    assert np.abs(back - values).max() <= 0.501 / levels * np.ptp(values) + 1e-12 * np.abs(values).max()


def test_deflated_keeps_missing_values_between_extremes():
    values = np.array([[-3.0, np.nan], [np.nan, 5.0], [5.0, -3.0]], dtype=np.float32)
    np.testing.assert_allclose(unpacked(deflated(values, levels=65534)), values, rtol=1e-6)


@pytest.mark.parametrize("offset", [1000.0, -1000.0])
@pytest.mark.parametrize("pack", [quantized, lambda values: deflated(values, levels=65534)])
def test_steps_are_those_of_the_range_not_of_the_size(pack, offset):
    values = offset + np.random.default_rng(2).uniform(0, 1, (20, 30))
    assert np.abs(unpacked(pack(values)) - values).max() < 8e-6


def test_what_rests_takes_no_room():
    still = np.tile(np.random.default_rng(0).normal(size=4000), (50, 1))
    assert len(deflated(still)["data"]) < 0.05 * len(quantized(still)["data"])


@given(arrays(np.bool_, array_shapes(max_dims=3, max_side=9)))
def test_bits_come_back(mask):
    found = unpacked(bits(mask))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)
