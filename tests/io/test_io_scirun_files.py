"""SCIRun streams: the older and newer versions beside those of the measured files, and what is refused."""

import struct

import numpy as np
import pytest
from io_samples import TETRA, make, matrix, octahedron

from einthoven.core import FileFormatError
from einthoven.io import read

FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])

TEXT_2 = """SCI
ASC
2
{@1 {GenericField<TriSurfMesh<TriLinearLgn<Point>>,ConstantBasis<float>,vector<float>> 3 {Field 3 {PropertyManager 2 1 \
"name" @2 {Property<string> 2 0 "Four faces" }
}
}
{@3 {TriSurfMesh<TriLinearLgn<Point>> 4 {Mesh 2 {PropertyManager 2 0 }
}
{STLVector 2 4 {0 0 0}{10 0 0}{0 12 0}{1 2 14.5}}
{STLIndexVector 1 12 8 0 2 1 0 1 3 1 2 3 2 0 3 }
{TriLinearLgn<Point>  1 }
}
}{ConstantBasis<float>  1 }
{STLVector 2 4  0.5 1 1.5 2}
}
}"""


class Version2:
    """Builds binary streams of version 2 in either byte order."""

    def __init__(self, order: str):
        self.order = order
        self.data = b"SCI\nBIN\n002\n" + (b"LIT\n" if order == "<" else b"BIG\n")

    def pack(self, code: str, *values) -> "Version2":
        self.data += struct.pack(self.order + code, *values)
        return self

    def name(self, text: str, version: int) -> "Version2":
        return self.text(text).pack("i", version)

    def text(self, text: str) -> "Version2":
        self.data += struct.pack(self.order + "I", len(text) + 1) + text.encode() + b"\0"
        return self

    def numbers(self, values, kind: str) -> "Version2":
        self.data += np.asarray(values).astype(self.order + kind).tobytes()
        return self


@pytest.mark.parametrize("order", ["<", ">"])
def test_matrix_of_version_4(tmp_path, order):
    for flag in ("i", "B"):  # SCIRun 5 writes the flag "raw" as an integer, SCIRun 4 as a byte
        out = Version2(order).pack("2i", 1, 1).name("DenseMatrix", 4).name("Matrix", 3).name("PropertyManager", 2)
        out.pack("I", 1).text("time").pack("2i", 1, 2).name("Property<double>", 2).pack("B", 0).pack("d", 2.5)
        out.pack("2q", 4, 6).pack(flag, 0).numbers(matrix(), "f8")
        (tmp_path / "a.mat").write_bytes(out.data)
        content = read(tmp_path / "a.mat")
        np.testing.assert_array_equal(content.array(), matrix())
        assert content.info["time"] == "2.5"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("width", [4, 8])
def test_field_of_version_3(tmp_path, order, width):
    name = "GenericField<TriSurfMesh<TriLinearLgn<Point>>,TriLinearLgn<double>,vector<float>>"
    out = Version2(order).pack("2i", 1, 1).name(name, 3).name("Field", 3).name("PropertyManager", 2).pack("I", 0)
    out.pack("2i", 1, 2).name("TriSurfMesh<TriLinearLgn<Point>>", 4).name("Mesh", 2).name("PropertyManager", 2)
    out.pack("I", 0).name("STLVector", 2).pack("i", 4).numbers(TETRA, "f8")
    out.name("STLIndexVector", 1).pack("2q", 12, width).numbers(FACES, f"i{width}").name("TriLinearLgn<Point>", 1)
    out.name("TriLinearLgn<double>", 1).name("STLVector", 2).pack("i", 4).numbers([1, 2, 3, 4], "f4")
    (tmp_path / "a.fld").write_bytes(out.data)
    content = read(tmp_path / "a.fld")
    np.testing.assert_array_equal(content.surface().points, TETRA)
    np.testing.assert_array_equal(content.surface().triangles, FACES)
    np.testing.assert_array_equal(content.array(), [1, 2, 3, 4])


def test_text_of_version_2(tmp_path):
    (tmp_path / "a.fld").write_text(TEXT_2)
    content = read(tmp_path / "a.fld")
    assert content.surface().name == "Four faces"
    np.testing.assert_array_equal(content.surface().points, TETRA)
    np.testing.assert_array_equal(content.surface().triangles, FACES)
    np.testing.assert_array_equal(content.array(), [0.5, 1, 1.5, 2])


def test_column_matrix(tmp_path):
    out = Version2("<").pack("2i", 1, 1).name("ColumnMatrix", 3).name("Matrix", 3).name("PropertyManager", 2)
    out.pack("I", 0).pack("q", 3).numbers([1, 2, 3], "f8")
    (tmp_path / "a.mat").write_bytes(out.data)
    np.testing.assert_array_equal(read(tmp_path / "a.mat").array(), [[1], [2], [3]])


