"""Speed of the eikonal solver: against scikit-fmm, fim-python and Eikonax; gradients, many right-hand sides, start-up.

    python benchmarks/eikonal_speed.py --out out/bench [--smoke] [--no-peers] [--cache FOLDER]

All codes are warm before they are timed and take turns; told are the median and, in brackets, the smallest and the
largest. fim-python and Eikonax (Python 3.12) get virtual environments of their own below the cache folder, made when
they are not there; where one cannot be made, its rows say so. Each solves the same problem: the accuracy that stands
beside is the mean error against the exact time, in percent of the latest one. Prints and writes ``eikonal_speed.json``
and ``eikonal_speed.md``. Timings mean something on an idle machine only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from _tables import lines
from eikonal_accuracy import block
from simulate_speed import Code, cores, shown, tell

from einthoven.core import Surface, Tetrahedra
from einthoven.eikonal import Eikonal
from einthoven.studies.provenance import machine
from einthoven.tissue import Grid

FIM, EIKONAX = "fim-python==1.2.2", "eikonax==0.2.0"

#: Turns per code.
TURNS = 7

#: Squared speeds across the fibers, which run along x at 1.
NINTH = 1.0 / 9.0

WORDS = {
    "Grids": (
        "Seconds for one point source in the middle of a grid of speed 1, V or speed given per cell; {turns} turns. "
        "fresh: from arrays, nothing kept; prepared: `Eikonal` and `Medium` are there. scikit-fmm starts from a "
        "circle or ball of five cells, which it keeps at its exact distance, and its exact time is that from there."
    ),
    "Surfaces and tetrahedra": (
        "Seconds for one source at a node of a unit square of triangles or a unit cube of tetrahedra, three times as "
        "fast along x as across; {turns} turns. preparation: what a mesh and its metric need once (fim-python: "
        "`create_fim_solver`; einthoven: `Eikonal`, `Medium` and the search for the site's node, a first solution "
        "less a second one; Eikonax: adjacency and `Solver`). fim-python and Eikonax compute in float32; einthoven in "
        "float64. Times of einthoven start with straight ways within two rings of nodes, those of the others at one "
        "node. Eikonax compiles in its first solution, which is apart."
    ),
    "Gradients": (
        "Seconds for the derivative of a sum of all times by V at every node or cell, without the solution it belongs "
        "to, and as a multiple of that solution. Eikonax: partial derivatives, sparse system and its solution."
    ),
    "Many right-hand sides": "Seconds for 16 sites solved together, prepared, order 1; per site in milliseconds.",
    "Start-up": "Seconds in a fresh process from its first statement to the first solution on 100 x 100 cells.",
}

FIM_CODE = """
import json, sys, time
begun = time.perf_counter()
answers, sys.stdout = sys.stdout, sys.stderr
import numpy as np
from fimpy.solver import create_fim_solver
imported = time.perf_counter() - begun
for line in sys.stdin:
    ask = json.loads(line)
    begun = time.perf_counter()
    if ask["do"] == "start":
        data = np.load(ask["file"])
        points, cells, metric = data["points"].astype(np.float32), data["cells"], data["metric"].astype(np.float32)
        site, onset = data["site"], np.array([0.0], np.float32)
        begun = time.perf_counter()
        solver = create_fim_solver(
            points, cells, metric, precision=np.float32, device="cpu", use_active_list=ask["active"]
        )
        found = {"seconds": time.perf_counter() - begun, "imports": imported}
    else:
        times = solver.comp_fim(site, onset)
        found = {"seconds": time.perf_counter() - begun}
        if "file" in ask:
            np.save(ask["file"], times)
    print(json.dumps(found), file=answers, flush=True)
