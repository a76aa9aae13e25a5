"""The classifier: a network with its preprocessing and its classes, the one thing in the house that answers.

Evaluation, protocols, explanation, export, prediction and the server all ask through it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.lists import ClassEntry
from ..data.sources import read_class_list
from ..device import autocast, choose_device, choose_precision, tune_allocator
from ..errors import DataError, ModelError, PictureError, RunError, WeightsError, did_you_mean
from ..formatting import percent_text
from ..models import create_model, list_models, model_card
from ..models.weights import load_into, resolve
from ..preprocessing import Preprocessing
from ..training.run import Run, open_run
from .reading import Pictures, Reading, named_pictures, read_ahead

BATCH_SIZE = 32  # pictures on a CPU
BATCH_SIZE_GPU = 256


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a classifier says of one picture: classes with their probabilities, the most probable first.

    `error` says why a picture could not be read; it has no classes then.
    """

    picture: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    @property
    def best(self) -> str | None:
        """The most probable class; None where the picture could not be read."""
        return self.classes[0][0] if self.classes else None

    @property
    def probability(self) -> float:
        """Of the most probable class; 0 where the picture could not be read."""
        return self.classes[0][1] if self.classes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The keys that `predict --json` prints."""
        if self.error is not None:
            return {"picture": self.picture, "error": self.error}
        named = [{"class": name, "probability": probability} for name, probability in self.classes]
        return {"picture": self.picture, "predictions": named}

    def __str__(self) -> str:
        said = self.error or ", ".join(f"{name} {percent_text(share, 2)}" for name, share in self.classes)
        return f"{self.picture}: {said}"


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A network in evaluation mode with what its inputs and its outputs mean.

    `classes` has a name for each output; `ids` are other names of them, such as WordNet's, or nothing. `run` is the run
    folder it comes from, if it does.
    """

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    class_list: tuple[ClassEntry, ...] | None = None
    run: Run | None = None
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        self.model.to(self.device).eval()

    @property
    def ids(self) -> tuple[str, ...]:
        """The other name of each output, from the class list; empty without one."""
        return tuple(entry.id for entry in self.class_list or ())

    @property
    def batch_size(self) -> int:
        """How many pictures go through the network at a time, unless someone says otherwise."""
        return BATCH_SIZE if self.device.type == "cpu" else BATCH_SIZE_GPU

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        side = self.preprocessing.size
        return self.preprocessing.channels, side, side

    def __repr__(self) -> str:
        return f"Classifier({self.name!r}, {len(self.classes)} classes, {self.preprocessing.size} px, {self.device})"

    def with_model(self, model: nn.Module) -> "Classifier":
        """The same with another network of the same inputs and outputs, such as one with other weights."""
        return dataclasses.replace(self, model=model)

    def images(self, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(B, C, H, W) float32, normalised, on the network's device, of (H, W, C) uint8 arrays of one size."""
        stacked = torch.from_numpy(np.stack(pixels)).to(self.device)
        return self.preprocessing.normalise_tensor(stacked)

    def answers(self, images: Tensor, module: nn.Module | None = None) -> NDArray[np.float32]:
        """(B, C, H, W) normalised images -> (B, num_classes) float32 probabilities. The one softmax of the house.

        `module` stands for the network where another form of it runs, such as its dense form.
        """
        with torch.inference_mode(), autocast(self.device, self.dtype):
            logits = (module or self.model)(images)
        return torch.softmax(logits.float(), 1).cpu().numpy()

    def probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, num_classes) of N pictures: files, folders, patterns, PIL images, or one of these.

        Raises PictureError for the first picture that cannot be read.
        """
        rows = []
        for picture, row in self._rows(pictures):
            if isinstance(row, str):
                raise PictureError(picture, row)
            rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def predict(self, pictures: Pictures, *, top: int = 5) -> list[Answer]:
        """One answer for each picture, in order; see `stream` for pictures that do not fit into a list."""
        return list(self.stream(pictures, top=top))

    def stream(self, pictures: Pictures, *, top: int = 5, batch_size: int = 0) -> Iterator[Answer]:
        """One answer after the other, while later pictures are being read.

        Pictures that cannot be read are answered with the reason. Raises DataError at once for an impossible `top`.
        """
        if top < 1:
            raise DataError(f"top is {top}, expected 1 or more classes")
        return self._stream(pictures, top, batch_size)

    def _stream(self, pictures: Pictures, top: int, batch_size: int) -> Iterator[Answer]:
        for picture, row in self._rows(pictures, batch_size):
            if isinstance(row, str):
                yield Answer(picture, error=row)
                continue
            best = np.argsort(-row, kind="stable")[:top]
            yield Answer(picture, tuple((self.classes[i], float(row[i])) for i in best))

    def _rows(self, pictures: Pictures, batch_size: int = 0) -> Iterator[tuple[str, NDArray[np.float32] | str]]:
        """(name, probabilities or the reason why there are none) of each picture, in order."""
        waiting: list[Reading] = []
        readings = read_ahead(named_pictures(pictures), self.preprocessing)
        for reading in readings:
            waiting.append(reading)
            if len(waiting) == (batch_size or self.batch_size):
                yield from self._answered(waiting)
                waiting = []
        yield from self._answered(waiting)

    def _answered(self, readings: Sequence[Reading]) -> Iterator[tuple[str, NDArray[np.float32] | str]]:
        good = [reading.pixels for reading in readings if reading.pixels is not None]
        rows = iter(self.answers(self.images(good)) if good else ())
        for reading in readings:
            if reading.pixels is None:
                yield reading.name, reading.error
                continue
            row = next(rows)
            if not np.isfinite(row).all():
                raise WeightsError(f"{self.name} gives no numbers for {reading.name}; its weights are damaged")
            yield reading.name, row

    def class_index(self, name: str) -> int:
        """The output of a class given by its name, its id or its number. Raises ModelError for an unknown one."""
        for names in (self.classes, self.ids):
            if names.count(name) == 1:
                return names.index(name)
        if name.isascii() and name.isdigit() and int(name) < len(self.classes):
            return int(name)
        if name in self.classes:
            raise ModelError(f"{self.classes.count(name)} classes are called {name!r}; give the number of one, from 0")
        shown = f"{', '.join(self.classes[:10])}{' ...' if len(self.classes) > 10 else ''}"
        raise ModelError(f"unknown class {name!r}{did_you_mean(name, self.classes) or ';'} {self.name} knows {shown}")


def load(
    model: "str | Path | Classifier",
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Classifier:
    """A classifier from a run folder, or from the name of a network with weights.

    `weights` are a file, a run folder or a published name such as "imagenet"; `classes` is a list (CSV of index, id,
    name) that names the outputs in place of what the weights say. `precision` is "fp32", "bf16" or "auto". A classifier
    is given back as it is.

    Raises RunError, WeightsError or DataError for what is neither, or does not fit.
    """
    if isinstance(model, Classifier):
        return model
    tune_allocator()
    chosen, name = choose_device(device), str(model)
    if name in list_models():
        return _in_precision(_named(name, weights, classes, chosen), precision)
    if not Path(model).exists() and "/" not in name:
        suggestion = did_you_mean(name, list_models()) or ";"
        raise RunError(
            f"there is no run folder and no network {name!r}{suggestion} 'casebook models' lists the networks"
        )
    run = open_run(model)
    if weights is not None:
        raise WeightsError(f"{model} is a run folder and has weights of its own; leave out --weights")
    entries = _class_list(classes, len(run.classes))
    names = run.classes if entries is None else tuple(entry.name for entry in entries)
    return _in_precision(Classifier(name, run.network(), run.preprocessing, names, entries, run, chosen), precision)


def _in_precision(classifier: Classifier, precision: str) -> Classifier:
    dtype = choose_precision(precision, classifier.device, classifier.preprocessing.size)
    return dataclasses.replace(classifier, dtype=dtype)


def _named(name: str, weights: str | Path | None, classes: str | Path | None, device: torch.device) -> Classifier:
    if weights is None:
        raise WeightsError(f"{name} is a network's name; add --weights, or give a run folder")
    found = resolve(weights, name)
    network = create_model(name, num_classes=found.num_classes, **found.options)
    load_into(network, found, replace_head=False)
    entries = _class_list(classes, found.num_classes)
    if entries is not None:
        names = tuple(entry.name for entry in entries)
    else:
        names = found.classes or tuple(str(i) for i in range(found.num_classes))
    preprocessing = found.preprocessing or model_card(name).preprocessing
    return Classifier(name, network, preprocessing, tuple(names), entries, None, device)


def _class_list(path: str | Path | None, num_outputs: int) -> tuple[ClassEntry, ...] | None:
    """The entries of a class list in the order of the outputs that they name."""
    if path is None:
        return None
    entries = read_class_list(path)
    if len(entries) != num_outputs:
        raise DataError(f"{path} lists {len(entries)} classes, but the weights have {num_outputs} outputs")
    return entries
