"""The ECG of an activation map: exact sums, smoothing, derivatives, and the monodomain equation beside it."""

import numpy as np
import pytest

from einthoven.core import Electrodes, InputError
from einthoven.eikonal import Eikonal
from einthoven.forward.lead_field import lead_field
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.protocol import Ball, Protocol, Stimulus
from einthoven.simulate import Activation, Ecg, Monodomain, simulate
from einthoven.simulate.action_potentials import ActionPotentials, planar_action_potentials
from einthoven.simulate.planar import planar_speed
from einthoven.simulate.reaction_eikonal import BIN, SPLIT, ReactionEikonal, smoothed
from einthoven.tissue import Grid, Tissue

TIMES = np.arange(0.0, 401.0, 2.0)


def tau_close(durations):
    """As the phantom's cells: durations (ms) from -40 mV up to -70 mV down."""
    return MitchellSchaeffer2003(tau_in=0.4, tau_out=8.0, tau_close=0.5753 * durations - 20.25)


def made_up(n_classes: int = 3) -> ActionPotentials:
    """Smooth action potentials that nobody measured, from 200 ms in steps of 40 ms."""
    times = np.arange(-10.0, 500.0, BIN)
    durations = 200.0 + 40.0 * np.arange(n_classes)
    up = 1 / (1 + np.exp(-times / 1.5))
    down = 1 / (1 + np.exp((times[None] - durations[:, None]) / 12))
    return ActionPotentials(times, -80 + 100 * up * down, durations)


@pytest.fixture(scope="module")
def sheet() -> Tissue:
    mask = np.ones((30, 24), dtype=bool)
    mask[10:14, 8:20] = False
    return Tissue.isotropic(Grid((30, 24), 1.0), 0.2, mask, thickness=3.0)


@pytest.fixture(scope="module")
def leads(sheet):
    places = np.array([[15.0, 12.0, 20.0], [-10.0, 5.0, 10.0], [40.0, 30.0, 15.0]])
    return lead_field(sheet, Electrodes(("a", "b", "c"), places))


@pytest.fixture(scope="module")
def durations(sheet):
    return 205.0 + 70.0 * sheet.coordinates[:, 0] / 29.0


def direct(tissue, leads, potentials, activation, durations, tau):
    """The defining sum, node by node."""
    smooth = smoothed(tissue, leads.matrix, tau) if tau else leads.matrix
    step = potentials.durations[1] - potentials.durations[0]
    place = (durations - potentials.durations[0]) / step
    low = np.minimum(place.astype(int), len(potentials.durations) - 2)
    typical = len(potentials.durations) // 2
    total = np.zeros((leads.n_out, len(TIMES)))
    for k in range(tissue.n_nodes):
        after = TIMES - activation[k]
        all_classes = potentials.at(after)
        held = potentials.at(np.minimum(after, SPLIT))[typical]
        share = place[k] - low[k]
        whole = (1 - share) * all_classes[low[k]] + share * all_classes[low[k] + 1]
        total += leads.matrix[:, k : k + 1] * held + smooth[:, k : k + 1] * (whole - held)
    return total


@pytest.mark.parametrize(("tau", "first"), [(0.0, 3), (30.0, 3), (0.0, 600)])
def test_bins_sum_what_the_definition_sums(sheet, leads, durations, tau, first):
    rng = np.random.default_rng(1)
    activation = BIN * rng.integers(first, first + 117, sheet.n_nodes)  # at the bins themselves nothing is interpolated
    model = ReactionEikonal(sheet, leads, made_up(), TIMES, durations, tau)
    exact = direct(sheet, leads, made_up(), activation, durations, tau)
    assert np.abs(model.ecg(activation).values - exact).max() < 1e-10 * np.abs(exact).max()


