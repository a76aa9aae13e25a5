"""Which names mean train, val and test."""

import pytest

from casebook.data.split_words import split_names, splits_text


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training Data", "Test-Data"), ("train", "test")),
        (("TrainingSet", "TestSet"), ("train", "test")),
        (("trainset", "valset", "testset"), ("train", "val", "test")),
        (("train2017", "val2017"), ("train", "val")),
        (("ILSVRC2012_img_train", "ILSVRC2012_img_val"), ("train", "val")),
        (("TRAIN", "DEV"), ("train", "val")),
        (("train", "hold-out"), ("train", "test")),
        (("train", "held_out", "test"), ("train", "val", "test")),
        (("train", "evaluation"), ("train", "test")),
        (("seg_train", "seg_test", "seg_pred"), ("train", "test", None)),
        (("bullet_train", "test_tube"), (None, None)),
        (("bullet_train", "steam_train"), (None, None)),
        (("train_val", "test"), (None, "test")),
        (("cats", "dogs", "2020"), (None, None, None)),
        (("trainer", "latest", "valley"), (None, None, None)),
    ],
)
def test_names(names: tuple[str, ...], splits: tuple[str | None, ...]) -> None:
    expected = {name: split for name, split in zip(names, splits, strict=True) if split}
    assert split_names(names) == expected


def test_text_is_in_the_order_of_use() -> None:
    assert splits_text({"b": "test", "a": "val", "c": "train"}) == "c as train, a as val, b as test"
