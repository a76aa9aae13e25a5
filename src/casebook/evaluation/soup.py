"""Runs of one network -> one network whose weights are the average of theirs.

Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022, https://arxiv.org/abs/2203.05482: the uniform soup, and the greedy one
(recipe 1), which takes a run in, from the best on, where that does not lower the validation accuracy. The paper
averages fine-tunings of one pre-trained network; networks from different random starts seldom lie in one valley.

Averaged weights have other activations than any of the runs, so batch norm's statistics are computed again from
training pictures (Izmailov et al., "Averaging Weights Leads to Wider Optima", UAI 2018, section 3.2), except where all
runs agree on them, as when they were frozen.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import RunError
from .classifier import Classifier

NORM_PICTURES = 2048  # training pictures that batch norm's statistics are computed from

State = dict[str, Tensor]


def check_alike(members: Sequence[Classifier]) -> list[str]:
    """Remarks on runs that can be averaged. Raises RunError for those that are not one network of one kind."""
    first = members[0]
    for member in members:
        if member.run is None or first.run is None:
            raise RunError(f"{member.name} is no run folder; a soup is made of runs")
    models = [member.run.model for member in members if member.run]
    for member, model in zip(members, models, strict=True):
        for key in ("architecture", "options", "classes", "preprocessing"):
            if model[key] != models[0][key]:
                raise RunError(
                    f"{member.name} and {first.name} differ in their {key} ({_short(model[key])} and "
                    f"{_short(models[0][key])}); a soup averages runs of one network, an ensemble takes any"
                )
    starts = {str((model.get("source_weights") or {}).get("sha256")) for model in models}
    if starts == {"None"} or len(starts) > 1:
        return [
            "the runs did not start from the same weights; soups are made for fine-tunings of one network, and the "
            "average of others seldom works"
        ]
    return []


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:80] + "..."


def average_state(states: Sequence[State]) -> State:
    """The mean of the states, computed in float64 on the CPU; what is no float is the first one's."""
    return {
        name: torch.stack([state[name].cpu().double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in states[0].items()
    }


def blended(
    network: nn.Module, states: Sequence[State], batches: Callable[[], Iterable[Tensor]] | None
) -> tuple[nn.Module, list[str]]:
    """`network` with the average of the states as its weights, and remarks.

    `batches` gives training pictures as the network takes them, on its device, or is None where there are none.
    """
    averaged = average_state(states)
    network.load_state_dict(averaged)
    network.eval()
    moved = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        and module.running_mean is not None
        and any(not torch.equal(state[f"{name}.running_mean"], states[0][f"{name}.running_mean"]) for state in states)
    ]
    if not moved:
        return network, []
    if batches is None:
        return network, [
            f"the statistics of {len(moved)} batch norms are the plain average of the runs', for there are no training "
            "pictures to compute them from; the soup may be better than this"
        ]
    for _, module in moved:
        module.reset_running_stats()
        module.momentum = None  # the plain mean over all batches
        module.train()
    seen = 0
    with torch.inference_mode():
        for images in batches():
            network(images)
            seen += len(images)
    network.eval()
    return network, [f"the statistics of {len(moved)} batch norms were computed again from {seen} training pictures"]


def greedy(order: Sequence[int], score: Callable[[Sequence[int]], float]) -> tuple[list[int], float]:
    """The places taken in, from the first of `order` on, each where the score of the soup does not fall by it."""
    taken = [order[0]]
    best = score(taken)
    for place in order[1:]:
        new = score([*taken, place])
        if new >= best:
            taken, best = [*taken, place], new
    return taken, best
