"""`simulate`: what is kept, what is refused, and that a run which was cut off ends with the same bits."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray
import zarr

from einthoven.core import FileFormatError, ForwardOperator, InputError
from einthoven.geometry.generators import sphere
from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
from einthoven.protocol import Box, Protocol, Stimulus, cross_field
from einthoven.simulate import Activation, Ecg, Monodomain, Movie, PhaseSingularities, Probes, simulate
from einthoven.simulate import run as run_module
from einthoven.simulate.singularities import grid_singularities
from einthoven.tissue import Grid, Tissue

pytestmark = pytest.mark.usefixtures("ctrl_c")

DT, T_END = 0.1, 70.0


def sheet(n: int = 30, m: int = 20) -> Tissue:
    conducting = np.ones((n, m), dtype=bool)
    conducting[10:13, 5:8] = False
    return Tissue.isotropic(Grid((n, m), 0.5, (5.0, -3.0, 2.0)), 0.5, conducting.reshape(-1))


def edge_pulse(duration: float = 2.0) -> Protocol:
    return Protocol((Stimulus(Box((-1e3, -1e3, -1e3), (6.0, 1e3, 1e3)), 1.0, duration, 40.0),))


def lead_field(tissue: Tissue) -> ForwardOperator:
    weights = np.stack([np.linspace(-1, 1, tissue.n_nodes), np.ones(tissue.n_nodes)])
    sites = tuple(f"node:{i}" for i in tissue.nodes)
    return ForwardOperator(weights, sites, ("A", "B"), "vm", "egm")


def everything(tissue: Tissue) -> list:
    return [
        Movie(every=1.0),
        Probes([[8.0, 0.0], [18.0, 4.0]], every=0.5, names=("near", "far")),
        Ecg(lead_field(tissue), every=2.0),
        Activation(max_beats=2),
        PhaseSingularities(every=2.0, delay=4.0),
    ]


@pytest.fixture(scope="module")
def whole():
    tissue = sheet()
    return simulate(Monodomain(tissue, AlievPanfilov1996()), edge_pulse(), T_END, dt=DT, keep=everything(tissue))


def test_results_are_labelled(whole):
    movie = whole.data["movie"]
    assert movie.dims == ("time", "x", "y")
    assert movie.shape == (71, 30, 20)
    np.testing.assert_allclose(movie["time"], np.arange(71.0))
    np.testing.assert_allclose(movie["x"], 5.0 + 0.5 * np.arange(30))
    assert movie.attrs["unit"] == "mV"
    assert whole.data["probes"].dims == ("site", "time")
    assert list(whole.data["probes"]["site"].values) == ["near", "far"]
    assert whole.data["probes"].sizes["time"] == 141
    assert whole.data["ecg"].sizes == {"site": 2, "time": 36}
    assert whole.data["activation"].dims == ("beat", "node")


def test_movie_probe_and_ecg_tell_the_same(whole):
    tissue, movie = whole.tissue, whole.data["movie"]
    assert np.isnan(movie.values[:, 11, 6]).all()
    values = movie.values.reshape(71, -1)[:, tissue.nodes]
    assert np.isfinite(values).all()
    probe = whole.data["probes"].sel(site="near", time=movie["time"]).values
    np.testing.assert_allclose(movie.sel(x=8.0, y=0.0).values, probe, atol=1e-5)
    expected = lead_field(tissue).matrix @ values[::2].T
    np.testing.assert_allclose(whole.data["ecg"].values, expected, rtol=1e-5, atol=1e-3)


def test_activation_follows_the_movie(whole):
    first = whole.data["activation"].values[0]
    assert np.isfinite(first).all()
    movie = whole.data["movie"].values.reshape(71, -1)[:, whole.tissue.nodes]
    frame = (movie >= -40.0).argmax(axis=0)
    assert (frame - 1 - 1e-9 <= first).all()
    assert (first <= frame + 1e-9).all()
    assert np.isnan(whole.data["activation"].values[1]).all()


def test_rest_stays_rest():
    run = simulate(Monodomain(sheet(), AlievPanfilov1996()), Protocol(()), 20.0, dt=DT, keep=[Movie(), Activation()])
    movie = run.data["movie"].values
    assert (movie[np.isfinite(movie)] == -80.0).all()
    assert np.isnan(run.data["activation"].values).all()


@pytest.mark.parametrize("factor", [1, 2, 7])
def test_movie_blocks_are_means_over_conducting_cells(factor):
    tissue = sheet()
    fine = simulate(Monodomain(tissue, AlievPanfilov1996()), edge_pulse(), 10.0, dt=DT, keep=[Movie(dtype="float64")])
    coarse = simulate(
        Monodomain(tissue, AlievPanfilov1996()), edge_pulse(), 10.0, dt=DT, keep=[Movie(factor=factor, dtype="float64")]
    )
    last = fine.data["movie"].values[-1]
    for i, j in np.ndindex(*coarse.data["movie"].shape[1:]):
        block = last[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        expected = np.nan if np.isnan(block).all() else np.nanmean(block)
        np.testing.assert_allclose(coarse.data["movie"].values[-1, i, j], expected)


def test_a_store_holds_what_memory_holds(whole, tmp_path):
    tissue = sheet()
    stored = simulate(
        Monodomain(tissue, AlievPanfilov1996()),
        edge_pulse(),
        T_END,
        dt=DT,
        keep=everything(tissue),
        store=tmp_path / "run.zarr",
    )
    for name, expected in whole.data.items():
        np.testing.assert_array_equal(stored.data[name].values, expected.values)
        on_disk = xarray.open_zarr(tmp_path / "run.zarr", group=name, consolidated=False)
        np.testing.assert_array_equal(on_disk[name].values, expected.values)
        assert on_disk[name].dims == expected.dims
        for key in expected.coords:
            np.testing.assert_array_equal(on_disk[key].values, expected[key].values)
    assert zarr.open_group(tmp_path / "run.zarr", mode="r").attrs["einthoven"]["complete"] is True
    assert not list(tmp_path.glob("*.checkpoint*"))


@pytest.mark.parametrize("stop_at", [37, 250])
def test_an_interrupted_run_ends_with_the_same_bits(whole, tmp_path, stop_at):
    """Ctrl-C is heard between steps; the run goes on from there."""
    tissue, store = sheet(), tmp_path / "run.zarr"

    def press(step, done, total):
        if done >= stop_at:
            signal.raise_signal(signal.SIGINT)

    arguments = dict(dt=DT, keep=everything(tissue), store=store)
    system = Monodomain(tissue, AlievPanfilov1996())
    with pytest.raises(KeyboardInterrupt):
        simulate(system, edge_pulse(), T_END, progress=press, **arguments)
    assert zarr.open_group(store, mode="r").attrs["einthoven"]["complete"] is False
    # rows appended after the checkpoint are cut off on resuming
    zarr.open_group(store, mode="r+")["movie"]["movie"].append(np.full((3, 30, 20), 7.0, dtype="float32"), axis=0)
    resumed = simulate(system, edge_pulse(), T_END, **arguments)
    assert resumed.resumed_at is not None
    assert resumed.resumed_at >= stop_at * DT - 1e-9
    for name, expected in whole.data.items():
        np.testing.assert_array_equal(resumed.data[name].values, expected.values)


def test_a_second_interruption_acts_at_once():
    with run_module._deferred_interrupt(True) as event:
        signal.raise_signal(signal.SIGINT)
        assert event.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_that_is_ignored_stays_ignored():
    """As in a process that a shell started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with run_module._deferred_interrupt(True) as event:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert not event.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_do_not_touch_signals():
    found = []

    def work():
        with run_module._deferred_interrupt(True) as event:
            found.append(event.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from einthoven.simulate import run
run.CHECKPOINT_SECONDS = 0.0
from test_simulate_run import *
tissue = sheet()
def slow(step, done, total):
    print(done, flush=True)
    time.sleep(0.005)
simulate(Monodomain(tissue, AlievPanfilov1996()), edge_pulse(), T_END, dt=DT, keep=everything(tissue), store={store!r},
         progress=slow)
"""


@pytest.mark.slow
def test_a_killed_process_loses_nothing(whole, tmp_path):
    """SIGKILL at some step; the next run ends with the bits of one that was never killed."""
    store = tmp_path / "run.zarr"
    code = KILLED.format(tests=os.path.dirname(__file__), store=str(store))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 150:
            time.sleep(0.003)
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    tissue = sheet()
    system = Monodomain(tissue, AlievPanfilov1996())
    resumed = simulate(system, edge_pulse(), T_END, dt=DT, keep=everything(tissue), store=store)
    assert resumed.resumed_at is not None
    assert resumed.resumed_at > 10.0
    for name, expected in whole.data.items():
        np.testing.assert_array_equal(resumed.data[name].values, expected.values)


def interrupted_store(tmp_path):
    store = tmp_path / "run.zarr"

    def press(step, done, total):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        simulate(
            Monodomain(sheet(), AlievPanfilov1996()),
            edge_pulse(),
            10.0,
            dt=DT,
            keep=[Movie()],
            store=store,
            progress=press,
        )
    return store


@pytest.mark.parametrize(
    "change",
    ["model", "protocol", "length", "keep", "tissue"],
)
def test_an_unfinished_run_of_other_settings_is_refused(tmp_path, change):
    store = interrupted_store(tmp_path)
    model = AlievPanfilov1996(a=0.1) if change == "model" else AlievPanfilov1996()
    protocol = edge_pulse(3.0) if change == "protocol" else edge_pulse()
    t_end = 12.0 if change == "length" else 10.0
    keep = [Movie(every=2.0) if change == "keep" else Movie()]
    tissue = sheet(31) if change == "tissue" else sheet()
    with pytest.raises(InputError, match=r"unfinished run of other settings"):
        simulate(Monodomain(tissue, model), protocol, t_end, dt=DT, keep=keep, store=store)
    run = simulate(Monodomain(tissue, model), protocol, t_end, dt=DT, keep=keep, store=store, fresh=True)
    assert run.resumed_at is None


def test_a_damaged_checkpoint_is_named(tmp_path):
    store = interrupted_store(tmp_path)
    checkpoint = tmp_path / "run.checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:300])
    with pytest.raises(FileFormatError, match=r"checkpoint cannot be read"):
        simulate(Monodomain(sheet(), AlievPanfilov1996()), edge_pulse(), 10.0, dt=DT, keep=[Movie()], store=store)


def test_a_store_shorter_than_its_checkpoint_is_refused(tmp_path):
    store = interrupted_store(tmp_path)
    zarr.open_group(store, mode="r+")["movie"]["movie"].resize((0, 30, 20))
    with pytest.raises(FileFormatError, match=r"does not fit its checkpoint"):
        simulate(Monodomain(sheet(), AlievPanfilov1996()), edge_pulse(), 10.0, dt=DT, keep=[Movie()], store=store)


def test_something_else_in_the_way_is_not_removed(tmp_path):
    mine = tmp_path / "run.zarr"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"not a Zarr store is in the way"):
        simulate(Monodomain(sheet(), AlievPanfilov1996()), edge_pulse(), 10.0, dt=DT, store=mine, fresh=True)
    assert (mine / "thesis.txt").read_text() == "years of work"


BAD = {
    "dt": (dict(dt=-0.1), r"dt must be a positive time"),
    "unstable": (dict(dt=2.0), r"at most 0\.\d+ ms"),
    "length": (dict(t_end=10.05), r"t_end must be a multiple of dt = 0\.1 ms; got 10\.05 ms\. Nearest: 10"),
    "nan": (dict(model=AlievPanfilov1996(a=float("nan"))), r"AlievPanfilov1996\.a: must be finite; got nan"),
    "shape": (dict(model=AlievPanfilov1996(a=np.ones(7))), r"one per conducting node \(591\); got shape \(7,\)"),
    "one nan": (
        dict(model=AlievPanfilov1996(k=np.where(np.arange(591) == 8, np.nan, 8.0))),
        r"AlievPanfilov1996\.k: must be finite; got nan at node 8",
    ),
    "probe": (dict(keep=[Probes([[100.0, 0.0]])]), r"probe-0 at \(100, 0, 2\) mm is 80\.\d mm from the nearest"),
    "probe in hole": (
        dict(keep=[Probes([[10.5, 0.0, 2.0]])]),
        r"probe-0 at \(10\.5, 0, 2\) mm is 1 mm from the nearest",
    ),
    "lead field": (dict(keep=[Ecg(lead_field(sheet(20)))]), r"391 columns, the tissue 591 conducting nodes"),
    "every": (dict(keep=[Movie(every=0.25)]), r"Movie: every must be a multiple of dt"),
    "twice": (dict(keep=[Movie(), Movie(every=2.0)]), r"movie asked for twice"),
    "two activations": (dict(keep=[Activation(), Activation()]), r"activation is asked for twice"),
    "store": (dict(store="somewhere"), r"a folder ending in \.zarr"),
}


@pytest.mark.parametrize("what", BAD)
def test_mistakes_are_one_sentence(what):
    wrong, message = BAD[what]
    arguments = dict(model=AlievPanfilov1996(), t_end=10.0, dt=DT) | wrong
    model, t_end = arguments.pop("model"), arguments.pop("t_end")
    with pytest.raises(InputError, match=message) as caught:
        simulate(Monodomain(sheet(), model), edge_pulse(), t_end, **arguments)
    assert "\n" not in str(caught.value)


def test_a_blow_up_says_when_and_where():
    strong = Protocol((Stimulus(Box((-1e3, -1e3, -1e3), (6.0, 1e3, 1e3)), 3.0, 2.0, 900.0),))
    wild = AlievPanfilov1996(k=-8.0)
    with pytest.raises(
        InputError, match=r"left all bounds at step \d+ \(t = [\d.]+ ms\), first at \(.*\) mm; take a smaller dt"
    ):
        simulate(Monodomain(sheet(), wild), strong, 40.0, dt=DT)


def test_movie_of_a_surface_cannot_be_down_sampled():
    tissue = Tissue.isotropic(sphere(10.0, subdivisions=2), 0.2)
    pulse = Protocol((Stimulus(Box((-20, -20, 8), (20, 20, 20)), 0.0, 2.0, 40.0),))
    with pytest.raises(InputError, match=r"only a grid can be down-sampled"):
        simulate(Monodomain(tissue, AlievPanfilov1996()), pulse, 5.0, dt=DT, keep=[Movie(factor=2)])
    run = simulate(Monodomain(tissue, AlievPanfilov1996()), pulse, 5.0, dt=DT, keep=[Movie()])
    assert run.data["movie"].dims == ("time", "node")


def test_singularities_of_a_drawn_spiral():
    grid = Grid((40, 50), 0.5, (1.0, 2.0, 3.0))
    x, y, _ = grid.points.T
    turning = np.arctan2(y - 12.1, x - 8.3).reshape(grid.shape)
    charge, place = grid_singularities(grid, turning)
    assert charge.tolist() == [1]
    np.testing.assert_allclose(place, [[8.3, 12.1, 3.0]], atol=0.26)
    charge, _ = grid_singularities(grid, -turning)
    assert charge.tolist() == [-1]
    hole = turning.copy()
    hole[14:16, 20:22] = np.nan
    assert grid_singularities(grid, hole)[0].size == 0


@pytest.mark.slow
def test_a_spiral_wave_turns_around_one_point():
    tissue = Tissue.isotropic(Grid((120, 120), 1.2), 1.0)
    protocol = cross_field(tissue, 450.0)
    run = simulate(
        Monodomain(tissue, AlievPanfilov1996()),
        protocol,
        1000.0,
        dt=0.2,
        keep=[PhaseSingularities(every=5.0, delay=10.0), Activation(max_beats=6)],
    )
    count = run.data["phase_singularity_count"]
    assert (count.sel(time=slice(550, 1000)) == 1).mean() > 0.95
    rows, path = run.data["phase_singularities"].values, run.data["phase_singularity_paths"].values
    longest = np.bincount(path[path >= 0]).argmax()
    mine = rows[path == longest]
    assert mine[-1, 0] - mine[0, 0] > 400.0
    assert len(set(mine[:, 1])) == 1
    # it excites most of the sheet again; without the second stimulus everything is at rest by then
    beats = np.isfinite(run.data["activation"].values).sum(axis=0)
    assert np.median(beats) >= 2
