"""Measured pairs: the operator's prediction of the tank from the potentials on the heart."""

import numpy as np
import pytest

from einthoven.core import Electrodes, Region, Surface, VolumeConductor
from einthoven.forward import bem
from einthoven.forward.references import referenced
from einthoven.geometry.operators import node_normals


def test_measured_tank_is_predicted_from_the_measured_cage(data_dir):
    data = np.load(data_dir / "utah_cage_tank" / "cage_tank.npz")
    cage = Surface(data["cage602_pts_mm"], data["cage602_tri"].astype(np.int64), "cage")
    tank = Surface(data["tank771_pts_mm"], data["tank771_tri"].astype(np.int64), "tank")
    leads = data["tank192_node_idx"].astype(int)
    electrodes = Electrodes(tuple(f"L{i}" for i in leads), tank.points[leads])
    operator = bem.transfer(cage, VolumeConductor(Region(tank, 0.2)), electrodes)
    np.testing.assert_allclose(operator.matrix.sum(axis=1), 1.0, atol=1e-12)
    measured = data["tank192_mV"] - data["tank192_mV"].mean(axis=0)
    predicted = referenced(operator, "average").apply(data["cage_mV"])
    error = np.linalg.norm(predicted - measured) / np.linalg.norm(measured)
    assert 0.08 < error <= 0.097
    assert np.corrcoef(predicted.ravel(), measured.ravel())[0, 1] >= 0.9975


def test_sock_matrix_agrees_with_an_independent_code(data_dir):
    data = np.load(data_dir / "utah_sock25feb97_tank" / "sock_tank.npz")
    sock = Surface(data["sock128_pts_mm"], data["sock128_tri"].astype(np.int64), "sock")
    tank = Surface(data["tank771_pts_mm"], data["tank771_tri"].astype(np.int64), "tank")
    matrix = bem.transfer(sock, VolumeConductor(Region(tank, 0.2))).matrix
    other = data["scirun_forward_771x128"]
    assert np.linalg.norm(matrix - other) / np.linalg.norm(other) < 0.06
    beat = data["sock128_mV"]
    assert np.linalg.norm((matrix - other) @ beat) / np.linalg.norm(other @ beat) < 0.045


@pytest.mark.long
@pytest.mark.slow
def test_ventricles_with_closed_endo_and_epicardium(data_dir):
    """Real anatomy: transmembrane potentials to an envelope 2 mm outside the pericardium and on to the skin."""
    from scipy.io import loadmat

    folder = data_dir / "kit_cei" / "ventricles"

    def surface(file: str, name: str) -> Surface:
        content = loadmat(folder / f"{file}.mat", squeeze_me=True, struct_as_record=False)
        mesh = next(value for key, value in content.items() if not key.startswith("_"))
        found = Surface(np.asarray(mesh.points, dtype=float), np.asarray(mesh.cells, dtype=np.int64) - 1, name)
        return found.repaired()

    torso, heart, around = (surface(f, f) for f in ("torso", "heart_res1", "heart_peri_res1"))
    envelope = around.with_points(around.points + 2.0 * node_normals(around))  # the file's touches the heart
    volume = VolumeConductor(Region(torso, 0.2))
    direct = bem.double_layer(heart, volume)
    assert np.abs(direct.matrix.sum(axis=1)).max() < 1e-7 * np.abs(direct.matrix).sum(axis=1).max()
    both = bem.transfer(envelope, volume) @ bem.double_layer_to_surface(heart, volume, envelope)
    seed = heart.points[np.argmax(heart.points[:, 2])]
    distance = np.linalg.norm(heart.points - seed, axis=1)
    for front in (30.0, 45.0):
        vm = 100 / (1 + np.exp((distance - front) / 2.0))
        exact = direct.apply(vm)
        assert np.linalg.norm(both.apply(vm) - exact) / np.linalg.norm(exact) < 0.012
