"""The size at which a network with given weights sees small pictures: chosen by heads on features of several sizes.

A picture of 32 pixels that is blown up to 224 is a blur such as the network has hardly seen. At 128 pixels its edges
are as sharp as those of photographs, and each pass of the network takes a third of the time. How far this goes depends
on the pictures, so heads are compared in cross-validation on training pictures. Of the sizes within noise of the best,
the smallest is taken.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.duplicates import duplicates
from ..data.split import numbers_of_tied
from ..device import ThreadTuner
from ..errors import DataError
from ..models import model_card
from ..preprocessing import Preprocessing
from ..progress import Remark, Reporter
from .distributed import gather_from_all
from .feeds import extractor_of
from .logistic import least_losses, within_noise
from .plan import SMALL_INPUT, Plan, median_side_of
from .recipe import Recipe

SHARES = (4 / 7, 5 / 7)  # of the network's own size: 128 and 160 of 224 pixels
STEP = 32  # pixels: networks halve their input five times
MOST_COMPARED = 1000  # training pictures


class SizeTrial(NamedTuple):
    """Heads on features of several sizes, compared in cross-validation."""

    size: int
    """Pixels; what was chosen."""
    losses: dict[int, float]
    """Size -> mean log loss."""
    num_pictures: int
    median_side: int

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"losses": {str(size): round(loss, 5) for size, loss in self.losses.items()}}

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees."""
        others = ", ".join(f"{loss:.3f} at {size}" for size, loss in self.losses.items())
        return (
            f"the network sees the pictures at {self.size}x{self.size}: their median shorter side is "
            f"{self.median_side} pixels, and heads on {self.num_pictures} training pictures have in cross-validation a "
            f"log loss of {others} pixels; --input-size changes that"
        )


def sizes_to_try(recipe: Recipe, preprocessing: Preprocessing, median_side: int) -> list[int]:
    """The sizes in pixels, rising, the network's own last; only that one where there is nothing to choose.

    `median_side` is that of the pictures' shorter sides.
    """
    card, own = model_card(recipe.model), preprocessing.size
    is_magnified = preprocessing.resize_side > median_side
    takes_others = not card.fixed_input and card.family != "yours"  # a module from elsewhere may take one size alone
    if recipe.input_size or recipe.policy != "auto" or not takes_others or not is_magnified:
        return [own]
    least = max(SMALL_INPUT + 1, card.smallest_input)
    smaller = {round(share * own / STEP) * STEP for share in SHARES}
    return [*sorted(size for size in smaller if least <= size < own), own]


def try_sizes(plan: Plan, report: Reporter) -> SizeTrial | None:
    """The size that suits these pictures; None where there is nothing to choose, or too few pictures to tell.

    Process 0 does the work.
    """
    sizes = sizes_to_try(plan.recipe, plan.setup.preprocessing, median_side_of(plan.data))
    found = None
    if len(sizes) > 1 and plan.world.is_first:
        listed = f"{', '.join(str(size) for size in sizes[:-1])} and {sizes[-1]}"
        report(Remark(f"the pictures are small, so the network first sees some of them at {listed} pixels"))
        try:
            found = _compared(plan, sizes, report)
        except DataError:  # too few pictures for cross-validation
            found = None
    return gather_from_all(found, plan.world)[0]


def at_size(plan: Plan, size: int) -> Plan:
    """The same plan with a network that sees pictures at `size` pixels."""
    preprocessing = dataclasses.replace(plan.setup.preprocessing, size=size)
    return dataclasses.replace(plan, setup=dataclasses.replace(plan.setup, preprocessing=preprocessing))


def _compared(plan: Plan, sizes: Sequence[int], report: Reporter) -> SizeTrial:
    data, recipe = plan.data, plan.recipe
    chosen = np.array(data.split.train)
    if len(chosen) > MOST_COMPARED:
        chosen = np.sort(np.random.default_rng(recipe.seed).permutation(chosen)[:MOST_COMPARED])
    copies = duplicates(data.scan, data.source, near=recipe.near_duplicates)
    losses: dict[int, NDArray[np.float64]] = {}
    for size in sizes:
        extractor = extractor_of(at_size(plan, size), report, ThreadTuner())
        found = extractor(data.source, chosen.tolist(), data.scan.contents)
        groups = numbers_of_tied(data.source, copies, found.indices.tolist())
        labels = data.source.truth(found.indices)
        losses[size] = least_losses(found.values[:, 0], labels, groups, seed=recipe.seed)
    if len({len(of_size) for of_size in losses.values()}) > 1:
        raise DataError("pictures have become unreadable")
    means = {size: float(of_size.mean()) for size, of_size in losses.items()}
    best = min(means, key=lambda size: means[size])
    taken = next(size for size in sizes if within_noise(losses[size] - losses[best]))
    return SizeTrial(taken, means, len(losses[best]), median_side_of(data))
