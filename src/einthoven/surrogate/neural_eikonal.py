"""`neural-eikonal`: from tissue to activation times and ECG without a simulation.

The eikonal equation with the speeds of plane waves is solved once; a small convolutional network sees the tissue around
every cell and that first front, and corrects the slowness; the equation is solved again, and the error of its times
goes back through the second solution by its adjoint. The ECG follows from the times by one action potential and the
exact lead field (`einthoven.simulate.reaction_eikonal`). With the correction at zero this is the pure eikonal.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import InputError
from einthoven.core.devices import over_devices
from einthoven.eikonal import Arrival
from einthoven.surrogate.front_features import Front, feature_names, shuffled, unshuffled
from einthoven.surrogate.training import Moment

#: Size of the last layer's first weights, over those of the others.
FIRST_SIZE = 0.01

#: The logarithm of the slowness is corrected by at most this.
LARGEST = 2.0

#: Errors of the activation times above this count by their size, those below by their square, ms.
PLAIN_ERROR = 2.0


class SlownessNet(eqx.Module):
    """Convolutions over features of tissue and front; gives the logarithm of a factor of the slowness.

    They are of 3 x 3 pixels, of 3 x 3 x 3 in a slab. Outside of the tissue there are holes, as there are cells inside
    that do not conduct.
    """

    layers: tuple[eqx.nn.Conv, ...]
    last: eqx.nn.Conv
    delay: Float[Array, ""]
    factor: int = eqx.field(static=True)

    @classmethod
    def random(cls, seed: int, *, factor: int, dimension: int = 2, width: int = 32, depth: int = 3) -> "SlownessNet":
        """Random weights; the correction starts near zero.

        Parameters
        ----------
        seed
            Of the weights.
        factor
            Cells of a pixel along each axis.
        dimension
            2 for sheets, 3 for slabs.
        width, depth
            Channels, and layers before the last.
        """
        keys = jax.random.split(jax.random.PRNGKey(seed), depth + 1)
        d, sizes = dimension, [factor**dimension + len(feature_names(dimension))] + depth * [width]
        layers = tuple(eqx.nn.Conv(d, a, b, 3, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys[:-1], strict=True))
        last = eqx.nn.Conv(d, width, factor**d, 1, key=keys[-1])
        last = jax.tree.map(lambda x: FIRST_SIZE * x if eqx.is_array(x) else x, last)
        return cls(layers, last, jnp.zeros(()), factor)

    @property
    def dimension(self) -> int:
        """2 for sheets, 3 for slabs."""
        return self.last.num_spatial_dims

    def __call__(self, features: Float[Array, "c *pixels"]) -> Float[Array, "f *pixels"]:
        """Log of the slowness factor, one channel per cell of a pixel."""
        reach, holes = len(self.layers), self.factor**self.dimension
        x = jnp.pad(features, ((0, 0), *self.dimension * [(reach, reach)]))
        inner = tuple(self.dimension * [slice(reach, -reach)])
        outside = jnp.ones(x.shape[1:]).at[inner].set(0.0)
        x = x.at[:holes].add(outside)
        for layer in self.layers:
            x = jax.nn.gelu(layer(x))
        return LARGEST * jnp.tanh(self.last(x) / LARGEST)


@eqx.filter_jit
def _corrections(net: SlownessNet, features: Any) -> Float[Array, "b f *pixels"]:
    return jax.vmap(net)(features)


@eqx.filter_jit
def _pulled_back(net: SlownessNet, features: Any, adjoint: Any) -> Any:
    """Derivatives by the weights of sum(adjoint * corrections)."""
    return eqx.filter_grad(lambda n: (jax.vmap(n)(features) * adjoint).sum())(net)


def corrections(net: SlownessNet | None, front: Front) -> Float[np.ndarray, "f *pixels"]:
    """Logarithm of the slowness factor, one channel per cell of a pixel; zero without a network."""
    if net is None:
        return np.zeros((front.factor**front.dimension, *front.features.shape[1:]), np.float32)
    check_fits(net, front)
    return np.asarray(_corrections(net, front.features[None])[0])


def solve_corrected(
    net: SlownessNet | None,
    front: Front,
    correction: Float[np.ndarray, "f *pixels"],
    *,
    sites: Any = None,
    onsets: Any = None,
) -> tuple[Arrival, np.ndarray]:
    """Solve the eikonal equation with corrected slowness.

    Parameters
    ----------
    net
        Its delay is added to the onsets.
    front
        Of the tissue.
    correction
        As of `corrections`.
    sites, onsets
        mm and ms; None: those of the front.

    Returns
    -------
    tuple
        The arrival, and the squared speed it was solved with.
    """
    factor = np.exp(-2.0 * front.tissue.take(shuffled(correction, front.factor).astype(np.float64)))
    v = front.squared_speed * (factor if front.squared_speed.ndim == 1 else factor[:, None, None])
    places = front.sites if sites is None else sites
    begins = (front.onsets if onsets is None else onsets) + (0.0 if net is None else float(net.delay))
    return front.wave.solve(v, places, begins), v


def activation_times(net: SlownessNet | None, front: Front) -> Float[np.ndarray, " n_nodes"]:
    """Activation times at the nodes, ms; NaN where no wave comes.

    Parameters
    ----------
    net
        None: the eikonal equation with the speeds of plane waves.
    front
        Of the tissue.
    """
    times = solve_corrected(net, front, corrections(net, front))[0].times
    return np.maximum(times, front.at_once)


def check_fits(net: SlownessNet, front: Front) -> None:
    """Raise `InputError` unless a network is for tissue of that dimension and cells of that size."""
    kinds = {2: "sheets", 3: "slabs"}
    if net.dimension != front.dimension:
        raise InputError(
            f"neural eikonal: this network is for {kinds[net.dimension]}, the tissue is one of "
            f"{kinds[front.dimension]}: take weights trained on those."
        )
    if net.factor != front.factor:
        raise InputError(
            f"neural eikonal: this network is for pixels of {net.factor} x {net.factor} cells, the tissue has "
            f"{front.factor} x {front.factor}: take weights trained at this spacing."
        )


class FrontLearner:
    """Pseudo-Huber loss of the activation times; items are pairs of a `Front` and the true times at its nodes, ms.

    With an error e and d = `PLAIN_ERROR` it is 2 d^2 ((1 + e^2 / d^2)^(1/2) - 1): a wave that takes another way than
    the eikonal equation's is late by 20 ms in a whole region, and would weigh more than all other sheets.
    """

    def gradient(
        self, model: SlownessNet, items: Sequence[tuple[Front, np.ndarray]], moment: Moment
    ) -> tuple[float, SlownessNet]:
        """Mean loss (ms2), and its derivatives through the second solution."""
        del moment
        features = over_devices(np.stack([front.features for front, _ in items]))
        found = np.asarray(_corrections(model, features))
        adjoints, loss, by_delay = np.zeros(found.shape, np.float32), 0.0, 0.0
        for k, (front, true) in enumerate(items):
            arrival, v = solve_corrected(model, front, found[k])
            error = np.where(front.at_once > -np.inf, 0.0, arrival.times - true)
            known = np.isfinite(error)
            error, n = np.where(known, error, 0.0), len(items) * max(1, int(known.sum()))
            root = np.sqrt(1 + (error / PLAIN_ERROR) ** 2)
            loss += float(2 * PLAIN_ERROR**2 * (root - 1).sum() / n)
            back = arrival.pull_back(2 * error / root / n)
            by_log = -2.0 * (back.squared_speed * v).reshape(len(v), -1).sum(axis=1)
            full = np.zeros(front.tissue.n_points)
            full[front.tissue.nodes] = by_log
            adjoints[k] = unshuffled(full.reshape(front.tissue.shape), front.factor)
            by_delay += float(back.onsets.sum())
        gradient = _pulled_back(model, features, over_devices(adjoints))
        return loss, eqx.tree_at(lambda g: g.delay, gradient, jnp.asarray(by_delay, jnp.float32))

    def score(self, model: SlownessNet, items: Sequence[tuple[Front, np.ndarray]]) -> dict[str, float]:
        """Mean absolute error of the activation times, ms; the score is its negative."""
        errors = [float(np.nanmean(np.abs(activation_times(model, front) - true))) for front, true in items]
        return {"score": -float(np.mean(errors)), "activation_error_ms": float(np.mean(errors))}
