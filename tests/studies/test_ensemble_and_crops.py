"""Members differ in their seed alone, groups share none, and costs and mistakes are those of the mean."""

from pathlib import Path

import numpy as np
import pytest
import torch

from casebook.cost.count import count
from casebook.data.batch_plan import BatchPlan
from casebook.data.loader import AugmentSettings, Batches
from casebook.evaluation.predictions import Predictions
from casebook.studies import ensemble_and_crops
from casebook.studies.ensemble_and_crops import STUDY, EnsemblePlan, mistakes_of, network, protocols_for, with_margin
from casebook.studies.experiment import find_study, run_study
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

CPU = torch.device("cpu")
SHORT = EnsemblePlan(2, TrainingBudget(1, (0.1,), batch_size=16), {"most_per_class": 4, "most_test_per_class": 3})


def test_protocols_with_and_without_mirror_images() -> None:
    photographs, crops = protocols_for(may_mirror=True)
    assert [protocol.name for protocol in photographs] == ["center", "flip", "10-crop", "144-crop"]
    assert crops.num_views == 10
    digits, crops = protocols_for(may_mirror=False)
    assert [(p.name, p.num_views) for p in digits] == [
        ("center", 1), ("flip", 2), ("10-crop", 10), ("5-crop", 5), ("72-crop", 72)
    ]  # fmt: skip
    assert crops.name == "5-crop"
    assert not crops.mirror


def test_the_mean_decides_not_the_majority() -> None:
    def said(*rows: tuple[float, float]) -> Predictions:
        return Predictions(("a", "b"), np.array([0, 1]), np.array(rows, np.float32), ("x", "y"))

    members = [said((0.9, 0.1), (0.9, 0.1)), said((0.4, 0.6), (0.2, 0.8)), said((0.4, 0.6), (0.2, 0.8))]
    assert mistakes_of(members[:1]).tolist() == [False, True]
    assert mistakes_of(members).tolist() == [False, False]
    assert mistakes_of([members[0], said((0.9, 0.1), (0.8, 0.2))]).tolist() == [False, True]


def test_training_and_test_cut_windows_of_one_scale(tmp_path: Path) -> None:
    experiment = make_experiment(STUDY, tmp_path)
    pictures = with_margin(experiment, 16, {"most_per_class": 4, "most_test_per_class": 3})
    assert pictures.source.arrays is not None
    assert pictures.source.arrays.shape[1:] == (18, 18)
    assert (pictures.preprocessing.size, pictures.preprocessing.resize_side) == (16, 18)
    assert (pictures.policy.crop, pictures.policy.mirror, pictures.policy.pca) == ("window", 0.0, 0.0)
    whole = pictures.source.arrays[pictures.train[0]]
    augmentation = AugmentSettings(pictures.policy)
    batches = Batches(
        pictures.source, pictures.train[:1], pictures.preprocessing, BatchPlan(1), augmentation=augmentation
    )
    windows = [whole[top : top + 16, left : left + 16] for top in range(3) for left in range(3)]
    for epoch in range(5):
        [batch] = batches.epoch(epoch)
        assert any(np.array_equal(batch.images[0, :, :, 0].numpy(), window) for window in windows)
    batches.close()


def test_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ensemble_and_crops, "QUICK", SHORT)
    result = run_study(make_experiment(STUDY, tmp_path, seeds=(0, 1)))
    rows = {row[0]: row for row in result["tables"][0]["rows"]}
    assert list(rows) == [
        "1 network", "2 networks", "flip", "10-crop", "5-crop", "72-crop", "2 networks, 5-crop"
    ]  # fmt: skip
    of_one = count(network(True, num_classes=10, in_channels=1), 16, in_channels=1).total.multiply_adds
    # 72 views of a square picture: 4 scales of 6 crops, three times the same square
    times = {
        "1 network": 1,
        "2 networks": 2,
        "flip": 2,
        "10-crop": 10,
        "5-crop": 5,
        "72-crop": 24,
        "2 networks, 5-crop": 10,
    }
    assert {name: row[3] for name, row in rows.items()} == {name: f"{of_one * k:,}" for name, k in times.items()}
    assert len(result["verdicts"]) == 5
    assert "2 paired seeds, 30 pictures" in result["verdicts"][0]["text"]
    member = result["arms"][0]
    assert len(member["test_errors"]) == 4
    assert f"{100 * np.mean(member['test_errors'][::2]):.2f}" == rows["1 network"][5]  # the first of each group
    assert len(list((tmp_path / "runs").iterdir())) == 4


@pytest.mark.slow
def test_the_full_study_of_photographs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path) -> None:
    monkeypatch.setattr(ensemble_and_crops, "FULL", SHORT)
    monkeypatch.setattr(ensemble_and_crops, "WITH_MIRROR", ("center", "flip", "10-crop"))
    result = run_study(make_experiment(STUDY, tmp_path, mode="full", data=str(photo_folder)))
    assert result["tables"][0]["rows"][-1][0] == "2 networks, 10-crop"
    assert result["tables"][0]["rows"][0][3] == f"{count('resnet20', 32, num_classes=2).total.multiply_adds:,}"


def test_it_is_found_by_name() -> None:
    assert find_study("ensemble-and-crops") is STUDY
