"""The ventricles as a masked grid: volume, fibers, layers, coordinates, the fast layer."""

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.datasets.phantom import LEFT, RIGHT, FastLayer, Phantom, Ventricles, ventricular_tissue, wall_point
from einthoven.datasets.phantom.volume import ENDOCARDIUM, EPICARDIUM, MIDWALL, fiber_directions, muscle_cells
from einthoven.tissue import Graph, Grid, Tissue


@pytest.fixture(scope="module")
def heart() -> Ventricles:
    return Phantom().ventricles


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return ventricular_tissue(Phantom(), 1.5)


def angles(tissue: Tissue, heart: Ventricles, chosen: np.ndarray, center: tuple[float, float]) -> np.ndarray:
    """Helix angle, degrees, from the fibers alone: against the direction around `center` (p, q) of the local frame."""
    local = heart.to_local(tissue.points[chosen])
    fibers = tissue.fibers[chosen] @ heart.axes.T
    radial = local[:, :2] - center
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    around = -radial[:, 1] * fibers[:, 0] + radial[:, 0] * fibers[:, 1]
    return np.degrees(np.arctan(fibers[:, 2] / around))


@pytest.mark.long
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_cells_fill_the_muscle(heart, spacing):
    """Against the volume enclosed by the closed heart surface (196.6 ml) and a direct look at every cell."""
    grid, nodes = muscle_cells(heart, spacing)
    volume = len(nodes) * spacing**3 / 1000
    assert volume == pytest.approx(Phantom().heart.volume / 1000, rel=0.005)
    some = np.random.default_rng(0).integers(0, grid.n_points, 100_000)
    conducting = np.zeros(grid.n_points, dtype=bool)
    conducting[nodes] = True
    assert (heart.is_muscle(grid.at(some)) == conducting[some]).all()


def test_no_cell_of_the_muscle_is_missed(heart):
    """All cells of a larger grid, one by one."""
    grid, nodes = muscle_cells(heart, 2.0)
    wide = Grid(tuple(n + 6 for n in grid.shape), 2.0, tuple(x - 6.0 for x in grid.origin))
    muscle = heart.is_muscle(wide.points).reshape(wide.shape)
    assert muscle.sum() == len(nodes)
    inner = muscle[3:-3, 3:-3, 3:-3].reshape(-1)
    assert (np.flatnonzero(inner) == nodes).all()
    for axis in range(3):
        assert muscle.any(axis=tuple(a for a in range(3) if a != axis))[[3, -4]].all()


def test_cells_of_half_the_size_lie_in_the_cells(heart):
    coarse, _ = muscle_cells(heart, 2.0)
    fine, _ = muscle_cells(heart, 1.0)
    steps = (np.array(fine.origin) - 0.5 - (np.array(coarse.origin) - 1.0)) / 1.0
    assert steps == pytest.approx(np.rint(steps), abs=1e-9)


def test_the_muscle_is_one_part(tissue):
    assert tissue.components().max() == 0


def test_labels_are_the_coordinates_of_the_wall(tissue, heart):
    place = heart.coordinates(tissue.points)
    for name in ("transmural", "apicobasal", "rotational", "ventricle"):
        assert (tissue.label(name) == getattr(place, name)).all()
    assert set(tissue.label("ventricle")) == {LEFT, RIGHT}


def middle(tissue: Tissue) -> np.ndarray:
    """Nodes away from apex and base."""
    return (tissue.label("apicobasal") > 0.45) & (tissue.label("apicobasal") < 0.85)


