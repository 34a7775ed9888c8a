"""Planar waves: an exact front, the scaling law, the packaged table, the phantom's own speeds, errors."""

import numpy as np
import pytest
from simulate_verification import Nagumo

from einthoven.core import InputError
from einthoven.eikonal.conduction import Conduction
from einthoven.ionic.mitchell_schaeffer_2003 import MitchellSchaeffer2003
from einthoven.ionic.registry import model
from einthoven.protocol import Box, Protocol, Stimulus
from einthoven.simulate import Activation, Godunov, Monodomain, Strang, simulate
from einthoven.simulate.planar import Launch, planar_conduction, planar_kappas, planar_speed
from einthoven.tissue import Grid, Tissue
from einthoven.verify import convergence, nagumo

MS = "mitchell-schaeffer-2003"
PHANTOM = MitchellSchaeffer2003(tau_in=0.4, tau_out=8.0, tau_close=0.5753 * 305.0 - 20.25)


def test_the_limit_is_the_exact_speed_of_a_front_and_errors_are_of_order_two():
    # a membrane whose unit is no millivolt: stimulus and level are in its own
    launch = Launch(amplitude=1.0, level=0.5)
    exact = 1.0 / nagumo.speed(diffusivity=1.0, rate=1.0, threshold=0.25) ** 2  # 8 ms
    zetas = (0.5, 1.0, 2.0)
    found = planar_conduction(Nagumo(), zetas, name="nagumo", dt=0.02, launch=launch)
    errors = found.kappas[1:] / exact - 1
    # errors in dt are 1e-5; the next term in zeta is of order four: 0.06^2 at zeta = 1
    assert convergence.observed_orders(zetas[::-1], errors[::-1])[-1] == pytest.approx(2, abs=0.1)
    assert found.kappas[0] == pytest.approx(exact, rel=3e-4)
    assert errors[0] > 3e-3  # so that the limit is more than the finest value


def test_kappa_depends_on_spacing_over_root_diffusivity_alone():
    cell = model(MS)
    fine = 0.1 / planar_speed(cell, 0.1, 0.3) ** 2
    assert 0.4 / planar_speed(cell, 0.4, 0.6) ** 2 == pytest.approx(fine, rel=1e-9)
    assert 0.1 / planar_speed(cell, 0.1, 0.6) ** 2 > 1.03 * fine


@pytest.mark.parametrize("name", [MS, "fenton-karma-1998-mlr-i"])
def test_entries_of_the_packaged_table_are_reproduced(name):
    table = Conduction.of(name)
    rows = [np.flatnonzero(table.zetas == zeta)[0] for zeta in (0.5, 2.0, 4.0)]
    # at the table's step: six digits are kept of it. The strands are others than those it was made on.
    again = planar_kappas(model(name), table.zetas[rows], dt=0.005)
    assert again == pytest.approx(table.kappas[rows], rel=2e-5)
    # at the default step the error is of second order in it: at most 1e-4 was measured
    assert planar_kappas(model(name), table.zetas[rows]) == pytest.approx(table.kappas[rows], rel=3e-4)


@pytest.mark.parametrize("scheme", [Godunov(), Strang()], ids=["godunov", "strang"])
def test_a_simulated_strand_runs_at_that_speed(scheme):
    strand = Tissue.isotropic(Grid((160,), 0.25), 0.1)
    pulse = Stimulus(Box((0, 0, 0), (2, 0, 0)), 0.0, 2.0, 60.0)
    system = Monodomain(strand, model(MS), scheme)
    times = simulate(system, Protocol((pulse,)), 130.0, dt=0.02, keep=[Activation()]).data["activation"].values[0]
    speed = planar_speed(model(MS), 0.1, 0.25, dt=0.02, launch=Launch(scheme=scheme))
    assert speed == pytest.approx(40 * 0.25 / (times[130] - times[90]), rel=1e-4)


@pytest.mark.parametrize(("diffusivity", "expected"), [(0.2, 0.393), (3.0, 1.61)])
def test_the_phantoms_membrane_runs_as_its_beat_says(diffusivity, expected):
    # `einthoven.studies.phantom_beat.VolumeBeat` quotes these for its own grid, step and scheme, to three digits
    speed = planar_speed(PHANTOM, diffusivity, 1.0, dt=0.05, launch=Launch(scheme=Godunov()))
    assert speed == pytest.approx(expected, rel=2e-3)


