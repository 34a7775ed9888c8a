"""What to keep of a simulation: objects that say it, and what they hand to the loop."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Surface
from einthoven.core.errors import some
from einthoven.io.stream import Channel
from einthoven.ionic import IonicModel
from einthoven.tissue import Grid, Tissue

#: Rows to append: channel name to an array whose growing axis has any length.
Rows = dict[str, np.ndarray]


class Recorder:
    """What a `Keep` becomes when a run starts; may hold memory between samples."""

    #: Arrays that grow.
    channels: tuple[Channel, ...] = ()

    @abstractmethod
    def sample(self, t: float, vm: Float[np.ndarray, " n_nodes"]) -> Rows:
        """Rows to append at time t (ms); `vm` in mV over the nodes."""

    def memory(self) -> dict[str, np.ndarray]:
        """Arrays that the next samples depend on; written to checkpoints."""
        return {}

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Take up what `memory` gave."""

    def finish(self, kept: Mapping[str, np.ndarray]) -> Mapping[str, tuple[Channel, np.ndarray]]:
        """Further arrays made from the whole of its channels when the run is complete."""
        return {}


@runtime_checkable
class Keep(Protocol):
    """Something to keep: its name, how often it looks, and how."""

    @property
    def every(self) -> float:
        """Interval of samples, ms; a multiple of the time step."""
        ...

    def start(self, tissue: Tissue, model: IonicModel) -> Recorder:
        """Check the wish against the tissue and make the recorder."""
        ...


def _positive(every: float, who: str) -> None:
    if not 0 < every < 1e6:
        raise InputError(f"{who}: the interval `every` must be a positive time in ms; got {every:g}.")


# -- movie ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Movie:
    """Transmembrane potential of every node, or of blocks of cells, every `every` ms.

    On a grid the dims are (time, x, y, z) as far as the grid has them, NaN where nothing conducts; on a surface (time,
    node).

    Parameters
    ----------
    every
        Interval, ms.
    factor
        On a grid: blocks of factor cells along each axis become their mean over the conducting ones; an incomplete
        block at the far border counts with what it has.
    dtype
        ``"float32"`` (default) or ``"float64"``.
    """

    every: float = 1.0
    factor: int = 1
    dtype: str = "float32"

    def __post_init__(self):
        _positive(self.every, "movie")
        if self.factor < 1 or int(self.factor) != self.factor:
            raise InputError(f"movie: the factor must be a whole number from 1; got {self.factor}.")
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"movie: dtype must be float32 or float64; got {self.dtype!r}.")

    def start(self, tissue: Tissue, model: IonicModel) -> Recorder:
        """Make the recorder; on a surface the factor must be 1."""
        del model
        if isinstance(tissue.domain, Surface):
            if self.factor != 1:
                raise InputError("movie: only a grid can be down-sampled; on a surface leave the factor at 1.")
            return _SurfaceMovie(self, tissue)
        return _GridMovie(self, tissue, tissue.domain)


_VM = {"quantity": "vm", "unit": "mV", "time_unit": "ms"}


class _SurfaceMovie(Recorder):
    def __init__(self, keep: Movie, tissue: Tissue):
        names = np.asarray([f"node:{i}" for i in tissue.nodes])
        self.channels = (
            Channel("movie", ("time", "node"), "time", (tissue.n_nodes,), {"node": names}, keep.dtype, _VM),
        )

    def sample(self, t: float, vm: np.ndarray) -> Rows:
        return {"movie": vm[None]}


