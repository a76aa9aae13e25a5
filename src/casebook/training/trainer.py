"""The training loop: batches and a network -> better weights, one step at a time, resumable after any of them.

Every random number is drawn from (seed, phase, step, rank) or (seed, epoch, picture), so a training that goes on from
a checkpoint computes what an undisturbed one would have computed.
"""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from ..augmentation.mixing import mix, partners
from ..data.loader import Batch
from ..device import autocast
from ..errors import DivergedError, RecipeError, RunError
from ..models.layers import overwriting_activations
from ..models.weights import save_weights
from .checkpoint import write_checkpoint
from .depthwise import spreading_gradients
from .distributed import Place, sum_over_all
from .optimise import WeightAverage, make_optimiser, parameter_groups
from .recipe import Recipe
from .run import Run, append_row, portable_state
from .schedule import rate_factor

CHECK_EVERY = 20  # steps between looks at the loss where a look makes a GPU or other processes wait

# Settings that a resumed training may change.
MACHINE_SETTINGS = {
    "device",
    "workers",
    "memory_share",
    "prepared_gib",
    "checkpoint_seconds",
    "tensorboard",
    "compile",
    "data",
    "weights",
}
UNUSABLE_LOSS = 1e30  # recorded for a validation whose loss is not a number, which JSON cannot hold

Report = Callable[[dict[str, Any]], None]


class BatchStream(Protocol):
    """What the loop needs of data.loader.Batches and training.features.FeatureBatches."""

    skipped: dict[str, str]

    def __len__(self) -> int: ...
    def global_sizes(self) -> list[int]: ...
    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]: ...
    def close(self) -> None: ...


class Phase(NamedTuple):
    """One stretch of training with its own learning parts and learning-rate schedule."""

    name: Literal["train", "head", "tune"]
    module: nn.Module  # called on what `prepare` makes of a batch; gives logits (B, num_classes)
    start: Callable[[], object]  # puts the module into training mode, frozen parts excepted
    parts: list[tuple[str, nn.Module, float]]
    train: BatchStream
    validation: BatchStream
    prepare: Callable[[Batch], Tensor]
    epochs: int
    dtype: torch.dtype


@dataclasses.dataclass
class Position:
    """How far a training has come; with the tensors beside it in last.ckpt, all there is to know."""

    phase: int = 0
    epoch: int = 0  # epochs finished in this phase
    batch: int = 0  # batches finished in this epoch
    step: int = 0  # optimiser steps in this phase
    rows: int = 0  # lines of metrics.jsonl
    stale: int = 0  # epochs since the best
    best_top1: float = -1.0
    best_loss: float = math.inf
    loss_sum: float = 0.0  # over this epoch's pictures so far
    num_seen: int = 0


class Interrupted(Exception):
    """The user or the system asked to stop; the checkpoint is written."""


