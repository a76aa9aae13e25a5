"""How a network sees pictures: what is tried, what decides, and that the recipe repeats it."""

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
from casebook.training import choosing, inputs
from casebook.training.choosing import decide_transfer
from casebook.training.distributed import ALONE
from casebook.training.features import FeatureExtractor, Features
from casebook.training.fine_tuning import TransferPlan
from casebook.training.inputs import (
    InputTrial,
    prepared_as,
    resizes_to_try,
    sizes_to_try,
    try_resizes,
    try_sizes,
)
from casebook.training.plan import Plan, lost_end_notes, set_up_model
from casebook.training.recipe import make_recipe
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


def of_sides(data: PictureData, width: int, height: int) -> PictureData:
    """The same pictures, of which the scan says that they have these sides."""
    facts = tuple(dataclasses.replace(one, width=width, height=height) for one in data.scan.facts)
    return dataclasses.replace(data, scan=dataclasses.replace(data.scan, facts=facts))


def plan_of(data: PictureData, weights_file: Path, **settings: Any) -> Plan:
    given: dict[str, Any] = {"model": "mobilenet_v2", "weights": str(weights_file)} | settings
    recipe = make_recipe("transfer", data=data.source.name, near_duplicates=False, **given)
    return Plan(recipe, data, set_up_model(recipe, data), Choice("head", ""), torch.device("cpu"), ALONE)


