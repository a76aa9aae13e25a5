"""`Source`: named, labelled pictures that open safely; what every kind of data set becomes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from .decode import open_picture

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Picture(NamedTuple):
    name: str  # path below the source's root with forward slashes, or such as "digits/0012"
    label: int  # index into Source.classes
    split: str = ""  # "train", "val", "test", or "" where the source has no splits
    group: str = ""  # pictures of one group stay on one side of a split; "" is no group


@dataclass(frozen=True)
class Source:
    """Labelled pictures in a fixed order, not yet decoded."""

    name: str  # what the user gave
    root: Path | None  # None for pictures in memory
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()  # what the user should know
    arrays: NDArray[np.uint8] | None = None  # (N, H, W) or (N, H, W, 3)

    def __len__(self) -> int:
        return len(self.pictures)

    def path(self, index: int) -> Path | None:
        """The file of a picture; None for pictures in memory."""
        return None if self.root is None else self.root / self.pictures[index].name

    def open(self, index: int, *, mode: Literal["RGB", "L"] = "RGB", min_side: int | None = None) -> Image.Image:
        """The upright picture in `mode`, as decode.open_picture gives it. Raises PictureError."""
        if self.arrays is not None:
            return Image.fromarray(self.arrays[index]).convert(mode)
        assert self.root is not None
        name = self.pictures[index].name
        return open_picture(self.root / name, name=name, mode=mode, min_side=min_side)


def checked_classes(given: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    if not classes:
        raise DataError(f"no folder in {given} holds a picture; expected one folder per class with its pictures")
    if len(classes) == 1:
        raise DataError(f"{given} has the one class {classes[0]!r}; expected at least two folders with pictures")
    return classes


def grouped_by_name(source: Source, pattern: str) -> Source:
    """The source with each picture's group taken from its name."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"group_by {pattern!r} is not a regular expression: {error}") from error
    if expression.groups != 1:
        raise DataError(
            f"group_by {pattern!r} has {expression.groups} capture groups, expected one, as in '^([^_]+)_' "
            "for the text before the first underscore"
        )
    names = (picture.name if "/" in pattern else picture.name.rpartition("/")[2] for picture in source.pictures)
    groups = [match[1] or "" if (match := expression.search(name)) else "" for name in names]
    return with_groups(source, groups, f"group_by {pattern!r}")


def with_groups(source: Source, groups: Iterable[str], what: str) -> Source:
    """The source with these groups, one for each picture; `what` names their origin in messages."""
    groups = list(groups)
    missing = groups.count("")
    if missing == len(groups):
        raise DataError(f"{what} gives no picture of {source.name} a group; such as {source.pictures[0].name!r}")
    notes = list(source.notes)
    if missing:
        notes.append(f"{what} gives {missing} of {len(groups)} pictures no group; each of them stands alone")
    pictures = (picture._replace(group=group) for picture, group in zip(source.pictures, groups, strict=True))
    return Source(source.name, source.root, source.classes, tuple(pictures), tuple(notes), source.arrays)
