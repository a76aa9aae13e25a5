"""Reduction: pictures of any size -> a bounded size, before crops are cut from them."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def reduce_pixels(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) uint8 -> (H, W, C), its shorter side reduced to `side`."""
    return resized(pixels, reduced_size((pixels.shape[1], pixels.shape[0]), side))


def reduced_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) with the shorter side reduced to `side`; never enlarged."""
    width, height = size
    short = min(width, height)
    if short <= side:
        return width, height
    return max(1, round(width * side / short)), max(1, round(height * side / short))


def resized(pixels: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, C) at (width, height).

    Below a factor of 2, which is all that scaled decoding leaves, linear interpolation misses no pixel and costs an
    eighth of an area mean.
    """
    height, width = pixels.shape[:2]
    if (width, height) != target:
        gentle = width < 2 * target[0] and height < 2 * target[1]
        resized: Any = cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR if gentle else cv2.INTER_AREA)
        pixels = resized
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
