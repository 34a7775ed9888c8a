"""Speed of the compiled monodomain engine: against Finitewave, against the memory's bandwidth, start-up, growth.

    python benchmarks/simulate_speed.py --out out/bench [--smoke] [--no-peers] [--cache FOLDER]

Both codes step the same grid, mask, diffusivity, membrane, dt and stimulus, each in a process of its own that is warm
before it is timed; they take turns, and what is told is the median of the turns with the smallest and the largest.
Finitewave gets a virtual environment of its own below the cache folder, made when it is not there. Prints and writes
``simulate_speed.json`` and ``simulate_speed.md``. Timings mean something on an idle machine only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _tables import lines

from einthoven.ionic import IonicModel
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.fenton_karma_1998 import FentonKarma1998
from einthoven.ionic.registry import MODELS
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006
from einthoven.simulate import Monodomain
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.run import resting_state
from einthoven.studies.provenance import machine
from einthoven.tissue import Grid, Tissue

PEER = "finitewave==0.9.3"

#: What the issue asks for: at least so many times the peer's speed.
WANTED = {"Aliev-Panfilov 2-D": 10.0, "Fenton-Karma 2-D": 10.0, "ten Tusscher 2-D": 3.0, "Aliev-Panfilov 3-D": 5.0}

#: Seconds that one turn should take; turns per code.
TURN, TURNS = 0.4, 7


@dataclass(frozen=True)
class Problem:
    """What both codes solve; times and potentials in the membrane's own units.

    Parameters
    ----------
    name
        In the tables.
    membrane
        Of `MEMBRANES`.
    shape
        Of the grid.
    dt
        Time step.
    diffusivity
        Largest, mm2 per unit of time.
    fibrosis
        Share of cells that do not conduct, drawn one by one; 0 also makes the diffusivity the same everywhere.
    lines
        Whether every 40th plane along the first axis is driven, so that all of the tissue is active at once; else only
        the first, for one plane wave.
    """

    name: str
    membrane: str
    shape: tuple[int, ...]
    dt: float
    diffusivity: float
    fibrosis: float = 0.15
    lines: bool = True
    spacing: float = 0.25

    @property
    def cells(self) -> str:
        """Size in words."""
        return " x ".join(map(str, self.shape))


@dataclass(frozen=True)
class Membrane:
    """A membrane in both codes: ours, the peer's class and its names of v and our states.

    Then rate and duration of the stimulus, level of activation, expected velocity, time between looks for activation.
    """

    model: Callable[[], IonicModel]
    peer: str
    names: tuple[str, ...]
    rate: float
    duration: float
    level: float
    velocity: float
    look: float


#: How many times as long as expected a plane wave may take, without and with fibrosis.
LONGEST = (1.2, 1.9)

#: Parameters are those that Finitewave has; both start from our initial values.
MEMBRANES = {
    "aliev-panfilov": Membrane(
        lambda: AlievPanfilov1996(a=0.1, e0=0.01, time_unit=1.0), "AlievPanfilov", ("u", "v"), 5.0, 0.4, 0.5, 1.5, 0.2
    ),
    "fenton-karma": Membrane(FentonKarma1998.atrial, "FentonKarma", ("u", "v", "w"), 0.5, 2.0, 0.5, 0.6, 0.4),
    "ten-tusscher": Membrane(
        lambda: TenTusscherPanfilov2006(**TenTusscherPanfilov2006.authors_f2()),
        "TenTusscherPanfilov2006",
        (
            *("u", "cai", "casr", "cass", "nai", "ki", "m", "h", "j", "xr1", "xr2", "xs"),
            *("r", "s", "d", "f", "f2", "fcass", "rr"),
        ),
        50.0,
        2.0,
        -20.0,
        0.7,
        0.4,
    ),
}


def problems(smoke: bool) -> list[Problem]:
    """Those that are timed."""
    sheet, block = ((40, 40), (16, 16, 16)) if smoke else ((400, 400), (100, 100, 100))
    every = [
        Problem("Aliev-Panfilov 2-D", "aliev-panfilov", sheet, 0.01, 1.0),
        Problem("Fenton-Karma 2-D", "fenton-karma", sheet, 0.02, 0.1),
        Problem("ten Tusscher 2-D", "ten-tusscher", sheet, 0.02, 0.154),
        Problem("Aliev-Panfilov 3-D", "aliev-panfilov", block, 0.01, 0.9),
    ]
    return every[::3] if smoke else every


def write(problem: Problem, file: Path) -> Path:
    """Grid, mask, diffusivity, stimulus and initial values as arrays; the seed is fixed."""
    from scipy.ndimage import gaussian_filter

    rng, membrane = np.random.default_rng(2026), MEMBRANES[problem.membrane]
    conducting = rng.random(problem.shape) >= problem.fibrosis
    conducting[:4] = True
    smooth = gaussian_filter(rng.standard_normal(problem.shape), 8.0)
    factor = 1.0 - 0.5 * (smooth - smooth.min()) / np.ptp(smooth)
    if problem.fibrosis == 0.0:
        factor[:] = 1.0
    driven = np.zeros(problem.shape, bool)
    for first in range(0, problem.shape[0] if problem.lines else 1, 40):
        driven[first : first + 3] = True
    v, states = resting_state(membrane.model(), 1)
    driven_steps = round(membrane.duration / problem.dt)
    np.savez(
        file,
        conducting=conducting,
        factor=factor,
        driven=driven & conducting,
        initial=np.concatenate([v, states[:, 0]]),
        numbers=[problem.dt, problem.spacing, problem.diffusivity, membrane.rate, driven_steps],
        membrane=problem.membrane,
        peer=membrane.peer,
        names=np.array(membrane.names),
    )
    return file


# -- the two codes, each a process that answers lines of JSON ---------------------------------------------------------

# Put into the peer's process. Its stimulus lasts a step longer than it says, hence the half step; `run` is told the
# middle of the last step, so that rounding cannot add one.
FINITEWAVE = """
import json, sys, time
begun = time.perf_counter()
answers, sys.stdout = sys.stdout, sys.stderr
import numpy as np
import finitewave as fw
imported = time.perf_counter() - begun

