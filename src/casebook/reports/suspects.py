"""Suspected labels -> one page with their pictures."""

from pathlib import Path
from typing import Any

from ..data.pictures import Source
from .album import Album, source_thumbnails
from .page import page, write

MOST_SHOWN = 500


def write_suspects_page(path: str | Path, source: Source, document: dict[str, Any]) -> None:
    """Writes the page as one self-contained HTML file, as a whole or not at all.

    `document` is what `casebook data suspects --json` prints. Raises RunError.
    """
    shown = document["suspects"][:MOST_SHOWN]
    album = Album(source_thumbnails(source, [suspect["name"] for suspect in shown]))
    for row in range(len(shown)):
        album.add(row)
    cards = [{"suspect": suspect, "thumbnail": album.thumbnail(row)} for row, suspect in enumerate(shown)]
    write(path, page("suspects.html.j2", title=f"Suspect labels: {source.name}", found=document, cards=cards))
