"""The slab of Niederer et al. 2011: activation at P1 to P9 over spacings and steps, and its limit.

    python benchmarks/niederer.py --out out/bench [--smoke] [--finest] [--resume]

Every row is a process of its own, so that its peak memory is its own. `--finest` adds 0.05 mm (3.36 million cells),
which streams to a Zarr store and goes on from its checkpoint when started again; `--resume` keeps the rows that are
there. Prints and writes ``niederer.json`` and ``niederer.md``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.ionic import IonicModel
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Activation, Godunov, Monodomain, SemiImplicit, Strang, simulate
from einthoven.simulate.schemes import Scheme
from einthoven.studies.provenance import machine, versions
from einthoven.tissue import Grid, Tissue
from einthoven.verify import convergence, niederer

#: Until everything is activated, ms.
T_END = {0.5: 140.0, 0.2: 64.0, 0.1: 52.0, 0.05: 48.0}
SCHEMES: dict[str, Scheme] = {
    "Godunov": Godunov(),
    "Strang": Strang(),
    "Godunov, Crank-Nicolson": Godunov(SemiImplicit()),
}


def membrane() -> IonicModel:
    """The epicardial cell."""
    from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006

    return TenTusscherPanfilov2006.epi()


def slab(spacing: float) -> Tissue:
    """20 x 7 x 3 mm, fibers along x; cell centers half a cell off the faces."""
    grid = Grid(tuple(round(x / spacing) for x in niederer.SIZE), spacing, (spacing / 2,) * 3)
    return Tissue.anisotropic(grid, *niederer.diffusivities(), (1.0, 0.0, 0.0))


def stimulus(tissue: Tissue, spacing: float) -> Protocol:
    """The corner cube; a cell that it cuts is driven by the share of its volume that lies in it."""
    share = np.round(niederer.stimulated_share(tissue.points, spacing), 12)
    rate, last = niederer.stimulus_rate(), niederer.STIMULUS_DURATION
    return Protocol(
        tuple(
            Stimulus(Nodes(np.flatnonzero(share == s)), 0.0, last, float(s) * rate) for s in np.unique(share[share > 0])
        )
    )


def activation(
    spacing: float, dt: float, *, scheme: str = "Godunov", dtype: Any = "float64", store: Path | None = None
) -> dict:
    """One run: activation (ms) at the points, time and size."""
    begun, tissue = time.process_time(), slab(spacing)
    run = simulate(
        Monodomain(tissue, membrane(), SCHEMES[scheme], dtype),
        stimulus(tissue, spacing),
        T_END[spacing],
        dt=dt,
        keep=[Activation(level=niederer.ACTIVATION_LEVEL)],
        store=store,
    )
    times = run.data["activation"].values[0].reshape(tissue.shape)
    found = niederer.at_points(times, spacing)
    row: dict = {"dx (mm)": spacing, "dt (ms)": dt, "scheme": scheme, "dtype": dtype, "cells": tissue.n_nodes}
    row |= dict(zip(niederer.POINTS, found.tolist(), strict=True))
    row |= {"last cell (ms)": float(times.max()), "steps": run.steps, "seconds": run.seconds}
    row |= {"CPU seconds": time.process_time() - begun}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row | {"M cell-steps/s": tissue.n_nodes * run.steps / run.seconds / 1e6, "peak (MiB)": peak}


def rows(configurations: list[dict], folder: Path, resume: bool) -> list[dict]:
    """Every configuration in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for one in configurations:
        path = folder / ("_".join(str(v) for v in one.values()).replace(" ", "").replace(",", "-") + ".json")
        if not (resume and path.is_file()):
            command = [sys.executable, __file__, "--one", json.dumps(one), "--out", str(path)]
            subprocess.run(command, check=True)
        row = json.loads(path.read_text())
        print(
            f"dx {row['dx (mm)']} mm, dt {row['dt (ms)']} ms, {row['scheme']}, {row['dtype']}: P8 {row['P8']:.2f} ms, "
            f"{row['seconds']:.1f} s, {row['peak (MiB)']:.0f} MiB",
            flush=True,
        )
        found.append(row)
    return found


