"""Activation times of a sheet with oblique fibers and a scar, and which tissue a late activation depends on."""

import argparse
import sys
from pathlib import Path

import numpy as np

from einthoven.cli import console
from einthoven.eikonal import Eikonal
from einthoven.report.figure_page import write_figure_page
from einthoven.tissue import Grid

#: mm/ms along and across the fibers, which turn from 20 to 70 degrees over the sheet; side of the sheet, mm.
ALONG, ACROSS, SIDE = 0.6, 0.2, 50.0

#: Where the late activation is looked at, mm.
BEHIND = (33.0, 33.0)


def sheet(n: int) -> tuple[Eikonal, np.ndarray]:
    """Where the wave runs, and V at its nodes."""
    grid = Grid((n, n), SIDE / (n - 1))
    x, y = grid.points[:, :2].T
    scar = ((x - 26.0) / 5.0) ** 2 + ((y - 24.0) / 11.0) ** 2 < 1.0
    wave = Eikonal(grid, ~scar, order=2, reach=3.0)
    angle = np.deg2rad(20.0 + wave.points[:, 0])
    fibers = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = fibers[:, :, None] * fibers[:, None, :]
    return wave, ACROSS**2 * np.eye(2) + (ALONG**2 - ACROSS**2) * along


def solve(n: int) -> dict:
    """Times from a corner; the derivative of that behind the scar by log V at every node (a factor of all of V)."""
    wave, v = sheet(n)
    arrival = wave.solve(v, [[4.0, 4.0]])
    last = int(np.argmin(np.linalg.norm(wave.points - BEHIND, axis=1)))
    gradient = arrival.pull_back(np.eye(wave.n_nodes)[last]).squared_speed
    return {"wave": wave, "times": arrival.times, "last": last, "by_log_v": (gradient * v).sum(axis=(1, 2))}


def metrics(result: dict) -> dict:
    """The late time, the law <dT/dV, V> = -T/2, and how much of the sheet holds 90 % of the derivative."""
    size = np.sort(np.abs(result["by_log_v"]))[::-1]
    late = float(result["times"][result["last"]])
    return {
        "late_ms": late,
        "derivative_over_minus_half_of_it": float(result["by_log_v"].sum() / (-0.5 * late)),
        "share_of_nodes_with_90_percent": float((size.cumsum() < 0.9 * size.sum()).mean()),
    }


def figure(result: dict):
    """Isochrones, and the path that the late activation came by."""
    from matplotlib.figure import Figure

    wave = result["wave"]
    canvas = Figure(figsize=(9.0, 4.0), layout="constrained")
    left, right = canvas.subplots(1, 2)
    extent = (0.0, SIDE, 0.0, SIDE)
    times = wave.fill(result["times"]).T
    shown = left.imshow(times, origin="lower", extent=extent, cmap="RdYlBu")
    left.contour(times, levels=np.arange(0, np.nanmax(times), 10.0), colors="k", linewidths=0.5, extent=extent)
    canvas.colorbar(shown, ax=left, label="activation time (ms)", shrink=0.8)
    path = wave.fill(result["by_log_v"]).T
    shown = right.imshow(
        path, origin="lower", extent=extent, cmap="magma", vmin=-np.nanpercentile(-path, 99.5), vmax=0.0
    )
    canvas.colorbar(shown, ax=right, label="d(late time) / d(log V) (ms per node)", shrink=0.8)
    for panel in (left, right):
        panel.plot(*wave.points[result["last"]], "o", color="tab:green", markersize=5)
        panel.set_xlabel("x (mm)")
    left.set_title("wave around a scar", fontsize=10)
    right.set_title("tissue that the late activation depends on", fontsize=10)
    return canvas


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/eikonal_sheet"))
    parser.add_argument("--smoke", action="store_true", help="a coarser sheet")
    options = parser.parse_args()
    result = solve(51 if options.smoke else 201)
    row = metrics(result)
    page = write_figure_page(
        options.out,
        "eikonal_sheet",
        figure(result),
        row,
        title="Activation of a sheet with a scar",
        alt="Activation times and their derivative",
    )
    console.table([row], dict.fromkeys(row, "") | {k: k.replace("_", " ") for k in row})
    console.say(f"page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
