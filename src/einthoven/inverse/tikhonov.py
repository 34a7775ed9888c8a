"""Tikhonov regularization of order 0, 1, 2, and truncation of the singular value decomposition."""

from dataclasses import dataclass, field

import numpy as np

from einthoven.core import Capabilities, ForwardOperator, Reconstruction, Recording
from einthoven.inverse.decomposition import decompose, tikhonov_filter, truncation_filter
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import prepare
from einthoven.inverse.regularizers import regularizer
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import spectral_sweep, truncated


@dataclass(frozen=True)
class Tikhonov:
    """Tikhonov regularization: min |A x - y|^2 + lambda^2 |Q x|^2 over all frames, one weight.

    Parameters
    ----------
    order
        0: Q = I; 1: surface gradient; 2: surface Laplacian (`einthoven.inverse.regularizers`).
    rule
        Chooses lambda from the data.
    noise
        Covariance of the leads' noise; A and y are whitened with it.

    Notes
    -----
    Constants on the heart are not penalized by orders 1 and 2. With referenced leads a constant is invisible as well:
    the estimate then has zero mean over the nodes.
    """

    order: int = 2
    rule: Rule = DEFAULT_RULE
    noise: NoiseCovariance | None = None
    capabilities: Capabilities = field(default=Capabilities(), init=False)

    def __post_init__(self):
        regularizer(self.order)

    @property
    def name(self) -> str:
        """``tikhonov0``, ``tikhonov1`` or ``tikhonov2``."""
        return f"tikhonov{self.order}"

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        spectrum = decompose(problem.matrix, regularizer(self.order).penalty(problem.operator)).spectrum(problem.data)
        sweep = spectral_sweep(
            spectrum, sigma=problem.sigma, sites=operator.in_sites, mean_removed=not problem.constant_visible
        )
        choice = self.rule.choose(sweep)
        passed, _ = tikhonov_filter(spectrum.decomposition.values, np.array([choice.weight]))
        return problem.reconstruction(
            spectrum.estimate(choice.weight),
            choice,
            method=self.name,
            rule=self.rule.name,
            diagnostics={"degrees_of_freedom": float(passed.sum()) + len(spectrum.free)},
        )


@dataclass(frozen=True)
class TruncatedSVD:
    """Truncated singular value decomposition; the rule picks how many components are kept.

    Components with singular values s >= lambda pass unchanged, the others not at all. Rules that need derivatives
    (L-curve, CRESO) choose lambda on the Tikhonov sweep of the same decomposition; the others among the ranks.

    Parameters
    ----------
    rule
        Chooses lambda among the singular values.
    order
        Which regularizer defines the components (0: the ordinary decomposition of A).
    noise
        Covariance of the leads' noise; A and y are whitened with it.
    """

    rule: Rule = DEFAULT_RULE
    order: int = 0
    noise: NoiseCovariance | None = None
    capabilities: Capabilities = field(default=Capabilities(), init=False)
    name: str = field(default="tsvd", init=False)

    def __post_init__(self):
        regularizer(self.order)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        spectrum = decompose(problem.matrix, regularizer(self.order).penalty(problem.operator)).spectrum(problem.data)
        sweep = spectral_sweep(
            spectrum, sigma=problem.sigma, sites=operator.in_sites, mean_removed=not problem.constant_visible
        )
        choice = self.rule.choose(truncated(sweep, spectrum))
        rank = float((spectrum.decomposition.values >= choice.weight).sum())
        return problem.reconstruction(
            spectrum.estimate(choice.weight, filtered=truncation_filter),
            choice,
            method=self.name,
            rule=self.rule.name,
            diagnostics={"rank": rank},
        )
