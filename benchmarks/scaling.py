"""What large studies cost: figures of one core, and what follows for 10^5 simulations, 10^6 nodes, 10^4 patients.

    python benchmarks/scaling.py --out out/bench [--smoke]

Every figure is taken in a process of its own, for its peak memory; seconds are processor seconds, first calls apart.
What is multiplied out is plain arithmetic on the figures above it: `docs/scaling.md` says what it leaves out.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _tables import lines

#: Largest problems for which a figure is taken.
SIDE, SUBDIVISIONS, CELLS = 100, 4, 400


def seconds(task: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    begun = time.process_time()
    task()
    return time.process_time() - begun


def disk(folder: Path) -> tuple[int, int]:
    """Bytes in whole blocks of 4096, and files."""
    files = [f for f in folder.rglob("*") if f.is_file()]
    return sum(-(-f.stat().st_size // 4096) * 4096 for f in files), len(files)


# --- figures, each taken in a process of its own ----------------------------------------------------------------------


def one_sheet(smoke: bool) -> dict[str, Any]:
    """A sheet of 64 x 64 mm: 0.5 mm, 640 ms, movie, maps and 16 ECGs, stored."""
    from einthoven.studies.sheet_sets import SheetSet, load_recipe, make_sheets

    recipe = load_recipe("sheets-smoke" if smoke else "sheets-64mm")
    first = recipe.conditions[0].model_copy(update={"sheets": 4})
    recipe = recipe.model_copy(update={"conditions": (first,)})
    with tempfile.TemporaryDirectory() as folder:
        make_sheets(recipe, Path(folder))
        sheets = SheetSet.open(folder)
        each = [store_seconds(sheets.folder, cell) for cell in sheets.cells()]
        size, files = disk(Path(folder) / "cells" if (Path(folder) / "cells").is_dir() else Path(folder))
    return {"seconds": min(each), "megabytes": size / len(each) / 1e6, "files": files / len(each)}


def store_seconds(folder: Path, cell: Any) -> float:
    """Seconds that a stored sheet says it took."""
    from einthoven.studies.sheet_sets import _store

    return float(_store(folder).get(cell).record["seconds"])


def one_block(smoke: bool, membrane: str) -> dict[str, Any]:
    """A block of tissue: nanoseconds per cell and step of one thread, bytes per cell."""
    import numba
    import numpy as np

    from einthoven.ionic.registry import model
    from einthoven.protocol import Nodes, Protocol, Stimulus
    from einthoven.simulate import Activation, Monodomain, simulate
    from einthoven.tissue import Grid, Tissue

    numba.set_num_threads(1)
    n = 24 if smoke else SIDE
    tissue = Tissue.isotropic(Grid((n, n, n), 0.25), 0.1)
    muscle = Monodomain(tissue, model(membrane), dtype="float32")
    start = Protocol((Stimulus(Nodes(np.arange(3 * n * n)), 0.0, 2.0, 50.0),))

    def run(t_end: float) -> Any:
        return simulate(muscle, start, t_end, dt=0.02, keep=[Activation()])

    run(0.2)
    short, long = (seconds(lambda t=t: run(t)) for t in (0.4, 2.4))
    return {"ns_per_cell_step": 1e9 * (long - short) / (100 * n**3), "cells": n**3}


def one_operator(smoke: bool, subdivisions: int) -> dict[str, Any]:
    """A transfer matrix between spheres of equally many nodes."""
    from einthoven.core import Region, VolumeConductor
    from einthoven.forward import bem
    from einthoven.geometry.generators import sphere

    k = min(subdivisions, 2) if smoke else subdivisions
    heart, skin = sphere(40.0, subdivisions=k, name="heart"), sphere(100.0, subdivisions=k, name="skin")
    small = sphere(40.0, subdivisions=1, name="heart"), sphere(100.0, subdivisions=1, name="skin")
    bem.transfer(small[0], VolumeConductor(Region(small[1], 0.2)))
    took = seconds(lambda: bem.transfer(heart, VolumeConductor(Region(skin, 0.2))))
    return {"seconds": took, "nodes": heart.n_points}


def command(*words: str) -> None:
    """Run a command of einthoven in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "einthoven", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def one_patient(smoke: bool) -> dict[str, Any]:
    """Images of a simulated patient by two classical methods: operator, images, result files."""
    with tempfile.TemporaryDirectory() as folder:
        case, out = str(Path(folder, "case.zarr")), str(Path(folder, "images"))
        command("convert", "phantom-surface", case)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command("image", case, "--method", "tikhonov2,stre", "--rule", "lcurve", "--out", out)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size, files = disk(Path(out))
    del smoke
    return {
        "seconds": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "megabytes": size / 1e6,
        "files": files,
        "child_memory": used.ru_maxrss / 1e3,
    }


def one_store(smoke: bool) -> dict[str, Any]:
    """A store of small cells: writing, looking for damage, files."""
    import numpy as np

    from einthoven.studies.store import CellResult, ResultsStore

    n = 40 if smoke else CELLS
    with tempfile.TemporaryDirectory() as folder:
        store = ResultsStore(folder, version="scaling")
        cells = [{"number": k} for k in range(n)]
        result = CellResult({"score": 1.0}, {"curve": np.arange(1000.0)})
        store.put({"number": -1}, result)
        wrote = seconds(lambda: [store.put(c, result) for c in cells])
        looked = seconds(lambda: [store.damage(c) for c in cells])
        size, files = disk(Path(folder) / "cells")
    per_cell = {"files": files / (n + 1), "kilobytes": size / (n + 1) / 1e3}
    return {"write_ms": 1e3 * wrote / n, "check_ms": 1e3 * looked / n, **per_cell}


