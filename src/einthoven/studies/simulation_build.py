"""From a study file to objects: tissue, membrane, stimuli, what to keep."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from einthoven.core import Electrodes, ForwardOperator, InputError, LeadSystem, Surface
from einthoven.ionic import IonicModel
from einthoven.protocol import Protocol
from einthoven.simulate import Monodomain
from einthoven.studies.simulation_tables import (
    BallRegion,
    BoxRegion,
    BurstProtocol,
    CrossFieldProtocol,
    EarlySitesProtocol,
    EcgTable,
    GradientTable,
    GridTissue,
    LineRegion,
    S1S2Protocol,
    SimulationStudy,
    StimuliProtocol,
    SurfaceTissue,
    VentriclesTissue,
)
from einthoven.tissue import Tissue

if TYPE_CHECKING:
    from einthoven.forward.sampling import SurfaceSampling
    from einthoven.studies.phantom_beat import EarlySite

#: Name under which the potentials on the phantom's heart surface are kept, for the page.
HEART_SURFACE = "heart_surface"
#: Bytes that a cell of a grid takes at least: coordinates, mask, diffusivity, couplings, state.
BYTES_PER_CELL = 100
#: Volume of the box around the phantom's ventricles, mm3.
PHANTOM_BOX = 1.3e6


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study turned into objects, ready to run.

    Parameters
    ----------
    study
        Without a sweep.
    monodomain, protocol, keeps
        What `einthoven.simulate.simulate` takes.
    unreached
        Number of cells that no stimulus can reach.
    surface
        The heart surface on which a volume is shown, if there is one.
    """

    study: SimulationStudy
    monodomain: Monodomain
    protocol: Protocol
    keeps: tuple[Any, ...]
    unreached: int
    surface: Surface | None = None

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return round(self.study.time.t_end / self.study.time.dt)


def prepare(study: SimulationStudy) -> Prepared:
    """Build everything a run needs; what does not fit is told with the field it came from.

    Raises
    ------
    InputError
        If no cell conducts, a stimulus lies outside the tissue, fibrosis cuts it into parts, a parameter is not finite,
        an electrode touches a cell, and the like.
    """
    if study.sweep:
        raise InputError(f"{study.name}: has a sweep; take one of its runs.")
    tissue = build_tissue(study)
    with field("model"):
        model = build_model(study, tissue)
    with field("protocol"):
        protocol = build_protocol(study, tissue)
        unreached = _unreached(study, tissue, protocol)
    monodomain = Monodomain(tissue, model, _scheme(study), study.dtype)
    with field("time"):
        _check_dt(monodomain, study.time.dt)
    keeps, surface = _keeps(study, monodomain)
    return Prepared(study, monodomain, protocol, keeps, unreached, surface)


def _check_dt(monodomain: Monodomain, dt: float) -> None:
    from einthoven.simulate.engine import largest_dt

    limit = largest_dt(monodomain)
    if dt > limit:
        raise InputError(
            f"dt must be at most {limit:.4g} ms, where explicit diffusion stays stable on this tissue; got {dt:g} ms. "
            'Lower dt, raise tissue.spacing, or set time.diffusion = "semi-implicit".'
        )


@contextmanager
def field(name: str) -> Iterator[None]:
    """Put the field of the study file before what is wrong."""
    try:
        yield
    except InputError as problem:
        text = str(problem)
        first = text.split(":", 1)[0]
        if first.startswith(f"{name}."):  # the place is named already, and more exactly
            raise
        if first in name.replace("[", ".").split("."):
            text = text[len(first) + 1 :].lstrip()
        raise InputError(f"{name}: {text}") from None


# --- tissue -----------------------------------------------------------------------------------------


def build_tissue(study: SimulationStudy) -> Tissue:
    """Return the tissue of a study with its scars, fibrosis and remodelling."""
    table = study.tissue
    with field("tissue"):
        match table:
            case GridTissue():
                tissue = _grid_tissue(table)
            case SurfaceTissue():
                tissue = _surface_tissue(table)
            case VentriclesTissue():
                tissue = _ventricles(table)
    return _remodelled(study, tissue)


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where it cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _check_size(n_cells: float) -> None:
    """Refuse a grid whose arrays alone would not fit, before they are made."""
    have = physical_memory()
    if have and n_cells * BYTES_PER_CELL > have:
        raise InputError(
            f"{n_cells:.3g} cells need at least {n_cells * BYTES_PER_CELL / 1e9:.3g} GB of memory; this machine has "
            f"{have / 1e9:.3g} GB. Raise tissue.spacing."
        )


