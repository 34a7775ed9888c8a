"""Datasets: read from the original files as the curated ones have them; found, fetched, or a sentence why not."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from einthoven import datasets
from einthoven.core import FileFormatError, InputError, Surface
from einthoven.datasets import registry
from einthoven.geometry.checks import check_case
from einthoven.io.caches import CACHE_DIR
from einthoven.io.registry import read

NAMES = ("utah-cage-tank", "utah-sock", "dalhousie-2007", "dalhousie-map3d", "kit-ventricles", "ptb-s0010")


def same_faces(a: Surface, triangles: np.ndarray) -> bool:
    """Same triangles with the same winding, in any order."""

    def rolled(t):
        return np.array([np.roll(row, -int(np.argmin(row))) for row in t])

    return sorted(map(tuple, rolled(a.triangles))) == sorted(map(tuple, rolled(triangles)))


def test_records():
    assert tuple(d.name for d in datasets.list_datasets()) == NAMES
    for record in datasets.list_datasets():
        assert record.licence
        assert record.citation
        assert record.origin.startswith("https://")
        assert record.size == sum(f.size for f in record.files) > 10_000
        assert len({f.name for f in record.files}) == len(record.files)
        for entry in record.files:
            assert len(entry.sha256) == 64
            assert entry.urls
            assert all(
                u.startswith(("https://raw.githubusercontent.com/", "https://physionet.org/files/")) for u in entry.urls
            )
            assert all(u.split("/")[5] != "master" for u in entry.urls)


def test_unknown_names():
    for call in (datasets.dataset, datasets.dataset_path, datasets.load_case, datasets.load_recording):
        with pytest.raises(InputError, match="no dataset named 'utah'; there are utah-cage-tank, utah-sock"):
            call("utah")
    with pytest.raises(InputError, match=r"ptb-s0010: no file 'a'; there are s0010_re.hea, s0010_re.dat"):
        datasets.dataset_file("ptb-s0010", "a")
    with pytest.raises(InputError, match=r"ptb-s0010: holds a recording without a geometry; .*load_recording"):
        datasets.load_case("ptb-s0010")


# --- the data themselves -------------------------------------------------------------------------


def test_utah_cage_tank(data_dir):
    case = datasets.load_case("utah-cage-tank")
    curated = np.load(data_dir / "utah_cage_tank" / "cage_tank.npz")
    tank, source = case.conductor.skin, case.sources[0]
    np.testing.assert_allclose(tank.points, curated["tank771_pts_mm"], atol=1e-9)
    assert same_faces(tank, curated["tank771_tri"])
    np.testing.assert_allclose(source.surface.points, curated["cage602_pts_mm"], atol=1e-9)
    assert same_faces(source.surface, curated["cage602_tri"])
    assert case.electrodes.names == tuple(f"tank:{i}" for i in curated["tank192_node_idx"])
    assert case.recording is not None
    assert source.truth is not None
    np.testing.assert_allclose(case.recording.values, curated["tank192_mV"], atol=1e-12)
    np.testing.assert_allclose(source.truth.values, curated["cage_mV"], atol=1e-12)
    assert case.recording.reference == "average"
    assert np.abs(case.recording.values.mean(axis=0)).max() < 1e-6 * case.recording.values.std()
    assert np.array_equal(case.recording.times, np.arange(510))
    assert source.truth.sites == source.surface.node_names
    assert case.conductor.torso.conductivity == 0.2
    assert case.info["repairs"] == (
        "tank: the winding of 1538 of 1538 triangles was mended. "
        "cage: the winding of 1200 of 1200 triangles was mended."
    )
    assert check_case(case)["electrode_distance_max"] < 1e-6


def test_utah_sock(data_dir):
    case = datasets.load_case("utah-sock")
    curated = np.load(data_dir / "utah_sock25feb97_tank" / "sock_tank.npz")
    source = case.sources[0]
    np.testing.assert_allclose(source.surface.points, curated["sock128_pts_mm"], atol=2e-5)  # float32 in the latter
    assert same_faces(source.surface, curated["sock128_tri"])
    assert same_faces(case.conductor.skin, curated["tank771_tri"])
    assert case.electrodes.names == tuple(f"tank:{i}" for i in curated["tank192_node_idx"])
    tank = curated["tank192_mV"]
    assert case.recording is not None
    assert source.truth is not None
    np.testing.assert_allclose(case.recording.values, tank - tank.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(source.truth.values, curated["sock128_mV"], atol=1e-12)
    assert np.abs(tank.mean(axis=0)).max() > 0.01 * tank.std()  # averaging it was needed
    assert "repairs" not in case.info
    check_case(case)
    matrix = read(datasets.dataset_file("utah-sock", "for_mat_128.mat")).array()
    np.testing.assert_allclose(matrix, curated["scirun_forward_771x128"], atol=1e-12)


def test_dalhousie_2007(data_dir):
    case = datasets.load_case("dalhousie-2007")
    curated = np.load(data_dir / "cinc2007_dalhousie" / "cinc2007.npz")
    torso, heart = case.conductor.skin, case.sources[0].surface
    np.testing.assert_allclose(torso.points, curated["case3_torso_pts_mm"], atol=1e-9)
    assert same_faces(torso, curated["torso_tri"])
    np.testing.assert_allclose(heart.points, curated["case3_heart_pts_mm"], atol=1e-9)
    assert same_faces(heart, curated["case3_heart_tri"])
    assert case.info["repairs"] == "epicardium: the winding of 159 of 2196 triangles was mended."
    assert case.recording is not None
    stored = curated["case1_bspm_uV"].astype(float) / 1000
    np.testing.assert_allclose(case.recording.values, stored - stored.mean(axis=0), atol=1e-12)
    assert np.array_equal(case.recording.times, curated["case1_time_ms"])
    assert case.recording.sites == torso.node_names
    assert "different patients" in case.info["notes"]
    assert check_case(case)["heart_depth_min"] == pytest.approx(24, abs=0.5)


def test_dalhousie_leads_against_the_measured_limb_leads(data_dir):
    case = datasets.load_case("dalhousie-2007")
    curated = np.load(data_dir / "cinc2007_dalhousie" / "cinc2007.npz")
    assert case.recording is not None
    ecg = datasets.dalhousie_twelve_lead().record(case.recording)
    right, left, foot = curated["case1_limb_RA_LA_LL_uV"] / 1000
    # Mason-Likar places are near the true limb electrodes, not on them
    for row, true in (("I", left - right), ("II", foot - right)):
        assert np.corrcoef(ecg.select([row]).values[0], true)[0, 1] > 0.95
    np.testing.assert_allclose(ecg.values[0] + ecg.values[2], ecg.values[1], atol=1e-12)
    frank = datasets.dalhousie_frank().record(case.recording)
    assert frank.sites == ("X", "Y", "Z")
    assert np.corrcoef(frank.values[0], ecg.values[0])[0, 1] > 0.9  # X and I both point to the left


def test_dalhousie_lead_matrices():
    for leads in (datasets.dalhousie_twelve_lead(skin="t"), datasets.dalhousie_frank(skin="t")):
        np.testing.assert_allclose(leads.weights.sum(axis=1), 0, atol=1e-12)
        assert leads.electrodes[351] == "t:351"
        assert leads.quantity == "ecg"
    electrodes = datasets.dalhousie_electrodes(skin="t")
    np.testing.assert_allclose(electrodes.weights.sum(axis=1), 1, atol=1e-12)
    v5 = dict(zip(electrodes.electrodes, electrodes.weights[electrodes.names.index("V5")], strict=True))
    assert v5["t:216"] == pytest.approx(1 / 3)
    assert v5["t:217"] == pytest.approx(2 / 3)


def test_dalhousie_electrodes_lie_where_they_should(data_dir):
    """Limbs above and below, V1 to V6 from right to left."""
    case = datasets.load_case("dalhousie-2007")
    leads = datasets.dalhousie_electrodes()
    place = dict(zip(leads.names, leads.weights @ case.conductor.skin.points, strict=True))
    assert place["LL"][2] < place["V4"][2] < place["RA"][2]
    width = np.linalg.norm(place["LA"] - place["RA"])
    assert 150 < width < 450
    to_left = (place["LA"] - place["RA"]) / width
    along = [float(to_left @ place[f"V{k}"]) for k in range(1, 7)]
    assert along == sorted(along)


def test_dalhousie_map3d(data_dir):
    case = datasets.load_case("dalhousie-map3d")
    assert (case.conductor.skin.n_points, case.sources[0].surface.n_points) == (352, 98)
    assert case.recording is not None
    assert case.recording.values.shape == (352, 6)
    first = np.loadtxt(data_dir / "dalhousie_map3d" / "dipole2_001.pot")
    np.testing.assert_allclose(case.recording.values[:, 0], first - first.mean(), atol=1e-12)
    assert case.info["notes"].startswith("Simulated")
    check_case(case)


def test_kit_ventricles(data_dir):
    case = datasets.load_case("kit-ventricles")
    assert case.conductor.skin.n_points == 1520
    assert case.source("vm").surface.n_points == 2306
    assert case.source("hsp").surface.n_points == 1330
    assert len(case.electrodes) == 200
    assert case.recording is None
    with pytest.raises(InputError, match="kit-ventricles: is a geometry without a recording"):
        datasets.load_recording("kit-ventricles")
    from scipy.io import loadmat

    nodes = loadmat(data_dir / "kit_cei" / "ventricles" / "electrodes_torso.mat")["electrodes"].reshape(-1)
    assert case.electrodes.names == tuple(f"torso:{i - 1}" for i in nodes)
    check_case(case)


def test_recordings(data_dir):
    ecg = datasets.load_recording("ptb-s0010")
    assert (ecg.n_sites, ecg.n_times, ecg.quantity, ecg.reference) == (12, 38400, "ecg", "wilson")
    assert datasets.load_recording("utah-sock").n_sites == 192


def test_every_file_at_hand_is_intact(data_dir):
    for name in NAMES:
        record = datasets.dataset(name)
        assert datasets.dataset_path(name) == data_dir / record.folder
        for entry in record.files:
            assert (data_dir / record.folder / entry.name).stat().st_size == entry.size


# --- finding and fetching ------------------------------------------------------------------------

TINY = registry.Dataset(
    name="tiny",
    folder="tiny_folder",
    title="t",
    kind="k",
    origin="https://example.org/tiny",
    licence="none",
    citation="none",
    notes="",
    files=(
        registry.RemoteFile(
            "sub/a.txt",
            6,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",  # "hello\n"
            ("https://first.example/a.txt", "https://second.example/a.txt"),
        ),
    ),
)


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(registry, "_datasets", lambda: {"tiny": TINY})
    monkeypatch.delenv(registry.DATA_DIR, raising=False)
    monkeypatch.setenv(CACHE_DIR, str(tmp_path / "cache"))
    return tmp_path


class Origin:
    """Stands for the network: serves some addresses, refuses the others."""

    def __init__(self, **served: bytes):
        self.served = served
        self.asked: list[str] = []

    def __call__(self, url, output_file, pooch):
        self.asked.append(url)
        for host, content in self.served.items():
            if f"//{host}." in url:
                Path(output_file).write_bytes(content)
                return
        raise ConnectionError("no route")


def test_download_once_into_the_cache(tiny):
    origin = Origin(first=b"hello\n")
    path = registry.dataset_path("tiny", downloader=origin)
    assert path == tiny / "cache" / "datasets" / "tiny_folder"
    assert (path / "sub" / "a.txt").read_bytes() == b"hello\n"
    assert registry.dataset_file("tiny", "sub/a.txt", downloader=origin) == path / "sub" / "a.txt"
    assert origin.asked == ["https://first.example/a.txt"]


def test_the_second_origin_is_tried(tiny):
    origin = Origin(second=b"hello\n")
    registry.dataset_path("tiny", downloader=origin)
    assert len(origin.asked) == 2
    origin = Origin(first=b"something else", second=b"hello\n")
    (tiny / "cache" / "datasets" / "tiny_folder" / "sub" / "a.txt").unlink()
    registry.dataset_path("tiny", downloader=origin)
    assert len(origin.asked) == 2


def test_no_network_says_where_to_put_the_files(tiny):
    with pytest.raises(
        InputError,
        match=r"tiny: sub/a.txt could not be downloaded from https://first.example/a.txt or .*\(no connection\). "
        r"Put the files of https://example.org/tiny into .*tiny_folder, or set EINTHOVEN_DATA_DIR to a",
    ) as caught:
        registry.dataset_path("tiny", downloader=Origin())
    assert "\n" not in str(caught.value)
    assert str(tiny / "cache" / "datasets" / "tiny_folder") + "," in str(caught.value)
    assert not list(tiny.rglob("*.txt"))


def test_an_altered_origin_is_refused(tiny):
    with pytest.raises(InputError, match="what came is not the file, its checksum differs"):
        registry.dataset_path("tiny", downloader=Origin(first=b"evil", second=b"evil"))
    assert not list(tiny.rglob("*.txt"))


def test_a_damaged_file_in_the_cache(tiny):
    registry.dataset_path("tiny", downloader=Origin(first=b"hello\n"))
    path = tiny / "cache" / "datasets" / "tiny_folder" / "sub" / "a.txt"
    path.write_bytes(b"hellO\n")
    with pytest.raises(FileFormatError, match=r"a.txt: was altered .* Delete it, and it is downloaded again"):
        registry.dataset_path("tiny", downloader=Origin())
    path.write_bytes(b"hell")
    with pytest.raises(FileFormatError, match="has 4 bytes instead of 6"):
        registry.dataset_path("tiny", downloader=Origin())


def test_the_local_folder_comes_first(tiny, monkeypatch):
    local = tiny / "data" / "tiny_folder"
    (local / "sub").mkdir(parents=True)
    monkeypatch.setenv(registry.DATA_DIR, str(tiny / "data"))
    with pytest.raises(InputError, match=r"tiny: .*sub/a.txt is missing. Get it from https://first.example/a.txt, or"):
        registry.dataset_path("tiny", downloader=Origin(first=b"hello\n"))
    (local / "sub" / "a.txt").write_bytes(b"hello\n")
    assert registry.dataset_path("tiny", downloader=Origin()) == local
    (local / "sub" / "a.txt").write_bytes(b"hello")
    with pytest.raises(FileFormatError, match=r"has 5 bytes instead of 6 .* Get it again from https://first"):
        registry.dataset_path("tiny", downloader=Origin())
    shutil.rmtree(local)
    assert (
        registry.dataset_path("tiny", downloader=Origin(first=b"hello\n"))
        == tiny / "cache" / "datasets" / "tiny_folder"
    )
    monkeypatch.setenv(registry.DATA_DIR, str(tiny / "nowhere"))
    with pytest.raises(InputError, match=r"EINTHOVEN_DATA_DIR names .*nowhere, which is not a folder"):
        registry.dataset_path("tiny", downloader=Origin())


def test_real_datasets_are_fetched_file_by_file(data_dir, monkeypatch, tmp_path):
    """The download path from origin to case, with the local folder in place of the network."""
    record = datasets.dataset("dalhousie-map3d")
    by_url = {url: data_dir / record.folder / f.name for f in record.files for url in f.urls}
    asked = []

    def downloader(url, output_file, pooch):
        asked.append(url)
        shutil.copy(by_url[url], output_file)

    monkeypatch.delenv(registry.DATA_DIR)
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    case = datasets.load_case("dalhousie-map3d", downloader=downloader)
    assert case.conductor.skin.n_points == 352
    assert len(asked) == 4 + 6  # what the case needs and no more
    assert not any("leadlinks" in url for url in asked)
