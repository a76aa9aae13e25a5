"""Principal colours, against a computation of their own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.augmentation.colour import IMAGENET_COMPONENTS, principal_colours
from casebook.data.colours import source_colours
from casebook.data.sources import load_source
from casebook.errors import DataError


def test_principal_colours_diagonalise_the_covariance() -> None:
    generator = np.random.default_rng(0)
    mixing = np.array([[40, 10, 0], [35, -5, 8], [30, -9, -6]])
    pixels = np.clip(np.rint(120 + generator.normal(size=(50_000, 3)) @ mixing.T), 0, 255).astype(np.uint8)
    values, vectors = principal_colours(pixels.reshape(100, 500, 3))
    centred = pixels / 255 - (pixels / 255).mean(0)
    singular = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(values, singular.S**2 / (len(pixels) - 1))
    assert np.allclose(np.abs(vectors.T @ singular.Vh.T), np.eye(3), atol=1e-6)
    assert (np.diff(values) < 0).all()
    assert (vectors[np.abs(vectors).argmax(0), np.arange(3)] > 0).all()


def test_imagenets_are_nearly_orthonormal() -> None:
    vectors = IMAGENET_COMPONENTS.vectors
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=2e-3)


def test_they_come_from_the_pictures_named(tmp_path: Path) -> None:
    for name, colour in (("a", (200, 40, 40)), ("b", (40, 40, 200))):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (30, 20), colour).save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "0.png").write_bytes(b"no picture")
    source = load_source(tmp_path)
    names = [picture.name for picture in source.pictures]
    both = source_colours(source, [names.index("a/1.png"), names.index("b/1.png"), names.index("a/0.png")])
    assert np.allclose(np.abs(both.vectors[:, 0]), [2**-0.5, 0, 2**-0.5])
    assert both.values[1] == pytest.approx(0)
    with pytest.raises(DataError, match="no picture could be read, so there are no principal colours"):
        source_colours(source, [names.index("a/0.png")])
