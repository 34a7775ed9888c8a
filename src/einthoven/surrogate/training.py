"""Training of a surrogate: epochs of Adam, the best model by validation kept, checkpoints, progress."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import numpy as np
import optax

from einthoven.core import FileFormatError, InputError
from einthoven.core.progress import Progress, silent
from einthoven.surrogate.weights import load_weights, restored, save_weights

Number = float | int

#: Share of the steps over which the rate rises.
WARM_UP = 0.05

#: Gradients are shortened to this norm.
LONGEST_GRADIENT = 1.0

Item = TypeVar("Item")
Sheet = TypeVar("Sheet", contravariant=True)


class Moment(NamedTuple):
    """When in a training a step happens: random choices are drawn with the key; `done` is the share of the steps."""

    key: int
    done: float


@runtime_checkable
class Learner(Protocol[Sheet]):
    """What is particular to a model."""

    def gradient(self, model: Any, items: Sequence[Sheet], moment: "Moment") -> tuple[float, Any]:
        """Loss of some sheets and its derivatives, a tree like the model's."""
        ...

    def score(self, model: Any, items: Sequence[Sheet]) -> dict[str, float]:
        """Scores of sheets that are not trained on; ``"score"`` decides, the higher the better."""
        ...


@dataclass(frozen=True)
class Course:
    """How long and how fast.

    Parameters
    ----------
    epochs
        How often every sheet is seen.
    batch
        Sheets per step.
    rate
        Adam's largest rate; it rises over `WARM_UP` of the steps and falls along a cosine to 1 % of this.
    seed
        Of the first weights and of the order of the sheets.
    """

    epochs: int = 30
    batch: int = 8
    rate: Number = 2e-3
    seed: int = 0

    def __post_init__(self):
        if self.epochs < 1 or self.batch < 1 or not 0 < self.rate < 1 or self.seed < 0:
            raise InputError(
                f"a training needs at least one epoch, one sheet per step, a rate between 0 and 1; got {self}."
            )


class Trained(NamedTuple):
    """The model of the best epoch, and one row per epoch."""

    model: Any
    history: list[dict[str, float]]


def train(
    learner: Learner[Item],
    model: Any,
    training: Sequence[Item],
    validation: Sequence[Item],
    course: Course,
    *,
    folder: Path | None = None,
    identity: str = "",
    progress: Progress = silent,
) -> Trained:
    """Train a model.

    Parameters
    ----------
    learner
        Loss, gradients and scores.
    model
        To start from.
    training, validation
        Sheets, prepared for the learner.
    course
        How long and how fast.
    folder
        For checkpoints, one after every epoch: an interrupted training goes on from there and ends with the same
        weights. None: no checkpoints.
    identity
        Of model and sheets: a checkpoint of another identity is refused.
    progress
        Told after every step; the remark holds loss and score.

    Raises
    ------
    InputError
        If there are no sheets, or the loss is not finite.
    KeyboardInterrupt
        After Ctrl-C; epochs that were finished are kept in `folder`.
    """
    if not training or not validation:
        raise InputError("training: there must be sheets to train on and sheets to validate on.")
    run = _Run(learner, model, course, len(training), identity)
    run.restore(folder)
    while run.epoch < course.epochs:
        begun = time.perf_counter()
        loss = run.one_epoch(training, progress)
        scores = learner.score(run.model, validation)
        run.keep(loss, scores, time.perf_counter() - begun)
        run.save(folder)
    return Trained(run.best, run.history)


class _Run(Generic[Item]):
    """Where a training stands."""

    def __init__(self, learner: Learner[Item], model: Any, course: Course, n: int, identity: str):
        self.learner, self.course, self.identity = learner, course, identity
        self.per_epoch = -(-n // course.batch)
        steps = course.epochs * self.per_epoch
        warm = max(1, round(WARM_UP * steps))
        rate = optax.warmup_cosine_decay_schedule(
            0.02 * course.rate, course.rate, warm, max(steps, warm + 1), 0.01 * course.rate
        )
        self.optimizer = optax.chain(optax.clip_by_global_norm(LONGEST_GRADIENT), optax.adam(rate))
        self.model = self.best = model
        self.state = self.optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        self.epoch, self.history = 0, []
        self.update = eqx.filter_jit(self._update)

    def _update(self, model: Any, gradient: Any, state: Any) -> tuple[Any, Any]:
        updates, state = self.optimizer.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    def one_epoch(self, training: Sequence[Item], progress: Progress) -> float:
        """All sheets once; the mean loss."""
        course, total = self.course, self.course.epochs * self.per_epoch
        order = np.random.default_rng([course.seed, self.epoch]).permutation(len(training))
        losses = []
        for k in range(self.per_epoch):
            items = [training[i] for i in order[k * course.batch : (k + 1) * course.batch]]
            step = self.epoch * self.per_epoch + k
            moment = Moment(course.seed * 1_000_003 + step, step / total)
            loss, gradient = self.learner.gradient(self.model, items, moment)
            if not np.isfinite(loss):
                raise InputError(f"training: the loss is not finite at step {step + 1}; lower the rate.")
            self.model, self.state = self.update(self.model, gradient, self.state)
            losses.append(loss)
            progress(f"training: loss {np.mean(losses[-20:]):.3g}{self._remark()}", step + 1, total)
        return float(np.mean(losses))

    def _remark(self) -> str:
        return f", validation {self.history[-1]['score']:.4f}" if self.history else ""

    def keep(self, loss: float, scores: dict[str, float], seconds: float) -> None:
        """Take note of an epoch; remember the model if it is the best."""
        if not self.history or scores["score"] > max(row["score"] for row in self.history):
            self.best = self.model
        self.epoch += 1
        self.history.append({"epoch": self.epoch, "loss": loss, **scores, "seconds": seconds})

    def save(self, folder: Path | None) -> None:
        """Write a checkpoint."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        state = {"model": self.model, "best": self.best, "optimizer": self.state}
        card = {"course": asdict(self.course), "identity": self.identity, "epoch": self.epoch, "history": self.history}
        save_weights(folder / "checkpoint.npz", state, card)

    def restore(self, folder: Path | None) -> None:
        """Go on from a checkpoint of the same course, if there is one."""
        path = None if folder is None else folder / "checkpoint.npz"
        if path is None or not path.is_file():
            return
        try:
            weights = load_weights(path)
        except FileFormatError as problem:
            raise FileFormatError(path, f"{problem.problem} Remove it: the training then starts afresh.") from None
        same_course = weights.card["course"] == json.loads(json.dumps(asdict(self.course)))
        if not same_course or weights.card["identity"] != self.identity:
            raise InputError(
                f"{path}: is of another training ({weights.card['course']}, other settings or sheets); remove it or "
                "choose another folder."
            )
        state = restored({"model": self.model, "best": self.best, "optimizer": self.state}, weights.arrays, path)
        self.model, self.best, self.state = state["model"], state["best"], state["optimizer"]
        self.epoch, self.history = weights.card["epoch"], weights.card["history"]
