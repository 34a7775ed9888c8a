"""Bueno-Orovio, Cherry & Fenton 2008: minimal model of the human ventricle, four variables, five sets of parameters.

Paper: A. Bueno-Orovio, E. M. Cherry, F. H. Fenton, Minimal model for human ventricular action potentials in tissue,
Journal of Theoretical Biology 253(3):544-560, 2008, doi:10.1016/j.jtbi.2008.03.029, Table 1. V = -84 + 85.7 u mV.

The table was read through several independent public transcriptions, which agree on every number. One widely used code
takes tau_s2 = 2 ms for M instead of the table's 4.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from einthoven.ionic.functions import check_width, switch
from einthoven.ionic.model import IonicModel, VoltageScale, parameter


class BuenoOrovio2008(IonicModel):
    """Minimal ventricular model; the defaults are EPI.

    With H the Heaviside step, p = H(u - theta_v), q = H(u - theta_w):

    du/dt = -(J_fi + J_so + J_si)
    J_fi = -v p (u - theta_v)(u_u - u) / tau_fi
    J_so = (u - u_o)(1 - q) / tau_o + q / tau_so
    J_si = -q w s / tau_si
    dv/dt = (1 - p)(v_inf - v) / tau_v^- - p v / tau_v^+
    dw/dt = (1 - q)(w_inf - w) / tau_w^- - q w / tau_w^+
    ds/dt = [(1 + tanh(k_s (u - u_s))) / 2 - s] / tau_s

    tau_v^-, tau_o and v_inf step at theta_v_minus, theta_o and theta_v_minus; w_inf = 1 - u / tau_w_inf below theta_o,
    w_inf_star above; tau_s steps at theta_w; tau_w^- and tau_so go from their first to their second value as
    (1 + tanh(k (u - u_k))) / 2.

    Parameters
    ----------
    u_o, u_u
        Rest and upper end of u, dimensionless.
    theta_v, theta_w, theta_v_minus, theta_o
        Thresholds, dimensionless.
    tau_v1_minus, tau_v2_minus, tau_v_plus
        Time constants of v: below theta_v_minus, above it, above theta_v, ms.
    tau_w1_minus, tau_w2_minus, tau_w_plus
        Time constants of w: far below u_w_minus, far above it, above theta_w, ms.
    k_w_minus, u_w_minus
        How and where tau_w^- changes, dimensionless.
    tau_fi, tau_si
        Time constants of the fast and of the slow inward current, ms.
    tau_o1, tau_o2
        Time constants of the outward current: below theta_o, above it, ms.
    tau_so1, tau_so2, k_so, u_so
        Time constants of the slow outward current, ms, and how and where it changes.
    tau_s1, tau_s2, k_s, u_s
        Time constants of s: below theta_w, above it, ms, and steepness and middle of its steady value.
    tau_w_inf, w_inf_star
        Steady value of w: slope below theta_o, value above, dimensionless.
    gate_width
        Width of the thresholds in u; 0 (default) is the exact Heaviside. A threshold below theta_w takes the width
        gate_width * threshold / theta_w, since several lie close to rest. `smooth_width` is the width we recommend, and
        docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = ("v", "w", "s")
    scale: ClassVar[VoltageScale] = VoltageScale(-84.0, 85.7)
    smooth_width: ClassVar[float] = 0.002

    u_o: Any = parameter(0.0)
    u_u: Any = parameter(1.55)
    theta_v: Any = parameter(0.3)
    theta_w: Any = parameter(0.13)
    theta_v_minus: Any = parameter(0.006)
    theta_o: Any = parameter(0.006)
    tau_v1_minus: Any = parameter(60.0)
    tau_v2_minus: Any = parameter(1150.0)
    tau_v_plus: Any = parameter(1.4506)
    tau_w1_minus: Any = parameter(60.0)
    tau_w2_minus: Any = parameter(15.0)
    k_w_minus: Any = parameter(65.0)
    u_w_minus: Any = parameter(0.03)
    tau_w_plus: Any = parameter(200.0)
    tau_fi: Any = parameter(0.11)
    tau_o1: Any = parameter(400.0)
    tau_o2: Any = parameter(6.0)
    tau_so1: Any = parameter(30.0181)
    tau_so2: Any = parameter(0.9957)
    k_so: Any = parameter(2.0458)
    u_so: Any = parameter(0.65)
    tau_s1: Any = parameter(2.7342)
    tau_s2: Any = parameter(16.0)
    k_s: Any = parameter(2.0994)
    u_s: Any = parameter(0.9087)
    tau_si: Any = parameter(1.8875)
    tau_w_inf: Any = parameter(0.07)
    w_inf_star: Any = parameter(0.94)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width)

    @classmethod
    def epi(cls) -> "BuenoOrovio2008":
        """EPI: human epicardium."""
        return cls()

    @classmethod
    def endo(cls) -> "BuenoOrovio2008":
        """ENDO: human endocardium."""
        return cls(
            u_u=1.56, theta_v_minus=0.2, tau_v1_minus=75.0, tau_v2_minus=10.0, tau_w1_minus=6.0, tau_w2_minus=140.0,
            k_w_minus=200.0, u_w_minus=0.016, tau_w_plus=280.0, tau_fi=0.1, tau_o1=470.0, tau_so1=40.0, tau_so2=1.2,
            k_so=2.0, tau_s2=2.0, tau_si=2.9013, tau_w_inf=0.0273, w_inf_star=0.78,
        )  # fmt: skip

    @classmethod
    def mid(cls) -> "BuenoOrovio2008":
        """M: human midmyocardium."""
        return cls(
            u_u=1.61, theta_v_minus=0.1, theta_o=0.005, tau_v1_minus=80.0, tau_v2_minus=1.4506, tau_w1_minus=70.0,
            tau_w2_minus=8.0, k_w_minus=200.0, u_w_minus=0.016, tau_w_plus=280.0, tau_fi=0.078, tau_o1=410.0,
            tau_o2=7.0, tau_so1=91.0, tau_so2=0.8, k_so=2.1, u_so=0.6, tau_s2=4.0, tau_si=3.3849, tau_w_inf=0.01,
            w_inf_star=0.5,
        )  # fmt: skip

    @classmethod
    def priebe_beuckelmann(cls) -> "BuenoOrovio2008":
        """PB: fitted to the Priebe-Beuckelmann model."""
        return cls(
            u_u=1.45, theta_v=0.35, theta_v_minus=0.175, tau_v1_minus=10.0, tau_w1_minus=140.0, tau_w2_minus=6.25,
            u_w_minus=0.015, tau_w_plus=326.0, tau_fi=0.105, tau_w_inf=0.175, w_inf_star=0.9,
        )  # fmt: skip

    @classmethod
    def ten_tusscher(cls) -> "BuenoOrovio2008":
        """TNNP: fitted to the ten Tusscher-Noble-Noble-Panfilov 2004 model."""
        return cls(
            u_u=1.58, theta_w=0.015, theta_v_minus=0.015, tau_w1_minus=70.0, tau_w2_minus=20.0, tau_w_plus=280.0,
            tau_o1=6.0, tau_so1=43.0, tau_so2=0.2, k_so=2.0, tau_s2=3.0, tau_si=2.8723,
        )  # fmt: skip

    @property
    def is_smooth(self) -> bool:
        """Whether the thresholds have a width."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At u = u_o = 0, v = w = 1, and the steady s (the paper starts from s = 0)."""
        return self.u_o, (1.0, 1.0, self._activation(self.u_o))

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of u, v, w and s."""
        u, (fast, slow, s) = v, states
        over_v = u - self.theta_v
        v_opening = self._switch(
            u, self.theta_v_minus, -fast * (1.0 / self.tau_v2_minus), (1.0 - fast) * (1.0 / self.tau_v1_minus)
        )
        w_inf = self._switch(u, self.theta_o, self.w_inf_star, 1.0 - u * (1.0 / self.tau_w_inf))
        w_turn = jax.lax.logistic(2.0 * self.k_w_minus * (u - self.u_w_minus))
        tau_w = self.tau_w1_minus + (self.tau_w2_minus - self.tau_w1_minus) * w_turn
        so_turn = jax.lax.logistic(2.0 * self.k_so * (u - self.u_so))
        tau_so = self.tau_so1 + (self.tau_so2 - self.tau_so1) * so_turn
        leak = (u - self.u_o) * self._switch(u, self.theta_o, 1.0 / self.tau_o2, 1.0 / self.tau_o1)
        fast_inward = self._switch(u, self.theta_v, fast * over_v * (self.u_u - u) * (1.0 / self.tau_fi), 0.0)
        plateau = self._switch(u, self.theta_w, slow * s * (1.0 / self.tau_si) - 1.0 / tau_so, -leak)
        dv = self._switch(u, self.theta_v, -fast * (1.0 / self.tau_v_plus), v_opening)
        dw = self._switch(u, self.theta_w, -slow * (1.0 / self.tau_w_plus), (w_inf - slow) / tau_w)
        s_rate = self._switch(u, self.theta_w, 1.0 / self.tau_s2, 1.0 / self.tau_s1)
        return fast_inward + plateau, (dv, dw, (self._activation(u) - s) * s_rate)

    def _activation(self, u: Any) -> Any:
        return jax.lax.logistic(2.0 * self.k_s * (u - self.u_s))

    def _switch(self, u: Any, threshold: Any, above: Any, below: Any) -> Any:
        x = u - threshold
        if self.gate_width > 0:  # a threshold near rest gets a width smaller in proportion
            x = x / jnp.minimum(1.0, threshold / self.theta_w)
        return switch(x, above=above, below=below, width=self.gate_width)
