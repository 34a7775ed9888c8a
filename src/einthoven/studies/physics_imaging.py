"""Imaging with cell physics as part of an imaging study: solver, gate, error bars, checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from einthoven.core import ForwardOperator, InputError, Reconstruction, Recording, Source
from einthoven.core.progress import Progress, silent
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.gate import Gated, Verdict
from einthoven.inverse.physics.registry import PhysicsSolver, make_physics_solver
from einthoven.inverse.physics.solver import CellSolver, Imaged
from einthoven.inverse.physics.spread import Spread, laplace
from einthoven.inverse.physics.strong import FocalImage
from einthoven.inverse.physics.waves import imaging_cells, wide_front_cells
from einthoven.inverse.registry import METHODS
from einthoven.studies.results import PhysicsImaging
from einthoven.studies.settings import ImagingSettings

#: Cells that a solver may assume, by name.
MEMBRANES = {
    "aliev-panfilov": imaging_cells,
    "mitchell-schaeffer": wide_front_cells,
}


def is_physics(method: str) -> bool:
    """Whether a method is one with cell physics (by name or by file) and not a classical one."""
    return method not in METHODS


def solver_name(method: str) -> str:
    """The name under which a method's results go: of a file its stem."""
    return Path(method).stem if method.endswith(".toml") else method


def has_physics(solver: PhysicsSolver) -> bool:
    """Whether the equations of cells count; without them a network is a prior for any potential."""
    return solver.schedule.has_physics if isinstance(solver, CellSolver) else True


def own_configurations(methods: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The text of the configurations that are the user's own files, by name, for the provenance; empty without any."""
    own = {solver_name(m): Path(m).read_text(encoding="utf-8") for m in methods if m.endswith(".toml")}
    return {"configurations": own} if own else {}


def check_physics(methods: tuple[str, ...], settings: ImagingSettings, source: Source) -> None:
    """Raise `InputError` for cell physics on extracellular potentials that is not forced, before any work is done."""
    solvers = [make_physics_solver(method, CellPhysics()) for method in methods if is_physics(method)]
    asked = [solver.name for solver in solvers if has_physics(solver)]
    if asked and source.quantity == "hsp" and not settings.extracellular:
        raise InputError(
            f"{asked[0]}: the equations of cells hold for transmembrane potentials, and those on {source.surface.name} "
            "are extracellular. Choose a transmembrane source (--quantity vm) where the case has one, or a classical "
            "method; --extracellular forces it, as the imaging papers do."
        )


def cell_physics(settings: ImagingSettings, noise: NoiseCovariance | None = None) -> CellPhysics:
    """What the settings assume of cells and noise."""
    return CellPhysics(
        MEMBRANES[settings.membrane](),
        diffusivity=settings.diffusivity,
        sigma=settings.sigma_mv,
        noise=noise,
        extracellular=settings.extracellular,
    )


def image_with_physics(
    method: str,
    settings: ImagingSettings,
    data: tuple[ForwardOperator, Recording],
    *,
    noise: NoiseCovariance | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> tuple[Reconstruction, PhysicsImaging]:
    """Run a solver with cell physics; the answer is the classical one where the gate does not open.

    Parameters
    ----------
    method
        A configuration that ships, or a file.
    settings
        Of the study.
    data
        Referenced operator and recording.
    noise
        Covariance of the leads' noise, for whitening.
    folder
        Where the training keeps its checkpoint, to go on from there if it is cut off.
    progress
        Told about steps and error bars.
    """
    solver = make_physics_solver(method, cell_physics(settings, noise), progress=progress)
    if folder is not None and isinstance(solver, CellSolver):
        solver = solver.keeping(folder / f".{solver.name}.checkpoint.npz")
    operator, recording = data
    gated = Gated(solver)
    gate = gated.bounds if settings.gate and has_physics(solver) else None
    if gate is not None:
        found, image, verdict = gated.image(operator, recording)
    else:
        image = solver.image(operator, recording)
        found = image.reconstruction
        verdict = Verdict(True, _ungated(gated, found))
    if found.diagnostics.get("interrupted"):
        return found, PhysicsImaging(image, _cut_short(verdict, found), None, gate)
    try:
        spread = _error_bars(image, progress) if settings.error_bars == "laplace" and verdict.accepted else None
    except KeyboardInterrupt:
        found, spread = replace(found, diagnostics={**found.diagnostics, "interrupted": 1.0}), None
    return found, PhysicsImaging(image, verdict, spread, gate)


def _ungated(gated: Gated, found: Reconstruction) -> str:
    """What is said of an image that did not go through the gate."""
    if not has_physics(gated.solver):
        return f"gate not needed, no physics of cells; chi2 is {found.diagnostics['chi2']:.3f}"
    return f"gate switched off; {gated.bounds.judge(found.diagnostics['chi2'], found.weight).reason}"


def _error_bars(image: Imaged | FocalImage | None, progress: Progress) -> Spread | None:
    """Error bars of fields with physics; a wave of foci has none."""
    if not isinstance(image, Imaged) or not np.isfinite(image.reconstruction.weight):
        return None
    return laplace(image, progress=progress)


def _cut_short(verdict: Verdict, found: Reconstruction) -> Verdict:
    """The verdict on an image whose making was interrupted."""
    steps = found.diagnostics.get("steps")
    when = f" after {steps:.0f} steps" if steps else ""
    return Verdict(verdict.accepted, f"interrupted{when}; {verdict.reason}")