def _grid_tissue(table: GridTissue) -> Tissue:
    from einthoven.tissue import Grid

    shape = table.shape
    _check_size(float(np.prod(shape, dtype=float)))
    half = 0.5 * table.spacing
    grid = Grid(shape, table.spacing, tuple(half if k < len(shape) else 0.0 for k in range(3)))  # type: ignore[arg-type]
    if table.fibers is None:
        return Tissue.isotropic(grid, float(table.diffusivity or 0.0), thickness=table.thickness)
    height = grid.points[:, 2] / table.size[2] if len(shape) == 3 else np.zeros(1)
    angle = np.radians(table.fibers.angle + table.fibers.rotation * height)
    fibers = np.stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))], axis=1)[:, : len(shape)]
    fibers = fibers if len(shape) == 3 and table.fibers.rotation else fibers[0]
    return Tissue.anisotropic(grid, table.fibers.along, table.fibers.across, fibers, thickness=table.thickness)


def _surface_tissue(table: SurfaceTissue) -> Tissue:
    surface = load_surface(table)
    if table.fibers is None:
        return Tissue.isotropic(surface, float(table.diffusivity or 0.0), thickness=table.thickness)
    angle = np.radians(table.fibers.angle)
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    return Tissue.anisotropic(surface, table.fibers.along, table.fibers.across, direction, thickness=table.thickness)


def load_surface(table: SurfaceTissue) -> Surface:
    """Return the surface of a surface tissue."""
    if table.surface == "phantom":
        return _phantom_heart(table.edge_length)
    from einthoven.io import read

    return read(Path(table.surface)).surface()


@lru_cache(maxsize=2)
def _phantom_heart(edge_length: float) -> Surface:
    from einthoven.datasets.phantom import Phantom, Resolution

    return Phantom(Resolution(heart=edge_length)).heart


def _ventricles(table: VentriclesTissue) -> Tissue:
    from einthoven.datasets.phantom import FastLayer, Phantom, ventricular_tissue

    _check_size(PHANTOM_BOX / table.spacing**3)
    along = float(table.diffusivity or 0.0) if table.fibers is None else table.fibers.along
    across = along if table.fibers is None else table.fibers.across
    fast = None if table.fast_layer is None else FastLayer(**table.fast_layer.model_dump())
    return ventricular_tissue(
        Phantom(), table.spacing, along=along, across=across, helix=(table.helix[0], table.helix[1]), fast=fast
    )


def _remodelled(study: SimulationStudy, tissue: Tissue) -> Tissue:
    """Scars, then fibrosis among the cells that are left, then remodelled gap junctions."""
    from einthoven.tissue.remodelling import GapJunctionRemodelling, Scar

    table = study.tissue
    for k, scar in enumerate(table.scars):
        with field(f"tissue.scars[{k}]"):
            values: dict[str, Any] = scar.model_dump() | {"center": tuple(scar.center)}
            tissue = Scar(**values).apply(tissue, study.seed + k)
    for k, texture in enumerate(table.fibrosis):
        with field(f"tissue.fibrosis[{k}]"):
            tissue = _fibrotic(texture, tissue, study.seed + k)
    for k, junctions in enumerate(table.gap_junctions):
        with field(f"tissue.gap_junctions[{k}]"):
            tissue = GapJunctionRemodelling(**junctions.model_dump()).apply(tissue, study.seed + k)
    return tissue


