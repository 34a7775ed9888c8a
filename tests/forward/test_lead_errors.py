"""Leads to first order in errors of pose and electrodes, against boundary-element operators built anew."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.core import (
    Electrodes,
    ForwardOperator,
    GeometryError,
    InputError,
    LeadSystem,
    Region,
    Surface,
    VolumeConductor,
)
from einthoven.forward import bem
from einthoven.forward.lead_errors import POSE, LeadErrors, along_skin, center, lead_errors, moved
from einthoven.forward.references import lead_system
from einthoven.geometry.generators import box, ellipsoid, joined, shell, sphere
from einthoven.geometry.locate import closest_points

SKIN = ellipsoid((120.0, 90.0, 160.0), subdivisions=2, name="torso")
HEART = shell(25.0, 35.0, subdivisions=2, name="heart")
HEART = HEART.with_points(HEART.points * np.array([1.0, 0.8, 1.2]) + np.array([15.0, -20.0, 20.0]))
MIDDLE = HEART.points.mean(axis=0)


def blood(share: float, shift: float = 0.0) -> Surface:
    """The cavity's surface made smaller, and shifted along x."""
    points = MIDDLE + share * (HEART.points[162:] - MIDDLE) + np.array([shift, 0.0, 0.0])
    return Surface(points, sphere(1.0, subdivisions=2).triangles, "blood")


BLOOD = blood(0.85)
LUNG = ellipsoid((20.0, 40.0, 60.0), subdivisions=1, center=(-70.0, 0.0, 20.0), name="lung")
VOLUME = VolumeConductor(Region(SKIN, 0.2), (Region(LUNG, 0.05), Region(BLOOD, 0.6)))
NAMES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6", "E1", "E2")
#: Anywhere on the triangles of the skin; the last one is a node.
PLACES = np.random.default_rng(3).normal(size=(11, 3)) * np.array([120.0, 90.0, 160.0])
ELECTRODES = Electrodes(NAMES, np.concatenate([closest_points(SKIN, PLACES[:10]).points, SKIN.points[7:8]]))
#: Fronts that pass through the heart.
DISTANCE = np.linalg.norm(HEART.points[:, None] - HEART.points[[0, 50, 90, 130, 200]], axis=2)
VM = np.concatenate([100.0 / (1 + np.exp((DISTANCE - front) / 3.0)) for front in (15.0, 30.0, 45.0)], axis=1)


STILL = np.zeros(6)


def leads(system: LeadSystem, pose: np.ndarray = STILL, electrodes: Electrodes = ELECTRODES) -> np.ndarray:
    """Built anew with heart and blood moved."""
    about = center(HEART)
    volume = VolumeConductor(VOLUME.torso, (VOLUME.inner[0], Region(moved(BLOOD, pose, about), 0.6)))
    return (system.operator() @ bem.double_layer(moved(HEART, pose, about), volume, electrodes)).matrix


def off(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm((found - true) @ VM) / np.linalg.norm(true @ VM))


@pytest.fixture(scope="module")
def errors() -> LeadErrors:
    return lead_errors(HEART, VOLUME, ELECTRODES, LeadSystem.wilson(NAMES), moving=("blood",))


def of(errors: LeadErrors, **q: float) -> np.ndarray:
    values = np.zeros(errors.n_errors)
    values[[errors.names.index(name) for name in q]] = list(q.values())
    return values


# -- first order against the truth ------------------------------------------------------------------------------------


def test_names_and_spread(errors):
    assert errors.names[:6] == POSE
    assert errors.names[6:10] == ("RA a (mm)", "RA b (mm)", "LA a (mm)", "LA b (mm)")
    assert (errors.n_errors, errors.changes.shape) == (28, (28, 11, HEART.n_points))
    assert errors.leads.out_sites == NAMES
    assert errors.leads.reference == "wilson"
    other = lead_errors(
        HEART, VOLUME, ELECTRODES, LeadSystem.wilson(NAMES), moving=["blood"], pose_deg=0, pose_mm=2, electrode_mm=3
    )
    assert other.names == (*POSE[:3], *errors.names[6:])
    np.testing.assert_array_equal(other.spread, [2.0] * 3 + [3.0] * 22)


