"""Generated modules: their source, the folder they are kept in, and how they are loaded.

Numba keeps compiled code beside a source file, under the file's name and time. A generated module is therefore
written once under the hash of its source and never again; another process finds it with its compiled code.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from einthoven.simulate.kernels import Diffusion, Shape

#: Groups of cells between two looks at the potentials that were just computed.
BLOCK = 64


class Pass(NamedTuple):
    """One sweep over all cells: how diffusion enters (implicitly in a solve), and whether the membrane acts."""

    diffusion: Diffusion | Literal["solve"]
    membrane: bool


@dataclass(frozen=True)
class Recipe:
    """What a generated module is made from; equal recipes share their compiled code.

    Parameters
    ----------
    program
        Text of the membrane's program.
    passes
        Kinds of sweep, in the order of their numbers.
    shape
        Of the computation.
    """

    program: str
    passes: tuple[Pass, ...]
    shape: Shape

    def source(self) -> str:
        """Python source of the module."""
        swept = [k for k, kind in enumerate(self.passes) if kind.diffusion != "solve"]
        solved = [k for k, kind in enumerate(self.passes) if kind.diffusion == "solve"]
        offsets = "".join(f", offsets[{k}]" for k in range(self.shape.n_offsets or 0))
        lists = self.shape.n_offsets is None
        words = {
            "stamp": stamp(),
            "shape": repr(self.shape),
            "program": self.program,
            "group": str(self.shape.group),
            "block": str(BLOCK),
            "coupling": "(weights, neighbors, offsets)" if lists else f"(weights, length, margin{offsets})",
            "steps": "\n".join(self._step(k) for k in swept),
            "calls": "\n".join(self._call(k, first=k == swept[0]) for k in swept),
            "solver": _SOLVER if solved else "",
            "solve": _SOLVE.replace("{kind}", str(solved[0])) if solved else "",
        }
        text = _TEMPLATE.replace("{solver}", words.pop("solver"))
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", word)
        return text

    def _step(self, k: int) -> str:
        kind = self.passes[k]
        return f"step{k} = kernels.step(SHAPE, {kind.diffusion!r}, {'PROGRAM' if kind.membrane else None})"

    def _call(self, k: int, *, first: bool) -> str:
        head = f"            {'if' if first else 'elif'} kind == {k}:\n                "
        return f"{head}bad = step{k}(buffers, source, base, target, coupling, shared, cells, states, p, c, n, limit)"


_TEMPLATE = '''"""Kernel of a membrane model on a tissue, written by einthoven; stamp {stamp}."""

import numba
import numpy as np

from einthoven.simulate import conjugate_gradients, kernels
from einthoven.simulate.kernels_driver import drive, record, release

SHAPE = kernels.{shape}
PROGRAM = """
{program}
"""

{steps}
crossed = kernels.crossed(SHAPE)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sweep(kind, look, watched, lo, hi, rows, memory, layout, step, dt, limit, watch):
    """Groups lo to hi: take the step if kind >= 0, then look for blow-up and crossings; the group of a blow-up, or -1."""
    buffers, weights, neighbors, shared, cells, states = memory
    offsets, firsts, counts, nodes, length, margin = layout
    old, source, base, target = rows
    coupling = {coupling}
    r = np.searchsorted(counts, lo, side="right") - 1
    c = lo
    while c < hi:
        end = min(hi, counts[r + 1])
        start = firsts[r] - counts[r]
        while c < end:
            n = min(end - c, {block})
            p = (start + c) * {group}
            bad = False
{calls}
            if bad and look:
                return c
            if watched and crossed(buffers, old + p, target + p, n, watch[0], watch[1]):
                for i in range(n):
                    at = p + i * {group}
                    if crossed(buffers, old + at, target + at, 1, watch[0], watch[1]):
                        group = nodes[(c + i) * {group} : (c + i + 1) * {group}]
                        record(step, dt, buffers, old + at, target + at, group, watch)
            c += n
        r += 1
    return -1

{solver}
@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def advance(n_steps, first_step, dt, plan, memory, layout, pulses, saved, limit, watched, watch, bounds, found, implicit):
    """Take steps; returns how many were taken without a blow-up, after which `found` holds the group of one or -1."""
    kinds, sources, bases, targets, where = plan
    buffers = memory[0]
    n_tasks = len(bounds) - 1
    for s in range(n_steps):
        step = first_step + s
        old, new = where[0], where[1]
        n_on = drive(step, dt, buffers, old, pulses, saved)
        for k in range(len(kinds)):
            last = k == len(kinds) - 1
            rows = (old, where[sources[k]], where[bases[k]], where[targets[k]])
            kind, look, mark = kinds[k], np.int64(last), np.int64(watched and last and n_on == 0)
{solve}
            if n_tasks == 1:
                found[0] = sweep(kind, look, mark, bounds[0], bounds[1], rows, memory, layout, step, dt, limit, watch)
            else:
                for t in numba.prange(n_tasks):
                    lo, hi = bounds[t], bounds[t + 1]
                    found[t] = sweep(kind, look, mark, lo, hi, rows, memory, layout, step, dt, limit, watch)
        if found.max() >= 0:
            return s
        if n_on:
            release(step, buffers, old, new, pulses, saved)
            if watched:
                rows = (old, old, old, new)
                kind, look, mark = np.int64(-1), np.int64(0), np.int64(1)
                sweep(kind, look, mark, bounds[0], bounds[n_tasks], rows, memory, layout, step, dt, limit, watch)
        where[0], where[1] = new, old
    return n_steps
'''

_SOLVE = """
            if kind == {kind}:
                solve(rows[1], rows[3], where, memory, layout, implicit)
                continue
