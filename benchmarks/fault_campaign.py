"""Faults in every long command: killed, disk full, folder that cannot be written, files cut off; what is lost.

Each command runs once undisturbed. Then, in one folder: it is killed several times at seeded moments, half of them at a
random share of its processor time, half at one of its operations on files (SIGKILL before the n-th opening for writing,
renaming or removal); its disk is full from the n-th of these operations on (ENOSPC), then beyond a size of file
(EFBIG); and it runs to its end. Then finished files are cut off at random lengths and it runs again. Last, its folder
cannot be made (a file is in the way) or written (mounted read-only, or without permission).

A trial is *survived* if nothing looks whole that is not, every refusal is one sentence with exit code 2, and the run
that ends has the results of the undisturbed one, to the last bit; *lost* otherwise.
"""

import argparse
import csv
import ctypes
import errno
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _tables import written

#: Columns of tables that are of the machine, not of the result.
OF_THE_MACHINE = re.compile(r"second|_mb$|^out$|resumed|ecgs_per|_ms_per|peak|cell$|key$|sheets_per")
#: What every command writes last.
SEAL = "metrics.json"


@dataclass(frozen=True)
class Command:
    """A long command: its words without ``--out``, and which files hold its results.

    Parameters
    ----------
    name
        In the table.
    words
        Of the command line.
    results
        Patterns of files below ``--out`` that are compared with the undisturbed run.
    seal
        File that says that the folder is whole.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    seal: str = SEAL


STUDY = """
name = "small"
[tissue]
kind = "sheet"
size = [12.0, 6.0]
spacing = 0.5
diffusivity = 0.4
[model]
name = "aliev-panfilov-1996"
[[protocol.stimuli]]
region = { kind = "box", low = [0.0], high = [2.0] }
[time]
t_end = 60.0
dt = 0.05
[keep]
movie = { every = 5.0 }
[ecg]
positions = { above = [6.0, 3.0, 8.0] }
"""
RECIPE = """
title = "small"
size = 16.0
t_end = 400.0
[electrodes]
fixed = [[8.0, 8.0, 12.0]]
[[condition]]
name = "healthy"
sheets = 10
"""
MODEL = 'title = "tiny"\nmodel = "neural-eikonal"\nepochs = 3\n[network]\nwidth = 4\ndepth = 1\n'
SOLVER = 'solver = "weak-4dvar"\n[schedule]\nsteps = 100\nrate = 0.03\ntolerances = [1.0, 0.1]\n'
INVERSE = """
title = "three"
[[block]]
sigmas = [5.0]
positions = [1]
seeds = [0]
methods = ["tikhonov2:lcurve", "tikhonov0:lcurve", "tsvd:lcurve"]
"""
FIT = "--window 10:70 --step 4 --spacing 5 --starts 1 --sites 1 --pose-mm 0 --pose-deg 0 --electrode-mm 0"


def commands(folder: Path, chosen: Sequence[str], *, packaged: bool) -> list[Command]:
    """Write the inputs of the chosen commands; return these.

    `packaged`: the comparisons that come with the package (minutes each), not still smaller ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    case, sheets = str(folder / "case"), str(folder / "sheets")
    texts = {"study": STUDY, "recipe": RECIPE, "model": MODEL, "solver": SOLVER, "inverse": INVERSE}
    texts["surrogates"] = (
        f'title = "one"\n[[block]]\nmodels = ["{folder / "model.toml"}"]\ntrained_on = "{folder / "recipe.toml"}"\n'
        f'sheets = [4]\nscored_on = ["{folder / "recipe.toml"}"]\n'
    )
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    files = {name: str(folder / f"{name}.toml") for name in texts}
    inverse, surrogates = ("inverse-smoke", "surrogate-smoke") if packaged else (files["inverse"], files["surrogates"])
    physics = ("--extracellular", "--sigma", "0.02", "--diffusivity", "6")
    everything = [
        Command("simulate", ("simulate", files["study"]), ("results.zarr/**/*", "metrics.csv")),
        Command("surrogate generate", ("surrogate", "generate", files["recipe"]), ("store/cells/*/*.zarr/**/*",), ""),
        Command("surrogate train", ("surrogate", "train", files["model"], sheets), ("weights.npz", "training.csv")),
        Command("image", ("image", case, "--method", files["solver"], *physics), ("reconstruction.zarr/**/*", "*.csv")),
        Command("calibrate", ("calibrate", case, "--model", "pose,gain"), ("operator.npz", "*.csv")),
        Command("fit", ("fit", case, *FIT.split()), ("activation.zarr/**/*", "fit.zarr/**/*", "*.csv")),
        Command("bench surrogate", ("bench", "surrogate", surrogates), ("table.csv",)),
        Command("bench inverse", ("bench", "inverse", inverse), ("table.csv",)),
    ]
    found = [c for c in everything if not chosen or c.name in chosen]
    if any(sheets in c.words for c in found):
        _done(run(("surrogate", "generate", files["recipe"], "--out", sheets), Path(sheets)))
    if any(case in c.words for c in found):
        _write_case(Path(case))
    return found


