"""What holds for every medium: symmetry, scaling, order of times, many right-hand sides; and another code."""

from collections.abc import Iterator

import numba
import numpy as np
import pytest
import skfmm
from eikonal_cases import OBLIQUE_2D, block, curved_patch, fields, rough_patch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from einthoven.core import Surface, Tetrahedra
from einthoven.eikonal import Eikonal
from einthoven.tissue import Grid, Tissue


def holed(shape, seed: int = 3, share: float = 0.85) -> np.ndarray:
    mask = np.random.default_rng(seed).random(shape) < share
    mask[tuple(slice(n // 2 - 2, n // 2 + 3) for n in shape)] = True
    return mask


def cases() -> Iterator[tuple[str, Eikonal, np.ndarray]]:
    """Waves with V per node."""
    grid = Grid((17, 14), 0.5)
    for order in (1, 2):
        wave = Eikonal(grid, holed(grid.shape), order=order)
        yield f"grid of tensors, order {order}", wave, fields(wave.n_nodes, 2, 1)
        yield f"grid of numbers, order {order}", wave, 0.2 + np.random.default_rng(2).random(wave.n_nodes)
    wave = Eikonal(Grid((8, 9, 7), 0.5), holed((8, 9, 7)))
    yield "3-D", wave, fields(wave.n_nodes, 3, 1)
    for name, domain in (("surface", curved_patch()), ("tetrahedra", block(6, jitter=0.2))):
        wave = Eikonal(domain)
        yield name, wave, fields(wave.n_nodes, 3, 1)


CASES = {name: (wave, v) for name, wave, v in cases()}
every_case = pytest.mark.parametrize("case", CASES)


def near_middle(wave: Eikonal, n: int = 2, spread: float = 0.8, seed: int = 4) -> np.ndarray:
    middle = wave.points[np.linalg.norm(wave.points - wave.points.mean(axis=0), axis=1).argmin()]
    flat = [1.0, 1.0, 0.1][: wave.dimension]
    return middle + np.random.default_rng(seed).uniform(-spread, spread, (n, wave.dimension)) * flat


# -- right-hand sides and threads -------------------------------------------------------------------------------------


@every_case
def test_many_right_hand_sides_are_single_ones_on_any_number_of_threads(case):
    wave, v = CASES[case]
    sites = np.stack([near_middle(wave, seed=seed) for seed in range(6)]).reshape(2, 3, 2, -1)
    onsets = np.random.default_rng(1).random((2, 3, 2))
    w = np.random.default_rng(2).standard_normal((2, 3, wave.n_nodes))
    found = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        try:
            arrival = Eikonal(wave.domain, wave.conducting, wave.order).solve(v, sites, onsets)
            found.append((arrival.times, *arrival.pull_back(w), arrival.from_site))
        finally:
            numba.set_num_threads(1)
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one, two, equal_nan=True)
    times, of_v, of_sites, of_onsets, from_site = found[0]
    assert times.shape == (2, 3, wave.n_nodes)
    total = np.zeros_like(of_v)
    for i, j in np.ndindex(2, 3):
        alone = wave.solve(wave.medium(v), sites[i, j], onsets[i, j])
        assert np.array_equal(alone.times, times[i, j], equal_nan=True)
        assert np.array_equal(alone.from_site, from_site[i, j])
        gradient = alone.pull_back(w[i, j])
        assert np.array_equal(gradient.sites, of_sites[i, j])
        assert np.array_equal(gradient.onsets, of_onsets[i, j])
        total += gradient.squared_speed
    assert np.allclose(total, of_v, rtol=0, atol=1e-12 * np.abs(of_v).max())


@every_case
def test_nothing_is_changed_and_times_repeat(case):
    wave, v = CASES[case]
    sites = near_middle(wave)
    given_v, given_sites = v.copy(), sites.copy()
    first = wave.solve(v, sites)
    w = np.ones(wave.n_nodes)
    gradients = first.pull_back(w), first.pull_back(w)
    assert np.array_equal(first.times, wave.solve(v, sites).times, equal_nan=True)
    for one, two in zip(*gradients, strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(w, np.ones(wave.n_nodes))
    assert np.array_equal(v, given_v)
    assert np.array_equal(sites, given_sites)
    with pytest.raises(ValueError, match="read-only"):
        first.times[0] = 1.0


def test_forms_of_v_and_of_masks_are_one():
    grid = Grid((12, 10), 0.5)
    mask = holed(grid.shape)
    wave, flat = Eikonal(grid, mask), Eikonal(grid, mask.reshape(-1))
    site = near_middle(wave, 1)
    of_nodes = fields(wave.n_nodes, 2, 3)
    of_points = np.tile(np.eye(2), (grid.n_points, 1, 1))
    of_points[mask.reshape(-1)] = of_nodes
    times = wave.solve(of_nodes, site).times
    for v in (of_points, of_points.reshape(12, 10, 2, 2)):
        assert np.array_equal(flat.solve(v, site).times, times)
    number = wave.solve(0.3, site).times
    for v in (np.full(wave.n_nodes, 0.3), np.full(grid.n_points, 0.3), np.full(grid.shape, 0.3)):
        assert np.array_equal(wave.solve(v, site).times, number)
    tensors = wave.solve(0.3 * np.eye(2), site).times
    assert np.allclose(tensors, number, rtol=1e-12)
    filled = wave.fill(times)
    assert filled.shape == grid.shape
    assert np.array_equal(np.isnan(filled), ~mask)
    assert np.array_equal(filled[mask], times)
    tissue = Tissue.isotropic(grid, 0.1, mask)
    assert np.array_equal(Eikonal.of(tissue).solve(0.3, site).times, number)


def test_the_three_dimensions_agree_on_a_line():
    line = Eikonal(Grid((25,), 0.4)).solve(0.3, [[3.1]]).times
    for shape in ((25, 1), (25, 1, 1)):
        site = [[3.1, *[0.0] * (len(shape) - 1)]]
        assert np.allclose(Eikonal(Grid(shape, 0.4)).solve(0.3, site).times, line, rtol=1e-13)
        v = 0.3 * np.eye(len(shape))
        assert np.allclose(Eikonal(Grid(shape, 0.4)).solve(v, site).times, line, rtol=1e-13)
    assert np.allclose(line, np.abs(np.arange(25) * 0.4 - 3.1) / np.sqrt(0.3), rtol=1e-12)


# -- symmetry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_grids_can_be_reflected_and_turned(order):
    shape = (13, 11, 9)
    grid, mask = Grid(shape, 0.5), holed(shape)
    v = fields(grid.n_points, 3, 5).reshape(*shape, 3, 3)
    wave = Eikonal(grid, mask, order=order)
    site = near_middle(wave, 1)[0]
    times = wave.fill(wave.solve(v, site[None]).times)
    flip = np.diag([-1.0, 1.0, 1.0])
    mirrored = Eikonal(grid, mask[::-1], order=order)
    there = (site - [3.0, 0, 0]) * [-1, 1, 1] + [3.0, 0, 0]
    found = mirrored.fill(mirrored.solve(flip @ v[::-1] @ flip, there[None]).times)
    assert np.allclose(found[::-1], times, rtol=1e-11, equal_nan=True)
    axes = (1, 2, 0)
    turned = Eikonal(Grid(tuple(shape[a] for a in axes), 0.5), mask.transpose(axes), order=order)
    turned_v = v.transpose(*axes, 3, 4)[..., axes, :][..., axes]
    found = turned.fill(turned.solve(turned_v, site[None, list(axes)]).times)
    assert np.allclose(found, times.transpose(axes), rtol=1e-11, equal_nan=True)


def test_numbering_of_a_mesh_does_not_matter():
    rng = np.random.default_rng(6)
    for domain in (rough_patch(2), curved_patch(), block(6, jitter=0.2)):
        surface = isinstance(domain, Surface)
        corners = domain.triangles if surface else domain.cells
        new = rng.permutation(domain.n_points)  # old node i becomes new[i]
        old = np.argsort(new)
        cells = new[corners][rng.permutation(len(corners))]
        cells = (
            np.roll(cells, 1, axis=1)
            if surface
            else np.take_along_axis(cells, rng.permuted(np.tile(np.arange(4), (len(cells), 1)), axis=1), axis=1)
        )
        other = Surface(domain.points[old], cells) if surface else Tetrahedra(domain.points[old], cells)
        mask = rng.random(domain.n_points) < 0.9
        mask[np.linalg.norm(domain.points - domain.points.mean(axis=0), axis=1) < 2] = True
        mask &= np.isin(np.arange(len(mask)), corners[mask[corners].sum(axis=1) >= 2])
        one, two = Eikonal(domain, mask), Eikonal(other, mask[old])
        v = fields(domain.n_points, 3, 7)
        sites = near_middle(one)
        assert np.allclose(one.fill(one.solve(v, sites).times), two.fill(two.solve(v[old], sites).times)[new],
                           rtol=1e-11, equal_nan=True)  # fmt: skip


def test_a_turned_mesh_keeps_its_times():
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for domain in (curved_patch(), block(6, jitter=0.2)):
        corners = domain.triangles if isinstance(domain, Surface) else domain.cells
        other = type(domain)(domain.points @ turn.T + 3.0, corners)
        v, sites = fields(domain.n_points, 3, 7), near_middle(Eikonal(domain))
        there = Eikonal(other).solve(turn @ v @ turn.T, sites @ turn.T + 3.0)
        assert np.allclose(there.times, Eikonal(domain).solve(v, sites).times, rtol=1e-10)


# -- order of times and scaling ---------------------------------------------------------------------------------------


def numbers(low, high, n):
    return st.lists(st.floats(low, high), min_size=n, max_size=n).map(np.array)


FIRST_ORDER = [name for name, (wave, _) in CASES.items() if wave.order == 1]


@pytest.mark.parametrize("case", FIRST_ORDER)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), factor=st.floats(1.0, 4.0))
def test_more_speed_anywhere_is_never_later(case, seed, factor):
    """First order is monotone (second differences are not, like all linear schemes of their order)."""
    wave, v = CASES[case]
    more = 1 + (factor - 1) * np.random.default_rng(seed).random(wave.n_nodes)
    sites = near_middle(wave, seed=seed)
    slow = wave.solve(v, sites)
    fast = wave.solve(v * more.reshape(-1, *[1] * (v.ndim - 1)), sites)
    assert np.array_equal(slow.reached, fast.reached)
    assert np.nanmax(fast.times - slow.times) < 1e-10
    assert np.nanmin(fast.times - slow.times / np.sqrt(factor)) > -1e-10


@pytest.mark.parametrize("case", FIRST_ORDER)
@settings(max_examples=15)
@given(onsets=numbers(0.0, 20.0, 3), delays=numbers(0.0, 5.0, 3))
def test_later_onsets_are_never_earlier_and_delay_by_no_more(case, onsets, delays):
    wave, v = CASES[case]
    sites = near_middle(wave, 3)
    first, later = (wave.solve(v, sites, x).times for x in (onsets, onsets + delays))
    assert np.nanmin(later - first) > -1e-10
    assert np.nanmax(later - first) < delays.max() + 1e-10


@every_case
@settings(max_examples=10)
@given(factor=st.floats(0.01, 100.0), delay=st.floats(-50.0, 50.0))
def test_scaling(case, factor, delay):
    """T of a V is T / sqrt(a), that of onsets + b is T + b, that of a grid c times as large c T."""
    wave, v = CASES[case]
    sites = near_middle(wave)
    times = wave.solve(v, sites).times
    assert np.allclose(wave.solve(factor * v, sites).times * np.sqrt(factor), times, rtol=1e-11, equal_nan=True)
    assert np.allclose(wave.solve(v, sites, delay).times - delay, times, rtol=1e-9, atol=1e-9, equal_nan=True)
    if isinstance(wave.domain, Grid):
        grid = Grid(wave.domain.shape, wave.domain.spacing * factor, (1.0, 2.0, 3.0))
        moved = sites * factor + np.array([1.0, 2.0, 3.0])[: wave.dimension]
        large = Eikonal(grid, wave.conducting, wave.order).solve(v, moved).times
        assert np.allclose(large / factor, times, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", FIRST_ORDER)
def test_sites_are_independent(case):
    """With first order two sites give about the earlier of their times, never later; a late site is swallowed."""
    wave, v = CASES[case]
    sites = near_middle(wave, 2)
    both = wave.solve(v, sites)
    one, two = (wave.solve(v, site[None]) for site in sites)
    assert np.nanmax(both.times - np.fmin(one.times, two.times)) < 1e-12
    assert set(np.unique(both.from_site[both.reached])) == {0, 1}
    late = wave.solve(v, sites, [0.0, 1e4])
    assert np.array_equal(late.times, one.times, equal_nan=True)
    assert (late.from_site[late.reached] == 0).all()


def test_a_late_site_is_swallowed_by_second_differences_too():
    """But nodes around it take first differences, so times behind it may differ by a little."""
    wave = Eikonal(Grid((41, 31), 0.5), order=2)
    one = wave.solve(OBLIQUE_2D, [[3.0, 4.0]])
    late = wave.solve(OBLIQUE_2D, [[3.0, 4.0], [12.0, 9.0]], [0.0, 1e3])
    assert (late.from_site == 0).all()
    assert np.abs(late.times - one.times).max() < 0.02 * one.times.max()


# -- another code -----------------------------------------------------------------------------------------------------


def both_codes(shape, order, masked, uneven):
    """The same problem for scikit-fmm and for us: a front between the planes 0 and 1 of the first axis.

    scikit-fmm starts with the nodes next to the front, at their straight distance over their own speed. So do we: those
    of plane 1 are sites with that onset, with no other node in reach, and plane 0 is left out.
    """
    rng, h = np.random.default_rng(9), 0.5
    rough = gaussian_filter(rng.standard_normal(shape), 3)
    speed = np.exp(0.3 * rough / rough.std()) if uneven else np.ones(shape)
    plane = np.indices(shape)[0]
    hole = gaussian_filter(rng.standard_normal(shape), 1)
    hole = (hole < -1.2 * hole.std()) & (plane > 3) if masked else np.zeros(shape, dtype=bool)
    front = np.ma.MaskedArray((plane - 0.5) * h, hole)
    theirs = np.ma.filled(skfmm.travel_time(front, speed, dx=h, order=order), np.nan)
    conducting = ~hole & (plane > 0)
    wave = Eikonal(Grid(shape, h), conducting, order=order, reach=0.01)
    first = (plane == 1)[conducting]
    ours = wave.solve(speed**2, wave.points[first], (h / 2 / speed)[conducting][first])
    return ours.times, theirs[conducting]


@pytest.mark.parametrize("masked", [False, True], ids=["free", "holes"])
@pytest.mark.parametrize("shape", [(60, 50), (24, 22, 20)], ids=["2-D", "3-D"])
def test_scikit_fmm_gives_the_same_times(shape, masked):
    """First order: the same equations, solved exactly by both, so they differ by rounding. Second order: codes choose
    differently where they fall back to first differences, and then differ by less than the orders do."""
    first, theirs = both_codes(shape, 1, masked, uneven=True)
    assert np.array_equal(np.isnan(first), np.isnan(theirs))
    assert np.nanmax(np.abs(first - theirs)) < 1e-11
    second, theirs = both_codes(shape, 2, masked, uneven=True)
    assert np.array_equal(np.isnan(second), np.isnan(theirs))
    gap = np.nanmean(np.abs(first - second))
    assert gap > 0.01
    assert np.nanmean(np.abs(second - theirs)) < 0.1 * gap
    even, theirs = both_codes(shape, 2, False, uneven=False)
    assert np.nanmax(np.abs(even - theirs)) < 1e-11


def test_words():
    wave = Eikonal(Grid((6, 5), 1.0), order=2)
    assert repr(wave) == "Eikonal(Grid(shape=(6, 5), spacing=1.0, origin=(0.0, 0.0, 0.0)), 30 nodes, order 2)"
    arrival = wave.solve(1.0, np.zeros((3, 1, 2)))
    assert repr(arrival) == "Arrival(30 nodes, 3 of (3,), last 6.347 ms, 0 not reached)"
    assert repr(wave.solve(OBLIQUE_2D, [[0.0, 0.0]])).startswith("Arrival(30 nodes, 1 of one")
