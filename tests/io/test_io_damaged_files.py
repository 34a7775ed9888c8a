"""Damaged files of every format end in one clear error, never in another exception, a hang or a grab for memory."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_samples import SAMPLES, make, octahedron, recording, volume

from einthoven.core import InputError
from einthoven.io import Content, formats, read, write

#: What other modules write: file name and content.
OTHERS = {
    "csv": ("a.csv", {"time_series": recording()}),
    "wfdb": ("a.hea", {"time_series": recording()}),
    "edf": ("a.edf", {"time_series": recording(3, 100)}),
    "bdf": ("a.bdf", {"time_series": recording(3, 100)}),
    "zarr": ("a.zarr", {"time_series": recording()}),
    "vtp": ("a.vtp", {"surfaces": (octahedron(),)}),
    "vtu": ("a.vtu", {"volumes": (volume(),)}),
    "vtk": ("a.vtk", {"surfaces": (octahedron(),)}),
}
ENDINGS = {suffix for f in formats() for suffix in f.suffixes}
ALL = [*SAMPLES, *(n for n, (file, _) in OTHERS.items() if Path(file).suffix in ENDINGS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def sample(name: str, folder: Path) -> tuple[Path, list[Path]]:
    """Write the sample; return it and the files it consists of."""
    place = folder / name
    place.mkdir(exist_ok=True)
    if name in SAMPLES:
        path = make(name, place)
    else:
        file, parts = OTHERS[name]
        path = place / file
        write(Content(path, "memory", **parts), path)
    return path, sorted(p for p in place.rglob("*") if p.is_file())


def outcome(path: Path) -> str:
    """Read the file; only an `InputError` (of one line, naming a file) is allowed to come out."""
    try:
        content = read(path)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 600 + 3 * len(str(path))
        assert str(path.parent) in message, f"the message does not name the file: {message}"
        return "refused"
    assert isinstance(content, Content)
    repr(content)
    return "read"


def try_all(path: Path, victim: Path, variants) -> list[str]:
    """Read `path` for every damaged variant of `victim`, then put the original back."""
    original = victim.read_bytes()
    found = []
    try:
        for damaged in variants(original):
            victim.write_bytes(damaged)
            try:
                found.append(outcome(path))
            except Exception as error:
                error.add_note(f"while reading a damaged {victim.name}: {damaged[:200]!r}...")
                raise
    finally:
        victim.write_bytes(original)
    return found


def cuts(data: bytes) -> list[bytes]:
    """Cut off at 40 places, dense at both ends."""
    n = len(data)
    places = {0, 1, 2, 3, 5, 8, 12, 16, 20, n - 1, n - 2, n - 4, n - 8, n - 9}
    places |= {int(v) for v in np.linspace(0, n, 28)}
    return [data[:k] for k in sorted(places) if 0 <= k < n]


def flips(data: bytes, *, count: int = 60) -> list[bytes]:
    """One random byte changed, mostly near the beginning."""
    rng = np.random.default_rng(len(data))
    found = []
    for k in range(count):
        at = int(rng.integers(0, len(data) if k % 2 else min(len(data), 300)))
        found.append(data[:at] + bytes([int(rng.integers(0, 256))]) + data[at + 1 :])
    return found


def counts(data: bytes) -> list[bytes]:
    """Four-byte words replaced by large counts of either byte order, and numbers in text by larger ones."""
    if b"\0" not in data:
        words = data.split(b" ")
        places = [k for k, w in enumerate(words) if w.strip().isdigit()][:12]
        return [b" ".join([*words[:k], b"999999999", *words[k + 1 :]]) for k in places] + [b"2000000000\n" + data]
    found = []
    for at in range(0, min(len(data) - 4, 420), 4):
        for word in (struct.pack("<I", 0x7FFFFFF0), struct.pack(">I", 0x0FFFFFF0)):
            found.append(data[:at] + word + data[at + 4 :])
    return found


@pytest.mark.parametrize("name", ALL)
def test_cut_off(name, folder):
    path, files = sample(name, folder)
    for victim in files:
        found = try_all(path, victim, cuts)
        assert "refused" in found or len(files) > 1


@pytest.mark.parametrize("name", ALL)
def test_changed_bytes(name, folder):
    path, files = sample(name, folder)
    for victim in files:
        try_all(path, victim, flips)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_swollen_counts_take_no_memory(name, folder):
    path, files = sample(name, folder)
    outcome(path)  # imports what the reader needs
    tracemalloc.start()
    try:
        for victim in files:
            try_all(path, victim, counts)
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [n for n in ALL if n in SAMPLES])
def test_cut_in_the_middle_is_always_refused(name, folder):
    """A file cut at a third or two thirds has lost numbers: nothing may look whole."""
    path, files = sample(name, folder)
    for victim in files:
        if name in ("map3d", "map3d-points", "map3d-potentials", "carp-fibers") or victim.suffix == ".lon":
            continue  # no counts in these files: fewer whole lines are another whole file
        assert try_all(path, victim, lambda d: [d[: len(d) // 3], d[: 2 * len(d) // 3]]) == ["refused", "refused"]


@pytest.mark.parametrize("suffix", sorted(ENDINGS - {".zarr"}))
def test_garbage(suffix, folder):
    rng = np.random.default_rng(11)
    path = folder / f"garbage{suffix}"
    for data in (
        b"\n",
        b" \n\n ",
        b"\0" * 300,
        b"hello\nworld\n",
        b"1\n",
        b"-1\n",
        b"3 4\n",
        rng.bytes(700),
        b"\xff\xfe",
    ):
        path.write_bytes(data)
        outcome(path)
        path.unlink()


TEXTS = ["map3d", "tri", "carp-surface", "ply-ascii", "stl-ascii", "fld-ascii", "ecgsim-matrix"]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(TEXTS), data=st.data())
def test_text_with_words_exchanged(name, data, folder):
    """Any word of a text file replaced by another: refused, or read as what it then says."""
    path, files = sample(name, folder)
    victim = data.draw(st.sampled_from(files))

    def variants(original: bytes) -> list[bytes]:
        words = original.split(b" ")
        at = data.draw(st.integers(0, len(words) - 1))
        odd = [b"", b"nan", b"-inf", b"1e999", b"-7", b"0", b"1_0", b"0x1", b"9" * 30, b"{", b"}", b'"', b"\n", b"\xc3"]
        return [b" ".join([*words[:at], data.draw(st.sampled_from(odd)), *words[at + 1 :]])]

    try_all(path, victim, variants)


BINARIES = ["fld-binary", "scirun-matrix", "matlab-surface", "ply-binary", "stl-binary", "igb", "ecgsim-matrix-binary"]


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(BINARIES), data=st.data())
def test_binary_with_pieces_replaced(name, data, folder):
    """Any piece of a binary file replaced by any bytes, of another length too."""
    path, files = sample(name, folder)

    def variants(original: bytes) -> list[bytes]:
        start = data.draw(st.integers(0, len(original) - 1))
        stop = data.draw(st.integers(start, min(len(original), start + 16)))
        return [original[:start] + data.draw(st.binary(max_size=16)) + original[stop:]]

    try_all(path, files[0], variants)


@pytest.mark.parametrize("kind", [1, 2])
def test_older_vtk_files(kind, tmp_path):
    """Version 4.2, text and binary: VTK itself crashes on some of these, so they must not reach it."""
    import pyvista
    from vtkmodules.vtkIOLegacy import vtkPolyDataWriter

    heart = octahedron()
    faces = np.column_stack([np.full(heart.n_triangles, 3), heart.triangles]).ravel()
    writer = vtkPolyDataWriter()
    writer.SetFileName(str(tmp_path / "a.vtk"))
    writer.SetInputData(pyvista.PolyData(heart.points, faces))
    writer.SetFileVersion(42)
    writer.SetFileType(kind)
    writer.Write()
    path = tmp_path / "a.vtk"
    np.testing.assert_array_equal(read(path).surface().triangles, heart.triangles)
    for variants in (cuts, flips, counts):
        assert "refused" in try_all(path, path, variants)
