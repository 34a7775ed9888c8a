"""The `Recording` noun: potentials at named sites over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from einthoven.core.arrays import frozen
from einthoven.core.errors import InputError, some
from einthoven.core.sites import check_names, match_names

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
        if values.ndim != 2 or values.shape != (len(self.sites), times.size):
            raise InputError(
                f"recording values must have shape (sites, times) = ({len(self.sites)}, {times.size}); "
                f"got {values.shape}. Is the array transposed?"
            )
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            raise InputError(
                f"recording values must be finite; {some(self.sites[i] for i in bad)} hold NaN or infinity. "
                "Leave these leads out or interpolate them (einthoven.signals.repair_leads)."
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
        """Return the named sites, in the order given."""
        index = match_names(sites, self.sites, "recording")
        return replace(self, values=self.values[index], sites=tuple(sites))

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
        """Build from an array made by `to_xarray`."""
        lacking = [k for k in ("site", "time") if k not in array.dims]
        if lacking:
            raise InputError(f"a recording needs dims (site, time); {some(lacking)} missing, got {array.dims}.")
        array = array.transpose("site", "time")
        return cls(
            values=np.asarray(array.values, dtype=np.float64),
            times=np.asarray(array["time"].values, dtype=np.float64),
            sites=tuple(str(s) for s in array["site"].values),
            quantity=array.attrs.get("quantity", "bsp"),
            reference=array.attrs.get("reference", "absolute"),
        )
