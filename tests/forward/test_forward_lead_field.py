"""Lead fields of tissue: exact potentials, reciprocity, the mesh's absence, and tissue in a torso."""

import numpy as np
import pytest

from einthoven.core import Electrodes, InputError, Recording, Region, Surface, VolumeConductor
from einthoven.forward import bem
from einthoven.forward.kernels import add_layers
from einthoven.forward.lead_field import INTRACELLULAR_PER_DIFFUSIVITY, lead_field, node_names
from einthoven.forward.sampling import surface_sampling
from einthoven.geometry.generators import sphere
from einthoven.geometry.operators import node_areas
from einthoven.tissue import Grid, Tissue
from einthoven.verify.spheres import double_layer_field, legendre

D, BATH = 0.1, 0.3
SIGMA = INTRACELLULAR_PER_DIFFUSIVITY * D
#: Edges of the slab, mm; electrodes ahead of, beside and diagonally off it.
BOX = (24.0, 16.0, 8.0)
PLACES = np.array([[32.0, 9.0, 5.0], [10.0, 26.0, 3.0], [-6.0, -5.0, 14.0]])


def electrodes(positions: np.ndarray) -> Electrodes:
    return Electrodes(tuple(f"e{i}" for i in range(len(positions))), positions)


def box_grid(spacing: float, dimension: int = 3) -> Grid:
    half = spacing / 2
    shape = tuple(round(b / spacing) for b in BOX[:dimension])
    return Grid(shape, spacing, (half, half, half if dimension == 3 else 0.0))


def front(x: np.ndarray) -> np.ndarray:
    """An upstroke of 100 mV at x = 12 mm, 10 to 90 % within 4.4 mm; flat at the borders, as tissue without flux is."""
    return -80.0 + 50.0 * (1.0 - np.tanh((x - 12.0) / 2.0))


def slope(x: np.ndarray) -> np.ndarray:
    return -25.0 / np.cosh((x - 12.0) / 2.0) ** 2


def solid_angle(ahead: np.ndarray, y: float, z: float) -> np.ndarray:
    """Of the slab's cross-section, seen from (y, z) at a signed distance ahead of it."""
    total = np.zeros_like(ahead)
    for v, sv in ((BOX[1] - y, 1), (-y, -1)):
        for w, sw in ((BOX[2] - z, 1), (-z, -1)):
            total += sv * sw * np.arctan(v * w / (ahead * np.sqrt(ahead**2 + v**2 + w**2)))
    return total


def strip_angle(ahead: np.ndarray, y: float, z: float) -> np.ndarray:
    """Integral over the sheet's width of ahead / r^3."""
    rho2 = ahead**2 + z**2
    ends = [v / np.sqrt(rho2 + v**2) for v in (BOX[1] - y, -y)]
    return ahead / rho2 * (ends[0] - ends[1])