def start(file):
    data = np.load(file)
    dt, spacing, diffusivity, rate, driven_steps = data["numbers"].tolist()
    shape = tuple(n + 2 for n in data["conducting"].shape)
    inner = tuple(slice(1, -1) for _ in shape)
    tissue = fw.CardiacTissue(shape)
    mesh, factor, driven = np.zeros(shape, np.int8), np.ones(shape), np.zeros(shape)
    mesh[inner] = np.where(data["conducting"], 1, 2)
    factor[inner], driven[inner] = data["factor"], data["driven"]
    tissue.mesh, tissue.conductivity = mesh, factor
    model = getattr(fw, str(data["peer"]))()
    model.cardiac_tissue, model.dt, model.dr, model.D_model = tissue, dt, spacing, diffusivity
    for name, value in zip(data["names"].tolist(), data["initial"].tolist()):
        assert hasattr(model, "init_" + name), name
        setattr(model, "init_" + name, value)
    stimuli = fw.StimSequence()
    stimuli.add_stim(fw.StimCurrentMatrix(0.0, rate, (driven_steps - 1.5) * dt, driven))
    model.stim_sequence, model.prog_bar = stimuli, False
    model.initialize()
    return model, inner

def step(model, n, threads):
    first, model.t_max = model.step, model.t + (n - 0.5) * model.dt
    begun = time.perf_counter()
    model.run(initialize=False, num_of_threads=threads)
    taken = time.perf_counter() - begun
    assert model.step == first + n
    return taken

model = None
for line in sys.stdin:
    ask = json.loads(line)
    begun, found = time.perf_counter(), {}
    if ask["do"] == "start":
        model, inner = start(ask["file"])
        step(model, 1, ask["threads"])
        found = {"imports": imported, "first": time.perf_counter() - begun}
    elif ask["do"] == "steps":
        found = {"seconds": step(model, ask["n"], ask["threads"])}
    elif ask["do"] == "potential":
        np.save(ask["file"], model.u[inner])
    print(json.dumps(found), file=answers, flush=True)
