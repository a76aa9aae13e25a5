"""Strategies start alike, learn what they say and nothing else, and the study runs with and without weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from casebook.errors import DataError
from casebook.models import create_model
from casebook.models.weights import Weights, read_weights, save_weights
from casebook.studies import transfer
from casebook.studies.experiment import Experiment, find_study, run_study
from casebook.studies.transfer import STRATEGIES, STUDY, TransferPlan
from casebook.studies.trials import learning_parts

from .conftest import make_experiment

CPU = torch.device("cpu")
SHORT = TransferPlan((2,), 1, 32, {"most_per_class": 6, "most_test_per_class": 4}, source_epochs=1)


def experiment(folder: Path, **settings) -> Experiment:
    return make_experiment(STUDY, folder, **settings)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUICK_HALVES", "QUICK_WEIGHTS", "FULL_HALVES", "FULL_WEIGHTS"):
        monkeypatch.setattr(transfer, name, SHORT)
    monkeypatch.setattr(transfer, "RATES", (0.1, 0.03, 0.1))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("scratch", {"stem", "stages", "head"}), ("head", {"head"}), ("last stage", {"stages", "head"}),
     ("everything", {"stem", "stages", "head"})],
)  # fmt: skip
def test_a_strategy_changes_its_own_parts_alone(name: str, parts: set[str]) -> None:
    network = create_model("resnet20", num_classes=3, in_channels=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    learning, start = learning_parts(network, strategy=STRATEGIES[name], folded_norms=False)
    start()
    weights = [weight for _, part, _ in learning for weight in part.parameters()]
    optimiser = torch.optim.SGD(weights, 0.1)
    network(torch.randn(4, 1, 8, 8)).square().sum().backward()  # type: ignore[union-attr]
    optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.partition(".")[0] for key in changed} == parts
    if name == "last stage":
        assert {key.split(".")[1] for key in changed if key.startswith("stages")} == {"2"}


def test_the_study_on_halves_of_the_digits(short: None, tmp_path: Path) -> None:
    result = run_study(experiment(tmp_path))
    assert [arm["name"] for arm in result["arms"]] == [
        "source network", *(f"{name}, {size} a class" for size in (2, 6) for name in STRATEGIES)
    ]  # fmt: skip
    assert len(result["verdicts"]) == 4
    assert [len(table["rows"]) for table in result["tables"]] == [2, 2]
    assert result["pictures"][0]["svg"].startswith("<svg")
    assert any("classes 0, 1, 2, 3, 4" in note and "5, 6, 7, 8, 9" in note for note in result["notes"])
    assert len(list((tmp_path / "runs").iterdir())) == 1 + 8 * 2  # two rates for one seed of each arm


def test_transferred_networks_start_with_the_source_and_a_new_head(short: None, tmp_path: Path) -> None:
    bench = experiment(tmp_path)
    pictures, start = transfer._from_half(bench, SHORT)
    source = next((tmp_path / "runs").iterdir()) / "model.safetensors"
    kept, _ = read_weights(source)
    network = start.transferred()
    for key, value in network.state_dict().items():
        if not key.startswith("head.classifier"):
            assert torch.equal(value, kept[key]), key
    assert len(network.head.classifier.weight) == pictures.num_classes == 5  # type: ignore[arg-type]
    assert not torch.equal(start.scratch().stem.conv.weight, network.stem.conv.weight)  # type: ignore[union-attr]


def test_given_weights_are_the_start(short: None, tmp_path: Path, photo_folder: Path) -> None:
    network = create_model("mobilenet_v2_035", num_classes=7)
    file = tmp_path / "some.safetensors"
    save_weights(file, network.state_dict(), {"input": "128x128 RGB, x/127.5-1"})
    model = "mobilenet_v2_035"
    bench = experiment(tmp_path, data=str(photo_folder), pretrained=(model, str(file)))
    pictures, start = transfer._from_weights(bench, SHORT, model, transfer.resolve(file, model))
    assert pictures.preprocessing.size == 96
    assert pictures.preprocessing.mean == (0.5, 0.5, 0.5)
    made = start.transferred()
    assert torch.equal(made.stem.conv.weight, network.stem.conv.weight)  # type: ignore[union-attr]
    assert len(made.head.classifier.weight) == 2  # type: ignore[arg-type]
    assert any("which --full uses" in note for note in bench.findings.notes)


def test_the_whole_study_with_weights(short: None, tmp_path: Path, photo_folder: Path) -> None:
    file = tmp_path / "run.safetensors"
    save_weights(file, create_model("resnet20", num_classes=4).state_dict(), {})
    result = run_study(experiment(tmp_path, data=str(photo_folder), pretrained=("resnet20", str(file))))
    assert len(result["verdicts"]) == 4
    assert len(result["arms"]) == 8


def test_weights_that_come_with_the_package_are_the_start_for_colours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path
) -> None:
    assert transfer._wanted_weights(experiment(tmp_path)) == ("resnet20", "")  # the digits are grey
    packaged = SimpleNamespace(weights=(SimpleNamespace(name="cifar10"),))
    monkeypatch.setattr(transfer, "model_card", lambda name: packaged)
    assert transfer._wanted_weights(experiment(tmp_path)) == ("resnet20", "")
    assert transfer._wanted_weights(experiment(tmp_path, data=str(photo_folder))) == ("resnet20", "cifar10")
    assert transfer._wanted_weights(experiment(tmp_path, data=str(photo_folder), pretrained=("vgg11", "imagenet"))) == (
        "vgg11",
        "imagenet",
    )
    monkeypatch.setattr(transfer, "model_card", lambda name: SimpleNamespace(weights=()))
    assert transfer._wanted_weights(experiment(tmp_path, data=str(photo_folder))) == ("resnet20", "")


def test_weights_of_the_same_classes_have_perhaps_seen_the_pictures(photo_folder: Path) -> None:
    def known(*classes: str) -> bool:
        weights = Weights({}, "", "", len(classes), classes=classes or None)
        return transfer._knows(weights, str(photo_folder))

    assert known("stripes", "spots")
    assert not known("stripes", "spots", "dots")
    assert not known()


def test_two_classes_cannot_be_halved(
    short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path
) -> None:
    monkeypatch.setattr(transfer, "_wanted_weights", lambda experiment: ("resnet20", ""))
    with pytest.raises(DataError, match="has 2 classes, expected at least 4"):
        run_study(experiment(tmp_path, data=str(photo_folder)))


@pytest.mark.slow
def test_the_full_study(short: None, tmp_path: Path, digit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_wanted_weights", lambda experiment: ("resnet20", ""))
    monkeypatch.setattr(transfer, "STRATEGIES", {name: STRATEGIES[name] for name in ("scratch", "head", "everything")})
    result = run_study(experiment(tmp_path, mode="full", data=str(digit_folder)))
    assert result["mode"] == "full"
    assert any("20 layers" in note for note in result["notes"])


def test_it_is_found_by_name() -> None:
    assert find_study("transfer") is STUDY
