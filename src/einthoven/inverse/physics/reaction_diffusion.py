"""Residuals of a two-variable reaction-diffusion wave on the (node x frame) grid of a surface.

For u (model unit) and the recovery variable v at nodes and frames, with the membrane's rates f and g,

    r_u = T sqrt(m / mean m) (du/dt + D A u - f(u, v))          r_v = T sqrt(m / mean m) (dv/dt - g(u, v))

A is M^-1 K (linear elements with a lumped mass M: the weak form M du/dt + D K u - M f, scaled by M^-1/2), or minus the
edge-length Laplacian of the imaging papers, which is not consistent. The time derivative is the five-point difference
of fourth order: symmetric inside, one-sided at the first two and the last two frames, where it is of fourth order too
but with larger constants. T is one over the membrane's steepest upstroke, so that residuals are numbers of order one
where a front is, and say the same for every membrane (Aliev-Panfilov's own unit of time differs from it by 1 %).
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse
from scipy.spatial import KDTree

from einthoven.core import InputError, Recording, Surface
from einthoven.geometry.operators import (
    check_no_isolated,
    edge_length_laplacian,
    node_areas,
    node_normals,
    stiffness,
)
from einthoven.inverse.physics.waves import excitation
from einthoven.ionic import Gate, IonicModel
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.signals.sampling import sample_interval

Number = float | int

#: How the Laplacian may be made.
LAPLACIANS = ("weak", "edge-length")

#: u'(t_i) h from u(t_0) .. u(t_4), i = 0, 1, 2 (fourth order); those of the last two frames mirror the first.
STENCIL = np.array([[-25.0, 48.0, -36.0, 16.0, -3.0], [-3.0, -10.0, 18.0, -6.0, 1.0], [1.0, -8.0, 0.0, 8.0, -1.0]]) / 12


class SparseRows(eqx.Module):
    """A sparse square matrix as a table of neighbors, with its transpose for derivatives.

    Parameters
    ----------
    index, weight
        Column and value of the k-th entry of every row, zero-padded.
    index_t, weight_t
        The same of the transpose.
    pushes
        Whether derivatives are pushed forward (`jax.jvp`) in place of being pulled back, which is what the transpose is
        for.
    """

    index: Int[Array, "k n"]
    weight: Float[Array, "k n"]
    index_t: Int[Array, "l n"]
    weight_t: Float[Array, "l n"]
    pushes: bool = eqx.field(static=True, default=False)

    @classmethod
    def of(cls, matrix: sparse.csr_array, dtype: str) -> "SparseRows":
        """The table of a matrix."""
        tables = [_table(sparse.csr_array(m)) for m in (matrix, matrix.T)]
        (i, w), (it, wt) = [(jnp.asarray(i), jnp.asarray(w, dtype)) for i, w in tables]
        return cls(i, w, it, wt)

    def __matmul__(self, x: Float[Array, "n t"]) -> Float[Array, "n t"]:
        """The product; its derivative is the product with the transpose."""
        if self.pushes:
            return _apply((self.index, self.weight), x)
        return _product((self.index, self.weight), (self.index_t, self.weight_t), x)


class ReactionDiffusion(eqx.Module):
    """Residuals of a wave of one membrane on one surface, at uniformly spaced frames.

    Parameters
    ----------
    membrane
        Two variables, smooth; parameters are numbers.
    negative_laplacian
        diag(root) A.
    root
        sqrt(m / mean m), shape (n, 1).
    step
        Between frames, ms.
    unit
        T, ms.
    floor
        u is not taken below this in the rates (halfway to the pole of Aliev-Panfilov's).
    """

    membrane: IonicModel
    negative_laplacian: SparseRows
    root: Float[Array, "n 1"]
    step: Float[Array, ""]
    unit: Float[Array, ""]
    floor: Float[Array, ""]

    @classmethod
    def on(
        cls,
        surface: Surface,
        membrane: IonicModel,
        *,
        step: float,
        laplacian: str = "weak",
        wall: Number | None = None,
        dtype: str = "float32",
    ) -> "ReactionDiffusion":
        """The residuals on a surface.

        Parameters
        ----------
        surface
            Closed or open (no flux through its border).
        membrane
            For example `einthoven.inverse.physics.waves.imaging_cells`.
        step
            Between frames, ms.
        laplacian
            ``"weak"`` (linear elements) or ``"edge-length"``.
        wall
            Largest thickness of a wall across which the wave goes too, mm (`across`); None: it does not.
        dtype
            ``"float32"``, or ``"float64"`` within `jax.enable_x64`.

        Raises
        ------
        InputError
            If the membrane is unsuitable or not smooth, the Laplacian unknown, or a node has no triangle.
        """
        check_membrane(membrane)
        check_no_isolated(surface)
        check_precision(dtype)
        area = node_areas(surface)
        root = np.sqrt(area / area.mean())
        if laplacian not in LAPLACIANS:
            raise InputError(f"laplacian must be 'weak' or 'edge-length'; got {laplacian!r}.")
        if laplacian == "weak":
            scaled = sparse.diags_array(root / area) @ stiffness(surface)
        else:
            scaled = sparse.diags_array(-root) @ edge_length_laplacian(surface)
        if wall is not None:
            scaled = scaled + sparse.diags_array(root / area) @ across(surface, wall)
        real = partial(jnp.asarray, dtype=dtype)
        return cls(
            membrane=jax.tree.map(real, membrane),
            negative_laplacian=SparseRows.of(sparse.csr_array(scaled), dtype),
            root=real(root[:, None]),
            step=real(step),
            unit=real(1 / excitation(membrane).steepest),
            floor=real(_floor(membrane)),
        )

    def __call__(
        self, u: Float[Array, "n t"], v: Float[Array, "n t"], diffusivity: Any
    ) -> tuple[Float[Array, "n t"], Float[Array, "n t"]]:
        """Residuals r_u and r_v, dimensionless; zero for an exact wave.

        Parameters
        ----------
        u, v
            Potential and recovery variable, model unit; at least five frames.
        diffusivity
            D, mm2/ms.
        """
        f, g = self.rates(u, v)
        scale = self.unit * self.root
        spread = self.unit * diffusivity * (self.negative_laplacian @ u)
        return scale * (time_derivative(u, self.step) - f) + spread, scale * (time_derivative(v, self.step) - g)

    def pushing(self) -> "ReactionDiffusion":
        """The same residuals for `jax.jvp`."""
        rows = self.negative_laplacian
        pushed = SparseRows(rows.index, rows.weight, rows.index_t, rows.weight_t, pushes=True)
        return eqx.tree_at(lambda w: w.negative_laplacian, self, pushed)

    def rates(self, u: Float[Array, "..."], v: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Rates f and g of the membrane, 1/ms, u kept above the pole."""
        return membrane_rates(self.membrane, jnp.maximum(u, self.floor), v)

    def recovery(self, u: Float[Array, "n t"], *, first: Any = None, substeps: int = 4) -> Float[Array, "n t"]:
        """Return v from its own equation along a given u.

        u is taken between its rest and its peak, linearly between frames; Heun's method.

        Parameters
        ----------
        u
            Potential, model unit.
        first
            v at the first frame, a number or one per node; default: at rest.
        substeps
            Per frame.
        """
        inside = jnp.clip(u, 0.0, 1.0).T
        start = self.membrane.rest()[1][0] if first is None else first
        h = self.step / substeps

        def advance(v: Any, ends: Any) -> tuple[Any, Any]:
            before, after = ends
            for k in range(substeps):
                here, there = (before + (after - before) * (j / substeps) for j in (k, k + 1))
                first = self.rates(here, v)[1]
                v = v + h / 2 * (first + self.rates(there, v + h * first)[1])
            return v, v

        begin = jnp.broadcast_to(jnp.asarray(start, inside.dtype), inside[0].shape)
        _, rest = jax.lax.scan(advance, begin, (inside[:-1], inside[1:]))
        return jnp.concatenate([begin[None], rest]).T


def across(surface: Surface, thickness: Number) -> sparse.csr_array:
    """What a wall adds to the stiffness of its closed surface: u^T K u = sum over pairs m (u_i - u_j)^2 / w^2.

    A node's partner is the nearest node that faces the other way (normals over 120 degrees apart) and lies inwards
    (within 45 degrees of the normal); w is their distance, m the node's area. Linear elements of one layer: where both
    nodes are each other's partner, u_i changes at 2 D (u_j - u_i) / w^2, as the node stands for half of the wall.

    Parameters
    ----------
    surface
        Closed, normals outwards.
    thickness
        Largest distance of partners, mm.

    Raises
    ------
    InputError
        If the thickness is not positive.
    """
    if not 0 < thickness < np.inf:
        raise InputError(f"{surface.name}: the thickness of its wall must be positive; got {thickness!r}.")
    points, facing = surface.points, node_normals(surface)
    pairs = KDTree(points).query_pairs(thickness, output_type="ndarray")
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    way = points[pairs[:, 1]] - points[pairs[:, 0]]
    length = np.linalg.norm(way, axis=1)
    apart = np.einsum("kx,kx->k", facing[pairs[:, 0]], facing[pairs[:, 1]]) < -0.5
    inwards = np.einsum("kx,kx->k", facing[pairs[:, 0]], way) < -np.sqrt(0.5) * length
    keep = np.flatnonzero(apart & inwards)
    keep = keep[np.lexsort((length[keep], pairs[keep, 0]))]
    node, first = np.unique(pairs[keep, 0], return_index=True)
    partner, weight = pairs[keep, 1][first], node_areas(surface)[node] / length[keep][first] ** 2
    links = sparse.csr_array((weight, (node, partner)), shape=(len(points), len(points)))
    links = links + links.T
    return sparse.csr_array(sparse.diags_array(links.sum(axis=1)) - links)


def time_derivative(x: Float[Array, "n t"], step: Any) -> Float[Array, "n t"]:
    """Five-point difference of fourth order along the frames, one-sided at the first two and the last two.

    Parameters
    ----------
    x
        At least five frames.
    step
        Between frames.
    """
    edge, mirrored = jnp.asarray(STENCIL[:2].T, x.dtype), jnp.asarray(-STENCIL[1::-1, ::-1].T, x.dtype)
    inner = (x[:, :-4] - x[:, 4:] + 8 * (x[:, 3:-1] - x[:, 1:-3])) / 12
    return jnp.concatenate([x[:, :5] @ edge, inner, x[:, -5:] @ mirrored], axis=1) / step


def frame_step(recording: Recording) -> float:
    """The uniform interval of a recording's frames, ms.

    Raises
    ------
    InputError
        If frames are not uniform, or fewer than five.
    """
    if recording.n_times < 5:
        raise InputError(
            f"imaging with cell physics needs at least 5 frames for its time derivative; got {recording.n_times}."
        )
    return sample_interval(recording)


def check_membrane(membrane: IonicModel) -> None:
    """Raise `InputError` unless the membrane has two variables, numbers for parameters, and derivatives."""
    excitation(membrane)
    if not membrane.is_smooth:
        name = type(membrane).__name__
        raise InputError(
            f"imaging differentiates the membrane, and {name} has a gate without width; give it one, "
            f"{name}(gate_width={membrane.smooth_width:g})."
        )


def check_precision(dtype: str) -> None:
    """Raise `InputError` unless JAX can compute in this precision now."""
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    if dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError("float64 needs JAX's 64-bit mode. Work inside `with jax.enable_x64(True):`, or use float32.")


def membrane_rates(membrane: IonicModel, u: Any, v: Any) -> tuple[Any, Any]:
    """Rates of both variables, 1/ms, whether the recovery variable is a plain rate or a gate."""
    du, (recovery,) = membrane.rates(u, (v,))
    return du, (recovery.steady - v) / recovery.tau if isinstance(recovery, Gate) else recovery


def _floor(membrane: IonicModel) -> float:
    """Least u in the rates: halfway between rest and the pole at -mu2, if there is one."""
    return -0.5 * float(membrane.mu2) if isinstance(membrane, AlievPanfilov1996) else -np.inf


def _table(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values, each of shape (largest row, n); padded with the row itself and zero."""
    counts = np.diff(matrix.indptr)
    n = len(counts)
    rows = np.repeat(np.arange(n), counts)
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    index, weight = np.tile(np.arange(n), (counts.max(), 1)), np.zeros((counts.max(), n))
    index[place, rows], weight[place, rows] = matrix.indices, matrix.data
    return index, weight


def _apply(table: tuple[Array, Array], x: Array) -> Array:
    index, weight = table
    total = weight[0][:, None] * x[index[0]]
    for k in range(1, len(index)):
        total = total + weight[k][:, None] * x[index[k]]
    return total


@jax.custom_vjp
def _product(forward: tuple[Array, Array], transposed: tuple[Array, Array], x: Array) -> Array:
    return _apply(forward, x)


def _product_forward(forward: Any, transposed: Any, x: Any) -> tuple[Array, Any]:
    return _apply(forward, x), (forward, transposed)


def _product_backward(tables: Any, cotangent: Any) -> tuple[Any, Any, Array]:
    """Tables are constants: their derivatives are not asked for."""
    forward, transposed = tables
    return _nothing(forward), _nothing(transposed), _apply(transposed, cotangent)


def _nothing(table: Any) -> Any:
    index, weight = table
    return np.zeros(index.shape, jax.dtypes.float0), jnp.zeros_like(weight)


_product.defvjp(_product_forward, _product_backward)
