"""A folder, a list, shards or the name of a data set -> `Source`.

This decodes no picture; `scan` finds the files that only look like pictures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, did_you_mean
from ..remote import Progress
from .downloads import DATA_SETS, load
from .folders import read_folder
from .lists import ClassEntry, match_classes, read_class_list, read_list, with_names_of
from .pictures import SPLITS, Picture, Source, SourceFormat, grouped_by_name, same_name
from .shards import is_shard_set, read_shards
from .walk import PICTURE_SUFFIXES, pictures_below

__all__ = [
    "NAMED", "SPLITS", "ClassEntry", "Picture", "Source", "SourceFormat", "load_source", "match_classes",
    "pictures_below", "read_class_list",
]  # fmt: skip

NAMED = ("digits", *DATA_SETS)
LISTS = (".csv", ".tsv")
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
PLAIN = SourceFormat()


def load_source(
    data: str | Path | Source,
    *,
    group_by: str | None = None,
    format: SourceFormat = PLAIN,
    progress: Progress | None = None,
    many_labels: bool = False,
) -> Source:
    """The source that `data` names: a data set ("digits", "cifar10", ...), a .csv list, a folder or a set of shards.

    A `Source` comes back as it is. `group_by` is the name of a column of the list, or a regular expression with one
    capture group, searched in each file's name (in its path below the root if the expression has a "/"); what it
    captures names the picture's group. Raises DataError for data without labelled pictures, and for a list with several
    labels a picture unless the caller takes `many_labels`.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, str) and data in NAMED:
        if group_by is not None:
            raise DataError(f"{data} has no groups; leave out group_by={group_by!r}")
        if unused := _first_change(format):
            raise DataError(f"{data} is a built-in data set; leave out {unused}")
        note = (f"{data} is the data set of that name; the folder is ./{data}",) if Path(data).exists() else ()
        return _digits(note) if data == "digits" else _named(data, note, progress)
    path = Path(data).expanduser()
    source = None
    if is_shard_set(data):
        if unused := _first_change(format, ("root", "suffix", "columns", "label_from")):
            raise DataError(f"{data} is a set of shards, whose index has the labels; leave out {unused}")
        source = read_shards(data)
        source = source if group_by is None else grouped_by_name(source, group_by)
    elif path.is_dir():
        if unused := _first_change(format, ("root", "suffix", "columns")):
            raise DataError(f"{data} is a folder, not a list; leave out {unused}")
        source = read_folder(str(data), path, format.label_from)
        source = source if group_by is None else grouped_by_name(source, group_by)
    elif path.is_file() and path.suffix.lower() in LISTS:
        if unused := _first_change(format, ("label_from",)):
            raise DataError(f"{data} is a list with a column of labels; leave out {unused}")
        source = read_list(str(data), path, group_by=group_by, format=format, many_labels=many_labels)
    if source is not None:
        if format.class_list and source.targets is not None:
            raise DataError(f"{data} has several labels a picture, which a class list does not name; leave it out")
        return with_names_of(source, read_class_list(format.class_list)) if format.class_list else source
    expected = f"expected a folder with one folder per class, a .csv list, or one of {', '.join(NAMED)}"
    if path.suffix.lower() in ARCHIVES and path.is_file():
        raise DataError(f"{data} is an archive; unpack it first and give the folder. {expected.capitalize()}")
    if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
        raise DataError(f"{data} is a single picture; {expected}")
    if path.exists():
        raise DataError(f"{data} is a file of an unknown kind; {expected}")
    raise DataError(f"there is no folder or list {str(data)!r}{_nearest(str(data), path)} {expected}")


def _first_change(format: SourceFormat, among: Sequence[str] = ()) -> str:
    """ "label_from='parent'", the first setting, perhaps among some, that differs from the default; "" without one."""
    names = [name for name, value in vars(format).items() if value != getattr(PLAIN, name)]
    found = [name for name in names if not among or name in among]
    return f"{found[0]}={getattr(format, found[0])!r}" if found else ""


def _nearest(given: str, path: Path) -> str:
    """Where the path ends, and what is there instead."""
    if "/" not in given and (suggestion := did_you_mean(given, NAMED)):
        return suggestion
    whole = path.absolute()
    missing = next(part for part in (*reversed(whole.parents), whole) if not part.exists())
    folder = missing.parent
    if not folder.is_dir():
        return f": {folder} is a file;"
    beside = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() or entry.suffix.lower() in LISTS)
    where = f" in {folder}" if missing.name != given else ""
    text = f": there is no {missing.name!r}{where}" if where else f" in {folder}"
    if twin := next((name for name in beside if same_name(name, missing.name)), None):
        return f"{text}; {twin!r} looks the same, but is written with other Unicode characters;"
    return text + (did_you_mean(missing.name, beside) or ";")


def _digits(notes: tuple[str, ...]) -> Source:
    """scikit-learn's 1,797 handwritten digits (8x8; Alpaydin and Kaynak, UCI 1998), 0..16 -> 0..255."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    arrays = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    pictures = tuple(Picture(f"digits/{index:04d}", int(label)) for index, label in enumerate(bunch.target))
    return Source("digits", None, tuple("0123456789"), pictures, notes, arrays)


def _named(name: str, notes: tuple[str, ...], progress: Progress | None) -> Source:
    images, labels, num_train = load(name, progress=progress)
    pictures = tuple(
        Picture(f"train/{index:05d}", int(label), "train")
        if index < num_train
        else Picture(f"test/{index - num_train:05d}", int(label), "test")
        for index, label in enumerate(labels)
    )
    return Source(name, None, DATA_SETS[name].classes, pictures, notes, images)
