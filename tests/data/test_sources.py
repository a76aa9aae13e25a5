"""What load_source makes of names, and what it says of everything else."""

from pathlib import Path

import numpy as np
import pytest

from casebook.data import sources
from casebook.data.downloads import Pictures
from casebook.data.pictures import Picture, Source
from casebook.data.sources import load_source
from casebook.errors import DataError


def test_digits() -> None:
    source = load_source("digits")
    assert len(source) == 1797
    assert source.classes == tuple("0123456789")
    assert source.pictures[12].name == "digits/0012"
    picture = source.open(0, mode="L")
    assert picture.size == (8, 8)
    assert source.arrays is not None
    assert (source.arrays.min(), source.arrays.max(), source.arrays.dtype) == (0, 255, np.uint8)
    assert np.array_equal(source.open(0), np.repeat(np.asarray(picture)[..., None], 3, axis=2))
    assert source.path(0) is None
    assert not any(picture.split for picture in source.pictures)


def test_named_set_keeps_its_official_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(5 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(5, 32, 32, 3)
    monkeypatch.setattr(sources, "load", lambda name, progress: Pictures(images, np.array([0, 1, 2, 9, 0]), 3))
    source = load_source("cifar10")
    assert [picture.split for picture in source.pictures] == ["train"] * 3 + ["test"] * 2
    assert source.pictures[3] == Picture("test/00000", 9, "test")
    assert source.classes[9] == "truck"
    assert np.array_equal(source.open(3), images[3])


def test_a_name_wins_over_a_folder_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert "./digits" in load_source("digits").notes[0]
    with pytest.raises(DataError, match="no folders in it"):
        load_source("./digits")


def test_unknown_name_suggests(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder or list 'cifar1'; did you mean 'cifar10'\?"):
        load_source("cifar1")
    with pytest.raises(DataError, match="one folder per class"):
        load_source(tmp_path / "none")


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.touch()
    with pytest.raises(DataError, match="is a file; expected"):
        load_source(path)


def test_named_sets_have_no_groups() -> None:
    with pytest.raises(DataError, match="has no groups"):
        load_source("digits", group_by="x")


def source_of(*names: str) -> Source:
    return Source("data", Path("data"), ("a", "b"), tuple(Picture(name, index % 2) for index, name in enumerate(names)))


def test_groups_by_file_name() -> None:
    grouped = sources.grouped_by_name(source_of("a/p1_0.png", "b/p2_0.png", "a/p1_1.png", "b/other.png"), r"^(p\d+)_")
    assert [picture.group for picture in grouped.pictures] == ["p1", "p2", "p1", ""]
    assert "1 of 4 pictures no group" in grouped.notes[0]


def test_groups_by_folder() -> None:
    grouped = sources.grouped_by_name(source_of("a/p1/0.png", "b/p2/0.png"), r"/([^/]+)/")
    assert [picture.group for picture in grouped.pictures] == ["p1", "p2"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("p1", "0 capture groups, expected one"), ("(a)(b)", "2 capture groups"), ("(", "not a regular expression"),
     ("(zebra)", "gives no picture of data a group")],
)  # fmt: skip
def test_bad_group_patterns(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sources.grouped_by_name(source_of("a/p1_0.png"), pattern)
