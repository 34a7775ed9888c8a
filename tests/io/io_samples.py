"""Small files of every format, written by the writers themselves."""

from pathlib import Path

import numpy as np

from einthoven.core import Recording, Surface
from einthoven.io import Content, Volume, write

TETRA = np.array([[0, 0, 0], [10, 0, 0], [0, 12, 0], [1, 2, 14.5]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def octahedron(name: str = "heart") -> Surface:
    """A closed outward surface of 6 nodes with coordinates that are no round numbers."""
    points = 20.0 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    points = points + np.random.default_rng(3).normal(size=(6, 3))
    up = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4]]
    down = [[2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return Surface(points, np.array(up + down), name)


def recording(n_sites: int = 5, n_times: int = 11) -> Recording:
    values = np.random.default_rng(4).normal(size=(n_sites, n_times))
    return Recording(values, 2.0 * np.arange(n_times) + 4.0, tuple(f"L{i}" for i in range(n_sites)), "bsp", "average")


def volume() -> Volume:
    points = np.vstack([TETRA, [11.0, 13.0, 15.0]])
    fibers = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    return Volume(points, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), np.array([1, 7]), fibers)


def matrix(rows: int = 4, columns: int = 6) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(rows, columns))


def content(path: Path, **parts) -> Content:
    return Content(path, "memory", **parts)


#: name of the sample -> (file name, format, content without its path)
SAMPLES = {
    "fld-binary": ("a.fld", None, {"surfaces": (octahedron(),), "arrays": {"data": matrix(6, 1)}}),
    "fld-ascii": ("a.fld", None, {"surfaces": (octahedron(),), "info": {"encoding": "ascii"}}),
    "fld-points": ("a.fld", None, {"points": {"leads": TETRA}}),
    "scirun-matrix": ("a.mat", "scirun", {"arrays": {"matrix": matrix()}}),
    "scirun-matrix-ascii": ("a.mat", "scirun", {"arrays": {"matrix": matrix()}, "info": {"encoding": "ascii"}}),
    "matlab-surface": ("a.mat", None, {"surfaces": (octahedron(), octahedron("torso"))}),
    "matlab-recording": ("a.mat", None, {"time_series": recording()}),
    "matlab-volume": ("a.mat", None, {"volumes": (volume(),), "points": {"leads": TETRA}}),
    "challenge": ("b-cs.mat", None, {"arrays": {"potvals": matrix(), "pacingLoc": np.array([1.0, 2.0, 3.0])}}),
    "tri": ("a.tri", None, {"surfaces": (octahedron(),)}),
    "ecgsim-matrix": ("a.tra", None, {"arrays": {"matrix": matrix()}}),
    "ecgsim-matrix-binary": ("a.tra", None, {"arrays": {"matrix": matrix()}, "info": {"encoding": "binary"}}),
    "map3d": ("a.fac", None, {"surfaces": (octahedron(),), "arrays": {"groups": np.arange(8)}}),
    "map3d-points": ("a.pts", None, {"points": {"a": TETRA}}),
    "map3d-potentials": ("a.pot", None, {"arrays": {"potvals": matrix()}}),
    "carp-volume": ("a.elem", None, {"volumes": (volume(),)}),
    "carp-surface": ("a.elem", None, {"surfaces": (octahedron(),), "arrays": {"regions": np.arange(8)}}),
    "carp-points": ("a.pts", "carp", {"points": {"a": TETRA}}),
    "carp-fibers": ("a.lon", None, {"arrays": {"fibers": matrix(3, 6)}}),
    "igb": ("a.igb", None, {"time_series": recording()}),
    "ply-binary": ("a.ply", None, {"surfaces": (octahedron(),), "arrays": {"lat": matrix(6, 1)}}),
    "ply-ascii": ("a.ply", None, {"surfaces": (octahedron(),), "info": {"encoding": "ascii"}}),
    "stl-binary": ("a.stl", None, {"surfaces": (octahedron(),)}),
    "stl-ascii": ("a.stl", None, {"surfaces": (octahedron(),), "info": {"encoding": "ascii"}}),
}


def make(name: str, folder: Path) -> Path:
    """Write the sample of that name into `folder` and return its path."""
    file, format_, parts = SAMPLES[name]
    path = folder / file
    write(content(path, **parts), path, format=format_)
    return path
