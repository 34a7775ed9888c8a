"""Files of weights: the same numbers back, and nothing else is accepted."""

import json
import pickle

import equinox as eqx
import jax
import numpy as np
import pytest

from einthoven.core import FileFormatError, InputError
from einthoven.surrogate.weights import in_half_precision, load_weights, parameters, restored, save_weights


def net(seed: int = 0, width: int = 4) -> eqx.nn.MLP:
    return eqx.nn.MLP(2, 1, width, 1, key=jax.random.PRNGKey(seed))


def test_weights_come_back(tmp_path):
    path = tmp_path / "weights.npz"
    save_weights(path, net(1), {"title": "a", "scores": [0.5, 1.0]})
    arrays, card = load_weights(path)
    assert card == {"title": "a", "scores": [0.5, 1.0]}
    back = restored(net(2), arrays, path)
    assert eqx.tree_equal(back, net(1))
    assert not eqx.tree_equal(back, net(2))


def test_half_precision_takes_half_the_room_and_loses_nothing(tmp_path):
    whole, rounded = net(width=256), in_half_precision(net(width=256))
    assert not eqx.tree_equal(rounded, whole)
    for name, values in parameters(rounded).items():
        assert np.allclose(values, parameters(whole)[name], rtol=1e-3, atol=1e-6)
    sizes = []
    for k, model in enumerate((whole, rounded)):
        path = tmp_path / f"{k}.npz"
        save_weights(path, model, {})
        sizes.append(path.stat().st_size)
        assert eqx.tree_equal(restored(net(2, width=256), load_weights(path).arrays, path), model)
    assert sizes[1] < 0.7 * sizes[0]


def test_weights_of_another_model(tmp_path):
    path = tmp_path / "weights.npz"
    save_weights(path, net(width=8), {})
    with pytest.raises(InputError, match=r"weights of another model: .*differ in name or shape"):
        restored(net(), load_weights(path).arrays, path)
    arrays = parameters(net())
    arrays.pop(next(iter(arrays)))
    with pytest.raises(InputError, match="another model"):
        restored(net(), arrays, "x")


class Evil:
    """Would run on unpickling."""

    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_objects_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.array([Evil()], dtype=object), card=np.zeros(3, np.uint8))
    with pytest.raises(FileFormatError, match="holds no weights of einthoven, or is damaged"):
        load_weights(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FileFormatError, match="holds no weights"):
        load_weights(path)


def test_damaged_files(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_weights(path)
    save_weights(path, net(), {})
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(FileFormatError, match="holds no weights"):
            load_weights(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(FileFormatError, match="holds no weights"):
        load_weights(path)
    card = np.frombuffer(json.dumps({}).encode(), np.uint8)
    np.savez(path, a=np.array([np.nan]), card=card)
    with pytest.raises(FileFormatError, match="not finite"):
        load_weights(path)
    monkeypatch.setattr("einthoven.surrogate.weights.LARGEST_BYTES", 100)
    with pytest.raises(FileFormatError, match="larger than"):
        load_weights(path)


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, a=np.zeros(100_000), card=np.zeros(3, np.uint8))
    monkeypatch.setattr("einthoven.surrogate.weights.LARGEST_BYTES", 5_000)
    with pytest.raises(FileFormatError, match="unpacks to 1 MB"):
        load_weights(path)
