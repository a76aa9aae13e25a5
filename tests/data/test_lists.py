"""CSV lists in the forms that spreadsheets and people write, and class lists."""

import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from casebook.data.lists import ClassEntry, match_classes, read_class_list
from casebook.data.sources import SourceFormat, load_source
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
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
        ("path,this,that\n1.png,dog,x\n", "columns path, this, that; expected .* add --columns PATH,LABEL"),
        ("path,cat,dog\n1.png,0,1\n2.png,1,0\n", r"a column of 0 and 1 for each class \(cat, dog, ...\); expected one"),
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


@pytest.mark.parametrize(
    "header",
    ["image_path,class", "id,breed", "filename,label", "file,category", "Image Name, anything", "FilePaths,labels"],
)
def test_columns_by_their_common_names(folder: Path, header: str) -> None:
    source = listed(folder, f"{header}\n{ROWS}")
    assert source.classes == ("cat", "dog")
    assert [picture.label for picture in source.pictures] == [1, 0, 1, 0]
    path, label = (name.strip().lower() for name in header.split(","))
    assert source.notes == (f"paths are taken from the column {path!r}, labels from {label!r}",)


def test_columns_that_are_given(folder: Path) -> None:
    text = "id,where,what,path\n7,1.png,dog,x\n8,2.png,cat,x\n"
    source = listed(folder, text, format=SourceFormat(columns="Where,what"))
    assert [(picture.name, source.classes[picture.label]) for picture in source.pictures] == [
        ("1.png", "dog"), ("2.png", "cat"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="has no column 'wher'; did you mean 'where'"):
        listed(folder, text, format=SourceFormat(columns="wher,what"))
    with pytest.raises(DataError, match="columns is 'where', expected two names"):
        SourceFormat(columns="where")


def test_other_columns_of_splits(folder: Path) -> None:
    rows = "1.png,a,train\n2.png,b,train\nphotos/3.png,a,valid\nphotos/4 é.png,b,test\n"
    source = listed(folder, "filepaths,labels,data set\n" + rows)
    assert [picture.split for picture in source.pictures] == ["train", "train", "val", "test"]
    source = listed(folder, "path,label,phase\n" + rows.replace("valid", "solid"))
    assert {picture.split for picture in source.pictures} == {""}


def test_suffix_and_root(folder: Path) -> None:
    (folder / "lists").mkdir()
    path = folder / "lists/labels.csv"
    path.write_text("id,breed\n3,dog\n4 é.PNG,cat\n")
    message = rf"2 of 2 listed files .*: 3, 4 é\.PNG; they are found with --root {folder}/photos --suffix \.png"
    (folder / "photos/4 é.png").rename(folder / "photos/4 é.PNG")
    with pytest.raises(DataError, match="do not exist"):
        load_source(path)
    shutil.move(path, folder / "labels.csv")
    with pytest.raises(DataError, match=message):
        load_source(folder / "labels.csv")
    shutil.move(folder / "labels.csv", path)
    source = load_source(path, format=SourceFormat(root=str(folder / "photos"), suffix=".png"))
    assert source.root == folder / "photos"
    assert [picture.name for picture in source.pictures] == ["3.png", "4 é.PNG"]
    assert source.open(0).size == (4, 4)
    with pytest.raises(DataError, match="there is no folder 'nowhere' to look for the pictures"):
        load_source(path, format=SourceFormat(root="nowhere"))


def test_paths_outside_of_the_lists_folder_need_a_root(folder: Path) -> None:
    (folder / "lists").mkdir()
    path = folder / "lists/list.csv"
    path.write_text(f"path,label\n{folder}/1.png,dog\n../2.png,cat\nphotos/3.png,cat\n")
    with pytest.raises(DataError, match=r"row 2: .*1\.png leads out of .*lists; .* add --root"):
        load_source(path)
    source = load_source(path, format=SourceFormat(root=str(folder)))
    assert [picture.name for picture in source.pictures] == ["1.png", "2.png", "photos/3.png"]
    with pytest.raises(DataError, match=r"row 2: .* leads out of .*photos"):
        load_source(path, format=SourceFormat(root=str(folder / "photos")))


@pytest.mark.parametrize(("listed_as", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_file_names_match_whatever_their_unicode_form(tmp_path: Path, listed_as: str, on_disk: str) -> None:
    forms: Any = (on_disk, listed_as)
    stored, written = (unicodedata.normalize(form, "très/café.png") for form in forms)
    (tmp_path / stored).parent.mkdir()
    for name in (stored, "IMG_1.JPG"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    source = listed(tmp_path, f"path,label\n{written},a\nimg_1.jpg,b\n{stored},a\n")
    assert [picture.name for picture in source.pictures] == [stored, "IMG_1.JPG"]
    assert source.open(0).size == (4, 4)
    assert source.notes == (
        f"2 paths differ from the names of the files in case or Unicode form, such as {written!r}; the files are used",
        "1 rows repeat a picture: ignored",
    )


def test_a_name_that_fits_two_files_is_not_guessed(tmp_path: Path) -> None:
    for name in ("A.png", "a.PNG", "b.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"1 of 2 listed files do not exist .*: a\.png"):
        listed(tmp_path, "path,label\na.png,x\nb.png,y\n")


def test_labels_in_both_unicode_forms_are_one_class(folder: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    source = listed(folder, f"path,label\n1.png,{composed}\n2.png,{decomposed}\nphotos/3.png,Tea\nphotos/4 é.png,tea\n")
    assert source.classes == ("Tea", composed, "tea")
    assert [picture.label for picture in source.pictures] == [1, 1, 0, 2]
    assert source.notes == (
        "the classes 'Tea', 'tea' differ in case only and stay separate; if they are one class, give them one name",
    )


def test_a_list_that_is_not_in_utf8(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"1 of 4 listed files do not exist .* the list is not in UTF-8, so save it as CSV"
    ):
        listed(folder, "path,label\n" + ROWS, "cp1252")


@pytest.mark.parametrize("separator", [",", "|", " ", ";"])
def test_several_labels_in_a_cell_stop(folder: Path, separator: str) -> None:
    rows = f'1.png,c0\n2.png,"c0{separator}c9"\nphotos/3.png,"c0{separator}c9"\nphotos/4 é.png,c9\n'
    with pytest.raises(DataError) as stop:
        listed(folder, "path,label\n" + rows)
    assert str(stop.value) == (
        f"{folder}/list.csv: 2 of 4 rows have several labels in the column 'label', such as 'c0{separator}c9'; "
        "expected one class for each picture. 'casebook train', 'data check' and 'data suspects' take several labels; "
        f"here keep the main one of each row. If 'c0{separator}c9' is one class, write it without {separator!r}"
    )


def test_class_indices_keep_the_order_of_their_numbers(folder: Path) -> None:
    source = listed(folder, "path,label\n1.png,10\n2.png,9\nphotos/3.png,2\nphotos/4 é.png,10\n")
    assert source.classes == ("2", "9", "10")
    assert [picture.label for picture in source.pictures] == [2, 1, 0, 2]


def test_a_class_list_names_indices_and_ids(folder: Path) -> None:
    (folder / "names.txt").write_text("tench\nshark\ncrane\ncrane\n")
    (folder / "names.csv").write_text("index,id,name\n0,n0,tench\n1,n1,shark\n2,n2,crane\n3,n3,crane\n")
    text = "path,label\n1.png,3\n2.png,0\nphotos/3.png,3\nphotos/4 é.png,1\n"
    source = listed(folder, text, format=SourceFormat(class_list=str(folder / "names.csv")))
    assert source.classes == ("tench", "shark", "crane (n3)")
    assert [picture.label for picture in source.pictures] == [2, 0, 2, 1]
    by_id = listed(folder, text.replace(",3", ",n3").replace(",0", ",n0").replace(",1", ",n1"),
                   format=SourceFormat(class_list=str(folder / "names.csv")))  # fmt: skip
    assert (by_id.classes, by_id.pictures) == (source.classes, source.pictures)
    with pytest.raises(DataError, match=r"2 of 3 classes are not in the list of 4: 5, 6; .* or indices from 0 to 3"):
        listed(folder, text.replace(",3", ",5").replace(",0", ",6").replace(",1", ",tench"),
               format=SourceFormat(class_list=str(folder / "names.txt")))  # fmt: skip


def test_repeated_rows_are_reported(folder: Path) -> None:
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


def test_classes_match_by_index_where_all_are_indices() -> None:
    assert match_classes(["3", "0"], ENTRIES) == (3, 0)
    digits = [ClassEntry(index, name, name) for index, name in enumerate(("1", "2", "3"))]
    assert match_classes(["3", "1"], digits) == (2, 0)  # names before indices
    assert match_classes(["0", "1"], digits) == (0, 1)  # "0" is no name, so both are indices
    backwards = [ClassEntry(index, name, name) for index, name in enumerate(("2", "1", "0"))]
    assert match_classes(["0", "1"], backwards) == (2, 1)
    for classes, count in ((["4", "0"], 2), (["tench", "1"], 1)):
        with pytest.raises(DataError, match=f"{count} of 2 classes are not in the list of 4"):
            match_classes(classes, ENTRIES)


def test_classes_match_whatever_their_unicode_form() -> None:
    entries = [ClassEntry(0, "café", "Café crème"), ClassEntry(1, "thé", "thé")]
    decomposed = [unicodedata.normalize("NFD", name) for name in ("THÉ", "café_crème")]
    assert match_classes(decomposed, entries) == (1, 0)
    assert match_classes([unicodedata.normalize("NFD", "café")], entries) == (0,)


def test_classes_that_do_not_match() -> None:
    with pytest.raises(DataError, match="1 of 2 classes are not in the list of 4: zebra; expected ids or names"):
        match_classes(["tench", "zebra"], ENTRIES)
    with pytest.raises(DataError, match=r"'crane' names 2 outputs .* n03, n04"):
        match_classes(["crane"], ENTRIES)
