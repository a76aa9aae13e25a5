"""CSV files: lists of labelled pictures, and class lists that name the outputs of a network."""

import codecs
import csv
import dataclasses
import io
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError, did_you_mean
from .many_labels import (
    ANNOTATOR_COLUMNS,
    ManyLabels,
    are_shares,
    check_classes,
    from_columns,
    from_separated,
    krippendorff_alpha,
    mean_votes,
)
from .multi_label import Combined, combined_labels
from .pictures import (
    SHOWN,
    Picture,
    Source,
    SourceFormat,
    comparable,
    find_names,
    grouped_by_name,
    listed,
    twin_notes,
    with_groups,
)
from .split_words import PLAIN, split_names, splits_text
from .walk import PICTURE_SUFFIXES, list_folder

# Common names of columns, without case, spaces and underscores; of several in one list the first one counts.
PATH_COLUMNS = (
    "path", "paths", "imagepath", "imagepaths", "imgpath", "filepath", "filepaths", "filename", "filenames", "file",
    "files", "image", "images", "img", "imagename", "imgname", "imagefile", "picture", "photo", "imageid", "id", "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "classname", "labelname", "category", "target", "species", "breed", "classid",
    "labelid",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "partition", "set", "dataset", "phase", "usage")


SEVERAL = "'casebook train', 'data check' and 'data suspects' take several labels; here keep the main one of each row"
LABEL_TEXT = "\0labels"  # a column that no file can have: the cells of all class columns


@dataclasses.dataclass(frozen=True, order=True)
class ClassEntry:
    """One output of a network."""

    index: int
    id: str  # such as a WordNet id; the name again where the list has no ids
    name: str


class Row(NamedTuple):
    """One listed picture; `where` is its place for messages."""

    where: str
    name: str  # below the root
    label: str
    split: str
    group: str


