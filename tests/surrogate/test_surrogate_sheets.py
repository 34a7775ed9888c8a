"""Random sheets: reproducible, as their ranges say, and their data consistent with each other."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from einthoven.core import InputError
from einthoven.forward.lead_field import lead_field
from einthoven.surrogate.recipe import SPLITS, TEXTURES, Condition, ElectrodeRecipe, split_of
from einthoven.surrogate.sheets import draw_sheet, simulate_sheet
from surrogate_cases import FIBROTIC, HEALTHY, recipe, sheet


def test_the_same_numbers_draw_the_same_sheet():
    a, b = (draw_sheet(recipe(), FIBROTIC, 3) for _ in range(2))
    assert np.array_equal(a.tissue.diffusivity, b.tissue.diffusivity)
    assert np.array_equal(a.electrodes.positions, b.electrodes.positions)
    other = draw_sheet(recipe(), FIBROTIC, 4)
    assert not np.array_equal(a.tissue.conducting, other.tissue.conducting)
    assert not np.array_equal(draw_sheet(recipe(seed=1), FIBROTIC, 3).sites, a.sites)


def test_draws_do_not_depend_on_how_many_there_are():
    more = FIBROTIC.model_copy(update={"sheets": 500})
    assert np.array_equal(
        draw_sheet(recipe(), more, 3).tissue.conducting, draw_sheet(recipe(), FIBROTIC, 3).tissue.conducting
    )


@pytest.mark.parametrize("part", SPLITS)
@pytest.mark.parametrize("textures", [TEXTURES, TEXTURES[:2], TEXTURES[:4]])
def test_every_part_of_a_set_has_every_texture(part, textures):
    condition = Condition(name="c", sheets=100, textures=textures)
    numbers = [k for k in range(100) if split_of(k) == part]
    drawn = [draw_sheet(recipe(), condition, k).drawn["texture"] for k in numbers]
    counts = [drawn.count(name) for name in textures]
    assert min(counts) > 0.6 * len(drawn) / len(textures)


@pytest.mark.parametrize("texture", TEXTURES)
def test_every_texture_has_the_density_that_was_drawn(texture):
    condition = Condition(name="c", sheets=1, textures=(texture,), density=(0.1, 0.3))
    drawn = draw_sheet(recipe(), condition, 0)
    assert 1 - drawn.tissue.conducting.mean() == pytest.approx(drawn.drawn["density"], abs=1e-3)


def test_remodelling_and_anisotropy_are_in_their_ranges():
    plain = draw_sheet(recipe(), Condition(name="c", sheets=1, remodelling=(0.3, 0.5)), 0)
    factor = plain.tissue.diffusivity / plain.drawn["diffusivity"]
    assert np.ptp(factor) < 1e-12
    assert 0.3 <= factor[0] <= 0.5
    uneven = draw_sheet(recipe(), FIBROTIC, 0)
    factor = uneven.tissue.diffusivity / uneven.drawn["diffusivity"]
    assert 0.4 <= factor.min() < factor.max() <= 0.8
    oblique = draw_sheet(recipe(), Condition(name="c", sheets=1, anisotropy=(4.0, 4.0)), 0)
    values, vectors = np.linalg.eigh(oblique.tissue.diffusivity[0])
    assert values[1] / values[0] == pytest.approx(4.0)
    angle = oblique.drawn["fiber_angle"]
    assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) == pytest.approx(1.0)


def test_stimuli_and_electrodes():
    condition = Condition(name="c", sheets=1, stimuli=(3, 3), textures=("diffuse",), density=(0.3, 0.3))
    drawn = draw_sheet(recipe(), condition, 0)
    assert drawn.sites.shape == (3, 2)
    assert drawn.onsets[0] == 0
    assert (np.diff(drawn.onsets) >= 0).all()
    for stimulus in drawn.protocol.stimuli:
        assert len(stimulus.select(drawn.tissue)) > 5
    places = drawn.electrodes.positions
    assert np.array_equal(places[0], [8.0, 8.0, 12.0])
    assert ((places[1:, 2] >= 10) & (places[1:, 2] <= 40)).all()


def test_the_ecg_is_that_of_the_movie_at_full_resolution():
    """With pixels of one cell the exact lead field sees the same."""
    data, _ = simulate_sheet(recipe(movie_spacing=0.5), FIBROTIC, 0)
    rows = lead_field(data.tissue(), data.electrode_set()).matrix
    movie = data.movie.reshape(len(data.movie), -1)[:, data.tissue().nodes]
    seen = rows @ movie.T.astype(float)
    assert np.allclose(seen, data.ecg_of_frames, atol=1e-4 * np.abs(data.ecg).max())


def test_the_movie_counts_holes_as_resting():
    fine, _ = simulate_sheet(recipe(movie_spacing=0.5), FIBROTIC, 0)
    coarse = sheet()
    assert fine.movie[:, ~fine.conducting].max() == 0
    assert np.allclose(fine.coarser(1.0), coarse.movie, atol=1e-4)
    assert np.allclose(fine.coarser(2.0), coarse.coarser(2.0), atol=1e-4)
    assert coarse.movie.max() <= 101
    assert coarse.movie[0].max() == 0


def test_activation_comes_from_the_site():
    data = sheet("healthy")
    first = np.unravel_index(np.nanargmin(data.activation), data.activation.shape)
    assert np.linalg.norm((np.array(first) + 0.5) * data.spacing - data.sites[0]) < 2.0
    assert np.isnan(sheet().activation[~sheet().conducting]).all()
    assert np.nanmin(data.recovery - data.activation) > 150
    assert repr(data).startswith("SheetData('healthy' 0 (training), 32 x 32 cells of 0.5 mm")


def test_pixels_must_fit():
    with pytest.raises(InputError, match=r"pixels of 1.5 mm must be a multiple of the movie's, 1 mm"):
        sheet().coarser(1.5)
    with pytest.raises(InputError, match="fill the sheet of 16 mm"):
        sheet().coarser(3.0)


def test_splits():
    parts = [split_of(k) for k in range(20)]
    assert parts.count("training") == 16
    assert parts[8] == parts[18] == "validation"
    assert parts[9] == "test"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"membrane": "hodgkin"}, "membrane must be one of aliev-panfilov-1996"),
        ({"size": 16.5}, "size must be a multiple of movie_spacing; got 16.5 and 1"),
        ({"movie_spacing": 0.8}, "multiple"),
        ({"movie_every": 3.0}, "must be a multiple"),
        ({"t_end": 401.0}, "t_end must be a multiple of movie_every"),
        ({"condition": (HEALTHY, HEALTHY)}, "different names"),
        ({"condition": ()}, "at least 1"),
        ({"electrodes": {"fixed": ()}}, "there must be an electrode"),
        ({"condition": ({"name": "a", "sheets": 1, "diffusivity": (0.2, 0.1)},)}, "from its lower to its higher end"),
        ({"condition": ({"name": "a", "sheets": 1, "diffusivity": (0.0, 0.1)},)}, "positive"),
        ({"condition": ({"name": "a", "sheets": 1, "density": (0.1, 0.9)},)}, "from 0 to 0.6"),
        ({"condition": ({"name": "a", "sheets": 1, "stimuli": (0, 1)},)}, "1 to 10"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_wrong_recipes(changes, words):
    with pytest.raises(ValidationError, match=words):
        recipe(**changes)


def test_a_recipe_counts():
    r = recipe()
    assert (r.n_cells, r.n_pixels, r.n_frames, r.n_samples, r.n_sheets) == (32, 16, 101, 201, 20)


def test_an_unstable_step_is_refused():
    with pytest.raises(InputError, match="dt"):
        simulate_sheet(recipe(dt=2.0), HEALTHY, 0)


def test_electrodes_in_the_tissue_are_refused():
    electrodes = ElectrodeRecipe(fixed=((8.25, 8.25, 0.0),))
    with pytest.raises(InputError, match="from a conducting node"):
        simulate_sheet(recipe(electrodes=electrodes), HEALTHY, 0)


def test_data_are_replaceable():
    assert replace(sheet(), number=7).number == 7
