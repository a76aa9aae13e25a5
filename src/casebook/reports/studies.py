"""Results of studies, as plain data -> the page of one, or one book of all; nothing is loaded from outside."""

import base64
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any

from .page import notes_list, page, text
from .page import resource as shared_resource

KINDS = {
    "reproduced": "yes",
    "not reproduced": "no",
    "no detectable difference": "open",
    "exact": "yes",
    "not exact": "no",
    "no verdict": "open",
}  # kind of verdict -> the colour that marks it
NO_CLAIM = {"kind": "no verdict", "outcome": "no claim", "claim": "see the figures"}
BOOK_CAVEAT = (
    "Each verdict names the data on which it was found. It holds for that data, these networks and this length of "
    "training, and says nothing about a paper's own set-up."
)


def study_page(result: dict[str, Any]) -> str:
    """The page of one study, as HTML text."""
    return page(result["title"], f"<main>{_article(result, 1)}</main>{_footer([result])}", style=_style())


def book(results: Sequence[dict[str, Any]]) -> str:
    """All studies in one page, with a caveat and a picture of each in front."""
    counts = Counter(verdict["kind"] for result in results for verdict in result["verdicts"])
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    modes = " and ".join(sorted({result["mode"] for result in results}))
    head = (
        '<header><h1>The book of studies</h1><p class="lead">The experiments that made the classic networks famous, '
        f"run again: {len(results)} studies in {modes} mode, {_minutes(sum(r['seconds'] for r in results))} in all. "
        f"{sum(counts.values())} claims: {told}.</p>"
        f'<p class="caveat">{text(BOOK_CAVEAT)}</p></header>'
    )
    summaries = "".join(
        f'<section><h2><a href="#{text(result["study"])}">{text(result["title"])}</a></h2>'
        f'{_picture(result["summary"])}<p class="said">{text(result["caveat"])}</p></section>'
        for result in results
        if result["summary"]
    )
    lines = []
    for result in results:
        for place, verdict in enumerate(result["verdicts"] or [NO_CLAIM]):
            link = f'<a href="#{text(result["study"])}">{text(result["study"])}</a>' if not place else ""
            seconds = _minutes(result["seconds"]) if not place else ""
            lines.append(
                f"<tr><td>{link}</td><td>{text(verdict['claim'])}</td><td>{_mark(verdict)}</td>"
                f'<td class="number">{text(_interval(verdict))}</td><td class="number">{seconds}</td></tr>'
            )
    contents = (
        '<section aria-labelledby="contents"><h2 id="contents">Claims and verdicts</h2><div class="scroll">'
        '<table class="list"><thead><tr><th scope="col">Study</th><th scope="col">Claim</th>'
        '<th scope="col">Verdict</th><th scope="col" class="number">Difference, 95 % interval</th>'
        f'<th scope="col" class="number">Time</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        '<p class="said">A difference of errors is in points: below 0 the first of the two makes fewer mistakes. Where '
        "its interval holds 0, there is no detectable difference. Its interval covers the choice of seeds and of test "
        "pictures, not that of other data or a longer training.</p></section>"
    )
    body = head + "<main>" + summaries + contents + "".join(_article(result, 2) for result in results) + "</main>"
    return page("The book of studies", body + _footer(results), style=_style())


def verdict_lines(result: dict[str, Any]) -> list[str]:
    """ "confirmed: a plain network ... (test error ...)", one a verdict."""
    return [f"{verdict['outcome']}: {verdict['claim']} ({verdict['text']})" for verdict in result["verdicts"]]


