"""Compiled stepping of the monodomain equation on the CPU.

The kernels are made from the membrane model's own definition: its step is traced, read into a straight-line program,
and written as vector instructions together with the diffusion, so that one step of a cell is one visit to its memory
(`einthoven.simulate.codegen`, `program`, `lanes`, `kernels`, `kernels_module`). The loop over steps and cells is common
to all (`kernels_driver`). Results do not depend on the number of threads, bit for bit, nor on how a run is cut into
calls of `Engine.advance`.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from einthoven.core import InputError
from einthoven.simulate.codegen import Membrane
from einthoven.simulate.crossings import Crossings
from einthoven.simulate.kernels import Shape, ways_of
from einthoven.simulate.kernels_module import Pass, Sweeps, load, solver_source
from einthoven.simulate.layout import layout
from einthoven.simulate.monodomain import Monodomain
from einthoven.simulate.program import Program
from einthoven.simulate.pulses import Pulses
from einthoven.simulate.schemes import Explicit, Godunov, Scheme, SemiImplicit, Strang

#: A potential beyond this many mV in size is a blow-up.
LIMIT_MV = 1000.0

#: Conjugate gradients give up after this many iterations.
MOST_ITERATIONS = 5000

#: Work that is worth a thread of its own, in operations: about twenty microseconds.
_OPERATIONS_PER_TASK = 400_000


class BlowUp(ArithmeticError):
    """The potential left every plausible range (`LIMIT_MV`), or became NaN.

    Parameters
    ----------
    step
        First step after which it was seen.
    node
        A node where it was seen.
    """

    def __init__(self, step: int, node: int):
        self.step = step
        self.node = node
        super().__init__(f"the potential of node {node} blew up in step {step}.")

    def __reduce__(self):
        return BlowUp, (self.step, self.node)


class _Sweep(NamedTuple):
    """One pass over all cells, from row to row of the potentials; row 0 is the step's start, row 1 its end."""

    kind: Pass
    source: int
    base: int
    target: int