def test_a_table_of_ones_own_membrane_serves_its_grid():
    found = planar_conduction(PHANTOM, (0.25, 0.5, 1.0, 2.0, 3.0), name="phantom")
    # between two measured zetas, 0.577 and 2.236
    for diffusivity in (0.2, 3.0):
        assert float(found.speed(diffusivity, 1.0)) == pytest.approx(planar_speed(PHANTOM, diffusivity, 1.0), rel=1e-3)


def test_a_table_ends_where_waves_stop():
    found = planar_conduction(model("bueno-orovio-2008-epi"), (0.5, 1.0, 3.0, 6.0, 8.0))
    assert found.zetas.tolist() == [0.0, 0.5, 1.0, 3.0]
    assert found.name == "BuenoOrovio2008"
    with pytest.raises(InputError, match="up to spacing / sqrt\\(D\\) = 3 sqrt"):
        found.kappa(0.1, 6.0 * np.sqrt(0.1))


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_grid_too_coarse_and_a_stimulus_too_weak_are_named():
    with pytest.raises(InputError, match=r"no wave of BuenoOrovio2008 runs .* = 6\.32 sqrt\(ms\)\). Take a finer"):
        planar_speed(model("bueno-orovio-2008-epi"), 0.1, 2.0)
    with pytest.raises(InputError, match="a stronger stimulus than 1 mV/ms"):
        planar_speed(model(MS), 0.1, 0.25, launch=Launch(amplitude=1.0))
    with pytest.raises(InputError, match=r"no steady wave of .* runs at spacing / sqrt.* = 1, 2 sqrt"):
        planar_conduction(model(MS), (1.0, 2.0), launch=Launch(amplitude=1.0))


def test_an_unstable_step_is_refused_with_the_limit():
    with pytest.raises(InputError, match=r"dt must be at most 0\.3125 ms, where explicit diffusion stays stable"):
        planar_speed(model(MS), 0.1, 0.25, dt=0.4, launch=Launch(scheme=Godunov()))


def test_a_potential_out_of_bounds_is_told():
    with pytest.raises(InputError, match=r"left all bounds after .* smaller dt than 0.2 ms or a weaker stimulus"):
        planar_speed(model(MS), 0.1, 0.25, dt=0.2, launch=Launch(amplitude=5000.0, duration=20.0))


def test_a_wave_that_is_not_steady_is_refused():
    # on so short a strand the wave still feels the stimulus and the end
    with pytest.raises(InputError, match=r"is not steady: it runs at .* Take a longer strand"):
        planar_speed(model("aliev-panfilov-1996"), 0.1, 0.05, launch=Launch(stimulated=4.0, length=17.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diffusivity": -0.1}, "diffusivity must be a positive number, in mm2/ms; got -0.1"),
        ({"spacing": 0.0}, "spacing must be a positive number, in mm; got 0"),
        ({"launch": Launch(level=-90.0)}, r"level of activation \(-90 mV\) must lie above rest \(-80 mV\)"),
        ({"model": MitchellSchaeffer2003(tau_in=np.full(3, 0.4))}, "tau_in must be one finite number; got shape"),
        ({"model": MitchellSchaeffer2003(tau_in=np.nan)}, "tau_in must be one finite number; got nan"),
    ],
)
def test_wrong_values_are_named(change, message):
    given = {"model": model(MS), "diffusivity": 0.1, "spacing": 0.25} | change
    with pytest.raises(InputError, match=message):
        planar_speed(given.pop("model"), given.pop("diffusivity"), given.pop("spacing"), **given)


def test_wrong_zetas_and_strands_are_named():
    with pytest.raises(InputError, match="zetas must be a list of positive numbers"):
        planar_conduction(model(MS), (1.0, 0.5))
    with pytest.raises(InputError, match=r"smallest zetas \(4 and 4.1 sqrt\(ms\)\) are too coarse to extrapolate"):
        planar_conduction(model("fenton-karma-1998-mlr-i"), (4.0, 4.1))
    with pytest.raises(InputError, match="at least four times as long as its stimulated part"):
        Launch(length=20.0)