def _fibrotic(table: Any, tissue: Tissue, seed: int) -> Tissue:
    from einthoven.tissue import fibrosis

    kinds = {
        "diffuse": fibrosis.Diffuse,
        "islands": fibrosis.ThresholdedField,
        "patchy": fibrosis.Patchy,
        "interstitial": fibrosis.Interstitial,
        "compact": fibrosis.Compact,
    }
    values = table.model_dump(exclude={"kind", "region"})
    for name in ("direction", "centers"):
        if values.get(name) is not None:
            values[name] = tuple(tuple(v) if isinstance(v, list) else v for v in values[name])
    within = None
    if table.region is not None:
        within = np.zeros(tissue.n_nodes, dtype=bool)
        within[_region(table.region).select(tissue)] = True
    return kinds[table.kind](**values).apply(tissue, seed, within=within)


# --- membrane, stimuli, scheme ----------------------------------------------------------------------


def build_model(study: SimulationStudy, tissue: Tissue) -> IonicModel:
    """Return the membrane of a study; parameters that vary over the tissue have one value per cell."""
    from einthoven.ionic import registry

    table = study.model
    made = registry.model(table.name, **table.parameters)
    if table.layers is not None:
        names = (table.layers.endocardium, table.layers.midwall, table.layers.epicardium)
        kinds = {k: registry.model(name, **table.parameters) for k, name in enumerate(names)}
        made = registry.by_label(_label(tissue, "layer", "layers"), kinds)
    values: dict[str, Any] = {}
    for name, factor in table.border.items():
        in_border = _label(tissue, "border", "border") > 0
        values[name] = _parameter(made, name, table.name) * np.where(in_border, factor, 1.0)
    for gradient in table.gradients:
        name = gradient.parameter
        values[name] = values.get(name, _parameter(made, name, table.name)) + _graded(gradient, tissue)
    return replace(made, **values)


def _parameter(model: IonicModel, name: str, model_name: str) -> np.ndarray:
    if not hasattr(model, name):
        from einthoven.ionic import registry

        registry.model(model_name, **{name: 1.0})  # says which there are
    return np.asarray(getattr(model, name))


def _graded(gradient: GradientTable, tissue: Tissue) -> np.ndarray:
    """What a gradient adds at every node."""
    from einthoven.datasets.phantom import Phantom

    depth, height = (_label(tissue, name, "gradients") for name in ("transmural", "apicobasal"))
    right = Phantom().ventricles.right_share(tissue.points)
    return gradient.transmural * depth * (1 - right) + gradient.apicobasal * height + gradient.right * right


def _label(tissue: Tissue, name: str, field: str) -> np.ndarray:
    if name not in tissue.labels:
        needs = "a scar" if name == "border" else 'tissue.kind = "phantom-ventricles"'
        raise InputError(f"{field}: needs {needs}; leave it out.")
    return np.asarray(tissue.labels[name])


def _region(table: Any) -> Any:
    from einthoven.protocol import Ball, Box, Line, Whole

    match table:
        case BallRegion():
            return Ball(tuple(table.center), table.radius)
        case BoxRegion():
            return Box(tuple(table.low), tuple(table.high))
        case LineRegion():
            return Line(tuple(table.start), tuple(table.stop), table.width)
    return Whole()


def build_protocol(study: SimulationStudy, tissue: Tissue) -> Protocol:
    """Return the stimuli of a study."""
    from einthoven import protocol as make

    table = study.protocol
    match table:
        case StimuliProtocol():
            stimuli = []
            for k, s in enumerate(table.stimuli):
                with field(f"protocol.stimuli[{k}]"):
                    kind = "clamp" if s.clamp else "current"
                    stimuli.append(make.Stimulus(_region(s.region), s.start, s.duration, s.amplitude, kind))
                    stimuli[-1].select(tissue)
            return Protocol(tuple(stimuli))
        case BurstProtocol():
            return make.burst(
                _region(table.region),
                table.interval,
                table.count,
                start=table.start,
                duration=table.duration,
                amplitude=table.amplitude,
            )
        case S1S2Protocol():
            return make.s1_s2(
                _region(table.region),
                s1_interval=table.interval,
                n_s1=table.count,
                s2_interval=table.s2_interval,
                s2_region=None if table.s2_region is None else _region(table.s2_region),
                start=table.start,
                duration=table.duration,
                amplitude=table.amplitude,
            )
        case CrossFieldProtocol():
            return make.cross_field(
                cast(Any, tissue), table.s2_start, width=table.width, duration=table.duration, amplitude=table.amplitude
            )
    return _early_sites(study, table, tissue)


