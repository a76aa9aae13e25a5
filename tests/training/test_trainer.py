import json
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from casebook.data.loader import Batch, PreparedStream
from casebook.errors import DataError, DivergedError, Interrupted
from casebook.models import create_model
from casebook.progress import EpochEnded, Event, StepEnded
from casebook.training.checkpoint import read_checkpoint
from casebook.training.distributed import World
from casebook.training.recipe import Recipe, make_recipe
from casebook.training.run import Run
from casebook.training.streams import PlainStream
from casebook.training.trainer import Trainer
from casebook.training.validation import Validation


class Memory:
    """Batches over tensors, in their own order."""

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

    bunch: Any = load_digits()
    pictures = torch.from_numpy(bunch.images[:count].astype(np.float32))[:, None] / 8 - 1
    return nn.functional.interpolate(pictures, 32, mode="bilinear"), torch.from_numpy(bunch.target[:count])


def streams(inputs: torch.Tensor, labels: torch.Tensor, batch_size: int) -> tuple[PreparedStream, PreparedStream]:
    return prepared(Memory(inputs, labels, batch_size)), prepared(Memory(inputs, labels, 64))


def prepared(batches: Memory) -> PreparedStream:
    return PreparedStream(batches, lambda batch: batch.images)


def fit(
    folder: Path, network: nn.Module, recipe: Recipe, inputs: torch.Tensor, labels: torch.Tensor, **options: Any
) -> Trainer:
    folder.mkdir(exist_ok=True)
    trainer = Trainer(recipe, run=Run(folder), **options)
    trainer.fit(network, *streams(inputs, labels, recipe.batch_size))
    return trainer


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
        norm = torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
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
    trainer = Trainer(plain_recipe(label_smoothing=0.1), run=Run(tmp_path), class_weights=weights)
    trainer.fit(network, prepared(Mixed(inputs, labels, 8, table)), prepared(Memory(inputs, labels, 64)))
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
    trainer = fit(tmp_path, network, plain_recipe(ema_decay=0.9, epochs=3), inputs, labels)
    state, _ = read_weights(tmp_path / "model.safetensors")
    assert not torch.equal(state["1.weight"], network.state_dict()["1.weight"])
    averaged = linear()
    averaged.load_state_dict(state)
    loss = nn.functional.cross_entropy(averaged(inputs), labels).item()
    assert loss == pytest.approx(trainer.position.best_loss, rel=1e-5)


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
    trainer = fit(tmp_path, linear(), recipe, inputs, labels)
    assert trainer.position.rows < 10


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
    trainer: Trainer

    def stop(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, StepEnded)
        trainer.stop_asked = trainer.stop_asked or steps >= stop_after

    trainer = Trainer(recipe, run=Run(folder), report=stop)
    with pytest.raises(Interrupted, match="casebook train --resume"):
        trainer.fit(first, *streams(inputs, labels, 8))
    second = network()
    torch.manual_seed(999)
    trainer = Trainer(recipe, run=Run(folder))
    trainer.resume(second, read_checkpoint(folder / "last.ckpt"))
    trainer.fit(second, *streams(inputs, labels, 8))
    assert bits(second) == bits(undisturbed)
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_every_event_is_reported(tmp_path: Path) -> None:
    events: list[Event] = []
    inputs, labels = real_digits(16)
    fit(tmp_path, linear(), plain_recipe(epochs=2), inputs, labels, report=events.append)
    assert [type(event) for event in events] == [StepEnded, StepEnded, EpochEnded] * 2
    first, last = events[0], events[-1]
    assert isinstance(first, StepEnded)
    assert (first.epoch, first.epochs, first.batch, first.batches) == (1, 2, 1, 2)
    assert isinstance(last, EpochEnded)
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["val_loss"] == last.val_loss


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
    trainer = Trainer(changed, run=Run(tmp_path))
    with pytest.raises(RunError, match=r"made with ema_decay = 0\.0; put that back"):
        trainer.resume(linear(), read_checkpoint(tmp_path / "last.ckpt"))


def test_a_plain_data_loader_trains_like_any_stream(tmp_path: Path) -> None:
    """No run folder: the best weights and the history stay in memory."""
    inputs, labels = real_digits(20)
    ours, theirs = linear(), linear()
    fit(tmp_path, ours, plain_recipe(epochs=2), inputs, labels)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=8)
    trainer = Trainer(plain_recipe(epochs=2))
    rows = trainer.fit(theirs, loader, [(inputs, labels)])
    assert bits(ours) == bits(theirs)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert trainer.best_state.keys() == theirs.state_dict().keys()
    best = linear()
    best.load_state_dict(trainer.best_state)
    loss = nn.functional.cross_entropy(best(inputs), labels).item()
    assert loss == pytest.approx(trainer.position.best_loss, rel=1e-5)


def test_batches_that_cannot_be_read_twice_are_refused() -> None:
    inputs, labels = real_digits(8)
    with pytest.raises(DataError, match="a generator, which has no length or ends after one epoch; give a DataLoader"):
        PlainStream((inputs, labels) for _ in range(2))


def test_the_sizes_of_plain_batches_are_known_beforehand() -> None:
    data = torch.utils.data.TensorDataset(*real_digits(20))
    loader = torch.utils.data.DataLoader
    assert PlainStream(loader(data, batch_size=8)).global_sizes() == [8, 8, 4]
    assert PlainStream(loader(data, batch_size=8, drop_last=True)).global_sizes() == [8, 8]
    assert PlainStream([data[:3], data[3:8]]).global_sizes() == [3, 5]


def test_all_processes_validate_with_the_first_ones_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = real_digits(16)
    seen: list[list[float]] = []

    def broadcast(buffer: torch.Tensor, source: int) -> None:
        assert source == 0
        buffer.fill_(7)

    def validate(module: Any, *_: Any) -> Validation:
        seen.append(module[0].running_mean[:2].tolist())
        return Validation(1.0, 0.5, "val_top1")

    monkeypatch.setattr("torch.nn.parallel.DistributedDataParallel", lambda module, device_ids: module)
    monkeypatch.setattr("torch.distributed.broadcast", broadcast)
    monkeypatch.setattr("casebook.training.trainer.sum_over_all", lambda sums, world: sums)
    monkeypatch.setattr("casebook.training.trainer.validate", validate)
    network = nn.Sequential(nn.BatchNorm1d(inputs[0].numel()), nn.Linear(inputs[0].numel(), 10))
    batches = [(inputs.flatten(1), labels)]
    Trainer(plain_recipe(), world=World(1, 2)).fit(network, batches, batches)
    assert seen == [[7, 7]] * plain_recipe().epochs


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_waiting_for_a_batch_ends_the_training_at_once(tmp_path: Path, stop_signal: int) -> None:
    inputs, labels = real_digits(16)

    class Stuck(Memory):
        def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
            yield next(super().epoch(epoch, start))
            os.kill(os.getpid(), stop_signal)
            time.sleep(30)
            raise AssertionError("the signal was not heard")

    trainer, began = Trainer(plain_recipe(), run=Run(tmp_path)), time.monotonic()
    with pytest.raises(Interrupted):
        trainer.fit(linear(), prepared(Stuck(inputs, labels, 8)), prepared(Memory(inputs, labels, 64)))
    assert time.monotonic() - began < 10
    assert read_checkpoint(tmp_path / "last.ckpt")["position"]["batch"] == 1
