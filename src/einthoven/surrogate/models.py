"""Trained surrogates: what predicts an ECG, how it is trained, stored and loaded again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.core.progress import Progress, silent
from einthoven.eikonal.conduction import Conduction
from einthoven.surrogate.baselines import of_sheet
from einthoven.surrogate.configuration import Configuration
from einthoven.surrogate.front_features import PIXEL, Front, front
from einthoven.surrogate.lead_field_net import ConductanceNet, MovieEcg, MovieLearner, movie_item
from einthoven.surrogate.limits import movie_statistics, tissue_statistics
from einthoven.surrogate.neural_eikonal import FrontLearner, SlownessNet, activation_times
from einthoven.surrogate.seq2seq import AMPLITUDE, FrameLearner, Seq2Seq, Seq2SeqSettings, frame_item, predicted
from einthoven.surrogate.sheets import SheetData
from einthoven.surrogate.training import Trained, train
from einthoven.surrogate.weights import in_half_precision, load_weights, restored, save_weights


@runtime_checkable
class Surrogate(Protocol):
    """Something that predicts the ECG of a sheet."""

    @property
    def sees_movie(self) -> bool:
        """Whether it looks at the movie, and so predicts at its frames; else at the tissue, at the ECG's samples."""
        ...

    def predict(self, sheet: SheetData) -> Float[np.ndarray, "k t"]:
        """ECG, mV, of all electrodes or of the first ones."""
        ...


