"""Transfer learning: which parts of a network with given weights learn, how fast, and from what.

The strategies of the case studies: a new head on a frozen backbone whose features are computed once; the last K
stages unfrozen; everything. Stages with given weights learn more slowly than a new head.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from ..errors import RecipeError
from ..models.weights import NEW_AUXILIARY_HEADS, NEW_LAST_LAYER
from .recipe import Recipe

FEW, MANY = 500, 2000  # training pictures of each class: below FEW the head alone, from MANY on everything


class Choice(NamedTuple):
    """A resolved strategy: "none", "head", "last:K" or "full", and the sentence that says why."""

    strategy: str
    reason: str


def choose_transfer(recipe: Recipe, pictures_per_class: float) -> Choice:
    """What learns without a measurement: as the recipe says, or the rule of thumb for so many training pictures."""
    if recipe.transfer != "auto":
        return Choice(recipe.transfer, "as the recipe says")
    if not recipe.weights:
        return Choice("none", "no weights are given, so every weight is learnt from random values")
    count = f"{pictures_per_class:.0f} training pictures a class"
    if recipe.two_phase and pictures_per_class < MANY:
        return Choice("last:2", f"two phases and {count}: after the head, the last two stages adapt")
    if pictures_per_class < FEW:
        return Choice("head", f"{count}, fewer than {FEW}: a new head on frozen features; more weights would overfit")
    if pictures_per_class < MANY:
        return Choice("last:2", f"{count}, {FEW} to {MANY}: enough to adapt the last two stages, not all of them")
    return Choice("full", f"{count}, at least {MANY}: enough to fine-tune every stage")


def parts(network: Any, strategy: str, recipe: Recipe) -> list[tuple[str, nn.Module, float]]:
    """(name, module, rate scale) of the parts that learn, head first.

    Raises RecipeError when last:K asks for more stages than there are.
    """
    stages = list(network.stages)
    head: tuple[str, nn.Module, float] = ("head", network.head, 1.0)
    if strategy == "none":
        return [("network", network, 1.0)]
    if strategy == "head":
        return [("head", network.head.classifier, 1.0)]  # what comes before it is part of the cached features
    learning = stages
    if strategy.startswith("last:"):
        count = int(strategy.removeprefix("last:"))
        if count > len(stages):
            raise RecipeError(f"transfer is 'last:{count}', but the network has {len(stages)} stages; use full")
        learning = stages[len(stages) - count :]
    scale = recipe.backbone_scale
    chosen: list[tuple[str, nn.Module, float]] = [head]
    for number, stage in reversed(list(enumerate(stages))[len(stages) - len(learning) :]):
        chosen.append((f"stage {number + 1}", stage, scale))
        scale *= recipe.stage_decay
    if strategy == "full":
        chosen.append(("stem", network.stem, scale))
    if len(network.auxiliary):
        chosen.append(("auxiliary heads", network.auxiliary, 1.0))
    return chosen


def after_training(notes: Sequence[str], strategy: str) -> list[str]:
    """The notes from loading the weights, as they read when the training is over.

    The head alone ("head") trains no auxiliary heads, so these stay untrained.
    """
    auxiliary = NEW_AUXILIARY_HEADS if strategy == "head" else "the auxiliary heads were new and trained here"
    ends = {NEW_AUXILIARY_HEADS: auxiliary}
    return [ends.get(note, note.replace(NEW_LAST_LAYER, "was replaced and trained here")) for note in notes]


class Frozen:
    """Keeps everything outside the learning parts as it is, weights and batch-norm statistics, to the bit.

    `folded_norms`: the given weights carry no batch-norm statistics (folded into scale and bias), so the norms of the
    learning parts keep theirs as well; their scale and bias still learn.
    """

    def __init__(self, network: nn.Module, learning: list[tuple[str, nn.Module, float]], folded_norms: bool = False):
        self.network = network
        learnt = {id(module) for _, part, _ in learning for module in part.modules()}
        weights = {id(weight) for _, part, _ in learning for weight in part.parameters()}
        for weight in network.parameters():
            weight.requires_grad_(id(weight) in weights)
        self.fixed = [m for m in network.modules() if id(m) not in learnt and not _holds(m, learnt)]
        if folded_norms:
            self.fixed += [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def train(self) -> None:
        """Training mode for what learns, evaluation mode for the rest."""
        self.network.train()
        for module in self.fixed:
            module.eval()


def _holds(module: nn.Module, learnt: set[int]) -> bool:
    return any(id(child) in learnt for child in module.modules())
