"""Pictures keep their numbers, what was said about them is kept, and training reads it."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from casebook.data.sources import load_source
from casebook.errors import DataError, PictureError
from casebook.runner.server.refusals import Refused
from casebook.studio.gather import gather
from casebook.studio.pictures import EXCLUDED, GATHERED, MISSING, RELABELLED, ProjectPictures
from casebook.studio.projects import Projects
from casebook.studio.settings import StudioSettings
from casebook.studio.thumbnails import Thumbnails


def jpeg(colour: int, size: tuple[int, int] = (40, 30), form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (colour, 90, 120)).save(file, form)
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        for label in ("cat", "dog"):
            (tmp_path / "pets" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "pets" / label / f"{number}.jpg").write_bytes(jpeg(40 * number + (label == "dog")))
    return tmp_path


def opened(root: Path, folder: str = "pets") -> ProjectPictures:
    settings = StudioSettings(root)
    projects = Projects(settings)
    return ProjectPictures(settings, projects, projects.open_folder(folder))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_was_said_becomes_a_list_that_training_reads(root: Path) -> None:
    pictures = opened(root)
    found = pictures.change([{"numbers": [0, 1], "label": "dog"}, {"numbers": [5], "excluded": True}])
    assert found == {
        "classes": ["cat", "dog"], "numbers": [0, 1, 5], "labels": [1, 1, 1],
        "flags": [RELABELLED, RELABELLED, EXCLUDED], "can_undo": True, "edited": "",
    }  # fmt: skip
    listed = rows(root / "pets-labels.csv")
    assert [row["path"] for row in listed] == [f"pets/{name}" for name in pictures.names[:5]]
    assert [row["label"] for row in listed] == ["dog", "dog", "cat", "dog", "dog"]
    source = load_source(root / "pets-labels.csv")
    assert len(source) == 5
    again = opened(root)
    assert again.to_dict()["flags"] == [2, 2, 0, 0, 0, 1]
    assert sorted(path.name for path in (root / "pets" / "cat").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]


def test_undo_takes_back_one_change_at_a_time_also_after_a_restart(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    pictures.change([{"numbers": [0, 1], "label": "fox"}, {"numbers": [2], "excluded": True}])
    again = opened(root)
    assert again.to_dict()["classes"] == ["cat", "dog", "fox"]
    assert again.undo()["numbers"] == [0, 1, 2]
    assert again.to_dict()["labels"][:2] == [1, 0]
    assert again.undo()["can_undo"] is False
    assert again.undo()["numbers"] == []
    assert [row["label"] for row in rows(root / "pets-labels.csv")] == ["cat"] * 3 + ["dog"] * 3
    journal = next((root / ".casebook-studio" / "projects").glob("*/journal.jsonl")).read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in journal] == ["change", "change", "undo", "undo"]


def test_half_a_line_in_the_journal_costs_nothing_else(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    with pictures.journal._path.open("ab") as file:
        file.write(b'{"change": [{"na')
    again = opened(root)
    again.change([{"numbers": [1], "label": "dog"}])
    assert opened(root).to_dict()["labels"] == [1, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("line", [b"5", b"[]", b'{"change": 3}', b'{"fact": [{}]}', b"\xff\xfe", b"null"])
def test_a_damaged_line_in_the_journal_costs_nothing_else(root: Path, line: bytes) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    with pictures.journal._path.open("ab") as file:
        file.write(line + b"\n")
    again = opened(root)
    assert again.to_dict()["labels"] == [1, 0, 0, 1, 1, 1]
    again.change([{"numbers": [1], "label": "dog"}])
    assert opened(root).to_dict()["labels"] == [1, 1, 0, 1, 1, 1]


def test_names_of_odd_characters_keep_their_numbers(root: Path) -> None:
    odd = [b"\xff\xfe.jpg", b"a\nb.jpg", b"-rf ~.jpg", "\u202egnp.jpg".encode(), b"'\";,<b>.jpg", b"x" * 250 + b".jpg"]
    for number, name in enumerate(odd):
        (root / "pets" / "cat" / os.fsdecode(name)).write_bytes(jpeg(60 + number))
    pictures = opened(root)
    shown = json.dumps(pictures.to_dict(), ensure_ascii=False).encode("utf-8")  # as the API sends it
    assert "\ufffd\ufffd.jpg" in json.loads(shown)["names"][-1] + "".join(pictures.to_dict()["names"])
    numbers = [number for number, name in enumerate(pictures.names) if len(name) != 9]
    assert len(numbers) == len(odd)
    pictures.change([{"numbers": numbers, "label": "dog"}])
    again = opened(root)
    assert again.names == pictures.names
    assert [again.to_dict()["labels"][number] for number in numbers] == [1] * len(odd)
    source = load_source(root / "pets-labels.csv")
    named = {os.fsencode(one.name.rpartition("/")[2]): source.classes[one.label] for one in source.pictures}
    assert [named[name] for name in odd] == ["dog"] * len(odd)


def test_a_number_never_means_another_picture(root: Path) -> None:
    pictures = opened(root)
    names = list(pictures.names)
    (root / "pets" / "cat" / "0.jpg").unlink()
    (root / "pets" / "cat" / "00.jpg").write_bytes(jpeg(7))
    pictures.load()
    assert pictures.names == [*names, "cat/00.jpg"]
    assert pictures.to_dict()["flags"] == [MISSING, 0, 0, 0, 0, 0, 0]
    with pytest.raises(Refused, match="there is no picture 0"):
        pictures.row(0)
    for number in (-1, 7):
        with pytest.raises(Refused):
            pictures.row(number)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": [0], "label": " "}, "a class needs a name"),
        ({"numbers": [0], "label": "a\nb"}, "a class needs a name"),
        ({"numbers": ["0"], "label": "cat"}, "needs numbers"),
        ({"numbers": [True], "label": "cat"}, "needs numbers"),
        ({"numbers": [0]}, "either"),
        ({"numbers": [0], "label": "cat", "excluded": True}, "either"),
        ({"numbers": [], "label": "cat"}, ""),
    ],
)
def test_a_change_that_cannot_be_meant_changes_nothing(root: Path, change: dict[str, Any], message: str) -> None:
    pictures = opened(root)
    if message:
        with pytest.raises(DataError, match=message):
            pictures.change([change])
        assert not pictures.journal.can_undo


def test_the_digits_keep_their_labels(tmp_path: Path) -> None:
    settings = StudioSettings(tmp_path)
    projects = Projects(settings)
    pictures = ProjectPictures(settings, projects, projects.open_digits())
    assert len(pictures.to_dict()["names"]) == 1797
    with pytest.raises(DataError, match="digits cannot be relabelled"):
        pictures.change([{"numbers": [0], "label": "1"}])


def test_a_burst_is_gathered_as_one_group(root: Path) -> None:
    (root / "new").mkdir()
    pictures = opened(root, "new")
    assert pictures.to_dict()["names"] == []
    for number in range(4):
        gather(
            pictures,
            jpeg(60 * number),
            "left" if number < 2 else "right",
            "burst001" if number < 2 else "burst002",
            "a",
        )
    assert gather(pictures, jpeg(0), "left", "burst003", "a.jpg")["known"]
    pictures.load()
    pictures.write()
    listed = rows(root / "new-labels.csv")
    assert [(row["label"], row["group"]) for row in listed] == [("left", "burst001")] * 2 + [("right", "burst002")] * 2
    assert pictures.to_dict()["flags"] == [GATHERED] * 4
    source = load_source(root / "new-labels.csv", group_by="group")
    assert {picture.group for picture in source.pictures} == {"burst001", "burst002"}


@pytest.mark.parametrize(
    ("content", "label", "burst", "message"),
    [
        (b"no picture", "cat", "burst001", "shot.jpg"),
        (jpeg(1)[:200], "cat", "burst001", "cut off or damaged"),
        (jpeg(1), "../cat", "burst001", "cannot be a folder"),
        (jpeg(1), ".cat", "burst001", "cannot be a folder"),
        (jpeg(1), "", "burst001", "a class needs a name"),
        (jpeg(1), "cat", "../x", "burst's id"),
        (jpeg(1), "escape", "burst001", "is no folder"),
        (jpeg(1, form="PPM"), "cat", "burst001", "pictures come as JPEG"),
    ],
)
def test_what_is_no_picture_or_no_place_is_not_written(
    root: Path, content: bytes, label: str, burst: str, message: str
) -> None:
    (root / "pets" / "escape").symlink_to(root)
    pictures = opened(root)
    before = sorted(root.rglob("*.jpg"))
    with pytest.raises((DataError, PictureError), match=message):
        gather(pictures, content, label, burst, "shot.jpg")
    assert sorted(root.rglob("*.jpg")) == before


def test_a_picture_bomb_is_refused_by_its_header(root: Path) -> None:
    bomb = bytearray(jpeg(1, (8, 8), "PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(PictureError):
        gather(opened(root), bytes(bomb), "cat", "burst001", "bomb.png")


def test_thumbnails_are_kept_by_content(root: Path) -> None:
    pictures, thumbnails = opened(root), Thumbnails(root / ".casebook-studio")
    first = thumbnails.get(pictures.source, 0, 64)
    with Image.open(io.BytesIO(first)) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))
    (root / "pets" / "cat" / "0.jpg").write_bytes(jpeg(200, (400, 100)))
    with Image.open(io.BytesIO(thumbnails.get(pictures.source, 0, 64))) as image:
        assert image.size == (64, 16)
    (root / "pets" / "cat" / "0.jpg").write_bytes(b"broken")
    with pytest.raises(PictureError):
        thumbnails.get(pictures.source, 0, 64)
    thumbnails.close()
