"""Networks for the fields u and v: adaptive residual blocks, pointwise in (t, s) or separable.

A block computes x+ = alpha h(x) + (1 - alpha) x with h two tanh layers and one trainable alpha that starts at 0, so
that the network starts as its linear embedding (Wang, Li, Chen and Perdikaris 2024, arXiv:2402.00326; the skip
connections of EAND-ARN, arXiv:2502.11378, are trainable too). Of the same depth and without adaptive skips are the
residual block x+ = x + h(x) and the plain one x+ = h(x). Heads start at zero: the fields start as the offset that is
given.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import InputError, Surface
from einthoven.geometry.operators import node_areas, stiffness

#: Kinds of blocks, by how the input is carried past them.
SKIPS = ("adaptive", "residual", "none")


class Block(eqx.Module):
    """Two tanh layers h and a skip: alpha h(x) + (1 - alpha) x, x + h(x), or h(x)."""

    first: Float[Array, "w w"]
    first_bias: Float[Array, " w"]
    second: Float[Array, "w w"]
    second_bias: Float[Array, " w"]
    alpha: Float[Array, ""]
    skip: str = eqx.field(static=True, default="adaptive")

    @classmethod
    def random(cls, key: Any, width: int, dtype: str, skip: str = "adaptive") -> "Block":
        """Weights of variance 1 / width, biases and alpha zero."""
        one, two = jax.random.split(key)
        first, second = (random_weights(k, (width, width), dtype) for k in (one, two))
        zero = jnp.zeros(width, dtype)
        return cls(first, zero, second, zero, jnp.zeros((), dtype), skip)

    def __call__(self, x: Float[Array, "... w"]) -> Float[Array, "... w"]:
        """Features after the block."""
        h = jnp.tanh(jnp.tanh(x @ self.first + self.first_bias) @ self.second + self.second_bias)
        if self.skip == "none":
            return h
        return x + h if self.skip == "residual" else x + self.alpha * (h - x)


@dataclass(frozen=True)
class Blocks:
    """How many blocks, and how the input is carried past them (`SKIPS`)."""

    number: int = 3
    skip: str = "adaptive"

    def __post_init__(self):
        if self.number < 0 or self.skip not in SKIPS:
            raise InputError(
                f"a network has 0 blocks or more, with a skip that is {', '.join(SKIPS)}; got {self.number!r} and "
                f"{self.skip!r}."
            )


class Trunk(eqx.Module):
    """A linear embedding, a tanh if wanted, and adaptive blocks."""

    embedding: Float[Array, "i w"]
    bias: Float[Array, " w"]
    blocks: tuple[Block, ...]
    squashed: bool = eqx.field(static=True)

    @classmethod
    def random(cls, key: Any, n_inputs: int, width: int, *, blocks: "Blocks", squashed: bool, dtype: str) -> "Trunk":
        """Random weights of variance 1 / inputs."""
        first, *rest = jax.random.split(key, 1 + blocks.number)
        made = tuple(Block.random(k, width, dtype, blocks.skip) for k in rest)
        return cls(random_weights(first, (n_inputs, width), dtype), jnp.zeros(width, dtype), made, squashed)

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n w"]:
        """Features of every row."""
        x = x @ self.embedding + self.bias
        x = jnp.tanh(x) if self.squashed else x
        for block in self.blocks:
            x = block(x)
        return x


class Inputs(eqx.Module):
    """What is not trained: features of nodes and frames, and the fields the network is added to."""

    space: Float[Array, "n i"]
    time: Float[Array, "t j"]
    u: Float[Array, "n t"]
    v: Float[Array, "n t"]


class SeparableFields(eqx.Module):
    """u = u_0 + sum_kl f_k(s) H_kl g_l(t) / sqrt(K), v alike, with the same f and g.

    Parameters
    ----------
    fixed
        Features and offsets.
    space, time
        Networks f and g.
    head_u, head_v
        H of either field.
    """

    fixed: Inputs
    space: Trunk
    time: Trunk
    head_u: Float[Array, "k k"]
    head_v: Float[Array, "k k"]

    @classmethod
    def random(cls, key: Any, inputs: Inputs, *, width: int, blocks: Blocks) -> "SeparableFields":
        """Zero heads: the fields are the offsets."""
        dtype = str(inputs.u.dtype)
        one, two = jax.random.split(key)
        space = Trunk.random(one, inputs.space.shape[1], width, blocks=blocks, squashed=False, dtype=dtype)
        time = Trunk.random(two, inputs.time.shape[1], width, blocks=blocks, squashed=True, dtype=dtype)
        return cls(inputs, space, time, jnp.zeros((width, width), dtype), jnp.zeros((width, width), dtype))

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v."""
        f, g = self.space(self.fixed.space), self.time(self.fixed.time).T
        scale = float(1 / np.sqrt(len(g)))
        u, v = (offset + scale * (f @ (head @ g)) for offset, head in self._parts())
        return u, v

    def _parts(self) -> Any:
        return (self.fixed.u, self.head_u), (self.fixed.v, self.head_v)

    def trained(self) -> Any:
        """All but the inputs."""
        return _all_but_fixed(self)


