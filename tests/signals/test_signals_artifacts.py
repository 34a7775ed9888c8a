import numpy as np
import pytest

from einthoven.core import InputError, Recording
from einthoven.signals.artifacts import bridge_artifacts, stimulus_artifacts


def _beat(spike_at: int | None, *, seed: int = 0) -> Recording:
    """A smooth QRS-like wave in eight leads, 1 kHz, 5 uV noise, with a 2 ms spike."""
    rng = np.random.default_rng(seed)
    times = np.arange(400.0)
    gains = rng.normal(size=(8, 1))
    values = gains * np.exp(-(((times - 200) / 18) ** 2)) + 0.005 * rng.normal(size=(8, 400))
    if spike_at is not None:
        values[:, spike_at : spike_at + 2] += rng.normal(size=(8, 1))
    return Recording(values, times, tuple(f"e{i}" for i in range(8)), "bsp")


@pytest.mark.parametrize("where", [60, 150, 350])
def test_a_spike_is_found_where_it_is(where):
    spans = stimulus_artifacts(_beat(where))
    assert len(spans) == 1
    start, stop = spans[0]
    assert start == where - 1
    assert stop == where + 2


@pytest.mark.parametrize("seed", range(5))
def test_a_plain_beat_has_no_spike(seed):
    assert stimulus_artifacts(_beat(None, seed=seed)) == ()


def test_bridging_restores_the_wave_under_the_spike():
    clean, spiked = _beat(None), _beat(60)
    bridged = bridge_artifacts(spiked, stimulus_artifacts(spiked))
    outside = np.r_[0:60, 62:400]
    np.testing.assert_array_equal(bridged.values[:, outside], spiked.values[:, outside])
    assert np.abs(bridged.values - clean.values).max() < 0.03  # the noise is 5 uV, the spike about 1 mV
    assert np.abs(spiked.values - clean.values).max() > 0.5


def test_a_span_outside_is_refused():
    with pytest.raises(InputError, match=r"cannot bridge -5\.\.3 ms"):
        bridge_artifacts(_beat(None), [(-5.0, 3.0)])


def test_paced_tank_recordings_have_their_two_stimuli(data_dir):
    from einthoven.datasets import load_case

    for name, first, second in (("utah-cage-tank", 68, 466), ("utah-sock", 51, 449)):
        recording = load_case(name).recording
        spans = stimulus_artifacts(recording)
        assert len(spans) == 2
        assert abs(np.mean(spans[0]) - first) <= 1
        assert abs(np.mean(spans[1]) - second) <= 1
