"""Integrals of linear elements over flat triangles: single and double layer.

For an observation point x and a triangle with outward unit normal n and linear shape functions N_q,

    single:  S_q = int N_q(y) / (4 pi |x - y|) dy
    double:  D_q = int N_q(y) d/dn_y (1 / (4 pi |x - y|)) dy = int N_q(y) n.(x - y) / (4 pi |x - y|^3) dy

A point at most `FAR` times the triangle's longest edge away from its centroid gets the analytic value, however near it
is, on the plane, an edge or a node included (edge formulas of Wilton et al. 1984, doi:10.1109/TAP.1984.1143304, and
Graglia 1993, doi:10.1109/8.247786; solid angle of van Oosterom and Strackee 1983, doi:10.1109/TBME.1983.325207).
Farther points get Radon's seven-point rule of degree five. The error of either is below `TOLERANCE` times the integral
of the absolute value of the kernel. A closed surface gives sum_q D_q = -1 inside and 0 outside.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float

from einthoven.core import Surface

#: Points farther than this many longest edges from the centroid are integrated by quadrature.
FAR = 6.0
#: Bound on the error of a near or far integral, relative to the integral of the kernel's absolute value.
TOLERANCE = 1e-7

# Radon's rule of degree 5: barycentric coordinates and weights (sum 1).
_S = np.sqrt(15.0)
_A, _B = (6.0 - _S) / 21.0, (6.0 + _S) / 21.0
_NODES = np.array(
    [
        [1 / 3, 1 / 3, 1 / 3],
        [_A, _A, 1 - 2 * _A],
        [_A, 1 - 2 * _A, _A],
        [1 - 2 * _A, _A, _A],
        [_B, _B, 1 - 2 * _B],
        [_B, 1 - 2 * _B, _B],
        [1 - 2 * _B, _B, _B],
    ]
)
_WEIGHTS = np.array([9 / 40] + [(155.0 - _S) / 1200.0] * 3 + [(155.0 + _S) / 1200.0] * 3)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _edge_log(s_minus, s_plus, r_minus, r_plus, r0_squared, floor):
    """Integral of 1/R along an edge, ln((R+ + s+) / (R- + s-)), without cancellation."""
    if s_minus >= 0.0:
        return np.log((r_plus + s_plus) / max(r_minus + s_minus, floor))
    if s_plus <= 0.0:
        return np.log((r_minus - s_minus) / max(r_plus - s_plus, floor))
    return np.log((r_plus + s_plus) * (r_minus - s_minus) / max(r0_squared, floor * floor))


@numba.njit(cache=True, nogil=True)
@no_type_check
def _near(x, v, frame, work, out):
    """Exact integrals over one triangle, without the factor 1 / (4 pi).

    `v` (3, 3) are the corners, `frame` is described in `_frames`, `work` is (4, 4) of scratch; `out` (2, 3) receives
    the double layer and the single layer of the three shape functions.
    """
    for k in range(3):
        work[k, 0], work[k, 1], work[k, 2] = v[k, 0] - x[0], v[k, 1] - x[1], v[k, 2] - x[2]
        work[k, 3] = np.sqrt(work[k, 0] ** 2 + work[k, 1] ** 2 + work[k, 2] ** 2)
    d = -(frame[0, 0] * work[0, 0] + frame[0, 1] * work[0, 1] + frame[0, 2] * work[0, 2])
    below = work[0, 3] * work[1, 3] * work[2, 3]
    inverse_r = 0.0  # int 1/R
    moment0 = moment1 = moment2 = 0.0  # int (y - x)/R within the plane
    flux0 = flux1 = flux2 = 0.0  # int (y - x)/R^3 within the plane
    for k in range(3):  # the edge opposite to corner k, from corner i to corner j
        i, j = (k + 1) % 3, (k + 2) % 3
        m0, m1, m2 = frame[1 + k, 0], frame[1 + k, 1], frame[1 + k, 2]
        e0, e1, e2 = v[j, 0] - v[i, 0], v[j, 1] - v[i, 1], v[j, 2] - v[i, 2]
        edge = np.sqrt(e0 * e0 + e1 * e1 + e2 * e2)
        s_minus = (work[i, 0] * e0 + work[i, 1] * e1 + work[i, 2] * e2) / edge
        s_plus = s_minus + edge
        t = work[i, 0] * m0 + work[i, 1] * m1 + work[i, 2] * m2
        r0_squared = t * t + d * d
        f = _edge_log(s_minus, s_plus, work[i, 3], work[j, 3], r0_squared, 1e-30 * edge)
        g = 0.5 * (r0_squared * f + s_plus * work[j, 3] - s_minus * work[i, 3])
        inverse_r += t * f
        moment0, moment1, moment2 = moment0 + m0 * g, moment1 + m1 * g, moment2 + m2 * g
        flux0, flux1, flux2 = flux0 - m0 * f, flux1 - m1 * f, flux2 - m2 * f
        dot = work[i, 0] * work[j, 0] + work[i, 1] * work[j, 1] + work[i, 2] * work[j, 2]
        below += dot * work[k, 3]
    solid = 0.0  # int d/R^3: the solid angle, zero on the plane
    if abs(d) > 1e-12 * frame[8, 1]:
        solid = 2.0 * np.arctan2(frame[8, 0] * d, below)
    inverse_r -= d * solid
    for k in range(3):
        g0, g1, g2 = frame[4 + k, 0], frame[4 + k, 1], frame[4 + k, 2]
        at_x = 1.0 / 3.0 + g0 * (x[0] - frame[7, 0]) + g1 * (x[1] - frame[7, 1]) + g2 * (x[2] - frame[7, 2])
        out[0, k] = at_x * solid + d * (g0 * flux0 + g1 * flux1 + g2 * flux2)
        out[1, k] = at_x * inverse_r + g0 * moment0 + g1 * moment1 + g2 * moment2


@numba.njit(cache=True, nogil=True)
@no_type_check
def _far(x, v, frame, out):
    """The integrals of `_near` by quadrature."""
    d = 0.0
    for a in range(3):
        d += frame[0, a] * (x[a] - frame[7, a])
    out[:] = 0.0
    for p in range(7):
        b0, b1, b2 = _NODES[p, 0], _NODES[p, 1], _NODES[p, 2]
        r0 = b0 * v[0, 0] + b1 * v[1, 0] + b2 * v[2, 0] - x[0]
        r1 = b0 * v[0, 1] + b1 * v[1, 1] + b2 * v[2, 1] - x[1]
        r2 = b0 * v[0, 2] + b1 * v[1, 2] + b2 * v[2, 2] - x[2]
        square = r0 * r0 + r1 * r1 + r2 * r2
        single = _WEIGHTS[p] / np.sqrt(square)
        double = single / square
        out[0, 0], out[0, 1], out[0, 2] = out[0, 0] + b0 * double, out[0, 1] + b1 * double, out[0, 2] + b2 * double
        out[1, 0], out[1, 1], out[1, 2] = out[1, 0] + b0 * single, out[1, 1] + b1 * single, out[1, 2] + b2 * single
    area = 0.5 * frame[8, 0]
    for k in range(3):
        out[0, k] *= area * d
        out[1, k] *= area


@numba.njit(cache=True, nogil=True)
@no_type_check
def _rows(x, corners, frames, triangles, double, column, single):
    """Add the layers of a surface to the rows of the points x, from `column` on; `single` may have no rows."""
    work, out = np.empty((4, 4)), np.empty((2, 3))
    with_single = single.shape[0] > 0
    scale = 1.0 / (4.0 * np.pi)
    for i in range(x.shape[0]):
        for t in range(triangles.shape[0]):
            frame = frames[t]
            square = 0.0
            for a in range(3):
                square += (x[i, a] - frame[7, a]) ** 2
            if square > (FAR * frame[8, 1]) ** 2:
                _far(x[i], corners[t], frame, out)
            else:
                _near(x[i], corners[t], frame, work, out)
            for k in range(3):
                double[i, column + triangles[t, k]] += scale * out[0, k]
                if with_single:
                    single[i, triangles[t, k]] += scale * out[1, k]


def _frames(corners: Float[np.ndarray, "n_triangles 3 3"]) -> Float[np.ndarray, "n_triangles 9 3"]:
    """What the kernels need of every triangle.

    Row 0: unit normal. Rows 1-3: unit vectors in the plane, outward across the edge opposite to each corner. Rows 4-6:
    gradients of the shape functions. Row 7: centroid. Row 8: twice the area, longest edge, unused.
    """
    frames = np.zeros((len(corners), 9, 3))
    edges = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)  # opposite to corner k
    normal = np.cross(edges[:, 0], edges[:, 1])
    twice_area = np.sqrt((normal**2).sum(axis=1))
    normal /= twice_area[:, None]
    lengths = np.sqrt((edges**2).sum(axis=2))
    gradients = np.cross(normal[:, None], edges) / twice_area[:, None, None]
    frames[:, 0] = normal
    frames[:, 1:4] = -gradients * (twice_area[:, None] / lengths)[:, :, None]
    frames[:, 4:7] = gradients
    frames[:, 7] = corners.mean(axis=1)
    frames[:, 8, 0] = twice_area
    frames[:, 8, 1] = lengths.max(axis=1)
    return frames


def add_layers(
    points: Float[np.ndarray, "n_observers 3"],
    surface: Surface,
    double: Float[np.ndarray, "n_observers n_columns"],
    *,
    column: int = 0,
    single: Float[np.ndarray, "n_observers n_points"] | None = None,
) -> None:
    """Add the layers of a surface, seen from `points`, to matrices that exist already.

    Rows are shared out to as many threads as Numba is allowed (``NUMBA_NUM_THREADS``, `numba.set_num_threads`);
    nothing else is allocated than 0.3 kB per triangle.

    Parameters
    ----------
    points
        Observation points, shape (n_observers, 3), mm. They may lie anywhere, on the surface too: there the
        double layer is the principal value, without a free term.
    surface
        Normals outward as everywhere.
    double
        Receives D, dimensionless, in the columns from `column` on.
    column
        Where the surface's nodes begin among the columns of `double`.
    single
        Receives S, mm, where wanted.
    """
    # one array type per argument, so that one kernel is compiled: writable points, whole row-major matrices
    x = np.array(points, dtype=np.float64, order="C")
    corners, triangles = surface.corners, surface.triangles
    frames = _frames(corners)
    threads = numba.get_num_threads()
    step = max(1, -(-len(x) // (4 * threads)))

    def block(start: int) -> None:
        rows = slice(start, start + step)
        other = double[:0] if single is None else single[rows]
        _rows(x[rows], corners, frames, triangles, double[rows], column, other)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(x), step)))


def layers(
    points: Float[np.ndarray, "n_observers 3"], surface: Surface
) -> tuple[Float[np.ndarray, "n_observers n_points"], Float[np.ndarray, "n_observers n_points"]]:
    """Double and single layer of a surface, seen from `points`: D (dimensionless) and S (mm), as in `add_layers`."""
    double = np.zeros((len(points), surface.n_points))
    single = np.zeros_like(double)
    add_layers(points, surface, double, single=single)
    return double, single
