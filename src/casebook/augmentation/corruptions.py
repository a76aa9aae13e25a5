"""Pictures as another camera, another light or another connection would give them: eight changes at five strengths.

JPEG quality, noise, brightness and contrast are those of Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019, with the parameters of ImageNet-C (their file
make_imagenet_c.py). Gaussian blur is their extra corruption; its deviation is for 224 pixels and scales with the side.
Rotation goes up to the 30 degrees of Engstrom et al., "Exploring the Landscape of Spatial Robustness", ICML 2019.
Occlusion is the grey square of Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
at a random place as in DeVries and Taylor's Cutout (arXiv 1708.04552). Its areas, and the scales, are our choice.

The changes are made to the network's own square of pixels, after resizing and cropping, as ImageNet-C is made.
"""

import io
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

NUM_LEVELS = 5
BLUR_SIDE = 224  # pixels: the side for which the deviations of the blur are given
GREY = 127

Pixels = NDArray[np.uint8]  # (H, W, C)


class Corruption(NamedTuple):
    """One kind of change. `change(pixels, strength, generator)` gives pixels of the same shape."""

    name: str
    parameter: str
    """What the strengths are, with their unit."""
    strengths: tuple[float, float, float, float, float]
    """Mild to severe."""
    change: Callable[[Pixels, float, np.random.Generator], Pixels]


def _jpeg(pixels: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file)).reshape(pixels.shape)


def _blur(pixels: Pixels, deviation: float, _: np.random.Generator) -> Pixels:
    return _smoothed(pixels, deviation * pixels.shape[0] / BLUR_SIDE)


def _smoothed(pixels: Pixels, sigma: float) -> Pixels:
    blurred = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.uint8).reshape(pixels.shape)


def _noise(pixels: Pixels, deviation: float, generator: np.random.Generator) -> Pixels:
    noise = generator.standard_normal(pixels.shape, np.float32)
    return _rounded(pixels + np.float32(255 * deviation) * noise)


def _brightness(pixels: Pixels, added: float, _: np.random.Generator) -> Pixels:
    """Adds to V of HSV. H and S stay, so a colour is multiplied until its largest channel is V."""
    value = pixels.max(2, keepdims=True).astype(np.float32)
    brighter = np.minimum(value + np.float32(255 * added), 255)
    brightened = pixels * (brighter / np.maximum(value, 1))
    return _rounded(brightened + brighter * (value == 0))  # black has no hue: it becomes grey


def _contrast(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    mean = pixels.mean((0, 1), keepdims=True, dtype=np.float32)
    return _rounded((pixels - mean) * np.float32(factor) + mean)


def _rotation(pixels: Pixels, degrees: float, generator: np.random.Generator) -> Pixels:
    """Around the centre, to a random side."""
    sign = 1 if generator.random() < 0.5 else -1
    return _placed(pixels, sign * degrees, 1.0)


def _scale(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    """Shrunk around the centre, smoothed first, as sampling alone would alias."""
    return _placed(_smoothed(pixels, 0.5 * (1 / factor**2 - 1) ** 0.5), 0.0, factor)


def _placed(pixels: Pixels, degrees: float, factor: float) -> Pixels:
    """Outside there is the picture's mirror image, as a plain frame would be a change of its own.

    At scale 0.9 MobileNet v2 has 84 % of 128 ImageNet pictures right so, and 75 % in a frame of the mean colour.
    """
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, factor)
    moved = cv2.warpAffine(
        pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )  # fmt: skip
    return np.asarray(moved, np.uint8).reshape(pixels.shape)


def _occlusion(pixels: Pixels, area: float, generator: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    tall, wide = max(1, round(height * area**0.5)), max(1, round(width * area**0.5))
    top, left = int(generator.integers(0, height - tall + 1)), int(generator.integers(0, width - wide + 1))
    covered = pixels.copy()
    covered[top : top + tall, left : left + wide] = GREY
    return covered


def _rounded(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


CORRUPTIONS = (
    Corruption("jpeg", "quality", (25, 18, 15, 10, 7), _jpeg),
    Corruption("blur", "deviation in pixels of 224", (1, 2, 3, 4, 6), _blur),
    Corruption("noise", "deviation, share of the range", (0.08, 0.12, 0.18, 0.26, 0.38), _noise),
    Corruption("brightness", "added, share of the range", (0.1, 0.2, 0.3, 0.4, 0.5), _brightness),
    Corruption("contrast", "factor", (0.4, 0.3, 0.2, 0.1, 0.05), _contrast),
    Corruption("rotation", "degrees, to either side", (6, 12, 18, 24, 30), _rotation),
    Corruption("scale", "factor", (0.9, 0.8, 0.7, 0.6, 0.5), _scale),
    Corruption("occlusion", "area of a grey square", (0.05, 0.1, 0.2, 0.3, 0.4), _occlusion),
)
VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "mirrored": lambda pixels: pixels[:, ::-1],
    "turned by 90 degrees": lambda pixels: np.rot90(pixels, 1),
    "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2),
    "turned by 270 degrees": lambda pixels: np.rot90(pixels, 3),
}


def corrupt(corruption: Corruption, pixels: Pixels, level: int, key: int, seed: int = 0) -> Pixels:
    """(H, W, C) uint8 of 1 or 3 channels -> the same, changed at `level` 1 to 5.

    What is random depends on (seed, corruption, `key` of the picture), so each strength has the same draws.
    """
    generator = np.random.default_rng([seed, zlib.crc32(corruption.name.encode()), key])
    return corruption.change(pixels, corruption.strengths[level - 1], generator)
