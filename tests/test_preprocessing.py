import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import casebook
from casebook.data.loader import Batch, make_prepare
from casebook.errors import ModelError
from casebook.preprocessing import Preprocessing, Resize


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@given(
    st.integers(1, 300), st.integers(1, 300), st.sampled_from(["shorter", "squash", "letterbox"]), st.integers(1, 64)
)
@settings(max_examples=60, deadline=None)
def test_any_picture_becomes_the_stated_shape(width: int, height: int, resize: str, size: int) -> None:
    preprocessing = Preprocessing(size=size, resize=resize)  # type: ignore[arg-type]
    pixels = preprocessing.pixels(noise(width, height))
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
    array = preprocessing(noise(width, height))
    assert (array.shape, array.dtype) == ((3, size, size), np.float32)


def test_a_picture_of_the_right_size_keeps_its_pixels() -> None:
    picture = noise(32, 32)
    assert np.array_equal(Preprocessing(size=32, crop_fraction=1.0).pixels(picture), np.asarray(picture))


def test_the_centre_is_cut_as_the_literature_does() -> None:
    picture = noise(400, 300)
    resized = picture.resize((341, 256), Image.Resampling.BILINEAR)  # 256 * 400 / 300 = 341.33, truncated
    expected = np.asarray(resized.crop((58, 16, 282, 240)))  # (341 - 224) / 2 = 58.5, rounded to even
    assert np.array_equal(Preprocessing().pixels(picture), expected)


