"""The simulation study: what it costs, running its runs, resuming them where they were cut off."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.core import InputError
from einthoven.core.progress import Progress, silent
from einthoven.simulate import Simulation
from einthoven.studies.output import write_json
from einthoven.studies.provenance import checksum
from einthoven.studies.simulation_build import Prepared, load_surface, prepare
from einthoven.studies.simulation_build import physical_memory as _physical_memory
from einthoven.studies.simulation_config import runs_of
from einthoven.studies.simulation_output import (
    Page,
    StudyResult,
    check_owner,
    finished_result,
    finished_sweep,
    metrics_of,
    write_run,
    write_sweep,
)
from einthoven.studies.simulation_tables import SimulationStudy, SurfaceTissue
from einthoven.studies.store import CellResult, Config, ResultsStore, cell_key, measured, read_labelled
from einthoven.studies.sweep import Workers, check_workers, run_cells

#: Version of what turns a study into numbers; changed where a change of the code changes them, so that what was stored
#: by older code is computed anew.
VERSION = "simulation 2"
#: Where a run under way keeps its results and checkpoint, in the folder of its results.
UNFINISHED = ".unfinished"
_DONE = "done.json"
#: How long (s) the rate of stepping is measured, and in how many parts.
MEASURED = 1.0
PARTS = 5


@dataclass(frozen=True)
class Cost:
    """What a study will take.

    Parameters
    ----------
    runs, nodes, steps
        Number of runs, and of conducting cells and time steps of the first of them.
    memory
        Bytes, about.
    rate, slowest_rate
        Cell-steps per second of the run's first steps, measured on the spot; in the slowest part of them.
    busy
        Whether other programs compete for the processors.
    """

    runs: int
    nodes: int
    steps: int
    memory: int
    rate: float
    slowest_rate: float
    busy: bool = False

    @property
    def seconds(self) -> float:
        """Time of stepping all runs one after the other, taking them as alike."""
        return self.runs * self.nodes * self.steps / self.rate

    @property
    def longest_seconds(self) -> float:
        """The same if all steps take as long as the slowest of those that were measured."""
        return self.runs * self.nodes * self.steps / self.slowest_rate

    def sentence(self) -> str:
        """For people."""
        runs = f"{self.runs} runs of " if self.runs > 1 else ""
        span = _duration(self.seconds)
        if self.longest_seconds > 1.5 * self.seconds:
            span += f" to {_duration(self.longest_seconds)}"
        busy = "; other programs use the processors, which may make it several times longer" if self.busy else ""
        return (
            f"{runs}{self.nodes:,} cells x {self.steps:,} steps; about {_size(self.memory)} of memory and {span} of "
            f"stepping at {self.rate / 1e6:.3g} million cell-steps/s{busy}"
        )


def run_study(
    study: SimulationStudy,
    out: Path,
    progress: Progress = silent,
    *,
    resume: bool = True,
    page: Page | None = None,
    workers: Workers = 1,
    announce: Callable[[Cost], object] | None = None,
) -> StudyResult:
    """Run a study and write its results.

    A run that was cut off (by Ctrl-C, a kill, a full disk) goes on from its last checkpoint when it is started again
    with the same folder, and ends with the same bits; a sweep keeps its finished runs.

    Parameters
    ----------
    study
        See `einthoven.studies.simulation_config.load_study`.
    out
        Folder for the results.
    progress
        Told about time steps and, in a sweep, runs.
    resume
        Go on with what is there; otherwise start over.
    page
        Writes ``report.html``; None for no page. (Handed in, because pages are a layer above.)
    workers
        Processes of a sweep, or the address of a dask scheduler.
    announce
        Told the cost before the first step.

    Returns
    -------
    StudyResult
        Metrics, one row per run, and the files written.

    Raises
    ------
    InputError
        If the study does not fit together, the machine has too little memory, or the disk is full.
    """
    _check_folder(out)
    check_workers(workers)
    try:
        if study.sweep:
            return _run_sweep(study, out, progress, (resume, page, workers, announce))
        return _run_single(study, out, progress, (resume, page, announce))
    except MemoryError as problem:
        raise InputError(f"tissue: does not fit into memory ({problem}). Raise tissue.spacing, or keep less.") from None
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "Make room and run again: it goes on from its last checkpoint." if full else "Choose another --out."
        raise InputError(
            f"{problem.filename or out}: cannot be written ({problem.strerror or problem}); what was finished stays. "
            f"{mend}"
        ) from problem


def config_of(study: SimulationStudy) -> dict[str, Any]:
    """What decides the numbers of a run, files included: what it is stored under."""
    config = study.config
    table = study.tissue
    if isinstance(table, SurfaceTissue) and table.surface != "phantom":
        surface = load_surface(table)
        config["surface_checksum"] = checksum(surface.points, surface.triangles)
    return config


# --- one run ----------------------------------------------------------------------------------------


def _run_single(study: SimulationStudy, out: Path, progress: Progress, how: tuple) -> StudyResult:
    resume, page, announce = how
    key = cell_key(config_of(study), VERSION)
    if resume and (found := finished_result(out, key)) is not None:
        return found
    if resume:
        check_owner(out, study.name)
    prepared = prepare(study)
    cost = cost_of(prepared)
    if announce is not None:
        announce(cost)
    work = out / UNFINISHED
    work.mkdir(parents=True, exist_ok=True)
    simulation = _reloaded(prepared, work, key) if resume else None
    if simulation is None:
        simulation = _simulated(prepared, work / "results.zarr", progress, fresh=not resume)
        done = {"key": key, "seconds": simulation.seconds, "resumed_at": simulation.resumed_at}
        write_json(work / _DONE, done | {"results": measured(work / "results.zarr")})
    result = write_run(prepared, simulation, work / "results.zarr", out, key=key, version=VERSION, page=page)
    shutil.rmtree(work, ignore_errors=True)
    return result


def _check_folder(out: Path) -> None:
    if not str(out).strip() or out == Path():
        raise InputError("--out must name a folder; got nothing, or the current folder. Example: --out out/mine.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: --out must be a folder; this is a file.")


def _reloaded(prepared: Prepared, work: Path, key: str) -> Simulation | None:
    """A run that ended, but whose files were not all written; None where its results were damaged or moved since."""
    try:
        done = json.loads((work / _DONE).read_text(encoding="utf-8"))
        seconds, resumed_at = float(done["seconds"]), done["resumed_at"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    times, path = prepared.study.time, work / "results.zarr"
    if done["key"] != key or done.get("results") != measured(path):
        return None
    data = {
        group.name: read_labelled(path, group.name)[group.name].load() for group in path.iterdir() if group.is_dir()
    }
    return Simulation(
        prepared.monodomain, prepared.protocol, times.dt, times.t_end, data, prepared.n_steps, seconds, resumed_at
    )


def _simulated(prepared: Prepared, store: Path, progress: Progress, *, fresh: bool) -> Simulation:
    from einthoven.simulate import simulate

    times = prepared.study.time
    return simulate(
        prepared.monodomain,
        prepared.protocol,
        times.t_end,
        dt=times.dt,
        keep=prepared.keeps,
        store=store,
        fresh=fresh,
        progress=progress,
    )


# --- a sweep ----------------------------------------------------------------------------------------


def _run_sweep(study: SimulationStudy, out: Path, progress: Progress, how: tuple) -> StudyResult:
    resume, page, workers, announce = how
    runs = runs_of(study)
    if resume:
        check_owner(out, study.name)
    cells = [config_of(run) for _, run in runs]
    if not resume:
        shutil.rmtree(out / "store", ignore_errors=True)
    store = ResultsStore(out / "store", version=VERSION)
    missing = store.missing(cells)
    if missing and announce is not None:
        announce(cost_of(prepare(_study_of(missing[0])), runs=len(missing)))
    compute = partial(compute_run, store=store, progress=progress if workers == 1 else silent)
    labels = {store.key(cell): _label(k, own) for k, ((own, _), cell) in enumerate(zip(runs, cells, strict=True))}
    sweep = run_cells(cells, compute, store, progress, workers=workers, name=lambda config: labels[store.key(config)])
    keys = [store.key(cell) for cell in cells]
    if resume and not sweep.computed and (found := finished_sweep(out, keys, page=page is not None)) is not None:
        return found
    return write_sweep(study, runs, cells, store, out, notes=sweep.damaged, version=VERSION, page=page)


def _label(k: int, own: Mapping[str, Any]) -> str:
    """How a run of a sweep is called in messages."""
    return f"run {k + 1} ({', '.join(f'{name} = {value}' for name, value in own.items())})"


def _study_of(config: Config) -> SimulationStudy:
    return SimulationStudy.model_validate({k: v for k, v in config.items() if k != "surface_checksum"})


def compute_run(config: Config, *, store: ResultsStore, progress: Progress = silent) -> CellResult:
    """Run one configuration, with checkpoints in the store's workspace."""
    prepared = prepare(_study_of(config))
    simulation = _simulated(prepared, store.workspace(config) / "results.zarr", progress, fresh=False)
    return CellResult(metrics_of(prepared, simulation), dict(simulation.data))


