"""The drawings of a lesson: a block "draw" holds the arguments of `casebook draw` and a caption."""

import functools
import shlex
from typing import Any, NamedTuple

from ..errors import DataError
from ..workflows.draw import draw as draw_network
from ..workflows.illustrate import ILLUSTRATIONS, illustrate


class Directive(NamedTuple):
    """What a block asks for."""

    command: str
    """What stands behind "casebook draw"."""
    name: str
    """An illustration, or a network."""
    settings: dict[str, Any]
    caption: str

    @property
    def call(self) -> str:
        """The same in Python."""
        given = "".join(f", {key}={value!r}" for key, value in self.settings.items())
        return f"casebook.{'illustrate' if self.name in ILLUSTRATIONS else 'draw'}({self.name!r}{given})"


class Drawn(NamedTuple):
    """A drawing with the command that makes it."""

    command: str
    caption: str
    svg: str
    alt: str
    """What it shows, in words."""


def directive(text: str) -> Directive:
    """Reads a block: its first line is the command, the rest the caption. Raises DataError."""
    command, _, caption = text.strip().partition("\n")
    name, *words = shlex.split(command)
    if len(words) % 2 or not all(flag.startswith("--") for flag in words[::2]):
        raise DataError(f"a drawing is {command!r}, expected a name and pairs of --setting VALUE")
    settings = {
        flag[2:].replace("-", "_"): int(value) if value.isdecimal() else value
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }
    return Directive(command, name, settings, " ".join(caption.split()))


@functools.lru_cache(maxsize=128)  # pages and slides of several lessons show the same ones
def draw(text: str) -> Drawn:
    """The drawing of a block, of a network its first page. Raises DataError, or ModelError for what cannot be drawn."""
    asked = directive(text)
    if asked.name in ILLUSTRATIONS:
        sheet = illustrate(asked.name, **asked.settings)
    else:
        sheet = draw_network(asked.name, **asked.settings).pages[0][1]
    return Drawn(asked.command, asked.caption, sheet.svg(), f"{sheet.title}. {sheet.description}")
