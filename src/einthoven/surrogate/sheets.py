"""One random sheet (or slab) of tissue, drawn from a recipe, and what its simulation shows."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import Electrodes, InputError
from einthoven.forward.lead_field import lead_field
from einthoven.ionic import IonicModel
from einthoven.ionic.registry import model
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Activation, Ecg, Monodomain, Movie, Strang, simulate
from einthoven.surrogate.recipe import Condition, SheetRecipe, split_of, turn_of
from einthoven.tissue import Grid, Tissue
from einthoven.tissue.fibrosis import Compact, Diffuse, Interstitial, Patchy, Texture, ThresholdedField
from einthoven.tissue.remodelling import GapJunctionRemodelling

#: Stimuli: radius (mm) of the stimulated disk, duration (ms) and amplitude (mV/ms).
STIMULUS_RADIUS, STIMULUS_DURATION, STIMULUS_AMPLITUDE = 1.5, 2.0, 60.0

#: Stimuli begin within so many ms, the first one at 0.
ONSETS = 40.0


@dataclass(frozen=True, eq=False)
class Sheet:
    """Tissue, stimuli and electrodes of one sheet.

    Parameters
    ----------
    tissue
        Square, its cells' outer border from 0 to its size; of a slab the upper face lies at z = 0.
    membrane
        The same everywhere.
    sites
        Where stimuli are, mm, shape (n_stimuli, 2), or (n_stimuli, 3) in a slab.
    onsets
        When they begin, ms, the first at 0.
    electrodes
        Over and beside the sheet.
    drawn
        Numbers that were drawn, by name.
    """

    tissue: Tissue
    membrane: IonicModel
    sites: Float[np.ndarray, "k d"]
    onsets: Float[np.ndarray, " k"]
    electrodes: Electrodes
    drawn: dict[str, Any]

    @property
    def protocol(self) -> Protocol:
        """Disks of cells around the sites, of the part of the tissue that is connected."""
        nodes = [disk(self.tissue, site) for site in self.sites]
        return Protocol(
            tuple(
                Stimulus(Nodes(n), float(t), STIMULUS_DURATION, STIMULUS_AMPLITUDE)
                for n, t in zip(nodes, self.onsets, strict=True)
            )
        )


def disk(tissue: Tissue, site: Float[np.ndarray, " d"]) -> Int[np.ndarray, " n"]:
    """Points of the grid within the stimulus radius that belong to the largest connected part of the tissue."""
    near = np.linalg.norm(tissue.coordinates - site, axis=1) <= STIMULUS_RADIUS
    return tissue.nodes[near & (tissue.components() == 0)]


def draw_sheet(recipe: SheetRecipe, condition: Condition, number: int) -> Sheet:
    """Draw a sheet: the same for the same recipe's seed, condition's name and ranges, and number."""
    rng = np.random.default_rng([recipe.seed, zlib.crc32(condition.name.encode()), number])
    grid = sheet_grid(recipe.shape, recipe.spacing)
    diffusivity = float(rng.uniform(*condition.diffusivity))
    drawn: dict[str, Any] = {"diffusivity": diffusivity}
    tissue = _tissue(grid, diffusivity, condition, rng, drawn)
    tissue = _remodelled(tissue, condition, rng, drawn)
    tissue = _fibrotic(tissue, condition, number, rng, drawn)
    sites, onsets = _stimuli(tissue, condition, rng)
    return Sheet(tissue, model(recipe.membrane), sites, onsets, _electrodes(recipe, rng), drawn)


def sheet_grid(shape: tuple[int, ...], spacing: float) -> Grid:
    """The grid of a sheet with a corner at x = y = 0, at z = 0; of a slab the upper face is there."""
    half = spacing / 2
    return Grid(shape, spacing, (half, half, 0.0 if len(shape) == 2 else half - shape[2] * spacing))


def _tissue(
    grid: Grid, diffusivity: float, condition: Condition, rng: np.random.Generator, drawn: dict[str, Any]
) -> Tissue:
    if condition.anisotropy is None:
        return Tissue.isotropic(grid, np.full(grid.n_points, diffusivity))
    ratio, angle = float(rng.uniform(*condition.anisotropy)), float(rng.uniform(0, np.pi))
    drawn |= {"anisotropy": ratio, "fiber_angle": angle}
    along = np.full(grid.n_points, diffusivity)
    return Tissue.anisotropic(grid, along, along / ratio, _fibers(grid, angle, condition, rng, drawn))


def _fibers(
    grid: Grid, angle: float, condition: Condition, rng: np.random.Generator, drawn: dict[str, Any]
) -> Float[np.ndarray, "..."]:
    """Directions in the plane of the sheet; in a slab they may turn with the depth."""
    if grid.dimension == 2:
        return np.array([np.cos(angle), np.sin(angle)])
    turn = 0.0
    if condition.fiber_rotation is not None:
        turn = drawn["fiber_rotation"] = float(rng.uniform(*condition.fiber_rotation))
    depth = (np.arange(grid.shape[2]) + 0.5) / grid.shape[2]
    angles = np.broadcast_to(angle - np.deg2rad(turn) * (depth - 0.5), grid.shape).reshape(-1)
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)


def _remodelled(tissue: Tissue, condition: Condition, rng: np.random.Generator, drawn: dict[str, Any]) -> Tissue:
    if condition.remodelling is None:
        return tissue
    length = None
    if condition.remodelling_length is not None:
        length = drawn["remodelling_length"] = float(rng.uniform(*condition.remodelling_length))
    factor = GapJunctionRemodelling(*condition.remodelling, correlation_length=length)
    return factor.apply(tissue, int(rng.integers(2**31)))


def _fibrotic(
    tissue: Tissue, condition: Condition, number: int, rng: np.random.Generator, drawn: dict[str, Any]
) -> Tissue:
    if not condition.textures:
        return tissue
    density, length = float(rng.uniform(*condition.density)), float(rng.uniform(*condition.texture_length))
    name = condition.textures[turn_of(number) % len(condition.textures)]
    drawn |= {"texture": name, "density": density, "texture_length": length}
    texture = _texture(name, density, length, tissue, float(rng.uniform(0, np.pi)))
    return texture.apply(tissue, int(rng.integers(2**31)))


def _texture(name: str, density: float, length: float, tissue: Tissue, angle: float) -> Texture:
    """A texture of that size; strands run along the fibers, or in a direction of their own where there are none."""
    if name == "diffuse":
        return Diffuse(density)
    if name == "thresholded":
        return ThresholdedField(density, correlation_length=length)
    if name == "patchy":
        return Patchy(density, patch_size=2 * length, cover=min(1.0, max(0.4, 1.5 * density)))
    if name == "interstitial":
        flat = (float(np.cos(angle)), float(np.sin(angle)), 0.0)
        own = None if tissue.diffusivity.ndim >= 2 else flat[: tissue.coordinates.shape[1]]
        return Interstitial(density, length=4 * length, width=1.0, direction=own)
    return Compact(density, blobs=2)


def _stimuli(tissue: Tissue, condition: Condition, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sites in the connected part of the tissue; onsets so close together that every stimulus matters."""
    count = int(rng.integers(condition.stimuli[0], condition.stimuli[1] + 1))
    connected = np.flatnonzero(tissue.components() == 0)
    sites = tissue.coordinates[connected[rng.integers(len(connected), size=count)]]
    onsets = np.sort(np.round(rng.uniform(0, ONSETS, count)))
    return sites, onsets - onsets[0]


