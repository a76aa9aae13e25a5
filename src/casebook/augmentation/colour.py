"""Colour: one matrix per picture for linear changes, principal colours, and look-up tables for non-linear changes.

Levels go from 0 to 255. All functions are pure NumPy; the back ends apply their results.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

GREY = np.array([0.299, 0.587, 0.114])  # luma of Rec. 601, as in Pillow's mode "L"
_TO_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])  # NTSC
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


class Components(NamedTuple):
    """Principal components of pixels in [0, 1]: variances (3,), largest first, and unit vectors as columns."""

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]


# For ImageNet, from fb.resnet.torch (datasets/imagenet.lua). Rounded to four digits, so only nearly unit vectors.
IMAGENET_COMPONENTS = Components(
    np.array([0.2175, 0.0188, 0.0045]),
    np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]),
)


def principal_colours(pixels: ArrayLike) -> Components:
    """The principal components of (..., 3) pixels in [0, 255], scaled to [0, 1].

    Each vector's sign makes its largest entry positive.
    """
    flat = np.asarray(pixels, np.float64).reshape(-1, 3) / 255
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    values, vectors = values[::-1], vectors[:, ::-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(3)])
    return Components(np.maximum(values, 0), vectors * signs)


def is_coloured(parameters: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether the linear colour operations change a picture."""
    factors = [parameters[name] != 1 for name in ("brightness", "contrast", "saturation")]
    shifts = [parameters[name].any(1) for name in ("channels", "pca")]
    return np.logical_or.reduce([*factors, *shifts, parameters["hue"] != 0])


def colour_matrices(parameters: NDArray[Any], means: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, C, C + 1) matrices M: a pixel p of C channels becomes M @ (p, 1), then is rounded and clipped to [0, 255].

    `means` (N, C) are the pictures' mean pixels; contrast scales distances from their grey level. With one channel,
    saturation and hue have no effect, and only the first channel's shifts apply.
    """
    count, channels = means.shape
    grey = GREY if channels == 3 else np.ones(1)
    eye = np.eye(channels)
    matrix = parameters["brightness"][:, None, None] * eye
    offset = np.zeros((count, channels))
    pivot = np.einsum("c,ncd,nd->n", grey, matrix, means)  # the mean grey after brightness
    contrast = parameters["contrast"]
    matrix = contrast[:, None, None] * matrix
    offset += ((1 - contrast) * pivot)[:, None]
    if channels == 3:
        saturation = parameters["saturation"][:, None, None]
        turned = np.radians(parameters["hue"])
        plane = np.zeros((count, 3, 3))
        plane[:, 0, 0] = 1
        plane[:, 1, 1] = plane[:, 2, 2] = np.cos(turned)
        plane[:, 1, 2] = -np.sin(turned)
        plane[:, 2, 1] = -plane[:, 1, 2]
        hue = _FROM_YIQ @ plane @ _TO_YIQ
        hue[turned == 0] = eye
        mixed = hue @ (saturation * eye + (1 - saturation) * np.tile(GREY, (3, 1)))
        matrix = mixed @ matrix
        offset = np.einsum("ncd,nd->nc", mixed, offset)
    offset += parameters["channels"][:, :channels] + parameters["pca"][:, :channels]
    return np.concatenate([matrix, offset[:, :, None]], 2)


def is_toned(parameters: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether a picture needs a look-up table."""
    return (
        parameters["equalize"]
        | parameters["autocontrast"]
        | (parameters["solarize"] < 256)
        | (parameters["posterize"] < 8)
    )


def needs_histogram(parameters: Any) -> bool:
    """Whether one picture's look-up table depends on its pixels."""
    return bool(parameters["equalize"] or parameters["autocontrast"])


def tone_table(parameters: Any, histogram: NDArray[Any]) -> NDArray[np.uint8]:
    """(C, 256) uint8: the new value of each level of one picture.

    `histogram` (C, 256) has the counts of its channels; it is used only if `needs_histogram`. Equalisation follows
    Pillow: it spreads the levels so that their cumulative counts form a straight line. Autocontrast comes after it and
    stretches the levels that occur to the full range.
    """
    table = np.tile(np.arange(256, dtype=np.float64), (len(histogram), 1))
    for channel, counts in enumerate(histogram):
        levels = np.flatnonzero(counts)
        if parameters["equalize"] and len(levels) > 1:
            step = (counts.sum() - counts[levels[-1]]) // 255
            if step:
                before = np.cumsum(counts) - counts
                table[channel] = np.minimum((step // 2 + before) // step, 255)
        if parameters["autocontrast"] and len(levels) > 1:
            low, high = table[channel][levels[[0, -1]]]
            if high > low:
                table[channel] = np.clip((table[channel] - low) * (255 / (high - low)), 0, 255)
    table = np.rint(table)
    table = np.where(table >= parameters["solarize"], 255 - table, table).astype(np.uint8)
    return table & np.uint8(256 - (1 << (8 - int(parameters["posterize"]))))
