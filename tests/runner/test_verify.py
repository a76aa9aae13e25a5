"""`verify` tells a decoder that differs from an engine that differs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from casebook.errors import BundleError
from casebook.runner import bundle as bundle_module
from casebook.runner import engine
from casebook.runner.answers import open_answerer
from casebook.runner.bundle import Bundle
from casebook.runner.engine import OnnxRuntime, Outputs
from casebook.runner.verify import check_network, verify


def test_a_bundle_verifies_where_it_was_made(small_bundle: Path) -> None:
    found = verify(Bundle.open(small_bundle), threads=1)
    assert found.is_passed
    assert found.decoded >= 16
    assert found.other_pixels == {}
    (check,) = found.networks
    assert set(check.differences) == {1, 2, 7, 32}
    assert 0 <= check.worst < 1e-5
    assert found.lines()[-1] == "verified"


def test_another_decoder_is_named(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = bundle_module.open_picture

    def other(source, *, name, **options):
        picture = opened(source, name=name, **options)
        return picture.transpose(0) if name.endswith("001.jpg") else picture  # EXIF ignored, say

    monkeypatch.setattr(bundle_module, "open_picture", other)
    found = verify(Bundle.open(small_bundle), threads=1, sizes=(2,))
    assert list(found.other_pixels) == ["golden/001.jpg"]
    assert "EXIF orientation 6" in found.other_pixels["golden/001.jpg"]
    assert not found.is_passed
    assert found.networks[0].is_passed  # the engine is right for the pictures that were decoded alike


@pytest.mark.parametrize("wrong", [0.001, float("nan")])
def test_an_engine_that_differs_is_found(small_bundle: Path, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    class Other(OnnxRuntime):
        def __call__(self, pixels):
            outputs = super().__call__(pixels)
            off = np.float32(wrong if len(pixels) == 7 else 0)
            return outputs._replace(probabilities=outputs.probabilities + off)

    monkeypatch.setitem(engine.CLASSES, "onnxruntime", Other)
    found = verify(Bundle.open(small_bundle), threads=1)
    assert not found.is_passed
    assert found.other_pixels == {}
    differences = found.networks[0].differences
    assert max(differences[1], differences[2], differences[32]) < 1e-5
    assert not differences[7] < 1e-4
    assert found.lines()[-1].startswith("NOT VERIFIED")
    assert (found.to_dict()["networks"][0]["differences"]["7"] is None) == np.isnan(wrong)


def test_check_network_names_the_picture_that_differs_most() -> None:
    expected = np.zeros((5, 3), np.float32)

    class Engine:
        name, threads = "made up", 1

        def __call__(self, pixels):
            probabilities = np.zeros((len(pixels), 3), np.float32)
            probabilities[:, 1] = pixels[:, 0, 0, 0] / 100
            return Outputs(probabilities, probabilities, probabilities)

    pixels = np.array([1, 5, 30, 2, 0], np.uint8).reshape(5, 1, 1, 1)
    differences, worst = check_network(Engine(), pixels, expected)
    assert differences == pytest.approx({1: 0.3, 2: 0.3, 7: 0.3, 32: 0.3})
    assert worst == 2


def test_the_pictures_are_compared_with_the_answers_of_torch(small_bundle: Path) -> None:
    """The expected probabilities are those of the network before its export, not the exported file's own."""
    from casebook.runner.verify import expected_probabilities, golden_pixels

    bundle = Bundle.open(small_bundle)
    _, pixels, _ = golden_pixels(bundle)
    ours = open_answerer(small_bundle, threads=1).infer(pixels).probabilities
    expected = expected_probabilities(bundle, "float32")
    assert expected.shape == (len(pixels), 4)
    assert 0 < np.abs(ours - expected).max() < 1e-5


def test_expected_answers_of_another_shape_are_refused(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(small_bundle)
    monkeypatch.setattr(Bundle, "numbers", lambda *_: np.zeros((22, 5), np.float32))
    with pytest.raises(BundleError, match=r"has the shape \(22, 5\), expected \(22, 4\)"):
        verify(bundle, threads=1, sizes=(1,))


def test_more_golden_pictures_than_fit_into_memory_are_refused(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    large = dataclasses.replace(bundle.preprocessing, size=4096)
    bundle = dataclasses.replace(bundle, preprocessing=large, manifest=bundle.manifest | {"golden": [{}] * 200})
    with pytest.raises(BundleError, match="200 golden pictures of 4096 pixels, more than fit"):
        verify(bundle)
