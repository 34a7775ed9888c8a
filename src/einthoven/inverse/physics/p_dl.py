"""P-DL: a network of (x, y, z, t) whose derivatives are those of automatic differentiation.

Xie and Yao, IEEE Transactions on Automation Science and Engineering 20:151, 2023, arXiv:2107.12780: the predecessor of
EAND-ARN. u and v are a plain tanh network; the residuals

    r_u = T (du/dt - D (u_xx + u_yy + u_zz) - f(u, v))          r_v = T (dv/dt - g(u, v))

are taken at points drawn anew at every step, nodes of the heart at any time, and the data at frames drawn anew. The
Laplacian is that of space: off the surface the network is free, and nothing keeps it from bending there. Theirs:
network, residuals, automatic differentiation. Ours: numbers per step, weights, D from the classical estimate as for all
solvers here.
"""

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import InputError
from einthoven.inverse.physics.eand_arn import check_width, scaled_coordinates
from einthoven.inverse.physics.fields import Cost, Parts, Prepared
from einthoven.inverse.physics.network import Blocks, Trunk, random_weights
from einthoven.inverse.physics.solver import CellSolver
from einthoven.inverse.physics.training import Schedule


class CoordinateFields(eqx.Module):
    """(u, v)(x, y, z, t): a network that can be differentiated by its inputs.

    Parameters
    ----------
    space
        Scaled coordinates of the nodes.
    time
        Scaled times of the frames, -1 to 1.
    trunk
        The network.
    head, head_bias
        Linear, to u and v.
    """

    space: Float[Array, "n 3"]
    time: Float[Array, " t"]
    trunk: Trunk
    head: Float[Array, "w 2"]
    head_bias: Float[Array, " 2"]

    @classmethod
    def random(cls, key: Any, space: Any, time: Any, *, width: int, blocks: Blocks) -> "CoordinateFields":
        """Random weights."""
        dtype = str(space.dtype)
        one, two = jax.random.split(key)
        trunk = Trunk.random(one, 4, width, blocks=blocks, squashed=True, dtype=dtype)
        return cls(space, time, trunk, random_weights(two, (width, 2), dtype), jnp.zeros(2, dtype))

    def at(self, z: Float[Array, "p 4"]) -> Float[Array, "p 2"]:
        """Fields u and v at points (x, y, z, t), scaled."""
        return self.trunk(z) @ self.head + self.head_bias

    def frames(self, index: Any) -> Float[Array, "n k 2"]:
        """Fields u and v at all nodes and the frames of some numbers."""
        n, k = len(self.space), len(index)
        space = jnp.broadcast_to(self.space[:, None], (n, k, 3))
        time = jnp.broadcast_to(self.time[index][None, :, None], (n, k, 1))
        return self.at(jnp.concatenate([space, time], axis=-1).reshape(n * k, 4)).reshape(n, k, 2)

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v on the grid."""
        out = self.frames(jnp.arange(len(self.time)))
        return out[..., 0], out[..., 1]

    def trained(self) -> Any:
        """The network."""
        everything = jax.tree.map(lambda _: True, self)
        return eqx.tree_at(lambda f: (f.space, f.time), everything, (False, False))


class CoordinateCost(eqx.Module):
    """J with the residuals by automatic differentiation, estimated from points and frames drawn at random.

    Parameters
    ----------
    grid
        The cost on the grid, whose data, membrane and D it takes.
    length, duration
        What 1 of the scaled coordinates and times is, mm and ms.
    n_points, n_frames
        Drawn at every step.
    """

    grid: Cost
    length: Float[Array, ""]
    duration: Float[Array, ""]
    n_points: int = eqx.field(static=True)
    n_frames: int = eqx.field(static=True)

    @property
    def data(self) -> Float[Array, "r t"]:
        """Rotated data."""
        return self.grid.data

    def of_fields(self, fields: CoordinateFields, tolerance: Any, key: Any) -> tuple[Any, Parts]:
        """An unbiased estimate of J."""
        one, two, three = jax.random.split(key, 3)
        n, t = len(fields.space), len(fields.time)
        index = jax.random.randint(one, (self.n_frames,), 0, t)
        left = self.data[:, index] - self.grid.matrix @ fields.frames(index)[..., 0]
        misfit = jnp.sum(left**2) * (t / self.n_frames)
        node = jax.random.randint(two, (self.n_points,), 0, n)
        when = jax.random.uniform(three, (self.n_points, 1), fields.time.dtype, -1.0, 1.0)
        r_u, r_v = self.residuals(fields, jnp.concatenate([fields.space[node], when], axis=1))
        physics = (jnp.sum(r_u**2) + jnp.sum(r_v**2)) * (n * t / self.n_points)
        total = 0.5 * misfit + 0.5 * physics / tolerance**2
        return total, Parts(misfit / self.data.size, jnp.sqrt(physics / (2 * n * t)))

    def residuals(self, fields: CoordinateFields, z: Float[Array, "p 4"]) -> tuple[Any, Any]:
        """Residuals r_u and r_v at points (x, y, z, t), scaled."""
        eye = jnp.eye(4, dtype=z.dtype)
        value, slope_t = _along(fields.at, z, eye[3])
        curved = [_along(lambda y, e=e: _along(fields.at, y, e)[1], z, e)[1][:, 0] for e in eye[:3]]
        wave, (u, v) = self.grid.wave, value.T
        f, g = wave.rates(u, v)
        spread = self.grid.diffusivity * sum(curved) / self.length**2
        r_u = wave.unit * (slope_t[:, 0] / self.duration - spread - f)
        return r_u, wave.unit * (slope_t[:, 1] / self.duration - g)


@dataclass(frozen=True, eq=False)
class PDL(CellSolver):
    """Physics-constrained deep learning: a network of coordinates and time, automatic differentiation, from scratch.

    Parameters
    ----------
    width, blocks
        Of the network: the published one has plain layers.
    n_points, n_frames
        Points of the residuals and frames of the data drawn at every step.

    References
    ----------
    Xie and Yao 2023, arXiv:2107.12780.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=3000, rate=0.002, tolerances=(0.3, 0.3)))
    name: str = "p-dl"
    width: int = 32
    blocks: Blocks = field(default_factory=lambda: Blocks(2, "none"))
    n_points: int = 600
    n_frames: int = 6

    def __post_init__(self):
        check_width(self.name, self.width)
        if self.n_points < 1 or self.n_frames < 1:
            raise InputError(
                f"{self.name}: every step takes at least one point and one frame; got {self.n_points!r} and "
                f"{self.n_frames!r}."
            )

    def fields(self, prepared: Prepared, seed: int) -> CoordinateFields:
        """A random network."""
        dtype = prepared.u.dtype
        space = jnp.asarray(scaled_coordinates(prepared), dtype)
        time = jnp.linspace(-1.0, 1.0, prepared.u.shape[1], dtype=dtype)
        return CoordinateFields.random(jax.random.key(seed), space, time, width=self.width, blocks=self.blocks)

    def cost(self, prepared: Prepared) -> CoordinateCost:
        """The cost by automatic differentiation."""
        points, times = prepared.surface.points, prepared.problem.recording.times
        dtype = prepared.u.dtype
        return CoordinateCost(
            grid=prepared.cost,
            length=jnp.asarray(np.abs(points - points.mean(axis=0)).max(), dtype),
            duration=jnp.asarray((times[-1] - times[0]) / 2, dtype),
            n_points=self.n_points,
            n_frames=self.n_frames,
        )


def _along(function: Any, z: Any, direction: Any) -> tuple[Any, Any]:
    """Value and derivative of a function of rows along one direction."""
    return jax.jvp(function, (z,), (jnp.broadcast_to(direction, z.shape),))
