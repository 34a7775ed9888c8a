"""Published numbers and closed forms; what docs/concepts/membrane-models.md says of their sources holds here too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ionic_cases import planar_speed

from einthoven.ionic.action_potential import ActionPotential, action_potentials, measure
from einthoven.ionic.cell import pace, recorded, start
from einthoven.ionic.registry import by_label, model
from einthoven.ionic.ten_tusscher_panfilov_2006 import TenTusscherPanfilov2006


def cells(*names: str, **change: float):
    """One cell of every kind."""
    return by_label(np.array(names), {n: model(n, **change) for n in names})


def test_bueno_orovio_durations():
    """APD90 at 1 Hz of Table 2: 269, 260, 410 ms, in tissue; a single cell and its own dV/dt differ by some ms."""
    names = [f"bueno-orovio-2008-{kind}" for kind in ("epi", "endo", "mid")]
    found = [ap.apd(90.0) for ap in action_potentials(pace(cells(*names), n_beats=3, dt=0.02))]
    np.testing.assert_allclose(found, [269.0, 260.0, 410.0], rtol=0.02)


def test_ten_tusscher_cells_against_an_independent_program():
    """Finitewave's equations, its two slips mended, in plain Python: 307.51 and 276.41 ms, 371.6 V/s (dt 0.05 ms).

    It takes the exact solution of the buffered concentrations over a step, we forward Euler. Midmyocardial cells last
    longer, the notch of endocardial ones is small (2004, Fig. 10).
    """
    names = [f"ten-tusscher-panfilov-2006-{kind}" for kind in ("epi", "mid", "endo")]
    membrane = cells(*names, **TenTusscherPanfilov2006.authors_f2())
    epi, mid, endo = action_potentials(pace(membrane, n_beats=2, keep=2, dt=0.05))
    assert epi.apd(90.0) == pytest.approx(307.51, abs=0.1)
    assert epi.apd(50.0) == pytest.approx(276.41, abs=0.1)
    assert epi.upstroke_velocity == pytest.approx(371.615, rel=1e-4)
    assert 60 < mid.apd(90.0) - epi.apd(90.0) < 130
    assert abs(endo.apd(90.0) - epi.apd(90.0)) < 5
    assert notch(epi) > 5
    assert notch(endo) < 0.5 * notch(epi)


def notch(ap: ActionPotential) -> float:
    """Depth of the notch between spike and dome, mV."""
    peak = int(np.argmax(ap.vm))
    after = ap.vm[peak : peak + round(60.0 / (ap.time[1] - ap.time[0]))]
    return float(after[np.argmin(after[: len(after) // 2]) :].max() - after[: len(after) // 2].min())


def test_ten_tusscher_conduction_velocity():
    """2004, Methods: D = 0.154 mm2/ms gives 0.70 mm/ms at dx 0.2 mm and dt 0.02 ms, 3.7 % more at dt 0.0025 ms.

    The fast sodium current is the same in 2006.
    """
    fine = planar_speed(model("ten-tusscher-panfilov-2006-epi"), 0.154, dx=0.2, dt=0.005, duration=32.0)
    assert fine == pytest.approx(0.70 * 1.037, rel=0.02)


def test_courtemanche_threshold_and_duration():
    """2 nA for 2 ms are twice the diastolic threshold (Fig. 14): 10 pA/pF; 0.5 ms need 46 pA/pF (Myokit's model file).

    Duration and upstroke: Finitewave's equations in plain Python give 305.468 ms and 215.853 V/s on the first beat.
    """
    membrane, dt = model("courtemanche-ramirez-nattel-1998"), 0.02
    strength, duration = np.array([20.0, 12.0, 9.0, 49.0, 41.0]), np.array([2.0, 2.0, 2.0, 0.5, 0.5])
    on = np.arange(round(500 / dt))[:, None] < np.rint(duration / dt)
    with jax.enable_x64(True):
        v, states = jax.tree.map(lambda x: jnp.broadcast_to(x, strength.shape), start(membrane))
        _, trace = recorded(membrane, v, states, jnp.asarray(np.where(on, strength, 0.0)), np.float64(dt))
    vm = np.asarray(trace).T
    fired = vm[:, round(3.0 / dt) :].max(axis=1) > -20.0  # the stimulus is over: an action potential or nothing
    np.testing.assert_array_equal(fired, [True, True, False, True, False])
    ap = measure(np.arange(vm.shape[1]) * dt, vm[0])
    assert ap.apd(90.0) == pytest.approx(305.468, abs=0.01)
    assert ap.upstroke_velocity == pytest.approx(215.853, rel=1e-5)


def test_mitchell_schaeffer_duration_tends_to_its_closed_form():
    """tau_close log(tau_out / (4 tau_in)), with an error that falls as the gate's slowness to the power 2/3.

    The plateau ends at a saddle-node, which is passed with that delay.
    """
    errors = []
    for slow in (4.0, 16.0, 64.0):
        membrane = model("mitchell-schaeffer-2003", tau_close=150.0 * slow, tau_open=120.0 * slow)
        paced = pace(membrane, cycle_length=400.0 * slow, dt=0.05)
        errors.append(measure(*paced.beat()).apd(90.0) / (150.0 * slow) - np.log(6.0 / (4 * 0.3)))
    rates = np.log(np.divide(errors[:-1], errors[1:])) / np.log(4.0)
    np.testing.assert_allclose(rates, 2 / 3, atol=0.03)


def test_aliev_panfilov_front_is_nagumos():
    """Without recovery the front moves at sqrt(D k / (2 T)) (1 - 2 a); recovery slows it by less than a percent."""
    exact = np.sqrt(0.1 * 8.0 / (2 * 12.9)) * (1 - 2 * 0.15)
    speed = planar_speed(model("aliev-panfilov-1996"), 0.1, dx=0.1, dt=0.02, duration=160.0)
    assert 0.99 * exact < speed < exact


def test_atrial_durations_of_the_prototypes():
    """Our own earlier programs, on a cable: 243 ms (MLR-I), 210 ms (left atrium)."""
    (right,) = action_potentials(pace(model("fenton-karma-1998-atrial"), n_beats=2, dt=0.02))
    (left,) = action_potentials(pace(model("cherry-ehrlich-nattel-fenton-2007"), n_beats=2, dt=0.02))
    assert right.apd(90.0) == pytest.approx(243.0, rel=0.02)
    assert left.apd(90.0) == pytest.approx(210.0, rel=0.03)
