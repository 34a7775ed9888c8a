"""Waves across the wall of a closed surface: a shell of 12 mm between two spheres."""

import numpy as np
import pytest

from einthoven.core import InputError, Surface
from einthoven.geometry.generators import sphere
from einthoven.geometry.operators import node_areas
from einthoven.inverse.physics.focal_wave import FocalWave, Foci
from einthoven.inverse.physics.reaction_diffusion import ReactionDiffusion, across
from einthoven.inverse.physics.waves import imaging_cells


def shell() -> Surface:
    outer, inner = (sphere(r, subdivisions=2, name="heart") for r in (30.0, 18.0))
    triangles = np.concatenate([outer.triangles, inner.triangles[:, ::-1] + outer.n_points])
    return Surface(np.concatenate([outer.points, inner.points]), triangles, "shell")


def test_every_node_and_the_one_across_it():
    surface = shell()
    matrix, area, n = across(surface, 14.0).toarray(), node_areas(surface), surface.n_points // 2
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(matrix.sum(axis=1), 0.0, atol=1e-12)
    shared = (area[:n] + area[n:]) / 12.0**2
    assert np.allclose(np.diag(matrix), np.tile(shared, 2))
    assert np.allclose(np.diag(matrix[:n, n:]), -shared)
    assert not across(surface, 11.0).toarray().any()


def test_a_wave_breaks_through():
    surface = shell()
    peaks = {}
    for wall in (None, 14.0):
        cells = ReactionDiffusion.on(surface, imaging_cells(), step=4.0, wall=wall)
        model = FocalWave.on(surface, cells, 4.0 * np.arange(40), radius=6.0)
        u = model.fields(Foci(surface.points[[5]].copy(), np.array([4.0]), 4.0)).u
        peaks[wall] = u.max(axis=1).reshape(2, -1).min(axis=1)
    assert peaks[14.0].min() > 0.8
    assert peaks[None][0] > 0.8
    assert peaks[None][1] < 0.2


def test_a_wall_has_a_thickness():
    with pytest.raises(InputError, match=r"thickness of its wall must be positive; got 0\.0"):
        across(shell(), 0.0)