def read_list(
    given: str,
    path: Path,
    *,
    group_by: str | None = None,
    format: SourceFormat | None = None,
    many_labels: bool = False,
) -> Source:
    """The source of a CSV list with a column of paths, one of labels, and perhaps one of splits and others.

    Paths are relative to the list's own folder, or to `format.root`. Raises DataError for missing columns or files,
    unknown splits, a picture with two labels, and paths that lead out of the root. With `many_labels` a cell may hold
    several labels ("cat|dog"), or there is one column a class with 1, 0, a share of votes, or nothing where it is
    unknown; rows of one picture are the votes of several people then. Else such a list is refused.
    """
    format = format or SourceFormat()
    header, cells = _rows(path)
    if not cells:
        raise DataError(f"{path} lists no pictures below its line of column names")
    splits, split_column = _splits(header, cells)
    aside = [column for column in (split_column, _find_column(header, group_by) if group_by else None) if column]
    notes = []
    columns = [] if format.columns else _class_columns(header, cells, aside)
    if columns and not many_labels:
        raise DataError(
            f"{path} has a column of 0 and 1 for each class ({', '.join(columns[:SHOWN])}, ...); expected one column "
            f"with the name of the class. {SEVERAL}"
        )
    if columns:
        path_column, label_column = _first_column(header, PATH_COLUMNS) or "", LABEL_TEXT
        many: ManyLabels | None = from_columns(cells, columns)
        cells = [row | {LABEL_TEXT: "\t".join(row[column] for column in columns)} for row in cells]
    else:
        path_column, label_column = _columns(path, header, cells, format.columns, group_by)
        if (path_column, label_column) != ("path", "label"):
            notes.append(f"paths are taken from the column {path_column!r}, labels from {label_column!r}")
        texts = [row[label_column] for row in cells]
        found = combined_labels(set(texts))
        if found and not many_labels:
            _refuse_many_labels(path, texts, label_column, found)
        many = from_separated(texts, found, label_column) if found else None
    if odd := {word: split for word, split in splits.items() if word.lower() not in PLAIN}:
        notes.append(f"recognised as the split: {splits_text(odd)}")
    root = Path(format.root).expanduser() if format.root else path.parent
    if not root.is_dir():
        raise DataError(f"there is no folder {format.root!r} to look for the pictures of {path} in")
    group_column = _find_column(header, group_by) if group_by else None
    rows = []
    for number, row in enumerate(cells, 2):
        where = f"{path}, row {number}"
        name = _name_below(root, path.parent, _with_suffix(row[path_column], format.suffix), where)
        if not row[label_column] and label_column != LABEL_TEXT:
            raise DataError(f"{where}: {name} has no label")
        word = row[split_column] if split_column else ""
        if word and word not in splits:
            raise DataError(f"{where}: split is {word!r}, expected train, val or test")
        group = row[group_column] if group_column else ""
        label = row[label_column] if many else comparable(row[label_column])
        rows.append(Row(where, name, label, splits.get(word, ""), group))
    rows = _on_disk(path, root, rows, notes)
    people = _first_column(header, ANNOTATOR_COLUMNS) if many else None
    agreement = None
    if many is not None and people is not None:
        rows, many, agreement = _joined_votes(rows, many, [row[people] for row in cells], notes)
    kept = _without_repeats(rows, notes)
    _check_splits(path, kept)
    if many is not None:
        check_classes(path, many)
        notes.append(
            f"several labels a picture ({many.said}): the task is multilabel, with a sigmoid and a threshold a class"
        )
    classes = many.classes if many else _sorted_classes({row.label for row in kept})
    if len(classes) == 1:
        raise DataError(f"{given} has the one class {classes[0]!r}; expected at least two different labels")
    labels = {name: index for index, name in enumerate(classes)}
    pictures = tuple(Picture(row.name, 0 if many else labels[row.label], row.split) for row in kept)
    targets = np.array([many.vectors[row.label] for row in kept], np.float32) if many else None
    remarks = (*notes, *twin_notes(classes))
    source = Source(given, root, classes, pictures, remarks, targets=targets, agreement=agreement)
    if group_by is None:
        return source
    if group_column:
        return with_groups(source, (row.group for row in kept), f"column {group_column!r}")
    if "(" not in group_by:
        raise DataError(
            f"group_by is {group_by!r}, but {path} has the columns {', '.join(header)}"
            f"{did_you_mean(group_by, header) or ';'} expected one of them or an expression with a capture group"
        )
    return grouped_by_name(source, group_by)


def _rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The column names in lower case and the rows of a CSV separated by comma, semicolon or tab."""
    text = _text(path)
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


def _text(path: Path) -> str:
    """The text of a file in UTF-8 or UTF-16, with or without a byte order mark. Bytes that are no UTF-8 survive."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        if b"\0" in content[:2]:  # a Latin letter is one zero byte and one other
            return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le")
        return content.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8 or UTF-16 ({error}); save it as CSV in UTF-8") from error


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).lower()


def _find_column(header: Sequence[str], wanted: str) -> str | None:
    """The column of that name, whatever its case, spaces and underscores."""
    return next((column for column in header if column and _key(column) == _key(wanted)), None)


def _first_column(header: Sequence[str], known: Sequence[str]) -> str | None:
    return next((column for name in known if (column := _find_column(header, name)) is not None), None)


def _columns(
    path: Path, header: Sequence[str], rows: Sequence[Mapping[str, str]], given: str, group_by: str | None
) -> tuple[str, str]:
    """The columns of the paths and of the labels: the given ones, or those with a common name."""
    if given:
        found = [(_find_column(header, name), name.strip()) for name in given.split(",")]
        for column, name in found:
            if column is None:
                raise DataError(
                    f"{path} has no column {name!r}{did_you_mean(name, header) or ';'} it has {', '.join(header)}"
                )
        return found[0][0] or "", found[1][0] or ""
    path_column = _first_column(header, PATH_COLUMNS)
    label_column = _first_column([name for name in header if name != path_column], LABEL_COLUMNS)
    others = [
        name for name in header if name and name != path_column and _key(name) not in ("split", _key(group_by or ""))
    ]
    if path_column and label_column is None and len(others) == 1:
        label_column = others[0]
    if path_column and label_column:
        return path_column, label_column
    raise DataError(
        f"{path} has the columns {', '.join(header)}; expected a first line with path,label and perhaps split. "
        "If two of these are the path and the label, add --columns PATH,LABEL with their names"
    )


