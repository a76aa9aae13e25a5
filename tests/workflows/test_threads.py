"""How many threads evaluation, prediction and explanation compute with."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import casebook
from casebook.device import LoadMeter, using_threads
from casebook.evaluation.classifier import Classifier
from casebook.progress import Event, Remark
from casebook.training.run import Run
from casebook.workflows import threads
from casebook.workflows.threads import choose_asking_threads, each_with_threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for module in ("casebook.device.threads", "casebook.workflows.threads"):
        monkeypatch.setattr(f"{module}.available_cores", lambda: 2)
    with using_threads(2):
        yield


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even LeNet-5 is large and long work."""
    monkeypatch.setattr("casebook.device.threads.SMALL_WORK", 1)
    monkeypatch.setattr(threads, "LONG_WORK", 1)


def load(monkeypatch: pytest.MonkeyPatch, cores: float) -> None:
    monkeypatch.setattr(LoadMeter, "others", lambda meter: cores)


@pytest.fixture
def classifier(runs: tuple[Path, ...]) -> Classifier:
    """A LeNet-5 without a run."""
    return dataclasses.replace(casebook.load(runs[0]), run=None)


def used(classifier: Classifier) -> set[int]:
    """Fills, as the network runs, with the numbers of threads that it runs with."""
    seen: set[int] = set()
    classifier.model.stages.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    return seen


def picture(folder: Path) -> Path:
    return folder / "digit_1" / "000.png"


def test_small_work_gets_one_thread(classifier: Classifier, digit_folder: Path, monkeypatch) -> None:
    load(monkeypatch, 2.0)
    seen = used(classifier)
    casebook.evaluate(classifier, digit_folder)
    assert seen == {1}
    seen.clear()
    list(casebook.predict(classifier, digit_folder))
    assert seen == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("cores", "expected"), [(0.0, 2), (2.0, 1)])
def test_long_work_follows_the_load(
    cores: float, expected: int, classifier: Classifier, digit_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    load(monkeypatch, cores)
    seen, events = used(classifier), list[Event]()
    casebook.evaluate(classifier, digit_folder, progress=events.append)
    assert seen == {expected}
    remarks = [event.text for event in events if isinstance(event, Remark)]
    busy = "other programs keep 2.0 cores busy: computing with 1 of 2 threads"
    assert remarks == ([busy] if expected == 1 else [])
    seen.clear()
    list(casebook.explain(classifier, picture(digit_folder), method="grad-cam", out=tmp_path))
    assert seen == {expected}
    seen.clear()
    for _ in casebook.predict(classifier, digit_folder):
        assert torch.get_num_threads() == 2  # the caller's own
    assert seen == {expected}


def test_short_work_does_not_look_at_the_load(classifier: Classifier, monkeypatch) -> None:
    monkeypatch.setattr("casebook.device.threads.SMALL_WORK", 1)
    load(monkeypatch, 2.0)
    assert choose_asking_threads([classifier], 32, 1000) == 2
    assert choose_asking_threads([classifier], 32) == 1


@pytest.mark.usefixtures("large")
def test_a_run_gets_the_threads_of_its_recipe_and_the_bits_of_its_test(runs: tuple[Path, ...], monkeypatch) -> None:
    load(monkeypatch, 0.0)
    run = Run(runs[0])
    assert run.recipe.threads == 1
    classifier = casebook.load(run.path)
    seen = used(classifier)
    evaluation = casebook.evaluate(classifier)
    assert seen == {1}
    assert evaluation.scores == run.test
    two = casebook.load(runs[1])
    assert choose_asking_threads([classifier, two], 32) == 1
    recipe = two.run.recipe.model_copy(update={"threads": 0})
    monkeypatch.setattr(Run, "recipe", property(lambda run: recipe if run.path == runs[1] else Run(runs[2]).recipe))
    assert choose_asking_threads([two], 32) == 2
    many = recipe.model_copy(update={"threads": 64})  # of another machine
    monkeypatch.setattr(Run, "recipe", property(lambda run: many))
    assert choose_asking_threads([two], 32) == 2


def test_a_number_from_outside_is_kept(classifier: Classifier, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    load(monkeypatch, 2.0)
    assert choose_asking_threads([classifier], 32) == 2


def test_a_module_without_a_card_is_large(classifier: Classifier, monkeypatch) -> None:
    load(monkeypatch, 0.0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 4))
    assert choose_asking_threads([dataclasses.replace(classifier, model=module)], 1) == 2


def test_an_error_between_items_leaves_the_callers_number() -> None:
    def items() -> Iterator[int]:
        yield torch.get_num_threads()
        raise ValueError("in the middle")

    found = each_with_threads(1, items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="in the middle"):
        next(found)
    assert torch.get_num_threads() == 2
    assert np.array_equal(list(each_with_threads(1, [3, 4])), [3, 4])
