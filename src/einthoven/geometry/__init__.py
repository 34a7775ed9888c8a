"""Surfaces: mesh operators, checks, closest points, distances, remeshing, registration, generators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einthoven.geometry import generators
    from einthoven.geometry.checks import (
        check_case,
        check_conductor,
        check_electrodes,
        check_gap,
        check_inside,
        check_memory,
        check_not_self_intersecting,
        check_separate,
        check_surface,
        check_triangles,
        check_units,
        parents,
    )
    from einthoven.geometry.curvature import gaussian_curvature, mean_curvature, voronoi_areas
    from einthoven.geometry.distance import along_edges, geodesic, geodesic_matrix
    from einthoven.geometry.intersect import intersections, self_intersections
    from einthoven.geometry.locate import Closest, closest_points, contains, winding_numbers
    from einthoven.geometry.operators import (
        areas,
        edge_length_laplacian,
        gradient,
        laplace_beltrami,
        mass,
        node_areas,
        node_normals,
        normals,
        stiffness,
    )
    from einthoven.geometry.quality import edge_lengths, euler_characteristic, summary, triangle_quality
    from einthoven.geometry.registration import (
        Registration,
        Snapped,
        Transform,
        register_points,
        register_to_surface,
        snap,
    )
    from einthoven.geometry.remesh import Remeshed, decimated, interpolation, refined

_HOME = {
    "checks": (
        "check_case check_conductor check_electrodes check_gap check_inside check_memory check_not_self_intersecting "
        "check_separate check_surface check_triangles check_units parents"
    ),
    "curvature": "gaussian_curvature mean_curvature voronoi_areas",
    "distance": "along_edges geodesic geodesic_matrix",
    "intersect": "intersections self_intersections",
    "locate": "Closest closest_points contains winding_numbers",
    "operators": (
        "areas edge_length_laplacian gradient laplace_beltrami mass node_areas node_normals normals stiffness"
    ),
    "quality": "edge_lengths euler_characteristic summary triangle_quality",
    "registration": "Registration Snapped Transform register_points register_to_surface snap",
    "remesh": "Remeshed decimated interpolation refined",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "Closest",
    "Registration",
    "Remeshed",
    "Snapped",
    "Transform",
    "along_edges",
    "areas",
    "check_case",
    "check_conductor",
    "check_electrodes",
    "check_gap",
    "check_inside",
    "check_memory",
    "check_not_self_intersecting",
    "check_separate",
    "check_surface",
    "check_triangles",
    "check_units",
    "closest_points",
    "contains",
    "decimated",
    "edge_length_laplacian",
    "edge_lengths",
    "euler_characteristic",
    "gaussian_curvature",
    "generators",
    "geodesic",
    "geodesic_matrix",
    "gradient",
    "interpolation",
    "intersections",
    "laplace_beltrami",
    "mass",
    "mean_curvature",
    "node_areas",
    "node_normals",
    "normals",
    "parents",
    "refined",
    "register_points",
    "register_to_surface",
    "self_intersections",
    "snap",
    "stiffness",
    "summary",
    "triangle_quality",
    "voronoi_areas",
    "winding_numbers",
]


def __getattr__(name: str) -> Any:
    """Import a public function when it is first used, so that importing the package stays cheap."""
    if name == "generators":
        return import_module("einthoven.geometry.generators")
    if name in _MODULE:
        return getattr(import_module(f"einthoven.geometry.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'einthoven.geometry' has no attribute {name!r}")
