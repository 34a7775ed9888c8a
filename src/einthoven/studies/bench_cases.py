"""Simulated waves for comparing imaging methods, without inverse crime.

Truth is computed on a finer heart and seen through the operator of finer surfaces; it is imaged on coarser ones.

- ``dalhousie-2007``: epicardium of 1100 nodes, 352 leads; waves on the heart refined along its curvature (4394 nodes).
- ``phantom-surface``: closed surface of both ventricles, 120 leads; waves on a finer mesh of the same anatomy.
- ``phantom``: the same as a double layer with lungs and blood; truth is the *volume* of both ventricles, of other cells
  (Bueno-Orovio, three layers) than a solver may assume (Mitchell-Schaeffer, alike everywhere).

The first two take the excitation 100 mV x u for the potential of the heart surface, as the imaging papers do. Waves
(`CASES`): one focus; two foci; re-entry; a wave of other cells, clock and uneven diffusivity than is assumed; a heart
that lies 5 mm and 5 degrees from where the operator has it. All but the last may be disturbed (`disturbances`): the
data then come from another body, or from other leads, than the operator knows.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import ForwardOperator, InputError, LeadSystem, Recording, Region, Surface, VolumeConductor
from einthoven.datasets import load_case
from einthoven.datasets.phantom import LEFT, RIGHT, Phantom
from einthoven.forward import bem
from einthoven.forward.lead_errors import center, moved
from einthoven.geometry.distance import geodesic
from einthoven.geometry.remesh import refined
from einthoven.inverse.physics.waves import imaging_cells, wide_front_cells
from einthoven.ionic import IonicModel
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.ionic.bueno_orovio_2008 import BuenoOrovio2008
from einthoven.ionic.registry import by_label
from einthoven.protocol import Ball, Nodes, Protocol, Stimulus
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.studies.disturbances import (
    OF_THE_BODY,
    Build,
    check_disturbance,
    disturbed_body,
    disturbed_leads,
    signal_rms,
    without_lungs,
)
from einthoven.studies.phantom_beat import (
    FINE,
    INTRACELLULAR_CONDUCTIVITY,
    Conduction,
    EarlySite,
    VolumeBeat,
    carried,
)
from einthoven.tissue import Tissue

GEOMETRIES = ("dalhousie-2007", "phantom-surface", "phantom")
CASES = ("one focus", "two foci", "re-entry", "mismatched", "wrong pose")
REFERENCES = ("absolute", "average")

#: D of the waves, mm2/ms: 0.25 cm2 per time unit of 12.9 ms; of re-entry 0.15.
DIFFUSIVITY, REENTRY_DIFFUSIVITY = 0.25 * 100 / 12.9, 0.15 * 100 / 12.9
#: Frames: interval (ms) and number.
FRAME, N_TIMES = 4.3, 120
#: Radius of a focus, mm; the second one: least distance from the first, mm, and onset, ms (later, or nearer, the first
#: wave would be there before).
RADIUS, APART, SECOND = 12.0, 80.0, 30.0
#: A wrong pose: mm and degrees, both in random directions.
SHIFT_MM, TURN_DEG = 5.0, 5.0
#: Volume of the phantom: ms between frames, and before the first activation.
VOLUME_FRAME = 4.0
#: Largest thickness of its wall that solvers assume, mm.
WALL = 20.0


@dataclass(frozen=True)
class BenchCase:
    """What decides a set of data.

    Parameters
    ----------
    geometry, case, reference
        One of `GEOMETRIES`, `CASES`, `REFERENCES`.
    position
        Number of the random choice of foci (and of the uneven diffusivity and the wrong pose).
    sigma
        Standard deviation of the noise, mV.
    seed
        Of the noise, and of what a disturbance draws.
    disturbance, size
        One of `einthoven.studies.disturbances.KINDS` and its size; size 0 is none.
    """

    geometry: str = "dalhousie-2007"
    case: str = "one focus"
    reference: str = "absolute"
    position: int = 0
    sigma: float = 5.0
    seed: int = 0
    disturbance: str = ""
    size: float = 0.0

    def __post_init__(self):
        choices = {"geometry": GEOMETRIES, "case": CASES, "reference": REFERENCES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        if self.geometry == "phantom" and self.case not in ("one focus", "two foci"):
            raise InputError(f"phantom: the volume has the cases 'one focus' and 'two foci' only; got {self.case!r}.")
        if self.geometry == "phantom" and self.reference != "average":
            raise InputError("phantom: a double layer has no absolute reference; take 'average'.")
        if self.disturbance:
            check_disturbance(self.disturbance, self.size)
            if self.case == "wrong pose":
                raise InputError("a wrong pose is a disturbance itself: take the case 'one focus' with 'heart shift'.")


@dataclass(frozen=True, eq=False)
class BenchData:
    """What a solver is given, and what it is judged by.

    Parameters
    ----------
    operator, recording
        In the reference of the case.
    truth
        At the nodes of the operator, with its zero, mV.
    foci
        Nodes of the operator nearest to the foci, the earliest first; none for re-entry.
    membrane
        Cells that a solver may assume: those of the truth, but for the mismatched case and the volume.
    wall
        Largest thickness of a wall that a solver may assume, mm (`CellPhysics.wall`); None: no wave crosses one.
    sigma
        Standard deviation of the noise, mV.
    """

    operator: ForwardOperator
    recording: Recording
    truth: Recording
    foci: Int[np.ndarray, " k"]
    membrane: IonicModel
    wall: float | None
    sigma: float


def bench_data(case: BenchCase) -> BenchData:
    """Return the data of a case; waves and operators are computed once in a process."""
    place = _place(case.geometry)
    wave = _wave(case.geometry, case.case, case.position)
    name, size, sigma = (case.disturbance if case.size else ""), case.size, case.sigma
    clean = wave.clean
    if name in OF_THE_BODY:
        clean = _other_body(case.geometry, name, size, 0 if name == "torso scale" else case.seed).record(wave.fine)
    elif name == "noise":
        sigma = float(np.hypot(sigma, size / 100 * signal_rms(clean, case.reference)))
    noise = np.random.default_rng([1000, case.seed, case.position]).standard_normal(clean.values.shape)
    operator, recording = _known(case, place), clean.with_values(clean.values + sigma * noise)
    if name.startswith(("electrodes", "leads")):
        operator, recording = disturbed_leads(operator, recording, sigma * noise, name, size, case.seed)
    if case.reference == "average":
        operator = LeadSystem.average(operator.out_sites).operator() @ operator
        recording = recording.average_referenced()
    wall = WALL if case.geometry == "phantom" else None
    return BenchData(operator, recording, wave.truth, wave.foci, assumed_cells(case), wall, sigma)


def _known(case: BenchCase, place: "_Place") -> ForwardOperator:
    """The operator that images, absolute (of the double layer: against the skin)."""
    if case.case == "wrong pose":
        return _displaced(case.geometry, case.position)
    if case.disturbance == "lungs left out" and case.size:
        return _lungless(case.geometry)
    return place.operator


def assumed_cells(case: BenchCase) -> IonicModel:
    """Cells that a solver may assume; of re-entry the faster recovery is known."""
    if case.geometry == "phantom":
        return wide_front_cells()
    return reentry_cells() if case.case == "re-entry" else imaging_cells()


def reentry_cells() -> AlievPanfilov1996:
    """Cells that recover fast enough for a wave to rotate."""
    return replace(imaging_cells(), e0=0.01)


@dataclass(frozen=True)
class _LayeredBeat(VolumeBeat):
    """A beat of the minimal human ventricular model: its endocardial, middle and epicardial cells, a third each."""

    def monodomain(self) -> Monodomain:
        muscle = super().monodomain()
        third = np.minimum((3 * muscle.tissue.label("transmural")).astype(int), 2)
        layers = {0: BuenoOrovio2008.endo(), 1: BuenoOrovio2008.mid(), 2: BuenoOrovio2008.epi()}
        return replace(muscle, model=by_label(third, layers))


@dataclass(frozen=True, eq=False)
class _Place:
    """The operator that images, and the finer surface and operator that make the data."""

    operator: ForwardOperator
    surface: Surface
    seen: ForwardOperator

    @property
    def heart(self) -> Surface:
        assert self.operator.source is not None
        return self.operator.source


@dataclass(frozen=True, eq=False)
class _Wave:
    fine: Recording
    clean: Recording
    truth: Recording
    foci: Int[np.ndarray, " k"]


@lru_cache(maxsize=3)
def _place(geometry: str) -> _Place:
    if geometry == "dalhousie-2007":
        case = load_case(geometry)
        heart, torso = case.source().surface, case.conductor
        fine = refined(heart, curved=True).surface
        skin = VolumeConductor(Region(refined(torso.skin).surface, torso.regions[0].conductivity))
        seen = bem.transfer(fine, skin, case.electrodes)
        return _Place(bem.transfer(heart, torso, case.electrodes), fine, seen)
    coarse = Phantom()
    fine = Phantom(FINE, coarse.conductivities, coarse.thorax)
    return _Place(_phantom_operator(coarse, geometry), fine.heart, _phantom_operator(fine, geometry))


def _phantom_operator(phantom: Phantom, geometry: str) -> ForwardOperator:
    return _build(geometry)(phantom.heart, phantom.conductor, phantom.electrodes("120"))


def _build(geometry: str) -> Build:
    """How operators of a geometry are made."""
    if geometry == "phantom":
        return partial(bem.double_layer, intracellular_conductivity=INTRACELLULAR_CONDUCTIVITY)
    return bem.transfer


@lru_cache(maxsize=8)
def _other_body(geometry: str, name: str, size: float, seed: int) -> ForwardOperator:
    """The operator that makes the data of a disturbed body."""
    return disturbed_body(_build(geometry), _place(geometry).seen, name, size, seed)


@lru_cache(maxsize=2)
def _lungless(geometry: str) -> ForwardOperator:
    return without_lungs(_build(geometry), _place(geometry).operator)


@lru_cache(maxsize=4)
def _displaced(geometry: str, position: int) -> ForwardOperator:
    """The operator of a heart that lies elsewhere than the one that made the data."""
    place, rng = _place(geometry), np.random.default_rng([position, 5])
    shift, turn = (size * _unit(rng) for size in (SHIFT_MM, TURN_DEG))
    heart = moved(place.heart, np.concatenate([shift, turn]), center(place.heart))
    assert place.operator.conductor is not None
    return bem.transfer(heart, place.operator.conductor, place.operator.electrodes)


def _unit(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    direction = rng.standard_normal(3)
    return direction / np.linalg.norm(direction)


@lru_cache(maxsize=16)
def _wave(geometry: str, case: str, position: int) -> _Wave:
    place = _place(geometry)
    if geometry == "phantom":
        fine, points = _volume_wave(case, position)
    elif case == "re-entry":
        fine, points = _reentry(place.surface, position), np.zeros((0, 3))
    else:
        fine, points = _surface_wave(place, case, position)
    nodes = [int(np.linalg.norm(place.heart.points - p, axis=1).argmin()) for p in points]
    return _Wave(fine, place.seen.record(fine), _on_coarse(place, fine), np.array(nodes, dtype=np.int64))


def _on_coarse(place: _Place, fine: Recording) -> Recording:
    """The fine wave at the nodes of the coarse heart: the same nodes where it was refined from it."""
    n = place.heart.n_points
    if place.surface.n_points > n and np.array_equal(place.surface.points[:n], place.heart.points):
        return Recording(fine.values[:n], fine.times, place.operator.in_sites, fine.quantity)
    return carried(fine, place.surface, place.heart)


def _surface_wave(place: _Place, case: str, position: int) -> tuple[Recording, Float[np.ndarray, "k 3"]]:
    """A wave from one focus or two, as heart-surface potential; foci lie between nodes of the coarse heart."""
    surface, n = place.surface, place.heart.n_points
    rng = np.random.default_rng(position)
    foci, onsets = [surface.points[rng.integers(n, surface.n_points)]], [0.0]
    if case == "two foci":
        far = np.flatnonzero(np.linalg.norm(surface.points[n:] - foci[0], axis=1) >= APART)
        foci.append(surface.points[n + np.random.default_rng([position, 2]).choice(far)])
        onsets.append(SECOND)
    stimuli = [_around(surface, focus, onset) for focus, onset in zip(foci, onsets, strict=True)]
    cells, diffusivity = imaging_cells(), np.full(surface.n_points, DIFFUSIVITY)
    if case == "mismatched":
        cells = AlievPanfilov1996(a=0.13, mu1=0.2, mu2=0.3, time_unit=12.9 / 1.1)
        diffusivity = 1.2 * 1.1 * DIFFUSIVITY * (1 + 0.4 * uneven(surface, rng))
    muscle = Monodomain(Tissue.isotropic(surface, diffusivity), cells)
    return _simulated(surface, muscle, stimuli, N_TIMES * FRAME), np.array(foci)


def _around(surface: Surface, focus: Float[np.ndarray, " 3"], onset: float) -> Stimulus:
    """A current of 4 ms on all nodes near a focus along the surface."""
    start = int(np.linalg.norm(surface.points - focus, axis=1).argmin())
    return Stimulus(Nodes(np.flatnonzero(geodesic(surface, [start]) <= RADIUS)), onset, 4.0, 20.0)


def _simulated(surface: Surface, muscle: Monodomain, stimuli: list[Stimulus], length: float) -> Recording:
    """The last frames of a simulation, potential above rest."""
    keep = [Movie(FRAME, dtype="float64")]
    movie = simulate(muscle, Protocol(tuple(stimuli)), length, dt=0.025, keep=keep).data["movie"]
    values, times = movie.values.T[:, -N_TIMES:] - muscle.model.scale.rest, movie["time"].values[-N_TIMES:]
    return Recording(values, times - times[0] + FRAME, surface.node_names, "hsp")


def uneven(surface: Surface, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """A smooth random field between -1 and 1: six plane waves of 52 mm."""
    waves = 0.12 * np.stack([_unit(rng) for _ in range(6)])
    total = np.cos(surface.points @ waves.T + rng.uniform(0, 2 * np.pi, 6)).sum(axis=1)
    return total / np.abs(total).max()


def _reentry(surface: Surface, position: int) -> Recording:
    """A rotating wave: a second stimulus across the tail of a first one; the first interval that sustains it.

    The recording begins when both stimuli are long over.
    """
    rng = np.random.default_rng([position, 3])
    first = surface.points[rng.integers(surface.n_points)]
    away = geodesic(surface, [int(np.linalg.norm(surface.points - first, axis=1).argmin())])
    middle = surface.points[np.abs(away - 0.5 * away.max()).argmin()]
    side = np.linalg.norm(surface.points - middle, axis=1)
    near = np.flatnonzero(side <= 0.35 * np.ptp(surface.points, axis=0).max())
    muscle = Monodomain(Tissue.isotropic(surface, REENTRY_DIFFUSIVITY), reentry_cells())
    for interval in np.arange(140.0, 420.0, 20.0):
        second = Stimulus(Nodes(near), float(interval), 4.0, 20.0)
        found = _simulated(surface, muscle, [_around(surface, first, 0.0), second], interval + 2 * N_TIMES * FRAME)
        if (found.values[:, -1] > 50.0).mean() > 0.02:
            return found
    raise InputError(f"re-entry: position {position} sustains none; take another.")


def _volume_wave(case: str, position: int) -> tuple[Recording, Float[np.ndarray, "k 3"]]:
    """A beat of the ventricular volume paced at one site or two, its transmembrane potential on the fine surface."""
    rng = np.random.default_rng(position)
    sites = tuple(_paced(rng, SECOND * k) for k in range(2 if case == "two foci" else 1))
    conduction = Conduction(endocardium=Conduction().wall, sites=sites)
    beat = _LayeredBeat(conduction=conduction, onset=VOLUME_FRAME, duration=N_TIMES * VOLUME_FRAME)
    found = beat(_place("phantom").surface)
    keep = slice(0, None, int(VOLUME_FRAME))
    centers = [s.region.center for s in beat.protocol(beat.monodomain().tissue).stimuli if isinstance(s.region, Ball)]
    return Recording(found.values[:, keep], found.times[keep], found.sites, "vm"), np.array(centers)


def _paced(rng: np.random.Generator, time: float) -> EarlySite:
    """A random site on either side of either wall."""
    ventricle, transmural = int(rng.choice([LEFT, RIGHT])), float(rng.choice([0.0, 1.0]))
    return EarlySite(ventricle, transmural, float(rng.uniform(0.15, 0.8)), float(rng.uniform(-150, 150)), time)
