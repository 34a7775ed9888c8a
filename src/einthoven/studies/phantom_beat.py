"""A normal beat of the phantom: simulated in its ventricles, its body-surface potentials, and the case to image.

The heart's activity enters in one place, a function from a closed heart surface to its transmembrane potentials
(`HeartBeat`). `VolumeBeat` simulates it in the ventricular muscle; what the muscle does is seen from outside through
its surface only (`einthoven.forward.sampling`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import Case, Electrodes, ForwardOperator, InputError, Recording, Source, Surface
from einthoven.core.progress import Progress, silent
from einthoven.datasets.phantom import LEFT, RIGHT, FastLayer, Phantom, Resolution, ventricular_tissue, wall_point
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.protocol import Protocol, multi_site
from einthoven.simulate import Ecg, Monodomain, Simulation, simulate
from einthoven.studies.kept import kept
from einthoven.studies.provenance import checksum
from einthoven.tissue import Tissue

#: Transmembrane potentials at the nodes of a closed heart surface.
HeartBeat = Callable[[Surface], Recording]

#: Edge lengths of the model that makes truth and data; the image is made on the phantom's own, coarser meshes.
FINE = Resolution(torso=19.0, lungs=19.0, heart=4.7, envelope=7.5, blood=9.0)

#: How the parts of the model are called in progress: meshes, beat, boundary elements.
BUILDING = "building the phantom"

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


#: Early sites of a normal human beat, after Durrer et al. 1970 (doi:10.1161/01.CIR.41.6.899): on the left side a strip
#: in front beside the septum, then the middle of the septum and the back beside it; on the right the foot of the
#: anterior papillary muscle and the lower septum, 5 to 7 ms later. Positions within these areas and times are ours,
#: chosen by looking at the 12-lead ECG.
DURRER_SITES = (
    EarlySite(LEFT, 0.0, 0.70, 85.0, 0.0),
    EarlySite(LEFT, 0.0, 0.55, 65.0, 0.0),
    EarlySite(LEFT, 0.0, 0.60, 0.0, 5.0),
    EarlySite(LEFT, 0.0, 0.40, -85.0, 5.0),
    EarlySite(RIGHT, 0.0, 0.45, 25.0, 5.0),
    EarlySite(LEFT, 1.0, 0.35, 5.0, 7.0),
)


@dataclass(frozen=True)
class Conduction:
    """How the beat spreads.

    The diffusivities are not a paper's: they were chosen for conduction velocities at the beat's own spacing, see
    `VolumeBeat`.

    Parameters
    ----------
    wall
        Diffusivity of the muscle, mm2/ms, alike in all directions: then its double layer is exact.
    endocardium
        Of the layer under both endocardia that stands for the Purkinje network, mm2/ms.
    layer
        Its thickness, mm.
    top
        Apicobasal coordinate where it ends (it fades over a fifth below).
    sites
        Where and when activation starts.
    """

    wall: float = 0.2
    endocardium: float = 3.0
    layer: float = 2.0
    top: float = 1.0
    sites: tuple[EarlySite, ...] = DURRER_SITES


@dataclass(frozen=True)
class Durations:
    """How long the action potential of an uncoupled cell lasts, from -40 mV up to -70 mV down, ms.

    duration = typical - epicardial d + basal b - right r, with d the depth in the left wall and septum (0 at the left
    endocardium, 1 at the outer side; 0 in the right ventricle), b the apicobasal coordinate and r from 0 in the left to
    1 in the right ventricle. Coupling evens them out: across the left wall less than half of the difference is left.
    The values were chosen by looking at the T waves.
    """

    typical: float = 305.0
    epicardial: float = 65.0
    basal: float = 10.0
    right: float = 10.0

    def at(self, tissue: Tissue, right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Durations at the nodes of a ventricular tissue; `right` is the share of the right ventricle there."""
        depth = tissue.label("transmural") * (1 - right)
        basal = self.basal * tissue.label("apicobasal")
        return self.typical - self.epicardial * depth + basal - self.right * right


#: Time constants of the cells, ms. Slower than the paper's 0.3 and 6, so that a spacing of 1 mm resolves the wavefront.
TAU_IN, TAU_OUT = 0.4, 8.0


def membrane(durations: Float[np.ndarray, " n"]) -> MitchellSchaeffer2003:
    """Cells whose uncoupled action potentials last that long, ms (-40 mV up to -70 mV down).

    tau_close = 0.5753 duration - 20.25 ms: a fit to single cells, within 0.4 ms for durations of 190 to 375 ms.
    """
    return MitchellSchaeffer2003(tau_in=TAU_IN, tau_out=TAU_OUT, tau_close=0.5753 * durations - 20.25)


