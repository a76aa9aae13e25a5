"""Network -> optimiser: which weights decay, at which rate each stage learns, and their running average."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .recipe import Recipe


def parameter_groups(
    parts: Iterable[tuple[str, nn.Module, float]], *, weight_decay: float, decay_all: bool
) -> list[dict]:
    """Optimiser groups for (name, module, rate scale) parts; frozen weights are left out.

    Norms and biases (all weights of one dimension) do not decay unless `decay_all`.
    """
    groups: list[dict] = []
    seen: set[int] = set()
    for name, module, scale in parts:
        weights = [w for w in module.parameters() if w.requires_grad and id(w) not in seen]
        seen.update(id(w) for w in weights)
        for suffix, members, decay in (
            ("weights", [w for w in weights if w.ndim > 1], weight_decay),
            ("norms and biases", [w for w in weights if w.ndim <= 1], weight_decay if decay_all else 0.0),
        ):
            if members:
                groups.append({"params": members, "name": f"{name} {suffix}", "scale": scale, "weight_decay": decay})
    return groups


def make_optimiser(groups: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


def weight_average(network: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a network's weights and statistics, which starts at the network itself.

    The decay starts low, min(decay, (1 + n) / (10 + n)) after n updates, so early random weights are forgotten.
    """

    def move(averages: Any, current: Any, _: Tensor | int) -> None:
        if not averages[0].is_floating_point():
            for own, new in zip(averages, current, strict=True):
                own.copy_(new)
            return
        updates = int(average.n_averaged) - 1  # this one lies on the CPU: reading it makes no GPU wait
        weight = 1 - min(decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(averages, current, weight)  # pyright: ignore[reportPrivateImportUsage]

    average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
    average.n_averaged += 1  # it holds the network already; else the first update would copy and not average
    return average
