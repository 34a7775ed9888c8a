"""`ImagingResult`: what an imaging run hands to files, tables and pages."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from einthoven.core import Case, ForwardOperator, Reconstruction, Recording, Source
from einthoven.inverse.physics.gate import Gate, Verdict
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.spread import Spread
from einthoven.inverse.physics.strong import FocalImage, Focus
from einthoven.inverse.physics.training import History


@dataclass(frozen=True, eq=False)
class PhysicsImaging:
    """What only a solver with cell physics knows.

    Parameters
    ----------
    image
        The image whatever the gate says, with the course of the training; None where there was no front to begin with.
    verdict
        Whether it was accepted.
    spread
        Error bars, or None.
    gate
        The bounds; None where the gate was switched off.
    """

    image: Imaged | FocalImage | None
    verdict: Verdict
    spread: Spread | None
    gate: Gate | None

    @property
    def history(self) -> History | None:
        """Course of the training; None where nothing was trained."""
        return self.image.history if isinstance(self.image, Imaged) else None

    @property
    def foci(self) -> tuple[Focus, ...]:
        """Where the wave starts; empty where no foci were fitted."""
        return self.image.foci if isinstance(self.image, FocalImage) else ()

    @cached_property
    def activation_spread(self) -> Float[np.ndarray, " n"] | None:
        """Standard deviation of the activation times of the samples, ms; NaN where less than half of them show one."""
        if self.spread is None:
            return None
        times = np.ma.masked_invalid(self.spread.activation)
        seen = times.count(axis=0) >= max(2, len(times) / 2)
        return np.where(seen, times.std(axis=0).filled(np.nan), np.nan)


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
    not_run
        Methods that a user's Ctrl-C left out.
    suspects
        One sentence per lead that looks bad (`einthoven.signals.find_bad_leads`) and was imaged all the same.
    """

    case: Case
    source: Source
    operator: ForwardOperator
    recording: Recording
    images: tuple[Imaging, ...]
    truth: Recording | None = None
    truth_activation: Any = None
    provenance: dict[str, Any] = field(default_factory=dict)
    not_run: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run before all methods were done."""
        return bool(self.not_run) or any(image.metrics.get("interrupted") for image in self.images)
