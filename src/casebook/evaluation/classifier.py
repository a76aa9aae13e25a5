"""The classifier: a network with its preprocessing and its classes, the one thing in the house that answers.

Evaluation, protocols, explanation, export, prediction and the server all ask through it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.lists import ClassEntry
from ..data.sources import read_class_list
from ..device import autocast, choose_device, choose_precision, tune_allocator
from ..errors import DataError, RunError, WeightsError, did_you_mean
from ..models import create_model, list_models, model_card
from ..models.foreign_names import is_foreign
from ..models.layers import Network
from ..models.weights import load_into, resolve
from ..preprocessing import Preprocessing
from ..runner.answers import BATCH_SIZE, PictureClassifier
from ..runner.bundle import check_alone, is_bundle
from ..runner.engine import Outputs
from ..runner.unsure import Judge
from ..training.run import Run, open_run

BATCH_SIZE_GPU = 256  # pictures

# task -> (B, K) logits to probabilities: of one class among all, or of each class by itself
ACTIVATIONS = {"singlelabel": lambda logits: torch.softmax(logits, 1), "multilabel": torch.sigmoid}


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier(PictureClassifier):
    """A network in evaluation mode with what its inputs and its outputs mean.

    `classes` has a name for each output; `ids` are other names of them, such as WordNet's, or nothing. `run` is the run
    folder it comes from, if it does. `task` is "singlelabel", or "multilabel" with a threshold for each class.
    """

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    class_list: tuple[ClassEntry, ...] | None = None
    run: Run | None = None
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    task: str = "singlelabel"
    thresholds: tuple[float, ...] = ()

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

    def images(self, pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Tensor:
        """(B, C, H, W) float32, normalised, on the network's device, of (H, W, C) uint8 arrays of one size."""
        stacked = torch.from_numpy(np.array(pixels)).to(self.device)
        return self.preprocessing.normalise_tensor(stacked)

    def answers(self, images: Tensor, module: nn.Module | None = None) -> NDArray[np.float32]:
        """(B, C, H, W) normalised images -> (B, num_classes) float32 probabilities, by the task's activation.

        `module` stands for the network where another form of it runs, such as its dense form.
        """
        with torch.inference_mode(), autocast(self.device, self.dtype):
            logits = (module or self.model)(images)
        return ACTIVATIONS[self.task](logits.float()).cpu().numpy()

    def infer(self, pixels: NDArray[np.uint8]) -> Outputs:
        """(B, H, W, C) uint8 -> probabilities, logits and, of a network of ours, the features its last layer sees."""
        with torch.inference_mode(), autocast(self.device, self.dtype):
            logits, features = logits_and_features(self.model, self.images(pixels))
        probabilities = ACTIVATIONS[self.task](logits.float())
        return Outputs(*(value.float().cpu().numpy() for value in (probabilities, logits, features)))

    def judge_for(self, most_wrong: float) -> Judge:
        """The judge whose answers are wrong in at most this share, as the run's validation pictures promise.

        Raises RunError where the classifier is no run, its pictures do not allow the promise, or are not judged yet.
        """
        from .evidence import read_evidence

        if self.run is None:
            raise RunError(f"{self.name} is no run folder: a promise rests on the validation pictures of a run")
        return read_evidence(self.run).judge(most_wrong)


def logits_and_features(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K) logits and (B, F) features: what the last layer sees, a feature map averaged over its pixels.

    F is 0 for a module that is no network of ours.
    """
    if not isinstance(model, Network):
        return model(images), images.new_zeros((len(images), 0))
    features = model.head.features(model.forward_features(images))
    logits = model.head.classifier(model.head.dropout(features))
    return logits, features.mean((2, 3)) if features.ndim == 4 else features


def load(
    model: "str | Path | Classifier",
    *,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    many_labels: bool = False,
) -> Classifier:
    """A classifier from a run folder, a bundle (.casebook), or the name of a network with weights.

    `weights` are a file, a run folder or a published name such as "imagenet"; `classes` is a list (CSV of index, id,
    name) that names the outputs in place of what the weights say. `precision` is "fp32", "bf16" or "auto". A classifier
    is given back as it is. A run with several labels a picture is refused unless the caller takes `many_labels`.

    Raises RunError, WeightsError or DataError for what is neither, or does not fit.
    """
    if isinstance(model, Classifier):
        return _taken(model, many_labels)
    if is_bundle(model):
        from .bundled import load_bundle

        check_alone(model, weights=weights, classes=classes)
        return _taken(load_bundle(model), many_labels)
    tune_allocator()
    chosen, name = choose_device(device), str(model)
    if name in list_models() or (is_foreign(name) and not Path(name).exists()):
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
    classifier = Classifier(
        name, run.network(), run.preprocessing, names, entries, run, chosen, task=run.task, thresholds=run.thresholds
    )
    return _in_precision(_taken(classifier, many_labels), precision)


def _taken(classifier: Classifier, many_labels: bool) -> Classifier:
    if classifier.task == "multilabel" and not many_labels:
        raise RunError(
            f"{classifier.name} gives several labels a picture, and this takes one label a picture; 'casebook "
            "evaluate', 'predict', 'explain' and 'export' take both"
        )
    return classifier


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
