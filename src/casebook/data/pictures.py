"""`Source`: named, labelled pictures that open safely. Every kind of data set becomes one."""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError, did_you_mean
from .decode import open_picture

SPLITS = ("train", "val", "test")
LABEL_FROM = ("auto", "top", "parent")
SHOWN = 5  # examples in a message


class Picture(NamedTuple):
    name: str  # path below the source's root with forward slashes, or such as "digits/0012"
    label: int  # index into Source.classes
    split: str = ""  # "train", "val", "test", or "" where the source has no splits
    group: str = ""  # a split never divides a group; "" is no group


@dataclass(frozen=True)
class SourceFormat:
    """How a data set is laid out on disk, where that is not plain to see."""

    label_from: str = "auto"
    """Which part of a path is the class: "top" (the first folder), "parent" (the last one), "auto" (the first, but
    stop where the folders leave that open), or a pattern whose first group is read from the file name."""
    root: str = ""
    """The folder that the paths of a list are relative to; default: that of the list."""
    suffix: str = ""
    """What is added to paths of a list that do not end in it, such as ".jpg"."""
    columns: str = ""
    """"PATH,LABEL", the columns of a list; default: those with a common name."""
    class_list: str = ""
    """A CSV of index, id and name, or a file with a name in each line, that names the classes by index or id."""

    def __post_init__(self) -> None:
        if self.label_from not in LABEL_FROM and "(" not in self.label_from:
            raise DataError(
                f"label_from is {self.label_from!r}{did_you_mean(self.label_from, LABEL_FROM) or ';'} expected one of "
                f"{', '.join(LABEL_FROM)}, or a pattern with one capture group, as in '^([a-z]+)'"
            )
        if self.columns and self.columns.count(",") != 1:
            raise DataError(f"columns is {self.columns!r}, expected two names, as in 'image_id,diagnosis'")


class Contents(Protocol):
    """Pictures that are parts of larger files, such as `shards.Shards`.

    A picture is known by its name; `index` is its place in the source, where it is looked for first.
    """

    def content(self, index: int, name: str) -> bytes:
        """The content of a picture's file. Raises PictureError."""
        ...

    def sha256(self, index: int, name: str) -> str:
        """What its SHA-256 should be."""
        ...


