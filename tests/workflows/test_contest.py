"""Two networks for small pictures: the better one is kept, and an interrupted contest goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.errors import Interrupted, WeightsError
from casebook.progress import EpochEnded, Event, RunOpened
from casebook.training import default, plan
from casebook.training.run import RIVAL_FILE
from casebook.workflows import contest

SETTINGS: dict[str, Any] = {
    "workers": 0, "device": "cpu", "threads": 1, "near_duplicates": False, "precision": "fp32", "batch_size": 32,
    "epochs": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def rival_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the large network with ImageNet weights: the small one with those that come with Casebook."""
    monkeypatch.setattr(default, "weights_at_hand", lambda name: "cifar10")
    monkeypatch.setattr(plan, "PHOTOGRAPHS", "resnet20")


@pytest.fixture(scope="module")
def small_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes and spots of 16x16, 100 each; every tenth lies in the wrong folder, so that no network has all right."""
    root, generator = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(16), np.arange(16))
    for name in ("stripes", "spots"):
        (root / name).mkdir()
        for number in range(100):
            wave = np.sin(across * 1.3 + generator.uniform(0, 6))
            if (name == "spots") != (number % 10 == 0):
                wave = wave * np.sin(down * 1.3 + generator.uniform(0, 6))
            pixels = 120 + 60 * wave[:, :, None] + generator.normal(0, 30, (16, 16, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contests")


def stop_after(epochs: int) -> Any:
    """A reporter that interrupts the training when so many epochs have ended."""
    ended = 0

    def stop(event: Event) -> None:
        nonlocal ended
        ended += isinstance(event, EpochEnded)
        if ended == epochs:
            raise Interrupted

    return stop


def test_the_better_network_is_kept(small_pictures: Path, folders: Path) -> None:
    opened = []

    def look(event: Event) -> None:
        opened.extend([event.path] if isinstance(event, RunOpened) else [])

    run = casebook.train(small_pictures, out=folders / "whole", progress=look, **SETTINGS)
    assert run.recipe.weights == "cifar10"
    assert opened == [str(run.path)]
    networks = run.choice["networks"]
    assert [one["kept"] for one in networks] == [False, True]
    assert networks[1]["val_top1"] >= networks[0]["val_top1"]
    assert any("two networks were tried and resnet20 was kept" in note for note in run.evaluation["notes"])
    assert {path.name for path in run.path.iterdir()}.isdisjoint({RIVAL_FILE, "rival", "winner"})
    assert casebook.load(run.path).predict(small_pictures / "spots" / "000.png")


def test_an_interrupted_contest_ends_with_the_same_bits(
    small_pictures: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = folders / "cut"
    with pytest.raises(Interrupted):  # in the first network
        casebook.train(small_pictures, out=cut, progress=stop_after(1), checkpoint_seconds=0, **SETTINGS)
    assert (cut / RIVAL_FILE).is_file()
    with pytest.raises(Interrupted):  # in the other
        casebook.train(resume=cut, progress=stop_after(3))
    assert (cut / "rival" / "recipe.toml").is_file()

    def stop(path: Path) -> None:
        if (path / "winner").is_dir():
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(contest, "adopt_winner", stop)
        with pytest.raises(Interrupted):  # before the files of the winner are moved
            casebook.train(resume=cut)
    assert (cut / "winner").is_dir()
    run, whole = casebook.train(resume=cut), casebook.Run(folders / "whole")
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert run.model["networks"] == whole.model["networks"]
    assert run.evaluation["test"] == whole.evaluation["test"]


def test_the_simpler_network_stays_within_noise(
    small_pictures: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "_losses", lambda *_: [contest.losses_of(np.eye(2), np.arange(2))] * 2)
    run = casebook.train(small_pictures, out=folders / "equal", **SETTINGS)
    assert run.recipe.weights == ""
    assert [one["kept"] for one in run.model["networks"]] == [True, False]
    assert not (run.path / "rival").exists()


def test_a_broken_rival_costs_nothing(small_pictures: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise WeightsError("damaged")

    monkeypatch.setattr(contest, "train_run", broken)
    run = casebook.train(small_pictures, out=folders / "broken", **SETTINGS)
    assert run.recipe.weights == ""
    assert "networks" not in run.model
    assert not (run.path / RIVAL_FILE).exists()
