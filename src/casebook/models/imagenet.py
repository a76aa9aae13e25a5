"""The 1,000 classes of ImageNet-1k, in the order of the outputs of its networks."""

from collections import Counter
from functools import cache
from importlib.resources import files
from typing import NamedTuple

NUM_CLASSES = 1000


class ImageNetClass(NamedTuple):
    wnid: str  # of WordNet, such as "n04004767"; the classes are sorted by it
    name: str  # such as "printer"; two names belong to two classes each


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """WordNet id and English name of every class; the index is the network's output."""
    lines = files("casebook.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(ImageNetClass(*line.split(" ", 1)) for line in lines)


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """Unique names: "crane" and "maillot", which two classes share, are followed by the WordNet id."""
    shared = Counter(one.name for one in imagenet_classes())
    return tuple(f"{name} ({wnid})" if shared[name] > 1 else name for wnid, name in imagenet_classes())
