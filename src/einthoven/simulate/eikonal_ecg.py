"""From early sites, onsets and a few speeds to the ECG by the eikonal equation, with the Jacobian of that."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError, Recording
from einthoven.core.arrays import frozen
from einthoven.eikonal import Arrival, Eikonal
from einthoven.simulate.reaction_eikonal import ReactionEikonal


class Beat(NamedTuple):
    """One activation and its ECG.

    Parameters
    ----------
    arrival
        Activation times, and what decided them.
    ecg
        Lead potentials.
    speeds
        Conduction velocity of every layer, mm/ms.
    """

    arrival: Arrival
    ecg: Recording
    speeds: Float[np.ndarray, " n_layers"]


@dataclass(frozen=True, eq=False)
class EikonalEcg:
    """Tissue in layers, each with one conduction velocity, and its leads: V = sum_l c_l^2 share_l.

    Parameters
    ----------
    wave
        Where the wave runs.
    shares
        Shape (n_layers, n_nodes): how much of each node belongs to each layer; columns sum to 1.
    model
        From activation times to the ECG.
    layers
        Names of the layers.

    Raises
    ------
    InputError
        If shapes do not agree, or shares are negative or do not sum to 1.
    """

    wave: Eikonal
    shares: Float[np.ndarray, "..."]
    model: ReactionEikonal
    layers: tuple[str, ...]

    def __post_init__(self):
        shares = np.asarray(self.shares, dtype=np.float64)
        if shares.shape != (len(self.layers), self.wave.n_nodes) or self.model.tissue.n_nodes != self.wave.n_nodes:
            raise InputError(
                f"eikonal ECG: shares must have shape ({len(self.layers)} layers, {self.wave.n_nodes} nodes), and the "
                f"model as many nodes; got {shares.shape} and {self.model.tissue.n_nodes}."
            )
        if not ((shares >= 0).all() and np.abs(shares.sum(axis=0) - 1).max() < 1e-9):
            raise InputError("eikonal ECG: the shares of the layers must be 0 or more and sum to 1 at every node.")
        object.__setattr__(self, "shares", frozen(shares, np.float64))

    def __repr__(self) -> str:
        return f"EikonalEcg({self.wave!r}, layers {', '.join(self.layers)}, {self.model.leads.n_out} leads)"

    def squared_speed(self, speeds: Any) -> Float[np.ndarray, " n_nodes"]:
        """V at the nodes, mm2/ms2.

        Parameters
        ----------
        speeds
            One per layer, mm/ms.
        """
        values = np.asarray(speeds, dtype=np.float64)
        if values.shape != (len(self.layers),) or not ((values > 0) & (values < 10)).all():
            raise InputError(
                f"eikonal ECG: speeds must be positive, in mm/ms (equal to m/s), one for each of "
                f"{', '.join(self.layers)}; got {speeds}."
            )
        return values**2 @ self.shares

    def beat(self, sites: Any, onsets: Any, speeds: Any) -> Beat:
        """Activate from sites (n_sites, d) in mm at onsets (n_sites,) in ms; see `Eikonal.solve`."""
        arrival = self.wave.solve(self.squared_speed(speeds), sites, onsets)
        return Beat(arrival, self.model.ecg(arrival.times), np.asarray(speeds, dtype=np.float64))

    def jacobian(
        self, beat: Beat, mixing: Float[np.ndarray, "..."] | None = None
    ) -> Float[np.ndarray, "n_parameters n_leads n_times"]:
        """Derivatives of the ECG by all coordinates of the sites (mm; site by site), onsets (ms), and log speeds.

        Of combinations of the leads, where `mixing` (n_combinations, n_leads) is given.
        """
        return self.model.push_forward(beat.arrival.times, self.activation_jacobian(beat), mixing)

    def activation_jacobian(self, beat: Beat) -> Float[np.ndarray, "n_parameters n_nodes"]:
        """Derivatives of the activation times by the same."""
        n_sites, d = beat.arrival.seeds.nodes.shape[1], self.wave.dimension
        n = n_sites * (d + 1) + len(self.layers)
        sites, onsets = np.zeros((n, n_sites, d)), np.zeros((n, n_sites))
        sites.reshape(n, -1)[: n_sites * d] = np.eye(n_sites * d)
        onsets[n_sites * d : n_sites * (d + 1)] = np.eye(n_sites)
        v = np.zeros((n, self.wave.n_nodes))
        v[n_sites * (d + 1) :] = 2 * beat.speeds[:, None] ** 2 * self.shares
        return beat.arrival.push_forward(v, sites, onsets)
