"""Fibrosis and remodelling: densities exact, lengths in mm as asked, the same texture at any spacing."""

import numpy as np
import pytest
from scipy.ndimage import label
from tissue_cases import around

from einthoven.core import InputError
from einthoven.geometry.generators import sphere
from einthoven.tissue import (
    Compact,
    Diffuse,
    GapJunctionRemodelling,
    Grid,
    Interstitial,
    Patchy,
    Scar,
    ThresholdedField,
    Tissue,
)
from einthoven.tissue.random_field import SmoothField, lattice_noise


def sheet(size: float = 60.0, spacing: float = 0.5, fiber: tuple[float, ...] | None = (0.6, 0.8)) -> Tissue:
    n = round(size / spacing)
    grid = Grid((n, n), spacing, (spacing / 2, spacing / 2, 0.0))
    return Tissue.isotropic(grid, 0.1) if fiber is None else Tissue.anisotropic(grid, 0.1, 0.02, fiber)


def lag(image: np.ndarray, i: int, j: int = 0) -> float:
    """Correlation of an image with itself, shifted by i and j cells (i >= 0)."""
    n, m = image.shape
    first, second = image[: n - i, max(0, -j) : m - max(0, j)], image[i:, max(0, j) : m + min(0, j)]
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


TEXTURES = {
    "diffuse": lambda d: Diffuse(d),
    "islands": lambda d: ThresholdedField(d, 2.0),
    "patchy": lambda d: Patchy(d, 5.0, max(0.4, d)),
    "strands along fibers": lambda d: Interstitial(d, 6.0, 1.0),
    "strands along a direction": lambda d: Interstitial(d, 6.0, 1.0, (1.0, 0.0)),
    "one blob": lambda d: Compact(d),
    "three blobs": lambda d: Compact(d, 3),
}


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 0.62])
@pytest.mark.parametrize("name", TEXTURES)
def test_density_is_met_to_half_a_cell(name, density):
    tissue = sheet(30.0)
    left = TEXTURES[name](density).apply(tissue, 3)
    assert left.n_nodes == tissue.n_nodes - round(density * tissue.n_nodes)


@pytest.mark.parametrize("name", TEXTURES)
def test_the_seed_decides(name):
    tissue = sheet(30.0)
    texture = TEXTURES[name](0.2)
    first = texture.mask(tissue, 3)
    assert (texture.mask(tissue, 3) == first).all()
    assert (texture.mask(tissue, 4) != first).any()


@pytest.mark.parametrize("name", TEXTURES)
def test_only_where_it_may(name):
    tissue = sheet(30.0)
    within = tissue.points[:, 0] < 12
    mask = TEXTURES[name](0.25).mask(tissue, 3, within=within)
    assert not mask[~within].any()
    assert mask.sum() == round(0.25 * within.sum())


@pytest.mark.parametrize(
    ("texture", "least"),
    [
        (ThresholdedField(0.25, 3.0), 0.97),
        (Interstitial(0.25, 8.0, 1.5), 0.96),
        (Compact(0.2), 0.99),
        (Compact(0.2, 2, ((15.0, 15.0), (45.0, 40.0))), 0.99),
    ],
)
def test_the_texture_does_not_depend_on_the_spacing(texture, least):
    """A coarse cell and the four fine ones it is made of agree, but for those that a rim crosses."""
    coarse, fine = sheet(spacing=0.5), sheet(spacing=0.25)
    a = texture.mask(coarse, 5).reshape(120, 120)
    b = texture.mask(fine, 5).reshape(120, 2, 120, 2).mean(axis=(1, 3)) > 0.5
    assert (a == b).mean() > least
    assert (texture.mask(coarse, 6).reshape(120, 120) == b).mean() < least - 0.03


def test_the_texture_does_not_depend_on_what_else_is_missing():
    tissue = sheet()
    hole = np.linalg.norm(tissue.coordinates - 20, axis=1) < 8
    whole = ThresholdedField(0.3, 3.0).field(tissue, 1)
    assert ThresholdedField(0.3, 3.0).field(tissue.without(hole), 1) == pytest.approx(whole[~hole], abs=1e-12)


@pytest.mark.parametrize(("d", "length"), [(1, 2.0), (2, 2.0), (2, 5.0), (3, 3.0)])
def test_a_smooth_field_is_standard_normal_and_correlated_over_its_length(d, length):
    size = {1: 40_000, 2: 200 * length, 3: 20 * length}[d]
    n = {1: 80_000, 2: 800, 3: 80}[d]
    points = Grid((n,) * d, size / n).points[:, :d]
    values = SmoothField.over(points, length, seed=1, name="test")(points).reshape((n, -1))
    assert values.mean() == pytest.approx(0.0, abs=0.05)
    assert values.std() == pytest.approx(1.0, abs=0.03)
    assert ((values / values.std()) ** 4).mean() == pytest.approx(3.0, abs=0.15)
    step = round(length * n / size)
    assert lag(values, step) == pytest.approx(np.exp(-1), abs=0.03)
    assert lag(values, 2 * step) == pytest.approx(np.exp(-4), abs=0.04)


