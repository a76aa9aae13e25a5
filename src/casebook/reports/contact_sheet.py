"""Answered pictures -> one page with the pictures of each class."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..runner.answers import Answer
from .album import Album
from .page import page, write


class Shown(NamedTuple):
    """A picture on the sheet: what is said of it, and a function that opens it."""

    answer: Answer
    open: Callable[[], Image.Image]


def write_contact_sheet(
    path: str | Path, found: dict[str, Any], groups: Sequence[tuple[str | None, Sequence[Shown]]]
) -> None:
    """Writes the page as one self-contained HTML file, as a whole or not at all.

    `found` is what `casebook predict --json` prints where answers go into files. A group is a class, or None for
    "unsure", with its pictures. Raises RunError.
    """
    write(path, contact_sheet(found, groups))


def contact_sheet(found: dict[str, Any], groups: Sequence[tuple[str | None, Sequence[Shown]]]) -> str:
    """The page as text. While there is room, each group shows as many pictures as the others."""
    places = [(rank, number) for number, (_, shown) in enumerate(groups) for rank in range(len(shown))]
    places.sort()
    album = Album(lambda row: groups[places[row][1]][1][places[row][0]].open())
    cards: list[list[dict[str, Any]]] = [[] for _ in groups]
    for row, (rank, number) in enumerate(places):
        album.add(row)
        if row in album:
            answer = groups[number][1][rank].answer
            file = Path(answer.picture).name
            cards[number].append({"answer": answer, "file": file, "thumbnail": album.thumbnail(row)})
    counts = {entry["class"]: entry["pictures"] for entry in found["classes"]}
    sections = [
        {"name": label, "count": found["unsure"] if label is None else counts[label], "cards": shown}
        for (label, _), shown in zip(groups, cards, strict=True)
    ]
    return page("contact_sheet.html.j2", title=f"Answers of {found['model']}", found=found, sections=sections)
