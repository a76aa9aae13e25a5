import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from casebook.data.loader import Batch
from casebook.errors import DivergedError
from casebook.models import create_model
from casebook.training.checkpoint import read_checkpoint
from casebook.training.distributed import Place
from casebook.training.recipe import Recipe, make_recipe
from casebook.training.run import Run
from casebook.training.trainer import Interrupted, Loop, Phase


class Memory:
    """A BatchStream over tensors, in their own order."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, batch_size: int):
        self.inputs, self.labels, self.batch_size = inputs, labels, batch_size
        self.num_pictures, self.skipped = len(labels), {}

    def __len__(self) -> int:
        return len(self.global_sizes())

    def global_sizes(self) -> list[int]:
        starts = range(0, self.num_pictures, self.batch_size)
        return [min(self.batch_size, self.num_pictures - start) for start in starts]

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for first in range(start * self.batch_size, self.num_pictures, self.batch_size):
            chosen = torch.arange(first, min(first + self.batch_size, self.num_pictures))
            yield Batch(self.inputs[chosen], self.labels[chosen], chosen)

    def close(self) -> None:
        pass


def real_digits(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 1, 32, 32) float32 around 0 and (count,) labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = torch.from_numpy(bunch.images[:count].astype(np.float32))[:, None] / 8 - 1
    return nn.functional.interpolate(pictures, 32, mode="bilinear"), torch.from_numpy(bunch.target[:count])


def fit(
    folder: Path, network: nn.Module, recipe: Recipe, inputs: torch.Tensor, labels: torch.Tensor, **options: Any
) -> Loop:
    folder.mkdir(exist_ok=True)
    loop = Loop(Run(folder), recipe, network, device=torch.device("cpu"), place=Place(), **options)
    stream = Memory(inputs, labels, recipe.batch_size)
    phase = Phase(
        "train", network, network.train, [("network", network, 1.0)], stream, Memory(inputs, labels, 64),
        lambda batch: batch.images, recipe.epochs, torch.float32,
    )  # fmt: skip
    loop.fit(phase, 0)
    return loop


def plain_recipe(**settings: Any) -> Recipe:
    defaults: dict[str, Any] = {
        "data": "x", "batch_size": 8, "label_smoothing": 0.0, "clip_norm": 0.0, "warmup_epochs": 0,
        "schedule": "constant", "epochs": 1, "learning_rate": 0.1, "momentum": 0.0, "nesterov": False,
        "weight_decay": 0.0,
    }  # fmt: skip
    return make_recipe("scratch", **(defaults | settings))


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_a_small_batch_is_memorised(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    inputs, labels = real_digits(16)
    network = create_model(name, in_channels=1, num_classes=10)
    recipe = plain_recipe(epochs=50, batch_size=16, learning_rate=0.01, optimiser="adamw")
    fit(tmp_path, network, recipe, inputs, labels)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["train_loss"] > 2
    assert rows[-1]["train_loss"] < 0.05
    assert rows[-1]["val_top1"] == 1.0


def linear() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))


def test_steps_equal_plain_gradient_descent(tmp_path: Path) -> None:
    inputs, labels = real_digits(20)  # batches of 8, 8 and 4: the mean is over each batch
    network, reference = linear(), linear()
    weights = torch.linspace(0.5, 1.5, 10)
    recipe = plain_recipe(label_smoothing=0.1, clip_norm=0.7)
    fit(tmp_path, network, recipe, inputs, labels, class_weights=weights)
    for first in (0, 8, 16):
        x, y = inputs[first : first + 8], labels[first : first + 8]
        losses = nn.functional.cross_entropy(reference(x), y, label_smoothing=0.1, reduction="none")
        gradients = torch.autograd.grad((losses * weights[y]).mean(), list(reference.parameters()))
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        with torch.no_grad():
            for weight, gradient in zip(reference.parameters(), gradients, strict=True):
                weight -= 0.1 * gradient * min(1.0, 0.7 / float(norm))
    for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


class WithAuxiliaryHead(nn.Module):
    """(B, 4) -> logits, in training with those of an auxiliary head."""

    auxiliary_weight = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.extra = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.body(x)
        return (self.head(x), [self.extra(x)]) if self.training else self.head(x)


def test_the_losses_of_auxiliary_heads_are_added_with_their_weight(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = WithAuxiliaryHead()
    inputs, labels = torch.randn(8, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    logits, (extra,) = network.train()(inputs)
    cross_entropy = nn.functional.cross_entropy
    loss = cross_entropy(logits, labels) + 0.3 * cross_entropy(extra, labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    expected = [weight.detach() - 0.1 * g for weight, g in zip(network.parameters(), gradients, strict=True)]
    fit(tmp_path / "run", network, plain_recipe(), inputs, labels)
    for weight, value in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(weight, value, atol=1e-6)


class Mixed(Memory):
    """The same, with what is to be blended with the next picture of each batch."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, batch_size: int, table: torch.Tensor):
        super().__init__(inputs, labels, batch_size)
        self.table = table

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for batch in super().epoch(epoch, start):
            yield batch._replace(mixing=self.table[batch.indices])


