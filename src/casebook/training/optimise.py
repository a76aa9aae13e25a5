"""Network -> optimiser: which weights decay, at which rate each stage learns, and their running average."""

import inspect
from collections.abc import Callable, Iterable
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


# What torch keeps out of a compiled program.
for _method in ("state_dict", "load_state_dict", "zero_grad", "add_param_group"):
    _plain = inspect.unwrap(getattr(torch.optim.Optimizer, _method))
    vars(_plain).setdefault("__dynamo_disable", _plain)  # the name under which torch/_compile.py looks for it


def _eager(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step of one of torch's optimisers without its wrapper, which imports torch's compiler.

    We never compile an optimiser, and the import takes longer than the training of a head on cached features.
    """
    return torch.no_grad()(inspect.unwrap(step))


class _AdamW(torch.optim.AdamW):
    step = _eager(torch.optim.AdamW.step)


class _SGD(torch.optim.SGD):
    step = _eager(torch.optim.SGD.step)


def make_optimiser(groups: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return _AdamW(groups, lr=recipe.learning_rate, fused=True)
    return _SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)


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
