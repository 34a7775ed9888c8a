"""Zarr stores and operators in .npz: exact, whole or refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray

from einthoven.core import (
    Electrodes,
    FileFormatError,
    ForwardOperator,
    InputError,
    Reconstruction,
    Recording,
    Region,
    VolumeConductor,
    WeightCurve,
)
from einthoven.geometry.generators import sphere
from einthoven.io.cases import convert
from einthoven.io.registry import read, write
from einthoven.io.zarr_store import _to_node, load_operator, load_zarr, save_operator, save_zarr


def recording(n: int = 3, quantity="bsp") -> Recording:
    rng = np.random.default_rng(n)
    values = rng.normal(size=(n, 6)) * 1e-3
    return Recording(values, np.cumsum(rng.uniform(1, 2, 6)), tuple(f"µ{i} /x" for i in range(n)), quantity, "wilson")


def operator() -> ForwardOperator:
    heart, torso = sphere(1.0, subdivisions=0, name="h"), sphere(3.0, subdivisions=0, name="skin")
    lung = sphere(0.2, subdivisions=0, center=(2.0, 0.0, 0.0), name="lung")
    electrodes = Electrodes(("e1", "ä2"), torso.points[:2])
    rng = np.random.default_rng(0)
    return ForwardOperator(
        rng.normal(size=(3, heart.n_points)),
        heart.node_names,
        ("I", "II", "III"),
        "hsp",
        "ecg",
        reference="wilson",
        source=heart,
        conductor=VolumeConductor(Region(torso, 0.2), (Region(lung, 0.05),)),
        electrodes=electrodes,
        lead_matrix=rng.normal(size=(3, 2)),
    )


def reconstruction(*, curve: bool = True) -> Reconstruction:
    sweep = np.geomspace(1e-3, 1e2, 5)
    criterion = np.array([np.nan, 1.0, 2.0, 1.0, np.nan])
    return Reconstruction(
        recording(4, "hsp"),
        recording(3),
        "tikhonov2",
        "lcurve",
        0.1 + 0.2,
        WeightCurve(sweep, sweep**2, sweep**-2, criterion, sweep[2], "curvature") if curve else None,
        {"iterations": 3.0, "gap": float("inf")},
    )


def same(a, b):
    """Equality of nouns to the last bit."""
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=True)
    elif hasattr(a, "__dataclass_fields__"):
        assert type(a) is type(b)
        for name in a.__dataclass_fields__:
            same(getattr(a, name), getattr(b, name))
    elif isinstance(a, tuple) and a and hasattr(a[0], "__dataclass_fields__"):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize(
    "obj",
    [
        recording(),
        sphere(7.0, subdivisions=1, name="s p"),
        Electrodes(("a", "b"), np.arange(6.0).reshape(2, 3)),
        operator(),
        reconstruction(),
        reconstruction(curve=False),
    ],
    ids=lambda o: type(o).__name__,
)
def test_round_trip_is_exact(tmp_path, obj):
    save_zarr(obj, tmp_path / "a.zarr")
    same(obj, load_zarr(tmp_path / "a.zarr"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("suffix", [".npz", ".zarr"])
def test_operators(tmp_path, suffix):
    full = operator()
    bare = ForwardOperator(np.eye(2), ("a", "b"), ("c", "d"), "hsp", "bsp")
    for made in (full, bare):
        save_operator(made, tmp_path / f"op{suffix}")
        same(made, load_operator(tmp_path / f"op{suffix}"))


def test_several_by_name(tmp_path):
    both = {"tikhonov2": reconstruction(), "greensite": reconstruction(curve=False)}
    save_zarr(both, tmp_path / "r.zarr")
    found = load_zarr(tmp_path / "r.zarr")
    assert list(found) == ["tikhonov2", "greensite"]
    same(both["tikhonov2"], found["tikhonov2"])
    with pytest.raises(InputError, match=r"names in a Zarr store must not .*got 'a/b'"):
        save_zarr({"a/b": recording()}, tmp_path / "b.zarr")
    with pytest.raises(FileFormatError, match=r"holds several objects \(tikhonov2, greensite\); read it with"):
        read(tmp_path / "r.zarr")


def test_xarray_reads_it_labelled(tmp_path):
    made = reconstruction()
    save_zarr(made, tmp_path / "r.zarr")
    with xarray.open_zarr(tmp_path / "r.zarr", group="estimate", consolidated=False) as found:
        assert found["potential"].dims == ("site", "time")
        assert found["potential"].attrs["quantity"] == "hsp"
        assert found["potential"].attrs["unit"] == "mV"
        assert found["potential"].attrs["reference"] == "wilson"
        assert list(found["site"].values) == list(made.estimate.sites)
        back = Recording.from_xarray(found["potential"].load())
    same(made.estimate, back)


def test_operators_as_files(tmp_path):
    for suffix in (".npz", ".zarr"):
        write(operator(), tmp_path / f"o{suffix}")
        assert np.array_equal(read(tmp_path / f"o{suffix}").array("matrix"), operator().matrix)
        found = load_operator(tmp_path / f"o{suffix}")
        assert (found.in_sites, found.out_quantity, found.reference) == (operator().in_sites, "ecg", "wilson")
        with pytest.raises(
            InputError, match=r"a bare array has no sampling rate and no names, which \.(npz|zarr) files"
        ):
            write(np.eye(2), tmp_path / f"a{suffix}")


def test_convert_keeps_the_geometry_of_an_operator(tmp_path):
    save_operator(operator(), tmp_path / "o.zarr")
    convert(tmp_path / "o.zarr", tmp_path / "o.npz")
    convert(tmp_path / "o.npz", tmp_path / "again.zarr")
    same(operator(), load_operator(tmp_path / "again.zarr"))


def test_as_a_file_format(tmp_path):
    write(recording(), tmp_path / "r.zarr")
    same(recording(), read(tmp_path / "r.zarr").time_series)
    save_zarr(reconstruction(), tmp_path / "e.zarr")
    assert read(tmp_path / "e.zarr").info["method"] == "tikhonov2"
    same(reconstruction().estimate, read(tmp_path / "e.zarr").time_series)
    write(Electrodes(("a",), np.ones((1, 3))), tmp_path / "p.zarr")
    assert read(tmp_path / "p.zarr").names["electrodes"] == ("a",)
    with pytest.raises(InputError, match=r"cannot store a list; a Zarr store holds Recording, Surface"):
        _to_node([1])


def test_nothing_else_is_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="something that is not a Zarr store is in the way"):
        save_zarr(recording(), tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "thesis.txt").read_text() == "x"
    with pytest.raises(InputError, match=r"the folder .*no does not exist"):
        save_zarr(recording(), tmp_path / "no" / "a.zarr")
    save_zarr(recording(3), tmp_path / "b.zarr")
    save_zarr(recording(4), tmp_path / "b.zarr")
    same(recording(4), load_zarr(tmp_path / "b.zarr"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_an_interrupted_write_leaves_the_old_store(tmp_path, monkeypatch):
    save_zarr(recording(3), tmp_path / "b.zarr")
    monkeypatch.setattr("einthoven.io.zarr_store._checksum", lambda values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_zarr(recording(4), tmp_path / "b.zarr")
    monkeypatch.undo()
    same(recording(3), load_zarr(tmp_path / "b.zarr"))
    assert [p.name for p in tmp_path.iterdir()] == ["b.zarr"]


def _edit(path: Path, change) -> None:
    meta = json.loads((path / "zarr.json").read_text())
    change(meta["attributes"])
    (path / "zarr.json").write_text(json.dumps(meta))


DAMAGE = [
    (lambda p: _edit(p, lambda a: a.pop("einthoven")), "is not complete: it was not finished, or not written by"),
    (lambda p: _edit(p, lambda a: a["einthoven"].update(complete=False)), "is not complete"),
    (lambda p: _edit(p, lambda a: a["einthoven"].update(layout=99)), "has layout 99; this version reads 1"),
    (lambda p: _edit(p, lambda a: a["einthoven"].pop("checksums")), "has no checksums"),
    (lambda p: _edit(p, lambda a: a.update(kind="novel")), "unknown kind of object, 'novel'"),
    (lambda p: _edit(p, lambda a: a.pop("method")), "stored reconstruction lacks 'method'"),
    (lambda p: (p / "zarr.json").write_text("{"), "cannot be opened as a Zarr group"),
    (lambda p: (p / "zarr.json").unlink(), "is not a Zarr store"),
    (lambda p: shutil.rmtree(p / "estimate" / "potential"), "array 'estimate/potential' is missing"),
    (
        lambda p: shutil.rmtree(p / "estimate" / "potential" / "c"),
        "array 'estimate/potential' differs from its checksum",
    ),
    (lambda p: shutil.rmtree(p / "estimate" / "site" / "c"), "array 'estimate/site' differs from its checksum"),
    (lambda p: shutil.rmtree(p / "residual"), "array 'residual/.*' is missing"),
    (lambda p: (p / "estimate" / "potential" / "zarr.json").write_text("{}"), "damaged|missing"),
]


@pytest.mark.parametrize(("damage", "match"), DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_stores_are_refused(tmp_path, damage, match):
    path = tmp_path / "r.zarr"
    save_zarr(reconstruction(), path)
    damage(path)
    with pytest.raises(FileFormatError, match=match) as caught:
        load_zarr(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_every_lost_or_altered_file_is_noticed(tmp_path):
    save_zarr(reconstruction(), tmp_path / "whole.zarr")
    chunks = [p.relative_to(tmp_path / "whole.zarr") for p in (tmp_path / "whole.zarr").rglob("*") if p.is_file()]
    chunks = [c for c in chunks if c.name != "zarr.json"]
    assert len(chunks) > 10
    for chunk in chunks:
        for change in ("lost", "altered", "empty"):
            shutil.copytree(tmp_path / "whole.zarr", tmp_path / "d.zarr")
            target = tmp_path / "d.zarr" / chunk
            raw = target.read_bytes()
            target.unlink()
            if change != "lost":
                target.write_bytes(b"" if change == "empty" else raw[:-1] + bytes([raw[-1] ^ 1]))
            with pytest.raises(FileFormatError, match=r"d\.zarr: array"):
                load_zarr(tmp_path / "d.zarr")
            shutil.rmtree(tmp_path / "d.zarr")


def test_operator_files_that_are_none(tmp_path):
    with pytest.raises(FileFormatError, match="there is no such file"):
        load_operator(tmp_path / "no.npz")
    with pytest.raises(FileFormatError, match="there is no such Zarr store"):
        load_operator(tmp_path / "no.zarr")
    np.savez(tmp_path / "a.npz", matrix=np.eye(2))
    with pytest.raises(FileFormatError, match=r"was not written by einthoven \(it has no entry 'kind'\)"):
        load_operator(tmp_path / "a.npz")
    np.savez(tmp_path / "p.npz", kind=np.array([{"code": 1}], dtype=object))
    with pytest.raises(FileFormatError, match=r"cannot be read as \.npz \(kind\.npy holds objects, which are not read"):
        load_operator(tmp_path / "p.npz")
    np.save(tmp_path / "s.npy", np.eye(2))
    (tmp_path / "s.npy").rename(tmp_path / "s.npz")
    with pytest.raises(FileFormatError, match=r"cannot be read as \.npz \(File is not a zip file"):
        load_operator(tmp_path / "s.npz")
    save_operator(operator(), tmp_path / "o.npz")
    raw = (tmp_path / "o.npz").read_bytes()
    for cut in (0, 10, len(raw) // 2, len(raw) - 5):
        (tmp_path / "c.npz").write_bytes(raw[:cut])
        with pytest.raises(FileFormatError, match=r"c\.npz: cannot be read as \.npz"):
            load_operator(tmp_path / "c.npz")
    save_zarr(recording(), tmp_path / "r.zarr")
    with pytest.raises(FileFormatError, match="holds a Recording, not an operator"):
        load_operator(tmp_path / "r.zarr")
    with pytest.raises(InputError, match=r"an operator is written to \.npz or \.zarr; got '\.csv'"):
        save_operator(operator(), tmp_path / "o.csv")


def test_utah_size_operator(tmp_path):
    matrix = np.random.default_rng(5).normal(size=(771, 602))
    names = tuple(f"cage:{i}" for i in range(602)), tuple(f"tank:{i}" for i in range(771))
    big = ForwardOperator(matrix, *names, "hsp", "bsp")
    for suffix in (".npz", ".zarr"):
        save_operator(big, tmp_path / f"o{suffix}")
        same(big, load_operator(tmp_path / f"o{suffix}"))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_criterion_that_is_nowhere_defined_round_trips(tmp_path, sign):
    curve = WeightCurve(np.arange(1.0, 4.0), np.ones(3), np.ones(3), np.full(3, np.copysign(np.nan, sign)), 1.0, "c")
    save_zarr(Reconstruction(recording(), recording(), "m", "r", 1.0, curve), tmp_path / "a.zarr")
    back = load_zarr(tmp_path / "a.zarr").curve.criterion
    assert np.isnan(back).all()
    assert (np.signbit(back) == (sign < 0)).all()
