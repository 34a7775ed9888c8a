"""Results that grow while they are computed: in memory, or in a Zarr store with checkpoints to resume from."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.core import FileFormatError, InputError

if TYPE_CHECKING:
    import xarray

#: About how many bytes of one array are gathered before they are written, and the size of its chunks.
CHUNK_BYTES = 4 << 20
_MARK = "einthoven"


@dataclass(frozen=True, eq=False)
class Channel:
    """A labelled array that grows along one axis.

    Parameters
    ----------
    name
        Unique among all channels of a run.
    dims
        Names of the axes; the array grows along `grows`.
    grows
        One of `dims`.
    shape
        Length of the other axes, in the order of `dims` without `grows`.
    coords
        Coordinates of the other axes, by dimension.
    dtype
        Of the values.
    attrs
        Quantity, unit and what else belongs to the numbers.
    """

    name: str
    dims: tuple[str, ...]
    grows: str
    shape: tuple[int, ...] = ()
    coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    dtype: str = "float64"
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axis(self) -> int:
        """Position of the growing axis."""
        return self.dims.index(self.grows)

    def full_shape(self, n: int) -> tuple[int, ...]:
        """Shape with n entries along the growing axis."""
        return (*self.shape[: self.axis], n, *self.shape[self.axis :])

    def labelled(self, values: np.ndarray, coords: Mapping[str, np.ndarray]) -> "xarray.DataArray":
        """As a labelled array; `coords` are added to its own."""
        import xarray

        known = {k: v for k, v in {**self.coords, **coords}.items() if k in self.dims}
        return xarray.DataArray(values, dims=self.dims, coords=known, name=self.name, attrs=dict(self.attrs))


class Stream(ABC):
    """Where growing arrays go."""

    @abstractmethod
    def append(self, name: str, rows: np.ndarray) -> None:
        """Append along the growing axis of the array of that name."""

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """Everything appended so far."""


class MemoryStream(Stream):
    """Growing arrays in memory."""

    def __init__(self, channels: tuple[Channel, ...]):
        self._channels = {a.name: a for a in channels}
        self._parts: dict[str, list[np.ndarray]] = {a.name: [] for a in channels}

    def append(self, name: str, rows: np.ndarray) -> None:
        """Append a copy."""
        self._parts[name].append(np.array(rows, dtype=self._channels[name].dtype))

    def read(self, name: str) -> np.ndarray:
        """Everything appended so far, joined."""
        channel = self._channels[name]
        if not self._parts[name]:
            return np.empty(channel.full_shape(0), dtype=channel.dtype)
        return np.concatenate(self._parts[name], axis=channel.axis)


class ZarrStream(Stream):
    """Growing arrays in a Zarr store (format 3) that a run which was cut off goes on with.

    The store's root says whether it is complete. Beside it lies ``NAME.checkpoint.npz`` until then: the state of the
    computation and the lengths of all arrays at that moment. What was appended after the last checkpoint is cut off on
    resuming, so that nothing is there twice.

    Parameters
    ----------
    path
        Folder of the store, ending in ``.zarr``.
    channels
        What it holds, each in a group of its own with its coordinates.
    fingerprint
        Of everything that decides the numbers: a run is only resumed by an equal one.
    fresh
        Start over, whatever is there.

    Raises
    ------
    InputError
        If the unfinished run there has another fingerprint, or something else is in the way.
    """

    def __init__(self, path: str | Path, channels: tuple[Channel, ...], *, fingerprint: str, fresh: bool = False):
        self.path = Path(path)
        self.checkpoint_path = self.path.with_name(f"{self.path.stem}.checkpoint.npz")
        self._channels = {a.name: a for a in channels}
        self._pending: dict[str, list[np.ndarray]] = {a.name: [] for a in channels}
        self._pending_bytes = dict.fromkeys(self._channels, 0)
        self._fingerprint = fingerprint
        self._root: Any = None
        self.restored: dict[str, np.ndarray] | None = None
        found = None if fresh else self._unfinished()
        if found is None:
            self._create()
        else:
            self._reopen(found)

    def append(self, name: str, rows: np.ndarray) -> None:
        """Gather; written in chunks."""
        array = np.array(rows, dtype=self._channels[name].dtype)
        self._pending[name].append(array)
        self._pending_bytes[name] += array.nbytes
        if self._pending_bytes[name] >= CHUNK_BYTES:
            self._flush(name)

    def read(self, name: str) -> np.ndarray:
        """Everything appended so far."""
        self._flush(name)
        return np.asarray(self._root[name][name][...])

    def checkpoint(self, state: Mapping[str, np.ndarray]) -> None:
        """Write everything gathered, then the state with the lengths of all arrays, whole or not at all."""
        from einthoven.io.atomic import replacing

        for name in self._channels:
            self._flush(name)
        lengths = {f"length/{name}": np.asarray(self._length(name)) for name in self._channels}
        mark = {"fingerprint": np.asarray(self._fingerprint)}
        with replacing(self.checkpoint_path) as partial, partial.open("wb") as file:
            np.savez(file, **{f"state/{k}": v for k, v in state.items()}, **lengths, **mark)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def complete(
        self, extra: Mapping[str, tuple[Channel, np.ndarray]], coords: Mapping[str, Mapping[str, np.ndarray]]
    ) -> None:
        """Write what is known only at the end, mark the store complete, remove the checkpoint.

        Parameters
        ----------
        extra
            Arrays made at the end, by name.
        coords
            Coordinates along growing axes: by channel, by dimension.
        """
        for name in self._channels:
            self._flush(name)
        for channel, values in extra.values():
            self._create_channel(channel, values)
        for name, by_dimension in coords.items():
            for dimension, values in by_dimension.items():
                self._write(name, dimension, values)
        self._root.attrs[_MARK] = {"kind": "simulation", "complete": True, "fingerprint": self._fingerprint}
        self.checkpoint_path.unlink(missing_ok=True)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _unfinished(self) -> dict[str, np.ndarray] | None:
        """The checkpoint of a run to go on with; None to start from nothing."""
        if not self.checkpoint_path.is_file():
            self._check_free()
            return None
        from einthoven.io.archives import read_archive

        try:
            found = read_archive(self.checkpoint_path)
            mark = str(found["fingerprint"])
        except (FileFormatError, KeyError) as problem:
            raise FileFormatError(
                self.checkpoint_path, f"the checkpoint cannot be read ({_told(problem)}); start afresh."
            ) from None
        if mark != self._fingerprint:
            raise InputError(
                f"{self.path}: holds an unfinished run of other settings. Finish that one, choose another folder, or "
                "start afresh."
            )
        return found

    def _check_free(self) -> None:
        if self.path.exists() and not (self.path / "zarr.json").is_file():
            raise InputError(
                f"{self.path}: something that is not a Zarr store is in the way. Move it, or choose another name."
            )

    def _create(self) -> None:
        import shutil

        import zarr

        self._check_free()
        if not self.path.parent.is_dir():
            raise InputError(
                f"{self.path}: cannot write there, the folder {self.path.parent} does not exist. Create it first."
            )
        self.checkpoint_path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self._root = zarr.create_group(store=str(self.path), zarr_format=3)
        self._root.attrs[_MARK] = {"kind": "simulation", "complete": False, "fingerprint": self._fingerprint}
        for channel in self._channels.values():
            self._create_channel(channel, np.empty(channel.full_shape(0), dtype=channel.dtype))

    def _create_channel(self, channel: Channel, values: np.ndarray) -> None:
        group = self._root.create_group(channel.name, overwrite=True)
        row = max(int(np.prod(channel.shape)), 1) * values.dtype.itemsize
        length = int(min(max(1, CHUNK_BYTES // row), 1 << 16))
        made = group.create_array(
            channel.name,
            shape=values.shape,
            chunks=tuple(max(1, n) for n in channel.full_shape(length)),
            dtype=values.dtype,
            dimension_names=channel.dims,
            attributes=dict(channel.attrs),
            fill_value=0 if values.dtype.kind in "iub" else np.nan,
            config={"write_empty_chunks": True},
        )
        if values.size:
            made[...] = values
        for dimension, labels in channel.coords.items():
            self._write(channel.name, dimension, labels)

    def _write(self, channel: str, dimension: str, values: np.ndarray) -> None:
        """Write a coordinate of a channel."""
        text = values.dtype.kind in "UT"
        values = values.astype(np.dtypes.StringDType()) if text else values
        made = self._root[channel].create_array(
            dimension,
            shape=values.shape,
            dtype="string" if text else values.dtype,
            dimension_names=(dimension,),
            overwrite=True,
        )
        made[...] = values

    def _reopen(self, found: dict[str, np.ndarray]) -> None:
        import zarr

        try:
            self._root = zarr.open_group(store=str(self.path), mode="r+")
            for name, channel in self._channels.items():
                stored, length = self._root[name][name], int(found[f"length/{name}"])
                if stored.shape[channel.axis] < length:
                    raise ValueError(f"{name} has {stored.shape[channel.axis]} of {length} rows")
                stored.resize(channel.full_shape(length))
                _check_chunks(stored, name, channel.axis)
        except (OSError, KeyError, ValueError, RuntimeError) as problem:
            raise FileFormatError(self.path, f"does not fit its checkpoint ({problem}); start afresh.") from None
        self.restored = {name.removeprefix("state/"): v for name, v in found.items() if name.startswith("state/")}

    def _length(self, name: str) -> int:
        return int(self._root[name][name].shape[self._channels[name].axis])

    def _flush(self, name: str) -> None:
        if not self._pending[name]:
            return
        axis = self._channels[name].axis
        self._root[name][name].append(np.concatenate(self._pending[name], axis=axis), axis=axis)
        self._pending[name].clear()
        self._pending_bytes[name] = 0


def _check_chunks(stored: Any, name: str, axis: int) -> None:
    """Raise `ValueError` if a chunk is missing, which would read as NaN, or cannot be unpacked."""
    if stored.nchunks_initialized < stored.nchunks:
        raise ValueError(f"{name} lacks chunks")
    for start in range(0, stored.shape[axis], stored.chunks[axis]):
        rows: list[Any] = [slice(None)] * stored.ndim
        rows[axis] = slice(start, start + stored.chunks[axis])
        np.asarray(stored[tuple(rows)])


def _told(problem: Exception) -> str:
    return problem.problem.rstrip(".") if isinstance(problem, FileFormatError) else f"it lacks {problem}"


def fingerprint(description: Mapping[str, Any], *arrays: np.ndarray) -> str:
    """SHA-256 of a description (as JSON) and arrays (type, shape, bytes)."""
    import hashlib

    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode())
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
