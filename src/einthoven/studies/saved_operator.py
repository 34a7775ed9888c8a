"""A saved operator in place of the one that is built from a case's geometry."""

from pathlib import Path

from einthoven.core import Case, ForwardOperator, InputError, Quantity, Recording
from einthoven.core.errors import some
from einthoven.studies.provenance import checksum


def saved_operator(path: Path, case: Case, recording: Recording, quantity: Quantity) -> ForwardOperator:
    """Read an operator that ``einthoven forward`` or ``einthoven calibrate`` wrote, and check that it is of the case.

    Parameters
    ----------
    path
        ``operator.npz`` or ``operator.zarr``.
    case
        Its heart surface has the nodes of the operator.
    recording
        Its leads are leads of the operator.
    quantity
        Of the heart surface that is imaged.

    Raises
    ------
    InputError
        If quantity, nodes, leads or reference differ; the message names them.
    """
    from einthoven.io.zarr_store import load_operator

    operator = load_operator(path)
    if (operator.in_quantity, operator.out_quantity) != (quantity, recording.quantity):
        raise InputError(
            f"{path}: the operator carries {operator.in_quantity} to {operator.out_quantity}; the case needs "
            f"{quantity} to {recording.quantity}."
        )
    nodes = case.source(quantity).surface.node_names
    if set(operator.in_sites) != set(nodes):
        strange = sorted(set(operator.in_sites) ^ set(nodes))
        raise InputError(
            f"{path}: the operator has {operator.n_in} heart nodes, the case {len(nodes)}; {some(strange)} are not in "
            "both. Use an operator made for this heart surface."
        )
    lacking = [name for name in recording.sites if name not in operator.out_sites]
    if lacking:
        raise InputError(
            f"{path}: the operator has no leads {some(lacking)}; leave them out (--exclude), or make an operator with "
            "them."
        )
    if recording.reference == "absolute" and operator.reference != "absolute":
        raise InputError(
            f"{path}: the leads are absolute, the operator has reference {operator.reference!r}; add --reference "
            "average."
        )
    return operator


def operator_checksum(operator: ForwardOperator) -> str:
    """SHA-256 of an operator's matrix."""
    return checksum(operator.matrix)
