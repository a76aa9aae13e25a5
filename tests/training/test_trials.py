"""Augmentation is left out where it shows other classes, and nowhere else."""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import casebook
from casebook.augmentation.policy import KINDS, POLICIES, Policy
from casebook.data.sources import load_source
from casebook.preprocessing import Preprocessing
from casebook.training.recipe import make_recipe
from casebook.training.trials import GENTLE_AREA, READ_SIDE, Trial, compare_operations, open_operations, try_operations

GREY = Preprocessing(size=32, mode="L", mean=(0.5,), std=(0.5,))
Pictures = tuple[np.ndarray, np.ndarray]


def digits(count: int) -> Pictures:
    found: Any = load_digits()
    pixels = (found.images[:count] * (255 / 16)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    return pixels[..., None], found.target[:count].astype(np.int64)


def discs(hues: tuple[float, ...] = (0.0,), radii: tuple[float, ...] = (4.0, 12.0)) -> Pictures:
    """400 discs somewhere on a grey ground; a class has one of the hues in degrees, or one of the radii."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:READ_SIDE, :READ_SIDE]
    pixels, labels = [], []
    for number in range(400):
        label = number % len(hues) if len(hues) > 1 else number % len(radii)
        radius = generator.choice(radii) if len(hues) > 1 else radii[label]
        hue = (hues[label if len(hues) > 1 else 0] + generator.normal(0, 6)) % 360 / 360
        x, y = generator.uniform(12, 20, 2)
        picture = np.full((READ_SIDE, READ_SIDE, 3), generator.uniform(60, 180))
        colour = colorsys.hsv_to_rgb(hue, generator.uniform(0.6, 0.9), generator.uniform(0.5, 0.9))
        picture[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = 255 * np.array(colour)
        pixels.append((picture + generator.normal(0, 12, picture.shape)).clip(0, 255))
        labels.append(label)
    return np.array(pixels, np.uint8), np.array(labels, np.int64)


def trial(pictures: Pictures, policy: Policy) -> Trial:
    """The trial of the one operation that the policy has."""
    pixels, labels = pictures
    operations = open_operations(make_recipe("scratch", data="x"), policy)
    (found,) = compare_operations(pixels, labels, policy, operations, np.zeros(pixels.shape[3], np.uint8))
    return found


def test_mirrored_digits_hurt() -> None:
    found = trial(digits(1000), Policy(mirror=0.5))
    assert found.hurts
    assert found.plain > found.changed
    assert f"{found.plain:.1%}".startswith(f"{100 * found.plain:.1f}")
    assert (
        f"mirror images are left out: with them a classifier on small pictures gets {found.changed:.0%}" in found.reason
    )
    assert "--set mirror=true keeps them" in found.reason


def test_digits_of_which_each_comes_both_ways_do_not() -> None:
    pixels, labels = digits(600)
    turned = np.random.default_rng(0).random(600) < 0.5
    pixels[turned] = pixels[turned, :, ::-1]
    assert not trial((pixels, labels), Policy(mirror=0.5)).hurts


def test_a_six_upside_down_is_a_nine() -> None:
    pixels, labels = digits(1797)
    sixes = pixels[labels == 6]
    both = np.concatenate([sixes, sixes[:, ::-1, ::-1]]), np.arange(2 * len(sixes)) // len(sixes)
    found = trial(both, Policy(rotate=180, border="fill"))
    assert (found.operation.setting, found.hurts) == ("rotate", True)
    assert found.changed < 0.6  # no better than guessing
    assert not trial(both, Policy(rotate=15, border="fill")).hurts
    assert not trial(digits(700), Policy(rotate=15, border="fill")).hurts


@pytest.mark.parametrize(("hue", "hurts"), [(180, True), (10, False)])
def test_classes_that_differ_by_hue(hue: float, hurts: bool) -> None:
    found = trial(discs(hues=(0.0, 90.0, 180.0, 270.0)), Policy(hue=hue, brightness=0.3))
    assert (found.operation.setting, found.hurts) == ("colour", hurts)


def test_colours_may_change_where_size_is_the_class() -> None:
    strong = POLICIES["strong"].policy
    laws = {law: getattr(strong, law) for law in KINDS["colour"]}
    assert not trial(discs(), Policy(**laws)).hurts


def test_a_small_crop_makes_small_things_large() -> None:
    found = trial(discs(radii=(7.0, 9.0)), Policy("resized", area=(0.25, 1.0)))
    assert (found.operation.setting, found.hurts) == ("crop_area", True)
    assert "--set crop_area=[0.25,1] keeps them" in found.reason
    assert not trial(digits(1000), Policy("resized", area=(0.5, 1.0))).hurts


def test_a_space_that_turns_digits() -> None:
    pixels, labels = digits(1797)
    sixes = pixels[labels == 6]
    both = np.concatenate([sixes, sixes[:, ::-1, ::-1]]), np.arange(2 * len(sixes)) // len(sixes)
    assert trial(both, Policy(space="trivial", border="fill")).operation.setting == "space"
    assert not trial(both, Policy(space="randaugment", strength=0.1, picks=1, border="fill")).hurts


def test_labels_at_random_say_nothing() -> None:
    """30 data sets in which nothing can do harm: each kind is left out in about CHANCE of them."""
    generator = np.random.default_rng(0)
    left_out = 0
    for _ in range(30):
        pixels = generator.integers(0, 256, (60, READ_SIDE, READ_SIDE, 1), np.uint8)
        left_out += trial((pixels, generator.integers(0, 2, 60)), Policy(mirror=0.5)).hurts
    assert left_out <= 2


@pytest.mark.parametrize(
    ("policy", "settings", "expected"),
    [
        ("basic", {}, ["mirror", "crop_area"]),
        ("cifar", {}, ["mirror"]),
        ("strong", {}, ["mirror", "rotate", "colour", "crop_area"]),
        ("trivial", {}, ["mirror", "space", "crop_area"]),
        ("none", {}, []),
        ("strong", {"mirror": True, "rotate": False, "colour": True, "crop_area": (0.2, 1.0)}, []),
        ("strong", {"augment": {"rotate": 9, "hue": 5}}, ["mirror", "crop_area"]),
        ("basic", {"crop_area": (0.1, 1.0)}, ["mirror"]),
        ("basic", {"augment": {"area": [0.1, 1.0]}}, ["mirror"]),
    ],
)
def test_only_what_was_left_open_is_tried(policy: str, settings: dict[str, Any], expected: list[str]) -> None:
    recipe = make_recipe("scratch", data="x", policy=policy, **settings)
    laid = POLICIES[policy].policy.changed(recipe.augment)
    assert [operation.setting for operation in open_operations(recipe, laid)] == expected


def test_too_few_pictures_are_not_tried(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(10):
            Image.new("L", (20, 20), number).save(tmp_path / label / f"{number}.png")
    operations = open_operations(make_recipe("scratch", data="x"), Policy(mirror=0.5))
    assert try_operations(load_source(tmp_path), range(20), GREY, Policy(mirror=0.5), operations) == []


def save(folder: Path, pictures: Pictures) -> Path:
    for number, (picture, label) in enumerate(zip(*pictures, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.squeeze()).save(folder / str(label) / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("given", "expected"), [({}, False), ({"mirror": True}, True)])
def test_a_training_leaves_mirrored_digits_out_and_says_so(tmp_path: Path, given: dict, expected: bool) -> None:
    run = casebook.train(
        save(tmp_path / "digits", digits(300)), model="lenet5", epochs=1, workers=0, near_duplicates=False,
        out=tmp_path / "run", **given,
    )  # fmt: skip
    said = [note for note in run.evaluation["notes"] if "mirror images are left out" in note]
    assert (run.recipe.mirror, bool(said)) == (expected, not expected)


@pytest.mark.slow
def test_a_training_on_colour_coded_classes_keeps_the_colours(tmp_path: Path) -> None:
    folder = save(tmp_path / "discs", discs(hues=(0.0, 120.0, 240.0)))
    settings: dict[str, Any] = dict(model="resnet20", epochs=1, workers=0, near_duplicates=False, policy="strong")
    run = casebook.train(folder, out=tmp_path / "run", **settings)
    assert run.recipe.colour is True  # shifts of 15 degrees do no harm to hues that lie 120 apart
    assert not any("colours are left out" in note for note in run.evaluation["notes"])
    assert run.recipe.crop_area in (POLICIES["strong"].policy.area, GENTLE_AREA)