class _GridMovie(Recorder):
    def __init__(self, keep: Movie, tissue: Tissue, grid: Grid):
        self.shape = tuple(-(-n // keep.factor) for n in grid.shape)
        cell = np.stack(np.unravel_index(tissue.nodes, grid.shape)) // keep.factor
        self.block = np.ravel_multi_index(tuple(cell), self.shape)
        self.size = int(np.prod(self.shape))
        count = np.bincount(self.block, minlength=self.size)
        self.share = np.where(count > 0, 1.0 / np.maximum(count, 1), np.nan)
        names = ("x", "y", "z")[: grid.dimension]
        width = keep.factor * grid.spacing
        coords = {
            name: grid.origin[k] + (keep.factor - 1) * grid.spacing / 2 + width * np.arange(self.shape[k])
            for k, name in enumerate(names)
        }
        self.channels = (Channel("movie", ("time", *names), "time", self.shape, coords, keep.dtype, _VM),)

    def sample(self, t: float, vm: np.ndarray) -> Rows:
        mean = np.bincount(self.block, weights=vm, minlength=self.size) * self.share
        return {"movie": mean.reshape(1, *self.shape)}


# -- probes and leads -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Probes:
    """Transmembrane potential at the nodes nearest to given points.

    Parameters
    ----------
    points
        Shape (n, 3), mm (two columns do for a sheet).
    every
        Interval, ms.
    names
        One per point; default probe-0, probe-1, ...
    """

    points: Any
    every: float = 1.0
    names: tuple[str, ...] | None = None

    def __post_init__(self):
        _positive(self.every, "probes")

    def start(self, tissue: Tissue, model: IonicModel) -> Recorder:
        """Find the nodes; a point far from every conducting node is refused."""
        del model
        points = np.atleast_2d(np.asarray(self.points, dtype=np.float64))
        if points.ndim != 2 or points.shape[1] not in (1, 2, 3) or not np.isfinite(points).all():
            raise InputError(f"probes: points must be finite, of shape (n, 3) in mm; got shape {points.shape}.")
        if points.shape[1] < 3:
            rest = np.broadcast_to(tissue.points[0, points.shape[1] :], (len(points), 3 - points.shape[1]))
            points = np.concatenate([points, rest], axis=1)
        names = self.names if self.names is not None else tuple(f"probe-{i}" for i in range(len(points)))
        if len(names) != len(points) or len(set(names)) != len(names):
            raise InputError(f"probes: {len(points)} points need as many different names; got {some(names)}.")
        return _Probes(tissue, _nearest_nodes(tissue, points, names), names)


def node_distance(tissue: Tissue) -> float:
    """Typical distance of neighboring nodes, mm."""
    if isinstance(tissue.domain, Grid):
        return tissue.domain.spacing
    ends = tissue.domain.points[tissue.domain.edges.vertices]
    return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean())


def _nearest_nodes(tissue: Tissue, points: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    from scipy.spatial import KDTree

    distance, index = KDTree(tissue.points).query(points)
    far = np.flatnonzero(distance > 1.5 * node_distance(tissue))
    if far.size:
        k = int(far[0])
        low, high = tissue.points.min(axis=0), tissue.points.max(axis=0)
        raise InputError(
            f"probes: {names[k]} at ({', '.join(f'{c:g}' for c in points[k])}) mm is {distance[k]:.3g} mm from the "
            f"nearest conducting cell; the tissue spans {_span(low, high)} mm. Move it into the tissue."
        )
    return np.asarray(index)


def _span(low: np.ndarray, high: np.ndarray) -> str:
    return " x ".join(f"{a:g}..{b:g}" for a, b in zip(low, high, strict=True))


class _Probes(Recorder):
    def __init__(self, tissue: Tissue, nodes: np.ndarray, names: tuple[str, ...]):
        self.nodes = nodes
        coords = {"site": np.asarray(names)}
        attrs = {**_VM, "points": tissue.points[nodes].tolist()}
        self.channels = (Channel("probes", ("site", "time"), "time", (len(names),), coords, "float64", attrs),)

    def sample(self, t: float, vm: np.ndarray) -> Rows:
        return {"probes": vm[self.nodes][:, None]}


@runtime_checkable
class LeadField(Protocol):
    """A linear map from the nodes' transmembrane potentials (mV) to leads: `ForwardOperator`, or anything like it."""

    @property
    def out_sites(self) -> tuple[str, ...]:
        """Names of the leads."""
        ...

    @property
    def n_in(self) -> int:
        """Number of nodes."""
        ...

    def apply(self, x: Any) -> Any:
        """Lead potentials, mV."""
        ...


@dataclass(frozen=True, eq=False)
class Ecg:
    """Leads, computed inside the loop: no frame is kept.

    Parameters
    ----------
    lead_field
        From `einthoven.forward.lead_field` or any operator over the tissue's nodes.
    every
        Interval, ms.
    name
        Of the result; several of them in one run need different names.
    """

    lead_field: LeadField
    every: float = 1.0
    name: str = "ecg"

    def __post_init__(self):
        _positive(self.every, self.name)

    def start(self, tissue: Tissue, model: IonicModel) -> Recorder:
        """Check that the lead field belongs to the tissue."""
        del model
        if self.lead_field.n_in != tissue.n_nodes:
            raise InputError(
                f"{self.name}: the lead field has {self.lead_field.n_in} columns, the tissue {tissue.n_nodes} "
                "conducting nodes; build the lead field for this very tissue."
            )
        return _Ecg(self)


class _Ecg(Recorder):
    def __init__(self, keep: Ecg):
        self.name, self.lead_field = keep.name, keep.lead_field
        sites = np.asarray(keep.lead_field.out_sites)
        attrs = {
            "quantity": getattr(keep.lead_field, "out_quantity", "ecg"),
            "reference": getattr(keep.lead_field, "reference", "absolute"),
            "unit": "mV",
            "time_unit": "ms",
        }
        self.channels = (
            Channel(self.name, ("site", "time"), "time", (len(sites),), {"site": sites}, "float64", attrs),
        )

    def sample(self, t: float, vm: np.ndarray) -> Rows:
        return {self.name: np.asarray(self.lead_field.apply(vm)).reshape(-1, 1)}


# -- activation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Activation:
    """When each node is activated and recovers: crossings of two levels, interpolated linearly between time steps.

    Found inside the compiled loop, at every step. Results ``activation`` and ``recovery`` have dims (beat, node), NaN
    where there was none; their difference is the duration at the recovery level.

    Parameters
    ----------
    level
        Upward crossing that is activation, mV.
    recovery_level
        Downward crossing after it that is recovery, mV.
    max_beats
        Later beats are not kept.
    """

    level: float = -40.0
    recovery_level: float = -70.0
    max_beats: int = 1

    def __post_init__(self):
        if not self.recovery_level <= self.level:
            raise InputError(
                f"activation: the recovery level ({self.recovery_level:g} mV) must not lie above the activation level "
                f"({self.level:g} mV)."
            )
        if not 1 <= self.max_beats <= 10_000:
            raise InputError(f"activation: max_beats must be 1 to 10000; got {self.max_beats}.")
