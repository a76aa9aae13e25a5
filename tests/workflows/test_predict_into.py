"""Answers in files: what is in them, that an interrupted call ends with the same bytes, and what is refused."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import casebook
from casebook.errors import CasebookError, DataError, RunError
from casebook.progress import Event
from casebook.runner.answers import Answer
from casebook.runner.reading import NamedPicture
from casebook.workflows.answer_files import folder_names, sort_pictures
from casebook.workflows.predict import open_classifier
from casebook.workflows.predict_into import AnswerFiles, predict_into


class Killed(BaseException):
    """What ends a process from outside: nothing in the house catches it."""


def dies_after(batches: int) -> Callable[[Event], None]:
    left = iter(range(batches - 1))

    def report(event: Event) -> None:
        if type(event).__name__ == "Advanced" and next(left, None) is None:
            raise Killed

    return report


@pytest.fixture
def pictures(digit_folder: Path, tmp_path: Path) -> Path:
    """Forty good pictures and two that cannot be read, in one folder."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for digit in range(4):
        for number in range(10):
            shutil.copy(digit_folder / f"digit_{digit}" / f"{number:03d}.png", folder / f"{number}_{digit}.png")
    (folder / "4_broken.png").write_bytes(b"no picture")
    (folder / "empty.png").touch()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_picture_as_predict_answers(small_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    found = predict_into(AnswerFiles(out), small_bundle, pictures, top=2)
    rows = table(out)
    answers = list(casebook.predict(small_bundle, pictures, top=2))
    assert [row["picture"] for row in rows] == [answer.picture for answer in answers]
    assert [row["answer"] for row in rows] == [answer.label or "" for answer in answers]
    assert [row["error"] for row in rows] == [answer.error or "" for answer in answers]
    good = [(row, answer) for row, answer in zip(rows, answers, strict=True) if not answer.error]
    assert len(good) == 40
    for row, answer in good:
        (first, likely), (second, _) = answer.classes
        assert (row["class_1"], row["class_2"]) == (first, second)
        assert np.float32(row["probability_1"]) == np.float32(likely)
    assert (found.num_pictures, found.num_errors, sum(found.classes.values())) == (42, 2, 40)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet"])
@pytest.mark.parametrize("batches", [1, 4])
def test_a_killed_call_goes_on_and_ends_with_the_same_bytes(
    runs: tuple[Path, ...], pictures: Path, tmp_path: Path, name: str, batches: int
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    whole, cut = tmp_path / f"whole_{name}", tmp_path / name
    predict_into(AnswerFiles(whole), runs[0], pictures, batch_size=8)
    with pytest.raises(Killed):
        predict_into(AnswerFiles(cut), runs[0], pictures, batch_size=8, progress=dies_after(batches))
    assert not cut.exists()
    part = tmp_path / f"{name}.part"
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:-3]) + lines[-3][:20] + b"\0\0")  # the last batch was not whole on the disk
    found = predict_into(AnswerFiles(cut), runs[0], pictures, batch_size=8)
    assert found.num_earlier == 8 * (batches - 1)
    assert cut.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_an_interrupted_call_goes_on_only_with_the_same_question(
    runs: tuple[Path, ...], pictures: Path, tmp_path: Path
) -> None:
    files = AnswerFiles(tmp_path / "answers.csv")
    with pytest.raises(Killed):
        predict_into(files, runs[0], pictures, batch_size=8, progress=dies_after(2))
    before = files.journal.read_bytes()
    with pytest.raises(RunError, match="differs in top"):
        predict_into(files, runs[0], pictures, batch_size=8, top=1)
    with pytest.raises(RunError, match="differs in model"):
        predict_into(files, runs[1], pictures, batch_size=8)
    (pictures / "0_00.png").write_bytes((pictures / "0_0.png").read_bytes())
    with pytest.raises(RunError, match="name the same pictures"):
        predict_into(files, runs[0], pictures, batch_size=8)
    assert files.journal.read_bytes() == before
    files.journal.write_text("my own notes\n")
    with pytest.raises(RunError, match="no journal"):
        predict_into(files, runs[0], pictures, batch_size=8)
    files.journal.write_text("my own notes")
    with pytest.raises(RunError, match="no journal"):
        predict_into(files, runs[0], pictures, batch_size=8)
    assert files.journal.read_text() == "my own notes"


