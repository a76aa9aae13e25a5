"""CSV lists in the forms that spreadsheets and people write, and class lists."""

from pathlib import Path

import pytest
from PIL import Image

from casebook.data.lists import ClassEntry, match_classes, read_class_list
from casebook.data.sources import load_source
from casebook.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("1.png", "2.png", "photos/3.png", "photos/4 é.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    return tmp_path


def listed(folder: Path, text: str, encoding: str = "utf-8", **options):
    path = folder / "list.csv"
    path.write_bytes(text.encode(encoding))
    return load_source(path, **options)


ROWS = "1.png,dog\n2.png,cat\nphotos/3.png,dog\nphotos/4 é.png,cat\n"


def test_path_and_label(folder: Path) -> None:
    source = listed(folder, "path,label\n" + ROWS)
    assert source.classes == ("cat", "dog")
    assert [(picture.name, picture.label) for picture in source.pictures] == [
        ("1.png", 1), ("2.png", 0), ("photos/3.png", 1), ("photos/4 é.png", 0),
    ]  # fmt: skip
    assert source.open(3).size == (4, 4)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_dialects(folder: Path, delimiter: str, end: str, encoding: str) -> None:
    text = ("Path, Label\n" + ROWS + "\n").replace(",", delimiter).replace("\n", end)
    assert len(listed(folder, text, encoding)) == 4


def test_quoted_cells_and_absolute_paths_below(folder: Path) -> None:
    source = listed(folder, f'label,path\n"dog, large","{folder / "1.png"}"\ncat,./photos/../2.png\n')
    assert source.classes == ("cat", "dog, large")
    assert [picture.name for picture in source.pictures] == ["1.png", "2.png"]


def test_splits(folder: Path) -> None:
    text = "path,label,split\n1.png,a,train\n2.png,b,TRAIN\nphotos/3.png,a,validation\nphotos/4 é.png,b,test\n"
    assert [picture.split for picture in listed(folder, text).pictures] == ["train", "train", "val", "test"]


def test_other_words_for_splits(folder: Path) -> None:
    source = listed(
        folder, "path,label,split\n1.png,a,Training\n2.png,b,Training\nphotos/3.png,a,dev\nphotos/4 é.png,b,holdout\n"
    )
    assert [picture.split for picture in source.pictures] == ["train", "train", "val", "test"]
    assert source.notes == ("recognised as the split: Training as train, dev as val, holdout as test",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,label\n", "lists no pictures"),
        ("1.png,dog\n2.png,cat\n", "columns 1.png, dog; expected a first line with path,label"),
        ("path,lable\n1.png,dog\n", "did you mean 'lable'"),
        ("path,label\n1.png,dog\nnone.png,cat\n", "1 of 2 listed files do not exist .*: none.png"),
        ("path,label\n1.png,dog,x\n", "row 2: 3 values for the 2 columns"),
        ("path,label\n1.png,\n", "row 2: 1.png has no label"),
        ("path,label\n,dog\n", "row 2: the path is empty"),
        ("path,label\n1.png,dog\n2.png,dog\n", "the one class 'dog'"),
        ("path,label\n1.png,dog\n1.png,cat\n", "row 3: 1.png is listed twice"),
        ("path,label,split\n1.png,dog,train\n2.png,cat,other\n", "row 3: split is 'other', expected train, val or"),
        ("path,label,split\n1.png,dog,train\n2.png,cat,\n", "1 of 2 rows have no split, such as 2.png"),
    ],
)
def test_bad_lists(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        listed(folder, text)


@pytest.mark.parametrize("path", ["../secret.png", "photos/../../secret.png", "/etc/passwd", "..\\secret.png"])
def test_paths_that_lead_out_are_refused(folder: Path, path: str) -> None:
    (folder.parent / "secret.png").touch()
    with pytest.raises(DataError, match=r"row 3: .* leads out of"):
        listed(folder, f"path,label\n1.png,dog\n{path},cat\n")


def test_repeated_rows_are_said(folder: Path) -> None:
    source = listed(folder, "path,label\n" + ROWS + "1.png,dog\n./2.png,cat\n")
    assert len(source) == 4
    assert source.notes == ("2 rows repeat a picture: ignored",)


def test_group_by_column_and_by_name(folder: Path) -> None:
    text = "path,label,Patient\n1.png,a,p1\n2.png,b,p1\nphotos/3.png,a,p2\nphotos/4 é.png,b,\n"
    source = listed(folder, text, group_by="patient")
    assert [picture.group for picture in source.pictures] == ["p1", "p1", "p2", ""]
    assert "1 of 4 pictures no group" in source.notes[0]
    by_name = listed(folder, text, group_by=r"(\d)")
    assert [picture.group for picture in by_name.pictures] == ["1", "2", "3", "4"]
    with pytest.raises(DataError, match="did you mean 'patient'"):
        listed(folder, text, group_by="patent")


def test_class_lists(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("index,wnid,name\n1,n02,great white shark\n0,n01,tench\n")
    expected = (ClassEntry(0, "n01", "tench"), ClassEntry(1, "n02", "great white shark"))
    assert read_class_list(path) == expected
    lines = tmp_path / "classes.txt"
    lines.write_text("tench\n\ngreat white shark\n")
    assert [entry.name for entry in read_class_list(lines)] == ["tench", "great white shark"]
    path.write_text("index,name\n0,a\n1,b\n")
    assert read_class_list(path)[1] == ClassEntry(1, "b", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [("index,name\n0,a\n2,b\n", "without a gap"), ("index,name\nx,a\n", "not a whole number"),
     ("number,name\n0,a\n", "expected index, name"), ("index,name\n", "without a gap")],
)  # fmt: skip
def test_bad_class_lists(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_list(path)
    with pytest.raises(DataError, match="cannot read"):
        read_class_list(tmp_path / "none.txt")


ENTRIES = (
    ClassEntry(0, "n01", "tench"),
    ClassEntry(1, "n02", "great white shark"),
    ClassEntry(2, "n03", "crane"),
    ClassEntry(3, "n04", "crane"),
)


def test_classes_match_by_id_and_by_name() -> None:
    assert match_classes(["n02", "n01"], ENTRIES) == (1, 0)
    assert match_classes(["Great_White_Shark", "n04", "tench"], ENTRIES) == (1, 3, 0)


def test_classes_that_do_not_match() -> None:
    with pytest.raises(DataError, match="1 of 2 classes are not in the list of 4: zebra; expected ids or names"):
        match_classes(["tench", "zebra"], ENTRIES)
    with pytest.raises(DataError, match=r"'crane' names 2 outputs .* n03, n04"):
        match_classes(["crane"], ENTRIES)
