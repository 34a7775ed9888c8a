"""The nouns: surfaces, sites, recordings, conductors, operators, cases, solvers; errors."""

from einthoven.core.case import Case, Source
from einthoven.core.conductor import Region, VolumeConductor
from einthoven.core.errors import FileFormatError, GeometryError, InputError
from einthoven.core.leads import LeadSystem, from_twelve_lead
from einthoven.core.operator import ForwardOperator
from einthoven.core.recording import QUANTITIES, Quantity, Recording
from einthoven.core.sites import Electrodes
from einthoven.core.solver import Capabilities, Reconstruction, Solver, WeightCurve, matched_data
from einthoven.core.surface import Surface
from einthoven.core.tetrahedra import Tetrahedra

__all__ = [
    "QUANTITIES",
    "Capabilities",
    "Case",
    "Electrodes",
    "FileFormatError",
    "ForwardOperator",
    "GeometryError",
    "InputError",
    "LeadSystem",
    "Quantity",
    "Reconstruction",
    "Recording",
    "Region",
    "Solver",
    "Source",
    "Surface",
    "Tetrahedra",
    "VolumeConductor",
    "WeightCurve",
    "from_twelve_lead",
    "matched_data",
]
