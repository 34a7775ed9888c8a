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

from einthoven.core import Capabilities, ForwardOperator, InputError, Reconstruction, Recording
from einthoven.core.progress import Progress, silent
from einthoven.inverse.physics.fields import CellPhysics, Prepared
from einthoven.inverse.physics.network import (
    Inputs,
    PointwiseFields,
    SeparableFields,
    surface_modes,
    waves_in_time,
)
from einthoven.inverse.physics.training import Schedule, train
from einthoven.inverse.physics.weak import CELLS, Imaged, imaged


@dataclass(frozen=True, eq=False)
class SeparableArn:
    """Adaptive residual networks in separable form: u = start + sum_kl f_k(s) H_kl g_l(t).

    Parameters
    ----------
    physics
        What is assumed of cells, noise and data.
    schedule
        Steps, rates and weights.
    width
        K, functions of space and of time.
    n_blocks
        Adaptive blocks in either network.
    n_modes
        Laplace-Beltrami modes that f takes, at most all.
    n_frequencies
        Half periods over the recording that g takes.
    seed
        Of the weights.
    progress
        Told about the steps.
    """

    physics: CellPhysics = field(default_factory=CellPhysics)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=400, rate=0.005))
    width: int = 128
    n_blocks: int = 3
    n_modes: int = 1000
    n_frequencies: int = 32
    seed: int = 0
    progress: Progress = silent
    capabilities: Capabilities = field(default=CELLS, init=False)
    name: str = field(default="eand-arn-separable", init=False)

    def __post_init__(self):
        _check_sizes(self.name, self.width, self.n_blocks)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> Imaged:
        """Estimate the source, with the recovery variable and the course of the training."""
        prepared = self.physics.prepare(operator, recording)
        modes, _ = surface_modes(prepared.surface, self.n_modes)
        fields = SeparableFields.random(
            jax.random.key(self.seed),
            _inputs(prepared, modes, self.n_frequencies),
            width=self.width,
            n_blocks=self.n_blocks,
        )
        trained = train(fields, prepared.cost, self.schedule, step_name=self.name, progress=self.progress)
        return imaged(prepared, trained, method=self.name)


@dataclass(frozen=True, eq=False)
class PointwiseArn:
    """The published form: one adaptive residual network from (t, s) to u and v.

    Parameters
    ----------
    physics
        What is assumed of cells, noise and data.
    schedule
        Steps, rates and weights; every step evaluates the network at all nodes and frames.
    width, n_blocks
        Of the network.
    n_modes
        Laplace-Beltrami modes taken for s, damped as 1 / sqrt(1 + w / w_8) with their eigenvalues w.
    n_frequencies
        Half periods over the recording taken for t.
    seed
        Of the weights.
    progress
        Told about the steps.
    """

    physics: CellPhysics = field(default_factory=CellPhysics)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=300, rate=0.003))
    width: int = 48
    n_blocks: int = 3
    n_modes: int = 64
    n_frequencies: int = 16
    seed: int = 0
    progress: Progress = silent
    capabilities: Capabilities = field(default=CELLS, init=False)
    name: str = field(default="eand-arn", init=False)

    def __post_init__(self):
        _check_sizes(self.name, self.width, self.n_blocks)

    def reconstruct(self, operator: ForwardOperator, recording: Recording) -> Reconstruction:
        """Estimate the source from the recording."""
        return self.image(operator, recording).reconstruction

    def image(self, operator: ForwardOperator, recording: Recording) -> Imaged:
        """Estimate the source, with the recovery variable and the course of the training."""
        prepared = self.physics.prepare(operator, recording)
        fields = PointwiseFields.random(
            jax.random.key(self.seed),
            _inputs(prepared, damped_modes(prepared, self.n_modes), self.n_frequencies),
            width=self.width,
            n_blocks=self.n_blocks,
        )
        trained = train(fields, prepared.cost, self.schedule, step_name=self.name, progress=self.progress)
        return imaged(prepared, trained, method=self.name)


def damped_modes(prepared: Prepared, n_modes: int) -> np.ndarray:
    """Modes over sqrt(1 + w / w_8), so that a random network of them starts smooth; shape (n_nodes, n_modes)."""
    modes, values = surface_modes(prepared.surface, n_modes)
    return modes / np.sqrt(1 + values / values[min(7, len(values) - 1)])


def _inputs(prepared: Prepared, space: np.ndarray, n_frequencies: int) -> Inputs:
    dtype = prepared.u.dtype
    time = waves_in_time(prepared.u.shape[1], n_frequencies)
    return Inputs(jnp.asarray(space, dtype), jnp.asarray(time, dtype), prepared.u, prepared.v)


def _check_sizes(name: str, width: int, n_blocks: int) -> None:
    if width < 1 or n_blocks < 0:
        raise InputError(f"{name}: width must be at least 1 and blocks at least 0; got {width!r} and {n_blocks!r}.")
