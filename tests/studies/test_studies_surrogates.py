"""Training, scoring and predicting on stored sets."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import FileFormatError, InputError
from einthoven.eikonal.conduction import Conduction
from einthoven.report.surrogate_page import learning_figure, tissue_figure, write_surrogate_page
from einthoven.report.training_page import write_training_page
from einthoven.studies import surrogates as study
from einthoven.studies.sheet_sets import SheetSet, load_recipe
from einthoven.studies.surrogate_prediction import PictureSettings, predict_picture, write_predictions
from einthoven.surrogate.cards import card_text
from einthoven.surrogate.configuration import configurations, load_configuration
from einthoven.surrogate.lead_field_net import MovieEcg
from einthoven.surrogate.limits import Limits
from einthoven.surrogate.models import TissueEcg, load_surrogate, n_parameters, packaged, weights_path
from einthoven.surrogate.recipe import split_of
from surrogate_cases import recipe


@pytest.fixture(scope="module")
def sheets(sheet_folder) -> SheetSet:
    """A set of 20 sheets; not to be changed."""
    return SheetSet.open(sheet_folder)


def small(name: str, **changes):
    """A configuration with few epochs and channels."""
    network = {"width": 16} if name.startswith("seq2seq") else {"width": 8, "depth": 1}
    loaded = load_configuration(name)
    return loaded.model_copy(update={"epochs": 2, "network": {**loaded.network, **network}, **changes})


@pytest.fixture(scope="module")
def trained(sheets, tmp_path_factory):
    """A neural eikonal, hardly trained."""
    folder = tmp_path_factory.mktemp("trained") / "mine"
    result = study.write_training(
        small("neural-eikonal"), sheets, folder, seed=3, scored_on=[(sheets, "test")], page=write_training_page
    )
    return folder, result


@pytest.mark.long
@pytest.mark.parametrize("name", ["seq2seq", "lead-field-net-2mm"])
def test_movie_models_train_and_load(sheets, tmp_path, name):
    result = study.write_training(small(name, epochs=1), sheets, tmp_path / "x", limit=4)
    loaded, card = load_surrogate(tmp_path / "x" / "weights.npz")
    data = next(sheets.sheets("test"))
    assert np.array_equal(loaded.predict(data), result.surrogate.predict(data))
    assert card["training_sheets"] == 4
    assert loaded.sees_movie


def test_a_training_writes_weights_course_and_card(sheets, trained):
    folder, result = trained
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["metrics.json", "report.html", "training.csv", "weights.npz"]
    rows = list(csv.DictReader((folder / "training.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    loaded, card = load_surrogate(folder / "weights.npz")
    assert card["seed"] == 3
    assert card["training_sheets"] == 16
    assert card["recipe"]["membrane"] == recipe().membrane
    assert card["parameters"] == n_parameters(loaded.net)
    assert "machine" in card
    assert card["course"]["score"] == [float(row["score"]) for row in rows]
    assert card["course"]["minutes"][-1] == pytest.approx(card["training_seconds"] / 60, abs=1e-3)
    data = next(sheets.sheets("test"))
    assert np.array_equal(loaded.predict(data), result.surrogate.predict(data))


def test_conditions_that_are_left_out_are_not_trained_on(sheets, tmp_path):
    mine = small("neural-eikonal", epochs=1, leave_out=("fibrotic", "no such"))
    for part, n in (("training", 8), ("validation", 1)):
        cells = study.wanted_cells(mine, sheets, part)
        assert [c["condition"]["name"] for c in cells] == n * ["healthy"]
    result = study.write_training(mine, sheets, tmp_path / "x")
    assert result.card["training_sheets"] == 8
    assert "(10 healthy)" in card_text("mine", result.card)
    assert study._identity(mine, []) != study._identity(small("neural-eikonal", epochs=1), [])


def test_a_card_tells_the_scores_that_an_evaluation_finds(sheets, trained):
    _, result = trained
    again = study.evaluate(sheets, [study.as_predictor("mine", result.surrogate, result.card)])
    (group,) = result.card["scores"]
    assert (group["set"], group["split"]) == (sheets.recipe.title, "test")
    for told, row in zip(group["rows"], again.table, strict=True):
        assert {k: row[k] for k in told} == told
        assert told["r2_mean"] == row["r2_mean"]
    text = card_text("mine", result.card)
    assert f"| all | 6 | {group['rows'][0]['r2_mean']:.4f} |" in text
    assert "16 sheets of the set" in text
    assert "| density of holes |" in text
    assert text == card_text("mine", json.loads(json.dumps(result.card)))
    page = (trained[0] / "report.html").read_text()
    assert page.count("<img") == 1
    assert "Made again by" in page


def test_a_part_is_scored_without_the_others(sheets, tmp_path):
    folder = tmp_path / "part"
    shutil.copytree(sheets.folder, folder)
    for cell in (folder / "store" / "cells").iterdir():
        if split_of(json.loads((cell / "cell.json").read_text())["config"]["number"]) != "test":
            shutil.rmtree(cell)
    surrogate, card = load_surrogate("lead-field-net-2mm")  # its tissue is read off a movie, for the page
    predictors = [study.as_predictor("net", surrogate, card)]
    found, whole = (study.evaluate(s, predictors) for s in (SheetSet.open(folder), sheets))
    assert [row["r2"] for row in found.rows] == [row["r2"] for row in whole.rows]
    assert set(found.tissues) == {"net"}
    with pytest.raises(InputError, match="16 of 16 sheets are not there"):
        study.evaluate(SheetSet.open(folder), predictors, split="training")


def test_the_commands_of_a_card_make_it_again(sheets):
    own = study.commands_for(small("neural-eikonal"), sheets, seed=3, limit=4, scored_on=[(sheets, "all")])
    assert own == [
        "einthoven surrogate generate recipe.toml --out out/recipe",
        "einthoven surrogate train configuration.toml out/recipe --out out/surrogate --seed 3 --sheets 4 --score-on "
        "out/recipe:all",
    ]
    ready = SheetSet(sheets.folder, load_recipe("sheets-64mm"))
    assert study.commands_for(load_configuration("seq2seq"), ready, scored_on=[(ready, "test"), (sheets, "all")]) == [
        "einthoven surrogate generate sheets-64mm --out out/sheets-64mm",
        "einthoven surrogate generate recipe.toml --out out/recipe",
        "einthoven surrogate train seq2seq out/sheets-64mm --out out/seq2seq --seed 0 --score-on out/sheets-64mm:test "
        "--score-on out/recipe:all",
    ]


@pytest.mark.parametrize("name", packaged())
def test_cards_of_the_packaged_weights_say_everything(name):
    _, card = load_surrogate(name)
    assert card["scores"]
    own = name if name in configurations() else card["configuration"]["model"]
    assert card["commands"][-1].startswith(f"einthoven surrogate train {own} ")
    assert len(card["course"]["score"]) == card["configuration"]["epochs"]
    page = (Path(__file__).parents[2] / "docs" / "surrogate-cards.md").read_text()
    assert card_text(name, card) in page, "einthoven surrogate card > docs/surrogate-cards.md"


def test_r2_is_drawn_against_sheets(sheets, trained):
    result = trained[1]
    more = {**result.card, "training_sheets": 32}
    predictors = [study.as_predictor(n, result.surrogate, c) for n, c in (("a", result.card), ("b", more))]
    (axes,) = learning_figure(study.evaluate(sheets, predictors)).axes
    (line,) = axes.get_lines()
    assert list(line.get_xdata()) == [16, 32]


def test_an_evaluation_with_baselines_and_page(sheets, trained, tmp_path):
    predictors = [*study.baselines(sheets), study.as_predictor("mine", trained[1].surrogate, trained[1].card)]
    result = study.evaluate(sheets, predictors)
    study.write_evaluation(result, tmp_path, write_surrogate_page)
    table = json.loads((tmp_path / "metrics.json").read_text())
    names = list(dict.fromkeys(row["predictor"] for row in table))
    assert names[-1] == "mine"
    assert len(names) == 11
    assert {row["condition"] for row in table} == {"all", "healthy", "fibrotic"}
    best = next(row for row in table if row["predictor"] == "true activation, modelled duration")
    assert best["r2_mean"] > 0.99
    page = (tmp_path / "report.html").read_text()
    assert "no learning, 1 mm" in page
    assert page.count("<img") == 6  # all, two conditions, two kinds of examples, the course of the training
    mine = next(row for row in table if row["predictor"] == "mine")
    assert mine["flagged"] <= 1
    assert 0 <= mine["below"] <= 1
    assert "below" not in best
    data = next(sheets.sheets("test", "healthy"))
    late = np.nanmean(np.abs(trained[1].surrogate.activation(data) - data.tissue().take(data.activation)))
    healthy = next(row for row in table if row["predictor"] == "mine" and row["condition"] == "healthy")
    assert healthy["activation_error_ms"] == pytest.approx(late)
    ridge = next(row for row in table if row["predictor"].startswith("ridge"))
    assert ridge["n"] == 2


def test_sheets_of_other_cells_are_told(sheets, trained):
    weights = str(trained[0] / "weights.npz")
    predictor, remark = study.loaded(weights, sheets)
    assert (predictor.name, remark) == ("mine", None)
    other = SheetSet(sheets.folder, sheets.recipe.model_copy(update={"membrane": "mitchell-schaeffer-2003"}))
    _, remark = study.loaded(weights, other)
    assert remark == (
        f"mine: was trained on cells {sheets.recipe.membrane}; the sheets are of mitchell-schaeffer-2003: it takes "
        "their speeds and shapes"
    )
    predictor, _ = study.loaded(weights, other)
    rows = study.evaluate(sheets, [predictor]).rows
    assert all(row["flagged"] and not row["below"] for row in rows)


def test_the_tissue_that_is_read_off_a_movie_is_shown(sheets, tmp_path):
    plain = MovieEcg(None, Conduction.of(recipe().membrane), 1.0, 0.5)
    result = study.evaluate(sheets, [study.as_predictor("plain", plain)])
    read, true = result.tissues["plain"]
    cells = true.share > 0.9
    assert np.corrcoef(read.share.ravel(), true.share.ravel())[0, 1] > 0.9
    assert np.median(read.diffusivity[cells] / true.diffusivity[cells]) == pytest.approx(1.0, abs=0.2)
    figure = tissue_figure(read, true)
    assert [a.get_title() for a in figure.axes[:4]] == [
        "D, true", "D, read", "share of cells, true", "share of cells, read",
    ]  # fmt: skip
    study.write_evaluation(result, tmp_path, write_surrogate_page)
    assert "Tissue that plain reads off" in (tmp_path / "report.html").read_text()


def test_predictions_made_elsewhere_are_scored_alike(sheets, trained, tmp_path):
    surrogate = trained[1].surrogate
    limits = Limits.of_card(trained[1].card["limits"])
    unlike = write_predictions(surrogate, limits, sheets, tmp_path / "p", split="test")
    path = tmp_path / "p" / "predictions.npz"
    assert len(study.evaluate(sheets, [study.as_predictor("a", surrogate)], split="all").rows) == 60
    inside = study.evaluate(sheets, [study.as_predictor("a", surrogate)])
    outside = study.evaluate(sheets, [study.external(path)])
    for a, b in zip(inside.rows, outside.rows, strict=True):
        assert a["r2"] == pytest.approx(b["r2"])
    with np.load(path) as file:
        arrays = dict(file)
    assert unlike == sum(w != "" for w in arrays["warning"])
    assert (arrays["bound"] > 0).all()
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, **{**arrays, "number": arrays["number"] + 1})
    with pytest.raises(InputError, match="holds no prediction for sheet 9 of 'healthy'"):
        study.evaluate(sheets, [study.external(wrong)])
    np.savez(wrong, ecg=arrays["ecg"])
    with pytest.raises(FileFormatError, match="must be a NumPy archive with condition, number, ecg and times"):
        study.external(wrong)
    np.savez(wrong, **{**arrays, "times": arrays["times"][:-1]})
    with pytest.raises(FileFormatError, match=r"ecg must have shape \(sheets, electrodes, times\)"):
        study.external(wrong)
    np.savez(wrong, **{**arrays, "ecg": arrays["ecg"][..., :50], "times": arrays["times"][:50]})
    with pytest.raises(InputError, match=r"predicts an ECG of shape \(3, 50\).*and 201 samples"):
        study.evaluate(sheets, [study.external(wrong)])


def test_fewer_sheets_keep_the_proportion(sheets):
    cells = study.limited(sheets.cells("training"), 4)
    assert [c["condition"]["name"] for c in cells] == ["healthy"] * 2 + ["fibrotic"] * 2
    with pytest.raises(InputError, match="must be at least 1; got 0"):
        study.limited(cells, 0)


@pytest.mark.parametrize("name", sorted(configurations()))
def test_configurations(name):
    loaded = load_configuration(name)
    assert loaded.course(0).epochs == loaded.epochs
    if name.startswith("seq2seq-no-"):
        whole = load_configuration("seq2seq")
        changed = [k for k in whole.network if whole.network[k] != loaded.network[k]]
        assert changed == [
            {"no-encoder": "encoder", "no-attention": "attention", "no-time": "time", "no-entropy": "entropy"}[
                name.removeprefix("seq2seq-")
            ]
        ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "a"\nmodel = "u-net"', "model: Input should be"),
        ('title = "a"\nmodel = "seq2seq"', "pixel must be given for seq2seq"),
        ('title = "a"\nmodel = "neural-eikonal"\npixel = 1.0', "pixel must not be given for neural-eikonal"),
        ('title = "a"\nmodel = "seq2seq"\npixel = 2.0', "electrodes must be given for seq2seq"),
        ('title = "a"\nmodel = "neural-eikonal"\n[network]\nlayers = 3', "network: layers: Extra inputs"),
        ("title = ", "is no TOML file"),
    ],
)
def test_wrong_configurations(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_configuration(path)


def test_names_that_are_not_there():
    with pytest.raises(InputError, match="no such surrogate; give a TOML file, or one of: lead-field-net"):
        load_configuration("u-net")
    with pytest.raises(InputError, match="no such weights; give a file"):
        weights_path("u-net")


def test_a_card_that_describes_nothing(trained, tmp_path):
    from einthoven.surrogate.weights import save_weights

    path = tmp_path / "w.npz"
    save_weights(path, trained[1].surrogate.net, {"configuration": {"title": "a"}})
    with pytest.raises(InputError, match="its card does not describe a surrogate"):
        load_surrogate(path)


def picture(path: Path, light: np.ndarray) -> Path:
    """A picture, row 0 on top."""
    from PIL import Image

    Image.fromarray(np.where(light, 255, 0).astype(np.uint8)).save(path)
    return path


def test_a_picture_is_predicted(tmp_path, trained):
    light = np.ones((40, 60), bool)
    light[:20, 30:34] = False  # a wall from the top
    s = PictureSettings(0.5, 0.1, np.array([[5.0, 18.0]]), np.array([[15.0, 10.0, 20.0]]))
    limits = Limits.of_card(trained[1].card["limits"])
    found = predict_picture(TissueEcg(None, recipe().membrane), limits, picture(tmp_path / "p.png", light), s)
    assert found.activation.shape == (60, 40)
    assert np.isnan(found.activation[31, 25])
    behind, below = found.activation[36, 36], found.activation[36, 4]
    assert behind > below
    assert found.ecg.n_sites == 1
    assert found.bound > 0
    light = np.ones((40, 60), bool)
    whole = predict_picture(TissueEcg(None, recipe().membrane), limits, picture(tmp_path / "w.png", light), s)
    assert whole.judgement.familiar
    assert whole.judgement.warning is None
    light[::3, ::3] = False
    found = predict_picture(TissueEcg(None, recipe().membrane), limits, picture(tmp_path / "q.png", light), s)
    assert found.judgement.warning is not None
    assert "holes of one or two cells per area (1/mm2) is 0.467, " in found.judgement.warning


def test_pictures_that_cannot_be_predicted(tmp_path, trained):
    limits = Limits.of_card(trained[1].card["limits"])
    s = PictureSettings(0.5, 0.1, np.array([[50.0, 5.0]]), np.array([[15.0, 10.0, 20.0]]))
    model = TissueEcg(None, recipe().membrane)
    with pytest.raises(InputError, match=r"the site 50, 5 mm is 30.\d mm from the nearest conducting pixel"):
        predict_picture(model, limits, picture(tmp_path / "p.png", np.ones((40, 40), bool)), s)
    with pytest.raises(InputError, match="no pixel conducts: all are dark"):
        predict_picture(model, limits, picture(tmp_path / "q.png", np.zeros((40, 40), bool)), s)
    (tmp_path / "r.png").write_text("no picture")
    with pytest.raises(FileFormatError, match="is no picture that can be read"):
        predict_picture(model, limits, tmp_path / "r.png", s)
    whole = (tmp_path / "p.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"cannot be read as a picture|no picture"):
        predict_picture(model, limits, tmp_path / "cut.png", s)
