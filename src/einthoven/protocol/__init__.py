"""Where and when tissue is stimulated: regions, stimuli, pacing protocols."""

from einthoven.protocol.pacing import burst, cross_field, line, multi_site, point, s1_s2
from einthoven.protocol.reach import check_connected
from einthoven.protocol.regions import Ball, Box, Line, Nearest, Nodes, Region, Together, Whole
from einthoven.protocol.stimuli import Protocol, Stimulus

__all__ = [
    "Ball",
    "Box",
    "Line",
    "Nearest",
    "Nodes",
    "Protocol",
    "Region",
    "Stimulus",
    "Together",
    "Whole",
    "burst",
    "check_connected",
    "cross_field",
    "line",
    "multi_site",
    "point",
    "s1_s2",
]
