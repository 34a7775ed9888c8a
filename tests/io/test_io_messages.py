"""One wrong file of each kind, and the sentence it gives: what, where, how to mend it."""

import struct

import numpy as np
import pytest
from io_samples import make

from einthoven.core import FileFormatError
from einthoven.io import read

NODES = "0 0 0\n10 0 0\n0 12 0\n1 2 14.5\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
)
IGB = "x:2 y:1 z:1 t:3 type:float systeme:little_endian"
STL = (
    "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\nendsolid a\n"
)


def igb(header: str, body: bytes = bytes(24)) -> bytes:
    return header.encode().ljust(1023) + b"\f" + body


WRONG = [
    # map3d
    ({"a.pts": "1 2 3\n4 5\n"}, r"a\.pts, line 2: points need 3 numbers per line; got 2"),
    ({"a.pts": "1 2 3\n\n# remark\n4 5 x\n"}, r"a\.pts, line 4: points must be numbers; got 'x'"),
    ({"a.pts": "1 2 3\n4 5 nan\n"}, r"points must be finite; 1 \(0-based\) hold NaN or infinity"),
    ({"a.pts": "1 2 3\n4 5 1e999\n"}, r"points must be finite; 1 \(0-based\)"),
    ({"a.fac": "1 2 3\n", "a.pts": "1 2 3 4 5\n"}, r"points need 3 or 4 numbers per line; got 5"),
    ({"a.fac": " \n"}, r"a\.fac, line 1: no triangles: the file holds only blank lines"),
    ({"a.fac": "1 2 3\n0 1 2\n", "a.pts": NODES}, r"a\.fac, line 2: nodes are counted from 1; got 0"),
    ({"a.fac": "1 2 3\n1 2 5\n", "a.pts": NODES}, r"a\.fac, triangle 2: triangle 2 names node 5; a\.pts holds 4"),
    ({"a.fac": "1 2 2\n", "a.pts": NODES}, r"a triangle must have three different nodes; faces 0 repeat one"),
    ({"a.fac": "1 2 3.5\n", "a.pts": NODES}, r"line 1: triangles must be numbers; got '3\.5'"),
    ({"a.fac": "1 2 99999999999999999999\n"}, r"line 1: triangles must be numbers; got '99999999999999999999'"),
    ({"a.pts": b"1 2 3\n\0\0"}, r"a\.pts, byte 6: a text file was expected, this one is binary"),
    ({"a.pot": "1\n2\nx\n"}, r"line 3: potentials must be numbers; got 'x'"),
    ({"a.pot": "1.5 2\n2\n"}, r"line 2: potentials need 2 numbers per line; got 1"),
    ({"a.leadlinks": "many leads\n1 2\n"}, r"line 1: the number of leads must be an integer; got 'many'"),
    ({"a.leadlinks": "3 leads\n1 2\n"}, r"line 2: the file promises 3 leads and ends after 1\. Is it cut off"),
    ({"a.channels": "1 leads\n1 2\n3 4\n"}, r"line 3: the file should end here; 1 lines follow\. Is a count too small"),
    ({"a.channels": "-1 leads\n"}, r"line 1: the number of leads must not be negative"),
    # ECGSIM
    ({"a.tri": f"4 7\n{NODES}"}, r"line 1: the number of nodes must stand alone; got 2 words"),
    ({"a.tri": "\n"}, r"line 1: the file ends where the number of nodes should be"),
    ({"a.tri": f"5\n{NODES}"}, r"line 5: the file promises 5 nodes and ends after 4"),
    ({"a.tri": f"4\n{NODES}1\n0 1 2\n"}, r"a\.tri: nodes are counted from 1; got 0"),
    ({"a.tri": f"4\n{NODES}1\n1 2 9\n"}, r"node indices must be 0\.\.3; faces 0 point outside"),
    (
        {"a.tri": f"4\n{NODES}2\n1 1 2 3\n7 1 3 4\n"},
        r"line 8: triangles must be numbered 1, 2, \.\.\.; got 7 instead of 2",
    ),
    ({"a.tra": "two 2\n1 2 3 4\n"}, r"line 1: a matrix begins with its numbers of rows and columns"),
    ({"a.tra": "2 2\n1.0 2.0 3.0\n"}, r"2 x 2 values are promised, 3 found"),
    (
        {"a.tra": "2000 2000\n1 2 3 4\n"},
        r"2000 x 2000 values are promised, the file has only \d+ bytes\. Is it cut off",
    ),
    ({"a.tra": "2 2\n1 2 3 x\n"}, r"row 2, column 2: expected a number, got 'x'"),
    ({"a.tra": "2 2\n1 2\n3 4\n5 6\n"}, r"after row 2: more values than rows x columns follow"),
    ({"a.tra": struct.pack("<2i", 5, 5) + bytes(40)}, r"byte 0: 5 x 5 values are promised, 40 bytes follow"),
    ({"a.tra": b";;mbfmat\0\0\0"}, r"the file ends before the size of the matrix"),
    ({"a.tra": struct.pack("<2i", 1, 2) + bytes(16) + b"\xff" * 9}, r"9 bytes follow that are no remark"),
    # CARP
    ({"a.elem": "1\nTt 0 1 2 3 1\n"}, r"its nodes are in a\.pts, which is not there\. Put both together"),
    ({"a.elem": "1\nTt 0 1 2 9 1\n", "a.pts": "4\n" + NODES}, r"a\.elem, line 2: nodes must be 0\.\.3; got 0 1 2 9"),
    ({"a.elem": "1\nHx 0 1 2 3 1\n", "a.pts": "4\n" + NODES}, r"'Hx': hexahedra are not read; tetrahedra"),
    ({"a.elem": "1\nZz 0 1 2 3 1\n", "a.pts": "4\n" + NODES}, r"'Zz': elements of an unknown kind are not read"),
    ({"a.elem": "1\nTr 0 1\n", "a.pts": "4\n" + NODES}, r"line 2: Tr needs 3 nodes and a region; got 2"),
    ({"a.elem": "1\nTr 0 1 x 1\n", "a.pts": "4\n" + NODES}, r"nodes and region must be integers; got '0 1 x 1'"),
    ({"a.elem": "7\nTr 0 1 2 1\n", "a.pts": "4\n" + NODES}, r"line 2: the file promises 7 elements and ends after 1"),
    (
        {"a.elem": "1\nTt 0 1 2 3 1\n", "a.pts": "4\n" + NODES, "a.lon": "1\n1 0 0\n0 1 0\n"},
        r"a\.lon: 2 fibers for 1 elements\. Do the files belong together",
    ),
    ({"a.lon": "5\n1 0 0\n"}, r"line 1: a \.lon file holds 1 or 2 directions per element; got 5"),
    ({"a.lon": "1\n1 0 nan\n"}, r"line 2: fibers must be finite"),
    ({"a.vtx": "2\n0\n3\n"}, r"line 2: the second line must be 'intra' or 'extra'"),
    # IGB
    ({"a.igb": b"x:1"}, r"byte 0: an IGB header has 1024 bytes; the file has 3"),
    ({"a.igb": igb("nothing here")}, r"an IGB header must tell at least x: and type:"),
    ({"a.igb": igb(IGB.replace("x:2", "x:two"))}, r"header: x: must be a positive integer; got 'two'"),
    ({"a.igb": igb(IGB.replace("float", "vec3f"))}, r"type 'vec3f' is not read; byte, char"),
    ({"a.igb": igb(IGB.replace("little_endian", "middle"))}, r"systeme 'middle' is not known"),
    ({"a.igb": igb(IGB + " facteur:much")}, r"facteur: must be a number; got 'much'"),
    (
        {"a.igb": igb(IGB, bytes(20))},
        r"byte 1024: 3 frames of 2 values \(float32\) are promised, 20 bytes.*: 2 whole frames",
    ),
    # PLY
    ({"a.ply": "plyx\n"}, r"line 1: a PLY file must begin with 'ply'"),
    ({"a.ply": "ply\nformat ascii 1.0\n"}, r"the header has no end"),
    ({"a.ply": PLY.replace("format ascii 1.0\n", "")}, r"the header names no format"),
    (
        {"a.ply": PLY.replace("property float z\n", "") + "0 0\n" * 4 + "3 0 1 2\n"},
        r"must hold the element vertex with x, y, z",
    ),
    ({"a.ply": PLY.replace("float z", "quaternion z")}, r"line 6: property not understood: 'quaternion z'"),
    ({"a.ply": PLY.replace("float z", "float y")}, r"line 6: element vertex names a property twice"),
    ({"a.ply": PLY.replace("vertex 4", "vertex few")}, r"line 3: not understood: 'element vertex few'"),
    ({"a.ply": PLY.replace("end_", "property list uchar int b\nend_")}, r"element face has two lists"),
    ({"a.ply": PLY + NODES + "4 0 1 2 3\n"}, r"line 14: a face has 4 nodes; only triangles are read\. Triangulate it"),
    ({"a.ply": PLY + NODES + "3 0 1 2.5\n"}, r"line 14: node indices must be integers"),
    ({"a.ply": PLY + NODES + "3 0 1 8\n"}, r"node indices must be 0\.\.3; faces 0 point outside"),
    ({"a.ply": PLY + NODES}, r"line 13: the file promises 1 faces and ends after 0"),
    ({"a.ply": PLY + NODES + "3 0 1 2\n3 0 1 3\n"}, r"line 15: the file should end here; 1 lines follow"),
    ({"a.ply": PLY.replace("face 1", "edge 7").replace("ascii", "ascii") + NODES}, r"7 x edge are promised"),
    (
        {"a.ply": PLY.replace("ascii", "binary_little_endian").encode() + bytes(40)},
        r"4 x vertex need 48 bytes, 40 are left",
    ),
    (
        {"a.ply": PLY.replace("ascii", "binary_little_endian").encode() + bytes(48) + b"\4" + bytes(16)},
        r"byte \d+: face 0 has 4 nodes; only triangles are read",
    ),
    # STL
    ({"a.stl": b"short"}, r"byte 5: a binary STL has at least 84 bytes; got 5"),
    (
        {"a.stl": bytes(80) + struct.pack("<I", 2) + bytes(50)},
        r"byte 80: 2 triangles are promised; there are bytes for 1",
    ),
    ({"a.stl": STL.replace("endsolid a\n", "")}, r"line 9: the file ends without 'endsolid'\. Is it cut off"),
    ({"a.stl": STL.replace("vertex 1 0 0", "vertex 1 0")}, r"line 5: a corner needs three numbers; got '1 0'"),
    ({"a.stl": STL.replace("vertex 1 0 0\n", "")}, r"line 6: a facet must have 3 corners; got 2"),
    ({"a.stl": STL.replace("endfacet", "endfaces")}, r"line 8: not understood: 'endfaces'"),
    ({"a.stl": "solid a\nfacet\nendsolid a\n"}, r"0 corners make no whole triangles"),
    ({"a.stl": STL.replace("vertex 1 0 0", "vertex 1 0 inf")}, r"corners must be finite; 1 \(0-based\)"),
]


