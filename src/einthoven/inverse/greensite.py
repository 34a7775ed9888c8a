"""Greensite's method: the temporal singular vectors of the data are inverted one by one."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording
from einthoven.inverse.decomposition import Spectrum, decompose
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import Problem, prepare
from einthoven.inverse.regularizers import regularizer
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import Sweep, spectral_sweep

#: How far a component's weight may lie from the joint weight, as a factor.
SPAN = 10.0


@dataclass(frozen=True)
class Greensite:
    """Greensite's isotropy method: Y = U S V^T, each column of U S inverted with a weight of its own.

    The first components carry the signal and ask for little regularization, the later ones for more; components
    below the noise are dropped. One component tells a rule far less than all data: each weight is sought within a
    factor of `SPAN` of the joint weight (the same rule on all data), which a component keeps if its own criterion
    has no optimum in between.

    Parameters
    ----------
    rule
        Chooses lambda for every component.
    order
        Tikhonov order of the regularizer.
    components
        How many components to keep; None keeps those above the optimal hard threshold for unknown white noise
        (Gavish and Donoho 2014, doi:10.1109/TIT.2014.2323359).
    noise
        Covariance of the leads' noise; A and y are whitened with it.

    References
    ----------
    Greensite and Huiskamp, IEEE Trans Biomed Eng 45:98, 1998, doi:10.1109/10.650360.
    """

    rule: Rule = DEFAULT_RULE
    order: int = 2
    components: int | None = None
    noise: NoiseCovariance | None = None
    capabilities: Capabilities = field(default=Capabilities(linear=False), init=False)
    name: str = field(default="greensite", init=False)

    def __post_init__(self):
        regularizer(self.order)
        if self.components is not None and self.components < 1:
            raise InputError(f"greensite: components must be at least 1; got {self.components!r}.")

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        found = decompose(problem.matrix, regularizer(self.order).penalty(problem.operator))
        left, values, right = np.linalg.svd(problem.data, full_matrices=False)
        count = above_noise(values, problem.data.shape) if self.components is None else self.components
        count = min(count, int((values > 1e-12 * values[0]).sum()))
        joint = self.rule.choose(_sweep(problem, found.spectrum(problem.data)))
        courses = right[:count]
        patterns, weights, kept = np.empty((operator.n_in, count)), np.empty(count), 0
        for k in range(count):
            spectrum = found.spectrum(left[:, k : k + 1] * values[k])
            own = self._own_weight(_sweep(problem, spectrum, course=courses[k]), joint.weight)
            kept += own is None
            weights[k] = joint.weight if own is None else own
            patterns[:, k] = spectrum.estimate(weights[k])[:, 0]
        return problem.reconstruction(
            patterns @ courses,
            joint,
            method=self.name,
            rule=self.rule.name,
            diagnostics={
                "components": float(count),
                "joint_weights_kept": float(kept),
                "weight_median": float(np.median(weights)),
                "weight_min": float(weights.min()),
                "weight_max": float(weights.max()),
            },
        )

    def _own_weight(self, sweep: Sweep, joint: float) -> float | None:
        """The component's weight near the joint one; None if its criterion has no optimum there."""
        near = replace(sweep, low=joint / SPAN, high=joint * SPAN, bounded=True)
        try:
            choice = self.rule.choose(near)
        except InputError:
            return None
        return None if choice.diagnostics.get("at_edge", 0.0) else choice.weight


def _sweep(problem: Problem, spectrum: Spectrum, *, course: Float[np.ndarray, " t"] | None = None) -> Sweep:
    return spectral_sweep(
        spectrum,
        sigma=problem.sigma,
        sites=problem.operator.in_sites,
        mean_removed=not problem.constant_visible,
        temporal=None if course is None else course[:, None],
    )


def above_noise(values: Float[np.ndarray, " r"], shape: tuple[int, int]) -> int:
    """How many singular values of a matrix of that shape exceed the optimal hard threshold; at least 1."""
    ratio = min(shape) / max(shape)
    factor = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    return max(1, int((values > factor * np.median(values)).sum()))
