"""What an inverse solver takes and gives: `Solver`, `Reconstruction`, `WeightCurve`."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from einthoven.core.errors import InputError
from einthoven.core.operator import ForwardOperator
from einthoven.core.recording import Recording


@dataclass(frozen=True)
class Capabilities:
    """What may be relied upon; the contract suite tests what is declared.

    Parameters
    ----------
    linear
        For a fixed weight the estimate is linear in the data.
    reference_invariant
        With average-referenced operator and data, a constant added to all leads changes nothing.
    needs_absolute_scale
        The solver assumes potentials of known scale and reference, and refuses others.
    models_geometry
        The solver builds its own model of the torso from the operator's geometry; the operator's matrix only gives
        the residual.
    """

    linear: bool = True
    reference_invariant: bool = True
    needs_absolute_scale: bool = False
    models_geometry: bool = False


@dataclass(frozen=True, eq=False)
class WeightCurve:
    """How the weight was chosen: the sweep that the rule saw.

    Parameters
    ----------
    lambdas
        Shape (n_weights,), increasing.
    residual_norms, seminorms
        |y - A x| and |Q x| (Frobenius, mV and mV per unit of Q), shape (n_weights,).
    criterion
        What the rule maximized or minimized, shape (n_weights,); NaN where undefined.
    chosen
        The selected weight.
    label
        Name of the criterion, for axes.
    """

    lambdas: Float[np.ndarray, " n_weights"]
    residual_norms: Float[np.ndarray, " n_weights"]
    seminorms: Float[np.ndarray, " n_weights"]
    criterion: Float[np.ndarray, " n_weights"]
    chosen: float
    label: str


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a solver returns.

    Parameters
    ----------
    estimate
        Potentials at the source sites.
    residual
        Data minus prediction, at the recording's sites; consistent with `estimate` and operator.
    method, rule
        Names of the solver and of the weight rule, as in the command line.
    weight
        The regularization weight lambda (for several, the first; all of them in `diagnostics`).
    curve
        The sweep behind the weight, or None.
    diagnostics
        Further numbers, flat.
    """

    estimate: Recording
    residual: Recording
    method: str
    rule: str
    weight: float
    curve: WeightCurve | None = None
    diagnostics: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Reconstruction({self.method}, {self.rule} -> lambda {self.weight:.3g}, {self.estimate!r})"


@runtime_checkable
class Solver(Protocol):
    """An inverse solver: ``reconstruct(operator, recording) -> Reconstruction``."""

    @property
    def name(self) -> str:
        """Name of the method, as in the command line."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What may be relied upon."""
        ...

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        ...


def matched_data(operator: ForwardOperator, recording: Recording) -> tuple[ForwardOperator, Recording]:
    """Bring operator and recording to the same leads in the same order, or say why not.

    The operator is restricted to the recording's sites (matched by name). References must agree: an
    average over other leads is another reference.

    Raises
    ------
    InputError
        If quantity, reference or names do not match, or leads are missing from an averaged operator.
    """
    if operator.out_quantity != recording.quantity:
        raise InputError(
            f"the operator gives {operator.out_quantity}, the recording is {recording.quantity}; "
            "compose the operator with a lead system, or read the recording with the right quantity."
        )
    if operator.reference != recording.reference:
        raise InputError(
            f"the operator's reference is {operator.reference!r}, the recording's {recording.reference!r}; bring "
            "both to the same one, for example `LeadSystem.average(sites).operator() @ operator` and "
            "`recording.average_referenced()`."
        )
    if operator.reference == "average" and set(operator.out_sites) != set(recording.sites):
        raise InputError(
            f"an average reference over {operator.n_out} leads is not one over {recording.n_sites}; select the leads "
            "of the operator before averaging."
        )
    return operator.select(recording.sites), recording
