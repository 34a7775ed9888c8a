"""Beats of the 2026 challenge: folders and archives as its public scorer takes them."""

import zipfile

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from einthoven.core import FileFormatError, InputError
from einthoven.io.challenge import pack_beats, read_beats, write_beats
from einthoven.metrics import ChallengeBeat

BEATS = {
    "Run2-b1": ChallengeBeat(np.arange(12.0).reshape(3, 4), np.array([1.0, 2.0, 3.0])),
    "Run10-b2": ChallengeBeat(-np.ones((3, 4)), np.array([4.0, 5.0, 6.0])),
}


@pytest.fixture
def folder(tmp_path):
    """Two beats, one of them deeper."""
    (tmp_path / "data" / "session").mkdir(parents=True)
    write_beats({"Run2-b1": BEATS["Run2-b1"]}, tmp_path / "data")
    write_beats({"Run10-b2": BEATS["Run10-b2"]}, tmp_path / "data" / "session")
    return tmp_path / "data"


def same(found):
    assert list(found) == ["Run10-b2", "Run2-b1"]
    for name, beat in found.items():
        np.testing.assert_array_equal(beat.potentials, BEATS[name].potentials)
        np.testing.assert_array_equal(beat.pacing_location, BEATS[name].pacing_location)


def test_beats_are_found_at_any_depth_and_sorted_by_name(folder):
    (folder / "notes.mat").write_bytes(b"not a beat")
    (folder / "._Run2-b1-cs.mat").write_bytes(b"what a Mac leaves")
    same(read_beats(folder))


def test_an_archive_holds_what_the_folder_holds(folder, tmp_path):
    path = tmp_path / "submission.zip"
    pack_beats(sorted(folder.rglob("*-cs.mat")), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/Run2-b1-cs.mat", b"what a Mac leaves")
        assert "Run10-b2-cs.mat" in archive.namelist()
    same(read_beats(path))


def test_files_are_as_the_public_scorer_reads_them(folder):
    """It squeezes `ts.potvals` and `ts.pacingLoc` of `scipy.io.loadmat`."""
    ts = loadmat(folder / "Run2-b1-cs.mat", squeeze_me=True, struct_as_record=False)["ts"]
    assert np.squeeze(ts.pacingLoc).shape == (3,)
    np.testing.assert_array_equal(np.squeeze(ts.potvals), BEATS["Run2-b1"].potentials)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3)])
def test_any_shape_of_three_numbers_is_a_site(tmp_path, shape):
    savemat(tmp_path / "a-cs.mat", {"ts": {"potvals": np.ones((2, 2)), "pacingLoc": np.arange(3.0).reshape(shape)}})
    np.testing.assert_array_equal(read_beats(tmp_path)["a"].pacing_location, [0, 1, 2])


def test_potentials_may_be_empty(tmp_path):
    savemat(tmp_path / "a-cs.mat", {"ts": {"potvals": np.zeros((0, 0)), "pacingLoc": [1.0, 2.0, 3.0]}})
    assert read_beats(tmp_path)["a"].potentials.shape == (0, 0)


def test_what_is_wrong_is_said_in_a_sentence(folder, tmp_path):
    with pytest.raises(InputError, match=r"there is no such folder or \.zip with beats"):
        read_beats(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no beat; beats are files whose names end in -cs\.mat"):
        read_beats(tmp_path / "empty")
    write_beats({"Run2-b1": BEATS["Run2-b1"]}, folder / "session")
    with pytest.raises(InputError, match=r"Run2-b1-cs\.mat occur more than once"):
        read_beats(folder)


def test_a_broken_archive_is_refused(folder, tmp_path):
    path = tmp_path / "s.zip"
    pack_beats(sorted(folder.rglob("*-cs.mat")), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"s\.zip: is not a folder, and not a whole \.zip"):
        read_beats(path)
    broken = bytearray(whole)
    broken[60:80] = bytes(20)
    path.write_bytes(broken)
    with pytest.raises(FileFormatError, match=r"s\.zip: is not a folder, and not a whole \.zip: Bad CRC"):
        read_beats(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    """Sizes are those of the directory at the end of the archive; nothing is unpacked."""
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-cs.mat", b"0" * 100)
    whole = bytearray(path.read_bytes())
    at = whole.index(b"PK\x01\x02") + 24
    whole[at : at + 4] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(FileFormatError, match="promise to unpack to 2000000000, more than recordings"):
        read_beats(path)


def test_a_beat_in_an_archive_is_named_by_it(tmp_path):
    savemat(tmp_path / "a-cs.mat", {"ts": {"potvals": np.ones((2, 2))}})
    pack_beats([tmp_path / "a-cs.mat"], tmp_path / "s.zip")
    with pytest.raises(FileFormatError, match=r"s\.zip.a-cs\.mat: has no pacing site; the scorer needs ts\.pacingLoc"):
        read_beats(tmp_path / "s.zip")


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(InputError, match="beat a: its potentials must be finite"):
        write_beats({"a": ChallengeBeat(np.full((2, 2), np.nan), np.zeros(3))}, tmp_path)
    with pytest.raises(InputError, match="needs the pacing site"):
        write_beats({"a": ChallengeBeat(np.ones((2, 2)), np.full(3, np.nan))}, tmp_path)
    assert not list(tmp_path.iterdir())
