"""The trainer: a module, batches to learn from and batches to choose by -> better weights, resumable after any step.

Every random number is drawn from (seed, phase, step, rank) or (seed, epoch, picture), so a training that resumes from
a checkpoint computes what an undisturbed one would have computed.
"""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..data.loader import Inputs
from ..device import Stopwatch, ThreadTuner, accumulation_dtype, choose_device
from ..errors import DivergedError, Interrupted, RunError
from ..models.weights import save_weights
from ..progress import EpochEnded, Reporter, StepEnded, silent
from .checkpoint import write_checkpoint
from .distributed import ALONE, World, gather_from_all, has_divided, own_part, sum_over_all, whole
from .optimise import WeightAverage
from .recipe import Recipe
from .run import Run, append_row, portable_state
from .schedule import rate_factor
from .selection import is_better
from .stepper import Phase, Stepper
from .streams import BatchStream, as_stream
from .validation import validate

CHECK_EVERY = 20  # steps between looks at the loss where a look makes a GPU or other processes wait

# Settings that a resumed training may change.
MACHINE_SETTINGS = {
    "device",
    "threads",
    "workers",
    "memory_share",
    "prepared_gib",
    "checkpoint_seconds",
    "tensorboard",
    "compile",
    "shard_weights",
    "data",
    "weights",
}
TORCHRUN_SECONDS = 20  # torchrun passes a signal on to each process, which is no second wish to stop


@dataclasses.dataclass
class Position:
    """How far a training has come; with the tensors beside it in last.ckpt, all there is to know."""

    phase: int = 0
    epoch: int = 0  # epochs finished in this phase
    batch: int = 0  # batches finished in this epoch
    step: int = 0  # optimiser steps in this phase
    rows: int = 0  # lines of metrics.jsonl
    stale: int = 0  # epochs since the best
    best_score: float = -1.0
    best_loss: float = math.inf
    loss_sum: float = 0.0  # over this epoch's pictures so far
    num_seen: int = 0


