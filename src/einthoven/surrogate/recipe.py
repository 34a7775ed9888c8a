"""Which random sheets of tissue make a data set: conditions, ranges of everything that is drawn, what is kept."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from einthoven.ionic.registry import MODELS

#: Fibrosis textures by name.
TextureName = Literal["thresholded", "diffuse", "patchy", "interstitial", "compact"]
TEXTURES: tuple[str, ...] = get_args(TextureName)

#: Parts of a set. Of ten successive sheets of a condition eight are for training, one each for choosing and testing,
#: so that a set that grows keeps its parts.
SPLITS = ("training", "validation", "test")


def split_of(number: int) -> str:
    """Part of a set that a sheet belongs to, by its number within its condition."""
    return {8: "validation", 9: "test"}.get(number % 10, "training")


def turn_of(number: int) -> int:
    """Whose turn it is where sheets of a condition take turns, so that every part of a set has all.

    Tens are counted in the small parts: every tenth sheet would have the same of five, were it the sheets.
    """
    return number if split_of(number) == "training" else number // 10


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] <= pair[1]:
        raise ValueError("a range goes from its lower to its higher end")
    return pair


def _positive(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] > 0:
        raise ValueError("a range must be of positive numbers")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Positive = Annotated[Range, AfterValidator(_positive)]


class Condition(BaseModel):
    """Sheets of one kind; of every range each sheet draws one number, evenly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    sheets: int = Field(ge=1)
    diffusivity: Positive = (0.09, 0.11)
    """Of the healthy tissue, mm2/ms."""
    remodelling: Positive | None = None
    """Factor of the diffusivity: gap-junction remodelling."""
    remodelling_length: Positive | None = None
    """Correlation length over which the factor goes through the whole range, mm; none: one factor for the sheet."""
    textures: tuple[TextureName, ...] = ()
    """Of the fibrosis, in turn within each part of the set; none: no fibrosis."""
    density: Range = (0.05, 0.30)
    """Share of the cells that are fibrotic."""
    texture_length: Positive = (1.0, 4.0)
    """Size of the texture, mm: correlation length, patch size, or length of the strands over 4."""
    stimuli: tuple[int, int] = (1, 1)
    """Least and largest number of stimuli."""
    anisotropy: Positive | None = None
    """D along over D across the fibers, which run in a random direction in the plane of the sheet; none: isotropic."""
    fiber_rotation: Range | None = None
    """By how much fibers turn from the upper to the lower face of a slab, degrees; none: not at all."""

    @model_validator(mode="after")
    def _checked(self) -> "Condition":
        if not 1 <= self.stimuli[0] <= self.stimuli[1] <= 10:
            raise ValueError("stimuli must be 1 to 10, the least first")
        if not 0 <= self.density[0] <= self.density[1] <= 0.6:
            raise ValueError("density must be a share of the cells from 0 to 0.6")
        return self


class ElectrodeRecipe(BaseModel):
    """Electrodes over the sheet, which lies at z = 0 with a corner at x = y = 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fixed: tuple[tuple[float, float, float], ...] = ()
    """Positions that all sheets share, mm."""
    random: int = Field(default=0, ge=0, le=256)
    """How many more each sheet has at places of its own."""
    height: Positive = (10.0, 40.0)
    """z of the random ones, mm."""
    margin: float = Field(default=16.0, ge=0)
    """How far beside the sheet they may be, mm."""

    @model_validator(mode="after")
    def _some(self) -> "ElectrodeRecipe":
        if not self.fixed and not self.random:
            raise ValueError("there must be an electrode, fixed or random")
        return self


class SheetRecipe(BaseModel):
    """A data set of simulated sheets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    size: float = Field(default=64.0, gt=1.0, le=1000.0)
    """Edge of the square sheet, mm."""
    thickness: float | None = Field(default=None, gt=0.0, le=100.0)
    """Of a slab below the plane of the sheet, mm; none: a sheet. Slabs have no movie."""
    spacing: float = Field(default=0.5, gt=0.0)
    """Of the simulated grid, mm."""
    dt: float = Field(default=0.1, gt=0.0)
    """Time step of Strang's splitting, ms."""
    membrane: str = "fenton-karma-1998-atrial"
    t_end: float = Field(gt=0.0)
    """Length of a simulation, ms."""
    ecg_every: float = Field(default=2.0, gt=0.0)
    """Interval of the ECG's samples, ms."""
    movie_every: float = Field(default=4.0, gt=0.0)
    """Interval of the movie's frames, ms."""
    movie_spacing: float = Field(default=1.0, gt=0.0)
    """Edge of the movie's pixels, mm, a multiple of the grid's spacing."""
    seed: int = Field(default=0, ge=0)
    electrodes: ElectrodeRecipe
    conditions: tuple[Condition, ...] = Field(min_length=1, alias="condition")

    @model_validator(mode="after")
    def _checked(self) -> "SheetRecipe":
        if self.membrane not in MODELS:
            raise ValueError(f"membrane must be one of {', '.join(MODELS)}")
        for name, whole, part in (
            ("size must be a multiple of movie_spacing", self.size, self.movie_spacing),
            ("movie_spacing must be a multiple of spacing", self.movie_spacing, self.spacing),
            ("t_end must be a multiple of movie_every", self.t_end, self.movie_every),
            ("t_end must be a multiple of ecg_every", self.t_end, self.ecg_every),
            ("movie_every must be a multiple of ecg_every", self.movie_every, self.ecg_every),
            ("ecg_every must be a multiple of dt", self.ecg_every, self.dt),
        ):
            if abs(whole / part - round(whole / part)) > 1e-6 or round(whole / part) < 1:
                raise ValueError(f"{name}; got {whole:g} and {part:g}")
        layers = 1.0 if self.thickness is None else self.thickness / self.movie_spacing
        if abs(layers - round(layers)) > 1e-6 or round(layers) < 1:
            raise ValueError(f"thickness must be a multiple of movie_spacing; got {self.thickness:g}")
        if any(c.fiber_rotation and (c.anisotropy is None or self.thickness is None) for c in self.conditions):
            raise ValueError("fiber_rotation is for the fibers of slabs: give thickness and anisotropy too")
        names = [c.name for c in self.conditions]
        if len(set(names)) < len(names):
            raise ValueError("conditions must have different names")
        return self

    @property
    def n_cells(self) -> int:
        """Cells of the simulated grid along the edge of the sheet."""
        return round(self.size / self.spacing)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells of the simulated grid along each axis."""
        depth = () if self.thickness is None else (round(self.thickness / self.spacing),)
        return (self.n_cells, self.n_cells, *depth)

    @property
    def n_pixels(self) -> int:
        """Pixels of the movie along each axis."""
        return round(self.size / self.movie_spacing)

    @property
    def n_frames(self) -> int:
        """Frames of the movie, the first at 0 ms."""
        return round(self.t_end / self.movie_every) + 1

    @property
    def n_samples(self) -> int:
        """Samples of the ECG, the first at 0 ms."""
        return round(self.t_end / self.ecg_every) + 1

    @property
    def n_sheets(self) -> int:
        """Of all conditions."""
        return sum(c.sheets for c in self.conditions)