def exact_front(angle, place: np.ndarray) -> float:
    """-s_i / (4 pi s_b) integral of v'(x) angle(x_e - x) dx by Gauss quadrature on panels."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = 0.0
    for a in np.arange(0.0, BOX[0], 2.0):
        x = a + 1.0 + nodes
        total += weights @ (slope(x) * angle(place[0] - x, place[1], place[2]))
    return -SIGMA / (4 * np.pi * BATH) * total


def potential(tissue: Tissue, places: np.ndarray, v: np.ndarray) -> np.ndarray:
    return lead_field(tissue, electrodes(places), bath_conductivity=BATH).apply(v)


def test_plane_front_through_a_slab_has_its_exact_potential_with_order_2():
    exact = np.array([exact_front(solid_angle, p) for p in PLACES])
    errors = []
    for spacing in (1.0, 0.5):
        tissue = Tissue.isotropic(box_grid(spacing), D)
        errors.append(np.abs(potential(tissue, PLACES, front(tissue.points[:, 0])) - exact).max() / np.abs(exact).max())
    assert np.abs(exact).min() > 0.1  # mV
    assert errors[1] < 0.004
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


def test_potential_of_a_sheet_is_exact_and_grows_with_its_thickness():
    places = PLACES + np.array([0.0, 0.0, 6.0])
    exact = np.array([exact_front(strip_angle, p) for p in places])
    errors = []
    for spacing in (0.5, 0.25):
        sheet = Tissue.isotropic(box_grid(spacing, 2), D, thickness=0.7)
        found = potential(sheet, places, front(sheet.points[:, 0]))
        errors.append(np.abs(found - 0.7 * exact).max() / np.abs(0.7 * exact).max())
    assert errors[1] < 1e-3
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)
    # a slab of cells of the same thickness looks the same from afar
    slab = Tissue.isotropic(Grid((48, 32, 2), 0.5, (0.25, 0.25, -0.25)), D)
    thin = Tissue.isotropic(box_grid(0.5, 2), D, thickness=1.0)
    far = places + np.array([0.0, 0.0, 10.0])
    one, two = (potential(t, far, front(t.points[:, 0])) for t in (slab, thin))
    np.testing.assert_allclose(one, two, rtol=5e-3)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_wave_on_a_sphere_has_its_exact_potential(degree):
    """v = Y_l on a shell: -s_i thickness / s_b  l (l + 1) / (2 l + 1)  a^l / r^(l + 1) Y_l."""
    a, thickness, places = 20.0, 0.5, np.array([[0.0, 0.0, 45.0], [30.0, 5.0, 20.0]])
    tissue = Tissue.isotropic(sphere(a, subdivisions=4), D, thickness=thickness)
    found = potential(tissue, places, 100.0 * legendre(degree, tissue.points))
    r = np.linalg.norm(places, axis=1)
    factor = degree * (degree + 1) / (2 * degree + 1) * a**degree / r ** (degree + 1)
    exact = -100.0 * SIGMA * thickness / BATH * factor * legendre(degree, places)
    np.testing.assert_allclose(found, exact, rtol=0.01, atol=0.002 * np.abs(exact).max())


def test_oblique_fibers_enter_as_the_tensor():
    """-1 / (4 pi s_b) integral of grad v . sigma_i grad(1/r) over the sheet, by Gauss quadrature."""
    fiber, along, across = np.array([0.6, 0.8]), 0.2, 0.05
    tensor = across * np.eye(2) + (along - across) * np.outer(fiber, fiber)
    place = np.array([[14.0, 3.0, 9.0]])

    def bump(x, length):
        return np.sin(np.pi * x / length) ** 2, np.pi / length * np.sin(2 * np.pi * x / length)

    def v(x, y):
        return 60.0 * bump(x, BOX[0])[0] * bump(y, BOX[1])[0] * (1 + x / 10.0)

    nodes, weights = np.polynomial.legendre.leggauss(60)
    x, y = (0.5 * b * (nodes + 1) for b in BOX[:2])
    x, y = x[:, None], y[None, :]
    (u, du), (w, dw) = bump(x, BOX[0]), bump(y, BOX[1])
    grad = 60.0 * np.stack([(du * (1 + x / 10) + u / 10) * w, u * (1 + x / 10) * dw])
    apart = np.stack([place[0, 0] - x + 0 * y, place[0, 1] - y + 0 * x])
    r = np.sqrt((apart**2).sum(axis=0) + place[0, 2] ** 2)
    flow = np.einsum("ixy,ij,jxy->xy", grad, tensor, apart) / r**3
    area = BOX[0] * BOX[1] / 4 * np.outer(weights, weights)
    exact = -INTRACELLULAR_PER_DIFFUSIVITY / (4 * np.pi * BATH) * (area * flow).sum()
    errors = []
    for spacing in (1.0, 0.5):
        sheet = Tissue.anisotropic(box_grid(spacing, 2), along, across, fiber)
        found = potential(sheet, place, v(*sheet.points[:, :2].T))[0]
        errors.append(abs(found / exact - 1))
    assert errors[1] < 0.005
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


def holey_tissue() -> Tissue:
    """A small oblique, uneven, masked slab."""
    rng = np.random.default_rng(3)
    grid = Grid((9, 8, 5), 0.8, (1.0, -2.0, 0.5))
    fibers = rng.normal(size=(grid.n_points, 3))
    fibers /= np.linalg.norm(fibers, axis=1, keepdims=True)
    along = rng.uniform(0.1, 0.2, grid.n_points)
    return Tissue.anisotropic(grid, along, 0.3 * along, fibers, rng.random(grid.n_points) > 0.2)


def test_lead_field_is_the_flux_of_a_unit_current_at_the_electrode():
    """Reciprocity: and the same number as the sources div(sigma_i grad v) seen from the electrode."""
    tissue, place = holey_tissue(), np.array([[4.0, 1.0, 9.0]])
    row = lead_field(tissue, electrodes(place), bath_conductivity=BATH).matrix[0]
    rates = tissue.coupling.matrix().toarray()
    lead = 1 / (4 * np.pi * BATH * np.linalg.norm(tissue.points - place, axis=1))
    scale = INTRACELLULAR_PER_DIFFUSIVITY * tissue.volumes
    flux = scale * (rates * (lead[None, :] - lead[:, None])).sum(axis=1)
    np.testing.assert_allclose(row, flux, atol=1e-12 * np.abs(flux).max())
    v = np.random.default_rng(0).normal(size=tissue.n_nodes)
    assert row @ v == pytest.approx((scale * (rates @ v)) @ lead, rel=1e-10)


@pytest.mark.parametrize(
    "tissue", [holey_tissue(), Tissue.isotropic(sphere(9.0, subdivisions=2), D)], ids=["slab", "shell"]
)
def test_uniform_potential_is_not_seen(tissue):
    operator = lead_field(tissue, electrodes(np.array([[0.0, 14.0, 5.0], [30.0, 0.0, 0.0]])))
    assert (
        np.abs(operator.apply(np.full(tissue.n_nodes, -85.0))).max()
        < 1e-10 * 85 * np.abs(operator.matrix).sum(axis=1).max()
    )


def test_columns_are_the_conducting_nodes_by_name():
    tissue = holey_tissue()
    places = np.array([[4.0, 1.0, 9.0], [0.0, 0.0, -7.0]])
    operator = lead_field(tissue, electrodes(places), out_quantity="bsp")
    assert (operator.in_quantity, operator.out_quantity, operator.reference) == ("vm", "bsp", "absolute")
    assert operator.in_sites == node_names(tissue)
    assert operator.in_sites[5] == f"node:{tissue.nodes[5]}"
    v = np.random.default_rng(0).normal(size=(tissue.n_nodes, 2))
    order = np.random.default_rng(1).permutation(tissue.n_nodes)
    shuffled = Recording(v[order], np.arange(2.0), tuple(operator.in_sites[i] for i in order), "vm")
    np.testing.assert_allclose(operator.record(shuffled).values, operator.apply(v), atol=1e-13)
    doubled = lead_field(tissue, electrodes(places), intracellular_per_diffusivity=2 * INTRACELLULAR_PER_DIFFUSIVITY)
    np.testing.assert_allclose(doubled.matrix, 2 * operator.matrix, rtol=1e-12)
    np.testing.assert_allclose(
        lead_field(tissue, electrodes(places), bath_conductivity=0.4).matrix, operator.matrix / 2, rtol=1e-12
    )


def test_default_conductivity_is_that_of_the_benchmark():
    """D = s_i s_e / (s_i + s_e) / (chi c_m) along the fibers of Niederer et al. 2011 gives back s_i = 0.17 mS/mm."""
    diffusivity = 0.17 * 0.62 / (0.17 + 0.62) / (140.0 * 0.01)
    assert INTRACELLULAR_PER_DIFFUSIVITY * diffusivity == pytest.approx(0.17)


def test_electrodes_within_a_cell_and_bad_conductivities_are_refused():
    tissue = Tissue.isotropic(box_grid(1.0), D)
    node = tissue.points[100]
    with pytest.raises(InputError, match=r"electrode e1: is 0\.4 mm from a conducting node.*half its size \(0\.5 mm\)"):
        lead_field(tissue, electrodes(np.stack([PLACES[0], node + np.array([0.4, 0.0, 0.0])])))
    between = node + 0.5  # a needle's electrode between cells
    assert np.isfinite(lead_field(tissue, electrodes(between[None])).matrix).all()
    shell = Tissue.isotropic(sphere(9.0, subdivisions=2), D, thickness=0.1)
    with pytest.raises(InputError, match=r"electrode e0: is 0\.2 mm from a conducting node"):
        lead_field(shell, electrodes(shell.points[:1] * (1 + 0.2 / 9.0)))
    with pytest.raises(InputError, match="bath_conductivity must be positive; got 0"):
        lead_field(tissue, electrodes(PLACES), bath_conductivity=0.0)
    with pytest.raises(InputError, match="intracellular_per_diffusivity must be positive; got -1"):
        lead_field(tissue, electrodes(PLACES), intracellular_per_diffusivity=-1.0)


# -- sampling on a closed surface, tissue in a torso -------------------------------------------------------------------


def ball(radius: float, spacing: float) -> Tissue:
    n = int(np.ceil(radius / spacing)) + 1
    grid = Grid((2 * n + 1,) * 3, spacing, (-n * spacing,) * 3)
    return Tissue.isotropic(grid, D, np.linalg.norm(grid.points, axis=1) < radius)


def test_sampling_takes_the_mean_over_each_nodes_share():
    """A linear potential is trilinear, and its mean over a hat function is known."""
    tissue, surface = ball(16.0, 1.0), sphere(12.0, subdivisions=2)
    sampling = surface_sampling(tissue, surface)
    assert sampling.matrix.shape == (surface.n_points, tissue.n_nodes)
    v = tissue.points @ [3.0, -2.0, 1.0] + 7.0
    at = surface.points @ [3.0, -2.0, 1.0] + 7.0
    corners = at[surface.triangles]
    area = np.linalg.norm(np.cross(*(surface.corners[:, 1:] - surface.corners[:, :1]).transpose(1, 0, 2)), axis=1) / 2
    shares = area[:, None] * (corners + corners.sum(axis=1, keepdims=True)) / 12
    expected = np.bincount(surface.triangles.ravel(), shares.ravel()) / node_areas(surface)
    np.testing.assert_allclose(sampling.apply(v), expected, atol=0.03)
    assert 0.5 < np.abs(at - expected).max() < 1.5  # not the value at the node itself
    assert node_areas(surface) @ sampling.apply(v) == pytest.approx(area @ corners.mean(axis=1), rel=1e-3)


def test_sampling_is_an_average_wherever_the_surface_lies_near_the_cells():
    """Half of the surface's points have no cell on one side."""
    sampling = surface_sampling(ball(12.0, 1.5), sphere(12.3, subdivisions=3))
    assert sampling.matrix.data.min() > 0
    np.testing.assert_allclose(np.asarray(sampling.matrix.sum(axis=1)).ravel(), 1.0, rtol=1e-12)
    x, y = np.random.default_rng(0).normal(size=sampling.n_in), np.random.default_rng(1).normal(size=sampling.n_out)
    assert sampling.apply(x) @ y == pytest.approx(x @ sampling.adjoint(y), rel=1e-10)


