"""The restitution curve of a membrane model: the earlier the next beat, the shorter its action potential.

Ten beats at 1000 ms, then one premature stimulus at every coupling interval, all intervals at once. Where the slope
of the curve is above 1, alternans can grow (Nolasco and Dahlen 1968); it says so of single cells, not of tissue.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.ionic.action_potential import restitution
from einthoven.ionic.registry import model

MODELS = {"mitchell-schaeffer-2003": "C0", "fenton-karma-1998-mlr-i": "C1", "bueno-orovio-2008-epi": "C3"}


def example():
    """Durations after long and short diastolic intervals, and the largest slope, of three models."""
    numbers, figure = {}, Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, color in MODELS.items():
        found = restitution(model(name), np.arange(200.0, 900.0, 10.0), n_s1=5, dt=0.05)
        axes.plot(found.diastolic, found.apd, "o-", color=color, ms=2.5, label=name)
        numbers[f"{name}, APD90 at 500 ms"] = found.at(500.0)
        numbers[f"{name}, APD90 at 60 ms"] = found.at(60.0)
        numbers[f"{name}, largest slope"] = found.largest_slope(20.0)
    axes.axline((0.0, 150.0), slope=1.0, color="0.6", lw=0.8, ls=":", label="slope 1")
    axes.set(xlabel="diastolic interval (ms)", ylabel="APD90 (ms)", xlim=(0, 600), ylim=(100, None))
    axes.legend(frameon=False)
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
