"""Templates and data -> self-contained HTML pages.

A page loads nothing: style, scripts, charts and pictures are inside it, and its content security policy forbids
everything else. Jinja escapes every value that a template prints, except SVG charts that `charts` has built. A script
gets its data as JSON and only ever shows it as text.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_atomically
from ..formatting import percent_text

LONGEST_NAME = 200
NUM_NOTES = 12  # further notes are folded


class Column(NamedTuple):
    """A column of a table: "text", "number", "date", or "bar" for `Bar`s on an axis from `start` to 1."""

    title: str
    kind: str = "text"
    start: float = 0.0
    first: str = "ascending"
    """The order that the first click on a sortable column gives."""


class Cell(NamedTuple):
    """A text from outside, with what belongs to it."""

    text: str
    below: str = ""
    """A small second line."""
    href: str = ""
    """The target of a link."""
    opens: str = ""
    """The key of the panel that a click on the text opens."""
    sort: str | float | None = None
    """What to sort by in place of the text; "" stays last."""


class Bar(NamedTuple):
    """A share with its interval, drawn on the axis of its column."""

    value: float
    low: float
    high: float


class Table(NamedTuple):
    """Rows hold a string, `Cell` or `Bar` for each column; None leaves a cell empty."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell | Bar | None]]
    note: str = ""


def text_table(lines: Sequence[Sequence[str]], *, text: Sequence[int] = (0,), note: str = "") -> Table:
    """A table from lines of strings, the first being the heading; columns outside `text` hold numbers."""
    head, *rows = lines
    columns = [Column(title, "text" if place in text else "number") for place, title in enumerate(head)]
    return Table(columns, rows, note)


def page(
    template: str, *, scripts: Sequence[str] = (), styles: Sequence[str] = (), data: Any = None, **context: Any
) -> str:
    """The page as text. `scripts` and `styles` are files in static/, `styles` beside the one of all pages.

    A script is a module, which the studio imports as it is; here each follows those that it imports. Scripts find
    `data` as JSON in the element "report-data".
    """
    script = "\n".join(['"use strict";', *map(inlined, scripts)]) if scripts else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        *([f"script-src 'sha256-{digest}'"] if script else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    style = Markup("\n".join(map(resource, ("page.css", *styles))))
    return (
        environment()
        .get_template(template)
        .render(policy="; ".join(policy), style=style, script=Markup(script), data=data, **context)
    )


def write(path: str | Path, html: str) -> None:
    """Writes the page, as a whole or not at all. Raises RunError when the file cannot be written."""
    # A file name that is not UTF-8 reaches us as lone surrogates, which no encoding can write.
    write_atomically(Path(path), html.encode("utf-8", "replace"))


@functools.cache
def environment() -> Environment:
    """The template engine of all pages."""
    made = Environment(
        loader=PackageLoader("casebook.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    made.filters["percent"] = percent_text
    made.filters["count"] = "{:,}".format
    made.filters["cut"] = cut
    made.filters["svg_uri"] = svg_uri
    made.tests["cell"] = lambda value: isinstance(value, Cell)
    made.tests["bar"] = lambda value: isinstance(value, Bar)
    made.globals["num_notes"] = NUM_NOTES
    return made


def resource(name: str) -> str:
    """The text of a style sheet or script."""
    return resources.files("casebook.reports").joinpath("static", name).read_text("utf-8")


def inlined(name: str) -> str:
    """A module as a page holds it, after those that it imports: without "import" and "export"."""
    return re.sub(r"(?m)^(import .*\n+|export )", "", resource(name))


def cut(name: str) -> str:
    """The end of a long name, since the ends of paths differ most."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def bar_start(lowest: float) -> float:
    """Where the axis of interval bars begins, in steps of 10 %, given the lowest end of the intervals."""
    return max(0.0, (lowest * 10 - 0.5) // 1 / 10)


def svg_uri(svg: str) -> str:
    """An SVG as a data URI. As an image, nothing in it can act on the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")