@pytest.mark.parametrize(("low", "high", "angle"), [(0.0, 0.1, 57.0), (0.45, 0.55, 0.0), (0.9, 1.0, -57.0)])
@pytest.mark.parametrize("septal", [True, False])
def test_fibers_of_the_left_wall_turn_from_60_to_minus_60_degrees(tissue, heart, low, high, angle, septal):
    """Around the long axis, a right-handed helix inside and a left-handed one outside (Streeter et al. 1969)."""
    depth = tissue.label("transmural")
    chosen = middle(tissue) & (tissue.label("ventricle") == LEFT) & (depth >= low) & (depth <= high)
    chosen &= (tissue.label("septum") == septal) & (np.abs(np.cos(tissue.label("rotational"))) > 0.7)
    assert chosen.sum() > 100
    found = angles(tissue, heart, chosen, (0.0, 0.0))
    assert np.median(found) == pytest.approx(angle, abs=5.0)
    assert np.abs(found - angle).max() < 20


@pytest.mark.parametrize(("low", "high", "sign"), [(0.0, 0.25, 1), (0.75, 1.0, -1)])
def test_fibers_of_the_right_free_wall_turn_alike(tissue, heart, low, high, sign):
    depth = tissue.label("transmural")
    chosen = middle(tissue) & (tissue.label("ventricle") == RIGHT) & (depth >= low) & (depth <= high)
    chosen &= np.abs(tissue.label("rotational")) < 0.5
    assert chosen.sum() > 50
    assert sign * np.median(angles(tissue, heart, chosen, (25.0, 5.0))) == pytest.approx(45.0, abs=15.0)


def test_fibers_lie_in_the_layers_of_the_wall(tissue, heart):
    """At right angles to the way through the wall, which is the gradient of the distance to the cavity."""
    left = middle(tissue) & (tissue.label("ventricle") == LEFT)
    points = tissue.points[left]
    step = 0.05 * np.eye(3)
    distance = lambda p: heart.left_cavity.distance(heart.to_local(p))  # noqa: E731
    normal = np.stack([distance(points + s) - distance(points - s) for s in step], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    assert np.abs((normal * tissue.fibers[left]).sum(axis=1)).max() < 1e-3


def test_other_helix_angles_are_taken(heart):
    flat = ventricular_tissue(Phantom(), 2.0, helix=(0.0, 0.0))
    chosen = middle(flat) & (flat.label("ventricle") == LEFT) & (flat.label("septum") == 0)
    assert np.abs(np.median(angles(flat, heart, chosen, (0.0, 0.0)))) < 2


@pytest.mark.parametrize("angle", [-60.0, 0.0, 35.0])
def test_fiber_directions_on_a_cylinder(angle):
    turn = np.linspace(0, 2 * np.pi, 7)
    through = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    found = fiber_directions(through, np.array([0.0, 0.0, 1.0]), np.full(7, np.radians(angle)))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    assert found == pytest.approx(np.stack([-c * np.sin(turn), c * np.cos(turn), s + 0 * turn], axis=1))


def test_fiber_directions_at_the_apex_are_unit_vectors_in_the_layer():
    through = np.array([[0.0, 0.0, -1.0], [1e-9, 0.0, -1.0]])
    found = fiber_directions(through, np.array([0.0, 0.0, 1.0]), np.array([1.0, -1.0]))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0])
    assert np.abs(found[:, 2]).max() < 1e-6


def test_conduction_is_as_asked(tissue):
    values = np.linalg.eigvalsh(tissue.diffusivity[::50])
    assert values == pytest.approx(np.tile([0.01258, 0.01258, 0.0953], (len(values), 1)), rel=1e-9)


def test_layers_are_thirds_and_both_sides_of_the_septum_are_endocardium(tissue):
    depth, layer, septum = (tissue.label(name) for name in ("transmural", "layer", "septum"))
    free = septum == 0
    assert (layer[free] == np.digitize(depth[free], [1 / 3, 2 / 3])).all()
    assert not (layer[~free] == EPICARDIUM).any()
    assert (layer[~free & (depth > 0.7)] == ENDOCARDIUM).all()
    assert (layer[~free & (depth > 0.4) & (depth < 0.6)] == MIDWALL).all()
    share = [((layer == k) & (tissue.label("ventricle") == RIGHT)).sum() for k in (ENDOCARDIUM, MIDWALL, EPICARDIUM)]
    assert np.array(share) / sum(share) == pytest.approx([1 / 3] * 3, abs=0.08)


