"""casebook runs"""

import typer

from ..formatting import giga
from ..tables import TextColumn
from .output import WIDE, next_step, percent, print_json, print_table, say

COLUMNS = (
    TextColumn("run", fold=20),
    TextColumn("data", rank=3),
    TextColumn("network"),
    TextColumn("test", right=True),
    TextColumn("95 % interval", right=True),
    TextColumn("pictures", right=True, rank=2),
    TextColumn("multiply-adds", right=True, rank=4),
    TextColumn("s", right=True, rank=1),
)


def runs(
    folder: str = typer.Argument("runs", help="Folder with run folders in it, at any depth."),
    html: str = typer.Option(None, "--html", metavar="FILE", help="Write the runs as one HTML page."),
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """List runs side by side: data, network, test accuracy with its interval, cost and time."""
    from casebook.workflows.runs import list_runs

    rows, unreadable = list_runs(folder)
    for path, reason in unreadable.items():
        say(f"left out: {path}: {reason}")
    if html:
        from casebook.reports.runs import write_runs_page

        write_runs_page(html, rows)
        say(f"page: {html}")
    if json_:
        print_json({"folder": folder, "runs": [row._asdict() for row in rows]})
        return
    if not rows:
        say(f"no runs in {folder}")
        next_step("casebook train DATA", "makes one")
        return
    cells = []
    for row in rows:
        name, score = "" if row.map is None else "mAP ", row.score
        done = score is not None and row.interval is not None
        low, high = row.interval or (0.0, 0.0)
        cells.append(
            [
                row.path, row.data, row.network, f"{name}{percent(score or 0.0)}" if done else "not finished",
                f"{100 * low:.1f} to {100 * high:.1f}" if done else "", str(row.num_pictures or ""),
                giga(row.multiply_adds) if row.multiply_adds else "", f"{row.seconds:.0f}" if row.seconds else "",
            ]
        )  # fmt: skip
    print_table(COLUMNS, cells, wide=wide)
    if len(rows) > 1:
        next_step(f"casebook evaluate {rows[0].path} {rows[1].path}", "compares runs on the same pictures, paired")
