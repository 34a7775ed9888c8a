"""`lead-field-net`: from a movie to the ECG at any electrode, exactly linear in the potential.

A movie tells where cells are and, by the velocity of its front, how well they conduct
(`einthoven.surrogate.movie_maps`). A small convolutional network corrects that: a factor for the conductance of every
face between pixels, one for the share of cells in a pixel, and a symmetric tensor S per pixel that couples gradients
(means of the differences to both neighbors): what holes between the axes make, and what a front that is no wider than
a pixel needs. With the potential V of a pixel's cells and z = 1 / r of an electrode

    ECG(t) = -sigma_i / D / (4 pi sigma_b) (sum over faces g dV dz + sum over pixels grad V . S grad z),

so that one dot product per frame and electrode remains, and a constant potential is not seen. With the corrections at
zero this is the lead field without learning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import Electrodes, ForwardOperator, InputError
from einthoven.core.devices import over_devices
from einthoven.eikonal.conduction import Conduction
from einthoven.forward.lead_field import BATH_CONDUCTIVITY, INTRACELLULAR_PER_DIFFUSIVITY
from einthoven.surrogate.movie_maps import LEAST_SHARE, MovieMaps, movie_maps
from einthoven.surrogate.sheets import SheetData
from einthoven.surrogate.training import Moment

#: Names of the maps that the network sees.
MAPS = (
    "share",
    "hole",
    "log D",
    "normal x",
    "normal y",
    "trust",
    "active time",
    "steepest rise",
    "late",
    "fibers cos",
    "fibers sin",
    "fibers explained",
    "edge",
)
"""Share of cells; holes; log of D over 0.1 mm2/ms, read off the front; its normal; how well a plane fits; integral of
the potential over the movie, over its largest value and 250 ms; largest rise between frames, over the largest
potential; log of 1 + activation over 100 ms; dependence of the slowness on the front's direction over the whole sheet
(`MovieMaps.anisotropy`), times what it explains; and that; outside of the sheet."""

#: Corrections per pixel: log conductance of the faces above along x and y; of the tensor the coupling of x with y, of x
#: with itself, of y with itself, over D; log share.
CHANNELS = 6

#: Potential times time of an ordinary action potential, over its largest potential, ms.
ACTIVE_TIME = 250.0

#: Size of the last layer's first weights, over those of the others.
FIRST_SIZE = 0.01

#: sigma_i / D over 4 pi sigma_b, ms/mm2.
SCALE = INTRACELLULAR_PER_DIFFUSIVITY / (4 * np.pi * BATH_CONDUCTIVITY)

#: Frames of a sheet that a training step looks at.
FRAMES = 64

#: Errors of an electrode's ECG, over its variance, above this count less and less, those below in proportion.
GOOD = 0.01

#: Weight of the true diffusivity in the loss.
SUPERVISION = 0.03

#: An electrode's variance counts at least as this share of the largest one of its sheet in the loss.
FLOOR = 0.02


class ConductanceNet(eqx.Module):
    """Convolutions of 3 x 3 pixels over the maps, with skips; corrections start near zero."""

    first: eqx.nn.Conv2d
    layers: tuple[eqx.nn.Conv2d, ...]
    last: eqx.nn.Conv2d
    pixel: float = eqx.field(static=True)

    @classmethod
    def random(cls, seed: int, *, pixel: float, width: int = 32, depth: int = 3) -> "ConductanceNet":
        """Random weights.

        Parameters
        ----------
        seed
            Of the weights.
        pixel
            Of the movies it is for, mm.
        width, depth
            Channels, and layers between the first and the last.
        """
        keys = jax.random.split(jax.random.PRNGKey(seed), depth + 2)
        first = eqx.nn.Conv2d(len(MAPS), width, 3, key=keys[0])
        layers = tuple(eqx.nn.Conv2d(width, width, 3, key=k) for k in keys[1:-1])
        last = eqx.nn.Conv2d(width, CHANNELS, 1, key=keys[-1])
        last = jax.tree.map(lambda x: FIRST_SIZE * x if eqx.is_array(x) else x, last)
        return cls(first, layers, last, pixel)

    def __call__(self, maps: Float[Array | np.ndarray, "c m k"]) -> Float[Array, "6 m k"]:
        """Corrections."""
        reach = 1 + len(self.layers)
        x = jnp.pad(maps, ((0, 0), (reach, reach), (reach, reach)))
        edge = jnp.ones(x.shape[1:]).at[reach:-reach, reach:-reach].set(0.0)
        x = x.at[-1].add(edge)
        x = jax.nn.gelu(self.first(x))
        for layer in self.layers:
            x = x[:, 1:-1, 1:-1] + jax.nn.gelu(layer(x))
        return jnp.tanh(self.last(x))


class Seen(eqx.Module):
    """What is known of a movie besides its frames.

    Parameters
    ----------
    maps
        What the network sees.
    share, diffusivity
        As read off the movie.
    inverse
        1 / r of every electrode, 1/mm.
    border
        How far outside of its pixel's center the border is felt, in pixels: (1 - 1 / cells) / 2.
    """

    maps: Float[Array | np.ndarray, "c m m"]
    share: Float[Array | np.ndarray, "m m"]
    diffusivity: Float[Array | np.ndarray, "m m"]
    inverse: Float[Array | np.ndarray, "k m m"]
    border: Float[Array | np.ndarray, ""]


def lead_fields(net: ConductanceNet | None, seen: Seen) -> Float[Array, "k m m"]:
    """Return what a pixel of the movie (mV above rest) contributes to each electrode, mV per mV."""
    corrections = jnp.zeros((CHANNELS, *seen.share.shape)) if net is None else net(seen.maps)
    along, across, cross, own_x, own_y, share = corrections
    cells = seen.share > 0
    z = seen.inverse
    lead = jnp.zeros_like(z)
    z_x, z_y = jnp.gradient(z, axis=(1, 2))
    coupled = [seen.diffusivity * q for q in (own_x * z_x + cross * z_y, cross * z_x + own_y * z_y)]
    for axis, correction in ((0, along), (1, across)):
        low, high = _sides(seen.diffusivity, axis)
        both = jnp.logical_and(*_sides(cells, axis))
        g = jnp.where(both, 2 * low * high / (low + high), 0.0) * jnp.exp(2 * _sides(correction, axis)[0])
        g = g * jnp.prod(jnp.stack(_sides(seen.share, axis)), axis=0)
        flux = g * jnp.diff(z, axis=axis + 1) + _on_faces(coupled[axis], both, axis)
        lead = lead + _spread(flux, axis)
    lead = _at_border(SCALE * lead, seen.border, cells)
    whole = jnp.clip(seen.share, LEAST_SHARE, 1.0) * jnp.exp(share)
    return jnp.where(cells, lead / whole, 0.0)


def _sides(x: Any, axis: int) -> tuple[Any, Any]:
    """The pixels below and above every face along an axis."""
    n = x.shape[axis]
    return jax.lax.slice_in_dim(x, 0, n - 1, axis=axis), jax.lax.slice_in_dim(x, 1, n, axis=axis)


def _spread(flux: Any, axis: int) -> Any:
    """Adjoint of the difference along an axis, of - flux . dV: + flux below the face, - flux above."""
    pad = [(0, 0)] * 3
    below, above = list(pad), list(pad)
    below[axis + 1], above[axis + 1] = (0, 1), (1, 0)
    return jnp.pad(flux, below) - jnp.pad(flux, above)


def _on_faces(q: Any, both: Any, axis: int) -> Any:
    """Fluxes on faces that do what - sum q dV does, with dV the mean difference of a pixel to its neighbors."""
    pad = [(0, 0), (0, 0)]
    below, above = list(pad), list(pad)
    below[axis], above[axis] = (0, 1), (1, 0)
    share = q / jnp.maximum(1.0 * jnp.pad(both, below) + jnp.pad(both, above), 1.0)
    return jnp.where(both, sum(_sides(share, axis + 1)), 0.0)


def _at_border(lead: Any, a: Any, cells: Any) -> Any:
    """As `einthoven.surrogate.pixel_lead_fields.border_extrapolated`."""
    for axis in (1, 2):
        moved, here = jnp.moveaxis(lead, axis, 0), jnp.moveaxis(cells, axis - 1, 0)
        first, last = a * moved[0] * (here[0] & here[1]), a * moved[-1] * (here[-1] & here[-2])
        moved = moved.at[0].add(first).at[1].add(-first).at[-1].add(last).at[-2].add(-last)
        lead = jnp.moveaxis(moved, 0, axis)
    return lead


def seen_of(
    maps: MovieMaps,
    movie: Float[np.ndarray, "t m m"],
    electrodes: Float[np.ndarray, "k 3"],
    cells: int,
    interval: float,
) -> Seen:
    """Prepare a movie for the network.

    Parameters
    ----------
    maps
        Read off the movie.
    movie
        mV above rest.
    electrodes
        Positions, mm.
    cells
        Of the simulated grid per pixel along each axis; of real tissue many.
    interval
        Of the frames, ms.
    """
    m, top = len(maps.share), float(movie.max())
    points = maps.pixel * (np.arange(m) + 0.5)
    x, y = np.meshgrid(points, points, indexing="ij")
    e = np.asarray(electrodes)[:, :, None, None]
    inverse = 1 / np.sqrt((x - e[:, 0]) ** 2 + (y - e[:, 1]) ** 2 + e[:, 2] ** 2)
    late = np.log1p(np.nan_to_num(maps.activation, nan=0.0) / 100.0)
    rise = np.diff(movie, axis=0).max(axis=0) / top
    rows = [maps.share, 1.0 * ~maps.conducting, np.log(maps.diffusivity / 0.1), *maps.normal, maps.trust]
    rows += [movie.sum(axis=0) * (interval / ACTIVE_TIME / top), rise, late]
    cos, sin, explained = maps.anisotropy
    rows += [np.full((m, m), a) for a in (explained * cos, explained * sin, explained, 0.0)]
    real = lambda a: jnp.asarray(a, jnp.float32)  # noqa: E731
    return Seen(
        real(np.stack(rows)), real(maps.share), real(maps.diffusivity), real(inverse), real(0.5 * (1 - 1 / cells))
    )


@dataclass(frozen=True, eq=False)
class MovieEcg:
    """From movies to the ECG, by a network or without learning.

    Parameters
    ----------
    net
        None: without learning.
    conduction
        Of the membrane, to read D off the front.
    pixel
        Of the movies, mm.
    spacing
        Of the simulated grid, mm; 0 for real tissue.
    """

    net: ConductanceNet | None
    conduction: Conduction
    pixel: float
    spacing: float
    sees_movie: bool = True

    def __post_init__(self):
        if self.net is not None and abs(self.net.pixel - self.pixel) > 1e-6:
            raise InputError(
                f"lead-field net: these weights are for pixels of {self.net.pixel:g} mm, the movie has {self.pixel:g}."
            )

    def seen(
        self, movie: Float[np.ndarray, "t m m"], times: Float[np.ndarray, " t"], electrodes: Float[np.ndarray, "k 3"]
    ) -> Seen:
        """Read off a movie what the lead field is made of."""
        maps = movie_maps(movie, times, self.pixel, self.conduction, self.spacing)
        cells = round(self.pixel / self.spacing) if self.spacing > 0 else 1000
        return seen_of(maps, movie, electrodes, cells, float(times[1] - times[0]))

    def operator(
        self, movie: Float[np.ndarray, "t m m"], times: Float[np.ndarray, " t"], electrodes: Electrodes
    ) -> ForwardOperator:
        """Return the operator from potentials at the pixels to the electrodes.

        Parameters
        ----------
        movie
            mV above rest, shape (n_frames, m, m).
        times
            ms.
        electrodes
            In an infinite medium.
        """
        lead = _lead_fields(self.net, self.seen(movie, times, np.asarray(electrodes.positions)))
        names = tuple(f"pixel:{k}" for k in range(lead[0].size))
        matrix = np.asarray(lead, dtype=np.float64).reshape(len(electrodes), -1)
        return ForwardOperator(
            matrix, names, electrodes.names, "vm", "egm", electrodes=electrodes, lead_matrix=np.eye(len(electrodes))
        )

    def inferred(self, sheet: SheetData) -> "PixelTissue":
        """Return the tissue that is read off a sheet's movie."""
        seen = self.seen(sheet.coarser(self.pixel), sheet.movie_times, np.asarray(sheet.electrodes))
        return PixelTissue(inferred_diffusivity(self.net, seen), inferred_share(self.net, seen))

    def predict(self, sheet: SheetData) -> Float[np.ndarray, "k t"]:
        """ECG at the movie's frames, mV."""
        movie = sheet.coarser(self.pixel)
        lead = _lead_fields(self.net, self.seen(movie, sheet.movie_times, np.asarray(sheet.electrodes)))
        return np.asarray(lead, np.float64).reshape(len(lead), -1) @ movie.reshape(len(movie), -1).T


