"""The size at which a network sees small pictures: what is tried, what decides, and that the recipe repeats it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import casebook
from casebook.data.datasets import PictureData, SplitSettings
from casebook.models import create_model, model_card
from casebook.models.weights import save_weights
from casebook.training import sizes
from casebook.training.distributed import ALONE
from casebook.training.features import FeatureExtractor, Features
from casebook.training.plan import Plan, set_up_model
from casebook.training.recipe import make_recipe
from casebook.training.sizes import SizeTrial, at_size, sizes_to_try, try_sizes
from casebook.training.transfer import Choice

SETTINGS: dict[str, Any] = {
    "model": "mobilenet_v2", "workers": 0, "device": "cpu", "precision": "fp32", "near_duplicates": False, "threads": 1,
    "time_budget_minutes": 1e-4,
}  # fmt: skip


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of MobileNet v2."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    save_weights(path, create_model("mobilenet_v2", num_classes=10).state_dict(), {"architecture": "mobilenet_v2"})
    return path


@pytest.fixture(scope="module")
def data(photo_folder: Path) -> PictureData:
    """The photographs: 80 pixels high."""
    return casebook.load_data(photo_folder, SplitSettings(near_duplicates=False))


def plan_of(data: PictureData, weights_file: Path, **settings: Any) -> Plan:
    given: dict[str, Any] = {"model": "mobilenet_v2", "weights": str(weights_file)} | settings
    recipe = make_recipe("transfer", data=data.source.name, near_duplicates=False, **given)
    return Plan(recipe, data, set_up_model(recipe, data), Choice("head", ""), torch.device("cpu"), ALONE)


@pytest.mark.parametrize(
    ("median_side", "settings", "expected"),
    [
        (28, {}, [128, 160, 224]),
        (255, {}, [128, 160, 224]),
        (256, {}, [224]),
        (500, {}, [224]),
        (28, {"input_size": 96}, [96]),
        (28, {"policy": "alexnet"}, [224]),
        (28, {"model": "resnet20", "weights": "cifar10"}, [32]),
    ],
)
def test_small_pictures_are_tried_at_smaller_sizes(
    data: PictureData, weights_file: Path, median_side: int, settings: dict[str, Any], expected: list[int]
) -> None:
    plan = plan_of(data, weights_file, **settings)
    assert sizes_to_try(plan.recipe, plan.setup.preprocessing, median_side) == expected


@pytest.mark.parametrize(
    ("of_card", "expected"),
    [({"fixed_input": True}, [224]), ({"family": "yours"}, [224]), ({"smallest_input": 150}, [160, 224])],
)
def test_a_network_gets_no_size_that_it_may_not_take(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path, of_card: dict[str, Any], expected: list[int]
) -> None:
    plan = plan_of(data, weights_file)
    card = dataclasses.replace(model_card("mobilenet_v2"), **of_card)
    monkeypatch.setattr(sizes, "model_card", lambda name: card)
    assert sizes_to_try(plan.recipe, plan.setup.preprocessing, 28) == expected


def fake_features(monkeypatch: pytest.MonkeyPatch, sharpness: dict[int, float]) -> None:
    """Features that tell the classes apart as well as `sharpness` says for each size, in place of a network's."""

    def extract(self: FeatureExtractor, source: Any, indices: list[int], contents: Any) -> Features:
        labels = source.truth(np.array(indices))
        values: NDArray[Any] = np.random.default_rng(0).normal(0, 1, (len(indices), 1, 8))
        values[:, 0, 0] += sharpness[self.preprocessing.size] * labels
        return Features(values.astype(np.float32), np.array(indices, np.int64), {}, len(indices))

    monkeypatch.setattr(FeatureExtractor, "__call__", extract)


@pytest.mark.parametrize(
    ("sharpness", "size"),
    [({128: 5, 160: 2, 224: 1}, 128), ({128: 0, 160: 5, 224: 5}, 160), ({128: 0, 160: 0, 224: 5}, 224)],
)
def test_the_smallest_size_within_noise_of_the_best_is_taken(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path, sharpness: dict[int, float], size: int
) -> None:
    fake_features(monkeypatch, sharpness)
    plan = plan_of(data, weights_file)
    found = try_sizes(plan, lambda event: None)
    assert found is not None
    assert (found.size, found.median_side, list(found.losses)) == (size, 80, [128, 160, 224])
    assert found.num_pictures == len(data.split.train)
    assert f"{size}x{size}" in found.reason
    assert at_size(plan, size).setup.preprocessing == dataclasses.replace(plan.setup.preprocessing, size=size)


def test_many_pictures_are_compared_on_a_part(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path
) -> None:
    fake_features(monkeypatch, {128: 1, 160: 1, 224: 1})
    monkeypatch.setattr(sizes, "MOST_COMPARED", 20)
    found = try_sizes(plan_of(data, weights_file), lambda event: None)
    assert found is not None
    assert found.num_pictures == 20


def test_too_few_pictures_leave_the_networks_own_size(data: PictureData, weights_file: Path) -> None:
    two = data.split.train[:1] + data.split.train[-1:]
    split = data.split._replace(train=two)
    assert try_sizes(plan_of(dataclasses.replace(data, split=split), weights_file), lambda event: None) is None


def test_a_run_says_what_it_tried_and_its_recipe_repeats_it(
    photo_folder: Path, weights_file: Path, tmp_path: Path
) -> None:
    run = casebook.train(photo_folder, out=tmp_path / "auto", weights=str(weights_file), **SETTINGS)
    tried = SizeTrial(**run.choice["sizes"])
    assert set(tried.losses) == {"128", "160", "224"}
    assert run.recipe.input_size == run.preprocessing.size == tried.size
    assert any(f"sees the pictures at {tried.size}x{tried.size}" in note for note in run.evaluation["notes"])
    again = casebook.train(recipe=run.path / "recipe.toml", out=tmp_path / "again")
    assert "sizes" not in again.choice
    assert again.recipe == run.recipe
    assert (again.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()
