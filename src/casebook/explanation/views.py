"""A network with what its outputs mean, and a picture as it sees it and as a person does."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..errors import ModelError, did_you_mean
from ..formatting import percent_text
from ..preprocessing import Preprocessing
from .drawing import as_rgb, enlarged
from .watching import evaluating

PANEL_SIDE = 420  # pixels, about
SMALL_SIDE = 96  # a network that sees less is shown its very pixels


@dataclasses.dataclass(frozen=True)
class Subject:
    """The network to look into. `ids` are other names of the classes, such as WordNet's, or empty."""

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    ids: tuple[str, ...] = ()
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        side = self.preprocessing.size
        return self.preprocessing.channels, side, side

    def class_index(self, name: str) -> int:
        """The output of a class that is named, or given by its id or number. Raises ModelError for an unknown one."""
        for names in (self.classes, self.ids):
            if names.count(name) == 1:
                return names.index(name)
        if name.isascii() and name.isdigit() and int(name) < len(self.classes):
            return int(name)
        if name in self.classes:
            raise ModelError(f"{self.classes.count(name)} classes are called {name!r}; give the number of one, from 0")
        shown = f"{', '.join(self.classes[:10])}{' ...' if len(self.classes) > 10 else ''}"
        raise ModelError(f"unknown class {name!r}{did_you_mean(name, self.classes) or ';'} {self.name} knows {shown}")

    def images(self, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(B, C, H, W) float32, normalised, on the network's device, of what `Preprocessing.pixels` gives."""
        stacked = torch.from_numpy(np.stack(pixels)).to(self.device)
        return self.preprocessing.normalise_tensor(stacked).contiguous()


@dataclasses.dataclass(frozen=True)
class View:
    """A picture: its name, what the network is given (1, C, H, W), the same for people, and the answer."""

    name: str
    image: Tensor
    picture: Image.Image
    probabilities: NDArray[np.float32]
    target: int  # the class to explain
    classes: tuple[str, ...]

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
        if self.target == self.predicted:
            return f"{self.answer} (the network's answer)"
        best = self.predicted
        return f"{self.answer}; the network says {self.classes[best]}: {percent_text(self.probabilities[best])}"


def look(subject: Subject, picture: Image.Image, name: str, target: int | None = None) -> View:
    """The upright picture as the network sees it, and its answer; `target` is the class to explain, else that."""
    image = subject.images([subject.preprocessing.pixels(picture)])
    with evaluating(subject.network), torch.inference_mode():
        logits = subject.network(image)
        probabilities = torch.softmax(logits.float(), 1)[0].cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{subject.name} gives no numbers for {name}; are its weights damaged?")
    target = int(probabilities.argmax()) if target is None else target
    shown = displayed(subject.preprocessing, picture)
    return View(name, image, shown, probabilities, target, subject.classes)


def displayed(preprocessing: Preprocessing, picture: Image.Image) -> Image.Image:
    """What the network sees of a picture, enlarged for people; taken from the picture itself where that is sharper."""
    size = preprocessing.size
    times = max(1, round(PANEL_SIDE / size))
    if size < SMALL_SIDE:
        return enlarged(as_rgb(preprocessing.pixels(picture)), (times * size, times * size))
    return as_rgb(dataclasses.replace(preprocessing, size=min(4096, times * size)).pixels(picture))
