"""Aliev & Panfilov 1996: two variables, cardiac-like restitution; smooth.

Paper: R. R. Aliev, A. V. Panfilov, A simple two-variable model of cardiac excitation, Chaos, Solitons & Fractals
7(3):293-301, 1996, doi:10.1016/0960-0779(95)00089-5.

The scale (-80 + 100 u mV) and the time unit (12.9 ms) are the paper's. Published codes also use a = 0.1 with e0 = 0.01
(Finitewave) and a = 0.05: those are other cells.
"""

from typing import Any, ClassVar

from einthoven.ionic.model import IonicModel, VoltageScale, parameter


class AlievPanfilov1996(IonicModel):
    """Aliev-Panfilov.

    du/dt = [-k u (u - a)(u - 1) - u v] / T
    dv/dt = [(e0 + mu1 v / (u + mu2)) (-v - k u (u - a - 1))] / T

    The rates have a pole at u = -mu2 (-110 mV): the model means nothing at or below it.

    Parameters
    ----------
    a
        Threshold of excitation, dimensionless.
    k
        Strength of the excitation, dimensionless.
    e0, mu1, mu2
        Rate of recovery: at rest, and how it depends on v and u; dimensionless.
    time_unit
        T, one time unit, ms.
    """

    states: ClassVar[tuple[str, ...]] = ("recovery",)
    scale: ClassVar[VoltageScale] = VoltageScale(-80.0, 100.0)

    a: Any = parameter(0.15)
    k: Any = parameter(8.0)
    e0: Any = parameter(0.002)
    mu1: Any = parameter(0.2)
    mu2: Any = parameter(0.3)
    time_unit: Any = parameter(12.9)

    @property
    def is_smooth(self) -> bool:
        """True."""
        return True

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At u = v = 0."""
        return 0.0, (0.0,)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of u and of the recovery variable."""
        (recovery,) = states
        per_unit = 1.0 / self.time_unit
        excitation = self.k * v
        epsilon = self.e0 + self.mu1 * recovery / (v + self.mu2)
        du = -excitation * (v - self.a) * (v - 1.0) - v * recovery
        dr = -epsilon * (recovery + excitation * (v - self.a - 1.0))
        return per_unit * du, (per_unit * dr,)