@pytest.mark.parametrize("k", range(6))
def test_first_order_predicts_a_heart_that_moved(errors, k):
    system = LeadSystem.wilson(NAMES)
    for size in (3.0, -3.0):
        true = leads(system, size * np.eye(6)[k])
        before, after = off(errors.leads.matrix, true), off(errors.at(of(errors, **{POSE[k]: size})).matrix, true)
        assert before > 0.008
        assert after < 0.12 * before
        assert after < 0.011


def test_first_order_predicts_shifts_and_turns_together(errors):
    q = np.zeros(errors.n_errors)
    q[:6] = [2.0, -3.0, 1.0, 3.0, 2.0, -4.0]
    true = leads(LeadSystem.wilson(NAMES), q[:6])
    assert off(errors.at(q).matrix, true) < 0.12 * off(errors.leads.matrix, true)


def test_part_of_the_errors_changes_the_leads_as_all_of_them_do(errors):
    names = ("heart z (mm)", "LA b (mm)")
    part = errors.select(names[::-1])
    assert part.names == names
    every = errors.at(of(errors, **{names[0]: 2.0, names[1]: -1.5})).matrix
    np.testing.assert_allclose(part.at(np.array([2.0, -1.5])).matrix, every, atol=1e-15)
    np.testing.assert_array_equal(part.spread, [5.0, 5.0])


def slid(qa: np.ndarray, qb: np.ndarray) -> Electrodes:
    """Electrodes moved along the skin by amounts along a and b, mm."""
    near = along_skin(SKIN, ELECTRODES.positions, 0.5)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (near[0] - near[1], near[2] - near[3]))
    places = ELECTRODES.positions + qa[:, None] * a + qb[:, None] * b
    return replace(ELECTRODES, positions=closest_points(SKIN, places).points)


def test_first_order_predicts_electrodes_that_slid(errors):
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(11, 2))
    ways *= 5.0 / np.linalg.norm(ways, axis=1, keepdims=True)
    q = np.concatenate([np.zeros(6), ways.reshape(-1)])
    true = leads(LeadSystem.wilson(NAMES), electrodes=slid(*ways.T))
    assert off(errors.leads.matrix, true) > 0.03
    assert off(errors.at(q).matrix, true) < 0.3 * off(errors.leads.matrix, true)


def test_an_electrode_of_the_reference_changes_all_leads(errors):
    """RA off by 5 mm moves Wilson's terminal: V6 changes by minus a third of what RA itself does."""
    q = of(errors, **{"RA b (mm)": 5.0})
    change = errors.at(q).matrix - errors.leads.matrix
    np.testing.assert_allclose(change[8], -change[0] / 2, atol=1e-12 * np.abs(change).max())  # RA: 1 - 1/3
    slide = np.zeros(11)
    slide[0] = 5.0
    true = leads(LeadSystem.wilson(NAMES), electrodes=slid(np.zeros(11), slide))
    assert off(errors.leads.matrix + change, true) < 0.4 * off(errors.leads.matrix, true)


