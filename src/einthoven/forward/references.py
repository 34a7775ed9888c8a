"""Bring operators to the reference that was recorded."""

from collections.abc import Sequence

from einthoven.core import ForwardOperator, InputError, LeadSystem, Recording
from einthoven.core.errors import some

#: Electrodes of Wilson's central terminal.
LIMBS = ("RA", "LA", "LL")


def lead_system(reference: str, sites: Sequence[str], *, limbs: Sequence[str] = LIMBS) -> LeadSystem:
    """Return the leads that have every site against a reference.

    Parameters
    ----------
    reference
        ``"average"`` (the mean over `sites`), ``"wilson"`` (the mean of `limbs`), or the name of an electrode. The
        reference electrodes need not be among the sites.
    sites
        Names of the leads.
    limbs
        Electrodes of Wilson's central terminal.

    Raises
    ------
    InputError
        For a reference that only a model knows (``"absolute"``, ``"skin"``).
    """
    if reference in ("absolute", "skin"):
        raise InputError(
            f"leads cannot be brought to the reference {reference!r}: that zero is known to a model only. Use the "
            "operator as it was built, or bring operator and recording to 'average'."
        )
    if reference == "average":
        return LeadSystem.average(sites)
    if reference == "wilson":
        return LeadSystem.wilson(sites, limbs=limbs)
    return LeadSystem.against(sites, reference=reference)


def referenced(operator: ForwardOperator, reference: str, *, limbs: Sequence[str] = LIMBS) -> ForwardOperator:
    """Return the operator with all of its target sites against another reference.

    Parameters
    ----------
    operator
        Its output must be potentials of sites; any reference will do, since differences between sites do not depend
        on it.
    reference
        As in `lead_system`. The operator's own reference returns it unchanged.
    limbs
        Electrodes of Wilson's central terminal.

    Returns
    -------
    ForwardOperator
        The same sites. Every row sums to 0 if all rows summed to the same before.

    Raises
    ------
    InputError
        As `lead_system`, and if the reference needs a site that the operator does not have.
    """
    if reference == operator.reference and reference != "average":
        return operator
    return _against(operator, lead_system(reference, operator.out_sites, limbs=limbs))


def referenced_to(operator: ForwardOperator, recording: Recording, *, limbs: Sequence[str] = LIMBS) -> ForwardOperator:
    """Return the operator at the recording's sites (matched by name) and in its reference.

    An average is taken over the recording's sites; a central terminal or a reference electrode may be a site of the
    operator that was not recorded.

    Raises
    ------
    InputError
        As `referenced`, and if the operator lacks a site of the recording.
    """
    if recording.reference == operator.reference and recording.reference != "average":
        return operator.select(recording.sites)
    return _against(operator, lead_system(recording.reference, recording.sites, limbs=limbs))


def _against(operator: ForwardOperator, system: LeadSystem) -> ForwardOperator:
    missing = [name for name in system.electrodes if name not in operator.out_sites]
    if missing:
        raise InputError(
            f"the reference {system.reference!r} over {len(system.names)} leads needs {some(missing)}, which the "
            f"operator does not give; there are {some(operator.out_sites)}. Add these electrodes to the geometry, "
            "leave these leads out, or use the reference 'average'."
        )
    quantity = operator.out_quantity
    weights = ForwardOperator(
        system.weights, system.electrodes, system.names, quantity, quantity, reference=system.reference
    )
    return weights @ operator
