"""Whether an image by cell physics can be believed; if not, the classical one is given instead.

Where the cells' equations hold, fields can be found that leave the noise and nothing else: chi2 is near 1 and the
weight of the physics could be raised to its end. Where they do not (a wrong operator, potentials that are no
membrane's, a reference that hides the zero), chi2 stays above 1, or the weight stays low because raising it would not
fit the data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording, Solver
from einthoven.inverse.physics.fields import NoFrontError, classical
from einthoven.inverse.physics.registry import PhysicsSolver
from einthoven.inverse.physics.solver import Imaged
from einthoven.inverse.physics.strong import FocalImage

#: Least chi2 where the noise was estimated from held-out leads: their prediction has an error of its own, so that the
#: estimate is rather too large.
LEAST_OF_ESTIMATE = 0.5


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why, in one sentence."""

    accepted: bool
    reason: str


@dataclass(frozen=True)
class Gate:
    """Accepts an image whose misfit is that of noise.

    Parameters
    ----------
    least, most
        Bounds of chi2.
    tolerance
        Largest standard deviation of the residuals that may be left when the training ends.
    """

    least: float = 0.90
    most: float = 1.05
    tolerance: float = 0.5

    def __post_init__(self):
        if not 0 <= self.least < self.most or not self.tolerance > 0:
            raise InputError(f"a gate needs bounds of chi2 in order and a positive tolerance; got {self}.")

    @property
    def for_estimated_noise(self) -> "Gate":
        """The same gate, with a lower bound that allows for a noise that was estimated."""
        return replace(self, least=min(self.least, LEAST_OF_ESTIMATE))

    def judge(self, chi2: float, tolerance: float) -> Verdict:
        """The verdict on a misfit and the tau reached."""
        bounds = f"{self.least:g} to {self.most:g}"
        if not self.least <= chi2 <= self.most:
            side = "more" if chi2 > self.most else "less"
            return Verdict(False, f"chi2 is {chi2:.3f}: the image leaves {side} than noise ({bounds})")
        if tolerance > self.tolerance:
            return Verdict(
                False, f"the physics was given little weight (tau {tolerance:.2f} > {self.tolerance:g}): data resist it"
            )
        return Verdict(True, f"chi2 is {chi2:.3f}, within {bounds}")


@dataclass(frozen=True, eq=False)
class Gated:
    """An image by cell physics behind a gate.

    Parameters
    ----------
    solver
        With cell physics.
    gate
        The bounds.
    fallback
        Gives the answer where the gate does not open; None: `einthoven.inverse.physics.fields.classical`.
    """

    solver: PhysicsSolver
    gate: Gate = Gate()
    fallback: Solver | None = None

    @property
    def name(self) -> str:
        """The solver's."""
        return self.solver.name

    @property
    def capabilities(self) -> Capabilities:
        """The solver's."""
        return self.solver.capabilities

    @property
    def bounds(self) -> Gate:
        """The gate, with a lower bound that allows for a noise that was estimated."""
        known = self.solver.physics.sigma is not None or self.solver.physics.noise is not None
        return self.gate if known else self.gate.for_estimated_noise

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source; `rule` says which answer it is."""
        return self.image(operator, recording)[0]

    def image(
        self, operator: ForwardOperator, recording: Recording
    ) -> tuple[Reconstruction, Imaged | FocalImage | None, Verdict]:
        """The answer, the image by cell physics whatever the verdict, and the verdict.

        The image is None where there is no front to begin with.
        """
        try:
            image = self.solver.image(operator, recording)
        except NoFrontError as problem:
            sigma = self.solver.physics.pose(operator, recording).sigma
            verdict = Verdict(False, str(problem).rstrip("."))
            return self._classical(operator, recording, {"sigma": sigma, "accepted": 0.0}), None, verdict
        found = image.reconstruction
        verdict = self.bounds.judge(found.diagnostics["chi2"], found.weight)
        told = {**found.diagnostics, "accepted": float(verdict.accepted)}
        if verdict.accepted:
            return replace(found, diagnostics=told), image, verdict
        return self._classical(operator, recording, told), image, verdict

    def _classical(self, operator: ForwardOperator, recording: Recording, told: Mapping[str, float]) -> Reconstruction:
        """The answer where the gate does not open, with what is to be told of the image that was refused."""
        if self.fallback is not None:
            found = self.fallback.reconstruct(operator, recording)
        else:
            found = classical(replace(self.solver.physics, sigma=told["sigma"]).pose(operator, recording))
        rule = f"fell back on {found.method}, {found.rule}"
        return replace(found, method=self.name, rule=rule, diagnostics=dict(told))
