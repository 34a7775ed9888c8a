"""Cases on disk: folder and store, round trips, every message."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.core import (
    Case,
    Electrodes,
    FileFormatError,
    GeometryError,
    InputError,
    LeadSystem,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
)
from einthoven.core.leads import TWELVE_LEAD_ELECTRODES
from einthoven.geometry.generators import sphere
from einthoven.io import tables
from einthoven.io.case_file import documented_fields, parse
from einthoven.io.cases import convert, is_case, read_case, read_case_with_notes, write_case
from einthoven.io.registry import read, write
from einthoven.io.zarr_store import save_zarr


def make_case(**changes) -> Case:
    rng = np.random.default_rng(1)
    torso = sphere(150.0, subdivisions=1, name="tank, glass")
    lung = sphere(20.0, subdivisions=1, center=(70.0, 0.0, 0.0), name="left lung")
    heart = sphere(30.0, subdivisions=1, center=(-40.0 / 3, 0.0, 0.0), name="epicardium")
    vm = sphere(25.0, subdivisions=1, center=(-40.0 / 3, 0.0, 0.0), name="epicardium/2")
    names = tuple(f'V "{i}", µ' for i in range(12))
    times = np.cumsum(rng.uniform(0.1, 1.1, 7)) - 3
    nodes = (5, 3, 17)
    parts = {
        "name": "made up",
        "conductor": VolumeConductor(Region(torso, 0.2), (Region(lung, 1 / 30),)),
        "sources": (
            Source(heart, "hsp", Recording(rng.normal(size=(42, 7)), times, heart.node_names, "hsp", "recorder")),
            Source(
                vm, "vm", Recording(rng.normal(size=(3, 7)), times, tuple(vm.node_names[i] for i in nodes), "vm"), 0.04
            ),
        ),
        "electrodes": Electrodes(names, torso.points[:12]),
        "recording": Recording(rng.normal(size=(12, 7)) / 3, times, names, "bsp", "wilson"),
        "info": {"origin": "a\nb", "licence": "none", "odd key.": "x"},
    }
    return Case(**(parts | changes))


def same_recording(a: Recording | None, b: Recording | None):
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert np.array_equal(a.values, b.values)
        assert np.array_equal(a.times, b.times)
        assert (a.sites, a.quantity, a.reference) == (b.sites, b.quantity, b.reference)


def same_surface(a: Surface, b: Surface):
    assert np.array_equal(a.points, b.points)
    assert np.array_equal(a.triangles, b.triangles)
    assert a.name == b.name


def same_case(a: Case, b: Case):
    assert (a.name, a.info) == (b.name, b.info)
    assert len(a.conductor.regions) == len(b.conductor.regions)
    for x, y in zip(a.conductor.regions, b.conductor.regions, strict=True):
        same_surface(x.surface, y.surface)
        assert x.conductivity == y.conductivity
    for x, y in zip(a.sources, b.sources, strict=True):
        same_surface(x.surface, y.surface)
        assert (x.quantity, x.intracellular_conductivity) == (y.quantity, y.intracellular_conductivity)
        same_recording(x.truth, y.truth)
    assert a.electrodes.names == b.electrodes.names
    assert np.array_equal(a.electrodes.positions, b.electrodes.positions)
    same_recording(a.recording, b.recording)


@pytest.mark.parametrize("target", ["folder", "store.zarr"])
def test_round_trip_is_exact(tmp_path, target):
    case = make_case()
    write_case(case, tmp_path / target)
    assert is_case(tmp_path / target)
    same_case(case, read_case(tmp_path / target))
    assert sorted(p.name for p in tmp_path.iterdir()) == [target]


def test_round_trip_without_recording_and_truth(tmp_path):
    case = make_case(recording=None, sources=(Source(make_case().sources[0].surface, "hsp"),), info={})
    write_case(case, tmp_path / "a")
    same_case(case, read_case(tmp_path / "a" / "case.toml"))


def test_electrodes_that_were_allowed_far_from_the_skin_stay_so(tmp_path):
    case = make_case()
    center = case.conductor.skin.points.mean(axis=0)
    outward = case.electrodes.positions - center
    far = center + outward * (1 + 15.5 / np.linalg.norm(outward, axis=1, keepdims=True))
    case = replace(case, electrodes=Electrodes(case.electrodes.names, far))
    write_case(case, tmp_path / "a")
    same_case(case, read_case(tmp_path / "a"))


def test_convert_goes_both_ways(tmp_path):
    case = make_case()
    write_case(case, tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b.zarr")
    convert(tmp_path / "b.zarr", tmp_path / "c")
    same_case(case, read_case(tmp_path / "c"))


def test_convert_files(tmp_path):
    ball = sphere(10.0, subdivisions=1, name="ball")
    write(ball, tmp_path / "ball.ply")
    convert(tmp_path / "ball.ply", tmp_path / "ball.vtp")
    assert np.array_equal(read(tmp_path / "ball.vtp").surface().points, ball.points)
    recording = make_case().recording
    assert recording is not None
    write(recording, tmp_path / "r.csv")
    convert(tmp_path / "r.csv", tmp_path / "r.zarr")
    same_recording(read(tmp_path / "r.zarr").time_series, recording)
    with pytest.raises(InputError, match="a table holds points or triangles but not a surface"):
        convert(tmp_path / "ball.ply", tmp_path / "ball.csv")
    with pytest.raises(InputError, match="needs an ending"):
        convert(tmp_path / "ball.ply", tmp_path / "ball")
    with pytest.raises(InputError, match="there is no such file"):
        convert(tmp_path / "none.ply", tmp_path / "ball.vtp")
    with pytest.raises(InputError, match="are the same"):
        convert(tmp_path / "ball.ply", tmp_path / "." / "ball.ply")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ball.ply", "ball.vtp", "r.csv", "r.zarr"]


def test_writing_a_case_replaces_nothing_of_the_users(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="is in the way and not empty"):
        write_case(make_case(), tmp_path / "mine")
    with pytest.raises(InputError, match=r"folder or to a \.zarr store"):
        write_case(make_case(), tmp_path / "case.csv")
    with pytest.raises(InputError, match="does not exist"):
        write_case(make_case(), tmp_path / "no" / "case")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "write_points", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_case(make_case(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# --- a folder made by hand -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """Torso in cm as two CSV files, heart wound inward as PLY, potentials in uV without times."""
    torso = sphere(15.0, subdivisions=1, name="t")
    heart = sphere(30.0, subdivisions=1, name="h")
    rng = np.random.default_rng(2)
    (tmp_path / "points.csv").write_text("\n".join(",".join(repr(float(v)) for v in p) for p in torso.points))
    (tmp_path / "tri.csv").write_text("\n".join(",".join(str(v + 1) for v in t) for t in torso.triangles))
    write(Surface(heart.points, heart.triangles[:, ::-1], "h"), tmp_path / "heart.ply")
    values = np.round(rng.normal(size=(10, 5)) * 1000)
    (tmp_path / "bspm.csv").write_text("\n".join(" ".join(f"{v:g}" for v in row) for row in values))
    np.savetxt(tmp_path / "expected.txt", values[2:8] / 1000)
    spec = {
        "length_unit": "cm",
        "surfaces": {"torso": {"file": "points.csv", "triangles": "tri.csv", "conductivity": 0.2}},
        "hearts": {"epi": {"file": "heart.ply", "unit": "mm", "quantity": "hsp", "repair": True}},
        "electrodes": {"nodes": ["1-6"], "first_index": 1, "names": ["a", "b", "c", "d", "e", "f"]},
        "recording": {
            "file": "bspm.csv",
            "rows": ["3-8"],
            "first_index": 1,
            "unit": "uV",
            "rate_hz": 500.0,
            "reference": "wilson",
        },
        "info": {"licence": "mine"},
    }
    (tmp_path / "case.toml").write_text(tomli_w.dumps(spec))
    return tmp_path


def change(folder: Path, **paths):
    """Set dotted fields (``__`` for the dot); None deletes."""
    spec = tomllib.loads((folder / "case.toml").read_text())
    for dotted, value in paths.items():
        *parents, last = dotted.split("__")
        table = spec
        for parent in parents:
            table = table.setdefault(parent, {})
        if value is None:
            del table[last]
        else:
            table[last] = value
    (folder / "case.toml").write_text(tomli_w.dumps(spec))


def test_folder_by_hand(folder):
    found = read_case_with_notes(folder)
    case = found.case
    assert case.name == folder.name
    skin = case.conductor.skin
    np.testing.assert_allclose(skin.points, sphere(150.0, subdivisions=1).points, rtol=1e-15, atol=1e-13)
    assert np.array_equal(skin.triangles, sphere(150.0, subdivisions=1).triangles)
    assert np.array_equal(case.sources[0].surface.triangles, sphere(1.0, subdivisions=1).triangles)
    assert case.recording is not None
    np.testing.assert_allclose(case.recording.values, np.loadtxt(folder / "expected.txt"), rtol=1e-15)
    assert np.array_equal(case.recording.times, [0, 2, 4, 6, 8])
    assert case.recording.sites == ("a", "b", "c", "d", "e", "f")
    assert np.array_equal(case.electrodes.positions, skin.points[:6])
    assert found.notes == ("epi: the winding of 80 of 80 triangles was mended.",)
    assert case.info == {"licence": "mine", "repairs": found.notes[0]}


def test_ranges_names_windows_and_average(folder):
    change(
        folder,
        recording__rows=[8, "0-1", 5],
        recording__first_index=0,
        recording__electrodes=["f", "b", "a", "c"],
        recording__window=[2.0, 6.0],
        recording__average=True,
        electrodes__rename={"a": "RA"},
    )
    change(folder, recording__electrodes=["f", "b", "RA", "c"])
    case = read_case(folder)
    raw = np.loadtxt(folder / "bspm.csv")[[8, 0, 1, 5]][:, 1:4] / 1000
    assert case.recording is not None
    assert case.recording.sites == ("f", "b", "RA", "c")
    assert case.recording.reference == "average"
    assert np.array_equal(case.recording.times, [2, 4, 6])
    np.testing.assert_allclose(case.recording.values, raw - raw.mean(axis=0), atol=1e-15)
    assert "the mean over the 4 leads was removed" in case.info["repairs"]


def test_electrodes_by_file_position_and_unit(folder):
    torso = sphere(150.0, subdivisions=1)
    tables.write_points(folder / "e.csv", torso.points[:6], names=list("abcdef"))
    change(folder, electrodes={"file": "e.csv"})
    np.testing.assert_allclose(read_case(folder).electrodes.positions, torso.points[:6], rtol=1e-15)
    change(
        folder, electrodes={"positions": {n: [float(v) / 10 for v in torso.points[i]] for i, n in enumerate("abcdef")}}
    )
    np.testing.assert_allclose(read_case(folder).electrodes.positions, torso.points[:6], rtol=1e-14)


def test_channels_of_a_file_with_names(folder):
    recording = Recording(np.arange(8.0).reshape(4, 2), np.array([0.0, 1.0]), ("d", "x", "a", "b"), "bsp")
    tables.write_recording(folder / "named.csv", recording)
    change(folder, recording={"file": "named.csv", "channels": ["b", "a"], "reference": "absolute"})
    case = read_case(folder)
    assert case.recording is not None
    assert case.recording.sites == ("b", "a")
    assert np.array_equal(case.recording.values, [[6, 7], [4, 5]])
    change(folder, recording__channels=None)
    with pytest.raises(FileFormatError, match=r"recording: named.csv has leads x without an electrode of that name"):
        read_case(folder)
    change(folder, recording__channels=["b", "q"])
    with pytest.raises(FileFormatError, match=r"recording.channels: no channel named q; there: d, x, a, b"):
        read_case(folder)


def test_a_twelve_lead_ecg_becomes_its_electrode_potentials(folder):
    values = np.random.default_rng(5).standard_normal((9, 6))
    values -= values[:3].mean(axis=0)
    known = Recording(values, np.arange(6.0), TWELVE_LEAD_ELECTRODES, "bsp", "wilson")
    ecg = LeadSystem.twelve_lead().record(known)
    tables.write_recording(folder / "ecg.csv", ecg)
    change(folder, electrodes={"nodes": ["1-9"], "first_index": 1, "names": list(TWELVE_LEAD_ELECTRODES)})
    change(folder, recording={"file": "ecg.csv", "reference": "wilson"})
    found = read_case_with_notes(folder)
    assert found.case.recording is not None
    assert found.case.recording.sites == TWELVE_LEAD_ELECTRODES
    assert found.case.recording.reference == "wilson"
    np.testing.assert_allclose(found.case.recording.values, values, atol=1e-12)
    assert "recording: electrode potentials against Wilson's terminal were made from the 12-lead ECG." in found.notes
    change(folder, recording__reference="average")
    with pytest.raises(
        FileFormatError, match=r'recording.reference: ecg.csv holds a 12-lead ECG.*say reference = "wilson"'
    ):
        read_case(folder)
    swapped = ecg.renamed({"V1": "V2", "V2": "V1", "II": "III", "III": "II"})
    tables.write_recording(folder / "ecg.csv", swapped)
    change(folder, recording__reference="wilson")
    with pytest.raises(InputError, match=r"recording: lead (III|aVR) differs by up to .* are leads swapped"):
        read_case(folder)


def test_truth_at_some_nodes(folder):
    np.savetxt(folder / "truth.csv", [[1.5, 3.0], [2.0, 4.0]], delimiter=",")
    truth = {
        "file": "truth.csv",
        "nodes": [42, 7],
        "first_index": 1,
        "unit": "mV",
        "rate_hz": 1000.0,
        "transpose": True,
    }
    change(folder, hearts__epi__truth=truth)
    found = read_case(folder).sources[0].truth
    assert found is not None
    assert found.sites == ("epi:41", "epi:6")
    assert np.array_equal(found.values, [[1.5, 2.0], [3.0, 4.0]])
    change(folder, hearts__epi__truth__nodes=None)
    with pytest.raises(FileFormatError, match=r"hearts.epi.truth: truth.csv gives 2 rows, epi has 42 nodes"):
        read_case(folder)


FAULTS = [
    ({"surfaces__torso__file": "no.csv"}, r"case.toml: surfaces.torso.file: no such file .*no\.csv"),
    ({"surfaces__torso__conductivity": None}, r"case.toml: surfaces.torso.conductivity: is missing"),
    ({"surfaces__torso__conductivity": -1.0}, r"surfaces.torso.conductivity: input should be greater than 0; got -1.0"),
    (
        {"surfaces__torso__conductivty": 1.0},
        r"surfaces.torso.conductivty: unknown field \(did you mean 'conductivity'\?\)\.$",
    ),
    ({"surfaces__torso__triangles": None}, r"surfaces.torso.file: points.csv holds no triangles"),
    ({"surfaces__torso__triangles": "bspm.csv"}, r"surfaces.torso.triangles: must hold three node numbers"),
    ({"surfaces__torso__unit": "inch"}, r"surfaces.torso.unit: must be 'mm', 'cm', 'm' or 'um'; got 'inch'"),
    ({"surfaces__torso__first_index": 0}, r"node numbers 1..42 do not fit 42 nodes counted from 0"),
    ({"hearts__epi__quantity": "bsp"}, r"hearts.epi.quantity: must be 'hsp' or 'vm'; got 'bsp'"),
    ({"hearts__epi__part": "lv"}, r"hearts.epi.part: .*heart.ply: surface: 'lv' not found"),
    ({"hearts__epi__file": "bspm.csv"}, r"hearts.epi.file: bspm.csv holds no triangles"),
    ({"electrodes__first_index": None}, r"electrodes: say whether nodes are counted from 0 or from 1"),
    ({"electrodes__nodes": ["1-60"]}, r"electrodes.nodes: 43, 44, .* and 13 more lie outside 1..42"),
    ({"electrodes__nodes": ["5-1"]}, r"electrodes.nodes: range '5-1' runs backwards"),
    ({"electrodes__nodes": [True]}, r"electrodes.nodes: must be numbers and ranges .*; got True"),
    ({"electrodes__nodes": [1, 1]}, r"electrodes.nodes: 1 occur more than once"),
    ({"electrodes__file": "e.csv"}, r"electrodes: give one of file, nodes and positions; there is file and nodes"),
    ({"electrodes__names": ["a"]}, r"electrodes.names: 1 names for 6 electrodes"),
    ({"electrodes__names": ["a"] * 6}, r"electrodes: electrodes must have unique names"),
    ({"electrodes__rename": {"z": "y"}}, r"electrodes.rename: no electrode is named z; there are a, b"),
    ({"recording__rows": ["3-9"]}, r"recording: bspm.csv gives 7 rows, there are 6 electrodes"),
    ({"recording__rows": [11]}, r"recording.rows: 11 lie outside 1..10"),
    ({"recording__first_index": None}, r"recording: say whether rows and nodes are counted from 0 or from 1"),
    ({"recording__channels": ["a"]}, r"recording: give rows or channels, not both"),
    ({"recording__unit": None}, r"recording.unit: is missing; bspm.csv does not hold it"),
    ({"recording__rate_hz": None}, r"recording.rate_hz: is missing; bspm.csv does not hold its times"),
    ({"recording__reference": None}, r"recording.reference: is missing"),
    ({"recording__reference": "average"}, r"recording.reference: is 'average', but the mean over the 6 leads reaches"),
    ({"recording__window": [90.0, 100.0]}, r"recording: window 90..100 ms holds no frame"),
    ({"recording__electrodes": list("abcdez")}, r"recording: .*: leads z of the recording have no electrode"),
    ({"recording__array": "potvals"}, r"recording.array: .*'potvals' not found"),
    ({"surfaces": {"skin": {"file": "points.csv", "conductivity": 1.0}}}, r"surfaces.torso is missing"),
    ({"hearts": {}}, r"hearts: dictionary should have at least 1 item"),
    (
        {"colour": 1, "hearts__epi__truthh": 1},
        r"hearts.epi.truthh: unknown field \(did you mean 'truth'\?\) \(and 1 more: colour\)",
    ),
    ({"length_unit": "mm"}, r"units|0\.\d across|meters|cm"),
]


@pytest.mark.parametrize(("changes", "match"), FAULTS, ids=lambda p: str(p)[:40])
def test_faults_name_file_and_field(folder, changes, match):
    change(folder, **changes)
    with pytest.raises(InputError, match=match) as caught:
        read_case(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert ".." not in text.replace("0..", "").replace("1..", "").replace("90..", "")
    if "length_unit" not in changes:
        assert str(folder / "case.toml") in text


def test_inward_surface_is_not_repaired_unasked(folder):
    change(folder, hearts__epi__repair=False)
    with pytest.raises(
        GeometryError, match=r"case.toml: hearts.epi: epi: triangles must be wound outward.*`repair = true`"
    ):
        read_case(folder)


def test_geometry_is_checked(folder):
    write(sphere(170.0, subdivisions=1, name="h"), folder / "heart.ply")
    with pytest.raises(GeometryError, match="epi"):
        read_case(folder)


def test_far_electrodes(folder):
    torso = sphere(15.0, subdivisions=1)
    change(
        folder,
        electrodes={"positions": {n: [float(v) * 1.02 for v in torso.points[i]] for i, n in enumerate("abcdef")}},
    )
    read_case(folder)
    change(folder, electrodes__max_distance=1.0)
    with pytest.raises(GeometryError, match=r"electrodes must lie on or near torso; .*3.0 mm"):
        read_case(folder)
    far = {n: [float(v) * 1.5 for v in torso.points[i]] for i, n in enumerate("abcdef")}
    change(folder, electrodes={"positions": far, "max_distance": 80.0})
    read_case(folder)


def test_electrodes_by_a_file_of_node_numbers(folder):
    np.savetxt(folder / "nodes.csv", [[3], [1], [2], [6], [5], [4]], fmt="%d")
    change(folder, electrodes={"file": "nodes.csv", "first_index": 1})
    assert read_case(folder).electrodes.names == ("torso:2", "torso:0", "torso:1", "torso:5", "torso:4", "torso:3")
    change(folder, electrodes__first_index=None)
    with pytest.raises(FileFormatError, match=r"electrodes.file: say whether nodes are counted from 0 or from 1"):
        read_case(folder)
    change(folder, electrodes={"file": "bspm.csv", "first_index": 1})
    with pytest.raises(FileFormatError, match=r"electrodes.file: must hold points or node numbers; got Content"):
        read_case(folder)


def test_toml_faults_name_the_line(folder):
    path = folder / "case.toml"
    path.write_text('name = "a"\nlength_unit = \n')
    with pytest.raises(FileFormatError, match=r"case.toml, line 2, column 15: is not valid TOML"):
        read_case(folder)
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(FileFormatError, match=r"byte 8: is not text in UTF-8"):
        read_case(folder)


def test_not_a_case(tmp_path):
    with pytest.raises(InputError, match="there is no such case"):
        read_case(tmp_path / "no")
    with pytest.raises(InputError, match=r"has no case\.toml"):
        read_case(tmp_path)
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(InputError, match="is not a case"):
        read_case(tmp_path / "a.csv")
    save_zarr(sphere(1.0, subdivisions=0, name="s"), tmp_path / "s.zarr")
    with pytest.raises(FileFormatError, match="holds a Surface, not a case"):
        read_case(tmp_path / "s.zarr")
    assert not is_case(tmp_path / "s.zarr")
    assert not is_case(tmp_path / "a.csv")
    assert not is_case(tmp_path / "no")


def test_every_field_is_described():
    rows = documented_fields()
    assert len(rows) > 50
    assert all(meaning.endswith(".") or meaning.endswith("...") for _, _, meaning in rows)


# --- anything else in case.toml ends in a sentence -----------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.text(max_size=8),
        st.integers(-(10**9), 10**9),
        st.floats(allow_nan=True),
        st.booleans(),
        st.dates(),
        st.sampled_from(["heart.ply", "bspm.csv", "mm", "1-4", "hsp", "average"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
FIELDS = [name.replace("NAME", "torso" if "surfaces" in name else "epi") for name, _, _ in documented_fields()]


def sentence(call) -> str:
    """Message of the `InputError` that a call may end in; anything else fails the test."""
    try:
        call()
    except InputError as error:
        return str(error)
    return ""


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(FIELDS), value=VALUES)
def test_any_value_in_any_field(folder, field, value):
    original = (folder / "case.toml").read_text()
    change(folder, **{field.replace(".", "__"): value})
    message = sentence(lambda: read_case(folder))
    (folder / "case.toml").write_text(original)
    assert "\n" not in message.replace(str(value), "")
    assert not message or str(folder / "case.toml") in message or message.startswith(f"{value}: ")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_toml(folder, data):
    raw = (folder / "case.toml").read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 40)))
    damaged = folder / "damaged.toml"
    damaged.write_bytes(raw[:start] + data.draw(st.binary(max_size=6)) + raw[stop:])
    message = sentence(lambda: parse(damaged))
    assert not message or message.startswith(str(damaged))
    assert "\n" not in message


def test_case_from_another_place(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "moved"
    shutil.copytree(folder, other)
    same = read_case(other)
    assert same.name == "moved"