def test_squash_shows_the_whole_picture_in_other_proportions() -> None:
    picture = noise(64, 16)
    expected = np.asarray(picture.resize((20, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(Preprocessing(size=20, resize="squash").pixels(picture), expected)


@pytest.mark.parametrize("upright", [False, True])
def test_a_letterbox_shows_the_whole_picture_between_bars_of_the_mean_colour(upright: bool) -> None:
    picture = noise(64, 16)
    inner = np.asarray(picture.resize((20, 5), Image.Resampling.BILINEAR))
    if upright:
        picture = picture.transpose(Image.Transpose.TRANSPOSE)
        inner = np.asarray(picture.resize((5, 20), Image.Resampling.BILINEAR)).transpose(1, 0, 2)
    seen = Preprocessing(size=20, resize="letterbox", mean=(0.5, 0.25, 1.0)).pixels(picture)
    seen = seen.transpose(1, 0, 2) if upright else seen
    assert np.array_equal(seen[7:12], inner)
    assert (np.delete(seen, np.s_[7:12], 0) == (128, 64, 255)).all()


def test_a_grey_letterbox_has_grey_bars_that_normalise_to_about_nothing() -> None:
    preprocessing = Preprocessing(size=16, resize="letterbox", mode="L", mean=(0.2,), std=(0.25,))
    array = preprocessing(noise(32, 4, "L"))
    assert np.abs(array[0, :6]).max() < 0.01
    assert np.abs(array[0, 7:9]).max() > 1


@pytest.mark.parametrize("resize", ["shorter", "squash", "letterbox"])
def test_square_pictures_look_the_same_whatever_the_resizing(resize: Resize) -> None:
    picture = noise(50, 50)
    expected = Preprocessing(size=32, crop_fraction=1.0).pixels(picture)
    assert np.array_equal(Preprocessing(size=32, crop_fraction=1.0, resize=resize).pixels(picture), expected)


def test_records_of_earlier_versions_say_exact() -> None:
    assert Preprocessing.from_dict({"size": 32, "resize": "exact"}) == Preprocessing(size=32, resize="squash")


def test_normalisation_is_the_closed_form() -> None:
    preprocessing = Preprocessing(size=8, crop_fraction=1.0)
    picture = noise(8, 8)
    expected = (np.asarray(picture) / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    assert preprocessing(picture).transpose(1, 2, 0) == pytest.approx(expected, abs=1e-6)
    tensorflow = Preprocessing(size=8, crop_fraction=1.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert np.array_equal(
        tensorflow(picture).transpose(1, 2, 0), (np.asarray(picture, np.float32) - 127.5) / np.float32(127.5)
    )


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_torch_normalises_to_the_same_bits(mode: str) -> None:
    channels = 3 if mode == "RGB" else 1
    preprocessing = Preprocessing(
        size=16, crop_fraction=1.0, mode=mode, mean=(0.47, 0.31, 0.2)[:channels], std=(0.21, 0.3, 0.17)[:channels]
    )
    pixels = np.arange(16 * 16 * channels).astype(np.uint8).reshape(1, 16, 16, channels)
    expected = preprocessing.normalise(pixels).transpose(0, 3, 1, 2)
    found = preprocessing.normalise_tensor(torch.from_numpy(pixels))
    assert found.shape == (1, channels, 16, 16)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected)
    nothing = torch.zeros(1, dtype=torch.int64)
    prepare = make_prepare(preprocessing, torch.device("cpu"), True)
    assert np.array_equal(prepare(Batch(torch.from_numpy(pixels), nothing, nothing)).numpy(), expected)


def test_tensors_of_any_width_are_normalised_in_any_order() -> None:
    preprocessing = Preprocessing()
    for width in (5, 9, 5):
        pixels = np.random.default_rng(width).integers(0, 256, (2, 4, width, 3), np.uint8)
        with torch.inference_mode():
            found = preprocessing.normalise_tensor(torch.from_numpy(pixels)).numpy()
        assert np.array_equal(found, preprocessing.normalise(pixels).transpose(0, 3, 1, 2))
    trained = preprocessing.normalise_tensor(torch.zeros(1, 4, 9, 3, dtype=torch.uint8)).requires_grad_()
    (trained * 2).sum().backward()  # the rows cached under inference mode take part in training
    assert trained.grad is not None


def test_nothing_else_normalises() -> None:
    """A second implementation could differ in the last bit, and then a run and its evaluation would too.

    Exported networks hold the record's own numbers.
    """
    source = Path(casebook.__file__).parent
    users = sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"offset_and_scale|\.sub_\(", path.read_text(encoding="utf-8"))
    )
    exporters = [f"deployment/{name}.py" for name in ("coreml", "graph", "keras_file")]
    assert users == [*exporters, "preprocessing.py"]


def test_grey_networks_get_grey_pictures() -> None:
    preprocessing = Preprocessing(size=8, mode="L", mean=(0.5,), std=(0.5,))
    assert preprocessing(noise(20, 10)).shape == (1, 8, 8)


def test_the_record_survives_being_written() -> None:
    preprocessing = Preprocessing(size=99, resize="squash", interpolation="bicubic", mean=(0.1, 0.2, 0.3))
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


def test_the_value_range_survives_being_written() -> None:
    preprocessing = Preprocessing(value_range=(0, 4095))
    record = json.loads(json.dumps(preprocessing.to_dict()))
    assert record["value_range"] == [0.0, 4095.0]
    assert Preprocessing.from_dict(record) == preprocessing
    assert preprocessing.decode_options == {"mode": "RGB", "min_side": 512, "value_range": (0.0, 4095.0)}
    del record["value_range"]  # as earlier versions wrote it
    assert Preprocessing.from_dict(record) == Preprocessing()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"value_range": [4095, 0]}, "value_range is"),
        ({"value_range": [0, float("nan")]}, "value_range is"),
        ({"value_range": [0]}, "value_range is"),
        ({"size": 0}, "size is 0"),
        ({"mode": "CMYK"}, "mode is 'CMYK'"),
        ({"interpolation": "magic"}, "interpolation is 'magic'"),
        ({"resize": "pad"}, "resize is 'pad', expected one of shorter, squash, letterbox"),
        ({"size": 224.5}, "size is 224.5"),
        ({"crop_fraction": 1.5}, "crop_fraction is 1.5"),
        ({"crop_fraction": 1e-300}, "resizes pictures to more than 8192 pixels for a size of 224"),
        ({"mean": [0.5]}, "1 means and 3 deviations"),
        ({"std": [0.5, 0.0, 0.5]}, "above 0"),
        ({"colour": "blue"}, "unknown keys colour"),
        ({"size": "big"}, "preprocessing"),
    ],
)
def test_wrong_records_are_refused(record: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Preprocessing.from_dict(record)
