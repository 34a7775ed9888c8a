"""The forward study: build a case's operator and check it."""

import time
from dataclasses import dataclass
from pathlib import Path

from einthoven.core import Case, ForwardOperator, InputError, Quantity, Recording
from einthoven.core.progress import Progress, silent
from einthoven.forward.inspect import OperatorReport, inspect


@dataclass(frozen=True, eq=False)
class ForwardResult:
    """A case's operator from heart nodes to electrodes, and its checks.

    Parameters
    ----------
    case
        The case.
    operator
        Heart potentials to electrode potentials.
    report
        Row sums, singular values, conditioning, seconds of assembly and solution.
    """

    case: Case
    operator: ForwardOperator
    report: OperatorReport


def build_operator(case: Case, *, quantity: Quantity | None = None) -> ForwardOperator:
    """Build the boundary-element operator from a case's heart surface to its electrodes."""
    from einthoven.forward import bem

    source = case.source(quantity)
    if source.quantity == "hsp":
        return bem.transfer(source.surface, case.conductor, case.electrodes)
    given = source.intracellular_conductivity
    conductivity = bem.INTRACELLULAR_CONDUCTIVITY if given is None else given
    return bem.double_layer(source.surface, case.conductor, case.electrodes, intracellular_conductivity=conductivity)


def forward_case(case: Case, *, quantity: Quantity | None = None, progress: Progress = silent) -> ForwardResult:
    """Build the operator of a case and inspect it."""
    progress("boundary elements", 0, 2)
    start = time.perf_counter()
    operator = build_operator(case, quantity=quantity)
    seconds = time.perf_counter() - start
    progress("boundary elements", 1, 2)
    report = inspect(operator, seconds=seconds)
    progress("boundary elements", 2, 2)
    return ForwardResult(case, operator, report)


def read_source(path: Path, operator: ForwardOperator, *, rate_hz: float | None, unit: str | None) -> Recording:
    """Read heart potentials whose rows are the nodes of the operator's source, in order or by name."""
    from einthoven.io import read

    content = read(path)
    if content.time_series is not None and set(operator.in_sites) <= set(content.time_series.sites):
        return content.recording(unit=unit, quantity=operator.in_quantity)
    rows = content.time_series.n_sites if content.time_series is not None else len(content.array())
    if rows != operator.n_in:
        raise InputError(
            f"{path}: the heart surface has {operator.n_in} nodes, the file {rows} rows; give one row per node, in the "
            "order of the surface's nodes."
        )
    return content.recording(rate_hz=rate_hz, unit=unit, quantity=operator.in_quantity, sites=operator.in_sites)