@pytest.mark.parametrize(
    ("median_side", "settings", "expected"),
    [
        (28, {}, [128, 160, 224]),
        (146, {}, [128, 160, 224]),
        (147, {}, [160, 224]),
        (183, {}, [160, 224]),
        (184, {}, [224]),
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
    monkeypatch.setattr(inputs, "model_card", lambda name: card)
    assert sizes_to_try(plan.recipe, plan.setup.preprocessing, 28) == expected


@pytest.mark.parametrize(
    ("side", "settings", "expected"),
    [
        ((120, 80), {}, ["shorter", "squash", "letterbox"]),
        ((80, 120), {}, ["shorter", "squash", "letterbox"]),
        ((81, 80), {}, ["shorter"]),
        ((120, 80), {"resize": "shorter"}, ["shorter"]),
        ((120, 80), {"policy": "alexnet"}, ["shorter"]),
    ],
)
def test_ways_of_resizing_are_tried_where_ends_are_lost(
    data: PictureData, weights_file: Path, side: tuple[int, int], settings: dict[str, Any], expected: list[str]
) -> None:
    plan = plan_of(data, weights_file, **settings)
    pictures = of_sides(data, side[0], side[1])
    assert resizes_to_try(plan.recipe, plan.setup.preprocessing, pictures) == expected


@pytest.mark.parametrize("own", ["shorter", "squash", "letterbox"])
def test_the_way_of_the_weights_is_tried_first(data: PictureData, weights_file: Path, own: Any) -> None:
    plan = plan_of(data, weights_file)
    preprocessing = dataclasses.replace(plan.setup.preprocessing, resize=own)
    tried = resizes_to_try(plan.recipe, preprocessing, of_sides(data, 120, 80))
    assert tried[0] == own
    assert set(tried) == {"shorter", "squash", "letterbox"}


def fake_features(monkeypatch: pytest.MonkeyPatch, sharpness: dict[int | str, float]) -> list[tuple[str, int]]:
    """Features that tell the classes apart as well as `sharpness` says for each size and each way of resizing, in place
    of a network's; the list is of what was asked for."""
    asked: list[tuple[str, int]] = []

    def extract(self: FeatureExtractor, source: Any, indices: list[int], contents: Any) -> Features:
        labels, preprocessing = source.truth(np.array(indices)), self.preprocessing
        asked.append((preprocessing.resize, preprocessing.size))
        values: NDArray[Any] = np.random.default_rng(0).normal(0, 1, (len(indices), 1, 8))
        values[:, 0, 0] += (sharpness.get(preprocessing.size, 0) + sharpness.get(preprocessing.resize, 0)) * labels
        return Features(values.astype(np.float32), np.array(indices, np.int64), {}, len(indices))

    monkeypatch.setattr(FeatureExtractor, "__call__", extract)
    return asked


@pytest.mark.parametrize(
    ("sharpness", "size"),
    [({128: 5, 160: 2, 224: 1}, 128), ({128: 0, 160: 5, 224: 5}, 160), ({128: 0, 160: 0, 224: 5}, 224)],
)
def test_the_smallest_size_within_noise_of_the_best_is_taken(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path, sharpness: dict[int | str, float], size: int
) -> None:
    asked = fake_features(monkeypatch, sharpness)
    plan = plan_of(data, weights_file)
    found = try_sizes(plan, lambda event: None)
    assert found is not None
    assert (found.setting, found.taken, found.median_side, list(found.losses)) == (
        "input_size",
        size,
        80,
        [128, 160, 224],
    )
    assert found.num_pictures == len(data.split.train)
    assert f"{size}x{size}" in found.reason
    assert asked == [("shorter", 128), ("shorter", 160), ("shorter", 224)]
    assert prepared_as(plan, found).setup.preprocessing == dataclasses.replace(plan.setup.preprocessing, size=size)


@pytest.mark.parametrize(
    ("sharpness", "resize"),
    [
        ({"shorter": 1.0, "squash": 1.0, "letterbox": 1.0}, "shorter"),
        ({"shorter": 0.0, "squash": 2.0, "letterbox": 1.0}, "squash"),
        ({"shorter": 0.0, "squash": 0.0, "letterbox": 2.0}, "letterbox"),
        ({"shorter": 2.0, "squash": 0.0, "letterbox": 0.0}, "shorter"),
    ],
)
def test_the_first_way_of_resizing_within_noise_of_the_best_is_taken(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path, sharpness: dict[Any, float], resize: str
) -> None:
    asked = fake_features(monkeypatch, sharpness)
    plan = plan_of(data, weights_file)
    found = try_resizes(plan, lambda event: None)
    assert found is not None
    assert (found.setting, found.taken) == ("resize", resize)
    assert asked == [("shorter", 224), ("squash", 224), ("letterbox", 224)]
    assert found.reason.startswith("of each picture the network sees ")
    assert f" ({resize}): heads on " in found.reason
    assert prepared_as(plan, found).setup.preprocessing == dataclasses.replace(plan.setup.preprocessing, resize=resize)


TUNING = {"transfer": "full", "two_phase": True}


@pytest.mark.parametrize(
    ("changes", "head_seconds", "settings"),
    [({}, 1, ["input_size", "resize"]), ({}, 400, ["input_size"]), (TUNING, 1, ["input_size"])],
)
def test_ways_of_resizing_are_tried_for_a_head_alone_where_time_is_left(
    monkeypatch: pytest.MonkeyPatch,
    data: PictureData,
    weights_file: Path,
    changes: dict[str, Any],
    head_seconds: float,
    settings: list[str],
) -> None:
    """Of the ten minutes; three passes of 400 s would not fit in."""
    fake_features(monkeypatch, {"squash": 2})
    plan = plan_of(data, weights_file)
    found = TransferPlan(dict(changes), Choice("full" if changes else "head", ""), head_seconds)
    monkeypatch.setattr(choosing, "affordable_plan", lambda *_, **__: found)
    decision = decide_transfer(plan.recipe, data, plan.setup, plan.device, ALONE, lambda event: None)
    assert [trial.setting for trial in decision.inputs] == settings
    is_tried = "resize" in settings
    assert decision.setup.preprocessing.resize == ("squash" if is_tried else "shorter")
    assert decision.recipe.resize == ("squash" if is_tried else "auto")


def test_many_pictures_are_compared_on_a_part(
    monkeypatch: pytest.MonkeyPatch, data: PictureData, weights_file: Path
) -> None:
    fake_features(monkeypatch, {})
    monkeypatch.setattr(inputs, "MOST_COMPARED", 20)
    found = try_sizes(plan_of(data, weights_file), lambda event: None)
    assert found is not None
    assert found.num_pictures == 20


def test_too_few_pictures_leave_the_networks_own_way(data: PictureData, weights_file: Path) -> None:
    two = data.split.train[:1] + data.split.train[-1:]
    plan = plan_of(dataclasses.replace(data, split=data.split._replace(train=two)), weights_file)
    assert try_sizes(plan, lambda event: None) is None
    assert try_resizes(plan, lambda event: None) is None


def test_lost_ends_are_told_where_a_crop_leaves_them_out(data: PictureData, weights_file: Path) -> None:
    pictures = of_sides(data, 300, 80)
    preprocessing = plan_of(data, weights_file).setup.preprocessing
    (note,) = lost_end_notes(pictures, preprocessing)
    assert "a central crop keeps half of each or less" in note
    assert lost_end_notes(pictures, dataclasses.replace(preprocessing, resize="squash")) == []
    assert lost_end_notes(data, preprocessing) == []


@pytest.mark.parametrize(("minutes", "settings"), [(1e-4, ["input_size"]), (10.0, ["input_size", "resize"])])
def test_a_run_says_what_it_tried_and_its_recipe_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
    photo_folder: Path,
    weights_file: Path,
    tmp_path: Path,
    minutes: float,
    settings: list[str],
) -> None:
    """The first budget is too short for more than the head; the second has room for ways of resizing, too."""
    if "resize" in settings:  # in place of a forecast, which would afford fine-tuning here
        head_alone = TransferPlan({}, Choice("head", "no time for more"), 0.1)
        monkeypatch.setattr(choosing, "affordable_plan", lambda *_, **__: head_alone)
    given = SETTINGS | {"weights": str(weights_file), "time_budget_minutes": minutes}
    run = casebook.train(photo_folder, out=tmp_path / "auto", **given)
    trials = [InputTrial(**one) for one in run.choice["inputs"]]
    assert [trial.setting for trial in trials] == settings
    assert set(trials[0].losses) == {"128", "160", "224"}
    assert run.recipe.input_size == run.preprocessing.size == trials[0].taken
    assert run.preprocessing.resize == (trials[1].taken if len(trials) > 1 else "shorter")
    assert {trial.reason for trial in trials} <= set(run.evaluation["notes"])
    again = casebook.train(recipe=run.path / "recipe.toml", out=tmp_path / "again")
    assert "inputs" not in again.choice
    assert again.recipe == run.recipe
    assert (again.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()
