"""A classifier and labelled pictures -> its accuracy on changed copies of them: other light, noise, angles, sizes.

Pictures are decoded once and changed as the network sees them (`augmentation.corruptions`). They are taken in random
order, a batch at a time with all its copies, so that a limit on time gives a fair sample of the pictures.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..augmentation.corruptions import CORRUPTIONS, NUM_LEVELS, VIEWS, Corruption, Pixels, corrupt
from ..augmentation.threads import one_opencv_thread
from ..data.sources import Source
from ..device import Stopwatch
from ..errors import CasebookError, DataError, PictureError
from ..files import write_json
from ..progress import Advanced
from ..runner.reading import ahead
from ..runner.unsure import Judge
from ..training.run import Run
from .classifier import Classifier
from .evidence import weights_digest
from .metrics import percentile_interval, wilson_interval
from .paired import paired_error
from .views import Asking

FORMAT = 1
FILE = "shift.json"
MOST_PICTURES = 1000
MOST_SECONDS = 540.0  # after which no further batch begins
FEWEST_OF_CLASS = 10  # pictures, for a class to be called fragile
RESAMPLES = 2000

Made = TypeVar("Made")


class Copy(NamedTuple):
    """One way to change a picture: a corruption at a level from 1, a view at level 0, or neither."""

    name: str
    level: int
    corruption: Corruption | None = None


COPIES = (
    Copy("", 0),
    *(Copy(one.name, level, one) for one in CORRUPTIONS for level in range(1, NUM_LEVELS + 1)),
    *(Copy(name, 0) for name in VIEWS),
)


class Answers(NamedTuple):
    """For the N pictures in `labels` and every one of COPIES: (copies, N) whether right, and whether answered."""

    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    skipped: dict[str, str]
    seconds: float


def measure_shift(
    classifier: Classifier,
    source: Source,
    indices: Sequence[int],
    *,
    judge: Judge | None = None,
    asking: Asking = Asking(),  # noqa: B008 - frozen
    seed: int = 0,
) -> dict[str, Any]:
    """The document under "shift" of an evaluation (docs/reference/json.md), on at most MOST_PICTURES of `indices`.

    With a judge, also how often it says "unsure", and how many of its answers are wrong. Raises DataError when no
    picture can be read.
    """
    order = np.random.default_rng(seed).permutation(len(indices))[:MOST_PICTURES]
    chosen = [indices[place] for place in order]
    with one_opencv_thread():
        found = _ask(classifier, source, chosen, judge, asking)
    return shift_document(found, classifier.classes, judge, len(indices))


def _ask(classifier: Classifier, source: Source, chosen: Sequence[int], judge: Judge | None, asking: Asking) -> Answers:
    size = asking.batch_size or min(32, classifier.batch_size)
    watch, skipped = Stopwatch(), {}
    labels: list[int] = []
    rights: list[NDArray[np.bool_]] = []
    answers: list[NDArray[np.bool_]] = []
    for start in range(0, len(chosen), size):
        if start and watch.seconds * (start + size) / start > MOST_SECONDS:
            break
        batch = list(_decoded(classifier, source, chosen[start : start + size], asking.workers, skipped))
        if not batch:
            continue
        truth = np.array([source.pictures[index].label for index, _ in batch])
        right, answered = np.zeros((2, len(COPIES), len(batch)), bool)
        changed = _each(_changer(batch), range(len(COPIES)), asking.workers)
        for row, pixels in enumerate(changed):
            outputs = classifier.infer(pixels)
            right[row] = outputs.probabilities.argmax(1) == truth
            whys = judge.whys(outputs.probabilities, outputs.features) if judge else [""] * len(batch)
            answered[row] = [not why for why in whys]
        labels += truth.tolist()
        rights.append(right)
        answers.append(answered)
        asking.report(Advanced("shift", start + len(batch), len(chosen)))
    if not labels:
        reason = next(iter(skipped.items()), ("", "none given"))
        raise DataError(
            f"{source.name}: not one of {len(chosen)} pictures could be read; the first: {': '.join(reason)}"
        )
    return Answers(np.array(labels), np.concatenate(rights, 1), np.concatenate(answers, 1), skipped, watch.seconds)


def _decoded(
    classifier: Classifier, source: Source, indices: Sequence[int], workers: int, skipped: dict[str, str]
) -> list[tuple[int, Pixels]]:
    """The pixels that the network sees of each picture; adds to `skipped` what cannot be read."""

    def decode(index: int) -> tuple[int, Pixels | str]:
        try:
            picture = source.open(index, **classifier.preprocessing.decode_options)
            return index, classifier.preprocessing.pixels(picture)
        except PictureError as error:
            return index, error.reason

    found = []
    for index, pixels in _each(decode, indices, workers):
        if isinstance(pixels, str):
            skipped[source.pictures[index].name] = pixels
        else:
            found.append((index, pixels))
    return found


def _each(made: Callable[[int], Made], items: Sequence[int], workers: int) -> Iterator[Made]:
    """What is made of each item, in threads ahead of its use; -1 for one thread for each core."""
    return map(made, items) if workers == 0 else ahead(made, items, max(0, workers))


def _changer(batch: Sequence[tuple[int, Pixels]]) -> Callable[[int], Pixels]:
    """(B, H, W, C) of the batch, changed as the given row of COPIES says."""

    def change(row: int) -> Pixels:
        copy = COPIES[row]
        if copy.corruption is not None:
            return np.stack([corrupt(copy.corruption, pixels, copy.level, index) for index, pixels in batch])
        view = VIEWS.get(copy.name, lambda pixels: pixels)
        return np.stack([view(pixels) for _, pixels in batch])

    return change


def shift_document(found: Answers, classes: Sequence[str], judge: Judge | None, num_given: int) -> dict[str, Any]:
    """What `measure_shift` gives, of the answers on some of `num_given` pictures."""
    rows = {(copy.name, copy.level): row for row, copy in enumerate(COPIES)}

    def scored(name: str, level: int) -> dict[str, Any]:
        return _scores(found, rows[name, level], judge is not None)

    corruptions = [
        {
            "name": one.name,
            "parameter": one.parameter,
            "levels": [
                {"strength": one.strengths[level - 1], **scored(one.name, level)} for level in range(1, NUM_LEVELS + 1)
            ],
        }
        for one in CORRUPTIONS
    ]
    for one in corruptions:
        one["mean_accuracy"] = float(np.mean([level["accuracy"] for level in one["levels"]]))
    corrupted = np.array([row for row, copy in enumerate(COPIES) if copy.corruption is not None])
    kept = found.right[corrupted].mean(0)  # (N,): the share of a picture's changed copies that is recognised
    n, notes = len(found.labels), []
    if n + len(found.skipped) < min(num_given, MOST_PICTURES):
        notes.append(f"{n} of {num_given} pictures, drawn at random, were measured in the time that there was")
    elif num_given > MOST_PICTURES:
        notes.append(f"{n} of {num_given} pictures, drawn at random, were measured")
    if found.skipped:
        notes.append(f"{len(found.skipped)} pictures cannot be read, such as {next(iter(found.skipped))}")
    fragile = _fragile(found, kept, classes)
    if fragile is None:
        notes.append(f"no class has {FEWEST_OF_CLASS} pictures, so none can be called the most fragile")
    return {
        "n": n,
        "seconds": round(found.seconds, 1),
        "clean": scored("", 0),
        "mean_accuracy": float(kept.mean()),
        "mean_accuracy_interval": _mean_interval(kept),
        "most_harmful": min(corruptions, key=lambda one: one["mean_accuracy"])["name"],
        "corruptions": corruptions,
        "views": [{"name": name, **scored(name, 0)} for name in VIEWS],
        "fragile_class": fragile,
        "most_wrong": None if judge is None else judge.most_wrong,
        "notes": notes,
    }


def _scores(found: Answers, row: int, judged: bool) -> dict[str, Any]:
    right, answered, n = found.right[row], found.answered[row], len(found.labels)
    loss = paired_error(~right, ~found.right[0], resamples=RESAMPLES)
    num_answered, num_wrong = int(answered.sum()), int((answered & ~right).sum())
    return {
        "accuracy": float(right.mean()),
        "interval": wilson_interval(int(right.sum()), n),
        "loss": loss["difference"],
        "loss_interval": loss["interval"],
        "unsure": 1 - num_answered / n if judged else None,
        "unsure_interval": wilson_interval(n - num_answered, n) if judged else None,
        "wrong_answers": num_wrong / num_answered if judged and num_answered else None,
        "wrong_answers_interval": wilson_interval(num_wrong, num_answered) if judged and num_answered else None,
    }


def _fragile(found: Answers, kept: NDArray[np.float64], classes: Sequence[str]) -> dict[str, Any] | None:
    """The class that loses most, among those with FEWEST_OF_CLASS pictures; None without any."""
    lost = found.right[0] - kept
    best: dict[str, Any] | None = None
    for label in np.unique(found.labels):
        members = found.labels == label
        if members.sum() < FEWEST_OF_CLASS or (best is not None and lost[members].mean() <= best["loss"]):
            continue
        best = {
            "class": str(classes[int(label)]),
            "n": int(members.sum()),
            "clean_accuracy": float(found.right[0][members].mean()),
            "mean_accuracy": float(kept[members].mean()),
            "loss": float(lost[members].mean()),
            "loss_interval": _mean_interval(lost[members]),
        }
    return best


def _mean_interval(values: NDArray[np.float64]) -> list[float]:
    """Percentiles of the mean over pictures that are drawn again; the copies of a picture stay together."""
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    return percentile_interval(values[drawn].mean(1))


def write_shift(run: Run, document: dict[str, Any]) -> None:
    """Writes shift.json, which says what weights it is about."""
    write_json(run.path / FILE, {"format": FORMAT, "weights_sha256": weights_digest(run), **document})


def read_shift(run: Run) -> dict[str, Any] | None:
    """What `write_shift` wrote; None where there is nothing about these weights."""
    try:
        found = json.loads(Path(run.path / FILE).read_text(encoding="utf-8"))
        of_these = found["format"] == FORMAT and found["weights_sha256"] == weights_digest(run)
    except (OSError, ValueError, KeyError, TypeError, CasebookError):
        return None
    return found if of_these else None
