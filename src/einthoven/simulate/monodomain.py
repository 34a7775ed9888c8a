"""The `Monodomain` noun: tissue and membrane, and how their equation is stepped."""

from dataclasses import dataclass, field
from typing import Literal

from einthoven.ionic import IonicModel
from einthoven.simulate.schemes import Godunov, Scheme
from einthoven.tissue import Tissue


@dataclass(frozen=True, eq=False)
class Monodomain:
    """dv/dt = div(D grad v) - i_ion / c_m + stimulus, no flux through any border.

    Parameters
    ----------
    tissue
        Where cells are and how they are coupled.
    model
        The membrane; parameters that are arrays have one value per conducting node of the tissue.
    scheme
        How time is stepped.
    dtype
        Of the state: ``"float64"`` or ``"float32"``.
    """

    tissue: Tissue
    model: IonicModel
    scheme: Scheme = field(default_factory=Godunov)
    dtype: Literal["float64", "float32"] = "float64"
