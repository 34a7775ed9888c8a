"""Leads of the Dalhousie torso: combinations of its 352 nodes.

Node numbers are those of the readme of the PhysioNet/CinC Challenge 2007 (J. Warren, 2006), counted from 1.
"""

from collections.abc import Mapping

import numpy as np

from einthoven.core import LeadSystem
from einthoven.core.leads import FRANK_ELECTRODES, TWELVE_LEAD_ELECTRODES

#: Nodes of the torso.
N_NODES = 352

_LL = {343: 3 / 5, 344: 2 / 5}
#: Electrodes of the 12-lead ECG as combinations of nodes (from 1); limbs in the Mason-Likar places.
TWELVE_LEAD_NODES: Mapping[str, Mapping[int, float]] = {
    "RA": {60: 1 / 2, 101: 1 / 2},
    "LA": {50: 1 / 2, 90: 1 / 2},
    "LL": _LL,
    "V1": {169: 1.0},
    "V2": {171: 1.0},
    "V3": {192: 1 / 2, 193: 1 / 2},
    "V4": {216: 1.0},
    "V5": {217: 1 / 3, 218: 2 / 3},
    "V6": {219: 1.0},
}
#: Electrodes of the Frank system as combinations of nodes (from 1). The readme prints node 1165 for I, of a torso
#: with 352; 165 is its neighbor on the right side and is taken.
FRANK_NODES: Mapping[str, Mapping[int, float]] = {
    "I": {165: 1 / 2, 207: 1 / 2},
    "E": {190: 1.0},
    "C": {194: 1.0},
    "A": {198: 1.0},
    "M": {182: 1 / 4, 202: 1 / 4, 203: 1 / 4, 223: 1 / 4},
    "F": _LL,
    "H": {17: 1.0},
}


def dalhousie_electrodes(*, skin: str = "torso") -> LeadSystem:
    """RA, LA, LL, V1..V6 as weighted means of nodes of the torso.

    Parameters
    ----------
    skin
        Name of the torso, the first part of its node names.
    """
    return _means(TWELVE_LEAD_NODES, TWELVE_LEAD_ELECTRODES, skin)


def dalhousie_twelve_lead(*, skin: str = "torso") -> LeadSystem:
    """The 12-lead ECG (Mason-Likar limbs) over nodes of the torso; every row sums to 0."""
    return _composed(LeadSystem.twelve_lead(), dalhousie_electrodes(skin=skin))


def dalhousie_frank(*, skin: str = "torso") -> LeadSystem:
    """Frank's X, Y, Z over nodes of the torso; every row sums to 0."""
    return _composed(LeadSystem.frank(), _means(FRANK_NODES, FRANK_ELECTRODES, skin))


def _means(table: Mapping[str, Mapping[int, float]], names: tuple[str, ...], skin: str) -> LeadSystem:
    weights = np.zeros((len(names), N_NODES))
    for row, name in enumerate(names):
        for node, weight in table[name].items():
            weights[row, node - 1] = weight
    return LeadSystem(names, tuple(f"{skin}:{i}" for i in range(N_NODES)), weights, "absolute")


def _composed(leads: LeadSystem, means: LeadSystem) -> LeadSystem:
    return LeadSystem(leads.names, means.electrodes, leads.weights @ means.weights, leads.reference, leads.quantity)
