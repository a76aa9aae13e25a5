"""Augmentation of uint8 pictures on a CPU, with OpenCV: parameters are applied, the pixels read once.

`augment_tensors` does the same with torch; tests hold the two equal within rounding, operation by operation.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..preprocessing import Preprocessing
from .colour import colour_matrices, is_coloured, is_toned, needs_histogram, tone_table
from .geometry import Geometry, compose, control_points, spline_basis
from .sampling import NOISE_TABLE

WIDEST = 32_000  # pixels: OpenCV holds places in 16 bits
BORDERS = {True: cv2.BORDER_REFLECT, False: cv2.BORDER_CONSTANT}
# Weighs a pixel's neighbours, as Pillow's SMOOTH does.
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def augment(
    pictures: Sequence[NDArray[np.uint8]],
    parameters: NDArray[Any],
    size: int,
    fill: NDArray[np.uint8],
    geometry: Geometry | None = None,
) -> NDArray[np.uint8]:
    """N pictures (H, W, C) uint8 of any sizes, C being 1 or 3, and (N,) PARAMETERS -> (N, size, size, C) uint8.

    `fill` (C,) lies outside the picture and in holes. Blending with other pictures is left to `mixing`. `geometry` is
    what `compose` makes of the parameters, where that is known already.
    """
    channels = len(fill)
    result = np.empty((len(pictures), size, size, channels), np.uint8)
    if not len(pictures):
        return result
    sizes = np.array([(picture.shape[1], picture.shape[0]) for picture in pictures], np.int64)
    geometry = geometry or compose(parameters, sizes, size)
    # A matrix alone is read faster without a map of places, as long as OpenCV takes the picture.
    mapped = np.asarray(parameters["warp"].any((1, 2, 3)) | (sizes.max(1) > WIDEST))
    points = control_points(geometry.matrices, parameters["warp"], size).astype(np.float32) if mapped.any() else None
    basis = _basis(size)
    border = (*(int(value) for value in fill), 0)[:4]
    for row, picture in enumerate(pictures):
        if geometry.upright[row]:
            resized_crop(picture, geometry, row, bool(parameters["mirror"][row]), result[row])
            continue
        across, down = np.minimum(geometry.cells[row], sizes[row])
        source = reduced(picture, int(across), int(down))
        if channels == 3:  # OpenCV 5 reads four channels twice as fast as three
            source = cv2.cvtColor(source, cv2.COLOR_RGB2RGBA)
        how = {"borderMode": BORDERS[bool(parameters["reflect"][row])], "borderValue": border}
        if points is not None and mapped[row]:
            x, y = basis @ points[row] @ basis.T
            part, x, y = _around(source, x, y)
            read = cv2.remap(part, x, y, cv2.INTER_LINEAR, **how)
        else:
            flags, matrix = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, geometry.matrices[row]
            read = cv2.warpAffine(source, matrix, (size, size), flags=flags, **how)
        if channels == 3:
            cv2.cvtColor(read, cv2.COLOR_RGBA2RGB, dst=result[row])
        else:
            result[row] = read.reshape(result[row].shape)
    recolour(result, parameters)
    _filter(result, parameters)
    for row in np.flatnonzero(parameters["hole"][:, 2:].all(1)):
        left, top, width, height = parameters["hole"][row]
        result[row, top : top + height, left : left + width] = fill
    return result


def resized_crop(
    picture: NDArray[np.uint8], geometry: Geometry, row: int, mirror: bool, out: NDArray[np.uint8]
) -> None:
    """Writes an upright crop into `out` (size, size, C)."""
    (across, down), (left, top, right, bottom) = geometry.cells[row], geometry.boxes[row]
    part = picture[top * down : bottom * down, left * across : right * across]
    if across > 1 or down > 1:
        part = cv2.resize(part, (int(right - left), int(bottom - top)), interpolation=_averaging(across, down))
    size = len(out)
    if part.shape[0] != size or part.shape[1] != size:
        part = cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)
    if mirror:
        part = cv2.flip(part, 1)
    out[...] = part.reshape(out.shape)


def reduced(picture: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    """The picture averaged over cells of `across` x `down` pixels; what is left of a cell at the edge is cut off."""
    if across == 1 and down == 1:
        return picture
    height, width = picture.shape[0] // down, picture.shape[1] // across
    averaged: Any = cv2.resize(
        picture[: height * down, : width * across], (width, height), interpolation=_averaging(across, down)
    )
    return averaged.reshape(height, width, -1)


def _averaging(across: int, down: int) -> int:
    """Halfway between two pixels lies their mean; where only one side is halved, that is twice as fast as an area."""
    return cv2.INTER_LINEAR if max(across, down) == 2 else cv2.INTER_AREA


@functools.lru_cache(maxsize=8)
def _basis(size: int) -> NDArray[np.float32]:
    return spline_basis(size).astype(np.float32)


def _around(
    picture: Any, x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[Any, NDArray[np.float32], NDArray[np.float32]]:
    """The part of a very long picture that is read, and where it is read then: OpenCV takes no wider one."""
    if max(picture.shape) <= WIDEST:
        return picture, x, y
    height, width = picture.shape[:2]
    left, right = (int(np.clip(edge, 0, width - 1)) for edge in (x.min() - 2, x.max() + 3))
    top, bottom = (int(np.clip(edge, 0, height - 1)) for edge in (y.min() - 2, y.max() + 3))
    return picture[top : bottom + 1, left : right + 1], x - left, y - top


def recolour(pixels: NDArray[np.uint8], parameters: NDArray[Any]) -> None:
    """Changes colours and levels of (N, H, W, C) uint8 in place."""
    channels = pixels.shape[3]
    rows = np.flatnonzero(is_coloured(parameters))
    if len(rows):
        means = np.array([cv2.mean(pixels[row])[:channels] for row in rows]).reshape(len(rows), channels)
        for row, matrix in zip(rows, colour_matrices(parameters[rows], means), strict=True):
            pixels[row] = cv2.transform(pixels[row], matrix).reshape(pixels[row].shape)
    for row in np.flatnonzero(is_toned(parameters)):
        histogram = np.zeros((channels, 256))
        if needs_histogram(parameters[row]):
            for channel in range(channels):
                counts: Any = cv2.calcHist([pixels[row]], [channel], None, [256], [0, 256])
                histogram[channel] = counts.ravel()
        table = tone_table(parameters[row], histogram)
        pixels[row] = cv2.LUT(pixels[row], table.T[None].copy()).reshape(pixels[row].shape)


def _filter(pixels: NDArray[np.uint8], parameters: NDArray[Any]) -> None:
    """Sharpens, blurs and adds noise to (N, S, S, C) uint8 in place."""
    shape = pixels.shape[1:]
    for row in np.flatnonzero(parameters["sharpness"] != 1):
        kernel = sharpening(float(parameters["sharpness"][row]))
        pixels[row] = cv2.filter2D(pixels[row], -1, kernel, borderType=cv2.BORDER_REFLECT_101).reshape(shape)
    for row in np.flatnonzero(parameters["blur"] > 0):
        kernel = gaussian(float(parameters["blur"][row]), shape[0])
        blurred = cv2.sepFilter2D(pixels[row], -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        pixels[row] = blurred.reshape(shape)
    for row in np.flatnonzero(parameters["noise"] > 0):
        noise = noise_numbers(int(parameters["noise_place"][row]), math.prod(shape)).reshape(shape)
        levels = pixels[row].astype(np.float32)
        pixels[row] = cv2.addWeighted(
            levels, 1.0, noise, float(parameters["noise"][row]), 0.0, dtype=cv2.CV_8U
        ).reshape(shape)


def sharpening(factor: float) -> NDArray[np.float32]:
    """(3, 3): a pixel moved away from its smoothed neighbourhood by `factor`; 1 is the identity, 0 smooths."""
    kernel = np.asarray((1 - factor) * SMOOTH, np.float32)
    kernel[1, 1] += factor
    return kernel


def gaussian(deviation: float, size: int) -> NDArray[np.float32]:
    """(2 r + 1,): normalised weights out to three deviations, and to no more than the picture's side."""
    radius = min(math.ceil(3 * deviation), size - 1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


@functools.lru_cache(maxsize=1)
def noise_table() -> NDArray[np.float32]:
    """(NOISE_TABLE,) standard normal numbers, always the same."""
    return np.random.Generator(np.random.Philox(0)).standard_normal(NOISE_TABLE, np.float32)


def noise_numbers(place: int, count: int) -> NDArray[np.float32]:
    """(count,) numbers of the table from `place` on, from its beginning again after its end."""
    table = noise_table()
    if place + count <= len(table):
        return table[place : place + count]
    return np.take(table, np.arange(place, place + count), mode="wrap")


def fill_colour(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(channels,) uint8 for what lies outside a picture: the mean colour, which is the zero that the papers pad with
    after subtracting the mean; black for grey pictures, unless evaluation pads them with their mean too."""
    if preprocessing.mode == "L" and preprocessing.resize != "letterbox":
        return np.zeros(1, np.uint8)
    return np.array(preprocessing.mean_colour, np.uint8)


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
