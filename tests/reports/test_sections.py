"""The sections of a report: what they say and in which order."""

import pytest

from casebook.reports.sections import changed_settings, facts, training_section
from casebook.training.recipe import make_recipe


def row(epoch: int, top1: float, loss: float, **more: object) -> dict:
    return {"epoch": epoch, "phase": "train", "train_loss": 1.0, "val_loss": loss, "val_top1": top1} | more


def test_only_settings_that_differ_from_the_defaults_are_in_sight() -> None:
    given = make_recipe("scratch", data="photos", model="resnet18", epochs=7).model_dump(mode="json")
    changed = changed_settings(given)
    assert changed["data"] == "photos"
    assert changed["epochs"] == 7
    assert "channels_last" not in changed  # the default
    assert len(changed) < len(given) / 3
    assert changed_settings({"channels_last": False, "of another version": 1}) == {
        "channels_last": False,
        "of another version": 1,
    }


def test_the_text_names_the_epoch_whose_weights_were_kept() -> None:
    history = [row(1, 0.80, 0.9), row(2, 0.9, 0.8), row(3, 0.85, 0.1), row(4, 0.9, 0.5)]  # 2 and 4 tie; 4 has less loss
    section = training_section(history, num_validation=50)
    assert section is not None
    assert section.said == [
        "4 epochs.",
        "The weights are those of epoch 4, which had the highest validation accuracy, 90.0\u00a0%; among equal epochs "
        "the lowest loss decides.",
    ]
    charts = dict(section.charts)
    assert "one picture" in charts["Validation accuracy"]
    assert "weights kept" in charts["Loss"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "less than a second"), (45, "45 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, said: str) -> None:
    section = training_section([row(1, 0.5, 1.0, seconds=seconds)])
    assert section is not None
    assert section.said[0] == f"1 epoch, {said} of training."


def test_nested_settings_are_flat() -> None:
    assert facts({"a": {"b": {"c": 1.5}, "d": []}, "e": True, "f": [1, 2]}) == [
        ("a.b.c", "1.5"), ("a.d", "–"), ("e", "yes"), ("f", "1, 2")
    ]  # fmt: skip
