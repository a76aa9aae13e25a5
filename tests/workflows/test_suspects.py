"""Planted wrong labels are found, and lists are corrected without moving a picture."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.data.sources import Source, load_source
from casebook.errors import DataError, WeightsError
from casebook.evaluation.suspects import Suspect
from casebook.workflows import suspects as workflow


def planted(share: float = 0.05, seed: int = 0) -> tuple[Source, set[int]]:
    """The built-in digits with some labels replaced by others."""
    source, generator = load_source("digits"), np.random.default_rng(seed)
    wrong = set(generator.choice(len(source), round(share * len(source)), replace=False).tolist())
    pictures = tuple(
        picture._replace(label=int((picture.label + generator.integers(1, 10)) % 10)) if index in wrong else picture
        for index, picture in enumerate(source.pictures)
    )
    return dataclasses.replace(source, pictures=pictures), wrong


@pytest.fixture(scope="module")
def found() -> casebook.Suspects:
    """What is found in the built-in digits with planted labels."""
    return casebook.suspects(planted()[0])


def test_planted_labels_are_found_and_the_right_ones_suggested(found: casebook.Suspects) -> None:
    source, wrong = planted()
    first = found.suspects[: len(wrong)]
    hits = [suspect for suspect in first if suspect.index in wrong]
    assert len(hits) / len(wrong) > 0.93  # 5 % by chance
    low, high = found.num_wrong_interval
    assert low <= len(wrong) <= high
    assert low < found.num_wrong < high < 1.5 * len(wrong)
    assert np.mean([suspect.index in wrong for suspect in found.probably_wrong]) > 0.9
    assert len({suspect.index for suspect in found.probably_wrong} & wrong) > 0.75 * len(wrong)
    truth = load_source("digits")
    right = [suspect.suggested == truth.classes[truth.pictures[suspect.index].label] for suspect in hits]
    assert np.mean(right) > 0.9
    assert found.suspects == casebook.suspects(source).suspects


def test_in_a_clean_set_there_are_suspects_but_hardly_a_wrong_label() -> None:
    found = casebook.suspects("digits")
    assert len(found.suspects) > 20
    assert found.num_wrong_interval[0] <= 2
    assert len(found.probably_wrong) <= 6


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
    assert found.apply(tmp_path / "default.csv", "leave-out") == len(found.probably_wrong) < count
    kept = {picture.name.split("/", 1)[1] for picture in load_source(tmp_path / "default.csv").pictures}
    assert {suspect.name for suspect in found.suspects} - kept == {one.name for one in found.probably_wrong}
    assert sorted(folder.rglob("*.png")) == before
    fewer, new = (load_source(tmp_path / name) for name in ("fewer.csv", "new.csv"))
    assert len(fewer) == len(before) - count
    with (tmp_path / "new.csv").open() as file:
        rows = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert rows[f"digits/{found.suspects[0].name}"] == found.suspects[0].suggested
    assert len(new) == len(before)


def test_what_cannot_be_judged_or_written_is_refused(
    found: casebook.Suspects, digit_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no file for each picture"):
        found.apply(tmp_path / "a.csv", "relabel")
    folder = casebook.suspects(digit_folder)
    with pytest.raises(DataError, match=r"ends in \.csv"):
        folder.apply(tmp_path / "a.txt", "relabel")
    with pytest.raises(DataError, match="expected leave-out or relabel"):
        folder.apply(tmp_path / "a.csv", "delete")  # type: ignore[arg-type]
    assert json.dumps(folder.to_dict())


def test_a_list_is_never_overwritten_nor_a_class_emptied(digit_folder: Path, tmp_path: Path) -> None:
    found = casebook.suspects(digit_folder)
    (tmp_path / "mine.csv").write_text("my own work")
    with pytest.raises(DataError, match="name a new file"):
        found.apply(tmp_path / "mine.csv", "leave-out", top=1)
    assert (tmp_path / "mine.csv").read_text() == "my own work"
    one = found.suspects[0] if found.suspects else None
    zeros = [index for index, picture in enumerate(found.source.pictures) if picture.label == 0]
    every = [Suspect(index, "", "digit_0", "digit_1", 0.1, 0.9, 0.9, ()) for index in zeros]
    with pytest.raises(DataError, match="no picture of class 'digit_0' would be left"):
        dataclasses.replace(found, suspects=(*every, *([one] if one else []))).apply(tmp_path / "a.csv", "relabel", 40)
    assert not (tmp_path / "a.csv").exists()


def test_small_colour_pictures_are_seen_with_the_packaged_weights(tmp_path: Path) -> None:
    colours = {"red": (200, 60, 60), "blue": (60, 60, 200)}
    for number in range(40):
        name = ("red", "blue")[number % 2]
        shown = colours["blue" if number == 6 else name]  # number 6 is blue and lies in the folder of red
        (tmp_path / name).mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(-30, 31, (32, 32, 3))
        Image.fromarray((np.array(shown) + noise).astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    found = casebook.suspects(load_source(tmp_path))  # a source: what training would choose is not known
    assert found.network == "resnet20 with cifar10"
    assert "come with Casebook" in found.notes[0]
    assert (found.suspects[0].name, found.suspects[0].suggested) == ("red/6.png", "blue")


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(WeightsError, match="add --weights"):
        casebook.suspects("digits", model="resnet20")


def test_each_of_several_labels_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 % of the labels are turned round; features show the truth with noise, so they come first."""
    rng = np.random.default_rng(0)
    truth = rng.random((120, 3)) < (0.5, 0.4, 0.2)
    turned = rng.random(truth.shape) < 0.05
    unknown = (rng.random(truth.shape) < 0.1) & ~turned
    rows = ["path,cat,dog,ball"]
    for number, said in enumerate(truth ^ turned):
        pixels = rng.integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        cells = ["" if gone else str(int(one)) for one, gone in zip(said, unknown[number], strict=True)]
        rows.append(f"{number}.png,{','.join(cells)}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    vectors = (truth + rng.normal(0, 0.15, truth.shape)).astype(np.float32)
    monkeypatch.setattr(workflow, "_vectors", lambda *_: (np.arange(120), vectors))
    found = casebook.suspects(tmp_path / "list.csv", model="resnet20", weights="packaged")
    wrong = {(f"{n}.png", ("cat", "dog", "ball")[k]) for n, k in np.argwhere(turned)}
    first = [(one.name, one.class_name) for one in found.suspects[: len(wrong)]]
    assert len(set(first) & wrong) >= 0.9 * len(wrong)
    assert found.num_wrong_interval[0] <= len(wrong) <= found.num_wrong_interval[1]
    assert {(one.name, one.class_name) for one in found.probably_wrong} <= wrong
    for suspect in found.suspects:
        assert {suspect.label, suspect.suggested} == {suspect.class_name, f"not {suspect.class_name}"}
    found.write_page(tmp_path / "page.html")
    assert found.apply(tmp_path / "better.csv", "relabel", top=len(wrong)) == len(wrong)
    mended = load_source(tmp_path / "better.csv", many_labels=True)
    assert mended.targets is not None
    order = [mended.classes.index(name) for name in ("cat", "dog", "ball")]
    errors = (mended.targets[:, order] > 0.5) != truth
    assert errors[~unknown].sum() <= 0.2 * len(wrong)
    found.apply(tmp_path / "fewer.csv", "leave-out", top=5)
    fewer = load_source(tmp_path / "fewer.csv", many_labels=True)
    assert fewer.targets is not None
    assert np.isnan(fewer.targets).sum() == unknown.sum() + 5
