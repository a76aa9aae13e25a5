"""Folders of class folders in all the shapes that people have."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from casebook.data.sources import Source, SourceFormat, load_source
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
    assert source.notes == ("2 files that are not pictures are ignored (1 .txt, 1 without suffix)",)


def test_suffixes_are_not_case_sensitive(make_folder: Make) -> None:
    root = make_folder({"cat": 1, "dog": 1})
    (root / "cat/0.png").rename(root / "cat/0.PNG")
    assert len(load_source(root)) == 2


def test_empty_class_is_reported_and_left_out(make_folder: Make) -> None:
    source = load_source(make_folder({"cat": 1, "dog": 1, "bird": 0}))
    assert source.classes == ("cat", "dog")
    assert source.notes == ("class 'bird' has no pictures: left out",)


def test_pictures_beside_the_classes_are_reported(make_folder: Make) -> None:
    assert "1 pictures beside" in load_source(make_folder({"cat": 1, "dog": 1, ".": 1})).notes[0]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "has no folders and no pictures in it"),
        ({".": 3}, "holds 3 pictures but no class folders"),
        ({"cat": 2}, "the one class 'cat'"),
        ({"cat": 2, "dog": 0}, "the one class 'cat'"),
        ({"cat": 0, "dog": 0}, "no folder in .* holds a picture"),
        ({"val/cat": 1, "validation/cat": 1}, "has two val folders, val and validation; expected one"),
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
    assert "holds just the folder photos" in source.notes[0]


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
        "test has no pictures of class 'a'",
        "val has no pictures of class 'd'",
    }


def test_class_empty_in_train(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "train/c": 0, "test/a": 1, "test/b": 1, "test/c": 1}))
    assert source.classes == ("a", "b")
    assert "class 'c' has no pictures in train: left out everywhere" in source.notes


def test_only_a_test_part(make_folder: Make) -> None:
    source = load_source(make_folder({"test/cat": 1, "test/dog": 1}))
    assert {picture.split for picture in source.pictures} == {"test"}


def test_other_folders_beside_the_parts_are_reported(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1, "masks": 1}))
    assert source.notes == ("the folder masks is neither train, val nor test: ignored",)


def test_unlabelled_test_folder_is_reported(make_folder: Make) -> None:
    source = load_source(make_folder({"train/a": 1, "train/b": 1, "test": 3}))
    assert source.classes == ("a", "b")
    assert source.notes == ("the folder test has no class folders: ignored",)


def test_a_class_called_train(make_folder: Make) -> None:
    source = load_source(make_folder({"car": 1, "bus": 1, "train": 1, "test": 1}))
    assert source.classes == ("bus", "car", "test", "train")


def test_a_class_called_train_with_kinds_of_trains(make_folder: Make) -> None:
    source = load_source(make_folder({"car": 1, "bus": 1, "train/steam": 1, "train/diesel": 1}))
    assert source.classes == ("bus", "car", "train")
    assert len(source) == 4


def test_links_are_followed_and_loops_end(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"cat": 1, "dog": 1})
    (root / "dog" / "loop").symlink_to(root / "dog", target_is_directory=True)
    outside = tmp_path / "bird"
    outside.mkdir()
    (root / "cat/0.png").rename(outside / "0.png")
    (root / "bird").symlink_to(outside, target_is_directory=True)
    source = load_source(root)
    assert [picture.name for picture in source.pictures] == ["bird/0.png", "dog/0.png"]


def in_two(*folders: str) -> dict[str, int]:
    """Two classes of two pictures in each folder."""
    return {f"{folder}/{name}": 2 for folder in folders for name in ("cats", "dogs")}


def parts(source: Source) -> dict[str, int]:
    return dict(Counter(picture.split for picture in source.pictures))


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("train_images", "val_images"), ("train", "val")),
        (("train", "holdout"), ("train", "test")),
        (("training", "validation", "testing"), ("train", "val", "test")),
        (("train", "dev", "eval"), ("train", "val", "test")),
        (("train", "eval", "test"), ("train", "val", "test")),
        (("training_set/training_set", "test_set/test_set"), ("train", "test")),
        (("seg_train/seg_train", "seg_test/seg_test"), ("train", "test")),
    ],
)
def test_split_folders_as_people_name_them(
    folders: tuple[str, ...], splits: tuple[str, ...], make_folder: Make
) -> None:
    source = load_source(make_folder(in_two(*folders)))
    assert source.classes == ("cats", "dogs")
    assert parts(source) == dict.fromkeys(splits, 4)
    assert [picture.name.rpartition("/")[0] for picture in source.pictures] == [
        f"{folders[splits.index(split)]}/{name}"
        for split in ("train", "val", "test") if split in splits
        for name in ("cats", "cats", "dogs", "dogs")
    ]  # fmt: skip


def test_a_recognised_split_is_reported(make_folder: Make) -> None:
    source = load_source(make_folder({**in_two("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred": 2}))
    assert source.notes == (
        "seg_test holds just the folder seg_test, so its folders are used",
        "seg_train holds just the folder seg_train, so its folders are used",
        "recognised as the split: seg_train as train, seg_test as test",
        "the folder seg_pred is neither train, val nor test: ignored",
    )


def test_years_instead_of_classes_stop_with_ways_to_go_on(make_folder: Make) -> None:
    root = make_folder(in_two("2020", "2021"))
    with pytest.raises(DataError) as stop:
        load_source(root)
    assert str(stop.value) == (
        f"it is not clear which folders in {root} are the classes: '2020', '2021' hold no pictures themselves but the "
        "same folders ('cats', 'dogs'). If those are the classes, add --label-from parent to take them from all, or "
        f"give one folder, such as {root}/2020. If '2020', '2021' are the classes, add --label-from top"
    )
    inner = load_source(root, format=SourceFormat("parent"), group_by="^([^/]+)/")
    assert inner.classes == ("cats", "dogs")
    assert [(picture.name, picture.label) for picture in inner.pictures][1:4] == [
        ("2020/cats/1.png", 0), ("2021/cats/0.png", 0), ("2021/cats/1.png", 0),
    ]  # fmt: skip
    assert {picture.group for picture in inner.pictures} == {"2020", "2021"}
    assert load_source(root, format=SourceFormat("top")).classes == ("2020", "2021")
    assert load_source(root / "2020").classes == ("cats", "dogs")


def test_folders_that_share_most_inner_folders_stop_too(make_folder: Make) -> None:
    with pytest.raises(DataError, match="not clear which folders"):
        load_source(make_folder({**in_two("2020/site", "2021/site"), "2021/site/birds": 1}))
    with pytest.raises(DataError, match=r"not clear which folders in .*train are"):
        load_source(make_folder(in_two("train/2020", "train/2021", "test/2022")))


def test_folders_inside_the_classes_are_no_reason_to_stop(make_folder: Make) -> None:
    assert load_source(make_folder({"cats/images": 1, "dogs/images": 1})).notes == ()
    source = load_source(make_folder({"cats/day": 1, "dogs/night": 1, "dogs/day": 1, "dogs": 1, "cats": 1}))
    assert (source.classes, source.notes) == (("cats", "dogs"), ())


def test_classes_of_classes_are_reported(make_folder: Make) -> None:
    root = make_folder({"animals/cat": 1, "animals/dog": 1, "vehicles/car": 1, "vehicles/bus": 1})
    source = load_source(root)
    assert source.classes == ("animals", "vehicles")
    assert source.notes == (
        "2 classes ('animals', 'vehicles'): all pictures lie in inner folders, such as 'cat', 'dog', and count as the "
        "outer class; --label-from parent makes the inner folders the classes",
    )
    assert load_source(root, format=SourceFormat("parent")).classes == ("bus", "car", "cat", "dog")


def test_folds_are_no_classes(make_folder: Make) -> None:
    root = make_folder(in_two("fold1", "fold2", "fold3"))
    with pytest.raises(DataError, match=r"holds the folds 'fold1', 'fold2', 'fold3'\. Folds are parts of a cross"):
        load_source(root)
    assert load_source(root, format=SourceFormat("parent")).classes == ("cats", "dogs")
    assert load_source(root / "fold1").classes == ("cats", "dogs")


def test_folds_without_inner_folders(make_folder: Make) -> None:
    root = make_folder({"fold_1": 1, "fold_2": 1})
    with pytest.raises(DataError, match="If they are the classes, add --label-from top"):
        load_source(root)
    assert load_source(root, format=SourceFormat("top")).classes == ("fold_1", "fold_2")


def test_splits_without_class_folders(make_folder: Make) -> None:
    root = make_folder({"train": 2, "test": 2})
    with pytest.raises(DataError, match=r"folders 'test', 'train' in .* look like a split, but have no class folders"):
        load_source(root)
    (root / "train.csv").touch()
    with pytest.raises(DataError, match=r"or give the list beside them: .*train\.csv"):
        load_source(root)
    assert load_source(root, format=SourceFormat("top")).classes == ("test", "train")


def test_splits_inside_the_classes(make_folder: Make) -> None:
    source = load_source(make_folder({"cats/train": 3, "cats/test": 1, "dogs/train": 2, "dogs/test": 1}))
    assert source.classes == ("cats", "dogs")
    assert [(picture.split, picture.label) for picture in source.pictures] == (
        [("train", 0)] * 3 + [("train", 1)] * 2 + [("test", 0), ("test", 1)]
    )
    assert source.notes == ("recognised as the split, inside each class: train as train, test as test",)


def test_classes_from_file_names(make_folder: Make) -> None:
    root = make_folder({"train": 4, "test": 2})
    for folder in ("train", "test"):
        for path in sorted((root / folder).iterdir()):
            path.rename(path.with_name(f"{'dog' if int(path.stem) % 2 else 'cat'}.{path.name}"))
    with pytest.raises(DataError, match=r"from the file names \('cat', 'dog'\) with --label-from '\^\(\[\^"):
        load_source(root)
    source = load_source(root, format=SourceFormat(r"^([^\W\d_]+)"))
    assert source.classes == ("cat", "dog")
    assert [(picture.name, picture.label, picture.split) for picture in source.pictures] == [
        ("train/cat.0.png", 0, "train"), ("train/cat.2.png", 0, "train"), ("train/dog.1.png", 1, "train"),
        ("train/dog.3.png", 1, "train"), ("test/cat.0.png", 0, "test"), ("test/dog.1.png", 1, "test"),
    ]  # fmt: skip
    (root / "train/0.png").touch()
    assert load_source(root, format=SourceFormat(r"^([^\W\d_]+)")).notes == (
        "label_from '^([^\\\\W\\\\d_]+)' finds no class for 1 pictures, such as train/0.png: left out",
    )


@pytest.mark.parametrize(
    ("label_from", "message"),
    [("prent", "label_from is 'prent'; did you mean 'parent'"),
     ("x", "expected one of auto, top, parent, or a pattern"),
     ("(a)(b)", "label_from .* has 2 capture groups"), ("(", "not a regular expression")],
)  # fmt: skip
def test_bad_label_from(label_from: str, message: str, make_folder: Make) -> None:
    with pytest.raises(DataError, match=message):
        load_source(make_folder({"cat": 1, "dog": 1}), format=SourceFormat(label_from))


def test_the_only_class_holds_the_classes(make_folder: Make) -> None:
    root = make_folder({**in_two("images"), "annotations": 0})
    with pytest.raises(DataError, match=r"It holds the folders 'cats', 'dogs'; if they are the classes, give .*images"):
        load_source(root)


def test_names_in_both_unicode_forms_are_one_class(make_folder: Make) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = load_source(make_folder({composed: 1, decomposed: 2, "tea": 1}))
    assert source.classes == (composed, "tea")
    assert [picture.label for picture in source.pictures] == [0, 0, 0, 1]
    assert {picture.name.partition("/")[0] for picture in source.pictures} == {composed, decomposed, "tea"}
    assert source.notes == ("the folders 'café' are one class: their names differ in Unicode form only",)


def test_classes_of_the_parts_match_whatever_their_unicode_form_and_case(make_folder: Make) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = load_source(make_folder({f"train/{composed}": 1, "train/Tea": 1, f"test/{decomposed}": 1, "test/tea": 1}))
    assert source.classes == ("Tea", composed)
    assert [(picture.split, picture.label) for picture in source.pictures] == [
        ("train", 0), ("train", 1), ("test", 0), ("test", 1),
    ]  # fmt: skip
    assert source.pictures[3].name == f"test/{decomposed}/0.png"
    assert source.notes == ("class 'tea' in test is 'Tea' in train: taken as one",)


def test_case_twins_stay_two_classes_and_are_reported(make_folder: Make) -> None:
    source = load_source(make_folder({"Cat": 1, "cat": 1, "dog": 1}))
    assert source.classes == ("Cat", "cat", "dog")
    assert source.notes == (
        "the classes 'Cat', 'cat' differ in case only and stay separate; if they are one class, give them one name",
    )
