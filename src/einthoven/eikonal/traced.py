"""`Eikonal.times` for JAX: compiled kernels behind a callback, with their reverse pass as derivative."""

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from einthoven.eikonal.wave import Eikonal


def times_of(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any) -> Any:
    """See `Eikonal.times`."""
    squared_speed, sites = _floats(squared_speed), _floats(sites)
    onsets = jnp.broadcast_to(jnp.asarray(onsets, sites.dtype), sites.shape[:-1])
    return _times(wave, squared_speed, sites, onsets)


def _floats(values: Any) -> Any:
    values = jnp.asarray(values)
    return values.astype(jnp.result_type(values, float))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _times(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any) -> Any:
    return _forward(wave, squared_speed, sites, onsets)[0]


def _forward(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any) -> Any:
    shape = jax.ShapeDtypeStruct((*sites.shape[:-2], wave.n_nodes), sites.dtype)
    solve = partial(_solve, wave, dtype=np.dtype(sites.dtype))
    times = jax.pure_callback(solve, shape, squared_speed, sites, onsets, vmap_method="sequential")
    return times, (squared_speed, sites, onsets)


def _backward(wave: "Eikonal", given: Any, adjoint: Any) -> Any:
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in given)
    pull_back = partial(_pull_back, wave)
    return jax.pure_callback(pull_back, shapes, *given, adjoint, vmap_method="sequential")


_times.defvjp(_forward, _backward)


def _solve(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any, *, dtype: np.dtype) -> np.ndarray:
    return wave.solve(*_float64(wave, squared_speed, sites, onsets)).times.astype(dtype)


def _pull_back(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any, adjoint: Any) -> tuple[np.ndarray, ...]:
    v, places, begins, values = _float64(wave, squared_speed, sites, onsets, adjoint)
    gradient = wave.solve(v, places, begins).pull_back(values)
    of_v = _in_shape(wave, gradient.squared_speed, v.shape)
    given = (squared_speed, sites, onsets)
    found = (of_v, gradient.sites, gradient.onsets)
    return tuple(np.asarray(g, dtype=np.asarray(x).dtype) for g, x in zip(found, given, strict=True))


def _in_shape(wave: "Eikonal", of_nodes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Derivatives by V in the shape in which it was given, also of all points: 0 where nothing conducts."""
    if of_nodes.size != np.prod(shape, dtype=int):
        of_points = np.zeros((wave.domain.n_points, *of_nodes.shape[1:]))
        of_points[np.asarray(wave.conducting)] = of_nodes
        of_nodes = of_points
    return of_nodes.reshape(shape)


def _float64(wave: "Eikonal", squared_speed: Any, *arrays: Any) -> list[np.ndarray]:
    """All in float64; V's tensors made symmetric, which products in float32 are not quite."""
    v = np.asarray(squared_speed, dtype=np.float64)
    if v.shape[-2:] == (wave.dimension,) * 2 and v.shape != wave._grid_shape:
        v = 0.5 * (v + np.swapaxes(v, -1, -2))
    return [v, *(np.asarray(a, dtype=np.float64) for a in arrays)]
