"""What 12, 32, 64 and 120 electrodes are worth, on the phantom's torso.

The same wave on the phantom's heart (potentials on its envelope) is seen by four layouts, with the same noise, and
imaged by the same method: Tikhonov of second order at the best weight there is, so that no rule blurs the comparison.
Most of what 120 electrodes show 64 show as well.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import LeadSystem, Recording
from einthoven.datasets.phantom import Phantom
from einthoven.forward import bem
from einthoven.inverse import Oracle, Tikhonov
from einthoven.metrics import score

TIMES = np.arange(0.0, 80.0, 4.0)


def spread_out(points, n):
    """Indices of n points far from each other, one after the other."""
    chosen = [0]
    while len(chosen) < n:
        chosen.append(int(np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1).argmax()))
    return chosen


def example():
    """Error by number of electrodes: medians of five draws of 0.02 mV of noise."""
    phantom = Phantom()
    most, heart = phantom.electrodes("120"), phantom.envelope
    layouts = {n: phantom.electrodes(n).names for n in ("12-lead", "64", "120")}
    layouts["32"] = tuple(most.names[k] for k in spread_out(most.positions, 32))
    operators = {n: bem.transfer(heart, phantom.conductor, phantom.electrodes(n)) for n in ("120", "64")}
    operators |= {"12-lead": operators["120"], "32": operators["120"]}
    rise = (heart.points - heart.points.mean(axis=0)) @ np.array([[-0.5], [0.3], [0.8]])
    ahead = rise - rise.min() - 1.2 * TIMES
    truth = Recording(8.0 * np.tanh(ahead / 12.0) * np.exp(-((ahead / 60.0) ** 2)), TIMES, heart.node_names, "hsp")
    errors = {}
    for name in ("12-lead", "32", "64", "120"):
        sites = [s for s in layouts[name] if s != "RL"]
        operator = LeadSystem.average(sites).operator() @ operators[name].select(sites)
        clean, found = operator.record(truth), []
        for k in range(5):
            noise = 0.02 * np.random.default_rng(k).standard_normal(clean.values.shape)
            data = clean.with_values(clean.values + noise).average_referenced()
            image = Tikhonov(2, Oracle(truth)).reconstruct(operator, data)
            found.append(score(image.estimate, truth)["relative_error"])
        errors[name] = float(np.median(found))
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.bar(list(errors), list(errors.values()))
    axes.bar_label(axes.containers[0], fmt="%.2f")
    axes.set(xlabel="electrodes", ylabel="relative error at the best weight", ylim=(0, 1))
    return {f"error with {name}": e for name, e in errors.items()}, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
