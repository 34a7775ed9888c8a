"""The page on one's own files: its example works as printed, its table is the schema."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import FileFormatError, GeometryError, Recording, Surface
from einthoven.geometry.generators import sphere
from einthoven.io import tables
from einthoven.io.case_file import CaseFile, documented_fields
from einthoven.io.cases import read_case
from einthoven.io.registry import write

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "my-files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CSV = re.findall(r"```text\n(name,x.*?|time_ms.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path) -> Path:
    """The smallest case of the page, with spheres for surfaces."""
    torso = sphere(150.0, subdivisions=1, name="t")
    write(torso, tmp_path / "torso.ply")
    write(sphere(40.0, subdivisions=1), tmp_path / "heart.ply")
    tables.write_points(tmp_path / "electrodes.csv", torso.points[:2], names=("V1", "V2"))
    (tmp_path / "bspm.csv").write_text(CSV[1])
    (tmp_path / "case.toml").write_text(BLOCKS[0])
    return tmp_path


def test_the_smallest_case_works_as_printed(folder):
    case = read_case(folder)
    assert case.recording is not None
    np.testing.assert_allclose(case.recording.values, [[0.009, 0.0095], [-0.009, -0.0095]], rtol=1e-12)
    assert case.recording.sites == ("V1", "V2")
    assert case.recording.reference == "average"


def test_the_printed_electrodes_are_read(tmp_path):
    (tmp_path / "e.csv").write_text(CSV[0])
    found = tables.read(tmp_path / "e.csv")
    assert found.names["points"] == ("V1", "V2")
    assert np.array_equal(found.point_set()[0], [-20.5, -98.0, 31.0])


def test_every_printed_table_is_valid():
    smallest = tomllib.loads(BLOCKS[0])
    heart = {"file": "h.ply", "quantity": "hsp"}
    assert len(BLOCKS) > 5
    for block in BLOCKS[1:]:
        spec = tomllib.loads(block)
        merged = smallest | spec
        merged["surfaces"] = smallest["surfaces"] | spec.get("surfaces", {})
        merged["hearts"] = smallest["hearts"] | {k: heart | v for k, v in spec.get("hearts", {}).items()}
        CaseFile.model_validate(merged)


def test_the_printed_messages_are_the_real_ones(folder):
    (folder / "torso.ply").rename(folder / "away.ply")
    with pytest.raises(FileFormatError) as caught:
        read_case(folder)
    said = str(caught.value).replace(str(folder), "my-case").replace("torso.ply", "tors.ply")
    assert said in PAGE
    (folder / "away.ply").rename(folder / "torso.ply")
    heart = sphere(40.0, subdivisions=1)
    write(Surface(heart.points, heart.triangles[:, ::-1]), folder / "heart.ply")
    with pytest.raises(GeometryError) as caught:
        read_case(folder)
    said = str(caught.value).replace(str(folder), "my-case").replace("80", "2196")
    assert said in PAGE.replace("\n", " ")


def test_the_table_lists_every_field():
    rows = [
        f"| `{name}` | {default if default == 'required' or not default else f'`{default}`'} | {meaning} |"
        for name, default, meaning in documented_fields()
    ]
    assert PAGE.endswith("\n".join(rows) + "\n")


def test_a_case_with_everything_on_the_page(folder):
    """Two files, one-based; a lung to be repaired; rows, truth, window."""
    torso, lung = sphere(150.0, subdivisions=1), sphere(20.0, subdivisions=1, center=(80.0, 0.0, 0.0))
    (folder / "torso_points.csv").write_text("\n".join(",".join(f"{v!r}" for v in p) for p in torso.points.tolist()))
    (folder / "torso_triangles.csv").write_text("\n".join(",".join(str(v + 1) for v in t) for t in torso.triangles))
    write(Surface(lung.points, lung.triangles[:, ::-1]), folder / "lung.ply")
    values = np.random.default_rng(0).normal(size=(5, 600))
    write(Recording(values, np.arange(600.0), tuple("abcde"), "bsp"), folder / "run.csv")
    text = BLOCKS[1] + BLOCKS[2].replace('file = "lungs.mat"\npart = "lung_left"', 'file = "lung.ply"')
    text += '[hearts.epi]\nfile = "heart.ply"\nquantity = "hsp"\n[electrodes]\nnodes = ["1-2"]\nfirst_index = 1\n'
    text += '[recording]\nfile = "run.csv"\nrows = [5, 1]\nfirst_index = 1\nelectrodes = ["torso:1", "torso:0"]\n'
    text += 'reference = "average"\naverage = true\nwindow = [100, 200]\n'
    (folder / "case.toml").write_text(text)
    case = read_case(folder)
    assert case.recording is not None
    pair = values[[4, 0]][:, 100:201]
    np.testing.assert_allclose(case.recording.values, pair - pair.mean(axis=0), atol=1e-15)
    assert case.recording.sites == ("torso:1", "torso:0")
    assert "left_lung: the winding of 80 of 80 triangles was mended." in case.info["repairs"]
    assert case.conductor.inner[0].conductivity == 0.05