"""

_SOLVER = '''
begin = conjugate_gradients.begin(SHAPE)
apply = conjugate_gradients.apply(SHAPE)
move = conjugate_gradients.move(SHAPE)
turn = conjugate_gradients.turn(SHAPE)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def part(what, block, rows, number, memory, layout, diagonals, sums):
    """One of the four operations on the groups of a block; its sums go to the block's place."""
    buffers, weights, neighbors, shared, cells, states = memory
    offsets, firsts, counts, nodes, length, margin = layout
    coupling = {coupling}
    c, hi = block * {block}, min((block + 1) * {block}, counts[-1])
    r = np.searchsorted(counts, c, side="right") - 1
    first, second = 0.0, 0.0
    while c < hi:
        n = min(hi, counts[r + 1]) - c
        p = (firsts[r] - counts[r] + c) * {group}
        if what == 0:
            a, b = begin(buffers, rows, coupling, diagonals, number, p, c, n)
        elif what == 1:
            a, b = apply(buffers, rows, coupling, diagonals, number, p, c, n)
        elif what == 2:
            a, b = move(buffers, rows, coupling, diagonals, number, p, c, n)
        else:
            a, b = turn(buffers, rows, coupling, diagonals, number, p, c, n)
        first, second = first + a, second + b
        c += n
        r += 1
    sums[block, 0], sums[block, 1] = first, second


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def everywhere(what, rows, number, memory, layout, diagonals, sums):
    """An operation on all groups; its two sums, added block by block so that they do not depend on the threads."""
    n = len(sums)
    if n < 8:
        for k in range(n):
            part(what, k, rows, number, memory, layout, diagonals, sums)
    else:
        for k in numba.prange(n):
            part(what, k, rows, number, memory, layout, diagonals, sums)
    first, second = 0.0, 0.0
    for k in range(n):
        first, second = first + sums[k, 0], second + sums[k, 1]
    return first, second


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve(source, target, where, memory, layout, implicit):
    """Implicit diffusion from row to row; NaN ends it, and is found afterwards."""
    theta, tolerance, n_most, diagonals, sums, taken = implicit
    n = len(where)
    rows = (source, target, where[n - 3], where[n - 2], where[n - 1])
    energy, size = everywhere(0, rows, theta, memory, layout, diagonals, sums)
    limit = tolerance * tolerance * size
    rest = np.inf if energy > 0.0 else 0.0
    k = 0
    while rest > limit and k < n_most:
        bend = everywhere(1, rows, theta, memory, layout, diagonals, sums)[0]
        new, rest = everywhere(2, rows, energy / bend, memory, layout, diagonals, sums)
        everywhere(3, rows, new / energy, memory, layout, diagonals, sums)
        energy = new
        k += 1
    taken[0] += k
    taken[1] = max(taken[1], np.int64(rest > limit))
'''


@cache
def stamp() -> str:
    """Hash of the code that writes kernels, and of the versions of what compiles them."""
    import llvmlite
    import numba

    folder = Path(__file__).parent
    files = ("lanes.py", "program.py", "kernels.py", "kernels_driver.py", "kernels_module.py", "conjugate_gradients.py")
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for name in files:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where generated modules are kept: below NUMBA_CACHE_DIR where that is set, else in the user's cache."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named) / "einthoven-kernels"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "einthoven" / "kernels"


def load(recipe: Recipe) -> ModuleType:
    """Module of a recipe, from this process, from the folder, or made."""
    source = recipe.source()
    name = f"einthoven_kernel_{hashlib.sha256(source.encode()).hexdigest()[:20]}"
    if name in sys.modules:
        return sys.modules[name]
    file = _written(cache_folder() / f"{name}.py", source)
    module = ModuleType(name) if file is None else _from_file(name, file)
    sys.modules[name] = module
    if file is None:
        exec(compile(source.replace("cache=True, ", ""), f"<{name}>", "exec"), module.__dict__)
    return module


def _from_file(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _written(file: Path, source: str) -> Path | None:
    """The file with that source, written if it is not there; None where it cannot be."""
    try:
        if file.is_file() and file.read_text() == source:
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        with os.fdopen(handle, "w") as out:
            out.write(source)
        Path(temporary).replace(file)
    except OSError:
        return None
    return file
