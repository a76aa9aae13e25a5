"""How a training chooses, records and restores torch's number of threads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import casebook
from casebook.device import LoadMeter, using_threads
from casebook.progress import EpochEnded, Event, Remark
from casebook.training.recipe import Recipe
from casebook.training.run import Run


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("casebook.device.threads.available_cores", lambda: 2)
    with using_threads(2):
        yield


@pytest.fixture
def train(small_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., tuple[Run, list[Event]]]:
    def start(**settings: Any) -> tuple[Run, list[Event]]:
        events: list[Event] = []
        recipe = small_recipe(epochs=1, workers=0, **settings)
        given = recipe.model_dump(exclude={"data"}, exclude_defaults=True)
        run = casebook.train(recipe.data, recipe="scratch", out=tmp_path / "run", progress=events.append, **given)
        assert torch.get_num_threads() == 2, "the caller's number comes back"
        return run, events

    return start


def load(monkeypatch: pytest.MonkeyPatch, cores: float) -> None:
    monkeypatch.setattr(LoadMeter, "others", lambda meter: cores)


def used(run: Run, events: list[Event]) -> tuple[int, int]:
    """The threads that the recipe and the metrics record."""
    (row,) = run.history
    (ended,) = [event for event in events if isinstance(event, EpochEnded)]
    assert ended.threads == row["threads"]
    return run.recipe.threads, row["threads"]


def test_small_work_gets_one_thread_whatever_the_load(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, 2.0)
    run, events = train()
    assert used(run, events) == (1, 1)
    assert not [event for event in events if isinstance(event, Remark)]


def test_a_given_number_is_kept_whatever_the_load(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load(monkeypatch, 2.0)
    assert used(*train(threads=2)) == (2, 2)


@pytest.mark.parametrize(("cores", "expected"), [(0.0, 2), (2.0, 1)])
def test_large_work_follows_the_load(cores: float, expected: int, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.device.threads.SMALL_WORK", 1)
    load(monkeypatch, cores)
    run, events = train()
    assert used(run, events) == (0, expected)  # 0: chosen; the metrics have the number
    remarks = [event.text for event in events if isinstance(event, Remark)]
    assert len(remarks) == (expected == 1)
    assert all("2.0 cores busy: threads of this training 2 -> 1" in text for text in remarks)
