"""casebook study: what is listed, run, said and written, and careless use."""

import dataclasses
from pathlib import Path

import pytest
from torch import nn

import casebook
from casebook.errors import Interrupted
from casebook.studies import STUDIES
from casebook.studies.experiment import Experiment, find_study
from casebook.studies.trials import TrainingBudget
from casebook.workflows import study as study_job

from .conftest import Command, one_line
from .test_json import all_keys, check, documented


def two_alike(experiment: Experiment) -> None:
    pictures = experiment.pictures(side=8, most_per_class=6, most_test_per_class=4)
    budget = TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=16)
    one, other = (
        experiment.arm(name, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), pictures, budget)
        for name in ("one", "other")
    )
    experiment.compare("one is better", one, other, "lower")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study "degradation" of a second."""
    found = dataclasses.replace(find_study("degradation"), run=two_alike)
    monkeypatch.setattr(study_job, "find_study", lambda name: found if name == "degradation" else find_study(name))


def test_without_a_name_all_are_listed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = command("study")
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:-1] if not line.startswith(" ")] == list(STUDIES)
    for name in STUDIES:  # nothing is cut off
        assert find_study(name).question.split()[-1] in result.out
    assert lines[-1].startswith("Next: casebook study degradation")


def test_a_study_prints_its_verdicts(command: Command, short: None) -> None:
    result = command("study", "degradation", "--seeds", "2", "--out", "here")
    assert result.code == 0
    assert "no detectable difference on digits: one is better (test error of one less that of other:" in result.out
    assert "2 paired seeds, 40 pictures" in result.out
    assert (
        "This run: digits, 60 training pictures, 8 pixels a side, 1 epoch, 2 seeds. The paper: CIFAR-10" in result.out
    )
    assert "report: in here" in result.out
    assert result.out.splitlines()[-1] == (
        "Next: casebook study degradation --data PHOTOS, to see whether it holds on your pictures"
    )
    assert Path("here/degradation-quick/report.html").is_file()
    assert "finished already" in command("study", "degradation", "--seeds", "2", "--out", "here").err


def test_json(command: Command, short: None) -> None:
    known = documented()["casebook study"]
    listed = command("study", "--json").json
    ran = command("study", "degradation", "history", "--seeds", "1", "--json").json
    all_keys(known, check(listed, known), check(ran, known))
    assert ran["folder"] == "runs/studies"
    assert ran["studies"][0]["verdicts"][0]["outcome"] == "one seed: no verdict"
    assert ran["studies"][0]["summary"] == find_study("degradation").title
    assert ran["studies"][1]["pictures"] == ["Errors by year: entries of many networks, and single networks"]
    assert Path("runs/studies/book.html").is_file()


def test_seeds_by_name(command: Command, short: None) -> None:
    assert command("study", "degradation", "--seeds", "7, 9", "--json").json["studies"][0]["seeds"] == [7, 9]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("degradatoin",), 1, "did you mean 'degradation'"),
        (("--quick", "--full", "history"), 2, "exclude each other"),
        (("--all", "history"), 2, "--all runs every study"),
        (("degradation", "--data", "nowhere"), 1, "there is no folder or list 'nowhere'"),
        (("history", "--model", "resnet18"), 2, "go together"),
        (("history", "--weights", "imagenet"), 2, "go together"),
        (("history", "--seeds", "three"), 2, "--seeds takes a number"),
        (("history", "--seeds", "1,,2"), 2, "--seeds takes a number"),
        (("history", "--seeds", "0"), 1, "seeds are 0"),
        (("history", "--seeds", "4,4"), 1, "different numbers"),
        (("history", "--device", "tpu"), 1, "device is 'tpu'"),
    ],
)
def test_careless_use(command: Command, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = command("study", *arguments)
    assert said in one_line(result, code)


def test_an_interrupted_study_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Interrupted

    monkeypatch.setattr(casebook, "study", stop, raising=False)
    result = command("study", "--all", "--out", "my studies")
    assert result.code == 130
    assert "casebook study --all --out 'my studies'" in result.err
