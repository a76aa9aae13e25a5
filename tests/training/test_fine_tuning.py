"""Transfer by measurement: what is affordable, when fine-tuning is kept, and what a run says of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import casebook
from casebook.errors import DataError, Interrupted, RecipeError
from casebook.models import create_model
from casebook.progress import EpochEnded, Event
from casebook.training import choosing
from casebook.training.features import Arithmetic
from casebook.training.fine_tuning import (
    HEAD_FILE,
    Forecast,
    Losses,
    adapted,
    affordable_plan,
    forecast,
    judge,
    losses_of,
    plan_transfer,
)
from casebook.training.logistic import HeadTrial
from casebook.training.recipe import make_recipe

RECIPE = make_recipe("transfer", data="x", weights="w", model="resnet20")  # 20 epochs, 10 minutes
SETTINGS: dict[str, Any] = {
    "model": "resnet20", "weights": "cifar10", "batch_size": 8, "epochs": 5, "workers": 0, "device": "cpu",
    "precision": "fp32", "near_duplicates": False, "threads": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("step_seconds", "epochs"),
    [(0.001, 20), (0.05, 11), (0.13, 4), (0.15, 0)],
)
def test_fine_tuning_gets_the_epochs_that_the_budget_affords(step_seconds: float, epochs: int) -> None:
    """1,000 training and 200 validation pictures; the head takes 12 s of the 600, an epoch 1,000 steps and 2 s."""
    changes, choice, *_ = plan_transfer(RECIPE, Forecast(step_seconds, 0.01), 1000, 200)
    assert changes.get("epochs", 0) == epochs
    assert choice.strategy == ("full" if epochs else "head")
    if epochs:
        assert changes["head_epochs"] == 20
        assert f"{epochs} epochs" in choice.reason
    else:
        assert "beyond the time budget of 10 min" in choice.reason


def test_seconds_that_are_spent_count_against_the_budget() -> None:
    """An epoch takes 52 s: 11 of them fit into 588 s, 5 into 288 s, and none into 8 s."""
    spent = (0, 300, 580)
    plans = [plan_transfer(RECIPE, Forecast(0.05, 0.01), 1000, 200, spent_seconds=seconds) for seconds in spent]
    assert [plan.changes.get("epochs", 0) for plan in plans] == [11, 5, 0]
    assert "beyond the time budget of 10 min, of which 10 min are spent" in plans[2].choice.reason


def test_a_recipe_of_few_epochs_is_not_refused_for_it() -> None:
    short = RECIPE.model_copy(update={"epochs": 2, "warmup_epochs": 0.4})
    assert plan_transfer(short, Forecast(0.001, 0.001), 100, 20).changes["epochs"] == 2


def test_a_forecast_changes_nothing() -> None:
    network = create_model("resnet20", num_classes=3).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = forecast(network, 32, 3, Arithmetic(torch.device("cpu")))
    assert 0 < found.forward_seconds < found.step_seconds
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize(
    ("full", "part", "strategy"), [(0.05, 0.02, "full"), (0.2, 0.05, "last:2"), (9.0, 9.0, "head")]
)
def test_the_most_stages_that_the_budget_affords_are_tuned(full: float, part: float, strategy: str) -> None:
    network = create_model("resnet20", num_classes=3)

    def measure(learn: Any) -> Forecast:
        learn()
        assert network.stages[-1].training
        assert not any(module.training for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
        return Forecast(full if network.stem.conv.weight.requires_grad else part, 0.01)

    found = affordable_plan(RECIPE, network, measure, (1000, 200), folded_norms=True)
    assert found.choice.strategy == strategy
    assert found.changes.get("transfer", "head") == strategy
    assert ("last 2 stages" in found.choice.reason) == (strategy == "last:2")
    assert all(weight.requires_grad for weight in network.parameters())
    assert 0 < found.seconds <= 600 or strategy == "head"


def trial(top1: float, *, balanced: bool = False) -> HeadTrial:
    return HeadTrial(0.1, balanced, top1, top1, 0.5, 100, {0.1: 0.3})


@pytest.mark.parametrize(
    ("top1", "per_class", "words"),
    [(0.95, 50, "few pictures (50 a class), like"), (0.7, 50, "few pictures (50 a class), unlike"),
     (0.7, 900, "many pictures (900 a class), unlike")],
)  # fmt: skip
def test_the_plan_says_how_the_pictures_were_judged(top1: float, per_class: int, words: str) -> None:
    plan = plan_transfer(RECIPE, Forecast(0.01, 0.01), 1000, 200)
    found = adapted(plan, trial(top1), per_class, 200)
    assert found.choice.strategy == "full"
    assert found.choice.reason.startswith(words)
    assert found.choice.reason.endswith(plan.choice.reason)
    assert found.changes == plan.changes | {"head_fit": "logistic", "head_penalty": 0.1, "head_start": False}
    assert "class weights" in adapted(plan, trial(top1, balanced=True), per_class, 200).choice.reason


def test_nothing_is_tuned_where_validation_could_show_no_gain() -> None:
    """0.4 mistakes are expected of 200 pictures, and one of 500."""
    plan = plan_transfer(RECIPE, Forecast(0.01, 0.01), 1000, 200)
    assert adapted(plan, trial(0.998), 50, 500).choice.strategy == "full"
    found = adapted(plan, trial(0.998), 50, 200)
    assert "200 validation pictures" in found.choice.reason
    assert (found.choice.strategy, found.changes) == ("head", {"head_fit": "logistic", "head_penalty": 0.1})
    assert found.seconds == 12  # the features of 1,200 pictures


def test_an_overconfident_network_is_judged_by_what_it_knows() -> None:
    """Logits times ten know as much as the logits; their losses are the same at their own temperatures."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1, (500, 3))
    labels = (logits + generator.gumbel(0, 1, logits.shape)).argmax(1)
    plain, loud = losses_of(logits, labels), losses_of(logits * 10, labels)
    assert loud.temperature == pytest.approx(10 * plain.temperature, rel=0.02)
    assert loud.losses.mean() == pytest.approx(plain.losses.mean(), rel=1e-3)
    assert not judge(plain, loud).accepted
    assert np.array_equal(plain.right, logits.argmax(1) == labels)


