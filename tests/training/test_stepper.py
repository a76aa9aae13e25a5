"""A step: a batch in parts, and batches without a readable picture."""

from typing import Any

import pytest
import torch
from torch import nn

from casebook.data.loader import Inputs
from casebook.training.distributed import World
from casebook.training.stepper import Phase, Stepper
from casebook.training.streams import PlainStream

from .test_trainer import bits, plain_recipe, real_digits


class Counting(nn.Module):
    """A batch norm and a layer, which note how many pictures each pass has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.layer, self.passes = nn.BatchNorm2d(1), nn.Linear(1024, 10), list[int]()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += [len(images)] if torch.is_grad_enabled() else []
        return self.layer(self.norm(images).flatten(1))

    def train_layer_alone(self) -> None:
        self.train()
        self.norm.eval()


def stepped(name: Any, *, frozen_norm: bool, **settings: Any) -> tuple[Counting, torch.Tensor]:
    """The network after one step on 40 mixed pictures, and the step's sums."""
    inputs, labels = real_digits(40)
    network = Counting()
    stepper = Stepper(network, Phase(1, name), plain_recipe(**settings), torch.device("cpu"))
    (network.train_layer_alone if frozen_norm else network.train)()
    batch = Inputs(inputs, labels, torch.linspace(0.5, 1, 40))
    return network, stepper.step(iter([batch]), [40], 0.1)


def test_fine_tuning_on_a_cpu_takes_a_batch_in_parts_with_the_same_gradient() -> None:
    whole, sums = stepped("train", frozen_norm=True)
    in_parts, sums_of_parts = stepped("tune", frozen_norm=True)
    assert (whole.passes, in_parts.passes) == ([40], [16, 16, 8])
    torch.testing.assert_close(sums_of_parts, sums)
    for ours, theirs in zip(in_parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("frozen_norm", "settings"), [(False, {}), (True, {"compile": True})])
def test_a_batch_stays_whole_where_a_norm_looks_at_it_or_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch, frozen_norm: bool, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)
    assert stepped("tune", frozen_norm=frozen_norm, **settings)[0].passes == [40]


def test_a_batch_without_a_readable_picture_changes_nothing() -> None:
    """Neither weights, by their decay, nor batch-norm statistics: it is left out, not replaced by zeros."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    before = bits(network)
    stepper = Stepper(network, Phase(1), plain_recipe(weight_decay=0.5), torch.device("cpu"))
    stepper.start()
    empty = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    sums = stepper.step(PlainStream([empty]).epoch(), [8], 0.1)
    assert sums.tolist() == [0, 0]
    assert bits(network) == before


def test_an_empty_part_of_a_shared_batch_gives_zeros_and_moves_no_statistics() -> None:
    """Other processes wait for this one's gradient, so it must take part, with nothing of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    before = bits(network)
    stepper = Stepper(network, Phase(1), plain_recipe(), torch.device("cpu"))
    stepper.start()
    stepper.world = World(1, 2)
    sums = stepper._backward(Inputs(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)), 8)
    assert sums.tolist() == [0, 0]
    assert bits(network) == before
    assert all(weight.grad is not None and not weight.grad.any() for weight in network.parameters())
    assert network[0].training
