"""What the neural eikonal looks at: tissue and a first solution of the eikonal equation, in pixels of about 1 mm."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from einthoven.core import InputError
from einthoven.eikonal import Eikonal
from einthoven.eikonal.conduction import Conduction
from einthoven.surrogate.baselines import front_start, started
from einthoven.tissue import Grid, Tissue

#: Edge of the pixels, mm.
PIXEL = 1.0

#: Names of the features after the holes of a pixel's cells.
FEATURES = (
    "conductivity",
    "normal x",
    "normal y",
    "normal z",
    "coherence",
    "curvature",
    "diagonal",
    "uphill",
    "near site",
    "far from site",
    "along fibers",
    "across front",
)
"""log of D over 0.1 mm2/ms; normal of the front (z in slabs only); length of its mean over a pixel (1 where the front
is plane, less in collisions); D times curvature over speed; 4 (n_x^4 + n_y^4 + n_z^4) - 3, in a sheet cos 4 theta (a
grid conducts otherwise along its diagonals); change of log D along the normal; exp(-d / 3 mm) and exp(-d / 10 mm) of
the distance to a site; log of the squared speed along the normal over its geometric mean; and across, in a slab its
length."""


def feature_names(dimension: int) -> tuple[str, ...]:
    """Names of the features after the holes, of sheets (2) or slabs (3)."""
    return tuple(name for name in FEATURES if dimension == 3 or name != "normal z")


@dataclass(frozen=True, eq=False)
class Front:
    """A sheet or slab with everything about its first front that does not depend on the network.

    Parameters
    ----------
    tissue
        A sheet or slab.
    wave
        Where the wave runs.
    squared_speed
        Of the conduction table, mm2/ms2, one per node, or tensors.
    sites, onsets
        Of the stimuli, mm and ms, the latter as if the wave began in a point.
    at_once
        Time at which a node is activated by a stimulus itself, ms; minus infinity outside of the disks.
    features
        Shape (channels, pixels along x, pixels along y), and along z.
    factor
        Cells per pixel along each axis.
    """

    tissue: Tissue
    wave: Eikonal
    squared_speed: Float[np.ndarray, "..."]
    sites: Float[np.ndarray, "k d"]
    onsets: Float[np.ndarray, " k"]
    at_once: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "c *pixels"]
    factor: int

    @property
    def dimension(self) -> int:
        """2 for sheets, 3 for slabs."""
        return self.features.ndim - 1


def front(
    tissue: Tissue, sites: Float[np.ndarray, "k d"], onsets: Float[np.ndarray, " k"], conduction: Conduction
) -> Front:
    """Solve the eikonal equation with the table's speeds and read the features off it.

    Parameters
    ----------
    tissue
        A sheet or slab on a grid whose edges are whole numbers of pixels.
    sites, onsets
        Of the stimuli, mm and ms.
    conduction
        Of the membrane.

    Raises
    ------
    InputError
        If the tissue is no sheet or slab, or its cells do not make up pixels.
    """
    if not isinstance(tissue.domain, Grid) or tissue.domain.dimension not in (2, 3):
        raise InputError(f"neural eikonal: needs a sheet or a slab on a grid; got {tissue!r}.")
    factor = max(1, round(PIXEL / tissue.domain.spacing))
    if any(n % factor for n in tissue.shape):
        raise InputError(
            f"neural eikonal: tissue of {' x '.join(map(str, tissue.shape))} cells must be a multiple of "
            f"{factor} cells ({factor * tissue.domain.spacing:g} mm) along each axis."
        )
    wave, v = Eikonal.of(tissue, order=2), conduction.squared_speed(tissue)
    v = np.broadcast_to(v, (tissue.n_nodes, *v.shape[(0 if v.ndim in (0, 2) else 1) :]))
    own, begins = front_start(tissue, v, sites, onsets)
    times = wave.solve(v, own, begins).times
    at_once = started(tissue, sites, onsets)
    features = _features(tissue, v, times, sites, factor)
    return Front(tissue, wave, v, own, begins, at_once, features.astype(np.float32), factor)


def _features(
    tissue: Tissue, v: np.ndarray, times: np.ndarray, sites: np.ndarray, factor: int
) -> Float[np.ndarray, "c *pixels"]:
    mask = np.asarray(tissue.conducting).reshape(tissue.shape)
    h, axes = tissue.domain.spacing, range(mask.ndim)  # type: ignore[union-attr]
    full = tissue.fill(times)
    gradient = np.stack([difference(full, mask, axis) / h for axis in axes])
    normal = gradient / np.maximum(np.linalg.norm(gradient, axis=0), 1e-9)
    n = normal[:, mask]
    mean, along, across = _of_fibers(v, n)
    d = tissue.diffusivity
    d = np.broadcast_to(d, (tissue.n_nodes,)) if d.ndim < 2 else _geometric_mean(np.broadcast_to(d, v.shape))
    log_d = np.zeros(mask.shape)
    log_d[mask] = np.log(d / 0.1)
    curved = sum(difference(np.where(mask, normal[a], np.nan), mask, a) / h for a in axes)
    uphill = sum(normal[a] * difference(np.where(mask, log_d, np.nan), mask, a) / h for a in axes)
    distance = np.min([np.linalg.norm(tissue.coordinates - s, axis=1) for s in sites], axis=0)

    def maps(values: np.ndarray) -> np.ndarray:
        out = np.zeros(mask.shape)
        out[mask] = values
        return out

    curvature = np.clip(curved * maps(d / np.sqrt(mean)), -1.0, 1.0)
    diagonal = maps(4 * np.where(np.any(n != 0, axis=0), (n**4).sum(axis=0), 1.0) - 3)
    cells = [log_d, *normal, curvature, diagonal, np.clip(uphill, -1, 1)]
    cells += [
        maps(np.exp(-distance / 3.0)),
        maps(np.exp(-distance / 10.0)),
        maps(np.log(np.maximum(along, 1e-3))),
        maps(across),
    ]
    share = pooled(mask.astype(float), factor)
    means = np.stack([pooled(np.where(mask, c, 0.0), factor) / np.maximum(share, 1e-9) for c in cells])
    means = np.where(share > 0, means, 0.0)
    last = 1 + mask.ndim
    coherence = np.linalg.norm(means[1:last], axis=0)
    holes = unshuffled(1.0 - mask, factor)
    return np.concatenate([holes, means[:last], coherence[None], means[last:]])


def _geometric_mean(tensors: Float[np.ndarray, "n d d"]) -> Float[np.ndarray, " n"]:
    return np.linalg.det(tensors) ** (1 / tensors.shape[1])


def _of_fibers(
    v: Float[np.ndarray, "..."], n: Float[np.ndarray, "d k"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Geometric mean of the squared speeds; the one along the normal, and the rest across it, over that mean."""
    tensors = v if v.ndim == 3 else v[:, None, None] * np.eye(len(n))
    mean = _geometric_mean(tensors)
    conormal = np.einsum("nij,jn->in", tensors, n) / mean
    along = (n * conormal).sum(axis=0)
    if len(n) == 2:
        return mean, along, n[0] * conormal[1] - n[1] * conormal[0]
    return mean, along, np.linalg.norm(conormal - along * n, axis=0)


