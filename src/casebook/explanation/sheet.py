"""What all sheets share: the choices that lead to one, and its frame."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..evaluation.classifier import Classifier
from ..formatting import short
from . import drawing
from .drawing import HEAT, Panel
from .views import View

TILE = 128
NAMES = {"deconvnet": "deconvnet", "guided": "guided backpropagation", "gradient": "gradient"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be chosen; None and () leave it to each method.

    `layer` is a module's dotted name, such as "stages.3". `class_name` is the name, id or number of the class to
    explain; without it each picture's answer is explained. `square` and `stride` are occlusion's, in pixels of the
    network's input. `rule` ("deconvnet", "guided" or "gradient") is how "deconvnet" and "top9" project down;
    `whole_map` makes "deconvnet" take all units of a channel. `sanity` also randomises the weights from the head down
    and reports how the map changes.
    """

    layer: str | None = None
    channels: tuple[int, ...] = ()
    square: int | None = None
    stride: int | None = None
    whole_map: bool = False
    rule: str = "deconvnet"
    class_name: str | None = None
    sanity: bool = False
    num_channels: int = 4


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A sheet, the panel of it that says most, the array behind it, if there is one, and facts for programs."""

    method: str
    sheet: Image.Image
    panel: Panel
    array: NDArray[Any] | None
    facts: dict[str, Any]


def picture_panel(view: View) -> Panel:
    return Panel(view.picture, "what the network sees", (view.caption,))


def row(panels: Sequence[Panel]) -> Image.Image:
    return drawing.beside([drawing.panel(part) for part in panels], gap=18)


def page(classifier: Classifier, view: View, subtitle: str, body: Image.Image) -> Image.Image:
    return drawing.page(f"{view.answer}", (subtitle, f"{classifier.name}, {view.name}"), body)


def pattern_panels(view: View, pattern: NDArray[np.float32], heading: str, of: str) -> tuple[Panel, Panel]:
    """The pattern itself around grey, and its strength over the picture."""
    size, scale = view.picture.size, drawing.spread(pattern)
    shown = drawing.enlarged(drawing.signed_picture(pattern, scale), size)
    legend = drawing.scale_bar("gray", size[0], (f"−{short(scale)}", f"+{short(scale)}"), "0")
    main = Panel(shown, heading, (of,), legend)
    magnitude = np.abs(pattern).max(0)
    strongest = drawing.spread(magnitude)
    over = drawing.overlay(view.picture, magnitude / strongest if strongest > 0 else magnitude)
    legend = drawing.scale_bar(HEAT, size[0], ("0", short(strongest)), "largest over the colours")
    return main, Panel(over, "its strength", (), legend)