class Loop:
    """Trains a network through its phases, writing into a run folder.

    Raises DivergedError on a loss that is not a number, Interrupted after Ctrl-C or SIGTERM, and RunError when the
    run folder cannot be written.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        network: nn.Module,
        *,
        device: torch.device,
        place: Place,
        class_weights: Tensor | None = None,
        report: Report = lambda event: None,
        events: Any = None,
    ):
        self.run, self.recipe, self.network = run, recipe, network
        self.device, self.place, self.report, self.events = device, place, report, events
        self.class_weights = None if class_weights is None else class_weights.to(device)
        self.sums = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self.position = Position()
        self.resumed: dict[str, Any] | None = None
        self.stop_asked = False  # by a signal to this process
        self.stopping = False  # agreed by all processes
        self.last_checkpoint = time.monotonic()

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from what read_checkpoint gave. Raises RunError when the recipe is not that of the checkpoint."""
        now = _deciding(self.recipe)
        if changed := [name for name, value in state["recipe"].items() if now.get(name) != value]:
            earlier = ", ".join(f"{name} = {state['recipe'][name]!r}" for name in changed)
            raise RunError(
                f"{self.run.path / 'recipe.toml'} has changed since the checkpoint, which was made with {earlier}; "
                "put that back, or start a new training"
            )
        self.position = Position(**state["position"])
        self.network.load_state_dict(state["network"])
        self.resumed = state

    def fit(self, phase: Phase, number: int) -> None:
        """Runs phase `number` (from 0) to its end, from wherever the position is."""
        if self.position.phase > number:
            return
        recipe, device = self.recipe, self.device
        groups = parameter_groups(phase.parts, weight_decay=recipe.weight_decay, decay_all=recipe.decay_all)
        if not groups:
            names = " and ".join(name for name, _, _ in phase.parts)
            raise RecipeError(
                f"the {names} of this network has no weights to learn; use another transfer, such as full"
            )
        optimiser = make_optimiser(groups, recipe)
        average = WeightAverage(self.network, recipe.ema_decay) if recipe.ema_decay else None
        if self.resumed is not None:
            optimiser.load_state_dict(self.resumed["optimiser"])
            if average is not None:
                average.load(self.resumed["average"], self.resumed["average_updates"])
            self.resumed = None
        module = phase.module
        if self.place.world_size > 1:
            ids = [device.index] if device.type == "cuda" else None
            module = nn.parallel.DistributedDataParallel(module, device_ids=ids)
        if recipe.compile:
            module = torch.compile(module)
        faster = contextlib.ExitStack()
        if not recipe.compile:
            faster.enter_context(spreading_gradients(self.network, device, phase.dtype))
        with self._stopping_on_signals(), overwriting_activations(self.network), faster:
            if self.position.epoch == 0 and self.position.batch == 0:
                self._checkpoint(optimiser, average)
            while self.position.epoch < phase.epochs and not self._is_stale():
                self._train_epoch(phase, number, module, optimiser, average)
            self.position = dataclasses.replace(
                self.position, phase=number + 1, epoch=0, batch=0, step=0, stale=0, loss_sum=0.0, num_seen=0
            )
        phase.train.close()
        phase.validation.close()

    def _is_stale(self) -> bool:
        return 0 < self.recipe.patience <= self.position.stale

    def _train_epoch(
        self, phase: Phase, number: int, module: Any, optimiser: torch.optim.Optimizer, average: WeightAverage | None
    ) -> None:
        recipe, position, place = self.recipe, self.position, self.place
        sizes = phase.train.global_sizes()
        steps_per_epoch = math.ceil(len(sizes) / recipe.accumulate)
        look_every = 1 if self.device.type == "cpu" and place.world_size == 1 else CHECK_EVERY
        batches = phase.train.epoch(position.epoch + 1000 * number, position.batch)
        unread = torch.zeros(3, dtype=self.sums, device=self.device)  # loss sum, pictures, wishes to stop
        began, seen_before, rate = time.monotonic(), position.num_seen, 0.0
        phase.start()
        while position.batch < len(sizes):
            group = sizes[position.batch : position.batch + recipe.accumulate]
            factor = rate_factor(recipe, position.step, steps_per_epoch, phase.epochs)
            for settings in optimiser.param_groups:
                settings["lr"] = recipe.learning_rate * settings["scale"] * factor
            rate = recipe.learning_rate * factor
            _seed_step(recipe.seed, number, position.step, place.rank)
            for micro in range(len(group)):
                batch = next(batches)
                last = micro == len(group) - 1
                waiting = module.no_sync() if place.world_size > 1 and not last else contextlib.nullcontext()
                with waiting:
                    unread[:2] += self._backward(phase, module, batch, sum(group))
            if recipe.clip_norm:
                weights = [w for settings in optimiser.param_groups for w in settings["params"]]
                nn.utils.clip_grad_norm_(weights, recipe.clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if average is not None:
                average.update(self.network)
            position.step += 1
            position.batch += len(group)
            alone = place.world_size == 1  # others must look at the same step
            if position.step % look_every == 0 or position.batch >= len(sizes) or (self.stop_asked and alone):
                self._look(unread, rate)
                seconds = time.monotonic() - began
                self.report(
                    {
                        "kind": "step",
                        "phase": phase.name,
                        "epoch": position.epoch + 1,
                        "epochs": phase.epochs,
                        "batch": position.batch,
                        "batches": len(sizes),
                        "loss": position.loss_sum / max(1, position.num_seen),
                        "learning_rate": rate,
                        "images_per_second": (position.num_seen - seen_before) / max(seconds, 1e-9),
                    }
                )
                due = time.monotonic() - self.last_checkpoint >= recipe.checkpoint_seconds
                if (due or self.stopping) and position.batch < len(sizes):
                    self._checkpoint(optimiser, average)
                    if self.stopping:
                        raise Interrupted
        seconds = time.monotonic() - began
        images_per_second = (position.num_seen - seen_before) / max(seconds, 1e-9)
        self._end_epoch(phase, average, rate, images_per_second, seconds)
        if self.stopping or time.monotonic() - self.last_checkpoint >= recipe.checkpoint_seconds:
            self._checkpoint(optimiser, average)
        if self.stopping:
            raise Interrupted

    def _backward(self, phase: Phase, module: Any, batch: Batch, count: int) -> Tensor:
        """Adds the gradient of the mean loss over `count` pictures; gives (sum of losses, pictures), detached."""
        labels = batch.labels.to(self.device, non_blocking=True)
        inputs = phase.prepare(batch)
        own: Tensor | None = None
        if batch.mixing is not None:
            inputs, own = mix(inputs, batch.mixing.to(self.device, non_blocking=True))
        empty = not len(labels)
        if empty:  # every picture of this part was unreadable; the other processes still wait for a gradient
            inputs, labels = inputs.new_zeros((2, *_one_shape(phase, self))), labels.new_zeros(2)
        with autocast(self.device, phase.dtype):
            outputs = module(inputs)
        losses = self._losses(outputs, labels)
        if own is not None:
            losses = own * losses + (1 - own) * self._losses(outputs, partners(labels))
        total = losses.sum() * (0.0 if empty else 1.0)
        (total * (self.place.world_size / count)).backward()
        return torch.stack([total.detach(), total.new_tensor(0 if empty else len(labels))]).to(self.sums)

    def _losses(self, outputs: Tensor | tuple[Tensor, list[Tensor]], labels: Tensor) -> Tensor:
        """(B,) the loss of each picture; those of auxiliary heads are added with the network's weight for them, and
        the class weights apply to the whole."""
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        smoothing = self.recipe.label_smoothing
        losses = functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        for extra in auxiliary:
            loss = functional.cross_entropy(extra.float(), labels, reduction="none", label_smoothing=smoothing)
            losses = losses + self.network.auxiliary_weight * loss  # type: ignore[operator]
        return losses if self.class_weights is None else losses * self.class_weights[labels]

    def _look(self, unread: Tensor, rate: float) -> None:
        """Moves the losses since the last look into the position; stops the training on one that is no number."""
        unread[2] = float(self.stop_asked)
        loss_sum, count, wishes = sum_over_all(unread, self.place).tolist()
        unread.zero_()
        self.stopping = wishes > 0
        if not math.isfinite(loss_sum):
            raise self._diverged(f"the loss is {loss_sum}", rate)
        self.position.loss_sum += loss_sum
        self.position.num_seen += int(count)

    def _diverged(self, what: str, rate: float) -> DivergedError:
        return DivergedError(
            f"{what} at step {self.position.step} of epoch {self.position.epoch + 1}, with the learning rate "
            f"{rate:.3g}; the last good checkpoint is kept. Try a learning rate of {rate / 10:.2g}, "
            "--set clip_norm=1, a longer warm-up, or --precision fp32"
        )

    def _require_finite_weights(self) -> None:
        """The loss is looked at before the step that it causes; what is kept must have survived the step too."""
        finite = torch.stack([weight.isfinite().all() for weight in self.network.parameters()]).all()
        if not finite:
            raise self._diverged("weights are no longer numbers", self.recipe.learning_rate)

    def _end_epoch(
        self, phase: Phase, average: WeightAverage | None, rate: float, images_per_second: float, seconds: float
    ) -> None:
        """Validates, keeps the weights if they are the best so far, and writes the epoch's row."""
        position = self.position
        began = time.monotonic()
        self._require_finite_weights()
        with averaged(self.network, average):
            loss, top1 = self.validate(phase)
            better = loss < UNUSABLE_LOSS and (top1, -loss) > (position.best_top1, -position.best_loss)
            if better and self.place.is_first:
                save_weights(self.run.path / "model.safetensors", portable_state(self.network), {})
        row = {
            "epoch": position.rows + 1,
            "phase": phase.name,
            "train_loss": position.loss_sum / max(1, position.num_seen),
            "learning_rate": rate,
            "val_loss": loss,
            "val_top1": top1,
            "images_per_second": round(images_per_second, 2),
            "seconds": round(seconds, 3),
            "validation_seconds": round(time.monotonic() - began, 3),
        }
        position.epoch += 1
        position.rows += 1
        position.batch, position.loss_sum, position.num_seen = 0, 0.0, 0
        position.stale = 0 if better else position.stale + 1
        if better:
            position.best_top1, position.best_loss = top1, loss
        if self.place.is_first:
            append_row(self.run, row)
            if self.events is not None:
                for name in ("train_loss", "val_loss", "val_top1", "learning_rate", "images_per_second"):
                    self.events.add_scalar(name, row[name], position.rows)
        self.report({"kind": "epoch", "epochs": phase.epochs, "best": better, **row})

    def validate(self, phase: Phase) -> tuple[float, float]:
        """Mean cross-entropy and top-1 over the validation pictures of all processes, each counted once."""
        _share_buffers(self.network, self.place)
        phase.module.eval()
        sums = torch.zeros(3, dtype=self.sums, device=self.device)
        with torch.inference_mode():
            for batch in phase.validation.epoch(self.position.rows):
                if not len(batch.labels):
                    continue
                labels = batch.labels.to(self.device, non_blocking=True)
                with autocast(self.device, phase.dtype):
                    logits = phase.module(phase.prepare(batch))
                logits = logits.float()
                sums[0] += functional.cross_entropy(logits, labels, reduction="sum")
                sums[1] += (logits.argmax(1) == labels).sum()
                sums[2] += len(labels)
        loss, correct, count = sum_over_all(sums, self.place).tolist()
        return (loss / count, correct / count) if count and math.isfinite(loss) else (UNUSABLE_LOSS, 0.0)

    def _checkpoint(self, optimiser: torch.optim.Optimizer, average: WeightAverage | None) -> None:
        self.last_checkpoint = time.monotonic()
        if not self.place.is_first:
            return
        self._require_finite_weights()
        state: dict[str, Any] = {
            "recipe": _deciding(self.recipe),
            "position": dataclasses.asdict(self.position),
            "network": self.network.state_dict(),
            "optimiser": optimiser.state_dict(),
        }
        if average is not None:
            state |= {"average": average.state_dict(), "average_updates": average.updates}
        write_checkpoint(self.run.path / "last.ckpt", state)

    @contextlib.contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM ends the training after the step under way; the second, unless it is the same
        wish passed on by torchrun, at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        asked_at = math.inf

        def ask(signum: int, _: object) -> None:
            nonlocal asked_at
            patience_seconds = 20 if self.place.world_size > 1 else 0
            if self.stop_asked and time.monotonic() - asked_at >= patience_seconds:
                raise KeyboardInterrupt
            self.stop_asked, asked_at = True, min(asked_at, time.monotonic())

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def averaged(network: nn.Module, average: WeightAverage | None) -> Iterator[None]:
    """The network with its averaged weights inside the block, with its own again after it."""
    if average is None:
        yield
        return
    own = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average.state_dict())
    try:
        yield
    finally:
        network.load_state_dict(own)


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide the outcome, as plain data."""
    return recipe.model_dump(mode="json", exclude=MACHINE_SETTINGS)


def _seed_step(seed: int, phase: int, step: int, rank: int) -> None:
    """Dropout and its like draw from this; a step's draws do not depend on the steps before it."""
    torch.manual_seed((((seed * 8 + phase) << 32) + step * 4096 + rank) % 2**63)


def _share_buffers(network: nn.Module, place: Place) -> None:
    """Batch-norm statistics of process 0 everywhere, so that all validate the same network."""
    if place.world_size > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def _one_shape(phase: Phase, loop: Loop) -> tuple[int, ...]:
    """The shape of one input of a phase."""
    for batch in phase.validation.epoch():
        if len(batch.labels):
            return tuple(phase.prepare(batch).shape[1:])
    raise DivergedError("no picture of the validation set can be read any more; are the files still there?")