def difference(values: Float[np.ndarray, "*n"], mask: Bool[np.ndarray, "*n"], axis: int) -> Float[np.ndarray, "*n"]:
    """Change per cell along an axis: central, one-sided beside holes, 0 where there is no neighbor; 0 in holes."""
    x = np.moveaxis(np.where(mask, values, np.nan), axis, 0)
    steps = np.diff(x, axis=0)
    pad = np.full((1, *x.shape[1:]), np.nan)
    sides = np.stack([np.concatenate([pad, steps]), np.concatenate([steps, pad])])
    known = np.isfinite(sides)
    mean = np.where(known, sides, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(mask, np.moveaxis(mean, 0, axis), 0.0)


def pooled(values: Float[np.ndarray, "*cells"], factor: int) -> Float[np.ndarray, "*pixels"]:
    """Means over pixels."""
    return _blocks(values, factor).mean(axis=tuple(range(1, 2 * values.ndim, 2)))


def unshuffled(values: Float[np.ndarray, "*cells"], factor: int) -> Float[np.ndarray, "f *pixels"]:
    """The cells of every pixel as channels."""
    d = values.ndim
    parts = _blocks(values, factor).transpose(*range(1, 2 * d, 2), *range(0, 2 * d, 2))
    return parts.reshape(factor**d, *parts.shape[d:])


def shuffled(channels: Float[np.ndarray, "f *pixels"], factor: int) -> Float[np.ndarray, "*cells"]:
    """The inverse of `unshuffled`."""
    pixels, d = channels.shape[1:], channels.ndim - 1
    parts = channels.reshape(*d * [factor], *pixels)
    order = [axis for k in range(d) for axis in (d + k, k)]
    return parts.transpose(*order).reshape([n * factor for n in pixels])


def _blocks(values: Float[np.ndarray, "*cells"], factor: int) -> Float[np.ndarray, "..."]:
    """Every axis as two: pixels, and cells of a pixel."""
    return values.reshape([n for size in values.shape for n in (size // factor, factor)])
