"""A folder, a list or a data set's name -> `Source`.

Nothing is decoded here; `scan` finds the files that only look like pictures.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, did_you_mean
from ..remote import Progress
from .downloads import DATA_SETS, load
from .folders import pictures_below, read_folder
from .lists import ClassEntry, match_classes, read_class_list, read_list
from .pictures import SPLITS, Picture, Source, grouped_by_name

__all__ = [
    "NAMED", "SPLITS", "ClassEntry", "Picture", "Source", "load_source", "match_classes", "pictures_below",
    "read_class_list",
]  # fmt: skip

NAMED = ("digits", *DATA_SETS)


def load_source(data: str | Path, *, group_by: str | None = None, progress: Progress | None = None) -> Source:
    """The source that `data` names: a data set ("digits", "cifar10", ...), a .csv list or a folder.

    `group_by` is the name of a column of the list, or a regular expression with one capture group, searched
    in each file's name (in its path below the root if the expression has a "/"); what it captures names the
    picture's group. Raises DataError where no labelled pictures come of it.
    """
    if isinstance(data, str) and data in NAMED:
        if group_by is not None:
            raise DataError(f"{data} has no groups, so group_by={group_by!r} cannot be used with it")
        note = (f"{data} is the data set of that name; the folder is ./{data}",) if Path(data).exists() else ()
        return _digits(note) if data == "digits" else _named(data, note, progress)
    path = Path(data).expanduser()
    if path.is_dir():
        source = read_folder(str(data), path)
        return source if group_by is None else grouped_by_name(source, group_by)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        return read_list(str(data), path, group_by=group_by)
    expected = f"expected a folder with one folder per class, a .csv list, or one of {', '.join(NAMED)}"
    if path.is_file():
        raise DataError(f"{data} is a file; {expected}")
    raise DataError(f"there is no folder or list {str(data)!r}{did_you_mean(str(data), NAMED) or ';'} {expected}")


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
