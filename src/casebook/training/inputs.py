"""How a network with given weights sees pictures: at how many pixels, and what of each one. Heads on features decide.

A picture of 32 pixels that is blown up to 224 is a blur such as the network has hardly seen. At 128 pixels its edges
are as sharp as those of photographs, and each pass of the network takes a third of the time. So smaller sizes are
compared. Of those within noise of the best, the smallest is taken.

Published weights see a central square, which leaves out the ends of a wide or tall picture. That suits photographs with
their object in the middle; a scratch at the end of a part is lost. Where only a head learns, the ways of making a
square are compared, and that of the weights stays within noise. What heads gain by it says little about fine-tuning,
which sees other crops in each epoch.

All comparisons are by cross-validation on training pictures.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import PictureData
from ..errors import DataError
from ..models import model_card
from ..preprocessing import RESIZES, Preprocessing, Resize
from ..progress import Remark, Reporter
from .distributed import gather_from_all
from .feeds import extractor_of
from .logistic import least_losses
from .noise import within_noise
from .plan import SMALL_INPUT, Plan, median_side_of, sets_of
from .recipe import Recipe

SHARES = (4 / 7, 5 / 7)  # of the network's own size: 128 and 160 of 224 pixels
STEP = 32  # pixels: networks halve their input five times
MOST_COMPARED = 1000  # training pictures
SQUARE = 1.05  # median of longer side / shorter side up to which no ends are lost, so no other way is tried
NAMES = {"input_size": "input size", "resize": "way of resizing"}
SEEN = {"shorter": "the central square", "squash": "all, squashed to a square", "letterbox": "all, between bars"}

Losses = NDArray[np.float64]


class InputTrial(NamedTuple):
    """Heads on features of differently prepared pictures, compared in cross-validation."""

    setting: str
    """Of the recipe: "input_size", pixels, or "resize", how pictures become square."""
    taken: Any
    losses: dict[Any, float]
    """Value of the setting -> mean log loss."""
    num_pictures: int
    median_side: int

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"losses": {str(value): round(loss, 5) for value, loss in self.losses.items()}}

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees."""
        how = f"heads on {self.num_pictures} training pictures have in cross-validation a log loss of"
        if self.setting == "resize":
            others = ", ".join(f"{loss:.3f} with {name}" for name, loss in self.losses.items())
            return (
                f"of each picture the network sees {SEEN[self.taken]} ({self.taken}): {how} {others}; --resize changes "
                "that"
            )
        others = ", ".join(f"{loss:.3f} at {size}" for size, loss in self.losses.items())
        return (
            f"the network sees the pictures at {self.taken}x{self.taken}: their median shorter side is "
            f"{self.median_side} pixels, and {how} {others} pixels; --input-size changes that"
        )


def sizes_to_try(recipe: Recipe, preprocessing: Preprocessing, median_side: int) -> list[int]:
    """The sizes in pixels, rising, the network's own last; only that one where there is nothing to choose.

    `median_side` is that of the pictures' shorter sides. At a smaller size, too, the pictures must not be reduced: what
    heads on frozen features do not miss may be what fine-tuning would learn from.
    """
    card, own = model_card(recipe.model), preprocessing.size
    takes_others = not card.fixed_input and card.family != "yours"  # a module from elsewhere may take one size alone
    if recipe.input_size or recipe.policy != "auto" or not takes_others:
        return [own]
    least = max(SMALL_INPUT + 1, card.smallest_input)
    smaller = {round(share * own / STEP) * STEP for share in SHARES}
    keeps = {size for size in smaller if dataclasses.replace(preprocessing, size=size).resize_side >= median_side}
    return [*sorted(size for size in keeps if least <= size < own), own]


def resizes_to_try(recipe: Recipe, preprocessing: Preprocessing, data: PictureData) -> list[Resize]:
    """The ways of making a square, that of the weights first; only that one where there is nothing to choose."""
    own = preprocessing.resize
    sides = np.array([data.sizes[index] for index in data.split.train])
    is_square = float(np.median(sides.max(1) / np.maximum(1, sides.min(1)))) <= SQUARE
    if recipe.resize != "auto" or recipe.policy != "auto" or is_square:
        return [own]
    return [own, *(one for one in RESIZES if one != own)]


def try_sizes(plan: Plan, report: Reporter) -> InputTrial | None:
    """The size that suits these pictures; None where there is nothing to choose, or too few pictures to tell.

    Process 0 does the work.
    """
    sizes = sizes_to_try(plan.recipe, plan.setup.preprocessing, median_side_of(plan.data))
    return _tried(plan, "input_size", {size: {"size": size} for size in sizes}, report)


def try_resizes(plan: Plan, report: Reporter) -> InputTrial | None:
    """The same for the way of making a square."""
    ways = resizes_to_try(plan.recipe, plan.setup.preprocessing, plan.data)
    return _tried(plan, "resize", {way: {"resize": way} for way in ways}, report)


def prepared_as(plan: Plan, trial: InputTrial) -> Plan:
    """The same plan with pictures prepared as the trial says."""
    return _prepared(plan, {"size" if trial.setting == "input_size" else trial.setting: trial.taken})


def _prepared(plan: Plan, changes: dict[str, Any]) -> Plan:
    preprocessing = dataclasses.replace(plan.setup.preprocessing, **changes)
    return dataclasses.replace(plan, setup=dataclasses.replace(plan.setup, preprocessing=preprocessing))


def _tried(plan: Plan, setting: str, ways: dict[Any, dict[str, Any]], report: Reporter) -> InputTrial | None:
    """`ways` are values of the setting with what they change in the preprocessing.

    Of those within noise of the best the first is taken.
    """
    found = None
    if plan.world.is_first and len(ways) > 1:
        tried = ", ".join(str(value) for value in ways)
        report(Remark(f"heads on some of the pictures first tell which {NAMES[setting]} suits them: {tried}"))
        try:
            losses, sets = _compared(plan, ways, report)
        except DataError:  # too few pictures for cross-validation
            pass
        else:
            means = {value: float(of_value.mean()) for value, of_value in losses.items()}
            best = losses[min(means, key=lambda value: means[value])]
            taken = next(value for value, of_value in losses.items() if within_noise(of_value - best, sets))
            found = InputTrial(setting, taken, means, len(best), median_side_of(plan.data))
    return gather_from_all(found, plan.world)[0]


def _compared(
    plan: Plan, ways: dict[Any, dict[str, Any]], report: Reporter
) -> tuple[dict[Any, Losses], NDArray[np.int64]]:
    """The losses of heads for each way, and for each picture the number of its set."""
    data, recipe = plan.data, plan.recipe
    chosen = np.array(data.split.train)
    if len(chosen) > MOST_COMPARED:
        chosen = np.sort(np.random.default_rng(recipe.seed).permutation(chosen)[:MOST_COMPARED])
    found = {
        value: extractor_of(_prepared(plan, changes), report)(data.source, chosen.tolist(), data.scan.contents)
        for value, changes in ways.items()
    }
    first, *others = (of_value.indices for of_value in found.values())
    if not all(np.array_equal(first, other) for other in others):
        raise DataError("pictures have become unreadable")
    labels, sets = data.source.truth(first), sets_of(data, recipe, first.tolist())
    losses = {
        value: least_losses(of_value.values[:, 0], labels, sets, seed=recipe.seed) for value, of_value in found.items()
    }
    return losses, sets
