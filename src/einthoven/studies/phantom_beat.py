"""A normal beat of the phantom: analytic activation, its body-surface potentials, and the case to image.

The heart's activity enters in one place, a function from a closed heart surface to its transmembrane potentials
(`HeartBeat`). Here it is analytic: travel times through the ventricular wall from a few early sites, and an action
potential that starts and ends at each place's own times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import Case, Electrodes, ForwardOperator, InputError, Recording, Source, Surface
from einthoven.datasets.phantom import LEFT, RIGHT, Phantom, Resolution, Ventricles
from einthoven.datasets.phantom.implicit import gradient

#: Transmembrane potentials at the nodes of a closed heart surface: what a simulator replaces.
HeartBeat = Callable[[Surface], Recording]

#: Edge lengths of the model that makes truth and data; the image is made on the phantom's own, coarser meshes.
FINE = Resolution(torso=19.0, lungs=19.0, heart=4.7, envelope=7.5, blood=9.0)

#: Intracellular conductivity of the source, mS/mm: between 0.019 across and 0.17 along the fibers (Niederer et al.
#: 2011, doi:10.1098/rsta.2011.0139), chosen so that the 12-lead amplitudes are normal. All potentials are
#: proportional to it.
INTRACELLULAR_CONDUCTIVITY = 0.04


class EarlySite(NamedTuple):
    """Where activation starts: coordinates in the wall (the angle in degrees) and time, ms."""

    ventricle: int
    transmural: float
    apicobasal: float
    rotational: float
    time: float


#: The earliest sites of a normal human beat (Durrer et al. 1970, doi:10.1161/01.CIR.41.6.899): on the left side high on
#: the front, at the middle of the septum and low at the back, all beside the septum; on the right at the foot of the
#: anterior papillary muscle, 5 to 10 ms later.
DURRER_SITES = (
    EarlySite(LEFT, 0.0, 0.70, 85.0, 0.0),
    EarlySite(LEFT, 0.0, 0.45, 0.0, 7.0),
    EarlySite(LEFT, 0.0, 0.40, -85.0, 0.0),
    EarlySite(RIGHT, 0.0, 0.45, 25.0, 4.0),
    EarlySite(LEFT, 1.0, 0.35, 5.0, 3.0),
)


@dataclass(frozen=True)
class Conduction:
    """Speeds of the analytic activation, mm/ms.

    Parameters
    ----------
    endocardium
        Along the inner `layer` mm of both walls, which stand for the Purkinje network; falls to `along` near the base,
        where the network ends.
    along, across
        In the wall, parallel to its layers and through them.
    layer
        Thickness of the fast layer, mm.
    sites
        Where and when activation starts.
    """

    endocardium: float = 1.4
    along: float = 0.55
    across: float = 0.33
    layer: float = 2.0
    sites: tuple[EarlySite, ...] = DURRER_SITES


@dataclass(frozen=True)
class ActionPotential:
    """A smooth action potential, mV and ms.

    v = rest + (peak - rest) rise(t - lat) (1 - sag (t - lat)) fall(t - lat - duration), rise and fall logistic.

    Parameters
    ----------
    rest, peak
        mV.
    rise, fall
        Time constants of the upstroke (10 to 90 % in 2 ms) and of recovery, ms.
    sag
        Slope of the plateau, 1/ms.
    """

    rest: float = -85.0
    peak: float = 20.0
    rise: float = 0.46
    fall: float = 13.0
    sag: float = 0.0008

    def __call__(
        self,
        times: Float[np.ndarray, " n_times"],
        lat: Float[np.ndarray, " n"],
        duration: Float[np.ndarray, " n"],
        *,
        spread: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, "n n_times"]:
        """Potentials of sites activated at `lat`; `spread` (ms, standard deviation) widens each site's upstroke."""
        since = times - lat[:, None]
        rise = np.sqrt(self.rise**2 + 3 * spread**2 / np.pi**2)[:, None]
        shape = _logistic(since / rise) * _logistic((duration[:, None] - since) / self.fall)
        return self.rest + (self.peak - self.rest) * shape * (1 - self.sag * np.clip(since, 0.0, None))