@pytest.mark.parametrize(("files", "message"), WRONG)
def test_message(tmp_path, files, message):
    for name, body in files.items():
        (tmp_path / name).write_bytes(body.encode() if isinstance(body, str) else body)
    with pytest.raises(FileFormatError, match=message) as caught:
        read(tmp_path / next(iter(files)))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.path.parent == tmp_path


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (128, struct.pack("<2I", 99, 8), "byte 128: a variable must be a matrix"),
        (
            128,
            struct.pack("<2I", 14, 0x7FFFFFF0),
            r"byte 128: an element of 2147483632 bytes is promised, \d+ are left",
        ),
        (128, struct.pack("<HH", 14, 9), "byte 128: a small element holds at most 4 bytes; got 9"),
        (136, struct.pack("<2I", 3, 8), "byte 136: array flags must be two numbers|array flags"),
        (152, struct.pack("<2I", 14, 8), "byte 152: dimensions must be numbers; got data type 14"),
        (160, struct.pack("<2i", -4, 6), "byte 152: dimensions must be two or more counts; got"),
        (160, struct.pack("<2i", 4000, 6), "byte 1[0-9]+: 4000 x 6 values are promised, 24 are there"),
        (144, struct.pack("<I", 99), "arrays of class 99 are not known"),
        (144, struct.pack("<I", 1), r"4 x 6|24 entries are promised|an entry must be a matrix"),
    ],
)
def test_messages_of_matlab(tmp_path, at, new, message):
    import scipy.io

    scipy.io.savemat(tmp_path / "a.mat", {"potvals": np.arange(24.0).reshape(4, 6)}, do_compression=False)
    data = bytearray((tmp_path / "a.mat").read_bytes())
    data[at : at + len(new)] = new
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a.mat")


def test_compressed_matlab_damage_names_the_block(tmp_path):
    path = make("matlab-surface", tmp_path)
    data = bytearray(path.read_bytes())
    data[160] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"byte 136: damaged compressed data"):
        read(path)
