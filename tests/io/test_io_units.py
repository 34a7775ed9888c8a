"""Units, quantities and references: what a file states wins, what it leaves open is asked for."""

import numpy as np
import pytest

from einthoven.core import InputError, Recording
from einthoven.io import read, write


def beat(n_times: int = 50, *, quantity="hsp", reference="average") -> Recording:
    values = np.random.default_rng(2).normal(size=(4, n_times))
    return Recording(values - values.mean(axis=0), np.arange(float(n_times)), tuple("abcd"), quantity, reference)


def test_a_file_keeps_its_own_quantity_and_reference(tmp_path):
    write(beat(), tmp_path / "hsp.csv")
    found = read(tmp_path / "hsp.csv").recording()
    assert (found.quantity, found.reference) == ("hsp", "average")
    assert read(tmp_path / "hsp.csv").recording(quantity="egm").quantity == "egm"


def test_a_unit_is_applied_where_the_file_states_none(tmp_path):
    (tmp_path / "plain.csv").write_text("time_ms,a,b\n0,1000,2000\n1,500,0\n")
    content = read(tmp_path / "plain.csv")
    assert not content.states_unit
    np.testing.assert_allclose(content.recording(unit="uV").values, [[1.0, 0.5], [2.0, 0.0]])
    np.testing.assert_allclose(content.recording().values, [[1000.0, 500.0], [2000.0, 0.0]])


def test_a_stated_unit_cannot_be_overruled(tmp_path):
    write(beat(), tmp_path / "stated.csv")
    content = read(tmp_path / "stated.csv")
    assert content.states_unit
    np.testing.assert_array_equal(content.recording(unit="mV").values, beat().values)
    with pytest.raises(InputError, match="states its unit, mV; leave unit out"):
        content.recording(unit="uV")
    with pytest.raises(InputError, match="unit of potential must be one of"):
        content.recording(unit="furlong")


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_long_clinical_files_come_back(tmp_path, ending):
    original = beat(38400, quantity="bsp")  # 9.6 s records: sums of their onsets are not exact in floating point
    write(original, tmp_path / f"long.{ending}")
    found = read(tmp_path / f"long.{ending}").recording()
    assert found.n_times == 38400
    step = np.ptp(original.values) / 2**15
    assert np.abs(found.values - original.values).max() < step
