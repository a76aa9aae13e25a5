"""A network -> a `Drawing`, which shows itself in a notebook and writes itself to SVG files.

`STYLES` is the table of styles. A style is a function from a structure and a stage (or None) to the pages and the facts
of their boxes; to add one, add a row.
"""

import dataclasses
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ..errors import ModelError, did_you_mean
from ..files import write_atomically
from .facts import Fact
from .fold import Structure, fold
from .graph import trace_graph
from .maps import draw_volumes
from .outline import outline
from .panels import draw_blocks, draw_layers
from .pieces import Drawn
from .strip import draw_strip
from .svg import Sheet


class Style(NamedTuple):
    """How a level is drawn. `draw` gets the structure and the name of a stage, or None for the whole network."""

    level: str
    draw: Callable[[Structure, str | None], Drawn]
    what: str


def _strip(structure: Structure, stage: str | None) -> Drawn:
    if stage is None:
        return draw_strip(structure)
    return draw_strip(dataclasses.replace(structure, sections=(structure.section(stage),), sides=()))


STYLES = {
    "strip": Style("strip", _strip, "rows of layers and modules, shortcuts as arcs beside them"),
    "block": Style("block", draw_blocks, "each distinct block with its branches"),
    "layers": Style("layers", draw_layers, "every call, a page for each stage"),
    "volume": Style("layers", draw_volumes, "the feature maps of a chain of layers, as boxes"),
}
LEVELS = ("strip", "block", "layers")


@dataclasses.dataclass(frozen=True)
class Drawing:
    """The pages of a drawing, and the numbers behind its boxes.

    In a notebook it shows its first page. `svg()` is a page as text, `write` saves the pages.
    """

    network: str
    level: str
    pages: tuple[tuple[str, Sheet], ...]
    facts: dict[int, Fact]
    outline: tuple[str, ...]
    """The whole folded network as lines of text."""

    def svg(self, page: int = 0) -> str:
        """A page as the text of an SVG file."""
        return self.pages[page][1].svg()

    def write(self, path: str | Path) -> list[Path]:
        """Writes the drawing as SVG and gives the files: one page to `path`, more to `path` with their names.

        Raises:
            ModelError: for a name that does not end in .svg.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise ModelError(f"the drawing {path} ends in '{path.suffix}', expected .svg; --html writes a page")
        written: list[Path] = []
        for name, sheet in self.pages:
            target = path if len(self.pages) == 1 else path.with_name(f"{path.stem}-{_file_name(name)}{path.suffix}")
            write_atomically(target, sheet.svg().encode())
            written.append(target)
        return written

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        """All pages, one below the other."""
        titles = [f"<p>{html.escape(name)}</p>" if len(self.pages) > 1 else "" for name, _ in self.pages]
        return "".join(title + sheet.svg() for title, (_, sheet) in zip(titles, self.pages, strict=True))


def draw_network(
    network: str | nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    level: str | None = None,
    style: str | None = None,
    stage: str | int | None = None,
    in_channels: int | None = None,
    **options: Any,
) -> Drawing:
    """The drawing of a network by name, or of a module. Arguments and errors are those of `casebook.draw`."""
    chosen = style_of(level, style)
    structure = fold(trace_graph(network, input_size, in_channels=in_channels, **options))
    return drawing_of(structure, chosen, None if stage is None else str(stage))


def drawing_of(structure: Structure, style: str, stage: str | None = None) -> Drawing:
    """The drawing of a structure in one style."""
    drawn = STYLES[style].draw(structure, stage)
    return Drawing(structure.graph.network, STYLES[style].level, drawn.pages, drawn.facts, tuple(outline(structure)))


def style_of(level: str | None, style: str | None) -> str:
    """The row of `STYLES` for a level and a style, of which one or both may be missing."""
    if level is not None and level not in LEVELS:
        raise ModelError(f"unknown level '{level}'{did_you_mean(level, LEVELS) or ';'} expected {', '.join(LEVELS)}")
    if style is None:
        return level or "strip"
    if style not in STYLES:
        raise ModelError(f"unknown style '{style}'{did_you_mean(style, STYLES) or ';'} expected {', '.join(STYLES)}")
    if style == "block" and level == "layers":
        return "layers"
    if level is not None and STYLES[style].level != level:
        raise ModelError(f"the style '{style}' draws the level '{STYLES[style].level}', not '{level}'; leave one out")
    return style


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")
