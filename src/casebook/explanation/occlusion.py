"""What happens when a part of the picture is hidden.

Source: Zeiler and Fergus, ECCV 2014, section 4.2 and figure 7, https://arxiv.org/abs/1311.2901.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError
from ..evaluation.classifier import ACTIVATIONS
from ..training.cores import each_by_one_core
from .watching import check_class, evaluating


class Occlusion(NamedTuple):
    """What a grey square does to a class wherever it lies.

    `tops` and `lefts` are its places in pixels; `probabilities` (rows, columns) what the class keeps there, `winners`
    the class that is then the most probable. `drop` (H, W) is, for each pixel, the mean loss of probability over the
    squares that cover it: above 0 where the pixel speaks for the class. `probability` is the whole picture's.
    """

    square: int
    stride: int
    probability: float
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    probabilities: NDArray[np.float32]
    winners: NDArray[np.int64]
    drop: NDArray[np.float32]

    @property
    def most_lost(self) -> float:
        """The largest loss of probability that one square causes; 0 when none does."""
        return max(0.0, self.probability - float(self.probabilities.min()))

    @property
    def most_gained(self) -> float:
        """The largest gain of probability that one square causes; 0 when none does."""
        return max(0.0, float(self.probabilities.max()) - self.probability)

    @property
    def said(self) -> tuple[str, str]:
        """The square and its effect in words, the same on every page and sheet."""
        lost, gained = (f"{100 * share:.1f}" for share in (self.most_lost, self.most_gained))
        return (
            f"a grey square of {self.square} pixels, every {self.stride}",
            f"one square takes away up to {lost} points, adds up to {gained}",
        )


def occlusion(
    network: nn.Module,
    image: Tensor,
    class_index: int,
    *,
    square: int | None = None,
    stride: int | None = None,
    fill: float = 0.0,
    batch_size: int = 16,
    activation: Callable[[Tensor], Tensor] = ACTIVATIONS["singlelabel"],
) -> Occlusion:
    """Slides a square over a picture (1, C, H, W) and asks for the class each time, up to `batch_size` squares at once.

    `square` is its side in pixels, by default a seventh of the shorter side; `stride` is the step, by default half the
    square. The last square of a row or column is flush with the edge, so every pixel is covered. `fill` is a
    normalised value: 0 is the mean of the network's pictures, a grey. `activation` turns (B, K) logits into
    probabilities.

    Raises ModelError for a square or stride that does not fit, or an unknown class.
    """
    height, width = image.shape[2:]
    square = default_square(image) if square is None else square
    stride = max(1, square // 2) if stride is None else stride
    if not 1 <= square <= min(height, width):
        raise ModelError(f"the square is {square} pixels, expected 1 to {min(height, width)}, the picture's side")
    if not 1 <= stride <= square:
        raise ModelError(f"the stride is {stride} pixels, expected 1 to {square}, the square's side, or gaps stay")
    tops, lefts = _places(height, square, stride), _places(width, square, stride)
    places = [(top, left) for top in tops for left in lefts]
    if image.device.type == "cpu":
        batch_size = min(batch_size, math.ceil(len(places) / torch.get_num_threads()))  # or some cores would have none
    parts = [places[first : first + batch_size] for first in range(0, len(places), batch_size)]

    def answered(part: list[tuple[int, int]]) -> Tensor:
        # Channels last: half the time on a CPU, where convolutions like it so.
        hidden = image[:1].repeat(len(part), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        for picture, (top, left) in zip(hidden, part, strict=True):
            picture[:, top : top + square, left : left + square] = fill
        with torch.inference_mode():
            return activation(network(hidden).float()).cpu()

    with evaluating(network):
        with torch.inference_mode():
            logits = network(image[:1])
        check_class(class_index, logits)
        whole = activation(logits.float())[0, class_index].item()
        answers = torch.cat(list(each_by_one_core(answered, parts, image.device))).numpy()
    drops, covers = np.zeros((height, width)), np.zeros((height, width))
    for (top, left), answer in zip(places, answers, strict=True):
        drops[top : top + square, left : left + square] += whole - answer[class_index]
        covers[top : top + square, left : left + square] += 1
    grid = (len(tops), len(lefts))
    return Occlusion(
        square=square,
        stride=stride,
        probability=whole,
        tops=tops,
        lefts=lefts,
        probabilities=answers[:, class_index].reshape(grid),
        winners=answers.argmax(1).reshape(grid),
        drop=(drops / covers).astype(np.float32),
    )


def default_square(image: Tensor) -> int:
    """A seventh of the shorter side of (1, C, H, W), in pixels."""
    return max(1, round(min(image.shape[2:]) / 7))


def _places(side: int, square: int, stride: int) -> tuple[int, ...]:
    last = side - square
    return tuple(sorted({*range(0, last + 1, stride), last}))
