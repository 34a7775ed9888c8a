"""`ImagingResult`: what an imaging run hands to files, tables and pages."""

from dataclasses import dataclass, field
from typing import Any

from einthoven.core import Case, ForwardOperator, Reconstruction, Recording, Source
from einthoven.inverse.physics.gate import Gate, Verdict
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.spread import Spread
from einthoven.inverse.physics.strong import FocalImage


@dataclass(frozen=True, eq=False)
class PhysicsImaging:
    """What only a solver with cell physics knows.

    Parameters
    ----------
    image
        The image whatever the gate says, with the course of the training.
    verdict
        Whether it was accepted.
    spread
        Error bars, or None.
    gate
        The bounds.
    """

    image: Imaged | FocalImage
    verdict: Verdict
    spread: Spread | None
    gate: Gate


@dataclass(frozen=True, eq=False)
class Imaging:
    """One method's answer, its scores and its activation map.

    Parameters
    ----------
    reconstruction
        As returned by the solver.
    metrics
        Flat scores as written to ``metrics.json`` (``method, rule, lambda, relative_error, ...``).
    activation
        Local activation times at the source nodes, ms, or None.
    physics
        More about an image by cell physics; None for a classical method.
    """

    reconstruction: Reconstruction
    metrics: dict[str, Any]
    activation: Any = None
    physics: PhysicsImaging | None = None


@dataclass(frozen=True, eq=False)
class ImagingResult:
    """One case imaged by one or several methods.

    Parameters
    ----------
    case, source
        The case and the heart surface that was imaged.
    operator, recording
        Referenced operator and data, as the solvers saw them.
    images
        One per method.
    truth
        Measured truth in the scoring reference (per-frame mean removed where the leads are referenced), or None.
    truth_activation
        Activation times of the truth, ms, or None.
    provenance
        What was run: settings, versions, checksums, seed.
    """

    case: Case
    source: Source
    operator: ForwardOperator
    recording: Recording
    images: tuple[Imaging, ...]
    truth: Recording | None = None
    truth_activation: Any = None
    provenance: dict[str, Any] = field(default_factory=dict)
