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
    sites = jnp.asarray(sites)
    onsets = jnp.broadcast_to(jnp.asarray(onsets, sites.dtype), sites.shape[:-1])
    return _times(wave, jnp.asarray(squared_speed), sites, onsets)


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
    return wave.solve(*_float64(squared_speed, sites, onsets)).times.astype(dtype)


def _pull_back(wave: "Eikonal", squared_speed: Any, sites: Any, onsets: Any, adjoint: Any) -> tuple[np.ndarray, ...]:
    v, places, begins, values = _float64(squared_speed, sites, onsets, adjoint)
    gradient = wave.solve(v, places, begins).pull_back(values)
    given = (squared_speed, sites, onsets)
    return tuple(np.asarray(g, dtype=np.asarray(x).dtype) for g, x in zip(gradient, given, strict=True))


def _float64(*arrays: Any) -> list[np.ndarray]:
    return [np.asarray(a, dtype=np.float64) for a in arrays]