def _early_sites(study: SimulationStudy, table: EarlySitesProtocol, tissue: Tissue) -> Protocol:
    from einthoven.datasets.phantom import LEFT, RIGHT
    from einthoven.studies.phantom_beat import DURRER_SITES, EarlySite

    sites = [
        EarlySite(
            LEFT if site.ventricle == "left" else RIGHT, site.transmural, site.apicobasal, site.rotational, site.start
        )
        for site in table.sites
    ]
    sites = sites or list(DURRER_SITES)
    if isinstance(study.tissue, SurfaceTissue) and study.tissue.surface == "phantom":
        beat = _on_surface(table, sites, tissue)
    else:
        beat = _in_wall(table, sites, tissue)
    beats = [beat.shifted(k * table.interval) for k in range(table.count)]
    return sum(beats[1:], beats[0])


def _on_surface(table: EarlySitesProtocol, sites: "Sequence[EarlySite]", tissue: Tissue) -> Protocol:
    """Early sites on the phantom's heart surface, each a patch around its node."""
    from einthoven.datasets.phantom import Phantom
    from einthoven.protocol import Nodes, Stimulus
    from einthoven.studies.phantom_surface import patch_around

    stimuli = []
    for site in sites:
        near = patch_around(Phantom().ventricles, cast(Surface, tissue.domain), site, table.radius)
        start = table.start + site.time
        stimuli.append(Stimulus(Nodes(near), start, table.duration, table.amplitude))
    return Protocol(tuple(stimuli))


def _in_wall(table: EarlySitesProtocol, sites: "Sequence[EarlySite]", tissue: Tissue) -> Protocol:
    """Early sites in the wall of the phantom's ventricles, each a ball."""
    from einthoven.datasets.phantom import wall_point
    from einthoven.protocol import multi_site

    _label(tissue, "apicobasal", "early-sites")
    centers = [
        wall_point(
            tissue,
            ventricle=site.ventricle,
            transmural=site.transmural,
            apicobasal=site.apicobasal,
            rotational=np.radians(site.rotational),
        )
        for site in sites
    ]
    starts = [table.start + site.time for site in sites]
    return multi_site(centers, starts, table.radius, duration=table.duration, amplitude=table.amplitude)


def _unreached(study: SimulationStudy, tissue: Tissue, protocol: Protocol) -> int:
    """Number of cells that no stimulus can reach; refused if they are more than the study allows."""
    from einthoven.protocol import check_connected

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lost = len(check_connected(cast(Any, tissue), protocol, refuse=False))
    late = [s.start for s in protocol.stimuli if s.start >= study.time.t_end]
    if late:
        raise InputError(
            f"a stimulus at {late[0]:g} ms would come after the end of the simulation at {study.time.t_end:g} ms; "
            "lengthen time.t_end, or leave it out."
        )
    if lost > study.tissue.unreached * tissue.n_nodes:
        raise InputError(
            f"no stimulus reaches {lost} of {tissue.n_nodes} cells ({lost / tissue.n_nodes:.0%}): fibrosis or scars "
            "cut the tissue. Stimulate the other parts too, take less fibrosis or another seed, or allow a larger "
            f"share at rest with tissue.unreached (now {study.tissue.unreached:g})."
        )
    return lost


def _scheme(study: SimulationStudy) -> Any:
    from einthoven.simulate import Explicit, Godunov, SemiImplicit, Strang

    strang = study.time.scheme == "strang"
    explicit = study.time.diffusion == "explicit"
    diffusion = Explicit(2 if strang else 1) if explicit else SemiImplicit()
    return Strang(diffusion) if strang else Godunov(diffusion)


# --- what to keep -----------------------------------------------------------------------------------


