"""CSV files: lists of labelled pictures, and class lists that name the outputs of a network."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, did_you_mean
from .pictures import SHOWN, Picture, Source, grouped_by_name, with_groups
from .split_words import PLAIN, split_names, splits_text


@dataclass(frozen=True, order=True)
class ClassEntry:
    """One output of a network."""

    index: int
    id: str  # such as a WordNet id; the name again where the list has no ids
    name: str


def _rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The column names in small letters and the rows of a CSV separated by comma, semicolon or tab."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")  # a spreadsheet's mark, any file name
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; expected a line with the column names and one line per entry")
    header = [name.lower() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} values for the {len(header)} columns {', '.join(header)}"
            )
    return header, [dict(zip(header, row, strict=True)) for row in rows[1:]]


def read_list(given: str, path: Path, *, group_by: str | None = None) -> Source:
    """The source of a CSV with the columns path, label and perhaps split and others.

    Paths are below the list's own folder. Raises DataError for missing columns or files, unknown splits, a
    picture with two labels, and paths that lead out of the folder.
    """
    header, rows = _rows(path)
    for column in ("path", "label"):
        if column not in header:
            raise DataError(
                f"{path} has the columns {', '.join(header)}; expected a first line with path,label "
                f"and perhaps split{did_you_mean(column, header)}"
            )
    if not rows:
        raise DataError(f"{path} lists no pictures below its line of column names")
    root = path.parent
    entries: dict[str, tuple[str, str, str]] = {}  # name -> label, split, group
    repeated = 0
    column = group_by.lower() if group_by and group_by.lower() in header else None
    splits = split_names({row.get("split", "") for row in rows})
    for number, row in enumerate(rows, 2):
        name = _name_below(root, row["path"], f"{path}, row {number}")
        if not row["label"]:
            raise DataError(f"{path}, row {number}: {name} has no label")
        word = row.get("split", "")
        if word and word not in splits:
            raise DataError(f"{path}, row {number}: split is {word!r}, expected train, val or test")
        entry = (row["label"], splits.get(word, ""), row[column] if column else "")
        if name in entries:
            if entries[name] != entry:
                raise DataError(f"{path}, row {number}: {name} is listed twice, as {entries[name]} and as {entry}")
            repeated += 1
        entries[name] = entry
    _check_complete(path, root, entries)
    classes = tuple(sorted({label for label, _, _ in entries.values()}))
    if len(classes) == 1:
        raise DataError(f"{given} has the one class {classes[0]!r}; expected at least two different labels")
    labels = {name: index for index, name in enumerate(classes)}
    pictures = tuple(Picture(name, labels[label], split) for name, (label, split, _) in entries.items())
    notes = [f"{repeated} rows repeat a picture: ignored"] if repeated else []
    if odd := {word: split for word, split in splits.items() if word.lower() not in PLAIN}:
        notes.append(f"recognised as the split: {splits_text(odd)}")
    source = Source(given, root, classes, pictures, tuple(notes))
    if group_by is None:
        return source
    if column:
        return with_groups(source, (group for _, _, group in entries.values()), f"column {column!r}")
    if "(" not in group_by:
        raise DataError(
            f"group_by is {group_by!r}, but {path} has the columns {', '.join(header)}"
            f"{did_you_mean(group_by, header) or ';'} expected one of them or an expression with a capture group"
        )
    return grouped_by_name(source, group_by)


def _name_below(root: Path, given: str, where: str) -> str:
    """The path with forward slashes below the root, whether given so or absolute."""
    if not given:
        raise DataError(f"{where}: the path is empty")
    base = os.path.abspath(root)  # noqa: PTH100  # links below the root may lead anywhere; ".." may not
    name = os.path.relpath(os.path.join(base, given.replace("\\", "/")), base)  # noqa: PTH118
    if name.startswith("..") or os.path.isabs(name):  # noqa: PTH117
        raise DataError(f"{where}: {given} leads out of {root}; expected a path below the folder of the list")
    return Path(name).as_posix()


def _check_complete(path: Path, root: Path, entries: dict[str, tuple[str, str, str]]) -> None:
    if missing := [name for name in entries if not (root / name).is_file()]:
        raise DataError(
            f"{path}: {len(missing)} of {len(entries)} listed files do not exist below {root}: "
            f"{', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}"
        )
    without = [name for name, (_, split, _) in entries.items() if not split]
    if 0 < len(without) < len(entries):
        raise DataError(
            f"{path}: {len(without)} of {len(entries)} rows have no split, such as {without[0]}; "
            "expected a split in every row or in none"
        )


def read_class_list(path: str | Path) -> tuple[ClassEntry, ...]:
    """A network's outputs in order, from a CSV with index, name and perhaps wnid or id, or one name per line.

    Raises DataError unless the indices are 0, 1, 2, ... without a gap.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".csv":
        try:
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"cannot read the class list {path}: {getattr(error, 'strerror', None) or error}"
            ) from error
        entries = [ClassEntry(index, name, name) for index, name in enumerate(names)]
    else:
        header, rows = _rows(path)
        id_column = next((column for column in ("wnid", "id", "name") if column in header), None)
        if "index" not in header or id_column is None:
            raise DataError(f"{path} has the columns {', '.join(header)}; expected index, name and perhaps wnid")
        try:
            entries = [ClassEntry(int(row["index"]), row[id_column], row.get("name", row[id_column])) for row in rows]
        except ValueError as error:
            raise DataError(f"{path}: an index is not a whole number ({error})") from error
        entries.sort()
    if not entries or [entry.index for entry in entries] != list(range(len(entries))):
        raise DataError(f"{path}: the indices of the {len(entries)} classes must be 0, 1, 2, ... without a gap")
    return tuple(entries)


def match_classes(source_classes: Sequence[str], class_list: Sequence[ClassEntry]) -> tuple[int, ...]:
    """For each class of a source the index of the network's output, found by id, else by name.

    Names match whatever their case, with "_" for a space. Raises DataError naming the classes that match
    nothing, or a name that several outputs share ("crane" is a bird and a machine).
    """
    by_id = {entry.id: entry.index for entry in class_list}
    by_name: dict[str, list[int]] = {}
    for entry in class_list:
        by_name.setdefault(_plain(entry.name), []).append(entry.index)
    found = {name: [by_id[name]] if name in by_id else by_name.get(_plain(name), []) for name in source_classes}
    if unmatched := [name for name, indices in found.items() if not indices]:
        raise DataError(
            f"{len(unmatched)} of {len(source_classes)} classes are not in the list of {len(class_list)}: "
            f"{', '.join(unmatched[:SHOWN])}{', ...' if len(unmatched) > SHOWN else ''}; "
            f"expected ids or names such as {class_list[0].id!r} or {class_list[0].name!r}"
        )
    for name, indices in found.items():
        if len(indices) > 1:
            ids = ", ".join(class_list[index].id for index in indices)
            raise DataError(f"class {name!r} names {len(indices)} outputs of the network; use one of the ids {ids}")
    return tuple(found[name][0] for name in source_classes)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