_lead_fields = eqx.filter_jit(lead_fields)


class PixelTissue(NamedTuple):
    """Tissue in pixels: D of the cells (mm2/ms, NaN where there are none) and their share of each pixel."""

    diffusivity: Float[np.ndarray, "m m"]
    share: Float[np.ndarray, "m m"]


def true_tissue(sheet: SheetData, pixel: float) -> PixelTissue:
    """Return a sheet's own tissue, averaged over pixels of that edge (mm); of anisotropic D the geometric mean."""
    d = np.asarray(sheet.diffusivity, dtype=np.float64)
    d = d if d.ndim == 2 else np.sqrt(np.linalg.det(np.nan_to_num(d)))
    f = round(pixel / sheet.spacing)
    m = len(d) // f
    blocks = np.where(sheet.conducting, np.nan_to_num(d), 0.0).reshape(m, f, m, f)
    share = np.asarray(sheet.conducting).reshape(m, f, m, f).mean(axis=(1, 3))
    mean = blocks.mean(axis=(1, 3)) / np.maximum(share, 1e-9)
    return PixelTissue(np.where(share > 0, mean, np.nan), share)


class MovieItem(NamedTuple):
    """A sheet, prepared for training."""

    seen: Seen
    movie: Float[np.ndarray, "t m m"]
    ecg: Float[np.ndarray, "k t"]
    diffusivity: Float[np.ndarray, "m m"]


