"""A step: batches -> the gradient of their mean loss -> one step of the optimiser."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..augmentation.mixing import partners
from ..data.loader import Inputs
from ..device import accumulation_dtype, autocast
from ..errors import RecipeError
from ..models.temporary import overwriting_activations
from .depthwise import spreading_gradients
from .distributed import ALONE, World, has_divided
from .objective import objective_for
from .optimise import WeightAverage, load_optimiser, make_optimiser, parameter_groups
from .recipe import Recipe

# Of a batch that a CPU fine-tunes on: more leave its caches and take more memory (docs/benchmarks.md).
PICTURES_AT_ONCE = 16

Part = tuple[str, nn.Module, float]  # name, module, rate scale


@dataclasses.dataclass(frozen=True)
class Phase:
    """One stretch of a training with its own learning parts and learning-rate schedule.

    `module` is called on the inputs and gives logits (B, num_classes); by default it is the network itself. `start`
    puts it into training mode, except for what is frozen. `number` counts the phases of a training from 0.
    """

    epochs: int
    name: Literal["train", "head", "tune"] = "train"
    module: nn.Module | None = None
    parts: Sequence[Part] | None = None
    start: Callable[[], object] | None = None
    dtype: torch.dtype = torch.float32
    number: int = 0


class Stepper:
    """Turns batches into optimiser steps: the module, its optimiser and the average of its weights, for one phase.

    Raises RecipeError when nothing in the phase's parts can learn.
    """

    def __init__(
        self,
        network: nn.Module,
        phase: Phase,
        recipe: Recipe,
        device: torch.device,
        world: World = ALONE,
        class_weights: Tensor | None = None,
    ):
        self.network, self.phase, self.recipe, self.device, self.world = network, phase, recipe, device, world
        self.class_weights = class_weights
        parts = [("network", network, 1.0)] if phase.parts is None else phase.parts
        groups = parameter_groups(parts, weight_decay=recipe.weight_decay, decay_all=recipe.decay_all)
        if not groups:
            names = " and ".join(name for name, _, _ in parts)
            raise RecipeError(
                f"the {names} of this network has no weights to learn; use another transfer, such as full"
            )
        self.optimiser = make_optimiser(groups, recipe)
        self.average = WeightAverage(network, recipe.ema_decay) if recipe.ema_decay else None
        self.module: Any = phase.module or network
        self.norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self.start = phase.start or self.module.train
        self.is_divided = has_divided(network)
        if world.world_size > 1 and not self.is_divided:
            ids = [device.index] if device.type == "cuda" else None
            self.module = nn.parallel.DistributedDataParallel(self.module, device_ids=ids)
        if recipe.compile:
            self.module = torch.compile(self.module)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        state: dict[str, Any] = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        if self.average is not None:
            state |= {"average": self.average.state, "average_updates": self.average.updates}
        return state

    def load(self, state: dict[str, Any]) -> None:
        load_optimiser(self.optimiser, state["optimiser"])
        if self.average is not None:
            self.average.load(state["average"], state["average_updates"])

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Inside, activations are overwritten where that is safe, and slow gradients are replaced by faster ones."""
        with overwriting_activations(self.network), contextlib.ExitStack() as stack:
            if not self.recipe.compile:
                stack.enter_context(spreading_gradients(self.network, self.device, self.phase.dtype))
            yield

    def step(self, batches: Iterator[Inputs], sizes: Sequence[int], rate: float) -> Tensor:
        """One optimiser step over `len(sizes)` batches at a learning rate; gives (sum of losses, pictures), detached.

        `sizes` are the pictures of each batch, all processes together.
        """
        for settings in self.optimiser.param_groups:
            settings["lr"] = rate * settings["scale"]
        sums: Tensor | None = None
        for place in range(len(sizes)):
            batch = next(batches)
            waits = self.world.world_size > 1 and not self.is_divided and place < len(sizes) - 1
            with self.module.no_sync() if waits else contextlib.nullcontext():
                found = self._backward(batch, sum(sizes))
            sums = found if sums is None else sums + found
        if self.recipe.clip_norm:
            weights = [weight for settings in self.optimiser.param_groups for weight in settings["params"]]
            nn.utils.clip_grad_norm_(weights, self.recipe.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.network)
        assert sums is not None
        return sums

    def _backward(self, batch: Inputs, count: int) -> Tensor:
        """Adds the gradient of the mean loss over `count` pictures; gives (sum of losses, pictures), detached."""
        inputs = batch.inputs.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        is_empty = not len(labels)  # not one picture of this process's part could be read
        if is_empty and self.world.world_size == 1:
            return torch.zeros(2, dtype=accumulation_dtype(self.device), device=self.device)
        with contextlib.ExitStack() as stack:
            if is_empty:  # the other processes wait for a gradient: zeros, which must not move any statistics
                stack.enter_context(_norms_in_evaluation(self.module))
                inputs, labels = inputs.new_zeros((2, *inputs.shape[1:])), labels.new_zeros((2, *labels.shape[1:]))
            mixed = None if batch.own_share is None or is_empty else partners(labels)
            totals = []
            for piece in self._pieces(len(labels)):
                with autocast(self.device, self.phase.dtype):
                    outputs = self.module(inputs[piece])
                losses = self._losses(outputs, labels[piece])
                if mixed is not None and batch.own_share is not None:
                    own_share = batch.own_share[piece]
                    losses = own_share * losses + (1 - own_share) * self._losses(outputs, mixed[piece])
                total = losses.sum() * (0.0 if is_empty else 1.0)
                (total * (self.world.world_size / count)).backward()
                totals.append(total.detach())
            total = torch.stack(totals).sum()
        sums = torch.stack([total, total.new_tensor(0 if is_empty else len(labels))])
        return sums.to(accumulation_dtype(self.device))

    def _pieces(self, count: int) -> list[slice]:
        """The pieces of a batch of `count` pictures that pass through the network one after another.

        The gradient of a batch is the sum over its pieces, unless a batch norm looks at the whole batch.
        """
        in_pieces = self.phase.name == "tune" and self.device.type == "cpu" and self.world.world_size == 1
        if not in_pieces or self.recipe.compile or any(norm.training for norm in self.norms):
            return [slice(0, count)]
        return [slice(first, min(first + PICTURES_AT_ONCE, count)) for first in range(0, count, PICTURES_AT_ONCE)]

    def _losses(self, outputs: Tensor | tuple[Tensor, list[Tensor]], labels: Tensor) -> Tensor:
        """(B,) the loss of each picture. Those of auxiliary heads are added with the network's weight for them, and the
        class weights apply to the whole."""
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        objective = objective_for(labels)
        losses = objective.losses(logits.float(), labels, self.recipe)
        for extra in auxiliary:
            loss = objective.losses(extra.float(), labels, self.recipe)
            losses = losses + self.network.auxiliary_weight * loss  # type: ignore[operator]
        return objective.of_pictures(losses, labels, self.class_weights)


@contextlib.contextmanager
def _norms_in_evaluation(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms use their statistics and do not change them."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