class Trainer:
    """Trains a network: `Trainer(recipe).fit(network, train, validation)`.

    With a `run`, the best weights, checkpoints and metrics go into its folder; without one, `history` and `best_state`
    hold them. `class_weights` (num_classes,) multiply the losses. `events` is a TensorBoard writer.

    Raises DivergedError when the loss is not a number, Interrupted after Ctrl-C or SIGTERM, and RunError when the run
    folder cannot be written.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        run: Run | None = None,
        device: torch.device | None = None,
        world: World = ALONE,
        class_weights: Tensor | None = None,
        report: Reporter = silent,
        events: Any = None,
    ):
        self.recipe, self.run, self.world, self.report, self.events = recipe, run, world, report, events
        self.device = choose_device(recipe.device) if device is None else device
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self.history: list[dict[str, Any]] = []
        self.best_state: dict[str, Tensor] = {}
        self.position = Position()
        self.stop_asked = False  # by a signal to this process
        self._resumed: dict[str, Any] | None = None
        self._stopping = False  # agreed by all processes
        self._may_stop_at_once = False  # while a single process waits for a batch
        self._since_checkpoint = Stopwatch()
        self.threads = ThreadTuner()  # by default the number of threads is the caller's business

    @property
    def is_resumed(self) -> bool:
        """Whether the next phase continues in its middle."""
        return self._resumed is not None

    def resume(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Continues from what read_checkpoint gave. Raises RunError when the recipe is not that of the checkpoint."""
        now = _deciding(self.recipe)
        if changed := [name for name, value in state["recipe"].items() if now.get(name) != value]:
            earlier = ", ".join(f"{name} = {state['recipe'][name]!r}" for name in changed)
            where = self.run.path / "recipe.toml" if self.run else "the recipe"
            raise RunError(
                f"{where} has changed since the checkpoint, which was made with {earlier}; put that back, or start a "
                "new run"
            )
        self.position = Position(**state["position"])
        network.load_state_dict(state["network"])
        self._resumed = state

    def fit(self, network: nn.Module, train: Any, validation: Any, phase: Phase | None = None) -> list[dict[str, Any]]:
        """Trains for one phase, from wherever the position is; gives its rows of the history, one an epoch.

        `train` and `validation` are streams (see `streams`) or plain iterables of (inputs, labels) such as a
        DataLoader: inputs are normalised images (B, C, H, W) float, labels (B,) int64. The weights with the best
        validation accuracy are kept: of equals those with the lower loss. With several labels a picture, labels are
        (B, num_classes) float, NaN where unknown, and the best mean average precision decides.
        """
        phase = phase or Phase(self.recipe.epochs)
        streams = as_stream(train), as_stream(validation)
        rows_before = len(self.history)
        if self.position.phase > phase.number:
            return []
        network.to(self.device)
        stepper = Stepper(network, phase, self.recipe, self.device, self.world, self.class_weights)
        if self._resumed is not None:
            stepper.load(self._resumed)
            self._resumed = None
        with self._stopping_on_signals(), stepper.ready():
            if self.position.epoch == 0 and self.position.batch == 0:
                self._checkpoint(stepper)
            while self.position.epoch < phase.epochs and not self._is_stale():
                self._train_epoch(phase, stepper, *streams)
            self._end_phase(phase)
        for stream in streams:
            stream.close()
        return self.history[rows_before:]

    def take(self, network: nn.Module, validation: Any, phase: Phase, *, train_loss: float, seconds: float) -> None:
        """Records a phase whose weights were found elsewhere, such as by solving for them: one epoch, validated."""
        stream = as_stream(validation)
        network.to(self.device)
        self.position.loss_sum, self.position.num_seen = train_loss, 1
        module = network if phase.module is None else phase.module
        row = {"learning_rate": 0.0, "images_per_second": 0.0, "seconds": seconds}
        self._close_epoch(network, module, phase, stream, row)
        self._end_phase(phase)
        stream.close()

    def _end_phase(self, phase: Phase) -> None:
        self.position = dataclasses.replace(
            self.position, phase=phase.number + 1, epoch=0, batch=0, step=0, stale=0, loss_sum=0.0, num_seen=0
        )
        if self.recipe.keep_head:  # each phase has its own best weights, which are compared later
            self.position = dataclasses.replace(self.position, best_score=-1.0, best_loss=math.inf)

    def _is_stale(self) -> bool:
        return 0 < self.recipe.patience <= self.position.stale

    def _train_epoch(self, phase: Phase, stepper: Stepper, train: BatchStream, validation: BatchStream) -> None:
        recipe, position, alone = self.recipe, self.position, self.world.world_size == 1
        sizes = train.global_sizes()
        steps_per_epoch = math.ceil(len(sizes) / recipe.accumulate)
        look_every = 1 if self.device.type == "cpu" and alone else CHECK_EVERY
        batches = train.epoch(position.epoch + 1000 * phase.number, position.batch)
        sum_dtype = accumulation_dtype(self.device)
        unread = torch.zeros(3, dtype=sum_dtype, device=self.device)  # loss sum, pictures, wishes to stop
        watch, seen_before, rate = Stopwatch(), position.num_seen, 0.0
        stepper.start()
        while position.batch < len(sizes):
            group = sizes[position.batch : position.batch + recipe.accumulate]
            rate = recipe.learning_rate * rate_factor(recipe, position.step, steps_per_epoch, phase.epochs)
            _seed_step(recipe.seed, phase.number, position.step, self.world.rank)
            try:
                with self.threads.step(sum(group)):
                    unread[:2] += stepper.step(self._interruptible(batches, len(group)), group, rate)
            except Interrupted:
                stepper.optimiser.zero_grad(set_to_none=True)
                self._look(unread, rate)
                self._checkpoint(stepper)
                raise
            position.step += 1
            position.batch += len(group)
            # Other processes must look at the same step.
            if position.step % look_every == 0 or position.batch >= len(sizes) or (self.stop_asked and alone):
                self._look(unread, rate)
                seconds = watch.seconds
                self.report(
                    StepEnded(
                        phase=phase.name,
                        epoch=position.epoch + 1,
                        epochs=phase.epochs,
                        batch=position.batch,
                        batches=len(sizes),
                        loss=position.loss_sum / max(1, position.num_seen),
                        learning_rate=rate,
                        images_per_second=(position.num_seen - seen_before) / max(seconds, 1e-9),
                    )
                )
                if position.batch < len(sizes) and (self._stopping or self._is_checkpoint_due(stepper)):
                    self._checkpoint(stepper)
                    self._stop_if_asked()
        seconds = watch.seconds
        images_per_second = (position.num_seen - seen_before) / max(seconds, 1e-9)
        self._require_finite_weights(stepper.network)
        with averaged(stepper.network, stepper.average):
            measured = {"learning_rate": rate, "images_per_second": images_per_second, "seconds": seconds}
            self._close_epoch(stepper.network, stepper.module, phase, validation, measured)
        if self._stopping or self._is_checkpoint_due(stepper):
            self._checkpoint(stepper)
        self._stop_if_asked()

    def _interruptible(self, batches: Iterator[Inputs], count: int) -> Iterator[Inputs]:
        """The next batches; a signal that comes while a single process waits for one ends the training at once."""
        for _ in range(count):
            self._may_stop_at_once = self.world.world_size == 1
            try:
                with self.threads.waiting():
                    batch = next(batches)
            except StopIteration as stop:
                raise RuntimeError("the batches ended before the epoch did; their number must not change") from stop
            finally:
                self._may_stop_at_once = False
            yield batch

    def _stop_if_asked(self) -> None:
        if self._stopping:
            raise Interrupted(self._how_to_go_on())

    def _how_to_go_on(self) -> str:
        if self.run is None:
            return "the training was interrupted"
        return f"the training was interrupted; 'casebook train --resume {self.run.path}' continues it"

    def _look(self, unread: Tensor, rate: float) -> None:
        """Moves the losses since the last look into the position; stops the training on one that is no number."""
        unread[2] = float(self.stop_asked)
        loss_sum, count, wishes = sum_over_all(unread, self.world).tolist()
        unread.zero_()
        self._stopping = wishes > 0
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

    def _require_finite_weights(self, network: nn.Module) -> None:
        """The loss is checked before the step that it causes; what is kept must have survived the step too."""
        finite = torch.stack([own_part(weight).isfinite().all() for weight in network.parameters()]).all()
        if not all(gather_from_all(bool(finite), self.world) if has_divided(network) else [finite]):
            raise self._diverged("weights are no longer numbers", self.recipe.learning_rate)

    def _close_epoch(
        self, network: nn.Module, module: Any, phase: Phase, validation: BatchStream, measured: dict[str, float]
    ) -> None:
        """Validates, keeps the weights if they are the best so far, and writes the epoch's row.

        `measured` has the epoch's learning_rate, images_per_second and seconds.
        """
        position, watch = self.position, Stopwatch()
        _share_buffers(network, self.world)
        loss, score, name = validate(module, validation, self.device, phase.dtype, self.world, position.rows)
        is_best = is_better(score, loss, position.best_score, position.best_loss)
        if is_best:
            self._keep(network)
        row: dict[str, Any] = {
            "train_loss": position.loss_sum / max(1, position.num_seen),
            "learning_rate": measured["learning_rate"],
            "val_loss": loss,
            name: score,
            "images_per_second": round(measured["images_per_second"], 2),
            "seconds": round(measured["seconds"], 3),
            "validation_seconds": round(watch.seconds, 3),
            "threads": torch.get_num_threads(),
        }
        row = {"epoch": position.rows + 1, "phase": phase.name, **row}
        position.epoch += 1
        position.rows += 1
        position.batch, position.loss_sum, position.num_seen = 0, 0.0, 0
        position.stale = 0 if is_best else position.stale + 1
        if is_best:
            position.best_score, position.best_loss = score, loss
        self.history.append(row)
        if self.world.is_first and self.run is not None:
            append_row(self.run, row)
        if self.world.is_first and self.events is not None:
            for column in ("train_loss", "val_loss", name, "learning_rate", "images_per_second"):
                self.events.add_scalar(column, row[column], position.rows)
        self.report(EpochEnded(epochs=phase.epochs, is_best=is_best, **row))

    def _keep(self, network: nn.Module) -> None:
        """These are the best weights so far."""
        state = portable_state(network, keep=self.world.is_first)
        if not self.world.is_first:
            return
        if self.run is None:
            self.best_state = {name: value.clone() for name, value in state.items()}
        else:
            save_weights(self.run.path / "model.safetensors", state, {})

    def _is_checkpoint_due(self, stepper: Stepper) -> bool:
        """By the clock; by that of process 0 where all must take part in a checkpoint."""
        due = self._since_checkpoint.seconds >= self.recipe.checkpoint_seconds
        return gather_from_all(due, self.world)[0] if stepper.is_divided else due

    def _checkpoint(self, stepper: Stepper) -> None:
        self._since_checkpoint.restart()
        if self.run is None or not (self.world.is_first or stepper.is_divided):
            return
        self._require_finite_weights(stepper.network)
        state = whole(stepper.state(), keep=self.world.is_first)
        if self.world.is_first:
            write_checkpoint(
                self.run.path / "last.ckpt",
                {"recipe": _deciding(self.recipe), "position": dataclasses.asdict(self.position), **state},
            )

    @contextlib.contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM ends the training after the step under way, or at once if it waits for a batch;
        the second at once, unless it is the same wish passed on by torchrun."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        asked_at = math.inf

        def ask(signum: int, _: object) -> None:
            nonlocal asked_at
            patience_seconds = TORCHRUN_SECONDS if self.world.world_size > 1 else 0
            if self.stop_asked and time.monotonic() - asked_at >= patience_seconds:
                raise KeyboardInterrupt
            self.stop_asked, asked_at = True, min(asked_at, time.monotonic())
            if self._may_stop_at_once:
                raise Interrupted(self._how_to_go_on())

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
    network.load_state_dict(average.state)
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


def _share_buffers(network: nn.Module, world: World) -> None:
    """Batch-norm statistics of process 0 everywhere, so that all validate the same network."""
    if world.world_size > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
