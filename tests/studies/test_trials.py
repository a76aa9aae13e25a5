"""Arms get equal terms: the same pictures, order and rates; what was done is read; a stopped training goes on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from casebook.augmentation.policy import Policy
from casebook.errors import DivergedError, RecipeError
from casebook.models import create_model
from casebook.studies.trials import Budget, PictureSet, load_pictures, mistakes, train_arm, train_once, training_error
from casebook.training.trainer import Trainer

CPU = torch.device("cpu")
BUDGET = Budget(epochs=2, learning_rates=(0.1,), batch_size=16)


@pytest.fixture(scope="module")
def pictures() -> PictureSet:
    return load_pictures("digits", side=8, mode="L", most_per_class=12, most_test_per_class=6)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_pictures_are_read_once_and_divided_without_overlap(pictures: PictureSet) -> None:
    assert pictures.source.arrays is not None
    assert pictures.source.arrays.shape == (240, 8, 8)
    parts = [set(pictures.train), set(pictures.val), set(pictures.test)]
    assert [len(part) for part in parts] == [120, 60, 60]
    assert len(set.union(*parts)) == 240
    assert np.bincount(pictures.labels(pictures.train)).tolist() == [12] * 10
    assert pictures.policy.mirror == 0  # a mirrored digit is another sign
    assert "120 pictures to train on, 60 to choose by, 60 to test on" in pictures.described()


def test_fewer_pictures_are_a_part_of_more(pictures: PictureSet) -> None:
    few, more = pictures.fewer(3), pictures.fewer(6)
    assert set(few.train) < set(more.train) < set(pictures.train)
    assert few.test == pictures.test
    assert set(pictures.fewer(3, seed=1).train) != set(few.train)


def test_a_bound_for_all_classes_together() -> None:
    bounded = load_pictures("digits", side=8, mode="L", most=150, most_test_per_class=12)
    assert [len(part) for part in (bounded.train, bounded.val, bounded.test)] == [150, 120, 120]


def test_some_classes_alone_are_numbered_anew() -> None:
    some = load_pictures("digits", side=8, mode="L", most_per_class=5, most_test_per_class=5, classes=(7, 8, 9))
    assert some.source.classes == ("7", "8", "9")
    assert sorted(set(some.test_labels)) == [0, 1, 2]


def test_a_folder_of_colour_pictures(photo_folder: Path) -> None:
    found = load_pictures(photo_folder, side=12, test_fraction=0.3, val_fraction=0.2)
    assert found.source.arrays is not None
    assert found.source.arrays.shape[1:] == (12, 12, 3)
    assert found.policy.mirror == 0.5


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
        train_once(name, Watching, pictures, BUDGET, 4, 0.1, folder=tmp_path / name, device=CPU)
    assert len(seen[0]) == 2 * 8
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_the_best_rate_is_chosen_by_validation_and_kept_for_all_seeds(pictures: PictureSet, tmp_path: Path) -> None:
    said: list[str] = []
    budget = dataclasses.replace(BUDGET, epochs=4, learning_rates=(1e-6, 0.1), tuning_epochs=2)
    arm = train_arm("arm", linear, pictures, budget, seeds=(0, 1), folder=tmp_path, device=CPU, say=said.append)
    assert arm.learning_rate == 0.1
    assert [run.seed for run in arm.runs] == [0, 1]
    assert arm.wrong.shape == (2, 60)
    assert arm.curve("val_top1").shape == (2, 4)
    assert arm.error == pytest.approx(np.mean(arm.errors))
    assert sum("in 2 epochs" in line for line in said) == 2
    assert arm.errors[0] < 0.5  # it learns


def test_what_was_trained_is_read_and_other_settings_are_trained_anew(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_once("arm", linear, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "fit", refuse)
    again = train_once("arm", linear, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU)
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
            train_once("arm", build, some, budget, seed, rate, folder=tmp_path, device=CPU)


def test_a_stopped_training_goes_on_to_the_same_end(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> nn.Module:
        return create_model("resnet20", num_classes=10, in_channels=1)

    small = dataclasses.replace(pictures.fewer(4), preprocessing=pictures.preprocessing)
    budget = dataclasses.replace(BUDGET, epochs=3, settings={"checkpoint_seconds": 0})
    whole = train_once("arm", build, small, budget, 0, 0.05, folder=tmp_path / "whole", device=CPU,
                       measure=training_error(small, CPU))  # fmt: skip

    end_of_epoch = Trainer._end_epoch

    def killed(self: Trainer, *args: object) -> None:
        end_of_epoch(self, *args)  # type: ignore[arg-type]
        if self.position.rows == 2:
            raise KeyboardInterrupt

    measure = training_error(small, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_end_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_once("arm", build, small, budget, 0, 0.05, folder=tmp_path / "parts", device=CPU, measure=measure)
    parts = train_once("arm", build, small, budget, 0, 0.05, folder=tmp_path / "parts", device=CPU, measure=measure)
    assert np.array_equal(whole.wrong, parts.wrong)
    for what in ("train_loss", "val_loss", "val_top1", "train_error"):
        assert [row[what] for row in whole.curve] == [row[what] for row in parts.curve]


def test_a_training_that_diverges_is_as_good_as_guessing_and_says_so(
    pictures: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("the loss is nan at step 3; the last good checkpoint is kept")

    monkeypatch.setattr(Trainer, "fit", diverge)
    arm = train_arm("arm", linear, pictures, BUDGET, seeds=(0,), folder=tmp_path, device=CPU)
    assert arm.runs[0].diverged == "the loss is nan at step 3"
    assert arm.error == pytest.approx(0.9)
    assert np.isnan(arm.curve("val_top1")).all()
    with pytest.raises(DivergedError, match="left no weights"):
        arm.runs[0].load_into(linear())


def test_measuring_leaves_the_training_as_it_is(pictures: PictureSet, tmp_path: Path) -> None:
    plain = train_once("a", linear, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU)
    measured = train_once(
        "b", linear, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU, measure=training_error(pictures, CPU)
    )
    assert [row["train_loss"] for row in plain.curve] == [row["train_loss"] for row in measured.curve]
    assert all(0 <= row["train_error"] <= 1 for row in measured.curve)


def test_mistakes_are_those_of_the_network(pictures: PictureSet, tmp_path: Path) -> None:
    run = train_once("arm", linear, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU)
    network = run.load_into(linear())
    assert np.array_equal(mistakes(network, pictures, CPU), run.wrong)
    assert not (run.folder / "last.ckpt").exists()  # nothing to go on with


def test_a_part_of_the_network_learns(pictures: PictureSet, tmp_path: Path) -> None:
    def build() -> nn.Module:
        torch.manual_seed(9)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def last_alone(network: nn.Module) -> tuple[list, object]:
        return [("head", network[3], 1.0)], network.train  # type: ignore[index]

    run = train_once("arm", build, pictures, BUDGET, 0, 0.1, folder=tmp_path, device=CPU, learning=last_alone)
    trained, start = run.load_into(build()).state_dict(), build().state_dict()
    assert torch.equal(trained["1.weight"], start["1.weight"])
    assert not torch.equal(trained["3.weight"], start["3.weight"])


def test_a_setting_that_no_recipe_has_is_refused() -> None:
    with pytest.raises(RecipeError, match="unknown setting"):
        Budget(epochs=1, settings={"learning": 3}).recipe("digits", 0, 0.1, 1, "cpu")
