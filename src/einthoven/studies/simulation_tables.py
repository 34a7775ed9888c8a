"""The tables of a simulation's study file, each field documented where it stands."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, LiteralString

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from einthoven.core.errors import some

#: Grids of more runs than this are taken for a mistake.
MOST_RUNS = 100_000

Positive = Annotated[float, Field(gt=0, lt=1e6)]
Time = Annotated[float, Field(ge=0, lt=1e7)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Density = Annotated[float, Field(ge=0, lt=1)]
Point = Annotated[list[float], Field(min_length=1, max_length=3)]
Position = Annotated[list[float], Field(min_length=3, max_length=3)]


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return what may follow an unknown name: the nearest known one, or all of them."""
    return close_to(name, known) or f" (there are {some(known, limit=20)})"


def close_to(name: str, known: Sequence[str]) -> str:
    """Return a hint at the nearest known name; nothing where none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Table(BaseModel):
    """A table of a study file: unknown names are refused, with the nearest known one."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise PydanticCustomError(
                    "unknown", "{hint}", {"name": str(name), "hint": suggestion(str(name), list(cls.model_fields))}
                )
        return values


def _fault(kind: LiteralString, field: str, problem: str) -> PydanticCustomError:
    """What is wrong with a field of the table that is being checked."""
    return PydanticCustomError(kind, "{problem}", {"name": field, "problem": problem})


# --- regions ----------------------------------------------------------------------------------------


class BallRegion(Table):
    """``{ kind = "ball", ... }``: everything within a distance of a point."""

    kind: Literal["ball"]
    """This shape."""
    center: Point
    """mm; one to three coordinates, those not given are not looked at (two make a cylinder)."""
    radius: Positive
    """mm."""


class BoxRegion(Table):
    """``{ kind = "box", ... }``: everything between two corners."""

    kind: Literal["box"]
    """This shape."""
    low: Point
    """Lowest coordinates, mm; one to three, those not given are not looked at."""
    high: Point
    """Highest coordinates, mm."""


class LineRegion(Table):
    """``{ kind = "line", ... }``: everything within half a width of a straight line."""

    kind: Literal["line"]
    """This shape."""
    start: Point
    """One end, mm."""
    stop: Point
    """Other end, mm."""
    width: Positive
    """mm."""


class WholeRegion(Table):
    """``{ kind = "whole" }``: all of the tissue."""

    kind: Literal["whole"]
    """This shape."""


Region = Annotated[BallRegion | BoxRegion | LineRegion | WholeRegion, Field(discriminator="kind")]


# --- protocol ---------------------------------------------------------------------------------------


class StimulusTable(Table):
    """``[[protocol.stimuli]]``: where, when and how strongly."""

    region: Region
    """Where."""
    start: Time = 0.0
    """ms."""
    duration: Positive = 2.0
    """ms."""
    amplitude: float = 50.0
    """Of a current: mV/ms (uA/uF); of a clamp: the potential, mV."""
    clamp: bool = False
    """Hold the potential at `amplitude` instead of adding a current."""


class StimuliProtocol(Table):
    """``[protocol]`` as a list of stimuli."""

    kind: Literal["stimuli"] = "stimuli"
    """This protocol; it may be left out."""
    stimuli: Annotated[list[StimulusTable], Field(min_length=1)]
    """Each one table."""


class BurstProtocol(Table):
    """``[protocol]`` with ``kind = "burst"``: stimuli at a constant interval."""

    kind: Literal["burst"]
    """This protocol."""
    region: Region
    """Where."""
    interval: Positive
    """From one start to the next, ms."""
    count: Annotated[int, Field(ge=1, le=100_000)]
    """How many."""
    start: Time = 0.0
    """Of the first, ms."""
    duration: Positive = 2.0
    """Of each, ms."""
    amplitude: float = 50.0
    """mV/ms."""


class S1S2Protocol(Table):
    """``[protocol]`` with ``kind = "s1-s2"``: a regular train and a premature stimulus."""

    kind: Literal["s1-s2"]
    """This protocol."""
    region: Region
    """Where S1 (and S2) act."""
    interval: Positive
    """From one S1 to the next, ms."""
    count: Annotated[int, Field(ge=1, le=100_000)]
    """How many S1."""
    s2_interval: Positive
    """From the last S1 to S2, ms."""
    s2_region: Region | None = None
    """Where S2 acts, if elsewhere."""
    start: Time = 0.0
    """Of the first S1, ms."""
    duration: Positive = 2.0
    """Of each, ms."""
    amplitude: float = 50.0
    """mV/ms."""