# --- cost -------------------------------------------------------------------------------------------


def cost_of(prepared: Prepared, *, runs: int = 1) -> Cost:
    """Measure how fast a prepared run steps (about a second), and add up what it needs.

    Raises
    ------
    InputError
        If it needs more memory than the machine has.
    """
    memory = _memory(prepared)
    have = _physical_memory()
    if have and memory > have:
        raise InputError(
            f"tissue: {prepared.monodomain.tissue.n_nodes:,} cells need about {_size(memory)} of memory; this machine "
            f"has {_size(have)}. Raise tissue.spacing, or take fewer leads."
        )
    rate, slowest = _rates(prepared)
    return Cost(runs, prepared.monodomain.tissue.n_nodes, prepared.n_steps, memory, rate, slowest, _is_busy())


class _Enough(Exception):
    """Ends the steps that are measured."""


def _rates(prepared: Prepared) -> tuple[float, float]:
    """Cell-steps per second of the run's own first steps, with stimuli and what is kept: all of them, slowest part.

    Compilation and preparation are not counted. On a machine with other work the parts differ.
    """
    from einthoven.simulate import simulate

    marks: list[tuple[float, int]] = []

    def mark(step: str, done: int, total: int) -> None:
        del step, total
        marks.append((time.perf_counter(), done))
        if marks[-1][0] - marks[0][0] > MEASURED:
            raise _Enough

    times, nodes = prepared.study.time, prepared.monodomain.tissue.n_nodes
    begun = time.perf_counter()
    with suppress(_Enough):
        simulate(prepared.monodomain, prepared.protocol, times.t_end, dt=times.dt, keep=prepared.keeps, progress=mark)
    if len(marks) == 1:
        rate = nodes * marks[0][1] / max(time.perf_counter() - begun, 1e-9)
        return rate, rate
    clock, steps = np.array(marks).T
    cuts = np.unique(np.searchsorted(clock, np.linspace(clock[0], clock[-1], PARTS + 1)))
    parts = nodes * np.diff(steps[cuts]) / np.maximum(np.diff(clock[cuts]), 1e-9)
    whole = nodes * (steps[-1] - steps[0]) / max(clock[-1] - clock[0], 1e-9)
    return float(whole), float(min(parts.min(), whole))


def _is_busy() -> bool:
    """Whether other programs want more of the processors than there are."""
    try:
        return os.getloadavg()[0] > (os.cpu_count() or 1)
    except (OSError, AttributeError):
        return False


def _memory(prepared: Prepared) -> int:
    """Bytes of state, coupling, geometry, parameters and lead fields, about; 400 MB for Python and libraries."""
    import jax

    monodomain = prepared.monodomain
    tissue, n = monodomain.tissue, monodomain.tissue.n_nodes
    item = 8 if monodomain.dtype == "float64" else 4
    per_node = item * (len(monodomain.model.states) + 4) + 6 * 8 + 2 * 8 * tissue.diffusivity.size // max(n, 1)
    varied = sum(leaf.nbytes for leaf in jax.tree_util.tree_leaves(monodomain.model))
    coupling = sum(v.nbytes for v in vars(tissue.coupling).values() if isinstance(v, np.ndarray))
    matrices = [getattr(getattr(keep, "lead_field", None), "matrix", None) for keep in prepared.keeps]
    leads = sum(matrix.nbytes for matrix in matrices if isinstance(matrix, np.ndarray))
    return int(400e6 + n * per_node + 2 * varied + 3 * coupling + leads)


def _size(n_bytes: int | float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