class PointwiseFields(eqx.Module):
    """(u, v)(t, s) = (u_0, v_0) + head(blocks(tanh(W_s s + W_t t + b))), evaluated once on the grid.

    Parameters
    ----------
    fixed
        Features and offsets.
    trunk
        The network of the joint features (space first).
    head, head_bias
        Linear, to u and v.
    """

    fixed: Inputs
    trunk: Trunk
    head: Float[Array, "w 2"]
    head_bias: Float[Array, " 2"]

    @classmethod
    def random(cls, key: Any, inputs: Inputs, *, width: int, blocks: Blocks) -> "PointwiseFields":
        """Zero head: the fields are the offsets."""
        dtype = str(inputs.u.dtype)
        n_inputs = inputs.space.shape[1] + inputs.time.shape[1]
        trunk = Trunk.random(key, n_inputs, width, blocks=blocks, squashed=True, dtype=dtype)
        return cls(inputs, trunk, jnp.zeros((width, 2), dtype), jnp.zeros(2, dtype))

    def __call__(self) -> tuple[Any, Any]:
        """Fields u and v; the embedding of (t, s) is the sum of one of s and one of t."""
        n = self.fixed.space.shape[1]
        along_space = self.fixed.space @ self.trunk.embedding[:n]
        along_time = self.fixed.time @ self.trunk.embedding[n:] + self.trunk.bias
        x = jnp.tanh(along_space[:, None] + along_time[None])
        for block in self.trunk.blocks:
            x = block(x)
        out = x @ self.head + self.head_bias
        return self.fixed.u + out[..., 0], self.fixed.v + out[..., 1]

    def trained(self) -> Any:
        """All but the inputs."""
        return _all_but_fixed(self)


def surface_modes(surface: Surface, n_modes: int) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " k"]]:
    """Laplace-Beltrami eigenfunctions of a surface with mean square 1, the constant left out, and eigenvalues, 1/mm2.

    Inputs for networks that know the surface (Sahli Costabal, Pezzuto and Perdikaris 2022, arXiv:2209.03984). Signs are
    fixed by the largest entry, so that the result does not depend on the LAPACK in use.

    Parameters
    ----------
    surface
        Any surface.
    n_modes
        How many; at most all of them.
    """
    from scipy.linalg import eigh

    if n_modes < 1:
        raise InputError(f"surface modes: there must be at least one; got {n_modes!r}.")
    area = node_areas(surface)
    root = np.sqrt(area)
    scaled = stiffness(surface).toarray() / root[:, None] / root[None]
    last = min(n_modes, surface.n_points - 1)
    values, vectors = eigh(scaled, subset_by_index=[1, last], overwrite_a=True)
    modes = vectors / root[:, None] * np.sqrt(area.sum())
    signs = np.sign(modes[np.abs(modes).argmax(axis=0), np.arange(last)])
    return modes * signs, values


def waves_in_time(n_times: int, n_frequencies: int) -> Float[np.ndarray, "t j"]:
    """Cosines and sines of half periods over the recording, and time itself from -1 to 1: shape (t, 2 n + 1)."""
    t = np.linspace(-1.0, 1.0, n_times)[:, None]
    phase = np.pi / 2 * t * np.arange(1, n_frequencies + 1)
    return np.hstack([np.cos(phase), np.sin(phase), t])


def random_weights(key: Any, shape: tuple[int, int], dtype: str) -> Array:
    """Normal weights of variance 1 over the rows."""
    return jax.random.normal(key, shape, dtype) / float(np.sqrt(shape[0]))


def _all_but_fixed(fields: Any) -> Any:
    everything = jax.tree.map(eqx.is_inexact_array, fields)
    return eqx.tree_at(lambda f: f.fixed, everything, jax.tree.map(lambda _: False, fields.fixed))
