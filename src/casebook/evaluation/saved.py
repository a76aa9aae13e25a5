"""Predictions <-> a file: path, label and the probability of each class, one line a picture.

CSV needs the standard library alone, Parquet the extra `casebook[parquet]`. Both give the same 32-bit numbers back.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RunError
from ..files import write_atomically
from .predictions import Predictions

SUFFIXES = (".csv", ".parquet")
COLUMNS = ("path", "label")
MOST_OFF = 0.02  # from 1, of a sum of probabilities made in half precision


def is_saved(name: object) -> bool:
    """Whether a name is that of a file of predictions."""
    return str(name).lower().endswith(SUFFIXES)


def check_suffix(path: str | Path) -> None:
    """Raises RunError for a file to write that is neither .csv nor .parquet, or Parquet without its package."""
    if not is_saved(path):
        raise RunError(f"{path}: predictions are saved as .csv or .parquet; choose one of these endings")
    if str(path).lower().endswith(".parquet"):
        _pyarrow()


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes the predictions, probabilities as 32-bit numbers, replacing the file as a whole or not at all.

    Classes of one name get their number behind it, since columns and labels are told apart by name. Raises RunError
    when the file cannot be written.
    """
    check_suffix(path)
    classes = _told_apart(predictions.classes)
    labels = [classes[label] for label in predictions.labels]
    probabilities = np.asarray(predictions.probabilities, np.float32)
    if str(path).lower().endswith(".csv"):
        text = io.StringIO()
        # With all text quoted, no line end in a name can be taken for one of the file's.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow([*COLUMNS, *classes])
        for name, label, row in zip(predictions.names, labels, probabilities, strict=True):
            writer.writerow([name, label, *row])  # each number as the shortest text that gives its 32 bits back
        write_atomically(Path(path), text.getvalue().encode("utf-8", "surrogateescape"))
        return
    arrow = _pyarrow()
    import pyarrow.parquet

    # A file name that is not UTF-8 reaches us as lone surrogates, which Parquet cannot hold.
    names = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in predictions.names]
    columns = [arrow.array(names), arrow.array(labels), *(arrow.array(column) for column in probabilities.T)]
    table = arrow.Table.from_arrays(columns, names=[*COLUMNS, *classes])
    write_atomically(Path(path), lambda file: pyarrow.parquet.write_table(table, file))


def read_predictions(path: str | Path) -> Predictions:
    """The predictions in a file, checked. Raises DataError saying where it is no such file."""
    file = Path(path).expanduser()
    if not is_saved(file):
        raise DataError(f"{path}: saved predictions end in .csv or .parquet")
    if not file.is_file():
        raise DataError(f"there is no file of predictions {str(path)!r}; 'casebook evaluate ... --save FILE' makes one")
    header, names, labels, probabilities = _read_csv(file) if file.suffix.lower() == ".csv" else _read_parquet(file)
    classes = tuple(header[2:])
    places = {name: place for place, name in enumerate(classes)}
    for row, label in enumerate(labels):
        if label not in places:
            raise DataError(
                f"{path}: the label of {names[row]} is {label!r}, which is no column; it has {_few(classes)}"
            )
    copies = [name for name, number in Counter(names).items() if number > 1]
    if copies:
        raise DataError(f"{path}: {len(copies)} paths come more than once, such as {copies[0]}; keep one line of each")
    _check_probabilities(path, names, probabilities)
    return Predictions(tuple(names), np.array([places[label] for label in labels], np.int64), probabilities, classes)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if tuple(header[:2]) != COLUMNS or len(header) < 4:
        raise DataError(
            f"{path}: its columns begin {_few(header)}; expected path, label and the name of each of at least two "
            "classes, as 'casebook evaluate ... --save FILE' writes them"
        )
    twice = [name for name, number in Counter(header[2:]).items() if number > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r}; expected one for each class")


def _check_probabilities(path: str | Path, names: Sequence[str], probabilities: NDArray[np.float32]) -> None:
    broken = ~np.isfinite(probabilities).all(axis=1)
    outside = (probabilities < 0).any(axis=1) | (probabilities > 1 + MOST_OFF).any(axis=1)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    off = ~(np.abs(sums - 1) <= MOST_OFF)
    for bad, what in (
        (broken, "a probability that is no number"),
        (outside, "a probability outside 0 to 1"),
        (off, "probabilities that do not sum to 1"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            more = f" (their sum is {sums[row]:g})" if bad is off else ""
            raise DataError(
                f"{path}: {int(bad.sum())} of {len(names)} pictures have {what}, the first is {names[row]}{more}; "
                "write softmax probabilities, not logits"
            )


Columns = tuple[list[str], list[str], list[str], NDArray[np.float32]]


def _read_csv(path: Path) -> Columns:
    """Header, paths, labels and (N, K) numbers."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    names: list[str] = []
    labels: list[str] = []
    rows: list[NDArray[np.float32]] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(path, header)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(f"{path}, line {reader.line_num}: {len(cells)} fields, expected {len(header)}")
            names.append(cells[0])
            labels.append(cells[1])
            try:
                with np.errstate(over="ignore"):  # what is too large is refused below
                    rows.append(np.array([float(cell) for cell in cells[2:]]).astype(np.float32))
            except ValueError as error:
                raise DataError(f"{path}, line {reader.line_num}: {error}; expected probabilities") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: no CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} holds no pictures; expected a line for each")
    return header, names, labels, np.stack(rows)


def _read_parquet(path: Path) -> Columns:
    arrow = _pyarrow()
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        header = list(table.column_names)
        _check_header(path, header)
        names, labels = (table.column(place).cast(arrow.string()).to_pylist() for place in (0, 1))
        numbers = [table.column(place).cast(arrow.float32()).to_numpy() for place in range(2, len(header))]
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: no predictions in Parquet: {str(error).splitlines()[0]}") from error
    if not names:
        raise DataError(f"{path} holds no pictures; expected a row for each")
    if None in names or None in labels:
        raise DataError(f"{path}: a path or a label is missing; expected both in every row")
    return header, names, labels, np.stack(numbers, axis=1)


def _pyarrow() -> Any:
    """Raises RunError where the package is missing."""
    try:
        import pyarrow
    except ImportError as error:
        raise RunError(
            "Parquet needs a package that is not installed; pip install 'casebook[parquet]', or take .csv"
        ) from error
    return pyarrow


def _told_apart(classes: Sequence[str]) -> tuple[str, ...]:
    """The names, those that come more than once with their number behind them."""
    counts = Counter(classes)
    taken = {name for name, number in counts.items() if number == 1}
    apart = []
    for index, name in enumerate(classes):
        new = name if counts[name] == 1 else f"{name} #{index}"
        while counts[name] > 1 and new in taken:
            new += "'"
        taken.add(new)
        apart.append(new)
    return tuple(apart)


def _few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "") if names else "with nothing"
