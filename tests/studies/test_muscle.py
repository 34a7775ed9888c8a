"""The muscle of a case: which cells conduct, where the fast layer is, what is made and said, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import (
    Case,
    Electrodes,
    InputError,
    LeadSystem,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
)
from einthoven.datasets.phantom import Phantom, Resolution
from einthoven.forward import bem
from einthoven.forward.lead_errors import lead_errors
from einthoven.forward.sampling import surface_sampling
from einthoven.geometry.generators import box, ellipsoid, joined, shell, sphere
from einthoven.geometry.locate import contains
from einthoven.studies.fit_leads import case_lead_errors
from einthoven.studies.muscle import Muscle, case_muscle, cells_inside
from einthoven.tissue import Grid, Tissue

TORSO = sphere(120.0, subdivisions=2, name="torso")
SITES = ("RA", "LA", "LL", "V1", "V2")
SKIN = Electrodes(SITES, TORSO.points[[3, 20, 40, 60, 100]])


def case_of(*sources: Source, inner: tuple[Region, ...] = (), recording: Recording | None = None) -> Case:
    return Case("heart", VolumeConductor(Region(TORSO, 0.2), inner), sources, SKIN, recording)


def blood(radius: float, name: str = "blood", center=(0.0, 0.0, 0.0)) -> Region:
    return Region(sphere(radius, subdivisions=3, center=center, name=name), 0.6)


WALL = shell(25.0, 35.0, name="wall")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(Resolution(torso=38.0, lungs=29.0, heart=8.5, envelope=12.0, blood=12.0))


# -- which cells conduct ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "surface", [WALL, shell(10.0, 20.0, subdivisions=1), box((30.0, 20.0, 10.0)), ellipsoid((30.0, 12.0, 20.0))]
)
def test_cells_inside_are_those_that_contain_their_centers(surface):
    grid = Grid((25, 30, 28), 2.9, (-34.0, -41.0, -39.0))
    expected = contains(surface, grid.points).reshape(grid.shape)
    assert 0 < expected.sum() < grid.n_points
    np.testing.assert_array_equal(cells_inside(surface, grid), expected)


def test_lines_through_nodes_and_edges_count_once():
    """Cell centers in line with the nodes and edges of a box, where a naive count takes two triangles or none."""
    grid = Grid((11, 11, 11), 1.0, (-5.0, -5.0, -5.0))
    cube = box((8.2, 8.2, 8.2), segments=1)
    expected = (np.abs(grid.points) < 4.1).all(axis=1).reshape(grid.shape)
    np.testing.assert_array_equal(cells_inside(cube, grid), expected)
    finer = box((8.0, 8.0, 8.2), segments=8)  # nodes on every line
    inside = cells_inside(finer, grid)
    assert inside[2:9, 2:9].any(axis=2).all()
    assert not inside[[0, -1]].any()


def test_a_closed_wall_becomes_tissue_of_its_volume():
    muscle = case_muscle(case_of(Source(WALL, "vm")), spacing=2.0)
    assert muscle.surface is WALL
    assert muscle.milliliters == pytest.approx(WALL.volume / 1000, rel=0.01)
    radius = np.linalg.norm(muscle.tissue.points, axis=1)
    assert 24.8 < radius.min() < radius.max() < 35.0
    np.testing.assert_allclose(np.modf(np.abs(muscle.tissue.points) / 2.0)[0], 0.5, atol=1e-9)  # borders at multiples
    assert (muscle.tissue.components() == 0).all()
    assert "Muscle(" in repr(muscle)


def test_a_wall_thinner_than_the_cells_is_bridged_and_said():
    """A thorn on a ball: its tip lies a few mm off the last cell whose center is inside."""
    ball = sphere(25.0, subdivisions=3)
    points = ball.points.copy()
    points[200] *= 40.0 / 25.0
    thorn = Surface(points, ball.triangles, "thorn")
    inside = cells_inside(thorn, Grid((42, 42, 42), 2.0, (-41.0, -41.0, -41.0)))
    muscle = case_muscle(case_of(Source(thorn, "vm")), spacing=2.0)
    added = muscle.tissue.n_nodes - int(inside.sum())
    assert 0 < added < 10
    assert muscle.notes[0] == f"thorn: {added} cells were added where its wall is thinner than the cells."
    assert (muscle.tissue.components() == 0).all()
    assert np.linalg.norm(muscle.tissue.points - points[200], axis=1).min() < 1.74
    np.testing.assert_allclose(surface_sampling(muscle.tissue, thorn).matrix.sum(axis=1), 1.0)


@pytest.mark.long
def test_the_right_wall_of_a_coarse_phantom_stays_connected(phantom):
    case = Case("phantom", phantom.conductor, (Source(phantom.heart, "vm"),), phantom.electrodes("12-lead"))
    muscle = case_muscle(case, spacing=2.0)
    assert (muscle.tissue.components() == 0).all()
    surface_sampling(muscle.tissue, muscle.surface)
    assert muscle.milliliters == pytest.approx(phantom.heart.volume / 1000, rel=0.02)
    assert muscle.cavities == ("left_blood", "right_blood")
    share = muscle.tissue.label("endocardium")
    assert 0.2 < share.mean() < 0.45
    depth = phantom.ventricles.left_cavity.distance(phantom.ventricles.to_local(muscle.tissue.points))
    free = phantom.ventricles.right_share(muscle.tissue.points) == 0
    assert (
        share[free & (depth > 6.0) & (phantom.ventricles.coordinates(muscle.tissue.points).rotational > 2.5)].max()
        < 0.1
    )


# -- the fast layer ---------------------------------------------------------------------------------------------------


def test_the_fast_layer_is_under_the_endocardium():
    muscle = case_muscle(case_of(Source(WALL, "vm"), inner=(blood(24.0),)), spacing=2.0, layer=3.0)
    assert muscle.cavities == ("blood",)
    assert muscle.notes == ()
    depth = np.linalg.norm(muscle.tissue.points, axis=1) - 25.0
    np.testing.assert_allclose(muscle.tissue.label("endocardium"), np.clip((3.0 - depth) / 2 + 0.5, 0, 1), atol=0.1)


def test_the_outside_of_a_thin_wall_is_no_endocardium():
    """The epicardium is as near to the blood as endocardium may be; it looks away."""
    thin = shell(25.0, 31.0, subdivisions=2, name="wall")
    muscle = case_muscle(case_of(Source(thin, "vm"), inner=(blood(24.0),)))
    radius, share = np.linalg.norm(muscle.tissue.points, axis=1), muscle.tissue.label("endocardium")
    assert share[radius > 29.0].max() == 0
    assert share[radius < 25.5].min() > 0.9


def test_no_layer_without_a_cavity_or_thickness():
    plain = case_muscle(case_of(Source(WALL, "vm")))
    assert not plain.tissue.label("endocardium").any()
    assert plain.notes == ("wall: no cavity is known, so that the wave has one speed, without a fast layer.",)
    thin = case_muscle(case_of(Source(WALL, "vm"), inner=(blood(24.0),)), layer=0)
    assert not thin.tissue.label("endocardium").any()
    assert thin.cavities == ("blood",)


def test_only_regions_in_the_muscle_are_cavities():
    """A lung beside the heart, a region around it, and a clot far from the wall of the cavity are not."""
    around = blood(36.5, "pericardium")
    lung = blood(20.0, "lung", (0.0, 65.0, 0.0))
    clot = blood(8.0, "clot")
    muscle = case_muscle(case_of(Source(WALL, "vm"), inner=(around, lung, clot)))
    assert muscle.cavities == ()
    assert not muscle.tissue.label("endocardium").any()
    both = case_muscle(case_of(Source(WALL, "vm"), inner=(around, lung, blood(24.0))))
    assert both.cavities == ("blood",)
    radius = np.linalg.norm(both.tissue.points, axis=1)
    assert both.tissue.label("endocardium")[radius > 30.0].max() == 0


# -- a wall that is made ----------------------------------------------------------------------------------------------


def test_a_wall_is_made_inside_an_epicardium():
    epicardium = sphere(35.0, subdivisions=3, name="epicardium")
    muscle = case_muscle(case_of(Source(epicardium, "hsp")), wall=10.0, layer=2.0)
    surface = muscle.surface
    surface.check_closed()
    assert surface.name == "epicardium wall"
    np.testing.assert_array_equal(surface.points[: epicardium.n_points], epicardium.points)
    inner = np.linalg.norm(surface.points[epicardium.n_points :], axis=1)
    np.testing.assert_allclose(inner, 25.0, atol=1.0)
    assert muscle.milliliters == pytest.approx(4 / 3 * np.pi * (35**3 - 25**3) / 1000, rel=0.06)
    depth = np.linalg.norm(muscle.tissue.points, axis=1) - inner.mean()
    np.testing.assert_allclose(muscle.tissue.label("endocardium"), np.clip((2 - depth) / 2 + 0.5, 0, 1), atol=0.4)
    assert muscle.notes[0].startswith("epicardium: a wall of 10 mm was made inside it, closed over the base, around a")
    assert muscle.cavities == ()
    operator = bem.double_layer(surface, VolumeConductor(Region(TORSO, 0.2)), SKIN)
    assert np.abs(operator.matrix.sum(axis=1)).max() < 1e-6 * np.abs(operator.matrix).sum(axis=1).max()


def test_a_vm_source_is_preferred():
    epicardium = sphere(36.0, subdivisions=3, name="epicardium")
    assert case_muscle(case_of(Source(epicardium, "hsp"), Source(WALL, "vm"))).surface is WALL


def test_dalhousie_gets_a_wall(data_dir):
    from einthoven.datasets import load_case

    case = load_case("dalhousie-2007")
    muscle = case_muscle(case)
    envelope = case.sources[0].surface
    cavity = (envelope.volume - muscle.surface.volume) / 1000
    assert 175 < cavity < 195
    assert 245 < muscle.milliliters < 265
    assert (muscle.tissue.components() == 0).all()
    assert 0.1 < muscle.tissue.label("endocardium").mean() < 0.2
    assert case.recording is not None
    leads = case_lead_errors(case, muscle, case.recording, pose_mm=0, pose_deg=0, electrode_mm=0).leads
    assert leads.out_sites == case.recording.sites
    np.testing.assert_allclose(leads.matrix.sum(axis=0), 0.0, atol=1e-10)  # an average


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing": 0.0}, "spacing and wall must be positive"),
        ({"wall": -1.0}, "spacing and wall must be positive"),
        ({"layer": -1.0}, "layer 0 or more"),
        ({"spacing": float("nan")}, "spacing and wall must be positive"),
        ({"spacing": 6.0}, "a wall of 10 mm needs a spacing of 5 mm or less; got 6"),
        ({"wall": 40.0}, "too small for a wall of 40 mm: no cavity is left. Give a thinner wall"),
        ({"spacing": 0.1}, "makes about 11[0-9] million nodes, more than 3 million. Use 0.3"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        case_muscle(case_of(Source(sphere(35.0, name="epicardium"), "hsp")), **settings)


def test_pieces_are_refused_and_crumbs_left_out():
    pieces = (sphere(20.0, subdivisions=3), sphere(20.0, subdivisions=3, center=(50.0, 0.0, 0.0)))
    with pytest.raises(
        InputError, match=r"two: at a spacing of 2 mm the muscle falls into 2 pieces of 4\d+, 4\d+ nodes"
    ):
        case_muscle(case_of(Source(joined(pieces, name="two"), "vm")))
    crumb = joined((pieces[0], sphere(2.0, subdivisions=2, center=(23.5, 1.0, 1.0))), name="crumb")
    muscle = case_muscle(case_of(Source(crumb, "vm")))
    assert "cells that do not touch the others were left out" in muscle.notes[0]
    assert "cells were added" in muscle.notes[1]
    assert (muscle.tissue.components() == 0).all()
    far = joined((pieces[0], sphere(2.0, subdivisions=2, center=(30.0, 1.0, 1.0))), name="far")
    with pytest.raises(InputError, match=r"far: is 1\d(\.\d)? mm off the nearest cell near \(3\d, "):
        case_muscle(case_of(Source(far, "vm")))


def test_a_muscle_too_thin_for_the_cells_is_refused():
    thin = shell(34.0, 35.0, subdivisions=3, name="thin")
    with pytest.raises(InputError, match=r"thin: .* Use a finer spacing"):
        case_muscle(case_of(Source(thin, "vm")), spacing=3.0)
    ball = sphere(30.0)
    height = np.sign(ball.points[:, 2]) * 8.0 * (1.0 - np.linalg.norm(ball.points[:, :2], axis=1) / 30.0)
    lens = Surface(np.column_stack([ball.points[:, :2], height]), ball.triangles, "lens")
    with pytest.raises(InputError, match=r"lens: in many places the wall is thinner than cells of 2 mm\. Use a finer"):
        case_muscle(case_of(Source(lens, "vm")))
    with pytest.raises(InputError, match="dot: no cell of 9 mm has its center in the muscle"):
        case_muscle(case_of(Source(sphere(4.0, name="dot"), "vm")), spacing=9.0)


def test_regions_within_the_muscle_are_refused():
    with pytest.raises(InputError, match="heart: the regions scar lie within the muscle 'wall'"):
        case_muscle(case_of(Source(WALL, "vm"), inner=(blood(3.0, "scar", (30.0, 0.0, 0.0)),)))


def test_a_muscle_needs_its_label_and_a_grid():
    tissue = Tissue.isotropic(Grid((4, 4, 4), 2.0), 1.0)
    with pytest.raises(InputError, match="no label 'endocardium'"):
        Muscle(tissue, WALL)
    with pytest.raises(InputError, match="wall: the label 'endocardium' must be within 0 to 1"):
        Muscle(tissue.labelled("endocardium", np.full(64, 1.5)), WALL)
    with pytest.raises(InputError, match="wall: the muscle must be a tissue on a 3-D grid"):
        Muscle(Tissue.isotropic(Grid((4, 4), 2.0), 1.0), WALL)


# -- leads of a case --------------------------------------------------------------------------------------------------


def recording(reference: str, sites=SITES) -> Recording:
    return Recording(np.zeros((len(sites), 3)), np.arange(3.0), sites, "bsp", reference)


@pytest.mark.parametrize("reference", ["wilson", "average", "V2"])
def test_leads_are_those_of_the_recording(reference):
    case = case_of(Source(shell(25.0, 35.0, subdivisions=2, name="wall"), "vm", None, 0.05))
    muscle = case_muscle(case)
    errors = case_lead_errors(case, muscle, recording(reference, ("V1", "LA")), electrode_mm=0, pose_mm=0, pose_deg=0)
    assert errors.n_errors == 0
    skin = bem.double_layer(muscle.surface, case.conductor, SKIN, intracellular_conductivity=0.05).matrix
    zero = {"wilson": skin[:3].mean(axis=0), "average": skin[[3, 1]].mean(axis=0), "V2": skin[4]}[reference]
    np.testing.assert_allclose(errors.leads.matrix, skin[[3, 1]] - zero, atol=1e-12 * np.abs(skin).max())
    assert (errors.leads.out_sites, errors.leads.reference) == (("V1", "LA"), reference)


def test_the_cavities_move_with_the_heart():
    wall = shell(25.0, 35.0, subdivisions=1, name="wall")
    inside = Region(sphere(22.0, subdivisions=1, name="blood"), 0.6)
    lung = Region(sphere(15.0, subdivisions=1, center=(0.0, 70.0, 0.0), name="lung"), 0.05)
    case = case_of(Source(wall, "vm"), inner=(inside, lung))
    muscle = case_muscle(case, spacing=3.0)
    found = case_lead_errors(case, muscle, recording("wilson"), pose_deg=0, electrode_mm=0)
    expected = lead_errors(
        wall, case.conductor, SKIN, LeadSystem.wilson(SITES), moving=("blood",), pose_deg=0, electrode_mm=0
    )
    np.testing.assert_array_equal(found.whole, expected.whole)
    assert found.names == ("heart x (mm)", "heart y (mm)", "heart z (mm)")
    assert np.abs(found.whole).max() > 0


def test_an_absolute_reference_and_a_missing_electrode_are_refused():
    case = case_of(Source(shell(25.0, 35.0, subdivisions=2, name="wall"), "vm"))
    muscle = case_muscle(case)
    with pytest.raises(InputError, match="heart: waves cannot be fitted to leads of reference 'absolute'"):
        case_lead_errors(case, muscle, recording("absolute"))
    fewer = replace(case, electrodes=SKIN.select(("V1", "LA")))
    with pytest.raises(InputError, match="leads of reference 'wilson' need electrodes RA, LL, which are not there"):
        case_lead_errors(fewer, muscle, recording("wilson", ("V1",)))
