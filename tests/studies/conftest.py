"""Concentric spheres in place of the measured geometry: the code of the comparison in seconds."""

import pytest


@pytest.fixture
def spheres(monkeypatch):
    """Small geometry, larger diffusivity."""
    from einthoven.core import Electrodes, Region, VolumeConductor
    from einthoven.forward import bem
    from einthoven.geometry.generators import sphere
    from einthoven.geometry.remesh import refined
    from einthoven.studies import bench_cases, bench_inverse

    heart, skin = sphere(30.0, subdivisions=2, name="heart"), sphere(60.0, subdivisions=2, name="skin")
    torso = VolumeConductor(Region(skin, 0.2))
    electrodes = Electrodes(tuple(f"E{i}" for i in range(48)), skin.points[:48])
    fine = refined(heart, curved=True).surface
    place = bench_cases._Place(
        bem.transfer(heart, torso, electrodes),
        fine,
        bem.transfer(fine, VolumeConductor(Region(refined(skin).surface, 0.2)), electrodes),
    )
    monkeypatch.setattr(bench_cases, "_place", lambda geometry: place)
    monkeypatch.setattr(bench_cases, "DIFFUSIVITY", 4.0)
    monkeypatch.setattr(bench_cases, "APART", 40.0)
    monkeypatch.setattr(bench_cases, "N_TIMES", 40)
    of_cases = (bench_cases._wave, bench_cases._displaced, bench_cases._other_body, bench_cases._lungless)
    for cached in (*of_cases, bench_inverse._sigma):
        cached.cache_clear()
    yield place
    for cached in (*of_cases, bench_inverse._sigma):
        cached.cache_clear()
