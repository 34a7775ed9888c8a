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
    "coherence",
    "curvature",
    "diagonal",
    "uphill",
    "near site",
    "far from site",
    "along fibers",
    "across front",
)
"""log of D over 0.1 mm2/ms; normal of the front; length of its mean over a pixel (1 where the front is plane, less in
collisions); D times curvature over speed; cos 4 theta (a grid conducts otherwise along its diagonals); change of log D
along the normal; exp(-d / 3 mm) and exp(-d / 10 mm) of the distance to a site; log of the squared speed along the
normal over its geometric mean; and across."""


@dataclass(frozen=True, eq=False)
class Front:
    """A sheet with everything about its first front that does not depend on the network.

    Parameters
    ----------
    tissue
        A sheet.
    wave
        Where the wave runs.
    squared_speed
        Of the conduction table, mm2/ms2, one per node, or tensors.
    sites, onsets
        Of the stimuli, mm and ms, the latter as if the wave began in a point.
    at_once
        Time at which a node is activated by a stimulus itself, ms; minus infinity outside of the disks.
    features
        Shape (channels, pixels along x, pixels along y).
    factor
        Cells per pixel along each axis.
    """

    tissue: Tissue
    wave: Eikonal
    squared_speed: Float[np.ndarray, "..."]
    sites: Float[np.ndarray, "k 2"]
    onsets: Float[np.ndarray, " k"]
    at_once: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "c p q"]
    factor: int


def front(
    tissue: Tissue, sites: Float[np.ndarray, "k d"], onsets: Float[np.ndarray, " k"], conduction: Conduction
) -> Front:
    """Solve the eikonal equation with the table's speeds and read the features off it.

    Parameters
    ----------
    tissue
        A square or oblong sheet on a grid whose edge is a whole number of pixels.
    sites, onsets
        Of the stimuli, mm and ms.
    conduction
        Of the membrane.

    Raises
    ------
    InputError
        If the tissue is no sheet, or its cells do not make up pixels.
    """
    if not isinstance(tissue.domain, Grid) or tissue.domain.dimension != 2:
        raise InputError(f"neural eikonal: needs a sheet on a grid; got {tissue!r}.")
    factor = max(1, round(PIXEL / tissue.domain.spacing))
    if any(n % factor for n in tissue.shape):
        raise InputError(
            f"neural eikonal: a sheet of {' x '.join(map(str, tissue.shape))} cells must be a multiple of "
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
) -> Float[np.ndarray, "c m k"]:
    mask = np.asarray(tissue.conducting).reshape(tissue.shape)
    h = tissue.domain.spacing  # type: ignore[union-attr]
    full = tissue.fill(times)
    gradient = np.stack([difference(full, mask, axis) / h for axis in (0, 1)])
    normal = gradient / np.maximum(np.linalg.norm(gradient, axis=0), 1e-9)
    tensors = v if v.ndim == 3 else v[:, None, None] * np.eye(2)
    mean = np.sqrt(np.linalg.det(tensors))
    n = normal[:, mask]
    along = np.einsum("in,nij,jn->n", n, tensors, n) / mean
    turned = np.stack([-n[1], n[0]])
    across = np.einsum("in,nij,jn->n", n, tensors, turned) / mean
    d = tissue.diffusivity
    d = np.broadcast_to(d, (tissue.n_nodes,)) if d.ndim < 2 else np.sqrt(np.linalg.det(np.broadcast_to(d, v.shape)))
    log_d = np.zeros(mask.shape)
    log_d[mask] = np.log(d / 0.1)
    curved = sum(difference(np.where(mask, normal[a], np.nan), mask, a) / h for a in (0, 1))
    uphill = sum(normal[a] * difference(np.where(mask, log_d, np.nan), mask, a) / h for a in (0, 1))
    distance = np.min([np.linalg.norm(tissue.coordinates - s, axis=1) for s in sites], axis=0)

    def maps(values: np.ndarray) -> np.ndarray:
        out = np.zeros(mask.shape)
        out[mask] = values
        return out

    curvature = np.clip(curved * maps(d / np.sqrt(mean)), -1.0, 1.0)
    diagonal = maps(np.cos(4 * np.arctan2(n[1], n[0])))
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
    coherence = np.hypot(means[1], means[2])
    holes = unshuffled(1.0 - mask, factor)
    return np.concatenate([holes, means[:3], coherence[None], means[3:]])


def difference(values: Float[np.ndarray, "n m"], mask: Bool[np.ndarray, "n m"], axis: int) -> Float[np.ndarray, "n m"]:
    """Change per cell along an axis: central, one-sided beside holes, 0 where there is no neighbor; 0 in holes."""
    x = np.moveaxis(np.where(mask, values, np.nan), axis, 0)
    steps = np.diff(x, axis=0)
    pad = np.full((1, x.shape[1]), np.nan)
    sides = np.stack([np.concatenate([pad, steps]), np.concatenate([steps, pad])])
    known = np.isfinite(sides)
    mean = np.where(known, sides, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(mask, np.moveaxis(mean, 0, axis), 0.0)


def pooled(values: Float[np.ndarray, "n m"], factor: int) -> Float[np.ndarray, "p q"]:
    """Means over pixels."""
    n, m = values.shape
    return values.reshape(n // factor, factor, m // factor, factor).mean(axis=(1, 3))


def unshuffled(values: Float[np.ndarray, "n m"], factor: int) -> Float[np.ndarray, "f p q"]:
    """The cells of every pixel as channels."""
    n, m = values.shape
    parts = values.reshape(n // factor, factor, m // factor, factor)
    return parts.transpose(1, 3, 0, 2).reshape(factor * factor, n // factor, m // factor)


def shuffled(channels: Float[np.ndarray, "f p q"], factor: int) -> Float[np.ndarray, "n m"]:
    """The inverse of `unshuffled`."""
    _, p, q = channels.shape
    return channels.reshape(factor, factor, p, q).transpose(2, 0, 3, 1).reshape(p * factor, q * factor)
