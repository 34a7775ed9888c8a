"""Files from elsewhere: nothing in them is run, nothing outside of them is read, no memory is taken on their word."""

import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from io_samples import matrix, recording

from einthoven.core import FileFormatError, ForwardOperator, InputError
from einthoven.io import read
from einthoven.io.archives import read_archive
from einthoven.io.case_file import parse
from einthoven.io.pictures import read_tissue_picture
from einthoven.io.reading import MOST_TIMES, MOST_UNPACKED, check_unpacked
from einthoven.io.ready_files import checked_model
from einthoven.io.zarr_store import load_operator, load_zarr, save_operator, save_zarr
from einthoven.surrogate.configuration import Configuration

SOURCE = Path(__file__).parents[2] / "src" / "einthoven"


# --- the source: what could run code from a file is not there ------------------------------------


DANGEROUS = re.compile(
    r"\bpickle\b(?!s)|\beval\(|(?<!\.)\bexec\(|\byaml\b|joblib|torch\.load|os\.system|os\.popen|shell=True|"
    r"allow_pickle=True|unpack_archive|extractall|marshal|shelve|tarfile"
)
#: Lines that match and are harmless, with the reason why.
HARMLESS = {
    "simulate/kernels_module.py": "kernels that the package itself writes, where no folder to keep them can be written"
}


def test_nothing_that_runs_code_from_files_is_called():
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if DANGEROUS.search(line.split("#")[0]) and '"""' not in line
    }
    assert found == set(HARMLESS)


