from typing import Any

import pytest
import torch
from torch import Tensor, nn

from casebook.models import create_model
from casebook.preprocessing import Preprocessing
from casebook.training.batch_size import choose_batch_size, is_small, step_fits, sum_of_outputs
from casebook.training.recipe import make_recipe

CPU = torch.device("cpu")
SIDE = Preprocessing(size=8)
ANY = make_recipe("scratch", model="resnet18")


class Memory:
    """A device of 1000 bytes whose peak is `peak`."""

    def __init__(self, peak: int = 0) -> None:
        self.peak, self.resets = peak, 0

    def peak_bytes(self) -> int:
        return self.peak

    def total_bytes(self) -> int:
        return 1000

    def reset(self) -> None:
        self.resets += 1


class Network(nn.Module):
    """Remembers its batches; with `limit`, larger ones raise as a GPU without memory does."""

    def __init__(self, limit: int = 10**9, auxiliary: bool = False) -> None:
        super().__init__()
        self.limit, self.auxiliary, self.shapes = limit, auxiliary, list[tuple[int, ...]]()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Any:
        self.shapes.append(tuple(images.shape))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("no memory")
        assert self.training
        logits = self.linear(self.norm(self.conv(images)).mean((2, 3)))
        return (logits, [logits * 2]) if self.auxiliary else logits


def fits(network: nn.Module, batch_size: int, memory: Memory, dtype: torch.dtype = torch.float32) -> bool:
    return step_fits(network, SIDE, batch_size, CPU, dtype, memory=memory)


@pytest.mark.parametrize(("peak", "expected"), [(0, True), (799, True), (800, False), (801, False), (1200, False)])
def test_a_step_may_take_four_fifths_of_the_memory(peak: int, expected: bool) -> None:
    assert fits(Network(), 4, Memory(peak)) is expected


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 2), (2, 2), (3, 3), (64, 64)])
def test_the_step_has_the_batch_of_the_training_and_two_pictures_for_batch_norm(batch_size: int, expected: int) -> None:
    network = Network()
    assert fits(network, batch_size, Memory())
    assert network.shapes == [(expected, 3, 8, 8)]


@pytest.mark.parametrize("was_training", [True, False])
@pytest.mark.parametrize("limit", [1, 100])
def test_the_network_is_as_before(limit: int, was_training: bool) -> None:
    network, memory = Network(limit=limit).train(was_training), Memory()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert fits(network, 6, memory) is (limit == 100)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name  # also batch norm's statistics and count
    assert all(weight.grad is None for weight in network.parameters())
    assert network.training is was_training
    assert memory.resets == 1


def test_a_step_computes_gradients_of_auxiliary_heads_too() -> None:
    seen = []

    def loss(outputs: Any) -> Tensor:
        seen.append(outputs)
        return sum_of_outputs(outputs)

    network = Network(auxiliary=True)
    assert step_fits(network, SIDE, 4, CPU, torch.float32, loss=loss, memory=Memory())
    ((logits, (extra,)),) = seen
    assert sum_of_outputs((logits, [extra])).item() == pytest.approx(3 * logits.sum().item(), rel=1e-4)
    assert sum_of_outputs(logits).item() == pytest.approx(logits.sum().item())
    assert sum_of_outputs(logits.bfloat16()).dtype == torch.float32


def test_a_network_of_ours_with_auxiliary_heads_fits() -> None:
    network = create_model("googlenet", num_classes=3, auxiliary_heads=2)
    assert step_fits(network, Preprocessing(size=64), 2, CPU, torch.float32, memory=Memory())


def chosen(small: bool, device: str, num_pictures: int, largest: int = 10**9, **settings: Any) -> int:
    recipe = ANY.model_copy(update={"batch_size": settings.pop("batch_size", 0)})
    on_features = settings.pop("on_features", False)
    return choose_batch_size(
        recipe, small, device, num_pictures, on_features=on_features, fits=lambda size: size <= largest
    )


def test_the_batch_size_suits_the_machine() -> None:
    assert chosen(False, "cpu", 10_000, batch_size=7) == 7
    assert (chosen(False, "cpu", 10_000), chosen(True, "cpu", 10_000)) == (32, 128)
    assert chosen(False, "cpu", 10_000, largest=1) == 32  # only CUDA is asked
    assert (chosen(False, "cuda", 100_000), chosen(True, "cuda", 100_000)) == (256, 1024)
    assert chosen(False, "cuda", 100_000, largest=100) == 64
    assert chosen(False, "cuda", 100_000, largest=1) == 8
    assert chosen(False, "cpu", 10_000, on_features=True) == 64
    assert chosen(True, "cpu", 4095) == 64  # 32 batches an epoch
    assert chosen(True, "cpu", 1050) == 32
    assert (chosen(False, "cuda", 1024), chosen(False, "cuda", 1023)) == (32, 16)
    assert (chosen(False, "cuda", 128), chosen(False, "cuda", 127)) == (16, 8)  # eight batches an epoch
    assert chosen(False, "cuda", 3) == 8
    assert is_small(Preprocessing(size=64))
    assert not is_small(Preprocessing(size=65))
