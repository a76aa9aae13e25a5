"""Transfer by measurement: first the head, then every stage, which is kept where validation shows that it is better.

What can be afforded is measured before the start: a few steps of the network on this machine say how many epochs of
fine-tuning fit into the time that the user gives. The test set plays no part in any of this.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..device import Stopwatch, autocast
from ..models.weights import read_weights
from .batch_size import sum_of_outputs
from .distributed import World, gather_from_all
from .recipe import Recipe
from .streams import BatchStream
from .transfer import Choice

HEAD_FILE = "head.safetensors"  # the best head of a run that is fine-tuning
LEAST_EPOCHS = 4  # of fine-tuning; fewer are not worth the time
TIMED_STEPS = 2
TIMED_PICTURES = 16


class Forecast(NamedTuple):
    """What training takes on this machine, in seconds for each picture."""

    step_seconds: float  # forward and backward
    forward_seconds: float

    def head_seconds(self, num_train: int, num_val: int) -> float:
        """The time for the features of all pictures, which is nearly all that the head takes."""
        return (num_train + num_val) * self.forward_seconds

    def epoch_seconds(self, num_train: int, num_val: int) -> float:
        """The time for one epoch of fine-tuning with its validation."""
        return num_train * self.step_seconds + num_val * self.forward_seconds


def forecast(network: Any, size: int, channels: int, device: torch.device, dtype: torch.dtype) -> Forecast:
    """Times steps of the network on blank pictures of `size` pixels. Its weights and statistics stay as they are."""
    was_training, state = network.training, {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.zeros(TIMED_PICTURES, channels, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)

    def seconds(step: Callable[[], Tensor]) -> float:
        step()  # the first one allocates
        watch = Stopwatch()
        for _ in range(TIMED_STEPS):
            _ = float(step())  # waits for the device
        return watch.seconds / (TIMED_STEPS * TIMED_PICTURES)

    def forward() -> Tensor:
        with torch.inference_mode(), autocast(device, dtype):
            return sum_of_outputs(network(images))

    def backward() -> Tensor:
        with autocast(device, dtype):
            outputs = network(images)
        loss = sum_of_outputs(outputs)
        loss.backward()
        return loss.detach()

    try:
        network.eval()
        forward_seconds = seconds(forward)
        network.train()
        return Forecast(seconds(backward), forward_seconds)
    finally:
        network.zero_grad(set_to_none=True)
        network.load_state_dict(state)
        network.train(was_training)


class TransferPlan(NamedTuple):
    """What `transfer = "auto"` means here: changes of the recipe, and why."""

    changes: dict[str, Any]
    choice: Choice


def plan_transfer(recipe: Recipe, found: Forecast, num_train: int, num_val: int) -> TransferPlan:
    """The head, and then as many epochs of fine-tuning as the recipe asks for and its time budget affords."""
    head_seconds, epoch_seconds = found.head_seconds(num_train, num_val), found.epoch_seconds(num_train, num_val)
    budget_seconds = 60 * recipe.time_budget_minutes
    affordable = int(max(0.0, budget_seconds - head_seconds) / epoch_seconds)
    epochs = min(recipe.epochs, affordable)
    if epochs < min(LEAST_EPOCHS, recipe.epochs):
        reason = (
            f"a new head on frozen features, about {_time(head_seconds)}; {LEAST_EPOCHS} epochs of fine-tuning would "
            f"take about {_time(LEAST_EPOCHS * epoch_seconds)} more, beyond the time budget of {_time(budget_seconds)}"
        )
        return TransferPlan({}, Choice("head", reason))
    reason = (
        f"measured: a new head on frozen features first (about {_time(head_seconds)}), then {epochs} epochs of every "
        f"stage (about {_time(epochs * epoch_seconds)}), kept only if validation is better"
    )
    changes = {"transfer": "full", "two_phase": True, "keep_head": True, "head_epochs": recipe.epochs, "epochs": epochs}
    if epochs <= recipe.warmup_epochs:
        changes["warmup_epochs"] = epochs / 5
    return TransferPlan(changes, Choice("full", reason))


def _time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


class Losses(NamedTuple):
    """What a network's answers cost on each validation picture."""

    losses: NDArray[np.float64]  # (N,) cross-entropies
    right: NDArray[np.bool_]  # (N,)

    @property
    def top1(self) -> float:
        return float(self.right.mean())


class Judgement(NamedTuple):
    """Whether fine-tuning was worth it: the mean gain in log loss over the head, with its standard error."""

    accepted: bool
    gain: float
    error: float
    head: Losses
    tuned: Losses

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees."""
        head, tuned = self.head, self.tuned
        figures = (
            f"on {len(head.right)} validation pictures the head alone has {head.top1:.1%} right with a log loss of "
            f"{head.losses.mean():.3f}; after fine-tuning it is {tuned.top1:.1%} with {tuned.losses.mean():.3f} "
            f"(gain {self.gain:.3f}, standard error {self.error:.3f})"
        )
        if self.accepted:
            return f"fine-tuning was kept: {figures}"
        return f"the head alone was kept, since fine-tuning is not clearly better: {figures}"

    def tried(self, strategy: str) -> list[dict[str, Any]]:
        """Plain data for model.json: the head and the `strategy` after it, each with its validation."""
        return [
            {"strategy": name, "val_top1": found.top1, "val_loss": float(found.losses.mean()), "kept": kept}
            for name, found, kept in (("head", self.head, not self.accepted), (strategy, self.tuned, self.accepted))
        ]


def judge(head: Losses, tuned: Losses) -> Judgement:
    """Fine-tuning is accepted if its log loss is lower by more than a standard error and no fewer answers are right.

    The same pictures are compared, so what makes a picture hard for both drops out. Of two strategies within noise the
    simpler one stays.
    """
    gains = head.losses - tuned.losses
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
    accepted = gain > error and tuned.right.sum() >= head.right.sum()
    return Judgement(bool(accepted), gain, error, head, tuned)


def validation_losses(
    network: Any, stream: BatchStream, device: torch.device, dtype: torch.dtype, world: World
) -> Losses:
    """The loss of each validation picture, over all processes."""
    network.eval()
    losses: list[float] = []
    right: list[bool] = []
    with torch.inference_mode():
        for batch in stream.epoch(0):
            if not len(batch.labels):
                continue
            labels = batch.labels.to(device)
            with autocast(device, dtype):
                logits = network(batch.inputs.to(device)).float()
            losses += functional.cross_entropy(logits, labels, reduction="none").tolist()
            right += (logits.argmax(1) == labels).tolist()
    stream.close()
    parts = gather_from_all((losses, right), world)
    return Losses(
        np.array([loss for part, _ in parts for loss in part]), np.array([one for _, part in parts for one in part])
    )


def judge_run(
    network: Any, folder: Path, stream: BatchStream, device: torch.device, dtype: torch.dtype, world: World
) -> Judgement:
    """Compares the run's best weights with its best head; leaves the better ones in `network`."""
    states = [read_weights(folder / name)[0] for name in (HEAD_FILE, "model.safetensors")]
    found = []
    for state in states:
        network.load_state_dict(state)
        found.append(validation_losses(network, stream, device, dtype, world))
    judgement = judge(*found)
    network.load_state_dict(states[1] if judgement.accepted else states[0])
    return judgement
