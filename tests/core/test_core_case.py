import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from einthoven.core import (
    Case,
    Electrodes,
    FileFormatError,
    GeometryError,
    InputError,
    Recording,
    Region,
    Source,
    Surface,
    VolumeConductor,
)
from einthoven.core.errors import some

TETRAHEDRON = Surface(
    np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    "heart",
)
TORSO = replace(TETRAHEDRON, points=20 * (TETRAHEDRON.points - 2), name="torso")
CONDUCTOR = VolumeConductor(Region(TORSO, 0.2))
ELECTRODES = Electrodes(("E1", "E2"), TORSO.points[:2])


def beat(sites, quantity="bsp"):
    return Recording(np.zeros((len(sites), 3)), np.arange(3.0), tuple(sites), quantity)


def case(**changes):
    arguments = {"name": "dog", "conductor": CONDUCTOR, "sources": (Source(TETRAHEDRON),), "electrodes": ELECTRODES}
    return Case(**{**arguments, **changes})


def test_a_case_is_frozen_and_says_what_it_holds():
    made = case(recording=beat(("E2", "E1")))
    assert "heart heart (hsp), 2 electrodes" in repr(made)
    with pytest.raises(FrozenInstanceError):
        made.name = "cat"


def test_the_source_of_a_quantity_is_found():
    epicardium, wall = Source(TETRAHEDRON), Source(TETRAHEDRON.renamed("wall"), "vm")
    made = case(sources=(epicardium, wall))
    assert made.source() is epicardium
    assert made.source("vm") is wall
    with pytest.raises(InputError, match="dog: no heart surface for 'vm'; there is hsp"):
        case().source("vm")


def test_the_truth_may_cover_part_of_the_nodes():
    truth = beat(("heart:2", "heart:0"), "hsp")
    assert Source(TETRAHEDRON, truth=truth).truth is truth


def test_case_messages():
    with pytest.raises(InputError, match="dog: a case needs at least one heart surface"):
        case(sources=())
    with pytest.raises(InputError, match="dog: leads E9 of the recording have no electrode of that name"):
        case(recording=beat(("E1", "E9")))
    with pytest.raises(InputError, match=r"dog: the recording must be bsp \(body-surface potential\).*got ecg"):
        case(recording=beat(("E1",), "ecg"))


def test_source_messages():
    with pytest.raises(InputError, match=r"heart: the truth must be hsp \(heart-surface .*\); got vm"):
        Source(TETRAHEDRON, truth=beat(("heart:0",), "vm"))
    with pytest.raises(InputError, match="heart: the truth's sites must be nodes of the surface; heart:7, x are not"):
        Source(TETRAHEDRON, truth=beat(("heart:7", "heart:1", "x"), "hsp"))
    with pytest.raises(InputError, match="heart: a source is 'hsp' or 'vm'; got 'bsp'"):
        Source(TETRAHEDRON, "bsp")
    opened = replace(TETRAHEDRON, triangles=TETRAHEDRON.triangles[:3])
    with pytest.raises(GeometryError, match="heart: must be closed"):
        Source(opened)


def test_a_conductor_lists_its_regions_the_torso_first():
    inner = Region(TETRAHEDRON.renamed("lung"), 0.05)
    made = VolumeConductor(Region(TORSO, 0.2), (inner,))
    assert [r.surface.name for r in made.regions] == ["torso", "lung"]
    assert made.skin is TORSO
    assert repr(made) == "VolumeConductor(torso 0.2 S/m, lung 0.05 S/m)"


@pytest.mark.parametrize("conductivity", [0.0, -0.2, float("nan"), float("inf"), 1e6])
def test_a_conductivity_must_be_positive_and_plausible(conductivity):
    with pytest.raises(InputError, match="torso: conductivity must be positive and in S/m"):
        Region(TORSO, conductivity)


def test_conductor_messages():
    with pytest.raises(GeometryError, match="unique names; got torso, torso"):
        VolumeConductor(Region(TORSO, 0.2), (Region(TORSO, 0.1),))
    with pytest.raises(GeometryError, match="torso: must be closed"):
        Region(replace(TORSO, triangles=TORSO.triangles[:3]), 0.2)


def test_a_file_error_names_file_and_place_and_survives_pickling():
    error = FileFormatError("beat.fld", "the header is cut off. Copy the file again.", where="byte 96")
    assert str(error) == "beat.fld, byte 96: the header is cut off. Copy the file again."
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.path, back.where, back.problem) == (str(error), error.path, error.where, error.problem)
    assert isinstance(error, InputError)
    assert str(FileFormatError("a.csv", "is empty.")) == "a.csv: is empty."


def test_long_lists_are_cut():
    assert some(range(3)) == "0, 1, 2"
    assert some(range(5)) == "0, 1, 2, 3, 4"
    assert some(range(48)) == "0, 1, 2, 3, 4 and 43 more"
    assert some(np.arange(9), limit=2) == "0, 1 and 7 more"
