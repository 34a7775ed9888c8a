"""Leads: which are bad and why, and their spatial repair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from einthoven.core import Electrodes, InputError, Recording, Surface
from einthoven.core.errors import some
from einthoven.core.sites import match_names
from einthoven.signals.noise import high_frequency_noise
from einthoven.signals.sampling import check_frames

#: Fewest electrodes with a position for the comparison with neighbors.
FEWEST_NEIGHBORS = 12


@dataclass(frozen=True)
class LeadLimits:
    """When a lead counts as bad. The defaults leave the measured Utah tank (192 leads) unflagged.

    Parameters
    ----------
    flat
        Peak-to-peak amplitude below this fraction of the median lead's, or one value for more than half the frames.
    clipped
        More than this fraction of the frames stuck at the lead's own extremes.
    noise
        High-frequency noise above this multiple of the median lead's.
    amplitude
        Amplitude above this multiple of the median lead's.
    disagreement
        Part of the lead that its neighbors do not predict (relative norm) above this.
    """

    flat: float = 0.01
    clipped: float = 0.01
    noise: float = 6.0
    amplitude: float = 10.0
    disagreement: float = 0.6


@dataclass(frozen=True, eq=False)
class LeadReport:
    """Bad leads with reasons.

    Parameters
    ----------
    reasons
        Sentences per bad lead, in the recording's order; empty for a clean recording.
    swapped
        Pairs of leads that agree with their neighbors only when exchanged.
    noise
        High-frequency noise of every lead, mV, shape (n_sites,).
    disagreement
        What the neighbors do not predict of every lead, relative norm, shape (n_sites,); NaN where not tested.
    """

    reasons: Mapping[str, tuple[str, ...]]
    swapped: tuple[tuple[str, str], ...]
    noise: Float[np.ndarray, " n_sites"]
    disagreement: Float[np.ndarray, " n_sites"]

    def __repr__(self) -> str:
        if not self.reasons:
            return f"LeadReport(no bad lead of {len(self.noise)})"
        return f"LeadReport({len(self.reasons)} bad of {len(self.noise)}: {some(self.reasons)})"

    @property
    def bad(self) -> tuple[str, ...]:
        """Names of the bad leads."""
        return tuple(self.reasons)

    def lines(self) -> list[str]:
        """One line per bad lead, for people."""
        return [f"{name}: {'; '.join(why)}" for name, why in self.reasons.items()]


def find_bad_leads(
    recording: Recording, electrodes: Electrodes | None = None, *, limits: LeadLimits | None = None
) -> LeadReport:
    """Find leads that are flat, clipped, noisy, far too large, or at odds with their neighbors.

    Nothing is changed; see `repair_leads`. With positions of at least twelve electrodes every lead is also predicted
    from the others (a biharmonic spline in space, leave-one-out, the worst lead taken out first), and pairs of leads
    that fit only when exchanged are named.

    Parameters
    ----------
    recording
        At least 20 frames, unfiltered or lightly filtered.
    electrodes
        Positions; leads without one are not compared with neighbors.
    limits
        Thresholds; default `LeadLimits()`.

    Returns
    -------
    LeadReport
        Reasons per lead.

    Raises
    ------
    InputError
        If the recording is too short.
    """
    limits = LeadLimits() if limits is None else limits
    check_frames(recording, 20, "bad-lead detection")
    reasons: dict[str, list[str]] = {name: [] for name in recording.sites}
    flat = _note_flat(recording, reasons, limits.flat)
    _note_clipped(recording, reasons, limits.clipped, flat)
    noise = _note_noise(recording, reasons, limits.noise, flat)
    _note_amplitude(recording, reasons, limits.amplitude, flat)
    disagreement = np.full(recording.n_sites, np.nan)
    swapped: list[tuple[str, str]] = []
    if electrodes is not None:
        swapped = _note_disagreement(recording, electrodes, reasons, limits.disagreement, disagreement)
    return LeadReport({name: tuple(why) for name, why in reasons.items() if why}, tuple(swapped), noise, disagreement)


def _note_flat(recording: Recording, reasons: dict[str, list[str]], limit: float) -> np.ndarray:
    swing = np.ptp(recording.values, axis=1)
    still = (np.diff(recording.values, axis=1) == 0).mean(axis=1)
    typical = float(np.median(swing))
    stuck = (still > 0.5) & (np.median(still) < 0.25)
    small = (swing <= limit * typical) | (swing == 0)
    for k in np.flatnonzero(small | stuck):
        why = f"peak-to-peak {swing[k]:.3g} mV, the median lead {typical:.3g} mV" if small[k] else ""
        why = why or f"the same value in {100 * still[k]:.0f} % of the frames"
        reasons[recording.sites[k]].append(f"flat ({why})")
    return small | stuck


def _note_clipped(recording: Recording, reasons: dict[str, list[str]], limit: float, skip: np.ndarray) -> None:
    values = recording.values
    same = np.diff(values, axis=1) == 0
    pace = np.abs(np.diff(values, axis=1))
    for k in np.flatnonzero(~skip & same.any(axis=1)):
        brisk = 0.5 * np.percentile(pace[k], 90)
        stuck = sum(_stuck_frames(values[k], extreme, brisk) for extreme in (values[k].min(), values[k].max()))
        if stuck > limit * recording.n_times:
            share = 100 * stuck / recording.n_times
            reasons[recording.sites[k]].append(f"clipped (stuck at its extremes in {share:.0f} % of the frames)")


def _stuck_frames(values: np.ndarray, extreme: float, brisk: float) -> int:
    """Frames in runs of at least three at the extreme that are entered or left at speed (a rounded top is not)."""
    at = np.r_[False, values == extreme, False]
    starts, stops = np.flatnonzero(at[1:] & ~at[:-1]), np.flatnonzero(~at[1:] & at[:-1])
    count = 0
    for a, b in zip(starts, stops, strict=True):
        entry = abs(values[a] - values[a - 1]) if a > 0 else 0.0
        leave = abs(values[b - 1] - values[b]) if b < len(values) else 0.0
        if b - a >= 3 and max(entry, leave) > brisk:
            count += int(b - a)
    return count


def _note_noise(
    recording: Recording, reasons: dict[str, list[str]], limit: float, flat: np.ndarray
) -> Float[np.ndarray, " n_sites"]:
    noise = high_frequency_noise(recording)
    typical = float(np.median(noise[~flat])) if (~flat).any() else 0.0
    size = np.median(np.ptp(recording.values, axis=1))
    floor = max(typical, 1e-4 * float(size))  # simulated records have no noise to compare with
    for k in np.flatnonzero(noise > limit * floor):
        times = f", {noise[k] / typical:.0f} times the median lead" if typical > 0 else ""
        reasons[recording.sites[k]].append(f"noisy ({1e3 * noise[k]:.3g} uV{times})")
    return noise


def _note_amplitude(recording: Recording, reasons: dict[str, list[str]], limit: float, flat: np.ndarray) -> None:
    size = recording.values.std(axis=1)
    typical = float(np.median(size[~flat])) if (~flat).any() else 0.0
    for k in np.flatnonzero((size > limit * typical) & ~flat):
        reasons[recording.sites[k]].append(
            f"too large (standard deviation {size[k]:.3g} mV, {size[k] / typical:.0f} times the median lead)"
        )


def _note_disagreement(
    recording: Recording,
    electrodes: Electrodes,
    reasons: dict[str, list[str]],
    limit: float,
    disagreement: np.ndarray,
) -> list[tuple[str, str]]:
    """Compare with neighbors; fills `disagreement` and returns swapped pairs."""
    position = dict(zip(electrodes.names, electrodes.positions, strict=True))
    used = [k for k, name in enumerate(recording.sites) if name in position and not reasons[name]]
    if len(used) < FEWEST_NEIGHBORS:
        return []
    values = recording.values[used] - np.median(recording.values[used], axis=1, keepdims=True)
    points = np.array([position[recording.sites[k]] for k in used])
    names = [recording.sites[k] for k in used]
    pairs = _swapped(values, points, limit)
    for i, j in pairs:
        reasons[names[i]].append(f"looks swapped with {names[j]}")
        reasons[names[j]].append(f"looks swapped with {names[i]}")
        values[[i, j]] = values[[j, i]]
    good, ratio = np.arange(len(used)), np.full(len(used), np.nan)
    while len(good) >= FEWEST_NEIGHBORS:
        current = _unpredicted(values[good], points[good])
        fresh = np.isnan(ratio[good]) | (current < ratio[good])
        ratio[good[fresh]] = current[fresh]
        worst = int(current.argmax())
        if current[worst] <= limit:
            break
        ratio[good[worst]] = current[worst]
        reasons[names[good[worst]]].append(f"disagrees with its neighbors ({100 * current[worst]:.0f} % unexplained)")
        good = np.delete(good, worst)
    disagreement[used] = ratio
    return [(names[i], names[j]) for i, j in pairs]


def _leave_one_out(points: np.ndarray) -> np.ndarray:
    """Matrix that gives each value minus its prediction from the others by a biharmonic spline.

    For an interpolant with system matrix A the leave-one-out error is (A^-1 y)_i / (A^-1)_ii (Rippa 1999).
    """
    n = len(points)
    scaled = (points - points.mean(axis=0)) / np.ptp(points, axis=0).max()
    distance = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = -distance + 1e-3 * np.eye(n)
    system[:n, n] = system[n, :n] = 1.0
    inverse = np.linalg.pinv(system)[:n, :n]
    return inverse / np.diag(inverse)[:, None]


def _unpredicted(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Norm of each lead's leave-one-out error over the norm of the lead (or of a typical one, if that is larger)."""
    error = np.linalg.norm(_leave_one_out(points) @ values, axis=1)
    size = np.linalg.norm(values, axis=1)
    return error / np.maximum(size, 0.5 * np.median(size) + 1e-300)