class Engine:
    """Steps a tissue in place.

    Parameters
    ----------
    monodomain
        Tissue, membrane, scheme, dtype.
    dt
        Time step, ms.

    Raises
    ------
    InputError
        If dt is not positive or above `largest_dt`, a parameter of the membrane does not fit the tissue, or the
        membrane uses an operation that the kernels do not have.

    Examples
    --------
    >>> from einthoven.ionic.aliev_panfilov_1996 import AlievPanfilov1996
    >>> from einthoven.tissue import Grid
    >>> sheet = Tissue.isotropic(Grid((40, 40), 0.25), 0.1)
    >>> engine = Engine(Monodomain(sheet, AlievPanfilov1996()), 0.1)
    >>> engine.load(np.full(1600, 0.5), np.zeros((1, 1600)))
    >>> engine.advance(100, 0, Pulses.none())
    >>> float(np.ptp(engine.state()[0]))
    0.0
    """

    def __init__(self, monodomain: Monodomain, dt: float):
        self.monodomain, self.dt = monodomain, float(dt)
        self.largest_dt = largest_dt(monodomain)
        _check_dt(self.dt, self.largest_dt)
        membrane = _traced(monodomain)
        self._dtype = np.dtype(monodomain.dtype)
        shape = Shape(8 * self._dtype.itemsize, ways_of(membrane.program), None)
        self._layout = placed = layout(monodomain.tissue.coupling, shape.lanes, shape.ways, self._dtype)
        self._sweeps = _sweeps(monodomain.scheme)
        self._shape = shape._replace(n_offsets=placed.n_offsets)
        self._plan = self._planned(membrane)
        self._cost = _operations(membrane.program)
        self._allocate(membrane)
        self._implicit = self._prepare_implicit()

    def _planned(self, membrane: Membrane) -> tuple[np.ndarray, ...]:
        """Addresses of the sweeps of a step, -1 for implicit diffusion, and their rows."""
        kinds = tuple(dict.fromkeys(s.kind for s in self._sweeps if s.kind.diffusion != "solve"))
        self._module = load(Sweeps(str(membrane.program), kinds, self._shape).source())
        at = {kind: getattr(self._module, f"sweep{k}").address for k, kind in enumerate(kinds)}
        table = [(at.get(s.kind, -1), *s[1:]) for s in self._sweeps]
        return tuple(np.array(table, dtype=np.int64).T.copy())

    def _allocate(self, membrane: Membrane) -> None:
        """Arrays that live as long as the engine."""
        placed, model, dtype = self._layout, self.monodomain.model, self._dtype
        shared, cells = _parameters(membrane, model, self.dt, self.n_nodes)
        table = np.concatenate([shared, _constants(membrane.program, dtype)])
        by_vector = placed.spread(cells).astype(dtype)
        weights = (self._diffusion_dt * placed.weights).astype(dtype)
        rows = 1 + max(max(s.source, s.base, s.target) for s in self._sweeps)
        rows += 0 if isinstance(self.monodomain.scheme.diffusion, Explicit) else 3  # of conjugate gradients
        self._where = np.arange(rows) * placed.row + placed.margin
        states = np.zeros(len(placed.nodes) * len(model.states), dtype)
        table = table.astype(dtype).repeat(placed.lanes)
        buffers = np.zeros(rows * placed.row, dtype)
        buffers, weights, table, by_vector, states = map(_aligned, (buffers, weights, table, by_vector, states))
        coupling = (weights, placed.neighbors, placed.offsets, placed.row, placed.margin)
        self._memory = (buffers, *coupling, table, by_vector, states)
        self._driven: tuple[Pulses, Any, Any] | None = None

    @property
    def n_nodes(self) -> int:
        """Number of conducting nodes."""
        return len(self._layout.places)

    @property
    def memory_bytes(self) -> int:
        """Memory of all arrays that a step reads or writes."""
        return sum(a.nbytes for a in self._memory if isinstance(a, np.ndarray))

    @property
    def _diffusion_dt(self) -> float:
        """Time that one diffusion step takes."""
        return self.dt / 2 if isinstance(self.monodomain.scheme, Strang) else self.dt

    def load(self, v: Float[np.ndarray, " n_nodes"], states: Float[np.ndarray, "n_states n_nodes"]) -> None:
        """Set the potential (model unit) and the states."""
        names = self.monodomain.model.states
        if v.shape != (self.n_nodes,) or states.shape != (len(names), self.n_nodes):
            raise InputError(
                f"the state must be v ({self.n_nodes},) and states ({len(names)}, {self.n_nodes}); got {v.shape} and "
                f"{states.shape}."
            )
        buffers, placed = self._memory[0], self._layout
        buffers[:] = 0
        buffers[self._where[0] + placed.cells] = placed.spread(v[None])
        self._memory[-1][:] = placed.spread(states)

    def state(self) -> tuple[Float[np.ndarray, " n_nodes"], Float[np.ndarray, "n_states n_nodes"]]:
        """Copies of the potential (model unit) and the states."""
        placed = self._layout
        states = placed.collect(self._memory[-1], len(self.monodomain.model.states))
        return self.potential(), states

    def potential(self) -> Float[np.ndarray, " n_nodes"]:
        """Copy of the potential alone (model unit)."""
        return self._memory[0][self._where[0] + self._layout.places]

    def advance(self, n_steps: int, first_step: int, pulses: Pulses, crossings: Crossings | None = None) -> None:
        """Take n_steps steps, the first of which is number first_step.

        Parameters
        ----------
        n_steps, first_step
            Steps are numbered from the start of the simulation: step n leads from time n dt to (n + 1) dt.
        pulses
            Stimuli.
        crossings
            What to note of level crossings; filled in place.

        Raises
        ------
        BlowUp
            With the first step after which |v| was above `LIMIT_MV` or NaN.
        InputError
            If implicit diffusion did not reach its tolerance.
        """
        from einthoven.simulate import kernels_driver

        placed, limit = self._layout, plausible(self.monodomain.model)
        bounds, driven = self._bounds(), self._drive(pulses)
        found, watch = np.full(len(bounds) - 1, -1), self._watch(crossings)
        groups = (placed.firsts, placed.counts, placed.nodes, placed.lanes, placed.ways)
        done = kernels_driver.advance(
            n_steps, first_step, self.dt, (*self._plan, self._where), self._memory, groups, *driven, limit,
            crossings is not None, watch, bounds, found, self._implicit,
        )  # fmt: skip
        if self._implicit is not None and self._implicit[-1][1]:
            raise InputError(
                f"implicit diffusion did not reach its tolerance in {MOST_ITERATIONS} iterations; take a smaller dt "
                f"than {self.dt:g} ms or a larger tolerance."
            )
        if done < n_steps:
            v = self._memory[0][self._where[1] + placed.places]
            raise BlowUp(first_step + done, int(np.argmin(np.abs(v) <= limit)))

    def _bounds(self) -> np.ndarray:
        """First group of every thread's part, and the end."""
        import numba

        n = self._layout.n_groups
        work = n * self._layout.lanes * self._layout.ways * self._cost
        tasks = max(1, min(numba.get_num_threads(), n, int(work // _OPERATIONS_PER_TASK)))
        return np.linspace(0, n, tasks + 1).astype(np.int64)

    def _drive(self, pulses: Pulses) -> tuple[Any, Any]:
        """Pulses with places instead of nodes, and room for what the nodes held."""
        if self._driven is None or self._driven[0] is not pulses:
            if pulses.nodes.size and not 0 <= pulses.nodes.min() <= pulses.nodes.max() < self.n_nodes:
                raise InputError(f"pulses drive nodes beyond the {self.n_nodes} of the tissue.")
            places = self._layout.places[pulses.nodes]
            arrays = (pulses.start_step, pulses.stop_step, pulses.pointers, places, pulses.values, pulses.clamp)
            parts = (self.dt / 2, self.dt / 2) if isinstance(self.monodomain.scheme, Strang) else (self.dt, 0.0)
            self._driven = (pulses, (*map(np.array, arrays), *parts), np.empty(len(places), self._dtype))
        return self._driven[1:]

    def _watch(self, crossings: Crossings | None) -> tuple[Any, ...]:
        if crossings is None:
            nothing, none = np.zeros((0, 0)), np.zeros(0, np.int64)
            return 0.0, 0.0, nothing, nothing, none, none
        if crossings.rise.shape[1:] != (self.n_nodes,):
            raise InputError(f"crossings were made for {crossings.rise.shape[1]} nodes; the tissue has {self.n_nodes}.")
        times = (crossings.rise, crossings.fall, crossings.n_rise, crossings.n_fall)
        return float(crossings.rise_level), float(crossings.fall_level), *times

    def _prepare_implicit(self) -> tuple[Any, ...] | None:
        """What the solver of implicit diffusion needs; last the iterations taken, and whether it ever gave up."""
        from einthoven.simulate import kernels_driver

        scheme, placed, taken = self.monodomain.scheme.diffusion, self._layout, np.zeros(2, np.int64)
        if not isinstance(scheme, SemiImplicit):
            return None
        inverse, mass = np.ones(placed.length, self._dtype), np.zeros(placed.length, self._dtype)
        rates = -np.asarray(self.monodomain.tissue.coupling.matrix().diagonal(), dtype=np.float64)
        inverse[placed.places] = 1.0 / (1.0 + scheme.theta * self._diffusion_dt * rates)
        volumes = self.monodomain.tissue.volumes
        mass[placed.places] = volumes / volumes.max()
        tolerance = max(scheme.tolerance, 4.0 * float(np.finfo(self._dtype).eps))
        sums = np.zeros((-(-placed.n_groups // kernels_driver.BLOCK), 2))
        self._solver = load(solver_source(self._shape))
        parts = [getattr(self._solver, name).address for name in ("begin", "apply", "move", "turn")]
        return np.array(parts), scheme.theta, tolerance, MOST_ITERATIONS, (inverse, mass), sums, taken


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line: NumPy's begin at 16 bytes, and every other vector would lie across two."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    copy = memory[begin : begin + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def plausible(model: Any) -> float:
    """Largest size of v, model unit, within `LIMIT_MV`."""
    return float(np.abs(model.scale.from_mv(np.array([-LIMIT_MV, LIMIT_MV]))).max())


def largest_dt(monodomain: Monodomain) -> float:
    """Largest stable dt of the diffusion, ms; infinite where it is solved implicitly."""
    if not isinstance(monodomain.scheme.diffusion, Explicit):
        return float("inf")
    rate = monodomain.tissue.coupling.largest_rate()
    parts = 2 if isinstance(monodomain.scheme, Strang) else 1
    return 2.0 * parts / rate if rate else float("inf")


def _check_dt(dt: float, largest: float) -> None:
    if not 0 < dt < 1e3:
        raise InputError(f"dt must be a positive time in ms; got {dt:g}. Typical: 0.01 to 0.1.")
    if dt > largest:
        raise InputError(
            f"dt must be at most {largest:.4g} ms, where explicit diffusion stays stable on this tissue; got {dt:g} "
            "ms. Lower dt, take a coarser grid, or SemiImplicit diffusion."
        )


def _traced(monodomain: Monodomain) -> Membrane:
    from einthoven.ionic.stepping import reaction_step
    from einthoven.simulate.codegen import trace
    from einthoven.simulate.second_order import midpoint_step

    second = isinstance(monodomain.scheme, Strang)
    return trace(monodomain.model, midpoint_step if second else reaction_step)


def _sweeps(scheme: Scheme) -> tuple[_Sweep, ...]:
    """Passes of one step."""
    react, copy, solve = Pass("none", True), Pass("none", False), Pass("solve", False)
    euler, heun = Pass("euler", False), Pass("heun", False)
    once, twice = Pass("euler", True), Pass("heun", True)
    implicit = isinstance(scheme.diffusion, SemiImplicit)
    first_order = isinstance(scheme.diffusion, Explicit) and scheme.diffusion.order == 1
    if isinstance(scheme, Godunov):
        if implicit:
            return _Sweep(solve, 0, 0, 2), _Sweep(react, 2, 2, 1)
        return (_Sweep(once, 0, 0, 1),) if first_order else (_Sweep(euler, 0, 0, 2), _Sweep(twice, 2, 0, 1))
    if implicit:
        first = _Sweep(solve, 0, 0, 2), _Sweep(react, 2, 2, 3)
        return *first, _Sweep(solve, 3, 3, 2), _Sweep(copy, 2, 2, 1)
    if first_order:
        return _Sweep(once, 0, 0, 2), _Sweep(euler, 2, 2, 1)
    first = _Sweep(euler, 0, 0, 2), _Sweep(twice, 2, 0, 3)
    return *first, _Sweep(euler, 3, 3, 2), _Sweep(heun, 2, 3, 1)


def _operations(program: Program) -> int:
    """Rough number of operations of one cell in one step."""
    from einthoven.simulate.lanes import ELEMENTARY

    return sum(20 if i.op in ELEMENTARY else 1 for i in program.instructions)


def _constants(program: Program, dtype: np.dtype) -> list[float]:
    from einthoven.simulate.lanes import constants

    return constants(program, 8 * dtype.itemsize)


def _parameters(membrane: Membrane, model: Any, dt: float, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Shared and cell inputs of the program; the latter (n_inputs, n_nodes)."""
    shared, cells = membrane.values(model, dt)
    if any(c.shape != (n_nodes,) for c in cells):
        found = next(c.shape for c in cells if c.shape != (n_nodes,))
        raise InputError(
            f"parameters of {membrane.name} must be numbers or have one value per conducting node ({n_nodes}); got "
            f"shape {found}."
        )
    return shared, np.array(cells).reshape(len(cells), n_nodes)
