"""The `VolumeConductor` noun: closed surfaces with conductivities."""

from dataclasses import dataclass

from einthoven.core.errors import GeometryError, InputError, some
from einthoven.core.surface import Surface


@dataclass(frozen=True, eq=False)
class Region:
    """A closed surface and the conductivity of what lies directly inside it.

    Parameters
    ----------
    surface
        Closed, outward.
    conductivity
        mS/mm (the same number as S/m), positive.
    """

    surface: Surface
    conductivity: float

    def __post_init__(self):
        self.surface.check_closed()
        if not 0 < self.conductivity < 1e4:
            raise InputError(
                f"{self.surface.name}: conductivity must be positive and in S/m (= mS/mm); got {self.conductivity:g}. "
                "Typical: torso 0.2, lungs 0.05, blood 0.6."
            )


@dataclass(frozen=True, eq=False)
class VolumeConductor:
    """The torso and the regions inside it.

    Parameters
    ----------
    torso
        The outermost region; nothing flows through its surface.
    inner
        Lungs, blood cavities and others: nested or side by side, not touching. Which lies inside
        which is found from the geometry (`einthoven.geometry.checks.check_conductor`).
    """

    torso: Region
    inner: tuple[Region, ...] = ()

    def __post_init__(self):
        names = [r.surface.name for r in self.regions]
        if len(set(names)) < len(names):
            raise GeometryError(f"the surfaces of a volume conductor must have unique names; got {some(names)}.")

    def __repr__(self) -> str:
        return "VolumeConductor(" + ", ".join(f"{r.surface.name} {r.conductivity:g} S/m" for r in self.regions) + ")"

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, the torso first."""
        return (self.torso, *self.inner)

    @property
    def skin(self) -> Surface:
        """The body surface."""
        return self.torso.surface