@dataclass(frozen=True, eq=False)
class FrameEcg:
    """From movies to the ECG of fixed electrodes.

    Parameters
    ----------
    net
        The network.
    pixel
        Of the movies, mm.
    pixels, n_electrodes
        Of a frame along each axis; how many electrodes, the first ones of a sheet.
    """

    net: Seq2Seq
    pixel: float
    pixels: int
    n_electrodes: int
    sees_movie: bool = True

    def predict(self, sheet: SheetData) -> Float[np.ndarray, "k t"]:
        """ECG of the first electrodes at the movie's frames, mV."""
        movie = sheet.coarser(self.pixel)
        if movie.shape[1] != self.pixels:
            raise InputError(
                f"seq2seq: these weights are for sheets of {self.pixels} x {self.pixels} pixels of {self.pixel:g} mm; "
                f"the sheet has {movie.shape[1]} x {movie.shape[2]}."
            )
        return np.asarray(predicted(self.net, movie / np.float32(AMPLITUDE)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class TissueEcg:
    """From tissue to activation times and ECG.

    Parameters
    ----------
    net
        None: the eikonal equation with the speeds of plane waves.
    membrane
        Of the cells, by name.
    """

    net: SlownessNet | None
    membrane: str
    sees_movie: bool = False

    @cached_property
    def conduction(self) -> Conduction:
        """Speeds of plane waves."""
        return Conduction.of(self.membrane)

    def front(self, sheet: SheetData) -> Front:
        """The first solution, and what the network sees."""
        return front(sheet.tissue(), np.asarray(sheet.sites), np.asarray(sheet.onsets), self.conduction)

    def activation(self, sheet: SheetData) -> Float[np.ndarray, " n_nodes"]:
        """Activation times at the nodes of the sheet's tissue, ms."""
        return activation_times(self.net, self.front(sheet))

    def predict(self, sheet: SheetData) -> Float[np.ndarray, "k s"]:
        """ECG at its own samples, mV."""
        return of_sheet(sheet, self.activation(sheet), self.membrane)


def for_membrane(surrogate: Surrogate, membrane: str) -> Surrogate:
    """The same network for sheets of other cells: their speeds, durations and action potential, its corrections."""
    if isinstance(surrogate, TissueEcg):
        return replace(surrogate, membrane=membrane)
    if isinstance(surrogate, MovieEcg):
        return replace(surrogate, conduction=Conduction.of(membrane))
    return surrogate


def cells_of(surrogate: Surrogate) -> str | None:
    """Cells that a surrogate assumes, by name; None if it assumes none."""
    if isinstance(surrogate, TissueEcg):
        return surrogate.membrane
    return surrogate.conduction.name if isinstance(surrogate, MovieEcg) else None


def statistics(surrogate: Surrogate, sheet: SheetData) -> dict[str, float]:
    """Numbers that describe what a surrogate looks at (`einthoven.surrogate.limits`)."""
    if isinstance(surrogate, (FrameEcg, MovieEcg)):
        return movie_statistics(sheet, surrogate.pixel)
    return tissue_statistics(sheet)


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """What a model must know of the sheets it is for.

    Parameters
    ----------
    membrane
        By name.
    spacing, size
        Of the simulated grid, and of a sheet, mm.
    dimension
        2 for sheets, 3 for slabs.
    """

    membrane: str
    spacing: float
    size: float
    dimension: int = 2


def train_surrogate(
    configuration: Configuration,
    origin: Origin,
    training: Iterable[SheetData],
    validation: Iterable[SheetData],
    *,
    seed: int = 0,
    folder: Path | None = None,
    identity: str = "",
    progress: Progress = silent,
) -> tuple[Surrogate, Trained]:
    """Train a surrogate; the model of the best epoch (of `seq2seq` in half precision), and one row per epoch.

    Parameters
    ----------
    configuration
        Of the model.
    origin
        What the sheets are.
    training, validation
        Sheets; read once.
    seed
        Of weights and order.
    folder, identity
        For checkpoints, and whose they are (`einthoven.surrogate.training.train`).
    progress
        Told about steps.

    Raises
    ------
    InputError
        If the model looks at movies and the sheets are slabs.
    """
    course, c = configuration.course(seed), configuration
    if origin.dimension == 3 and c.model != "neural-eikonal":
        raise InputError(f"{c.model}: looks at movies, and slabs have none; neural-eikonal can be trained on them.")
    if c.model == "seq2seq":
        assert c.pixel is not None
        assert c.electrodes is not None
        items = [[frame_item(s, c.pixel, c.electrodes) for s in part] for part in (training, validation)]
        scale = float(np.std(np.stack([i.ecg for i in items[0]])))
        net, learner = _seq2seq(c, origin, seed, scale), FrameLearner()
    elif c.model == "lead-field-net":
        plain = _movie_ecg(c, origin, None)
        items = [[movie_item(plain, s) for s in part] for part in (training, validation)]
        net, learner = _conductance_net(c, seed), MovieLearner()
    else:
        plain = TissueEcg(None, origin.membrane)
        items = [[(plain.front(s), s.tissue().take(s.activation)) for s in part] for part in (training, validation)]
        net, learner = _slowness_net(c, origin, seed), FrontLearner()
    trained = train(learner, net, *items, course, folder=folder, identity=identity, progress=progress)  # type: ignore[arg-type]
    net = in_half_precision(trained.model) if c.model == "seq2seq" else trained.model
    return surrogate_of(c, origin, net), trained


def surrogate_of(configuration: Configuration, origin: Origin, net: Any) -> Surrogate:
    """Put a network to its use."""
    c = configuration
    if c.model == "seq2seq":
        assert c.pixel is not None
        assert c.electrodes is not None
        return FrameEcg(net, c.pixel, round(origin.size / c.pixel), c.electrodes)
    return _movie_ecg(c, origin, net) if c.model == "lead-field-net" else TissueEcg(net, origin.membrane)


def _movie_ecg(c: Configuration, origin: Origin, net: ConductanceNet | None) -> MovieEcg:
    assert c.pixel is not None
    return MovieEcg(net, Conduction.of(origin.membrane), c.pixel, origin.spacing)


def _seq2seq(c: Configuration, origin: Origin, seed: int, scale: float) -> Seq2Seq:
    assert c.pixel is not None
    assert c.electrodes is not None
    settings = Seq2SeqSettings(**{**c.network, "inputs": tuple(c.network["inputs"])})
    return Seq2Seq.random(seed, settings, pixels=round(origin.size / c.pixel), n_electrodes=c.electrodes, scale=scale)


def _conductance_net(c: Configuration, seed: int) -> ConductanceNet:
    assert c.pixel is not None
    return ConductanceNet.random(seed, pixel=c.pixel, **c.network)


def _slowness_net(c: Configuration, origin: Origin, seed: int) -> SlownessNet:
    factor = max(1, round(PIXEL / origin.spacing))
    return SlownessNet.random(seed, factor=factor, dimension=origin.dimension, **c.network)


# --- files ------------------------------------------------------------------------------------------------------------


def save_surrogate(path: Path, surrogate: Surrogate, card: dict[str, Any]) -> None:
    """Write a surrogate's weights with its card, which holds at least ``configuration`` and ``origin``."""
    save_weights(path, surrogate.net, card)  # type: ignore[attr-defined]


def load_surrogate(text: str | Path) -> tuple[Surrogate, dict[str, Any]]:
    """Load a surrogate and its card: a file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or the file is damaged or of another kind.
    """
    path = weights_path(text)
    arrays, card = load_weights(path)
    try:
        configuration = Configuration.model_validate(card["configuration"]).checked(path)
        origin = Origin(**card["origin"])
        net = _blank(configuration, origin)
    except (KeyError, TypeError, ValueError) as problem:
        raise InputError(f"{path}: its card does not describe a surrogate ({problem}).") from None
    return surrogate_of(configuration, origin, restored(net, arrays, path)), card


def _blank(c: Configuration, origin: Origin) -> Any:
    """A network of the right shape."""
    if c.model == "seq2seq":
        return _seq2seq(c, origin, 0, 1.0)
    return _conductance_net(c, 0) if c.model == "lead-field-net" else _slowness_net(c, origin, 0)


def weights_path(text: str | Path) -> Path:
    """Path of a file of weights, or of those that come with the package by their name."""
    path = Path(text)
    if path.suffix == ".npz":
        return path
    ready = _folder() / f"{text}.npz"
    if not ready.is_file():
        have = ", ".join(packaged()) or "none"
        raise InputError(f"{text}: no such weights; give a file (.npz), or one of those that come along: {have}.")
    return Path(str(ready))


def packaged() -> Sequence[str]:
    """Names of the weights that come with the package."""
    folder = _folder()
    names = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    return sorted(n.removesuffix(".npz") for n in names if n.endswith(".npz"))


def _folder() -> Any:
    return resources.files("einthoven.surrogate") / "trained"


def n_parameters(net: Any) -> int:
    """Numbers that a network holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array)))
