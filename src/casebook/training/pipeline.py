"""Pictures kept between epochs and runs: a recipe and data -> the form that crops are cut from, and where it lies.

Prepared pictures are used by themselves where that pays: for large photographs (LARGE times the prepared pixels, so
that decoding costs far more than reading) that do not fit into the memory set aside for pictures, when the whole
source fits into `prepared_gib` and into half of the disk's free space, and more than one epoch is to come. A file
that is there already, made by `casebook data prepare` or an earlier run, is always used. None of this changes a result:
raw prepared pictures are the pixels that decoding gives. A smaller side or JPEG does, so these are settings of the
recipe, and hold for pictures that have just been decoded as well.
"""

import dataclasses
from collections.abc import Sequence

from ..augmentation.policy import Policy
from ..data.crops import CropSettings
from ..data.datasets import PictureData
from ..data.prepared import (
    GIB,
    LARGE,
    Layout,
    StoredFormat,
    find_prepared,
    open_prepared,
    stored_format,
)
from ..data.scan import PictureFacts
from ..device import free_memory_bytes
from ..errors import RecipeError, RunError
from ..formatting import size_text
from ..preprocessing import Preprocessing
from ..progress import Remark, Reporter
from .distributed import World
from .recipe import Recipe

DISK_SHARE = 0.5  # of the free space may go to pictures that nobody asked to prepare


def choose_format(recipe: Recipe, preprocessing: Preprocessing) -> StoredFormat:
    """What the recipe has crops cut from.

    Raises RecipeError for pictures that would be smaller than the network's input.
    """
    if 0 < recipe.prepared_side < preprocessing.size:
        raise RecipeError(
            f"prepared_side is {recipe.prepared_side}, but the network takes {preprocessing.size} pixels; "
            f"expected {preprocessing.size} or more, or 0 for {preprocessing.decode_side}"
        )
    return stored_format(preprocessing, recipe.prepared_side, "jpeg" if recipe.prepared == "jpeg" else "raw")


def choose_crops(
    recipe: Recipe,
    data: PictureData,
    preprocessing: Preprocessing,
    policy: Policy,
    epochs: int,
    world: World,
    report: Reporter,
) -> CropSettings:
    """The format that the recipe asks for, with prepared pictures where there are some or they are worth making.

    Raises RecipeError for pictures that would be smaller than the network's input.
    """

    def say(text: str) -> None:
        report(Remark(text))

    format = choose_format(recipe, preprocessing)
    crops = CropSettings(data.sizes, format)
    if recipe.prepared == "off":
        return crops
    if data.source.arrays is not None or not policy.crops_source:
        if recipe.prepared != "auto":
            why = (
                "this policy cuts no crops from them"
                if data.source.arrays is None
                else "they are in memory as they are"
            )
            say(f"prepared = {recipe.prepared!r} has no effect on these pictures: {why}")
        return crops
    facts = data.scan.facts
    prepared = find_prepared(data.source, facts, format)
    if prepared is None:
        share = recipe.memory_share * len(data.split.train) / (len(data.split.train) + len(data.split.val))
        memory_bytes = share * free_memory_bytes() / world.world_size
        if recipe.prepared == "auto" and not worth_preparing(facts, data.split.train, format, memory_bytes, epochs):
            return crops
        budget_bytes = recipe.prepared_gib * GIB
        try:
            prepared = open_prepared(data.source, facts, format, budget_bytes=budget_bytes, disk_share=DISK_SHARE)
        except RunError as error:
            say(f"{error}; every picture is decoded anew in each epoch")
            return crops
        say(
            f"pictures are decoded once and kept in {prepared.path} ({size_text(prepared.layout.size_bytes)} "
            "when complete); --set prepared=off prevents that"
        )
    prepared.say = say
    return dataclasses.replace(crops, prepared=prepared)


def worth_preparing(
    facts: Sequence[PictureFacts], indices: Sequence[int], form: StoredFormat, memory_bytes: float, epochs: int
) -> bool:
    """Whether keeping the pictures of `indices` on disk pays: they are large, memory cannot hold them, and they are
    read more than once."""
    layout = Layout([facts[i] for i in indices], form)
    pixels = sum(facts[i].width * facts[i].height for i in indices)
    return epochs > 1 and layout.raw_bytes > memory_bytes and pixels * form.channels >= LARGE * layout.raw_bytes > 0
