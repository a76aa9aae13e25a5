"""What load_source makes of names, and what it says of everything else."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from casebook.data import sources
from casebook.data.downloads import Pictures
from casebook.data.pictures import Picture, Source, SourceFormat
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
    with pytest.raises(DataError, match="has no folders and no pictures"):
        load_source("./digits")


def test_unknown_name_suggests(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder or list 'cifar1'; did you mean 'cifar10'\?"):
        load_source("cifar1")
    with pytest.raises(DataError, match="one folder per class"):
        load_source(tmp_path / "none")


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    for name, message in (
        ("picture.jpg", "is a single picture; expected a folder"),
        ("photos.tar.gz", "is an archive; unpack it first and give the folder"),
        ("photos.ZIP", "is an archive; unpack it first and give the folder"),
        ("notes.txt", "is a file of an unknown kind; expected a folder"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=message):
            load_source(tmp_path / name)


def test_a_missing_folder_is_looked_for_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/train").mkdir(parents=True)
    for given, message in (
        ("phtos", rf"no folder or list 'phtos' in {tmp_path}; did you mean 'photos'\? expected a folder"),
        ("phtos/train", rf"'phtos/train': there is no 'phtos' in {tmp_path}; did you mean 'photos'\?"),
        ("photos/trian", rf"there is no 'trian' in {tmp_path}/photos; did you mean 'train'\?"),
        (unicodedata.normalize("NFD", "café"), "'café' looks the same, but is written with other Unicode"),
        ("nothing_like_it", rf"no folder or list 'nothing_like_it' in {tmp_path}; expected a folder"),
    ):
        (tmp_path / "café").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message):
            load_source(given)


def test_a_source_comes_back_as_it_is() -> None:
    source = source_of("a/0.png", "b/0.png")
    assert load_source(source) is source


def test_formats_that_do_not_apply(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits is a built-in data set; leave out label_from='parent'"):
        load_source("digits", format=SourceFormat("parent"))
    (tmp_path / "list.csv").touch()
    with pytest.raises(DataError, match="is a list with a column of labels; leave out label_from='top'"):
        load_source(tmp_path / "list.csv", format=SourceFormat("top"))


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