def _class_columns(header: Sequence[str], rows: Sequence[Mapping[str, str]], aside: Sequence[str]) -> list[str]:
    """The columns of a list with one column a class; none where the list has a column of labels."""
    path_column = _first_column(header, PATH_COLUMNS)
    people = _first_column(header, ANNOTATOR_COLUMNS)
    others = [name for name in header if name and name not in (path_column, people, *aside)]
    if path_column is None or len(others) < 2 or _first_column(others, LABEL_COLUMNS):
        return []
    return others if are_shares({row[name] for row in rows for name in others}) else []


def _joined_votes(
    rows: Sequence[Row], many: ManyLabels, people: Sequence[str], notes: list[str]
) -> tuple[list[Row], ManyLabels, dict[str, float | None]]:
    """One row a picture with the mean of its people's votes, and how far they agree on each class."""
    places = {name: place for place, name in enumerate(dict.fromkeys(people))}
    votes: dict[str, dict[int, tuple[float, ...]]] = {}
    first: dict[str, Row] = {}
    for row, person in zip(rows, people, strict=True):
        kept = first.setdefault(row.name, row)
        said = votes.setdefault(row.name, {}).setdefault(places[person], many.vectors[row.label])
        if (row.split, row.group) != (kept.split, kept.group) or repr(said) != repr(many.vectors[row.label]):
            raise DataError(
                f"{row.where}: {row.name} has two different rows of {person!r}, or two splits or groups; expected one "
                "row for each picture and person, with one split and group a picture"
            )
    table = np.full((len(votes), len(places), len(many.classes)), np.nan)
    for number, of_picture in enumerate(votes.values()):
        for place, vector in of_picture.items():
            table[number, place] = vector
    agreement = {name: krippendorff_alpha(table[:, :, column]) for column, name in enumerate(many.classes)}
    known = [alpha for alpha in agreement.values() if alpha is not None]
    said = (
        f"Krippendorff's alpha {min(known):.2f} to {max(known):.2f} by class" if known else "no picture has two votes"
    )
    notes.append(f"{len(rows)} votes of {len(places)} people on {len(votes)} pictures become shares; {said}")
    vectors = {name: mean_votes(list(of_picture.values())) for name, of_picture in votes.items()}
    return [row._replace(label=name) for name, row in first.items()], many._replace(vectors=vectors), agreement


def _refuse_many_labels(path: Path, labels: Sequence[str], column: str, found: Combined) -> None:
    counts = Counter(label for label in labels if label in found.labels)
    example = counts.most_common(1)[0][0]
    raise DataError(
        f"{path}: {counts.total()} of {len(labels)} rows have several labels in the column {column!r}, such as "
        f"{example!r}; expected one class for each picture. {SEVERAL}. If {example!r} is one class, write "
        f"it without {found.separator!r}"
    )


def _splits(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], str | None]:
    """word -> split, and the column that has the words; a column that is not called "split" has no other words."""
    for name in SPLIT_COLUMNS:
        if (column := _find_column(header, name)) is not None:
            words = {row[column] for row in rows}
            splits = split_names(words)
            if name == "split" or len(splits) == len(words):
                return splits, column
    return {}, None


def _with_suffix(cell: str, suffix: str) -> str:
    return cell if not cell or not suffix or cell.lower().endswith(suffix.lower()) else cell + suffix


