"""The pictures of a project: each has a number that never means another one, a class, a part and flags."""

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.sources import SPLITS, Picture, Source, load_source
from ..data.walk import PICTURE_SUFFIXES
from ..errors import DataError
from ..files import write_atomically
from ..runner.server.refusals import Refused
from .by_hand import LabelList
from .documents import read_json
from .labels import Change, Journal, Said, check_label, corrected
from .projects import Project, Projects
from .settings import StudioSettings

EXCLUDED, RELABELLED, GATHERED, MISSING = 1, 2, 4, 8
FRESH_SECONDS = 2.0
MOST_CHANGED = 100_000  # pictures in one request


class ProjectPictures:
    """The pictures of one project, as the server holds them. Methods may run in threads, one at a time.

    With `keep=False`, in a worker, nothing is written.
    """

    def __init__(self, settings: StudioSettings, projects: Projects, project: Project, *, keep: bool = True):
        self._settings, self._projects, self.project = settings, projects, project
        self._folder = projects.path(project.id)
        self.lock = threading.RLock()
        self.journal = Journal(self._folder / "journal.jsonl")
        self._keep = keep
        self._list: LabelList | None = None
        if project.kind != "digits":
            self._list = LabelList(projects.labels(project), self._folder / "labels.csv")
        self.edited = ""
        """What was changed by hand in the list beside the data, as a sentence; "" where nothing was."""
        self.load()

    def look_again(self) -> None:
        """Looks at the disk, unless it did so a moment ago. Raises DataError."""
        if time.monotonic() - self._looked > FRESH_SECONDS:
            self.load()

    def load(self) -> None:
        """Looks at the disk again. Raises DataError where the data cannot be read."""
        with self.lock:
            self.source = _source(self._projects, self.project)
            known: list[str] = read_json(self._folder / "names.json") or []
            place = {picture.name: index for index, picture in enumerate(self.source.pictures)}
            seen = set(known)
            new = [picture.name for picture in self.source.pictures if picture.name not in seen]
            self.names = [*known, *new]
            if new and self._keep:  # in ASCII: a file's name may be bytes that are no UTF-8
                write_atomically(self._folder / "names.json", json.dumps(self.names))
            self._rows: NDArray[np.int64] = np.array([place.get(name, -1) for name in self.names], np.int64)
            self._looked = time.monotonic()
            self._numbers = {name: number for number, name in enumerate(self.names)}
            if self._keep:
                self._take_edits()

    def _take_edits(self) -> list[str]:
        """Takes over what was changed by hand in the list; gives the names that it is about. Raises RunError."""
        found = None if self._list is None else self._list.edits(self.source, self.journal.said)
        if found is None:
            return []
        self.edited = found.said
        if found.changes:
            self.journal.add(found.changes)
        return [name for change in found.changes for name in change.names]

    def to_dict(self) -> dict[str, Any]:
        """Counts, and an array for each fact: one value a picture, in the order of the numbers."""
        with self.lock:
            classes, labels, flags = self._facts()
            parts = self._parts()
            return {
                "classes": classes,
                "names": [_shown(name) for name in self.names],
                "labels": labels,
                "parts": parts,
                "flags": flags,
                "can_undo": self.journal.can_undo,
                "can_label": self.source.root is not None,
                "notes": list(self.source.notes),
                "edited": self.edited,
            }

    def number(self, name: str) -> int | None:
        return self._numbers.get(name)

    def find_row(self, number: int) -> int | None:
        """The picture's place in the source; None where there is none of this number."""
        return int(self._rows[number]) if 0 <= number < len(self.names) and self._rows[number] >= 0 else None

    def row(self, number: int) -> int:
        """The picture's place in the source. Raises Refused (404)."""
        if (row := self.find_row(number)) is None:
            raise Refused(404, "no_picture", f"there is no picture {number}; reload the page")
        return row

    def is_open(self, number: int) -> bool:
        """Whether nobody has given the picture a label or left it out."""
        words = self.journal.said.get(self.names[number], Said())
        return words.label is None and not words.excluded

    def change(self, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Keeps what was said, writes the list, and gives the new facts of the pictures. Raises CasebookError."""
        with self.lock:
            if self.source.root is None:
                raise DataError("the built-in digits cannot be relabelled: they have no files; open a folder instead")
            found = [self._change(change) for change in changes]
            if not found or sum(len(one.names) for one in found) > MOST_CHANGED:
                raise DataError(f"a change is about 1 to {MOST_CHANGED} pictures")
            edited = self._take_edits()
            self.journal.add(found)
            self._write()
            return self._answer([*(name for change in found for name in change.names), *edited])

    def undo(self) -> dict[str, Any]:
        with self.lock:
            edited = self._take_edits()
            names = self.journal.undo()
            if names:
                self._write()
            return self._answer([*names, *edited])

    def add_gathered(self, name: str, group: str) -> None:
        """A picture that was just written, as part of a burst."""
        with self.lock:
            self.journal.add_fact(Change((name,), Said(group=group)))

    def current(self) -> Source:
        """What a training of the project sees."""
        return corrected(self.source, self.journal.said)

    def write(self) -> None:
        """Writes the list beside the data where there is something to say that the folders do not."""
        with self.lock:
            if self._list is not None and (self.journal.said or self._list.path.is_file()):
                self._take_edits()
                self._write()

    def _write(self) -> None:
        assert self._list is not None
        self._list.write(self.current())

    def _change(self, change: Mapping[str, Any]) -> Change:
        numbers = change.get("numbers")
        if not isinstance(numbers, list) or not all(type(one) is int for one in numbers):
            raise DataError("a change needs numbers, the pictures that it is about")
        names = tuple(self.source.pictures[self.row(number)].name for number in numbers)
        label, excluded = change.get("label"), change.get("excluded")
        if isinstance(label, str) and excluded is None:
            return Change(names, Said(label=check_label(label)))
        if isinstance(excluded, bool) and label is None:
            return Change(names, Said(excluded=excluded))
        raise DataError('a change has either "label", a text, or "excluded", true or false')

    def _answer(self, names: Sequence[str]) -> dict[str, Any]:
        classes, labels, flags = self._facts()
        numbers = [self._numbers[name] for name in names if name in self._numbers]
        return {
            "classes": classes,
            "numbers": numbers,
            "labels": [labels[number] for number in numbers],
            "flags": [flags[number] for number in numbers],
            "can_undo": self.journal.can_undo,
            "edited": self.edited,
        }

    def _facts(self) -> tuple[list[str], list[int], list[int]]:
        """Classes, and the label and flags of each number."""
        said = self.journal.said
        given = dict.fromkeys(one.label for one in said.values() if one.label)
        classes = [*self.source.classes, *sorted(label for label in given if label not in self.source.classes)]
        place = {name: index for index, name in enumerate(classes)}
        own = np.array([*(picture.label for picture in self.source.pictures), 0], np.int64)
        rows = self._rows
        labels = np.where(rows >= 0, own[rows], 0)
        flags = np.where(rows >= 0, 0, MISSING)
        for name, words in said.items():
            number = self._numbers.get(name)
            if number is None or rows[number] < 0:
                continue
            if words.label is not None and place[words.label] != labels[number]:
                labels[number] = place[words.label]
                flags[number] |= RELABELLED
            if words.excluded:
                flags[number] |= EXCLUDED
            if words.group:
                flags[number] |= GATHERED
        return classes, labels.tolist(), flags.tolist()

    def _parts(self) -> list[int]:
        """0 for none, 1 train, 2 val, 3 test: the data's own parts."""
        number = {part: place for place, part in enumerate(SPLITS, 1)}
        own = np.array([*(number.get(picture.split, 0) for picture in self.source.pictures), 0], np.int64)
        return np.where(self._rows >= 0, own[self._rows], 0).tolist()


def current_source(settings: StudioSettings, project: Project) -> Source:
    """What a training of the project sees, for a task in a worker."""
    return ProjectPictures(settings, Projects(settings), project, keep=False).current()


def _shown(name: str) -> str:
    """A name as text that every client can read: bytes that are no UTF-8 become a mark."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _source(projects: Projects, project: Project) -> Source:
    if project.kind == "digits":
        return load_source("digits")
    folder = projects.folder(project)
    if project.kind == "list":
        return load_source(folder)
    try:
        return load_source(folder)
    except DataError:
        found = _of_subfolders(folder)  # pictures are still being gathered
        if found is None:
            raise
        return found


def _of_subfolders(folder: Path) -> Source | None:
    """Each folder in the folder is a class, also a single one; None where the folder is laid out otherwise."""
    classes = sorted(one.name for one in os.scandir(folder) if one.is_dir() and not one.name.startswith("."))
    pictures = []
    for label, name in enumerate(classes):
        for entry in sorted(os.scandir(folder / name), key=lambda one: one.name):
            if entry.is_dir():
                return None
            if Path(entry.name).suffix.lower() in PICTURE_SUFFIXES:
                pictures.append(Picture(f"{name}/{entry.name}", label))
    if not pictures and any(one.is_file() for one in os.scandir(folder) if not one.name.startswith(".")):
        return None
    return Source(str(folder), folder, tuple(classes), tuple(pictures))
