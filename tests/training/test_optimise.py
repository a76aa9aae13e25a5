from typing import Any

import pytest
import torch
from torch import nn

from casebook.models import create_model
from casebook.training.optimise import WeightAverage, load_optimiser, make_optimiser, parameter_groups
from casebook.training.recipe import make_recipe


def test_norms_and_biases_do_not_decay() -> None:
    network = create_model("resnet20")
    groups = parameter_groups([("network", network, 1.0)], weight_decay=0.1, decay_all=False)
    for group in groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.1 if weight.ndim > 1 else 0.0)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    everything = parameter_groups([("network", network, 1.0)], weight_decay=0.1, decay_all=True)
    assert {group["weight_decay"] for group in everything} == {0.1}


def test_each_part_learns_at_its_own_rate_and_frozen_weights_are_left_out() -> None:
    network = create_model("resnet20")
    for weight in network.stem.parameters():
        weight.requires_grad_(False)
    parts = [("head", network.head, 1.0), ("stages", network.stages, 0.1), ("stem", network.stem, 0.01)]
    groups = parameter_groups(parts, weight_decay=0.1, decay_all=False)
    assert {group["scale"] for group in groups} == {1.0, 0.1}
    ids = {id(w) for group in groups for w in group["params"]}
    assert ids == {id(w) for w in network.parameters() if w.requires_grad}


def test_momentum_step_is_the_closed_form() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    recipe = make_recipe("scratch", momentum=0.9, nesterov=True, weight_decay=0.0, learning_rate=0.1)
    optimiser = make_optimiser([{"params": [weight], "scale": 1.0, "weight_decay": 0.0}], recipe)
    expected, velocity = weight.detach().clone(), torch.zeros_like(weight)
    for step in range(3):
        gradient = torch.full_like(weight, step + 1.0)
        weight.grad = gradient.clone()
        optimiser.step()
        velocity = 0.9 * velocity + gradient
        expected = expected - 0.1 * (gradient + 0.9 * velocity)
    torch.testing.assert_close(weight.detach(), expected)


def test_running_average_is_the_closed_form() -> None:
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network, 0.9)
    expected = network.weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            network.weight.fill_(float(step))
            network.num_batches_tracked.fill_(step)
        average.update(network)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.state["weight"].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert average.state["num_batches_tracked"].item() == 19


def test_state_that_was_saved_in_another_memory_layout_is_laid_out_like_the_weights() -> None:
    """Fused steps go through memory in order: momentum in another layout would move other weights."""

    def step(layout: torch.memory_format, state: dict | None) -> tuple[nn.Parameter, dict]:
        weight = nn.Parameter(torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=layout))
        groups = [{"params": [weight], "scale": 1.0, "weight_decay": 0.0}]
        optimiser = make_optimiser(groups, make_recipe("scratch", optimiser="sgd"))
        if state is not None:
            load_optimiser(optimiser, state)
        weight.grad = (weight.detach() + 1).clone()
        optimiser.step()
        return weight, optimiser.state_dict()

    _, saved = step(torch.contiguous_format, None)
    expected, _ = step(torch.contiguous_format, saved)
    found, _ = step(torch.channels_last, saved)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_optimisers_step_as_those_of_torch(name: str) -> None:
    recipe = make_recipe("scratch", optimiser=name, momentum=0.9, nesterov=True, learning_rate=0.1)
    networks = [nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    settings: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    peer = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    make = [
        lambda groups: make_optimiser(groups, recipe),
        lambda groups: peer(groups, lr=0.1, fused=True, **settings),
    ]
    optimisers = [one(groups_of(network)) for one, network in zip(make, networks, strict=True)]
    for step in range(5):
        if step == 3:  # as after a resume
            states = [optimiser.state_dict() for optimiser in optimisers]
            optimisers = [one(groups_of(network)) for one, network in zip(make, networks, strict=True)]
            for optimiser, state in zip(optimisers, states, strict=True):
                optimiser.load_state_dict(state)
        images = torch.randn(6, 5, generator=torch.Generator().manual_seed(step))
        for network, optimiser in zip(networks, optimisers, strict=True):
            network(images).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    for ours, theirs in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.grad_fn is None


def groups_of(network: nn.Module) -> list[dict]:
    return parameter_groups([("network", network, 1.0)], weight_decay=0.1, decay_all=True)