class CrossFieldProtocol(Table):
    """``[protocol]`` with ``kind = "cross-field"``: a plane wave, then one quadrant behind it: a spiral wave."""

    kind: Literal["cross-field"]
    """This protocol."""
    s2_start: Positive
    """When the quadrant (lower x, lower y) is stimulated, ms: a little after the wave's tail has passed the middle."""
    width: Positive = 2.0
    """Of the edge (lowest x) that starts the plane wave, mm."""
    duration: Positive = 2.0
    """Of each, ms."""
    amplitude: float = 50.0
    """mV/ms."""


class EarlySiteTable(Table):
    """``[[protocol.sites]]``: where activation of the ventricles starts."""

    ventricle: Literal["left", "right"]
    """Whose wall."""
    transmural: Fraction = 0.0
    """0 at the endocardium, 1 at the epicardium (in the septum: at its right side)."""
    apicobasal: Fraction
    """0 at the apex, 1 at the valve plane."""
    rotational: Annotated[float, Field(ge=-180, le=180)]
    """Degrees about the long axis: 0 at the middle of the septum, 90 in front, -90 at the back, 180 at the side."""
    start: Time = 0.0
    """ms."""


class EarlySitesProtocol(Table):
    """``[protocol]`` with ``kind = "early-sites"``: a beat of the phantom, in its wall or on its surface."""

    kind: Literal["early-sites"]
    """This protocol."""
    sites: list[EarlySiteTable] = Field(default_factory=list)
    """Without any those of a normal human beat (Durrer et al. 1970)."""
    start: Time = 0.0
    """Of the first beat, ms."""
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many beats."""
    interval: Positive = 800.0
    """From one beat to the next, ms."""
    radius: Positive = 3.0
    """Of each site, mm; on a surface along it."""
    duration: Positive = 3.0
    """Of each stimulus, ms."""
    amplitude: float = 50.0
    """mV/ms."""


def _protocol_kind(value: Any) -> str | None:
    kind = value.get("kind", "stimuli") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) else None


Protocol = Annotated[
    Annotated[StimuliProtocol, Tag("stimuli")]
    | Annotated[BurstProtocol, Tag("burst")]
    | Annotated[S1S2Protocol, Tag("s1-s2")]
    | Annotated[CrossFieldProtocol, Tag("cross-field")]
    | Annotated[EarlySitesProtocol, Tag("early-sites")],
    Discriminator(
        _protocol_kind,
        custom_error_type="kind",
        custom_error_message="must be stimuli, burst, s1-s2, cross-field or early-sites",
    ),
]


# --- tissue -----------------------------------------------------------------------------------------


class FibersTable(Table):
    """``[tissue.fibers]``: tissue that conducts better along its fibers."""

    along: Positive
    """Diffusivity along the fibers, mm2/ms."""
    across: Positive
    """Diffusivity across the fibers, mm2/ms."""
    angle: Annotated[float, Field(ge=-360, le=360)] = 0.0
    """From x toward y, degrees; on a surface projected onto it; in the ventricles fibers follow a rule instead."""
    rotation: Annotated[float, Field(ge=-360, le=360)] = 0.0
    """By how much the angle turns from the bottom (lowest z) to the top of a slab, degrees."""


class _Texture(Table):
    density: Density
    """Share of the cells that become fibrotic and do not conduct."""
    region: Region | None = None
    """Only here, if given; the density is then a share of its cells."""


class DiffuseFibrosis(_Texture):
    """``[[tissue.fibrosis]]`` with ``kind = "diffuse"``: single cells, independent of each other."""

    kind: Literal["diffuse"]
    """This texture."""


class IslandFibrosis(_Texture):
    """``[[tissue.fibrosis]]`` with ``kind = "islands"``: where a smooth random field is highest."""

    kind: Literal["islands"]
    """This texture."""
    correlation_length: Positive = 2.0
    """Of the field, mm."""


class PatchyFibrosis(_Texture):
    """``[[tissue.fibrosis]]`` with ``kind = "patchy"``: patches of diffuse fibrosis."""

    kind: Literal["patchy"]
    """This texture."""
    patch_size: Positive = 6.0
    """Of the patches, mm."""
    cover: Fraction = 0.4
    """Share of the tissue that is patches; above the density."""


class InterstitialFibrosis(_Texture):
    """``[[tissue.fibrosis]]`` with ``kind = "interstitial"``: thin long strands."""

    kind: Literal["interstitial"]
    """This texture."""
    length: Positive = 8.0
    """Of the strands, mm."""
    width: Positive = 0.5
    """Of the strands, mm."""
    direction: Point | None = None
    """Where they run; without it along the fibers of the tissue, which it then needs."""


class CompactFibrosis(_Texture):
    """``[[tissue.fibrosis]]`` with ``kind = "compact"``: solid areas."""

    kind: Literal["compact"]
    """This texture."""
    blobs: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many areas."""
    centers: list[Point] | None = None
    """Their centers, mm; without them far from each other, by the seed."""
    roughness: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Unevenness of their rim, a share of their radius."""


Fibrosis = Annotated[
    DiffuseFibrosis | IslandFibrosis | PatchyFibrosis | InterstitialFibrosis | CompactFibrosis,
    Field(discriminator="kind"),
]


class GapJunctionTable(Table):
    """``[[tissue.gap_junctions]]``: remodelling, the diffusivity times a factor."""

    low: Annotated[float, Field(gt=0, lt=100)] = 0.25
    """Lowest factor."""
    high: Annotated[float, Field(gt=0, lt=100)] = 0.6
    """Highest factor."""
    correlation_length: Positive | None = None
    """Over which the factor varies, mm; without it one factor for the whole tissue, drawn from the range."""


class ScarTable(Table):
    """``[[tissue.scars]]``: a core that does not conduct, a border zone that conducts less."""

    center: Point
    """mm, as many coordinates as the tissue has."""
    radius: Positive
    """Of the core, mm."""
    border: Annotated[float, Field(ge=0, lt=1e4)] = 3.0
    """Width of the border zone, mm."""
    border_scale: Annotated[float, Field(gt=0, lt=100)] = 0.3
    """Factor of the diffusivity in the border zone."""
    roughness: Annotated[float, Field(ge=0, le=10)] = 0.15
    """Unevenness of the core, a share of its radius."""


class _Tissue(Table):
    diffusivity: Positive | None = None
    """mm2/ms, alike in all directions; give this or `fibers`."""
    fibers: FibersTable | None = None
    """Anisotropic conduction."""
    scars: list[ScarTable] = Field(default_factory=list)
    """Scars; placed first."""
    fibrosis: list[Fibrosis] = Field(default_factory=list)
    """Textures of cells that do not conduct; the k-th has the study's seed plus k - 1."""
    gap_junctions: list[GapJunctionTable] = Field(default_factory=list)
    """Remodelling of the cells that are left."""
    unreached: Fraction = 0.05
    """Largest share of the cells that fibrosis may cut off from all stimuli; more is refused."""

    @model_validator(mode="after")
    def _one_conduction(self):
        if (self.diffusivity is None) == (self.fibers is None):
            given = "neither" if self.fibers is None else "both"
            raise PydanticCustomError("choice", "{problem}", {"problem": f"give diffusivity or fibers; got {given}"})
        return self