def _name_below(root: Path, beside: Path, given: str, where: str) -> str:
    """The path with forward slashes below the root; it may be absolute, or relative to the root or the list."""
    if not given:
        raise DataError(f"{where}: the path is empty")
    top = os.path.abspath(root)  # noqa: PTH100  # links below the root may lead anywhere; ".." may not
    for base in (top, os.path.abspath(beside)):  # noqa: PTH100
        name = os.path.relpath(os.path.join(base, given.replace("\\", "/")), top)  # noqa: PTH118
        if not name.startswith("..") and not os.path.isabs(name):  # noqa: PTH117
            return Path(name).as_posix()
    raise DataError(
        f"{where}: {given} leads out of {root}; expected a path below it. If the pictures do lie elsewhere, add --root "
        "with the folder that holds them all"
    )


def _on_disk(path: Path, root: Path, rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """The rows with the names of the files as the disk spells them."""
    missing = {row.name for row in rows if not (root / row.name).is_file()}
    alike = {name: found for name, found in _spelled(root, missing).items() if (root / found).is_file()}
    if gone := [row.name for row in rows if row.name in missing and row.name not in alike]:
        raise DataError(
            f"{path}: {len(gone)} of {len(rows)} listed files do not exist below {root}: "
            f"{', '.join(gone[:SHOWN])}{', ...' if len(gone) > SHOWN else ''}{_hint(root, gone[0])}"
        )
    if alike:
        example = next(row.name for row in rows if row.name in alike)
        notes.append(
            f"{len(alike)} paths differ from the names of the files in case or Unicode form, such as {example!r}; the "
            "files are used"
        )
    return [row._replace(name=alike.get(row.name, row.name)) for row in rows]


def _spelled(root: Path, names: Iterable[str]) -> dict[str, str]:
    """name -> path below the root as the disk spells it, for the names that exist but for case and Unicode form."""
    bases: dict[str, list[str]] = {}
    for name in names:
        bases.setdefault(posixpath.dirname(name), []).append(posixpath.basename(name))
    missing = [folder for folder in bases if folder and not (root / folder).is_dir()]
    folders = {folder: folder for folder in bases if folder not in missing}
    if missing:
        folders |= _spelled(root, missing)
    found = {}
    for folder in bases.keys() & folders.keys():
        place = root / folders[folder]
        entries = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
        for base, entry in find_names(bases[folder], entries).items():
            if entry is not None:
                found[posixpath.join(folder, base)] = posixpath.join(folders[folder], entries[entry])
    return found


def _hint(root: Path, name: str) -> str:
    """The settings with which a missing file would be found, if it is near."""
    if any("\udc80" <= character <= "\udcff" for character in name):
        return "; the list is not in UTF-8, so save it as CSV in UTF-8"
    inside = list_folder(root).folders
    deeper = [inner for folder in inside for inner in list_folder(folder).folders]
    for folder in (root, *inside, *deeper, root.parent):
        place = folder / name
        root_flag = "" if folder == root else f" --root {folder}"
        if place.is_file():
            return f"; they are found with{root_flag}"
        for picture in map(Path, list_folder(place.parent).pictures if place.parent.is_dir() else ()):
            if picture.name.removesuffix(picture.suffix) == place.name and picture.suffix.lower() in PICTURE_SUFFIXES:
                return f"; they are found with{root_flag} --suffix {picture.suffix}"
    return ""


def _without_repeats(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    kept: dict[str, Row] = {}
    for row in rows:
        first = kept.setdefault(row.name, row)
        if row[2:] != first[2:]:
            raise DataError(f"{row.where}: {row.name} is listed twice, as {first[2:]} and as {row[2:]}")
    if repeated := len(rows) - len(kept):
        notes.append(f"{repeated} rows repeat a picture: ignored")
    return list(kept.values())


def _check_splits(path: Path, rows: Sequence[Row]) -> None:
    without = [row.name for row in rows if not row.split]
    if 0 < len(without) < len(rows):
        raise DataError(
            f"{path}: {len(without)} of {len(rows)} rows have no split, such as {without[0]}; "
            "expected a split in every row or in none"
        )


def _sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """The classes in order; indices in the order of their numbers."""
    names = sorted(names)
    return tuple(sorted(names, key=int) if all(map(_is_index, names)) else names)


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit()


def read_class_list(path: str | Path) -> tuple[ClassEntry, ...]:
    """A network's outputs in order, from a CSV with index, name and perhaps wnid or id, or one name per line.

    Raises DataError unless the indices are 0, 1, 2, ... without a gap.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".csv", ".tsv"):
        names = [line.strip() for line in _text(path).splitlines() if line.strip()]
        entries = [ClassEntry(index, comparable(name), comparable(name)) for index, name in enumerate(names)]
    else:
        header, rows = _rows(path)
        id_column = next((column for column in ("wnid", "id", "name") if column in header), None)
        if "index" not in header or id_column is None:
            raise DataError(f"{path} has the columns {', '.join(header)}; expected index, name and perhaps wnid")
        try:
            entries = [
                ClassEntry(int(row["index"]), comparable(row[id_column]), comparable(row.get("name", row[id_column])))
                for row in rows
            ]
        except ValueError as error:
            raise DataError(f"{path}: an index is not a whole number ({error})") from error
        entries.sort()
    if not entries or [entry.index for entry in entries] != list(range(len(entries))):
        raise DataError(f"{path}: the indices of the {len(entries)} classes must be 0, 1, 2, ... without a gap")
    return tuple(entries)


def match_classes(source_classes: Sequence[str], class_list: Sequence[ClassEntry]) -> tuple[int, ...]:
    """For each class of a source the index of the network's output, found by id, else by name, else by index.

    Names match whatever their case and Unicode form, with "_" for a space. Indices count only where all classes are
    indices and not all of them are ids or names. Raises DataError naming the classes that match nothing, or a name
    that several outputs share ("crane" is a bird and a machine).
    """
    by_id = {entry.id: entry.index for entry in class_list}
    by_name: dict[str, list[int]] = {}
    for entry in class_list:
        by_name.setdefault(_plain(entry.name), []).append(entry.index)
    found = {
        name: [by_id[comparable(name)]] if comparable(name) in by_id else by_name.get(_plain(name), [])
        for name in source_classes
    }
    unmatched = [name for name, indices in found.items() if not indices]
    if unmatched and all(_is_index(name) and int(name) < len(class_list) for name in source_classes):
        return tuple(int(name) for name in source_classes)
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(source_classes)} classes are not in the list of {len(class_list)}: "
            f"{', '.join(unmatched[:SHOWN])}{', ...' if len(unmatched) > SHOWN else ''}; expected ids or names such as "
            f"{class_list[0].id!r} or {class_list[0].name!r}, or indices from 0 to {len(class_list) - 1}"
        )
    for name, indices in found.items():
        if len(indices) > 1:
            ids = ", ".join(class_list[index].id for index in indices)
            raise DataError(f"class {name!r} names {len(indices)} outputs of the network; use one of the ids {ids}")
    return tuple(found[name][0] for name in source_classes)


def with_names_of(source: Source, class_list: Sequence[ClassEntry]) -> Source:
    """The source with its classes named and ordered as in a class list, which it matches by id, name or index."""
    outputs = match_classes(source.classes, class_list)
    counts = Counter(entry.name for entry in class_list)
    used = sorted(set(outputs))
    if len(used) < 2:
        raise DataError(f"all classes of {source.name} ({listed(source.classes)}) are one class in the class list")
    entries = [class_list[index] for index in used]
    classes = tuple(entry.name if counts[entry.name] == 1 else f"{entry.name} ({entry.id})" for entry in entries)
    pictures = tuple(picture._replace(label=used.index(outputs[picture.label])) for picture in source.pictures)
    return dataclasses.replace(source, classes=classes, pictures=pictures)


def _plain(name: str) -> str:
    return " ".join(comparable(name).replace("_", " ").casefold().split())
