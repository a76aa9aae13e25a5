"""The list of labels beside the data, which its owner may edit too: what was changed by hand is taken over.

The studio keeps a copy of the list as it last wrote it. A list that differs was edited: labels, groups and missing rows
become changes like any other, which undo takes back, and the edited file is kept beside the list before the studio
writes its own again. So nothing that somebody typed is lost, whatever it was.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..data.lists import read_list
from ..data.sources import Source, SourceFormat
from ..errors import DataError, RunError
from .labels import GROUP_COLUMN, Change, Said, corrected, has_groups, write_list

Row = tuple[str, str]  # label, group


class Edits(NamedTuple):
    """What was changed by hand, and the sentence that says so."""

    changes: list[Change]
    said: str


class LabelList:
    """One project's list. `copy` is where the studio keeps what it wrote last."""

    def __init__(self, path: Path, copy: Path):
        self.path, self._copy = path, copy
        self._seen: tuple[int, int, int] | None = None

    def write(self, source: Source) -> None:
        """Raises RunError and DataError."""
        write_list(self.path, source)
        self._remember(self._stamp())

    def _remember(self, stamp: tuple[int, int, int] | None) -> None:
        with contextlib.suppress(OSError):  # without the copy the next look compares row by row
            self._copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, self._copy)
        self._seen = stamp

    def edits(self, source: Source, said: Mapping[str, Said]) -> Edits | None:
        """What was changed since the studio wrote the list; None where nothing was. The edited file is kept aside.

        `source` is the data without what was said. Raises RunError where the edited file cannot be kept.
        """
        stamp = self._stamp()
        if stamp is None or stamp == self._seen or source.root is None:
            return None
        if _same_bytes(self.path, self._copy):
            self._seen = stamp
            return None
        try:
            found = self._compared(source, said)
        except DataError as error:
            kept = self._keep_aside()
            self._remember(stamp)
            return Edits([], f"{self.path.name} was edited by hand and cannot be read: {error}. It is kept as {kept}")
        kept = self._keep_aside()
        self._remember(stamp)
        count = sum(len(change.names) for change in found)
        return Edits(
            found,
            f"{self.path.name} was edited by hand: {count} pictures changed. The edited file is kept as {kept}; undo "
            "takes the changes back",
        )

    def _compared(self, source: Source, said: Mapping[str, Said]) -> list[Change]:
        prefix = _prefix(source, self.path)
        now = _rows(corrected(source, said))
        new = _listed(self.path, prefix)
        try:
            old = _listed(self._copy, prefix, self.path.parent)
        except DataError:  # the studio has never written this list
            old = _rows(source)
        known = {picture.name for picture in source.pictures}
        labels: dict[str, list[str]] = {}
        groups: dict[str, list[str]] = {}
        for name, (label, group) in new.items():
            if name not in known:
                continue
            if (name in now and now[name][0] != label) or (name not in now and label != old.get(name, ("", ""))[0]):
                labels.setdefault(label, []).append(name)
            if group and group != now.get(name, old.get(name, ("", "")))[1]:
                groups.setdefault(group, []).append(name)
        out = [name for name in now if name in old and name not in new]
        back = [name for name in new if name in known and name not in now]
        changes = [Change(tuple(names), Said(label=label)) for label, names in labels.items()]
        changes += [Change(tuple(names), Said(group=group)) for group, names in groups.items()]
        changes += [Change(tuple(out), Said(excluded=True))] if out else []
        return changes + ([Change(tuple(back), Said(excluded=False))] if back else [])

    def _keep_aside(self) -> str:
        """The name of a copy of the edited list, beside it."""
        number = 1
        while (target := self.path.with_name(f"{self.path.stem}-by-hand-{number}{self.path.suffix}")).exists():
            number += 1
        try:
            shutil.copyfile(self.path, target)
        except OSError as error:
            raise RunError(
                f"{self.path.name} was edited by hand, and there is no room to keep a copy: {error.strerror}; free "
                "some space, then do it again"
            ) from error
        return target.name

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _prefix(source: Source, path: Path) -> str:
    """What the list's paths have before the names of the source's pictures."""
    assert source.root is not None
    prefix = os.path.relpath(source.root, path.parent)
    return "" if prefix == "." else f"{Path(prefix).as_posix()}/"


def _rows(source: Source) -> dict[str, Row]:
    return {one.name: (source.classes[one.label], one.group) for one in source.pictures}


def _listed(path: Path, prefix: str, root: Path | None = None) -> dict[str, Row]:
    """Name in the source -> row of a list. Raises DataError."""
    listed = read_list(
        path.name, path, group_by=GROUP_COLUMN if has_groups(path) else None, format=SourceFormat(root=str(root or ""))
    )
    return {name.removeprefix(prefix): row for name, row in _rows(listed).items() if name.startswith(prefix)}


def _same_bytes(first: Path, second: Path) -> bool:
    try:
        return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()
    except OSError:
        return False
