"""Folders: ROOT/CLASS/* and ROOT/{train,val,test}/CLASS/* -> `Source`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from .pictures import (
    LABEL_FROM,
    SPLITS,
    Picture,
    Source,
    captured,
    comparable,
    find_names,
    listed,
    same_name,
    twin_notes,
)
from .split_words import PLAIN, split_names, splits_text
from .walk import list_folder, names_below, walk

Found = dict[str, list[str]]  # class -> the paths of its pictures

FOLD = re.compile(r"(?i)(k[\W_]*)?(fold|cv)[\W_]*\d+")
PARENT, TOP = "--label-from parent", "--label-from top"


def read_folder(given: str, root: Path, label_from: str = "auto") -> Source:
    """The source of a folder. `label_from` is that of `SourceFormat`.

    The notes say what was recognised and what was left out. Raises DataError for folders without pictures or with
    less than two classes, and where it is not plain which folders are the classes.
    """
    notes: list[str] = []
    root = _unwrapped(given, root, notes)
    parts = _find_parts(given, root, label_from, notes)
    others = Counter[str]()
    found = {split: _find_classes(root, folder, label_from, notes, others) for split, folder in parts.items()}
    if label_from == "auto":
        for split, part in found.items():
            _check_plain(parts[split], part)
        if "" in found:
            found = _splits_inside_classes(parts[""], found[""], notes)
        else:
            notes += _nested_notes(parts[next(iter(parts))], found[next(iter(found))])
    if others:
        notes.append(_others_note(others))
    classes, pictures = _labelled(root, found, notes)
    _check_classes(given, root, classes, pictures)
    return Source(given, root, classes, pictures, (*notes, *twin_notes(classes)))


def _unwrapped(given: str, folder: Path, notes: list[str], split: str = "") -> Path:
    """The folder, or the one inside that an archive was packed with, if that is not a split other than `split`."""
    inside = list_folder(folder)
    while len(inside.folders) == 1 and not inside.pictures:
        if set(split_names([inside.folders[0].name]).values()) - {split}:
            break
        below = list_folder(inside.folders[0])
        if below.pictures or not below.folders:
            break
        folder, inside = inside.folders[0], below
        notes.append(f"{given} holds just the folder {folder.name}, so its folders are used")
    return folder


def _find_parts(given: str, root: Path, label_from: str, notes: list[str]) -> dict[str, Path]:
    """split -> its folder; the root under "" if it has no split."""
    inside = list_folder(root)
    by_name = label_from not in LABEL_FROM
    if not inside.folders and not (by_name and inside.pictures):
        raise _no_folders(given, root, inside.pictures)
    named = split_names(folder.name for folder in inside.folders)
    usable = {
        folder.name: folder for folder in inside.folders if folder.name in named and (by_name or _has_classes(folder))
    }
    complete = len(usable) == len(inside.folders)
    has_train = any(named[name] == "train" for name in usable)
    if not usable or not (complete or (has_train and len(named) > 1)):
        if label_from == "auto" and len(named) == len(inside.folders) and len(set(named.values())) > 1:
            raise _splits_without_classes(given, root, [folder.name for folder in inside.folders])
        if inside.pictures and not by_name:
            notes.append(f"{len(inside.pictures)} pictures beside the class folders have no class: ignored")
        return {"": root}
    if inside.pictures:
        notes.append(f"{len(inside.pictures)} pictures beside the split folders belong to no split: ignored")
    parts: dict[str, Path] = {}
    for name, folder in usable.items():
        if named[name] in parts:
            raise DataError(
                f"{given} has two {named[name]} folders, {parts[named[name]].name} and {name}; expected one. "
                "Put their pictures together, or remove one"
            )
        parts[named[name]] = _unwrapped(name, folder, notes, named[name])
    if odd := {name: named[name] for name in usable if name.lower() not in PLAIN}:
        notes.append(f"recognised as the split: {splits_text(odd)}")
    for folder in inside.folders:
        if folder.name not in usable:
            why = "has no class folders" if folder.name in named else "is neither train, val nor test"
            notes.append(f"the folder {folder.name} {why}: ignored")
    return {split: parts[split] for split in SPLITS if split in parts}


def _has_classes(folder: Path) -> bool:
    """Whether a folder holds folders and no pictures, so that "train" is a split and not a class."""
    inside = list_folder(folder)
    return bool(inside.folders) and not inside.pictures


def _find_classes(root: Path, folder: Path, label_from: str, notes: list[str], others: Counter[str]) -> Found:
    """class -> its pictures below a folder, which is the root or that of a split."""
    found: Found = {}
    if label_from in ("auto", "top"):
        for inner in list_folder(folder).folders:
            pictures, ignored = walk(inner)
            others += ignored
            if found.get(comparable(inner.name)):
                notes.append(f"the folders {inner.name!r} are one class: their names differ in Unicode form only")
            found.setdefault(comparable(inner.name), []).extend(pictures)
        return found
    pictures, ignored = walk(folder)
    others += ignored
    if label_from == "parent":
        inner = [name.rpartition("/")[0] for name in names_below(folder, pictures)]
        labels = [name.rpartition("/")[2] for name in inner]
    else:
        labels = captured(label_from, names_below(root, pictures), "label_from")
    for label, path in zip(labels, pictures, strict=True):
        if label:
            found.setdefault(comparable(label), []).append(path)
    if without := [path for label, path in zip(labels, pictures, strict=True) if not label]:
        [example] = names_below(root, without[:1])
        notes.append(
            f"label_from {label_from!r} finds no class for {len(without)} pictures, such as {example}: left out"
        )
    return found


def _inner_folders(folder: Path, found: Found) -> dict[str, set[str]]:
    """class -> names of the folders that hold its pictures; "" stands for the class folder itself."""
    inner = {}
    for name, paths in found.items():
        # CLASS/a.jpg or CLASS/.../INNER/a.jpg
        holding = {path.rpartition("/")[0] for path in names_below(folder, paths)}
        inner[name] = {path.rpartition("/")[2] if "/" in path else "" for path in holding}
    return {name: folders for name, folders in inner.items() if folders}


def _check_plain(folder: Path, found: Found) -> None:
    """Raises DataError where folds, years or the like stand where the classes should."""
    inner = _inner_folders(folder, found)
    outer, names = sorted(found), sorted(set().union(*inner.values()) - {""})
    if len(outer) > 1 and all(FOLD.fullmatch(name) for name in outer):
        raise DataError(
            f"{folder} holds the folds {listed(outer)}. Folds are parts of a cross-validation, neither classes nor a "
            f"split. "
            + (
                f"Give one of them, such as {folder / outer[0]}, or take all of them with {PARENT}, which makes the "
                f"inner folders ({listed(names)}) the classes; --group-by '^([^/]+)/' then keeps each fold on one side "
                "of the split"
                if names
                else f"If they are the classes, add {TOP}"
            )
        )
    if len(inner) < 2 or any("" in folders for folders in inner.values()) or _are_splits(names):
        return
    counts = Counter(comparable(name).casefold() for folders in inner.values() for name in folders)
    if len(counts) > 1 and 2 * sum(count > 1 for count in counts.values()) >= len(counts):
        raise DataError(
            f"it is not clear which folders in {folder} are the classes: {listed(outer)} hold no pictures themselves "
            f"but the same folders ({listed(names)}). If those are the classes, add {PARENT} to take them from all, or "
            f"give one folder, such as {folder / outer[0]}. If {listed(outer, 2)} are the classes, add {TOP}"
        )


def _nested_notes(folder: Path, found: Found) -> list[str]:
    inner = _inner_folders(folder, found)
    nested = [name for name, folders in inner.items() if len(folders) > 1 and "" not in folders]
    return [
        f"{_classes_text(nested)}: all pictures lie in inner folders, such as {listed(sorted(inner[nested[0]]), 2)}, "
        f"and count as the outer class; {PARENT} makes the inner folders the classes"
    ] if nested else []  # fmt: skip


def _are_splits(names: list[str]) -> bool:
    """Whether these are the names of train and at least one other split."""
    named = split_names(names)
    return len(named) == len(names) and "train" in named.values() and len(set(named.values())) > 1


def _splits_inside_classes(folder: Path, found: Found, notes: list[str]) -> dict[str, Found]:
    """split -> class -> pictures, for CLASS/{train,test}/*; all under "" where the classes are not laid out so."""
    names = sorted(set().union(*_inner_folders(folder, found).values()))
    if not _are_splits(names):
        notes += _nested_notes(folder, found)
        return {"": found}
    named = split_names(names)
    if len(set(named.values())) < len(named):
        raise DataError(f"{folder}: several folders inside the classes mean the same split; {listed(names)} came")
    notes.append(f"recognised as the split, inside each class: {splits_text(named)}")
    return {
        split: {
            name: [path for path in paths if named[Path(path).parent.name] == split] for name, paths in found.items()
        }
        for split in SPLITS
        if split in named.values()
    }


def _labelled(root: Path, found: dict[str, Found], notes: list[str]) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
    """The classes and the pictures of all parts; the classes are those of train, or of all parts without a train."""
    leading = "train" if "train" in found else " and ".join(found)
    named: Found = {}
    for part in [found["train"]] if "train" in found else found.values():
        for name, paths in part.items():
            named[name] = [*named.get(name, ()), *paths]
    classes = tuple(sorted(name for name, paths in named.items() if paths))
    if empty := sorted(name for name, paths in named.items() if not paths):
        where = f" in {leading}: left out everywhere" if leading else ": left out"
        notes.append(f"{_classes_text(empty)} {'has' if len(empty) == 1 else 'have'} no pictures{where}")
    pictures: list[Picture] = []
    for split, part in found.items():
        places = find_names(part, classes)
        paths_of: dict[int, list[str]] = {}
        for name, paths in part.items():
            place = places[name]
            if place is None:
                if name not in named:
                    notes.append(
                        f"class {name!r} is in {split} and not in {leading}: its {len(paths)} pictures are left out"
                    )
                continue
            if name != classes[place]:
                notes.append(f"class {name!r} in {split} is {classes[place]!r} in {leading}: taken as one")
            paths_of.setdefault(place, []).extend(paths)
        if absent := [name for place, name in enumerate(classes) if not paths_of.get(place)]:
            notes.append(f"{split} has no pictures of {_classes_text(absent)}")
        for place in range(len(classes)):
            pictures += [Picture(name, place, split) for name in names_below(root, paths_of.get(place, ()))]
    return classes, tuple(pictures)


def _classes_text(names: list[str]) -> str:
    return f"class {names[0]!r}" if len(names) == 1 else f"{len(names)} classes ({listed(names)})"


def _others_note(others: Counter[str]) -> str:
    kinds = sorted(others.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{others.total()} files that are not pictures are ignored ({shown}{', ...' if len(others) > 4 else ''})"


def _check_classes(given: str, root: Path, classes: Sequence[str], pictures: Sequence[Picture]) -> None:
    if not pictures:
        raise DataError(f"no folder in {given} holds a picture; expected one folder per class with its pictures")
    if len(classes) == 1:
        folder = root / pictures[0].name.partition("/")[0]
        inner = [inner.name for inner in list_folder(folder).folders] if same_name(folder.name, classes[0]) else []
        hint = (
            f". It holds the folders {listed(inner)}; if they are the classes, give {folder}" if len(inner) > 1 else ""
        )
        raise DataError(f"{given} has the one class {classes[0]!r}; expected at least two folders with pictures{hint}")


def _no_folders(given: str, root: Path, pictures: list[str]) -> DataError:
    if not pictures:
        return DataError(
            f"the folder {given} has no folders and no pictures in it; expected one folder per class, named after the "
            "class, with its pictures"
        )
    return DataError(
        f"the folder {given} holds {len(pictures)} pictures but no class folders, so their classes are not known. "
        f"Move the pictures into one folder per class, {_other_ways(given, root, pictures)}"
    )


def _splits_without_classes(given: str, root: Path, names: list[str]) -> DataError:
    pictures = walk(root)[0]
    return DataError(
        f"the folders {listed(names)} in {given} look like a split, but have no class folders, so the classes of their "
        f"pictures are not known. Make one folder per class in each, {_other_ways(given, root, pictures)}. If "
        f"{listed(names, 2)} are the classes: {TOP}"
    )


def _other_ways(given: str, root: Path, pictures: list[str]) -> str:
    """How to name the classes of pictures without class folders."""
    lists = sorted(path for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
    by_list = (
        f"or give the list beside them: {lists[0]}"
        if lists
        else "or list them in a CSV file with the columns path and label"
    )
    starts = [match[0] if (match := re.match(r"[^\W\d_]+", Path(path).name)) else "" for path in pictures]
    counts = Counter(starts)
    if len(counts) > 1 and "" not in counts and min(counts.values()) > 1:
        pattern = r"^([^\W\d_]+)"
        return f"read the class from the file names ({listed(sorted(counts))}) with --label-from '{pattern}', {by_list}"
    return f"read the class from the file names with --label-from and a pattern, {by_list}"
