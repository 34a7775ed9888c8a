"""Accuracy of the eikonal solver: errors and orders against exact times of arrival.

    python benchmarks/eikonal_accuracy.py --out out/bench [--smoke]

Prints and writes ``eikonal_accuracy.json`` and ``eikonal_accuracy.md``. Nothing here is timed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from _tables import markdown

from einthoven.core import Tetrahedra
from einthoven.eikonal import Eikonal
from einthoven.geometry.generators import rectangle, sphere
from einthoven.tissue import Grid
from einthoven.verify.convergence import observed_orders
from einthoven.verify.eikonal import around_wall, from_point, on_sphere

#: Speed of isotropic media, mm/ms; along and across fibers in the others.
SPEED, ALONG, ACROSS = 0.6, 0.6, 0.2

#: Edge of an icosahedron in a sphere of 20 mm, mm.
EDGE = 21.03

Errors = tuple[float, float, float]


def along(*fiber: float, ratio: float = ALONG / ACROSS) -> np.ndarray:
    """V of a fiber direction, mm2/ms2."""
    f = np.array(fiber) / np.linalg.norm(fiber)
    return ACROSS**2 * (np.eye(len(f)) + (ratio**2 - 1) * np.outer(f, f))


FLAT, SOLID = along(0.9, 0.42), along(1.0, 0.6, 0.35)


def errors(times: np.ndarray, exact: np.ndarray) -> Errors:
    """Mean and largest error, and the latest time, ms."""
    away = np.abs(times - exact)
    return float(away.mean()), float(away.max()), float(exact.max())


def point(h: float, size: Sequence[float], v: float | np.ndarray, order: int, reach: float | None) -> Errors:
    """A point source on a grid, at no node."""
    wave = Eikonal(Grid(tuple(round(s / h) + 1 for s in size), h), order=order, reach=reach)
    site = np.array([0.43, 0.53, 0.51])[: len(size)] * size
    return errors(wave.solve(v, [site]).times, from_point(wave.points - site, v))


def wall(h: float, order: int) -> Errors:
    """Around a wall 2 mm thick and 20 mm long in a sheet of 30 x 30 mm."""
    n = round(30 / h)
    grid, blocked = Grid((n, n), h, (h / 2, h / 2, 0.0)), (14.0, 16.0, 20.0)
    x, y = grid.points[:, :2].T
    wave = Eikonal(grid, ~((x > blocked[0]) & (x < blocked[1]) & (y < blocked[2])), order=order, reach=5.0)
    site = np.array([6.1, 8.2])
    return errors(wave.solve(SPEED**2, [site]).times, around_wall(wave.points, site, blocked) / SPEED)


def block(n: int, size: float) -> Tetrahedra:
    """A cube of n^3 nodes, six tetrahedra a cell."""
    line = np.linspace(0.0, size, n)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    index, cells = np.arange(n**3).reshape(n, n, n), []
    for axes in permutations(range(3)):
        offset, corners = [0, 0, 0], [index[:-1, :-1, :-1]]
        for axis in axes:
            offset[axis] = 1
            corners.append(index[tuple(slice(o, n - 1 + o) for o in offset)])
        cells.append(np.stack([c.reshape(-1) for c in corners], axis=1))
    return Tetrahedra(points, np.concatenate(cells))


def on_mesh(domain, exact: np.ndarray, v: float | np.ndarray, radius: float | None, last: float = np.inf) -> Errors:
    """From the node where `exact` is 0, or from all nodes up to the time `radius`, which start in time."""
    wave = Eikonal(domain)
    known = exact <= radius if radius else exact == exact.min()
    times = wave.solve(v, wave.points[known], exact[known]).times
    counted = ~known & (exact < last)
    return errors(times[counted], exact[counted])


def ball(h: float, radius: float | None) -> Errors:
    """Great circles on a sphere of 20 mm, up to 150 degrees from the site; `h` is about the length of its edges."""
    surface = sphere(20.0, subdivisions=round(np.log2(EDGE / h)))
    exact = on_sphere(surface.points, surface.points[7], SPEED)
    return on_mesh(surface, exact, SPEED**2, radius, last=np.pi * 20 / SPEED * 5 / 6)


def patch(h: float, radius: float | None) -> Errors:
    """Oblique fibers on a square of 20 mm, from its middle."""
    square = rectangle((20.0, 20.0), segments=round(20 / h))
    exact = from_point(square.points[:, :2] - square.points[:, :2].mean(axis=0), FLAT)
    v = np.eye(3)
    v[:2, :2] = FLAT
    return on_mesh(square, exact, v, radius)


def cube(h: float, v: float | np.ndarray, radius: float | None) -> Errors:
    """Tetrahedra in a cube of 10 mm, from its middle."""
    mesh = block(round(10 / h) + 1, 10.0)
    return on_mesh(mesh, from_point(mesh.points - 5.0, v), v, radius)


Study = tuple[str, Sequence[float], Callable[[float], Errors]]


def grids() -> list[Study]:
    """Point sources and a wall on grids."""
    flat, solid = (40.0, 40.0), (24.0, 24.0, 24.0)
    media = (
        ("isotropic 2-D", flat, SPEED**2, (0.5, 0.25, 0.125)),
        ("3:1 oblique 2-D", flat, FLAT, (0.5, 0.25, 0.125)),
        ("isotropic 3-D", solid, SPEED**2, (1.0, 0.5, 0.25)),
        ("3:1 oblique 3-D", solid, SOLID, (1.0, 0.5, 0.25)),
    )
    found: list[Study] = []
    for name, size, v, spacings in media:
        for order in (1, 2):
            for reach, words in ((5.0, "seeds within 5 mm"), (None, "seeds within cells")):
                label = f"{name}, order {order}, {words}"
                found.append((label, spacings, lambda h, s=size, v=v, o=order, r=reach: point(h, s, v, o, r)))
    for order in (1, 2):
        found.append((f"around a wall, order {order}", (1.0, 0.5, 0.25), lambda h, o=order: wall(h, o)))
    return found


def meshes() -> list[Study]:
    """Point sources on surfaces and in tetrahedra: from one node, and from a ball of nodes that start in time."""
    found: list[Study] = []
    for radius, words in ((12.0, "from a ball"), (None, "from a node")):
        levels = tuple(EDGE * 2.0**-k for k in (3, 4, 5))
        found.append((f"sphere, {words}", levels, lambda h, r=radius: ball(h, r)))
        found.append((f"triangles, 3:1 oblique, {words}", (0.8, 0.4, 0.2), lambda h, r=radius: patch(h, r)))
        for v, name in ((SPEED**2, "isotropic"), (SOLID, "3:1 oblique")):
            r = radius and 5.0
            spacings = (1.25, 0.625, 0.3125)
            found.append((f"tetrahedra, {name}, {words}", spacings, lambda h, v=v, r=r: cube(h, v, r)))
    return found


def rows_of(studies: list[Study], smoke: bool) -> list[dict]:
    """One row per study."""
    rows = []
    for name, spacings, measure in studies:
        levels = spacings[:2] if smoke else spacings
        mean, largest, latest = np.array([measure(h) for h in levels]).T
        rows.append({
            "study": name,
            "h (mm)": " / ".join(f"{h:.4g}" for h in levels),
            "mean error (ms)": " / ".join(f"{e:.3g}" for e in mean),
            "orders": " / ".join(f"{o:.2f}" for o in observed_orders(levels, mean)),
            "largest error (ms)": " / ".join(f"{e:.3g}" for e in largest),
            "its orders": " / ".join(f"{o:.2f}" for o in observed_orders(levels, largest)),
            "latest time (ms)": float(latest[-1]),
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main(out: Path, smoke: bool) -> dict:
    """Measure, print and write the tables."""
    tables = {"Grids": rows_of(grids()[: 4 if smoke else None], smoke)}
    tables["Meshes"] = rows_of(meshes()[: 2 if smoke else None], smoke)
    out.mkdir(parents=True, exist_ok=True)
    (out / "eikonal_accuracy.json").write_text(json.dumps(tables, indent=1))
    text = markdown(tables)
    (out / "eikonal_accuracy.md").write_text(text)
    print(text)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="coarse grids, seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
