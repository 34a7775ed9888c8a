"""Disturbed bodies and leads: what the data are, that size zero is none, resumption, curves, page."""

import csv

import numpy as np
import pytest

from einthoven.core import InputError, Region, VolumeConductor
from einthoven.forward import bem
from einthoven.forward.lead_errors import center
from einthoven.geometry.distance import farthest_points
from einthoven.geometry.generators import sphere
from einthoven.report.bench_page import disturbance_figure, write_bench_page
from einthoven.studies import bench_cases, bench_inverse, disturbances
from einthoven.studies.bench_cases import BenchCase, bench_data
from einthoven.studies.bench_inverse import INVERSE, BenchStudy, bench_cells, load_bench, run_bench
from einthoven.studies.bench_output import write_bench
from einthoven.studies.bench_tables import curves
from einthoven.studies.disturbances import KINDS, OF_THE_BODY
from einthoven.studies.store import ResultsStore, cell_key

LEADS = [name for name in KINDS if name.startswith(("electrodes", "leads"))]


def study(disturbance: str, sizes: list[float], **more) -> BenchStudy:
    block = {"positions": [1], "seeds": [0], "sigmas": [0.5], "methods": ["tikhonov2:rgcv"], **more}
    block |= {"disturbance": disturbance, "sizes": sizes}
    return BenchStudy.model_validate({"title": "t", "block": [block]})


def change(data, other) -> float:
    return float(
        np.linalg.norm(data.recording.values - other.recording.values) / np.linalg.norm(other.recording.values)
    )


# -- cells ------------------------------------------------------------------------------------------------------------


def test_cells_of_studies_without_disturbances_keep_their_names():
    """What is stored stays found: the key is that of the version before there were disturbances."""
    cell = bench_cells(load_bench("inverse-smoke"))[0]
    assert cell == {
        "geometry": "dalhousie-2007", "case": "one focus", "reference": "absolute", "position": 1, "sigma": 5.0,
        "seed": 0, "method": "tikhonov2:lcurve", "noise": "held-out", "spread": False,
    }  # fmt: skip
    assert cell_key(cell, "bench 0.1.0 3") == "ee2277791c2ab7693162972681c32c0c"
    assert bench_inverse.VERSION == "3"