class GridTissue(_Tissue):
    """``[tissue]`` with ``kind`` ``"sheet"``, ``"slab"`` or ``"cable"``: cells on a regular grid."""

    kind: Literal["sheet", "slab", "cable"]
    """``sheet`` (x, y), ``slab`` (x, y, z) or ``cable`` (x)."""
    size: Annotated[list[Positive], Field(min_length=1, max_length=3)]
    """Sides, mm: one for a cable, two for a sheet, three for a slab; the tissue begins at 0."""
    spacing: Positive
    """Side of a cell, mm."""
    thickness: Positive = 1.0
    """Of a sheet or cable, mm: enters its ECG, not the wave."""

    @model_validator(mode="after")
    def _fits(self):
        wanted = {"cable": 1, "sheet": 2, "slab": 3}[self.kind]
        if len(self.size) != wanted:
            raise _fault("fit", "size", f"a {self.kind} has {wanted} side{'s' * (wanted > 1)}; got {len(self.size)}")
        if self.kind == "cable" and self.fibers is not None:
            raise _fault("fit", "fibers", "a cable has no direction to choose; give diffusivity")
        for side in self.size:
            cells = side / self.spacing
            if cells < 0.999 or abs(cells - round(cells)) > 1e-6 * cells:
                nearest = max(round(cells), 1) * self.spacing
                raise _fault(
                    "fit",
                    "size",
                    f"must be a multiple of the spacing {self.spacing:g}; got {side:g}, nearest {nearest:g}",
                )
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(round(side / self.spacing) for side in self.size)