"""


class Ours:
    """The engine behind the same questions."""

    def __init__(self, file: str, dtype: Any):
        import numba

        data = np.load(file)
        dt, spacing, diffusivity, rate, driven_steps = data["numbers"].tolist()
        conducting = data["conducting"]
        self.tissue = Tissue.isotropic(Grid(conducting.shape, spacing), diffusivity * data["factor"], conducting)
        self.engine = Engine(Monodomain(self.tissue, MEMBRANES[str(data["membrane"])].model(), dtype=dtype), dt)
        n = self.tissue.n_nodes
        v, *states = np.broadcast_to(data["initial"][:, None], (len(data["initial"]), n))
        self.engine.load(v, np.array(states))
        nodes = np.flatnonzero(self.tissue.take(data["driven"]))
        once, bounds = np.array([rate]), np.array([0, len(nodes)])
        self.pulses = Pulses(np.array([0]), np.array([int(driven_steps)]), bounds, nodes, once, np.array([False]))
        self.taken, self._threads = 0, numba.set_num_threads

    def step(self, n: int, threads: int) -> float:
        """Take steps; seconds."""
        self._threads(threads)
        begun = time.perf_counter()
        self.engine.advance(n, self.taken, self.pulses)
        seconds = time.perf_counter() - begun
        self.taken += n
        return seconds

    def potential(self, file: str) -> None:
        """Save v on the grid."""
        np.save(file, self.tissue.fill(self.engine.state()[0].astype(np.float64)))


def serve() -> None:
    """Answer lines of JSON from standard input, as the peer does."""
    answers, sys.stdout = sys.stdout, sys.stderr
    ours: Ours | None = None
    for line in sys.stdin:
        ask: dict = json.loads(line)
        begun, found = time.perf_counter(), {}
        if ask["do"] == "start":
            ours = Ours(ask["file"], ask["dtype"])
            ours.step(1, ask["threads"])
            found = {"first": time.perf_counter() - begun, "cells": ours.tissue.n_nodes}
            found["bytes"] = ours.engine.memory_bytes
        elif ask["do"] == "triad":
            found = {"GB/s": triad(ask["threads"], ask["size"])}
        elif ours and ask["do"] == "steps":
            found = {"seconds": ours.step(ask["n"], ask["threads"])}
        elif ours and ask["do"] == "potential":
            ours.potential(ask["file"])
        print(json.dumps(found), file=answers, flush=True)


def triad(threads: int, size: int) -> float:
    """Bandwidth of a = b + s c on float64 arrays of that many numbers, 24 bytes each; the best of ten, GB/s."""
    import numba

    @numba.njit(parallel=True)
    def once(a, b, c, s):  # pragma: no cover - compiled
        for k in numba.prange(len(a)):
            a[k] = b[k] + s * c[k]

    a, b, c = np.zeros(size), np.ones(size), np.ones(size)
    numba.set_num_threads(threads)
    once(a, b, c, 2.0)
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        once(a, b, c, 2.0)
        seconds.append(time.perf_counter() - begun)
    return 24e-9 * size / min(seconds)


class Code:
    """A process that answers."""

    def __init__(self, name: str, command: list[str]):
        self.name, self.steps = name, 1
        environment = os.environ | {"NUMBA_NUM_THREADS": str(cores())}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=environment
        )

    def ask(self, do: str, **what: Any) -> dict:
        """Ask and wait for the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do} | what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} ended: {self._errors.read().strip()[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()


@contextmanager
def codes(peer: Path | None, smoke: bool) -> Iterator[dict[str, Code]]:
    """Run a process of ours for every dtype, and the peer's if there is one, as long as they are needed."""
    kinds = ("float64",) if smoke else ("float64", "float32")
    found = {kind: Code(f"einthoven {kind}", [sys.executable, __file__, "--serve"]) for kind in kinds}
    if peer:
        found["peer"] = Code(PEER, [str(peer), "-c", FINITEWAVE])
    try:
        yield found
    finally:
        for code in found.values():
            code.close()


def peer_python(cache: Path) -> Path | None:
    """Python of Finitewave's own environment, made when it is not there; None if it cannot be installed."""
    folder = cache / "peer-finitewave"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER]
        if subprocess.run(install, check=False).returncode:
            return None
    return python


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts() -> tuple[int, ...]:
    """One thread, and two where there are two."""
    return (1, 2)[: cores()]


# -- what is measured -------------------------------------------------------------------------------------------------


def turns(found: dict[str, Code], cells: int, threads: int, smoke: bool) -> dict[str, np.ndarray]:
    """Nanoseconds per cell and step of every code, turn by turn."""
    for code in found.values():
        code.steps = 2
        for _ in range(2):
            seconds = code.ask("steps", n=code.steps, threads=threads)["seconds"]
            aim = 0.01 if smoke else TURN
            code.steps = int(np.clip(code.steps * aim / max(seconds, 1e-9), 2, 20_000))
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(2 if smoke else TURNS):
        for name, code in found.items():
            seconds = code.ask("steps", n=code.steps, threads=threads)["seconds"]
            times[name].append(1e9 * seconds / code.steps / cells)
    return {name: np.array(values) for name, values in times.items()}


def shown(values: np.ndarray) -> str:
    """Median (smallest-largest)."""
    middle, low, high = (f"{x:.3g}" if x < 1e3 else f"{x:.0f}" for x in (np.median(values), values.min(), values.max()))
    return f"{middle} ({low}-{high})"


def against_peer(problem: Problem, found: dict[str, Code], folder: Path, smoke: bool) -> list[dict]:
    """Rows of a problem."""
    file, rows = write(problem, folder / "problem.npz"), []
    begun = {n: c.ask("start", file=str(file), dtype=n, threads=cores()) for n, c in found.items()}
    cells = begun["float64"]["cells"]
    past = round(MEMBRANES[problem.membrane].duration / problem.dt) + 1
    for code in found.values():
        code.ask("steps", n=past, threads=cores())
    for threads in thread_counts():
        times = turns(found, cells, threads, smoke)
        row: dict = {"problem": problem.name, "grid": problem.cells, "cells": cells, "threads": threads}
        row |= {label(name): shown(values) for name, values in times.items()}
        if "peer" in times:
            row["ratio"] = float(np.median(times["peer"]) / np.median(times["float64"]))
            row["ratio of every turn"] = shown(times["peer"] / times["float64"])
            row["asked for"] = WANTED[problem.name]
        row["M cell-steps/s"] = 1e3 / float(np.median(times["float64"]))
        rows.append(row)
        ratio = f", {row['ratio']:.1f} times {PEER}" if "ratio" in row else ""
        tell(f"{problem.name}, {threads} thread(s): {shown(times['float64'])} ns per cell-step{ratio}")
    return rows


def label(name: str) -> str:
    """Column of a code."""
    return f"{PEER} float64" if name == "peer" else f"einthoven {name}"


def activation(code: Code, file: Path, out: Path, *, every: int, looks: int, level: float) -> np.ndarray:
    """When v first rises above a level, in steps, interpolated between looks; NaN where it never does."""
    code.ask("start", file=str(file), dtype="float64", threads=cores())
    first, before = None, None
    for look in range(looks):
        code.ask("steps", n=every - (look == 0), threads=cores())
        code.ask("potential", file=str(out))
        now = np.load(out)
        if first is None or before is None:
            first, before = np.full(now.shape, np.nan), now
            continue
        rose = np.isnan(first) & (before < level) & (now >= level)
        first[rose] = every * (look + (level - before[rose]) / (now[rose] - before[rose]))
        before = now
    assert first is not None
    return first


def agreement(found: dict[str, Code], folder: Path) -> list[dict]:
    """Plane waves along 25 mm: velocity between a quarter and three quarters of it, both codes; the limit in dt."""
    rows = []
    for problem, fibrosis in product(problems(False)[:3], (0.0, 0.15)):
        strip = replace(problem, shape=(100, 40), fibrosis=fibrosis, lines=False)
        row: dict = {"problem": problem.name.removesuffix(" 2-D"), "dt": problem.dt}
        row["tissue"] = f"{fibrosis:.0%} fibrosis, D varies" if fibrosis else "uniform"
        ours, theirs = (velocity(found[name], strip, folder) for name in ("float64", "peer"))
        row |= {"einthoven": ours, PEER: theirs, "difference (%)": 100 * (theirs / ours - 1)}
        if not fibrosis:
            half = replace(strip, dt=strip.dt / 2)
            ours, theirs = (velocity(found[name], half, folder) for name in ("float64", "peer"))
            row |= {"einthoven, dt / 2": ours, f"{PEER}, dt / 2": theirs}
            row["difference, dt / 2 (%)"] = 100 * (theirs / ours - 1)
        rows.append(row)
        tell(f"velocity, {problem.name}, {row['tissue']}: {PEER} {row['difference (%)']:+.2f} %")
    return rows


def velocity(code: Code, strip: Problem, folder: Path) -> float:
    """Of the wave from the first plane, between the planes 25 and 75."""
    file, membrane = write(strip, folder / "strip.npz"), MEMBRANES[strip.membrane]
    every = round(membrane.look / strip.dt)
    looks = round(LONGEST[strip.fibrosis > 0] * 25 / membrane.velocity / membrane.look)
    times = activation(code, file, folder / "v.npy", every=every, looks=looks, level=membrane.level)
    taken = float(np.nanmean(times[75]) - np.nanmean(times[25]))
    return 50 * strip.spacing / (taken * strip.dt)


def bandwidth(found: dict[str, Code], folder: Path, smoke: bool) -> list[dict]:
    """Aliev-Panfilov on blocks: bytes that a step must move at least, over its time, as a share of the triad's rate."""
    rows, base = [], problems(smoke)[-1]
    ours = {name: code for name, code in found.items() if name != "peer"}
    for n, fibrosis in ((16, 0.15),) if smoke else ((100, 0.15), (192, 0.15), (192, 0.0)):
        file = write(replace(base, shape=(n, n, n), fibrosis=fibrosis), folder / "block.npz")
        begun = {name: c.ask("start", file=str(file), dtype=name, threads=cores()) for name, c in ours.items()}
        cells = begun["float64"]["cells"]
        for threads in thread_counts():
            times = turns(ours, cells, threads, smoke)
            rate = ours["float64"].ask("triad", threads=threads, size=10_000 if smoke else 2**24)["GB/s"]
            for name, values in times.items():
                least, median = 7 * np.dtype(name).itemsize, float(np.median(values))
                row: dict = {"grid": f"{n}^3", "cells": cells, "fibrosis": f"{fibrosis:.0%}", "dtype": name}
                row |= {"threads": threads, "ns per cell-step": shown(values), "bytes at least": least}
                row |= {"GB/s": least / median, "triad GB/s": rate, "share (%)": 100 * least / median / rate}
                rows.append(row | {"memory (MiB)": begun[name]["bytes"] / 2**20})
                tell(f"{n}^3, {name}, {threads} thread(s): {row['share (%)']:.0f} % of the triad's {rate:.1f} GB/s")
    return rows


STARTUP = """
import time; begun = time.perf_counter()
import json, sys
import numpy as np
from einthoven.simulate import Monodomain
from einthoven.simulate.engine import Engine
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.run import resting_state
from einthoven.tissue import Grid, Tissue
import einthoven.ionic.registry as registry
imported = time.perf_counter()
tissue, model = Tissue.isotropic(Grid((100, 100), 0.25), 0.1), registry.model(sys.argv[1])
engine = Engine(Monodomain(tissue, model), 0.02)
engine.load(*resting_state(model, tissue.n_nodes))
made = time.perf_counter()
engine.advance(1, 0, Pulses.none())
first = time.perf_counter()
engine.advance(1, 1, Pulses.none())
second = time.perf_counter()
print(json.dumps({"imports": imported - begun, "engine made": made - imported,
                  "first step": first - made, "second step": second - first, "sum": first - begun}))
"""


def startup(peer: Path | None, folder: Path, smoke: bool) -> list[dict]:
    """Fresh processes: an empty folder of compiled kernels, the same folder again; the peer compiles every time."""
    rows = []
    names = {"aliev-panfilov-1996": "nothing", "ten-tusscher-panfilov-2006-epi": "another membrane"}
    for name, before in list(names.items())[: 1 if smoke else 2]:
        environment = os.environ | ({} if smoke else {"NUMBA_CACHE_DIR": str(folder / "kernels")})
        done = []
        for _ in range(1 if smoke else 6):
            begun = time.perf_counter()
            command = [sys.executable, "-c", STARTUP, name]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            done.append(json.loads(run.stdout) | {"whole process": time.perf_counter() - begun})
        warm = {key: float(np.median([d[key] for d in done[1:] or done])) for key in done[0]}
        label = {"code": "einthoven", "membrane": name}
        rows += [label | {"compiled before": before} | done[0]] if done[1:] else []
        rows.append(label | {"compiled before": "this (median of five)"} | warm)
        tell(f"start of {name}: {done[0]['sum']:.2f} s at first, {warm['sum']:.2f} s when compiled")
    for problem in problems(smoke)[:3:2] if peer else ():
        file = write(replace(problem, shape=(100, 100), fibrosis=0.0), folder / "start.npz")
        begun = time.perf_counter()
        code = Code(PEER, [str(peer), "-c", FINITEWAVE])
        done = code.ask("start", file=str(file), threads=cores())
        code.close()
        row = {"code": PEER, "membrane": problem.membrane, "compiled before": "never kept"}
        row |= {"imports": done["imports"], "first step": done["first"], "sum": done["imports"] + done["first"]}
        rows.append(row | {"whole process": time.perf_counter() - begun})
        tell(f"start of {PEER}, {problem.membrane}: {row['sum']:.2f} s")
    return rows


def growth(code: Code, folder: Path, smoke: bool) -> tuple[list[dict], list[dict]]:
    """Time over cells at fixed steps, and over steps at fixed cells; one thread, float64."""
    by_cells, by_steps = [], []
    sheets = [replace(problem, fibrosis=0.0) for problem in problems(False)[:3]]
    for problem, side in product(sheets[:1] if smoke else sheets[::2], (32, 100) if smoke else (32, 100, 316, 1000)):
        steps = 1000 if problem.membrane == "aliev-panfilov" else 50
        by_cells.append(_growing(code, replace(problem, shape=(side, side)), steps, folder))
    for power in (2, 3) if smoke else (2, 3, 4, 5):
        by_steps.append(_growing(code, replace(sheets[0 if smoke else 1], shape=(64, 64)), 10**power, folder))
    return by_cells, by_steps


def _growing(code: Code, problem: Problem, steps: int, folder: Path) -> dict:
    file = write(problem, folder / "sheet.npz")
    begun = code.ask("start", file=str(file), dtype="float64", threads=1)
    cells = begun["cells"]
    seconds = np.array([code.ask("steps", n=steps, threads=1)["seconds"] for _ in range(3)])
    row: dict = {"problem": problem.name, "cells": cells, "steps": steps, "seconds": float(np.median(seconds))}
    row |= {"ns per cell-step": shown(1e9 * seconds / steps / cells), "bytes per cell": begun["bytes"] / cells}
    tell(f"{problem.name}, {cells} cells, {steps} steps: {row['ns per cell-step']} ns per cell-step")
    return row


def memory(smoke: bool) -> list[dict]:
    """Bytes per cell of all arrays that a step reads or writes, isotropic tissue without holes."""
    rows = []
    classes = {type(make()): name for name, make in reversed(MODELS.items())}
    for kind, name in list(classes.items())[:1] if smoke else reversed(classes.items()):
        model = MODELS[name]()
        row: dict = {"membrane": kind.__name__, "v and states": len(model.states) + 1}
        for shape, dtype in product(((256, 256), (48, 48, 48)), ("float64", "float32")):
            tissue = Tissue.isotropic(Grid(shape, 0.25), 0.1)
            engine = Engine(Monodomain(tissue, model, dtype=dtype), 0.01)
            row[f"{len(shape)}-D {dtype}"] = engine.memory_bytes / engine.n_nodes
        rows.append(row)
    return rows


# -- tables -----------------------------------------------------------------------------------------------------------

WORDS = {
    "Against Finitewave": (
        "Nanoseconds per cell and step, conducting cells alone counted: median (smallest-largest) of {turns} "
        "turns of about {turn} s, in which the codes alternate. 15 % of the cells do not conduct (drawn one "
        "by one), D varies smoothly between half and all of its largest value, every 40th plane is driven so "
        "that all tissue is active. Spacing 0.25 mm; dt 0.01 units of time (Aliev-Panfilov) or 0.02 ms. "
        "Compilation is apart."
    ),
    "Same problem": (
        "Velocity of a plane wave along 25 mm, in mm per unit of time (Aliev-Panfilov) or mm/ms, level "
        "crossings interpolated. On uniform tissue the codes differ in how they step: einthoven lets the "
        "membrane act on the potential after diffusion, Finitewave computes both from the old one; gates of "
        "ten Tusscher are stepped by Rush-Larsen in both, its buffered calcium by Finitewave implicitly. With "
        "holes the equations differ as well: where a neighbor does not conduct, Finitewave doubles the pull "
        "of the opposite one (a mirror through the cell's center), so that charge is not conserved, and "
        "einthoven's finite volumes leave the face without flux; D at a face is the arithmetic mean there, "
        "the harmonic mean here."
    ),
    "Share of the memory's bandwidth": (
        "Aliev-Panfilov on blocks. A step must read v and write it, read and write one state and read three "
        "weights: 7 numbers of 8 or 4 bytes per conducting cell. GB/s = bytes / time per cell-step; share = "
        "GB/s / triad GB/s, where the triad is the best of ten passes of a = b + s c over three float64 "
        "arrays of 128 MiB, 24 bytes an element, same threads, same run. Neither counts the read that a store "
        "to memory causes. Where the memory of a run is not several times the last cache, part of it is "
        "served by the cache."
    ),
    "Start-up": (
        "Seconds in fresh processes, 100 x 100 cells, threads as many as cores. `sum` goes from the first "
        "statement to the end of the first step, `whole process` from its start to its end. Imports are those "
        "of NumPy, JAX and Numba. Finitewave keeps no compiled kernels: it compiles in every process, and "
        "again for every model that is initialized."
    ),
    "Growth with cells": (
        "One thread, float64, median of three. Seconds should be proportional to cells; what a run of "
        "Aliev-Panfilov touches stays in the last cache up to about 10^5 cells and comes from memory at 10^6."
    ),
    "Growth with steps": "One thread, float64, median of three; seconds should be proportional to steps.",
    "Memory": (
        "Bytes per cell of all arrays that a step reads or writes: every cell conducting, isotropic, explicit "
        "diffusion."
    ),
}


def tell(text: str) -> None:
    """Progress."""
    print(text, flush=True)


def head() -> str:
    """Machine and versions."""
    facts = machine()
    packages = ", ".join(f"{p} {version(p)}" for p in ("einthoven", "numpy", "numba", "llvmlite", "jax"))
    wait = os.environ.get("OMP_WAIT_POLICY", "default")
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{facts['processor']}, {cores()} cores, {facts['system']}, Python {sys.version.split()[0]}, {packages}, "
        f"peer {PEER}; OMP_WAIT_POLICY {wait}; load {load} at the start"
    )


