"""How a network with given weights sees pictures: what of each one, and at how many pixels. Heads on features decide.

Published weights see a central square, which leaves out the ends of a wide or tall picture. That suits photographs with
their object in the middle; a scratch at the end of a part is lost. So the ways of making a square are compared first.
Where another one is taken, crops for training take most of a picture, so that it shows things as large as evaluation
does, and whole.

A picture of 32 pixels that is blown up to 224 is a blur such as the network has hardly seen. At 128 pixels its edges
are as sharp as those of photographs, and each pass of the network takes a third of the time. So smaller sizes are
compared next. Of those within noise of the best, the smallest is taken.

All comparisons are by cross-validation on training pictures.
"""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..augmentation.policy import Pair
from ..data.datasets import PictureData
from ..data.duplicates import duplicates
from ..data.split import numbers_of_tied
from ..device import ThreadTuner
from ..errors import DataError
from ..models import model_card
from ..preprocessing import RESIZES, Preprocessing, Resize
from ..progress import Remark, Reporter
from .distributed import gather_from_all
from .feeds import extractor_of
from .logistic import least_losses, within_noise
from .plan import SMALL_INPUT, Plan, median_side_of
from .recipe import Recipe
from .trials import GENTLE_AREA

SHARES = (4 / 7, 5 / 7)  # of the network's own size: 128 and 160 of 224 pixels
STEP = 32  # pixels: networks halve their input five times
MOST_COMPARED = 1000  # training pictures
EASY = 0.1  # log loss of a head below which no other way of resizing is tried: there is little to gain
SQUARE = 1.05  # median of longer side / shorter side up to which no ends are lost, so no other way is tried
SEEN = {"shorter": "the central square", "squash": "all, squashed to a square", "letterbox": "all, between bars"}

Losses = NDArray[np.float64]
Way = TypeVar("Way")


class InputTrial(NamedTuple):
    """Heads on features of differently prepared pictures, compared in cross-validation."""

    resize: Resize
    """How pictures become square; what was chosen."""
    size: int
    """Pixels; what was chosen."""
    resizes: dict[str, float]
    """Way of resizing -> mean log loss, at the smallest of the sizes."""
    sizes: dict[int, float]
    """Size -> mean log loss, with the chosen way of resizing."""
    num_pictures: int
    median_side: int
    crop_area: Pair | None = None
    """Share of a picture that crops for training take, where that was changed with the way of resizing."""

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {
            "resizes": {name: round(loss, 5) for name, loss in self.resizes.items()},
            "sizes": {str(size): round(loss, 5) for size, loss in self.sizes.items()},
        }

    @property
    def changes(self) -> dict[str, Any]:
        """What this changes in the recipe."""
        return {"resize": self.resize} | ({"crop_area": self.crop_area} if self.crop_area else {})

    @property
    def reasons(self) -> list[str]:
        """The sentences that a reader of the run sees."""
        found, how = [], f"heads on {self.num_pictures} training pictures have in cross-validation a log loss of"
        if len(self.resizes) > 1:
            others = ", ".join(f"{loss:.3f} with {name}" for name, loss in self.resizes.items())
            crops = f", and crops for training take at least {self.crop_area[0]:.0%} of it" if self.crop_area else ""
            found.append(
                f"of each picture the network sees {SEEN[self.resize]} ({self.resize}){crops}: {how} {others}; "
                "--resize changes that"
            )
        if len(self.sizes) > 1:
            others = ", ".join(f"{loss:.3f} at {size}" for size, loss in self.sizes.items())
            found.append(
                f"the network sees the pictures at {self.size}x{self.size}: their median shorter side is "
                f"{self.median_side} pixels, and {how} {others} pixels; --input-size changes that"
            )
        return found


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


