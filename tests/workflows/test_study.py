"""Studies as the user runs them: folders, what is finished, what was interrupted, what cannot be."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import casebook
from casebook.errors import DataError, RecipeError, RunError
from casebook.progress import Event, Remark
from casebook.studies import STUDIES
from casebook.studies.experiment import FORMAT, Experiment, Study, find_study
from casebook.studies.trials import TrainingBudget
from casebook.workflows import study as study_job


def tiny(experiment: Experiment) -> None:
    pictures = experiment.pictures(side=8, most_per_class=8, most_test_per_class=5)
    size = pictures.in_channels * 64
    budget = TrainingBudget(epochs=1, learning_rates=(0.1,), batch_size=16)
    arms = [
        experiment.arm(
            name, lambda: nn.Sequential(nn.Flatten(), nn.Linear(size, pictures.num_classes)), pictures, budget
        )
        for name in ("one", "other")
    ]
    experiment.compare("one is better than the other", arms[0], arms[1], "lower")
    experiment.table("Errors", ("arm", "error"), [(arm.name, round(arm.error, 3)) for arm in arms])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study "degradation" with two small arms, the others as they are."""

    def find(name: str) -> Study:
        found = find_study(name)
        return dataclasses.replace(found, run=tiny) if name == "degradation" else found

    monkeypatch.setattr(study_job, "find_study", find)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_list_says_what_it_is(name: str) -> None:
    study = find_study(name)
    assert study.name == name
    words = (study.title, study.question, study.paper, study.claim, study.design, study.would_change)
    assert all(len(word) > 10 for word in words)
    assert study.question.endswith("?")


def test_a_study_leaves_a_result_and_a_report(tmp_path: Path, short: None) -> None:
    said: list[str] = []

    def report(event: Event) -> None:
        assert isinstance(event, Remark)
        said.append(event.text)

    (result,) = casebook.study("degradation", seeds=1, out=tmp_path, progress=report)
    folder = tmp_path / "degradation-quick"
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))
    assert "Degradation: plain against residual" in (folder / "report.html").read_text()
    assert [arm["name"] for arm in result["arms"]] == ["one", "other"]
    (verdict,) = result["verdicts"]  # both arms are the same network, trained alike
    assert (verdict["outcome"], verdict["difference"]) == ("one seed: no verdict", 0)
    assert verdict["interval"][0] < 0 < verdict["interval"][1], "the interval over pictures is still shown"
    assert any(line.startswith("degradation: one, seed 0: test error") for line in said)

    said.clear()
    (again,) = casebook.study("degradation", seeds=1, out=tmp_path, progress=report)
    assert again == json.loads(json.dumps(result))
    assert "finished already" in said[0]
    with pytest.raises(RunError, match="of other settings"):
        casebook.study("degradation", seeds=2, out=tmp_path)