def test_field_of_a_volume_is_that_of_the_double_layer_on_its_surface():
    """Isotropic tissue, infinite medium: lead field of the slab against the closed surface of the slab."""
    tissue = Tissue.isotropic(box_grid(0.5), D)
    surface = box_surface(2)
    v = front(tissue.points[:, 0]) + 0.3 * tissue.points[:, 1] ** 2
    layer = np.zeros((len(PLACES), surface.n_points))
    add_layers(PLACES, surface, layer)
    found = -SIGMA / BATH * layer @ surface_sampling(tissue, surface).apply(v)
    np.testing.assert_allclose(found, potential(tissue, PLACES, v), rtol=0.02)


def box_surface(per_mm: int) -> Surface:
    """The slab's surface with square meshes of 1 / per_mm mm."""
    points: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    for axis in range(3):
        u, w = (axis + 1) % 3, (axis + 2) % 3
        nu, nw = (round(BOX[k] * per_mm) for k in (u, w))
        i, j = (a.ravel() for a in np.meshgrid(np.arange(nu + 1), np.arange(nw + 1), indexing="ij"))
        corner = (np.arange(nu)[:, None] * (nw + 1) + np.arange(nw)).ravel()
        quads = np.stack([corner, corner + nw + 1, corner + nw + 2, corner + 1], axis=1)
        for side in (0.0, BOX[axis]):
            face = np.zeros((len(i), 3))
            face[:, axis], face[:, u], face[:, w] = side, i / per_mm, j / per_mm
            order = [0, 1, 2, 0, 2, 3] if side else [0, 2, 1, 0, 3, 2]
            triangles.append(quads[:, order].reshape(-1, 3) + sum(len(p) for p in points))
            points.append(face)
    merged, where = np.unique(np.concatenate(points).round(6), axis=0, return_inverse=True)
    surface = Surface(merged, where.ravel()[np.concatenate(triangles)], "slab")
    surface.check_closed()
    return surface