"""

EIKONAX_CODE = """
import json, sys, time
begun = time.perf_counter()
answers, sys.stdout = sys.stdout, sys.stderr
import jax, numpy as np
from eikonax import corefunctions, derivator, preprocessing, solver as solvers
imported = time.perf_counter() - begun
for line in sys.stdin:
    ask = json.loads(line)
    begun = time.perf_counter()
    if ask["do"] == "start":
        data = np.load(ask["file"])
        points, cells = data["points"], data["cells"].astype(np.int32)
        metric = np.linalg.inv(data["metric"]).astype(np.float32)
        begun = time.perf_counter()
        mesh = corefunctions.MeshData(points, preprocessing.get_adjacent_vertex_data(cells, len(points)))
        sites = corefunctions.InitialSites(inds=data["site"].astype(np.int32), values=np.zeros(1, np.float32))
        options = solvers.SolverData(
            loop_type="jitted_while", max_value=1000, use_soft_update=False, softminmax_order=20,
            softminmax_cutoff=0.01, max_num_iterations=5000, tolerance=1e-6,
        )
        solver = solvers.Solver(mesh, options, sites)
        found = {"seconds": time.perf_counter() - begun, "imports": imported}
    elif ask["do"] == "gradient":
        choice = derivator.PartialDerivatorData(use_soft_update=False, softminmax_order=20, softminmax_cutoff=0.01)
        partial = derivator.PartialDerivator(mesh, choice, sites)
        by_times, by_metric = partial.compute_partial_derivatives(times, metric)
        adjoint = derivator.DerivativeSolver(times, by_times).solve(np.ones(len(points), np.float32))
        rows, columns, values = (np.asarray(a) for a in by_metric)
        gradient = np.zeros_like(metric)
        np.add.at(gradient, columns, values * adjoint[rows][:, None, None])
        found = {"seconds": time.perf_counter() - begun}
    else:
        times = np.asarray(jax.block_until_ready(solver.run(metric).values))
        found = {"seconds": time.perf_counter() - begun}
        if "file" in ask:
            np.save(ask["file"], times)
    print(json.dumps(found), file=answers, flush=True)
"""


def peer_python(folder: Path, requirement: str, base: str | None, *beside: str) -> Path | None:
    """Python of a peer's own environment, made when it is not there; None if it cannot be."""
    python = folder / "bin" / "python"
    if python.is_file() and not subprocess.run([str(python), "-m", "pip", "show", "-q", requirement.split("==")[0]],
                                               check=False).returncode:  # fmt: skip
        return python
    if base is None or subprocess.run([base, "-m", "venv", str(folder)], check=False).returncode:
        return None
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *beside, requirement]
    return None if subprocess.run(install, check=False).returncode else python


