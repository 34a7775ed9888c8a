"""The ECG of an activation map: action potentials that start when the wave arrives, seen by an exact lead field.

The reaction-eikonal model (Neic et al. 2017, doi:10.1016/j.jcp.2017.06.020, without its diffusive part): a node k that
is activated at T_k shows v_k(t) = U(t - T_k; d_k), U the action potential of a planar wave and d_k its duration when
uncoupled. Coupling evens out what follows the upstroke. Instead of smoothing repolarization in every run, the lead
field is smoothed once, which is the same for a linear operator:

    ECG(t) = sum_k L_k U_up(t - T_k) + sum_k (S^T L)_k (U - U_up)(t - T_k; d_k),    S = (1 + tau / 2 K)^-2,

with U_up the upstroke, held from `SPLIT` on, and K = -div(D grad). Sums over nodes go through bins of activation time,
linear between bins; what is left is a convolution for each class of durations. All of it is differentiable in T.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.fft import irfft, rfft

from einthoven.core import ForwardOperator, InputError, Recording
from einthoven.core.arrays import frozen
from einthoven.core.errors import some
from einthoven.simulate.action_potentials import ActionPotentials
from einthoven.tissue import Grid, Tissue

#: The upstroke is over this long after activation, ms; what comes later is smoothed by coupling.
SPLIT = 20.0

#: Width of the bins of activation time, ms.
BIN = 0.5


@dataclass(frozen=True, eq=False)
class ReactionEikonal:
    """From a map of activation times to the ECG, and back from derivatives by the ECG to those by the times.

    Parameters
    ----------
    tissue
        Whose nodes are activated.
    leads
        From transmembrane potentials at the nodes to leads: `einthoven.forward.lead_field.lead_field`, or a double
        layer through a torso with `einthoven.forward.sampling`.
    action_potentials
        What each node shows once it is activated.
    durations
        Uncoupled, of the nodes, ms; a number or shape (n_nodes,). Not looked at where there is one class.
    tau
        How long coupling evens out repolarization, ms; 0: not at all.
    times
        Of the ECG, ms: evenly spaced by a multiple of `BIN`.

    Raises
    ------
    InputError
        If the leads do not belong to the tissue, for uneven times, and for durations outside of the classes.
    """

    tissue: Tissue
    leads: ForwardOperator
    action_potentials: ActionPotentials
    times: Float[np.ndarray, " n_times"]
    durations: Float[np.ndarray, " n_nodes"] | float = 0.0
    tau: float = 0.0

    def __post_init__(self):
        if self.leads.n_in != self.tissue.n_nodes or self.leads.in_quantity != "vm":
            raise InputError(
                f"reaction-eikonal: the leads must take vm at the {self.tissue.n_nodes} nodes of the tissue; got "
                f"{self.leads.in_quantity} at {self.leads.n_in} sites."
            )
        times = np.asarray(self.times, dtype=np.float64)
        steps = np.diff(times) / BIN
        if len(times) < 2 or np.ptp(steps) > 1e-6 or abs(steps[0] - round(steps[0])) > 1e-6 or steps[0] < 0.5:
            raise InputError(
                f"reaction-eikonal: times must be evenly spaced by a multiple of {BIN:g} ms; got "
                f"{len(times)} times, the first two {some(times[:2])}."
            )
        if not 0 <= self.tau < 1e4:
            raise InputError(f"reaction-eikonal: tau must be a time in ms, 0 or more; got {self.tau:g}.")
        object.__setattr__(self, "times", frozen(times, np.float64))
        object.__setattr__(self, "durations", frozen(self._checked_durations(), np.float64))

    def _checked_durations(self) -> np.ndarray:
        n, classes = self.tissue.n_nodes, self.action_potentials.durations
        durations = np.asarray(self.durations, dtype=np.float64)
        if durations.ndim and durations.shape != (n,):
            raise InputError(
                f"reaction-eikonal: durations must be a number or one per node ({n}); got {durations.shape}."
            )
        durations = np.broadcast_to(durations, (n,))
        if len(classes) == 1:
            return durations
        slack = 1e-6 * classes[-1]
        wrong = np.flatnonzero(~((durations >= classes[0] - slack) & (durations <= classes[-1] + slack)))
        if wrong.size:
            raise InputError(
                f"reaction-eikonal: durations must lie between {classes[0]:g} and {classes[-1]:g} ms, those of the "
                f"action potentials; nodes {some(wrong)} do not. Measure action potentials for them."
            )
        return durations

    def __repr__(self) -> str:
        return f"ReactionEikonal({self.tissue!r} -> {self.leads.n_out} leads, {len(self.times)} times)"

    def ecg(self, activation: Float[np.ndarray, "..."]) -> Recording:
        """Lead potentials of an activation map, mV.

        Parameters
        ----------
        activation
            T, shape (n_nodes,), ms; NaN where a node is never activated.
        """
        begin, places = self._places(activation)
        return Recording(
            self._from_bins(begin, *self._binned(places)), self.times, self.leads.out_sites, self.leads.out_quantity,
            self.leads.reference,
        )  # fmt: skip

    def pull_back(
        self, activation: Float[np.ndarray, "..."], adjoint: Float[np.ndarray, "..."]
    ) -> Float[np.ndarray, " n_nodes"]:
        """From derivatives of a number by the ECG to those by the activation times, 1/ms; 0 at nodes never activated.

        Parameters
        ----------
        activation
            T, shape (n_nodes,), ms.
        adjoint
            Derivatives by the lead potentials, shape (n_leads, n_times), 1/mV.
        """
        from einthoven.simulate import kernels_template

        adjoint = np.asarray(adjoint, dtype=np.float64)
        if adjoint.shape != (self.leads.n_out, len(self.times)):
            raise InputError(
                f"reaction-eikonal: adjoint must have shape {(self.leads.n_out, len(self.times))}; got {adjoint.shape}."
            )
        begin, places = self._places(activation)
        of_bins = self._to_bins(begin, self._n_bins(places), adjoint)
        rows = self._rows
        out = np.empty(len(rows.nodes))
        seen = places[rows.nodes]
        known = np.isfinite(seen)
        arrays = (rows.classes, rows.upstroke, rows.rest)
        kernels_template.from_bins(np.where(known, seen, 0.0), *arrays, *of_bins, out)
        full = np.zeros(self.tissue.n_nodes)
        full[rows.nodes] = np.where(known, out, 0.0) / BIN
        return full

    def push_forward(
        self,
        activation: Float[np.ndarray, "..."],
        changes: Float[np.ndarray, "..."],
        mixing: Float[np.ndarray, "..."] | None = None,
    ) -> Float[np.ndarray, "n_changes n_leads n_times"]:
        """From changes of the activation times to those of the ECG, both infinitesimal: J times each change.

        Parameters
        ----------
        activation
            T, shape (n_nodes,), ms.
        changes
            Shape (n_changes, n_nodes); those at nodes never activated count nothing.
        mixing
            Combinations of the leads that are wanted, shape (n_combinations, n_leads); None: the leads.
        """
        from einthoven.simulate import kernels_template

        changes = np.asarray(changes, dtype=np.float64)
        if changes.ndim != 2 or changes.shape[1] != self.tissue.n_nodes:
            raise InputError(
                f"reaction-eikonal: changes must have shape (n_changes, {self.tissue.n_nodes}); got {changes.shape}."
            )
        begin, places = self._places(activation)
        rows, n = self._rows if mixing is None else self._rows.mixed(mixing), self._n_bins(places)
        n_leads = rows.upstroke.shape[1]
        seen = places[rows.nodes]
        known = np.isfinite(seen)
        seen = np.where(known, seen, 0.0)
        out = np.empty((len(changes), n_leads, len(self.times)))
        for k, change in enumerate(changes):
            upstroke, rest = np.zeros((n, n_leads)), np.zeros((self._n_rest, n, n_leads))
            moved = np.where(known, change[rows.nodes], 0.0) / BIN
            kernels_template.changes_to_bins(seen, rows.classes, moved, rows.upstroke, rows.rest, upstroke, rest)
            out[k] = self._from_bins(begin, upstroke, rest)
        return out

    @property
    def _n_rest(self) -> int:
        """Classes of what follows the upstroke; 0 where all nodes show the same and nothing is smoothed."""
        n = len(self.action_potentials.durations)
        return 0 if n == 1 and self.tau == 0 else n

    @cached_property
    def _rows(self) -> "_Rows":
        """The lead field as it is and smoothed, at the nodes where it is not zero."""
        plain = self.leads.matrix
        smooth = plain if self.tau == 0 else smoothed(self.tissue, plain, self.tau)
        size = np.maximum(np.abs(plain).max(axis=0), np.abs(smooth).max(axis=0))
        nodes = np.flatnonzero(size > 1e-7 * size.max())
        classes = self.action_potentials.durations
        place = np.zeros(len(nodes))
        if len(classes) > 1:
            durations = np.asarray(self.durations)[nodes]
            place = np.clip((durations - classes[0]) / (classes[1] - classes[0]), 0, len(classes) - 1)
        upstroke = np.ascontiguousarray(plain[:, nodes].T)
        rest = upstroke if smooth is plain else np.ascontiguousarray(smooth[:, nodes].T)
        return _Rows(nodes, place, upstroke, rest)

    def _places(self, activation: Float[np.ndarray, " n_nodes"]) -> tuple[float, Float[np.ndarray, " n_nodes"]]:
        """Time of the first bin, and every node's time in bins."""
        times = np.asarray(activation, dtype=np.float64)
        if times.shape != (self.tissue.n_nodes,):
            raise InputError(
                f"reaction-eikonal: activation must have one time per node ({self.tissue.n_nodes}); got {times.shape}."
            )
        seen = times[self._rows.nodes]
        if not np.isfinite(seen).any():
            raise InputError("reaction-eikonal: no node that the leads see is ever activated. Where does the wave end?")
        first = float(self.times[0])
        begin = first + BIN * min(np.floor((np.nanmin(seen) - first) / BIN), 0.0)
        return begin, (times - begin) / BIN

    def _n_bins(self, places: Float[np.ndarray, " n_nodes"]) -> int:
        return int(np.nanmax(places[self._rows.nodes])) + 2

    def _binned(self, places: Float[np.ndarray, " n_nodes"]) -> tuple[np.ndarray, np.ndarray]:
        from einthoven.simulate import kernels_template

        rows, n, n_leads = self._rows, self._n_bins(places), self.leads.n_out
        upstroke, rest = np.zeros((n, n_leads)), np.zeros((self._n_rest, n, n_leads))
        seen = places[rows.nodes]
        known = np.isfinite(seen)
        classes, plain, smooth = rows.classes, rows.upstroke, rows.rest
        if not known.all():
            seen, classes, plain, smooth = seen[known], classes[known], plain[known], smooth[known]
        kernels_template.to_bins(seen, classes, plain, smooth, upstroke, rest)
        return upstroke, rest

    def _from_bins(self, begin: float, upstroke: np.ndarray, rest: np.ndarray) -> Float[np.ndarray, "n_leads n_times"]:
        """Convolve the bins with the action potentials."""
        size, sooner, later, places = self._spectra(begin, len(upstroke))
        total = rfft(upstroke, size, axis=0) * sooner[:, None]
        total += (rfft(rest, size, axis=1) * later[:, :, None]).sum(axis=0)
        return np.ascontiguousarray(irfft(total, size, axis=0)[places].T)

    def _to_bins(
        self, begin: float, n_bins: int, adjoint: Float[np.ndarray, "n_leads n_times"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """From derivatives by the ECG to those by the bins: correlation with the action potentials."""
        size, sooner, later, places = self._spectra(begin, n_bins)
        spread = np.zeros((size, len(adjoint)))
        spread[places] = adjoint.T
        spectrum = rfft(spread, size, axis=0)
        upstroke = irfft(spectrum * sooner.conj()[:, None], size, axis=0)[:n_bins]
        rest = irfft(spectrum[None] * later.conj()[:, :, None], size, axis=1)[:, :n_bins]
        return np.ascontiguousarray(upstroke), np.ascontiguousarray(rest)

    def _spectra(self, begin: float, n_bins: int) -> tuple[int, np.ndarray, np.ndarray, Int[np.ndarray, " n_times"]]:
        """Length and spectra of the convolution (upstroke; the rest of each class), and places of the ECG's times.

        Bin i holds what is activated at begin + BIN i; sample j of an action potential is -lead + BIN j after that.
        """
        lead = BIN * np.ceil(-self.action_potentials.times[0] / BIN)
        n_samples = round((self.times[-1] - begin + lead) / BIN) + 1
        size = 1 << (n_samples + n_bins - 1).bit_length()
        key = (size, n_samples)
        spectra = self._kept.get(key)
        if spectra is None:
            after = BIN * np.arange(n_samples) - lead
            values = self.action_potentials.at(after)
            # one action potential for all needs no split
            held = self._typical.at(np.minimum(after, SPLIT))[0] if self._n_rest else values[0]
            spectra = (rfft(held, size), rfft(values[: self._n_rest] - held, size, axis=1))
            self._kept.clear()
            self._kept[key] = spectra
        sooner, later = spectra
        places = np.round((self.times - begin + lead) / BIN).astype(int)
        return size, sooner, later, places

    @cached_property
    def _kept(self) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
        return {}

    @cached_property
    def _typical(self) -> ActionPotentials:
        """The middle class, whose upstroke stands for all."""
        ap = self.action_potentials
        k = len(ap.durations) // 2
        return ActionPotentials(ap.times, ap.values[k : k + 1], ap.durations[k : k + 1])


@dataclass(frozen=True)
class _Rows:
    """Nodes whose lead field is not zero: their number, class, and rows (n, n_leads) plain and smoothed."""

    nodes: Int[np.ndarray, " n"]
    classes: Float[np.ndarray, " n"]
    upstroke: Float[np.ndarray, "n n_leads"]
    rest: Float[np.ndarray, "n n_leads"]

    def mixed(self, mixing: Float[np.ndarray, "m n_leads"]) -> "_Rows":
        """Combinations of the leads."""
        upstroke = self.upstroke @ mixing.T
        return _Rows(
            self.nodes, self.classes, upstroke, upstroke if self.rest is self.upstroke else self.rest @ mixing.T
        )


def smoothed(tissue: Tissue, rows: Float[np.ndarray, "k n_nodes"], tau: float) -> Float[np.ndarray, "k n_nodes"]:
    """Rows times S = (1 + tau / 2 K)^-2, K = -div(D grad) of the tissue: what coupling does to potentials, transposed.

    Parameters
    ----------
    tissue
        Where.
    rows
        For example a lead field.
    tau
        ms.
    """
    from scipy.sparse import csc_array, diags_array, eye_array

    coupling, volumes = tissue.coupling.matrix(), tissue.volumes
    # V A is symmetric, so that row S = ((1 - tau/2 A)^-T)^2 row^T solves (V - tau/2 V A) y = V (row / V) twice
    matrix = csc_array(diags_array(volumes) @ (eye_array(tissue.n_nodes) - 0.5 * tau * coupling))
    solve = _by_factors(matrix) if _is_flat(tissue) else _by_iteration(matrix)
    y = np.asarray(rows, dtype=np.float64).T / volumes[:, None]
    for _ in range(2):
        y = solve(volumes[:, None] * y)
    return np.ascontiguousarray((volumes[:, None] * y).T)


def _is_flat(tissue: Tissue) -> bool:
    """Whether a factorization stays sparse: on sheets, strands and surfaces."""
    return not isinstance(tissue.domain, Grid) or tissue.domain.dimension < 3


def _by_factors(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.sparse.linalg import splu

    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve


def _by_iteration(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import cg

    rows = csr_array(matrix)
    scale = matrix.diagonal()

    def solve(right: np.ndarray) -> np.ndarray:
        out = np.empty_like(right)
        for k, column in enumerate(right.T):
            out[:, k], status = cg(rows, column, x0=column / scale, rtol=1e-11, maxiter=10_000)
            if status:
                raise ArithmeticError("smoothing a lead field did not converge")
        return out

    return solve
