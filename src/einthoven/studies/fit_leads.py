"""The leads of a case as its recording has them, and how they change with pose and electrodes."""

from einthoven.core import Case, InputError, Recording
from einthoven.core.progress import Progress, silent
from einthoven.forward.lead_errors import LeadErrors
from einthoven.studies.muscle import Muscle


def case_lead_errors(
    case: Case,
    muscle: Muscle,
    recording: Recording,
    *,
    pose_mm: float | int = 5.0,
    pose_deg: float | int = 5.0,
    electrode_mm: float | int = 5.0,
    progress: Progress = silent,
) -> LeadErrors:
    """Build the double layer of a case's muscle, at the recording's sites and in its reference, with its changes.

    Parameters
    ----------
    case
        Torso, electrodes, and the conductivity of its ``vm`` source if it has one.
    muscle
        Its surface carries the double layer; the heart's cavities move with it.
    recording
        Its sites are names of electrodes; electrodes of its reference (those of Wilson's terminal, or a single one)
        need not be among them. An average is that over the sites.
    pose_mm, pose_deg, electrode_mm, progress
        As in `einthoven.forward.lead_errors.lead_errors`.

    Raises
    ------
    InputError
        If the recording is of absolute reference, which a transmembrane source does not have, or needs an electrode
        that the case lacks; and as `lead_errors`.
    """
    from einthoven.forward import bem
    from einthoven.forward.lead_errors import lead_errors
    from einthoven.forward.references import lead_system

    if recording.reference in ("absolute", "skin"):
        raise InputError(
            f"{case.name}: waves cannot be fitted to leads of reference {recording.reference!r}: a transmembrane "
            "source has no zero of its own; add --reference average."
        )
    given = next((s.intracellular_conductivity for s in case.sources if s.quantity == "vm"), None)
    return lead_errors(
        muscle.surface,
        case.conductor,
        case.electrodes,
        lead_system(recording.reference, recording.sites),
        moving=muscle.cavities,
        intracellular_conductivity=bem.INTRACELLULAR_CONDUCTIVITY if given is None else given,
        pose_mm=pose_mm,
        pose_deg=pose_deg,
        electrode_mm=electrode_mm,
        progress=progress,
    )
