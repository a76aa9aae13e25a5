"""Training pictures -> fewer of them, shown as often as all; arms at each number -> their errors and differences."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..reports.figures import COLOURS
from .pictures import PictureSet
from .trials import Arm
from .verdict import Difference, paired_difference

EACH_BY_ITSELF = (
    "With 95 % intervals over seeds and pictures; * marks those that exclude zero. Each stands by itself: one in "
    "twenty excludes zero by chance."
)


def sizes_of(pictures: PictureSet, wanted: Sequence[int]) -> list[int]:
    """The wanted numbers of pictures a class that are fewer than there are, and last the mean number of all."""
    counts = np.bincount(pictures.labels(pictures.train), minlength=pictures.num_classes)
    fewest, mean = int(counts.min()), round(float(counts.mean()))
    return [*(size for size in sorted(set(wanted)) if size < min(fewest, mean)), mean]


def shown_as_often(pictures: PictureSet, size: int, seed: int, *, num_shown: int) -> PictureSet:
    """`size` random training pictures of each class, in epochs of `num_shown` pictures or of all if they are more.

    An epoch shows each picture several times, augmented differently each time, so all sizes take the same number of
    steps. Where the numbers do not divide, the seed draws the pictures that come once more. For one seed, the smaller
    sets are part of the larger ones.
    """
    fewer = pictures.fewer(size, seed)
    order = np.random.default_rng([seed, 11]).permutation(fewer.train)
    shown = np.sort(np.resize(order, max(num_shown, len(order)))).tolist()
    kept = np.array([*shown, *fewer.val, *fewer.test])
    source = pictures.source
    arrays = None if source.arrays is None else source.arrays[kept]
    copied = dataclasses.replace(source, pictures=tuple(source.pictures[i] for i in kept), arrays=arrays)
    first, second = len(shown), len(shown) + len(fewer.val)
    return dataclasses.replace(
        fewer, source=copied, train=tuple(range(first)), val=tuple(range(first, second)),
        test=tuple(range(second, len(kept))),
    )  # fmt: skip


def percents(arms: Sequence[Arm]) -> list[list[float]]:
    """(seeds, arms) test errors in per cent, as `figures.curves` takes them."""
    return [[100 * error for error in of_seed] for of_seed in zip(*(arm.errors for arm in arms), strict=True)]


def in_points(found: Difference) -> str:
    """ "-3.2 (-5.1 to -1.3) *", in points of error, with a star where the interval excludes zero."""
    star = " *" if found.is_detectable else ""
    return f"{100 * found.difference:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}){star}"


def differences(arms: Sequence[Arm], reference: Sequence[Arm]) -> list[Difference]:
    """Each arm less the reference with the same number of pictures."""
    return [paired_difference(arm.wrong, other.wrong) for arm, other in zip(arms, reference, strict=True)]


def draw_differences(
    axes: Any, sizes: Sequence[int], found: Mapping[str, Sequence[Difference]], first_colour: int = 0
) -> None:
    """For each name its differences with their intervals over the numbers of pictures, side by side at each."""
    width = 0.5 / max(1, len(found))
    for number, (name, of_size) in enumerate(found.items()):
        places = np.arange(len(sizes)) + width * (number - (len(found) - 1) / 2)
        center = np.array([100 * one.difference for one in of_size])
        reach = [center - [100 * one.low for one in of_size], [100 * one.high for one in of_size] - center]
        axes.errorbar(
            places, center, reach, fmt="o", markersize=4, linewidth=1.3, label=name,
            color=COLOURS[(number + first_colour) % len(COLOURS)],
        )  # fmt: skip
    axes.axhline(0, color="#222", linewidth=0.8)
    axes.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes])
    axes.set_xlabel("training pictures a class")


def size_axis(axes: Any, sizes: Sequence[int]) -> None:
    """A logarithmic axis with a tick at each number of pictures only."""
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training pictures a class")
