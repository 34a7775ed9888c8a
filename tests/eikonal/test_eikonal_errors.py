"""What is refused, and in which words."""

import numpy as np
import pytest
from eikonal_cases import block

from einthoven.core import GeometryError, InputError, Surface
from einthoven.eikonal import Eikonal
from einthoven.geometry.generators import sphere
from einthoven.tissue import Grid

GRID = Grid((20, 16), 0.5)
SHEET, BALL, CUBE = Eikonal(GRID), Eikonal(sphere(20.0, subdivisions=2)), Eikonal(block(5))
SITE = [[3.0, 3.0]]


def turned(angle: float, ratio: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    along = np.array([[c * c, c * s], [c * s, s * s]])
    return along + ratio**-2 * (np.eye(2) - along)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": GRID, "order": 3}, r"^eikonal: order must be 1 or 2; got 3\.$"),
        ({"domain": BALL.domain, "order": 2}, r"second order works on grids only\. Take order 1, or a finer mesh\.$"),
        ({"domain": CUBE.domain, "order": 2}, r"second order works on grids only"),
        ({"domain": GRID, "reach": 0.0}, r"reach must be a positive length in mm; got 0\.$"),
        ({"domain": GRID, "reach": float("nan")}, r"reach must be a positive length in mm; got nan\.$"),
        ({"domain": BALL.domain, "reach": 3.0}, r"reach can be chosen on grids only; on meshes it is two rings"),
        (
            {"domain": GRID, "conducting": np.ones(3, bool)},
            r"mask of \(20, 16\) or \(320,\) booleans; got \(3,\) of bool",
        ),
        ({"domain": BALL.domain, "conducting": np.ones(3, bool)}, r"One value per node of the domain"),
        ({"domain": GRID, "conducting": np.zeros((20, 16), bool)}, r"none of the 320 points conducts"),
    ],
)
def test_where_a_wave_may_run(arguments, message):
    with pytest.raises(InputError, match=message):
        Eikonal(**arguments)


@pytest.mark.parametrize(
    ("v", "message"),
    [
        (np.ones((3, 3)), r"squared speed must be a number, one per point, one 2 x 2 tensor .* got shape \(3, 3\)"),
        (np.ones(7), r"one value per point of the domain \(320\) or per conducting point \(320\); got 7\.$"),
        (np.nan, r"^eikonal: squared speed must be finite; at nodes 0 it is NaN or infinite\.$"),
        (np.where(np.arange(320) == 5, np.inf, 1.0), r"squared speed must be finite; at nodes 5 it is"),
        (0.0, r"^eikonal: squared speed must be positive; at nodes 0 it is not \(down to 0\)\. Cells"),
        (-np.ones(320), r"positive; at nodes 0, 1, 2, 3, 4 and 315 more"),
        ([[1.0, 0.1], [0.0, 1.0]], r"^eikonal: tensors of the squared speed must be symmetric; those of nodes 0"),
        ([[1.0, 2.0], [2.0, 1.0]], r"positive definite; those of nodes 0 are not \(smallest eigenvalue -1 mm2/ms2\)"),
        (np.diag([1.0, 1e-12]), r"nodes 0, 1, 2, 3, 4 and 315 more are far too anisotropic\. Give .* a hundredth"),
        (turned(0.0005, 1e4), r"far too anisotropic"),
    ],
)  # fmt: skip
def test_squared_speeds(v, message):
    with pytest.raises(InputError, match=message):
        SHEET.solve(v, SITE)


@pytest.mark.parametrize("angle", [0.0, 0.0005, 0.002, 0.3, 0.785])
def test_speeds_of_a_hundred_to_one_are_not_absurd(angle):
    assert SHEET.solve(turned(angle, 100.0), SITE).reached.all()