def markdown_table(results: Sequence[dict[str, Any]]) -> str:
    """The verdicts of all studies as a Markdown table."""
    lines = ["| study | claim | verdict | difference (95 % interval) | time |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        for place, verdict in enumerate(result["verdicts"]):
            name, seconds = (result["study"], _minutes(result["seconds"])) if not place else ("", "")
            lines.append(f"| {name} | {verdict['claim']} | {verdict['outcome']} | {_interval(verdict)} | {seconds} |")
    return "\n".join(lines) + "\n"


def _article(result: dict[str, Any], level: int) -> str:
    name = text(result["study"])
    seeds = ", ".join(map(str, result["seeds"]))
    words = [
        ("Question", result["question"]),
        ("The paper", result["paper"]),
        ("Its result", result["claim"]),
        ("Design", result["design"]),
    ]
    facts = "".join(f"<dt>{title}</dt><dd>{_linked(what)}</dd>" for title, what in words)
    ran = f"{result['mode']} mode"
    ran += f", data {result['data']}, seeds {seeds}" if result["arms"] else ""
    ran += f", {_minutes(result['seconds'])}"
    parts = [
        f'<section id="{name}"><h{level}>{text(result["title"])}</h{level}>',
        f'<p class="caveat">{text(result["caveat"])}</p><p class="said">{text(ran)}</p><dl class="words">{facts}</dl>',
        f"<h{level + 1}>Verdicts</h{level + 1}>" if result["verdicts"] else "",
        *(_verdict(verdict) for verdict in result["verdicts"]),
        *(_picture(picture) for picture in result["pictures"]),
        *(_table(table, level + 1) for table in result["tables"]),
        _arms(result["arms"], level + 1),
        f"<h{level + 1}>What would change it</h{level + 1}><p>{text(result['would_change'])}</p>",
        notes_list(result["notes"]),
        "</section>",
    ]
    return "\n".join(parts)


def _verdict(verdict: dict[str, Any]) -> str:
    return (
        f'<div class="verdict">{_mark(verdict)}<p><b>{text(_sentence(verdict["claim"]))}</b> '
        f"{text(_sentence(verdict['text']))}</p></div>"
    )


def _mark(verdict: dict[str, Any]) -> str:
    return f'<span class="outcome {KINDS[verdict["kind"]]}">{text(verdict["outcome"])}</span>'


def _picture(picture: dict[str, str]) -> str:
    # As an image, so that what a label holds cannot act on the page.
    encoded = base64.b64encode(picture["svg"].encode()).decode("ascii")
    return (
        f'<figure><img alt="{text(picture["alt"])}" src="data:image/svg+xml;base64,{encoded}">'
        f"<figcaption>{text(picture['title'])}</figcaption></figure>"
    )


def _table(table: dict[str, Any], level: int) -> str:
    numbers = [all(_is_number(row[i]) for row in table["rows"]) for i in range(len(table["columns"]))]
    styles = [' class="number"' if number else "" for number in numbers]
    head = "".join(f'<th scope="col"{s}>{text(c)}</th>' for c, s in zip(table["columns"], styles, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{s}>{text(c)}</td>" for c, s in zip(row, styles, strict=True)) + "</tr>"
        for row in table["rows"]
    )
    note = f'<p class="said">{text(table["note"])}</p>' if table["note"] else ""
    return (
        f'<h{level}>{text(table["title"])}</h{level}><div class="scroll"><table class="list"><thead><tr>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _arms(arms: Sequence[dict[str, Any]], level: int) -> str:
    """What each arm was given and gave."""
    if not arms:
        return ""
    rows = []
    for arm in arms:
        errors = arm["test_errors"]
        diverged = f"; seeds {', '.join(map(str, arm['diverged']))} diverged" if arm["diverged"] else ""
        rows.append(
            [
                arm["name"], f"{arm['learning_rate']:g}", str(arm["epochs"]), f"{100 * sum(errors) / len(errors):.2f}",
                ", ".join(f"{100 * error:.2f}" for error in errors) + diverged, f"{arm['train_seconds']:.1f}",
            ]
        )  # fmt: skip
    columns = ["arm", "learning rate", "epochs", "test error in %", "of each seed", "seconds a seed"]
    table = {"title": "The arms", "columns": columns, "rows": rows, "note": ""}
    return f"<details><summary>The arms: rates, errors, times</summary>{_table(table, level)}</details>"


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").replace(" %", ""))
    except ValueError:
        return cell in ("", "-", "none")
    return True


def _interval(verdict: dict[str, Any]) -> str:
    if not verdict.get("interval"):
        return ""
    low, high = verdict["interval"]
    if verdict["unit"] in ("share of test pictures", "share of training pictures"):
        return f"{100 * verdict['difference']:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{verdict['difference']:.3g} ({low:.3g} to {high:.3g}) {verdict['unit']}"


def _linked(words: str) -> str:
    """The words with their addresses as links."""
    return " ".join(
        f'<a href="{text(word.rstrip(";,."))}">{text(word)}</a>' if word.startswith("https://") else text(word)
        for word in words.split(" ")
    )


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?")) else words + "."


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _footer(results: Sequence[dict[str, Any]]) -> str:
    machines = []
    for result in results:
        found = result["environment"]
        machine = f"{found['processor']}, {found['cores']} cores"
        machine += f", {found['gpu']}" if found["gpu"] else ""
        machines.append(f"{machine}; torch {found['torch']}, Casebook {found['casebook']}")
    told = "; ".join(dict.fromkeys(machines))
    return (
        f"<footer><p>Ran on: {text(told)}. Differences: paired by seed and picture, with the variance of both; see "
        "each study's design.</p></footer>"
    )


def _style() -> str:
    own = resources.files("casebook.reports").joinpath("studies.css").read_text("utf-8")
    return shared_resource("report.css") + own
