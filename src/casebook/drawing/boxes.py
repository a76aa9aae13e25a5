"""A picture and the crops that a protocol takes of it -> the crops drawn on the picture, one panel for each region."""

from collections.abc import Sequence
from typing import NamedTuple

from .svg import Sheet
from .text import text_width

MARGIN, GAP, WORD_SIZE = 20, 26, 13
WIDTH, WIDEST = 1000, 546  # pixels of the sheet, and of a single picture
Box = tuple[int, int, int, int]


class Crop(NamedTuple):
    """A crop: left, top, right, bottom in the pixels of the resized picture."""

    name: str
    box: Box


class Panel(NamedTuple):
    """A resized picture of (width, height), the region that is cut up, or None for all of it, and its crops."""

    title: str
    size: tuple[int, int]
    region: Box | None
    crops: Sequence[Crop]


class Photo(NamedTuple):
    """An encoded picture, such as the bytes of a JPEG file, and what it shows."""

    content: bytes
    media_type: str
    words: str


# Where the tag of a crop stands: the share of the box's width and height, so that no two of the usual crops share one.
TAGS = {
    "top-left": (0.02, 0.02), "top-right": (0.98, 0.02), "bottom-left": (0.02, 0.98), "bottom-right": (0.98, 0.98),
    "centre": (0.5, 0.5), "whole": (0.5, 0.26),
}  # fmt: skip


def boxes(title: str, panels: Sequence[Panel], remarks: Sequence[str] = (), photo: Photo | None = None) -> Sheet:
    """The drawing. Without a photo, a scene of our own stands for it."""
    most = max(panel.size[0] for panel in panels)
    columns = 1 if len(panels) == 1 else min(3, len(panels))
    scale = min(WIDEST, (WIDTH - 2 * MARGIN - GAP * (columns - 1)) / columns) / most
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    top = MARGIN + 24 + 18 * len(remarks)
    heights = [max(round(scale * panel.size[1]) for panel in row) + 52 for row in rows]
    described = "; ".join(f"{p.title}: {', '.join(f'{c.name} {c.box}' for c in p.crops)}" for p in panels)
    sheet = Sheet(
        2 * MARGIN + columns * round(scale * most) + GAP * (columns - 1), top + sum(heights), title,
        f"{' '.join(remarks)} {described}.",
    )  # fmt: skip
    sheet.text(MARGIN, MARGIN + 4, title, "strong", size=18)
    sheet.lines(MARGIN, MARGIN + 25, remarks, "faint", size=WORD_SIZE)
    for row, height in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            with sheet.group(shift=(MARGIN + place * (round(scale * most) + GAP), top)):
                _draw_panel(sheet, panel, scale, photo)
        top += height
    return sheet.widen(MARGIN)


def _draw_panel(sheet: Sheet, panel: Panel, scale: float, photo: Photo | None) -> None:
    width, height = (round(scale * side) for side in panel.size)
    sheet.text(0, 14, panel.title, size=WORD_SIZE)
    with sheet.group(shift=(0, 24)):
        sheet.rect(0, 0, width, height, "data", name=panel.title, corner=0)
        if photo:
            sheet.image((0, 0, width, height), photo.content, photo.media_type, photo.words)
        else:
            _draw_scene(sheet, width, height)
        if panel.region:
            _outline(sheet, panel.region, scale, "thick dotted")
        for number, crop in enumerate(panel.crops):
            _outline(sheet, crop.box, scale, ("", "dashed")[number % 2])
        for crop in panel.crops:
            _tag(sheet, crop, scale)


def _outline(sheet: Sheet, box: Box, scale: float, style: str) -> None:
    """A light line under a dark one, so that it shows on any picture."""
    left, top, right, bottom = (round(scale * side) for side in box)
    for css_class in ("halo clear", f"edge clear {style}".rstrip()):
        sheet.rect(left, top, right - left, bottom - top, css_class, corner=0)


def _tag(sheet: Sheet, crop: Crop, scale: float) -> None:
    left, top, right, bottom = (round(scale * side) for side in crop.box)
    across, down = TAGS.get(crop.name, (0.5, 0.5))
    width, height = text_width(crop.name, 12) + 8, 18
    x = round(left + across * (right - left) - across * width)
    y = round(top + down * (bottom - top) - down * height)
    sheet.rect(x, y, width, height, "data")
    sheet.text(x + 4, y + 13, crop.name, size=12)


def _draw_scene(sheet: Sheet, width: int, height: int) -> None:
    """Hills, a house and the sun, in place of a photo."""

    def x(share: float) -> int:
        return round(share * width)

    def y(share: float) -> int:
        return round(share * height)

    sheet.circle(x(0.78), y(0.24), y(0.11), "marked")
    sheet.path(
        f"M 0 {y(0.7)} C {x(0.2)} {y(0.42)} {x(0.38)} {y(0.5)} {x(0.55)} {y(0.66)} C {x(0.7)} {y(0.5)} {x(0.85)} "
        f"{y(0.46)} {width} {y(0.62)} L {width} {height} L 0 {height} Z", "dense",
    )  # fmt: skip
    sheet.rect(x(0.3), y(0.56), x(0.16), y(0.2), "pool", corner=0)
    sheet.path(f"M {x(0.27)} {y(0.56)} L {x(0.38)} {y(0.42)} L {x(0.49)} {y(0.56)} Z", "depthwise")
    sheet.rect(x(0.36), y(0.65), x(0.04), y(0.11), "data", corner=0)
