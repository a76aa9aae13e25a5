"""The built-in golden pictures cover what decoders differ in, and are the same each time."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.deployment.golden import built_in, own_pictures, png16
from casebook.errors import BundleError


def test_they_cover_the_kinds_of_files() -> None:
    files = built_in()
    assert len(files) >= 16
    opened = [Image.open(io.BytesIO(content)) for _, content in files.values()]
    assert {"JPEG", "PNG", "GIF", "BMP", "TIFF"} <= {picture.format for picture in opened}
    assert {"RGB", "L", "CMYK", "P", "1", "RGBA"} <= {picture.mode for picture in opened}
    assert {5, 6, 8} <= {picture.getexif().get(274) for picture in opened}
    assert any(picture.height > 10 * picture.width for picture in opened)
    assert any(picture.width > 10 * picture.height for picture in opened)
    assert any(picture.mode.startswith("I;16") for picture in opened)
    assert sum(len(content) for _, content in files.values()) < 500_000


def test_they_are_the_same_each_time() -> None:
    assert built_in() == built_in()


def test_a_png_of_16_bits_holds_its_values() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    picture = Image.open(io.BytesIO(png16(pixels)))
    assert np.array_equal(np.asarray(picture), pixels >> 8)  # Pillow keeps the upper byte


def test_own_pictures(photo_folder: Path, tmp_path: Path) -> None:
    own = own_pictures(photo_folder / "spots")
    assert len(own) == 24
    assert own["golden/own-000.jpg"] == ("spots/00.jpg", (photo_folder / "spots" / "00.jpg").read_bytes())
    with pytest.raises(BundleError, match="there is no folder"):
        own_pictures(tmp_path / "gone")
    with pytest.raises(BundleError, match="holds no pictures"):
        own_pictures(tmp_path)
