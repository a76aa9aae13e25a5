"""Results of studies, as plain data -> the page of one study, or one book of all."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .page import Cell, Column, Table, page, svg_uri

KINDS = {
    "reproduced": "yes",
    "not reproduced": "no",
    "no detectable difference": "open",
    "exact": "yes",
    "not exact": "no",
    "no verdict": "open",
}  # kind of verdict -> the colour that marks it
BOOK_CAVEAT = (
    "Each verdict names the data on which it was found. It holds for that data, these networks and this length of "
    "training, and says nothing about a paper's own set-up."
)


def study_page(result: dict[str, Any]) -> str:
    """The page of one study, as HTML text."""
    return page("study.html.j2", title=result["title"], study=_content(result), machines=_machines([result]))


def book(results: Sequence[dict[str, Any]]) -> str:
    """All studies in one page, with a caveat and a picture of each in front."""
    counts = Counter(verdict["kind"] for result in results for verdict in result["verdicts"])
    return page(
        "book.html.j2",
        title="The book of studies",
        caveat=BOOK_CAVEAT,
        studies=[_content(result) for result in results],
        modes=" and ".join(sorted({result["mode"] for result in results})),
        duration=_minutes(sum(result["seconds"] for result in results)),
        outcomes=[(kind, KINDS[kind], number) for kind, number in counts.most_common()],
        num_claims=counts.total(),
        machines=_machines(results),
    )


def verdict_lines(result: dict[str, Any]) -> list[str]:
    """ "reproduced on digits: a plain network ... (test error ...)", one for each verdict."""
    return [f"{verdict['outcome']}: {verdict['claim']} ({verdict['text']})" for verdict in result["verdicts"]]


def markdown_table(results: Sequence[dict[str, Any]]) -> str:
    """The verdicts of all studies as a Markdown table."""
    lines = ["| study | claim | verdict | difference (95 % interval) | time |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        for place, verdict in enumerate(result["verdicts"]):
            name, seconds = (result["study"], _minutes(result["seconds"])) if not place else ("", "")
            lines.append(f"| {name} | {verdict['claim']} | {verdict['outcome']} | {_interval(verdict)} | {seconds} |")
    return "\n".join(lines) + "\n"


def _content(result: dict[str, Any]) -> dict[str, Any]:
    """What the templates show of a study."""
    return {
        "name": result["study"],
        "title": result["title"],
        "ran": _ran(result),
        "caveat": result["caveat"],
        "summary": result["summary"] and result["summary"] | {"uri": svg_uri(result["summary"]["svg"])},
        "words": [
            ("Question", result["question"]),
            ("The paper", result["paper"]),
            ("Its result", result["claim"]),
            ("Design", result["design"]),
        ],
        "verdicts": [_verdict(verdict) for verdict in result["verdicts"]],
        "duration": _minutes(result["seconds"]),
        "pictures": [picture | {"uri": svg_uri(picture["svg"])} for picture in result["pictures"]],
        "tables": [(table["title"], _table(table)) for table in result["tables"]],
        "arms": _arms(result["arms"]) if result["arms"] else None,
        "would_change": result["would_change"],
        "notes": result["notes"],
    }


def _verdict(verdict: dict[str, Any]) -> dict[str, str]:
    return {
        "outcome": verdict["outcome"],
        "style": KINDS[verdict["kind"]],
        "claim": _sentence(verdict["claim"]),
        "text": _sentence(verdict["text"]),
        "difference": _interval(verdict),
    }


def _ran(result: dict[str, Any]) -> str:
    parts = [f"{result['mode']} mode"]
    if result["arms"]:
        parts += [f"data {result['data']}", f"seeds {', '.join(map(str, result['seeds']))}"]
    return ", ".join([*parts, _minutes(result["seconds"])])


def _table(table: dict[str, Any]) -> Table:
    numbers = [all(_is_number(row[i]) for row in table["rows"]) for i in range(len(table["columns"]))]
    columns = [
        Column(title, "number" if number else "text")
        for title, number in zip(table["columns"], numbers, strict=True)
    ]  # fmt: skip
    return Table(columns, table["rows"], table["note"])


def _arms(arms: Sequence[dict[str, Any]]) -> Table:
    """The settings and the results of each arm."""
    columns = [
        Column("Arm"),
        Column("Learning rate", "number"),
        Column("Epochs", "number"),
        Column("Test error, %", "number"),
        Column("Of each seed"),
        Column("Seconds a seed", "number"),
    ]
    rows = []
    for arm in arms:
        errors = arm["test_errors"]
        diverged = f"; seeds {', '.join(map(str, arm['diverged']))} diverged" if arm["diverged"] else ""
        rows.append(
            [
                Cell(arm["name"]), f"{arm['learning_rate']:g}", str(arm["epochs"]),
                f"{100 * sum(errors) / len(errors):.2f}",
                ", ".join(f"{100 * error:.2f}" for error in errors) + diverged, f"{arm['train_seconds']:.1f}",
            ]
        )  # fmt: skip
    return Table(columns, rows)


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


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?")) else words + "."


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _machines(results: Sequence[dict[str, Any]]) -> str:
    machines = []
    for result in results:
        found = result["environment"]
        machine = f"{found['processor']}, {found['cores']} cores"
        machine += f", {found['gpu']}" if found["gpu"] else ""
        machines.append(f"{machine}; torch {found['torch']}, Casebook {found['casebook']}")
    return "; ".join(dict.fromkeys(machines))
