"""Small runs over the same digits, with the same and with other splits."""

import csv
from pathlib import Path
from typing import Any

import pytest

import casebook

Runs = tuple[Path, Path, Path]


def parts(run: Path) -> dict[str, str]:
    """The part that each picture is in, by name."""
    with (run / "split.csv").open() as file:
        return {row["name"]: row["split"] for row in csv.DictReader(file)}


def train(data: Path, out: Path, **settings: Any) -> Path:
    quick: dict[str, Any] = {"model": "lenet5", "epochs": 3, "batch_size": 16, "mirror": False, "warmup_epochs": 0,
                             "workers": 0, "learning_rate": 0.05, "near_duplicates": False}  # fmt: skip
    return casebook.train(data, out=out, **(quick | settings)).path


@pytest.fixture(scope="session")
def runs(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three LeNets of different quality with one split. Not to be changed: copy them."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        train(digit_folder, folder / "a"),
        train(digit_folder, folder / "b", learning_rate=0.02, epochs=2),
        train(digit_folder, folder / "c", batch_size=32, epochs=1),
    )


@pytest.fixture(scope="session")
def other_split(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet with another seed, and so with another split."""
    return train(digit_folder, tmp_path_factory.mktemp("runs") / "d", seed=1, epochs=1)
