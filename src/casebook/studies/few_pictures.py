"""Training pictures -> fewer of them, shown as often as all; arms at each number -> how they differ, as a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.pictures import Source
from ..reports.figures import COLOURS
from .trials import Arm, PictureSet
from .verdict import Difference, paired_difference


def sizes_of(pictures: PictureSet, wanted: Sequence[int]) -> list[int]:
    """Those of the wanted numbers of pictures per class that there are more of, and last the mean of all there are."""
    counts = np.bincount(pictures.labels(pictures.train), minlength=pictures.num_classes)
    fewest, mean = int(counts.min()), round(float(counts.mean()))
    return [*(size for size in sorted(set(wanted)) if size < min(fewest, mean)), mean]


def shown_as_often(pictures: PictureSet, size: int, seed: int, *, num_shown: int) -> PictureSet:
    """`size` training pictures of each class, as the seed draws them, in epochs of `num_shown` (or more, where
    there are more).

    An epoch has each of them several times, each time augmented anew: so all sizes have the same number of steps. Where
    they do not divide it, the seed draws those that come once more. The smaller sets of a seed lie within its larger
    ones.
    """
    fewer = pictures.fewer(size, seed)
    order = np.random.default_rng([seed, 11]).permutation(fewer.train)
    shown = np.sort(np.resize(order, max(num_shown, len(order)))).tolist()
    kept = np.array([*shown, *fewer.val, *fewer.test])
    source = pictures.source
    arrays = None if source.arrays is None else source.arrays[kept]
    copied = Source(
        source.name, source.root, source.classes, tuple(source.pictures[i] for i in kept), source.notes, arrays
    )
    first, second = len(shown), len(shown) + len(fewer.val)
    return dataclasses.replace(
        fewer, source=copied, train=tuple(range(first)), val=tuple(range(first, second)),
        test=tuple(range(second, len(kept))),
    )  # fmt: skip


def percents(arms: Sequence[Arm]) -> list[list[float]]:
    """(seeds, arms) test errors in per cent, as `figures.curves` takes them."""
    return [[100 * error for error in of_seed] for of_seed in zip(*(arm.errors for arm in arms), strict=True)]


def in_points(found: Difference) -> str:
    """ "-3.2 (-5.1 to -1.3)", in points of error, with a star where zero is outside the interval."""
    star = " *" if found.is_detectable else ""
    return f"{100 * found.difference:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}){star}"


def differences(arms: Sequence[Arm], reference: Sequence[Arm]) -> list[Difference]:
    """Of each arm to the reference at the same place: the same number of pictures."""
    return [paired_difference(arm.wrong, other.wrong) for arm, other in zip(arms, reference, strict=True)]


def intervals(
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
    axes.set_xlabel("training pictures of each class")


def size_axis(axes: Any, sizes: Sequence[int]) -> None:
    """A logarithmic axis with a mark at each number of pictures and nowhere else."""
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training pictures of each class")
