"""Augmentation of batches with torch, on any device: the parameters of `augment`, and its results within rounding."""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .augment import gaussian, noise_table, sharpening
from .colour import colour_matrices, is_coloured, is_toned, needs_histogram, tone_table
from .geometry import Geometry, compose, control_points, spline_basis
from .sampling import NOISE_TABLE

BLOCK = 16  # pictures at a time on a CPU, so that what a step leaves is still in its cache for the next


def augment_tensors(images: Tensor, parameters: NDArray[Any], size: int, fill: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, C) of levels 0 to 255, C being 1 or 3, and (B,) PARAMETERS -> (B, size, size, C) of the same dtype.

    uint8 is rounded after each step, as `augment` does; float32 and float64 are not rounded at all, only clipped. What
    the parameters say is worked out on the CPU, so the mean colours and histograms that some of them need come back.

    Raises ValueError for another dtype.
    """
    if images.dtype not in (torch.uint8, torch.float32, torch.float64):
        raise ValueError(f"images are {images.dtype}, expected uint8, float32 or float64")
    block = BLOCK if images.device.type == "cpu" else len(images)
    parts = [
        _augment(images[start : start + block], parameters[start : start + block], size, fill)
        for start in range(0, len(images), max(1, block))
    ]
    return torch.cat(parts) if parts else images.new_empty((0, size, size, len(fill)))


def _augment(images: Tensor, parameters: NDArray[Any], size: int, fill: NDArray[np.uint8]) -> Tensor:
    whole = not images.is_floating_point()
    values = images.float() if whole else images
    sizes = np.tile(np.array([images.shape[2], images.shape[1]]), (len(images), 1))
    levels = _settle(_read(values, parameters, compose(parameters, sizes, size), size, fill, whole), whole)
    levels = _recolour(levels, parameters, whole)
    levels = _filter(levels, parameters, whole)
    for row in np.flatnonzero(parameters["hole"][:, 2:].all(1)):
        left, top, width, height = (int(value) for value in parameters["hole"][row])
        colour = torch.as_tensor(fill, dtype=levels.dtype, device=levels.device)
        levels[row, :, top : top + height, left : left + width] = colour[:, None, None]
    return levels.permute(0, 2, 3, 1).contiguous().to(images.dtype)


def _settle(levels: Tensor, whole: bool) -> Tensor:
    """Levels as they are between two steps: within 0 to 255, and whole numbers for uint8."""
    return (levels.round_() if whole else levels).clamp_(0, 255)


def _tensor(values: NDArray[Any], like: Tensor) -> Tensor:
    return torch.as_tensor(values).to(like.device, like.dtype)


@functools.lru_cache(maxsize=4)
def _noise_on(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(noise_table()).to(device, dtype)


def _read(
    values: Tensor, parameters: NDArray[Any], geometry: Geometry, size: int, fill: NDArray[np.uint8], whole: bool
) -> Tensor:
    """(B, H, W, C) -> (B, C, size, size), read bilinearly once."""
    basis = _tensor(spline_basis(size), values)
    points = _tensor(control_points(geometry.matrices, parameters["warp"], size), values)
    places = basis @ points @ basis.T  # (B, 2, size, size): x and y of each pixel
    boxes = _tensor(geometry.boxes, values)[:, :, None, None]
    free = torch.as_tensor(~geometry.upright, device=values.device)[:, None, None, None]
    low = boxes[:, :2].masked_fill(free, -torch.inf)
    high = (boxes[:, 2:] - 1).masked_fill(free, torch.inf)
    places = torch.minimum(torch.maximum(places, low), high)
    pictures = values.permute(0, 3, 1, 2).contiguous()  # grid_sample is faster on planes
    height, width = pictures.shape[2:]
    result = torch.empty((len(values), len(fill), size, size), dtype=values.dtype, device=values.device)
    colour = _tensor(fill, values)[:, None, None]
    cells = np.minimum(geometry.cells, [width, height])
    kinds = np.concatenate([cells, parameters["reflect"][:, None]], 1)
    for across, down, reflect in np.unique(kinds, axis=0).tolist():
        rows = torch.as_tensor(np.flatnonzero((kinds == [across, down, reflect]).all(1)), device=values.device)
        alone = len(rows) == len(values)
        some, grid = (pictures, places) if alone else (pictures[rows], places[rows])
        if across > 1 or down > 1:
            some = functional.avg_pool2d(some, (down, across))
            some = _settle(some, whole)
        if not reflect:
            some = some - colour  # what lies outside is then zero
        extent = torch.tensor([some.shape[3], some.shape[2]], dtype=values.dtype, device=values.device)
        grid = (2 * grid.permute(0, 2, 3, 1) + 1) / extent - 1
        mode = "reflection" if reflect else "zeros"
        read = functional.grid_sample(some, grid, "bilinear", mode, align_corners=False)
        read = read if reflect else read + colour
        if alone:
            return read
        result[rows] = read
    return result


def _recolour(levels: Tensor, parameters: NDArray[Any], whole: bool) -> Tensor:
    rows = np.flatnonzero(is_coloured(parameters))
    if len(rows):
        chosen = torch.as_tensor(rows, device=levels.device)
        some = levels[chosen]
        means = some.mean((2, 3)).double().cpu().numpy()
        matrices = _tensor(colour_matrices(parameters[rows], means), levels)
        flat = torch.baddbmm(matrices[:, :, -1:], matrices[:, :, :-1], some.flatten(2))
        levels[chosen] = _settle(flat, whole).view_as(some)
    for row in np.flatnonzero(is_toned(parameters)):
        bins = levels[row].flatten(1).round().long()
        histogram = torch.zeros((len(bins), 256), dtype=torch.int64, device=levels.device)
        if needs_histogram(parameters[row]):
            histogram.scatter_add_(1, bins, torch.ones_like(bins))
        table = _tensor(tone_table(parameters[row], histogram.cpu().numpy()), levels)
        levels[row] = table.gather(1, bins).view_as(levels[row])
    return levels


def _filter(levels: Tensor, parameters: NDArray[Any], whole: bool) -> Tensor:
    size = levels.shape[-1]
    for row in np.flatnonzero(parameters["sharpness"] != 1):
        kernel = _tensor(sharpening(float(parameters["sharpness"][row])), levels)
        padded = functional.pad(levels[row][:, None], (1, 1, 1, 1), mode="reflect")
        levels[row] = _settle(functional.conv2d(padded, kernel[None, None])[:, 0], whole)
    for row in np.flatnonzero(parameters["blur"] > 0):
        kernel = _tensor(gaussian(float(parameters["blur"][row]), size), levels)
        radius = len(kernel) // 2
        padded = functional.pad(levels[row][:, None], (radius,) * 4, mode="reflect")
        across = functional.conv2d(padded, kernel[None, None, None, :])
        levels[row] = _settle(functional.conv2d(across, kernel[None, None, :, None])[:, 0], whole)
    rows = np.flatnonzero(parameters["noise"] > 0)
    if len(rows):
        table = _noise_on(levels.device, levels.dtype)
        pixel = torch.arange(levels[0].numel(), device=levels.device)
        for row in rows:
            places = (pixel + int(parameters["noise_place"][row])) % NOISE_TABLE
            noise = table[places].view(size, size, -1).permute(2, 0, 1)
            levels[row] = _settle(levels[row] + float(parameters["noise"][row]) * noise, whole)
    return levels