@dataclass(frozen=True)
class VolumeBeat:
    """A beat simulated in the ventricular muscle; the frames are 1 ms apart, activation starts at `onset`.

    Monodomain equation, Mitchell-Schaeffer cells. Planar waves at the defaults (1 mm, 0.05 ms) run at 0.393 mm/ms in
    the wall and at 1.61 mm/ms where all of the tissue conducts like the endocardium.

    Parameters
    ----------
    phantom
        Whose ventricles beat.
    spacing
        Of the grid, mm.
    conduction, durations
        How it spreads, and how long each place stays active.
    onset
        Start of activation, ms; the frames before are quiet.
    duration
        Length of the recording, ms.
    dt
        Time step, ms; finer grids need shorter steps, the message of a step that is too long names the limit.
    """

    phantom: Phantom = field(default_factory=Phantom)
    spacing: float = 1.0
    conduction: Conduction = field(default_factory=Conduction)
    durations: Durations = field(default_factory=Durations)
    onset: float = 40.0
    duration: float = 440.0
    dt: float = 0.05

    def monodomain(self) -> Monodomain:
        """Muscle and membrane."""
        c = self.conduction
        fast = FastLayer(c.layer, c.endocardium / c.wall, c.top)
        tissue = ventricular_tissue(self.phantom, self.spacing, along=c.wall, across=c.wall, fast=fast)
        right = self.phantom.ventricles.right_share(tissue.points)
        return Monodomain(tissue, membrane(self.durations.at(tissue, right)), dtype="float32")

    def protocol(self, tissue: Tissue) -> Protocol:
        """The early sites as small stimuli; time runs from the first one."""
        sites = self.conduction.sites
        centers = [
            wall_point(
                tissue,
                ventricle=site.ventricle,
                transmural=site.transmural,
                apicobasal=site.apicobasal,
                rotational=float(np.radians(site.rotational)),
            )
            for site in sites
        ]
        return multi_site(centers, [site.time for site in sites], 3.0, duration=3.0, amplitude=50.0)

    def simulate(self, keep: Callable[[Tissue], Sequence[Any]], *, progress: Progress = silent) -> Simulation:
        """Run the beat and keep what is asked for.

        Parameters
        ----------
        keep
            From the tissue to the objects that say what to keep (`einthoven.simulate.Movie`, `Activation`, ...).
        progress
            Told about time steps.

        Returns
        -------
        Simulation
            Its times run from the first stimulus: `onset` is not in them.
        """
        heart = self.monodomain()
        length = self.duration - self.onset
        return simulate(
            heart, self.protocol(heart.tissue), length, dt=self.dt, keep=keep(heart.tissue), progress=progress
        )

    def __call__(self, surface: Surface, *, progress: Progress = silent) -> Recording:
        """Transmembrane potentials at the nodes; each is the mean over the node's share of the surface."""
        from einthoven.forward.sampling import surface_sampling

        beat = self.simulate(lambda tissue: [Ecg(surface_sampling(tissue, surface), name="surface")], progress=progress)
        active = beat.recording("surface")
        times = np.arange(0.0, self.duration)
        frame = np.clip(np.round(times - self.onset), 0, active.n_times - 1).astype(int)
        return Recording(active.values[:, frame], times, surface.node_names, "vm")