def _write_case(folder: Path) -> None:
    """Write the hand-made case of the examples, on coarse meshes; elsewhere, since threads do not survive a fork."""
    code = "import sys; from pathlib import Path; from handmade_case import write_case_folder; "
    code += "write_case_folder(Path(sys.argv[1]), subdivisions=2)"
    examples = str(Path(__file__).parents[1] / "examples")
    path = os.pathsep.join(filter(None, [examples, os.environ.get("PYTHONPATH")]))
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env={**os.environ, "PYTHONPATH": path})


# --- one run ---------------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What happens to one run: at which operation on files or processor time it is killed, when its disk is full."""

    kill_at_operation: int | None = None
    kill_at_seconds: float | None = None
    full_at_operation: int | None = None
    largest_file: int | None = None


@dataclass
class Ended:
    """How a run ended."""

    code: int
    said: str
    seconds: float
    operations: int


def _done(ended: Ended) -> Ended:
    """Raise `RuntimeError` for a run that had to succeed and did not."""
    if ended.code:
        raise RuntimeError(ended.said)
    return ended


def run(words: Sequence[str], out: Path, fault: Fault | None = None) -> Ended:
    """Run a command line in a process of its own, forked from this one, which has imported the package."""
    fault = fault or Fault()
    log = out.parent / f"{out.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _child(list(words), out, fault, log)
    seconds, status = _waited(child, fault.kill_at_seconds)
    text = log.read_text(errors="replace")
    counted = re.search(r"^operations (\d+)$", text, re.MULTILINE)
    said = "\n".join(line for line in text.splitlines() if not line.startswith("operations "))
    return Ended(os.waitstatus_to_exitcode(status), said, seconds, int(counted[1]) if counted else 0)


def _waited(child: int, limit: float | None) -> tuple[float, int]:
    """Wait for a process, or kill it when it has used so many seconds of processor time."""
    while True:
        used = _processor_seconds(child)
        if limit is not None and used >= limit:
            os.kill(child, signal.SIGKILL)
            limit = None
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return usage.ru_utime + usage.ru_stime, status
        time.sleep(0.01)


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _child(words: list[str], out: Path, fault: Fault, log: Path) -> None:
    code = 1
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), write_through=True)
        operations = _Operations(out, fault)
        sys.addaudithook(operations)
        if fault.largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest_file, fault.largest_file))
        sys.argv = ["einthoven", *words]
        code = _command_line()
        os.write(2, f"\noperations {operations.count}\n".encode())
    finally:
        os._exit(code)


def _command_line() -> int:
    from einthoven.cli import console, main

    console.out.file, console.err.file = sys.stdout, sys.stderr
    try:
        main.run()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


class _Operations:
    """Counts what a run does to files below its folder; kills it, or fails it as a full disk does, at the n-th."""

    CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree")

    def __init__(self, out: Path, fault: Fault):
        self.root, self.fault, self.count = str(out), fault, 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            if not (isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                return
        elif event not in self.CHANGING:
            return
        if not str(given[0]).startswith(self.root):
            return
        self.count += 1
        if self.count == self.fault.kill_at_operation:
            os.kill(os.getpid(), signal.SIGKILL)
        full = self.fault.full_at_operation
        if full is not None and self.count >= full and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(given[0]))


# --- what is compared ------------------------------------------------------------------------------------------------


def results_of(command: Command, out: Path) -> dict[str, Any]:
    """Results by file: bytes of arrays, tables without what is of the machine."""
    found: dict[str, Any] = {}
    for pattern in command.results:
        for path in sorted(p for p in out.glob(pattern) if p.is_file() and not p.name.startswith(".")):
            name = str(path.relative_to(out))
            if path.suffix == ".csv":
                found[name] = _rows(path)
            elif path.suffix == ".npz":
                found[name] = _arrays(path)
            elif path.name != "zarr.json":
                found[name] = path.read_bytes()
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if not OF_THE_MACHINE.search(k)} for row in csv.DictReader(file)]
    return sorted(rows, key=str)


