"""What may change when a run is resumed, and what may not."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import casebook
from casebook.errors import DataError, RecipeError

QUICK = {"model": "lenet5", "recipe": "scratch", "workers": 0, "batch_size": 16, "near_duplicates": False,
         "warmup_epochs": 0, "checkpoint_seconds": 0, "schedule": "constant"}  # fmt: skip


@pytest.fixture
def moved(digit_folder: Path, tmp_path: Path) -> Path:
    """A run whose data lay in `here` when it was trained and lies in `there` now."""
    shutil.copytree(digit_folder, tmp_path / "here")
    run = casebook.train(tmp_path / "here", out=tmp_path / "run", epochs=2, **QUICK)
    (tmp_path / "here").rename(tmp_path / "there")
    return run.path


def test_data_that_has_moved_is_found_again(moved: Path, tmp_path: Path) -> None:
    (moved / "evaluation.json").unlink()
    with pytest.raises(DataError, match="here"):
        casebook.train(resume=moved)
    run = casebook.train(tmp_path / "there", resume=moved)
    assert run.recipe.data == str(tmp_path / "there")
    assert run.is_complete


def test_a_finished_run_goes_on_for_more_epochs_as_if_they_had_been_asked_for(
    digit_folder: Path, tmp_path: Path
) -> None:
    short = casebook.train(digit_folder, out=tmp_path / "short", epochs=2, **QUICK)
    before = short.path / "evaluation.json"
    assert casebook.train(resume=short.path).history == short.history  # nothing to do
    long = casebook.train(digit_folder, out=tmp_path / "long", epochs=5, **QUICK)
    again = casebook.train(resume=short.path, epochs=5)
    assert before.is_file()
    assert (again.path / "model.safetensors").read_bytes() == (long.path / "model.safetensors").read_bytes()
    assert [row["train_loss"] for row in again.history] == [row["train_loss"] for row in long.history]
    assert again.recipe.epochs == 5


def test_what_decides_the_run_cannot_change(moved: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="learning_rate decides what the run is"):
        casebook.train(tmp_path / "there", resume=moved, learning_rate=1.0, epochs=3)
    with pytest.raises(RecipeError, match="epochs is 1, but the run was made for 2; give more"):
        casebook.train(tmp_path / "there", resume=moved, epochs=1)


def test_a_file_that_was_swapped_is_noticed(moved: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "there" / "digit_1" / "003.png")
    with pytest.raises(DataError, match=r"1 are other files now, such as digit_1/003\.png"):
        casebook.train(tmp_path / "there", resume=moved, epochs=3)


def test_batches_of_one_picture_need_a_network_without_batch_norm(digit_folder: Path, tmp_path: Path) -> None:
    settings = QUICK | {"batch_size": 1, "learning_rate": 1e-3}
    run = casebook.train(digit_folder, out=tmp_path / "one", epochs=1, **settings)
    assert run.recipe.batch_size == 1
    with pytest.raises(RecipeError, match=r"batch_size is 1, expected at least 2.* for batch norm"):
        casebook.train(digit_folder, out=tmp_path / "two", epochs=1, **(settings | {"model": "resnet20"}))