def test_a_smooth_field_is_alike_in_all_directions():
    points = Grid((800, 800), 0.5).points[:, :2]
    values = SmoothField.over(points, 5.0, seed=2, name="test")(points).reshape(800, 800)
    assert lag(values, 6, 8) == pytest.approx(np.exp(-1), abs=0.03)
    assert lag(values, 8, -6) == pytest.approx(np.exp(-1), abs=0.03)


def test_a_smooth_field_is_a_function_of_space():
    rng = np.random.default_rng(0)
    near, far = 10 * rng.random((50, 3)), 40 * rng.random((50, 3)) - 20
    both = np.concatenate([near, far])
    alone = SmoothField.over(near, 2.0, seed=7, name="test")(near)
    assert SmoothField.over(both, 2.0, seed=7, name="test")(both)[:50] == pytest.approx(alone, abs=1e-5)
    assert np.abs(SmoothField.over(near, 2.0, seed=8, name="test")(near) - alone).max() > 0.5
    assert np.abs(SmoothField.over(near, 2.0, seed=7, name="other")(near) - alone).max() > 0.5


def test_lattice_noise_is_white_and_the_same_from_any_box():
    start, stop = np.array([-40, 3]), np.array([260, 303])
    noise = lattice_noise(start, stop, seed=5, name="test")
    assert noise.mean() == pytest.approx(0.0, abs=0.02)
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert max(abs(lag(noise, *s)) for s in ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0))) < 0.015
    part = lattice_noise(start + 10, stop - 100, seed=5, name="test")
    assert (part == noise[10:-100, 10:-100]).all()


def test_islands_have_the_size_asked_for():
    """A threshold at the median turns a correlation rho into 2 / pi asin(rho)."""
    tissue = sheet(400.0, 1.0, None)
    image = ThresholdedField(0.5, 4.0).mask(tissue, 2).reshape(400, 400).astype(float)
    assert lag(image, 4) == pytest.approx(2 / np.pi * np.arcsin(np.exp(-1)), abs=0.03)


def test_diffuse_cells_do_not_know_of_each_other():
    image = Diffuse(0.3).mask(sheet(200.0), 1).reshape(400, 400).astype(float)
    assert max(abs(lag(image, *s)) for s in ((1, 0), (0, 1), (1, 1), (3, 0))) < 0.01


def test_patches_are_diffuse_inside_and_empty_outside():
    tissue = sheet(120.0)
    mask = Patchy(0.2, 10.0, 0.4).mask(tissue, 1).reshape(240, 240)
    assert lag(mask.astype(float), 1) == pytest.approx((0.4 * 0.25 - 0.04) / (0.2 - 0.04), abs=0.06)
    share = mask.reshape(30, 8, 30, 8).mean(axis=(1, 3))
    assert (share == 0).mean() > 0.4
    assert np.median(share[share > 0.3]) == pytest.approx(0.5, abs=0.05)


def averaged(distance: float, length: float = 8.0, width: float = 2.0) -> float:
    """Covariance of averages over `length` of a field of correlation exp(-(r / width)^2)."""
    s = np.linspace(-length, length, 4001)
    return float(np.trapezoid((1 - np.abs(s) / length) * np.exp(-(((distance - s) / width) ** 2)), s))


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, -2.0), (0.6, 0.8)])
def test_strands_are_as_long_and_wide_as_asked(direction):
    tissue = sheet(200.0, 0.5, None)
    image = Interstitial(0.2, 8.0, 2.0, direction).field(tissue, 1).reshape(400, 400)
    along = np.array(direction) / np.linalg.norm(direction)
    across = np.array([-along[1], along[0]])
    across = across if across[0] >= 0 else -across
    along = along if along[0] >= 0 else -along
    steps = {name: tuple(np.rint(v).astype(int).tolist()) for name, v in (("across", across * 4), ("half", along * 8))}
    width = np.linalg.norm(steps["across"]) * 0.5
    assert lag(image, *steps["across"]) == pytest.approx(np.exp(-((width / 2) ** 2)), abs=0.04)
    assert lag(image, *steps["half"]) == pytest.approx(averaged(4.0) / averaged(0.0), abs=0.06)
    assert abs(lag(image, *tuple(np.rint(along * 24).astype(int).tolist()))) < 0.06


