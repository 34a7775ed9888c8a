"""Settings of runs, as written to ``run.toml``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ImagingSettings(BaseModel):
    """Everything that decides an imaging run besides the case itself; times in ms, potentials in mV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = ("tikhonov2",)
    """Names of inverse methods: `einthoven.inverse.registry.METHODS`, or cell physics by name or TOML file."""
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
    """Noise level for the discrepancy principle and for cell physics; None to estimate it."""
    extracellular: bool = False
    """Force cell physics upon extracellular potentials, for which its equations do not hold."""
    membrane: Literal["aliev-panfilov", "mitchell-schaeffer"] = "aliev-panfilov"
    """Cells that solvers with cell physics assume."""
    diffusivity: float | None = Field(default=None, gt=0)
    """Of cell physics, mm2/ms; None to read it off the data."""
    gate: bool = True
    """Fall back on a classical answer where an image by cell physics does not fit the data."""
    error_bars: Literal["none", "laplace"] = "none"
    """Of images by cell physics."""
    operator: str | None = Field(default=None, min_length=1)
    """Path of a saved operator (``operator.npz`` or ``operator.zarr``); None to build it from the geometry."""


#: A conduction velocity that muscle can have, mm/ms.
Speed = Annotated[float, Field(ge=0.05, le=5)]


class FitSettings(BaseModel):
    """Everything that decides a fit of waves to an ECG besides the case itself; mm, ms, mV, degrees."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    window_ms: tuple[float, float] | None = None
    """First and last time to fit; None for the QRS complex found in the leads, with a margin."""
    leads: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the leads to use; None for all of them."""
    exclude: tuple[str, ...] = ()
    """Names of leads to leave out."""
    reference: str | None = None
    """Bring the leads to ``average``, ``wilson`` or an electrode's name; None keeps the recording's own."""
    step_ms: float = Field(default=2.0, ge=0.5, le=20, multiple_of=0.5)
    """Time between the frames that are fitted; a multiple of 0.5."""
    spacing: float = Field(default=2.0, gt=0, le=10)
    """Of the grid on which the waves run."""
    wall: float = Field(default=10.0, gt=0, le=50)
    """Thickness of the wall that is made where the case has only a closed epicardium."""
    layer: float = Field(default=2.0, ge=0, le=20)
    """Thickness of the fast endocardial layer; 0 for none."""
    speeds: tuple[Speed, Speed] = (0.6, 1.5)
    """Expected conduction velocities, mm/ms: of the wall and of the endocardial layer (unused where there is none)."""
    noise_mv: float = Field(default=0.02, gt=0)
    """Least noise of the leads, standard deviation; what the fits leave counts as noise, too."""
    model_error: float = Field(default=0.14, ge=0, le=1)
    """Error of the model, a share of the ECG (`einthoven.inverse.wave_fit.FitPriors`)."""
    sites: int | None = Field(default=None, ge=1, le=20)
    """Number of early sites; None lets the data choose, from 1 to `most_sites`."""
    most_sites: int = Field(default=8, ge=1, le=20)
    """Early sites at most."""
    starts: int = Field(default=16, ge=1, le=1000)
    """Fits are started from so many guesses."""
    seed: int = Field(default=0, ge=0)
    """Of the guesses."""
    pose_mm: float = Field(default=5.0, ge=0, le=100)
    """Expected error of the heart's place along each axis, standard deviation; 0 takes it as exact."""
    pose_deg: float = Field(default=5.0, ge=0, le=90)
    """Expected error of the heart's rotation about each axis, standard deviation; 0 takes it as exact."""
    electrode_mm: float = Field(default=5.0, ge=0, le=100)
    """Expected error of each electrode along the skin, standard deviation; 0 takes them as exact."""

    @field_validator("window_ms")
    @classmethod
    def _in_order(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError("the first time must be before the last")
        return window


#: An expected error in percent, mm or degrees.
Expected = Annotated[float, Field(gt=0, le=50)]


class CalibrationSettings(BaseModel):
    """Everything that decides a calibration besides the case itself; ms, mm, degrees, percent."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("pose",)
    """What may be wrong (`einthoven.inverse.calibration.MODELS`); the operator is that of the first."""
    fit_ms: tuple[float, float] | None = None
    """First and last time to calibrate on; None for all frames, judged by halves and waves."""
    test_ms: tuple[float, float] | None = None
    """First and last time to judge on; None for all frames outside of `fit_ms`."""
    leads: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the leads to use; None for all of them."""
    exclude: tuple[str, ...] = ()
    """Names of leads to leave out."""
    reference: str | None = None
    """Bring the leads to ``average``, ``wilson`` or an electrode's name; None keeps the recording's own."""
    shift_mm: Expected = 5.0
    """Expected error of the heart's place along each axis, standard deviation."""
    turn_deg: Expected = 5.0
    """Expected error of the heart's rotation about each axis."""
    scale_percent: Expected = 5.0
    """Expected error of the heart's size."""
    gain_percent: Expected = 10.0
    """Expected error of the gain that all leads share."""
    skin_mm: Expected = 3.0
    """Expected root mean square displacement of the skin in every mode."""
    electrode_mm: Expected = 5.0
    """Expected error of each electrode along the skin."""
    lead_percent: Expected = 5.0
    """Expected error of each lead's gain around the common one."""
    folds: int = Field(default=5, ge=2, le=20)
    """Runs of frames for the choice of sigma."""
