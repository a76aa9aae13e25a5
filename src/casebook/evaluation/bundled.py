"""A bundle as a classifier: what asks a network of torch can ask a bundle's ONNX network as well."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runner.answers import Answerer
from ..runner.bundle import Bundle
from ..runner.engine import Outputs
from ..runner.unsure import Judge
from .classifier import Classifier


class BundleNetwork(nn.Module):
    """(B, H, W, C) uint8 pixels -> (B, K) logits, computed by the bundle's engine. It has no layers to look into."""

    def __init__(self, answerer: Answerer):
        super().__init__()
        self.answerer = answerer

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self.answerer.infer(pixels.numpy()).logits)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BundleClassifier(Classifier):
    """A bundle that answers like the run it was made from. `model` is its network, and takes pixels."""

    model: BundleNetwork

    @property
    def ids(self) -> tuple[str, ...]:
        return self.model.answerer.ids

    @property
    def judge(self) -> Judge | None:  # type: ignore[override]
        return self.model.answerer.judge

    def judge_for(self, most_wrong: float) -> Judge:
        return self.model.answerer.judge_for(most_wrong)

    def images(self, pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Tensor:
        """(B, H, W, C) uint8: the pixels themselves, since the network normalises them."""
        return torch.from_numpy(np.array(pixels))

    def infer(self, pixels: NDArray[np.uint8]) -> Outputs:
        return self.model.answerer.infer(pixels)


def load_bundle(path: str | Path) -> BundleClassifier:
    """The bundle's float32 network by onnxruntime, whatever `bench` chose, so that figures are the same everywhere.

    Raises BundleError for a file that is no bundle, or is damaged.
    """
    answerer = Answerer(Bundle.open(path))
    return BundleClassifier(
        answerer.name, BundleNetwork(answerer), answerer.preprocessing, answerer.classes, task=answerer.bundle.task,
        thresholds=answerer.thresholds,
    )  # fmt: skip
