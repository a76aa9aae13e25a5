"""Network -> optimiser: which weights decay, at which rate each stage learns, and their running average."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

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


class WeightAverage:
    """The exponential moving average of a network's weights and statistics, in float32.

    The decay starts low, min(decay, (1 + n) / (10 + n)) after n updates, so early random weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: nn.Module) -> None:
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        with torch.no_grad():
            current = network.state_dict()
            names = [name for name, value in current.items() if value.is_floating_point()]
            own, new = [self.state[name] for name in names], [current[name] for name in names]
            torch._foreach_lerp_(own, new, weight)  # pyright: ignore[reportPrivateImportUsage]
            for name, value in current.items():
                if not value.is_floating_point():
                    self.state[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.state)

    def load(self, state: Mapping[str, Tensor], updates: int) -> None:
        for name, value in state.items():
            self.state[name].copy_(value)
        self.updates = updates