def losses(values: Any) -> Losses:
    values = np.asarray(values, float)
    return Losses(values, values < np.log(2))


def test_equal_weights_keep_the_head() -> None:
    found = judge(losses([0.1, 0.5, 2.0]), losses([0.1, 0.5, 2.0]))
    assert (found.accepted, found.gain, found.error) == (False, 0, 0)
    assert "the head alone was kept" in found.reason
    assert [tried["kept"] for tried in found.tried("strategy", ("head", "full"))] == [True, False]


def test_a_clear_gain_is_accepted_with_its_figures() -> None:
    found = judge(losses([1.0, 0.5, 0.9, 0.4]), losses([0.4, 0.1, 0.2, 0.1]))
    assert found.accepted
    assert found.gain == pytest.approx(0.5)
    assert found.error == pytest.approx(np.std([0.6, 0.4, 0.7, 0.3], ddof=1) / 2)
    assert "50.0% right" in found.reason
    assert "100.0%" in found.reason


def test_near_copies_are_one_draw_together() -> None:
    """A set of eight copies gains, one of four loses: by pictures a clear gain, by sets noise."""
    simpler, other = losses([1.0] * 8 + [0.3] * 4), losses([0.5] * 8 + [0.6] * 4)
    assert judge(simpler, other).accepted
    found = judge(simpler, other, np.array([7] * 8 + [2] * 4))
    assert not found.accepted
    assert found.gain == judge(simpler, other).gain
    assert "over 2 sets of near-copies or groups" in found.reason
    assert "sets" not in judge(simpler, other, np.arange(12)).reason


def test_fewer_right_answers_are_never_accepted() -> None:
    assert not judge(losses([0.6, 0.6, 0.6]), losses([0.8, 0.01, 0.01])).accepted


