"""resize.js gives Pillow's pixels, each of them."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casebook.preprocessing import RESAMPLING, RESIZES, Preprocessing

from .conftest import Ask, base64_of, pixels_of

SIZES = (  # sources: photographs both ways, a tall one that Pillow reduces down first, thin ones, tiny ones
    (300, 211), (211, 300), (53, 142), (400, 31), (1, 72), (3, 2), (64, 64), (97, 33),
)  # fmt: skip
TARGETS = ((33, 0.875), (64, 1.0), (5, 0.5))


def random_pictures() -> list[Image.Image]:
    """Noise of all values, and noise of 0 and 255, which bicubic and Lanczos drive over both ends."""
    generator = np.random.default_rng(0)
    shades = [generator.integers(0, 256, (h, w, 3), np.uint8) for w, h in SIZES]
    return [Image.fromarray(shade if i % 2 else (shade > 127) * np.uint8(255)) for i, shade in enumerate(shades)]


def rgba(picture: Image.Image) -> list[Any]:
    return [base64_of(np.asarray(picture.convert("RGBA"))), *picture.size]


@pytest.mark.parametrize("interpolation", RESAMPLING)
@pytest.mark.parametrize("resize", RESIZES)
def test_all_pixels_are_those_of_pillow(ask: Ask, resize: Any, interpolation: Any) -> None:
    cases = []
    for picture, (size, share), mode in itertools.product(random_pictures(), TARGETS, ("RGB", "L")):
        means = (0.485, 0.5, 0.3)[: 3 if mode == "RGB" else 1]
        preprocessing = Preprocessing(
            size=size, resize=resize, crop_fraction=share, interpolation=interpolation, mode=mode, mean=means,  # type: ignore[arg-type]
            std=(0.2,) * len(means),
        )  # fmt: skip
        cases.append((picture, preprocessing))
    found = ask(
        "(all) => all.map(([picture, preprocessing]) => base64(pixels(inMemory(...picture), preprocessing)))",
        [[rgba(picture), preprocessing.to_dict()] for picture, preprocessing in cases],
    )
    for (picture, preprocessing), text in zip(cases, found, strict=True):
        expected = preprocessing.pixels(picture)
        assert np.array_equal(pixels_of(text).reshape(expected.shape), expected), (picture.size, preprocessing)


def test_a_picture_read_in_two_strips_is_the_same(ask: Ask) -> None:
    generator = np.random.default_rng(1)
    preprocessing = Preprocessing(size=48)
    for width, height in ((1400, 900), (900, 1400)):  # more than the million pixels of a strip
        picture = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))
        text = ask(
            "([picture, p]) => base64(pixels(inMemory(...picture), p))", [rgba(picture), preprocessing.to_dict()]
        )
        assert np.array_equal(pixels_of(text), preprocessing.pixels(picture).ravel())


@pytest.mark.parametrize(("side", "factor"), [(16, 2), (7, 4), (4, 8)])
def test_a_reduced_jpeg_has_the_mean_of_each_square(ask: Ask, side: int, factor: int) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (69, 91, 3), np.uint8))
    preprocessing = Preprocessing(size=side, resize="squash")
    found = ask(
        """([picture, p]) => {
          const smaller = reduced(inMemory(...picture), p);
          return [smaller.factor, smaller.width, smaller.height, base64(smaller.rows(0, smaller.height))];
        }""",
        [rgba(picture), preprocessing.to_dict()],
    )
    height, width = -(-69 // factor), -(-91 // factor)
    assert found[:3] == [factor, width, height]
    padding = ((0, height * factor - 69), (0, width * factor - 91), (0, 0))
    squares = np.pad(np.asarray(picture, float), padding, constant_values=np.nan)
    expected = np.rint(np.nanmean(squares.reshape(height, factor, width, factor, 3), axis=(1, 3)))
    assert np.array_equal(pixels_of(found[3]).reshape(height, width, 4)[..., :3], expected)


def test_a_jpeg_of_less_than_four_times_the_size_is_not_reduced(ask: Ask) -> None:
    picture = Image.new("RGB", (63, 90))
    same = "([picture, p]) => { const given = inMemory(...picture); return reduced(given, p) === given; }"
    assert ask(same, [rgba(picture), Preprocessing(size=16, resize="squash").to_dict()])


def test_halves_are_rounded_to_the_even_neighbour(ask: Ask) -> None:
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 3.51, 58.5]
    assert ask("(values) => values.map(roundHalfEven)", values) == [round(value) for value in values]
