"""Augmentation: (seed, epoch, picture) -> a crop and perhaps a mirror image of the picture.

Drawing and applying are separate pure functions: the numbers drawn for a picture depend on (seed, epoch, index)
alone, never on its batch or on the worker that reads it, so they can be printed, replayed and fixed in a test.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..preprocessing import RESAMPLING, Preprocessing

DRAWS = 5  # uniform numbers used for one picture: area, shape, horizontal and vertical place, mirror


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to a training picture.

    `crop="resized"`: a box of `area` (share of the picture) and `ratio` (width / height) is brought to the
    network's size (Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6).
    `crop="padded"`: the preprocessed picture is moved by up to `padding` pixels (He et al., CVPR 2016, section 4.2).
    `mirror`: the left-right mirror image in half of the cases; wrong for digits and letters.
    """

    crop: Literal["none", "resized", "padded"] = "none"
    mirror: bool = False
    area: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    padding: int = 4


class Crop(NamedTuple):
    """A box in the picture's pixels, right and bottom exclusive, and whether its mirror image is taken."""

    left: int
    top: int
    right: int
    bottom: int
    mirror: bool


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function: neighbouring integers -> unrelated ones (Steele et al., OOPSLA 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) picture indices -> (N, DRAWS) numbers, uniform in [0, 1)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        key = _mix(_mix(np.array([seed], np.uint64) * step + step) + np.uint64(epoch) * step + step)
        key = _mix(key + np.asarray(indices).astype(np.uint64) * step + step)
        bits = _mix(key[:, None] + np.arange(1, DRAWS + 1, dtype=np.uint64) * step)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def resized_crop(augmentation: Augmentation, draws: NDArray[np.float64], width: int, height: int) -> Crop:
    """The box for one picture of width x height pixels; one larger than the picture is cut to it."""
    area = width * height * (augmentation.area[0] + draws[0] * (augmentation.area[1] - augmentation.area[0]))
    low, high = math.log(augmentation.ratio[0]), math.log(augmentation.ratio[1])
    ratio = math.exp(low + draws[1] * (high - low))
    box_width = min(width, max(1, round(math.sqrt(area * ratio))))
    box_height = min(height, max(1, round(math.sqrt(area / ratio))))
    left = int(draws[2] * (width - box_width + 1))
    top = int(draws[3] * (height - box_height + 1))
    mirror = augmentation.mirror and draws[4] < 0.5
    return Crop(left, top, left + box_width, top + box_height, bool(mirror))


def apply_resized_crop(picture: Image.Image, crop: Crop, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(size, size, channels) uint8: one anti-aliased resampling of the box."""
    size = preprocessing.size
    resampled = picture.resize((size, size), RESAMPLING[preprocessing.interpolation], box=crop[:4])
    pixels = np.asarray(resampled, dtype=np.uint8).reshape(size, size, preprocessing.channels)
    return pixels[:, ::-1] if crop.mirror else pixels


def padded_crops(
    augmentation: Augmentation,
    draws: NDArray[np.float64],
    pixels: NDArray[np.uint8],
    fill: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """(N, H, W, C) uint8 -> the same shape, each picture moved and mirrored by its own draws (N, DRAWS).

    What moves in from outside has the value `fill` (C,). With crop "none" only the mirror applies.
    """
    count, height, width, channels = pixels.shape
    padding = augmentation.padding if augmentation.crop == "padded" else 0
    mirror = (draws[:, 4] < 0.5) & augmentation.mirror
    if padding:
        frame = np.empty((count, height + 2 * padding, width + 2 * padding, channels), np.uint8)
        frame[:] = fill
        frame[:, padding : padding + height, padding : padding + width] = pixels
        windows = np.lib.stride_tricks.sliding_window_view(frame, (height, width), axis=(1, 2))
        left = (draws[:, 2] * (2 * padding + 1)).astype(np.int64)
        top = (draws[:, 3] * (2 * padding + 1)).astype(np.int64)
        pixels = np.moveaxis(windows[np.arange(count), top, left], 1, -1)
    if mirror.any():
        pixels = np.where(mirror[:, None, None, None], pixels[:, :, ::-1], pixels)
    return np.ascontiguousarray(pixels)


def fill_colour(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(channels,) uint8 for what lies outside a picture: black for grey ones, else the mean colour, which is
    the zero that the papers pad with after subtracting the mean."""
    if preprocessing.mode == "L":
        return np.zeros(1, np.uint8)
    return np.round(np.array(preprocessing.mean) * 255).astype(np.uint8)
