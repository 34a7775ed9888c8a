"""`Content`: what a file holds, before it becomes a case."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from einthoven.core import InputError, Quantity, Recording, Surface, Tetrahedra
from einthoven.core.errors import some


@dataclass(frozen=True, eq=False)
class Volume:
    """A tetrahedral mesh: points mm, tetrahedra 0-based, region label and fiber per element if known."""

    points: Float[np.ndarray, "n_points 3"]
    tetrahedra: Int[np.ndarray, "n_tetrahedra 4"]
    regions: Int[np.ndarray, " n_tetrahedra"] | None = None
    fibers: Float[np.ndarray, "n_tetrahedra 3"] | None = None

    def mesh(self, name: str = "mesh") -> Tetrahedra:
        """The checked noun, for what works on tetrahedra; raises `GeometryError` as it does."""
        return Tetrahedra(self.points, self.tetrahedra, name)


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds. A format fills what it knows and leaves the rest empty.

    Parameters
    ----------
    path, format
        Where it came from and the name of the format.
    surfaces
        Triangulated surfaces, in the file's unit until `scaled`.
    points
        Bare point sets by name (electrodes, nodes without faces), (n, 3).
    arrays
        Matrices and fields by name, as stored (``potvals``, ``matrix``, per-node fields).
    volumes
        Tetrahedral meshes.
    names
        Names of rows (leads, electrodes) by array or point-set name, where the file tells.
    time_series
        A recording, where the file knows sampling rate and unit (WFDB, EDF, BDF, Zarr, CSV with header).
    info
        Free text the file carries (unit, licence, header lines).
    """

    path: Path
    format: str
    surfaces: tuple[Surface, ...] = ()
    points: dict[str, np.ndarray] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    time_series: Recording | None = None
    info: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [repr(s) for s in self.surfaces]
        parts += [f"{k}: {len(v)} points" for k, v in self.points.items()]
        parts += [f"{k}: array {'x'.join(map(str, np.shape(v)))}" for k, v in self.arrays.items()]
        parts += [f"{len(v.tetrahedra)} tetrahedra" for v in self.volumes]
        parts += [repr(self.time_series)] if self.time_series is not None else []
        return f"Content({self.path.name!r}, {self.format}: {'; '.join(parts) or 'nothing'})"

    def surface(self, name: str | None = None) -> Surface:
        """Return the only surface, or the one of that name.

        Raises
        ------
        InputError
            If there is none, or several and no name was given.
        """
        return _pick({s.name: s for s in self.surfaces}, name, f"{self.path}: surface")

    def array(self, name: str | None = None) -> np.ndarray:
        """Return the only array, or the one of that name; raises `InputError` as `surface` does."""
        return _pick(self.arrays, name, f"{self.path}: array")

    def point_set(self, name: str | None = None) -> np.ndarray:
        """Return the only point set, or the one of that name; falls back to the nodes of the only surface."""
        if not self.points and self.surfaces:
            return self.surface(name).points
        return _pick(self.points, name, f"{self.path}: point set")

    def recording(
        self,
        name: str | None = None,
        *,
        rate_hz: float | None = None,
        unit: str | None = None,
        quantity: Quantity | None = None,
        sites: tuple[str, ...] | None = None,
        reference: str | None = None,
    ) -> Recording:
        """Return the file's recording, or make one of an array (sites x times).

        Parameters
        ----------
        name
            Which array, if there are several.
        rate_hz
            Sampling rate; needed for arrays, since such files do not hold it.
        unit
            Unit of the values where the file does not state it: ``"mV"`` (default), ``"uV"`` or ``"V"``.
        quantity, reference
            Default: what the file says, else ``"bsp"`` and ``"absolute"``.
        sites
            Names of the rows; default: the file's own names, or ``"1"``, ``"2"``, ...

        Raises
        ------
        InputError
            If there is no such array, the sampling rate is lacking, or `unit` is unknown or contradicts the file.
        """
        factor = self._factor(unit)
        if self.time_series is not None and name is None:
            found = self.time_series
            return replace(
                found,
                values=found.values * factor,
                sites=found.sites if sites is None else sites,
                quantity=found.quantity if quantity is None else quantity,
                reference=found.reference if reference is None else reference,
            )
        values = np.atleast_2d(np.asarray(self.array(name), dtype=np.float64))
        if rate_hz is None or not rate_hz > 0:
            raise InputError(f"{self.path}: the file does not hold its sampling rate; give rate_hz.")
        key = name if name is not None else next(iter(self.arrays))
        rows = sites or self.names.get(key) or tuple(str(i + 1) for i in range(len(values)))
        times = np.arange(values.shape[1]) * (1000.0 / rate_hz)
        return Recording(values * factor, times, tuple(rows), quantity or "bsp", reference or "absolute")

    @property
    def states_unit(self) -> bool:
        """Whether the file's recording is in mV because the file said its unit."""
        return self.time_series is not None and not self.info.get("unit", "not").startswith("not")

    def _factor(self, unit: str | None) -> float:
        """From the unit that the caller names to mV; 1 where the file's own unit was applied already."""
        factor = 1.0 if unit is None else millivolts(unit)
        if unit is None or not self.states_unit:
            return factor
        if factor != millivolts(self.info["unit"]):
            raise InputError(f"{self.path}: states its unit, {self.info['unit']}; leave unit out (it says {unit!r}).")
        return 1.0

    def scaled(self, factor: float) -> "Content":
        """Return the content with all coordinates multiplied by `factor` (1000 for meters to mm)."""
        return replace(
            self,
            surfaces=tuple(s.with_points(s.points * factor) for s in self.surfaces),
            points={k: v * factor for k, v in self.points.items()},
            volumes=tuple(replace(v, points=v.points * factor) for v in self.volumes),
        )


def millivolts(unit: str) -> float:
    """Return the factor from `unit` to mV."""
    factors = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "V": 1e3, "nV": 1e-6}
    if unit not in factors:
        raise InputError(f"unit of potential must be one of {', '.join(factors)}; got {unit!r}.")
    return factors[unit]


def millimeters(unit: str) -> float:
    """Return the factor from `unit` to mm."""
    factors = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
    if unit not in factors:
        raise InputError(f"unit of length must be one of {', '.join(factors)}; got {unit!r}.")
    return factors[unit]


def _pick(items: dict, name: str | None, what: str):
    if name is None and len(items) == 1:
        return next(iter(items.values()))
    if name is not None and name in items:
        return items[name]
    there = f"there is {some(items)}" if items else "the file holds none"
    wanted = "name the one you mean" if name is None else f"{name!r} not found"
    raise InputError(f"{what}: {wanted}; {there}.")