def _electrodes(recipe: SheetRecipe, rng: np.random.Generator) -> Electrodes:
    e = recipe.electrodes
    low, high = -e.margin, recipe.size + e.margin
    places = np.column_stack([rng.uniform(low, high, (e.random, 2)), rng.uniform(*e.height, e.random)])
    positions = np.concatenate([np.reshape(e.fixed, (-1, 3)), places])
    names = [f"fixed-{k}" for k in range(len(e.fixed))] + [f"random-{k}" for k in range(e.random)]
    return Electrodes(tuple(names), positions)


@dataclass(frozen=True, eq=False)
class SheetData:
    """What is known of a sheet (or slab): its tissue, its movie, its maps, its ECG.

    All maps are over the sheet, x first; the movie is the mean of the potential above rest over the cells of a pixel,
    cells that do not conduct counting as resting. Slabs have maps of three dimensions, and a movie without frames.

    Parameters
    ----------
    condition, split, number
        Where the sheet belongs.
    spacing
        Of the grid, mm.
    conducting
        Shape (n, n), or (n, n, layers).
    diffusivity
        mm2/ms, of that shape, or with tensors (..., d, d); NaN where nothing conducts.
    sites, onsets
        Of the stimuli, mm and ms.
    electrodes
        Positions, mm, shape (n_electrodes, 3).
    movie
        mV above rest, shape (n_frames, m, m).
    activation, recovery
        ms; NaN where the wave does not come.
    ecg
        mV, shape (n_electrodes, n_samples).
    movie_times, ecg_times
        ms.
    """

    condition: str
    split: str
    number: int
    spacing: float
    conducting: Any
    diffusivity: Any
    sites: Any
    onsets: Any
    electrodes: Any
    movie: Any
    activation: Any
    recovery: Any
    ecg: Any
    movie_times: Any
    ecg_times: Any

    def __repr__(self) -> str:
        m, cells = self.movie.shape[1], " x ".join(map(str, self.conducting.shape))
        return (
            f"SheetData({self.condition!r} {self.number} ({self.split}), {cells} cells of {self.spacing:g} mm, "
            f"{len(self.movie)} frames of {m} x {m}, {len(self.electrodes)} electrodes)"
        )

    @property
    def size(self) -> float:
        """Edge of the sheet, mm."""
        return len(self.conducting) * self.spacing

    @property
    def pixel(self) -> float:
        """Edge of the movie's pixels, mm."""
        return self.size / self.movie.shape[1]

    @property
    def ecg_of_frames(self) -> Float[np.ndarray, "n_electrodes t"]:
        """The ECG at the movie's frames, mV."""
        every = round((self.movie_times[1] - self.movie_times[0]) / (self.ecg_times[1] - self.ecg_times[0]))
        return self.ecg[:, ::every]

    def coarser(self, pixel: float) -> Float[np.ndarray, "t m m"]:
        """The movie with larger pixels (mm): exactly the mean of those that they cover.

        Raises
        ------
        InputError
            If the pixels do not cover whole pixels of the movie, or do not fill the sheet.
        """
        if not len(self.movie):
            raise InputError("slab: has no movie; models that look at one are for sheets, neural-eikonal is for both.")
        factor = round(pixel / self.pixel)
        if factor < 1 or abs(factor * self.pixel - pixel) > 1e-6 or self.movie.shape[1] % factor:
            raise InputError(
                f"sheet: pixels of {pixel:g} mm must be a multiple of the movie's, {self.pixel:g} mm, and fill the "
                f"sheet of {self.size:g} mm."
            )
        t, m, _ = self.movie.shape
        blocks = self.movie.reshape(t, m // factor, factor, m // factor, factor)
        return blocks.mean(axis=(2, 4), dtype=np.float32)

    def tissue(self) -> Tissue:
        """The tissue, as it was simulated."""
        mask = np.asarray(self.conducting, dtype=bool)
        values = np.asarray(self.diffusivity, dtype=np.float64)[mask]
        return Tissue(sheet_grid(mask.shape, self.spacing), values, mask.reshape(-1))

    def electrode_set(self) -> Electrodes:
        """The electrodes as a noun, numbered."""
        return Electrodes(tuple(f"e{k}" for k in range(len(self.electrodes))), np.asarray(self.electrodes))


def simulate_sheet(recipe: SheetRecipe, condition: Condition, number: int) -> tuple[SheetData, dict[str, Any]]:
    """Simulate a sheet; its data, and the numbers that were drawn for it.

    Raises
    ------
    InputError
        If the simulation cannot be done as asked, for example with an unstable dt.
    """
    sheet = draw_sheet(recipe, condition, number)
    return run_sheet(recipe, sheet, condition.name, number), sheet.drawn


def run_sheet(recipe: SheetRecipe, sheet: Sheet, condition: str = "mine", number: int = 0) -> SheetData:
    """Simulate a sheet that was drawn, or made by hand.

    Parameters
    ----------
    recipe
        Its times and intervals count, its size and spacing must be those of the sheet.
    sheet
        What is simulated.
    condition, number
        What it is called in its data.
    """
    tissue = sheet.tissue
    rest = float(np.asarray(sheet.membrane.scale.to_mv(np.float64(sheet.membrane.rest()[0]))))
    keep: list[Any] = [Ecg(lead_field(tissue, sheet.electrodes), recipe.ecg_every), Activation()]
    if recipe.thickness is None:
        keep.append(Movie(recipe.movie_every, factor=round(recipe.movie_spacing / recipe.spacing)))
    muscle = Monodomain(tissue, sheet.membrane, Strang(), "float32")
    run = simulate(muscle, sheet.protocol, recipe.t_end, dt=recipe.dt, keep=keep)
    conducting = np.asarray(tissue.conducting).reshape(tissue.shape)
    movie, frames = np.zeros((0, recipe.n_pixels, recipe.n_pixels), np.float32), np.zeros(0)
    if recipe.thickness is None:
        movie, frames = _above_rest(run.data["movie"].values, conducting, rest), run.data["movie"]["time"].values
    return SheetData(
        condition=condition,
        split=split_of(number),
        number=number,
        spacing=recipe.spacing,
        conducting=conducting,
        diffusivity=_filled(tissue, tissue.diffusivity),
        sites=sheet.sites,
        onsets=sheet.onsets,
        electrodes=np.asarray(sheet.electrodes.positions),
        movie=movie,
        activation=tissue.fill(run.data["activation"].values[0].astype(np.float32)),
        recovery=tissue.fill(run.data["recovery"].values[0].astype(np.float32)),
        ecg=run.data["ecg"].values,
        movie_times=frames,
        ecg_times=run.data["ecg"]["time"].values,
    )


def _above_rest(movie: np.ndarray, conducting: np.ndarray, rest: float) -> Float[np.ndarray, "t m m"]:
    """Means over conducting cells become means over all cells, those that do not conduct at rest."""
    m = movie.shape[1]
    factor = len(conducting) // m
    share = conducting.reshape(m, factor, m, factor).mean(axis=(1, 3)).astype(np.float32)
    return np.where(share > 0, (movie - np.float32(rest)) * share, np.float32(0.0))


def _filled(tissue: Tissue, values: np.ndarray) -> Float[np.ndarray, "..."]:
    """Diffusivity at the nodes over the sheet, NaN where nothing conducts, float32."""
    full = np.full((tissue.n_points, *values.shape[1:]), np.nan, dtype=np.float32)
    full[tissue.nodes] = values
    return full.reshape(*tissue.shape, *values.shape[1:])
