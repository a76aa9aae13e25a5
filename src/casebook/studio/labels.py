"""What a person said about a project's pictures: a journal that is only added to, and the list that training reads.

The journal has one line a change, {"change": [{"names", "label"?, "excluded"?, "group"?}]}; {"undo": true} takes the
last change back, and {"fact": [...]} is a change that no undo takes back, such as the burst of a picture. Pictures and
folders are never moved or renamed.
"""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.sources import Picture, Source
from ..errors import DataError, RunError
from ..files import write_atomically

GROUP_COLUMN = "group"
LONGEST_LABEL = 100


class Said(NamedTuple):
    """Of one picture; None is unsaid."""

    label: str | None = None
    excluded: bool | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Change:
    """The same words about several pictures."""

    names: tuple[str, ...]
    said: Said

    def to_dict(self) -> dict[str, Any]:
        return {"names": list(self.names)} | {
            key: value for key, value in self.said._asdict().items() if value is not None
        }


class Journal:
    """All changes of one project, replayed from its file."""

    def __init__(self, path: Path):
        self._path = path
        self._facts: list[Change] = []
        self._changes: list[list[Change]] = []
        self.said: dict[str, Said] = {}
        """Name -> what counts now."""
        for line in self._lines():
            try:
                entry = json.loads(line)
                if "undo" in entry:
                    self._changes = self._changes[:-1]
                elif "fact" in entry:
                    self._facts += [_change(one) for one in entry["fact"]]
                else:
                    self._changes.append([_change(one) for one in entry["change"]])
            except (ValueError, KeyError, TypeError):  # half a line of a server that was killed
                continue
        self._replay()

    @property
    def can_undo(self) -> bool:
        return bool(self._changes)

    def add(self, changes: Sequence[Change]) -> None:
        """Raises RunError where the disk is full; nothing has changed then."""
        self._append({"change": [one.to_dict() for one in changes]})
        self._changes.append(list(changes))
        self._take(changes)

    def add_fact(self, change: Change) -> None:
        """Keeps what no undo takes back. Raises RunError."""
        self._append({"fact": [change.to_dict()]})
        self._facts.append(change)
        self._replay()

    def undo(self) -> tuple[str, ...]:
        """Takes the last change back; gives the names that it was about."""
        if not self._changes:
            return ()
        self._append({"undo": True})
        undone = self._changes.pop()
        self._replay()
        return tuple(name for change in undone for name in change.names)

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            new = {key: value for key, value in change.said._asdict().items() if value is not None}
            for name in change.names:
                self.said[name] = self.said.get(name, Said())._replace(**new)

    def _replay(self) -> None:
        self.said = {}
        self._take(self._facts)
        for changes in self._changes:
            self._take(changes)

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().split(b"\n")
        except OSError:
            return []

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                start = file.seek(0, os.SEEK_END)
                try:
                    file.seek(max(0, start - 1))
                    lead = b"" if file.read(1) in (b"", b"\n") else b"\n"  # a line of its own, also after half a line
                    file.write(lead + json.dumps(entry, ensure_ascii=True).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(self._path, start)
                    raise
        except OSError as error:
            raise RunError(f"cannot keep the change: {error.strerror}; free some space, then do it again") from error


def _change(entry: Mapping[str, Any]) -> Change:
    return Change(tuple(entry["names"]), Said(entry.get("label"), entry.get("excluded"), entry.get("group")))


def check_label(label: str) -> str:
    """A class's name as it is kept. Raises DataError."""
    label = label.strip()
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise DataError(f"a class needs a name of 1 to {LONGEST_LABEL} printable characters")
    return label


def corrected(source: Source, said: Mapping[str, Said]) -> Source:
    """The source with the labels and groups that were given, without the pictures that were left out."""
    unsaid = Said()
    words = [said.get(picture.name, unsaid) for picture in source.pictures]
    labels = [one.label or source.classes[picture.label] for one, picture in zip(words, source.pictures, strict=True)]
    present = {label for label, one in zip(labels, words, strict=True) if not one.excluded}
    classes = (*(name for name in source.classes if name in present), *sorted(present - set(source.classes)))
    place = {name: index for index, name in enumerate(classes)}
    pictures = tuple(
        Picture(picture.name, place[label], picture.split, one.group or picture.group)
        for picture, label, one in zip(source.pictures, labels, words, strict=True)
        if not one.excluded
    )
    kept = [not one.excluded for one in words]
    arrays = None if source.arrays is None else source.arrays[[index for index, one in enumerate(kept) if one]]
    return dataclasses.replace(source, classes=classes, pictures=pictures, arrays=arrays)


def write_list(path: Path, source: Source) -> None:
    """path,label and, where the data has them, split and group; paths are relative to the list's folder.

    Raises RunError, and DataError for pictures that are no files.
    """
    if source.root is None:
        raise DataError("these pictures have no files of their own, so their labels cannot be changed; open a folder")
    has_split, has_group = (any(one.split for one in source.pictures), any(one.group for one in source.pictures))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *(["split"] if has_split else []), *([GROUP_COLUMN] if has_group else [])])
    below = Path(os.path.relpath(source.root, path.parent)).as_posix()
    prefix = "" if below == "." else f"{below}/"
    for picture in source.pictures:
        row = [prefix + picture.name, source.classes[picture.label]]
        writer.writerow(row + ([picture.split] if has_split else []) + ([picture.group] if has_group else []))
    write_atomically(path, text.getvalue())


def has_groups(path: Path) -> bool:
    """Whether the data is a list with a column of groups."""
    if path.suffix != ".csv":
        return False
    try:
        with path.open(encoding="utf-8") as file:
            return GROUP_COLUMN in file.readline().strip().split(",")
    except OSError:
        return False