@pytest.mark.parametrize(
    ("wave", "sites", "onsets", "message"),
    [
        (SHEET, [3.0, 3.0], 0.0, r"sites must have shape \(\.\.\., n_sites, 2\), in mm; got \(2,\)\.$"),
        (SHEET, [[3.0, 3.0, 0.0]], 0.0, r"n_sites, 2\), in mm; got \(1, 3\)"),
        (BALL, [[3.0, 3.0]], 0.0, r"n_sites, 3\), in mm; got \(1, 2\)"),
        (SHEET, np.zeros((0, 2)), 0.0, r"got \(0, 2\)"),
        (SHEET, [[np.nan, 3.0]], 0.0, r"^eikonal: sites must be finite; some are NaN or infinite\.$"),
        (SHEET, SITE, np.nan, r"^eikonal: onsets must be finite"),
        (SHEET, SITE, [1.0, 2.0], r"onsets must be a number or have shape \(1,\), one per site; got \(2,\)\.$"),
        (SHEET, [[3.0, 3.0], [30.0, 3.0]], 0.0, r"site 1 at \(30, 3\) mm lies in no conducting cell; the nearest one "
         r"is 20\.5 mm away, at \(9\.5, 3\)\. Are the coordinates in mm, and in the frame of the tissue\?$"),
        (SHEET, [[3000.0, 3000.0]], 0.0, r"site 0 at \(3e\+03, 3e\+03\) mm .* Are the coordinates in mm"),
        (BALL, [[0.0, 0.0, 0.02]], 0.0, r"site 0 at \(0, 0, 0\.02\) mm lies .* mm off the mesh 'sphere'; its nearest "
         r"node is 20 mm away, .* Are the coordinates in mm, and in the frame of the mesh\?$"),
        (CUBE, [[-3.0, 0.0, 0.0]], 0.0, r"site 0 at \(-3, 0, 0\) mm lies 3 mm off the mesh 'mesh'; its nearest node is "
         r"3 mm away, at \(0, 0, 0\)"),
    ],
)  # fmt: skip
def test_sites_and_onsets(wave, sites, onsets, message):
    with pytest.raises(InputError, match=message):
        wave.solve(0.36, sites, onsets)


def test_a_site_in_a_blocked_cell():
    mask = np.ones((20, 16), dtype=bool)
    mask[:10] = False
    message = r"site 0 at \(1, 1\) mm lies in no conducting cell; the nearest one is 4 mm away, at \(5, 1\)\."
    with pytest.raises(InputError, match=message):
        Eikonal(GRID, mask).solve(0.36, [[1.0, 1.0]])


def test_sites_a_little_off_a_mesh_are_taken():
    assert BALL.solve(0.36, [[0.0, 0.0, 20.5]]).reached.all()
    assert CUBE.solve(0.36, [[-0.4, 3.0, 3.0]]).reached.all()


def test_a_medium_of_another_wave_and_adjoints_that_do_not_fit():
    with pytest.raises(InputError, match=r"medium belongs to another `Eikonal`\. Make it by `medium` of this one\.$"):
        SHEET.solve(Eikonal(GRID).medium(0.36), SITE)
    arrival = SHEET.solve(0.36, SITE)
    message = r"adjoint must have the shape of the times, \(320,\); got \(3,\)\.$"
    with pytest.raises(InputError, match=message):
        arrival.pull_back(np.ones(3))
    with pytest.raises(InputError, match=r"adjoint must be finite at the nodes that are reached\.$"):
        arrival.pull_back(np.full(320, np.nan))


def test_nodes_that_belong_to_no_cell():
    ball = BALL.domain
    lonely = Surface(np.vstack([ball.points, [[99.0, 0.0, 0.0]]]), ball.triangles)
    message = r"nodes 162 conduct, but belong to no cell\. Take them out by the mask `conducting`\.$"
    with pytest.raises(GeometryError, match=message):
        Eikonal(lonely).solve(0.36, ball.points[:1])
    mask = np.arange(163) < 162
    times = Eikonal(lonely, mask).solve(0.36 * np.eye(3), ball.points[:1]).times
    assert np.allclose(times, BALL.solve(0.36 * np.eye(3), ball.points[:1]).times, rtol=1e-12)


def test_changes_of_wrong_shapes_are_named():
    wave = Eikonal(Grid((9, 8), 0.5))
    arrival = wave.solve(0.36, [[1.0, 1.0], [2.0, 2.0]])
    with pytest.raises(
        InputError, match=r"shapes \(n_changes, ...\) with \(\), \(2, 2\), \(2,\) for V, sites and onsets"
    ):
        arrival.push_forward(sites=np.zeros((2, 2)))
    with pytest.raises(InputError, match="got none"):
        arrival.push_forward()
    with pytest.raises(InputError, match=r"got \(2, 3\)"):
        arrival.push_forward(np.zeros(2), onsets=np.zeros((2, 3)))
    with pytest.raises(InputError, match="one right-hand side at a time"):
        wave.solve(0.36, [[[1.0, 1.0]], [[2.0, 2.0]]]).push_forward(np.zeros(2))
