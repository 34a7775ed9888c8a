"""The weights that come with the package: small, described, and better than what needs no learning."""

import numpy as np
import pytest

from einthoven.surrogate.baselines import eikonal, no_learning
from einthoven.surrogate.limits import Limits
from einthoven.surrogate.models import FrameEcg, Origin, TissueEcg, load_surrogate, packaged, statistics, weights_path
from einthoven.surrogate.recipe import Condition
from einthoven.surrogate.scores import ecg_scores
from einthoven.surrogate.sheets import simulate_sheet
from surrogate_cases import recipe

#: Sheets that no set holds: another seed.
FRESH = recipe(size=32.0, t_end=480.0, seed=12345)


@pytest.fixture(scope="module")
def sheets():
    condition = Condition(name="fresh", sheets=3, textures=("thresholded",), density=(0.1, 0.2))
    return [simulate_sheet(FRESH, condition, k)[0] for k in range(3)]


def test_there_are_some():
    wanted = ("neural-eikonal", "neural-eikonal-slabs", "neural-eikonal-fine", "neural-eikonal-mitchell-schaeffer")
    movies = ("lead-field-net", "lead-field-net-2mm", "lead-field-net-fibers", "seq2seq")
    assert {*wanted, *movies} == set(packaged())


@pytest.mark.parametrize("name", packaged())
def test_weights_are_small_and_described(name):
    assert weights_path(name).stat().st_size < 1_000_000
    _, card = load_surrogate(name)
    for key in ("title", "recipe", "seed", "training_sheets", "validation", "training_seconds", "versions", "limits"):
        assert key in card


def are_for_fresh(name: str) -> bool:
    """Whether weights are for sheets such as the fresh ones, of any size."""
    surrogate, card = load_surrogate(name)
    origin = Origin(**card["origin"])
    like = origin.dimension == 2 and origin.spacing == FRESH.spacing and origin.membrane == FRESH.membrane
    return like and not isinstance(surrogate, FrameEcg)


@pytest.mark.parametrize("name", [n for n in packaged() if are_for_fresh(n)])
def test_a_fresh_sheet_is_predicted_better_than_without_learning(name, sheets):
    surrogate, card = load_surrogate(name)
    limits = Limits.of_card(card["limits"])
    learned, plain = [], []
    for sheet in sheets:
        assert limits.judge(statistics(surrogate, sheet)).distance < 2
        if isinstance(surrogate, TissueEcg):
            pair, true, times = (surrogate.predict(sheet), eikonal(sheet, FRESH.membrane)), sheet.ecg, sheet.ecg_times
        else:
            base = no_learning(sheet, surrogate.pixel, FRESH.membrane)  # type: ignore[attr-defined]
            pair, true, times = (surrogate.predict(sheet), base), sheet.ecg_of_frames, sheet.movie_times
        for into, found in zip((learned, plain), pair, strict=True):
            into.append(ecg_scores(found, true, times)["r2"].mean())
    assert np.mean(learned) > 0.98
    assert 1 - np.mean(learned) < 0.7 * (1 - np.mean(plain))
