"""Add a membrane model: Rogers and McCulloch 1994 in a class of forty lines.

Three methods, written for one cell with `jax.numpy`: the compiled simulator, gradients and the measurements of action
potentials and velocities follow from them. Without recovery the front would run at sqrt(D c1 / 2) (1 - 2 a), exactly;
with it, it is a fifth slower.
"""

from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from einthoven.ionic.action_potential import measure
from einthoven.ionic.cell import pace
from einthoven.ionic.model import IonicModel, VoltageScale, parameter
from einthoven.simulate.planar import planar_speed


class RogersMcCulloch1994(IonicModel):
    """du/dt = c1 u (u - a)(1 - u) - c2 u w,  dw/dt = b (u - d w); doi:10.1109/10.310090.

    Parameters: threshold a, rates c1, c2 and b (1/ms), d.
    """

    states: ClassVar[tuple[str, ...]] = ("recovery",)
    scale: ClassVar[VoltageScale] = VoltageScale(-80.0, 100.0)
    a: Any = parameter(0.13)
    b: Any = parameter(0.013)
    c1: Any = parameter(0.26)
    c2: Any = parameter(0.1)
    d: Any = parameter(1.0)

    @property
    def is_smooth(self) -> bool:
        """True: no thresholds."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At u = w = 0."""
        return 0.0, (0.0,)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of u and of the recovery variable, 1/ms."""
        (w,) = states
        return self.c1 * v * (v - self.a) * (1.0 - v) - self.c2 * v * w, (self.b * (v - self.d * w),)


def example():
    """Duration and velocity of the new cells, and the velocity's bound."""
    cells = RogersMcCulloch1994()
    time, vm = pace(cells, cycle_length=600.0, n_beats=3, dt=0.05).beat()
    speed, bound = planar_speed(cells, 0.1, 0.1), float(np.sqrt(0.1 * cells.c1 / 2) * (1 - 2 * cells.a))
    figure = Figure(figsize=(5.0, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(time, vm, color="C3")
    axes.set(xlabel="time (ms)", ylabel="transmembrane potential (mV)", xlim=(0, 500))
    return {
        "apd90_ms": measure(time, vm).apd(90.0),
        "velocity_mm_per_ms": speed,
        "over_its_bound": speed / bound,
    }, figure


if __name__ == "__main__":
    from _show import show

    show(__file__, *example())
