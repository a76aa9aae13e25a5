"""Pictures say what the numbers say."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from casebook.data.lists import ClassEntry
from casebook.errors import ModelError
from casebook.evaluation.classifier import Classifier
from casebook.explanation import drawing
from casebook.explanation.class_sheets import explain_occlusion
from casebook.explanation.overlays import overlays
from casebook.explanation.sheet import Settings
from casebook.explanation.views import displayed, look
from casebook.preprocessing import Preprocessing

from .conftest import with_statistics


def test_signs_are_brighter_and_darker_than_grey() -> None:
    pattern = np.zeros((1, 1, 5), np.float32)
    pattern[0, 0] = [-2, -1, 0, 1, 2]
    pixels = np.asarray(drawing.signed_picture(pattern, 2.0))[0, :, 0].tolist()
    assert pixels == [0, 64, 128, 191, 255]
    assert set(np.asarray(drawing.signed_picture(0 * pattern)).ravel().tolist()) == {128}


def test_colours_of_a_pattern_are_its_channels() -> None:
    pattern = np.zeros((3, 1, 3), np.float32)
    pattern[[0, 1, 2], 0, [0, 1, 2]] = 1
    pixels = np.asarray(drawing.signed_picture(pattern, 1.0))[0]
    assert pixels.argmax(1).tolist() == [0, 1, 2]


def test_an_overlay_shows_where_the_map_is() -> None:
    grey = Image.new("RGB", (64, 64), (120, 120, 120))
    shares = np.zeros((8, 8), np.float32)
    shares[:, 4:] = 1
    over = np.asarray(drawing.overlay(grey, shares)).astype(int)
    assert (over[:, :20] == 120).all()
    assert np.abs(over[:, 44:] - 120).max() > 50
    nothing = drawing.overlay(grey, np.full((8, 8), 0.5), drawing.BALANCE)
    assert np.asarray(nothing).tolist() == np.asarray(grey).tolist()


@pytest.mark.parametrize("text", ["", "short", "a much longer text that does not fit", "wordwithoutanyspacesatall" * 3])
def test_text_fits(text) -> None:
    for line in drawing.lines_of(text, 120, 13):
        assert drawing.font(13).getlength(line) <= 120
    assert drawing.font(15, True).getlength(drawing.fitted(text, 80, 15, True)) <= 80


def test_what_a_name_may_hold_is_drawn_on_one_line() -> None:
    assert (
        drawing.fitted("a\u00a0b\nc\ud800\x1b[31m", 1000, 13)
        == "a b c\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m"
    )
    assert drawing.words(["x"], 50).size == (50, 19)
    assert drawing.words([], 50).height == 1


@pytest.mark.parametrize(("size", "side"), [(8, 416), (32, 416), (224, 448), (299, 299), (600, 600)])
def test_people_see_what_the_network_sees(size, side) -> None:
    down, across = np.mgrid[:700, :900] / 900
    waves = [np.sin(9 * down), np.cos(7 * across), np.sin(11 * (down + across))]
    picture = Image.fromarray(np.rint(127 + 100 * np.stack(waves, 2)).astype(np.uint8))
    preprocessing = Preprocessing(size=size, resize="shorter")
    shown = displayed(preprocessing, picture)
    assert shown.size == (side, side)
    small = np.asarray(shown.resize((size, size), Image.Resampling.BOX)).astype(float)
    assert np.abs(small - preprocessing.pixels(picture)).max() < 8


@pytest.fixture
def classifier() -> Classifier:
    classes = tuple(f"class {i}" for i in range(7))
    preprocessing = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    entries = tuple(ClassEntry(i, letter, f"class {i}") for i, letter in enumerate("abcdefg"))
    return Classifier("resnet20", with_statistics("resnet20"), preprocessing, classes, entries)


def test_classes_by_name_id_and_number(classifier) -> None:
    assert [classifier.class_index(name) for name in ("class 3", "d", "3")] == [3, 3, 3]
    for name in ("7", "-1", "²", "", "clas 3"):
        with pytest.raises(ModelError, match="unknown class"):
            classifier.class_index(name)
    twins = Classifier("x", classifier.model, classifier.preprocessing, ("crane", "crane", "1"))
    with pytest.raises(ModelError, match="2 classes are called 'crane'; give the number of one"):
        twins.class_index("crane")
    assert twins.class_index("1") == 2  # a name comes before a number


def test_weights_that_are_no_numbers_are_reported(classifier) -> None:
    classifier.model.head.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"gives no numbers for x\.png"):
        look(classifier, Image.new("RGB", (40, 40)), "x.png")


def test_overlays_for_a_report(untouched, classifier) -> None:
    untouched(classifier.model)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8))
    taken = look(classifier, picture, "").predicted
    truth = (taken + 1) % 7
    found = overlays(classifier, picture, taken=taken, truth=truth, side=96)
    assert [one.method for one in found] == ["grad-cam", "grad-cam", "occlusion", "guided", "deconvnet"]
    assert f"class {taken}" in found[0].caption
    assert f"class {truth}" in found[1].caption
    for one in found:
        kind, _, content = one.uri.partition(",")
        assert kind == "data:image/jpeg;base64"
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert image.size == (96, 96)
        assert image.format == "JPEG"
        assert len(one.uri) < 20_000
    alone = overlays(classifier, picture, truth=taken, methods=("gradient", "grad-cam"))
    assert [one.method for one in alone] == ["gradient", "grad-cam"]


def test_a_report_and_explain_say_the_same_about_occlusion(classifier) -> None:
    """A report's squares lie side by side, so that it takes fewer passes."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (50, 60, 3), np.uint8))
    view = look(classifier, picture, "p.png")
    side = explain_occlusion(classifier, view, Settings()).facts["square"]
    sheet = explain_occlusion(classifier, view, Settings(square=side, stride=side))
    (small,) = overlays(classifier, picture, taken=view.target, methods=("occlusion",))
    square, effect = sheet.panel.lines
    assert small.caption == f"occlusion for {view.classes[view.target]}: {square}; {effect}"
    lost = 100 * (view.probability - sheet.facts["least_probability"])
    assert f"takes away up to {lost:.1f} points" in effect
    assert square == f"a grey square of {side} pixels, every {side}"