def test_between_bins_the_error_is_that_of_linear_interpolation(sheet, leads, durations):
    rng = np.random.default_rng(2)
    activation = rng.uniform(0.0, 60.0, sheet.n_nodes)
    model = ReactionEikonal(sheet, leads, made_up(), TIMES, durations, 0.0)
    exact = direct(sheet, leads, made_up(), activation, durations, 0.0)
    # h^2 / 8 max|U''| = 0.25 / 8 * 100 / 1.5^2 * 0.096 mV per node; signs differ, so far less for all together
    assert 0 < np.abs(model.ecg(activation).values - exact).max() < 0.01 * np.abs(exact).max()


def test_times_before_and_after_the_ecg_are_summed_too(sheet, leads, durations):
    activation = np.linspace(-40.0, 450.0, sheet.n_nodes)
    model = ReactionEikonal(sheet, leads, made_up(), TIMES, durations, 0.0)
    exact = direct(sheet, leads, made_up(), BIN * np.round(activation / BIN), durations, 0.0)
    found = model.ecg(BIN * np.round(activation / BIN)).values
    assert np.abs(found - exact).max() < 1e-10 * np.abs(exact).max()


def test_nodes_that_are_never_activated_stay_at_rest(sheet, leads, durations):
    activation = BIN * np.arange(sheet.n_nodes) % 60
    late = np.where(np.arange(sheet.n_nodes) % 3 == 0, np.nan, activation)
    model = ReactionEikonal(sheet, leads, made_up(), TIMES, durations, 20.0)
    never = model.ecg(np.where(np.isnan(late), 1e4, activation)).values  # activated long after the end
    assert np.allclose(model.ecg(late).values, never, atol=1e-10 * np.abs(never).max(), rtol=0)
    assert (model.pull_back(late, np.ones((3, len(TIMES))))[np.isnan(late)] == 0).all()


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("tau", [0.0, 30.0])
def test_pull_back_agrees_with_differences(sheet, leads, durations, n_classes, tau):
    rng = np.random.default_rng(3)
    activation = rng.uniform(0.0, 60.0, sheet.n_nodes)
    activation = BIN * (np.floor(activation / BIN) + rng.uniform(0.1, 0.9, sheet.n_nodes))  # kinks are at the bins
    model = ReactionEikonal(sheet, leads, made_up(n_classes), TIMES, durations, tau)
    weights, way = rng.normal(size=(3, len(TIMES))), rng.normal(size=sheet.n_nodes)
    step = 1e-4
    values = [(weights * model.ecg(activation + s * step * way).values).sum() for s in (1, -1)]
    expected = (values[0] - values[1]) / (2 * step)
    assert model.pull_back(activation, weights) @ way == pytest.approx(expected, rel=1e-6)
    forward = model.push_forward(activation, np.stack([way, 2 * way]))
    assert (weights * forward[0]).sum() == pytest.approx(expected, rel=1e-6)
    assert np.allclose(forward[1], 2 * forward[0], rtol=1e-12)


def test_smoothing_is_the_squared_inverse_and_keeps_the_sum(sheet, leads):
    matrix = np.eye(sheet.n_nodes) - 15.0 * sheet.coupling.matrix().toarray()
    exact = np.linalg.solve(matrix.T, np.linalg.solve(matrix.T, leads.matrix.T)).T
    found = smoothed(sheet, leads.matrix, 30.0)
    assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()
    rows = np.abs(leads.matrix)  # coupling moves charge and makes none
    assert smoothed(sheet, rows, 30.0).sum(axis=1) == pytest.approx(rows.sum(axis=1), rel=1e-5)


def test_the_ecg_is_that_of_the_monodomain_equation(sheet, leads):
    """Measured: R2 0.9992 with the simulated activation, 0.987 with the eikonal's."""
    membrane = tau_close(np.float64(250.0))
    run = simulate(
        Monodomain(sheet, membrane),
        Protocol((Stimulus(Ball((4.0, 6.0), 2.5), 0.0, 3.0, 50.0),)),
        400.0,
        dt=0.05,
        keep=[Activation(level=-40.0), Ecg(leads, every=2.0)],
    )
    truth, activation = run.recording("ecg").values[:, : len(TIMES)], run.data["activation"].values[0]
    potentials = planar_action_potentials(tau_close, [250.0], diffusivity=0.2, spacing=1.0, dt=0.05)
    model = ReactionEikonal(sheet, leads, potentials, TIMES, tau=20.0)
    assert r2(model.ecg(activation).values, truth) > 0.998
    speed = planar_speed(membrane, 0.2, 1.0, dt=0.05)
    arrival = Eikonal.of(sheet).solve(speed**2, [[4.0, 6.0]]).times
    shift = float(np.mean(activation - arrival))  # a stimulus of some size starts the wave at its rim
    assert abs(shift) < 8.0
    assert r2(model.ecg(arrival + shift).values, truth) > 0.98