def test_twelve_leads():
    system = LeadSystem.twelve_lead()
    found = lead_errors(HEART, VOLUME, ELECTRODES, system, moving=("blood",), pose_mm=2.0, pose_deg=0.0)
    true = leads(system, np.array([0.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    q = of(found, **{"heart y (mm)": 3.0})
    assert off(found.at(q).matrix, true) < 0.12 * off(found.leads.matrix, true)
    assert (found.leads.out_sites, found.leads.out_quantity) == (system.names, "ecg")
    lead = dict(zip(system.names, np.moveaxis(found.changes, 1, 0), strict=True))
    np.testing.assert_allclose(lead["II"], lead["I"] + lead["III"], atol=1e-12)  # whatever is off
    assert found.names[3:5] == ("RA a (mm)", "RA b (mm)")
    assert "E1 a (mm)" not in found.names  # no lead needs it


@pytest.mark.parametrize("system", [LeadSystem.average(NAMES), lead_system("V1", ("V2", "E1"))], ids=["average", "V1"])
def test_other_references(system):
    found = lead_errors(HEART, VOLUME, ELECTRODES, system, pose_mm=0.0, pose_deg=0.0)
    np.testing.assert_allclose(found.leads.matrix, leads(system), atol=1e-9 * np.abs(found.leads.matrix).max())
    change = found.changes[found.names.index("V1 a (mm)")]
    rows = {name: change[i] for i, name in enumerate(system.names)}
    if system.reference == "average":
        np.testing.assert_allclose(change.sum(axis=0), 0.0, atol=1e-15)
        np.testing.assert_allclose(rows["V1"], -10 * rows["V2"], rtol=1e-9)
    else:
        np.testing.assert_array_equal(rows["V2"], rows["E1"])
        assert np.abs(rows["V2"]).max() > 0


# -- the same numbers in different forms ------------------------------------------------------------------------------


def test_all_forms_agree(errors):
    rng = np.random.default_rng(1)
    q = rng.normal(size=errors.n_errors)
    expected = errors.leads.matrix + np.einsum("j,jln->ln", q, errors.changes)
    np.testing.assert_allclose(errors.at(q).matrix, expected, rtol=1e-12)
    applied = errors.apply(VM)
    np.testing.assert_allclose(applied.leads, errors.leads.matrix @ VM, rtol=1e-12)
    np.testing.assert_allclose(applied.changes, errors.changes @ VM, atol=1e-10 * np.abs(applied.changes).max())
    one = errors.apply(VM[:, 0])
    np.testing.assert_allclose(one.changes, applied.changes[..., 0], atol=1e-10 * np.abs(applied.changes).max())
    assert errors.rows.n_out == 11 + 6 * 11 + 22
    assert errors.rows.in_sites == HEART.node_names


def test_a_uniform_potential_stays_invisible(errors):
    total = np.abs(errors.changes).sum(axis=2)
    assert np.abs(errors.changes.sum(axis=2)).max() < 1e-6 * total.max()


def test_nothing_is_uncertain():
    exact = lead_errors(HEART, VOLUME, ELECTRODES, LeadSystem.wilson(NAMES), pose_mm=0, pose_deg=0, electrode_mm=0)
    assert exact.n_errors == 0
    np.testing.assert_array_equal(exact.at(np.zeros(0)).matrix, exact.leads.matrix)
    assert exact.apply(VM).changes.shape == (0, 11, VM.shape[1])


# -- geometry ---------------------------------------------------------------------------------------------------------


def test_moved_turns_right_handed_about_the_center():
    about, aside = np.array([1.0, 2.0, 3.0]), np.array([6.0, 2.0, 3.0])
    ball = sphere(1.0, subdivisions=0, center=tuple(aside))
    turned = moved(ball, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 90.0]), about)
    np.testing.assert_allclose(turned.points.mean(axis=0), [1.0, 7.0, 3.0], atol=1e-12)
    shift = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(moved(ball, np.append(shift, [0, 0, 0]), about).points, ball.points + shift, atol=1e-12)
    np.testing.assert_allclose(center(ball), aside, atol=1e-12)
    boxes = box((2.0, 2.0, 2.0), segments=1), box((2.0, 2.0, 2.0), segments=4, center=(10.0, 0.0, 0.0))
    np.testing.assert_allclose(center(joined(boxes)), [5.0, 0.0, 0.0], atol=1e-12)  # by area, not by nodes


def test_electrodes_slide_on_the_skin_around_and_along():
    ends = along_skin(SKIN, ELECTRODES.positions, 2.0)
    assert closest_points(SKIN, ends.reshape(-1, 3)).distance.max() < 1e-9
    a, b = ends[0] - ends[1], ends[2] - ends[3]
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 4.0, rtol=0.05)
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), 4.0, rtol=0.05)
    assert np.abs((a * b).sum(axis=1)).max() < 0.15 * 16
    assert (np.abs(a[:, 2]) < 0.15 * 4).mean() > 0.7  # around the longest axis, z
    lid = along_skin(box((100.0, 120.0, 200.0)), np.array([[5.0, 10.0, 100.0]]), 2.0)  # looks along the longest axis
    np.testing.assert_allclose(np.abs(np.cross(lid[0] - lid[1], lid[2] - lid[3])), [[0.0, 0.0, 16.0]], atol=1e-9)


