"""Add an inverse method in thirty lines: Tikhonov with weights for depth, which passes the contract.

What the leads hardly see is penalized less: |a_j|^2p x_j^2 in place of x_j^2, with a_j the column of node j (as in
minimum-norm imaging of the brain). `prepare` matches leads by name, checks references and whitens; `reconstruction`
packs a consistent result. One line in `einthoven.inverse.METHODS` makes it known to `make_solver`, and so to the
contract's tests.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Capabilities, Electrodes, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.inverse import METHODS, make_rule, make_solver
from einthoven.inverse.decomposition import decompose
from einthoven.inverse.noise import NoiseCovariance
from einthoven.inverse.problem import prepare
from einthoven.inverse.rules import DEFAULT_RULE, Rule
from einthoven.inverse.sweep import spectral_sweep
from einthoven.metrics import score


@dataclass(frozen=True)
class DepthWeighted:
    """min |A x - y|^2 + lambda^2 sum_j |a_j|^(2p) x_j^2, the penalty's mean weight being 1."""

    rule: Rule = DEFAULT_RULE
    noise: NoiseCovariance | None = None
    exponent: float = 0.5
    capabilities: Capabilities = field(default=Capabilities(), init=False)
    name: str = field(default="depth-weighted", init=False)

    def reconstruct(self, operator, recording):
        """Estimate the source from the recording."""
        problem = prepare(operator, recording, noise=self.noise)
        size = np.linalg.norm(problem.matrix, axis=0) ** -self.exponent
        size *= np.sqrt((size**-2).mean())
        spectrum = decompose(problem.matrix * size, None).spectrum(problem.data)
        about = {"sites": operator.in_sites, "mean_removed": not problem.constant_visible}
        sweep = spectral_sweep(spectrum, sigma=problem.sigma, **about)
        sweep = replace(sweep, estimate=lambda weight: size[:, None] * spectrum.estimate(weight))
        choice = self.rule.choose(sweep)
        return problem.reconstruction(sweep.estimate(choice.weight), choice, method=self.name, rule=self.rule.name)


METHODS["depth-weighted"] = lambda rule, noise: DepthWeighted(rule, noise)


def example():
    """Errors of the new method and of `tikhonov0` on a heart near the front of the torso."""
    skin, times = sphere(100.0, subdivisions=2, name="skin"), np.arange(0.0, 60.0, 3.0)
    heart = sphere(45.0, center=(0.0, -40.0, 0.0), subdivisions=2, name="heart")
    electrodes = Electrodes(tuple(f"E{k}" for k in range(80)), skin.points[::2][:80])
    absolute = bem.transfer(heart, VolumeConductor(Region(skin, 0.2)), electrodes)
    front = 10.0 * np.tanh((heart.points @ np.array([[0.6], [0.0], [0.8]]) + 45.0 - 1.5 * times) / 12.0)
    truth = Recording(front, times, heart.node_names, "hsp")
    clean = absolute.record(truth)
    noise = 0.02 * clean.values.std() * np.random.default_rng(5).standard_normal(clean.values.shape)
    data = clean.with_values(clean.values + noise).average_referenced()
    operator = LeadSystem.average(electrodes.names).operator() @ absolute
    figure, numbers = Figure(figsize=(5.0, 3.4), layout="constrained"), {}
    axes, depth = figure.subplots(), heart.points[:, 1] - heart.points[:, 1].min()
    for name, color in (("tikhonov0", "C0"), ("depth-weighted", "C3")):
        image = make_solver(name, make_rule("rgcv")).reconstruct(operator, data)
        wrong = np.sqrt(((image.estimate.values - front + front.mean(axis=0)) ** 2).mean(axis=1))
        axes.plot(depth, wrong, "o", color=color, ms=3, label=name)
        numbers[f"error of {name}"] = score(image.estimate, truth)["relative_error"]
    axes.legend(frameon=False)
    axes.set(xlabel="depth below the front of the heart (mm)", ylabel="error at the node (mV)", ylim=(0, None))
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
