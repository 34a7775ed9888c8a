"""Leads that are uncertain: combinations of a few channels, which change with errors of the geometry.

    y = (M_0 + sum_j q_j M_j) c,    q_j ~ N(0, s_j)

c are the channels that an `einthoven.simulate.eikonal_ecg.EikonalEcg` computes, q_j errors such as the heart's shift
along x (`einthoven.forward.lead_errors`). Lead fields are smooth: a few dozen channels hold hundreds of leads with all
their changes, and cost no more than a 12-lead ECG.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Quantity, Recording
from einthoven.core.arrays import frozen
from einthoven.forward.lead_errors import LeadErrors

#: Channels are left out whose singular value, relative to the largest, is smaller. For the phantom and ten electrodes
#: that changes the ECG by 0.007 %, and by 0.04 % with errors as large as expected.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True, eq=False)
class WaveLeads:
    """From channels to leads.

    Parameters
    ----------
    sites
        Names of the leads.
    quantity, reference
        Of the leads, as in `Recording`.
    mixing
        Shape (1 + n_errors, n_leads, n_channels): M_0 and the M_j.
    names, spread
        One per error: what it is, with its unit, and its expected standard deviation.

    Raises
    ------
    InputError
        If shapes do not agree, or a spread is not positive.
    """

    sites: tuple[str, ...]
    quantity: Quantity
    reference: str
    mixing: Float[np.ndarray, "..."]
    names: tuple[str, ...] = ()
    spread: Float[np.ndarray, "..."] = ()  # type: ignore[assignment]

    def __post_init__(self):
        mixing, spread = np.asarray(self.mixing, dtype=np.float64), np.asarray(self.spread, dtype=np.float64)
        n = len(self.names)
        if mixing.ndim != 3 or mixing.shape[:2] != (1 + n, len(self.sites)) or spread.shape != (n,):
            raise InputError(
                f"leads: mixing must have shape (1 + {n} errors, {len(self.sites)} leads, channels) and spread ({n},); "
                f"got {mixing.shape} and {spread.shape}."
            )
        if not (np.isfinite(mixing).all() and ((spread > 0) & np.isfinite(spread)).all()):
            raise InputError("leads: mixing must be finite, and the spread of every error positive and finite.")
        object.__setattr__(self, "mixing", frozen(mixing, np.float64))
        object.__setattr__(self, "spread", frozen(spread, np.float64))

    def __repr__(self) -> str:
        return f"WaveLeads({self.mixing.shape[2]} channels -> {len(self.sites)} leads, {len(self.names)} errors)"

    @classmethod
    def of(cls, operator: ForwardOperator) -> "WaveLeads":
        """The outputs of an operator as they are: channels are leads, nothing is uncertain."""
        return cls(operator.out_sites, operator.out_quantity, operator.reference, np.eye(operator.n_out)[None])

    @property
    def n_errors(self) -> int:
        """Number of errors."""
        return len(self.names)

    def at(self, errors: Float[np.ndarray, " n_errors"]) -> Float[np.ndarray, "n_leads n_channels"]:
        """M_0 + sum_j q_j M_j."""
        return self.mixing[0] + np.tensordot(errors, self.mixing[1:], axes=1)

    def record(self, channels: Recording, errors: Float[np.ndarray, " n_errors"], gain: float | int = 1.0) -> Recording:
        """The leads, mV."""
        values = gain * (self.at(errors) @ channels.values)
        return Recording(values, channels.times, self.sites, self.quantity, self.reference)


def in_channels(errors: LeadErrors, *, negligible: float = NEGLIGIBLE) -> tuple[ForwardOperator, WaveLeads]:
    """Split leads with their changes into channels and the combinations of them.

    Parameters
    ----------
    errors
        L_0, the changes L_j, and how large they are expected to be.
    negligible
        Channels whose singular value, relative to the largest, is below it are left out.

    Returns
    -------
    tuple
        The channels as an operator from the same source, and the leads as combinations of them:
        M_j C = L_j up to what is negligible.
    """
    plain, rows, spread = errors.leads, errors.rows, np.asarray(errors.spread, dtype=np.float64)
    n_whole = len(errors.whole)
    scale = np.concatenate([np.ones(plain.n_out), np.repeat(spread[:n_whole], plain.n_out), spread[n_whole:]])
    _, weights, channels = np.linalg.svd(_square(scale[:, None] * rows.matrix), full_matrices=False)
    channels = channels[weights > negligible * weights[0]]
    change = errors.from_rows(rows.matrix @ channels.T)
    names = tuple(f"channel {k + 1}" for k in range(len(channels)))
    operator = ForwardOperator(channels, plain.in_sites, names, plain.in_quantity, "bsp", reference=plain.reference)
    mixing = np.concatenate([change.leads[None], change.changes])
    return operator, WaveLeads(plain.out_sites, plain.out_quantity, plain.reference, mixing, errors.names, spread)


def _square(rows: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "k n"]:
    """The rows, or no more than n combinations of them with the same singular values and right singular vectors."""
    return rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows, mode="r"))
