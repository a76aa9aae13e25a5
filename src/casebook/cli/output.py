"""What every command prints with: results to stdout, everything else to stderr."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import typer

from ..formatting import one_line
from ..tables import TextColumn, layout

PIPE_WIDTH = 100  # characters of a table that goes into a pipe or file
WIDE = typer.Option(False, "--wide", help="Show all columns, however wide the terminal is.")


def fail(message: str) -> int:
    """One line on stderr, red on a terminal; gives the exit code."""
    line = one_line(" ".join(message.split()))
    red = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(f"\033[31mError: {line}\033[0m" if red else f"Error: {line}", file=sys.stderr)
    return 1


def wrong_usage(message: str) -> typer.Exit:
    """To be raised where flags contradict each other: says why, exit code 2."""
    fail(message)
    return typer.Exit(2)


def say(line: str) -> None:
    """One line of progress or a remark, on stderr."""
    print(one_line(line), file=sys.stderr, flush=True)


def next_step(command: str, what: str) -> None:
    """The command that most people want after this one, on stderr."""
    say(f"next: {command}  ({what})")


def print_json(document: Any) -> None:
    """The document on stdout, in ASCII where stdout, or a file name that is no UTF-8, cannot have it otherwise."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=2, allow_nan=False)
    print(text)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def accuracy_lines(metrics: dict[str, Any]) -> list[str]:
    """Top-1, and top-5 where there is one, with interval, error and number of pictures; of several labels a picture
    what `LabelScores` says."""
    if "map" in metrics:
        from ..scores import LabelScores

        return [str(LabelScores.from_dict(metrics))]
    lines = []
    for name in ("top1", "top5"):
        if name in metrics:
            low, high = metrics[f"{name}_interval"]
            lines.append(
                f"top-{name[3:]} {percent(metrics[name])} (95 % interval {percent(low)} to {percent(high)}; "
                f"error {percent(metrics[f'{name}_error'])}), {metrics['n']} pictures"
            )
    return lines


def table_width(wide: bool = False) -> int | None:
    """Characters of a line: the terminal's, 100 in a pipe or file unless COLUMNS is set, and no limit if `wide`."""
    return None if wide else shutil.get_terminal_size((PIPE_WIDTH, 24)).columns


def print_table(columns: Sequence[TextColumn], rows: Sequence[Sequence[str] | str], *, wide: bool = False) -> None:
    """A table on stdout that fits the terminal, or, if `wide`, has every column on one line."""
    shown = [one_line(row) if isinstance(row, str) else list(map(one_line, row)) for row in rows]
    found = layout(columns, shown, table_width(wide))
    print(found.text)
    left_out(found.left_out)


def print_text(text: str) -> None:
    """Lines on stdout, wrapped to the terminal below their own indent; a word, such as a path, stays whole."""
    for line in map(one_line, text.split("\n")):
        indent = " " * (len(line) - len(line.lstrip()))
        wrapped = textwrap.wrap(
            line.lstrip(), table_width() or 0, initial_indent=indent, subsequent_indent=indent + "  ",
            break_long_words=False, break_on_hyphens=False, replace_whitespace=False,
        )  # fmt: skip
        print("\n".join(wrapped or [line]))


def left_out(columns: Sequence[str]) -> None:
    """Says on stderr which columns a table leaves out."""
    if columns:
        say(f"columns left out of the table: {', '.join(columns)}; --wide shows them")


def skipped_lines(skipped: list[dict[str, str]], shown: int = 10) -> list[str]:
    """A summary of the pictures that were left out, with the first reasons."""
    if not skipped:
        return []
    lines = [f"{len(skipped)} pictures could not be read and were left out:"]
    lines += [f"  {item['picture']}: {item['reason']}" for item in skipped[:shown]]
    if len(skipped) > shown:
        lines.append(f"  ... and {len(skipped) - shown} more (all in --json and in the report)")
    return lines
