"""Costs are those of the count, and the width of equal cost is found."""

from functools import partial

import pytest
from torch import nn

from casebook.cost.count import count
from casebook.models import create_model
from casebook.studies.costs import NetworkCost, cost_of, costs_of, on_meta, share_of_equal_cost
from casebook.studies.one_by_one import SMALL_SHARE, InceptionNetwork, narrowed, unreduced


def test_the_cost_of_a_network_is_that_of_one_picture() -> None:
    build = partial(create_model, "resnet20", num_classes=10)
    total = count("resnet20", 32, num_classes=10).total
    assert total.multiply_adds is not None
    assert cost_of(build, 32) == NetworkCost(total.parameters, total.multiply_adds)
    assert costs_of({"a": build, "b": build}, 16)["b"] == cost_of(build, 16)
    assert on_meta(build).stem[0].weight.is_meta  # type: ignore[index, union-attr]


def test_the_share_of_equal_cost_is_found() -> None:
    def build(share: float) -> nn.Module:
        return InceptionNetwork(narrowed(unreduced, SMALL_SHARE * share), num_classes=10, in_channels=1)

    target = count(build(0.5), 16).total.multiply_adds
    assert target is not None
    found = count(build(share_of_equal_cost(build, target, 16)), 16).total.multiply_adds
    assert found == pytest.approx(target, rel=0.02)