class SurfaceTissue(_Tissue):
    """``[tissue]`` with ``kind = "surface"``: cells on a closed surface, within which the wave runs."""

    kind: Literal["surface"]
    """This tissue."""
    surface: Annotated[str, Field(min_length=1)] = "phantom"
    """``phantom``, or the file of a triangulated surface in mm, relative to the study file."""
    edge_length: Annotated[float, Field(ge=2.5, le=9)] = 3.0
    """Of the phantom's triangles, mm."""
    thickness: Positive = 1.0
    """mm: enters the ECG in an infinite medium, not the wave."""


class FastLayerTable(Table):
    """``[tissue.fast_layer]``: fast conduction under the endocardium, which stands for the Purkinje network."""

    thickness: Positive = 2.0
    """mm."""
    scale: Annotated[float, Field(gt=0, lt=1000)] = 6.0
    """Diffusivity over that along the fibers."""
    top: Annotated[float, Field(gt=0, le=1.5)] = 0.95
    """Apicobasal coordinate (0 apex, 1 base) where it ends."""


class VentriclesTissue(_Tissue):
    """``[tissue]`` with ``kind = "phantom-ventricles"``: the muscle of the phantom's heart on a regular grid."""

    kind: Literal["phantom-ventricles"]
    """This tissue."""
    spacing: Annotated[float, Field(ge=0.1, le=3)] = 1.0
    """Side of a cell, mm."""
    helix: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(default_factory=lambda: [60.0, -60.0])
    """Angle of the fibers to the circumference at the endocardium and at the epicardium, degrees."""
    fast_layer: FastLayerTable | None = None
    """Fast endocardial layer; ``{}`` for one with the defaults."""


# --- membrane, time, what to keep -------------------------------------------------------------------


class LayersTable(Table):
    """``[model.layers]``: the membranes of the ventricles' layers."""

    endocardium: Annotated[str, Field(min_length=1)]
    """Name of the model in the inner third of the wall."""
    midwall: Annotated[str, Field(min_length=1)]
    """Name of the model in the middle third."""
    epicardium: Annotated[str, Field(min_length=1)]
    """Name of the model in the outer third."""


class GradientTable(Table):
    """``[[model.gradients]]``: a parameter that varies through the ventricles, linearly in coordinates of the wall."""

    parameter: Annotated[str, Field(min_length=1)]
    """Its name; what follows is added to its value."""
    transmural: float = 0.0
    """From the endocardium to the outer side of the left wall and septum; fades out into the right ventricle."""
    apicobasal: float = 0.0
    """From apex to base."""
    right: float = 0.0
    """In the right ventricle."""


class ModelTable(Table):
    """``[model]``: the membrane."""

    name: Annotated[str, Field(min_length=1)]
    """Such as ``aliev-panfilov-1996``; ``einthoven simulate --list`` names all."""
    parameters: dict[str, float] = Field(default_factory=dict)
    """Name = value; the others keep their published values."""
    layers: LayersTable | None = None
    """Other models of the same kind in the layers of the ventricles' wall."""
    border: dict[str, float] = Field(default_factory=dict)
    """Name = factor: how parameters differ in the border zone of scars."""
    gradients: list[GradientTable] = Field(default_factory=list)
    """Parameters that vary through the ventricles."""


