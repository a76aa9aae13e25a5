"""Geometry: for each pixel of the result, the place in the picture to read it from.

All changes are composed into one map from the result back to the picture: warp, shift, rotation, shear, scale, mirror
and crop, in that order. The picture is then sampled once, bilinearly. If the result is smaller than the region shown,
the picture is first averaged over cells of k x k pixels, where k is the rounded reduction, so sampling never skips more
than half a cell. This is a compromise: a reduction of 1.25 to 1.5 leaves a third of the finest pattern's contrast as
aliasing, which Pillow's filter would remove, and one just above 1.5 loses up to a quarter of the resolution. A filter
of fractional width would cost several times as much as all else together. Pixel centres have integer coordinates.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .sampling import CONTROL


class Geometry(NamedTuple):
    """How to sample N pictures."""

    matrices: NDArray[np.float64]  # (N, 2, 3): (column, row, 1) of the result -> (x, y) in the reduced picture
    cells: NDArray[np.int64]  # (N, 2): width and height of the cells to average first, in pixels
    upright: NDArray[np.bool_]  # (N,): only a crop inside the picture, perhaps mirrored
    boxes: NDArray[np.int64]  # (N, 4): left, top, right, bottom of upright crops in cells; no pixel outside is read


def compose(parameters: NDArray[Any], sizes: NDArray[np.integer], size: int) -> Geometry:
    """The geometry of (N,) PARAMETERS for pictures of (width, height) `sizes` (N, 2) and results of size x size."""
    corner, window = parameters["window"][:, :2], parameters["window"][:, 2:]
    shear = np.tan(np.radians(parameters["shear"]))
    angle = np.radians(parameters["angle"])
    count = len(parameters)
    # Forward, around the centre and with y pointing down: scale, shear, then rotate counter-clockwise.
    sheared = np.ones((count, 2, 2))
    sheared[:, 0, 1], sheared[:, 1, 0] = shear.T
    sheared[:, 1, 1] += shear.prod(1)  # first along x, then along y, which preserves areas
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)
    inverse = np.linalg.inv(turned @ sheared * parameters["scale"][:, None, None])
    facing = np.stack([np.where(parameters["mirror"], -1.0, 1.0), np.ones(count)], 1)
    # Scales the result to the window and puts one centre on the other.
    linear = (window * facing / size)[:, :, None] * inverse
    origin = corner + window / 2 - np.einsum("nij,nj->ni", linear, size / 2 + size * parameters["shift"])
    cells = np.maximum(1, np.rint(np.hypot(linear[:, :, 0], linear[:, :, 1]))).astype(np.int64)
    upright = ~parameters["warp"].any((1, 2, 3)) & ~parameters["shift"].any(1) & ~parameters["shear"].any(1)
    upright &= (parameters["angle"] == 0) & (parameters["scale"] == 1)
    upright &= (corner >= 0).all(1) & (corner + window <= sizes).all(1)
    linear, origin = linear / cells[:, :, None], origin / cells
    # Upright crops end at whole cells, so that they can be resized on their own.
    low = np.ceil(corner / cells)
    high = np.maximum(np.floor((corner + window) / cells), low + 1)
    linear[upright] = (np.eye(2) * ((high - low) * facing / size)[:, :, None])[upright]
    origin[upright] = np.where(facing > 0, low, high)[upright]
    # For pixel centres, add half a pixel to the input coordinates and subtract it from the output.
    origin = origin + linear.sum(2) / 2 - 0.5
    boxes = np.concatenate([low, high], 1).astype(np.int64)
    return Geometry(np.concatenate([linear, origin[:, :, None]], 2), cells, upright, boxes)


def reach(geometry: Geometry, parameters: NDArray[Any], sizes: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """(N, 4): left, top, right and bottom, in pixels, of the region that each picture is sampled from; never empty.

    Pixels outside this region have no effect, so they need not be decoded.
    """
    corners = np.array([[0, size - 1, 0, size - 1], [0, 0, size - 1, size - 1], [1, 1, 1, 1]], np.float64)
    points = geometry.matrices @ corners
    if parameters["warp"].any():  # a spline stays within its control points
        controls = control_points(geometry.matrices, parameters["warp"], size).reshape(len(points), 2, -1)
        points = np.concatenate([points, controls], 2)
    sides = np.asarray(sizes, np.int64)
    whole = -(-sides // geometry.cells)
    low = np.floor(points.min(2)).astype(np.int64) - 1  # one more for rounded coordinates
    high = np.ceil(points.max(2)).astype(np.int64) + 2
    beyond = parameters["reflect"][:, None] & ((low < 0) | (high > whole))  # reflection may read any part
    low, high = np.where(beyond, 0, low), np.where(beyond, whole, high)
    upright = geometry.upright[:, None]
    low, high = np.where(upright, geometry.boxes[:, :2], low), np.where(upright, geometry.boxes[:, 2:], high)
    low = np.clip(low, 0, whole - 1)
    high = np.clip(high, low + 1, whole)
    return np.concatenate([low * geometry.cells, np.minimum(high * geometry.cells, sides)], 1)


@functools.lru_cache(maxsize=8)
def spline_basis(size: int) -> NDArray[np.float64]:
    """(size, CONTROL): weights of the control points of a uniform cubic B-spline at each pixel; rows sum to 1."""
    place = (np.arange(size) + 0.5) / size * (CONTROL - 3)
    piece = np.minimum(place.astype(np.int64), CONTROL - 4)
    t = place - piece
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    basis = np.zeros((size, CONTROL))
    for number, weight in enumerate(weights):
        basis[np.arange(size), piece + number] = weight / 6
    return basis


def control_points(matrices: NDArray[np.float64], warp: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """(N, 2, CONTROL, CONTROL): control points of the splines for x and y, with warp and matrix combined.

    A cubic B-spline reproduces straight lines, so it can include the matrix at no cost: basis @ points @ basis.T is the
    whole map.
    """
    place = (np.arange(CONTROL) - 1) / (CONTROL - 3) * size - 0.5  # the control points of a straight line
    across = place[None, None, :] + size * warp[:, 0].astype(np.float64)
    down = place[None, :, None] + size * warp[:, 1].astype(np.float64)
    grid = np.stack([across, down], 1)
    return np.einsum("nij,njrc->nirc", matrices[:, :, :2], grid) + matrices[:, :, 2][:, :, None, None]
