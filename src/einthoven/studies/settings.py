"""Settings of an imaging run, as written to ``run.toml``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ImagingSettings(BaseModel):
    """Everything that decides an imaging run besides the case itself.

    Parameters
    ----------
    methods
        Names of inverse methods (`einthoven.inverse.registry.METHODS`).
    rule
        Name of the weight rule, as on the command line (``lcurve``, ``fixed:0.01``, ...).
    gamma
        Robust GCV's parameter, between 0 and 1; None for the default.
    quantity
        Which heart surface to image: ``hsp`` or ``vm``; None for the case's first.
    reference
        Reference to bring the leads to: ``average``, ``wilson``, an electrode's name, or None to keep
        the recording's own.
    window_ms
        First and last time to image, or None for the whole recording.
    leads
        Names of the leads to use, or None for all of them.
    exclude
        Names of leads to leave out.
    noise_window_ms
        A quiet window: the noise covariance is estimated there and the data are whitened.
    sigma_mv
        Noise level for the discrepancy principle; None to estimate it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = ("tikhonov2",)
    rule: str = "lcurve"
    gamma: float | None = Field(default=None, gt=0, le=1)
    quantity: Literal["hsp", "vm"] | None = None
    reference: str | None = None
    window_ms: tuple[float, float] | None = None
    leads: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    noise_window_ms: tuple[float, float] | None = None
    sigma_mv: float | None = Field(default=None, gt=0)
