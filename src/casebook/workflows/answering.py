"""What answers batches of pictures for `predict_into`: a classifier in this process, or workers elsewhere.

`ModelFiles` says how to open a classifier, so that another process can open the same. `ModelFacts` is what the files
of answers need to know of it; two classifiers whose facts are equal give the same answers.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ..preprocessing import Preprocessing
from ..runner.answers import Answer, Answerer, PictureClassifier
from ..runner.reading import NamedPicture
from .predict import open_classifier

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """A run, a bundle, or a named network with its weights: the arguments of `casebook.predict` that say which."""

    model: str | Path
    weights: str | Path | None = None
    classes: str | Path | None = None
    device: str = "auto"

    def open(self, *, threads: int = 0) -> PictureClassifier:
        """The classifier; a bundle computes with that many threads. Raises what `casebook.predict` raises."""
        return open_classifier(self.model, self.weights, self.classes, self.device, threads=threads)


Model = str | Path | PictureClassifier | ModelFiles


class Question(NamedTuple):
    """What is asked of every picture."""

    top: int
    unsure: float | None


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What the files of answers need to know of a classifier."""

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    batch_size: int
    """Unless someone says otherwise."""
    has_many_labels: bool
    digest: dict[str, Any]
    """Everything that decides an answer besides the picture, the question and the number of threads."""

    @property
    def has_own_threads(self) -> bool:
        """Whether the number of threads is no matter of ours, as with a bundle's engine."""
        return "engine" in self.digest

    @classmethod
    def of(cls, classifier: PictureClassifier) -> "ModelFacts":
        return cls(
            classifier.name,
            classifier.classes,
            classifier.preprocessing,
            classifier.batch_size,
            bool(classifier.thresholds),
            _digest(classifier),
        )


class Answering(Protocol):
    """Something that answers batches; inside a `with` block."""

    facts: ModelFacts

    def threads(self, batch_size: int, num_pictures: int) -> int:
        """To compute with, unless an earlier call has chosen a number. A bundle's engine has its own."""
        ...

    def answered(self, pictures: Sequence[NamedPicture], batch_size: int, threads: int) -> Iterator[list[Answer]]:
        """The answers in order, in batches of `batch_size`."""
        ...


class Here:
    """A classifier in this process."""

    def __init__(self, classifier: PictureClassifier, question: Question):
        self.classifier, self.question, self.facts = classifier, question, ModelFacts.of(classifier)

    def threads(self, batch_size: int, num_pictures: int) -> int:
        if isinstance(self.classifier, Answerer):
            return 1
        from ..evaluation.classifier import Classifier
        from .threads import choose_asking_threads

        assert isinstance(self.classifier, Classifier)
        return choose_asking_threads([self.classifier], batch_size, num_pictures)

    def answered(self, pictures: Sequence[NamedPicture], batch_size: int, threads: int) -> Iterator[list[Answer]]:
        top, unsure = self.question
        answers = self.classifier.stream(iter(pictures), top=top, batch_size=batch_size, unsure=unsure)
        if not isinstance(self.classifier, Answerer):
            from .threads import each_with_threads

            answers = each_with_threads(threads, answers)
        return batches_of(answers, batch_size)


def batches_of(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one perhaps shorter."""
    left = iter(items)
    while batch := list(itertools.islice(left, size)):
        yield batch


def _digest(classifier: PictureClassifier) -> dict[str, Any]:
    import casebook

    digest: dict[str, Any] = {
        "classes": hashlib.sha256("\0".join(classifier.classes).encode("utf-8", "surrogateescape")).hexdigest(),
        "preprocessing": classifier.preprocessing.to_dict(),
        "casebook": casebook.__version__,
    }
    if isinstance(classifier, Answerer):
        with classifier.bundle.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        return digest | {"model": content, "engine": type(classifier.engine).__name__, "network": classifier.network}

    import torch

    from ..evaluation.classifier import Classifier

    assert isinstance(classifier, Classifier)
    weights = hashlib.sha256()
    for name, value in classifier.model.state_dict().items():
        weights.update(name.encode())
        weights.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    where = {"device": classifier.device.type, "precision": str(classifier.dtype), "torch": torch.__version__}
    return digest | {"model": weights.hexdigest()} | where
