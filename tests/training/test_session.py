"""What a training gives to each of its phases."""

from pathlib import Path

import pytest
import torch

import casebook
from casebook.data.datasets import SplitSettings
from casebook.training.distributed import ALONE
from casebook.training.plan import Plan, set_up_model
from casebook.training.recipe import make_recipe
from casebook.training.session import class_weights_of
from casebook.training.transfer import Choice


@pytest.mark.parametrize(
    ("wanted", "weighted"),
    [("auto", []), ("none", []), ("head", ["head"]), ("balanced", ["head", "full", "none"])],
)
def test_rare_classes_weigh_more_where_it_is_wanted(photo_folder: Path, wanted: str, weighted: list[str]) -> None:
    data = casebook.load_data(photo_folder, SplitSettings(near_duplicates=False))
    recipe = make_recipe("scratch", data=str(photo_folder), model="resnet20", class_weights=wanted)
    plan = Plan(recipe, data, set_up_model(recipe, data), Choice("none", ""), torch.device("cpu"), ALONE)
    found = {strategy: class_weights_of(plan, strategy) for strategy in ("head", "full", "none")}
    assert [strategy for strategy, weights in found.items() if weights is not None] == weighted
    counts = torch.from_numpy(data.source.truth(data.split.train)).bincount()
    for weights in found.values():
        if weights is not None:
            torch.testing.assert_close(weights, counts.sum() / (len(counts) * counts))
