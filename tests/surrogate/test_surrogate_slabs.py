"""Slabs: drawn, simulated, described, predicted as sheets are; what has no meaning for them is refused."""

from functools import lru_cache
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.eikonal.conduction import Conduction
from einthoven.studies.sheet_sets import SheetSet, make_sheets
from einthoven.studies.surrogates import baselines, evaluate, origin_of, trained_on
from einthoven.surrogate.configuration import load_configuration
from einthoven.surrogate.front_features import feature_names, front, shuffled, unshuffled
from einthoven.surrogate.limits import tissue_numbers, tissue_statistics
from einthoven.surrogate.models import TissueEcg, train_surrogate
from einthoven.surrogate.neural_eikonal import FrontLearner, SlownessNet, activation_times
from einthoven.surrogate.recipe import Condition, SheetRecipe
from einthoven.surrogate.scores import ecg_scores
from einthoven.surrogate.sheets import draw_sheet, sheet_grid, simulate_sheet
from einthoven.surrogate.training import Moment
from einthoven.tissue import Grid, Tissue
from surrogate_cases import recipe, sheet

CONDUCTION = Conduction.of(recipe().membrane)
PLAIN = Condition(name="plain", sheets=10)
TURNED = Condition(name="turned", sheets=10, anisotropy=(2.0, 3.0), fiber_rotation=(60.0, 120.0), textures=("diffuse",))
NAMES = feature_names(3)


def slabs(**changes) -> SheetRecipe:
    """16 x 16 x 4 mm, 32 x 32 x 8 cells."""
    return recipe(**{"thickness": 4.0, "t_end": 300.0, "condition": (PLAIN, TURNED), **changes})


@lru_cache(maxsize=4)
def slab(condition: Condition = PLAIN, number: int = 0):
    return simulate_sheet(slabs(), condition, number)[0]


def item(condition: Condition = PLAIN, number: int = 0):
    data = slab(condition, number)
    return front(data.tissue(), data.sites, data.onsets, CONDUCTION), data.tissue().take(data.activation)


# -- drawing and simulating --------------------------------------------------------------------------------------------


def test_a_slab_lies_below_the_plane_of_the_sheet():
    grid = sheet_grid((4, 4, 3), 0.5)
    points = Tissue.isotropic(grid, 0.1).coordinates
    assert points.min(axis=0) == pytest.approx([0.25, 0.25, -1.25])
    assert points.max(axis=0) == pytest.approx([1.75, 1.75, -0.25])
    assert sheet_grid((4, 4), 0.5).origin[2] == 0.0


def test_fibers_turn_through_the_slab():
    drawn = draw_sheet(slabs(), TURNED, 3)
    tensors = drawn.tissue.fill(np.moveaxis(drawn.tissue.diffusivity, 0, -1))
    angles = []
    for layer in (0, 7):
        here = tensors[..., layer].reshape(3, 3, -1)
        here = here[:, :, np.isfinite(here[0, 0])][:, :, 0]
        values, vectors = np.linalg.eigh(here)
        assert values[2] / values[0] == pytest.approx(drawn.drawn["anisotropy"], rel=1e-6)
        assert abs(vectors[2, 2]) < 1e-9
        angles.append(np.arctan2(vectors[1, 2], vectors[0, 2]))
    turned = np.rad2deg(angles[1] - angles[0]) % 180
    expected = drawn.drawn["fiber_rotation"] * 7 / 8  # between the middles of the outer layers
    assert min(abs(turned - expected), abs(turned - (180 - expected))) < 1e-6


def test_what_is_known_of_a_slab():
    data = slab(TURNED)
    assert data.conducting.shape == (32, 32, 8)
    assert data.diffusivity.shape == (32, 32, 8, 3, 3)
    assert data.sites.shape[1] == 3
    assert len(data.movie) == 0
    assert "32 x 32 x 8 cells" in repr(data)
    tissue = data.tissue()
    drawn = draw_sheet(slabs(), TURNED, 0).tissue
    assert np.array_equal(tissue.nodes, drawn.nodes)
    assert np.allclose(tissue.diffusivity, drawn.diffusivity, rtol=1e-6)
    assert np.allclose(tissue.coordinates, drawn.coordinates)
    earliest = np.unravel_index(np.nanargmin(data.activation), data.activation.shape)
    place = sheet_grid((32, 32, 8), 0.5).origin + 0.5 * np.array(earliest)
    assert np.linalg.norm(place - data.sites[0]) <= 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"thickness": 4.3}, "thickness must be a multiple of movie_spacing"),
        ({"thickness": None}, "fiber_rotation is for the fibers of slabs"),
    ],
)
def test_wrong_recipes(changes, words):
    with pytest.raises(ValueError, match=words):
        slabs(**changes)


def test_models_of_movies_refuse_slabs():
    with pytest.raises(InputError, match="has no movie"):
        slab().coarser(1.0)
    origin = origin_of(SheetSet(Path(), slabs()))
    assert origin.dimension == 3
    with pytest.raises(InputError, match="looks at movies, and slabs have none"):
        train_surrogate(load_configuration("seq2seq"), origin, [slab()], [slab()])


# -- features ----------------------------------------------------------------------------------------------------------


def test_cells_and_channels():
    values = np.arange(6.0 * 8 * 4).reshape(6, 8, 4)
    assert np.array_equal(shuffled(unshuffled(values, 2), 2), values)
    assert unshuffled(values, 2)[:, 1, 2, 0].tolist() == [80, 81, 84, 85, 112, 113, 116, 117]


