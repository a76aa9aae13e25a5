"""The network for data that none was chosen for: the simplest that suits the pictures and the weights at hand."""

import io
import statistics
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..data.sources import Source, load_source
from ..files import cache_folder
from ..models import model_card
from .recipe import Recipe

NAMED_MODELS = {"digits": "lenet5", "mnist": "lenet5", "fashion_mnist": "lenet5", "cifar10": "resnet20"}
SAMPLE = 50  # pictures whose sizes are read
SMALL_SIDE = 64  # pixels: pictures up to here are no photographs
ENOUGH = 100  # small pictures a class that a small network can learn from without given weights
MOST_TRIED = 10_000  # small pictures that two networks are trained on
PHOTOGRAPHS = "mobilenet_v2"
SMALL = "resnet20"
PACKAGED = "cifar10"  # ResNet-20's weights that come with Casebook


class Default(NamedTuple):
    """What was chosen, and the sentence that says why."""

    model: str
    weights: str
    reason: str
    rival_weights: str = ""
    """Of PHOTOGRAPHS, where these may suit the pictures better: a training will tell."""


def choose_default(recipe: Recipe) -> Default:
    """A network, and weights where they are at hand: nothing is downloaded.

    Raises DataError for data that cannot be read.
    """
    if model := NAMED_MODELS.get(recipe.data):
        return Default(model, recipe.weights, "")
    source = load_source(recipe.data, group_by=recipe.group_by or None, format=recipe.source_format, many_labels=True)
    per_class = min(Counter(label for index in range(len(source)) for label in source.labels_of(index)).values())
    side = _median_side(source)
    if side > SMALL_SIDE:
        if weights := weights_at_hand(PHOTOGRAPHS):
            why = f"photographs ({side} pixels) and ImageNet weights of {PHOTOGRAPHS} at hand"
            return Default(PHOTOGRAPHS, weights, f"chose {PHOTOGRAPHS}: {why}; --model chooses another")
        why = "no ImageNet weights are at hand, so it starts from the CIFAR-10 weights that come with Casebook"
        better = f"--model {PHOTOGRAPHS} --weights imagenet does better on photographs, after a download"
        return Default(SMALL, PACKAGED, f"chose {SMALL}: {why}; {better}")
    rival = weights_at_hand(PHOTOGRAPHS) if len(source) <= MOST_TRIED and source.targets is None else ""
    if per_class < ENOUGH:
        why = f"small pictures ({side} pixels), at least {per_class} a class, too few to start from random weights"
        return Default(
            SMALL, PACKAGED, f"chose {SMALL} with its CIFAR-10 weights: {why}; --model chooses another", rival
        )
    why = f"small pictures ({side} pixels), at least {per_class} a class, enough to start from random weights"
    return Default(SMALL, "", f"chose {SMALL}: {why}; --model chooses another", rival)


def _median_side(source: Source) -> int:
    """The median shorter side in pixels of some pictures, from their headers; 0 where none can be read."""
    if source.arrays is not None:
        return int(min(source.arrays.shape[1:3]))
    sides = []
    for index in range(0, len(source), max(1, len(source) // SAMPLE)):
        try:
            with Image.open(io.BytesIO(source.content(index))) as picture:
                sides.append(min(picture.size))
        except Exception:  # the scan reports what cannot be read
            continue
    return int(statistics.median(sides)) if sides else 0


def weights_at_hand(name: str) -> str:
    """The first published weights of a network that are on this machine already; "" if there are none."""
    import huggingface_hub

    for published in model_card(name).weights:
        if published.packaged:
            continue
        if published.address:
            found = (cache_folder() / "weights" / published.file).is_file()
        else:
            cached = huggingface_hub.try_to_load_from_cache(published.repository, published.file)
            found = isinstance(cached, str) and Path(cached).is_file()
        if found:
            return published.name
    return ""