def test_the_septum_lies_between_the_cavities(tissue, heart):
    local = heart.to_local(tissue.points)
    septum = tissue.label("septum") == 1
    assert (tissue.label("ventricle")[septum] == LEFT).all()
    assert septum.sum() / (tissue.label("ventricle") == LEFT).sum() == pytest.approx(1 / 3, abs=0.08)
    steps = np.arange(0.0, 14.0, 0.5)
    outward = local[septum][:, None] + steps[:, None] * np.array([1.0, 0.0, 0.0])
    reached = heart.right_cavity(outward.reshape(-1, 3)).reshape(-1, len(steps)).min(axis=1)
    middle_third = np.abs(tissue.label("rotational")[septum]) < 0.6
    assert (reached[middle_third & (local[septum][:, 2] > -60)] < 0.5).mean() > 0.98


def test_the_fast_layer_lines_both_cavities(tissue, heart):
    fast = ventricular_tissue(Phantom(), 1.5, fast=FastLayer(2.0, 6.0, 0.9))
    share = fast.label("fast")
    local = heart.to_local(fast.points)
    depth = np.minimum(heart.left_cavity.distance(local), heart.right_cavity(local))
    assert share[depth > 2.5].max() == 0
    low = fast.label("apicobasal") < 0.7
    assert share[(depth < 1.5) & low].min() == 1
    assert share[fast.label("apicobasal") > 0.9].max() == 0
    septum = (fast.label("septum") == 1) & low
    assert (share[septum & (fast.label("transmural") > 0.95)] > 0).mean() > 0.9
    whole = share == 1
    assert np.abs(fast.diffusivity[whole] - 6.0 * 0.0953 * np.eye(3)).max() < 1e-12
    assert (fast.diffusivity[share == 0] == tissue.diffusivity[share == 0]).all()
    assert tissue.label("fast").max() == 0


def test_the_coupling_is_a_graph_and_conserves(tissue):
    coupling = tissue.coupling
    assert isinstance(coupling, Graph)
    matrix = coupling.matrix()
    v = np.sin(tissue.points @ np.array([0.1, 0.05, -0.08]))
    change = matrix @ v
    assert abs(change.sum()) < 1e-10 * np.abs(change).sum()
    assert v @ change < 0
    assert abs(matrix - matrix.T).max() < 1e-14 * coupling.largest_rate()


def test_points_are_found_by_coordinates_of_the_wall(tissue, heart):
    for ventricle, depth, height, turn in ((LEFT, 0.0, 0.6, 1.5), (RIGHT, 0.0, 0.45, 0.4), (LEFT, 1.0, 0.5, -3.0)):
        found = wall_point(tissue, ventricle=ventricle, transmural=depth, apicobasal=height, rotational=turn)
        place = heart.coordinates(found[None])
        assert place.ventricle[0] == ventricle
        assert place.transmural[0] == pytest.approx(depth, abs=0.3)
        assert place.apicobasal[0] == pytest.approx(height, abs=0.04)
        assert np.angle(np.exp(1j * (place.rotational[0] - turn))) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ventricular_tissue(Phantom(), 9.0), "spacing must be 0.1 to 4 mm; got 9.* right wall of 3.5 mm"),
        (lambda: ventricular_tissue(Phantom(), 2.0, layers=(0.7, 0.3)), "layers must be two growing"),
        (lambda: FastLayer(-1.0), "fast layer needs a positive thickness"),
        (lambda: ventricular_tissue(Phantom(), 4.0, across=-0.1), "positive definite"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_unknown_ventricle_is_named(tissue):
    with pytest.raises(InputError, match=r"ventricle must be 1 \(left\) or 2 \(right\); got 3"):
        wall_point(tissue, ventricle=3, transmural=0.0, apicobasal=0.5, rotational=0.0)
