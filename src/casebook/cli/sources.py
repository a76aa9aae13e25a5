"""The options that say how a data set is laid out."""

import shlex
from typing import TYPE_CHECKING

import typer

from .output import wrong_usage

if TYPE_CHECKING:
    from casebook.data.pictures import Source

LABEL_FROM = typer.Option(
    None, "--label-from", help="Class in a path: top or parent folder, or a pattern over file names; default: auto."
)
ROOT = typer.Option(None, "--root", metavar="FOLDER", help="Folder that the paths of a CSV list are relative to.")
SUFFIX = typer.Option(None, "--suffix", help="Added to the paths of a CSV list that do not end in it, such as .jpg.")
COLUMNS = typer.Option(None, "--columns", metavar="PATH,LABEL", help="Columns of a CSV list, as in id,breed.")
CLASS_LIST = typer.Option(
    None, "--classes", metavar="FILE", help="CSV of index,id,name, or a name per line: names for class ids or indices."
)


FLAGS = {"label_from": "--label-from", "root": "--root", "suffix": "--suffix", "columns": "--columns",
         "class_list": "--classes"}  # fmt: skip


def read_source(
    data: str | None, many: bool = False, /, *, group_by: str | None = None, **settings: str | None
) -> "str | Source | None":
    """The source read as the given settings say (fields of SourceFormat), or just `data` where none is given.

    So what needs no data set, such as a single picture or the name of one, stays as it is. With `many`, a list may
    hold several labels a picture.
    """
    from casebook.data.pictures import SourceFormat
    from casebook.data.sources import load_source

    given = {name: value for name, value in settings.items() if value is not None}
    if not given and group_by is None:
        return data
    if data is None:
        raise wrong_usage(f"{FLAGS[next(iter(given))]} needs the data")
    return load_source(data, group_by=group_by, format=SourceFormat(**given), many_labels=many)


def flags(**settings: str | None) -> str:
    """The given settings as they are written on the command line, with a space before each flag."""
    return "".join(f" {FLAGS[name]} {shlex.quote(value)}" for name, value in settings.items() if value is not None)