def phantom_case(
    electrodes: int | str = 120,
    *,
    noise: float = 0.01,
    seed: int = 1,
    phantom: Phantom | None = None,
    beat: HeartBeat | None = None,
    keep: bool = False,
    progress: Progress = silent,
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
        Transmembrane potentials on a closed heart surface; default `VolumeBeat`, simulated once in a process.
    keep
        Look for the beat in the user's cache, and keep it there (`einthoven.studies.kept`); not with `beat`.
    progress
        Told about the parts of the model and the simulation's time steps.

    Returns
    -------
    Case
        Sources: the epicardial envelope (hsp) and the closed heart (vm), both with truth. The recording is referenced
        to the mean of its electrodes.
    """
    check_noise(noise)
    phantom = phantom if phantom is not None else Phantom()
    fine = Phantom(FINE, phantom.conductivities, phantom.thorax)
    layout = str(electrodes)
    fine.electrodes(layout)  # names an unknown layout before the long work

    def compute() -> dict[str, Recording]:
        return _beat_fields(phantom, fine, layout, beat, progress)

    found = kept(_decided_by(VolumeBeat(phantom), layout), compute) if keep and beat is None else compute()
    clean = found["clean"]
    recording = noisy(clean, noise, seed).average_referenced()
    what = "Simulated normal beat of the ventricular volume" if beat is None else "Beat given by its caller"
    return Case(
        name="phantom",
        conductor=phantom.conductor,
        sources=(
            Source(phantom.envelope, "hsp", found["envelope"]),
            Source(phantom.heart, "vm", found["heart"], INTRACELLULAR_CONDUCTIVITY),
        ),
        electrodes=phantom.electrodes(electrodes),
        recording=recording,
        info=case_info(what, clean.average_referenced(), noise, seed),
    )


def _beat_fields(
    phantom: Phantom, fine: Phantom, layout: str, beat: HeartBeat | None, progress: Progress
) -> dict[str, Recording]:
    """Simulate a beat and its fields: potentials at the electrodes without noise, on the envelope, on the heart."""
    progress(BUILDING, 0, 3)
    surface = fine.heart
    progress(BUILDING, 1, 3)
    vm = beat(surface) if beat is not None else _simulated(VolumeBeat(phantom), surface).recording(progress)
    progress(BUILDING, 2, 3)
    to_skin, to_envelope = _fine_operators(fine, layout, phantom.envelope)
    clean, envelope = to_skin.record(vm), to_envelope.record(vm)
    progress(BUILDING, 3, 3)
    return {"clean": clean, "envelope": envelope, "heart": carried(vm, surface, phantom.heart)}


def _decided_by(beat: VolumeBeat, layout: str) -> dict[str, Any]:
    """Everything but the code that decides the fields of a beat."""
    settings = {name: repr(getattr(beat, name)) for name in beat.__dataclass_fields__ if name != "phantom"}
    return {"case": "phantom", "beat": settings, **geometry_config(beat.phantom, layout)}


def geometry_config(phantom: Phantom, layout: str) -> dict[str, Any]:
    """What a phantom, its finer model and a layout of electrodes are, for the key under which fields are kept."""
    surfaces = (phantom.heart, phantom.envelope, *(region.surface for region in phantom.conductor.regions))
    arrays = [array for surface in surfaces for array in (surface.points, surface.triangles)]
    return {
        "layout": layout,
        "geometry": checksum(*arrays, phantom.electrodes(layout).positions),
        "conductivities": repr(phantom.conductivities),
        "finer": repr(FINE),
        "intracellular": INTRACELLULAR_CONDUCTIVITY,
    }


def check_noise(noise: float) -> None:
    """Raise `InputError` unless the standard deviation is one."""
    if not noise >= 0:
        raise InputError(f"phantom: noise is a standard deviation in mV and cannot be negative; got {noise:g}.")


def noisy(clean: Recording, noise: float, seed: int) -> Recording:
    """The recording with white noise of a standard deviation in mV on every site."""
    random = np.random.default_rng(seed)
    return clean.with_values(clean.values + noise * random.standard_normal(clean.values.shape))


def case_info(what: str, clean: Recording, noise: float, seed: int) -> dict[str, str]:
    """Origin, licence and notes of a case that was generated; `clean` decides the signal-to-noise ratio."""
    ratio = "none" if noise == 0 else f"{20 * np.log10(np.sqrt((clean.values**2).mean()) / noise):.1f} dB"
    return {
        "origin": "generated by einthoven.studies",
        "licence": "BSD-3-Clause",
        "citation": "einthoven, the phantom",
        "frame": "LPS",
        "notes": f"{what}; white noise of {1000 * noise:g} uV (seed {seed}), signal to noise {ratio}.",
    }


def carried(recording: Recording, source: Surface, target: Surface) -> Recording:
    """The recording at the nodes of another mesh of the same body, linear on the closest triangle."""
    from einthoven.geometry.locate import closest_points

    found = closest_points(source, target.points)
    corners = recording.values[source.triangles[found.triangle]]
    values = np.einsum("nk,nkt->nt", found.barycentric, corners)
    return Recording(values, recording.times, target.node_names, recording.quantity, recording.reference)


class _Simulated:
    """A beat on a surface, simulated when it is first asked for."""

    def __init__(self, beat: VolumeBeat, surface: Surface):
        self.beat, self.surface = beat, surface
        self.found: Recording | None = None

    def recording(self, progress: Progress) -> Recording:
        """Transmembrane potentials; only the first call takes time."""
        if self.found is None:
            self.found = self.beat(self.surface, progress=progress)
        return self.found


#: The last few beats of this process; progress is no part of what they are.
_simulated = lru_cache(maxsize=2)(_Simulated)


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
