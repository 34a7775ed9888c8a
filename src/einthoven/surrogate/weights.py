"""Weights of a trained model in a file: plain arrays and a card, read without running anything from the file.

The file is an ``.npz`` archive: one array per parameter, named by its place in the model, and ``card``, JSON text that
says what the model is, how it was trained and what it scored. Objects (pickles) are refused.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np

from einthoven.core import FileFormatError, InputError
from einthoven.io.archives import read_archive
from einthoven.io.atomic import replacing

#: Larger files are no weights of ours.
LARGEST_BYTES = 50_000_000

_CARD = "card"

Model = TypeVar("Model")


class Weights(NamedTuple):
    """Parameters by name, and the card."""

    arrays: dict[str, np.ndarray]
    card: dict[str, Any]


def parameters(model: Any) -> dict[str, np.ndarray]:
    """Arrays of a model by their place in it."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_array))
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def save_weights(path: Path, model: Any, card: dict[str, Any]) -> None:
    """Write the parameters of a model, compressed, and its card."""
    with replacing(path) as partial:
        partial.write_bytes(weights_content(model, card))


def weights_content(model: Any, card: dict[str, Any]) -> bytes:
    """Content of a file of weights; arrays that half precision holds exactly (`in_half_precision`) are stored so."""
    text = np.frombuffer(json.dumps(card, allow_nan=False, indent=1).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    arrays = {name: _smallest(values) for name, values in parameters(model).items()}
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **{_CARD: text})
    return buffer.getvalue()


def in_half_precision(model: Model) -> Model:
    """Round a model's parameters to half precision, so that its file is half as large; their type stays."""
    return jax.tree.map(lambda a: a.astype(jax.numpy.float16).astype(a.dtype) if eqx.is_inexact_array(a) else a, model)


def _smallest(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else values


def load_weights(path: Path) -> Weights:
    """Read parameters and card.

    Raises
    ------
    FileFormatError
        If the file is damaged, too large, holds objects, or is no file of weights.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise FileFormatError(path, f"is larger than {LARGEST_BYTES / 1e6:g} MB; are these weights of einthoven?")
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > 4 * LARGEST_BYTES:
            raise FileFormatError(path, f"unpacks to {size / 1e6:.0f} MB; are these weights of einthoven?")
        arrays = _archived(path)
        card = json.loads(arrays.pop(_CARD).tobytes().decode())
    except FileFormatError:
        raise
    except OSError as problem:
        raise FileFormatError(path, f"cannot be read ({problem.strerror or problem}).") from None
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, RecursionError) as problem:
        raise FileFormatError(path, f"holds no weights of einthoven, or is damaged ({problem}).") from None
    if not isinstance(card, dict) or not all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f"):
        raise FileFormatError(path, "holds no weights of einthoven: its card is missing or numbers are not finite.")
    return Weights(arrays, card)


def _archived(path: Path) -> dict[str, np.ndarray]:
    """Arrays of the archive; what is wrong with it, as a fault of weights."""
    try:
        return read_archive(path)
    except FileFormatError as problem:
        told = problem.problem.rstrip(".?")
        raise FileFormatError(path, f"holds no weights of einthoven, or is damaged ({told}).") from None


def restored(model: Model, arrays: dict[str, np.ndarray], name: str | Path) -> Model:
    """Return the model with the parameters of a file.

    Raises
    ------
    InputError
        If names or shapes are not those of the model.
    """
    there = parameters(model)
    wrong = [k for k in {*there, *arrays} if k not in arrays or k not in there or there[k].shape != arrays[k].shape]
    if wrong:
        raise InputError(f"{name}: weights of another model: {', '.join(sorted(wrong)[:3])} differ in name or shape.")
    dynamic, static = eqx.partition(model, eqx.is_array)
    paths, tree = jax.tree_util.tree_flatten_with_path(dynamic)
    leaves = [jax.numpy.asarray(arrays[jax.tree_util.keystr(p).lstrip(".")], dtype=leaf.dtype) for p, leaf in paths]
    return eqx.combine(jax.tree_util.tree_unflatten(tree, leaves), static)