@dataclass(frozen=True)
class Source:
    """Labelled pictures in a fixed order, not yet decoded."""

    name: str  # as the user gave it
    root: Path | None  # None for pictures in memory and in shards
    classes: tuple[str, ...]  # in Unicode form NFC
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()  # what the user should know
    arrays: NDArray[np.uint8] | None = None  # (N, H, W) or (N, H, W, 3)
    shards: Contents | None = None
    targets: NDArray[np.float32] | None = None
    """(N, K) in [0, 1], NaN where unknown, for several labels a picture; `Picture.label` says nothing then"""
    agreement: dict[str, float | None] | None = None
    """Krippendorff's alpha of each class, where several people labelled the pictures"""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def task(self) -> str:
        """ "singlelabel" where each picture has one class, "multilabel" where it may have any number."""
        return "singlelabel" if self.targets is None else "multilabel"

    def truth(self, indices: Iterable[int]) -> NDArray[Any]:
        """(N,) int64 labels; with several labels a picture (N, K) float32 targets, NaN where unknown."""
        if self.targets is None:
            return np.array([self.pictures[int(i)].label for i in indices], np.int64)
        return self.targets[np.asarray(list(indices), np.intp)]

    def labels_of(self, index: int) -> tuple[int, ...]:
        """The classes of a picture: one, or those that more than half of the people gave."""
        if self.targets is None:
            return (self.pictures[index].label,)
        return tuple(np.flatnonzero(self.targets[index] > 0.5).tolist())

    def label_text(self, index: int) -> str:
        """What is known of a picture's classes, as text."""
        if self.targets is None:
            return self.classes[self.pictures[index].label]
        named = zip(self.classes, self.targets[index].tolist(), strict=True)
        words = [f"{name}={'?' if value != value else f'{value:g}'}" for name, value in named if value != 0]
        return "|".join(word.removesuffix("=1") for word in words)

    def path(self, index: int) -> Path | None:
        """The file of a picture; None for pictures in memory and in shards."""
        return None if self.root is None else self.root / self.pictures[index].name

    def content(self, index: int) -> bytes:
        """The bytes of a picture's file. Raises PictureError; pictures in memory have none."""
        name = self.pictures[index].name
        if self.shards is not None:
            return self.shards.content(index, name)
        assert self.root is not None
        from .reduced import read_file

        return read_file(self.root / name, name=name)

    def open(
        self,
        index: int,
        *,
        mode: Literal["RGB", "L"] = "RGB",
        min_side: int | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> Image.Image:
        """The upright picture in `mode`, as decode.open_picture gives it. Raises PictureError."""
        if self.arrays is not None:
            return Image.fromarray(self.arrays[index]).convert(mode)
        name = self.pictures[index].name
        file = self.content(index) if self.root is None else self.root / name
        return open_picture(file, name=name, mode=mode, min_side=min_side, value_range=value_range)


def comparable(name: str) -> str:
    """The form in which names are compared: Unicode NFC.

    "é" is one character or an "e" with an accent; they look alike, and disks, archives and spreadsheets mix the two.
    """
    return unicodedata.normalize("NFC", name)


def same_name(first: str, second: str) -> bool:
    return comparable(first) == comparable(second)


def find_names(names: Iterable[str], known: Sequence[str]) -> dict[str, int | None]:
    """The place of each name in `known`; None where it is not there.

    Names are equal if `comparable` makes them so. Without such a match they may differ in case, if just one known
    name fits.
    """
    places = {comparable(name): place for place, name in enumerate(known)}
    folded: dict[str, list[int]] = {}
    for place, name in enumerate(known):
        folded.setdefault(comparable(name).casefold(), []).append(place)
    found: dict[str, int | None] = {}
    for name in names:
        alike = folded.get(comparable(name).casefold(), [])
        found[name] = places.get(comparable(name), alike[0] if len(alike) == 1 else None)
    return found


def twin_notes(classes: Iterable[str]) -> list[str]:
    """A remark on each set of classes that differ in case alone."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    return [
        f"the classes {listed(names)} differ in case only and stay separate; if they are one class, give them one name"
        for names in alike.values()
        if len(names) > 1
    ]


def listed(names: Iterable[object], shown: int = SHOWN) -> str:
    """ "'a', 'b', ..." with at most `shown` names."""
    names = list(names)
    return ", ".join(repr(name) for name in names[:shown]) + (", ..." if len(names) > shown else "")


def captured(pattern: str, names: Iterable[str], what: str) -> list[str]:
    """What the one capture group of a pattern finds in each file name, "" where it finds nothing.

    A pattern with a "/" is searched in the whole path below the root. `what` names the setting in messages.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{what} {pattern!r} is not a regular expression: {error}") from error
    if expression.groups != 1:
        raise DataError(
            f"{what} {pattern!r} has {expression.groups} capture groups, expected one, as in '^([^_]+)_' "
            "for the text before the first underscore"
        )
    searched = (name if "/" in pattern else name.rpartition("/")[2] for name in names)
    return [match[1] or "" if (match := expression.search(name)) else "" for name in searched]


def grouped_by_name(source: Source, pattern: str) -> Source:
    """The source with each picture's group taken from its name."""
    groups = captured(pattern, (picture.name for picture in source.pictures), "group_by")
    return with_groups(source, groups, f"group_by {pattern!r}")


def with_groups(source: Source, groups: Iterable[str], what: str) -> Source:
    """The source with these groups, one for each picture; `what` says in messages where they come from."""
    groups = list(groups)
    missing = groups.count("")
    if missing == len(groups):
        raise DataError(
            f"{what} gives no picture of {source.name} a group, such as {source.pictures[0].name!r}; "
            "expected something that finds text in the names"
        )
    notes = list(source.notes)
    if missing:
        notes.append(f"{what} gives {missing} of {len(groups)} pictures no group; each of them is a group of its own")
    pictures = (picture._replace(group=group) for picture, group in zip(source.pictures, groups, strict=True))
    return dataclasses.replace(source, pictures=tuple(pictures), notes=tuple(notes))