def test_strands_follow_the_fibers():
    """Circles around the middle of a sheet: slopes along and across them as sqrt(w / (L sqrt(pi))) = 0.27."""
    flat = Grid((200, 200), 0.25, (-24.875, -24.875, 0.0))
    radius = np.maximum(np.linalg.norm(flat.points[:, :2], axis=1), 1e-9)
    circles = np.stack([-flat.points[:, 1], flat.points[:, 0]], axis=1) / radius[:, None]
    tissue = Tissue.anisotropic(flat, 0.1, 0.02, circles)
    image = Interstitial(0.2, 8.0, 1.0).field(tissue, 1).reshape(200, 200)
    slope = np.stack(np.gradient(image, 0.25), axis=-1).reshape(-1, 2)[(radius > 8) & (radius < 22)]
    circles = circles[(radius > 8) & (radius < 22)]
    along = np.abs((slope * circles).sum(axis=1)).mean()
    across = np.abs(slope @ np.array([[0, 1], [-1, 0]]) * circles).sum(axis=1).mean()
    assert along / across == pytest.approx(0.27, abs=0.05)


def test_strands_on_a_surface_follow_its_fibers():
    surface = sphere(20.0, subdivisions=4)
    tissue = Tissue.anisotropic(surface, 0.1, 0.02, around(surface.points))
    mask = Interstitial(0.2, 15.0, 3.0).mask(tissue, 1)
    assert mask.sum() == round(0.2 * surface.n_points)
    pairs = surface.edges.vertices
    edge = surface.points[pairs[:, 1]] - surface.points[pairs[:, 0]]
    cosine = np.abs((edge * around(surface.points)[pairs[:, 0]]).sum(axis=1)) / np.linalg.norm(edge, axis=1)
    differ = mask[pairs[:, 0]] != mask[pairs[:, 1]]
    assert differ[cosine > 0.9].mean() < 0.5 * differ[cosine < 0.3].mean()


def test_a_smooth_blob_is_a_disk():
    tissue = sheet()
    mask = Compact(0.1, 1, ((30.0, 30.0),), roughness=0).mask(tissue, 1)
    distance = np.linalg.norm(tissue.coordinates - 30, axis=1)
    assert distance[mask].max() <= distance[~mask].min()
    assert distance[mask].max() == pytest.approx(np.sqrt(0.1 * 3600 / np.pi), abs=0.5)


def test_blobs_are_solid_and_apart():
    mask = Compact(0.12, 3, roughness=0.1).mask(sheet(), 2).reshape(120, 120)
    parts, count = label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    assert (sizes > 0.02 * mask.size).sum() == 3
    assert count <= 4


@pytest.mark.parametrize("texture", [ThresholdedField(0.3, 5.0), Diffuse(0.3), Patchy(0.2, 8.0), Compact(0.2)])
def test_surfaces_and_slabs_have_textures_too(texture):
    for tissue in (
        Tissue.isotropic(sphere(20.0, subdivisions=3), 0.1),
        Tissue.isotropic(Grid((20, 18, 16), 1.0), 0.1),
        Tissue.isotropic(Grid((300,), 1.0), 0.1),
    ):
        assert texture.mask(tissue, 1).sum() == round(texture.density * tissue.n_nodes)


def test_textures_of_one_seed_are_independent():
    tissue = sheet(200.0)
    islands = ThresholdedField(0.3, 4.0).field(tissue, 1)
    factors = GapJunctionRemodelling(0.2, 0.8, 4.0).factors(tissue, 1)
    assert abs(np.corrcoef(islands, factors)[0, 1]) < 0.1


def test_everything_composes():
    tissue = sheet().labelled("layer", np.arange(14400))
    remodelled = GapJunctionRemodelling(0.3, 0.6, 6.0).apply(tissue, 1)
    scarred = Scar((30.0, 30.0), 8.0).apply(remodelled, 2)
    final = ThresholdedField(0.1, 2.0).apply(Diffuse(0.05).apply(scarred, 3), 4)
    assert final.n_nodes < scarred.n_nodes < tissue.n_nodes
    assert (final.label("layer") == np.arange(14400)[final.nodes]).all()
    assert set(final.label("border")) == {0.0, 1.0}
    whole = remodelled.diffusivity[final.nodes]
    factor = np.where(final.label("border") > 0, 0.3, 1.0)
    assert final.diffusivity == pytest.approx(whole * factor[:, None, None], rel=1e-14)


