"""The data doctor finds what was planted, says what will be done, and counts leaks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.data.check import check_data
from casebook.data.sources import load_source
from casebook.errors import DataError
from casebook.progress import Advanced, Event


def keep(folder: Path, pictures: list[Image.Image], first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures, first):
        picture.save(folder / f"{index}.png")


@pytest.fixture
def sick(tmp_path: Path, photographs: list[Image.Image]) -> Path:
    """A split folder with a copy inside train, one across splits and classes, a broken file and few dogs."""
    root = tmp_path / "sick"
    keep(root / "train/cat", photographs[:12])
    keep(root / "train/dog", photographs[12:14])
    keep(root / "val/cat", photographs[15:17])
    keep(root / "val/dog", photographs[17:19])
    keep(root / "test/cat", photographs[19:21])
    keep(root / "test/dog", photographs[21:22])
    photographs[0].save(root / "train/cat/copy.png")
    photographs[1].resize((80, 64)).save(root / "test/dog/near.jpg", quality=80)
    (root / "train/cat/broken.jpg").write_bytes(b"no picture")
    photographs[30].convert("L").save(root / "val/cat/grey.tif")
    return root


def test_findings(sick: Path) -> None:
    found = check_data(sick)
    kinds = {finding.kind: finding for finding in found.findings}
    assert kinds.keys() == {
        "broken pictures", "exact copies", "near copies", "copies with different classes", "imbalance",
        "copies across splits",
    }  # fmt: skip
    assert kinds["broken pictures"].examples == (
        "train/cat/broken.jpg is not a picture of a known format, whatever its name says",
    )
    assert kinds["exact copies"].examples == ("train/cat/0.png = train/cat/copy.png",)
    assert kinds["near copies"].examples[0].startswith("train/cat/1.png ~ test/dog/near.jpg")
    assert kinds["imbalance"].examples == ("cat has 18 pictures, dog 6",)
    assert all(finding.action and finding.count >= 1 for finding in found.findings)
    assert found.leaks == 1


def test_document(sick: Path) -> None:
    document = json.loads(json.dumps(check_data(sick).to_dict()))
    assert document["pictures"] == 25
    assert document["classes"]["dog"] == {"pictures": 6, "train": 2, "val": 2, "test": 2}
    assert document["classes"]["cat"]["train"] == 13  # the broken one is left out
    assert document["split"] == {"train": 15, "val": 5, "test": 4, "left_out": 1}
    assert document["own_split"] is True
    assert document["leaks"] == 1
    assert document["broken"][0]["name"] == "train/cat/broken.jpg"
    across = [pair for pair in document["pairs"] if pair["first_split"] != pair["second_split"]]
    assert len(across) == 1
    assert {across[0]["first_class"], across[0]["second_class"]} == {"cat", "dog"}
    assert across[0]["exact"] is False
    assert document["formats"] == {"PNG": 22, "JPEG": 1, "TIFF": 1}
    assert document["modes"] == {"RGB": 23, "L": 1}
    assert document["sizes"]["width"] == {"least": 80, "median": 106, "greatest": 106}


def test_text_shows_everything_once(sick: Path) -> None:
    text = check_data(sick).text()
    for part in (
        "25 pictures in 2 classes",
        "cat",
        "PNG 22",
        "copies across splits: 1.",
        "keeps the data set's own split",
        "leaves them out",
    ):
        assert part in text


def test_healthy_data(photographs: list[Image.Image], tmp_path: Path) -> None:
    keep(tmp_path / "data/a", photographs[:10])
    keep(tmp_path / "data/b", photographs[10:20])
    news: list[Event] = []
    found = check_data(tmp_path / "data", report=news.append)
    assert found.findings == ()
    assert found.leaks == 0
    assert "no broken pictures, no copies, no leaks" in found.text()
    assert news[-1] == Advanced("scan", 20, 20)
    assert found.to_dict()["split"] == {"train": 12, "val": 4, "test": 4, "left_out": 0}


def test_groups_across_splits_are_leaks(make_folder: Callable[[dict[str, int]], Path]) -> None:
    root = make_folder({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2, "test/a": 1, "test/b": 1})
    found = check_data(load_source(root, group_by=r"^(\d)"))
    assert found.leaks == 2
    (finding,) = [finding for finding in found.findings if finding.kind == "groups across splits"]
    assert finding.examples == ("0: test, train, val", "1: train, val")


def test_a_split_that_cannot_be_made_is_a_finding(make_folder: Callable[[dict[str, int]], Path]) -> None:
    found = check_data(make_folder({"a": 1, "b": 1}))
    assert found.split is None
    assert found.to_dict()["split"] is None
    assert [finding.kind for finding in found.findings] == ["no split"]
    assert "a single readable picture" in found.text()


def test_everything_broken(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").touch()
    found = check_data(tmp_path)
    assert {finding.kind for finding in found.findings} == {"broken pictures", "no split"}
    assert found.to_dict()["sizes"] == {}
    assert "formats: none" in found.text()


def test_what_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        check_data(tmp_path)


def test_the_range_of_12_bit_values_is_reported(tmp_path: Path, photographs: list[Image.Image]) -> None:
    for name, some in (("cat", photographs[:6]), ("dog", photographs[6:12])):
        (tmp_path / name).mkdir()
        for index, picture in enumerate(some):
            values = np.asarray(picture.convert("L")).astype(np.uint16)
            values[0, :2] = 0, 255
            Image.fromarray(values * 16).save(tmp_path / name / f"{index}.png")
    found = check_data(tmp_path)
    assert found.to_dict()["values"] == {"pictures": 12, "least": 0.0, "greatest": 4080.0, "scaled": [0.0, 4095.0]}
    line = "more than 8 bits: 12 pictures with values from 0 to 4080; in training, 0 to 4095 becomes 0 to 255"
    assert line in found.text().splitlines()


def test_8_bit_pictures_have_no_values_to_report(sick: Path) -> None:
    found = check_data(sick)
    assert found.to_dict()["values"] is None
    assert "more than 8 bits" not in found.text()


def test_pictures_that_lose_their_ends_are_reported(tmp_path: Path, photographs: list[Image.Image]) -> None:
    for name, some in (("cat", photographs[:6]), ("dog", photographs[6:12])):
        (tmp_path / name).mkdir()
        for index, picture in enumerate(some):
            picture.resize((100, 20) if index == 0 else (40, 80) if index == 1 else (60, 45)).save(
                tmp_path / name / f"{index}.png"
            )
    (finding,) = [finding for finding in check_data(tmp_path).findings if finding.kind == "wide or tall pictures"]
    assert finding.count == 4
    assert finding.examples[:2] == tuple(
        f"{name}/0.png is 100 x 20; a central square keeps 20 %" for name in ("cat", "dog")
    )
    assert finding.examples[2] == "cat/1.png is 40 x 80; a central square keeps 50 %"
    assert finding.action.startswith("4 of 12 pictures are at least twice as long as wide")
    assert "--resize letterbox" in finding.action


def test_ordinary_photographs_lose_nothing_worth_a_finding(sick: Path) -> None:
    assert "wide or tall pictures" not in {finding.kind for finding in check_data(sick).findings}


def test_each_of_several_labels_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number, label in enumerate(["cat|dog", "cat", "dog", "cat|dog", "cat"] * 4):
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{label}")
    Image.open(tmp_path / "0.png").save(tmp_path / "copy.png")
    rows.append("copy.png,dog")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    found = check_data(tmp_path / "list.csv")
    counts = found.to_dict()["classes"]
    assert {name: one["pictures"] for name, one in counts.items()} == {"cat": 16, "dog": 13}
    [pair] = found.to_dict()["pairs"]
    assert {pair["first_class"], pair["second_class"]} == {"cat|dog", "dog"}
    assert any(finding.kind == "copies with different classes" for finding in found.findings)
