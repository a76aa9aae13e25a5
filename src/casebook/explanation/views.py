"""A network with what its outputs mean, and a picture as it sees it and as a person does."""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import ModelError
from ..evaluation.classifier import ACTIVATIONS, Classifier
from ..formatting import percent_text
from ..preprocessing import Preprocessing
from ..runner.answers import NO_LABEL
from .drawing import as_rgb, enlarged
from .watching import evaluating

PANEL_SIDE = 420  # pixels, about
SMALL_SIDE = 96  # a network that sees less is shown its very pixels


@dataclasses.dataclass(frozen=True)
class View:
    """A picture: its name, what the network is given (1, C, H, W), the same for people, and the answer."""

    name: str
    image: Tensor
    picture: Image.Image
    probabilities: NDArray[np.float32]
    target: int  # the class to explain
    classes: tuple[str, ...]
    given: tuple[int, ...] | None = None  # of several labels those that reach their thresholds

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """From (B, K) logits to probabilities."""
        return ACTIVATIONS["singlelabel" if self.given is None else "multilabel"]

    @property
    def predicted(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def probability(self) -> float:
        return float(self.probabilities[self.target])

    @property
    def answer(self) -> str:
        """tabby: 62.1 %"""
        return f"{self.classes[self.target]}: {percent_text(self.probability)}"

    @property
    def caption(self) -> str:
        """The class that is explained with its probability, and what the network says if that is another."""
        if self.given is not None:
            labels = ", ".join(self.classes[index] for index in self.given)
            return f"{self.answer}; the network gives {labels or NO_LABEL}"
        if self.target == self.predicted:
            return f"{self.answer} (the network's answer)"
        best = self.predicted
        return f"{self.answer}; the network says {self.classes[best]}: {percent_text(self.probabilities[best])}"


def look(classifier: Classifier, picture: Image.Image, name: str, target: int | None = None) -> View:
    """The upright picture as the network sees it, and its answer; `target` is the class to explain, else that."""
    image = classifier.images([classifier.preprocessing.pixels(picture)]).contiguous()
    with evaluating(classifier.model):
        probabilities = classifier.answers(image)[0]
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{classifier.name} gives no numbers for {name}; are its weights damaged?")
    target = int(probabilities.argmax()) if target is None else target
    shown = displayed(classifier.preprocessing, picture)
    return View(name, image, shown, probabilities, target, classifier.classes, classifier.given(probabilities))


def displayed(preprocessing: Preprocessing, picture: Image.Image) -> Image.Image:
    """What the network sees of a picture, enlarged for people; taken from the picture itself where that is sharper."""
    size = preprocessing.size
    times = max(1, round(PANEL_SIDE / size))
    if size < SMALL_SIDE:
        return enlarged(as_rgb(preprocessing.pixels(picture)), (times * size, times * size))
    return as_rgb(dataclasses.replace(preprocessing, size=min(4096, times * size)).pixels(picture))
