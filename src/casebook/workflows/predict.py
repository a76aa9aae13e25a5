"""Predict in one call: a run or a named network, and pictures -> what it sees in each."""

from collections.abc import Iterator
from pathlib import Path

from ..evaluation.classifier import Classifier, load
from ..runner.answers import Answer
from ..runner.reading import Pictures


def predict(
    model: str | Path | Classifier,
    pictures: Pictures,
    *,
    top: int = 5,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 0,
) -> Iterator[Answer]:
    """What a run, or a named network with `weights`, sees in each picture: one answer a picture, in order.

    `pictures` are files, folders (with everything below them), glob patterns and PIL images. A picture that cannot be
    read gets an answer with the reason; the others are answered all the same. The arguments are checked now, the
    pictures read when the answers are asked for.

    Raises RunError, WeightsError, DataError and RecipeError.
    """
    classifier = load(model, weights=weights, classes=classes, device=device)
    return classifier.stream(pictures, top=top, batch_size=batch_size)