@pytest.mark.parametrize("name", KINDS)
def test_size_zero_is_no_disturbance(name):
    zero = bench_cells(study(name, [0]))
    none = bench_cells(BenchStudy.model_validate({"title": "t", "block": [{
        "positions": [1], "seeds": [0], "sigmas": [0.5], "methods": ["tikhonov2:rgcv"]}]}))  # fmt: skip
    assert zero == none
    one = bench_cells(study(name, [0, 1]))
    assert one[0] == none[0]
    assert (one[1]["disturbance"], one[1]["size"]) == (name, 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('disturbance = "noise"', "disturbance and sizes belong together"),
        ("sizes = [1]", "disturbance and sizes belong together"),
        ('disturbance = "heart shift"\nsizes = [60]', r"heart shift: the size must be a number from 0 to 50 \(mm\)"),
        ('disturbance = "leads dead"\nsizes = [1.5]', "leads dead: the size must be a whole number from 0"),
        ('disturbance = "lungs left out"\nsizes = [2]', "from 0 to 1"),
        ('disturbance = "heart lost"\nsizes = [1]', "disturbance: .*'heart shift'"),
    ],
)
def test_what_is_wrong_in_a_disturbance(text, words, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(f'title = "x"\n[[block]]\nmethods = ["stre"]\n{text}')
    with pytest.raises(InputError, match=words):
        load_bench(file)


def test_a_wrong_pose_is_not_disturbed_again():
    with pytest.raises(InputError, match="a wrong pose is a disturbance itself"):
        BenchCase(case="wrong pose", disturbance="heart shift", size=5.0)


# -- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_THE_BODY)
def test_another_body_makes_other_data_for_the_same_operator(spheres, name):
    none, small, large = (bench_data(BenchCase(sigma=1e-6, disturbance=name, size=s)) for s in (0.0, 1.0, 8.0))
    assert small.operator is none.operator is spheres.operator
    assert np.array_equal(large.truth.values, none.truth.values)
    if name != "heart rotation":  # of a sphere in the middle, only what the mesh adds
        assert 0.002 < change(small, none) < change(large, none) < 2.0
        assert change(large, none) > 3 * change(small, none)
    other = bench_data(BenchCase(sigma=1e-6, disturbance=name, size=8.0, seed=1))
    assert (change(other, large) > 0.02) == (name != "torso scale")


def test_a_shifted_heart_lies_where_it_should(spheres):
    seen = bench_cases._other_body("dalhousie-2007", "heart shift", 8.0, 0)
    heart, before = seen.source, spheres.seen.source
    assert np.linalg.norm(center(heart) - center(before)) == pytest.approx(8.0)
    near = bench_cases._other_body("dalhousie-2007", "heart shift", 2.0, 0).source
    step, whole = center(near) - center(before), center(heart) - center(before)
    assert step / 2.0 == pytest.approx(whole / 8.0)  # one direction for all sizes
    turned = bench_cases._other_body("dalhousie-2007", "heart rotation", 30.0, 0).source
    assert center(turned) == pytest.approx(center(before), abs=1e-9)
    moved = np.linalg.norm(turned.points - before.points, axis=1)
    assert moved.max() == pytest.approx(2 * 30.0 * np.sin(np.deg2rad(15.0)), rel=0.02)


def test_a_scaled_torso_takes_its_electrodes_along(spheres):
    seen = bench_cases._other_body("dalhousie-2007", "torso scale", 10.0, 0)
    assert seen.conductor.skin.points == pytest.approx(1.1 * spheres.seen.conductor.skin.points, abs=1e-6)
    assert seen.electrodes.positions == pytest.approx(1.1 * spheres.seen.electrodes.positions, abs=1e-6)
    assert np.array_equal(seen.source.points, spheres.seen.source.points)


def test_a_heart_that_does_not_fit_is_refused(spheres, monkeypatch):
    monkeypatch.setattr(disturbances, "DRAWS", 3)
    with pytest.raises(InputError, match="heart that is moved by 40 mm meets the skin or a lung in all of 3"):
        bench_data(BenchCase(disturbance="heart shift", size=40.0))


def test_noise_is_a_share_of_the_signal(spheres):
    clean = bench_data(BenchCase(sigma=1e-9)).recording.values
    data = bench_data(BenchCase(sigma=1e-9, disturbance="noise", size=10.0))
    assert (data.recording.values - clean).std() == pytest.approx(0.1 * np.sqrt((clean**2).mean()), rel=0.05)
    assert data.sigma == pytest.approx(0.1 * np.sqrt((clean**2).mean()))
    both = bench_data(BenchCase(sigma=3.0, disturbance="noise", size=10.0))
    assert both.sigma == pytest.approx(np.hypot(3.0, data.sigma))
    average = bench_data(BenchCase(sigma=1e-9, reference="average", disturbance="noise", size=10.0))
    assert average.sigma < data.sigma
    assert bench_inverse._sigma(BenchCase(sigma=1e-9, disturbance="noise", size=10.0), "told") == data.sigma


@pytest.mark.parametrize("name", LEADS)
def test_leads_are_taken_away_or_changed(spheres, name):
    none, data = (bench_data(BenchCase(sigma=2.0, disturbance=name, size=s)) for s in (0.0, 12.0))
    again = bench_data(BenchCase(sigma=2.0, disturbance=name, size=12.0, seed=1))
    assert data.operator.out_sites == data.recording.sites
    kept = {"electrodes": 12, "leads dead, masked": 36}.get(name, 48)
    assert data.recording.n_sites == kept
    if kept < 48:
        assert np.array_equal(data.recording.values, none.recording.select(data.recording.sites).values)
        assert np.array_equal(data.operator.matrix, none.operator.select(data.recording.sites).matrix)
        assert data.recording.sites != again.recording.sites
        return
    wrong = np.flatnonzero((data.recording.values != none.recording.values).any(axis=1))
    assert len(wrong) == (24 if name == "leads swapped" else 12)
    if name == "leads swapped":
        assert sorted(data.recording.values.sum(axis=1)) == pytest.approx(sorted(none.recording.values.sum(axis=1)))
    else:
        spread = data.recording.values[wrong].std()
        assert spread == (0.0 if name == "leads flat" else pytest.approx(2.0, rel=0.1))


def test_dead_leads_are_the_same_ones_whether_masked_or_not(spheres):
    none, dead, masked, flat = (
        bench_data(BenchCase(disturbance=name, size=5.0)).recording
        for name in ("noise", "leads dead", "leads dead, masked", "leads flat")
    )
    lost = set(none.sites) - set(masked.sites)
    for recording in (dead, flat):
        kept = recording.select(masked.sites)
        assert np.array_equal(kept.values, masked.values)
    assert {s for s, v in zip(flat.sites, flat.values, strict=True) if not v.any()} == lost


@pytest.mark.parametrize(("name", "size"), [("electrodes", 49), ("leads swapped", 25), ("leads dead", 46)])
def test_more_leads_than_there_are(spheres, name, size):
    with pytest.raises(InputError, match=rf"{name}: {size} .* of 48 leads are too many"):
        bench_data(BenchCase(disturbance=name, size=float(size)))


def test_electrodes_are_spread():
    line = np.linspace(0, 10, 11)[:, None] * np.array([1.0, 0.0, 0.0])
    assert list(farthest_points(line, 3, 0)) == [0, 10, 5]
    assert sorted(farthest_points(line, 11, 4)) == list(range(11))


def test_lungs_are_left_out_of_the_operator_alone(spheres, monkeypatch):
    with pytest.raises(InputError, match="this geometry has no lungs"):
        bench_data(BenchCase(disturbance="lungs left out", size=1.0))
    lung = Region(sphere(6.0, subdivisions=1, center=(45.0, 0.0, 0.0), name="left_lung"), 0.05)

    def with_lung(operator):
        torso = VolumeConductor(operator.conductor.torso, (lung,))
        return bem.transfer(operator.source, torso, operator.electrodes)

    place = bench_cases._Place(with_lung(spheres.operator), spheres.surface, with_lung(spheres.seen))
    monkeypatch.setattr(bench_cases, "_place", lambda geometry: place)
    bench_cases._wave.cache_clear()
    known, unknown = (bench_data(BenchCase(disturbance="lungs left out", size=s)) for s in (0.0, 1.0))
    assert np.array_equal(known.recording.values, unknown.recording.values)
    assert known.operator is place.operator
    assert unknown.operator.matrix == pytest.approx(spheres.operator.matrix, abs=1e-12)
    assert not np.allclose(unknown.operator.matrix, known.operator.matrix, rtol=1e-3)


# -- runs, tables, page -----------------------------------------------------------------------------------------------


def test_a_run_goes_on_and_its_curves_begin_undisturbed(spheres, tmp_path, monkeypatch):
    several = study("electrodes", [0, 24, 12], seeds=[0, 1])
    real, computed = bench_inverse.compute_cell, []

    def cut_off(config):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(config)
        return real(config)

    monkeypatch.setattr(bench_inverse, "compute_cell", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_bench(INVERSE, several, tmp_path / "out", page=None)
    assert not (tmp_path / "out" / "metrics.json").exists()
    monkeypatch.setattr(bench_inverse, "compute_cell", lambda config: computed.append(config) or real(config))
    result = write_bench(INVERSE, several, tmp_path / "out", page=write_bench_page)
    assert len(computed) == 6
    assert len({str(c) for c in computed}) == 6

    assert [(line["size"], line["data_sets"]) for line in result.tables["curves"]] == [(0, 2), (12, 2), (24, 2)]
    errors = {line["size"]: line["relative_error"] for line in result.tables["curves"]}
    assert errors[12] > errors[24] > errors[0]
    with (tmp_path / "out" / "curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["unit"] == "electrodes"
    assert float(lines[1]["relative_error"]) == pytest.approx(errors[12])
    names = {p.name for p in (tmp_path / "out" / "curves").iterdir()}
    stem = "electrodes-dalhousie-2007-one-focus-absolute-0-5mv"
    assert names == {f"{stem}.png", f"{stem}.svg"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>electrodes: dalhousie-2007, one focus, absolute reference, noise 0.5 mV</h2>" in page
    assert page.count("<img") == 2

    fewer = run_bench(study("electrodes", [12], seeds=[0]), ResultsStore(tmp_path / "none"))
    assert [line["size"] for line in curves(fewer[0])] == [12]


def test_lines_of_curves_and_their_labels():
    base = {"geometry": "g", "case": "c", "reference": "absolute", "sigma": 1.0, "position": 1, "noise": "told"}
    rows = [
        {**base, "seed": s, "method": m, "disturbance": "electrodes", "size": float(n), "relative_error": 1 / n + s}
        for s in (0, 1, 2) for m in ("stre", "tsvd") for n in (12, 64)
    ]  # fmt: skip
    plain = [{**base, "seed": s, "method": "stre", "relative_error": 0.0} for s in (0, 1, 2, 9)]
    lines = curves(plain + rows)
    assert [(x["method"], x["size"], x["data_sets"]) for x in lines] == [
        ("stre", 0.0, 3), ("stre", 12.0, 3), ("tsvd", 12.0, 3), ("stre", 64.0, 3), ("tsvd", 64.0, 3),
    ]  # fmt: skip
    (axes,) = disturbance_figure(lines).axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["12", "64", "all"]
    assert [c.get_label() for c in axes.containers] == ["stre", "tsvd"]
    assert list(axes.containers[0].lines[0].get_xdata()) == [0, 1, 2]  # a line from left to right
    assert axes.get_xlabel() == "electrodes"
