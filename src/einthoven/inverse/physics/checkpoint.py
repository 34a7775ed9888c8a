"""State of a training on disk, so that one that was cut off goes on from there."""

import hashlib
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from einthoven.core import FileFormatError
from einthoven.io.archives import read_archive
from einthoven.io.atomic import replacing

#: Seconds between two checkpoints.
INTERVAL = 20.0


def fingerprint(text: str, *trees: Any) -> str:
    """Checksum of what decides a training: settings as text; structure, shapes, types and values of the rest."""
    digest = hashlib.sha256(text.encode())
    for tree in trees:
        leaves, structure = jax.tree.flatten(tree)
        digest.update(str(structure).encode())
        for leaf in leaves:
            array = np.asarray(leaf)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """One file with the leaves of a state, for one training.

    Parameters
    ----------
    path
        An ``.npz`` file; None: nothing is kept. No code is run when it is read.
    mark
        `fingerprint` of the training; a file of another one is left alone until it is overwritten.
    """

    def __init__(self, path: Path | None, mark: str):
        self.path, self.mark, self.written = path, mark, time.monotonic()

    def load(self, like: Any) -> Any | None:
        """Return the state that was kept, of the structure of `like`; None if there is none that fits."""
        if self.path is None or not self.path.is_file():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            file = read_archive(self.path)
            if str(file["mark"]) != self.mark or len(file) != len(leaves) + 1:
                return None
            return jax.tree.unflatten(structure, [file[f"leaf{k}"] for k in range(len(leaves))])
        except (FileFormatError, KeyError):
            return None

    def save(self, state: Any, *, now: bool = False) -> None:
        """Keep the state, if the last time is long ago or `now`."""
        if self.path is None or not (now or time.monotonic() - self.written > INTERVAL):
            return
        kept: dict[str, Any] = {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial, partial.open("wb") as file:
            np.savez(file, mark=self.mark, **kept)
        self.written = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training is finished."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