def configurations(smoke: bool, finest: bool) -> list[dict]:
    """What is run: the paper's spacings and steps; 0.05 ms at 0.1 mm is beyond the limit of explicit diffusion."""
    if smoke:
        return [{"spacing": 0.5, "dt": 0.05}]
    found: list[dict] = [
        {"spacing": h, "dt": dt} for h in niederer.SPACINGS for dt in niederer.STEPS if (h, dt) != (0.1, 0.05)
    ]
    found += [
        {"spacing": 0.1, "dt": 0.05, "scheme": "Godunov, Crank-Nicolson"},
        {"spacing": 0.1, "dt": 0.01, "scheme": "Strang"},
        {"spacing": 0.1, "dt": 0.01, "scheme": "Godunov", "dtype": "float32"},
    ]
    return found + ([{"spacing": 0.05, "dt": 0.01}, {"spacing": 0.05, "dt": 0.005}] if finest else [])


def limits(found: list[dict], dt: float) -> dict[str, dict]:
    """Richardson's limit and order per point, from the finest three spacings at one dt."""
    chosen = {
        r["dx (mm)"]: r for r in found if r["dt (ms)"] == dt and (r["scheme"], r["dtype"]) == ("Godunov", "float64")
    }
    finest = sorted(chosen)[:3][::-1]
    if len(finest) < 3:
        return {}
    result = {}
    for name in niederer.POINTS:
        try:
            limit, order = convergence.richardson(finest, [chosen[h][name] for h in finest])
        except ValueError:
            continue  # P1 lies in the stimulus: no trend to extrapolate
        result[name] = {"from dx (mm)": "/".join(f"{h:g}" for h in finest), "limit (ms)": limit, "order": order}
    return result


def _shown(row: dict) -> dict[str, str]:
    """One row as on the page: times with two decimals, scheme and precision together."""
    shown = {}
    for key, value in row.items():
        if key == "scheme":
            shown["scheme, dtype"] = value + ("" if row["dtype"] == "float64" else f", {row['dtype']}")
        elif key != "dtype":
            text = f"{value:.2f}" if key in niederer.POINTS else f"{value:.3g}"
            shown[key] = text if isinstance(value, float) else str(value)
    return shown


def markdown(found: list[dict], limit: dict[float, dict]) -> str:
    """Write both tables, with what was published."""
    rows = [_shown(row) for row in found]
    for dt, points in limit.items():
        row = {"dx (mm)": "limit", "dt (ms)": f"{dt:g}", "scheme, dtype": "Godunov"}
        rows.append(row | {name: f"{value['limit (ms)']:.2f}" for name, value in points.items()})
    columns = list(rows[0])
    text = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    text += ["| " + " | ".join(row.get(c, "") for c in columns) + " |" for row in rows]
    text += ["", "| published, 0.01 ms | " + " | ".join(niederer.POINTS) + " |", "|" + "---|" * 10]
    for h, row in niederer.PUBLISHED.items():
        text.append(f"| {h} mm | " + " | ".join(f"{v.mean:g} +- {v.deviation:g}" for v in row.values()) + " |")
    for dt, points in limit.items():
        text += [
            "",
            f"Limit at dt = {dt:g} ms:",
            "",
            "| point | from dx (mm) | limit (ms) | order |",
            "|---|---|---|---|",
        ]
        for name, row in points.items():
            text.append(f"| {name} | {row['from dx (mm)']} | {row['limit (ms)']:.2f} | {row['order']:.2f} |")
    return "\n".join(text) + "\n"


def main(out: Path, smoke: bool, *, finest: bool = False, resume: bool = False) -> dict:
    """Run all, print the tables and write them under `out`."""
    found = rows(configurations(smoke, finest), out / "niederer", resume)
    limit = {dt: limits(found, dt) for dt in niederer.STEPS}
    limit = {dt: points for dt, points in limit.items() if points}
    result = {"rows": found, "limits": limit, "machine": machine(), "versions": versions()}
    (out / "niederer.json").write_text(json.dumps(result, indent=1))
    (out / "niederer.md").write_text("# Niederer et al. 2011\n\n" + markdown(found, limit))
    print(markdown(found, limit))
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="0.5 mm only, seconds")
    parser.add_argument("--finest", action="store_true", help="also 0.05 mm")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        wanted = json.loads(arguments.one)
        if wanted["spacing"] < 0.1:
            wanted["store"] = arguments.out.with_suffix(".zarr")
        arguments.out.write_text(json.dumps(activation(**wanted)))
    else:
        main(arguments.out, arguments.smoke, finest=arguments.finest, resume=arguments.resume)
