"""The `Case` noun: a geometry, its electrodes, a recording and, where measured, the truth."""

from dataclasses import dataclass, field

from einthoven.core.conductor import VolumeConductor
from einthoven.core.errors import InputError, some
from einthoven.core.recording import QUANTITIES, Quantity, Recording
from einthoven.core.sites import Electrodes
from einthoven.core.surface import Surface


@dataclass(frozen=True, eq=False)
class Source:
    """A heart surface to image, the quantity that lives on it, and its measured truth if there is one.

    Parameters
    ----------
    surface
        Closed, outward, mm.
    quantity
        ``"hsp"`` (extracellular potential on an epicardial envelope, cage or sock) or ``"vm"``
        (transmembrane potential on a closed endo+epicardial surface).
    truth
        Potentials at the surface's nodes (sites named as `Surface.node_names`), or None. May cover
        only part of the nodes.
    intracellular_conductivity
        mS/mm, of a ``"vm"`` source: potentials outside are proportional to it. None: the default of
        `einthoven.forward.bem.double_layer`.
    """

    surface: Surface
    quantity: Quantity = "hsp"
    truth: Recording | None = None
    intracellular_conductivity: float | None = None

    def __post_init__(self):
        self.surface.check_closed()
        if self.intracellular_conductivity is not None and not 0 < self.intracellular_conductivity < 1e4:
            raise InputError(
                f"{self.surface.name}: the intracellular conductivity must be positive and in S/m (= mS/mm); got "
                f"{self.intracellular_conductivity:g}. Typical: 0.02 to 0.2."
            )
        if self.quantity not in ("hsp", "vm"):
            raise InputError(f"{self.surface.name}: a source is 'hsp' or 'vm'; got {self.quantity!r}.")
        if self.truth is not None:
            if self.truth.quantity != self.quantity:
                raise InputError(
                    f"{self.surface.name}: the truth must be {self.quantity} ({QUANTITIES[self.quantity]}); "
                    f"got {self.truth.quantity}."
                )
            strange = set(self.truth.sites) - set(self.surface.node_names)
            if strange:
                raise InputError(
                    f"{self.surface.name}: the truth's sites must be nodes of the surface; {some(sorted(strange))} "
                    "are not."
                )


@dataclass(frozen=True, eq=False)
class Case:
    """Everything needed to image one heart, and to score the image.

    Parameters
    ----------
    name
        Short name, used in results.
    conductor
        Torso and inner regions with conductivities.
    sources
        Heart surfaces; the first is imaged unless another quantity is asked for.
    electrodes
        Where the body surface was recorded.
    recording
        Body-surface potentials; sites are names of electrodes. None for a geometry alone.
    info
        Free text: ``origin``, ``licence``, ``citation``, ``notes``.
    """

    name: str
    conductor: VolumeConductor
    sources: tuple[Source, ...]
    electrodes: Electrodes
    recording: Recording | None = None
    info: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.sources:
            raise InputError(f"{self.name}: a case needs at least one heart surface.")
        if self.recording is not None:
            if self.recording.quantity != "bsp":
                raise InputError(
                    f"{self.name}: the recording must be bsp ({QUANTITIES['bsp']}), one row per electrode; got "
                    f"{self.recording.quantity}."
                )
            known = set(self.electrodes.names)
            strange = [s for s in self.recording.sites if s not in known]
            if strange:
                raise InputError(
                    f"{self.name}: leads {some(strange)} of the recording have no electrode of that name. "
                    "Rename them, or add the electrodes."
                )

    def __repr__(self) -> str:
        hearts = ", ".join(f"{s.surface.name} ({s.quantity})" for s in self.sources)
        return f"Case({self.name!r}, heart {hearts}, {len(self.electrodes)} electrodes, {self.recording!r})"

    def source(self, quantity: Quantity | None = None) -> Source:
        """Return the first source, or the first of that quantity.

        Raises
        ------
        InputError
            If no source has that quantity.
        """
        for source in self.sources:
            if quantity is None or source.quantity == quantity:
                return source
        raise InputError(
            f"{self.name}: no heart surface for {quantity!r}; there is {some(s.quantity for s in self.sources)}."
        )
