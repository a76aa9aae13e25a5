"""What was compared -> one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically
from .charts import interval_bar, percent_text
from .comparison import difference_rows, table_rows
from .page import bar_start, ends, notes_list, page, resource, text


def write_page(path: str | Path, document: dict[str, Any]) -> None:
    """What `evaluate` compared as one self-contained HTML file, replaced as a whole or not at all."""
    write_atomically(Path(path), render(document).encode("utf-8", "replace"))


def render(document: dict[str, Any]) -> str:
    """The page that `write_page` writes, as text."""
    compared = document["compared"]
    start = bar_start(min(row["top1_interval"][0] for row in compared))
    title = f"{document['model']} on {document['data']}" if document["data"] else str(document["model"])
    n = compared[0]["n"]
    body = [
        f'<header><h1>{text(title)}</h1><p class="lead">{n:,} {"picture" if n == 1 else "pictures"}, the same in every '
        f"row.</p>{notes_list(document['notes'])}</header><main>",
        '<section aria-labelledby="errors"><h2 id="errors">Accuracy and cost</h2>',
        _html_table(
            table_rows(compared),
            [
                interval_bar(row["top1"], row["top1_interval"], start) + f"<span>{percent_text(row['top1'])}</span>"
                for row in compared
            ],
            f"top-1 accuracy{ends(start)}",
        ),
        "</section>",
    ]
    differences = difference_rows(compared)
    if len(differences) > 1:
        body += [
            '<section aria-labelledby="differences"><h2 id="differences">Differences</h2>',
            '<p class="said">Below 0, the first makes fewer mistakes. Paired bootstrap over pictures, 95 %; p by '
            "McNemar's exact test. An interval that holds 0 is no detectable difference.</p>",
            _html_table(differences),
            "</section>",
        ]
    body.append("</main><footer><p>Accuracies: Wilson score intervals at 95 %. Multiply-adds: for one picture, all "
                "networks and views together.</p></footer>")  # fmt: skip
    return page(title, "\n".join(body), style=resource("report.css"))


def _html_table(cells: Sequence[Sequence[str]], bars: Sequence[str] = (), bars_head: str = "") -> str:
    """A table of escaped cells; `bars`, HTML of ours, become one column more."""

    def cell(tag: str, place: int, value: str) -> str:
        style = "" if any(c.isalpha() for c in cells[-1][place].replace("to", "")) else ' class="number"'
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{style}><bdi>{text(value)}</bdi></{tag}>"

    parts = ['<div class="scroll"><table class="list"><thead><tr>']
    parts += [cell("th", place, value) for place, value in enumerate(cells[0])]
    parts.append(f'<th scope="col" class="share">{bars_head}</th>' if bars else "")
    parts.append("</tr></thead><tbody>")
    for number, line in enumerate(cells[1:]):
        inside = "".join(cell("td", place, value) for place, value in enumerate(line))
        bar = f'<td class="share">{bars[number]}</td>' if bars else ""
        parts.append(f"<tr>{inside}{bar}</tr>")
    parts.append("</tbody></table></div>")
    return "".join(parts)