class TimeTable(Table):
    """``[time]``: how long, in what steps."""

    t_end: Positive
    """Length, ms."""
    dt: Annotated[float, Field(gt=0, le=10)]
    """Time step, ms; explicit diffusion has a limit, which is checked before the first step."""
    scheme: Literal["godunov", "strang"] = "godunov"
    """Splitting of membrane and diffusion: first or second order in dt."""
    diffusion: Literal["explicit", "semi-implicit"] = "explicit"
    """``explicit`` is fastest where dt allows it; ``semi-implicit`` has no limit on dt."""


class MovieTable(Table):
    """``[keep.movie]``: transmembrane potentials over time."""

    every: Positive = 2.0
    """Interval, ms; a multiple of dt."""
    factor: Annotated[int, Field(ge=1, le=1000)] = 1
    """On a grid: blocks of this many cells along each axis become their mean."""


class ActivationTable(Table):
    """``[keep.activation]``: when each cell is activated and recovers."""

    level: float = -40.0
    """Upward crossing that is activation, mV."""
    recovery_level: float = -70.0
    """Downward crossing that is recovery, mV."""
    beats: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Later beats are not kept."""


class ProbesTable(Table):
    """``[keep.probes]``: action potentials at points."""

    points: Annotated[dict[str, Point], Field(min_length=1)]
    """Name = [x, y, z] in mm (two coordinates for a sheet, one for a cable); the nearest cell is taken."""
    every: Positive = 0.5
    """Interval, ms; a multiple of dt."""


class SingularitiesTable(Table):
    """``[keep.phase_singularities]``: the points around which spiral waves turn; sheets and surfaces only."""

    every: Positive = 5.0
    """Interval, ms; a multiple of dt."""
    delay: Positive = 10.0
    """Of the second coordinate of the phase, ms; a multiple of `every`."""
    center: float = -40.0
    """Potential in the middle of the loop, mV."""
    max_step: Positive = 10.0
    """Largest distance that one moves between two looks, mm."""


class KeepTable(Table):
    """``[keep]``: what is stored."""

    movie: MovieTable | None = None
    """A movie; ``{}`` for one with the defaults."""
    activation: ActivationTable | None = Field(default_factory=ActivationTable)
    """Activation and recovery times, from which duration and velocity are taken."""
    probes: ProbesTable | None = None
    """Action potentials at points."""
    phase_singularities: SingularitiesTable | None = None
    """Cores of spiral waves."""


class EcgTable(Table):
    """``[ecg]``: electrodes in an infinite medium around the tissue, or on the phantom's skin."""

    positions: Annotated[dict[str, Position], Field(min_length=1)] | None = None
    """Name = [x, y, z] in mm: electrodes in an infinite medium."""
    torso: Literal["phantom"] | None = None
    """The phantom's torso, for its ventricles or its heart surface; instead of `positions`."""
    leads: Literal["12-lead", "64", "120", "192"] = "12-lead"
    """On the torso: the twelve leads, or electrodes against Wilson's terminal."""
    every: Positive = 1.0
    """Interval, ms; a multiple of dt."""
    bath_conductivity: Positive = 0.2
    """Of the infinite medium, mS/mm."""
    intracellular_conductivity: Positive | None = None
    """mS/mm, along the fibers: potentials are proportional to it. Without it 1.78 mS/mm per mm2/ms of diffusivity in an
    infinite medium, and 0.04 in the torso."""

    @model_validator(mode="after")
    def _one_medium(self):
        if (self.positions is None) == (self.torso is None):
            given = "neither" if self.positions is None else "both"
            raise PydanticCustomError("choice", "{problem}", {"problem": f"give positions or torso; got {given}"})
        return self


# --- the study --------------------------------------------------------------------------------------


