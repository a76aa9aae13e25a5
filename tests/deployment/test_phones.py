"""LiteRT and Core ML: what can be checked without their packages, and the conversion where they are installed."""

import json
import sys
from pathlib import Path

import pytest
import torch

import casebook
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
