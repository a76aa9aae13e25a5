"""Names beside the circles of a scatter plot, placed so that they cover neither circles nor each other."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 7.5  # points
ANGLES = 24
GAPS = (2, 8, 16, 26, 38, 54, 74, 98, 126, 160, 200)  # pixels from the circle's edge to the name
LEADER_FROM = 12  # pixels; farther names get a line to their circle
ROUNDS = 12


class Circle(NamedTuple):
    """A circle to name: its centre in data coordinates and its radius in points (1/72 inch)."""

    name: str
    x: float
    y: float
    radius: float


def add_labels(axes: Any, circles: Sequence[Circle], *, size: float = SIZE) -> list[Any]:
    """Writes each name beside its circle, with a thin line to it where the name is far away.

    Fixes the figure's layout. Gives matplotlib's annotations.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # decides where the axes are
    figure.set_layout_engine("none")
    per_point = figure.dpi / 72
    centres = axes.transData.transform([(circle.x, circle.y) for circle in circles])
    radii = np.array([circle.radius for circle in circles]) * per_point
    notes = [axes.annotate(circle.name, (circle.x, circle.y), fontsize=size) for circle in circles]
    extents = [note.get_window_extent() for note in notes]
    sizes = np.array([(extent.width, extent.height) for extent in extents]) + 2
    frame = axes.get_window_extent()
    boxes = place(centres, radii, sizes, (frame.x0, frame.y0, frame.x1, frame.y1), scale=per_point)
    for note, box, centre, radius in zip(notes, boxes, centres, radii, strict=True):
        offset = ((box[:2] + box[2:]) / 2 - centre) / per_point
        note.set_position(offset)
        note.set_anncoords("offset points")
        note.set(ha="center", va="center")
        near = np.clip(centre, box[:2], box[2:])
        distance = float(np.hypot(*(near - centre)))
        if distance - radius > LEADER_FROM * per_point:
            start = centre + (near - centre) * radius / distance
            ends = axes.transData.inverted().transform([start, near])
            axes.plot(*ends.T, color="0.55", linewidth=0.6, zorder=1.5, scalex=False, scaley=False)
    return notes


def place(
    centres: NDArray[Any], radii: NDArray[Any], sizes: NDArray[Any], frame: Sequence[float], *, scale: float = 1.0
) -> NDArray[np.float64]:
    """(N, 4) boxes (left, bottom, right, top) for names of (N, 2) `sizes` beside circles, all in pixels.

    Each name takes the nearest of its possible places that covers nothing; the names are placed again, round after
    round, until none moves. Where every place covers something, the one that covers the least is taken.
    """
    options = [_options(c, r, s, scale) for c, r, s in zip(centres, radii, sizes, strict=True)]
    fixed = [_fixed_costs(option, number, centres, radii, frame) for number, option in enumerate(options)]
    crowded = (np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) < 100 * scale).sum(1)
    order = np.argsort(-crowded, kind="stable")
    boxes = np.full((len(centres), 4), np.nan)
    for _ in range(ROUNDS):
        before = boxes.copy()
        for number in order:
            others = np.delete(boxes, number, axis=0)
            others = others[~np.isnan(others[:, 0])]
            costs = fixed[number] + 1000 * _overlaps(options[number], others).sum(1)
            boxes[number] = options[number][int(np.argmin(costs))]
        if np.array_equal(boxes, before):
            break
    return boxes


def _options(centre: NDArray[Any], radius: float, size: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """(ANGLES * len(GAPS), 4) boxes around a circle, the nearest first, and to its right before to its left."""
    turns = np.arange(ANGLES)
    turns = turns[np.argsort(np.minimum(turns, ANGLES - turns), kind="stable")] * 2 * np.pi / ANGLES
    ways = np.stack([np.cos(turns), np.sin(turns)], 1)
    reach = radius + np.array(GAPS)[:, None, None] * scale
    middles = (centre + reach * ways + ways * size / 2).reshape(-1, 2)
    return np.concatenate([middles - size / 2, middles + size / 2], axis=1)


def _fixed_costs(
    options: NDArray[np.float64], number: int, centres: NDArray[Any], radii: NDArray[Any], frame: Sequence[float]
) -> NDArray[np.float64]:
    """(options,): the gap to the circle, plus penalties for covering circles or leaving the frame."""
    near = np.clip(centres[None], options[:, None, :2], options[:, None, 2:])
    distances = np.hypot(*(near - centres[None]).transpose(2, 0, 1))
    covers = (distances < radii[None] + 1).sum(1)
    outside = (options[:, :2] < np.array(frame[:2])).any(1) | (options[:, 2:] > np.array(frame[2:])).any(1)
    # A leader that passes another circle's centre would seem to belong to that circle.
    ends = near[:, number]
    start = centres[number]
    way = ends - start
    length = np.maximum((way**2).sum(1), 1e-9)
    along = np.clip(((centres[None] - start) * way[:, None]).sum(2) / length[:, None], 0, 1)
    passing = np.hypot(*(start + along[..., None] * way[:, None] - centres[None]).transpose(2, 0, 1)) < radii[None]
    passing[:, number] = False
    return np.repeat(GAPS, ANGLES) + 1000 * covers + 5000 * outside + 30 * passing.sum(1)


def _overlaps(options: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(options, boxes): whether two boxes overlap."""
    a, b = options[:, None], boxes[None]
    return (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
