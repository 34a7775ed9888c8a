"""Accuracy of the boundary-element operators: spheres, a wall beside blood, envelopes, a matrix of another program.

Concentric spheres are those of ``einthoven bench forward forward-spheres``; bodies and the measured tank are in
``forward-bodies``.

    python benchmarks/forward_accuracy.py --out out/bench [--smoke]

Prints and writes ``forward_accuracy.json`` and ``forward_accuracy.md``.
"""

import argparse
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from _tables import markdown

from einthoven.core import Region, Surface, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import shell, sphere
from einthoven.geometry.operators import areas
from einthoven.report.bench_forward_page import write_forward_bench_page
from einthoven.studies.bench_forward import FORWARD, load_forward_bench
from einthoven.studies.bench_output import grouped, write_bench
from einthoven.verify import spheres

DEGREES = (1, 2, 3)
AXIS = (1.0, 2.0, -0.5)


def area_true(surface: Surface, radius: float) -> Surface:
    """Scale the nodes of a sphere's polyhedron so that it has the sphere's area."""
    return surface.with_points(surface.points * np.sqrt(4 * np.pi * radius**2 / areas(surface).sum()))


def ball(radius: float, subdivisions: int, name: str) -> Surface:
    return area_true(sphere(radius, subdivisions=subdivisions, name=name), radius)


def percent(estimate: np.ndarray, exact: np.ndarray) -> float:
    return 100 * float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))


def on_spheres(rows: list[dict]) -> dict[str, list[dict]]:
    """Tables of the study of spheres: one per operator and what it leaves out, with orders from level to level."""
    tables: dict[str, list[dict]] = {}
    for (layers, operator, left_out, _), here in grouped(rows, ("layers", "operator", "left_out", "reference")).items():
        part = []
        for row in sorted(here, key=lambda r: r["level"]):
            told: dict = {"layers": layers, "nodes": f"{row['heart_nodes']} + {row['other_nodes']}"}
            errors = {k: v for k, v in row.items() if k.startswith("error_degree_")}
            part.append(told | {f"l={k.rpartition('_')[2]} (%)": 100 * v for k, v in errors.items()})
        name = f"Concentric spheres, {operator}" + ("" if left_out == "none" else ", layers left out")
        tables[name] = tables.get(name, []) + with_orders(part)
    return tables


def with_orders(rows: list[dict]) -> list[dict]:
    """Add the order of every error from one level to the next (edge length halved)."""
    for before, after in pairwise(rows):
        for key in [k for k in after if k.endswith("(%)")]:
            after[key.replace("(%)", "order")] = float(np.log2(before[key] / after[key]))
    return rows


def double_layers(levels: tuple[int, ...]) -> list[dict]:
    """A wall (radii 40, 50) around blood (1.5 mm off, 0.6 S/m), in a layer of 0.05 and one of 0.2 S/m."""
    radii, sigma = (38.5, 70.0, 100.0), (0.6, 0.05, 0.2)
    rows = []
    for k in levels:
        blood, middle, skin = (ball(r, k, n) for r, n in zip(radii, ("blood", "middle", "torso"), strict=True))
        wall = shell(40.0, 50.0, subdivisions=k, name="wall")
        volume = VolumeConductor(Region(skin, sigma[2]), (Region(middle, sigma[1]), Region(blood, sigma[0])))
        operator = bem.double_layer(wall, volume, intracellular_conductivity=0.1)
        outer = np.linalg.norm(wall.points, axis=1) > 45
        for side, part, radius, sign in (("outer", outer, 50.0, 1.0), ("inner", ~outer, 40.0, -1.0)):
            row: dict = {"vm on": f"{side} side", "nodes": wall.n_points}
            for degree in DEGREES:
                vm = np.where(part, spheres.legendre(degree, wall.points, AXIS), 0.0)
                field = spheres.double_layer_field(degree, radius, radii, sigma, intracellular_conductivity=0.1)
                exact = sign * field.at(100.0) * spheres.legendre(degree, skin.points, AXIS)
                row[f"l={degree} (%)"] = percent(operator.apply(vm), exact)
            rows.append(row)
    return rows


def envelopes(levels: tuple[int, ...]) -> list[dict]:
    """A wavefront on a wall: envelope potentials transferred to the skin against the direct operator."""
    rows = []
    for k in levels:
        for gap in (1.0, 2.0, 3.0):
            wall, envelope = (
                shell(30.0, 40.0, subdivisions=k, name="wall"),
                sphere(40.0 + gap, subdivisions=k, name="e"),
            )
            skin = sphere(100.0, subdivisions=k, center=(20.0, 10.0, -15.0), name="torso")
            volume = VolumeConductor(Region(skin, 0.2))
            direct = bem.double_layer(wall, volume)
            both = bem.transfer(envelope, volume) @ bem.double_layer_to_surface(wall, volume, envelope)
            distance = np.linalg.norm(wall.points - np.array([40.0, 0.0, 0.0]), axis=1)
            row: dict = {"nodes": wall.n_points, "gap (mm)": gap}
            for front in (15.0, 40.0, 60.0):
                vm = 100 / (1 + np.exp((distance - front) / 2.0))
                row[f"front at {front:g} mm (%)"] = percent(both.apply(vm), direct.apply(vm))
            rows.append(row)
    return rows


def sock(folder: Path) -> list[dict]:
    """An independent matrix for the sock in its tank."""
    path = folder / "utah_sock25feb97_tank" / "sock_tank.npz"
    if not path.is_file():
        return []
    data = np.load(path)
    source, torso = (Surface(data[f"{n}_pts_mm"], data[f"{n}_tri"].astype(np.int64), n) for n in ("sock128", "tank771"))
    operator = bem.transfer(source, VolumeConductor(Region(torso, 0.2))).matrix
    return [
        {"pair": "sock -> tank matrix against SCIRun's", "error (%)": percent(operator, data["scirun_forward_771x128"])}
    ]


def main(out: Path, smoke: bool) -> dict:
    """Compute all tables, print them and write them under `out`; spheres and tank by ``einthoven bench forward``."""
    folder = os.environ.get("EINTHOVEN_DATA_DIR")
    spheres_study = load_forward_bench("forward-smoke" if smoke else "forward-spheres")
    result = write_bench(FORWARD, spheres_study, out / "forward_spheres", page=write_forward_bench_page)
    tables = on_spheres(result.table) | {
        "Double layer beside blood in layered spheres": double_layers((2,) if smoke else (2, 3)),
        "Envelope potentials against the direct operator": envelopes((2,) if smoke else (2, 3)),
        "Measured": sock(Path(folder)) if folder else [],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "forward_accuracy.json").write_text(json.dumps(tables, indent=1))
    (out / "forward_accuracy.md").write_text("# Accuracy of the forward operators\n\n" + markdown(tables, digits=3))
    print(markdown(tables, digits=3))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="small meshes, seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke)
