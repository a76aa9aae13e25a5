"""For a channel, the nine pictures that excite it most: what they have in common is what it looks for.

Source: Zeiler and Fergus, ECCV 2014, figure 2, https://arxiv.org/abs/1311.2901.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError
from .deconvnet import Projection, project
from .watching import as_map, evaluating, run

NUM_PATCHES = 9


class Excitement(NamedTuple):
    """(pictures, channels): the largest value of each channel of a layer in each picture."""

    layer: str
    largest: NDArray[np.float32]


def excitement(network: nn.Module, layer: str, batches: Iterable[Tensor]) -> Excitement:
    """Runs over normalised pictures (B, C, H, W) and keeps what excites each channel.

    Raises ModelError for an unknown layer.
    """
    rows = []
    with evaluating(network), torch.no_grad():
        for images in batches:
            _, kept = run(network, images, [layer])
            rows.append(as_map(kept[layer], layer, network).flatten(2).amax(2).float().cpu().numpy())
    if not rows:
        raise ModelError("there is no picture that could excite a channel")
    return Excitement(layer, np.concatenate(rows))


def choose_channels(found: Excitement, num_channels: int) -> list[int]:
    """The pickiest channels: those whose nine largest values stand out most, in standard deviations over all pictures.

    Where there are no more than nine pictures, those with the largest mean. Channels that nothing excites come last.
    """
    largest = found.largest.astype(np.float64)
    best = -np.sort(-largest, axis=0)[:NUM_PATCHES].mean(0)
    if len(largest) > NUM_PATCHES:
        deviation = largest.std(0)
        score = np.divide(best - largest.mean(0), deviation, out=np.zeros_like(best), where=deviation > 0)
    else:
        score = best
    score = np.where(best > 0, score, -np.inf)
    return np.argsort(-score, kind="stable")[:num_channels].tolist()


def top_pictures(found: Excitement, channel: int) -> list[int]:
    """The rows of the nine pictures that excite the channel most, or of all if there are fewer; strongest first."""
    if not 0 <= channel < found.largest.shape[1]:
        raise ModelError(
            f"channel {channel} is asked for, but {found.layer!r} has {found.largest.shape[1]} channels, from 0"
        )
    return np.argsort(-found.largest[:, channel], kind="stable")[:NUM_PATCHES].tolist()


def top_patches(
    network: nn.Module, found: Excitement, channels: Sequence[int], image: Callable[[int], Tensor], *,
    rule: str = "deconvnet",
) -> list[list[tuple[int, Projection]]]:  # fmt: skip
    """For each channel, (picture, its strongest unit projected down) of its nine pictures.

    `image` gives a picture (1, C, H, W) again by its row.
    """
    return [
        [
            (row, project(network, image(row), found.layer, [channel], rule=rule)[0])
            for row in top_pictures(found, channel)
        ]
        for channel in channels
    ]
