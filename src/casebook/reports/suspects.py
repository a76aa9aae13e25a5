"""Suspected labels -> one page with their pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from .album import Album, source_thumbnails
from .page import page, write

if TYPE_CHECKING:
    from ..workflows.suspects import Suspects

MOST_SHOWN = 500


def write_suspects_page(path: str | Path, found: "Suspects") -> None:
    """Writes the page as one self-contained HTML file, as a whole or not at all. Raises RunError."""
    shown = found.suspects[:MOST_SHOWN]
    album = Album(source_thumbnails(found.source, [suspect.name for suspect in shown]))
    for row in range(len(shown)):
        album.add(row)
    cards = [{"suspect": suspect, "thumbnail": album.thumbnail(row)} for row, suspect in enumerate(shown)]
    write(path, page("suspects.html.j2", title=f"Suspect labels: {found.source.name}", found=found, cards=cards))
