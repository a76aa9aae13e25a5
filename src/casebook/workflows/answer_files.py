"""Answers -> files: a table as CSV or Parquet, and pictures sorted into a folder for each class."""

import csv
import filecmp
import hashlib
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from ..errors import RunError
from ..files import write_atomically
from ..runner.answers import Answer
from ..runner.reading import NamedPicture

SortWith = Literal["link", "copy"]
UNSURE, UNREADABLE = "_unsure", "_unreadable"  # folders of pictures without an answer
ROWS = 10_000  # of a Parquet file are in memory
LONGEST_FOLDER = 100  # characters


def write_table(path: Path, answers: Iterable[Answer], num_classes: int) -> None:
    """Writes a row for each answer: picture, answer, unsure, error, then the `num_classes` most probable classes.

    Probabilities are 32-bit numbers. Raises RunError when the file cannot be written; the old one is then untouched.
    """
    rows = (_row(answer, num_classes) for answer in answers)
    columns = ["picture", "answer", "unsure", "error"]
    for place in range(1, num_classes + 1):
        columns += [f"class_{place}", f"probability_{place}"]
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    write_atomically(path, lambda file: write(file, columns, rows))


def _row(answer: Answer, num_classes: int) -> list[Any]:
    row: list[Any] = [answer.picture, answer.label, answer.why or None, answer.error]
    for name, probability in answer.classes[:num_classes]:
        row += [name, np.float32(probability)]
    return row + [None] * (4 + 2 * num_classes - len(row))


def _write_csv(file: BinaryIO, columns: list[str], rows: Iterator[list[Any]]) -> None:
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="", write_through=True)
    # With all text quoted, no line end in a name can be taken for one of the file's.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
    text.flush()
    text.detach()


def _write_parquet(file: BinaryIO, columns: list[str], rows: Iterator[list[Any]]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet

    types = [arrow.float32() if name.startswith("probability_") else arrow.string() for name in columns]
    schema = arrow.schema(list(zip(columns, types, strict=True)))
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while several := list(itertools.islice(rows, ROWS)):
            arrays = [
                arrow.array([_utf8(value) for value in column], kind)
                for column, kind in zip(zip(*several, strict=True), types, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _utf8(value: Any) -> Any:
    """A file name that is not UTF-8 reaches us as lone surrogates, which Parquet cannot hold."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def sort_pictures(
    folder: Path, answered: Iterable[tuple[Answer, NamedPicture]], classes: Sequence[str], how: SortWith
) -> int:
    """Links or copies each picture into `folder`/CLASS; gives how many have no file and so were left out.

    What is there already is left as it is, so a killed call can be repeated. Pictures of one name in a class are told
    apart by a digest of their paths. Raises RunError where something else is in the way.
    """
    folders = folder_names(classes)
    taken: set[Path] = set()
    left_out = 0
    for answer, picture in answered:
        if picture.error or (picture.get is None and not Path(picture.name).is_file()):
            left_out += 1
            continue
        group = UNREADABLE if answer.error is not None else UNSURE if answer.label is None else folders[answer.label]
        name = Path(picture.name).name
        target = folder / group / name
        if _key(target) in taken:
            digest = hashlib.sha256(os.fsencode(picture.name)).hexdigest()[:8]
            target = target.with_name(f"{target.stem}-{digest}{target.suffix}")
        taken.add(_key(target))
        _place(picture, target, how)
    return left_out


def _key(target: Path) -> Path:
    """Names that differ in case alone are one on many disks."""
    return Path(str(target).lower())


def folder_names(classes: Sequence[str]) -> dict[str, str]:
    """A folder for each class, inside of the folder that they are made in, whatever the class is called."""
    names: dict[str, str] = {}
    taken = {UNSURE, UNREADABLE}
    for index, name in enumerate(classes):
        if name in names:
            continue
        plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name)
        plain = plain.strip(" .")[:LONGEST_FOLDER].strip(" .") or "_"
        while len(plain.encode()) > 2 * LONGEST_FOLDER:  # a name on disk holds 255 bytes
            plain = plain[:-1]
        while plain.lower() in taken:
            plain += f" #{index}"
        taken.add(plain.lower())
        names[name] = plain
    return names


def _place(picture: NamedPicture, target: Path, how: SortWith) -> None:
    source = Path(picture.name).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if picture.get is not None:  # the picture is part of a larger file
            content = picture.get()
            _unless_there(target, lambda: target.read_bytes() == content, lambda: write_atomically(target, content))
        elif how == "copy":
            _unless_there(
                target,
                lambda: not target.is_symlink() and filecmp.cmp(source, target, shallow=False),
                lambda: write_atomically(target, lambda file: _copy(source, file)),
            )
        else:
            _unless_there(
                target,
                lambda: target.is_symlink() and target.readlink() == source,
                lambda: target.symlink_to(source),
            )
    except OSError as error:
        advice = "; --sort-with copy copies the pictures" if how == "link" else ""
        raise RunError(f"cannot sort {picture.name} into {target.parent}: {error.strerror or error}{advice}") from error


def _unless_there(target: Path, is_same: Callable[[], bool], make: Callable[[], None]) -> None:
    if not os.path.lexists(target):
        make()
    elif not is_same():
        raise RunError(f"{target} exists and is something else; choose another folder, or remove it")


def _copy(source: Path, file: BinaryIO) -> None:
    with source.open("rb") as content:
        shutil.copyfileobj(content, file)