def test_written_binary_files_have_the_layout_of_measured_ones(tmp_path, data_dir):
    """The same beginning, byte for byte, as a field and a matrix that SCIRun wrote."""
    field = make("fld-binary", tmp_path).read_bytes()
    measured = (data_dir / "utah_cage_tank" / "tank.fld").read_bytes()
    assert field[:0xBC] == measured[:0xBC]
    written = make("scirun-matrix", tmp_path).read_bytes()
    measured = (data_dir / "utah_cage_tank" / "Ucager.mat").read_bytes()
    assert written[:0x54] == measured[:0x54]
    assert written[0x5C:0x60] == measured[0x5C:0x60]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("TriSurfMesh<TriLinearLgn<Point>> 4", "TetVolMesh<TetLinearLgn<Point>> 4"),
            "expected TriSurfMesh or PointCl",
        ),
        (
            ("GenericField<TriSurfMesh", "Nonsense<TriSurfMesh"),
            r"'Nonsense<TriSurfMesh.*' is not read; fields of triangles",
        ),
        (("{Field 3", "{Field 9"), "line 4, column 99: Field of version 9 is not known; the newest read is 3"),
        (("TriLinearLgn<Point>  1", "TriCubicHmt<Point>  1"), "fields over 'TriCubicHmt<Point>' are not read"),
        (("vector<float>> 3", "vector<Tensor>> 3"), "data of type 'Tensor' is not read"),
        (("1 12 8 0", "1 11 8 0"), r"expected '}', got '3'"),
        (("{10 0 0}", "{10 0}"), "point 1 must be three numbers in braces"),
        (("14.5", "fourteen"), "line 9, column 44: expected a number of type float64, got 'fourteen'"),
        (("2 0 3 }", "2 0 7 }"), r"node indices must be 0\.\.3; faces 3 point outside"),
        (("STLVector 2 4  0.5 1 1.5 2", "STLVector 2 3  0.5 1 1.5"), "holds 3 values; its mesh has 4 nodes and 4"),
        (("STLVector 2 4  0.5", "STLVector 2 900  0.5"), "900 values of type float are promised, .* words are left"),
        (("STLVector 2 4 {", "STLVector 2 400 {"), "400 points are promised, at most"),
        (("Property<string>", "Property<Matrix>"), "a property of type 'Property<Matrix>' is not read"),
        (('"Four faces"', "four"), "expected a quoted string, got 'four'"),
        (("@2", "x2"), "expected a pointer like @1, got 'x2'"),
        (("{@1", "%1"), "expected '{', got '%1'"),
        (("Field 3 ", "Field three "), "the version of a class must be an integer"),
    ],
)
def test_refusals_in_text(tmp_path, change, message):
    assert change[0] in TEXT_2
    (tmp_path / "a.fld").write_text(TEXT_2.replace(*change))
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a.fld")


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (0, b"SCX\n", "byte 0: not a SCIRun file"),
        (4, b"FAS\n", "byte 4: SCIRun stream of kind b'FAS'; BIN and ASC are read"),
        (8, b"007\n", "byte 8: only versions 001 and 002"),
        (8, b"002\n", "byte 12: the byte order must be LIT or BIG"),
        (12, b"\0\0\0\7", r"byte 20: a pointer must begin with 0 or 1; got 7"),
        (12, b"\0\0\0\0", "the file holds a pointer to nothing"),
        (0x14, b"\x7f\0\0\0", "a string of 2130706432 characters is promised; names here are short"),
        (0x54, b"\0\0\1\0", r"256 points|\d+ values of type double are promised, \d+ bytes are left"),
        (0x54, b"\0\0\0\1", r"\d+ bytes follow where the file should end"),
        (0x5C, b"\0\0\0\1", r"in a separate \.raw file"),
        (0x54, b"\xff\xff\xff\xff", "a matrix must not have -1 x 6 entries"),
    ],
)
def test_refusals_in_binary(tmp_path, at, new, message):
    data = bytearray(make("scirun-matrix", tmp_path).read_bytes())
    data[at : at + len(new)] = new
    (tmp_path / "x.fld").write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "x.fld")


def test_other_matrices_are_refused_by_name(tmp_path):
    out = Version2("<").pack("2i", 1, 1).name("SparseRowMatrix", 2)
    (tmp_path / "a.mat").write_bytes(out.data)
    with pytest.raises(FileFormatError, match="'SparseRowMatrix' is not read; fields of triangles"):
        read(tmp_path / "a.mat")
    out = Version2("<").pack("2i", 1, 1).name("Sparse\nRow", 2)
    (tmp_path / "a.mat").write_bytes(out.data)
    with pytest.raises(FileFormatError, match=r"'Sparse\\nRow' is not read"):
        read(tmp_path / "a.mat")


def test_surface_keeps_its_name(tmp_path):
    assert read(make("fld-binary", tmp_path)).surface().name == octahedron().name
