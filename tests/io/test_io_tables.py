"""CSV and TSV: what is told from header and columns, exact round trips, messages with lines."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from einthoven.core import FileFormatError, InputError, Recording
from einthoven.geometry.generators import sphere
from einthoven.io import tables
from einthoven.io.content import Content
from einthoven.io.registry import read, write


def content(tmp_path, text: str, name: str = "t.csv") -> Content:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n1.5,2,3\n4,5,-6\n",
        "1.5,2,3\n4,5,-6\n",
        "1.5;2;3\n4;5;-6\n",
        "1.5 2 3\n  4 5   -6\n",
        "1.5\t2\t3\n\n# note\n4\t5\t-6\n",
        "\ufeffX, Y, Z\n 1.5, 2, 3\n4, 5, -6",
        "z,x,y\n3,1.5,2\n-6,4,5\n",
        "1.5,2,3,\n4,5,-6,\n",
    ],
)
def test_points(tmp_path, text):
    assert np.array_equal(content(tmp_path, text).point_set(), [[1.5, 2, 3], [4, 5, -6]])


def test_named_points_with_a_unit(tmp_path):
    found = content(tmp_path, 'note,name,x [cm],y [cm],z [cm]\na,V1,1,2,3\nb,"V2, left",4,5,6\n')
    assert found.names["points"] == ("V1", "V2, left")
    assert found.info["length_unit"] == "cm"
    found = content(tmp_path, "RA,1,2,3.5\nLA,4,5,6.5\n")
    assert found.names["points"] == ("RA", "LA")
    with pytest.raises(FileFormatError, match=r"t.csv, line 1: x, y and z have different units: cm, mm"):
        content(tmp_path, "x_mm,y_mm,z_cm\n1,2,3\n")


def test_triangles(tmp_path):
    found = content(tmp_path, "0,1,2\n2,1,3\n")
    assert found.array("triangles").tolist() == [[0, 1, 2], [2, 1, 3]]
    assert found.info["first_index"] == "0"
    found = content(tmp_path, "a,b,c\n1,2,3\n3,2,4\n")
    assert found.info["first_index"].startswith("unknown: 0 does not occur")
    with pytest.raises(FileFormatError, match=r"line 3: node numbers must be whole and not negative"):
        content(tmp_path, "i,j,k\n1,2,3\n1,2.5,3\n")


def test_first_index_is_told_or_asked_for(tmp_path):
    stored, path = np.array([[1, 2, 3], [3, 2, 4]]), tmp_path / "t.csv"
    assert tables.triangles_from(stored, 4, path=path).tolist() == [[0, 1, 2], [2, 1, 3]]
    assert tables.triangles_from(stored - 1, 4, path=path).tolist() == [[0, 1, 2], [2, 1, 3]]
    with pytest.raises(
        FileFormatError, match=r"node numbers 1..4 fit 6 nodes counted from 0 and from 1; state first_ind"
    ):
        tables.triangles_from(stored, 6, path=path)
    assert tables.triangles_from(stored, 6, path=path, first_index=0).tolist() == stored.tolist()
    with pytest.raises(FileFormatError, match=r"do not fit 3 nodes counted from 1. Do points and triangles belong"):
        tables.triangles_from(stored, 3, path=path)
    with pytest.raises(FileFormatError, match=r"do not fit 4 nodes counted from 1"):
        tables.triangles_from(stored - 1, 4, path=path, first_index=1)


def test_recordings_with_sites_as_columns(tmp_path):
    found = content(tmp_path, "time_ms,V1,V2\n0,1,10\n2,3,30\n")
    series = found.time_series
    assert series is not None
    assert series.sites == ("V1", "V2")
    assert np.array_equal(series.values, [[1, 3], [10, 30]])
    assert np.array_equal(series.times, [0, 2])
    assert found.info["unit"] == "not stated, taken as mV"
    series = content(tmp_path, "t [s];V1 [uV];V2 [uV]\n0;1000;-1000\n0.5;2000;0\n").time_series
    assert series is not None
    assert np.array_equal(series.values, [[1, 2], [-1, 0]])
    assert np.array_equal(series.times, [0, 500])
    found = content(tmp_path, "V1,V2\n1,10\n2,20\n3,30\n")
    assert found.time_series is None
    assert np.array_equal(found.array(), [[1, 2, 3], [10, 20, 30]])
    assert found.recording(rate_hz=500.0).sites == ("V1", "V2")


def test_recordings_with_sites_as_rows(tmp_path):
    found = content(tmp_path, "V1,1,2,3,4\nV2,10,20,30,40\n")
    assert found.recording(rate_hz=1000.0).sites == ("V1", "V2")
    assert np.array_equal(found.array(), [[1, 2, 3, 4], [10, 20, 30, 40]])
    series = content(tmp_path, "# time_unit: ms\nsite,0,2,4\nV1,1,2,3\nV2,10,20,30\n").time_series
    assert series is not None
    assert series.times.tolist() == [0, 2, 4]


def test_numbers_only_stay_as_stored(tmp_path):
    assert np.array_equal(content(tmp_path, "1 2 3 4\n5 6 7 8\n").array(), [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert content(tmp_path, "1\n2\n").array().shape == (2, 1)
    assert content(tmp_path, "potential\n1.5\n2\n").array().tolist() == [[1.5, 2.0]]


BROKEN = [
    ("", "the file is empty"),
    ("\n\n# only\n", "holds no values"),
    ("x,y,z\n", "line 1: has a header but no values below it"),
    ("x,y,z\n1,2,3\n4,5\n6,7,8\n", "line 3: has 2 cells where most lines have 3"),
    ("1,2,3,4\n1,2,3,4\n1,2,3,4,5\n", "line 3: has 5 cells where most lines have 4"),
    ("x,y,z\n1.0,2,3\n\n4,five,6\n", "line 4: 'five' in column 2 is not a number"),
    ("x,y,z\n1.0,2,3\n4,,6\n", "line 3: column 2 is empty"),
    ("1.5;2;3\n1,5;2;3\n", r"line 2: decimal comma in '1,5'; write decimals with a point \(1\.5\)"),
    ("time,V1\n0,1\n1,2\n", "line 1: the time column 'time' does not say its unit; name it time_ms or time_s"),
    ("time_ms,V1\n0,1\n0,2\n", "line 3: times must increase from sample to sample"),
    ("time_ms,V1,V1\n0,1,2\n1,2,3\n", "the sites of a recording must have unique names; V1 occur"),
    ("time_ms,V1\n0,1\n1,nan\n", "V1 hold NaN or infinity"),
    ("time_ms\n0\n1\n", "line 1: has a time column but no site beside it"),
    ("time_ms,A [mV],B [uV]\n0,1,2\n1,2,3\n", "line 1: columns have different units: mV, uV"),
    ("# unit: furlong\ntime_ms,V1\n0,1\n1,2\n", "unit of potential must be one of"),
    ("# quantity: love\ntime_ms,V1\n0,1\n1,2\n", "quantity must be one of"),
    ("1.5,2,abc\n1,2,3\n", "line 1: 'abc' in column 3 is not a number"),
    ("V1,abc,2\nV2,1,2\n", "line 2: 'V2' in column 1 is not a number"),
    ("V1,1,2\n3,1,2\n", "line 2: the first column holds names above and the number 3 here"),
    ("V1,1,2.5,2\n3,1,2,2\n", "line 2: the first column holds names above and the number 3 here"),
    ('name,x,y,z\n"a\n1",1,2,3\n', "quoted name runs over several lines|cells where most lines"),
]


@pytest.mark.parametrize(("text", "match"), BROKEN, ids=lambda p: p[:25])
def test_broken_tables_name_the_line(tmp_path, text, match):
    with pytest.raises(FileFormatError, match=match) as caught:
        content(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "t.csv"))


def test_binary_and_other_encodings(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"1,2\n3,\0\n")
    with pytest.raises(FileFormatError, match=r"byte 6: is not a text table; it holds a zero byte"):
        read(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes("µ,1\n".encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"byte 0: is not text in UTF-8"):
        read(tmp_path / "t.csv")
    with pytest.raises(FileFormatError, match=r"cannot be read: No such file"):
        tables.read_table(tmp_path / "no.csv")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
NAMES = st.text(min_size=1, max_size=6).filter(
    lambda s: s.isprintable() and s == s.strip() and not s.startswith(("#", '"')) and not s.endswith(("]", ")"))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".csv", ".tsv"]))
def test_recordings_come_back_exactly(tmp_path, data, suffix):
    sites = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    n = data.draw(st.integers(1, 4))
    times = np.cumsum(data.draw(arrays(float, n, elements=st.floats(1e-3, 1e3))))
    values = data.draw(arrays(float, (len(sites), n), elements=NUMBERS))
    recording = Recording(values, times, tuple(sites), "egm", "RA")
    write(recording, tmp_path / f"r{suffix}")
    found = read(tmp_path / f"r{suffix}").time_series
    assert found is not None
    assert np.array_equal(found.values, recording.values)
    assert np.array_equal(found.times, recording.times)
    assert (found.sites, found.quantity, found.reference) == (recording.sites, "egm", "RA")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=arrays(float, st.tuples(st.integers(1, 5), st.just(3)), elements=NUMBERS), named=st.booleans())
def test_points_come_back_exactly(tmp_path, points, named):
    names = tuple(f"e, {i}" for i in range(len(points))) if named else None
    tables.write_points(tmp_path / "p.csv", points, names=names)
    found = read(tmp_path / "p.csv")
    assert np.array_equal(found.point_set(), points)
    assert found.names.get("points") == names
    assert found.info["length_unit"] == "mm"


def test_triangles_and_matrices_come_back(tmp_path):
    ball = sphere(1.0, subdivisions=1)
    tables.write_triangles(tmp_path / "t.csv", ball.triangles)
    found = read(tmp_path / "t.csv")
    assert np.array_equal(found.array("triangles"), ball.triangles)
    write(found, tmp_path / "again.csv")
    assert np.array_equal(read(tmp_path / "again.csv").array("triangles"), ball.triangles)
    matrix = np.random.default_rng(0).normal(size=(3, 5))
    write(matrix, tmp_path / "m.csv")
    assert np.array_equal(read(tmp_path / "m.csv").array(), matrix)


def test_what_a_table_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="a table holds points or triangles but not a surface"):
        write(sphere(1.0, subdivisions=0), tmp_path / "s.csv")
    both = Content(tmp_path, "memory", points={"a": np.zeros((1, 3))}, arrays={"b": np.zeros((2, 2))})
    with pytest.raises(InputError, match="a table holds one recording, point set or array"):
        write(both, tmp_path / "s.csv")
    for name in ("a\nb", " a", "#a", "a (uV)"):
        with pytest.raises(InputError, match="names in a table are written on one line"):
            write(Recording(np.zeros((1, 1)), np.zeros(1), (name,), "bsp"), tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tables_end_in_a_sentence(tmp_path, data):
    raw = data.draw(
        st.sampled_from([b"time_ms,V1,V2\n0,1.5,2\n1,3e2,4\n", b"name,x,y,z\na,1,2,3\nb,4,5.5,6\n", b"1,2,3\n"])
    )
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 6)))
    (tmp_path / "d.csv").write_bytes(raw[:start] + data.draw(st.binary(max_size=5)) + raw[stop:])
    message = ""
    try:
        read(tmp_path / "d.csv")
    except FileFormatError as error:
        message = str(error)
    assert not message or message.startswith(str(tmp_path / "d.csv"))
    assert "\n" not in message