def markdown(tables: dict[str, list[dict]], head: str) -> str:
    """Write the tables, each with the words that say what was measured."""
    text = ["# Speed of the simulation", "", head, ""]
    for title, rows in tables.items():
        if rows:
            text += [f"## {title}", "", WORDS[title].format(turns=TURNS, turn=TURN), "", *lines(rows), ""]
    return "\n".join(text)


def main(out: Path, smoke: bool, *, peers: bool = True, cache: Path | None = None) -> dict:
    """Measure everything, print the tables and write them under `out`."""
    first, tables = head(), {title: [] for title in WORDS}
    where = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "einthoven"
    peer = peer_python(where) if peers and not smoke else None
    if peers and not smoke and peer is None:
        tell(f"{PEER} could not be installed: its rows are missing")
    with tempfile.TemporaryDirectory() as name, codes(peer, smoke) as found:
        folder = Path(name)
        for problem in problems(smoke):
            tables["Against Finitewave"] += against_peer(problem, found, folder, smoke)
        tables["Share of the memory's bandwidth"] = bandwidth(found, folder, smoke)
        by_cells, by_steps = growth(found["float64"], folder, smoke)
        tables |= {"Growth with cells": by_cells, "Growth with steps": by_steps, "Memory": memory(smoke)}
        tables["Start-up"] = startup(peer, folder, smoke)
        if peer:
            tables["Same problem"] = agreement(found, folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / "simulate_speed.json").write_text(json.dumps({"machine": first, "tables": tables}, indent=1))
    text = markdown(tables, first)
    (out / "simulate_speed.md").write_text(text)
    print(text)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, seconds, no peer; the figures mean nothing")
    parser.add_argument("--no-peers", action="store_true", help="without Finitewave")
    parser.add_argument("--cache", type=Path, default=None, help="folder for the peer's environment")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    else:
        main(arguments.out, arguments.smoke, peers=not arguments.no_peers, cache=arguments.cache)