def _arrays(path: Path) -> dict[str, bytes]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].tobytes() for name in file.files if name != "card"}


# --- the campaign ----------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Trials of one command, by fault."""

    command: Command
    counts: dict[str, list[int]] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)

    def note(self, fault: str, problem: str | None, said: str = "") -> None:
        """Count a trial; a problem is a loss."""
        tried = self.counts.setdefault(fault, [0, 0])
        tried[0] += 1
        tried[1] += problem is None
        if problem:
            self.losses.append(f"{self.command.name}, {fault}: {problem}; {said[-300:]!r}")

    def rows(self) -> list[dict[str, Any]]:
        """One row per fault."""
        return [
            {"command": self.command.name, "fault": fault, "tried": n, "survived": good, "lost": n - good}
            for fault, (n, good) in self.counts.items()
        ]


def campaign(command: Command, folder: Path, *, kills: int, cuts: int, seed: int) -> Tally:
    """Try every fault on one command."""
    rng, tally = random.Random(f"{seed} {command.name}"), Tally(command)
    plain = folder / "plain"
    whole = _done(_run(command, plain))
    truth, out = results_of(command, plain), folder / "out"
    if not truth or not whole.operations:
        raise RuntimeError(f"{command.name}: there is nothing to compare")
    ends = [_killed(command, truth, out, whole, rng, by_operation=k % 2 == 0) for k in range(kills)]
    # at least 1000 bytes: what it says must fit into its log
    full = (Fault(full_at_operation=rng.randint(1, whole.operations)), Fault(largest_file=rng.randint(1000, 3000)))
    for fault in full:
        _anew(command, out)
        ended = _run(command, out, fault)
        there = _problem_of_refusal(ended) if ended.code else _difference(command, truth, out)
        tally.note("disk full", there or _looks_whole(command, truth, out), ended.said)
    last = _run(command, out)
    problem = f"ended with code {last.code}" if last.code else _difference(command, truth, out)
    for end in ends:
        tally.note("killed", end or problem, last.said)
    for _ in range(cuts):
        _cut(command, out, rng)
        ended = _run(command, out)
        there = _problem_of_refusal(ended) if ended.code else _difference(command, truth, out)
        tally.note("files cut off", there, ended.said)
        if ended.code:  # refused: start over, as it says
            shutil.rmtree(out)
            _run(command, out)
    _unwritable(command, folder, tally)
    return tally


def _run(command: Command, out: Path, fault: Fault | None = None) -> Ended:
    return run((*command.words, "--out", str(out)), out, fault)


def _killed(
    command: Command, truth: dict[str, Any], out: Path, whole: Ended, rng: random.Random, *, by_operation: bool
) -> str | None:
    """Kill a run; return what looks whole and is not: what is compared in the end tells whether anything was lost."""
    if by_operation:
        fault = Fault(kill_at_operation=rng.randint(1, whole.operations))
    else:
        fault = Fault(kill_at_seconds=rng.uniform(0.0, whole.seconds))
    _anew(command, out)
    ended = _run(command, out, fault)
    if ended.code not in (0, -signal.SIGKILL):
        return f"ended with code {ended.code} before it was killed: {ended.said[-200:]}"
    return _looks_whole(command, truth, out)


def _anew(command: Command, out: Path) -> None:
    """Remove results that are finished: a fault in a run that has nothing to do shows nothing."""
    if command.seal and (out / command.seal).is_file():
        shutil.rmtree(out)


def _looks_whole(command: Command, truth: dict[str, Any], out: Path) -> str | None:
    """What is wrong with a folder that has its seal."""
    sealed = bool(command.seal) and (out / command.seal).is_file()
    return _difference(command, truth, out) if sealed else None


def _problem_of_refusal(ended: Ended) -> str | None:
    """Why an end with an error is none that a user understands."""
    lines = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    if ended.code != 2 or len(lines) != 1 or "Traceback" in ended.said or "internal error" in ended.said:
        return f"code {ended.code}, {len(lines)} sentences"
    return None


