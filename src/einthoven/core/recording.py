"""The `Recording` noun: potentials at named sites over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from einthoven.core.arrays import frozen
from einthoven.core.errors import InputError, some
from einthoven.core.sites import check_names, match_names, new_names

if TYPE_CHECKING:
    import xarray

Quantity = Literal["vm", "hsp", "bsp", "ecg", "egm"]
QUANTITIES: dict[str, str] = {
    "vm": "transmembrane potential",
    "hsp": "heart-surface potential (extracellular)",
    "bsp": "body-surface potential",
    "ecg": "lead potential",
    "egm": "electrogram",
}


def reference_of_part(reference: str, n_kept: int, n_all: int) -> str:
    """Name of the reference of some of the sites: an average over all of them is not one over a part."""
    return f"average of {n_all}" if reference == "average" and n_kept < n_all else reference


@dataclass(frozen=True, eq=False)
class Recording:
    """Potentials at named sites over time.

    Parameters
    ----------
    values
        Shape (n_sites, n_times), mV.
    times
        Shape (n_times,), ms, strictly increasing.
    sites
        Unique names.
    quantity
        One of `QUANTITIES`.
    reference
        What zero means: ``"absolute"`` (the potential of the model or of a remote electrode),
        ``"average"`` (mean over the sites is zero), ``"wilson"`` or a name of your own.

    Raises
    ------
    InputError
        For wrong shapes, NaN, unknown quantity or times that do not increase.
    """

    values: Float[np.ndarray, "n_sites n_times"]
    times: Float[np.ndarray, " n_times"]
    sites: tuple[str, ...]
    quantity: Quantity
    reference: str = "absolute"

    def __post_init__(self):
        values, times = np.asarray(self.values), np.asarray(self.times)
        object.__setattr__(self, "sites", check_names(self.sites, "the sites of a recording"))
        if self.quantity not in QUANTITIES:
            raise InputError(f"quantity must be one of {', '.join(QUANTITIES)}; got {self.quantity!r}.")
        if times.ndim != 1 or not times.size or not self.sites:
            raise InputError(
                f"a recording needs at least one site and one frame, and times of shape (n_times,); got "
                f"{len(self.sites)} sites and times of shape {times.shape}."
            )
        for name, array in (("values", values), ("times", times)):
            if array.dtype.kind not in "fiu":
                raise InputError(f"recording {name} must be real numbers; got {array.dtype}.")
        if values.ndim != 2 or values.shape != (len(self.sites), times.size):
            raise InputError(
                f"recording values must have shape (sites, times) = ({len(self.sites)}, {times.size}); "
                f"got {values.shape}. Is the array transposed?"
            )
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            raise InputError(
                f"recording values must be finite; {some(self.sites[i] for i in bad)} hold NaN or infinity. "
                "Leave these leads out, or fill the gaps before reading."
            )
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise InputError("recording times must be finite and strictly increasing (ms).")
        object.__setattr__(self, "values", frozen(values, np.float64))
        object.__setattr__(self, "times", frozen(times, np.float64))

    def __repr__(self) -> str:
        return (
            f"Recording({self.quantity}, {self.n_sites} sites x {self.n_times} times, "
            f"{self.times[0]:g}..{self.times[-1]:g} ms, reference {self.reference!r})"
        )

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.sites)

    @property
    def n_times(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def dt(self) -> float:
        """Median time step, ms."""
        return float(np.median(np.diff(self.times))) if self.n_times > 1 else float("nan")

    def select(self, sites: Sequence[str]) -> "Recording":
        """Return the named sites, in the order given.

        Part of the sites of an average-referenced recording keep the zero they had, the mean over all of them; their
        reference is named accordingly (``"average of 192"``) until `average_referenced` gives them their own.
        """
        index = match_names(sites, self.sites, "recording")
        reference = reference_of_part(self.reference, len(index), self.n_sites)
        return replace(self, values=self.values[index], sites=tuple(sites), reference=reference)

    def renamed(self, names: Mapping[str, str]) -> "Recording":
        """Return the same recording with new names for the sites given; the others keep theirs."""
        return replace(self, sites=new_names(self.sites, names, "recording"))

    def window(self, start: float, stop: float) -> "Recording":
        """Return the frames with start <= t <= stop (ms)."""
        keep = (self.times >= start) & (self.times <= stop)
        if not keep.any():
            raise InputError(
                f"window {start:g}..{stop:g} ms holds no frame; the recording spans "
                f"{self.times[0]:g}..{self.times[-1]:g} ms."
            )
        return replace(self, values=self.values[:, keep], times=self.times[keep])

    def with_values(self, values: Float[np.ndarray, "n_sites n_times"]) -> "Recording":
        """Return the same sites and times with other values."""
        return replace(self, values=values)

    def average_referenced(self) -> "Recording":
        """Return the recording with the mean over the sites removed from every frame."""
        return replace(self, values=self.values - self.values.mean(axis=0), reference="average")

    def to_xarray(self) -> "xarray.DataArray":
        """Return a labelled array with dims (site, time) and attributes quantity, unit, reference."""
        import xarray

        return xarray.DataArray(
            self.values,
            dims=("site", "time"),
            coords={"site": np.asarray(self.sites, dtype=str), "time": self.times},
            name=self.quantity,
            attrs={"quantity": self.quantity, "unit": "mV", "time_unit": "ms", "reference": self.reference},
        )

    @classmethod
    def from_xarray(cls, array: "xarray.DataArray") -> "Recording":
        """Build from an array made by `to_xarray`.

        Raises
        ------
        InputError
            If dims ``site`` and ``time`` are missing, or the array says that it is not in mV and ms.
        """
        lacking = [k for k in ("site", "time") if k not in array.dims]
        if lacking:
            raise InputError(f"a recording needs dims (site, time); {some(lacking)} missing, got {array.dims}.")
        for key, unit in (("unit", "mV"), ("time_unit", "ms")):
            if array.attrs.get(key, unit) != unit:
                raise InputError(
                    f"a recording's {key} must be {unit}; the array says {array.attrs[key]!r}. Convert it."
                )
        array = array.transpose("site", "time")
        return cls(
            values=np.asarray(array.values, dtype=np.float64),
            times=np.asarray(array["time"].values, dtype=np.float64),
            sites=tuple(str(s) for s in array["site"].values),
            quantity=array.attrs.get("quantity", "bsp"),
            reference=array.attrs.get("reference", "absolute"),
        )
