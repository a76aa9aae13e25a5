"""Export writes a bundle only if it answers like the network, and the same bytes each time."""

import json
from pathlib import Path

import pytest
import torch

import casebook
from casebook.deployment import export as export_room
from casebook.deployment.export import ExportSettings, export_bundle
from casebook.errors import BundleError
from casebook.progress import Advanced, Event, Remark
from casebook.runner.bundle import Bundle


@pytest.fixture(scope="module")
def classifier() -> casebook.Classifier:
    torch.manual_seed(0)
    network, card = casebook.create_model("lenet5", num_classes=4), casebook.model_card("lenet5")
    return casebook.Classifier("small", network, card.preprocessing, tuple(f"digit_{i}" for i in range(4)))


def test_two_exports_are_equal_byte_for_byte(
    classifier: casebook.Classifier, small_bundle: Path, tmp_path: Path
) -> None:
    again = export_bundle(classifier, tmp_path / "small.casebook").path
    assert again.read_bytes() == small_bundle.read_bytes()


def test_own_golden_pictures_travel_and_are_announced(
    classifier: casebook.Classifier, photo_folder: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    settings = ExportSettings(golden=photo_folder / "spots")
    exported = export_bundle(classifier, tmp_path / "own.casebook", settings, events.append)
    bundle = Bundle.open(exported.path)
    own = [picture for picture in bundle.manifest["golden"] if picture["file"].startswith("golden/own-")]
    assert len(own) == 24
    assert bundle.read(own[3]["file"]) == (photo_folder / "spots" / "03.jpg").read_bytes()
    assert any(isinstance(event, Remark) and "24 pictures" in event.text for event in events)
    assert [event.done for event in events if isinstance(event, Advanced)] == [0, 1, 2, 3, 4, 5]


def test_a_network_that_answers_otherwise_is_not_exported(
    classifier: casebook.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the exported network has another bias than the classifier."""
    other = casebook.create_model("lenet5", num_classes=4)
    other.load_state_dict(classifier.model.state_dict())
    with torch.no_grad():
        other.head.classifier.bias += torch.tensor([0.01, 0, 0, 0])  # pyright: ignore
    graph = export_room.export_graph
    monkeypatch.setattr(export_room, "export_graph", lambda one: graph(one.with_model(other)))
    with pytest.raises(BundleError, match=r"answers otherwise than torch, by up to .*e-03 at golden/"):
        export_bundle(classifier, tmp_path / "other.casebook")
    assert not (tmp_path / "other.casebook").exists()


def test_a_network_whose_weights_are_not_finite_is_not_exported(
    classifier: casebook.Classifier, tmp_path: Path
) -> None:
    broken = casebook.create_model("lenet5", num_classes=4)
    with torch.no_grad():
        broken.head.classifier.bias[2] = float("nan")  # pyright: ignore
    with pytest.raises(BundleError, match="the network itself gives a probability that is not a number"):
        export_bundle(classifier.with_model(broken), tmp_path / "broken.casebook")
    assert not (tmp_path / "broken.casebook").exists()


def test_an_operator_that_onnx_lacks_is_named(classifier: casebook.Classifier, tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, images):
            return torch.special.bessel_j0(images.mean((1, 2, 3))[:, None].expand(-1, 4))

    with pytest.raises(BundleError, match="bessel_j0"):
        export_bundle(classifier.with_model(Odd()), tmp_path / "odd.casebook")


@pytest.mark.parametrize("out", ["flowers", "flowers.zip"])
def test_the_name_of_a_bundle_is_checked_first(out: str, classifier: casebook.Classifier, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"ends in \.casebook"):
        export_bundle(classifier, tmp_path / out)


def test_nothing_in_a_bundle_names_this_machine(small_bundle: Path) -> None:
    content = small_bundle.read_bytes()
    assert str(Path(casebook.__file__).parents[2]).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_the_card_says_what_is_known(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    text = bundle.read("MODEL_CARD.md").decode()
    assert "into 4 classes: digit_0, digit_1, digit_2, digit_3." in text
    assert "None was measured" in text
    assert bundle.manifest["provenance"]["network"] == "lenet5"
    assert "Apache-2.0" in bundle.read("LICENCES.md").decode()
    json.dumps(bundle.manifest, allow_nan=False)
