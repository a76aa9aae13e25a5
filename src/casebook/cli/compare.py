"""casebook compare"""

import typer

from ..tables import TextColumn
from .output import WIDE, print_json, print_table, print_text, say


def compare(
    names: list[str] = typer.Argument(..., metavar="NAME...", help="Names of networks, or patterns such as 'resnet*'."),
    input_size: int = typer.Option(
        None, "--input", min=1, help="Side of the input in pixels; default: the network's own."
    ),
    error: str = typer.Option("top1", help="The error in the picture: top1 or top5."),
    picture: str = typer.Option(None, metavar="FILE", help="Draw error against multiply-adds as .png or .svg."),
    html: str = typer.Option(None, metavar="FILE", help="Write the picture and the table as one HTML file."),
    wide: bool = WIDE,
    markdown: bool = typer.Option(False, "--markdown", help="Print the table in Markdown."),
    csv: bool = typer.Option(False, "--csv", help="Print the table as CSV."),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Set networks side by side: weights, multiply-adds, memory, year, and published errors that compare."""
    from pathlib import Path

    from casebook.cost import compare as side_by_side
    from casebook.errors import ModelError, did_you_mean
    from casebook.models import list_models

    from .output import wrong_usage

    if error not in ("top1", "top5"):
        raise wrong_usage(f"--error is {error!r}, expected top1 or top5")
    if sum((markdown, csv, json_)) > 1:
        raise wrong_usage("--markdown, --csv and --json exclude each other")
    chosen: list[str] = []
    for name in names:
        found = [name] if name in list_models() else list_models(name)
        if not found:
            raise ModelError(
                f"no network fits {name!r}{did_you_mean(name, list_models()) or ';'} see 'casebook models'"
            )
        chosen += found
    rows = side_by_side.compare(chosen, input_size)
    if picture:
        from casebook.reports import networks

        networks.write_picture(rows, Path(picture), error)
        say(f"picture: {picture}")
    if html:
        from casebook.reports import networks

        networks.write_page(rows, Path(html), error)
        say(f"page: {html}")
    cells = side_by_side.table(rows)
    if json_:
        print_json({"networks": [row.to_dict() for row in rows]})
    elif csv:
        import csv as writer
        import sys

        writer.writer(sys.stdout, lineterminator="\n").writerows(cells)
    elif markdown:
        print("| " + " | ".join(cells[0]) + " |")
        print("| " + " | ".join("---" for _ in cells[0]) + " |")
        print("\n".join("| " + " | ".join(row) + " |" for row in cells[1:]))
    else:
        print_text(f"errors: {side_by_side.PROTOCOL}")
        ranks = {"year": 1, "input (px)": 1, "inference (MiB)": 2, "not comparable": 3}
        columns = [
            TextColumn(name, 0 < place < 8, ranks.get(name, 0), 28 if place == 8 else None)
            for place, name in enumerate(cells[0])
        ]
        print_table(columns, cells[1:], wide=wide)
