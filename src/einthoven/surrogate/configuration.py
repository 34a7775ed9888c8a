"""How a surrogate is made and trained: one TOML file per model and ablation."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from einthoven.core import InputError
from einthoven.io.ready_files import checked_model, first_problem, ready_text, ready_titles
from einthoven.surrogate.training import Course

ModelName = Literal["seq2seq", "lead-field-net", "neural-eikonal"]


class FrameNetwork(BaseModel):
    """Of `seq2seq`; see `einthoven.surrogate.seq2seq.Seq2SeqSettings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[str, ...] = ("v",)
    width: int = 128
    encoder: bool = True
    attention: bool = True
    time: bool = True
    entropy: float = 0.1


class PixelNetwork(BaseModel):
    """Of `lead-field-net` and `neural-eikonal`: channels, and layers of 3 x 3 convolutions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=32, ge=1, le=512)
    depth: int = Field(default=3, ge=1, le=12)


class Configuration(BaseModel):
    """A surrogate and its training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    model: ModelName
    pixel: float | None = Field(default=None, gt=0)
    """Of the movie, mm; of models that look at one."""
    electrodes: int | None = Field(default=None, ge=1)
    """The first so many electrodes; of models for fixed electrodes."""
    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=8, ge=1)
    rate: float = Field(default=2e-3, gt=0, lt=1)
    leave_out: tuple[str, ...] = ()
    """Conditions of a set that are not trained on and choose nothing; those that a set does not have do not matter."""
    network: dict[str, Any] = {}

    def course(self, seed: int) -> Course:
        """The training."""
        return Course(self.epochs, self.batch, self.rate, seed)

    def checked(self, name: str | Path) -> "Configuration":
        """Itself, if the network's table and the fields fit the model."""
        movie = self.model != "neural-eikonal"
        if movie != (self.pixel is not None):
            raise InputError(f"{name}: pixel must {'' if movie else 'not '}be given for {self.model}.")
        if (self.model == "seq2seq") != (self.electrodes is not None):
            raise InputError(f"{name}: electrodes must be given for seq2seq, and for no other model.")
        kind = FrameNetwork if self.model == "seq2seq" else PixelNetwork
        try:
            network = kind.model_validate(self.network).model_dump(mode="json")
        except ValidationError as problem:
            raise InputError(f"{name}: network: {first_problem(problem)}") from None
        return self.model_copy(update={"network": network})


def configurations() -> dict[str, str]:
    """Names and titles of the configurations that come with the package."""
    return ready_titles(_folder())


def load_configuration(text: str | Path) -> Configuration:
    """Read a configuration: a TOML file, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or for what is wrong in it.
    """
    content = ready_text(text, _folder(), "surrogate")
    return checked_model(Configuration, content, text).checked(text)


def _folder() -> Any:
    return resources.files("einthoven.surrogate") / "configurations"
