"""Regions find their nodes, protocols their times; mistakes are named."""

from math import inf, nan

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.geometry.generators import sphere
from einthoven.protocol import (
    Ball,
    Box,
    Line,
    Nearest,
    Nodes,
    Protocol,
    Region,
    Stimulus,
    Together,
    Whole,
    burst,
    check_connected,
    cross_field,
    line,
    multi_site,
    point,
    s1_s2,
)
from einthoven.tissue import Grid, Tissue

SHEET = Tissue.isotropic(Grid((40, 30), 0.5, (0.25, 0.25, 0.0)), 0.1)
HOLE = np.ones((40, 30), dtype=bool)
HOLE[10:20, 10:20] = False
HOLED = Tissue.isotropic(Grid((40, 30), 0.5, (0.25, 0.25, 0.0)), 0.1, HOLE)
SLAB = Tissue.isotropic(Grid((10, 12, 8), 1.0), 0.1)


@pytest.mark.parametrize("tissue", [SHEET, HOLED, SLAB])
@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (Ball((4.0, 5.0), 2.5), lambda p: np.hypot(p[:, 0] - 4, p[:, 1] - 5) <= 2.5),
        (Ball((4.0,), 2.5), lambda p: np.abs(p[:, 0] - 4) <= 2.5),
        (Box((-inf, 3.0), (2.0, inf)), lambda p: (p[:, 0] <= 2) & (p[:, 1] >= 3)),
        (Line((1.0, 1.0), (6.0, 6.0), 2.0), None),
        (Whole(), lambda p: np.ones(len(p), bool)),
        (Together((Ball((4.0, 5.0), 1.5), Box((0.0,), (1.0,)))), None),
    ],
)
def test_regions_hold_the_nodes_inside(tissue, region, inside):
    assert isinstance(region, Region)
    found = region.select(tissue)
    assert (np.diff(found) > 0).all()
    p = tissue.points
    if isinstance(region, Line):
        along = np.clip((p[:, 0] + p[:, 1] - 2) / 10, 0, 1)
        expected = np.hypot(p[:, 0] - 1 - 5 * along, p[:, 1] - 1 - 5 * along) <= 1.0 + 1e-9
    elif isinstance(region, Together):
        expected = (np.hypot(p[:, 0] - 4, p[:, 1] - 5) <= 1.5) | ((p[:, 0] >= 0) & (p[:, 0] <= 1))
    else:
        expected = inside(p)
    assert (found == np.flatnonzero(expected)).all()


def test_three_coordinates_are_all_looked_at():
    assert len(Ball((4.0, 5.0, 3.0), 1.0).select(SLAB)) == 7
    assert len(Box((4.0, 5.0, 3.0), (5.0, 6.0, 4.0)).select(SLAB)) == 8
    assert len(Ball((4.0, 5.0), 1.0).select(SLAB)) == 5 * 8


def test_borders_belong_to_a_region_whatever_the_rounding():
    fine = Tissue.isotropic(Grid((30,), 0.1), 0.1)
    assert len(Box((0.3,), (0.7,)).select(fine)) == 5
    assert len(Ball((0.5,), 0.2).select(fine)) == 5


def test_the_nearest_node_is_one():
    found = Nearest((7.1, 7.4), within=3.0).select(HOLED)
    distance = np.hypot(HOLED.points[:, 0] - 7.1, HOLED.points[:, 1] - 7.4)
    assert found.tolist() == [int(np.argmin(distance))]


def test_named_nodes_are_points_of_the_domain():
    assert Nodes([0, 5, 3, 3]).select(SHEET).tolist() == [0, 3, 5]
    last = HOLED.n_points - 1
    assert Nodes(last).select(HOLED).tolist() == [HOLED.n_nodes - 1]
    assert Nodes(np.array([700])).select(HOLED).tolist() == [np.searchsorted(HOLED.nodes, 700)]


def test_regions_work_on_surfaces():
    surface = Tissue.isotropic(sphere(10.0, subdivisions=3), 0.1)
    cap = Ball((0.0, 0.0, 10.0), 4.0).select(surface)
    assert (surface.points[cap, 2] > 9).all()
    assert len(cap) == (np.linalg.norm(surface.points - [0, 0, 10], axis=1) <= 4).sum()


def test_trains_have_their_times():
    region = Box((-inf,), (2.0,))
    assert burst(region, 150.0, 4, start=10.0).starts == (10.0, 160.0, 310.0, 460.0)
    both = s1_s2(region, s1_interval=400.0, n_s1=3, s2_interval=250.0, s2_region=Whole(), start=5.0, duration=1.0)
    assert both.starts == (5.0, 405.0, 805.0, 1055.0)
    assert both.until == 1056.0
    assert both.stimuli[-1].region == Whole()
    assert all(s.region == region and s.duration == 1.0 for s in both.stimuli[:3])


def test_protocols_add_up_in_order_of_time():
    late, early = point((4.0, 5.0), start=50.0), line((0.0, 0.0), (0.0, 9.0), 1.5, start=20.0, amplitude=30.0)
    both = late + early
    assert both.starts == (20.0, 50.0)
    assert len(both) == 2
    assert both.until == 52.0
    assert both.shifted(100.0).starts == (120.0, 150.0)
    assert [len(nodes) for nodes in both.select(SHEET)] == [len(early.select(SHEET)[0]), len(late.select(SHEET)[0])]
    assert Protocol().until == 0.0
    assert len(Protocol() + both) == 2


