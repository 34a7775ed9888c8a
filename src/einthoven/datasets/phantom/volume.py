"""The phantom's ventricles as tissue: a masked grid with rule-based fibers, layers and coordinates in the wall."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from einthoven.core import InputError
from einthoven.datasets.phantom.anatomy import Phantom
from einthoven.datasets.phantom.implicit import gradient
from einthoven.datasets.phantom.ventricles import LEFT, Ventricles
from einthoven.tissue.grid import Grid
from einthoven.tissue.tissue import Tissue

Number = float | int

#: Labels of the layers in `ventricular_tissue`.
ENDOCARDIUM, MIDWALL, EPICARDIUM = 0, 1, 2

#: Monodomain diffusivities along and across the fibers, mm2/ms: of conductivities 0.17 and 0.62, 0.019 and 0.24 mS/mm
#: (Niederer et al. 2011, doi:10.1098/rsta.2011.0139), see `einthoven.tissue.diffusivity`.
ALONG, ACROSS = 0.0953, 0.01258

#: Points worked on at a time: they stay in the processor's cache.
CHUNK = 50_000

#: The muscle's function changes by at most this times the distance.
STEEPEST = 2.0


@dataclass(frozen=True)
class FastLayer:
    """A fast layer under both endocardia that stands for the Purkinje network.

    In it conduction is `scale` times that along the fibers, alike in all directions; it ends smoothly over 1 mm in
    depth and over a fifth of the apicobasal coordinate below `top`.

    Parameters
    ----------
    thickness
        From the endocardium of either cavity (the right side of the septum too), mm.
    scale
        Diffusivity over that along the fibers; speeds go about with its root.
    top
        Apicobasal coordinate where the network ends.
    """

    thickness: Number = 2.0
    scale: Number = 6.0
    top: Number = 0.95

    def __post_init__(self):
        if not (self.thickness > 0 and 0 < self.scale < 1000 and 0 < self.top <= 1.5):
            raise InputError(
                "phantom: a fast layer needs a positive thickness in mm, a positive scale and a top of 0 to 1.5; got "
                f"{self.thickness:g}, {self.scale:g}, {self.top:g}."
            )

    def share(self, depth: Float[np.ndarray, " n"], apicobasal: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """1 in the layer, 0 outside, at a depth in mm and a height."""
        inner = np.clip(self.thickness - depth + 0.5, 0.0, 1.0)
        return inner * np.clip((self.top - apicobasal) / 0.2, 0.0, 1.0)


def ventricular_tissue(
    phantom: Phantom,
    spacing: Number = 1.0,
    *,
    along: Number = ALONG,
    across: Number = ACROSS,
    helix: tuple[float, float] = (60.0, -60.0),
    layers: tuple[float, float] = (1 / 3, 2 / 3),
    fast: FastLayer | None = None,
) -> Tissue:
    """The ventricular muscle as a masked grid in the phantom's frame.

    A cell conducts where its center lies in the muscle. Cell borders are at whole multiples of the spacing from the
    frame's origin. Labels of the nodes: ``"transmural"``, ``"apicobasal"``, ``"rotational"``, ``"ventricle"`` (see
    `WallCoordinates`), ``"layer"`` (`ENDOCARDIUM`, `MIDWALL`, `EPICARDIUM`; in the septum both sides are endocardium),
    ``"septum"`` (0 or 1) and ``"fast"`` (share of the fast layer, 0 to 1).

    Parameters
    ----------
    phantom
        Its `ventricles` are taken.
    spacing
        mm. 1.0 gives about 0.2, 0.5 about 1.5 million cells.
    along, across
        Diffusivity along and across the fibers, mm2/ms.
    helix
        Angle of the fibers to the circumference at the endocardium and at the epicardium, degrees, linear between; the
        right side of the septum counts as epicardium of the left ventricle (Streeter et al. 1969,
        doi:10.1161/01.RES.24.3.339; Bayer et al. 2012, doi:10.1007/s10439-012-0593-5).
    layers
        Transmural coordinates where the endocardial layer ends and where the epicardial one begins.
    fast
        Fast endocardial layer; None: there is none.

    Returns
    -------
    Tissue
        Anisotropic; its `fibers` are the directions of best conduction.
    """
    if not 0.1 <= spacing <= 4:
        raise InputError(
            f"phantom: spacing must be 0.1 to 4 mm; got {spacing:g}. Wider cells do not resolve the right wall of "
            f"{phantom.ventricles.right_wall:g} mm."
        )
    if not 0 < layers[0] <= layers[1] < 1:
        raise InputError(f"phantom: layers must be two growing transmural coordinates between 0 and 1; got {layers}.")
    heart = phantom.ventricles
    grid, nodes = muscle_cells(heart, float(spacing))
    parts = [_wall(heart, points, helix) for points in _chunks(grid.at(nodes))]
    wall = _Wall(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    share = np.zeros(len(nodes)) if fast is None else fast.share(wall.depth, wall.apicobasal)
    outer = wall.fibers[:, :, None] * wall.fibers[:, None, :]
    tensors = float(across) * np.eye(3) + (float(along) - float(across)) * outer
    if fast is not None:
        tensors += share[:, None, None] * (float(fast.scale) * float(along) * np.eye(3) - tensors)
    conducting = np.zeros(grid.n_points, dtype=bool)
    conducting[nodes] = True
    labels = {
        "transmural": wall.transmural,
        "apicobasal": wall.apicobasal,
        "rotational": wall.rotational,
        "ventricle": wall.ventricle.astype(np.int8),
        "layer": _layer(wall, layers),
        "septum": wall.septum.astype(np.int8),
        "fast": share,
    }
    return Tissue(grid, tensors, conducting, labels=labels)


def muscle_cells(heart: Ventricles, spacing: float) -> tuple[Grid, Int[np.ndarray, " n_nodes"]]:
    """The smallest grid of the phantom's frame that holds the muscle, and the flat indices of the cells in it.

    Blocks of cells are halved again and again; those that cannot hold muscle are dropped.
    """
    corners = np.stack(np.meshgrid(*heart.local_box.T, indexing="ij"), axis=-1).reshape(-1, 3)
    world = heart.to_world(corners)
    level = int(np.ceil(np.log2(8.0 / spacing)))
    first = np.floor(world.min(axis=0) / (spacing * 2**level)).astype(np.int64)
    last = np.ceil(world.max(axis=0) / (spacing * 2**level)).astype(np.int64)
    axes = [np.arange(a, b) for a, b in zip(first, last, strict=True)]
    blocks = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    children = np.stack(np.meshgrid(*[(0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for k in range(level, -1, -1):
        size = spacing * 2**k
        values = np.concatenate([heart.myocardium(points) for points in _chunks((blocks + 0.5) * size)])
        kept = blocks[values < (0.5 * np.sqrt(3) * STEEPEST * size if k else 0.0)]
        blocks = kept if k == 0 else (2 * kept[:, None] + children).reshape(-1, 3)
    low = blocks.min(axis=0)
    shape = tuple(int(n) for n in np.ptp(blocks, axis=0) + 1)
    nodes = np.sort(np.ravel_multi_index(tuple((blocks - low).T), shape))
    x, y, z = ((low + 0.5) * spacing).tolist()
    return Grid(shape, spacing, (x, y, z)), nodes


def wall_point(
    tissue: Tissue, *, ventricle: int, transmural: Number, apicobasal: Number, rotational: Number
) -> Float[np.ndarray, " 3"]:
    """The node of a ventricular tissue nearest to coordinates in the wall, mm.

    Parameters
    ----------
    tissue
        Made by `ventricular_tissue`.
    ventricle
        `LEFT` or `RIGHT`.
    transmural, apicobasal, rotational
        See `WallCoordinates`; the angle in radians.
    """
    turn = np.angle(np.exp(1j * (tissue.label("rotational") - rotational)))
    off = (80.0 * (tissue.label("apicobasal") - apicobasal)) ** 2 + (30.0 * turn) ** 2
    off += (20.0 * (tissue.label("transmural") - transmural)) ** 2
    off[tissue.label("ventricle") != ventricle] = np.inf
    if not np.isfinite(off).any():
        raise InputError(f"phantom: ventricle must be 1 (left) or 2 (right); got {ventricle}.")
    return tissue.points[int(np.argmin(off))]


class _Wall(NamedTuple):
    """What is known of points in the wall: coordinates, depth under the nearest endocardium (mm), septum, fibers."""

    transmural: Float[np.ndarray, " n"]
    apicobasal: Float[np.ndarray, " n"]
    rotational: Float[np.ndarray, " n"]
    ventricle: Int[np.ndarray, " n"]
    depth: Float[np.ndarray, " n"]
    septum: Bool[np.ndarray, " n"]
    fibers: Float[np.ndarray, "n 3"]


def _wall(heart: Ventricles, points: Float[np.ndarray, "n 3"], helix: tuple[float, float]) -> _Wall:
    local = heart.to_local(points)
    place = heart.coordinates(points)
    left = place.ventricle == LEFT
    depth = np.minimum(np.abs(heart.left_cavity.distance(local)), np.abs(heart.right_cavity(local)))
    through = np.empty_like(local)
    through[left] = gradient(heart.left_cavity.distance, local[left])
    through[~left] = gradient(heart.right_outside.distance, local[~left])
    through /= np.maximum(np.linalg.norm(through, axis=1, keepdims=True), 1e-12)
    angle = np.radians(helix[0] + (helix[1] - helix[0]) * place.transmural)
    fibers = fiber_directions(through, np.array([0.0, 0.0, 1.0]), angle)
    return _Wall(*place, depth, left & _faces_right(heart, local, through), fibers @ heart.axes)


def _faces_right(
    heart: Ventricles, local: Float[np.ndarray, "n 3"], through: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, " n"]:
    """Whether the way out of the left wall ends in the right cavity (3 mm is half the rounding of its corners)."""
    rest = np.maximum(heart._left_thickness(local[:, 2]) - heart.left_cavity.distance(local), 0.0)
    return heart.right_outside.distance(local + rest[:, None] * through) + heart.right_wall < -3.0


def fiber_directions(
    through: Float[np.ndarray, "n 3"], axis: Float[np.ndarray, " 3"], angle: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Unit vectors cos(angle) c + sin(angle) l in the layers of a wall.

    With t the direction through the wall (inside to outside): l is the axis' part perpendicular to t, c = l x t runs
    around the axis, counter-clockwise seen from its tip: a positive angle makes a right-handed helix.

    Parameters
    ----------
    through
        Unit vectors t.
    axis
        From apex to base; where it is parallel to t (at the apex) any l perpendicular to t is taken.
    angle
        Radians.
    """
    up = axis - (through @ axis)[:, None] * through
    size = np.linalg.norm(up, axis=1)
    lost = size < 1e-6
    up[lost] = np.cross(through[lost], np.eye(3)[np.abs(through[lost]).argmin(axis=1)])
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    return np.cos(angle)[:, None] * np.cross(up, through) + np.sin(angle)[:, None] * up


def _layer(wall: _Wall, layers: tuple[float, float]) -> Int[np.ndarray, " n"]:
    """Layer of every point; in the septum the outer part is endocardium again, and there is no epicardium."""
    inner, outer = layers
    depth = np.where(wall.septum, np.minimum(wall.transmural, 1.0 - wall.transmural), wall.transmural)
    return np.select([depth < inner, depth < outer], [ENDOCARDIUM, MIDWALL], EPICARDIUM).astype(np.int8)


def _chunks(points: Float[np.ndarray, "n 3"]) -> list[np.ndarray]:
    return [points[k : k + CHUNK] for k in range(0, len(points), CHUNK)]
