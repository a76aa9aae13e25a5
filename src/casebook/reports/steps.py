"""Drawings of one thing at many steps -> a page with a button for each step; on paper all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .page import page, svg_uri, write


class Step(NamedTuple):
    """One drawing as SVG, and what it shows in words."""

    svg: str
    words: str


def render(title: str, lead: str, steps: Sequence[Step]) -> str:
    """The page as text. It needs no script: the buttons are a group of radio buttons, which arrow keys move."""
    shown = [{"number": number, "uri": svg_uri(step.svg), "words": step.words} for number, step in enumerate(steps, 1)]
    return page("steps.html.j2", title=title, lead=lead, steps=shown)


def write_steps(path: Path, title: str, lead: str, steps: Sequence[Step]) -> None:
    """Writes one self-contained HTML file, as a whole or not at all."""
    write(path, render(title, lead, steps))