def test_sites_have_their_own_times():
    sites = multi_site([(4.0, 5.0), (12.0, 9.0)], [7.0, 3.0], 1.0)
    assert sites.starts == (3.0, 7.0)
    assert sites.stimuli[0].region == Ball((12.0, 9.0), 1.0)


def test_cross_field_takes_an_edge_and_then_a_quadrant():
    both = cross_field(SHEET, 180.0, width=1.0)
    edge, quadrant = both.select(SHEET)
    assert both.starts == (0.0, 180.0)
    assert (SHEET.points[edge, 0] <= 1.25).all()
    assert len(edge) == 3 * 30
    assert len(quadrant) == 20 * 15
    assert SHEET.points[quadrant].max(axis=0).tolist() == [9.75, 7.25, 0.0]


def test_parts_that_nothing_reaches_are_named():
    mask = np.ones((40, 30), dtype=bool)
    mask[25] = False
    mask[30:, 12] = False
    cut = Tissue.isotropic(SHEET.domain, 0.1, mask)
    one = point((4.0, 5.0))
    with pytest.raises(
        InputError, match=r"of 1160 nodes lie in 1 parts that no stimulus reaches .* \(13.25, 0.25, 0\)"
    ):
        check_connected(cut, one)
    with pytest.warns(UserWarning, match="no stimulus reaches"):
        lost = check_connected(cut, one, refuse=False)
    assert (cut.points[lost, 0] > 13).all()
    assert len(lost) == (cut.points[:, 0] > 13).sum()
    assert not len(check_connected(cut, one + point((18.0, 4.0))))
    assert not len(check_connected(HOLED, one))
    assert not len(check_connected(cut, Protocol()))


BALL = Ball((4.0, 5.0), 2.0)
WRONG = [
    (lambda: point((400.0, 5.0)).select(SHEET), r"Ball\(center=\(400.0, 5.0\), radius=2.0\) holds no conducting node"),
    (lambda: point((400.0, 5.0)).select(SHEET), r"1200 nodes extend from \(0.25, 0.25, 0\) to \(19.75, 14.75, 0\) mm"),
    (lambda: Ball((7.5, 7.5), 1.0).select(HOLED), "holds no conducting node"),
    (lambda: Together((BALL, Box((90.0,), (95.0,)))).select(SHEET), r"Box\(low=\(90.0,\), high=\(95.0,\)\) holds no"),
    (lambda: Nearest((30.0, 5.0)).select(SHEET), "the nearest is 10.3 mm away"),
    (lambda: Nodes([3, 5000]).select(SHEET), "nodes 5000 are not in the tissue, which has 1200 points"),
    (lambda: Nodes([-1]).select(SHEET), "nodes -1 are not in the tissue"),
    (lambda: Nodes([15 * 30 + 15, 0]).select(HOLED), "nodes 465 do not conduct"),
    (lambda: Nodes([]), "a list of whole numbers"),
    (lambda: Nodes([1.5]), "a list of whole numbers"),
    (lambda: Ball((nan, 0.0), 1.0), "center of a ball must be finite"),
    (lambda: Ball((0.0, 0.0), 0.0), "radius of a ball must be a positive length"),
    (lambda: Ball((0.0, 0.0, 0.0, 0.0), 1.0), "one to three coordinates"),
    (lambda: Box((0.0, 0.0), (1.0, -1.0)), "from its low to its high corner"),
    (lambda: Box((0.0,), (1.0, 1.0)), "from its low to its high corner"),
    (lambda: Line((0.0,), (1.0, 1.0), 1.0), "both ends of a line"),
    (lambda: Together(()), "needs at least one"),
    (lambda: Stimulus(BALL, -1.0, 2.0, 50.0), "starts at 0 ms or later; got -1 ms"),
    (lambda: Stimulus(BALL, 0.0, -2.0, 50.0), "lasts a positive time in ms; got -2 ms"),
    (lambda: Stimulus(BALL, 0.0, nan, 50.0), "lasts a positive time"),
    (lambda: Stimulus(BALL, inf, 2.0, 50.0), "starts at 0 ms or later"),
    (lambda: Stimulus(BALL, 0.0, 2.0, 0.0), "must not be 0"),
    (lambda: Stimulus(BALL, 0.0, 2.0, nan), "must not be 0"),
    (lambda: Stimulus(BALL, 0.0, 2.0, 5e4), "above 10000 mV/ms; got 50000.* from uA/mm3 divide by 1.4"),
    (lambda: Stimulus(BALL, 0.0, 2.0, 2e4, "clamp"), r"within \+-300 mV; got 20000"),
    (lambda: multi_site([(1.0, 1.0)], [0.0, 1.0]), "1 sites and 2 starts"),
    (lambda: burst(BALL, 1.0, 3), "must follow after more than the stimulus of 2 ms; got an interval of 1 ms"),
    (lambda: burst(BALL, 100.0, 0), "at least one stimulus"),
    (lambda: s1_s2(BALL, s1_interval=300.0, n_s1=2, s2_interval=2.0), "S2 must follow after more than the stimulus"),
    (lambda: cross_field(SHEET, 1.0), "S2 must follow"),
    (lambda: cross_field(SHEET, 100.0, width=30.0), "wider than the edge of 30 mm"),
    (lambda: cross_field(Tissue.isotropic(Grid((50,), 0.5), 0.1), 100.0), "extends 24.5 and 0 mm"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_something_else_among_the_stimuli_is_refused():
    with pytest.raises((InputError, TypeError)):
        Protocol((BALL,))