def test_gap_junctions_have_equally_frequent_factors():
    tissue = sheet(200.0, 1.0, None)
    factors = GapJunctionRemodelling(0.2, 0.8, 3.0).factors(tissue, 1)
    assert 0.2 <= factors.min() < 0.21
    assert 0.79 < factors.max() <= 0.8
    assert np.quantile(factors, [0.25, 0.5, 0.75]) == pytest.approx([0.35, 0.5, 0.65], abs=0.02)
    assert GapJunctionRemodelling(0.2, 0.8, 3.0).apply(tissue, 1).diffusivity == pytest.approx(0.1 * factors, rel=1e-14)


def test_homogeneous_remodelling_has_one_factor():
    tissue = sheet()
    factors = {GapJunctionRemodelling(0.2, 0.8).factors(tissue, seed)[0] for seed in range(20)}
    assert len(factors) == 20
    assert 0.2 < min(factors) < 0.4
    assert 0.6 < max(factors) < 0.8
    assert np.ptp(GapJunctionRemodelling(0.2, 0.8).factors(tissue, 1)) == 0
    assert GapJunctionRemodelling(0.5, 0.5).apply(tissue, 1).diffusivity == pytest.approx(
        0.5 * tissue.diffusivity[None].repeat(14400, 0)
    )


def test_a_scar_has_a_core_and_a_border():
    tissue = sheet()
    scar = Scar((30.0, 30.0), 10.0, border=4.0, border_scale=0.25, roughness=0.0).apply(tissue)
    distance = np.linalg.norm(scar.coordinates - 30, axis=1)
    assert distance.min() >= 10
    border = distance < 14
    assert (scar.label("border") == border).all()
    assert scar.diffusivity[border] == pytest.approx(np.broadcast_to(0.25 * tissue.diffusivity, (border.sum(), 2, 2)))
    assert scar.diffusivity[~border] == pytest.approx(np.broadcast_to(tissue.diffusivity, ((~border).sum(), 2, 2)))


def test_a_second_scar_keeps_the_first_ones_border():
    once = Scar((20.0, 20.0), 6.0).apply(sheet(), 1)
    twice = Scar((45.0, 45.0), 6.0).apply(once, 2)
    near = np.linalg.norm(twice.coordinates - 20, axis=1) < 12
    assert twice.label("border")[near].sum() == once.label("border").sum()
    assert twice.label("border")[~near].sum() > 0


WRONG = [
    (lambda t: Diffuse(1.0).apply(t, 1), "density is a share .* got 1"),
    (lambda t: Diffuse(30).apply(t, 1), "density is a share .* per cent"),
    (lambda t: Diffuse(float("nan")).apply(t, 1), "density is a share"),
    (lambda t: Diffuse(0.99999).apply(t, 1), "all 14400 cells would be taken out"),
    (lambda t: ThresholdedField(0.2, 0.1).apply(t, 1), "texture of 0.1 mm cannot be seen on cells of 0.5 mm"),
    (lambda t: ThresholdedField(0.2, float("nan")).apply(t, 1), "cannot be seen"),
    (lambda t: ThresholdedField(0.2, 1e6).apply(t, 1), "correlation length must be a positive length"),
    (lambda t: Patchy(0.5, 5.0, 0.4), "patches must cover at least the density 0.5"),
    (lambda t: Interstitial(0.2, 1.0, 2.0), "at least as long as wide"),
    (lambda t: Interstitial(0.2, 6.0, 1.0, (1.0, 0.0, 0.0)).apply(t, 1), "direction of strands needs 2 numbers"),
    (lambda t: Interstitial(0.2, 6.0, 1.0).apply(sheet(fiber=None), 1), "isotropic tissue has no fibers"),
    (lambda t: Compact(0.2, 0), "one blob or more"),
    (lambda t: Compact(0.2, 2, ((1.0, 1.0),)), "2 blobs, 1 centers"),
    (lambda t: Compact(0.2, 1, ((1.0,),)).apply(t, 1), "centers of blobs need 2 coordinates"),
    (lambda t: GapJunctionRemodelling(0.0, 0.5), "positive low"),
    (lambda t: GapJunctionRemodelling(0.6, 0.5), "positive low"),
    (lambda t: Scar((1.0, 1.0), -1.0), "radius and border_scale must be positive"),
    (lambda t: Scar((1.0, 1.0, 1.0), 5.0).apply(t), "center needs 2 coordinates"),
    (lambda t: Scar((300.0, 1.0), 5.0, roughness=0.0).apply(t), "holds no conducting node; the nearest is 235 mm"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make(sheet())


def test_too_fine_a_texture_for_a_large_tissue_is_refused():
    with pytest.raises(InputError, match=r"correlation length of 0.01 mm is too short .* 59.5, 59.5, 59.5 mm"):
        SmoothField.over(np.array([[0.0, 0, 0], [59.5, 59.5, 59.5]]), 0.01, seed=1, name="test")