class SimulationStudy(Table):
    """A study file as a whole; lengths in mm, times in ms, potentials in mV, diffusivities in mm2/ms."""

    name: Annotated[str, Field(min_length=1)] = "study"
    """Short name, used in results."""
    title: str = ""
    """One line for the page."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of everything random: the same seed gives the same tissue."""
    dtype: Literal["float64", "float32"] = "float64"
    """Precision of the stepping."""
    tissue: Annotated[GridTissue | SurfaceTissue | VentriclesTissue, Field(discriminator="kind")]
    """Where cells are, and how well they conduct."""
    model: ModelTable
    """The membrane."""
    protocol: Protocol
    """Stimuli."""
    time: TimeTable
    """Length and steps."""
    keep: KeepTable = Field(default_factory=KeepTable)
    """What is stored."""
    ecg: EcgTable | None = None
    """Leads."""
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Field = list of values, such as ``"tissue.spacing" = [0.5, 0.25]``: every combination is one run."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Written by a run, not read."""

    @model_validator(mode="after")
    def _grid_of_runs(self):
        runs = 1
        for values in self.sweep.values():
            runs *= len(values)
        if runs > MOST_RUNS:
            raise _fault("fit", "sweep", f"makes {runs} runs; at most {MOST_RUNS} are meant")
        return self

    @model_validator(mode="after")
    def _whole_steps(self):
        dt, keep = self.time.dt, self.keep
        times = {"time.t_end": self.time.t_end}
        for name in ("movie", "probes", "phase_singularities"):
            table = getattr(keep, name)
            if table is not None:
                times[f"keep.{name}.every"] = table.every
        if self.ecg is not None:
            times["ecg.every"] = self.ecg.every
        for name, length in times.items():
            steps = round(length / dt)
            if steps < 1 or abs(length - steps * dt) > 1e-6 * dt * steps:
                nearest = f"{max(steps, 1) * dt:.10g}"
                raise _fault("fit", name, f"must be a multiple of time.dt = {dt:g}; got {length:g}, nearest {nearest}")
            if length > self.time.t_end:
                raise _fault("fit", name, f"must be at most time.t_end = {self.time.t_end:g} ms; got {length:g}")
        return self

    @property
    def config(self) -> dict[str, Any]:
        """What decides the numbers of a run, as plain values: everything but name, title, sweep and versions."""
        return self.model_dump(mode="json", exclude={"name", "title", "sweep", "versions"})


# --- every field ------------------------------------------------------------------------------------

#: Tables of a study file and how they are headed, in the order of the documentation.
TABLES: tuple[tuple[str, type[Table]], ...] = (
    ("", SimulationStudy),
    ('tissue (kind = "sheet", "slab" or "cable")', GridTissue),
    ('tissue (kind = "surface")', SurfaceTissue),
    ('tissue (kind = "phantom-ventricles")', VentriclesTissue),
    ("tissue.fast_layer", FastLayerTable),
    ("tissue.fibers", FibersTable),
    ("tissue.scars", ScarTable),
    ('tissue.fibrosis (kind = "diffuse")', DiffuseFibrosis),
    ('tissue.fibrosis (kind = "islands")', IslandFibrosis),
    ('tissue.fibrosis (kind = "patchy")', PatchyFibrosis),
    ('tissue.fibrosis (kind = "interstitial")', InterstitialFibrosis),
    ('tissue.fibrosis (kind = "compact")', CompactFibrosis),
    ("tissue.gap_junctions", GapJunctionTable),
    ("model", ModelTable),
    ("model.layers", LayersTable),
    ("model.gradients", GradientTable),
    ("protocol", StimuliProtocol),
    ("protocol.stimuli", StimulusTable),
    ('protocol (kind = "burst")', BurstProtocol),
    ('protocol (kind = "s1-s2")', S1S2Protocol),
    ('protocol (kind = "cross-field")', CrossFieldProtocol),
    ('protocol (kind = "early-sites")', EarlySitesProtocol),
    ("protocol.sites", EarlySiteTable),
    ('region (kind = "ball")', BallRegion),
    ('region (kind = "box")', BoxRegion),
    ('region (kind = "line")', LineRegion),
    ('region (kind = "whole")', WholeRegion),
    ("time", TimeTable),
    ("keep", KeepTable),
    ("keep.movie", MovieTable),
    ("keep.activation", ActivationTable),
    ("keep.probes", ProbesTable),
    ("keep.phase_singularities", SingularitiesTable),
    ("ecg", EcgTable),
)


def documented_fields() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Every table of a study file with its fields as (name, default or ``"required"``, meaning)."""
    found = []
    for heading, table in TABLES:
        rows = []
        for name, info in table.model_fields.items():
            default = "required" if info.is_required() else _default(info.get_default(call_default_factory=True))
            rows.append((name, default, info.description or ""))
        found.append((heading, rows))
    return found


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "{}"
    return "" if value is None or value in ({}, [], "") else repr(value).replace("'", '"')