def test_every_numpy_file_is_read_without_objects():
    loads = [
        (path.name, line.strip())
        for path in SOURCE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bnp\.load\(|format\.read_array\(", line)
    ]
    assert [name for name, _ in loads] == ["archives.py"]
    assert "allow_pickle=False" in loads[0][1]


# --- archives ------------------------------------------------------------------------------------


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_objects_in_an_archive_are_refused_and_not_run(tmp_path):
    np.savez(tmp_path / "a.npz", kind=np.array([Trap(tmp_path / "ran")], dtype=object))
    with pytest.raises(FileFormatError, match=r"kind\.npy holds objects, which are not read"):
        load_operator(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


def archive(path: Path, *, shape: str, data: bytes, n: int = 1) -> Path:
    """An archive of arrays of bytes whose headers promise a shape."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    entry = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for k in range(n):
            file.writestr(f"a{k}.npy", entry)
    return path


def test_an_array_that_promises_more_than_its_entry_takes_no_memory(tmp_path):
    with pytest.raises(FileFormatError, match=r"a0.npy holds 4000000000000 bytes in 13\d"):
        read_archive(archive(tmp_path / "a.npz", shape="(4000000000000,)", data=b"1234"))
    assert read_archive(archive(tmp_path / "b.npz", shape="(4,)", data=b"1234"))["a0"].tobytes() == b"1234"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("einthoven.io.reading.MOST_UNPACKED", 1 << 20)
    path = archive(tmp_path / "a.npz", shape=f"({1 << 20},)", data=bytes(1 << 20), n=2)
    assert path.stat().st_size * MOST_TIMES < 2 << 20
    with pytest.raises(FileFormatError, match="bytes promise to unpack to"):
        read_archive(path)


def test_the_bound_is_what_the_page_says():
    assert (MOST_UNPACKED, MOST_TIMES) == (1 << 30, 100)
    check_unpacked(Path("a"), MOST_UNPACKED, 1)
    check_unpacked(Path("a"), 100 * (1 << 25), 1 << 25)
    with pytest.raises(FileFormatError, match="1 bytes promise to unpack to 1073741825"):
        check_unpacked(Path("a"), MOST_UNPACKED + 1, 1)


@pytest.mark.parametrize("cut", [0, 3, 30, 200, -30, -1])
def test_archives_that_are_cut_off_are_refused(tmp_path, cut):
    path = tmp_path / "a.npz"
    save_operator(ForwardOperator(matrix(2, 3), ("a", "b", "c"), ("x", "y"), "hsp", "bsp", "absolute"), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileFormatError, match=r"a\.npz: .*cannot be read"):
        load_operator(path)


# --- MATLAB --------------------------------------------------------------------------------------


def test_a_compressed_variable_that_promises_too_much_is_refused(tmp_path):
    block = zlib.compress(struct.pack("<2I", 14, 0xF0000000) + bytes(1000))
    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 15, len(block)) + block
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"byte 136: .*promise to unpack to 4026531840"):
        read(tmp_path / "a.mat")


def version73(path: Path, fill) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def outside_raw(file: h5py.File, secret: Path) -> None:
    file.create_dataset("a", shape=(6,), dtype="u1", external=[(str(secret), 0, 6)])


def outside_link(file: h5py.File, secret: Path) -> None:
    file["a"] = h5py.ExternalLink(str(secret), "x")


def outside_link_in_a_group(file: h5py.File, secret: Path) -> None:
    file.create_group("g")["a"] = h5py.ExternalLink(str(secret), "x")


def outside_virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=(6,), dtype="u1")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(6,))
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize("fill", [outside_raw, outside_link, outside_link_in_a_group, outside_virtual])
def test_values_that_lie_in_another_file_are_not_read(tmp_path, fill):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(FileFormatError, match="in another file; copy"):
        read(version73(tmp_path / "a.mat", lambda file: fill(file, tmp_path / "secret")))


def references(file: h5py.File) -> None:
    """Cells of two references each to the next cell: 2^30 ways to the end."""
    refs = file.create_group("#refs#")
    last = refs.create_dataset("end", data=np.zeros((2, 2)))
    for k in range(30):
        last = refs.create_dataset(f"c{k}", data=np.array([[last.ref, last.ref]], dtype=h5py.ref_dtype))
    file.create_dataset("a", data=np.array([[last.ref]], dtype=h5py.ref_dtype))


def a_circle(file: h5py.File) -> None:
    group = file.create_group("g")
    for name in "abc":
        group[name] = group


@pytest.mark.parametrize("fill", [references, a_circle])
def test_references_to_the_same_places_end(tmp_path, fill):
    with pytest.raises(FileFormatError, match=r"lead in circles or to the same places|nested more than"):
        read(version73(tmp_path / "a.mat", fill))


# --- what is no file, and names of files in files ------------------------------------------------


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InputError, match="is a device, a pipe or a socket, not a file"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["../secret.dat", "/etc/passwd", "sub/a.dat", "..", "https://host/a.dat"])
def test_signals_of_a_record_lie_beside_its_header(tmp_path, name):
    (tmp_path / "a.hea").write_text(f"a 1 500 4\n{name} 16 1000/mV 16 0 0 0 0 I\n")
    with pytest.raises(FileFormatError, match=r"line 2: signals must be in files beside the header; got"):
        read(tmp_path / "a.hea")


def test_arrays_packed_by_other_codecs_are_not_unpacked(tmp_path):
    save_zarr(recording(), tmp_path / "a.zarr")
    file = tmp_path / "a.zarr" / "potential" / "zarr.json"
    told = json.loads(file.read_text())
    told["codecs"] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "gzip", "configuration": {"level": 5}},
    ]
    file.write_text(json.dumps(told))
    with pytest.raises(FileFormatError, match=r"array 'potential' is packed by 'gzip'; .* bytes, vlen-utf8, zstd only"):
        load_zarr(tmp_path / "a.zarr")


# --- pictures ------------------------------------------------------------------------------------


def test_postscript_is_not_handed_to_another_program(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("another program was called"))
    with pytest.raises(FileFormatError, match="is no picture that can be read"):
        read_tissue_picture(tmp_path / "a.png")


@pytest.mark.parametrize("side", [5_000, 100_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path, side):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(FileFormatError, match="pixels; at most 16 million"):
        read_tissue_picture(tmp_path / "a.png")


# --- TOML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 100_000, "a = 1\na = 2"])
def test_odd_toml_is_one_sentence(tmp_path, text):
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(FileFormatError, match="is not valid TOML"):
        parse(tmp_path / "case.toml")
    with pytest.raises(FileFormatError, match="is no TOML file"):
        checked_model(Configuration, text, "a.toml")


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(InputError) as error:
        checked_model(Configuration, f"title = [{'1, ' * 3000}]\n", "a.toml")
    assert len(str(error.value)) < 300


# --- the terminal --------------------------------------------------------------------------------


def test_text_of_files_does_not_steer_the_terminal(tmp_path):
    steering = "\x1b]0;title\x07\x1b[2J"
    code = "import sys; from einthoven.cli import console; console.fail('is ' + sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, steering], capture_output=True, text=True)
    assert done.stderr == "error: is \\x1b]0;title\\x07\\x1b[2J\n"
    code = "import sys; from einthoven.cli import console; text = sys.argv[1]; console.say(text)"
    code += "; console.table([{'a': text}], {'a': 'a'})"
    done = subprocess.run([sys.executable, "-c", code, steering], capture_output=True, text=True)
    assert "\x1b" not in done.stdout
    assert done.stdout.count("\\x1b]0;title\\x07") == 2
