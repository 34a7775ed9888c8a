"""The phantom's ventricles as an eikonal heart: early sites and two speeds in, activation and ECG out, in milliseconds.

The muscle is that of `VolumeBeat`: wall and fast endocardial layer. Speeds are parameters: in a layer a few cells thin
the wave pulls the slow wall along and is slower than a planar wave of its diffusivity, which the eikonal equation does
not know.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from einthoven.core import ForwardOperator, LeadSystem
from einthoven.datasets.phantom import FastLayer, Phantom, ventricular_tissue, wall_point
from einthoven.eikonal import Eikonal
from einthoven.simulate.action_potentials import ActionPotentials, planar_action_potentials
from einthoven.simulate.eikonal_ecg import EikonalEcg
from einthoven.simulate.reaction_eikonal import ReactionEikonal
from einthoven.studies.phantom_beat import FINE, INTRACELLULAR_CONDUCTIVITY, EarlySite, VolumeBeat, membrane
from einthoven.tissue import Tissue

#: How long coupling evens out repolarization in these cells, ms: of 10, 20, 30, 40 and 60 the one with which the ECG
#: of a simulated beat's activation times is closest to its ECG.
TAU = 20.0


@dataclass(frozen=True, eq=False)
class EikonalHeart:
    """The phantom's ventricles with an eikonal wave and the leads of its torso.

    Parameters
    ----------
    beat
        Whose muscle, durations and membrane are meant; its spacing is not used.
    spacing
        Of the grid of the eikonal, mm.
    layout
        Electrodes: ``"12-lead"`` (leads I to V6), or another of the phantom's layouts, referenced to Wilson's terminal.
    times
        Of the ECG, ms after the beginning of the beat.
    """

    beat: VolumeBeat = field(default_factory=VolumeBeat)
    spacing: float = 1.5
    layout: str = "12-lead"
    times: Float[np.ndarray, " n_times"] = field(default_factory=lambda: np.arange(0.0, 401.0))

    def __repr__(self) -> str:
        return f"EikonalHeart({self.tissue!r}, {self.layout} leads)"

    @cached_property
    def tissue(self) -> Tissue:
        """The muscle."""
        c = self.beat.conduction
        layer = FastLayer(c.layer, c.endocardium / c.wall, c.top)
        return ventricular_tissue(self.beat.phantom, self.spacing, along=c.wall, across=c.wall, fast=layer)

    @cached_property
    def leads(self) -> ForwardOperator:
        """From transmembrane potentials at the nodes to the leads, through torso, lungs and blood."""
        from einthoven.forward.sampling import surface_sampling

        fine = Phantom(FINE, self.beat.phantom.conductivities, self.beat.phantom.thorax)
        return phantom_leads(fine, self.layout) @ surface_sampling(self.tissue, fine.heart)

    @cached_property
    def action_potentials(self) -> ActionPotentials:
        """Of planar waves in the wall, measured at the beat's own spacing."""
        low, high = 10 * np.floor(self.durations.min() / 10), 10 * np.ceil(self.durations.max() / 10)
        return planar_action_potentials(
            membrane,
            np.arange(low, high + 1, 10.0),
            diffusivity=self.beat.conduction.wall,
            spacing=self.beat.spacing,
            dt=self.beat.dt,
        )

    @cached_property
    def durations(self) -> Float[np.ndarray, " n_nodes"]:
        """Of the uncoupled cells, ms."""
        right = self.beat.phantom.ventricles.right_share(self.tissue.points)
        return self.beat.durations.at(self.tissue, right)

    @cached_property
    def model(self) -> EikonalEcg:
        """From sites, onsets and the speeds of wall and fast layer to the leads."""
        fast = self.tissue.label("fast")
        reaction = ReactionEikonal(self.tissue, self.leads, self.action_potentials, self.times, self.durations, TAU)
        return EikonalEcg(Eikonal.of(self.tissue), np.stack([1 - fast, fast]), reaction, ("wall", "layer"))

    def places(self, sites: "tuple[EarlySite, ...]") -> Float[np.ndarray, "n_sites 3"]:
        """Points in the wall, mm."""
        found = [
            wall_point(
                self.tissue,
                ventricle=site.ventricle,
                transmural=site.transmural,
                apicobasal=site.apicobasal,
                rotational=float(np.radians(site.rotational)),
            )
            for site in sites
        ]
        return np.array(found)


def phantom_leads(fine: Phantom, layout: str) -> ForwardOperator:
    """From transmembrane potentials on a phantom's closed heart surface to its leads."""
    from einthoven.forward import bem

    electrodes = fine.electrodes(layout)
    potentials = bem.double_layer(
        fine.heart, fine.conductor, electrodes, intracellular_conductivity=INTRACELLULAR_CONDUCTIVITY
    )
    system = LeadSystem.twelve_lead() if layout == "12-lead" else LeadSystem.wilson(electrodes.names)
    return system.operator() @ potentials
