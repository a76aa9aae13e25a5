"""Pictures that a run has learnt from are found by name and by content, and left out or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.data.sources import load_source
from casebook.errors import DataError, RunError
from casebook.evaluation.unseen import unseen
from casebook.training.run import open_run

from ..conftest import Runs, parts


def names(source, indices) -> set[str]:
    return {source.pictures[index].name for index in indices}


def test_runs_with_one_split_leave_their_test_set_whole(runs: Runs, digit_folder: Path) -> None:
    assert parts(runs[0]) == parts(runs[1])
    source = load_source(digit_folder)
    test = [i for i, picture in enumerate(source.pictures) if parts(runs[0])[picture.name] == "test"]
    left, notes = unseen([open_run(run) for run in runs], source, test)
    assert left == tuple(test)
    assert notes == []


def test_what_another_split_trained_on_is_left_out(runs: Runs, other_split: Path, digit_folder: Path) -> None:
    ours, theirs = parts(runs[0]), parts(other_split)
    assert ours != theirs
    source = load_source(digit_folder)
    test = [i for i, picture in enumerate(source.pictures) if ours[picture.name] == "test"]
    left, notes = unseen([open_run(runs[0]), open_run(other_split)], source, test)
    both = {name for name, part in ours.items() if part == "test" == theirs[name]}
    assert 0 < len(both) < len(test)
    assert names(source, left) == both
    gone = len(test) - len(both)
    assert f"{gone} of {len(test)} pictures" in notes[0]
    assert f"({gone} by name, {gone} by content)" in notes[0]
    assert str(other_split) in notes[0]
    trained = [i for i in test if theirs[source.pictures[i].name] == "train"]
    allowed, _ = unseen([open_run(other_split)], source, test, parts=("train",))
    assert set(allowed) == set(test) - set(trained)


def test_copies_are_known_by_their_content(runs: Runs, digit_folder: Path, tmp_path: Path) -> None:
    """The same files in another folder under other names; one saved again, and so of other bytes, is not known."""
    ours = parts(runs[0])
    trained, locked = (sorted(n for n, part in ours.items() if part == wanted) for wanted in ("train", "test"))
    for number, name in enumerate([*trained[:5], *locked]):
        target = tmp_path / "copy" / name.split("/")[0] / f"new{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(digit_folder / name, target)
    Image.open(digit_folder / trained[0]).save(tmp_path / "copy/digit_0/again.bmp")
    source = load_source(tmp_path / "copy")
    left, notes = unseen([open_run(runs[0])], source, range(len(source)))
    assert len(source) - len(left) == 5
    assert "(0 by name, 5 by content)" in notes[0]
    assert "digit_0/again.bmp" in names(source, left)


def test_a_picture_that_was_changed_in_its_place_is_known_by_name(
    runs: Runs, digit_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(digit_folder, data)
    run = casebook.train(data, model="lenet5", epochs=1, out=tmp_path / "run", near_duplicates=False).path
    name = next(n for n, part in parts(run).items() if part == "train")
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(data / name)
    source = load_source(data)
    index = next(i for i, picture in enumerate(source.pictures) if picture.name == name)
    with pytest.raises(DataError, match=r"every one of the 1 pictures .* was seen in train or val"):
        unseen([open_run(run)], source, [index])
    shutil.rmtree(data)
    shutil.copytree(digit_folder, tmp_path / "elsewhere")
    source = load_source(tmp_path / "elsewhere")
    left, notes = unseen([open_run(run)], source, [index])
    assert left == (index,)
    assert "is gone: whether it has seen these pictures is not known" in notes[0]


def test_arrays_in_memory_are_compared_too(tmp_path: Path) -> None:
    run = casebook.train("digits", epochs=1, out=tmp_path / "run", near_duplicates=False).path
    source = load_source("digits")
    left, notes = unseen([open_run(run)], source, range(len(source)))
    assert names(source, left) == {n for n, part in parts(run).items() if part == "test"}
    assert "by name" in notes[0]


def test_a_run_without_its_split_is_refused(runs: Runs, digit_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run/split.csv").unlink()
    with pytest.raises(RunError, match=r"split\.csv.*which pictures the run has seen"):
        unseen([open_run(tmp_path / "run")], load_source(digit_folder), [0])
