"""What export wrote of a run -> a section of its report: float32 beside 8 bits, also where 8 bits were refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..formatting import size_text
from .page import Cell, Column, Table, environment, write

COLUMNS = (
    Column("Network"),
    Column("Size", "number"),
    Column("Probabilities differ from torch's by at most", "number"),
    Column("Right in validation", "number"),
    Column("Cost in points", "number"),
    Column("95 % interval", "number"),
)
ID, NAME = "bundle", "Bundle"
SECTION = re.compile(rf'<section id="{ID}".*?</section>\n', re.DOTALL)
LINK = f'<li><a href="#{ID}">{NAME}</a></li>\n'
END_OF_SECTIONS, END_OF_LINKS = "</main>", "</ul></nav>"


def networks_table(manifest: Mapping[str, Any]) -> Table:
    """A row for each network that was made, the refused 8-bit one included. `manifest` is the bundle's."""
    verdict = manifest["int8"] or {}
    rows = []
    for name, title in (("float32", "float32"), ("int8", "8 bits")):
        form = manifest["networks"].get(name)
        if form is not None:
            held = (Cell(title, below=form["file"]), size_text(form["bytes"]), f"{form['worst_difference']:.1e}")
        elif verdict.get("n"):
            held = (Cell(title, below="refused, not in the bundle"), "–", "–")
        else:
            continue
        rows.append([*held, _right(verdict, name), *_cost(verdict, name)])
    return Table(COLUMNS, rows)


def _right(verdict: Mapping[str, Any], name: str) -> str:
    if verdict.get("difference") is None:
        return "–"
    return f"{verdict[f'{name}_right']:,} of {verdict['n']:,}"


def _cost(verdict: Mapping[str, Any], name: str) -> tuple[str, str]:
    if name == "float32" or verdict.get("difference") is None:
        return "–", "–"
    low, high = verdict["interval"]
    return f"{verdict['difference']:.2f}", f"{low:.2f} to {high:.2f}"


def add_export(report: Path, bundle: str, manifest: Mapping[str, Any]) -> bool:
    """Puts the section on the bundle called `bundle` into a run's report, in place of an earlier one.

    False where the file is not there, or is no report of ours. Raises RunError where it cannot be written.
    """
    try:
        page = report.read_text("utf-8")
    except (OSError, ValueError):
        return False
    page = SECTION.sub("", page).replace(LINK, "")
    if page.count(END_OF_SECTIONS) != 1 or page.count(END_OF_LINKS) != 1:
        return False
    section = environment().get_template("exported.html.j2").render(
        id=ID, name=NAME, bundle=bundle, int8=manifest["int8"], table=networks_table(manifest),
        num_golden=len(manifest["golden"]),
    )  # fmt: skip
    for end, added in ((END_OF_LINKS, LINK), (END_OF_SECTIONS, section)):
        page = page.replace(end, added + end)
    write(report, page)
    return True
