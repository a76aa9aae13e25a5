"""casebook data check"""

import typer

from .output import plain, print_json, say
from .progress import Display

app = typer.Typer(help="Look at a data set before training on it.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("check")
def check(
    data: str = typer.Argument(..., help="Folder of class folders, CSV file, or built-in name."),
    group_by: str = typer.Option(
        None, "--group-by", help="CSV column, or pattern over file names, of pictures that stay together."
    ),
    strict: bool = typer.Option(
        False, "--strict", help="End with code 1 if copies or groups lie in more than one split."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Report broken pictures, copies, leaks between splits, balance and sizes, and what training does about each."""
    from casebook.data.check import check_data

    display = Display()
    try:
        found = check_data(data, group_by=group_by, report=display)
    finally:
        display.close()
    if json_:
        print_json(found.to_dict())
    else:
        print("\n".join(plain(line) for line in found.text().split("\n")))
    if strict and found.leaks:
        say(f"Error: {found.leaks} leaks between splits, and --strict was given")
        raise typer.Exit(1)
