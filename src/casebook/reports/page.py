"""The shell of a self-contained page, and the small parts that pages share.

A page loads nothing: style, script, charts and pictures are inside, and its content security policy forbids the rest.
Whatever comes from the user (class names, file names, settings) is escaped in the HTML and enters the script as JSON
that it only ever shows as text.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

LONGEST_NAME = 200
NUM_NOTES = 12  # in sight; the others unfold


def page(title: str, body: str, *, style: str, script: str = "", data: Any = None) -> str:
    """The whole page as text; `script` finds `data` as JSON in the element "report-data"."""
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # "</script>" or "<!--" inside a string would end or swallow the element.
    payload = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
            f"<title>{text(title)}</title><style>{style}</style></head><body>",
            body,
            f'<script type="application/json" id="report-data">{payload}</script>',
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


def resource(name: str) -> str:
    return resources.files("casebook.reports").joinpath(name).read_text("utf-8")


def text(value: object) -> str:
    return escape(str(value), quote=True)


def cut(name: str) -> str:
    """The end of a long name: it tells files apart."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def ends(start: float) -> str:
    """What the two ends of an interval bar stand for."""
    return f'<div class="ends"><span>{100 * start:.0f} %</span><span>100 %</span></div>'


def bar_start(lowest: float) -> float:
    """Where the axis of interval bars begins: what no interval comes near is left out."""
    return max(0.0, np.floor(lowest * 10 - 0.5) / 10)


def notes_list(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = [f"<li>{text(note)}</li>" for note in notes]
    rest = ""
    if len(items) > NUM_NOTES:
        more = f"<summary>{len(items) - NUM_NOTES:,} more</summary>"
        rest = f"<details>{more}<ul>{''.join(items[NUM_NOTES:])}</ul></details>"
    return f'<div class="notes"><ul>{"".join(items[:NUM_NOTES])}</ul>{rest}</div>'
