"""einthoven: the heart's electric field, both ways."""

from einthoven.core import (
    Case,
    Electrodes,
    ForwardOperator,
    InputError,
    LeadSystem,
    Reconstruction,
    Recording,
    Region,
    Source,
    Surface,
    Tetrahedra,
    VolumeConductor,
)

__version__ = "0.1.0"

__all__ = [
    "Case",
    "Electrodes",
    "ForwardOperator",
    "InputError",
    "LeadSystem",
    "Reconstruction",
    "Recording",
    "Region",
    "Source",
    "Surface",
    "Tetrahedra",
    "VolumeConductor",
    "__version__",
]