@dataclass(frozen=True)
class Recovery:
    """How long the action potentials last, ms, so that recovery runs roughly against activation.

    duration = typical - late (lat - mean lat) - epicardial m - right r, m from 0 at the endocardium to 1 at the
    epicardium, r from 0 in the left to 1 in the right ventricle: shorter where activation is late (Franz et al. 1987,
    doi:10.1161/01.CIR.75.2.379), towards the epicardium and in the right ventricle.
    """

    typical: float = 260.0
    late: float = 1.2
    epicardial: float = 12.0
    right: float = 40.0

    def durations(
        self, ventricles: Ventricles, points: Float[np.ndarray, "n 3"], lat: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Durations at points of the wall."""
        right = ventricles.right_share(points)
        depth = ventricles.coordinates(points).transmural * (1 - right) + right
        return self.typical - self.late * (lat - lat.mean()) - self.epicardial * depth - self.right * right


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


@dataclass(frozen=True)
class AnalyticBeat:
    """A beat from travel times in the wall; the frames are 1 ms apart, activation starts at `onset`.

    Parameters
    ----------
    ventricles
        The heart.
    conduction, action_potential, recovery
        How it spreads, what each place does, and how long.
    onset
        Start of activation, ms; the frames before are quiet.
    duration
        Length of the recording, ms.
    """

    ventricles: Ventricles
    conduction: Conduction = Conduction()
    action_potential: ActionPotential = ActionPotential()
    recovery: Recovery = Recovery()
    onset: float = 40.0
    duration: float = 440.0

    def activation(self, surface: Surface) -> Float[np.ndarray, " n_points"]:
        """Activation times of the surface's nodes, ms."""
        return self.onset + _travel_times(self.ventricles, self.conduction).at(surface.points)

    def __call__(self, surface: Surface) -> Recording:
        """Transmembrane potentials at the nodes; each is the mean over the node's share of the surface."""
        times = np.arange(0.0, self.duration)
        lat = self.activation(surface)
        duration = self.recovery.durations(self.ventricles, surface.points, lat)
        values = self.action_potential(times, lat, duration, spread=_spread(surface, lat))
        return Recording(values, times, surface.node_names, "vm")


def phantom_case(
    electrodes: int | str = 120,
    *,
    noise: float = 0.01,
    seed: int = 1,
    phantom: Phantom | None = None,
    beat: HeartBeat | None = None,
) -> Case:
    """Return the built-in case: one normal beat of the phantom, with its truth.

    Truth and data come from a finer model with lungs and blood (`FINE`); the case holds the coarser meshes on which the
    heart is imaged, so that the imaging operator is not the one that made the data.

    Parameters
    ----------
    electrodes
        Layout: 12, 64, 120, 192 or ``"frank"``.
    noise
        Standard deviation of white noise on every electrode, mV.
    seed
        Of the noise.
    phantom
        Geometry on which the heart is imaged; default `Phantom()`.
    beat
        Transmembrane potentials on a closed heart surface; default `AnalyticBeat`.

    Returns
    -------
    Case
        Sources: the epicardial envelope (hsp) and the closed heart (vm), both with truth. The recording is referenced
        to the mean of its electrodes.
    """
    if not noise >= 0:
        raise InputError(f"phantom: noise is a standard deviation in mV and cannot be negative; got {noise:g}.")
    phantom = phantom if phantom is not None else Phantom()
    beat = beat if beat is not None else AnalyticBeat(phantom.ventricles)
    fine = Phantom(FINE, phantom.conductivities, phantom.thorax)
    vm = beat(fine.heart)
    layout = str(electrodes)
    to_skin, to_envelope = _fine_operators(fine, layout, phantom.envelope)
    clean = to_skin.record(vm)
    random = np.random.default_rng(seed)
    noisy = clean.with_values(clean.values + noise * random.standard_normal(clean.values.shape))
    return Case(
        name="phantom",
        conductor=phantom.conductor,
        sources=(
            Source(phantom.envelope, "hsp", to_envelope.record(vm)),
            Source(phantom.heart, "vm", _carried(vm, fine.heart, phantom.heart), INTRACELLULAR_CONDUCTIVITY),
        ),
        electrodes=phantom.electrodes(electrodes),
        recording=noisy.average_referenced(),
        info=_info(clean, noise, seed),
    )


def _info(clean: Recording, noise: float, seed: int) -> dict[str, str]:
    signal = clean.average_referenced().values
    ratio = "none" if noise == 0 else f"{20 * np.log10(np.sqrt((signal**2).mean()) / noise):.1f} dB"
    return {
        "origin": "generated by einthoven.studies.phantom_beat",
        "licence": "BSD-3-Clause",
        "citation": "einthoven, the phantom",
        "frame": "LPS",
        "notes": f"Analytic normal beat; white noise of {1000 * noise:g} uV (seed {seed}), signal to noise {ratio}.",
    }


@lru_cache(maxsize=4)
def _fine_operators(fine: Phantom, layout: str, envelope: Surface) -> tuple[ForwardOperator, ForwardOperator]:
    """Return vm -> electrodes and vm -> envelope nodes, from one solution of the boundary-element system.

    At the nodes of the skin the potential's integral reproduces the solution itself, so the nodes around the
    electrodes are taken together with those of the envelope.
    """
    from einthoven.forward.bem import double_layer_to_points
    from einthoven.forward.electrodes import interpolation

    electrodes, skin = fine.electrodes(layout), fine.torso
    weights = interpolation(skin, electrodes).matrix
    used = np.flatnonzero(weights.any(axis=0))
    points = np.concatenate([skin.points[used], envelope.points])
    names = (*(skin.node_names[i] for i in used), *envelope.node_names)
    found = double_layer_to_points(
        fine.heart, fine.conductor, Electrodes(names, points), intracellular_conductivity=INTRACELLULAR_CONDUCTIVITY
    )
    sources, k = fine.heart.node_names, len(used)
    to_skin = weights[:, used] @ found.matrix[:k]
    return (
        ForwardOperator(to_skin, sources, electrodes.names, "vm", "bsp", found.reference),
        ForwardOperator(found.matrix[k:], sources, envelope.node_names, "vm", "hsp", found.reference),
    )


def _carried(recording: Recording, source: Surface, target: Surface) -> Recording:
    """The recording at the nodes of another mesh of the same body, linear on the closest triangle."""
    from einthoven.geometry.locate import closest_points

    found = closest_points(source, target.points)
    corners = recording.values[source.triangles[found.triangle]]
    values = np.einsum("nk,nkt->nt", found.barycentric, corners)
    return Recording(values, recording.times, target.node_names, recording.quantity, recording.reference)


def _spread(surface: Surface, lat: np.ndarray) -> Float[np.ndarray, " n_points"]:
    """Root mean square difference of activation within a node's share of the surface, ms (linear on triangles)."""
    from einthoven.geometry.operators import areas

    area = areas(surface)
    total, weight = np.zeros(surface.n_points), np.zeros(surface.n_points)
    for k in range(3):
        at, one, two = (surface.triangles[:, (k + j) % 3] for j in range(3))
        a, b = lat[one] - lat[at], lat[two] - lat[at]
        np.add.at(total, at, area * (a * a + b * b + a * b) / 10)
        np.add.at(weight, at, area)
    return np.sqrt(total / weight)


# -- travel times -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _TravelTimes:
    """Travel times on a regular grid in the heart's own frame; NaN outside the muscle."""

    ventricles: Ventricles
    start: Float[np.ndarray, " 3"]
    step: float
    values: Float[np.ndarray, "nx ny nz"]

    def at(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Trilinear interpolation among the grid nodes in the muscle."""
        place = (self.ventricles.to_local(points) - self.start) / self.step
        cell = np.floor(place).astype(int)
        t = place - cell
        total, weight = np.zeros(len(points)), np.zeros(len(points))
        for k in range(8):
            corner = np.array([k & 1, k >> 1 & 1, k >> 2 & 1])
            value = self.values[tuple((cell + corner).T)]
            w = np.where(np.isnan(value), 0.0, np.where(corner, t, 1 - t).prod(axis=1) + 1e-9)
            total += w * np.nan_to_num(value)
            weight += w
        return total / weight


@lru_cache(maxsize=4)
def _travel_times(ventricles: Ventricles, conduction: Conduction, step: float = 1.8) -> _TravelTimes:
    """First arrival along grid edges to the 26 neighbors, each with the speed of its direction and place."""
    from scipy.sparse.csgraph import dijkstra

    low, high = ventricles.local_box
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    shape = tuple(len(a) for a in axes)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # one layer of nodes around the muscle, so that every point of its surface has neighbors
    chosen = np.flatnonzero(ventricles.myocardium(ventricles.to_world(grid)) < 0.75 * step)
    wall = _Wall.of(ventricles, conduction, grid[chosen])
    graph = _links(wall, chosen, shape, step)
    arrival = dijkstra(graph, directed=False, indices=len(chosen))[:-1]
    values = np.full(len(grid), np.nan)
    values[chosen] = _smoothed(graph[:-1, :-1], arrival)
    return _TravelTimes(ventricles, low, step, values.reshape(shape))


def _links(wall: "_Wall", chosen: np.ndarray, shape: tuple[int, ...], step: float):
    """Travel times between neighbors as a sparse graph; one more node, the last, leads to the early sites."""
    from scipy.sparse import coo_array

    n = len(chosen)
    index = np.full(shape, -1)
    index.reshape(-1)[chosen] = np.arange(n)
    padded = np.pad(index, 1, constant_values=-1)
    rows, columns, times = [], [], []
    for offset in _half_neighbors():
        shifted = padded[tuple(slice(1 + o, 1 + o + m) for o, m in zip(offset, shape, strict=True))]
        other = shifted.reshape(-1)[chosen]
        here = np.flatnonzero(other >= 0)
        rows.append(here)
        columns.append(other[here])
        times.append(wall.time(here, other[here], step * offset))
    sites = wall.conduction.sites
    rows.append(np.full(len(sites), n))
    columns.append(np.array([wall.nearest(site) for site in sites]))
    times.append(np.array([site.time + 1e-6 for site in sites]))  # a stored zero would be no link
    entries = (np.concatenate(times), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(entries, shape=(n + 1, n + 1)).tocsr()


def _smoothed(graph, values: np.ndarray) -> np.ndarray:
    """Mean of a node and its neighbors: takes away the steps of the grid's directions."""
    links = ((graph + graph.T) > 0).astype(float)
    return 0.5 * values + 0.5 * (links @ values) / np.maximum(links.sum(axis=1), 1)


def _half_neighbors() -> list[np.ndarray]:
    """One of each pair of opposite offsets to the 26 neighbors."""
    offsets = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return list(offsets[14:])


@dataclass(frozen=True, eq=False)
class _Wall:
    """Grid nodes with their coordinates, the direction through the wall and the speed of the fast layer."""

    coordinates: tuple[np.ndarray, ...]
    through: Float[np.ndarray, "n 3"]
    fast: Float[np.ndarray, " n"]
    conduction: Conduction

    @classmethod
    def of(cls, ventricles: Ventricles, conduction: Conduction, nodes: np.ndarray) -> "_Wall":
        found = ventricles.coordinates(ventricles.to_world(nodes))
        left = gradient(ventricles.left_cavity.distance, nodes)
        right = gradient(ventricles.right_outside.distance, nodes)
        through = np.where((found.ventricle == LEFT)[:, None], left, right)
        through = through / np.maximum(np.linalg.norm(through, axis=1, keepdims=True), 1e-9)
        depth = np.minimum(np.abs(ventricles.left_cavity.distance(nodes)), np.abs(ventricles.right_cavity(nodes)))
        network = np.clip((conduction.layer - depth) / 1.0, 0.0, 1.0) * np.clip(
            (0.95 - found.apicobasal) / 0.2, 0.0, 1.0
        )
        return cls(tuple(found), through, network, conduction)

    def time(self, a: np.ndarray, b: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """Travel time from node to node along one grid edge."""
        c = self.conduction
        length = np.linalg.norm(edge)
        normal = self.through[a] + self.through[b]
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        across = (normal @ (edge / length)) ** 2
        slow = np.sqrt(across / c.across**2 + (1 - across) / c.along**2)
        fast = 0.5 * (self.fast[a] + self.fast[b])
        return length * (fast / c.endocardium + (1 - fast) * slow)

    def nearest(self, site: EarlySite) -> int:
        """The node at an early site, on the endocardium."""
        transmural, height, angle, ventricle = self.coordinates
        turn = np.angle(np.exp(1j * (angle - np.radians(site.rotational))))
        off = (80 * (height - site.apicobasal)) ** 2 + (30 * turn) ** 2 + (20 * (transmural - site.transmural)) ** 2
        return int(np.argmin(np.where(ventricle == site.ventricle, off, np.inf)))