def movie_item(model: MovieEcg, sheet: SheetData) -> MovieItem:
    """Prepare a sheet: maps, movie, true ECG, and the true D, averaged over each pixel's conducting cells."""
    movie = sheet.coarser(model.pixel)
    seen = model.seen(movie, sheet.movie_times, np.asarray(sheet.electrodes))
    true = np.nan_to_num(true_tissue(sheet, model.pixel).diffusivity)
    return MovieItem(seen, movie, sheet.ecg_of_frames.astype(np.float32), true.astype(np.float32))


def turned(item: MovieItem, k: int) -> MovieItem:
    """Turn or mirror a sheet with its electrodes, which leaves the ECG as it is.

    Parameters
    ----------
    item
        The sheet.
    k
        0 to 7: x mirrored (1), y mirrored (2), x and y swapped after that (4), or several of them.
    """
    signs = -1.0 if k & 1 else 1.0, -1.0 if k & 2 else 1.0

    def moved(a: Any) -> np.ndarray:
        a = np.asarray(a)[..., :: int(signs[0]), :: int(signs[1])]
        return np.swapaxes(a, -1, -2) if k & 4 else a

    x, y, cos, sin = (MAPS.index(name) for name in ("normal x", "normal y", "fibers cos", "fibers sin"))
    maps, order = moved(item.seen.maps).copy(), list(range(len(MAPS)))
    maps[x] *= signs[0]
    maps[y] *= signs[1]
    maps[sin] *= signs[0] * signs[1]
    if k & 4:
        order[x], order[y] = y, x
        maps[cos] *= -1.0
    share, diffusivity, inverse = (moved(a) for a in (item.seen.share, item.seen.diffusivity, item.seen.inverse))
    seen = Seen(maps[order], share, diffusivity, inverse, np.asarray(item.seen.border))
    return MovieItem(seen, moved(item.movie), item.ecg, moved(item.diffusivity))