@pytest.mark.parametrize(("truly_better", "least", "most"), [(-0.1, 0.0, 0.05), (0.0, 0.05, 0.25), (0.3, 0.85, 1.0)])
def test_how_often_noise_decides(truly_better: float, least: float, most: float) -> None:
    """200 validation sets of 100 pictures. The losses of both strategies share what makes a picture hard."""
    generator = np.random.default_rng(0)
    accepted = 0
    for _ in range(200):
        hard = generator.exponential(0.6, 100)
        head = np.maximum(0, hard + generator.normal(0, 0.4, 100))
        tuned = np.maximum(0, hard * (1 - truly_better) + generator.normal(0, 0.4, 100))
        accepted += judge(losses(head), losses(tuned)).accepted
    assert least <= accepted / 200 <= most


@pytest.fixture(scope="module")
def doubtful_folder(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs, a few of them in the other class, so that no head has all of them right."""
    root = tmp_path_factory.mktemp("doubtful")
    for path in photo_folder.glob("*/*.jpg"):
        other = {"stripes": "spots", "spots": "stripes"}[path.parent.name]
        folder = root / (other if int(path.stem) % 6 == 0 else path.parent.name)
        folder.mkdir(exist_ok=True)
        (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    return root


def judged(run: casebook.Run) -> dict[str, Any]:
    """What does not depend on how fast the machine was."""
    return {name: run.choice[name] for name in ("strategy", "reason", "tried")}


def bits(run: casebook.Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def test_a_run_says_what_it_tried_and_its_recipe_repeats_it(doubtful_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(doubtful_folder, out=tmp_path / "auto", **SETTINGS)
    tried = run.choice["tried"]
    kept = next(one for one in tried if one["kept"])
    assert [one["strategy"] for one in tried] == ["head", "full"]
    assert run.choice["strategy"] == kept["strategy"]
    assert run.choice["reason"] in run.evaluation["notes"]
    row = run.history[run.evaluation["validation"]["epoch"] - 1]
    assert row["phase"] == {"head": "head", "full": "tune"}[kept["strategy"]]
    assert row["val_top1"] == pytest.approx(kept["val_top1"])
    assert 0 < kept["val_loss"] <= row["val_loss"] + 0.01  # at its own temperature
    assert not (run.path / HEAD_FILE).exists()
    assert (run.recipe.transfer, run.recipe.keep_head, run.recipe.head_fit) == ("full", True, "logistic")
    assert run.recipe.head_penalty > 0
    head = run.choice["head"]
    assert head["penalty"] == run.recipe.head_penalty
    assert head["num_pictures"] == run.evaluation["pictures"]["train"]
    assert head["losses"][f"{head['penalty']:g}"] <= max(head["losses"].values())
    assert [row["phase"] for row in run.history] == ["head"] + ["tune"] * 5
    assert "cross-validation" in json.loads((run.path / "model.json").read_text())["plan"]
    again = casebook.train(recipe=run.path / "recipe.toml", out=tmp_path / "again")
    assert bits(again) == bits(run)
    assert judged(again) == judged(run)


def test_a_choice_goes_on_after_a_kill(doubtful_folder: Path, tmp_path: Path) -> None:
    whole = casebook.train(doubtful_folder, out=tmp_path / "whole", **SETTINGS)

    def stop(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.phase == "tune":
            raise Interrupted

    with pytest.raises(Interrupted):
        casebook.train(doubtful_folder, out=tmp_path / "cut", progress=stop, checkpoint_seconds=0, **SETTINGS)
    assert (tmp_path / "cut" / HEAD_FILE).is_file()
    resumed = casebook.train(resume=tmp_path / "cut")
    assert bits(resumed) == bits(whole)
    assert judged(resumed) == judged(whole)


def test_the_last_stages_are_judged_under_their_own_name(doubtful_folder: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"transfer": "last:1", "two_phase": True, "keep_head": True, "head_epochs": 3}
    run = casebook.train(doubtful_folder, out=tmp_path / "run", **settings)
    assert [one["strategy"] for one in run.choice["tried"]] == ["head", "last:1"]
    assert run.choice["strategy"] in ("head", "last:1")
    row = run.history[run.evaluation["validation"]["epoch"] - 1]
    assert row["phase"] == ("head" if run.choice["strategy"] == "head" else "tune")


def handful(photo_folder: Path, root: Path, count: int, *, copies: bool = False) -> Path:
    """`count` training pictures of each class, all the same where they are `copies`, and one for each other part."""
    for kind in sorted(photo_folder.iterdir()):
        pictures = sorted(kind.iterdir())
        for place, part in enumerate(["train"] * count + ["val", "test"]):
            folder = root / part / kind.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures[0 if copies and part == "train" else place], folder / f"{place}.jpg")
    return root


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_handful_of_pictures_is_enough_for_cross_validation(photo_folder: Path, tmp_path: Path, count: int) -> None:
    data = handful(photo_folder, tmp_path / "data", count)
    run = casebook.train(data, out=tmp_path / "run", **SETTINGS | {"epochs": 1})
    assert run.recipe.head_fit == "logistic"
    assert run.recipe.head_penalty > 0
    assert f"few pictures ({count} a class)" in json.loads((run.path / "model.json").read_text())["plan"]


def test_copies_of_one_picture_a_class_take_the_head_by_steps(photo_folder: Path, tmp_path: Path) -> None:
    data = handful(photo_folder, tmp_path / "data", 4, copies=True)
    run = casebook.train(data, out=tmp_path / "run", **SETTINGS | {"epochs": 1})
    assert run.recipe.head_fit == "steps"
    assert json.loads((run.path / "model.json").read_text())["plan"].startswith("too few pictures for cross-validation")
    with pytest.raises(DataError, match="give head_penalty"):
        casebook.train(data, out=tmp_path / "none", transfer="head", head_fit="logistic", **SETTINGS)
    given = casebook.train(
        data, out=tmp_path / "given", head_fit="logistic", head_penalty=0.3, **SETTINGS | {"epochs": 1}
    )
    assert (given.recipe.head_fit, given.recipe.head_penalty) == ("logistic", 0.3)


def test_a_large_set_takes_the_head_by_steps(
    doubtful_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResNet-20 has 64 features."""
    settings = SETTINGS | {"epochs": 1}
    fits = casebook.train(doubtful_folder, out=tmp_path / "fits", **settings)
    assert fits.recipe.head_fit == "logistic"
    monkeypatch.setattr(choosing, "MOST_SOLVED", fits.evaluation["pictures"]["train"] * 64 - 1)
    large = casebook.train(doubtful_folder, out=tmp_path / "large", **settings)
    assert (large.recipe.head_fit, "head" in large.choice) == ("steps", False)
    settings |= {"head_fit": "logistic", "head_penalty": 0.7}
    asked = casebook.train(doubtful_folder, out=tmp_path / "asked", **settings)
    assert (asked.recipe.head_fit, asked.recipe.head_penalty) == ("logistic", 0.7)


def test_no_time_leaves_the_head(doubtful_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(doubtful_folder, out=tmp_path / "run", time_budget_minutes=1e-4, **SETTINGS)
    assert run.choice["strategy"] == "head"
    assert run.choice["tried"] == []
    assert "time budget" in run.choice["reason"]
    assert {row["phase"] for row in run.history} == {"head"}
    assert json.loads((run.path / "model.json").read_text())["transfer"]["strategy"] == "head"


def test_a_logistic_head_needs_a_linear_last_layer(doubtful_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="last layer is linear"):
        casebook.train(
            doubtful_folder, out=tmp_path / "run", model="squeezenet1_0", head_fit="logistic", recipe="scratch"
        )
    assert not (tmp_path / "run").exists()


def test_a_logistic_head_alone_finds_its_penalty(doubtful_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(doubtful_folder, out=tmp_path / "run", transfer="head", head_fit="logistic", **SETTINGS)
    again = casebook.train(doubtful_folder, out=tmp_path / "again", transfer="head", head_fit="logistic", **SETTINGS)
    assert len(run.history) == 1
    assert run.history[0]["train_loss"] < run.history[0]["val_loss"]
    assert 0.5 < run.choice["head"]["top1"] < 1
    assert bits(run) == bits(again)
    assert run.evaluation["epochs"] == 1
