"""Fenton & Karma 1998: three variables, with the sets of parameters of the paper.

Paper: F. Fenton, A. Karma, Vortex dynamics in three-dimensional continuous myocardium with fiber rotation: filament
instability and fibrillation, Chaos 8(1):20-47, 1998, doi:10.1063/1.166311, Table I. u is -85 mV at 0 and 15 mV at 1.

The table was read through public transcriptions (BeatBox, Nektar++ and others), which differ in the last digit: tau_r
and tau_si of BR are 33.33 and 29 or 33 and 30, tau_si of GP is 22.22 or 22, tau_si of MBR 45 or 44.84, u_v of MBR 0.055
or 0.04. We keep the first of each. k = 10 throughout. Later papers and codes swap the subscripts 1 and 2 of tau_v^-;
here the names say which side of u_v is meant.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax

from einthoven.ionic.functions import check_width, switch
from einthoven.ionic.model import IonicModel, VoltageScale, parameter


class FentonKarma1998(IonicModel):
    """Fenton-Karma; the defaults are MLR-I.

    With H the Heaviside step, p = H(u - u_c):

    du/dt = -(J_fi + J_so + J_si)
    J_fi = -v p (1 - u)(u - u_c) / tau_d
    J_so = u (1 - p) / tau_o + p / tau_r
    J_si = -w (1 + tanh(k (u - u_csi))) / (2 tau_si)
    dv/dt = (1 - p)(1 - v) / tau_v^-(u) - p v / tau_v^+
    dw/dt = (1 - p)(1 - w) / tau_w^- - p w / tau_w^+

    Parameters
    ----------
    tau_d, tau_o, tau_r, tau_si
        Time constants of the fast inward, the outward (below and above u_c) and the slow inward current, ms.
    tau_v_plus, tau_w_plus
        Time constants with which v and w close above u_c, ms.
    tau_v_minus_above_uv, tau_v_minus_below_uv
        Time constant with which v opens below u_c: between u_v and u_c, and below u_v, ms.
    tau_w_minus
        Time constant with which w opens below u_c, ms.
    u_c, u_v, u_csi
        Thresholds of excitation, of the opening of v, and of the slow inward current, dimensionless.
    k
        Steepness of the slow inward current, dimensionless.
    gate_width
        Width of the thresholds in u; 0 (default) is the exact Heaviside; `smooth_width` is the width we recommend, and
        docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = ("v", "w")
    scale: ClassVar[VoltageScale] = VoltageScale(-85.0, 100.0)
    smooth_width: ClassVar[float] = 0.005

    tau_d: Any = parameter(1 / 5.8)
    tau_o: Any = parameter(12.5)
    tau_r: Any = parameter(130.0)
    tau_si: Any = parameter(127.0)
    tau_v_plus: Any = parameter(10.0)
    tau_v_minus_above_uv: Any = parameter(18.2)
    tau_v_minus_below_uv: Any = parameter(18.2)
    tau_w_plus: Any = parameter(1020.0)
    tau_w_minus: Any = parameter(80.0)
    u_c: Any = parameter(0.13)
    u_v: Any = parameter(0.04)
    u_csi: Any = parameter(0.85)
    k: Any = parameter(10.0)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width)

    @classmethod
    def beeler_reuter(cls) -> "FentonKarma1998":
        """BR: fitted to the Beeler-Reuter model (Table I)."""
        return cls(
            tau_d=1 / 4, tau_o=12.5, tau_r=33.33, tau_si=29.0, tau_v_plus=3.33, tau_v_minus_above_uv=1250.0,
            tau_v_minus_below_uv=19.6, tau_w_plus=870.0, tau_w_minus=41.0, u_v=0.04,
        )  # fmt: skip

    @classmethod
    def modified_beeler_reuter(cls) -> "FentonKarma1998":
        """MBR: fitted to the Beeler-Reuter model with faster calcium (Table I)."""
        return cls(
            tau_d=1 / 4, tau_o=8.3, tau_r=50.0, tau_si=45.0, tau_v_plus=3.33, tau_v_minus_above_uv=1000.0,
            tau_v_minus_below_uv=19.2, tau_w_plus=667.0, tau_w_minus=11.0, u_v=0.055,
        )  # fmt: skip

    @classmethod
    def modified_luo_rudy(cls) -> "FentonKarma1998":
        """MLR-I: fitted to the Luo-Rudy 1991 model with faster calcium (Table I); u_v does not matter."""
        return cls()

    @classmethod
    def guinea_pig(cls) -> "FentonKarma1998":
        """GP: fitted to optical recordings of guinea-pig ventricles (Table I)."""
        return cls(
            tau_d=1 / 8.7, tau_o=12.5, tau_r=25.0, tau_si=22.22, tau_v_plus=10.0, tau_v_minus_above_uv=333.0,
            tau_v_minus_below_uv=40.0, tau_w_plus=1000.0, tau_w_minus=65.0, u_v=0.025,
        )  # fmt: skip

    @classmethod
    def atrial(cls) -> "FentonKarma1998":
        """MLR-I with tau_d rounded to 0.172 ms, a set that public codes label right atrium."""
        return cls(tau_d=0.172)

    @property
    def is_smooth(self) -> bool:
        """Whether the thresholds have a width."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At u = 0, v = w = 1."""
        return 0.0, (1.0, 1.0)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of u, v and w."""
        u, (fast, slow) = v, states
        over = u - self.u_c
        opening = switch(
            u - self.u_v,
            above=1.0 / self.tau_v_minus_above_uv,
            below=1.0 / self.tau_v_minus_below_uv,
            width=self.gate_width,
        )
        excited = fast * (1.0 - u) * over * (1.0 / self.tau_d) - 1.0 / self.tau_r
        current = self._switch(over, excited, -u * (1.0 / self.tau_o))
        dv = self._switch(over, -fast * (1.0 / self.tau_v_plus), (1.0 - fast) * opening)
        dw = self._switch(over, -slow * (1.0 / self.tau_w_plus), (1.0 - slow) * (1.0 / self.tau_w_minus))
        slow_inward = slow * jax.lax.logistic(2.0 * self.k * (u - self.u_csi)) * (1.0 / self.tau_si)
        return current + slow_inward, (dv, dw)

    def _switch(self, x: Any, above: Any, below: Any) -> Any:
        return switch(x, above=above, below=below, width=self.gate_width)
