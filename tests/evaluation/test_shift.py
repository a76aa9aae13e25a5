import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.data.sources import load_source
from casebook.deployment import card
from casebook.errors import DataError
from casebook.evaluation import shift
from casebook.evaluation.shift import measure_shift, read_shift
from casebook.evaluation.views import Asking
from casebook.runner.engine import Outputs
from casebook.runner.unsure import Judge, PredictionSets

PLAIN = casebook.Preprocessing(size=32, crop_fraction=1.0)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """A classifier of light and dark pictures by their mean, which blur does not touch and brightness does."""

    preprocessing: casebook.Preprocessing = PLAIN
    classes: tuple[str, ...] = ("dark", "light")
    batch_size: int = 16

    def infer(self, pixels: np.ndarray) -> Outputs:
        light = pixels.mean((1, 2, 3)) / 255
        logits = np.stack([0.5 - light, light - 0.5], 1) * 20
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return Outputs(probabilities.astype(np.float32), logits, np.zeros((len(pixels), 0), np.float32))


@pytest.fixture(scope="module")
def light_and_dark(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("light")
    for number in range(48):
        grey, name = ((70, "dark"), (190, "light"))[number % 2]
        (root / name).mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(-30, 31, (32, 32, 3))
        Image.fromarray((grey + noise).astype(np.uint8)).save(root / name / f"{number:02d}.png")
    (root / "dark" / "broken.png").write_text("no picture")
    return load_source(root)


@pytest.fixture(scope="module")
def found(light_and_dark):
    return measure_shift(Brightness(), light_and_dark, range(len(light_and_dark)), asking=Asking(workers=0))


def test_what_harms_and_what_does_not(found) -> None:
    kinds = {one["name"]: one for one in found["corruptions"]}
    assert found["n"] == 48
    assert found["clean"]["accuracy"] == 1.0
    for harmless in ("blur", "noise", "contrast", "rotation", "scale", "jpeg"):
        assert kinds[harmless]["mean_accuracy"] == 1.0, harmless
    levels = kinds["brightness"]["levels"]  # dark pictures become light from 0.3 on: 70 + 76 > 127
    assert [level["accuracy"] for level in levels] == [1.0, 1.0, 0.5, 0.5, 0.5]
    assert levels[2]["loss"] == 0.5
    low, high = levels[2]["loss_interval"]
    assert low < 0.5 < high
    assert found["most_harmful"] == "brightness"
    assert [one["accuracy"] for one in found["views"]] == [1.0] * 4


def test_the_fragile_class_is_the_one_that_loses(found) -> None:
    worst = found["fragile_class"]
    assert (worst["class"], worst["n"], worst["clean_accuracy"]) == ("dark", 24, 1.0)
    assert worst["mean_accuracy"] == pytest.approx(1 - 3 / 40)
    low, high = worst["loss_interval"]
    assert low <= worst["loss"] <= high
    assert found["mean_accuracy"] == pytest.approx(1 - 1.5 / 40)
    assert found["notes"] == ["1 pictures cannot be read, such as dark/broken.png"]


def test_without_a_judge_nothing_is_unsure(found) -> None:
    assert found["most_wrong"] is None
    assert found["clean"]["unsure"] is None


def test_a_judge_is_asked_about_every_copy(light_and_dark) -> None:
    judge = Judge(0.05, 0.95, 6.0, 1.0, PredictionSets(0.9, 0.1))
    judged = measure_shift(
        Brightness(), light_and_dark, range(len(light_and_dark)), judge=judge, asking=Asking(workers=0)
    )
    contrast = next(one for one in judged["corruptions"] if one["name"] == "contrast")["levels"]
    assert judged["most_wrong"] == 0.05
    assert judged["clean"]["unsure"] == 0.0
    brightness = next(one for one in judged["corruptions"] if one["name"] == "brightness")["levels"]
    assert brightness[2]["unsure"] == 0.5  # the dark ones are near the middle
    assert brightness[4]["wrong_answers"] == 0.5  # and beyond it: wrong, and sure of it
    assert contrast[4]["unsure_interval"][0] <= contrast[4]["unsure"]


def test_the_answer_does_not_depend_on_threads_or_batches(light_and_dark, found) -> None:
    again = measure_shift(Brightness(), light_and_dark, range(len(light_and_dark)), asking=Asking(7, 2))
    assert again | {"seconds": 0} == found | {"seconds": 0}


def test_a_limit_on_time_takes_a_sample(light_and_dark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "MOST_SECONDS", 0.0)
    few = measure_shift(Brightness(), light_and_dark, range(len(light_and_dark)), asking=Asking(16, 0))
    assert 0 < few["n"] <= 16
    assert "in the time that there was" in few["notes"][0]
    assert any("most fragile" in note for note in few["notes"]) == (few["fragile_class"] is None)


def test_nothing_readable_is_said(light_and_dark) -> None:
    broken = [i for i, picture in enumerate(light_and_dark.pictures) if "broken" in picture.name]
    with pytest.raises(DataError, match="not one of 1 pictures"):
        measure_shift(Brightness(), light_and_dark, broken)


def test_a_run_keeps_it_and_its_card_says_it(digit_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(digit_folder, out=tmp_path / "run", model="lenet5", epochs=1, device="cpu")
    assert "shift" not in card.metrics(casebook.load(run.path))
    evaluation = casebook.evaluate_shift(run.path)
    document = evaluation.document["shift"]
    assert document["n"] == len(evaluation.predictions.names)
    kept = read_shift(run)
    assert kept is not None
    assert kept["mean_accuracy"] == document["mean_accuracy"]
    said = card.metrics(casebook.load(run.path))["shift"]
    assert said["corruptions"].keys() == {one["name"] for one in document["corruptions"]}
    assert "| rotation |" in "\n".join(card._shift_lines({"shift": said}))
    evaluation.write_html(tmp_path / "page.html")
    assert "Under other light" in (tmp_path / "page.html").read_text()
    changed = json.loads((run.path / "shift.json").read_text()) | {"weights_sha256": "0"}
    (run.path / "shift.json").write_text(json.dumps(changed))
    assert read_shift(run) is None


def test_saved_predictions_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need the network itself"):
        casebook.evaluate_shift(tmp_path / "said.csv")
