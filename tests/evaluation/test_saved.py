"""Saved predictions: the same numbers back, and clear words about files that are something else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from casebook.errors import DataError, RunError
from casebook.evaluation.predictions import Predictions
from casebook.evaluation.saved import read_predictions, save_predictions


def some(num_classes: int = 4, n: int = 50, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.02), n).astype(np.float32)  # many near 0 and near 1
    names = tuple(f"class {i % num_classes}/picture {i}.jpg" for i in range(n))
    classes = tuple(f"class {i}" for i in range(num_classes))
    return Predictions(names, rng.integers(num_classes, size=n), probabilities, classes)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_same_bits_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    predictions = some(40, 300)
    tiny = predictions.probabilities.copy()
    tiny[0] = 0
    tiny[0, :3] = 1.0, np.float32(1e-45), np.float32(1.1754942e-38)  # the smallest float32, and a subnormal one
    predictions = predictions._replace(probabilities=tiny)
    save_predictions(path, predictions)
    again = read_predictions(path)
    assert again.probabilities.dtype == np.float32
    assert np.array_equal(again.probabilities.view(np.uint32), predictions.probabilities.view(np.uint32))
    assert np.array_equal(again.labels, predictions.labels)
    assert (again.names, again.classes) == (predictions.names, predictions.classes)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_odd_names_come_back(suffix: str, tmp_path: Path) -> None:
    odd = ('a,"b"', "line\nbreak", "tab\t\r", "ünïcode 猫", " =1+1 ")
    predictions = some(5, 5)._replace(names=odd, classes=odd)
    save_predictions(tmp_path / f"p{suffix}", predictions)
    again = read_predictions(tmp_path / f"p{suffix}")
    assert (again.names, again.classes) == (odd, odd)


def test_a_name_that_is_no_utf8_is_written(tmp_path: Path) -> None:
    broken = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    predictions = some(2, 2)._replace(names=(broken, "b"))
    save_predictions(tmp_path / "p.csv", predictions)
    assert read_predictions(tmp_path / "p.csv").names == (broken, "b")
    save_predictions(tmp_path / "p.parquet", predictions)
    assert read_predictions(tmp_path / "p.parquet").names == ("caf\\xe9.jpg", "b")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_classes_of_one_name_are_told_apart(suffix: str, tmp_path: Path) -> None:
    """ImageNet has two cranes; the labels still mean the right one."""
    predictions = some(5, 20)._replace(classes=("crane", "crane #0", "tench", "crane", "maillot"))
    save_predictions(tmp_path / f"p{suffix}", predictions)
    again = read_predictions(tmp_path / f"p{suffix}")
    assert again.classes == ("crane #0'", "crane #0", "tench", "crane #3", "maillot")
    assert np.array_equal(again.labels, predictions.labels)


def lines(*rows: str, header: str = "path,label,cat,dog") -> bytes:
    return "\n".join([header, *rows]).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "its columns begin with nothing; expected path, label"),
        (lines("a,cat,1,0", header="name,label,cat,dog"), "its columns begin 'name', 'label', 'cat', 'dog'"),
        (lines("a,cat,1", header="path,label,cat"), "at least two classes"),
        (lines("a,cat,1,0", header="path,label,cat,cat"), "two columns are called 'cat'"),
        (lines(), "holds no pictures"),
        (lines("a,cat,0.5"), "line 2: 3 fields, expected 4"),
        (lines("a,cat,1,0", "b,dog,half,0.5"), "line 3: could not convert string to float: 'half'"),
        (lines("a,cat,nan,1"), "1 of 1 pictures have a probability that is no number, the first is a"),
        (lines("a,cat,inf,0"), "no number"),
        (lines("a,cat,1e60,0"), "no number"),
        (lines("a,cat,1,0", "b,dog,-0.5,1.5"), "a probability outside 0 to 1, the first is b"),
        (lines("a,cat,0.5,0.6"), "do not sum to 1, the first is a (their sum is 1.1)"),
        (lines("a,cat,0,0"), "do not sum to 1"),
        (lines("a,cat,1,0", "a,cat,1,0"), "1 paths come more than once, such as a"),
        (lines("a,cow,1,0"), "the label of a is 'cow', which is no column; it has 'cat', 'dog'"),
        (lines('a,"cat,1,0'), "line 2: no CSV"),
        (lines("x" * 200_000 + ",cat,1,0"), "no CSV: field larger"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "its columns begin"),
    ],
)
def test_hostile_csv_says_why(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_predictions(tmp_path / "p.csv")
    assert expected in str(error.value)
    assert "p.csv" in str(error.value)


def test_a_byte_order_mark_and_empty_lines_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbf" + lines("a,cat,1,0", "", "b,dog,0.25,0.75", ""))
    assert read_predictions(tmp_path / "p.csv").names == ("a", "b")


def test_hostile_parquet_says_why(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "p.parquet"

    def refuses(table: dict | bytes, expected: str) -> None:
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            pyarrow.parquet.write_table(pyarrow.table(table), path)
        with pytest.raises(DataError) as error:
            read_predictions(path)
        assert expected in str(error.value)

    good = {"path": ["a", "b"], "label": ["cat", "dog"], "cat": [1.0, 0.0], "dog": [0.0, 1.0]}
    refuses(b"PAR1 nothing PAR1", "no predictions in Parquet")
    refuses(b"", "no predictions in Parquet")
    refuses({"path": ["a"], "cat": [1.0]}, "its columns begin 'path', 'cat'")
    refuses(good | {"cat": ["x", "y"]}, "no predictions in Parquet")
    refuses(good | {"cat": [1.0, None]}, "no number")
    refuses(good | {"path": ["a", None]}, "a path or a label is missing")
    refuses(good | {"label": ["cat", "cow"]}, "the label of b is 'cow'")
    refuses(good | {"path": ["a", "a"]}, "1 paths come more than once")
    refuses(good | {"cat": [[1.0], [0.0]]}, "no predictions in Parquet")
    pyarrow.parquet.write_table(pyarrow.table(good), path)
    assert read_predictions(path).names == ("a", "b")


def test_what_cannot_be_read_or_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no file of predictions"):
        read_predictions(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"end in \.csv or \.parquet"):
        read_predictions(tmp_path / "p.json")
    with pytest.raises(RunError, match=r"saved as \.csv or \.parquet"):
        save_predictions(tmp_path / "p.json", some())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RunError, match=r"pip install 'casebook\[parquet\]', or take \.csv"):
        save_predictions(tmp_path / "p.parquet", some())
    save_predictions(tmp_path / "p.csv", some())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = (tmp_path / "p.csv").read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        save_predictions(tmp_path / "p.csv", some(seed=1))
    assert (tmp_path / "p.csv").read_bytes() == before
