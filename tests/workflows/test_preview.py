"""What a training would do, said before it starts."""

from pathlib import Path

import pytest

import casebook
from casebook.errors import RecipeError
from casebook.workflows.preview import preview

QUICK = {"workers": 0, "near_duplicates": False}


def test_it_says_what_the_training_then_does(digit_folder: Path, tmp_path: Path) -> None:
    settings = QUICK | {"model": "lenet5", "epochs": 2, "batch_size": 16}
    found = preview(digit_folder, **settings)
    assert (found.model, found.strategy, found.weights) == ("lenet5", "none", "")
    assert found.num_classes == 4
    assert found.seconds > 0
    run = casebook.train(digit_folder, out=tmp_path / "run", **settings)
    pictures = run.evaluation["pictures"]
    assert (found.num_train, found.num_val, found.num_test) == tuple(
        pictures[part] for part in ("train", "val", "test")
    )
    assert found.strategy_reason == run.evaluation["transfer"]["reason"]
    assert list(tmp_path.iterdir()) == [run.path]  # it left nothing


def test_a_network_chosen_by_default_comes_with_its_reason_and_the_measured_transfer(digit_folder: Path) -> None:
    found = preview(digit_folder, **QUICK, epochs=3)
    assert (found.model, found.weights, found.strategy) == ("resnet20", "cifar10", "full")
    assert "too few to start from random weights" in found.reasons[0]
    assert "kept only if validation is better" in found.strategy_reason


def test_what_training_refuses_is_refused(digit_folder: Path) -> None:
    with pytest.raises(RecipeError, match="takes exactly"):
        preview(digit_folder, model="lenet5", input_size=64)
