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

from einthoven.io import caches
from einthoven.simulate.kernels import Diffusion, Shape


class Pass(NamedTuple):
    """One sweep over all cells: how diffusion enters (implicitly in a solve), and whether the membrane acts."""

    diffusion: Diffusion | Literal["solve"]
    membrane: bool


@dataclass(frozen=True)
class Sweeps:
    """Source of a module with the sweeps of a membrane model; equal sources share their compiled code.

    Parameters
    ----------
    program
        Text of the membrane's program.
    kinds
        Of sweeps, none of them a solve.
    shape
        Of the computation.
    """

    program: str
    kinds: tuple[Pass, ...]
    shape: Shape

    def source(self) -> str:
        """Python source of the module."""
        text = _HEAD.replace("{stamp}", stamp()).replace("{shape}", repr(self.shape))
        text += f'PROGRAM = """\n{self.program}\n"""\n'
        for k, kind in enumerate(self.kinds):
            program = "PROGRAM" if kind.membrane else "None"
            text += _SWEEP.replace("{k}", str(k)).replace("{how}", repr(kind.diffusion)).replace("{program}", program)
        return text


def solver_source(shape: Shape) -> str:
    """Source of a module with the four operations of implicit diffusion, the same for all models."""
    text = _HEAD.replace("{stamp}", stamp()).replace("{shape}", repr(shape))
    return text + "".join(_OPERATION.replace("{name}", name) for name in ("begin", "apply", "move", "turn"))


_HEAD = '''"""Kernels written by einthoven; stamp {stamp}."""

import numba

from einthoven.simulate import conjugate_gradients, kernels

SHAPE = kernels.{shape}
'''

_SWEEP = """
step{k} = kernels.step(SHAPE, {how}, {program})


@numba.cfunc(kernels.step_signature(SHAPE.bits), cache=True, error_model="numpy")
def sweep{k}(b, w, ids, offsets, length, margin, shared, cells, states, source, base, target, p, c, n, limit):
    return step{k}(b, w, ids, offsets, length, margin, shared, cells, states, source, base, target, p, c, n, limit)
"""

_OPERATION = """
{name}_groups = conjugate_gradients.{name}(SHAPE)


@numba.cfunc(conjugate_gradients.solve_signature(SHAPE.bits), cache=True, error_model="numpy")
def {name}(b, w, ids, offsets, length, margin, inverse, mass, rows, number, p, c, n, sums):
    {name}_groups(b, w, ids, offsets, length, margin, inverse, mass, rows, number, p, c, n, sums)
"""


@cache
def stamp() -> str:
    """Hash of the code that writes kernels, and of the versions of what compiles them."""
    import llvmlite
    import numba

    folder = Path(__file__).parent
    files = ("lanes.py", "program.py", "kernels.py", "kernels_module.py", "conjugate_gradients.py")
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for name in files:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where generated modules are kept: below ``NUMBA_CACHE_DIR`` where that is set, else with all that is cached."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    return Path(named) / "einthoven-kernels" if named else caches.cache_folder("kernels")


def load(source: str) -> ModuleType:
    """Module of a source, from this process, from the folder, or made."""
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
        if file.is_file() and file.read_text(encoding="utf-8") == source:
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(source)
        Path(temporary).replace(file)
    except OSError:
        return None
    return file
