"""Folders of class folders in all the shapes that people have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from casebook.data.folders import pictures_below
from casebook.data.sources import load_source
from casebook.errors import DataError

Make = Callable[[dict[str, int]], Path]


def test_class_folders(make_folder: Make) -> None:
    source = load_source(make_folder({"dog": 2, "cat": 3}))
    assert source.classes == ("cat", "dog")
    assert [picture.name for picture in source.pictures] == [
        "cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png",
    ]  # fmt: skip
    assert [picture.label for picture in source.pictures] == [0, 0, 0, 1, 1]
    assert source.notes == ()
    assert source.open(4).size == (8, 8)


def test_nested_folders_belong_to_their_class(make_folder: Make) -> None:
    source = load_source(make_folder({"cat/tabby/old": 1, "cat": 1, "dog": 1}))
    assert [picture.name for picture in source.pictures] == ["cat/0.png", "cat/tabby/old/0.png", "dog/0.png"]


def test_hidden_and_other_files(make_folder: Make) -> None:
    root = make_folder({"cat": 1, "dog": 1, ".thumbnails": 2, "dog/.cache": 1})
    for name in ("cat/.hidden.png", "cat/Thumbs.db", "cat/notes.txt", "cat/LICENSE", ".DS_Store"):
        (root / name).touch()
    source = load_source(root)
    assert source.classes == ("cat", "dog")
    assert len(source) == 2
    assert source.notes == ("cat: 2 files that are no pictures are ignored (1 .txt, 1 no suffix)",)


def test_suffixes_are_not_case_sensitive(make_folder: Make) -> None:
    root = make_folder({"cat": 1, "dog": 1})
    (root / "cat/0.png").rename(root / "cat/0.PNG")
    assert len(load_source(root)) == 2


def test_empty_class_is_said_and_left_out(make_folder: Make) -> None:
    source = load_source(make_folder({"cat": 1, "dog": 1, "bird": 0}))
    assert source.classes == ("cat", "dog")
    assert source.notes == ("class 'bird' holds no pictures: left out",)


def test_pictures_beside_the_classes_are_said(make_folder: Make) -> None:
    assert "1 pictures beside" in load_source(make_folder({"cat": 1, "dog": 1, ".": 1})).notes[0]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "no folders in it"),
        ({".": 3}, "no folders in it, only 3 pictures"),
        ({"cat": 2}, "the one class 'cat'"),
        ({"cat": 2, "dog": 0}, "the one class 'cat'"),
        ({"cat": 0, "dog": 0}, "no folder in .* holds a picture"),
        ({"val/cat": 1, "validation/cat": 1}, "both val and validation"),
    ],
)
def test_what_cannot_be_used(folders: dict[str, int], message: str, make_folder: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make_folder(folders)
    with pytest.raises(DataError, match=message):
        load_source(tmp_path / "data")


def test_archive_unpacked_one_level_too_high(make_folder: Make) -> None:
    root = make_folder({"photos/photos/cat": 1, "photos/photos/dog": 1})
    source = load_source(root)
    assert source.classes == ("cat", "dog")
    assert source.root == root / "photos/photos"
    assert "nothing but the folder photos" in source.notes[0]


def test_a_single_class_with_nested_folders_is_not_mistaken_when_it_has_pictures(make_folder: Make) -> None:
    with pytest.raises(DataError, match="the one class 'cat'"):
        load_source(make_folder({"cat": 1, "cat/tabby": 1, "cat/siamese": 1}))


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_split_folders(val: str, make_folder: Make) -> None:
    source = load_source(
        make_folder({f"{part}/{name}": 1 for part in ("train", val, "test") for name in ("cat", "dog")})
    )
    assert source.classes == ("cat", "dog")
    assert [(picture.split, picture.label) for picture in source.pictures] == [
        ("train", 0), ("train", 1), ("val", 0), ("val", 1), ("test", 0), ("test", 1),
    ]  # fmt: skip
    assert source.notes == ()


def test_class_missing_from_and_extra_in_a_part(make_folder: Make) -> None:
    source = load_source(
        make_folder({"train/a": 1, "train/c": 1, "train/d": 2, "test/b": 2, "test/c": 1, "test/d": 1, "val/a": 1,
                     "val/c": 1, "val/d": 0})
    )  # fmt: skip
    assert source.classes == ("a", "c", "d")
    found = {(picture.split, source.classes[picture.label], picture.name) for picture in source.pictures}
    assert ("test", "c", "test/c/0.png") in found  # not shifted into the place of the missing "a"
    assert not any("/b/" in picture.name for picture in source.pictures)
    assert set(source.notes) == {
        "class 'b' is in test and not in train: its 2 pictures are left out",
        "class 'a' of train has no pictures in test",
        "class 'd' of train has no pictures in val",
    }


def test_class_empty_in_train(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "train/c": 0, "test/a": 1, "test/b": 1, "test/c": 1}))
    assert source.classes == ("a", "b")
    assert "class 'c' holds no pictures in train: left out everywhere" in source.notes


def test_only_a_test_part(make_folder: Make) -> None:
    source = load_source(make_folder({"test/cat": 1, "test/dog": 1}))
    assert {picture.split for picture in source.pictures} == {"test"}


def test_other_folders_beside_the_parts_are_said(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1, "masks": 1}))
    assert source.notes == ("the folder masks is neither train, val nor test: ignored",)


def test_unlabelled_test_folder_is_said(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "test": 3}))
    assert source.classes == ("a", "b")
    assert source.notes == ("the folder test has no class folders: ignored",)


def test_a_class_called_train(make_folder: Make) -> None:
    source = load_source(make_folder({"car": 1, "bus": 1, "train": 1, "test": 1}))
    assert source.classes == ("bus", "car", "test", "train")


def test_links_are_followed_and_loops_end(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"cat": 1, "dog": 1})
    (root / "dog" / "loop").symlink_to(root / "dog", target_is_directory=True)
    outside = tmp_path / "bird"
    outside.mkdir()
    (root / "cat/0.png").rename(outside / "0.png")
    (root / "bird").symlink_to(outside, target_is_directory=True)
    source = load_source(root)
    assert [picture.name for picture in source.pictures] == ["bird/0.png", "dog/0.png"]


def test_pictures_below(make_folder: Make) -> None:
    root = make_folder({"b": 2, "a/deep": 1, ".hidden": 1})
    (root / "notes.txt").touch()
    names = [path.relative_to(root).as_posix() for path in pictures_below(root)]
    assert names == ["a/deep/0.png", "b/0.png", "b/1.png"]
    assert pictures_below(root / "b/0.png") == [root / "b/0.png"]
