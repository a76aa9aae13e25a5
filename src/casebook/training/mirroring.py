"""Mirror images: do they help to learn these pictures, or do they show other classes?

A mirrored 2 is no digit, and a mirrored scan may be another finding. A linear classifier on small pictures takes a
second to tell. It learns with and without mirror images, in turns on parts of the training pictures. They are left out
where they cost right answers beyond chance. Only training pictures are read.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.pictures import Source
from ..errors import PictureError
from ..preprocessing import Preprocessing

SIDE = 16  # pixels of the small pictures
MOST = 1500  # pictures that are read
FOLDS = 5
LEAST = 50  # pictures; fewer say nothing
CHANCE = 0.01  # mirror images are left out where the difference would be this rare by chance


class MirrorTrial(NamedTuple):
    """What a linear classifier got right of `num_pictures` pictures that it had not learnt from."""

    plain: float  # share right without mirror images
    mirrored: float  # with them
    num_pictures: int
    p_value: float  # that mirror images do no harm: of the paired exact test

    @property
    def hurts(self) -> bool:
        return self.p_value < CHANCE

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees."""
        return (
            f"mirror images are left out: with them a linear classifier on small pictures gets {self.mirrored:.0%} of "
            f"{self.num_pictures} training pictures right, without them {self.plain:.0%}; --set mirror=true keeps them"
        )


def try_mirroring(source: Source, indices: Sequence[int], preprocessing: Preprocessing) -> MirrorTrial | None:
    """Whether mirror images hurt on these training pictures; None where too few can be read."""
    pixels, labels = _small_pictures(source, indices, preprocessing)
    if len(labels) < LEAST or len(np.unique(labels)) < 2:
        return None
    return compare_mirroring(pixels, labels)


def compare_mirroring(pixels: NDArray[np.float32], labels: NDArray[np.int64]) -> MirrorTrial:
    """(N, SIDE, SIDE, C) pixels and (N,) labels -> how a ridge classifier does without and with mirror images."""
    from scipy.stats import binomtest
    from sklearn.linear_model import RidgeClassifier

    mirrored = pixels[:, :, ::-1]
    flat, flat_mirrored = pixels.reshape(len(pixels), -1), mirrored.reshape(len(pixels), -1)
    folds = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    right = np.zeros((2, len(labels)), bool)
    for fold in range(FOLDS):
        learn, ask = folds != fold, folds == fold
        inputs, answers = flat[learn], labels[learn]
        for row, (x, y) in enumerate(
            ((inputs, answers), (np.concatenate([inputs, flat_mirrored[learn]]), np.concatenate([answers, answers])))
        ):
            classifier: Any = RidgeClassifier(alpha=float(len(y)) / 10).fit(x, y)
            right[row, ask] = classifier.predict(flat[ask]) == labels[ask]
    lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    p_value = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    return MirrorTrial(float(right[0].mean()), float(right[1].mean()), len(labels), float(p_value))


def _small_pictures(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, SIDE, SIDE, C) from 0 to 1, and (N,) labels, of up to MOST pictures, evenly spread."""
    pixels, labels = [], []
    for index in indices[:: max(1, -(-len(indices) // MOST))]:
        with contextlib.suppress(PictureError):
            picture = source.open(
                index, mode=preprocessing.mode, min_side=SIDE, value_range=preprocessing.value_range
            ).resize((SIDE, SIDE), Image.Resampling.BOX)
            pixels.append(np.asarray(picture, np.float32).reshape(SIDE, SIDE, -1) / 255)
            labels.append(source.pictures[index].label)
    if not pixels:
        return np.zeros((0, SIDE, SIDE, preprocessing.channels), np.float32), np.zeros(0, np.int64)
    return np.stack(pixels), np.array(labels, np.int64)
