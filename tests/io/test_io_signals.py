"""WFDB, EDF and BDF: units, rounding to the stored bits, what is left out, messages."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.io.registry import read, write


def recording(n: int = 500, rate_hz: float = 500.0, start: float = -20.0) -> Recording:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(4, n)) * np.array([[0.05], [1.0], [80.0], [0.0]]) + np.array([[0], [0.5], [-30], [0.25]])
    times = start + np.arange(n) * (1000.0 / rate_hz)
    return Recording(values, times, ("V1", "aVR", "heart:12", "flat"), "hsp", "wilson")


@pytest.mark.parametrize(("suffix", "bits"), [(".hea", 16), (".edf", 16), (".bdf", 24)])
@pytest.mark.parametrize(("n", "rate_hz"), [(500, 500.0), (510, 1000.0), (1639, 1000.0), (777, 2048.0), (96, 256.0)])
def test_round_trip_within_the_stored_bits(tmp_path, suffix, bits, n, rate_hz):
    made = recording(n, rate_hz)
    if suffix != ".hea" and (n, rate_hz) == (777, 2048.0):
        with pytest.raises(InputError, match=r"777 samples at 2048 Hz do not divide into records"):
            write(made, tmp_path / f"r{suffix}")
        assert list(tmp_path.iterdir()) == []
        return
    write(made, tmp_path / f"r{suffix}")
    found = read(tmp_path / f"r{suffix}").time_series
    assert found is not None
    assert (found.sites, found.quantity, found.reference) == (made.sites, "hsp", "wilson")
    np.testing.assert_allclose(found.times, made.times, rtol=0, atol=1e-9)
    step = (np.ptp(made.values, axis=1, keepdims=True) + 4e-4) / 2 ** (bits - 0.1)
    assert (np.abs(found.values - made.values) <= step).all()
    assert np.abs(found.values - made.values).max() > 0  # rounding is there: the bound can fail


def test_wfdb_writes_two_files_and_checks_the_name(tmp_path):
    write(recording(), tmp_path / "rec_1.hea")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rec_1.dat", "rec_1.hea"]
    with pytest.raises(InputError, match=r"letters, digits, - and _; rename 'my record'"):
        write(recording(), tmp_path / "my record.hea")


def test_wfdb_units_missing_files_and_other_signals(tmp_path):
    np.array([[100, 5, 7], [200, 6, 8]], dtype="<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text(
        "r 4 250 2\nr.dat 16 10/uV 16 0 0 0 0 V1\nr.dat 16 1/V 16 0 0 0 0 V2\nr.dat 16 1/mmHg 16 0 0 0 0 ABP\n"
        "r.xyz 16 1000/mV 16 0 0 0 0 vx\n# age: 81\n"
    )
    found = read(tmp_path / "r.hea")
    assert found.time_series is not None
    assert found.time_series.sites == ("V1", "V2")
    np.testing.assert_allclose(found.time_series.values, [[0.01, 0.02], [5000, 6000]], rtol=1e-12)
    assert np.array_equal(found.time_series.times, [0, 4])
    assert found.info["missing"] == "r.xyz is not there, so the leads vx were not read."
    assert found.info["left out"] == "not potentials: ABP (mmHg)"
    assert found.info["comments"] == "age: 81"
    (tmp_path / "r.dat").unlink()
    with pytest.raises(FileFormatError, match=r"no potentials can be read; missing files: r.dat, r.xyz"):
        read(tmp_path / "r.hea")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("# nothing\n", r"line 1: is not a WFDB header; it has no record line"),
        ("hello\n", r"line 1: is not a WFDB header: NAME SIGNALS RATE SAMPLES expected"),
        ("r/3 2 500 1000\nr_1 500\nr_2 500\n", r"line 1: is a record of several segments"),
        ("r 2 500 4\nr.dat 16 200/mV\n", r"line 2: promises 2 signals and describes 1"),
        ("r 1 500 4\n\nr.dat sixteen\n", r"line 3: a signal line must be FILE FORMAT GAIN"),
        ("r 1 500 4\nr.dat 16 200/mV\n", r"its signals cannot be read: .*Is the file cut off or altered"),
        ("r 1 500 1\nr.dat 16 200/mV 16 0 0 0 0 A\n", r"sample 0: leads A have samples marked as invalid"),
        ("r 2 500 1\ns.dat 16 200/mV 16 0 1 0 0 A\ns.dat 16 200/mV 16 0 1 0 0 A\n", r"unique names; A occur"),
    ],
)
def test_broken_wfdb(tmp_path, text, match):
    np.array([-32768, 1], dtype="<i2").tofile(tmp_path / "r.dat")
    np.array([5, 1], dtype="<i2").tofile(tmp_path / "s.dat")
    (tmp_path / "r.hea").write_text(text)
    with pytest.raises(FileFormatError, match=match) as caught:
        read(tmp_path / "r.hea")
    assert str(caught.value).startswith(str(tmp_path / "r.hea"))


def edf_signal(values, rate, label, unit, *, kind="edf"):
    import edfio

    make = edfio.BdfSignal if kind == "bdf" else edfio.EdfSignal
    return make(np.asarray(values, dtype=float), rate, label=label, physical_dimension=unit)


def test_edf_units_annotations_and_other_signals(tmp_path):
    import edfio

    wave = np.sin(np.arange(1000) / 9) * 100
    signals = [
        edf_signal(wave, 500, "V1", "uV"),
        edf_signal(wave / 100, 500, "V2", "mV"),
        edf_signal(wave[:200], 100, "Resp", "Ohm"),
    ]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(0.5, None, "pacing on")]).write(tmp_path / "r.edf")
    found = read(tmp_path / "r.edf")
    series = found.time_series
    assert series is not None
    assert series.sites == ("V1", "V2")
    assert (series.quantity, series.reference) == ("ecg", "recorder")
    np.testing.assert_allclose(series.values, [wave / 1000, wave / 100], atol=1.01 / 65535)
    assert found.info["annotations"] == "500 ms: pacing on"
    assert found.info["left out"] == "not potentials: Resp (Ohm)"
    assert found.info["rate_hz"] == "500"


def test_bdf_leaves_the_status_out(tmp_path):
    import edfio

    wave = np.arange(512.0)
    signals = [edf_signal(wave, 256, "A1", "uV", kind="bdf"), edf_signal(wave, 256, "Status", "Boolean", kind="bdf")]
    edfio.Bdf(signals).write(tmp_path / "r.bdf")
    found = read(tmp_path / "r.bdf")
    assert found.time_series is not None
    np.testing.assert_allclose(found.time_series.values[0], wave / 1000, atol=512e-3 / 2**23)
    assert found.info["left out"] == "not potentials: Status (Boolean)"


def test_edf_of_different_rates(tmp_path):
    import edfio

    signals = [edf_signal(np.arange(1000), 500, "V1", "uV"), edf_signal(np.arange(500), 250, "V2", "uV")]
    edfio.Edf(signals).write(tmp_path / "r.edf")
    with pytest.raises(FileFormatError, match=r"different sampling rates \(V1 500 Hz, V2 250 Hz\); export them"):
        read(tmp_path / "r.edf")
    edfio.Edf([edf_signal(np.arange(500), 250, "Resp", "Ohm")]).write(tmp_path / "o.edf")
    with pytest.raises(FileFormatError, match=r"holds no potentials; it has Resp \(Ohm\)"):
        read(tmp_path / "o.edf")


def test_edf_with_gaps(tmp_path):
    write(recording(10000), tmp_path / "r.edf")
    raw = (tmp_path / "r.edf").read_bytes()
    assert raw.count(b"+10\x14\x14") == 1
    later = raw.replace(b"+10\x14\x14", b"+15\x14\x14")
    (tmp_path / "r.edf").write_bytes(later[:192] + b"EDF+D" + later[197:])
    with pytest.raises(FileFormatError, match="has gaps in time"):
        read(tmp_path / "r.edf")


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda b: b[:100], r"byte 184: the number of header bytes must be a whole number; got ''"),
        (lambda b: b[:184] + b"300     " + b[192:], r"byte 184: 5 signals need a header of 1536 bytes; it says 300"),
        (lambda b: b[:236] + b"x" + b[237:], r"byte 236: the number of records must be a whole number"),
        (lambda b: b[:236] + b"99999999" + b[244:], r"\(99999999 records\), the file has"),
        (lambda b: b[:-7], r"the header promises \d+ bytes \(1 records\), the file has \d+. Is it cut off"),
        (lambda b: b + b"zz", r"the header promises"),
        (lambda b: b[: 256 + 216 * 5] + b"0       " + b[256 + 216 * 5 + 8 :], r"byte 1336: the samples per record"),
    ],
)
def test_damaged_edf(tmp_path, suffix, damage, match):
    path = tmp_path / f"r{suffix}"
    write(recording(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileFormatError, match=match) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_what_these_formats_cannot_hold(tmp_path):
    uneven = Recording(np.zeros((1, 3)), np.array([0.0, 1.0, 3.0]), ("a",), "bsp")
    single = Recording(np.zeros((1, 1)), np.zeros(1), ("a",), "bsp")
    for suffix in (".hea", ".edf", ".bdf"):
        with pytest.raises(InputError, match=r"equally spaced samples; the times step by 1 to 2 ms"):
            write(uneven, tmp_path / f"r{suffix}")
        with pytest.raises(InputError, match=r"needs a sampling rate; one frame has none"):
            write(single, tmp_path / f"r{suffix}")
        with pytest.raises(InputError, match=r"holds a recording and nothing else"):
            write(np.zeros((2, 2)), tmp_path / f"r{suffix}")
    long = Recording(np.zeros((1, 4)), np.arange(4.0), ("left ventricle:1017",), "hsp")
    with pytest.raises(InputError, match=r"EDF have at most 16 plain characters; left ventricle:1017 do not"):
        write(long, tmp_path / "r.edf")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".hea", ".edf", ".bdf"]))
def test_fuzzed_headers_end_in_a_sentence(tmp_path, data, suffix):
    path = tmp_path / f"f{suffix}"
    write(recording(60), path)
    raw = path.read_bytes()
    start = data.draw(st.integers(0, min(len(raw), 1600)))
    stop = data.draw(st.integers(start, min(len(raw), start + 5)))
    path.write_bytes(raw[:start] + data.draw(st.binary(max_size=5)) + raw[stop:])
    message = ""
    try:
        read(path)
    except InputError as error:
        message = str(error)
    assert not message or message.startswith(str(path))
    assert "\n" not in message


def test_ptb_record(data_dir):
    found = read(data_dir / "ptb_12lead" / "s0010_re.hea")
    series = found.time_series
    assert series is not None
    raw = np.fromfile(data_dir / "ptb_12lead" / "s0010_re.dat", "<i2").reshape(-1, 12).T / 2000
    assert np.array_equal(series.values, raw)
    assert series.sites == ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
    assert np.array_equal(series.times, np.arange(38400))
    assert found.info["missing"] == "s0010_re.xyz is not there, so the leads vx, vy, vz were not read."
    assert re.search(r"age: 81", found.info["comments"])
    # Einthoven's law, to the rounding of the 16 bits
    assert np.abs(series.values[0] + series.values[2] - series.values[1]).max() <= 2 / 2000 + 1e-12
