"""Solvers with cell physics by name, and from configuration files.

They are not among `einthoven.inverse.METHODS`: those take a rule for their weight and any reference, and these choose
their weights themselves (`annealed`) and need potentials of known scale. A configuration is a TOML file:

    solver = "eand-arn"            # one of PHYSICS_METHODS
    [schedule]                     # fields of `Schedule`
    [network]                      # fields of the solver
    [network.blocks]               # number and skip
    [physics]                      # laplacian, rank, diffusivity or wall of `CellPhysics`

What is left out has its default. The ones that ship (`configurations`) are the solvers themselves and their ablations.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from einthoven.core import InputError
from einthoven.core.errors import some
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.eand_arn import PointwiseArn, SeparableArn
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.p_dl import PDL
from einthoven.inverse.physics.solver import CellSolver
from einthoven.inverse.physics.strong import StrongConstraint
from einthoven.inverse.physics.strong_weak import StrongWeak
from einthoven.inverse.physics.training import Schedule
from einthoven.inverse.physics.weak import WeakConstraint

#: What images with cell physics.
PhysicsSolver = CellSolver | StrongConstraint

#: Solvers by name.
PHYSICS_METHODS: dict[str, Callable[[CellPhysics], PhysicsSolver]] = {
    "weak-4dvar": WeakConstraint,
    "eand-arn-separable": SeparableArn,
    "eand-arn": PointwiseArn,
    "p-dl": PDL,
    "strong": StrongConstraint,
    "strong+weak": StrongWeak,
}

#: What a configuration may set of the physics.
OF_PHYSICS = ("laplacian", "rank", "diffusivity", "wall")
#: What it may not set of a solver: it is handed in, or has a table of its own.
_GIVEN = ("physics", "schedule", "checkpoint", "progress", "name", "strong", "search", "priors", "errors")


def configurations() -> dict[str, Path]:
    """Files of the configurations that ship, by name."""
    folder = Path(str(resources.files("einthoven.inverse.physics"))) / "configurations"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def make_physics_solver(text: str, physics: CellPhysics, *, progress: Progress = silent) -> PhysicsSolver:
    """Return the solver of a configuration that ships, or of a file.

    Parameters
    ----------
    text
        A name (`configurations`), or the path of a TOML file, whose stem becomes the solver's name.
    physics
        What is assumed of cells, noise and data.
    progress
        Told about the steps.

    Raises
    ------
    InputError
        If there is no such name or file, and for a file that is no configuration.
    """
    shipped = configurations()
    path = shipped.get(text) or Path(text)
    if path.suffix != ".toml" or not path.is_file():
        close = get_close_matches(text, shipped, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise InputError(f"unknown solver {text!r}; give a TOML file, or one of: {', '.join(shipped)}.{hint}")
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        return replace(configured(told, physics, name=path.stem), progress=progress)
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror or problem}).") from None
    except (ValueError, RecursionError) as problem:  # of the TOML, the text's encoding, or what it says
        raise InputError(f"{path}: {problem}") from None


def configured(told: Mapping[str, Any], physics: CellPhysics, *, name: str | None = None) -> PhysicsSolver:
    """Return the solver that a configuration describes.

    Parameters
    ----------
    told
        As read from a file: ``solver`` and tables.
    physics
        What is assumed, unless the configuration says otherwise.
    name
        Of the solver; default its own.
    """
    unknown = sorted(set(told) - {"solver", "schedule", "network", "physics"})
    if unknown or not isinstance(told.get("solver"), str) or told["solver"] not in PHYSICS_METHODS:
        raise InputError(
            f"a configuration holds solver (one of {', '.join(PHYSICS_METHODS)}), [schedule], [network] and [physics]; "
            f"got {some(unknown) if unknown else repr(told.get('solver'))}."
        )
    solver = PHYSICS_METHODS[told["solver"]](_replaced(physics, told.get("physics", {}), OF_PHYSICS, "physics"))
    if "schedule" in told:
        schedule = getattr(solver, "schedule", None)
        solver = replace(solver, schedule=_replaced(schedule, told["schedule"], _names(Schedule), "schedule"))
    network = dict(told.get("network", {}))
    if "blocks" in network:
        blocks = getattr(solver, "blocks", None)
        network["blocks"] = _replaced(blocks, network["blocks"], ("number", "skip"), "network.blocks")
    allowed = tuple(n for n in _names(solver) if n not in _GIVEN)
    return replace(_replaced(solver, network, allowed, "network"), name=name or solver.name)


def _names(thing: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(thing) if f.init)


def _as_float(value: Any, old: Any) -> Any:
    if isinstance(old, tuple):
        return tuple(_as_float(v, o) for v, o in zip(value, old, strict=True))
    return float(value) if isinstance(old, float) else value


def _alike(value: Any, old: Any) -> bool:
    """Whether a value is of the type of what it replaces; whole numbers are numbers, truth values are none."""
    if isinstance(old, tuple):
        one = isinstance(value, tuple) and len(value) == len(old)
        return one and all(_alike(v, o) for v, o in zip(value, old, strict=True))
    if isinstance(value, bool) != isinstance(old, bool):
        return False
    return isinstance(value, int | float) if old is None or isinstance(old, float) else isinstance(value, type(old))


def _replaced(thing: Any, values: Any, allowed: tuple[str, ...], table: str) -> Any:
    """The thing with values of a table, each of the type of what it replaces."""
    if not isinstance(values, Mapping) or not set(values) <= set(allowed) or thing is None:
        wrong = sorted(set(values) - set(allowed)) if isinstance(values, Mapping) else values
        raise InputError(f"[{table}] may hold {', '.join(allowed)}; got {wrong!r}.")
    made = {}
    for key, value in values.items():
        old = getattr(thing, key)
        value = tuple(value) if isinstance(value, list) else value
        if not _alike(value, old):
            raise InputError(f"[{table}] {key} is like {old!r}; got {value!r}.")
        made[key] = _as_float(value, old)
    return replace(thing, **made)