def test_a_heart_that_would_meet_what_stays_moves_the_other_way():
    """Blood that stays is 0.7 mm from one side of the cavity: a step of 0.5 mm along x would bring it too near."""
    system, still = LeadSystem.wilson(NAMES), Region(blood(0.9, -1.8), 0.6)
    volume = VolumeConductor(VOLUME.torso, (still,))
    there = HEART.with_points(HEART.points + np.array([0.5, 0.0, 0.0]))
    with pytest.raises(GeometryError, match="too near to blood"):
        bem.double_layer(there, volume, ELECTRODES)
    found = lead_errors(HEART, volume, ELECTRODES, system, pose_deg=0, electrode_mm=0)
    back = HEART.with_points(HEART.points - np.array([0.5, 0.0, 0.0]))
    expected = (system.operator() @ bem.double_layer(back, volume, ELECTRODES)).matrix - found.leads.matrix
    np.testing.assert_allclose(found.whole[0], expected / -0.5, atol=1e-9 * np.abs(found.leads.matrix).max())


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pose_mm": -1.0}, r"pose_mm: an expected error must be 0 \(exact\) to 50 mm"),
        ({"pose_deg": 90.0}, r"pose_deg: an expected error must be 0 \(exact\) to 45 degrees.*got 90"),
        ({"electrode_mm": float("nan")}, "electrode_mm: an expected error"),
        ({"moving": ("bloood",)}, "regions that move with the heart: no site named bloood; there are lung, blood"),
        ({"electrode_mm": 0, "pose_mm": 1}, r"heart: cannot move by 0.1 mm or degrees .*Name all regions that move"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    volume = VolumeConductor(VOLUME.torso, (VOLUME.inner[0], Region(blood(0.975), 0.6)))  # blood fills the cavity
    with pytest.raises(InputError, match=message):
        lead_errors(HEART, volume, ELECTRODES, LeadSystem.wilson(NAMES), **settings)


def test_a_missing_electrode_is_named():
    few = ELECTRODES.select(("V1", "V2", "RA"))
    with pytest.raises(InputError, match="leads of reference 'wilson' need electrodes LA, LL, which are not there"):
        lead_errors(HEART, VOLUME, few, LeadSystem.wilson(("V1",)))


def test_lead_errors_are_checked():
    operator = ForwardOperator(np.eye(2, 3), ("a", "b", "c"), ("I", "II"), "vm", "ecg")
    whole, names = np.zeros((1, 2, 3)), ("heart x (mm)",)
    assert LeadErrors(operator, whole, names, np.ones(1)).n_errors == 1
    with pytest.raises(InputError, match=r"1 names, 2 leads and 3 nodes need .*\(1, 2, 3\).*got \(1, 2, 3\), \(0, 3\)"):
        LeadErrors(operator, whole, names, np.ones(2))
    with pytest.raises(InputError, match="changes must be finite and every spread positive"):
        LeadErrors(operator, whole, names, np.zeros(1))
    with pytest.raises(InputError, match="lead errors must have unique names"):
        LeadErrors(operator, np.zeros((2, 2, 3)), names * 2, np.ones(2))
    with pytest.raises(InputError, match="q must hold 1 numbers"):
        LeadErrors(operator, whole, names, np.ones(1)).at(np.zeros(2))
