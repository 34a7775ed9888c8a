"""`simulate`: step a monodomain through a protocol and keep what was asked for."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np

from einthoven.core import InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.io.stream import Channel, MemoryStream, Stream, ZarrStream, fingerprint
from einthoven.ionic import IonicModel
from einthoven.protocol import Protocol
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.engine import BlowUp, Engine
from einthoven.simulate.keep import Activation, Keep, Recorder
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.pulses import Pulses
from einthoven.tissue import Tissue

if TYPE_CHECKING:
    import xarray

#: Seconds between checkpoints of a run that streams to a store.
CHECKPOINT_SECONDS = 20.0
#: Progress is told, and an interruption heard, at least this often (steps).
_MOST_STEPS = 500


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a simulation gave.

    Parameters
    ----------
    monodomain, protocol, dt, t_end
        What was run; times in ms.
    data
        Labelled arrays by name, as the objects in `keep` describe them: potentials in mV, times in ms.
    steps
        Number of time steps.
    seconds
        Wall time of the stepping, of all sittings together.
    resumed_at
        Time (ms) of the checkpoint that the last sitting went on from; None for a run in one go.
    """

    monodomain: Monodomain
    protocol: Protocol
    dt: float
    t_end: float
    data: Mapping[str, "xarray.DataArray"]
    steps: int
    seconds: float
    resumed_at: float | None = None

    def __repr__(self) -> str:
        kept = ", ".join(self.data) or "nothing"
        return (
            f"Simulation({type(self.model).__name__} on {self.tissue!r}, {self.steps} steps of {self.dt:g} ms in "
            f"{self.seconds:.3g} s, kept: {kept})"
        )

    @property
    def tissue(self) -> Tissue:
        """The tissue."""
        return self.monodomain.tissue

    @property
    def model(self) -> IonicModel:
        """The membrane."""
        return self.monodomain.model

    def recording(self, name: str) -> Recording:
        """Probes or leads as a `Recording`.

        Raises
        ------
        InputError
            If nothing of that name was kept, or it is not (site, time).
        """
        if name not in self.data or self.data[name].dims != ("site", "time"):
            have = ", ".join(k for k, v in self.data.items() if v.dims == ("site", "time")) or "none"
            raise InputError(f"no recording {name!r} was kept; there is {have}.")
        return Recording.from_xarray(self.data[name])