def test_layers_of_a_sheet_have_the_features_of_the_sheet():
    """A front that begins plane, in uneven tissue that is the same at all depths."""
    middles = np.arange(0.25, 16.0, 0.5)
    uneven = 0.1 * np.exp(0.4 * np.sin(middles / 3)[:, None] * np.cos(middles / 4)[None])
    flat = Tissue.isotropic(Grid((32, 32), 0.5, (0.25, 0.25, 0.0)), uneven)
    sites = np.stack([np.full(32, 0.25), middles], axis=1)
    two = front(flat, sites, np.zeros(32), CONDUCTION).features
    deep = Tissue.isotropic(sheet_grid((32, 32, 8), 0.5), np.repeat(uneven[..., None], 8, axis=2))
    z = np.arange(-3.75, 0.0, 0.5)
    sites = np.stack([np.full(256, 0.25), np.repeat(middles, 8), np.tile(z, 32)], axis=1)
    three = front(deep, sites, np.zeros(256), CONDUCTION).features
    names = [name for name in feature_names(2) if name not in ("near site", "far from site")]
    for name in names:
        a, b = two[4 + feature_names(2).index(name)], three[8 + NAMES.index(name)][..., 2]
        assert np.allclose(a, b, atol=0.02), name
    assert np.ptp(two[4 + feature_names(2).index("normal y")]) > 0.3
    assert np.abs(three[8 + NAMES.index("normal z")]).max() < 0.02


def test_curvature_of_a_spherical_front():
    """2 D / (r c) at distance r."""
    tissue = Tissue.isotropic(sheet_grid((48, 48, 48), 0.5), 0.1)
    corner = np.array([[0.25, 0.25, -0.25]])
    found = front(tissue, corner, np.zeros(1), CONDUCTION)
    curvature = found.features[8 + NAMES.index("curvature")][15, 15, 8]
    r = np.linalg.norm(np.array([15.5, 15.5, -15.5]) - corner[0])
    assert curvature == pytest.approx(2 * 0.1 / r / float(CONDUCTION.speed(0.1, 0.5)), rel=0.1)


def test_numbers_of_a_slab():
    mask = np.ones((8, 8, 8), bool)
    mask[2:4, 2:4, 2:6] = False
    found = tissue_numbers(mask, np.where(mask, 0.1, np.nan), 0.5, 1)
    assert found["density of holes"] == pytest.approx(16 / 512)
    assert found["rim of holes per area (1/mm)"] == pytest.approx(40 * 0.25 / 64.0)
    assert found["size of holes (log of mm3)"] == pytest.approx(np.log(16 / 8))
    extents = np.array([(4**2 - 1) / 12 + 1 / 12, (2**2 - 1) / 12 + 1 / 12])
    assert found["elongation of holes (log)"] == pytest.approx(np.log(extents[0] / extents[1]))
    assert found["mean log D"] == pytest.approx(np.log(0.1))
    turned = tissue_statistics(slab(TURNED))
    assert np.log(2) < turned["anisotropy"] < np.log(3)


# -- predicting --------------------------------------------------------------------------------------------------------


def test_the_pure_eikonal_of_a_slab():
    data = slab()
    surrogate = TissueEcg(None, recipe().membrane)
    late = np.abs(surrogate.activation(data) - data.tissue().take(data.activation))
    assert np.nanmean(late) < 1.5
    assert ecg_scores(surrogate.predict(data), data.ecg, data.ecg_times)["r2"].min() > 0.8


@pytest.mark.long
@pytest.mark.parametrize("condition", [PLAIN, TURNED])
def test_gradients_match_finite_differences(condition):
    """By the last layer's bias; the solution of the eikonal equation has kinks, so that rough directions have none."""
    net = eqx.tree_at(
        lambda n: n.last.weight,
        SlownessNet.random(1, factor=2, dimension=3, width=8, depth=2),
        replace_fn=lambda w: 30 * w,
    )
    learner, moment = FrontLearner(), Moment(0, 0.0)
    loss, gradient = learner.gradient(net, [item(condition)], moment)
    assert loss > 0.1
    bias, step = net.last.bias, 3e-3
    ends = [
        learner.gradient(eqx.tree_at(lambda n: n.last.bias, net, bias + s * step), [item(condition)], moment)[0]
        for s in (1, -1)
    ]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert float(np.asarray(gradient.last.bias).sum()) == pytest.approx(expected, rel=0.03)


def test_weights_of_sheets_are_refused():
    flat, deep = (SlownessNet.random(0, factor=2, dimension=d) for d in (2, 3))
    with pytest.raises(InputError, match="this network is for sheets, the tissue is one of slabs"):
        activation_times(flat, item()[0])
    data = sheet()
    with pytest.raises(InputError, match="this network is for slabs, the tissue is one of sheets"):
        activation_times(deep, front(data.tissue(), data.sites, data.onsets, CONDUCTION))


@pytest.mark.long
def test_a_set_of_slabs_is_made_trained_on_and_scored(tmp_path):
    made = slabs(condition=(PLAIN,))
    make_sheets(made, tmp_path / "set")
    sheets = SheetSet.open(tmp_path / "set")
    names = [p.name for p in baselines(sheets)]
    assert names == ["eikonal, constant duration", "eikonal, modelled duration", "true activation, modelled duration"]
    c = load_configuration("neural-eikonal").model_copy(update={"epochs": 8, "batch": 2})
    result = trained_on(c, sheets, tmp_path / "checkpoints", scored_on=[(sheets, "test")])
    assert result.card["origin"]["dimension"] == 3
    before = evaluate(sheets, baselines(sheets)[1:2], split="test").table[0]["r2_mean"]
    assert result.card["scores"][0]["rows"][0]["r2_mean"] > before
