"""casebook.features: what the last layer sees, computed once."""

from pathlib import Path

import numpy as np
import pytest
import torch

import casebook
from casebook.device import using_threads
from casebook.errors import DataError
from casebook.models.weights import save_weights


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a ResNet-20 for 7 classes; features go to a cache of their own."""
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = casebook.create_model("resnet20", num_classes=7)
    save_weights(tmp_path / "w.safetensors", network.state_dict(), {"architecture": "resnet20"})
    return tmp_path / "w.safetensors"


def test_features_are_what_the_last_layer_sees(weights: Path, photo_folder: Path) -> None:
    found = casebook.features("resnet20", photo_folder / "spots", weights=weights)
    assert found.values.shape == (24, 64)
    assert found.labels is None
    classifier = casebook.load("resnet20", weights=weights)
    with torch.inference_mode():
        logits = classifier.model.head.classifier(torch.from_numpy(found.values))  # type: ignore[union-attr, operator]
    expected = classifier.probabilities(photo_folder / "spots")
    assert torch.softmax(logits, 1).numpy() == pytest.approx(expected, abs=1e-5)


def test_they_are_computed_once(weights: Path, photo_folder: Path) -> None:
    data = casebook.load_data(photo_folder)
    first = casebook.features("resnet20", data.train, weights=weights)
    assert first.labels is not None
    assert first.labels.tolist() == data.train.labels.tolist()
    network = casebook.create_model("resnet20", weights=weights)
    again = casebook.features(network, data.train)
    assert np.array_equal(again.values, first.values)
    assert again.names == first.names
    assert (first.num_computed, again.num_computed) == (len(data.train), 0)


def test_threads_share_the_batches_and_change_no_bit(
    weights: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, found = casebook.load_data(photo_folder), {}
    for number in (1, 3):
        monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / f"cache of {number}"))
        with using_threads(number):
            found[number] = casebook.features("resnet20", data.train, weights=weights)
            assert torch.get_num_threads() == number
    assert found[3].num_computed == len(data.train) > 16, "more than a batch"
    assert found[3].names == found[1].names
    assert np.array_equal(found[3].values, found[1].values)


def test_what_has_no_features_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        casebook.features("resnet20", tmp_path / "none.jpg", weights=weights)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not one of the 1 pictures"):
        casebook.features("resnet20", tmp_path / "bad.jpg", weights=weights)
