"""Imaging with cell physics as part of an imaging study: solver, gate, error bars, checkpoint."""

from pathlib import Path

from einthoven.core import ForwardOperator, Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.physics.fields import CellPhysics
from einthoven.inverse.physics.gate import Gate, Gated, Verdict
from einthoven.inverse.physics.registry import make_physics_solver
from einthoven.inverse.physics.solver import CellSolver, Imaged
from einthoven.inverse.physics.spread import laplace
from einthoven.inverse.physics.waves import imaging_cells
from einthoven.inverse.registry import METHODS
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.studies.results import PhysicsImaging
from einthoven.studies.settings import ImagingSettings

#: Cells that a solver may assume, by name.
MEMBRANES = {
    "aliev-panfilov": imaging_cells,
    "mitchell-schaeffer": lambda: MitchellSchaeffer2003(gate_width=MitchellSchaeffer2003().smooth_width),
}


def is_physics(method: str) -> bool:
    """Whether a method is one with cell physics (by name or by file) and not a classical one."""
    return method not in METHODS


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
    if settings.gate:
        found, image, verdict = Gated(solver).image(operator, recording)
    else:
        image = solver.image(operator, recording)
        found, verdict = image.reconstruction, Verdict(True, "the gate was switched off")
    wanted = settings.error_bars == "laplace" and verdict.accepted
    spread = laplace(image, progress=progress) if wanted and isinstance(image, Imaged) else None
    return found, PhysicsImaging(image, verdict, spread, Gate())