@pytest.mark.parametrize("degree", [1, 2])
def test_volume_in_a_torso_has_its_exact_potential(degree):
    """A ball of muscle in a spherical torso, v alike at all depths: sampled, then carried by the double layer."""
    a, torso = 24.0, VolumeConductor(Region(sphere(60.0, subdivisions=3, name="torso"), 0.2))
    tissue, surface = ball(a, 1.0), sphere(a, subdivisions=3, name="heart")
    skin = electrodes(60.0 * np.array([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [0.0, -1.0, 0.0]]))
    layer = bem.double_layer(surface, torso, skin, intracellular_conductivity=0.1)
    operator = layer @ surface_sampling(tissue, surface)
    r = np.linalg.norm(tissue.points, axis=1)
    angular = np.zeros(tissue.n_nodes)
    angular[r > 0] = legendre(degree, tissue.points[r > 0])
    found = operator.apply(100.0 * angular)
    field = double_layer_field(degree, a, [60.0], [0.2], intracellular_conductivity=0.1)
    exact = 100.0 * field.at(60.0)[0] * legendre(degree, skin.positions)
    np.testing.assert_allclose(found, exact, atol=0.03 * np.abs(exact).max())
    assert operator.in_sites == node_names(tissue)
    assert (operator.reference, operator.out_quantity, operator.out_sites) == ("skin", "bsp", skin.names)
    assert np.abs(operator.matrix.sum(axis=1)).max() < 1e-7 * np.abs(operator.matrix).sum(axis=1).max()


def test_sampling_refuses_what_it_cannot_do():
    surface = sphere(12.0, subdivisions=1, name="heart")
    with pytest.raises(InputError, match="heart: only tissue on a 3-D grid can be sampled"):
        surface_sampling(Tissue.isotropic(Grid((9, 9), 1.0), D), surface)
    with pytest.raises(InputError, match="heart: only tissue on a 3-D grid can be sampled"):
        surface_sampling(Tissue.isotropic(surface, D), surface)
    with pytest.raises(InputError, match=r"heart: lies 5\.\d+ mm off the conducting tissue near"):
        surface_sampling(ball(6.5, 1.0), surface)
    sampling = surface_sampling(ball(12.0, 1.0), surface)
    torso = VolumeConductor(Region(sphere(60.0, subdivisions=1, name="torso"), 0.2))
    with pytest.raises(InputError, match="the operator takes vm at other:0, other:1 and 40 more"):
        bem.double_layer(surface.renamed("other"), torso) @ sampling
    with pytest.raises(InputError, match="the operator takes hsp"):
        bem.transfer(surface, torso) @ sampling
