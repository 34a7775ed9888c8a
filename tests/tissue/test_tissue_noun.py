"""The tissue as a noun: shapes, labels, parts, volumes, conductivities, and what is refused."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tissue_cases import around, random_mask, random_tensors

from einthoven.core import GeometryError, InputError, Surface
from einthoven.geometry.generators import cylinder, rectangle, sphere
from einthoven.tissue import Grid, Tissue, conductivity, diffusivity


def test_grid_points_are_in_the_order_of_the_arrays():
    grid = Grid((3, 4, 5), 0.5, (1.0, 2.0, 3.0))
    assert grid.points.reshape(3, 4, 5, 3)[2, 1, 4] == pytest.approx([2.0, 2.5, 5.0])
    assert (grid.at(np.array([7, 31])) == grid.points[[7, 31]]).all()
    assert (Grid((4, 5), 0.5, (1.0, 2.0, 3.0)).points[:, 2] == 3.0).all()


def test_nodes_are_the_conducting_points_in_increasing_order():
    grid = Grid((6, 7), 0.5)
    mask = random_mask(42, 1)
    tissue = Tissue.isotropic(grid, 0.1, mask.reshape(6, 7))
    assert (tissue.nodes == np.flatnonzero(mask)).all()
    assert tissue.n_nodes == mask.sum() < tissue.n_points == 42
    assert (tissue.points == grid.points[mask]).all()
    assert tissue.coordinates.shape == (tissue.n_nodes, 2)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_fill_and_take_are_inverse(lead):
    tissue = Tissue.isotropic(Grid((6, 7), 0.5), 0.1, random_mask(42, 1))
    values = np.random.default_rng(0).random((*lead, tissue.n_nodes)).astype(np.float32)
    full = tissue.fill(values)
    assert full.shape == (*lead, 6, 7)
    assert full.dtype == np.float32
    assert np.isnan(full.reshape(*lead, 42)[..., ~tissue.conducting]).all()
    assert (tissue.take(full) == values).all()


def test_volumes_are_those_of_the_domain():
    assert Tissue.isotropic(Grid((8, 5, 4), 0.5), 0.1, thickness=9.0).volumes.sum() == pytest.approx(160 / 8)
    assert Tissue.isotropic(Grid((8, 5), 0.5), 0.1, thickness=3.0).volumes.sum() == pytest.approx(40 / 4 * 3)
    assert Tissue.isotropic(Grid((8,), 0.5), 0.1, thickness=3.0).volumes.sum() == pytest.approx(4 * 9)
    assert Tissue.isotropic(rectangle((6.0, 4.0)), 0.1, thickness=2.0).volumes.sum() == pytest.approx(48.0)


@pytest.mark.parametrize("shape", [(6,), (6, 7), (4, 5, 6)])
def test_fibers_are_the_directions_of_best_conduction(shape):
    d, n = len(shape), int(np.prod(shape))
    fibers = np.random.default_rng(0).standard_normal((n, d))
    fibers /= np.linalg.norm(fibers, axis=1, keepdims=True)
    mask = random_mask(n, 2)
    tissue = Tissue.anisotropic(Grid(shape, 0.5), 0.2, 0.05, fibers, mask)
    assert np.abs((tissue.fibers * fibers[mask]).sum(axis=1)) == pytest.approx(np.ones(tissue.n_nodes))
    if d > 1:
        assert np.linalg.eigvalsh(tissue.diffusivity) == pytest.approx(
            np.tile([0.05] * (d - 1) + [0.2], (tissue.n_nodes, 1))
        )


def test_values_may_be_given_per_point_or_per_node():
    grid, mask = Grid((6, 7), 0.5), random_mask(42, 1)
    values, tensors = np.linspace(0.1, 0.2, 42), random_tensors(42, 2, 1)
    fibers = around(np.column_stack([np.random.default_rng(0).standard_normal((42, 2)), np.zeros(42)]))[:, :2]
    values[~mask] = np.nan  # not looked at
    for one, other in (
        (Tissue.isotropic(grid, values, mask), Tissue.isotropic(grid, values[mask], mask)),
        (Tissue(grid, tensors, mask), Tissue(grid, tensors[mask], mask)),
        (
            Tissue.anisotropic(grid, values, 0.05, fibers, mask),
            Tissue.anisotropic(grid, values[mask], 0.05, fibers[mask], mask),
        ),
    ):
        assert (one.diffusivity == other.diffusivity).all()
        assert len(one.diffusivity) == one.n_nodes


def test_surface_fibers_are_laid_into_the_surface():
    surface = cylinder(10.0, 30.0, around=48, name="tube")
    side = np.abs(np.linalg.norm(surface.points[:, :2], axis=1) - 10) < 1e-9
    side &= np.abs(surface.points[:, 2]) < 12
    oblique = around(surface.points) + 0.8 * np.column_stack([surface.points[:, :2] / 10, np.zeros(surface.n_points)])
    oblique /= np.linalg.norm(oblique, axis=1, keepdims=True)
    tissue = Tissue.anisotropic(surface, 0.2, 0.05, oblique, side)
    assert np.abs((tissue.fibers * around(tissue.points)).sum(axis=1)) == pytest.approx(
        np.ones(tissue.n_nodes), abs=1e-6
    )


def test_one_direction_serves_a_whole_surface():
    patch = rectangle((6.0, 4.0))
    one = Tissue.anisotropic(patch, 0.2, 0.05, (0.6, 0.8, 0.0))
    each = Tissue.anisotropic(patch, 0.2, 0.05, np.tile([0.6, 0.8, 0.0], (patch.n_points, 1)))
    assert (one.coupling.weights == each.coupling.weights).all()


def test_arrays_are_read_only_and_inputs_are_not_shared():
    values = np.full(42, 0.1)
    tissue = Tissue.isotropic(Grid((6, 7), 0.5), values).labelled("layer", np.zeros(42, int))
    values[:] = 5.0
    assert tissue.diffusivity.max() == 0.1
    for array in (
        tissue.diffusivity,
        tissue.conducting,
        tissue.points,
        tissue.nodes,
        tissue.volumes,
        tissue.label("layer"),
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_removing_nodes_keeps_what_is_known_of_the_others():
    rng = np.random.default_rng(3)
    tissue = Tissue(Grid((6, 7), 0.5), random_tensors(42, 2, 1), random_mask(42, 1), 2.0, {"layer": np.arange(42)})
    removed = rng.random(tissue.n_nodes) < 0.3
    left = tissue.without(removed)
    assert (left.nodes == tissue.nodes[~removed]).all()
    assert (left.label("layer") == left.nodes).all()
    assert (left.diffusivity == tissue.diffusivity[~removed]).all()
    assert left.thickness == 2.0


def test_scaling_the_diffusivity_scales_the_rates():
    for tissue in (
        Tissue.isotropic(Grid((6, 7), 0.5), 0.1),
        Tissue(Grid((6, 7), 0.5), random_tensors(42, 2, 1), np.ones(42, bool)),
        Tissue.anisotropic(sphere(10.0, subdivisions=1), 0.2, 0.05, around(sphere(10.0, subdivisions=1).points)),
    ):
        scaled = tissue.scaled(0.5).coupling.matrix().toarray()
        assert scaled == pytest.approx(0.5 * tissue.coupling.matrix().toarray(), abs=1e-15)
        factors = np.linspace(0.5, 1.0, tissue.n_nodes)
        uneven = tissue.scaled(factors)
        shape = (-1,) + (1,) * (uneven.diffusivity.ndim - 1)
        assert uneven.diffusivity == pytest.approx(tissue.diffusivity * factors.reshape(shape))


def test_parts_are_numbered_by_size():
    mask = np.ones((9, 5), dtype=bool)
    mask[2] = mask[7] = False
    tissue = Tissue.isotropic(Grid((9, 5), 0.5), 0.1, mask)
    assert tissue.fill(tissue.components())[[0, 4, 8], 0].tolist() == [1, 0, 2]
    surface = sphere(10.0, subdivisions=3)
    belt = np.abs(surface.points[:, 2] - 3) > 2
    found = Tissue.isotropic(surface, 0.1, belt).components()
    assert (found == (surface.points[belt, 2] > 3)).all()


def test_description_names_grid_and_kind():
    assert repr(Tissue.isotropic(Grid((6, 7), 0.5), 0.1, random_mask(42, 1))).startswith(
        "Tissue(6 x 7 grid of 0.5 mm, "
    )
    assert "isotropic" in repr(Tissue.isotropic(sphere(10.0, subdivisions=1), 0.1))


# -- conductivities ---------------------------------------------------------------------------------------------------


def test_diffusivity_of_published_conductivities():
    """0.17 and 0.62 S/m give 0.133 mS/mm and so 0.095 mm2/ms (Niederer et al. 2011)."""
    assert diffusivity(0.17, 0.62) == pytest.approx(0.1334 / 1.4, rel=1e-3)
    assert diffusivity(0.133) == pytest.approx(0.095, rel=1e-12)
    assert diffusivity(0.133, surface_to_volume=70.0, capacitance=0.02) == pytest.approx(0.095, rel=1e-12)


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.floats(50.0, 300.0))
def test_conductivity_is_the_inverse(inside, outside, chi):
    d = diffusivity(inside, outside, surface_to_volume=chi)
    assert conductivity(d, outside, surface_to_volume=chi) == pytest.approx(inside, rel=1e-9)
    assert conductivity(d, surface_to_volume=chi) == pytest.approx(inside * outside / (inside + outside), rel=1e-12)


# -- what is refused --------------------------------------------------------------------------------------------------

GRID = Grid((6, 7), 0.5)
EVERY = np.ones(42, dtype=bool)


def with_nan() -> np.ndarray:
    values = np.full(42, 0.1)
    values[[3, 5]] = np.nan
    return values


def bent(change) -> np.ndarray:
    tensors = random_tensors(42, 2, 1)
    change(tensors)
    return tensors


def indefinite(tensors: np.ndarray) -> None:
    tensors[[4, 9]] = [[0.1, 0.2], [0.2, 0.1]]


def lopsided(tensors: np.ndarray) -> None:
    tensors[7, 0, 1] += 0.01


WRONG = [
    (lambda: Grid((0, 3), 0.5), "1 to 3 positive whole numbers"),
    (lambda: Grid((3, 3, 3, 3), 0.5), "1 to 3 positive whole numbers"),
    (lambda: Grid((3, 3), -1.0), "spacing must be a positive length"),
    (lambda: Grid((3, 3), float("nan")), "spacing must be a positive length"),
    (lambda: Tissue.isotropic(GRID, 0.1, np.zeros((6, 7), bool)), "none of the 42 points conducts"),
    (lambda: Tissue.isotropic(GRID, 0.1, np.ones((7, 6), bool)), r"must be a mask of \(6, 7\) or \(42,\)"),
    (lambda: Tissue.isotropic(GRID, with_nan()), "diffusivity must be finite; at nodes 3, 5"),
    (lambda: Tissue.isotropic(GRID, np.full(41, 0.1)), "one value per point of the domain .42.* got 41"),
    (lambda: Tissue.isotropic(GRID, np.where(np.arange(42) == 3, 0.0, 0.1)), "must be positive; at nodes 3"),
    (lambda: Tissue.isotropic(GRID, -0.1), "must be positive"),
    (lambda: Tissue.isotropic(GRID, float("nan")), "must be finite"),
    (lambda: Tissue.isotropic(GRID, 1e4), "largest diffusivity is 10000 mm2/ms; typical are 0.02 to 0.5"),
    (lambda: Tissue.isotropic(GRID, 1e-9), "From cm2/ms multiply by 100, from m2/s by 1000"),
    (lambda: Tissue(GRID, np.ones((42, 3, 3)), EVERY), "one 2 x 2 tensor or one per point; got shape"),
    (lambda: Tissue(GRID, bent(indefinite), EVERY), "positive definite; those of nodes 4, 9 .* -0.1 mm2/ms"),
    (lambda: Tissue(GRID, bent(lopsided), EVERY), "must be symmetric; those of nodes 7"),
    (lambda: Tissue(GRID, np.diag([0.1, 0.0]), EVERY), "positive definite"),
    (lambda: Tissue(Grid((2, 2, 2), 0.5), 0.16 * np.eye(3) - 0.06, np.ones(8, bool)), "eigenvalue -0.02 mm2/ms"),
    (lambda: Tissue.isotropic(GRID, 0.1, thickness=0.0), "thickness must be a positive length"),
    (lambda: Tissue.anisotropic(GRID, 0.1, 0.0, (1.0, 0.0)), "across must be positive"),
    (lambda: Tissue.anisotropic(GRID, float("nan"), 0.1, (1.0, 0.0)), "along must be positive"),
    (lambda: Tissue.anisotropic(GRID, 0.1, 0.02, (1.0, 1.0)), "fibers must be unit vectors"),
    (lambda: Tissue.anisotropic(GRID, 0.1, 0.02, (1.0, 0.0, 0.0)), "one vector of 2 numbers"),
    (lambda: Tissue.anisotropic(GRID, 0.1, 0.02, (np.nan, 0.0)), "fibers must be finite"),
    (lambda: Tissue.anisotropic(GRID, np.ones((2, 2)), 0.02, (1.0, 0.0)), "along must be a number or one per point"),
    (
        lambda: Tissue.anisotropic(rectangle((4.0, 4.0)), 0.1, 0.02, (0.0, 0.0, 1.0)),
        "must lie in the surface rectangle",
    ),
    (lambda: Tissue.isotropic(GRID, 0.1).fibers, "isotropic tissue has no fibers"),
    (lambda: Tissue.isotropic(GRID, 0.1).fill(np.zeros(41)), "must end in 42, one per node"),
    (lambda: Tissue.isotropic(GRID, 0.1).take(np.zeros((7, 6))), r"domain's shape \(6, 7\)"),
    (lambda: Tissue.isotropic(GRID, 0.1).label("layer"), "no label 'layer'; there are: none"),
    (lambda: Tissue.isotropic(GRID, 0.1).labelled("layer", np.zeros(5)), "label 'layer' must have one value per point"),
    (lambda: Tissue.isotropic(GRID, 0.1).without(EVERY), "all 42 cells would be taken out"),
    (lambda: Tissue.isotropic(GRID, 0.1).without(np.zeros(41, bool)), "a mask of nodes needs 42 booleans"),
    (lambda: Tissue.isotropic(GRID, 0.1).scaled(0.0), "must be positive"),
    (lambda: diffusivity(-0.1), "sigma_i must be positive and finite"),
    (lambda: diffusivity(0.17, 0.62, capacitance=0.0), "capacitance must be positive"),
    (lambda: conductivity(0.095, 0.1), "sigma_e must be above the monodomain conductivity 0.133"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("value", [1e-3, 1e-4, 9.5])
def test_doubtful_units_are_warned_of(value):
    with pytest.warns(UserWarning, match="From cm2/ms multiply by 100"):
        Tissue.isotropic(GRID, value)


def test_usual_diffusivities_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (0.02, 0.1, 0.5, 1.0):
            Tissue.isotropic(GRID, value)


def test_surfaces_must_have_area_everywhere():
    flat = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]), "flat")
    with pytest.raises(GeometryError, match="flat: faces 0 have no area"):
        _ = Tissue.isotropic(flat, 0.1).coupling
    lonely = Surface(np.vstack([np.eye(3), [9.0, 9, 9]]), np.array([[0, 1, 2]]), "lonely")
    with pytest.raises(GeometryError, match="lonely: nodes 3 belong to no triangle"):
        _ = Tissue.isotropic(lonely, 0.1).coupling
    kept = Tissue.isotropic(lonely, 0.1, np.array([True, True, True, False]))
    assert kept.coupling.n_nodes == 3
