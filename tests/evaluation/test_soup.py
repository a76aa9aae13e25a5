"""Soups: averages of weights, batch norm's statistics, the greedy recipe."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from casebook.evaluation.soup import average_state, blended, greedy
from casebook.models import create_model


def network_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = create_model("resnet20", num_classes=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            module.num_batches_tracked.fill_(seed + 5)  # type: ignore[union-attr]
    return network.eval()


def batches() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        yield torch.randn(16, 3, 32, 32, generator=generator) * 2 + 1


def test_the_average_is_the_mean_of_each_weight() -> None:
    states = [network_of(seed).state_dict() for seed in range(3)]
    found = average_state(states)
    for name, value in found.items():
        assert value.dtype == states[0][name].dtype
        if value.is_floating_point():
            expected = sum(state[name].double() for state in states) / 3
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(value, states[0][name])


@pytest.mark.parametrize("number", [2, 3, 7])
def test_a_soup_of_one_run_is_that_run_to_the_bit(number: int) -> None:
    network = network_of(0)
    blend, notes = blended(copy.deepcopy(network), [network.state_dict()] * number, batches)
    assert notes == []
    for name, value in blend.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    assert not any(module.training for module in blend.modules())


def test_statistics_are_those_of_the_training_pictures() -> None:
    """Of the first batch norm: the mean and variance of what the averaged convolution gives, over all batches."""
    states = [network_of(seed).state_dict() for seed in range(2)]
    blend, (note,) = blended(network_of(9), states, batches)
    assert "computed again from 48 training pictures" in note
    first = next(module for module in blend.modules() if isinstance(module, nn.BatchNorm2d))
    conv = next(module for module in blend.modules() if isinstance(module, nn.Conv2d))
    torch.testing.assert_close(
        conv.weight.detach(), (states[0]["stem.conv.weight"] + states[1]["stem.conv.weight"]) / 2
    )
    with torch.no_grad():
        maps = [conv(images) for images in batches()]
    means = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variances = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, variances, rtol=1e-4, atol=1e-5)
    assert not any(module.training for module in blend.modules())
    again, _ = blended(network_of(9), states, batches)
    for name, value in again.state_dict().items():
        assert torch.equal(value, blend.state_dict()[name])


def test_frozen_statistics_stay() -> None:
    """What all runs agree on was frozen, and may be folded into the weights: new statistics would ruin it."""
    one = network_of(0)
    two = network_of(1)
    for ours, theirs in zip(one.modules(), two.modules(), strict=True):
        if isinstance(ours, nn.BatchNorm2d) and isinstance(theirs, nn.BatchNorm2d):
            theirs.load_state_dict(ours.state_dict())
    blend, notes = blended(network_of(9), [one.state_dict(), two.state_dict()], batches)
    assert notes == []
    for name, value in blend.state_dict().items():
        if "running" in name:
            assert torch.equal(value, one.state_dict()[name])


def test_without_training_pictures_it_says_so() -> None:
    states = [network_of(seed).state_dict() for seed in range(2)]
    blend, (note,) = blended(network_of(9), states, None)
    assert "the plain average of the runs'" in note
    name = next(name for name in states[0] if name.endswith("running_mean"))
    torch.testing.assert_close(blend.state_dict()[name], (states[0][name] + states[1][name]) / 2)


def test_the_greedy_soup_adds_runs_that_do_no_harm() -> None:
    scores = {(2,): 0.8, (2, 0): 0.7, (2, 1): 0.8, (2, 1, 3): 0.9}
    asked = []

    def score(places) -> float:
        asked.append(tuple(places))
        return scores[tuple(places)]

    assert greedy([2, 0, 1, 3], score) == ([2, 1, 3], 0.9)
    assert asked == [(2,), (2, 0), (2, 1), (2, 1, 3)]
