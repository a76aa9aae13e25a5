"""A network by name -> its strip as a picture in a page, without the numbers of each box, so that it stays small."""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..drawing.draw import draw_network
from ..errors import CasebookError
from .page import svg_uri


class StripPicture(NamedTuple):
    """The picture as a data URI, and the network in words."""

    uri: str
    words: str


def strip_picture(architecture: str, options: Mapping[str, Any], input_size: int | None = None) -> StripPicture | None:
    """The strip of a network; None where no such network can be built, as for a run of a later version."""
    try:
        settings = json.dumps(options, sort_keys=True)
        return _strip(architecture, settings, input_size)
    except (CasebookError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=32)
def _strip(architecture: str, options: str, input_size: int | None) -> StripPicture:
    sheet = draw_network(architecture, input_size, **json.loads(options)).pages[0][1]
    return StripPicture(svg_uri(without_numbers(sheet.svg())), sheet.description)


def without_numbers(svg: str) -> str:
    """The drawing without the tooltips of its boxes."""
    return re.sub(r' data-box="\d+"><title>[^<]*</title>', ">", svg)