def nothing(config: Any) -> Any:
    """A cell that costs nothing."""
    from einthoven.studies.store import CellResult

    return CellResult({"number": config["number"]})


def one_scheduler(smoke: bool) -> dict[str, Any]:
    """Cells that cost nothing through a scheduler and one worker of this machine, wall time."""
    import scaling
    from distributed import LocalCluster

    from einthoven.studies.store import ResultsStore
    from einthoven.studies.sweep import run_cells

    n = 20 if smoke else CELLS
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        store = ResultsStore(folder, version="scaling")
        run_cells([{"number": -1}], scaling.nothing, store, workers=cluster.scheduler_address)
        begun = time.perf_counter()
        run_cells([{"number": k} for k in range(n)], scaling.nothing, store, workers=cluster.scheduler_address)
        return {"ms_per_cell": 1e3 * (time.perf_counter() - begun) / n}


FIGURES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "sheet, 64 x 64 mm": one_sheet,
    "block, Fenton-Karma": lambda smoke: one_block(smoke, "fenton-karma-1998-atrial"),
    "block, ten Tusscher-Panfilov": lambda smoke: one_block(smoke, "ten-tusscher-panfilov-2006-epi"),
    "transfer matrix, coarse": lambda smoke: one_operator(smoke, SUBDIVISIONS - 1),
    "transfer matrix, fine": lambda smoke: one_operator(smoke, SUBDIVISIONS),
    "patient, two classical images": one_patient,
    "store": one_store,
    "scheduler": one_scheduler,
}


def taken(name: str, smoke: bool) -> dict[str, Any]:
    """A figure from a process of its own, with its peak memory in MB."""
    command = [sys.executable, __file__, "--figure", name, *(["--smoke"] if smoke else [])]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, env={**os.environ, **threads, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- what follows -----------------------------------------------------------------------------------------------------


def plans(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Core-hours, memory and storage of large studies, by multiplication."""
    sheet, store, patient = found["sheet, 64 x 64 mm"], found["store"], found["patient, two classical images"]
    coarse, fine = found["transfer matrix, coarse"], found["transfer matrix, fine"]
    rows = [
        {
            "study": "100 000 sheets",
            "core-hours": 1e5 * sheet["seconds"] / 3600,
            "memory per core (GB)": sheet["memory"] / 1e3,
            "storage (GB)": 1e5 * sheet["megabytes"] / 1e3,
            "files (millions)": 1e5 * sheet["files"] / 1e6,
            "scheduler (core-hours)": 1e5 * found["scheduler"]["ms_per_cell"] / 3.6e6,
            "look for damage (core-hours)": 1e5 * store["check_ms"] / 3.6e6,
        }
    ]
    for name in ("Fenton-Karma", "ten Tusscher-Panfilov"):
        block = found[f"block, {name}"]
        rows.append(
            {
                "study": f"one beat of 10^6 cells, {name}: 600 ms, dt 0.02 ms",
                "core-hours": 1e6 * 30_000 * block["ns_per_cell_step"] / 3.6e12,
                "memory per core (GB)": block["memory"] / 1e3 * 1e6 / max(block["cells"], 1),
                "storage (GB)": 1e6 * 4 * 600 / 1e9,
            }
        )
    growth = fine["nodes"] / coarse["nodes"]
    power = max(1.0, _log(fine["seconds"] / max(coarse["seconds"], 1e-3)) / _log(growth)) if growth > 1 else 2.0
    for nodes in (10_000, 1_000_000):
        rows.append(
            {
                "study": f"transfer matrix of {nodes} heart and {nodes} skin nodes, dense",
                "core-hours": fine["seconds"] * (nodes / fine["nodes"]) ** max(power, 2.0) / 3600,
                "memory per core (GB)": 3 * 8 * nodes**2 / 1e9,
                "storage (GB)": 8 * nodes**2 / 1e9,
            }
        )
    rows.append(
        {
            "study": "10 000 patients, two classical images each",
            "core-hours": 1e4 * patient["seconds"] / 3600,
            "memory per core (GB)": patient["child_memory"] / 1e3,
            "storage (GB)": 1e4 * patient["megabytes"] / 1e3,
            "files (millions)": 1e4 * patient["files"] / 1e6,
        }
    )
    return rows


def _log(x: float) -> float:
    import math

    return math.log(max(x, 1e-9))


def main(out: Path, smoke: bool) -> dict:
    """Run it; returns the tables."""
    from einthoven.studies.provenance import machine, versions

    found = {name: taken(name, smoke) for name in FIGURES}
    tables = {
        "measured": [{"figure": name, **row} for name, row in found.items()],
        "plans": plans(found),
        "machine": machine(),
        "versions": versions(),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json.dumps(tables, indent=1))
    text = ["# What large studies cost", "", "## Measured (memory in MB)", "", *lines(tables["measured"], 3)]
    text += ["", "## Multiplied out", "", *lines(tables["plans"], 3), ""]
    (out / "scaling.md").write_text("\n".join(text))
    print("\n".join(text))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--figure", choices=FIGURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.figure:
        row = FIGURES[options.figure](options.smoke)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps({**row, "memory": peak}))
    else:
        main(options.out, options.smoke)
