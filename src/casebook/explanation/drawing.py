"""Pixels, numbers and words -> one picture. Pillow draws; colours and the typeface are matplotlib's."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "white", (25, 28, 33), (105, 110, 118)
GAP, MARGIN = 14, 22
HEAT, BALANCE = "inferno", "RdBu_r"  # for values from 0, and for values on both sides of it
CLASS_COLOURS = "tab10"
TITLE, HEADING, TEXT = 19, 15, 13  # pixels
BAR_HEIGHT = 12


class Panel(NamedTuple):
    """A picture, a heading above it and lines below; `legend` is another picture between the two."""

    image: Image.Image
    heading: str = ""
    lines: tuple[str, ...] = ()
    legend: Image.Image | None = None


@functools.cache
def font(size: int, bold: bool = False) -> Any:
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / name
    # Pillow's other layout engine is not everywhere, and gives up on some texts.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def colours(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """(...) values from 0 to 1 -> (..., 3)."""
    from matplotlib import colormaps

    return np.rint(colormaps[name](np.clip(values, 0, 1))[..., :3] * 255).astype(np.uint8)


def as_rgb(pixels: NDArray[np.uint8]) -> Image.Image:
    """(H, W, 1 or 3) uint8 as a colour picture."""
    return Image.fromarray(np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels)


def enlarged(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Small pictures keep visible pixels; others are smoothed."""
    small = max(image.size) < 96 or max(size) >= 8 * max(image.size)
    return image.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)


def signed_picture(pattern: NDArray[np.float32], scale: float | None = None) -> Image.Image:
    """(C, H, W) of one or three channels around 0 -> grey where 0; `scale`, by default nearly the largest, is full."""
    scale = spread(pattern) if scale is None else scale
    values = np.clip(0.5 + 0.5 * pattern / scale, 0, 1) if scale > 0 else np.full_like(pattern, 0.5)
    if len(values) not in (1, 3):
        values = values.mean(0, keepdims=True)
    return as_rgb(np.rint(values.transpose(1, 2, 0) * 255).astype(np.uint8))


def spread(pattern: NDArray[np.float32]) -> float:
    """A magnitude that one value in 500 exceeds, so that single pixels do not darken a picture."""
    magnitudes = np.abs(pattern)
    return float(np.quantile(magnitudes, 0.998)) or float(magnitudes.max())


def overlay(picture: Image.Image, shares: NDArray[Any], name: str = HEAT) -> Image.Image:
    """The picture, paler and greyer, under a map of any size; 0 of HEAT and 0.5 of BALANCE show nothing."""
    smooth = Image.fromarray(np.asarray(shares, np.float32)).resize(picture.size, Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(smooth), 0, 1)
    strength = values if name == HEAT else np.abs(2 * values - 1)
    opacity = np.clip(1.5 * strength, 0, 0.72)[..., None]
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    base = 0.45 * pixels + 0.55 * grey[..., None]
    return Image.fromarray(np.rint(base * (1 - opacity) + colours(values, name) * opacity).astype(np.uint8))


def outlined(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """The picture with a frame: (left, top, right, bottom) in its pixels."""
    picture = picture.convert("RGB")
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = box
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline="black")
    draw.rectangle((left, top, right, bottom), outline=(255, 214, 10))
    return picture


def scale_bar(name: str, width: int, ends: tuple[str, str], middle: str = "") -> Image.Image:
    """The colours from left to right, with what they stand for below."""
    bar = Image.fromarray(np.tile(colours(np.linspace(0, 1, width), name), (BAR_HEIGHT, 1, 1)))
    canvas = Image.new("RGB", (width, BAR_HEIGHT + TEXT + 6), PAPER)
    canvas.paste(bar, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for text, x, anchor in ((ends[0], 0, "la"), (middle, width / 2, "ma"), (ends[1], width, "ra")):
        draw.text((x, BAR_HEIGHT + 3), text, INK, font(TEXT - 1), anchor)
    return canvas


def colour_key(entries: Sequence[tuple[tuple[int, int, int], str]], width: int) -> Image.Image:
    """One line for each colour: a swatch and what it stands for."""
    line = TEXT + 7
    canvas = Image.new("RGB", (width, line * len(entries)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, (colour, text) in enumerate(entries):
        draw.rectangle((0, line * place + 2, 12, line * place + 14), fill=colour)
        draw.text((19, line * place), fitted(text, width - 19, TEXT), INK, font(TEXT))
    return canvas


def fitted(text: str, width: int, size: int, bold: bool = False) -> str:
    """The text, shortened with an ellipsis where it is wider than `width` pixels; on one line."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if font(size, bold).getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = font(size, bold).getlength(text[:middle] + "…") <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low] + "…"


def lines_of(text: str, width: int, size: int) -> list[str]:
    """The text broken between words to a width in pixels."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [fitted(line, width, size) for line in lines]


def words(texts: Sequence[str], width: int, size: int = TEXT, *, bold: bool = False, colour: Any = INK) -> Image.Image:
    """Lines of text, one below the other, each broken where it is too long (a bold one is cut)."""
    lines = [
        line for text in texts for line in ([fitted(text, width, size, True)] if bold else lines_of(text, width, size))
    ]
    height = (size + 6) * len(lines)
    canvas = Image.new("RGB", (max(1, width), max(1, height)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, line in enumerate(lines):
        draw.text((0, place * (size + 6)), line, colour, font(size, bold))
    return canvas


def panel(part: Panel) -> Image.Image:
    width = part.image.width
    pieces = [words([part.heading], width, HEADING, bold=True)] if part.heading else []
    pieces += [part.image] + ([part.legend] if part.legend else [])
    pieces += [words(part.lines, width, colour=FAINT)] if part.lines else []
    return stacked(pieces, gap=5)


def stacked(pieces: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """One below the other, flush left."""
    height = sum(piece.height for piece in pieces) + gap * (len(pieces) - 1)
    canvas = Image.new("RGB", (max(piece.width for piece in pieces), height), PAPER)
    top = 0
    for piece in pieces:
        canvas.paste(piece, (0, top))
        top += piece.height + gap
    return canvas


def beside(pieces: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """One beside the other, flush at the top."""
    width = sum(piece.width for piece in pieces) + gap * (len(pieces) - 1)
    canvas = Image.new("RGB", (width, max(piece.height for piece in pieces)), PAPER)
    left = 0
    for piece in pieces:
        canvas.paste(piece, (left, 0))
        left += piece.width + gap
    return canvas


def grid(pieces: Sequence[Image.Image], columns: int, gap: int = GAP) -> Image.Image:
    return stacked([beside(pieces[i : i + columns], gap) for i in range(0, len(pieces), columns)], gap)


def page(title: str, subtitle: Sequence[str], body: Image.Image) -> Image.Image:
    """The whole picture: title, what it is about, and the body, with margins."""
    width = max(body.width, 460)
    pieces = [words([title], width, TITLE, bold=True), words([text for text in subtitle if text], width, colour=FAINT)]
    inner = stacked([stacked(pieces, gap=4), body], gap=12)
    canvas = Image.new("RGB", (inner.width + 2 * MARGIN, inner.height + 2 * MARGIN), PAPER)
    canvas.paste(inner, (MARGIN, MARGIN))
    return canvas


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()
