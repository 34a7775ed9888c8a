"""Semi-implicit diffusion: with pulses and crossings like the explicit one."""

import numpy as np
import pytest

from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.protocol import Ball, Box, Protocol, Stimulus
from einthoven.simulate import Activation, Explicit, Godunov, Monodomain, Movie, Probes, SemiImplicit, Strang, simulate
from einthoven.tissue import Grid, Tissue


@pytest.mark.parametrize(
    "scheme", [Godunov(SemiImplicit(theta=1.0)), Strang(SemiImplicit())], ids=["Godunov", "Strang"]
)
def test_fine_steps_agree_with_the_explicit_engine(scheme):
    """Both tend to the same solution: currents, clamps and crossings included."""
    tissue = Tissue.isotropic(Grid((40, 4), 0.5), 0.5)
    pulses = Protocol(
        (
            Stimulus(Box((-1, -1, -1), (1, 9, 1)), 1.0, 2.0, 60.0),
            Stimulus(Ball((19.5, 0.0, 0.0), 1.0), 10.0, 3.0, 10.0, "clamp"),
        )
    )
    keep = [Activation(), Probes([[8.0, 1.0, 0.0]], every=1.0)]
    runs = [
        simulate(Monodomain(tissue, AlievPanfilov1996(), s), pulses, 40.0, dt=0.02, keep=keep)
        for s in (scheme, Godunov(Explicit()))
    ]
    first, second = (run.data["activation"].values for run in runs)
    assert np.isfinite(second).all()
    np.testing.assert_allclose(first, second, atol=0.3)
    np.testing.assert_allclose(runs[0].data["probes"].values, runs[1].data["probes"].values, atol=1.5)


def test_long_steps_are_allowed_and_repeat():
    """Far above the explicit limit (0.125 ms), bit for bit the same twice."""
    tissue = Tissue.isotropic(Grid((40, 4), 0.5), 0.5)
    system = Monodomain(tissue, AlievPanfilov1996(), Godunov(SemiImplicit(theta=1.0)))
    pulse = Protocol((Stimulus(Box((-1, -1, -1), (1, 9, 1)), 1.0, 2.0, 60.0),))
    runs = [simulate(system, pulse, 100.0, dt=0.5, keep=[Movie(every=5.0), Activation()]) for _ in range(2)]
    assert np.isfinite(runs[0].data["activation"].values).all()
    np.testing.assert_array_equal(runs[0].data["movie"].values, runs[1].data["movie"].values)
