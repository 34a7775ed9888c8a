"""Simulation of electrical waves in tissue."""

from einthoven.simulate.keep import Activation, Ecg, Keep, Movie, Probes
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.run import Simulation, simulate
from einthoven.simulate.schemes import Explicit, Godunov, SemiImplicit, Strang
from einthoven.simulate.singularities import PhaseSingularities

__all__ = [
    "Activation",
    "Ecg",
    "Explicit",
    "Godunov",
    "Keep",
    "Monodomain",
    "Movie",
    "PhaseSingularities",
    "Probes",
    "SemiImplicit",
    "Simulation",
    "Strang",
    "simulate",
]
