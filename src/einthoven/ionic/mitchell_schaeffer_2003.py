"""Mitchell & Schaeffer 2003: two currents, one gate; the duration has a closed form.

Paper: C. C. Mitchell, D. G. Schaeffer, A two-current model for the dynamics of cardiac membrane, Bulletin of
Mathematical Biology 65(5):767-793, 2003, doi:10.1016/S0092-8240(03)00041-7. Time constants and v_gate: the paper's
standard values, as public codes quote them.

The paper leaves v dimensionless; -80 + 100 v mV is our choice.
"""

from typing import Any, ClassVar

import equinox as eqx

from einthoven.ionic.functions import check_width, switch
from einthoven.ionic.model import IonicModel, VoltageScale, parameter


class MitchellSchaeffer2003(IonicModel):
    """Mitchell-Schaeffer.

    dv/dt = h v^2 (1 - v) / tau_in - v / tau_out
    dh/dt = (1 - h) / tau_open below v_gate, -h / tau_close above

    With h_min = 4 tau_in / tau_out, to leading order in tau_in / tau_close, the action potential that follows a
    diastolic interval DI lasts tau_close log(h / h_min), h = 1 - (1 - h_min) exp(-DI / tau_open).

    Parameters
    ----------
    tau_in, tau_out
        Time constants of the inward and the outward current, ms.
    tau_open, tau_close
        Time constants with which the gate opens and closes, ms.
    v_gate
        Threshold of the gate, dimensionless.
    gate_width
        Width of the gate's threshold in v; 0 (default) is the exact Heaviside; `smooth_width` is the width we
        recommend, and docs/concepts/membrane-models.md says what it costs.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    scale: ClassVar[VoltageScale] = VoltageScale(-80.0, 100.0)
    smooth_width: ClassVar[float] = 0.005

    tau_in: Any = parameter(0.3)
    tau_out: Any = parameter(6.0)
    tau_open: Any = parameter(120.0)
    tau_close: Any = parameter(150.0)
    v_gate: Any = parameter(0.13)
    gate_width: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        check_width(self.gate_width)

    @property
    def is_smooth(self) -> bool:
        """Whether the gate has a width."""
        return self.gate_width > 0

    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """At v = 0, h = 1."""
        return 0.0, (1.0,)

    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rates of v and of the gate."""
        (h,) = states
        dv = h * v * v * (1.0 - v) * (1.0 / self.tau_in) - v * (1.0 / self.tau_out)
        closing, opening = -h * (1.0 / self.tau_close), (1.0 - h) * (1.0 / self.tau_open)
        return dv, (switch(v - self.v_gate, above=closing, below=opening, width=self.gate_width),)