def test_pictures_are_linked_or_copied_into_folders(small_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    twins = pictures / "below"
    twins.mkdir()
    shutil.copy(pictures / "0_0.png", twins / "0_0.png")
    for how in ("link", "copy"):
        folder = tmp_path / how
        found = predict_into(AnswerFiles(sort_into=folder, sort_with=how), small_bundle, pictures)  # type: ignore[arg-type]
        sorted_ = [path for path in folder.rglob("*") if not path.is_dir()]
        assert len(sorted_) == found.num_pictures == 43
        assert {path.parent.name for path in sorted_} == {*found.classes, "_unreadable"}
        assert all(path.is_symlink() == (how == "link") for path in sorted_)
        contents = {path.read_bytes() for path in sorted_}
        assert contents == {path.read_bytes() for path in pictures.glob("*.png")}
    with pytest.raises(RunError, match="holds files already"):
        predict_into(AnswerFiles(sort_into=tmp_path / "link"), small_bundle, pictures)
    with pytest.raises(RunError, match="outside of it"):
        predict_into(AnswerFiles(sort_into=pictures / "sorted"), small_bundle, pictures)


def test_sorting_can_be_repeated_and_overwrites_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    answered = [(Answer(str(picture), (("cat", 0.9),)), NamedPicture(str(picture)))]
    for _ in range(2):
        assert sort_pictures(tmp_path / "sorted", answered, ["cat"], "link") == 0
    (tmp_path / "sorted/cat/a.png").unlink()
    (tmp_path / "sorted/cat/a.png").write_bytes(b"mine")
    with pytest.raises(RunError, match="something else"):
        sort_pictures(tmp_path / "sorted", answered, ["cat"], "link")
    assert (tmp_path / "sorted/cat/a.png").read_bytes() == b"mine"


def test_folders_of_hostile_classes_stay_inside() -> None:
    classes = ["../../etc", "/root", "..", "", "a/b", "a\\b", "A_b", "_unsure", "nul\0", "x" * 500, "é" * 300]
    folders = folder_names(classes)
    assert len({name.lower() for name in folders.values()}) == len(classes)
    for name in folders.values():
        assert name not in ("", ".", "..", "_unsure")
        assert not set(name) & set("/\\\0")
        assert len(name.encode()) < 250


def test_the_contact_sheet_shows_the_doubtful_first(small_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    found = predict_into(AnswerFiles(contact_sheet=sheet), small_bundle, pictures)
    text = sheet.read_text("utf-8")
    assert text.count("data:image/jpeg") == 40
    assert "2 could not be read" in text
    answers = [a for a in casebook.predict(small_bundle, pictures) if a.label == next(iter(found.classes))]
    doubtful = [Path(a.picture).name for a in sorted(answers, key=lambda answer: answer.probability)]
    places = [text.index(f">{name}</bdi>") for name in doubtful]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "no file is named"),
        ({"out": "answers.txt"}, "choose one of these endings"),
        ({"contact_sheet": "sheet.png"}, "ends in .html"),
        ({"sort_into": "sorted", "sort_with": "move"}, "expected 'link' or 'copy'"),
    ],
)
def test_files_that_cannot_be_meant(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(RunError, match=expected):
        AnswerFiles(**given)


def test_what_cannot_be_answered_into_files(small_bundle: Path, tmp_path: Path) -> None:
    from PIL import Image

    files = AnswerFiles(tmp_path / "answers.csv")
    with pytest.raises(DataError, match="in memory"):
        predict_into(files, small_bundle, Image.new("RGB", (8, 8)))
    with pytest.raises(DataError, match="top is 0"):
        predict_into(files, small_bundle, "x.png", top=0)
    with pytest.raises(CasebookError, match="cannot write"):
        predict_into(AnswerFiles("/dev/null/answers.csv"), small_bundle, "x.png")
    assert predict_into(files, small_bundle, []).num_pictures == 0
    assert table(tmp_path / "answers.csv") == []


def test_a_network_of_several_labels_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    answerer = open_classifier(small_bundle)
    answerer.thresholds = (0.5,) * 4
    with pytest.raises(RunError, match="several classes"):
        predict_into(AnswerFiles(tmp_path / "answers.csv"), answerer, "x.png")
    assert not list(tmp_path.iterdir())
