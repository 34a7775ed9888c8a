"""From diffusivity to squared speed: the table, its interpolation, tensors, and whole waves against the simulator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.core import InputError
from einthoven.eikonal import Eikonal
from einthoven.eikonal.conduction import Conduction, mean_spacing
from einthoven.geometry.generators import sphere
from einthoven.ionic.registry import MODELS, model
from einthoven.protocol import Nodes, Protocol, Stimulus
from einthoven.simulate import Activation, Monodomain, Strang, simulate
from einthoven.simulate.planar import planar_kappas
from einthoven.tissue import Grid, Tissue

MS, ATRIUM = "mitchell-schaeffer-2003", "fenton-karma-1998-mlr-i"
SIMPLE = Conduction(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.8, 2.0]), "simple")


def grid(*shape, spacing=0.5):
    return Grid(shape, spacing)


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_membrane_is_in_the_table_with_its_limit(name):
    found = Conduction.of(name)
    assert found.name == name
    assert found.zetas[0] == 0
    assert found.zetas[-1] > 2
    assert (np.diff(found.kappas) > 0).all()  # a coarser grid is slower
    # the limit is made from the next two rows by errors of second order; from the third on there are higher ones
    slope = (found.kappas[1:4] - found.kappas[0]) / found.zetas[1:4] ** 2
    assert slope[1] == pytest.approx(slope[0], rel=5e-3)  # six digits are kept of kappa
    assert slope[2] == pytest.approx(slope[0], rel=0.6)


def test_an_unknown_membrane_is_answered_with_the_known():
    with pytest.raises(InputError, match=r"no membrane 'luo-rudy' .* aliev-panfilov-1996, .*planar_conduction"):
        Conduction.of("luo-rudy")


def test_rows_are_given_back_and_between_them_kappa_is_monotone():
    assert SIMPLE.kappa(0.25, np.array([0.0, 1.0, 2.0])[1] * 0.5) == pytest.approx(0.8, rel=1e-12)
    found = Conduction.of(ATRIUM)
    at_rows = found.kappa(1 / np.maximum(found.zetas, 1e-6) ** 2, 1.0)
    assert at_rows == pytest.approx(found.kappas, rel=1e-9)
    fine = found.kappa(1 / np.linspace(1e-3, found.zetas[-1], 2000) ** 2, 1.0)
    assert (np.diff(fine) > 0).all()


def test_between_rows_the_speed_is_that_of_a_wave():
    # measured: at most 0.15 %, at the last of these
    zetas = np.array([0.9, 2.25, 4.5])
    speed = Conduction.of(ATRIUM).speed(1 / zetas**2, 1.0)
    assert speed == pytest.approx(1 / (zetas * np.sqrt(planar_kappas(model(ATRIUM), zetas))), rel=2e-3)


def test_below_the_finest_row_its_value_is_the_limit():
    coarse = Conduction(np.array([1.0, 2.0]), np.array([0.8, 2.0]), "no limit")
    assert float(coarse.kappa(0.1, 0.01)) == pytest.approx(0.8, rel=1e-12)
    assert float(coarse.kappa(0.1, 0.0)) == pytest.approx(0.8, rel=1e-12)
    assert float(coarse.speed(0.2, 0.0)) == pytest.approx(0.5, rel=1e-12)


# -- squared speed of tissues -----------------------------------------------------------------------------------------


def test_numbers_stay_numbers_and_nodes_stay_nodes():
    one = Tissue.isotropic(grid(4, 3), 0.25)
    assert SIMPLE.squared_speed(one).shape == ()
    assert float(SIMPLE.squared_speed(one)) == pytest.approx(0.25 / 0.8)
    assert float(SIMPLE.squared_speed(one, 0)) == pytest.approx(0.25 / 0.5)
    hole = np.arange(12) != 5
    many = Tissue.isotropic(grid(4, 3), np.linspace(0.1, 0.5, 12), hole)
    expected = np.linspace(0.1, 0.5, 12)[hole]
    expected = expected / SIMPLE.kappa(expected, 0.5)
    assert SIMPLE.squared_speed(many) == pytest.approx(expected, rel=1e-12)


def test_tensors_along_the_axes_take_kappa_axis_by_axis():
    box = Tissue.anisotropic(grid(3, 3, 3), 0.25, 0.0625, (0.0, 1.0, 0.0))
    expected = np.diag([0.0625 / 2.0, 0.25 / 0.8, 0.0625 / 2.0])
    assert SIMPLE.squared_speed(box) == pytest.approx(expected, abs=1e-15)
    ball = Tissue(grid(3, 3, 3), 0.25 * np.eye(3), np.ones(27, bool))
    assert SIMPLE.squared_speed(ball) == pytest.approx(0.25 / 0.8 * np.eye(3), abs=1e-15)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_turned_tensors_are_turned(seed, d):
    # three dimensions matter: matrices of eigenvectors of two are symmetric, so that a transposed one goes unseen
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    axes = rng.uniform(0.07, 0.3, d)
    whole = np.ones(3**d, bool)
    straight = SIMPLE.squared_speed(Tissue(grid(*(3,) * d), np.diag(axes), whole))
    tensor = turn @ np.diag(axes) @ turn.T
    found = SIMPLE.squared_speed(Tissue(grid(*(3,) * d), 0.5 * (tensor + tensor.T), whole))
    assert np.diag(straight) == pytest.approx(axes / SIMPLE.kappa(axes, 0.5), rel=1e-12)
    assert found == pytest.approx(turn @ straight @ turn.T, abs=1e-12)
    assert np.array_equal(found, found.T)


def test_a_tensor_per_node_is_many_single_ones():
    angles = np.linspace(0, 3, 12)
    fibers = np.c_[np.cos(angles), np.sin(angles)]
    along = np.linspace(0.1, 0.3, 12)
    found = SIMPLE.squared_speed(Tissue.anisotropic(grid(4, 3), along, 0.07, fibers))
    for k in (0, 7):
        alone = Tissue.anisotropic(grid(1, 1), along[k], 0.07, fibers[k])
        assert found[k] == pytest.approx(SIMPLE.squared_speed(alone), abs=1e-14)


def test_on_a_surface_the_mean_edge_stands_for_the_spacing():
    surface = sphere(5.0, subdivisions=3)
    ball = Tissue.isotropic(surface, 0.3)
    ends = surface.points[surface.edges.vertices]
    mean = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean()
    assert mean_spacing(ball) == pytest.approx(mean)
    assert float(SIMPLE.squared_speed(ball)) == pytest.approx(float(0.3 / SIMPLE.kappa(0.3, mean)))
    assert float(SIMPLE.squared_speed(ball, 0.2)) == pytest.approx(float(0.3 / SIMPLE.kappa(0.3, 0.2)))


# -- whole waves ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("along, across", [(0.1, 0.1), (0.2, 0.05)], ids=["isotropic", "anisotropic"])  # noqa: PT006
def test_a_simulated_wave_arrives_when_the_eikonal_says(along, across):
    """Quarter of a sheet, started where the eikonal's wave has come within some ms, so that both start alike.

    What the eikonal leaves out: the offset (how long the stimulus takes), subtracted; the front's curvature, by which
    it is late by kappa log T (dT/dr = 1 / (c - D / r), to first order); and that diagonals are less slowed by the grid.
    """
    heart = Conduction.of(MS)
    sheet = Tissue.anisotropic(grid(81, 81, spacing=0.25), along, across, (1.0, 0.0))
    times = Eikonal.of(sheet, order=2).solve(heart.squared_speed(sheet), [[0.0, 0.0]]).times
    started = Stimulus(Nodes(np.flatnonzero(times < 6.0)), 0.0, 2.0, 60.0)
    system = Monodomain(sheet, model(MS), Strang())
    found = simulate(system, Protocol((started,)), 100.0, dt=0.04, keep=[Activation()]).data["activation"].values[0]
    # 3 mm off the borders, where a wave that meets its mirror image comes early
    inner = (times > 15) & (sheet.coordinates.max(axis=1) < 17)
    late = found - times
    spread = late[inner] - np.median(late[inner])
    assert times[inner].max() > 50
    assert np.abs(spread).max() < 1.1  # of 70 ms
    curved = late - heart.kappas[0] * np.log(np.maximum(times, 1e-9))
    spread = curved[inner] - np.median(curved[inner])
    assert np.abs(spread).max() < 0.2
    assert spread.std() < 0.08
    for axis, d in ((0, along), (1, across)):
        on_axis = inner & (sheet.coordinates[:, 1 - axis] == 0)
        slope = np.polyfit(np.log(times[on_axis]), late[on_axis], 1)[0]
        assert slope == pytest.approx(float(heart.kappa(d, 0.25)), rel=0.1)  # measured: 3 to 7 % less


# -- errors -----------------------------------------------------------------------------------------------------------


def test_too_coarse_a_grid_is_refused_with_the_spacing_that_would_do():
    sheet = Tissue.anisotropic(grid(4, 3), 0.2, 0.05, (0.6, 0.8))
    with pytest.raises(
        InputError,
        match=r"a spacing of 0\.5 mm is too coarse for a diffusivity of 0\.05 mm2/ms \(at 0 of 2\): waves of simple "
        r"were seen up to .* = 2 sqrt\(ms\)\. Take a spacing of at most 0\.447 mm, or spacing=0",
    ):
        SIMPLE.squared_speed(sheet)
    assert SIMPLE.squared_speed(sheet, 0) == pytest.approx(sheet.diffusivity / 0.5, abs=1e-15)
    assert SIMPLE.kappa(0.0625, 0.5) == pytest.approx(2.0)  # the last row itself is in the table


@pytest.mark.parametrize(
    ("zetas", "kappas", "message"),
    [
        ([0.0], [0.5], "lists of the same length, at least two"),
        ([0.0, 1.0, 1.0], [0.5, 0.6, 0.7], "finite, and increase"),
        ([-1.0, 1.0], [0.5, 0.6], "0 or more"),
        ([0.0, 1.0], [0.5, np.nan], "must be positive and finite"),
        ([0.0, 1.0], [0.5, 0.0], "must be positive and finite"),
    ],
)
def test_wrong_tables_are_refused(zetas, kappas, message):
    with pytest.raises(InputError, match=message):
        Conduction(np.array(zetas), np.array(kappas), "wrong")


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="diffusivities must be positive and finite"):
        SIMPLE.kappa(np.array([0.1, 0.0]), 0.5)
    with pytest.raises(InputError, match="spacing must be a length in mm, or 0 for a fine grid; got -1"):
        SIMPLE.kappa(0.1, -1.0)
