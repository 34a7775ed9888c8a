"""EAND-ARN: networks for u and v, derivatives by differences on the grid, adaptive residual blocks.

Zhu, Bilchick and Xie, arXiv:2502.11378, Scientific Reports 15:31747, 2025. Theirs: numerical differentiation in place
of automatic differentiation, adaptive residual blocks, the residuals of Aliev-Panfilov cells, the data term. Ours: mesh
operators in the weak form by default, evaluation once on the whole (node x frame) grid, Laplace-Beltrami modes as
inputs, the classical solution as an additive start, the annealed weight of the physics, D from the data.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.inverse.physics.fields import Prepared
from einthoven.inverse.physics.network import (
    Blocks,
    Inputs,
    PointwiseFields,
    SeparableFields,
    surface_modes,
    waves_in_time,
)
from einthoven.inverse.physics.solver import CellSolver
from einthoven.inverse.physics.training import Schedule

#: What the pointwise network may take for the place s.
PLACES = ("modes", "coordinates")


@dataclass(frozen=True, eq=False)
class SeparableArn(CellSolver):
    """Adaptive residual networks in separable form: u = start + sum_kl f_k(s) H_kl g_l(t).

    Parameters
    ----------
    width
        K, functions of space and of time.
    blocks
        Of either network.
    n_modes
        Laplace-Beltrami modes that f takes, at most all.
    n_frequencies
        Half periods over the recording that g takes.
    warm
        Whether the fields start at the classical estimate, or at rest.
    damped
        Whether modes are damped (`damped_modes`): without physics that is all that keeps the image smooth.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=350, rate=0.005))
    name: str = "eand-arn-separable"
    width: int = 128
    blocks: Blocks = field(default_factory=Blocks)
    n_modes: int = 500
    n_frequencies: int = 32
    warm: bool = True
    damped: bool = False

    def __post_init__(self):
        check_width(self.name, self.width)

    def fields(self, prepared: Prepared, seed: int) -> SeparableFields:
        """Random networks under zero heads."""
        if self.damped:
            modes = damped_modes(prepared, self.n_modes)
        else:
            modes, _ = surface_modes(prepared.surface, self.n_modes)
        inputs = grid_inputs(prepared, modes, self.n_frequencies, warm=self.warm)
        return SeparableFields.random(jax.random.key(seed), inputs, width=self.width, blocks=self.blocks)


@dataclass(frozen=True, eq=False)
class PointwiseArn(CellSolver):
    """The published form: one adaptive residual network from (t, s) to u and v.

    Every step evaluates the network at all nodes and frames.

    Parameters
    ----------
    width, blocks
        Of the network.
    place
        What it takes for s: ``"modes"``, Laplace-Beltrami modes damped as 1 / sqrt(1 + w / w_8) with their eigenvalues
        w, or ``"coordinates"``, x, y and z.
    n_modes
        How many modes.
    n_frequencies
        Half periods over the recording taken for t.
    warm
        Whether the fields start at the classical estimate, or at rest.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=300, rate=0.003))
    name: str = "eand-arn"
    width: int = 48
    blocks: Blocks = field(default_factory=Blocks)
    place: str = "modes"
    n_modes: int = 64
    n_frequencies: int = 16
    warm: bool = True

    def __post_init__(self):
        check_width(self.name, self.width)
        if self.place not in PLACES:
            raise InputError(f"{self.name}: place must be {' or '.join(PLACES)}; got {self.place!r}.")

    def fields(self, prepared: Prepared, seed: int) -> PointwiseFields:
        """A random network under a zero head."""
        modes = self.place == "modes"
        space = damped_modes(prepared, self.n_modes) if modes else scaled_coordinates(prepared)
        inputs = grid_inputs(prepared, space, self.n_frequencies, warm=self.warm)
        return PointwiseFields.random(jax.random.key(seed), inputs, width=self.width, blocks=self.blocks)


def damped_modes(prepared: Prepared, n_modes: int) -> Float[np.ndarray, "n k"]:
    """Modes over sqrt(1 + w / w_8), so that a random network of them starts smooth; shape (n_nodes, n_modes)."""
    modes, values = surface_modes(prepared.surface, n_modes)
    return modes / np.sqrt(1 + values / values[min(7, len(values) - 1)])


def scaled_coordinates(prepared: Prepared) -> Float[np.ndarray, "n 3"]:
    """x, y and z of the nodes about their mean, the farthest coordinate 1."""
    centered = prepared.surface.points - prepared.surface.points.mean(axis=0)
    return centered / np.abs(centered).max()


def grid_inputs(prepared: Prepared, space: Float[np.ndarray, "n i"], n_frequencies: int, *, warm: bool) -> Inputs:
    """Features of nodes and frames, and where the fields start."""
    dtype = prepared.u.dtype
    time = waves_in_time(prepared.u.shape[1], n_frequencies)
    (rest,) = prepared.cost.wave.membrane.rest()[1]
    cold = jnp.zeros_like(prepared.u), jnp.full_like(prepared.v, rest)
    u, v = (prepared.u, prepared.v) if warm else cold
    return Inputs(jnp.asarray(space, dtype), jnp.asarray(time, dtype), u, v)


def check_width(name: str, width: int) -> None:
    """Raise `InputError` for a network without width."""
    if width < 1:
        raise InputError(f"{name}: width must be at least 1; got {width!r}.")
