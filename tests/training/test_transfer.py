import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import casebook
from casebook.errors import RecipeError
from casebook.evaluation.evidence import gather_evidence, read_evidence
from casebook.evaluation.labelled import own_data
from casebook.models import create_model
from casebook.models.weights import save_weights
from casebook.progress import Advanced, Event, ScoringStarted
from casebook.training.recipe import make_recipe
from casebook.training.run import Run
from casebook.training.transfer import Frozen, after_training, choose_transfer, parts


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ResNet-20 weights for 10 classes with batch-norm statistics that are not the initial ones."""
    torch.manual_seed(3)
    network = create_model("resnet20", num_classes=10)
    network.train()
    for _ in range(3):
        network(torch.randn(16, 3, 32, 32) + 0.3)
    path = tmp_path_factory.mktemp("weights") / "resnet20.safetensors"
    save_weights(path, network.state_dict(), {"architecture": "resnet20"})
    return path


@pytest.fixture(scope="module")
def photos(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs of each class. Not to be changed: copy them."""
    folder = tmp_path_factory.mktemp("photos")
    for path in photo_folder.glob("*/0?.jpg"):
        (folder / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    return folder


def recipe(**settings: Any):
    return make_recipe("transfer", **({"data": "x", "weights": "w", "model": "resnet20"} | settings))


@pytest.mark.parametrize(
    ("per_class", "two_phase", "strategy"),
    [
        (20, False, "head"),
        (499, False, "head"),
        (500, False, "last:2"),
        (1999, False, "last:2"),
        (2000, False, "full"),
        (20, True, "last:2"),
        (5000, True, "full"),
    ],
)
def test_auto_picks_by_pictures_a_class_and_says_why(per_class: int, two_phase: bool, strategy: str) -> None:
    choice = choose_transfer(recipe(transfer="auto", two_phase=two_phase), per_class)
    assert choice.strategy == strategy
    assert str(per_class) in choice.reason


def test_without_weights_everything_learns() -> None:
    choice = choose_transfer(make_recipe("scratch", data="x", transfer="auto"), 10)
    assert choice.strategy == "none"
    assert "no weights" in choice.reason


def test_rates_fall_toward_the_stem() -> None:
    network = create_model("resnet20")
    scales = {name: scale for name, _, scale in parts(network, "full", recipe(backbone_scale=0.1, stage_decay=0.5))}
    assert scales == {"head": 1.0, "stage 3": 0.1, "stage 2": 0.05, "stage 1": 0.025, "stem": 0.0125}
    assert [name for name, _, _ in parts(network, "last:2", recipe())] == ["head", "stage 3", "stage 2"]
    heads = create_model("googlenet", num_classes=2, auxiliary_heads=1)
    assert [name for name, _, _ in parts(heads, "last:1", recipe())] == ["head", "stage 3", "auxiliary heads"]
    assert [name for name, _, _ in parts(network, "head", recipe())] == ["head"]
    with pytest.raises(RecipeError, match="3 stages"):
        parts(network, "last:4", recipe())


def test_frozen_norms_stay_in_evaluation_mode() -> None:
    network = create_model("resnet20")
    frozen = Frozen(network, parts(network, "last:1", recipe()))
    frozen.train()
    norms = {name: m.training for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(training == name.startswith("stages.2") for name, training in norms.items())
    assert any(norms.values())
    folded = Frozen(network, parts(network, "full", recipe()), folded_norms=True)
    folded.train()
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(w.requires_grad for w in network.parameters())


def bits(network: nn.Module, prefix: str) -> dict[str, bytes]:
    return {
        name: value.detach().numpy().tobytes()
        for name, value in network.state_dict().items()
        if name.startswith(prefix)
    }


def train(weights_file: Path, data: Path, out: Path, **settings: Any) -> Run:
    defaults: dict[str, Any] = {
        "model": "resnet20", "weights": str(weights_file), "epochs": 2, "batch_size": 8, "workers": 0,
        "near_duplicates": False, "device": "cpu", "warmup_epochs": 0,
    }  # fmt: skip
    return casebook.train(data, out=out, **(defaults | settings))


@pytest.mark.parametrize(
    ("strategy", "kept", "learnt"),
    [
        ("head", ("stem", "stages"), ("head",)),
        ("last:1", ("stem", "stages.0", "stages.1"), ("stages.2", "head")),
        ("last:2", ("stem", "stages.0"), ("stages.1", "stages.2", "head")),
        ("full", (), ("stem", "stages.0", "stages.1", "stages.2", "head")),
    ],
)
def test_frozen_weights_and_statistics_do_not_change_by_one_bit(
    weights_file: Path,
    photos: Path,
    tmp_path: Path,
    strategy: str,
    kept: tuple[str, ...],
    learnt: tuple[str, ...],
) -> None:
    run = train(weights_file, photos, tmp_path / "run", transfer=strategy, weight_decay=0.1)
    before, after = create_model("resnet20", weights=weights_file), run.network()
    for prefix in kept:
        assert bits(after, prefix) == bits(before, prefix)
    for prefix in learnt:
        now, then = bits(after, prefix), bits(before, prefix)
        if prefix == "head":
            continue  # replaced
        assert all(now[name] != then[name] for name in now if not name.endswith("num_batches_tracked"))


def test_two_phases_train_the_head_first(weights_file: Path, photos: Path, tmp_path: Path) -> None:
    run = train(weights_file, photos, tmp_path / "run", transfer="last:1", two_phase=True, head_epochs=3)
    assert [row["phase"] for row in run.history] == ["head"] * 3 + ["tune"] * 2
    before, after = create_model("resnet20", weights=weights_file), run.network()
    assert bits(after, "stages.1") == bits(before, "stages.1")


def test_cached_features_are_reused_and_equal_the_network(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    first = train(weights_file, photos, tmp_path / "a", transfer="head", precision="fp32")
    assert first.evaluation["features"]["computed"] > 0
    said = "the last layer (10 classes in the weights) was replaced and trained here"
    assert said in first.evaluation["notes"]
    report = (first.path / "report.html").read_text("utf-8")
    assert said in report
    assert "untrained" not in report
    kept = first.evaluation["validation"]["epoch"]
    assert f"The weights are those of epoch {kept}, which had the highest validation accuracy" in report
    again = train(weights_file, photos, tmp_path / "b", transfer="head", precision="fp32", learning_rate=0.01)
    pictures = first.evaluation["pictures"]
    assert again.evaluation["features"] == {"computed": 0, "cached": pictures["train"] + pictures["val"]}
    # The validation that the head saw on cached features is what the whole network gives on the pictures.
    scored = casebook.evaluate(again.path, split="val")
    assert scored.top1 == pytest.approx(again.evaluation["validation"]["top1"])
    assert scored.scores.log_loss == pytest.approx(again.evaluation["validation"]["loss"], rel=1e-4)
    other = train(weights_file, photos, tmp_path / "c", transfer="head", precision="fp32", seed=5)
    assert other.evaluation["features"]["computed"] < pictures["test"] * 2  # another split shares most pictures


def test_a_head_is_scored_and_judged_by_cached_features(weights_file: Path, photos: Path, tmp_path: Path) -> None:
    """They are in the arithmetic of an answer, whatever that of training was."""
    asked: list[int] = []

    def hear(event: Event) -> None:
        if isinstance(event, Advanced) and event.task == "evaluate":
            asked.append(event.total)

    run = train(weights_file, photos, tmp_path / "a", transfer="head", precision="bf16", progress=hear)
    assert not asked
    left, again = read_evidence(run), gather_evidence(casebook.load(run.path), own_data(run))
    assert left.num_pictures == run.evaluation["pictures"]["val"]
    assert left.margins == pytest.approx(again.margins, abs=1e-5)
    assert left.wrong.tolist() == again.wrong.tolist()
    scored = casebook.evaluate(run.path, split="val")
    assert scored.scores.log_loss == pytest.approx(run.evaluation["validation"]["loss"], rel=1e-6)
    tested = casebook.evaluate(run.path)
    assert tested.scores.log_loss == pytest.approx(run.evaluation["test"]["log_loss"], rel=1e-6)
    assert tested.scores.top1 == run.evaluation["test"]["top1"]


def test_a_head_is_scored_without_a_test_picture_that_is_gone(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))  # where another test has left no features
    shutil.copytree(photos, tmp_path / "data")
    data = casebook.load_data(tmp_path / "data")
    gone = data.source.pictures[data.split.test[0]].name

    def hear(event: Event) -> None:
        if isinstance(event, ScoringStarted):
            (tmp_path / "data" / gone).unlink()

    run = train(weights_file, tmp_path / "data", tmp_path / "run", transfer="head", progress=hear)
    assert [skipped["picture"] for skipped in run.evaluation["skipped"]] == [gone]
    assert run.evaluation["test"]["n"] == len(data.split.test) - 1


def test_augmented_views_are_cached_too(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    run = train(weights_file, photos, tmp_path / "a", transfer="head", feature_views=3)
    pictures = run.evaluation["pictures"]
    assert run.evaluation["features"]["computed"] == 3 * pictures["train"] + pictures["val"]


def test_views_of_another_policy_or_form_are_other_features(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    changes: tuple[dict, ...] = ({}, {"policy": "light"}, {"prepared": "jpeg"}, {"augment": {"hue": 9}})
    for number, settings in enumerate(changes):
        run = train(weights_file, photos, tmp_path / str(number), transfer="head", feature_views=2, **settings)
        pictures = run.evaluation["pictures"]
        assert run.evaluation["features"]["computed"] == 2 * pictures["train"] + (0 if number else pictures["val"])
    again = train(weights_file, photos, tmp_path / "again", transfer="head", feature_views=2)
    assert again.evaluation["features"]["computed"] == 0


def test_a_policy_without_views_gets_a_note(weights_file: Path, photos: Path, tmp_path: Path) -> None:
    run = train(weights_file, photos, tmp_path / "a", transfer="head", policy="light")
    assert any("which is not augmented: see feature_views" in note for note in run.evaluation["notes"])
    quiet = train(weights_file, photos, tmp_path / "b", transfer="head")
    assert not any("feature_views" in note for note in quiet.evaluation["notes"])


def test_a_damaged_feature_is_computed_again(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    first = train(weights_file, photos, tmp_path / "a", transfer="head")
    with sqlite3.connect(tmp_path / "cache" / "features.sqlite") as database:
        key, value = database.execute("SELECT key, value FROM entries").fetchone()
        damaged = np.frombuffer(value, np.uint8) + 1
        database.execute("UPDATE entries SET value = ? WHERE key = ?", [damaged.tobytes(), key])
    database.close()
    again = train(weights_file, photos, tmp_path / "b", transfer="head")
    assert again.evaluation["features"]["computed"] == 1
    assert again.test == first.test


def test_a_head_without_weights_says_so(digit_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("lenet5_1998").state_dict(), {"architecture": "lenet5_1998"})
    with pytest.raises(RecipeError, match="no weights to learn"):
        train(path, digit_folder, tmp_path / "r", model="lenet5_1998", transfer="head")


def test_the_same_weights_under_other_options_are_other_features(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    state = create_model("mobilenet_v2_035").state_dict()
    for padding in ("symmetric", "same"):
        path = tmp_path / f"{padding}.safetensors"
        save_weights(path, state, {"architecture": "mobilenet_v2_035", "padding": padding})
        run = train(path, photos, tmp_path / padding, model="mobilenet_v2_035", transfer="head", input_size=64)
        assert run.evaluation["features"]["cached"] == 0


def test_augmented_views_do_not_depend_on_the_data_set(
    weights_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = tmp_path / "smaller"
    shutil.copytree(photos, smaller)
    (smaller / "spots" / "00.jpg").unlink()  # every later picture has another index
    results = []
    for cache, warm in (("cold", False), ("warm", True)):
        monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / cache))
        if warm:
            train(weights_file, smaller, tmp_path / "other", transfer="head", feature_views=2)
        run = train(weights_file, photos, tmp_path / cache / "run", transfer="head", feature_views=2)
        results.append((run.path / "model.safetensors").read_bytes())
    assert results[0] == results[1]


def test_notes_of_loading_read_as_past_when_the_training_is_over(weights_file: Path) -> None:
    from casebook.models.weights import load_into, resolve

    notes = load_into(create_model("resnet20", num_classes=3), resolve(weights_file, "resnet20"), replace_head=True)
    assert notes == ["the last layer (10 classes in the weights) is new and untrained"]
    assert after_training(notes, "full") == ["the last layer (10 classes in the weights) was replaced and trained here"]
    heads = ["the auxiliary heads are new and untrained", "something else"]
    assert after_training(heads, "full") == ["the auxiliary heads were new and trained here", "something else"]
    assert after_training(heads, "head") == heads  # the head alone trains no others
