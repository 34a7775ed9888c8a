"""The trainer on a model whose answer is known; checkpoints and resuming."""

import jax.numpy as jnp
import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.surrogate.training import Course, Moment, train

ITEMS = [float(x) for x in range(-8, 9)]


class Line:
    """y = 3 x - 1 by least squares; the model is a dict of two numbers."""

    def __init__(self, stop_after: int | None = None):
        self.calls, self.stop_after, self.moments = 0, stop_after, []

    def gradient(self, model, items, moment: Moment):
        self.calls += 1
        self.moments.append(moment)
        if self.stop_after is not None and self.calls > self.stop_after:
            raise KeyboardInterrupt
        x = np.array(items)
        error = float(model["a"]) * x + float(model["b"]) - (3 * x - 1)
        return float((error**2).mean()), {"a": jnp.asarray(2 * (error * x).mean()), "b": jnp.asarray(2 * error.mean())}

    def score(self, model, items):
        return {"score": -abs(float(model["a"]) - 3) - abs(float(model["b"]) + 1)}


def start():
    return {"a": jnp.zeros(()), "b": jnp.zeros(())}


def test_a_line_is_fitted():
    told = []
    learner = Line()
    found = train(learner, start(), ITEMS, ITEMS, Course(60, 4, 0.2), progress=lambda *a: told.append(a))
    assert float(found.model["a"]) == pytest.approx(3, abs=0.02)
    assert float(found.model["b"]) == pytest.approx(-1, abs=0.02)
    assert len(found.history) == 60
    assert told[-1][1:] == (300, 300)
    assert told[-1][0].startswith("training: loss ")
    assert learner.moments[0].done == 0
    assert learner.moments[-1].done < 1
    assert len({m.key for m in learner.moments}) == 300


def test_the_best_epoch_is_kept():
    class Worse(Line):
        def score(self, model, items):
            return {"score": float(-len(self.moments))}

    found = train(Worse(), start(), ITEMS, ITEMS, Course(5, 4, 0.2))
    after_one = train(Worse(), start(), ITEMS, ITEMS, Course(5, 4, 0.2)).model
    assert float(found.model["a"]) == float(after_one["a"])
    last = train(Line(), start(), ITEMS, ITEMS, Course(5, 4, 0.2)).model
    assert abs(float(found.model["a"]) - 3) > 1 > abs(float(last["a"]) - 3)


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    course = Course(6, 4, 0.1, seed=2)
    whole = train(Line(), start(), ITEMS, ITEMS, course)
    with pytest.raises(KeyboardInterrupt):
        train(Line(stop_after=13), start(), ITEMS, ITEMS, course, folder=tmp_path)
    learner = Line()
    rest = train(learner, start(), ITEMS, ITEMS, course, folder=tmp_path)
    assert learner.calls == 20
    assert float(rest.model["a"]) == float(whole.model["a"])
    assert [r["loss"] for r in rest.history] == [r["loss"] for r in whole.history]


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    train(Line(), start(), ITEMS, ITEMS, Course(1, 4), folder=tmp_path)
    for course, identity in ((Course(1, 5), ""), (Course(1, 4), "other sheets")):
        with pytest.raises(InputError, match="is of another training"):
            train(Line(), start(), ITEMS, ITEMS, course, folder=tmp_path, identity=identity)


def test_what_cannot_be_trained():
    with pytest.raises(InputError, match="sheets to train on"):
        train(Line(), start(), [], ITEMS, Course())
    with pytest.raises(InputError, match="at least one epoch"):
        Course(epochs=0)

    class Broken(Line):
        def gradient(self, model, items, moment):
            return float("nan"), model

    with pytest.raises(InputError, match="not finite at step 1; lower the rate"):
        train(Broken(), start(), ITEMS, ITEMS, Course())
