"""Noise of the leads as an image sees it, sensor noise and model error together, from leads that are held out.

The leads are split into groups spread over the body. Each group is predicted from an image made of the others; what the
prediction leaves is noise of the sensors, error of the operator as far as the image cannot imitate it, and the
prediction's own error, which makes the estimate rather too large than too small where leads are few.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Recording, Solver, matched_data
from einthoven.inverse.rules import RobustGCV
from einthoven.inverse.tikhonov import Tikhonov

#: Fewest leads that can be split.
FEWEST = 8


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What predictions of held-out leads leave.

    Parameters
    ----------
    residual
        Measured minus predicted, every lead when it was held out, mV.
    signal
        Root mean square of the data, mV, in the same reference.
    """

    residual: Recording
    signal: float

    @property
    def sigma(self) -> float:
        """Root mean square of the residual over leads and frames, mV."""
        return float(np.sqrt((self.residual.values**2).mean()))

    @property
    def by_lead(self) -> Float[np.ndarray, " n_leads"]:
        """The same of each lead: a lead that is wrong stands out."""
        return np.sqrt((self.residual.values**2).mean(axis=1))


def held_out_leads(
    operator: ForwardOperator,
    recording: Recording,
    *,
    solver: Solver | None = None,
    groups: int = 8,
    seed: int = 0,
) -> HeldOut:
    """Predict every lead from the leads of other groups.

    Parameters
    ----------
    operator, recording
        As for a solver. Unless their reference is absolute, both are taken against the mean of the leads that stay.
    solver
        Makes the images; default the surface Laplacian with robust GCV.
    groups
        How many; at most one per lead.
    seed
        Of the split.

    Raises
    ------
    InputError
        For fewer than `FEWEST` leads, fewer than two groups, and what the solver refuses.
    """
    operator, recording = matched_data(operator, recording)
    m = recording.n_sites
    if m < FEWEST or not 2 <= groups <= m:
        raise InputError(
            f"holding leads out needs at least {FEWEST} leads and from 2 to {m} groups; got {m} leads and {groups} "
            "groups. Give sigma instead."
        )
    solver = Tikhonov(2, RobustGCV()) if solver is None else solver
    residual = np.empty(recording.values.shape)
    for group in np.array_split(np.random.default_rng(seed).permutation(m), groups):
        residual[group] = _predicted(operator, recording, group, solver)
    values = recording.values
    signal = values if recording.reference == "absolute" else values - values.mean(axis=0)
    return HeldOut(recording.with_values(residual), float(np.sqrt((signal**2).mean())))


def _predicted(
    operator: ForwardOperator, recording: Recording, out: np.ndarray, solver: Solver
) -> Float[np.ndarray, "k t"]:
    """Measured minus predicted of the leads of one group."""
    stay = np.setdiff1d(np.arange(recording.n_sites), out)
    absolute = recording.reference == "absolute"
    matrix, values = operator.matrix, recording.values
    if not absolute:
        matrix, values = (x - x[stay].mean(axis=0) for x in (matrix, values))
    names = tuple(recording.sites[i] for i in stay)
    reference = "absolute" if absolute else "average"
    seen = replace(recording, values=values[stay], sites=names, reference=reference)
    known = ForwardOperator(
        matrix[stay],
        operator.in_sites,
        names,
        operator.in_quantity,
        operator.out_quantity,
        reference=reference,
        source=operator.source,
    )
    return values[out] - matrix[out] @ solver.reconstruct(known, seen).estimate.values