def python_312() -> str | None:
    """A Python 3.12 or newer 3.x that is there, for Eikonax."""
    names = [*sorted(str(p) for p in Path.home().glob(".pyenv/versions/3.12.*/bin/python")), "python3.12"]
    for name in names:
        found = shutil.which(name)
        if found and not subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode:
            return found
    return None


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_turns(works: dict[str, Callable[[], float]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of every code, turn by turn; each was called once before."""
    for work in works.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            found[name].append(work())
    return {name: np.array(values) for name, values in found.items()}


def percent(times: np.ndarray, exact: np.ndarray) -> float:
    """Mean error in percent of the latest time."""
    return float(100 * np.abs(times - exact).mean() / exact.max())


# -- grids ------------------------------------------------------------------------------------------------------------


def grids(smoke: bool, peers: bool) -> list[dict]:
    """Against scikit-fmm, which is in this environment."""
    rows = []
    for shape in ((40, 40), (16, 16, 16)) if smoke else ((400, 400), (100, 100, 100)):
        for order in (1, 2):
            rows += _grid(shape, order, 1 if smoke else TURNS, peers)
            tell(f"{rows[-1]}")
    return rows


def _grid(shape: tuple[int, ...], order: int, turns: int, peers: bool) -> list[dict]:
    h = 1.0 / shape[0]
    grid, v = Grid(shape, h), np.ones(shape)
    site = np.array([n // 2 for n in shape]) * h
    wave = Eikonal(grid, order=order)
    medium = wave.medium(v)
    away = np.linalg.norm(wave.points - site, axis=1)
    tensors = np.diag([1.0, *[NINTH] * (len(shape) - 1)])
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((len(shape),) * 2))[0]
    oblique = np.tile(turn @ tensors @ turn.T, (wave.n_nodes, 1, 1))
    oblique = 0.5 * (oblique + oblique.transpose(0, 2, 1))
    skewed = wave.medium(oblique)
    works = {
        "einthoven, fresh": lambda: seconds(lambda: Eikonal(grid, order=order).solve(v, [site]).times),
        "einthoven, prepared": lambda: seconds(lambda: wave.solve(medium, [site]).times),
        "einthoven, 3:1 oblique, fresh": lambda: seconds(
            lambda: Eikonal(grid, order=order).solve(oblique, [site]).times
        ),
        "einthoven, 3:1 oblique, prepared": lambda: seconds(lambda: wave.solve(skewed, [site]).times),
    }
    slow = np.sqrt(np.einsum("ni,ij,nj->n", wave.points - site, np.linalg.inv(oblique[0]), wave.points - site))
    error = {name: percent(wave.solve(v, [site]).times, away) for name in list(works)[:2]}
    error |= {name: percent(wave.solve(skewed, [site]).times, slow) for name in list(works)[2:]}
    if peers:
        import skfmm

        radius = 5 * h
        front, outside = (away - radius).reshape(shape), away > radius
        works["scikit-fmm"] = lambda: seconds(lambda: skfmm.travel_time(front, v, dx=h, order=order))
        theirs = np.asarray(skfmm.travel_time(front, v, dx=h, order=order)).reshape(-1)
        error["scikit-fmm"] = percent(theirs[outside], (away - radius)[outside])
    return [
        {
            "grid": " x ".join(map(str, shape)),
            "order": order,
            "code": name,
            "seconds": shown(taken),
            "million nodes/s": float(wave.n_nodes / np.median(taken) / 1e6),
            "mean error (%)": error[name],
        }
        for name, taken in in_turns(works, turns).items()
    ]


# -- meshes -----------------------------------------------------------------------------------------------------------


def square(n: int) -> Surface:
    """A unit square of n x n nodes, all diagonals in one direction."""
    line = np.linspace(0.0, 1.0, n)
    x, y = np.meshgrid(line, line, indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = (k.reshape(-1) for k in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    return Surface(np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3), np.concatenate([np.c_[a, b, c], np.c_[a, c, d]]))


class Mesh:
    """A problem on a mesh, and its file for the peers."""

    def __init__(self, name: str, domain: Surface | Tetrahedra, folder: Path):
        self.name, self.domain = name, domain
        flat = isinstance(domain, Surface)
        self.cells = domain.triangles if flat else domain.cells
        self.v = np.diag([1.0, NINTH, 1.0 if flat else NINTH])
        points = domain.points
        self.site = int(((points - 0.5 * points.max(axis=0)) ** 2).sum(axis=1).argmin())
        self.exact = np.sqrt((points - points[self.site]) ** 2 @ (1 / np.diag(self.v)))
        self.file = folder / f"{name}.npz"
        d = 2 if flat else 3
        metric = np.tile(self.v[:d, :d], (len(self.cells), 1, 1))
        np.savez(self.file, points=points[:, :d], cells=self.cells, metric=metric, site=np.array([self.site]))

    def fresh(self) -> tuple[Eikonal, Any, list]:
        """Everything from arrays."""
        wave = Eikonal(self.domain)
        return wave, wave.medium(np.tile(self.v, (self.domain.n_points, 1, 1))), [self.domain.points[self.site]]


def meshes(smoke: bool, peers: dict[str, Path | None], folder: Path) -> tuple[list[dict], list[dict]]:
    """Solutions and gradients on a surface and in tetrahedra."""
    solutions, gradients = [], []
    turns = 1 if smoke else TURNS
    for mesh in (
        Mesh("triangles", square(20 if smoke else 200), folder),
        Mesh("tetrahedra", block(6 if smoke else 30, 1.0), folder),
    ):
        label = {"mesh": f"{mesh.domain.n_points} nodes, {len(mesh.cells)} {mesh.name}"}
        wave, medium, site = mesh.fresh()
        works = {"einthoven": lambda w=wave, m=medium, s=site: seconds(lambda: w.solve(m, s).times)}
        prepare = in_turns({"einthoven": lambda m=mesh: _first(m)}, turns)["einthoven"]
        error = {"einthoven": percent(wave.solve(medium, site).times, mesh.exact)}
        ready, codes = {"einthoven": prepare}, {}
        for name, python in peers.items():
            if name.startswith("eikonax") and mesh.name != "triangles":
                continue
            if python is None:
                solutions.append(label | {"code": name, "solution (s)": "could not be installed"})
                continue
            codes[name] = Code(name, [str(python), "-c", FIM_CODE if name.startswith("fim") else EIKONAX_CODE])
            try:
                ready[name] = np.array(
                    [codes[name].ask("start", file=str(mesh.file), active="active" in name)["seconds"]]
                )
                first = codes[name].ask("solve", file=str(folder / "times.npy"))["seconds"]
            except RuntimeError as ended:
                solutions.append(label | {"code": name, "solution (s)": f"failed: {str(ended).splitlines()[-1]}"})
                continue
            error[name] = percent(np.load(folder / "times.npy"), mesh.exact)
            if name.startswith("eikonax"):
                label_of_first = label | {"code": f"{name}, first solution with compilation"}
                solutions.append(label_of_first | {"solution (s)": f"{first:.3g}"})
            works[name] = lambda c=codes[name]: c.ask("solve")["seconds"]
        taken = in_turns(works, turns)
        for name, values in taken.items():
            row = label | {"code": name, "preparation (s)": shown(ready[name]), "solution (s)": shown(values)}
            solutions.append(row | {"mean error (%)": error[name]})
            tell(f"{solutions[-1]}")
        arrival = wave.solve(medium, site)
        passing: dict[str, Callable[[], float]] = {
            "einthoven": lambda a=arrival: seconds(lambda: a.pull_back(np.ones(a.times.shape)))
        }
        passing |= {n: (lambda c=c: c.ask("gradient")["seconds"]) for n, c in codes.items() if n.startswith("eikonax")}
        passing = {n: work for n, work in passing.items() if n in taken}
        for name, values in in_turns(passing, turns).items():
            multiple = float(np.median(values) / np.median(taken[name]))
            gradients.append(label | {"code": name, "gradient (s)": shown(values), "over the solution": multiple})
        for code in codes.values():
            code.close()
    return solutions, gradients


def _first(mesh: Mesh) -> float:
    """Seconds of a first solution less those of a second."""
    begun = time.perf_counter()
    wave, medium, site = mesh.fresh()
    first = wave.solve(medium, site).times
    middle = time.perf_counter()
    assert np.array_equal(wave.solve(medium, site).times, first)
    return max(2 * middle - begun - time.perf_counter(), 0.0)


# -- ours alone -------------------------------------------------------------------------------------------------------


def grid_gradients(smoke: bool) -> list[dict]:
    """Derivatives on grids, as a multiple of the solution."""
    rows = []
    for shape in ((40, 40),) if smoke else ((400, 400), (100, 100, 100)):
        d = len(shape)
        for kind, v in (("number per node", np.ones(np.prod(shape))), ("tensor", np.eye(d) + 0.4)):
            wave = Eikonal(Grid(shape, 1.0 / shape[0]))
            medium, site = wave.medium(v), [np.full(d, 0.5)]
            arrival = wave.solve(medium, site)
            adjoint = np.ones(wave.n_nodes)
            taken = in_turns(
                {
                    "solve": lambda w=wave, m=medium, s=site: seconds(lambda: w.solve(m, s).times),
                    "back": lambda a=arrival, w=adjoint: seconds(lambda: a.pull_back(w)),
                },
                1 if smoke else TURNS,
            )
            multiple = float(np.median(taken["back"]) / np.median(taken["solve"]))
            row = {"mesh": " x ".join(map(str, shape)) + f", V a {kind}", "code": "einthoven"}
            rows.append(row | {"gradient (s)": shown(taken["back"]), "over the solution": multiple})
            tell(f"{rows[-1]}")
    return rows


def many(smoke: bool) -> list[dict]:
    """Sixteen sites on one and two threads."""
    import numba

    rows, before = [], numba.get_num_threads()
    for shape in ((30, 30),) if smoke else ((400, 400), (64, 64, 64)):
        wave = Eikonal(Grid(shape, 1.0 / shape[0]))
        sites = np.random.default_rng(1).uniform(0.1, 0.9, (16, 1, len(shape)))
        for kind, v in (("isotropic", 1.0), ("oblique", np.eye(len(shape)) + 0.4)):
            medium = wave.medium(v)
            for threads in (1, 2)[: cores()]:
                numba.set_num_threads(threads)
                work = {"ours": lambda w=wave, m=medium, s=sites: seconds(lambda: w.solve(m, s).times)}
                taken = in_turns(work, 1 if smoke else TURNS)["ours"]
                row = {"grid": " x ".join(map(str, shape)), "medium": kind, "threads": threads}
                rows.append(row | {"seconds": shown(taken), "ms per site": float(1000 * np.median(taken) / 16)})
                tell(f"{rows[-1]}")
    numba.set_num_threads(before)
    return rows


STARTS = {
    "einthoven": (
        "import numpy as np\nfrom einthoven.eikonal import Eikonal\nfrom einthoven.tissue import Grid\n"
        "Eikonal(Grid((100, 100), 0.5)).solve({v}, [[25.0, 25.0]]).times"
    ),
    "scikit-fmm": (
        "import numpy as np, skfmm\nfront = np.ones((100, 100))\nfront[50, 50] = -1\n"
        "skfmm.travel_time(front, np.ones((100, 100)), dx=0.5)"
    ),
}


def startup(smoke: bool, peers: bool) -> list[dict]:
    """Fresh processes, compiled before or never."""
    rows, turns = [], 1 if smoke else 5
    kinds = {"einthoven, isotropic": STARTS["einthoven"].format(v="0.36")}
    kinds["einthoven, oblique"] = STARTS["einthoven"].format(v="np.eye(2) + 0.4")
    if peers:
        kinds["scikit-fmm"] = STARTS["scikit-fmm"]
    timed = "import time\nbegun = time.perf_counter()\n{}\nprint(time.perf_counter() - begun)"
    for name, code in kinds.items():
        command = [sys.executable, "-c", timed.format(code)]
        with tempfile.TemporaryDirectory() as empty:
            folders = [{"NUMBA_CACHE_DIR": empty}] * (name != "scikit-fmm" and not smoke) + [{}] * (turns + 1)
            taken = [
                float(subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | f).stdout)
                for f in folders
            ]
        if len(taken) > turns + 1:
            rows.append({"code": name, "compiled before": "no", "seconds": f"{taken[0]:.3g}"})
        row = {"code": name, "compiled before": "yes" if name != "scikit-fmm" else "when it was built"}
        rows.append(row | {"seconds": shown(np.array(taken[-turns:]))})
        tell(f"{rows[-1]}")
    return rows


# -- tables -----------------------------------------------------------------------------------------------------------


def head() -> str:
    """Machine and versions."""
    facts = machine()
    packages = ", ".join(f"{p} {version(p)}" for p in ("einthoven", "numpy", "numba", "scikit-fmm"))
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{facts['processor']}, {cores()} cores, {facts['system']}, Python {sys.version.split()[0]}, {packages}, peers "
        f"{FIM}, {EIKONAX}; load {load} at the start"
    )


def main(out: Path, smoke: bool, *, peers: bool = True, cache: Path | None = None) -> dict:
    """Measure everything, print the tables and write them under `out`."""
    first, others = head(), peers and not smoke
    where = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "einthoven"
    pythons: dict[str, Path | None] = {}
    if others:
        fim = peer_python(where / "peer-fimpy", FIM, sys.executable)
        pythons = {f"{FIM}, all cells": fim, f"{FIM}, active list": fim}
        pythons[EIKONAX] = peer_python(
            where / "peer-eikonax", EIKONAX, python_312(), "numpy<2.4"
        )  # its annotations fail with later ones
    with tempfile.TemporaryDirectory() as name:
        tables = {"Grids": grids(smoke, others)}
        tables["Surfaces and tetrahedra"], tables["Gradients"] = meshes(smoke, pythons, Path(name))
    tables["Gradients"] = grid_gradients(smoke) + tables["Gradients"]
    tables |= {"Many right-hand sides": many(smoke), "Start-up": startup(smoke, others)}
    text = ["# Speed of the eikonal solver", "", first, ""]
    for title, rows in tables.items():
        text += [f"## {title}", "", WORDS[title].format(turns=TURNS), "", *lines(rows), ""]
    out.mkdir(parents=True, exist_ok=True)
    (out / "eikonal_speed.json").write_text(json.dumps({"machine": first, "tables": tables}, indent=1))
    (out / "eikonal_speed.md").write_text("\n".join(text))
    print("\n".join(text))
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, seconds, no peers; the figures mean nothing")
    parser.add_argument("--no-peers", action="store_true", help="einthoven alone")
    parser.add_argument("--cache", type=Path, default=None, help="folder for the peers' environments")
    arguments = parser.parse_args()
    main(arguments.out, arguments.smoke, peers=not arguments.no_peers, cache=arguments.cache)
