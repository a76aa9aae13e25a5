"""Predict in one call: a run, a bundle or a named network, and pictures -> what it sees in each."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..runner.answers import Answer, PictureClassifier, open_answerer
from ..runner.bundle import check_alone, is_bundle
from ..runner.reading import NamedPicture, Picture, Pictures, named_pictures

if TYPE_CHECKING:
    from ..data.pictures import Source

SIZED = (str, Path, list, tuple)  # pictures that can be counted before they are read; of others, each may take its time


def predict(
    model: str | Path | PictureClassifier,
    pictures: Pictures,
    *,
    top: int = 5,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 0,
    unsure: float | None = None,
) -> Iterator[Answer]:
    """What a run, a bundle, or a named network with `weights`, sees in each picture: one answer a picture, in order.

    `pictures` are files, folders (with everything below them), sets of shards (folders or addresses), glob patterns and
    PIL images. A picture that cannot be
    read gets an answer with the reason; the others are answered all the same. With `unsure`, such as 0.01, the run says
    "unsure" wherever needed so that of its answers at most this share is wrong. The arguments are checked now, the
    pictures read when the answers are asked for.

    Raises RunError, BundleError, WeightsError, DataError and RecipeError.
    """
    classifier = open_classifier(model, weights, classes, device)
    pictures = with_shards(pictures)
    answers = classifier.stream(pictures, top=top, batch_size=batch_size, unsure=unsure)
    if not hasattr(classifier, "model"):  # a bundle has threads of its own
        return answers

    from ..evaluation.classifier import Classifier
    from .threads import choose_asking_threads, each_with_threads

    assert isinstance(classifier, Classifier)
    num_pictures = sum(1 for _ in named_pictures(pictures)) if isinstance(pictures, SIZED) else 1
    at_once = min(batch_size or classifier.batch_size, max(1, num_pictures))
    return each_with_threads(choose_asking_threads([classifier], at_once, num_pictures), answers)


def with_shards(pictures: Pictures) -> Pictures:
    """The same pictures, with those of each set of shards in its place, in the order of its index."""
    from ..data.shards import is_shard_set, read_shards

    given = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    if not any(is_shard_set(one) for one in given):
        return pictures
    found: list[Picture] = []
    for one in given:
        if not isinstance(one, str | Path) or not is_shard_set(one):
            found.append(one)  # type: ignore[arg-type]
            continue
        source = read_shards(one)
        found += [NamedPicture(one.name, get=_InShards(source, row)) for row, one in enumerate(source.pictures)]
    return found


class _InShards:
    """Gets the content of a picture in shards. Another process reads the index again, once."""

    def __init__(self, source: "Source", row: int):
        self.source, self.row = source, row

    def __call__(self) -> bytes:
        return self.source.content(self.row)

    def __reduce__(self) -> tuple:
        return _in_shards, (self.source.name, self.row)


def _in_shards(given: str, row: int) -> _InShards:
    return _InShards(_opened_shards(given), row)


@functools.cache
def _opened_shards(given: str) -> "Source":
    from ..data.shards import read_shards

    return read_shards(given)


def open_classifier(
    model: str | Path | PictureClassifier,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    *,
    threads: int = 0,
) -> PictureClassifier:
    """What answers. A bundle does so without torch, which takes a second to load; code inside it is never run here.

    `threads` are those that a bundle's engine computes with; 0 chooses.
    """
    if isinstance(model, PictureClassifier):
        return model
    if is_bundle(model):
        check_alone(model, weights=weights, classes=classes)
        return open_answerer(model, threads=threads)

    from ..evaluation.classifier import load

    return load(model, weights=weights, classes=classes, device=device, many_labels=True)
