"""A data set's name or folder -> the pictures of a study: divided once, small ones in memory, the same for all arms."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..augmentation.policy import POLICIES, Policy
from ..data.duplicates import duplicates
from ..data.scan import scan
from ..data.sources import Picture, Source, load_source
from ..data.split import split_source
from ..errors import DataError, PictureError
from ..files import cache_folder
from ..preprocessing import Preprocessing

IN_MEMORY_SIDE = 96  # pixels; pictures up to this size are decoded once for all arms
UNMIRRORED = ("digits", "mnist")


@dataclasses.dataclass(frozen=True)
class PictureSettings:
    """How the pictures of a study are chosen, divided and fed to the networks.

    `most_per_class` limits the training pictures of each class, `most_test_per_class` those of validation and test;
    `most` limits each part over all classes, but leaves ten a class. `classes` selects classes and renumbers them in
    that order. `crop_fraction` defaults to 1 up to IN_MEMORY_SIDE and to the usual 0.875 above. The default `policy`
    moves pictures by an eighth of their side and mirrors them unless they are digits.
    """

    side: int
    mode: Literal["RGB", "L"] = "RGB"
    val_fraction: float = 0.15
    test_fraction: float = 0.4
    most_per_class: int | None = None
    most_test_per_class: int | None = None
    most: int | None = None
    crop_fraction: float | None = None
    policy: Policy | None = None
    classes: tuple[int, ...] | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """The pictures that all arms share: their parts as indices into the source, and how a network is fed."""

    source: Source
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    preprocessing: Preprocessing
    policy: Policy
    sizes: tuple[tuple[int, int], ...] | None = None  # (width, height) of the source's files

    @property
    def num_classes(self) -> int:
        return len(self.source.classes)

    @property
    def in_channels(self) -> int:
        return self.preprocessing.channels

    @property
    def test_labels(self) -> NDArray[np.int64]:
        return self.labels(self.test)

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.source.pictures[i].label for i in indices], np.int64)

    def majority_wrong(self, indices: Sequence[int]) -> NDArray[np.bool_]:
        """(N,) the mistakes of always answering the most frequent class of these pictures."""
        labels = self.labels(indices)
        return labels != np.bincount(labels).argmax()

    def fewer(self, per_class: int, seed: int = 0) -> "PictureSet":
        """The same with `per_class` training pictures of each class. A smaller selection is part of a larger one."""
        return dataclasses.replace(self, train=_some_of(self.source, self.train, per_class, seed))

    def described(self) -> str:
        side, channels = self.preprocessing.size, {1: "grey", 3: "colour"}[self.in_channels]
        return (
            f"{self.source.name}: {len(self.train):,} for training, {len(self.val):,} for validation, "
            f"{len(self.test):,} for the test; {self.num_classes} classes; {side}x{side} pixels, {channels}"
        )


def load_pictures(data: str | Path, settings: PictureSettings) -> PictureSet:
    """A study's pictures, divided once, with near-duplicates in the same part. Raises DataError if there are none."""
    source = load_source(data)
    if settings.classes is not None:
        source = _of_classes(source, settings.classes)
    seen = scan(source, cache_dir=cache_folder())
    split = split_source(
        source, scan=seen, duplicates=duplicates(seen, source, near=True), val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction, seed=settings.seed,
    )  # fmt: skip
    train, val, test = split.train, split.val, split.test
    most_per_class, most_test_per_class = settings.most_per_class, settings.most_test_per_class
    if settings.most is not None:
        share = max(10, settings.most // len(source.classes))
        most_per_class, most_test_per_class = (min(share, n or share) for n in (most_per_class, most_test_per_class))
    if most_per_class is not None:
        train = _some_of(source, train, most_per_class, settings.seed)
    if most_test_per_class is not None:
        val, test = (_some_of(source, part, most_test_per_class, settings.seed) for part in (val, test))
    is_small = settings.side <= IN_MEMORY_SIDE
    policy = settings.policy or _moved(settings.side, mirror=str(data) not in UNMIRRORED)
    sizes = tuple((facts.width, facts.height) for facts in seen.facts)
    pictures = PictureSet(source, train, val, test, _preprocessing(settings, is_small), policy, sizes)
    return _in_memory(pictures) if is_small else pictures


def _preprocessing(settings: PictureSettings, is_small: bool) -> Preprocessing:
    crop_fraction = settings.crop_fraction
    if crop_fraction is None:
        crop_fraction = 1.0 if is_small else 0.875
    grey = settings.mode == "L"
    return Preprocessing(
        size=settings.side, mode=settings.mode, crop_fraction=crop_fraction,
        mean=(0.5,) if grey else (0.485, 0.456, 0.406), std=(0.25,) if grey else (0.229, 0.224, 0.225),
    )  # fmt: skip


def _moved(side: int, *, mirror: bool) -> Policy:
    return POLICIES["cifar"].policy.changed({"padding": max(1, side // 8), "mirror": 0.5 if mirror else 0.0})


def _of_classes(source: Source, classes: Sequence[int]) -> Source:
    number = {old: new for new, old in enumerate(classes)}
    kept = [i for i, picture in enumerate(source.pictures) if picture.label in number]
    pictures = tuple(source.pictures[i]._replace(label=number[source.pictures[i].label]) for i in kept)
    arrays = None if source.arrays is None else source.arrays[kept]
    names = tuple(source.classes[old] for old in classes)
    return dataclasses.replace(source, classes=names, pictures=pictures, arrays=arrays)


def _some_of(source: Source, indices: Sequence[int], per_class: int, seed: int) -> tuple[int, ...]:
    """The first `per_class` of each class in an order that depends on the seed only."""
    shuffled = np.random.default_rng([seed, 7]).permutation(np.asarray(indices, np.int64))
    kept: dict[int, list[int]] = {}
    for index in shuffled.tolist():
        of_class = kept.setdefault(source.pictures[index].label, [])
        if len(of_class) < per_class:
            of_class.append(index)
    return tuple(sorted(index for of_class in kept.values() for index in of_class))


def _in_memory(pictures: PictureSet) -> PictureSet:
    """Every picture decoded and resized once; unreadable ones are left out."""
    source, preprocessing = pictures.source, pictures.preprocessing
    arrays, kept, places = [], [], {}
    for index in sorted({*pictures.train, *pictures.val, *pictures.test}):
        try:
            pixels = preprocessing.pixels(source.open(index, **preprocessing.decode_options))
        except PictureError:
            continue
        places[index] = len(kept)
        kept.append(Picture(source.pictures[index].name, source.pictures[index].label))
        arrays.append(pixels[..., 0] if preprocessing.mode == "L" else pixels)
    if not kept:
        raise DataError(f"{source.name}: none of the pictures could be read; 'casebook data check' says why")
    held = Source(source.name, None, source.classes, tuple(kept), source.notes, np.stack(arrays))
    parts = {
        part: tuple(places[i] for i in getattr(pictures, part) if i in places) for part in ("train", "val", "test")
    }
    return dataclasses.replace(pictures, source=held, sizes=None, **parts)
