"""Excitable tissue: grids and surfaces, how well they conduct, fibers, fibrosis, scars."""

from einthoven.tissue.conductivity import conductivity, diffusivity
from einthoven.tissue.coupling import Coupling, Graph, Stencil
from einthoven.tissue.fibrosis import Compact, Diffuse, Interstitial, Patchy, Texture, ThresholdedField
from einthoven.tissue.grid import Grid
from einthoven.tissue.remodelling import GapJunctionRemodelling, Scar
from einthoven.tissue.tissue import Tissue

__all__ = [
    "Compact",
    "Coupling",
    "Diffuse",
    "GapJunctionRemodelling",
    "Graph",
    "Grid",
    "Interstitial",
    "Patchy",
    "Scar",
    "Stencil",
    "Texture",
    "ThresholdedField",
    "Tissue",
    "conductivity",
    "diffusivity",
]
