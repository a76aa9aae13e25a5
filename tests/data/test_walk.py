"""What counts as a picture on disk, and what is skipped."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from casebook.data.check import check_data
from casebook.data.sources import load_source
from casebook.data.walk import SPECIAL, list_folder, pictures_below, walk
from casebook.errors import DataError

Make = Callable[[dict[str, int]], Path]


def test_pictures_below(make_folder: Make) -> None:
    root = make_folder({"b": 2, "a/deep": 1, ".hidden": 1})
    (root / "notes.txt").touch()
    names = [path.relative_to(root).as_posix() for path in pictures_below(root)]
    assert names == ["a/deep/0.png", "b/0.png", "b/1.png"]
    assert pictures_below(root / "b/0.png") == [root / "b/0.png"]


def test_what_casebook_wrote_beside_the_classes_is_no_class(make_folder: Make) -> None:
    root = make_folder({"cat": 3, "dog": 3, "runs/photos-1/explained": 1, "exports": 1})
    (root / "runs/photos-1/environment.json").write_text("{}")
    (root / "exports/photos.casebook").touch()
    source = load_source(root)
    assert source.classes == ("cat", "dog")
    assert source.notes == ()
    assert len(pictures_below(root)) == 6


def test_a_class_may_be_called_runs(make_folder: Make) -> None:
    assert load_source(make_folder({"jumps": 3, "runs/slow": 3})).classes == ("jumps", "runs")


def test_fifos_and_sockets_are_skipped(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    os.mkfifo(root / "cat/x.jpg")
    monkeypatch.chdir(root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("dog/y.png")
    pictures, others = walk(root)
    assert [Path(path).name for path in pictures] == ["0.png", "1.png", "2.png"] * 2
    assert others == {SPECIAL: 2}
    found = check_data(root)  # opening the FIFO would hang
    assert found.scan.broken == {}
    assert found.source.notes == ("2 files that are not pictures are ignored (2 FIFO, socket or device)",)


def test_a_broken_link_is_a_broken_picture(make_folder: Make) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat/gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "cat/self.jpg").symlink_to("self.jpg")
    assert [example.split()[0] for example in check_data(root).findings[0].examples] == ["cat/gone.jpg", "cat/self.jpg"]


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", ".ipynb_checkpoints", "lost+found", "#recycle"],
)
def test_folders_of_the_system_are_no_classes_and_not_walked_into(name: str, make_folder: Make) -> None:
    source = load_source(make_folder({"cat": 1, "dog": 1, name: 2, f"cat/{name}/0.png": 1}))
    assert source.classes == ("cat", "dog")
    assert [picture.name for picture in source.pictures] == ["cat/0.png", "dog/0.png"]
    assert source.notes == ()


def test_a_folder_that_cannot_be_read(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    root = make_folder({"cat": 1})
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot read the folder .*: Permission denied"):
        list_folder(root)