def r2(found, truth):
    """Of all leads together."""
    return 1 - ((found - truth) ** 2).sum() / ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum()


def test_planar_action_potentials_have_the_durations_asked_for():
    wanted = np.array([240.0, 270.0, 300.0])
    found = planar_action_potentials(tau_close, wanted, diffusivity=0.2, spacing=1.0, dt=0.05)
    up = [np.interp(-40.0, row[:100], found.times[:100]) for row in found.values]
    down = [np.interp(70.0, -row[200:], found.times[200:]) for row in found.values]
    assert np.abs(up).max() < 0.05  # times run from where the upstroke passes -40 mV
    assert np.abs(np.subtract(down, up) - wanted).max() < 2.0  # planar waves last about as long as single cells


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.arange(0, 10, 0.3)}, "evenly spaced by a multiple of 0.5 ms"),
        ({"times": np.array([0.0])}, "evenly spaced"),
        ({"tau": -1.0}, "tau must be a time in ms, 0 or more; got -1"),
        ({"durations": np.zeros(3)}, "durations must be a number or one per node"),
        ({"durations": 100.0}, "durations must lie between 200 and 280 ms"),
        ({"durations": np.nan}, "durations must lie between 200 and 280 ms"),
    ],
)
def test_wrong_settings_are_named(sheet, leads, change, message):
    settings = {"times": TIMES, "durations": 220.0, "tau": 0.0} | change
    with pytest.raises(InputError, match=message):
        ReactionEikonal(sheet, leads, made_up(), **settings)


def test_wrong_input_is_named(sheet, leads):
    model = ReactionEikonal(sheet, leads, made_up(1), TIMES)
    other = Tissue.isotropic(Grid((5, 5), 1.0), 0.2)
    with pytest.raises(InputError, match="leads must take vm at the 25 nodes of the tissue; got vm at 672 sites"):
        ReactionEikonal(other, leads, made_up(1), TIMES)
    with pytest.raises(InputError, match=r"activation must have one time per node \(672\); got \(3,\)"):
        model.ecg(np.zeros(3))
    with pytest.raises(InputError, match="no node that the leads see is ever activated"):
        model.ecg(np.full(672, np.nan))
    with pytest.raises(InputError, match=r"adjoint must have shape \(3, 201\); got \(3, 3\)"):
        model.pull_back(np.zeros(672), np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"changes must have shape \(n_changes, 672\); got \(672,\)"):
        model.push_forward(np.zeros(672), np.zeros(672))
    with pytest.raises(InputError, match="one row per duration and one column per time"):
        ActionPotentials(np.arange(3.0), np.zeros((2, 3)), np.array([1.0]))
    with pytest.raises(InputError, match="evenly spaced times that begin before activation"):
        ActionPotentials(np.arange(3.0) + 1, np.zeros((1, 3)), np.array([1.0]))
    with pytest.raises(InputError, match="increase in even steps"):
        ActionPotentials(np.arange(3.0), np.zeros((3, 3)), np.array([1.0, 2.0, 4.0]))
    with pytest.raises(InputError, match=r"some are not over after 150 ms\. Give a greater length"):
        planar_action_potentials(tau_close, [250.0], diffusivity=0.2, spacing=1.0, dt=0.05, length=150.0)
    with pytest.raises(InputError, match=r"no wave propagates at D = 0\.2 mm2/ms and 4 mm"):
        planar_action_potentials(tau_close, [250.0], diffusivity=0.2, spacing=4.0, dt=0.05, length=150.0)
