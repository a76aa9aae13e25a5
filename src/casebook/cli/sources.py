"""The options that say how a data set is laid out."""

from typing import TYPE_CHECKING, Any

import typer

from .output import wrong_usage

if TYPE_CHECKING:
    from casebook.data.pictures import Source, SourceFormat

LABEL_FROM = typer.Option(
    None, "--label-from", help="Class in a path: top or parent folder, or a pattern over file names; default: auto."
)
ROOT = typer.Option(None, "--root", metavar="FOLDER", help="Folder that the paths of a CSV list are relative to.")
SUFFIX = typer.Option(None, "--suffix", help="Added to the paths of a CSV list that do not end in it, such as .jpg.")
COLUMNS = typer.Option(None, "--columns", metavar="PATH,LABEL", help="Columns of a CSV list, as in id,breed.")
CLASS_LIST = typer.Option(
    None, "--classes", metavar="FILE", help="CSV of index,id,name, or a name per line: names for class ids or indices."
)


def source_format(**settings: Any) -> "SourceFormat":
    """The format with those settings that were given."""
    from casebook.data.pictures import SourceFormat

    return SourceFormat(**{name: value for name, value in settings.items() if value is not None})


def formatted(data: str | None, **settings: Any) -> "str | Source | None":
    """The data as it is, or the source read with those settings that were given."""
    from casebook.data.sources import load_source

    if all(value is None for value in settings.values()):
        return data
    if data is None:
        raise wrong_usage(f"--{next(n for n, v in settings.items() if v is not None).replace('_', '-')} needs the data")
    return load_source(data, format=source_format(**settings))