def test_mixed_pictures_are_learnt_with_mixed_labels(tmp_path: Path) -> None:
    inputs, labels = real_digits(8)
    table = torch.zeros(8, 5)
    table[:, 0] = torch.linspace(0.5, 1, 8)
    table[3] = torch.tensor([1.0, 2, 4, 16, 8])  # cutmix: a sixteenth and more of 32 x 32 pixels
    weights = torch.linspace(0.5, 1.5, 10)
    network, reference = linear(), linear()
    loop = Loop(Run(tmp_path), plain_recipe(label_smoothing=0.1), network, device=torch.device("cpu"), place=Place(),
                class_weights=weights)  # fmt: skip
    stream = Mixed(inputs, labels, 8, table)
    loop.fit(Phase("train", network, network.train, [("network", network, 1.0)], stream, Memory(inputs, labels, 64),
                   lambda batch: batch.images, 1, torch.float32), 0)  # fmt: skip
    nexts, next_labels = inputs.roll(-1, 0), labels.roll(-1, 0)
    share = table[:, 0].clone()
    mixed = share[:, None, None, None] * inputs + (1 - share[:, None, None, None]) * nexts
    mixed[3] = inputs[3]
    mixed[3, :, 4:12, 2:18] = nexts[3, :, 4:12, 2:18]
    share[3] = 1 - 16 * 8 / 32**2
    cross_entropy = nn.functional.cross_entropy

    def losses(targets: torch.Tensor) -> torch.Tensor:
        return weights[targets] * cross_entropy(reference(mixed), targets, label_smoothing=0.1, reduction="none")

    loss = (share * losses(labels) + (1 - share) * losses(next_labels)).mean()
    gradients = torch.autograd.grad(loss, list(reference.parameters()))
    for ours, theirs, gradient in zip(network.parameters(), reference.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    inputs, labels = real_digits(40)
    small, large = linear(), linear()
    fit(tmp_path / "a", small, plain_recipe(batch_size=8, accumulate=3), inputs, labels)  # 24 and 16 pictures
    fit(tmp_path / "b", large, plain_recipe(batch_size=24), inputs, labels)
    for ours, theirs in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_averaged_weights_are_validated_and_kept(tmp_path: Path) -> None:
    from casebook.models.weights import read_weights

    inputs, labels = real_digits(32)
    network = linear()
    loop = fit(tmp_path, network, plain_recipe(ema_decay=0.9, epochs=3), inputs, labels)
    state, _ = read_weights(tmp_path / "model.safetensors")
    assert not torch.equal(state["1.weight"], network[1].weight)
    averaged = linear()
    averaged.load_state_dict(state)
    loss = nn.functional.cross_entropy(averaged(inputs), labels).item()
    assert loss == pytest.approx(loop.position.best_loss, rel=1e-5)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    inputs, labels = real_digits(32)
    inputs[25] = math.nan  # in the fourth batch
    with pytest.raises(DivergedError, match=r"loss is nan at step 4 of epoch 1, with the learning rate 0\.1"):
        fit(tmp_path, linear(), plain_recipe(checkpoint_seconds=0), inputs, labels)
    state = read_checkpoint(tmp_path / "last.ckpt")
    assert state["position"]["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_training_stops_early_when_validation_stops_improving(tmp_path: Path) -> None:
    inputs, labels = real_digits(32)
    recipe = plain_recipe(epochs=50, patience=3, learning_rate=1e-12)
    loop = fit(tmp_path, linear(), recipe, inputs, labels)
    assert loop.position.rows < 10


def bits(network: nn.Module) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("stop_after", [1, 4, 5, 7])
def test_stopping_anywhere_and_going_on_changes_no_bit(
    tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, labels = real_digits(37)  # five batches, the last one short
    recipe = plain_recipe(epochs=3, momentum=0.9, nesterov=True, ema_decay=0.9, accumulate=1)

    def network() -> nn.Module:
        torch.manual_seed(1)
        net = create_model("lenet5")
        net.head.dropout = nn.Dropout(0.5)  # the random numbers of a step must not depend on the steps before
        return net

    undisturbed = network()
    fit(tmp_path / "whole", undisturbed, recipe, inputs, labels)

    first = network()
    folder = tmp_path / "parts"
    folder.mkdir()
    steps = 0
    loop: Loop

    def stop(event: dict[str, Any]) -> None:
        nonlocal steps
        steps += event["kind"] == "step"
        loop.stop_asked = loop.stop_asked or steps >= stop_after

    stream = Memory(inputs, labels, 8)

    def phase_of(net: nn.Module) -> Phase:
        return Phase("train", net, net.train, [("network", net, 1.0)], stream, Memory(inputs, labels, 64),
                     lambda batch: batch.images, 3, torch.float32)  # fmt: skip

    loop = Loop(Run(folder), recipe, first, device=torch.device("cpu"), place=Place(), report=stop)
    with pytest.raises(Interrupted):
        loop.fit(phase_of(first), 0)
    second = network()
    torch.manual_seed(999)
    loop = Loop(Run(folder), recipe, second, device=torch.device("cpu"), place=Place())
    loop.resume(read_checkpoint(folder / "last.ckpt"))
    loop.fit(phase_of(second), 0)
    assert bits(second) == bits(undisturbed)
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_every_event_is_reported(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    inputs, labels = real_digits(16)
    report: Callable[[dict[str, Any]], None] = events.append
    fit(tmp_path, linear(), plain_recipe(epochs=2), inputs, labels, report=report)
    assert [event["kind"] for event in events] == ["step", "step", "epoch"] * 2
    assert {"loss", "learning_rate", "images_per_second", "epoch", "epochs"} <= set(events[0])


def test_weights_that_a_last_step_destroyed_are_not_kept(tmp_path: Path) -> None:
    inputs, labels = real_digits(8)  # one batch: the loss is fine, the step after it is not
    with pytest.raises(DivergedError, match="weights are no longer numbers"):
        fit(tmp_path, linear(), plain_recipe(learning_rate=1e38), inputs * 1e6, labels)
    assert not (tmp_path / "model.safetensors").exists()
    state = read_checkpoint(tmp_path / "last.ckpt")
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_a_changed_recipe_is_not_resumed(tmp_path: Path) -> None:
    from casebook.errors import RunError

    inputs, labels = real_digits(16)
    fit(tmp_path, linear(), plain_recipe(checkpoint_seconds=0), inputs, labels)
    changed = plain_recipe(ema_decay=0.9, workers=3)
    loop = Loop(Run(tmp_path), changed, linear(), device=torch.device("cpu"), place=Place())
    with pytest.raises(RunError, match=r"made with ema_decay = 0\.0; put that back"):
        loop.resume(read_checkpoint(tmp_path / "last.ckpt"))
