"""What a membrane model is: parameters, states, rates."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np


def _as_parameter(value: Any) -> Any:
    """Keep JAX arrays and tracers; anything else becomes a float64 NumPy array, so that no digit is lost."""
    return value if isinstance(value, jax.Array) else np.asarray(value, dtype=np.float64)


def parameter(default: float) -> Any:
    """A physical parameter of a model: a scalar or one value per cell, a leaf of the model as a pytree."""
    return eqx.field(converter=_as_parameter, default_factory=lambda: np.asarray(default, dtype=np.float64))


class Gate(NamedTuple):
    """A state that relaxes: dx/dt = (steady - x) / tau, tau in ms. Stepped by Rush & Larsen 1978."""

    steady: Any
    tau: Any


class VoltageScale(NamedTuple):
    """Transmembrane potential in mV = rest + amplitude * v, v in the model's own unit."""

    rest: float = 0.0
    amplitude: float = 1.0

    def to_mv(self, v: Any) -> Any:
        """Model unit to mV."""
        return self.rest + self.amplitude * v

    def from_mv(self, vm: Any) -> Any:
        """MV to model unit."""
        return (vm - self.rest) / self.amplitude


class IonicModel(eqx.Module):
    """Currents and gates of one kind of cell; subclasses are final.

    dv/dt = rates(v, states).v + stimulus, v in the model's own unit (`scale` turns it into mV), time in ms. All
    parameters are fields made by `parameter`: scalars, or arrays with one value per cell.

    The methods are written for one cell, with `jax.numpy` and without Python branches on values, so that they can be
    differentiated, mapped over cells and turned into a fused kernel. Singular voltages are guarded by a double `where`.
    """

    #: Names of the states besides v, in the order of `rest` and `rates`.
    states: ClassVar[tuple[str, ...]]
    #: How v becomes mV.
    scale: ClassVar[VoltageScale] = VoltageScale()
    #: Recommended `gate_width` of a model with thresholds, model unit; 0 where there are none.
    smooth_width: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def is_smooth(self) -> bool:
        """Whether derivatives of the rates exist everywhere (no Heaviside gates), so that gradients are right."""

    @abstractmethod
    def rest(self) -> tuple[Any, tuple[Any, ...]]:
        """Potential (model unit) and states at rest: what a cell starts from."""

    @abstractmethod
    def rates(self, v: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Rate of v without stimulus (model unit per ms), and per state its rate (1/ms) or a `Gate`."""
