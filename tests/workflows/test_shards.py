"""A training from shards ends with the same bits as from the folder, also after it was stopped; so do answers."""

import os
import signal
from pathlib import Path

import pytest

import casebook
from casebook.errors import Interrupted
from casebook.progress import Event, StepEnded
from casebook.training.recipe import make_recipe
from casebook.training.session import resume_run, train_run
from casebook.workflows.shard import shard_pictures

SETTINGS = {"model": "lenet5", "epochs": 2, "batch_size": 8, "seed": 3, "workers": 0,
            "policy": "basic", "near_duplicates": False}  # fmt: skip


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def photos(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder and its shards."""
    out = tmp_path_factory.mktemp("shards") / "set"
    assert shard_pictures(photo_folder, out, shard_mb=1).pictures == 48
    return photo_folder, out


def test_training_from_shards_is_training_from_the_folder(photos: tuple[Path, Path], tmp_path: Path) -> None:
    folder, shards = photos
    first = casebook.train(folder, out=tmp_path / "folder", **SETTINGS)
    second = casebook.train(shards, out=tmp_path / "shards", **SETTINGS)
    assert weights(second.path) == weights(first.path)
    assert (second.path / "split.csv").read_bytes() == (first.path / "split.csv").read_bytes()
    within, across = (casebook.evaluate(run.path, data).document for run, data in ((first, folder), (second, shards)))
    assert across["top1"] == within["top1"]
    from_folder = {answer.picture: answer.classes for answer in casebook.predict(first.path, folder)}
    from_shards = {answer.picture: answer.classes for answer in casebook.predict(second.path, shards)}
    assert from_shards == {os.path.relpath(name, folder): said for name, said in from_folder.items()}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_stopped_in_an_epoch_goes_on_to_the_same_bits(
    photos: tuple[Path, Path], tmp_path: Path, workers: int
) -> None:
    recipe = make_recipe("scratch", data=photos[1], **(SETTINGS | {"workers": workers}))
    with train_run(recipe, out=tmp_path / "whole"):
        pass
    steps = []

    def interrupt(event: Event) -> None:
        steps.append(isinstance(event, StepEnded))
        if sum(steps) == 6:  # in the second epoch
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted), train_run(recipe, out=tmp_path / "run", report=interrupt):
        pass
    with resume_run(tmp_path / "run"):
        assert weights(tmp_path / "run") == weights(tmp_path / "whole")
