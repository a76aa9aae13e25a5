"""Arms get equal terms: the same pictures, order and rates; what was done is read; a stopped training goes on."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from casebook.augmentation.policy import Policy
from casebook.errors import DivergedError, RecipeError
from casebook.models import create_model
from casebook.progress import Event, Remark
from casebook.studies.pictures import PictureSet, PictureSettings, load_pictures
from casebook.studies.trials import (
    Build,
    TrainingBudget,
    Trial,
    cifar_budget,
    mistakes,
    prepared_batches,
    train_arm,
    train_once,
    training_error,
)
from casebook.training.trainer import Trainer

from .conftest import CPU, trial_settings

BUDGET = TrainingBudget(epochs=2, learning_rates=(0.1,), batch_size=16)


@pytest.fixture(scope="module")
def pictures() -> PictureSet:
    return load_pictures("digits", PictureSettings(side=8, mode="L", most_per_class=12, most_test_per_class=6))


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def trial(
    build: Build, pictures: PictureSet, folder: Path, budget: TrainingBudget = BUDGET, seed: int = 0, rate: float = 0.1,
    **options: Any,
) -> Trial:  # fmt: skip
    recipe = budget.recipe(pictures.source.name, seed, rate, budget.epochs, "cpu")
    return train_once("arm", build, pictures, recipe, trial_settings(folder), **options)


def test_arms_of_a_seed_see_the_same_batches(pictures: PictureSet, tmp_path: Path) -> None:
    seen: list[list[torch.Tensor]] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()
            self.mine: list[torch.Tensor] = []
            seen.append(self.mine)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training:
                self.mine.append(images.clone())
            return self.inner(images)

    for name in ("one", "other"):
        trial(Watching, pictures, tmp_path / name, seed=4)
    assert len(seen[0]) == 2 * 8
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_the_best_rate_is_chosen_by_validation_and_kept_for_all_seeds(pictures: PictureSet, tmp_path: Path) -> None:
    said: list[Event] = []
    budget = dataclasses.replace(BUDGET, epochs=4, learning_rates=(1e-6, 0.1), tuning_epochs=2)
    arm = train_arm("arm", linear, pictures, budget, trial_settings(tmp_path, 0, 1, report=said.append))
    assert arm.learning_rate == 0.1
    assert [one.seed for one in arm.trials] == [0, 1]
    assert arm.wrong.shape == (2, 60)
    assert arm.curve("val_top1").shape == (2, 4)
    assert arm.error == pytest.approx(np.mean(arm.errors))
    assert all(isinstance(event, Remark) for event in said)
    assert sum("in 2 epochs" in event.text for event in said if isinstance(event, Remark)) == 2
    assert arm.chance == 0.9
    assert arm.percents == ", ".join(f"{100 * error:.2f}" for error in arm.errors)
    assert arm.errors[0] < 0.5  # it learns


def test_what_was_trained_is_read_and_other_settings_are_trained_anew(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trial(linear, pictures, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "fit", refuse)
    again = trial(linear, pictures, tmp_path)
    assert np.array_equal(first.wrong, again.wrong)
    assert first.curve == again.curve
    changes = [
        (linear, dataclasses.replace(BUDGET, epochs=3), 0, 0.1, pictures),
        (linear, BUDGET, 1, 0.1, pictures),
        (linear, BUDGET, 0, 0.2, pictures),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()), BUDGET, 0, 0.1, pictures),
        (linear, BUDGET, 0, 0.1, pictures.fewer(5)),
        (linear, BUDGET, 0, 0.1, dataclasses.replace(pictures, policy=Policy())),
    ]
    for build, budget, seed, rate, some in changes:
        with pytest.raises(AssertionError, match="trained again"):
            trial(build, some, tmp_path, budget, seed, rate)


def test_a_stopped_training_goes_on_to_the_same_end(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> nn.Module:
        return create_model("resnet20", num_classes=10, in_channels=1)

    small = dataclasses.replace(pictures.fewer(4), preprocessing=pictures.preprocessing)
    budget = dataclasses.replace(BUDGET, epochs=3, settings={"checkpoint_seconds": 0})
    whole = trial(build, small, tmp_path / "whole", budget, 0, 0.05, measure=training_error(small, CPU))

    close_epoch = Trainer._close_epoch

    def killed(self: Trainer, *args: object) -> None:
        close_epoch(self, *args)  # type: ignore[arg-type]
        if self.position.rows == 2:
            raise KeyboardInterrupt

    measure = training_error(small, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_close_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            trial(build, small, tmp_path / "parts", budget, 0, 0.05, measure=measure)
    parts = trial(build, small, tmp_path / "parts", budget, 0, 0.05, measure=measure)
    assert np.array_equal(whole.wrong, parts.wrong)
    for what in ("train_loss", "val_loss", "val_top1", "train_error"):
        assert [row[what] for row in whole.curve] == [row[what] for row in parts.curve]


def test_a_training_that_diverges_is_as_good_as_guessing_and_says_so(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("the loss is nan at step 3; the last good checkpoint is kept")

    monkeypatch.setattr(Trainer, "fit", diverge)
    arm = train_arm("arm", linear, pictures, BUDGET, trial_settings(tmp_path))
    assert arm.trials[0].diverged == "the loss is nan at step 3"
    assert arm.error == pytest.approx(0.9)
    assert np.isnan(arm.curve("val_top1")).all()
    with pytest.raises(DivergedError, match="left no weights"):
        arm.trials[0].load_into(linear())


def test_measuring_leaves_the_training_as_it_is(pictures: PictureSet, tmp_path: Path) -> None:
    plain = trial(linear, pictures, tmp_path / "a")
    measured = trial(linear, pictures, tmp_path / "b", measure=training_error(pictures, CPU))
    assert [row["train_loss"] for row in plain.curve] == [row["train_loss"] for row in measured.curve]
    assert all(0 <= row["train_error"] <= 1 for row in measured.curve)


def test_mistakes_are_those_of_the_network(pictures: PictureSet, tmp_path: Path) -> None:
    run = trial(linear, pictures, tmp_path)
    network = run.load_into(linear())
    assert np.array_equal(mistakes(network, pictures, CPU), run.wrong)
    assert not (run.folder / "last.ckpt").exists()  # nothing to go on with


def test_a_part_of_the_network_learns(pictures: PictureSet, tmp_path: Path) -> None:
    def build() -> nn.Module:
        torch.manual_seed(9)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def last_alone(network: nn.Module) -> tuple[list, object]:
        return [("head", network[3], 1.0)], network.train  # type: ignore[index]

    run = trial(build, pictures, tmp_path, learning=last_alone)
    trained, start = run.load_into(build()).state_dict(), build().state_dict()
    assert torch.equal(trained["1.weight"], start["1.weight"])
    assert not torch.equal(trained["3.weight"], start["3.weight"])


def test_a_setting_that_no_recipe_has_is_refused() -> None:
    with pytest.raises(RecipeError, match="unknown setting"):
        TrainingBudget(epochs=1, settings={"learning": 3}).recipe("digits", 0, 0.1, 1, "cpu")


def test_the_papers_budget_is_its_section_4_2() -> None:
    budget = cifar_budget()
    assert (budget.epochs, budget.learning_rates, budget.batch_size) == (182, (0.1,), 128)
    settings = budget.settings
    assert (settings["momentum"], settings["weight_decay"], settings["milestones"]) == (0.9, 1e-4, (0.5, 0.75))
    assert (settings["schedule"], settings["clip_norm"], settings["warmup_epochs"]) == ("step", 0, 0)
    shorter = cifar_budget(epochs=60, learning_rate=0.03)
    assert (shorter.epochs, shorter.learning_rates, shorter.settings) == (60, (0.03,), settings)


def test_prepared_batches_show_each_picture_once_as_the_network_sees_it(pictures: PictureSet) -> None:
    batches = list(prepared_batches(pictures, pictures.val, CPU, batch_size=25))
    assert [tuple(images.shape) for images, _ in batches] == [(25, 1, 8, 8), (25, 1, 8, 8), (10, 1, 8, 8)]
    assert torch.cat([labels for _, labels in batches]).tolist() == pictures.labels(pictures.val).tolist()
    assert pictures.source.arrays is not None
    first = torch.from_numpy(pictures.source.arrays[pictures.val[0]]).float()
    assert torch.allclose(batches[0][0][0, 0], (first / 255 - 0.5) / 0.25, atol=1e-6)
    shuffled = torch.cat([y for _, y in prepared_batches(pictures, pictures.val, CPU, batch_size=60, shuffle=True)])
    assert sorted(shuffled.tolist()) == sorted(pictures.labels(pictures.val).tolist())
