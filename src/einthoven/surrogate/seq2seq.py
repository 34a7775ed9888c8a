"""`seq2seq`: from a movie to the ECG of fixed electrodes, in the style of the published surrogate.

Published (Ogbomo-Harmitt et al., arXiv:2512.13765): a sequence-to-sequence network, a convolutional encoder of the
voltage maps, time-aware attention, the loss Huber + spectral entropy. Sizes, inputs and schedules are not published;
those here are ours: frames go through three strided convolutions, an embedding of time is added, a decoder (LSTM) asks
the encoded frames by attention with its state and the time, and gives one sample per frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from einthoven.core import InputError
from einthoven.core.devices import over_devices
from einthoven.surrogate.sheets import SheetData
from einthoven.surrogate.training import Moment

#: What a frame can hold: the potential, the largest potential of the whole movie, the change from frame to frame.
INPUTS = ("v", "max v", "dv/dt")

#: Channels of the convolutions.
CHANNELS = (16, 32, 64)

#: Potentials are divided by this, mV.
AMPLITUDE = 100.0


@dataclass(frozen=True)
class Seq2SeqSettings:
    """What the network is made of.

    Parameters
    ----------
    inputs
        Of `INPUTS`, at least the first.
    width
        Of the encoded frames and of the decoder.
    encoder
        Convolutions; False: a linear map of the frame's pixels, averaged over 4 x 4 (ablation).
    attention
        Time-aware attention over all frames; False: the decoder sees its own frame only (ablation).
    time
        Embedding of time; False: none (ablation).
    entropy
        First weight of the spectral entropy in the loss, falling to 0 along a cosine; 0: Huber alone (ablation).
    """

    inputs: tuple[str, ...] = ("v",)
    width: int = 128
    encoder: bool = True
    attention: bool = True
    time: bool = True
    entropy: float = 0.1

    def __post_init__(self):
        unknown = [i for i in self.inputs if i not in INPUTS]
        if unknown or self.inputs[:1] != ("v",) or self.width < 8 or self.width % 2 or not self.entropy >= 0:
            raise InputError(
                f"seq2seq: inputs must be of {', '.join(INPUTS)}, v first, the width even and at least 8, the "
                f"entropy's weight 0 or more; got {self}."
            )


class FrameEncoder(eqx.Module):
    """Three convolutions of stride 2 with group norms, and a linear map; or a linear map alone."""

    convolutions: tuple[eqx.nn.Conv2d, ...]
    norms: tuple[eqx.nn.GroupNorm, ...]
    last: eqx.nn.Linear

    @classmethod
    def random(cls, key: Any, pixels: int, settings: Seq2SeqSettings) -> "FrameEncoder":
        """Random weights for frames of so many pixels along each axis."""
        keys = jax.random.split(key, 4)
        n = len(settings.inputs)
        if not settings.encoder:
            return cls((), (), eqx.nn.Linear(n * (pixels // 4) ** 2, settings.width, key=keys[3]))
        sizes = (n, *CHANNELS)
        made = tuple(
            eqx.nn.Conv2d(a, b, 3, stride=2, padding=1, key=k)
            for a, b, k in zip(sizes[:-1], sizes[1:], keys[:3], strict=True)
        )
        norms = tuple(eqx.nn.GroupNorm(8, c) for c in CHANNELS)
        left = -(-pixels // 8)
        return cls(made, norms, eqx.nn.Linear(CHANNELS[-1] * left**2, settings.width, key=keys[3]))

    def __call__(self, frame: Float[Array, "c m m"]) -> Float[Array, " w"]:
        """Encode a frame."""
        x = frame if self.convolutions else _averaged(frame)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = jax.nn.relu(norm(convolution(x)))
        return self.last(x.reshape(-1))


def _averaged(frame: Float[Array, "c m m"]) -> Float[Array, "c p p"]:
    c, m, _ = frame.shape
    return frame.reshape(c, m // 4, 4, m // 4, 4).mean(axis=(2, 4))


class Seq2Seq(eqx.Module):
    """The network; gives standardized samples.

    Parameters
    ----------
    encoder, embedding, query, key, cell, start, head
        Layers.
    scale
        Standard deviation of the training's ECG, mV.
    settings
        What it is made of.
    """

    encoder: FrameEncoder
    embedding: eqx.nn.MLP
    query: eqx.nn.Linear
    key: eqx.nn.Linear
    cell: eqx.nn.LSTMCell
    head: eqx.nn.Linear
    scale: Float[Array, ""]
    settings: Seq2SeqSettings = eqx.field(static=True)

    @classmethod
    def random(cls, seed: int, settings: Seq2SeqSettings, *, pixels: int, n_electrodes: int, scale: float) -> "Seq2Seq":
        """Random weights.

        Parameters
        ----------
        seed
            Of the weights.
        settings
            What the network is made of.
        pixels
            Of a frame along each axis.
        n_electrodes
            Samples per frame.
        scale
            Standard deviation of the training's ECG, mV.
        """
        if pixels % 4:
            raise InputError(f"seq2seq: frames must have a multiple of 4 pixels along each axis; got {pixels}.")
        k, w = jax.random.split(jax.random.PRNGKey(seed), 6), settings.width
        return cls(
            FrameEncoder.random(k[0], pixels, settings),
            eqx.nn.MLP(w, w, w, 1, key=k[1]),
            eqx.nn.Linear(2 * w, w, key=k[2]),
            eqx.nn.Linear(w, w, key=k[3]),
            eqx.nn.LSTMCell(2 * w, w, key=k[4]),
            eqx.nn.Linear(w, n_electrodes, key=k[5]),
            jnp.asarray(scale, jnp.float32),
            settings,
        )

    def __call__(self, movie: Float[Array, "t m m"]) -> Float[Array, "k t"]:
        """Standardized ECG of a movie in units of `AMPLITUDE`."""
        s, t = self.settings, movie.shape[0]
        latents = jax.vmap(self.encoder)(_inputs(movie, s.inputs))
        moments = jax.vmap(self.embedding)(_sinusoids(t, s.width)) if s.time else jnp.zeros_like(latents)
        latents = latents + moments
        keys = jax.vmap(self.key)(latents)

        def step(state: Any, here: Any) -> Any:
            latent, moment = here
            asked = latent
            if s.attention:
                q = self.query(jnp.concatenate([state[0], moment]))
                asked = jax.nn.softmax(keys @ q / np.sqrt(s.width)) @ latents
            state = self.cell(jnp.concatenate([asked, moment]), state)
            return state, self.head(state[0])

        zero = jnp.zeros(s.width)
        return jax.lax.scan(step, (zero, zero), (latents, moments))[1].T


def _inputs(movie: Float[Array, "t m m"], inputs: tuple[str, ...]) -> Float[Array, "t c m m"]:
    channels = {
        "v": movie,
        "max v": jnp.broadcast_to(movie.max(axis=0), movie.shape),
        "dv/dt": jnp.diff(movie, axis=0, prepend=movie[:1]),
    }
    return jnp.stack([channels[i] for i in inputs], axis=1)


def _sinusoids(n: int, width: int) -> Float[Array, "t w"]:
    """Sines and cosines of the frame's number, of periods from 2 to 2000 frames."""
    rates = 2 * np.pi / np.geomspace(2.0, 2000.0, width // 2)
    phase = np.arange(n)[:, None] * rates
    return jnp.asarray(np.concatenate([np.sin(phase), np.cos(phase)], axis=1), jnp.float32)


def spectral_entropy(x: Any) -> Float[Array, "..."]:
    """Entropy of the power spectrum without the mean, over the logarithm of the number of frequencies, 0 to 1.

    It is the same for a scaled or circularly shifted signal: it shapes, it fixes neither amplitude nor time.
    """
    power = jnp.abs(jnp.fft.rfft(x - x.mean(axis=-1, keepdims=True), axis=-1)) ** 2
    p = power / jnp.maximum(power.sum(axis=-1, keepdims=True), 1e-12)
    return -(p * jnp.log(jnp.maximum(p, 1e-12))).sum(axis=-1) / np.log(power.shape[-1])


class FrameItem(NamedTuple):
    """A sheet, prepared: movie in units of `AMPLITUDE`, ECG of the fixed electrodes, mV.

    `central` tells whether all electrodes are over the sheet's center, so that it may be turned and mirrored.
    """

    movie: Float[np.ndarray, "t m m"]
    ecg: Float[np.ndarray, "k t"]
    central: bool = False


def frame_item(sheet: SheetData, pixel: float, n_electrodes: int) -> FrameItem:
    """Prepare a sheet with pixels of that size (mm) and its first so many electrodes."""
    movie = sheet.coarser(pixel) / np.float32(AMPLITUDE)
    off_center = np.asarray(sheet.electrodes)[:n_electrodes, :2] - pixel * movie.shape[1] / 2
    return FrameItem(
        movie, sheet.ecg_of_frames[:n_electrodes].astype(np.float32), bool(np.abs(off_center).max() < 1e-6)
    )


def turned(movie: Float[np.ndarray, "t m m"], k: int) -> Float[np.ndarray, "t m m"]:
    """Turn or mirror frames.

    Parameters
    ----------
    movie
        Of a square sheet.
    k
        0 to 7: quarter turns (k mod 4), mirrored before them from 4 on.
    """
    return np.rot90(movie[:, ::-1] if k >= 4 else movie, k % 4, axes=(1, 2))


class FrameLearner:
    """Huber (delta 1) of the standardized ECG, and the difference of spectral entropies."""

    def gradient(self, model: Seq2Seq, items: Sequence[FrameItem], moment: Moment) -> tuple[float, Seq2Seq]:
        """Loss and derivatives; sheets are turned and mirrored at random where that leaves their ECG as it is."""
        weight = model.settings.entropy * 0.5 * (1 + np.cos(np.pi * moment.done))
        ways = np.random.default_rng(moment.key).integers(0, 8, len(items))
        movies = np.stack([turned(i.movie, int(k)) if i.central else i.movie for i, k in zip(items, ways, strict=True)])
        ecg = np.stack([i.ecg for i in items])
        loss, gradient = _loss(model, *over_devices((movies, ecg)), jnp.asarray(weight, jnp.float32))
        return float(loss), eqx.tree_at(lambda g: g.scale, gradient, jnp.zeros(()))

    def score(self, model: Seq2Seq, items: Sequence[FrameItem]) -> dict[str, float]:
        """Mean R2 over sheets and electrodes."""
        r2 = []
        for item in items:
            p = np.asarray(predicted(model, item.movie))
            wrong = ((p - item.ecg) ** 2).sum(axis=1)
            r2.append(1 - wrong / ((item.ecg - item.ecg.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
        return {"score": float(np.mean(r2)), "r2": float(np.mean(r2))}


@eqx.filter_jit
def predicted(model: Seq2Seq, movie: Any) -> Float[Array, "k t"]:
    """ECG, mV, of a movie in units of `AMPLITUDE`."""
    return model(movie) * model.scale


@eqx.filter_jit
@eqx.filter_value_and_grad
def _loss(model: Seq2Seq, movies: Any, ecg: Any, weight: Any) -> Any:
    p, y = jax.vmap(model)(movies), ecg / jax.lax.stop_gradient(model.scale)
    error = jnp.abs(p - y)
    huber = jnp.where(error <= 1, 0.5 * error**2, error - 0.5).mean()
    return huber + weight * jnp.abs(spectral_entropy(p) - spectral_entropy(y)).mean()