def test_an_interrupted_study_goes_on_and_its_time_counts(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study = study_job.run_study

    def interrupted(experiment: Any) -> dict[str, Any]:
        experiment.study.run(experiment)
        raise KeyboardInterrupt

    monkeypatch.setattr(study_job, "run_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        casebook.study("degradation", seeds=1, out=tmp_path)
    folder = tmp_path / "degradation-quick"
    spent = json.loads((folder / "seconds.json").read_text())
    assert spent > 0
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(study_job, "run_study", run_study)
    (result,) = casebook.study("degradation", seeds=1, out=tmp_path)
    assert result["seconds"] >= round(spent, 1)
    assert not (folder / "seconds.json").exists()


def test_several_studies_make_a_book(tmp_path: Path, short: None) -> None:
    results = casebook.study(["history", "degradation"], seeds=1, out=tmp_path)
    assert [result["study"] for result in results] == ["history", "degradation"]
    book = (tmp_path / "book.html").read_text()
    assert 'id="history"' in book
    assert 'id="degradation"' in book
    assert (tmp_path / "verdicts.md").read_text().startswith("| study | claim |")


def test_a_folder_of_the_users(tmp_path: Path, short: None, photo_folder: Path) -> None:
    (result,) = casebook.study("degradation", seeds=1, out=tmp_path, data=photo_folder)
    assert (tmp_path / f"degradation-quick-{photo_folder.stem}").is_dir()
    assert "colour" in result["notes"][0]


def test_of_several_studies_one_that_cannot_use_the_data_is_left_out(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(experiment: Experiment) -> None:
        raise DataError("two classes are too few")

    find = study_job.find_study
    refusing = {"transfer": dataclasses.replace(find_study("transfer"), run=refuse)}
    monkeypatch.setattr(study_job, "find_study", lambda name: refusing.get(name) or find(name))
    said: list[Event] = []
    results = casebook.study(["transfer", "degradation"], seeds=1, out=tmp_path, progress=said.append)
    assert [result["study"] for result in results] == ["degradation"]
    assert Remark("transfer: left out: two classes are too few") in said
    with pytest.raises(DataError, match="too few"):
        casebook.study(["transfer"], seeds=1, out=tmp_path)


def test_what_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'degradation'"):
        casebook.study("degradaton")
    with pytest.raises(RecipeError, match="mode is 'slow'"):
        casebook.study("history", mode="slow")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="seeds are 0"):
        casebook.study("history", seeds=0)
    with pytest.raises(RecipeError, match="seeds are"):
        casebook.study("history", seeds=(1, 1))
    with pytest.raises(RecipeError, match="a network's name and its weights"):
        casebook.study("history", pretrained=("resnet18",))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="there is no folder"):
        casebook.study("degradation", data=tmp_path / "none", out=tmp_path / "out")


def test_a_result_that_is_none_is_not_read_over(tmp_path: Path) -> None:
    folder = tmp_path / "history-quick"
    folder.mkdir()
    (folder / "result.json").write_text("[1, 2")
    with pytest.raises(RunError, match="is not the result of a study"):
        casebook.study("history", out=tmp_path)
    assert (folder / "result.json").read_text() == "[1, 2"


def test_a_result_of_an_earlier_format_is_refused_in_words_and_kept(tmp_path: Path) -> None:
    """Earlier results say "confirmed" and "contradicted", also of one seed."""
    folder = tmp_path / "history-quick"
    folder.mkdir()
    old = json.dumps({"settings": {"format": 1, "study": "history"}, "verdicts": []})
    (folder / "result.json").write_text(old)
    with pytest.raises(RunError, match=f"has format 1, this Casebook reads format {FORMAT}.*remove the file"):
        casebook.study("history", out=tmp_path)
    assert (folder / "result.json").read_text() == old


def test_the_caveat_compares_the_run_with_the_paper(tmp_path: Path, short: None) -> None:
    (one,) = casebook.study("degradation", seeds=1, out=tmp_path / "one")
    assert one["caveat"] == (
        "This run: digits, 80 training pictures, 8 pixels a side, 1 epoch, 1 seed. The paper: CIFAR-10, 45,000 "
        "training pictures of 32 pixels, 64,000 steps (about 182 epochs). One seed gives no verdict on trained "
        "networks."
    )
    (two,) = casebook.study("degradation", seeds=2, out=tmp_path / "two")
    assert two["caveat"].endswith("2 seeds. The paper: " + one["paper_setup"] + ". The verdicts hold for this run. "
                                  "They neither confirm nor refute the paper.")  # fmt: skip
    (counted,) = casebook.study("history", out=tmp_path)
    assert counted["caveat"].startswith("Nothing is trained here.")


def test_the_summary_shows_the_verdicts_or_else_the_first_picture(tmp_path: Path, short: None) -> None:
    trained, counted = casebook.study(["degradation", "history"], seeds=1, out=tmp_path)
    assert "one is better than" in trained["summary"]["svg"]
    assert trained["summary"]["alt"] == "one is better than the other: one seed: no verdict"
    assert counted["summary"] == counted["pictures"][0]


def test_progress_true_prints_what_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    casebook.study("history", out=tmp_path, progress=True)
    printed = capsys.readouterr()
    assert "history: exact: the winner of 2014" in printed.err
    assert not printed.out
    casebook.study("history", out=tmp_path)
    assert capsys.readouterr() == ("", "")
