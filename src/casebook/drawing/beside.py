"""Two drawings -> one, side by side: a plain network beside its residual twin."""

import dataclasses

from ..errors import ModelError
from .draw import Drawing
from .svg import Sheet


def beside(left: Drawing, right: Drawing) -> Drawing:
    """Both drawings on one sheet. It has no facts, so it becomes a picture, not a page.

    Raises ModelError for a drawing of several pages.
    """
    for drawing in (left, right):
        if len(drawing.pages) > 1:
            raise ModelError(f"{drawing.network} has {len(drawing.pages)} pages; choose a stage, which has one")
    (_, first), (_, second) = left.pages[0], right.pages[0]
    title = f"{left.network} beside {right.network}"
    words = f"At the left, {first.title}: {first.description} At the right, {second.title}: {second.description}"
    sheet = Sheet(first.width + second.width, max(first.height, second.height), title, words)
    sheet.paste(first, (0, 0))
    sheet.paste(second, (first.width, 0))
    return dataclasses.replace(left, network=title, pages=((title, sheet),), facts={})