def _swapped(values: np.ndarray, points: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs whose exchange at least halves both errors, the best first, each found with the others undone."""
    rest = _leave_one_out(points)
    values = values.copy()
    pairs: list[tuple[int, int]] = []
    while len(pairs) < len(values) // 4:
        pair = _best_exchange(values, rest, limit)
        if pair is None or set(pair) & {k for p in pairs for k in p}:
            break
        pairs.append(pair)
        values[list(pair)] = values[list(pair)[::-1]]
    return pairs


def _best_exchange(values: np.ndarray, rest: np.ndarray, limit: float) -> tuple[int, int] | None:
    """The exchange of two leads that lowers their errors most; only leads that stand out are tried."""
    size = np.linalg.norm(values, axis=1)
    scale = np.maximum(size, 0.5 * np.median(size) + 1e-300)
    error = np.linalg.norm(rest @ values, axis=1) / scale
    middle = np.median(error)
    spread = 1.4826 * np.median(np.abs(error - middle))
    suspects = np.flatnonzero(error > max(middle + 4 * spread, limit / 4))
    suspects = np.sort(suspects[np.argsort(-error[suspects])][:24])
    best, gain = None, 0.0
    for a, i in enumerate(suspects):
        for j in suspects[a + 1 :]:
            trial = values.copy()
            trial[[i, j]] = values[[j, i]]
            after = np.linalg.norm(rest[[i, j]] @ trial, axis=1) / scale[[j, i]]
            lowered = float((error[[i, j]] - after).sum())
            if (after < 0.5 * error[[i, j]]).all() and lowered > gain:
                best, gain = (int(i), int(j)), lowered
    return best


@dataclass(frozen=True, eq=False)
class Repair:
    """A recording with some leads replaced by what their neighbors suggest.

    Parameters
    ----------
    recording
        The repaired recording.
    repaired
        Names of the leads that were replaced or added: they hold no measurement of their own.
    method
        ``"surface Laplacian"`` or ``"inverse distance"``.
    """

    recording: Recording
    repaired: tuple[str, ...]
    method: str


def repair_leads(
    recording: Recording, bad: Sequence[str], electrodes: Electrodes, *, skin: Surface | None = None
) -> Repair:
    """Replace leads by interpolation from the good ones.

    With the skin: the potential on it that passes through the good leads and has the smallest surface Laplacian,
    min |M^(-1/2) K u|^2 (Oostendorp, van Oosterom and Huiskamp 1989, doi:10.1016/0021-9991(89)90103-4). Without:
    the mean of the eight nearest good leads weighted by 1/distance^2. Both reproduce a constant, so the reference
    is kept; an average-referenced recording is referenced anew over all its leads.

    Parameters
    ----------
    recording
        Body-surface potentials; every good lead must have an electrode.
    bad
        Names of leads to replace. A name that only the electrodes have is added to the recording, at the end.
    electrodes
        Positions, mm.
    skin
        The body surface, in the electrodes' coordinates.

    Returns
    -------
    Repair
        What was changed is listed there.

    Raises
    ------
    InputError
        If a lead has no electrode, or fewer than three good leads are left.
    """
    bad = tuple(dict.fromkeys(bad))
    good = tuple(name for name in recording.sites if name not in set(bad))
    match_names((*good, *bad), electrodes.names, "electrodes")
    if len(good) < 3:
        raise InputError(f"only {len(good)} good leads are left to repair {some(bad)} from; at least three are needed.")
    known, wanted = electrodes.select(good).positions, electrodes.select(bad).positions
    if not bad:
        return Repair(recording, (), "none")
    weights = _inverse_distance(known, wanted) if skin is None else _laplacian_weights(skin, known, wanted)
    estimate = weights @ recording.select(good).values
    sites = (*recording.sites, *(name for name in bad if name not in set(recording.sites)))
    row = {name: k for k, name in enumerate(sites)}
    values = np.empty((len(sites), recording.n_times))
    values[[row[name] for name in good]] = recording.select(good).values
    values[[row[name] for name in bad]] = estimate
    repaired = Recording(values, recording.times, sites, recording.quantity, recording.reference)
    if recording.reference == "average":
        repaired = repaired.average_referenced()
    return Repair(repaired, bad, "inverse distance" if skin is None else "surface Laplacian")


def _inverse_distance(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(wanted[:, None] - known[None], axis=2)
    weights = 1.0 / np.maximum(distance, 1e-6) ** 2
    if known.shape[0] > 8:
        weights *= distance <= np.partition(distance, 7, axis=1)[:, 7:8]
    return weights / weights.sum(axis=1, keepdims=True)


def _laplacian_weights(skin: Surface, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rows that interpolate from `known` to `wanted` with the smallest surface Laplacian on the skin."""
    from scipy.sparse import block_array, csr_array, diags, eye
    from scipy.sparse.linalg import splu

    from einthoven.geometry.locate import closest_points
    from einthoven.geometry.operators import mass, stiffness

    def sampling(points: np.ndarray):
        place = closest_points(skin, points)
        rows = np.repeat(np.arange(len(points)), 3)
        columns = skin.triangles[place.triangle].reshape(-1)
        return csr_array((place.barycentric.reshape(-1), (rows, columns)), shape=(len(points), skin.n_points))

    k, area = stiffness(skin), mass(skin).diagonal()
    bending = k.T @ diags(np.reciprocal(area)) @ k
    scale = bending.diagonal().mean()
    through = sampling(known)
    # the small block makes two electrodes at one place a least-squares compromise instead of a singular system
    system = block_array([[bending / scale, through.T], [through, -1e-8 * eye(len(known))]]).tocsc()
    right = np.zeros((skin.n_points + len(known), len(known)))
    right[skin.n_points :] = np.eye(len(known))
    return sampling(wanted) @ splu(system).solve(right)[: skin.n_points]