def resizes_to_try(recipe: Recipe, preprocessing: Preprocessing, data: PictureData) -> list[Resize]:
    """The ways of making a square, that of the weights first; only that one where there is nothing to choose."""
    own = preprocessing.resize
    sides = np.array([data.sizes[index] for index in data.split.train])
    is_square = float(np.median(sides.max(1) / np.maximum(1, sides.min(1)))) <= SQUARE
    if recipe.resize != "auto" or recipe.policy != "auto" or is_square:
        return [own]
    return [own, *(one for one in RESIZES if one != own)]


def try_inputs(plan: Plan, report: Reporter) -> InputTrial | None:
    """What suits these pictures; None where there is nothing to choose, or too few pictures to tell.

    Process 0 does the work.
    """
    recipe, preprocessing, found = plan.recipe, plan.setup.preprocessing, None
    sizes = sizes_to_try(recipe, preprocessing, median_side_of(plan.data))
    resizes = resizes_to_try(recipe, preprocessing, plan.data)
    if plan.world.is_first and len(sizes) + len(resizes) > 2:
        tried = listed(sizes, resizes)
        report(Remark(f"heads on some of the pictures first tell how the network should see them: {tried}"))
        try:
            found = _compared(plan, sizes, resizes, report)
        except DataError:  # too few pictures for cross-validation
            found = None
    return gather_from_all(found, plan.world)[0]


def listed(sizes: list[int], resizes: list[Resize]) -> str:
    """What is tried, in words."""
    tried = [f"by {' or '.join(resizes)}"] if len(resizes) > 1 else []
    tried += [f"at {' or '.join(str(size) for size in sizes)} pixels"] if len(sizes) > 1 else []
    return ", ".join(tried)


def prepared_as(plan: Plan, *, size: int, resize: Resize) -> Plan:
    """The same plan with a network that sees pictures of `size` pixels, made square by `resize`."""
    preprocessing = dataclasses.replace(plan.setup.preprocessing, size=size, resize=resize)
    return dataclasses.replace(plan, setup=dataclasses.replace(plan.setup, preprocessing=preprocessing))


def _first_within_noise(losses: dict[Way, Losses]) -> Way:
    """The first of those whose losses are within noise of the least."""
    if len({len(of_way) for of_way in losses.values()}) > 1:
        raise DataError("pictures have become unreadable")
    best = min(losses.values(), key=lambda of_way: float(of_way.mean()))
    return next(way for way, of_way in losses.items() if within_noise(of_way - best))


def _compared(plan: Plan, sizes: list[int], resizes: list[Resize], report: Reporter) -> InputTrial:
    data, recipe = plan.data, plan.recipe
    chosen = np.array(data.split.train)
    if len(chosen) > MOST_COMPARED:
        chosen = np.sort(np.random.default_rng(recipe.seed).permutation(chosen)[:MOST_COMPARED])
    copies = duplicates(data.scan, data.source, near=recipe.near_duplicates)

    def losses_of(size: int, resize: Resize) -> Losses:
        extractor = extractor_of(prepared_as(plan, size=size, resize=resize), report, ThreadTuner())
        found = extractor(data.source, chosen.tolist(), data.scan.contents)
        groups = numbers_of_tied(data.source, copies, found.indices.tolist())
        return least_losses(found.values[:, 0], data.source.truth(found.indices), groups, seed=recipe.seed)

    of_resizes: dict[Resize, Losses] = {resizes[0]: losses_of(sizes[0], resizes[0])}
    if of_resizes[resizes[0]].mean() >= EASY:
        of_resizes |= {resize: losses_of(sizes[0], resize) for resize in resizes[1:]}
    resize = _first_within_noise(of_resizes)
    of_sizes = {size: of_resizes[resize] if size == sizes[0] else losses_of(size, resize) for size in sizes}
    size = _first_within_noise(of_sizes)
    return InputTrial(
        resize,
        size,
        {name: float(losses.mean()) for name, losses in of_resizes.items()},
        {one: float(losses.mean()) for one, losses in of_sizes.items()},
        len(of_sizes[size]),
        median_side_of(data),
        GENTLE_AREA if resize != resizes[0] and recipe.crop_area is None else None,
    )
