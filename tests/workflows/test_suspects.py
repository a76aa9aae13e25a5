"""Planted wrong labels are found, and lists are corrected without moving a picture."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import casebook
from casebook.data.sources import Source, load_source
from casebook.errors import DataError


def planted(share: float = 0.05, seed: int = 0) -> tuple[Source, set[int]]:
    """The built-in digits with some labels replaced by others."""
    import dataclasses

    source, generator = load_source("digits"), np.random.default_rng(seed)
    wrong = set(generator.choice(len(source), round(share * len(source)), replace=False).tolist())
    pictures = tuple(
        picture._replace(label=int((picture.label + generator.integers(1, 10)) % 10)) if index in wrong else picture
        for index, picture in enumerate(source.pictures)
    )
    return dataclasses.replace(source, pictures=pictures), wrong


def test_planted_labels_are_found_and_the_right_ones_suggested() -> None:
    source, wrong = planted()
    found = casebook.suspects(source)
    first = found.suspects[: len(wrong)]
    hits = [suspect for suspect in first if suspect.index in wrong]
    assert len(hits) / len(wrong) > 0.93  # 5 % by chance
    assert 0.6 < found.num_wrong / len(wrong) < 1.2
    truth = load_source("digits")
    right = [suspect.suggested == truth.classes[truth.pictures[suspect.index].label] for suspect in hits]
    assert np.mean(right) > 0.9
    assert found.suspects == casebook.suspects(source).suspects


def test_a_copy_with_another_label_comes_first(digit_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "digits"
    shutil.copytree(digit_folder, folder)
    shutil.copy(folder / "digit_0" / "000.png", folder / "digit_1" / "copy.png")
    found = casebook.suspects(folder)
    assert {suspect.name for suspect in found.suspects[:2]} == {"digit_0/000.png", "digit_1/copy.png"}
    assert "copy" in found.suspects[0].reasons[0]


def test_corrected_lists(digit_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "digits"
    shutil.copytree(digit_folder, folder)
    (folder / "digit_3" / "000.png").rename(folder / "digit_0" / "moved.png")
    found = casebook.suspects(folder)
    assert "digit_0/moved.png" in [suspect.name for suspect in found.suspects]
    before = sorted(folder.rglob("*.png"))
    count = len(found.suspects)
    assert found.apply(tmp_path / "fewer.csv", "leave-out", top=count) == count
    assert found.apply(tmp_path / "new.csv", "relabel", top=1) == 1
    assert sorted(folder.rglob("*.png")) == before
    fewer, new = (load_source(tmp_path / name) for name in ("fewer.csv", "new.csv"))
    assert len(fewer) == len(before) - count
    with (tmp_path / "new.csv").open() as file:
        rows = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert rows[f"digits/{found.suspects[0].name}"] == found.suspects[0].suggested
    assert len(new) == len(before)


def test_what_cannot_be_judged_or_written_is_refused(digit_folder: Path, tmp_path: Path) -> None:
    source, _ = planted()
    found = casebook.suspects(source)
    with pytest.raises(DataError, match="built-in data set without files"):
        found.apply(tmp_path / "a.csv", "relabel")
    folder = casebook.suspects(digit_folder)
    with pytest.raises(DataError, match=r"ends in \.csv"):
        folder.apply(tmp_path / "a.txt", "relabel")
    with pytest.raises(DataError, match="expected leave-out or relabel"):
        folder.apply(tmp_path / "a.csv", "delete")  # type: ignore[arg-type]
    assert json.dumps(folder.to_dict())