def simulate(
    monodomain: Monodomain,
    protocol: Protocol,
    t_end: float,
    *,
    dt: float,
    keep: Sequence[Keep | Activation] = (),
    store: str | Path | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> Simulation:
    """Step from rest through a protocol.

    Parameters
    ----------
    monodomain
        Tissue, membrane, scheme and precision.
    protocol
        Stimuli.
    t_end
        Length of the simulation, ms; a multiple of dt.
    dt
        Time step, ms. Explicit diffusion has a limit, which is checked before the first step.
    keep
        What to keep: `Movie`, `Probes`, `Ecg`, `Activation`, `PhaseSingularities`. Looks happen at t = 0 and every
        `every` ms.
    store
        Folder ending in ``.zarr`` to which results are streamed, with a checkpoint about every 20 s and on Ctrl-C. A
        run that was cut off there goes on from its checkpoint and ends with the same bits. None: results stay in
        memory.
    fresh
        Start over, even if `store` holds an unfinished run.
    progress
        Told about time steps.

    Returns
    -------
    Simulation
        With everything that was asked for.

    Raises
    ------
    InputError
        If dt is unstable or does not divide the intervals, a stimulus or probe lies outside the tissue, the tissue or
        the membrane's parameters do not fit, or the potential leaves all bounds (the message says when).
    KeyboardInterrupt
        After Ctrl-C; with a store, once a checkpoint has been written.

    Examples
    --------
    >>> from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
    >>> from einthoven.protocol import Box, Protocol, Stimulus
    >>> from einthoven.tissue import Grid
    >>> cable = Tissue.isotropic(Grid((100,), 0.25), 0.1)
    >>> pulse = Stimulus(Box((0, 0, 0), (1, 0, 0)), 0.0, 2.0, 50.0)
    >>> run = simulate(Monodomain(cable, AlievPanfilov1996()), Protocol((pulse,)), 60.0, dt=0.1, keep=[Activation()])
    >>> bool(run.data["activation"][0].diff("node").min() > 0)
    True
    """
    n_steps = _whole(t_end, dt, "t_end")
    run = _Run(monodomain, protocol, n_steps, dt, keep)
    stream = _open_stream(run, store, fresh)
    resumed_at = run.restore(stream)
    with _deferred_interrupt(isinstance(stream, ZarrStream)) as interrupted:
        run.go(stream, interrupted, progress)
    return _finished(run, stream, protocol, t_end, resumed_at)


# -- the loop ---------------------------------------------------------------------------------------------------------


class _Run:
    """One run: engine, recorders, and where it stands."""

    def __init__(self, monodomain: Monodomain, protocol: Protocol, n_steps: int, dt: float, keep: Sequence[Any]):
        self.monodomain, self.n_steps, self.dt = monodomain, n_steps, dt
        tissue, model = monodomain.tissue, monodomain.model
        check_parameters(model, tissue)
        self.keeps = tuple(k for k in keep if not isinstance(k, Activation))
        self.activation = _only_activation(keep)
        self.strides = tuple(_whole(k.every, dt, f"{type(k).__name__}: every") for k in self.keeps)
        self.recorders = tuple(k.start(tissue, model) for k in self.keeps)
        self.pulses = Pulses.of(protocol, tissue, model, dt)
        self.engine = Engine(monodomain, dt)
        self.engine.load(*resting_state(model, tissue.n_nodes))
        self.crossings = _crossings(self.activation, model, tissue.n_nodes)
        self.step, self.seconds = 0, 0.0
        _unique_channels(self.recorders)

    def go(self, stream: Stream, interrupted: threading.Event, progress: Progress) -> None:
        """Step to the end; sample where it is due."""
        begun = saved = time.perf_counter()
        before = self.seconds
        if self.step == 0:
            self._sample(stream)
        while self.step < self.n_steps:
            self._advance()
            self._sample(stream)
            now = time.perf_counter()
            self.seconds = before + now - begun
            progress("simulating", self.step, self.n_steps)
            if isinstance(stream, ZarrStream) and (now - saved > CHECKPOINT_SECONDS or interrupted.is_set()):
                self.save(stream)
                saved = now
            if interrupted.is_set():
                raise KeyboardInterrupt

    def _advance(self) -> None:
        due = [self.step + stride - self.step % stride for stride in self.strides]
        stop = min([*due, self.step + _MOST_STEPS, self.n_steps])
        try:
            self.engine.advance(stop - self.step, self.step, self.pulses, self.crossings)
        except BlowUp as trouble:
            raise InputError(_blow_up_sentence(trouble, self.monodomain, self.dt)) from None
        self.step = stop

    def _sample(self, stream: Stream) -> None:
        wanted = [r for r, stride in zip(self.recorders, self.strides, strict=True) if self.step % stride == 0]
        if not wanted:
            return
        vm = np.asarray(self.monodomain.model.scale.to_mv(self.engine.potential().astype(np.float64)))
        for recorder in wanted:
            for name, rows in recorder.sample(self.step * self.dt, vm).items():
                stream.append(name, rows)

    def save(self, stream: ZarrStream) -> None:
        """Write a checkpoint."""
        v, states = self.engine.state()
        state: dict[str, np.ndarray] = {"v": v, "states": states, "step": np.asarray(self.step)}
        state["seconds"] = np.asarray(self.seconds)
        if self.crossings is not None:
            state |= {
                f"crossings/{name}": getattr(self.crossings, name) for name in ("rise", "fall", "n_rise", "n_fall")
            }
        for k, recorder in enumerate(self.recorders):
            state |= {f"recorder{k}/{name}": values for name, values in recorder.memory().items()}
        stream.checkpoint(state)

    def restore(self, stream: Stream) -> float | None:
        """Take up a checkpoint if there is one; the time at which it was made."""
        if not isinstance(stream, ZarrStream) or stream.restored is None:
            return None
        state = stream.restored
        self.engine.load(state["v"], state["states"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        if self.crossings is not None:
            for name in ("rise", "fall", "n_rise", "n_fall"):
                getattr(self.crossings, name)[...] = state[f"crossings/{name}"]
        for k, recorder in enumerate(self.recorders):
            prefix = f"recorder{k}/"
            recorder.recall({n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
        return self.step * self.dt


def _open_stream(run: _Run, store: str | Path | None, fresh: bool) -> Stream:
    channels = tuple(c for r in run.recorders for c in r.channels)
    if store is None:
        return MemoryStream(channels)
    if Path(store).suffix != ".zarr":
        raise InputError(f"{store}: results are streamed to a folder ending in .zarr; add the ending.")
    return ZarrStream(store, channels, fingerprint=_fingerprint(run), fresh=fresh)


def _fingerprint(run: _Run) -> str:
    """Of everything that decides the numbers."""
    coupling = run.monodomain.tissue.coupling
    leaves = jax.tree_util.tree_leaves(run.monodomain.model)
    description = {
        "model": type(run.monodomain.model).__name__,
        "structure": str(jax.tree_util.tree_structure(run.monodomain.model)),
        "scheme": repr(run.monodomain.scheme),
        "dtype": run.monodomain.dtype,
        "dt": run.dt,
        "steps": run.n_steps,
        "activation": repr(run.activation),
        "keeps": [_described(k) for k in run.keeps],
        "strides": run.strides,
        "channels": [(c.name, c.dims, c.shape, c.dtype) for r in run.recorders for c in r.channels],
    }
    arrays = [np.asarray(leaf) for leaf in leaves] + [v for v in vars(coupling).values() if isinstance(v, np.ndarray)]
    arrays += [v for v in vars(run.pulses).values() if isinstance(v, np.ndarray)]
    return fingerprint(description, *arrays)


def _described(keep: Keep) -> dict[str, str]:
    """Every field of a keep as text; arrays, and matrices of operators, by checksum."""
    found = {"kind": type(keep).__name__}
    for name, value in vars(keep).items():
        value = getattr(value, "matrix", value)
        numbers = isinstance(value, (np.ndarray, list)) and not isinstance(value, str)
        found[name] = fingerprint({}, np.asarray(value)) if numbers else repr(value)
    return found


def _finished(run: _Run, stream: Stream, protocol: Protocol, t_end: float, resumed_at: float | None) -> Simulation:
    extra: dict[str, tuple[Channel, np.ndarray]] = dict(_activation_arrays(run))
    coords: dict[str, dict[str, np.ndarray]] = {}
    data: dict[str, Any] = {}
    for recorder, stride in zip(run.recorders, run.strides, strict=True):
        kept = {c.name: stream.read(c.name) for c in recorder.channels}
        extra |= recorder.finish(kept)
        for channel in recorder.channels:
            values = kept[channel.name]
            if channel.grows == "time":
                coords[channel.name] = {"time": stride * run.dt * np.arange(values.shape[channel.axis])}
            data[channel.name] = channel.labelled(values, coords.get(channel.name, {}))
    for name, (channel, values) in extra.items():
        data[name] = channel.labelled(values, {})
    if isinstance(stream, ZarrStream):
        stream.complete(extra, coords)
    return Simulation(run.monodomain, protocol, run.dt, t_end, data, run.n_steps, run.seconds, resumed_at)


# -- small parts ------------------------------------------------------------------------------------------------------


def _whole(length: float, dt: float, what: str) -> int:
    """How many steps fit into a time; it must be a whole number."""
    if not 0 < dt < 1e3:
        raise InputError(f"dt must be a positive time in ms; got {dt:g}. Typical: 0.01 to 0.1.")
    if not 0 < length < 1e9:
        raise InputError(f"{what} must be a positive time in ms; got {length:g}.")
    steps = round(length / dt)
    if steps < 1 or abs(length - steps * dt) > 1e-6 * dt * max(steps, 1):
        raise InputError(
            f"{what} must be a multiple of dt = {dt:g} ms; got {length:g} ms. Nearest: {max(steps, 1) * dt:.10g} ms."
        )
    return steps


def check_parameters(model: IonicModel, tissue: Tissue) -> None:
    """Raise `InputError` unless all parameters are finite and scalars or one value per node."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        name, value = jax.tree_util.keystr(path).lstrip("."), np.asarray(leaf)
        if value.ndim and value.shape != (tissue.n_nodes,):
            raise InputError(
                f"{type(model).__name__}.{name}: must be one number or one per conducting node ({tissue.n_nodes}); got "
                f"shape {value.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(value.reshape(-1)))
        if bad.size:
            where = f" at node {bad[0]}" if value.ndim else ""
            raise InputError(f"{type(model).__name__}.{name}: must be finite; got {value.reshape(-1)[bad[0]]}{where}.")


def resting_state(model: IonicModel, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Potential (model unit, shape (n_nodes,)) and states (n_states, n_nodes) of cells at rest."""
    with jax.enable_x64(True):
        v, states = model.rest()
    full = np.empty((len(model.states), n_nodes))
    for row, value in enumerate(states):
        full[row] = np.asarray(value, dtype=np.float64)
    return np.broadcast_to(np.asarray(v, dtype=np.float64), (n_nodes,)).copy(), full


def _only_activation(keep: Sequence[Any]) -> Activation | None:
    found = [k for k in keep if isinstance(k, Activation)]
    if len(found) > 1:
        raise InputError("keep: activation is asked for twice; one set of levels can be watched in a run.")
    return found[0] if found else None


def _unique_channels(recorders: Sequence[Recorder]) -> None:
    names = [c.name for r in recorders for c in r.channels]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"keep: {', '.join(twice)} asked for twice; give one of them another name, or leave it out.")


def _crossings(activation: Activation | None, model: IonicModel, n_nodes: int) -> Crossings | None:
    if activation is None:
        return None
    scale = model.scale
    return Crossings.empty(
        activation.max_beats,
        n_nodes,
        rise_level=float(scale.from_mv(activation.level)),
        fall_level=float(scale.from_mv(activation.recovery_level)),
    )


def _activation_arrays(run: _Run) -> Iterator[tuple[str, tuple[Channel, np.ndarray]]]:
    if run.activation is None or run.crossings is None:
        return
    tissue = run.monodomain.tissue
    names = np.asarray([f"node:{i}" for i in tissue.nodes])
    levels = {"activation": (run.activation.level, run.crossings.rise)}
    levels["recovery"] = (run.activation.recovery_level, run.crossings.fall)
    for name, (level, times) in levels.items():
        attrs = {"quantity": name, "unit": "ms", "level_mv": level}
        yield (
            name,
            (Channel(name, ("beat", "node"), "beat", (tissue.n_nodes,), {"node": names}, "float64", attrs), times),
        )


def _blow_up_sentence(trouble: BlowUp, monodomain: Monodomain, dt: float) -> str:
    tissue = monodomain.tissue
    where = ", ".join(f"{c:g}" for c in tissue.points[trouble.node])
    return (
        f"the potential left all bounds at step {trouble.step} (t = {trouble.step * dt:g} ms), first at ({where}) mm; "
        f"take a smaller dt than {dt:g} ms, a weaker stimulus, or check the membrane's parameters there."
    )


@contextmanager
def _deferred_interrupt(wanted: bool) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that the loop ends between steps; a second one acts at once.

    Where Ctrl-C is ignored, as in a process that a shell started in the background, it stays ignored.
    """
    event = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not wanted or not in_main or previous is signal.SIG_IGN:
        yield event
        return

    def heard(number: int, frame: Any) -> None:
        del number, frame
        signal.signal(signal.SIGINT, cast(Any, previous))
        event.set()

    signal.signal(signal.SIGINT, heard)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, cast(Any, previous))
