"""Whether the 8-bit network of a run may travel: both networks answer for the same validation pictures."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.sources import Source
from ..errors import BundleError, CasebookError, PictureError
from ..evaluation.classifier import Classifier
from ..evaluation.labelled import own_data
from ..evaluation.paired import paired_error
from ..progress import Advanced, Reporter, silent
from ..runner.engine import open_engine
from ..runner.reading import ahead
from ..training.ranking import decided
from .quantise import NUM_CHOOSING, NUM_PICTURES, Quantised, quantise

Int8 = Literal["auto", "off", "require"]
INT8 = ("auto", "off", "require")
AT_ONCE = 16
MOST_VALIDATION = 5000  # pictures; more take time and tell little


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate found. `reason` says in words why the 8-bit network travels or does not.

    `difference` and its 95 % `interval` are points of accuracy that 8 bits cost; below 0 they gain. With
    several labels, a picture is right where every known one is.
    """

    accepted: bool
    reason: str
    setting: str | None = None
    divergences: dict[str, float] = dataclasses.field(default_factory=dict)
    n: int = 0
    float32_right: int = 0
    int8_right: int = 0
    difference: float | None = None
    interval: tuple[float, float] | None = None


def gated(
    classifier: Classifier, network: bytes, max_drop: float, report: Reporter = silent
) -> tuple[bytes | None, Verdict]:
    """The 8-bit form of a run's network where it passes, with the figures.

    It passes where the upper end of the paired 95 % interval of what it costs is at most `max_drop` points of accuracy
    on the validation pictures. Ranges and setting come from training pictures. With several labels a picture the
    accuracy is the share of pictures with every known label right at the run's thresholds; these were fitted to
    the float32 network, so the gate is a little hard on 8 bits.
    """
    if classifier.run is None:
        return None, Verdict(False, "8 bits need pictures: only a run has training pictures to find the ranges on")
    try:
        data = own_data(classifier.run)
    except CasebookError as error:
        return None, Verdict(False, f"8 bits need the run's pictures: {error}")
    many_labels = data.source.targets is not None
    known = [i for i in data.split.val if not many_labels or not np.isnan(decided(data.source.truth([i]))).all()]
    validation = known[:MOST_VALIDATION]
    if (least := least_drop(len(validation))) > max_drop:
        return None, Verdict(
            False,
            f"{len(validation)} validation pictures cannot show that 8 bits cost at most {max_drop:g} points: without "
            f"a single difference the 95 % interval still reaches {least:.2f}; allow more, or train with more pictures",
            n=len(validation),
        )
    generator = np.random.default_rng(classifier.run.recipe.seed)
    chosen = generator.permutation(np.array(data.split.train))[: NUM_PICTURES + NUM_CHOOSING]
    pixels = np.stack([one for _, one in _decoded(classifier, data.source, chosen.tolist())])
    half = (len(pixels) + 1) // 2 if len(pixels) < NUM_PICTURES + NUM_CHOOSING else NUM_PICTURES
    if len(pixels) < 2:
        return None, Verdict(False, "8 bits need at least two training pictures that can be read")
    made = quantise(network, pixels[:half], pixels[half:], report, many_labels=many_labels)
    return _judged(classifier, data.source, validation, network, made, max_drop, report)


def least_drop(num_pictures: int) -> float:
    """The points that the interval's upper end has where not one of the pictures tells the two networks apart."""
    if not num_pictures:
        return float("inf")
    same = np.zeros(num_pictures, bool)
    return 100 * paired_error(same, same)["interval"][1]


def _judged(
    classifier: Classifier,
    source: Source,
    validation: Sequence[int],
    network: bytes,
    made: Quantised,
    max_drop: float,
    report: Reporter,
) -> tuple[bytes | None, Verdict]:
    engines = [open_engine("onnxruntime", content) for content in (network, made.network)]
    wrong: list[list[bool]] = [[], []]
    for done, (indices, pixels) in enumerate(_batches(classifier, source, validation)):
        report(Advanced("export", done * AT_ONCE, len(validation), "8 bits, validation pictures"))
        for engine, found in zip(engines, wrong, strict=True):
            probabilities = engine(pixels).probabilities
            found += _wrong(probabilities, source.truth(indices), classifier.thresholds)
    n = len(wrong[0])
    if not n:
        return None, Verdict(False, "no validation picture can be read", made.setting, made.divergences)
    paired = paired_error(wrong[1], wrong[0])
    low, high = (100 * end for end in paired["interval"])
    right = [n - sum(found) for found in wrong]
    figures = (
        f"of {n} validation pictures float32 has {right[0]} right and 8 bits {right[1]}"
        f"{' (every known label)' if classifier.thresholds else ''}; the 95 % interval of the cost "
        f"is {low:.2f} to {high:.2f} points, where {max_drop:g} is allowed"
    )
    verdict = Verdict(
        high <= max_drop, figures, made.setting, made.divergences, n, right[0], right[1],
        100 * paired["difference"], (low, high),
    )  # fmt: skip
    return (made.network if verdict.accepted else None), verdict


def _wrong(probabilities: NDArray[np.float32], truth: NDArray[Any], thresholds: Sequence[float]) -> list[bool]:
    """(B, K) probabilities and (B,) labels -> the pictures with another answer; of several labels, (B, K) targets and
    `thresholds`, those with any known label wrong."""
    if not thresholds:
        return (probabilities.argmax(axis=1) != truth).tolist()
    actual = decided(truth)
    return (((probabilities >= np.array(thresholds)) != actual) & ~np.isnan(actual)).any(axis=1).tolist()


def _decoded(classifier: Classifier, source: Source, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(index, pixels) of each picture that can be read."""
    preprocessing = classifier.preprocessing

    def read(index: int) -> tuple[int, NDArray[np.uint8]] | None:
        try:
            picture = source.open(index, **preprocessing.decode_options)
        except PictureError:
            return None
        return index, preprocessing.pixels(picture)

    yield from (found for found in ahead(read, indices) if found is not None)


def _batches(
    classifier: Classifier, source: Source, indices: Sequence[int]
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    decoded = _decoded(classifier, source, indices)
    while batch := list(itertools.islice(decoded, AT_ONCE)):
        yield [index for index, _ in batch], np.stack([pixels for _, pixels in batch])


def check_settings(int8: str, max_drop: float) -> None:
    """Raises BundleError for an unknown word or a drop that is none."""
    if int8 not in INT8:
        raise BundleError(f"int8 is {int8!r}, expected {', '.join(INT8)}")
    if not 0 < max_drop <= 100:
        raise BundleError(f"max_drop is {max_drop}, expected points of accuracy above 0, at most 100")
