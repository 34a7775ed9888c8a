"""Compare two methods under noise, each at its own weight and at the best one.

One rule for both methods, several draws of the noise, and an oracle beside them that knows the truth: it says what
the rule has cost. The wave crosses a sphere in a sphere; its potentials are computed on a finer heart than the one
that is imaged.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Electrodes, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.inverse import Oracle, RobustGCV, Stre, Tikhonov
from einthoven.metrics import score

TIMES = np.arange(0.0, 60.0, 3.0)
NOISE = (0.01, 0.03, 0.1, 0.3)


def wave(heart):
    """A front that crosses the sphere at an angle, mV."""
    ahead = heart.points @ np.array([[0.6], [0.0], [0.8]]) + 50.0 - 1.6 * TIMES
    return Recording(10.0 * np.tanh(ahead / 12.0), TIMES, heart.node_names, "hsp")


def example():
    """Errors of both methods at four levels of noise, medians over five draws."""
    skin = sphere(100.0, subdivisions=2, name="skin")
    electrodes = Electrodes(tuple(f"E{k}" for k in range(80)), skin.points[::2][:80])
    heart, fine = (sphere(50.0, subdivisions=n, name="heart") for n in (2, 3))
    coarse, exact = (bem.transfer(h, VolumeConductor(Region(skin, 0.2)), electrodes) for h in (heart, fine))
    operator = LeadSystem.average(electrodes.names).operator() @ coarse
    clean, truth = exact.record(wave(fine)), wave(heart)
    methods = {
        f"{name}, {kind}": solver(rule)
        for name, solver in {"tikhonov0": lambda r: Tikhonov(0, r), "stre": Stre}.items()
        for kind, rule in {"robust GCV": RobustGCV(), "oracle": Oracle(truth)}.items()
    }
    errors = {name: [] for name in methods}
    for level in NOISE:
        draws = [np.random.default_rng(k).standard_normal(clean.values.shape) for k in range(5)]
        noisy = [clean.with_values(clean.values + level * clean.values.std() * d).average_referenced() for d in draws]
        for name, solver in methods.items():
            found = [score(solver.reconstruct(operator, r).estimate, truth)["relative_error"] for r in noisy]
            errors[name].append(float(np.median(found)))
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, style in zip(methods, ("C0-o", "C0:", "C3-o", "C3:"), strict=True):
        axes.semilogx(np.multiply(100, NOISE), errors[name], style, label=name)
    axes.set(xlabel="noise (% of the leads' standard deviation)", ylabel="relative error", ylim=(0, None))
    axes.set_xticks(np.multiply(100, NOISE), [f"{100 * level:g}" for level in NOISE])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return {f"{n}, {100 * level:g} %": e for n in methods for level, e in zip(NOISE, errors[n], strict=True)}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
