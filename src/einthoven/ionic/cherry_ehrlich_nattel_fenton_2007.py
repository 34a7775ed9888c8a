"""Cherry, Ehrlich, Nattel & Fenton 2007: four variables, left atrium.

Paper: E. M. Cherry, J. R. Ehrlich, S. Nattel, F. H. Fenton, Pulmonary vein reentry - properties and size matter:
insights from a computational analysis, Heart Rhythm 4(12):1553-1562, 2007.

Equations and parameters were read through public codes, not the paper. Those codes (Emory's TensorFlow code,
PDEnsorflow) call it the canine left atrium, later users the human one. They differ in two constants: tau_o is 39 ms
here, while they use tau_si in its place; tau_v^- is 10 ms above u_v here, and 19.2 ms everywhere in theirs.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax

from einthoven.ionic.functions import check_width, switch
from einthoven.ionic.model import IonicModel, VoltageScale, parameter


class CherryEhrlichNattelFenton2007(IonicModel):
    """Fenton-Karma with an activation variable s of the slow inward current and a plateau.

    With H the Heaviside step, p = H(u - u_c):

    du/dt = -(J_fi + J_so + J_si)
    J_fi = -v p (u - u_c)(u_m - u) / tau_d
    J_so = (u - u_o)(1 - H(u - u_so)) / tau_o + H(u - u_so) tau_a + (a_so - tau_a)(1 + tanh((u - b_so) / c_so)) / 2
    J_si = -w s / tau_si
    dv/dt = (1 - p)(1 - v) / tau_v^-(u) - p v / tau_v^+
    dw/dt = (1 - p)(1 - w) / tau_w^-(u) - p w / tau_w^+
    ds/dt = r_s(u) [(1 + tanh(k (u - u_csi))) / 2 - s]

    Parameters
    ----------
    tau_d, tau_o, tau_si
        Time constants of the fast inward, the outward (below u_so) and the slow inward current, ms.
    tau_a, a_so
        Rate of the outward current on the plateau, and at the peak, 1/ms (the paper's symbols, although rates).
    b_so, c_so
        Where and how steeply it goes from one to the other, dimensionless.
    tau_v_plus, tau_w_plus
        Time constants with which v and w close above u_c, ms.
    tau_v_minus_above_uv, tau_v_minus_below_uv
        Time constant with which v opens below u_c: between u_v and u_c, and below u_v, ms.
    tau_w_minus_above_uw, tau_w_minus_below_uw
        Time constant with which w opens below u_c: between u_w and u_c, and below u_w, ms.
    r_s_plus, r_s_minus
        Rate of s above and below u_c, 1/ms.
    u_c, u_v, u_w, u_so, u_csi
        Thresholds, dimensionless.
    u_o, u_m
        Rest of the outward current and upper end of the fast one, dimensionless.
    k
        Steepness of s, dimensionless.
    gate_width
        Width of the thresholds in u; 0 (default) is the exact Heaviside; `smooth_width` is the width we recommend, and
        docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = ("v", "w", "s")
    scale: ClassVar[VoltageScale] = VoltageScale(-85.0, 100.0)
    smooth_width: ClassVar[float] = 0.002

    tau_d: Any = parameter(0.065)
    tau_o: Any = parameter(39.0)
    tau_si: Any = parameter(31.8364)
    tau_a: Any = parameter(0.009)
    a_so: Any = parameter(0.115)
    b_so: Any = parameter(0.84)
    c_so: Any = parameter(0.02)
    tau_v_plus: Any = parameter(3.33)
    tau_v_minus_above_uv: Any = parameter(10.0)
    tau_v_minus_below_uv: Any = parameter(19.2)
    tau_w_plus: Any = parameter(160.0)
    tau_w_minus_above_uw: Any = parameter(75.0)
    tau_w_minus_below_uw: Any = parameter(75.0)
    r_s_plus: Any = parameter(0.02)
    r_s_minus: Any = parameter(1.2)
    u_c: Any = parameter(0.23)
    u_v: Any = parameter(0.055)
    u_w: Any = parameter(0.146)
    u_so: Any = parameter(0.3)
    u_csi: Any = parameter(0.8)
    u_o: Any = parameter(0.0)
    u_m: Any = parameter(1.0)
    k: Any = parameter(3.0)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width)

    @property
    def is_smooth(self) -> bool:
        """Whether the thresholds have a width."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At v = w = 1 and the u (about 0.01) at which the slow inward and the outward current cancel."""
        u = self.u_o
        for _ in range(12):  # a contraction by about 0.06
            u = self.u_o + self.tau_o / self.tau_si * self._activation(u)
        return u, (1.0, 1.0, self._activation(u))

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of u, v, w and s."""
        u, (fast, slow, s) = v, states
        over = u - self.u_c
        v_opening = self._switch(u - self.u_v, 1.0 / self.tau_v_minus_above_uv, 1.0 / self.tau_v_minus_below_uv)
        w_opening = self._switch(u - self.u_w, 1.0 / self.tau_w_minus_above_uw, 1.0 / self.tau_w_minus_below_uw)
        fast_inward = self._switch(over, fast * over * (self.u_m - u) * (1.0 / self.tau_d), 0.0)
        outward = self._switch(u - self.u_so, self.tau_a, (u - self.u_o) * (1.0 / self.tau_o))
        outward = outward + (self.a_so - self.tau_a) * jax.lax.logistic(2.0 * (u - self.b_so) * (1.0 / self.c_so))
        du = fast_inward - outward + slow * s * (1.0 / self.tau_si)
        dv = self._switch(over, -fast * (1.0 / self.tau_v_plus), (1.0 - fast) * v_opening)
        dw = self._switch(over, -slow * (1.0 / self.tau_w_plus), (1.0 - slow) * w_opening)
        ds = self._switch(over, self.r_s_plus, self.r_s_minus) * (self._activation(u) - s)
        return du, (dv, dw, ds)

    def _activation(self, u: Any) -> Any:
        return jax.lax.logistic(2.0 * self.k * (u - self.u_csi))

    def _switch(self, x: Any, above: Any, below: Any) -> Any:
        return switch(x, above=above, below=below, width=self.gate_width)
