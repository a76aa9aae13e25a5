"""What was compared -> one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation.comparison import said, verdict
from ..files import write_atomically
from ..formatting import giga
from .charts import interval_bar
from .page import bar_start, ends, notes_list, page, resource, text

EXPLANATION = (
    "In points, below 0 where the first makes fewer mistakes; with the 95 % interval of a paired bootstrap over "
    "pictures and McNemar's exact p. Where the interval holds 0, there is no detectable difference."
)


def write_page(path: str | Path, document: dict[str, Any]) -> None:
    """What `evaluate` compared as one self-contained HTML file, replaced as a whole or not at all."""
    write_atomically(Path(path), render(document).encode("utf-8", "replace"))


def render(document: dict[str, Any]) -> str:
    """The page that `write_page` writes, as text."""
    compared = document["compared"]
    title = f"{document['model']} on {document['data']}" if document["data"] else str(document["model"])
    n = compared[0]["n"]
    pictures = f"{n:,} {'picture' if n == 1 else 'pictures'}, the same in every row."
    body = [
        f'<header><h1>{text(title)}</h1><p class="lead">{pictures}</p>{notes_list(document["notes"])}</header><main>',
        f'<section aria-labelledby="errors"><h2 id="errors">Errors and cost</h2>{_errors(compared)}</section>',
    ]
    if any(row["against"] for row in compared):
        body.append(
            '<section aria-labelledby="differences"><h2 id="differences">Differences</h2>'
            f'<p class="said">{EXPLANATION}</p>{_differences(compared)}</section>'
        )
    body.append(
        "</main><footer><p>Errors: Wilson score intervals at 95 %. Multiply-adds: for one picture, all networks and "
        "views together.</p></footer>"
    )
    return page(title, "\n".join(body), style=resource("report.css"))


def _errors(compared: Sequence[dict[str, Any]]) -> str:
    several = len({row["name"] for row in compared}) > 1
    tops = _tops(compared)
    start = bar_start(min(row["top1_interval"][0] for row in compared))
    head = [_head("Network")] * several + [_head("Protocol"), _head("Views", "number")]
    head += [_head(f"Top-{top[3:]} error", "number") for top in tops]
    head += [_head("Multiply-adds", "number"), f'<th scope="col" class="share">Top-1 accuracy{ends(start)}</th>']
    lines = []
    for row in compared:
        cells = [_cell(row["name"])] * several + [_cell(row["protocol"]), _number(str(row["views"]))]
        for top in tops:
            low, high = row[f"{top}_interval"]
            cells.append(
                _number(f"{100 * row[f'{top}_error']:.2f} %", f"{100 * (1 - high):.2f} to {100 * (1 - low):.2f}")
            )
        bar = interval_bar(row["top1"], row["top1_interval"], start)
        cells += [_number(giga(row["multiply_adds"])), f'<td class="share">{bar}</td>']
        lines.append(cells)
    return _table(head, lines)


def _differences(compared: Sequence[dict[str, Any]]) -> str:
    several = len({row["name"] for row in compared}) > 1
    tops = _tops(compared)
    head = [_head("Error of"), _head("less that of"), *(_head(f"Top-{top[3:]}", "number") for top in tops)]
    lines = []
    for row in compared:
        for other in row["against"]:
            cells = [_cell(said(row, other, several)), _cell(said(other, row, several))]
            for top in tops:
                found = other[f"{top}_error"]
                low, high = (100 * end for end in found["interval"])
                between = f"{low:+.2f} to {high:+.2f}, p {found['p_value']:.2g}"
                cells.append(_number(f"{100 * found['difference']:+.2f}", between))
            lines.append([*cells, _cell(verdict(other["top1_error"]))])
    return _table([*head, _head("Top-1 verdict")], lines)


def _tops(compared: Sequence[dict[str, Any]]) -> list[str]:
    return ["top1", "top5"] if all("top5" in row for row in compared) else ["top1"]


def _head(name: str, style: str = "") -> str:
    return f'<th scope="col"{f" class={style}" if style else ""}>{name}</th>'


def _cell(value: str) -> str:
    return f"<td><bdi>{text(value)}</bdi></td>"


def _number(value: str, between: str = "") -> str:
    return f'<td class="number">{text(value)}{f"<br><small>{text(between)}</small>" if between else ""}</td>'


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    return (
        f'<div class="scroll"><table class="list"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
