"""What all solvers share: checked data in lead space at the start, a consistent result at the end."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, InputError, Reconstruction, Recording, matched_data
from einthoven.core.errors import some
from einthoven.inverse.decomposition import sees_constant
from einthoven.inverse.noise import NoiseCovariance, quiet_sigma
from einthoven.inverse.sweep import Choice


@dataclass(frozen=True, eq=False)
class Problem:
    """Operator and data, matched, checked, whitened and restricted to the space the leads span.

    Parameters
    ----------
    operator, recording
        Matched by name.
    transform
        From leads to lead space (whitened), shape (k, n_leads); k is the rank of the leads (one less than the leads
        for an average reference).
    matrix, data
        Operator and data in lead space.
    noise
        The covariance used for whitening, or None.
    """

    operator: ForwardOperator
    recording: Recording
    transform: Float[np.ndarray, "k m"]
    matrix: Float[np.ndarray, "k n"]
    data: Float[np.ndarray, "k t"]
    noise: NoiseCovariance | None = None

    @cached_property
    def constant_visible(self) -> bool:
        """Whether the data see a constant on the source."""
        return sees_constant(self.matrix)

    def sigma(self) -> float:
        """Standard deviation of the noise in lead space, mV: from the covariance, else from the quietest window."""
        if self.noise is not None:
            return float(np.sqrt(np.trace(self.transform @ self.noise.matrix @ self.transform.T) / len(self.transform)))
        return quiet_sigma(self.recording, rank=len(self.transform))

    def reconstruction(
        self,
        values: Float[np.ndarray, "n t"],
        choice: Choice,
        *,
        method: str,
        rule: str,
        diagnostics: dict[str, float] | None = None,
    ) -> Reconstruction:
        """Package an estimate; the residual is data minus operator times estimate."""
        if not self.constant_visible:
            values = values - values.mean(axis=0)
        reference = self.operator.reference if self.constant_visible else "average"
        times = self.recording.times
        estimate = Recording(values, times, self.operator.in_sites, self.operator.in_quantity, reference)
        residual = self.recording.with_values(self.recording.values - self.operator.apply(values))
        return Reconstruction(
            estimate=estimate,
            residual=residual,
            method=method,
            rule=rule,
            weight=choice.weight,
            curve=choice.curve,
            diagnostics={**choice.diagnostics, **(diagnostics or {})},
        )


def prepare(operator: ForwardOperator, recording: Recording, *, noise: NoiseCovariance | None = None) -> Problem:
    """Match operator and data by name, check them, and bring them to (whitened) lead space.

    Raises
    ------
    InputError
        If names, quantities or references do not match, there are fewer than three leads, or the data are zero.
    """
    operator, recording = matched_data(operator, recording)
    if recording.n_sites < 3:
        raise InputError(f"imaging needs at least 3 leads; got {recording.n_sites}: {some(recording.sites)}.")
    transform = lead_space(operator)
    if not np.any(transform @ recording.values):
        raise InputError("the recording is zero in all leads and frames; there is nothing to image. Check the file.")
    if noise is not None:
        if noise.reference != recording.reference:
            raise InputError(
                f"the noise covariance has reference {noise.reference!r}, the recording {recording.reference!r}; "
                "estimate it from the recording as referenced."
            )
        noise = noise.select(recording.sites)
        transform = noise.whitener(transform)
    return Problem(
        operator=operator,
        recording=recording,
        transform=transform,
        matrix=transform @ operator.matrix,
        data=transform @ recording.values,
        noise=noise,
    )


def lead_space(operator: ForwardOperator) -> Float[np.ndarray, "k m"]:
    """Orthonormal rows that span what the leads can show: all leads, or one dimension less for an average reference.

    Known from the operator's lead matrix; without one, an average reference loses the constant, others nothing.
    """
    m = operator.n_out
    if operator.reference == "average" or operator.lead_matrix is None:
        if operator.reference != "average":
            return np.eye(m)
        leads = np.eye(m) - 1.0 / m
    else:
        leads = np.asarray(operator.lead_matrix)
    left, values, _ = np.linalg.svd(leads, full_matrices=False)
    return np.ascontiguousarray(left[:, values > 1e-10 * values[0]].T)