def _difference(command: Command, truth: dict[str, Any], out: Path) -> str | None:
    """The first result that is not that of the undisturbed run."""
    try:
        found = results_of(command, out)
    except Exception as problem:
        return f"a result cannot be read ({problem})"
    wrong = [name for name in sorted({*truth, *found}) if truth.get(name) != found.get(name)]
    return f"{wrong[0]} differs from the undisturbed run" if wrong else None


def _cut(command: Command, out: Path, rng: random.Random) -> None:
    """Cut off three results at random lengths."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.stat().st_size and ".zarr" in str(p)]
    files += [p for p in sorted(out.iterdir()) if p.suffix in (".npz", ".json", ".csv")]
    for path in rng.sample(files, min(3, len(files))):
        os.truncate(path, rng.randrange(path.stat().st_size))


def _unwritable(command: Command, folder: Path, tally: Tally) -> None:
    """A file in place of the folder; a folder that cannot be written."""
    (folder / "file").write_text("mine")
    ended = _run(command, folder / "file")
    kept = (folder / "file").read_text() == "mine"
    tally.note("folder is a file", _problem_of_refusal(ended) if kept else "the file was replaced", ended.said)
    closed = folder / "closed"
    closed.mkdir()
    undo = _closed(closed)
    if undo is None:
        return
    try:
        ended = _run(command, closed)
    finally:
        undo()
    tally.note("read-only folder", _problem_of_refusal(ended), ended.said)


def _closed(folder: Path) -> Callable[[], object] | None:
    """Make a folder read-only; return what undoes it, None where that cannot be done."""
    if os.geteuid():
        folder.chmod(0o555)
        return lambda: folder.chmod(0o755)
    libc, place = ctypes.CDLL(None, use_errno=True), str(folder).encode()
    if libc.mount(b"none", place, b"tmpfs", 1, b"size=64k"):  # 1: read-only
        return None
    return lambda: libc.umount(place)


def main(out: Path, smoke: bool) -> dict:
    """Run it in a process of its own, from which the others are forked; returns the tables. A loss is an error."""
    words = [sys.executable, __file__, "--out", str(out), *(["--smoke"] if smoke else [])]
    subprocess.run(words, check=True)
    return json.loads((out / "fault_campaign.json").read_text())


def campaigns(
    out: Path, smoke: bool, *, kills: int, cuts: int, seed: int, only: Sequence[str], packaged: bool
) -> list[str]:
    """Try every command and write the table; returns what was lost."""
    os.environ.setdefault("XLA_FLAGS", "--xla_llvm_disable_expensive_passes=true --xla_backend_optimization_level=0")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "fault-campaign" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    _import_everything()
    work = (out / "fault-campaign").absolute()
    shutil.rmtree(work / "runs", ignore_errors=True)
    if smoke:
        only, kills, cuts = ["simulate", "surrogate generate"], 2, 1
    rows, losses = [], []
    for command in commands(work / "runs" / "inputs", only, packaged=packaged):
        folder = work / "runs" / command.name.replace(" ", "-")
        folder.mkdir(parents=True)
        tally = campaign(command, folder, kills=kills, cuts=cuts, seed=seed)
        rows += tally.rows()
        losses += tally.losses
        print(command.name, tally.counts, *tally.losses, sep="\n", flush=True)
    written(out, "fault_campaign", "Faults in long commands", rows, losses=losses)
    return losses


def _import_everything() -> None:
    """What commands import late, so that it is not imported in every process anew."""
    from importlib import import_module

    names = ["jax", "equinox", "optax", "xarray", "zarr", "scipy.optimize", "einthoven.cli.main"]
    names += ["einthoven.studies.imaging", "einthoven.studies.simulation", "einthoven.studies.surrogates"]
    names += ["einthoven.studies.bench_inverse", "einthoven.studies.bench_surrogate", "einthoven.studies.fitting"]
    names += ["einthoven.studies.calibration", "einthoven.report.page", "einthoven.inverse.physics.registry"]
    for name in names:
        import_module(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--kills", type=int, default=5, help="per command")
    parser.add_argument("--cuts", type=int, default=2, help="times that files are cut off, per command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--packaged", action="store_true", help="the packaged comparisons: minutes each")
    parser.add_argument("--only", action="append", default=[], help="name of a command")
    options = parser.parse_args()
    o = options
    sys.exit(bool(campaigns(o.out, o.smoke, kills=o.kills, cuts=o.cuts, seed=o.seed, only=o.only, packaged=o.packaged)))