def _keeps(study: SimulationStudy, monodomain: Monodomain) -> tuple[tuple[Any, ...], Surface | None]:
    from einthoven.simulate import Activation, Ecg, Movie, PhaseSingularities, Probes

    tissue, model = monodomain.tissue, monodomain.model
    table, keeps, surface = study.keep, [], None
    if table.movie is not None:
        keeps.append(Movie(every=table.movie.every, factor=table.movie.factor))
    if table.activation is not None:
        a = table.activation
        with field("keep.activation"):
            keeps.append(Activation(a.level, a.recovery_level, a.beats))
    if table.probes is not None:
        with field("keep.probes"):
            points, names = _probe_points(table.probes.points), tuple(table.probes.points)
            keeps.append(Probes(points, table.probes.every, names))
            keeps[-1].start(tissue, model)
    if table.phase_singularities is not None:
        p = table.phase_singularities
        with field("keep.phase_singularities"):
            keeps.append(PhaseSingularities(p.every, p.delay, p.center, p.max_step))
            keeps[-1].start(tissue, model)
    if study.ecg is not None:
        with field("ecg"):
            leads, sampling = _leads(study, tissue)
            keeps.append(Ecg(leads, every=study.ecg.every))
        if sampling is not None and table.movie is not None:
            surface = sampling.surface
            keeps.append(Ecg(sampling, every=table.movie.every, name=HEART_SURFACE))
    return tuple(keeps), surface


def _probe_points(points: Mapping[str, list[float]]) -> np.ndarray:
    lengths = {len(p) for p in points.values()}
    if len(lengths) > 1:
        raise InputError("all points need as many coordinates; fill up with 0.")
    return np.array(list(points.values()), dtype=np.float64)


def _leads(study: SimulationStudy, tissue: Tissue) -> "tuple[ForwardOperator, SurfaceSampling | None]":
    """Lead field of the electrodes, and, of a volume in a torso, its sampling on the heart surface."""
    table = study.ecg
    assert table is not None
    if table.positions is not None:
        return _infinite_medium(study, tissue, table, table.positions), None
    from einthoven.forward import bem
    from einthoven.forward.sampling import surface_sampling
    from einthoven.studies.phantom_beat import INTRACELLULAR_CONDUCTIVITY

    phantom, heart = _torso(study)
    electrodes = phantom.electrodes(table.leads)
    sigma = INTRACELLULAR_CONDUCTIVITY if table.intracellular_conductivity is None else table.intracellular_conductivity
    field = bem.double_layer(heart, phantom.conductor, electrodes, intracellular_conductivity=sigma)
    twelve = table.leads == "12-lead"
    system = LeadSystem.twelve_lead() if twelve else LeadSystem.wilson(electrodes.names)
    leads = system.operator() @ field
    if isinstance(study.tissue, SurfaceTissue):
        return leads, None
    sampling = surface_sampling(tissue, heart)
    return leads @ sampling, sampling


def _infinite_medium(
    study: SimulationStudy, tissue: Tissue, table: EcgTable, positions: Mapping[str, list[float]]
) -> ForwardOperator:
    from einthoven.forward.lead_field import INTRACELLULAR_PER_DIFFUSIVITY, lead_field

    electrodes = Electrodes(tuple(positions), np.array(list(positions.values()), dtype=np.float64))
    ratio = INTRACELLULAR_PER_DIFFUSIVITY
    if table.intracellular_conductivity is not None:
        along = study.tissue.diffusivity if study.tissue.fibers is None else study.tissue.fibers.along
        ratio = table.intracellular_conductivity / float(along or 0.0)
    return lead_field(
        tissue,
        electrodes,
        intracellular_per_diffusivity=ratio,
        bath_conductivity=table.bath_conductivity,
        out_quantity="bsp",
    )


def _torso(study: SimulationStudy):
    """The phantom, and its heart surface: that of the tissue, or the one a volume is sampled on."""
    from einthoven.datasets.phantom import Phantom
    from einthoven.studies.phantom_beat import FINE

    table = study.tissue
    if isinstance(table, VentriclesTissue):
        phantom = Phantom(FINE)
        return phantom, phantom.heart
    if isinstance(table, SurfaceTissue) and table.surface == "phantom" and not (table.scars or table.fibrosis):
        return Phantom(), _phantom_heart(table.edge_length)
    raise InputError(
        'torso: needs tissue.kind = "phantom-ventricles", or "surface" with surface = "phantom" and no holes; give '
        "positions instead."
    )
