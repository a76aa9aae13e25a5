"""LiteRT, Core ML and Keras: what can be checked without their packages, and the conversion where they are there."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import casebook
from casebook.deployment import keras_file
from casebook.errors import BundleError


@pytest.fixture(scope="module")
def classifier() -> casebook.Classifier:
    torch.manual_seed(0)
    network = casebook.create_model("resnet20", num_classes=3)
    preprocessing = casebook.model_card("resnet20").preprocessing
    return casebook.Classifier("small", network, preprocessing, ("a", "b", "b"))


@pytest.mark.parametrize(("export", "package", "suffix"), [
    (casebook.export_litert, "litert_torch", ".tflite"), (casebook.export_coreml, "coremltools", ".mlpackage"),
])  # fmt: skip
def test_what_is_missing_or_misnamed_is_said(
    classifier: casebook.Classifier, export, package: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BundleError, match=rf"{package} is not installed; pip install 'casebook\["):
        export(classifier, tmp_path / f"small{suffix}")
    with pytest.raises(BundleError, match=rf"ends in \{suffix}"):
        export(classifier, tmp_path / "small.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_litert_answers_as_torch_does(classifier: casebook.Classifier, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    out = tmp_path / "small.tflite"
    assert casebook.export_litert(classifier, out) < 1e-5
    assert out.read_bytes()[4:8] == b"TFL3"
    assert json.loads(out.with_suffix(".json").read_text())["classes"] == ["a", "b", "b"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_coreml_takes_an_image_and_names_the_class(classifier: casebook.Classifier, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools")
    out = tmp_path / "small.mlpackage"
    casebook.export_coreml(classifier, out)
    description = coremltools.utils.load_spec(str(out)).description
    assert (description.input[0].type.imageType.width, description.predictedFeatureName) == (32, "classLabel")
    with pytest.raises(BundleError, match="exists already"):
        casebook.export_coreml(classifier, out)


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_keras_answers_as_torch_does(classifier: casebook.Classifier, tmp_path: Path, keras: Any) -> None:
    out = tmp_path / "small.keras"
    assert casebook.export_keras(classifier, out) < 1e-5
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    answers = keras.ops.convert_to_numpy(keras.saving.load_model(out)(pixels.astype(np.float32), training=False))
    assert answers == pytest.approx(classifier.infer(pixels).probabilities, abs=1e-5)
    assert json.loads(out.with_suffix(".json").read_text())["classes"] == ["a", "b", "b"]
    with pytest.raises(BundleError, match=r"ends in \.keras"):
        casebook.export_keras(classifier, tmp_path / "small.h5")


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("keras")
def test_a_keras_file_that_answers_otherwise_is_not_written(
    classifier: casebook.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_file, "_difference", lambda *_: float("nan"))
    with pytest.raises(BundleError, match="answers otherwise than torch"):
        casebook.export_keras(classifier, tmp_path / "small.keras")
    assert list(tmp_path.iterdir()) == []
