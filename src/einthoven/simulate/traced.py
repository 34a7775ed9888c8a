"""Parts of a simulation that JAX can differentiate: diffusion, stimulus edges, loops of bounded memory."""

from collections.abc import Callable
from math import ceil, prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from einthoven.core import InputError
from einthoven.tissue import Graph, Stencil

Numeric = Array | np.ndarray


class GridDiffusion(eqx.Module):
    """div(D grad v) on a regular grid of any dimension by shifted arrays; fields have the grid's shape.

    Parameters
    ----------
    nodes
        Flat indices of the conducting cells.
    offsets, shape
        Half of the neighborhood, and the grid.
    """

    nodes: Int[Numeric, " n_nodes"]
    offsets: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, coupling: Stencil) -> "GridDiffusion":
        """From the coupling of a tissue."""
        offsets = tuple(tuple(int(i) for i in offset) for offset in coupling.offsets)
        return cls(coupling.nodes.astype(np.int32), offsets, coupling.shape)

    @property
    def is_full(self) -> bool:
        """Whether every cell conducts."""
        return len(self.nodes) == prod(self.shape)

    def spread(self, values: Any) -> Any:
        """Values at the nodes as a field; cells that do not conduct get the first node's value."""
        if self.is_full:
            return values.reshape(self.shape)
        empty = jnp.full(prod(self.shape), jax.lax.stop_gradient(values[0]), values.dtype)
        return empty.at[self.nodes].set(values).reshape(self.shape)

    def collect(self, field: Any) -> Any:
        """Values of a field at the nodes."""
        flat = field.reshape(-1)
        return flat if self.is_full else flat[self.nodes]

    def rate(self, weights: Any, v: Any) -> Any:
        """A v, 1/ms."""
        total = jnp.zeros_like(v)
        for offset, weight in zip(self.offsets, weights, strict=True):
            here, there = self._ends(offset)
            flux = weight[here] * (v[there] - v[here])
            total = total + jnp.pad(flux, _room(offset)) - jnp.pad(flux, _room(tuple(-o for o in offset)))
        return total

    def adjoint(self, weights: Any, v: Any) -> Any:
        """A^T v, which is A v."""
        return self.rate(weights, v)

    def largest_rate(self, weights: Any) -> Any:
        """Gershgorin's bound of the spectral radius, 1/ms."""
        total = jnp.zeros(self.shape, weights.dtype)
        for offset, weight in zip(self.offsets, jnp.abs(weights), strict=True):
            here, _ = self._ends(offset)
            total = total + jnp.pad(weight[here], _room(offset))
            total = total + jnp.pad(weight[here], _room(tuple(-o for o in offset)))
        return 2.0 * total.max()

    def scaled(self, weights: Any, share: Any, factor: Any) -> Any:
        """Weights of a tissue whose diffusivity is multiplied by a factor per node; see `shares`."""
        field, rates = self.spread(factor), []
        for offset, weight, part in zip(self.offsets, weights, share, strict=True):
            here, there = self._ends(offset)
            a, b = field[here], field[there]
            rate = weight[here] * a * b / (part[here] * a + (1.0 - part[here]) * b)
            rates.append(jnp.pad(rate, _room(offset)))
        return jnp.stack(rates)

    def shares(self, diffusivity: Float[np.ndarray, "..."]) -> Float[np.ndarray, "k ..."]:
        """D_i / (D_i + D_j) of every pair, D along the offset.

        A harmonic mean of D times a factor f is then w f_i f_j / (share f_i + (1 - share) f_j). With oblique offsets,
        half: the rate is multiplied by the harmonic mean of the factors.
        """
        share = np.full((len(self.offsets), *self.shape), 0.5)
        if diffusivity.ndim not in (1, 3) or any(sum(map(abs, offset)) != 1 for offset in self.offsets):
            return share
        for part, offset in zip(share, self.offsets, strict=True):
            axis = int(np.flatnonzero(offset)[0])
            along = np.ones(prod(self.shape))
            along[np.asarray(self.nodes)] = diffusivity[:, axis, axis] if diffusivity.ndim == 3 else diffusivity
            along = along.reshape(self.shape)
            here, there = self._ends(offset)
            part[here] = along[here] / (along[here] + along[there])
        return share

    def _ends(self, offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Cells that have a neighbor at the offset, and these neighbors."""
        size = tuple(zip(offset, self.shape, strict=True))
        here = tuple(slice(max(0, -o), n - max(0, o)) for o, n in size)
        return here, tuple(slice(max(0, o), n + min(0, o)) for o, n in size)


def _room(offset: tuple[int, ...]) -> list[tuple[int, int]]:
    """Padding that puts values of the pairs of an offset back to the cells they start from."""
    return [(max(0, -o), max(0, o)) for o in offset]


class GraphDiffusion(eqx.Module):
    """div(D grad v) over lists of neighbors; fields have one value per node.

    Parameters
    ----------
    neighbors
        Shape (k, n_nodes), the node itself at unused places.
    """

    neighbors: Int[Numeric, "k n_nodes"]

    @classmethod
    def of(cls, coupling: Graph) -> "GraphDiffusion":
        """From the coupling of a tissue."""
        return cls(np.ascontiguousarray(coupling.neighbors.T))

    def spread(self, values: Any) -> Any:
        """The same."""
        return values

    def collect(self, field: Any) -> Any:
        """The same."""
        return field

    def rate(self, weights: Any, v: Any) -> Any:
        """A v, 1/ms, from weights of shape (n_nodes, k)."""
        return sum(w * (v[j] - v) for j, w in zip(self.neighbors, weights.T, strict=True))

    def adjoint(self, weights: Any, v: Any) -> Any:
        """A^T v."""
        return jax.linear_transpose(lambda x: self.rate(weights, x), v)(v)[0]

    def largest_rate(self, weights: Any) -> Any:
        """Gershgorin's bound of the spectral radius, 1/ms."""
        return 2.0 * jnp.abs(weights).sum(axis=1).max()

    def scaled(self, weights: Any, share: Any, factor: Any) -> Any:
        """Weights of a tissue whose diffusivity is multiplied by a factor per node; see `shares`."""
        a, b = factor[:, None], factor[self.neighbors.T]
        return weights * a * b / (share * a + (1.0 - share) * b)

    def shares(self, diffusivity: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n_nodes k"]:
        """As of `GridDiffusion.shares`; half where D is a tensor."""
        index = np.asarray(self.neighbors).T
        if diffusivity.ndim != 1:
            return np.full(index.shape, 0.5)
        own = diffusivity[:, None]
        return own / (own + diffusivity[index])


Diffusion = GridDiffusion | GraphDiffusion


# -- stimulus edges ---------------------------------------------------------------------------------------------------


def pulse(start: Any, stop: Any, t: Any, *, dt: float, edge: float | int) -> Any:
    """Mean over the step from t to t + dt of a pulse that rises around `start` and falls around `stop`.

    Its edges are 3 y^2 - 2 y^3 over `edge` ms, centered on start and stop; its area is stop - start for any edge and
    any place between the steps. With edge 0 it is a box, and derivatives with respect to its ends are refused.
    """
    if edge == 0:
        start, stop = _fixed(start), _fixed(stop)
    return _risen(t - start, dt, edge) - _risen(t - stop, dt, edge)


def _risen(since: Any, dt: float, edge: float | int) -> Any:
    """Mean of the rising edge over a step that begins `since` ms after the edge's center."""
    if edge == 0:
        return jnp.clip((since + dt) / dt, 0.0, 1.0)
    y, h = since / edge + 0.5, dt / edge
    early = jnp.minimum(y, 1.0)  # past the edge nothing may cancel: the mean is 1 to the last digit
    return jnp.where(y < 1.0, (_ramp(early + h) - _ramp(early)) / h, 1.0)


def _ramp(y: Any) -> Any:
    """Integral of the edge: of 0 below 0, of 3 y^2 - 2 y^3 up to 1, of 1 beyond; pieces that join with their slope."""
    inside = jnp.clip(y, 0.0, 1.0)
    return jnp.where(y <= 0.0, 0.0, jnp.where(y < 1.0, inside * inside * inside * (1.0 - 0.5 * inside), y - 0.5))


@jax.custom_jvp
def _fixed(time: Any) -> Any:
    """The same number, of which no derivative may be taken."""
    return time


def _refuse_derivative(primals: tuple, tangents: tuple) -> tuple:
    (time,), (tangent,) = primals, tangents
    if not isinstance(tangent, jax.custom_derivatives.SymbolicZero):
        raise InputError(
            "stimuli with sharp edges (edge = 0) are not differentiable with respect to onset and duration. "
            "Give them an edge, for example 0.5 ms, or keep onset and duration out of the derivative."
        )
    return time, jnp.zeros_like(time)


_fixed.defjvp(_refuse_derivative, symbolic_zeros=True)


# -- loops ------------------------------------------------------------------------------------------------------------


def nested_lengths(n: int, levels: int) -> tuple[int, ...]:
    """Lengths of nested loops that together run at least n times, as equal as can be."""
    lengths = []
    for left in range(levels, 0, -1):
        length = max(1, ceil(round(n ** (1.0 / left), 9)))
        lengths.append(length)
        n = -(-n // length)
    return tuple(lengths)


def checkpointed_scan(body: Callable, carry: Any, index: Int[np.ndarray, " n"], lengths: tuple[int, ...]) -> Any:
    """`jax.lax.scan(body, carry, index)` in nested loops of which reverse mode keeps only the carries at their starts.

    Memory of the reverse pass: sum(lengths) carries and the intermediates of one body, for one more forward pass per
    loop. ``lengths = ()`` is the plain scan, which keeps every intermediate.
    """
    if not lengths:
        return jax.lax.scan(body, carry, index)
    n, total = len(index), prod(lengths)
    if total > n:
        index, body = np.concatenate([index, np.full(total - n, -1, index.dtype)]), _idle_below_zero(body)
    carry, out = _scan_levels(body, carry, jnp.asarray(index).reshape(lengths))
    return carry, jax.tree.map(lambda x: x.reshape(total, *x.shape[len(lengths) :])[:n], out)


def _scan_levels(body: Callable, carry: Any, index: Any) -> Any:
    inner = body if index.ndim == 1 else lambda c, i: _scan_levels(body, c, i)
    return jax.lax.scan(jax.checkpoint(inner, prevent_cse=False), carry, index)


def _idle_below_zero(body: Callable) -> Callable:
    """The body, but nothing happens where the index is negative."""

    def guarded(carry, i):
        shapes = jax.eval_shape(body, carry, i)[1]
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.cond(i >= 0, lambda c: body(c, i), lambda c: (c, nothing), carry)

    return guarded


def apart(step: Any, fun: Callable, idle: Callable, *args: Any) -> Any:
    """fun(*args), compiled by itself on a CPU, where XLA else repeats costly producers for every shifted reader.

    A condition that always holds (step >= 0) but that the compiler cannot know keeps the two sides apart; measured, it
    makes a gradient on a CPU three to four times faster. Other platforms get fun(*args).
    """
    return jax.lax.platform_dependent(
        *args, cpu=lambda *a: jax.lax.cond(step >= 0, fun, idle, *a), default=lambda *a: fun(*a)
    )
