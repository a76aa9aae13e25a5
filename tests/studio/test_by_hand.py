"""A list that was edited by hand while the studio ran: what was typed counts, is said, and is never lost."""

import csv
from pathlib import Path

import pytest

from casebook.data.sources import load_source
from casebook.studio.pictures import EXCLUDED, RELABELLED, ProjectPictures
from casebook.studio.projects import Projects
from casebook.studio.settings import StudioSettings

from .test_pictures import jpeg, rows

NAMES = [f"pets/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(30 * number))
    return tmp_path


def opened(root: Path) -> ProjectPictures:
    settings = StudioSettings(root)
    projects = Projects(settings)
    return ProjectPictures(settings, projects, projects.open_folder("pets"))


def write(path: Path, listed: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def edit(root: Path) -> Path:
    """Makes the second cat a dog, leaves the last dog out, and adds a column."""
    path = root / "pets-labels.csv"
    listed = [row | {"remark": "mine"} for row in rows(path)]
    listed[1]["label"] = "dog"
    write(path, listed[:-1])
    return path


def test_edits_are_taken_over_with_the_next_change(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    typed = edit(root).read_bytes()
    found = pictures.change([{"numbers": [2], "excluded": True}])
    assert dict(zip(found["numbers"], found["flags"], strict=True)) == {1: RELABELLED, 2: EXCLUDED, 5: EXCLUDED}
    assert "edited by hand: 2 pictures changed" in found["edited"]
    assert (root / "pets-labels-by-hand-1.csv").read_bytes() == typed
    assert [(row["path"], row["label"]) for row in rows(root / "pets-labels.csv")] == [
        (NAMES[0], "dog"), (NAMES[1], "dog"), (NAMES[3], "dog"), (NAMES[4], "dog"),
    ]  # fmt: skip
    assert pictures.undo()["numbers"] == [2]
    assert set(pictures.undo()["numbers"]) == {1, 5}  # an edit is taken back like any other change
    assert pictures.to_dict()["flags"] == [RELABELLED, 0, 0, 0, 0, 0]


def test_edits_are_seen_when_the_page_looks_again_and_after_a_restart(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    edit(root)
    pictures.load()
    for one in (pictures, opened(root)):
        assert one.to_dict()["flags"] == [RELABELLED, RELABELLED, 0, 0, 0, EXCLUDED]
    assert "remark" in rows(root / "pets-labels.csv")[0]  # not written again before there is a reason
    assert len(list(root.glob("*-by-hand-*"))) == 1


def test_a_new_picture_is_not_left_out_because_the_list_is_older(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    (root / "pets" / "cat" / "9.jpg").write_bytes(jpeg(250))
    edit(root)
    pictures.load()
    assert pictures.to_dict()["flags"] == [RELABELLED, RELABELLED, 0, 0, 0, EXCLUDED, 0]


def test_a_list_that_was_there_before_counts(root: Path) -> None:
    write(root / "pets-labels.csv", [{"path": name, "label": "pet" if "cat" in name else "dog"} for name in NAMES[1:]])
    pictures = opened(root)
    assert pictures.to_dict()["classes"] == ["cat", "dog", "pet"]
    assert pictures.to_dict()["flags"] == [EXCLUDED, RELABELLED, RELABELLED, 0, 0, 0]
    pictures.change([{"numbers": [3], "label": "pet"}])
    assert {row["path"]: row["label"] for row in rows(root / "pets-labels.csv")}[NAMES[3]] == "pet"
    assert len(load_source(root / "pets-labels-by-hand-1.csv")) == 5


@pytest.mark.parametrize(
    "content", [b"", b"path,label\n", b"\0\0\0", b"path,label\n../../etc/passwd,cat\n", b"a,b,c\n1,2,3\n"]
)
def test_a_list_that_cannot_be_read_is_kept_and_said(root: Path, content: bytes) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    (root / "pets-labels.csv").write_bytes(content)
    found = pictures.change([{"numbers": [1], "label": "dog"}])
    assert "edited by hand and cannot be read" in found["edited"]
    assert (root / "pets-labels-by-hand-1.csv").read_bytes() == content
    assert [row["label"] for row in rows(root / "pets-labels.csv")] == ["dog", "dog", "cat", "dog", "dog", "dog"]


def test_what_the_studio_wrote_is_no_edit(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    (root / "pets-labels.csv").touch()
    for one in (pictures, opened(root)):
        one.load()
        assert one.to_dict()["edited"] == ""
    assert not list(root.glob("*-by-hand-*"))


def test_a_deleted_list_is_written_again(root: Path) -> None:
    pictures = opened(root)
    pictures.change([{"numbers": [0], "label": "dog"}])
    (root / "pets-labels.csv").unlink()
    pictures.change([{"numbers": [1], "label": "dog"}])
    assert [row["label"] for row in rows(root / "pets-labels.csv")] == ["dog", "dog", "cat", "dog", "dog", "dog"]
