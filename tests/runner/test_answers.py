"""A bundle answers as the network that it was made from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import casebook
from casebook.errors import BundleError, PictureError
from casebook.runner.answers import Answerer, open_answerer
from casebook.runner.bundle import Bundle


@pytest.fixture(scope="module")
def answerer(small_bundle: Path) -> Answerer:
    return open_answerer(small_bundle, threads=1)


@pytest.fixture(scope="module")
def classifier() -> casebook.Classifier:
    """What `small_bundle` was made from."""
    torch.manual_seed(0)
    network, card = casebook.create_model("lenet5", num_classes=4), casebook.model_card("lenet5")
    return casebook.Classifier("small", network, card.preprocessing, tuple(f"digit_{i}" for i in range(4)))


@pytest.mark.parametrize("number", [1, 2, 7, 32])
def test_outputs_are_those_of_the_network(answerer: Answerer, classifier: casebook.Classifier, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (number, 32, 32, 1), np.uint8)
    ours, expected = answerer.infer(pixels), classifier.infer(pixels)
    assert ours.features.shape == (number, 84)
    for name in ours._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(expected.probabilities, classifier.answers(classifier.images(pixels)))


def test_pixels_are_those_of_training(answerer: Answerer, digit_folder: Path) -> None:
    path = digit_folder / "digit_0" / "000.png"
    expected = answerer.preprocessing.pixels(Image.open(path))
    np.testing.assert_array_equal(answerer.pixels(path), expected)
    np.testing.assert_array_equal(answerer.pixels(path.read_bytes()), expected)
    with pytest.raises(PictureError, match="upload 7: is empty"):
        answerer.pixels(b"", name="upload 7")


def test_answers(answerer: Answerer, classifier: casebook.Classifier, digit_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    pictures = [digit_folder / "digit_2" / "000.png", broken, digit_folder / "digit_3" / "000.png"]
    answers, expected = answerer.predict(pictures, top=2), classifier.predict(pictures, top=2)
    assert [answer.best for answer in answers] == [answer.best for answer in expected]
    assert answers[1].error == expected[1].error == "is not a picture of a known format, whatever its name says"
    assert answers[0].probability == pytest.approx(expected[0].probability, abs=1e-6)
    assert answerer.answer(pictures[2], top=2) == answers[2]
    np.testing.assert_allclose(
        answerer.probabilities(pictures[::2]), classifier.probabilities(pictures[::2]), atol=1e-6
    )


def test_what_cannot_be_opened_is_said(small_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no 'int8' network; it has float32"):
        open_answerer(small_bundle, network="int8")
    with pytest.raises(BundleError, match="engine is 'onnxrt'; did you mean 'onnxruntime'"):
        open_answerer(small_bundle, engine="onnxrt")


def test_a_network_that_does_not_fit_its_bundle_is_refused(small_bundle: Path) -> None:
    """As a forger could put them together; what export writes fits."""
    bundle = Bundle.open(small_bundle)
    pixels = np.zeros((2, 32, 32, 1), np.uint8)
    few = Answerer(dataclasses.replace(bundle, classes=bundle.classes[:3]), threads=1)
    with pytest.raises(BundleError, match=r"gives probabilities of shape \(2, 4\) for 2 pictures and 3 classes"):
        few.infer(pixels)
    with pytest.raises(BundleError, match="onnxruntime cannot compute the network"):
        Answerer(bundle, threads=1).infer(np.zeros((2, 33, 33, 1), np.uint8))
