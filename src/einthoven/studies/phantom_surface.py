"""A wave on the phantom's closed heart surface, seen on the skin: the model of physics-informed imaging papers.

Aliev-Panfilov cells on the endo- and epicardial surface, whose excitation u is taken for the heart-surface potential
and carried to the skin by the transfer operator, absolute reference (as in Xie & Yao, arXiv:2107.12780, and Zhu,
Bilchick & Xie, arXiv:2502.11378). Two things are not the heart's: the wave has no coupling through the wall, and
potentials outside cells are not transmembrane ones. The case `phantom` has neither fault.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from einthoven.core import Case, ForwardOperator, Recording, Source, Surface
from einthoven.core.progress import Progress, silent
from einthoven.datasets.phantom import LEFT, Phantom, Ventricles
from einthoven.inverse.physics.waves import check_resolved, excitation, imaging_cells
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Monodomain, Movie, simulate
from einthoven.studies.kept import kept
from einthoven.studies.phantom_beat import (
    BUILDING,
    FINE,
    EarlySite,
    carried,
    case_info,
    check_noise,
    geometry_config,
    noisy,
)
from einthoven.tissue import Tissue

#: The front starts from all nodes within this distance along the surface, mm.
FOCUS = 9.0


@dataclass(frozen=True)
class SurfaceBeat:
    """A wave on a closed heart surface from one early site or several.

    Parameters
    ----------
    ventricles
        Whose coordinates name the sites.
    diffusivity
        D, mm2/ms. 1.94 is 0.25 cm2 per time unit of 12.9 ms, about twenty times that of muscle, for which a mesh of
        5 mm is too coarse. A plane front then runs at 0.62 mm/ms (`Excitation.speed`).
    sites
        Where and when the wave starts.
    duration
        Length of the recording, ms.
    every
        Between frames, ms.
    dt
        Time step, ms.
    """

    ventricles: Ventricles = field(default_factory=Ventricles)
    diffusivity: float = 1.94
    sites: tuple[EarlySite, ...] = (EarlySite(LEFT, 1.0, 0.5, 150.0, 0.0),)
    duration: float = 516.0
    every: float = 4.0
    dt: float = 0.1

    def monodomain(self, surface: Surface) -> Monodomain:
        """Surface and membrane, checked to carry a front.

        Raises
        ------
        InputError
            If the mesh is so coarse that it would slow or stop the front (`check_resolved`).
        """
        tissue, cells = Tissue.isotropic(surface, self.diffusivity), imaging_cells()
        check_resolved(surface, self.diffusivity, cells)
        return Monodomain(tissue, cells)

    def protocol(self, surface: Surface) -> Protocol:
        """One stimulus per site, on the nodes around it."""
        stimuli = []
        for site in self.sites:
            near = patch_around(self.ventricles, surface, site, FOCUS)
            stimuli.append(Stimulus(Nodes(near), site.time, 4.0, 20.0))
        return Protocol(tuple(stimuli))

    def __call__(self, surface: Surface, *, progress: Progress = silent) -> Recording:
        """Transmembrane potentials at the nodes."""
        run = simulate(
            self.monodomain(surface),
            self.protocol(surface),
            self.duration,
            dt=self.dt,
            keep=[Movie(self.every, dtype="float64")],
            progress=progress,
        )
        movie = run.data["movie"]
        return Recording(movie.values.T, movie["time"].values, surface.node_names, "vm")


def phantom_surface_case(
    electrodes: int | str = 120,
    *,
    noise: float = 1.0,
    seed: int = 1,
    phantom: Phantom | None = None,
    beat: SurfaceBeat | None = None,
    keep: bool = False,
    progress: Progress = silent,
) -> Case:
    """Return the built-in case of the imaging papers: a wave on the heart surface and its potentials on the skin.

    The heart-surface potential is 100 mV times the excitation u: 0 at rest, about 100 in the plateau. Wave and data
    come from a finer model (`einthoven.studies.phantom_beat.FINE`); the case holds the coarser meshes.

    Parameters
    ----------
    electrodes
        Layout: 12, 64, 120, 192 or ``"frank"``.
    noise
        Standard deviation of white noise on every electrode, mV; 1 mV is 0.01 in the papers' unit.
    seed
        Of the noise.
    phantom
        Geometry on which the heart is imaged; default `Phantom()`.
    beat
        The wave; default `SurfaceBeat`.
    keep
        Look for the wave in the user's cache, and keep it there (`einthoven.studies.kept`).
    progress
        Told about the parts of the model and the simulation's time steps.

    Returns
    -------
    Case
        One source, the closed heart surface (hsp), with its truth; reference ``"absolute"``.
    """
    check_noise(noise)
    phantom = phantom if phantom is not None else Phantom()
    fine = Phantom(FINE, phantom.conductivities, phantom.thorax)
    layout = str(electrodes)
    fine.electrodes(layout)  # names an unknown layout before the long work
    beat = beat if beat is not None else SurfaceBeat(phantom.ventricles)

    def compute() -> dict[str, Recording]:
        progress(BUILDING, 0, 3)
        surface = fine.heart
        progress(BUILDING, 1, 3)
        vm = beat(surface, progress=progress)
        progress(BUILDING, 2, 3)
        hsp = Recording(vm.values - AlievPanfilov1996.scale.rest, vm.times, vm.sites, "hsp")
        clean = _fine_transfer(fine, layout).record(hsp)
        progress(BUILDING, 3, 3)
        return {"clean": clean, "heart": carried(hsp, surface, phantom.heart)}

    if keep:
        settings = {name: repr(getattr(beat, name)) for name in beat.__dataclass_fields__ if name != "ventricles"}
        found = kept({"case": "phantom-surface", "beat": settings, **geometry_config(phantom, layout)}, compute)
    else:
        found = compute()
    clean = found["clean"]
    speed = excitation(imaging_cells()).speed(beat.diffusivity)
    what = f"Aliev-Panfilov wave on the heart surface, D {beat.diffusivity:g} mm2/ms (plane front {speed:.2f} mm/ms)"
    return Case(
        name="phantom-surface",
        conductor=phantom.conductor,
        sources=(Source(phantom.heart, "hsp", found["heart"]),),
        electrodes=phantom.electrodes(electrodes),
        recording=noisy(clean, noise, seed),
        info={**case_info(what, clean, noise, seed), "activation": "upstroke"},
    )


@lru_cache(maxsize=4)
def _fine_transfer(fine: Phantom, layout: str) -> ForwardOperator:
    from einthoven.forward.bem import transfer

    return transfer(fine.heart, fine.conductor, fine.electrodes(layout))


def patch_around(
    ventricles: Ventricles, surface: Surface, site: EarlySite, radius: float
) -> Int[np.ndarray, " n_nodes"]:
    """Nodes within a distance (mm) along the surface of the node nearest to a site."""
    from einthoven.geometry.distance import geodesic

    return np.flatnonzero(geodesic(surface, [_node_at(ventricles, surface, site)]) <= radius)


def _node_at(ventricles: Ventricles, surface: Surface, site: EarlySite) -> int:
    """The node nearest to a site in the wall's coordinates."""
    place = ventricles.coordinates(surface.points)
    turn = np.angle(np.exp(1j * (place.rotational - np.radians(site.rotational))))
    off = (80.0 * (place.apicobasal - site.apicobasal)) ** 2 + (30.0 * turn) ** 2
    off += (20.0 * (place.transmural - site.transmural)) ** 2
    off[place.ventricle != site.ventricle] = np.inf
    return int(np.argmin(off))
