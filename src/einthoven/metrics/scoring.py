"""One call that scores an estimate against the truth, sites matched by name."""

from dataclasses import replace

import numpy as np

from einthoven.core import QUANTITIES, InputError, Recording
from einthoven.core.errors import some
from einthoven.metrics.challenge import spatial_cosine, temporal_cosine
from einthoven.metrics.errors import MEASURES, centered

#: Scores in the reference of the model.
ABSOLUTE = "absolute"
#: Scores after the mean over the nodes was removed from estimate and truth in every frame.
MEAN_REMOVED = "mean-removed"


def remove_mean(recording: Recording) -> Recording:
    """Remove the mean over the sites from every frame; a frame that is constant becomes exactly zero."""
    return replace(recording, values=centered(recording.values, 0), reference="average")


def scoring_reference(data: Recording) -> str:
    """Return the reference in which an image made from these leads can be scored.

    Parameters
    ----------
    data
        What the solver saw: body-surface potentials or leads.

    Returns
    -------
    str
        `ABSOLUTE` if the leads share the zero of the model; else `MEAN_REMOVED`: referenced leads do not
        see a constant on the heart.
    """
    return ABSOLUTE if data.reference == ABSOLUTE else MEAN_REMOVED


def matched(estimate: Recording, truth: Recording) -> tuple[Recording, Recording]:
    """Bring the estimate to the sites of the truth, by name, or say why not.

    The truth may cover only part of the estimate's sites; all its sites and frames must be in the estimate.

    Raises
    ------
    InputError
        If quantities, sites or times do not match; the message names them.
    """
    if estimate.quantity != truth.quantity:
        raise InputError(
            f"cannot score {estimate.quantity} ({QUANTITIES[estimate.quantity]}) against {truth.quantity} "
            f"({QUANTITIES[truth.quantity]}); give two recordings of one quantity."
        )
    available = set(estimate.sites)
    lacking = [name for name in truth.sites if name not in available]
    if lacking:
        raise InputError(
            f"cannot score: sites {some(lacking)} of the truth are not in the estimate, which has "
            f"{some(estimate.sites, limit=3)}. Sites are matched by name: rename them, or select the common ones from "
            "the truth."
        )
    _check_times(estimate, truth)
    return estimate.select(truth.sites), truth


def _check_times(estimate: Recording, truth: Recording) -> None:
    spans = (
        f"the estimate has {estimate.n_times} frames, {estimate.times[0]:g}..{estimate.times[-1]:g} ms, the truth "
        f"{truth.n_times}, {truth.times[0]:g}..{truth.times[-1]:g} ms"
    )
    if estimate.n_times != truth.n_times:
        raise InputError(
            f"cannot score: the times differ: {spans}. Cut both to the same window, for example with "
            "`truth.window(...)`."
        )
    tolerance = 1e-3 * (truth.dt if truth.n_times > 1 else 1.0)
    away = np.flatnonzero(np.abs(estimate.times - truth.times) > tolerance)
    if away.size:
        raise InputError(
            f"cannot score: the times differ at frames {some(away)} (first: {estimate.times[away[0]]:g} ms against "
            f"{truth.times[away[0]]:g} ms): {spans}. Resample or shift one of them."
        )


def score(estimate: Recording, truth: Recording, *, reference: str | None = None) -> dict[str, float | str]:
    """Score an estimate against the truth.

    Parameters
    ----------
    estimate
        Reconstructed potentials; sites and times include those of the truth.
    truth
        Measured potentials, perhaps at part of the sites.
    reference
        `ABSOLUTE`: compare as they are. `MEAN_REMOVED`: remove, in every frame, the mean over the common sites
        from both. Default: absolute if both recordings are, else mean-removed. An image made from referenced
        leads asks for ``scoring_reference(leads)``.

    Returns
    -------
    dict
        Flat: ``relative_error, correlation, rmse, rdm, mag, sc, tc, reference``. ``relative_error`` and ``mag``
        are NaN for a zero truth, ``correlation`` for a constant estimate or truth, ``rdm`` for a zero estimate or
        truth; ``sc`` and ``tc`` follow the rules of `einthoven.metrics.cosine`.

    Raises
    ------
    InputError
        If quantities, sites or times do not match, or the reference is unknown.

    Examples
    --------
    >>> truth = Recording(np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([0.0, 1.0]), ("a", "b"), "hsp")
    >>> score(truth.with_values(truth.values * 2), truth)["relative_error"]
    1.0
    """
    estimate, truth = matched(estimate, truth)
    if reference is None:
        both = estimate.reference == ABSOLUTE and truth.reference == ABSOLUTE
        reference = ABSOLUTE if both else MEAN_REMOVED
    if reference not in (ABSOLUTE, MEAN_REMOVED):
        raise InputError(f"a scoring reference is {ABSOLUTE!r} or {MEAN_REMOVED!r}; got {reference!r}.")
    if reference == MEAN_REMOVED:
        estimate, truth = remove_mean(estimate), remove_mean(truth)
    scores: dict[str, float | str] = {
        name: measure(estimate.values, truth.values) for name, measure in MEASURES.items()
    }
    scores["sc"] = spatial_cosine(estimate.values, truth.values)
    scores["tc"] = temporal_cosine(estimate.values, truth.values)
    scores["reference"] = reference
    return scores
