"""Mixing: pictures of one batch blended with their neighbours, and their labels in the same shares.

The partner of a picture is the next one of its batch; that of the last is the first. Shares and boxes are sampled for
each picture on its own, but its partner depends on the batch, and so on its size and the number of processes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def mixing_table(parameters: NDArray[Any]) -> Tensor:
    """(B, 5) float32 of (B,) PARAMETERS: the share of the picture itself under mixup, and the box under cutmix."""
    return torch.from_numpy(np.concatenate([parameters["mixup"][:, None], parameters["cutmix"]], 1).astype(np.float32))


def mix(images: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) and a mixing_table on the same device -> the mixed images, and (B,) float32: each one's own share
    of its label; the rest belongs to the label of its partner, `partners(labels)`.

    Mixup (Zhang et al., ICLR 2018, equation 1): share x own + (1 - share) x partner. CutMix (Yun et al., ICCV 2019,
    equation 1): the partner's pixels inside the box, and the own share is what lies outside it.
    """
    share, box = table[:, 0], table[:, 1:]
    height, width = images.shape[2:]
    weight = share.view(-1, 1, 1, 1).to(images.dtype)
    column = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    line = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    left, top, across, down = (box[:, place].view(-1, 1, 1, 1) for place in range(4))
    inside = (column >= left) & (column < left + across) & (line >= top) & (line < top + down)
    weight = weight * ~inside
    own = share * (1 - box[:, 2] * box[:, 3] / (height * width))
    return torch.lerp(partners(images), images, weight), own


def partners(rows: Tensor) -> Tensor:
    """(B, ...) -> the same, each row replaced by its partner."""
    return rows.roll(-1, 0)
