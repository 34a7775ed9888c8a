"""Choose a weight: four rules and the best weight there is, with right and with wrong electrodes.

The gray curve is the error for any weight; only the oracle sees it. With the operator that made the data all rules
come near its minimum. Misplace the electrodes by 5 mm, and the leads' misfit is no longer that of the sensors: the
discrepancy principle, told the sensors' noise, asks for a fit that no potential of the heart can give, and its image
is useless. The other three do not need to know the noise.
"""

import numpy as np
from matplotlib.figure import Figure

from einthoven.core import Electrodes, LeadSystem, Recording, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.geometry.generators import sphere
from einthoven.geometry.locate import closest_points
from einthoven.inverse import GCV, Discrepancy, Fixed, LCurve, Oracle, RobustGCV, Tikhonov
from einthoven.metrics import score

TIMES = np.arange(0.0, 60.0, 3.0)
WEIGHTS = np.geomspace(1e-4, 1.0, 33)


def wave(points):
    """A front that crosses the sphere at an angle, mV."""
    return 10.0 * np.tanh((points @ np.array([[0.6], [0.0], [0.8]]) + 50.0 - 1.6 * TIMES) / 12.0)


def example():
    """Error over weight, and the choices, for both operators."""
    skin, heart = sphere(100.0, subdivisions=2, name="skin"), sphere(50.0, subdivisions=2, name="heart")
    names, places = tuple(f"E{k}" for k in range(80)), skin.points[::2][:80]
    moved = closest_points(skin, places + 5.0 * np.random.default_rng(0).standard_normal(places.shape)).points
    truth, leads = Recording(wave(heart.points), TIMES, heart.node_names, "hsp"), LeadSystem.average(names).operator()
    right, wrong = (
        leads @ bem.transfer(heart, VolumeConductor(Region(skin, 0.2)), Electrodes(names, p)) for p in (places, moved)
    )
    clean = right.record(truth)
    noise = 0.003 * clean.values.std()
    draw = np.random.default_rng(2).standard_normal(clean.values.shape)
    data = clean.with_values(clean.values + noise * draw).average_referenced()
    rules = {"L-curve": LCurve(), "robust GCV": RobustGCV(), "GCV": GCV(), "discrepancy": Discrepancy(noise)}
    numbers, figure = {}, Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = zip(figure.subplots(1, 2, sharey=True), ("right", "wrong"), (right, wrong), strict=True)
    for axes, title, operator in panels:
        images = [Tikhonov(2, rule).reconstruct(operator, data) for rule in (*map(Fixed, WEIGHTS), *rules.values())]
        images.append(Tikhonov(2, Oracle(truth)).reconstruct(operator, data))
        errors = [score(image.estimate, truth)["relative_error"] for image in images]
        axes.loglog(WEIGHTS, errors[: len(WEIGHTS)], color="0.6")
        for k, name in enumerate((*rules, "oracle")):
            numbers[f"{name}, {title} electrodes"] = errors[k - 5]
            axes.plot(images[k - 5].weight, errors[k - 5], "os^v*"[k], color=f"C{k}", ms=11 - k, label=name)
        axes.set(xlabel="weight", title=f"{title} electrodes", ylim=(0.05, 40), xlim=(5e-5, 1))
    figure.axes[0].set_ylabel("relative error")
    figure.axes[0].legend(frameon=False)
    return numbers, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
