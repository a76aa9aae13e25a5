"""The drawings of a lesson: a block "draw" holds a command's arguments and a caption."""

from typing import NamedTuple

from markupsafe import Markup


class Drawn(NamedTuple):
    """A drawing with the command that makes it."""

    command: str
    caption: str
    svg: Markup | None
    """None where this version cannot draw it."""


def draw(text: str) -> Drawn:
    """The drawing of a block: its first line is what stands behind "casebook draw", the rest a caption."""
    command, _, caption = text.strip().partition("\n")
    return Drawn(command, " ".join(caption.split()), None)
