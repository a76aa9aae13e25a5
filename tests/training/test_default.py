"""casebook train DATA, with nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.training import default
from casebook.training.default import choose_default, weights_at_hand
from casebook.training.recipe import make_recipe


def folder(root: Path, per_class: int, side: int) -> Path:
    generator = np.random.default_rng(0)
    for label, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = generator.integers(0, 120, (side, side + 2, 3), np.uint8) + np.uint8(120 * label)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("per_class", "side", "at_hand", "model", "weights", "said"),
    [
        (3, 100, "imagenet", "mobilenet_v2", "imagenet", "photographs (100 pixels) and ImageNet weights"),
        (3, 100, "", "resnet20", "cifar10", "no ImageNet weights are at hand"),
        (3, 32, "", "resnet20", "cifar10", "too few to start from random weights"),
        (100, 16, "", "resnet20", "", "enough to start from random weights"),
        (100, 16, "imagenet", "resnet20", "", "enough to start from random weights"),
    ],
)
def test_it_suits_the_pictures_and_the_weights_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_class: int, side: int, at_hand: str, model: str, weights: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(default, "weights_at_hand", lambda name: at_hand)
    found = choose_default(make_recipe(data=str(folder(tmp_path, per_class, side))))
    assert (found.model, found.weights) == (model, weights)
    assert found.rival_weights == (at_hand if side < 64 else "")
    assert said in found.reason
    assert found.reason.startswith(f"chose {model}")
    assert "--model" in found.reason


def test_named_data_keeps_its_network() -> None:
    assert choose_default(make_recipe(data="digits")) == ("lenet5", "", "", "")


def test_weights_are_at_hand_when_their_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    assert weights_at_hand("mobilenet_v2") == ""
    (tmp_path / "hub.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "hub.safetensors"))
    assert weights_at_hand("mobilenet_v2") == casebook.model_card("mobilenet_v2").weights[0].name


def test_a_folder_alone_is_enough(tmp_path: Path) -> None:
    run = casebook.train(folder(tmp_path / "data", 12, 24), out=tmp_path / "run", epochs=15, workers=0)
    assert run.model["architecture"] == "resnet20"
    assert run.recipe.weights == "cifar10"
    assert (run.recipe.optimiser, run.recipe.head_fit) == ("adamw", "logistic")
    assert run.recipe.epochs == 15  # what the user gave stays
    assert (run.recipe.transfer, run.choice["tried"]) == ("head", [])  # which has all of the pictures right
    assert run.evaluation["notes"][0].startswith("chose resnet20 with its CIFAR-10 weights: small pictures (24 pixels)")
    assert run.test.top1 == 1.0
