"""Network -> optimiser: which weights decay, at which rate each stage learns, and their running average."""

import functools
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .distributed import is_divided, laid_out_like, own_part
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
    # torch 2.13 has no fused SGD for divided weights
    fused = not any(is_divided(weight) for group in groups for weight in group["params"])
    if recipe.optimiser == "adamw":
        return _without_compiler(torch.optim.AdamW)(groups, lr=recipe.learning_rate, fused=fused)
    return _without_compiler(torch.optim.SGD)(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
    )


@functools.cache
def _without_compiler(optimiser: type[torch.optim.Optimizer]) -> Any:
    """The same optimiser with methods that do not import torch's compiler.

    torch imports it, which takes a second, to keep it away from these methods. Casebook compiles the network alone, so
    the compiler never comes near them.
    """
    guarded = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in guarded}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimiser.step))
    return type(optimiser.__name__, (optimiser,), methods)


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts the state of an optimiser, whole tensors, into one whose weights may be divided otherwise."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    fused = optimiser.defaults["fused"]
    optimiser.load_state_dict(
        {
            "state": {
                place: {name: laid_out_like(value, weights[place]) if value.shape == weights[place].shape else value
                        for name, value in of_weight.items()}
                for place, of_weight in state["state"].items()
            },
            "param_groups": [group | {"fused": fused} for group in state["param_groups"]],
        }
    )  # fmt: skip


class WeightAverage:
    """The exponential moving average of a network's weights and statistics, which starts at the network itself.

    The decay starts low, min(decay, (1 + n) / (10 + n)) after n updates, so early random weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: nn.Module) -> None:
        """Moves the average towards the network's present weights."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[Tensor] = []
        current: list[Tensor] = []
        for name, value in network.state_dict().items():
            average = own_part(self.state[name])
            if average.is_floating_point():
                averages.append(average)
                current.append(own_part(value))
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, current, weight)  # pyright: ignore[reportPrivateImportUsage]
        self.updates += 1

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Goes on from a checkpoint, which holds whole tensors."""
        self.updates = updates
        for name, average in self.state.items():
            average.copy_(laid_out_like(state[name], average))