class MovieLearner:
    """Least squares of the ECG, every electrode over its own variance, and of the logarithm of D; sheets are turned."""

    def gradient(
        self, model: ConductanceNet, items: Sequence[MovieItem], moment: Moment
    ) -> tuple[float, ConductanceNet]:
        """Loss and derivatives on some frames of each sheet."""
        rng = np.random.default_rng(moment.key)
        n = len(items[0].movie)
        frames = np.sort(rng.choice(n, min(FRAMES, n), replace=False))
        items = [turned(item, int(k)) for item, k in zip(items, rng.integers(0, 8, len(items)), strict=True)]
        movies = np.stack([i.movie[frames] for i in items])
        spread = np.stack([i.ecg.var(axis=1) for i in items])
        scale = 1 / np.maximum(spread, FLOOR * spread.max(axis=1, keepdims=True))
        ecg, true = np.stack([i.ecg[:, frames] for i in items]), np.stack([i.diffusivity for i in items])
        seen = jax.tree.map(lambda *a: np.stack(a), *[i.seen for i in items])
        loss, gradient = _loss(model, *over_devices((seen, movies, ecg, scale.astype(np.float32), true)))
        return float(loss), gradient

    def score(self, model: ConductanceNet, items: Sequence[MovieItem]) -> dict[str, float]:
        """Mean R2 over sheets and electrodes, and the mean error of log D."""
        r2, errors = [], []
        for item in items:
            lead = np.asarray(_lead_fields(model, item.seen))
            p = lead.reshape(len(lead), -1) @ item.movie.reshape(len(item.movie), -1).T
            wrong = ((p - item.ecg) ** 2).sum(axis=1)
            r2.append(1 - wrong / ((item.ecg - item.ecg.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
            found = inferred_diffusivity(model, item.seen)
            cells = (item.diffusivity > 0) & np.isfinite(found)
            errors.append(np.abs(np.log(found[cells] / item.diffusivity[cells])).mean())
        return {"score": float(np.mean(r2)), "r2": float(np.mean(r2)), "log_d_error": float(np.mean(errors))}


def inferred_diffusivity(net: ConductanceNet | None, seen: Seen) -> Float[np.ndarray, "m m"]:
    """D that the network infers, mm2/ms; NaN in holes."""
    correction = 0.0 if net is None else np.asarray(net(seen.maps))[:2].mean(axis=0)
    return np.where(np.asarray(seen.share) > 0, np.asarray(seen.diffusivity) * np.exp(2 * correction), np.nan)


def inferred_share(net: ConductanceNet | None, seen: Seen) -> Float[np.ndarray, "m m"]:
    """Share of cells of each pixel that the network infers; 0 in holes."""
    correction = 0.0 if net is None else np.asarray(net(seen.maps))[-1]
    share = np.asarray(seen.share, dtype=np.float64)
    return np.where(share > 0, np.clip(share, LEAST_SHARE, 1.0) * np.exp(correction), 0.0)


@eqx.filter_jit
@eqx.filter_value_and_grad
def _loss(net: ConductanceNet, seen: Seen, movies: Any, ecg: Any, scale: Any, true: Any) -> Any:
    def one(s: Seen, movie: Any, y: Any, weight: Any, d: Any) -> Any:
        lead = lead_fields(net, s)
        p = lead.reshape(len(lead), -1) @ movie.reshape(len(movie), -1).T
        cells = (d > 0) & (s.share > 0)
        log_d = jnp.log(s.diffusivity) + 2 * net(s.maps)[:2].mean(axis=0)
        error = jnp.where(cells, log_d - jnp.log(jnp.where(d > 0, d, 1.0)), 0.0)
        supervised = (error**2).sum() / jnp.maximum(cells.sum(), 1)
        wrong = weight * ((p - y) ** 2).mean(axis=1)
        return GOOD * jnp.log1p(wrong / GOOD).mean() + SUPERVISION * supervised

    return jax.vmap(one)(seen, movies, ecg, scale, true).mean()
