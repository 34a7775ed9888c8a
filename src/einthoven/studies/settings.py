"""Settings of an imaging run, as written to ``run.toml``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ImagingSettings(BaseModel):
    """Everything that decides an imaging run besides the case itself; times in ms, potentials in mV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = ("tikhonov2",)
    """Names of inverse methods (`einthoven.inverse.registry.METHODS`)."""
    rule: str = "lcurve"
    """Name of the weight rule, as on the command line (``lcurve``, ``fixed:0.01``, ...)."""
    gamma: float | None = Field(default=None, gt=0, le=1)
    """Robust GCV's parameter; None for the default."""
    quantity: Literal["hsp", "vm"] | None = None
    """Which heart surface to image; None for the case's first."""
    reference: str | None = None
    """Bring the leads to ``average``, ``wilson`` or an electrode's name; None keeps the recording's own."""
    window_ms: tuple[float, float] | None = None
    """First and last time to image; None for the whole recording."""
    leads: tuple[str, ...] | None = None
    """Names of the leads to use; None for all of them."""
    exclude: tuple[str, ...] = ()
    """Names of leads to leave out."""
    noise_window_ms: tuple[float, float] | None = None
    """A quiet window: the noise covariance is estimated there and the data are whitened."""
    sigma_mv: float | None = Field(default=None, gt=0)
    """Noise level for the discrepancy principle; None to estimate it."""
