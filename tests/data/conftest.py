"""Pictures to test with: pieces of scikit-learn's two photographs, different enough to tell apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """40 different photographs of 106 x 85 pixels: the fields of a grid over the two samples."""
    from sklearn.datasets import load_sample_images

    pieces = []
    for sample in load_sample_images().images:
        whole = Image.fromarray(sample)
        width, height = whole.width // 6, whole.height // 5
        pieces += [
            whole.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
            for row in range(5)
            for column in range(6)
        ]
    detailed = sorted(pieces, key=lambda piece: -float(np.asarray(piece.convert("L")).std()))
    return detailed[:40]


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """Fills tmp_path / "data" with small different pictures: {"train/cat": 3} makes 0.png to 2.png there."""

    def make(counts: dict[str, int]) -> Path:
        root = tmp_path / "data"
        generator = np.random.default_rng(0)
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{index}.png")
        return root

    return make
