"""Figures of docs/concepts/cell-physics.md: what each method makes of one wave, and errors against noise.

    python benchmarks/cell_physics_figures.py --out out/figures
    python benchmarks/cell_physics_figures.py --out out/figures --bench out/core    # errors, of a finished comparison

The wave: two foci on the heart of `dalhousie-2007`, position 11, noise of 5 mV, seed 0
(`einthoven.studies.bench_cases`); no setting sees the truth.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from einthoven.core import Recording, Surface
from einthoven.inverse.held_out import held_out_leads
from einthoven.inverse.physics.fields import CellPhysics, first_crossing
from einthoven.inverse.physics.registry import make_physics_solver
from einthoven.inverse.registry import make_rule, make_solver
from einthoven.report.bench_page import error_figure
from einthoven.studies.bench_cases import BenchCase, BenchData, bench_data
from einthoven.studies.bench_tables import grouped, summary

#: Methods shown, how they are called, and the frame of the potentials, ms.
SHOWN = {
    "stre": "STRE, robust GCV",
    "weak-4dvar": "weak-4dvar",
    "eand-arn-separable": "eand-arn-separable",
    "strong": "strong",
}
FRAME = 130.0
#: Lines of the figure of errors.
LINES = ("stre:oracle", "stre:rgcv", "weak-4dvar", "eand-arn-separable", "strong", "strong+weak")


def estimates(data: BenchData, methods: list[str]) -> dict[str, Recording]:
    """The image of every method."""
    sigma = held_out_leads(data.operator, data.recording, groups=4).sigma
    physics = CellPhysics(data.membrane, sigma=sigma, extracellular=True)
    found = {}
    for method in methods:
        solver = make_solver("stre", make_rule("rgcv")) if method == "stre" else make_physics_solver(method, physics)
        found[method] = solver.reconstruct(data.operator, data.recording).estimate
    return found


def maps(data: BenchData, images: dict[str, Recording]) -> Figure:
    """Potentials at one frame and activation times, the truth first."""
    surface = data.operator.source
    assert surface is not None
    truth = data.truth
    columns = {"Truth": truth} | {SHOWN[name]: image for name, image in images.items()}
    figure = Figure(figsize=(2.5 * len(columns), 5.4), layout="constrained")
    frame = int(np.abs(truth.times - FRAME).argmin())
    last = float(np.nanmax(first_crossing(truth.values, truth.times, 50.0)))
    for k, (name, image) in enumerate(columns.items()):
        error = np.linalg.norm(image.values - truth.values) / np.linalg.norm(truth.values)
        title = name if image is truth else f"{name}\nrelative error {error:.3f}"
        times = first_crossing(image.values, image.times, 50.0)
        rows = ((image.values[:, frame], "RdBu_r", (-120, 120)), (times, "viridis_r", (0.0, last)))
        for row, (values, colors, limits) in enumerate(rows):
            axes = figure.add_subplot(2, len(columns), 1 + k + row * len(columns), projection="3d")
            shown = _draw(axes, surface, values, colors, limits)
            axes.set_title(title if row == 0 else "", fontsize=9)
            if k == len(columns) - 1:
                label = f"potential at {truth.times[frame]:.0f} ms (mV)" if row == 0 else "activation (ms)"
                figure.colorbar(shown, ax=axes, shrink=0.7, label=label)
    return figure


def _draw(axes, surface: Surface, values: np.ndarray, colors: str, limits: tuple[float, float]):
    """The surface, its triangles in the color of their nodes' mean; gray where there is none."""
    shown = Poly3DCollection(surface.points[surface.triangles], cmap=colors, linewidths=0, antialiased=False)
    faces = np.ma.masked_invalid(values[surface.triangles].mean(axis=1))
    shown.set_array(faces)
    shown.set_clim(*limits)
    shown.cmap.set_bad("0.8")
    axes.add_collection3d(shown)
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(high - low, zoom=1.35)
    axes.set_axis_off()
    return shown


def errors(bench: Path) -> dict[str, Figure]:
    """Relative errors against noise by case, of the cells of a comparison with the absolute reference."""
    cells = [json.loads(line) for line in (bench / "store" / "index.jsonl").read_text().splitlines()]
    rows = [{**cell["config"], **cell["record"]} for cell in cells]
    rows = [r for r in rows if r["method"] in LINES and r["reference"] == "absolute" and not r["spread"]]
    table = [line for line in summary(rows) if line["geometry"] == "dalhousie-2007"]
    table.sort(key=lambda line: LINES.index(line["method"]))
    return {case: error_figure(lines) for (case,), lines in grouped(table, ("case",)).items()}


def main(out: Path, smoke: bool, bench: Path | None = None) -> dict:
    """Write the figures under `out` and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    if bench is not None:
        found = {f"cell-physics-{case.replace(' ', '-')}": figure for case, figure in errors(bench).items()}
    else:
        data = bench_data(BenchCase(case="two foci", position=11))
        found = {"cell-physics-maps": maps(data, estimates(data, ["stre"] if smoke else list(SHOWN)))}
    paths = {}
    for name, figure in found.items():
        paths[name] = str(out / f"{name}.png")
        figure.savefig(paths[name], dpi=110)
        print(paths[name])
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/figures"), help="folder for the figures")
    parser.add_argument("--bench", type=Path, help="folder of a finished `einthoven bench inverse`")
    parser.add_argument("--smoke", action="store_true", help="the classical method only")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke, arguments.bench)
